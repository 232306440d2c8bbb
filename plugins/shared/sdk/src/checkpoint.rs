//! Outputs that survive a failed attempt.
//!
//! ```no_run
//! # fn step(output: &sdk::Sink) -> Result<(), sdk::StepError> {
//! let done = sdk::checkpoint::done();
//! for name in ["a", "b"] {
//!     if !done.iter().any(|key| key == name) {
//!         output.write_text(&format!("{name}.txt"), "slow to make")?;
//!         sdk::checkpoint::mark(name, &[format!("{name}.txt")])?;
//!     }
//! }
//! # Ok(()) }
//! ```

use crate::StepError;
use crate::bindings::opencenter::airgap::checkpoint as wit;

/// The keys marked by earlier attempts with the same plugin, configuration and
/// inputs; their outputs are in the sink already.
pub fn done() -> Vec<String> {
    wit::done()
}

/// Declares that these output paths are complete under `key`.
///
/// # Errors
/// `invalid-input` where a path was not written.
pub fn mark(key: &str, paths: &[String]) -> Result<(), StepError> {
    wit::mark(key, paths)
}
