//! The bad ones among many things: the step goes on past each, and tells them
//! all at its end.

use crate::bindings::opencenter::airgap::host;
use crate::{Failure, ItemFailure, StepError};

/// Collects what failed.
///
/// ```no_run
/// # use sdk::{Failures, StepError};
/// # fn check(chart: &str) -> Result<(), StepError> { Ok(()) }
/// # fn run(charts: &[&str]) -> Result<(), StepError> {
/// let mut failures = Failures::default();
/// for chart in charts {
///     if let Err(error) = check(chart) {
///         failures.add(format!("chart {chart}"), error);
///     }
/// }
/// failures.into_result(charts.len(), "charts")
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Failures {
    items: Vec<ItemFailure>,
    /// Something that is told as it is: the host asked to stop.
    interrupted: bool,
}

impl Failures {
    /// Enters one thing, by the name that the user gave it.
    pub fn add(&mut self, name: impl Into<String>, error: StepError) {
        match error.into_failure() {
            Some(failure) => self.items.push(ItemFailure { name: name.into(), failure }),
            None => self.interrupted = true,
        }
    }

    /// Whether nothing failed and the host did not ask to stop.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.interrupted
    }

    /// How many things failed; an interruption is none of them.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Tells the host what failed, where something has. Works inside the host
    /// only.
    ///
    /// # Errors
    /// `3 of 10 charts failed`: `transient` where each may succeed later, else
    /// `invalid-input`; `interrupted`.
    pub fn into_result(self, total: usize, unit: &str) -> Result<(), StepError> {
        let verdict = self.verdict(total, unit);
        if !self.items.is_empty() {
            host::failed(&self.items);
        }
        verdict
    }

    fn verdict(&self, total: usize, unit: &str) -> Result<(), StepError> {
        if self.interrupted {
            return Err(StepError::Interrupted);
        }
        if self.items.is_empty() {
            return Ok(());
        }
        let message = format!("{} of {total} {unit} failed", self.items.len());
        let may_recover = self.items.iter().all(|ItemFailure { failure: Failure { retryable, .. }, .. }| *retryable);
        Err(if may_recover {
            StepError::transient("items", message)
        } else {
            StepError::invalid_input("items", message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_counted_and_decides_whether_it_may_recover() {
        assert!(Failures::default().verdict(3, "charts").is_ok());
        let mut failures = Failures::default();
        failures.add("a", StepError::transient("busy", "later"));
        assert!(matches!(failures.verdict(2, "charts"), Err(StepError::Transient(_))));
        failures.add("b", StepError::invalid_input("bad", "no"));
        let error = failures.verdict(2, "charts").unwrap_err();
        assert_eq!(error.failure().unwrap().message, "2 of 2 charts failed");
        assert!(matches!(error, StepError::InvalidInput(_)) && failures.len() == 2);
        failures.add("c", StepError::Interrupted);
        assert!(matches!(failures.verdict(3, "charts"), Err(StepError::Interrupted)));
    }
}
