//! The log and the progress line.

use crate::StepError;
use crate::bindings::opencenter::airgap::host;

/// Lines for the build's log. The host cuts a message at 4 KiB, drops control
/// characters and keeps 10,000 lines of one call.
pub mod log {
    use crate::bindings::opencenter::airgap::host::{self, Level};

    /// Every detail.
    pub fn trace(message: impl AsRef<str>) {
        host::log(Level::Trace, message.as_ref());
    }

    /// What helps to find out why something went wrong.
    pub fn debug(message: impl AsRef<str>) {
        host::log(Level::Debug, message.as_ref());
    }

    /// What is worth knowing.
    pub fn info(message: impl AsRef<str>) {
        host::log(Level::Info, message.as_ref());
    }

    /// Shown again at the end of the build.
    pub fn warn(message: impl AsRef<str>) {
        host::log(Level::Warn, message.as_ref());
    }

    /// What failed. It does not end the step: return an error for that.
    pub fn error(message: impl AsRef<str>) {
        host::log(Level::Error, message.as_ref());
    }
}

/// Tells how far the step is: `done` of `total` (when known) in `unit`, and
/// what is being worked on. Cheap; call it once per item.
///
/// # Errors
/// [`StepError::Interrupted`] when the host wants the step to stop: pass it on
/// with `?`.
pub fn progress(done: u64, total: Option<u64>, unit: &str, message: &str) -> Result<(), StepError> {
    if host::progress(done, total, unit, message) { Ok(()) } else { Err(StepError::Interrupted) }
}
