//! One error out of many: for steps that go on past bad items.

use crate::state::journal::Journal;
use base::error::{Class, Error, ItemFailure, Result};
use base::progress::{Progress, text};

/// The bad items of a step attempt, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Failures {
    found: Vec<(String, String, Error)>,
}

impl Failures {
    /// Enters an item and tells the user and the journal.
    pub(super) fn add(
        &mut self,
        item: &str,
        origin: &str,
        error: Error,
        journal: Option<&Journal>,
        progress: &Progress,
    ) -> Result<()> {
        progress.log(base::progress::Level::Error, &format!("{item}: {}", error.one_line()));
        if let Some(journal) = journal {
            journal.failed(&error.clone().into_item(item, origin))?;
        }
        self.found.push((item.to_owned(), origin.to_owned(), error));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The error of a step that ended before all its items were tried: what
    /// ended it decides, what had failed by then is listed.
    pub(super) fn ended_by(self, fatal: Error) -> Error {
        if self.found.is_empty() { fatal } else { fatal.with_items(self.into_items()) }
    }

    fn into_items(self) -> Vec<ItemFailure> {
        let found = self.found.into_iter();
        let mut items: Vec<ItemFailure> = found.map(|(item, origin, error)| error.into_item(item, origin)).collect();
        items.sort_by(|a, b| a.item.cmp(&b.item));
        items
    }

    /// The error of the whole step. A permanent failure decides its class; of
    /// several rate limits the last to end decides when to come back.
    pub(super) fn into_error(self, total: usize, unit: &str) -> Error {
        let class = class_of(self.found.iter().map(|(_, _, error)| error.class()));
        let until = self.found.iter().filter_map(|(_, _, error)| error.until()).max();
        let message = format!("{} of {total} {unit} failed", self.found.len());
        let hint = if class.may_recover() {
            "run the same command again: what was fetched is kept"
        } else {
            "mend what is said of each of them; what was fetched is kept"
        };
        let error = Error::new(class, message).hint(hint).with_items(self.into_items());
        match until.filter(|_| class == Class::RateLimited) {
            Some(until) => {
                let when = text::minute(until);
                error
                    .retry_at(until)
                    .hint(format!("come back at {when} and run the same command again: what was fetched is kept"))
            }
            None => error,
        }
    }
}

fn class_of(classes: impl Iterator<Item = Class> + Clone) -> Class {
    let permanent = classes.clone().find(|class| !class.may_recover());
    let limited = || classes.clone().find(|class| *class == Class::RateLimited);
    permanent.or_else(limited).or_else(|| classes.clone().next()).unwrap_or(Class::Transient)
}

/// Whether an error ends the step at once instead of becoming an item.
pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(error.class(), Class::Interrupted | Class::DiskFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permanent_failure_decides_and_a_rate_limit_beats_what_passes() {
        use Class::{Auth, NotFound, RateLimited, Transient};
        for (classes, class) in [
            (vec![Transient, NotFound, Auth], NotFound),
            (vec![Transient, RateLimited], RateLimited),
            (vec![Transient, Transient], Transient),
        ] {
            assert_eq!(class_of(classes.into_iter()), class);
        }
    }

    #[test]
    fn all_items_are_listed_and_the_last_limit_counts() {
        let progress = Progress::silent("images");
        let mut failures = Failures::default();
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        for (item, seconds) in [("b", 100), ("a", 50)] {
            let error = Error::new(Class::RateLimited, "slow down").retry_at(at(seconds)).with_status(429);
            failures.add(item, "r.example", error, None, &progress).unwrap();
        }
        let error = failures.into_error(5, "images");
        assert_eq!((error.class(), error.until()), (Class::RateLimited, Some(at(100))));
        assert_eq!(error.message(), "2 of 5 images failed");
        let items: Vec<_> = error.items().iter().map(|item| (item.item.as_str(), item.status)).collect();
        assert_eq!(items, [("a", Some(429)), ("b", Some(429))]);
    }

    #[test]
    fn what_ends_a_step_decides_and_what_had_failed_is_listed() {
        let mut failures = Failures::default();
        let missing = Error::new(Class::NotFound, "no such image");
        failures.add("a", "r.example", missing, None, &Progress::silent("images")).unwrap();
        let full = || Error::new(Class::DiskFull, "cannot write");
        let error = failures.ended_by(full());
        assert_eq!((error.class(), error.message(), error.items().len()), (Class::DiskFull, "cannot write", 1));
        assert!(Failures::default().ended_by(full()).items().is_empty());
    }
}
