//! SIGINT, SIGTERM and the SIGHUP of a terminal that closes: the first one ends
//! the command gracefully, the second at once. Before a build runs, and in a
//! command that has nothing to end gracefully, the first one ends it at once as
//! well: what was written until then any kill may interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use engine::orchestrator::report::Report;
use engine::orchestrator::run::Run;

/// How long a command that is asked to end may take before it is ended.
const GRACE: Duration = Duration::from_secs(2);

/// Whether it was SIGTERM or SIGHUP that the command was ended by.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// A command, and someone who listens to signals from before anything is
/// written until it ends.
#[derive(Debug)]
pub(super) struct Attended {
    runtime: Runtime,
    /// Whether the command ends itself when it is asked to.
    is_graceful: Arc<AtomicBool>,
    cancel: CancellationToken,
}

impl Attended {
    pub(super) fn begin(ui: &Ui) -> Result<Self> {
        let failed = |source| Error::local("cannot start the runtime").caused_by(source);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
        let cancel = CancellationToken::new();
        let is_graceful = Arc::<AtomicBool>::default();
        runtime.block_on(async { Signals::listen(cancel.clone(), is_graceful.clone(), ui.clone()) })?;
        Ok(Self { runtime, is_graceful, cancel })
    }

    pub(super) fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// From here on the command watches its cancellation.
    pub(super) fn gracefully(&self, ui: &Ui) {
        self.is_graceful.store(true, Ordering::Relaxed);
        let (cancel, ui) = (self.cancel.clone(), ui.clone());
        self.runtime.spawn(async move {
            cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
            Signals::end(&ui);
        });
    }

    /// Runs what ends itself when it is cancelled.
    pub(super) fn block_on<T>(self, work: impl Future<Output = T>) -> T {
        self.is_graceful.store(true, Ordering::Relaxed);
        let done = self.runtime.block_on(work);
        self.runtime.shutdown_background();
        done
    }

    /// The same for what comes before a run.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.is_graceful.store(true, Ordering::Relaxed);
        self.runtime.block_on(work)
    }

    /// Runs to the end, or to the first signal.
    pub(super) fn drive(&self, run: Run) -> Report {
        self.is_graceful.store(true, Ordering::Relaxed);
        self.runtime.block_on(run.run())
    }

    /// Waits for nobody: blocking work of a stopped attempt may still hold a
    /// thread.
    pub(super) fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// The exit code of an interrupted command.
pub(super) fn exit_code() -> ExitCode {
    if TERMINATED.load(Ordering::Relaxed) { ExitCode::Terminated } else { ExitCode::Interrupted }
}

/// The signals that end a command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where whoever started us wants none: `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|source| Error::local("cannot listen for signals").caused_by(source));
        let hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hangup })
    }

    /// Cancels `token` on the first signal. Must be called inside a runtime.
    fn listen(token: CancellationToken, is_graceful: Arc<AtomicBool>, ui: Ui) -> Result<()> {
        let mut signals = Self::new()?;
        tokio::spawn(async move {
            let code = signals.next().await;
            TERMINATED.store(code == ExitCode::Terminated, Ordering::Relaxed);
            if !is_graceful.load(Ordering::Relaxed) {
                Self::end(&ui);
            }
            token.cancel();
            let code = signals.next().await;
            // Recovery needs nothing from us.
            std::process::exit(code as i32);
        });
        Ok(())
    }

    fn end(ui: &Ui) -> ! {
        ui.error(&Error::interrupted());
        std::process::exit(exit_code() as i32);
    }

    async fn next(&mut self) -> ExitCode {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::Interrupted,
            _ = self.terminate.recv() => ExitCode::Terminated,
            () = hangup => ExitCode::Terminated,
        }
    }
}

/// Whether SIGHUP is ignored in this process, as it began.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_signals(&status).is_some_and(|mask| mask & 1 != 0)
}

/// A bit for each signal, the lowest for SIGHUP.
fn ignored_signals(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_started_with_nohup_is_told_from_others() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t{mask}\nSigCgt:\t01\n");
        for (mask, ignores) in [("0000000000000001", true), ("0000000000001000", false), ("0000000000001003", true)] {
            assert_eq!(ignored_signals(&status(mask)).map(|mask| mask & 1 != 0), Some(ignores), "{mask}");
        }
        assert_eq!(ignored_signals(""), None);
    }
}
