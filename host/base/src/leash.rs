//! How long work may go on.
//!
//! Work that takes long asks its [`Leash`] on the way, every few milliseconds,
//! so that an interruption or a used up limit ends it soon after. Each loop
//! over what came from outside has one; what a loop does between two questions
//! is small.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// What ends a piece of work from outside. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Leash {
    cancel: CancellationToken,
    ends: Option<(Instant, Error)>,
}

impl Leash {
    /// Ends when the user asks to stop, and not before.
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, ends: None }
    }

    /// For what nobody would interrupt.
    pub fn endless() -> Self {
        Self::default()
    }

    /// Ends at `when` too, with `error`; the earlier of two ends holds.
    #[must_use]
    pub fn until(mut self, when: Instant, error: Error) -> Self {
        if self.ends.as_ref().is_none_or(|(earlier, _)| when < *earlier) {
            self.ends = Some((when, error));
        }
        self
    }

    /// Ok while the work may go on.
    ///
    /// # Errors
    /// `interrupted`, or what the limit that was met says.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        match &self.ends {
            Some((when, error)) if Instant::now() >= *when => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Class;

    #[test]
    fn the_earlier_end_holds_and_an_interruption_before_both() {
        let cancel = CancellationToken::new();
        let now = Instant::now();
        let later = now + Duration::from_secs(3600);
        let leash = Leash::new(cancel.clone()).until(later, Error::local("late"));
        assert!(leash.check().is_ok());
        let leash = leash.until(now, Error::local("early")).until(later, Error::local("late"));
        assert_eq!(leash.check().unwrap_err().message(), "early");
        cancel.cancel();
        assert_eq!(leash.check().unwrap_err().class(), Class::Interrupted);
        assert!(Leash::endless().check().is_ok());
    }
}
