//! How much of the network one step may take.

use super::Counts;
use crate::error::{Error, Result};

/// A sum over everything that is asked and that comes: each answer has a limit
/// of its own, and there may be any number of them.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Bytes that may come over the network in all.
    pub bytes: u64,
    /// HTTP requests that may be sent in all: repetitions and redirects count.
    pub requests: u64,
    /// What is said where more bytes came.
    pub too_much: Error,
    /// What is said where one request more would be sent.
    pub too_many: Error,
}

impl Allowance {
    /// # Errors
    /// What was put in for the limit that is exceeded.
    pub(super) fn check(&self, used: Counts) -> Result<()> {
        match () {
            () if used.requests > self.requests => Err(self.too_many.clone()),
            () if used.bytes_fetched > self.bytes => Err(self.too_much.clone()),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[test]
    fn what_was_allowed_is_and_one_more_is_not() {
        let allowance = |bytes, requests| Allowance {
            bytes,
            requests,
            too_much: Error::local("too much"),
            too_many: Error::local("too many"),
        };
        let used = |allowance, bytes, requests| {
            let progress = Progress::silent("step").within(allowance);
            let other = progress.clone();
            (0..requests).for_each(|_| other.request());
            other.fetched(bytes);
            progress.may_go_on().map_err(|error| error.message().to_owned())
        };
        assert_eq!(used(allowance(10, 2), 10, 2), Ok(()));
        assert_eq!(used(allowance(10, 2), 11, 2), Err("too much".to_owned()));
        assert_eq!(used(allowance(10, 2), 10, 3), Err("too many".to_owned()));
        let free = Progress::silent("step");
        free.fetched(u64::MAX / 2);
        assert!(free.may_go_on().is_ok());
    }
}
