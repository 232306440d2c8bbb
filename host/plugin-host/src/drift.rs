//! What a plugin asked for and `--locked` did not let it have.
//!
//! The plugin gets an answer that it may handle, and goes on with the rest, so
//! that all of it is found. Where it fails in the end, this is why.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base::error::{Class, Error};
use fetch::shared_lock::UNLOCK;

/// Of one attempt. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Drift {
    /// Notes what was asked for, in the words of whoever asked.
    pub(super) fn note(&self, what: &str) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
    }

    /// The error of a failed attempt.
    pub(super) fn explain(&self, error: Error) -> Error {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_empty() || error.class() == Class::Interrupted {
            return error;
        }
        let row = |what: &String| Error::new(Class::Changed, "airgap.lock does not hold it").into_item(what, "");
        let message = format!("config/airgap.lock does not hold what the plugin asked for: {} differ", asked.len());
        Error::new(Class::Changed, message).with_items(asked.iter().map(row).collect()).caused_by(error).hint(UNLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_drift_only_where_something_was_refused() {
        let drift = Drift::default();
        assert_eq!(drift.explain(Error::invalid("x")).class(), Class::InvalidInput);
        drift.note("chart b");
        drift.note("chart a");
        drift.note("chart b");
        let error = drift.explain(Error::invalid("2 charts failed"));
        let named: Vec<&str> = error.items().iter().map(|row| row.item.as_str()).collect();
        assert_eq!((error.class(), named), (Class::Changed, vec!["chart a", "chart b"]));
        assert!(error.one_line().contains("2 charts failed"), "{}", error.one_line());
        assert_eq!(drift.explain(Error::interrupted()).class(), Class::Interrupted);
    }
}
