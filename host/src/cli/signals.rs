//! SIGINT and SIGTERM: the first one ends the build gracefully, the second at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::exit_code::ExitCode;

/// Listens until the process ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Cancels `token` on the first signal. Must be called inside a runtime.
    pub(super) fn listen(token: CancellationToken) -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|source| Error::local("cannot listen for signals").caused_by(source));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let signals = Self::default();
        let terminated = signals.terminated.clone();
        tokio::spawn(async move {
            let code = next(&mut interrupt, &mut terminate).await;
            terminated.store(code == ExitCode::Terminated, Ordering::Relaxed);
            token.cancel();
            let code = next(&mut interrupt, &mut terminate).await;
            // Recovery needs nothing from us.
            std::process::exit(code as i32);
        });
        Ok(signals)
    }

    /// The exit code of an interrupted build.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.terminated.load(Ordering::Relaxed) { ExitCode::Terminated } else { ExitCode::Interrupted }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> ExitCode {
    tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    }
}
