//! SIGINT and SIGTERM: the first one ends the build gracefully, the second at
//! once. Before anything runs the first one ends it at once as well: what was
//! written until then any kill may interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ui::Ui;
use crate::error::{Error, Result};
use crate::exit_code::ExitCode;
use crate::orchestrator::report::Report;
use crate::orchestrator::run::Run;

/// A command that runs steps, and someone who listens to signals from before
/// anything is written.
#[derive(Debug)]
pub(super) struct Attended {
    runtime: Runtime,
    signals: Signals,
    cancel: CancellationToken,
}

impl Attended {
    pub(super) fn begin(ui: &Ui) -> Result<Self> {
        let failed = |source| Error::local("cannot start the runtime").caused_by(source);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
        let cancel = CancellationToken::new();
        let signals = runtime.block_on(async { Signals::listen(cancel.clone(), ui.clone()) })?;
        Ok(Self { runtime, signals, cancel })
    }

    pub(super) fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Runs to the end, or to the first signal.
    pub(super) fn drive(self, run: Run) -> (Report, Signals) {
        self.signals.running.store(true, Ordering::Relaxed);
        let report = self.runtime.block_on(run.run());
        // Blocking work of a stopped attempt may still hold a thread.
        self.runtime.shutdown_background();
        (report, self.signals)
    }
}

/// Listens until the process ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    running: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Cancels `token` on the first signal. Must be called inside a runtime.
    fn listen(token: CancellationToken, ui: Ui) -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|source| Error::local("cannot listen for signals").caused_by(source));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let signals = Self::default();
        let Self { running, terminated } = signals.clone();
        tokio::spawn(async move {
            let code = next(&mut interrupt, &mut terminate).await;
            if !running.load(Ordering::Relaxed) {
                ui.error(&Error::interrupted().hint("nothing is lost: run the same command again"));
                std::process::exit(code as i32);
            }
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
