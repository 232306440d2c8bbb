//! What happens after an attempt. No I/O, and the time is handed in.

use std::time::Duration;

use jiff::Timestamp;

use base::error::{Class, Error};
use config::pipeline::OnFailure;
use config::settings::RetrySettings;

/// How the transaction of a failed attempt ends, and what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How the transaction ends.
    pub ending: Ending,
    /// What comes of the step.
    pub next: Next,
}

/// How the transaction of a failed attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of it remains.
    RollBack,
    /// Its journal and what it marked as complete stay for the next attempt.
    Preserve,
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try the step again after the pause.
    Retry(Duration),
    /// The step has failed; steps that need it do not run.
    Abort,
}

/// Decides by class, attempt (from 1) and the step's declaration. How the
/// transaction ends is the declaration's alone, so that recovery, which knows
/// nothing of the error, does the same.
pub fn decide(on_failure: OnFailure, error: &Error, attempt: u32, retries: &RetrySettings, now: Timestamp) -> Decision {
    let ending = match on_failure {
        OnFailure::Preserve => Ending::Preserve,
        OnFailure::RollBack => Ending::RollBack,
    };
    let next = match error.class() {
        Class::Transient if attempt < retries.steps => Next::Retry(pause(attempt, retries)),
        Class::RateLimited if attempt < retries.steps => wait_for(error.until(), attempt, retries, now),
        _ => Next::Abort,
    };
    Decision { ending, next }
}

/// Steps begin where requests end.
fn pause(attempt: u32, retries: &RetrySettings) -> Duration {
    retries.pause(attempt.saturating_add(1))
}

fn wait_for(until: Option<Timestamp>, attempt: u32, retries: &RetrySettings, now: Timestamp) -> Next {
    let Some(until) = until else { return Next::Retry(pause(attempt, retries)) };
    let wait = u64::try_from(until.as_second() - now.as_second()).unwrap_or(0);
    if wait > retries.longest_wait { Next::Abort } else { Next::Retry(Duration::from_secs(wait)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1000).unwrap()
    }

    /// Every class with both declarations, first and last attempt.
    #[test]
    fn ending_and_next_by_class() {
        use Class::*;
        let retries = RetrySettings::default();
        let all =
            [Transient, RateLimited, Auth, NotFound, Integrity, InvalidInput, Plugin, DiskFull, Local, Interrupted];
        for class in all {
            for attempt in [1, retries.steps] {
                let error = Error::new(class, "x");
                let kept = decide(OnFailure::Preserve, &error, attempt, &retries, now());
                let dropped = decide(OnFailure::RollBack, &error, attempt, &retries, now());
                assert_eq!(kept.ending, Ending::Preserve, "{class}");
                assert_eq!(dropped.ending, Ending::RollBack, "{class}");
                let retried = matches!(class, Transient | RateLimited) && attempt < retries.steps;
                assert_eq!(matches!(kept.next, Next::Retry(_)), retried, "{class} {attempt}");
                assert_eq!(kept.next, dropped.next);
            }
        }
    }

    #[test]
    fn a_wait_is_honoured_up_to_the_setting() {
        let retries = RetrySettings::default();
        let limited = |seconds: i64| {
            let until = Timestamp::from_second(1000 + seconds).unwrap();
            let error = Error::new(Class::RateLimited, "x").retry_at(until);
            decide(OnFailure::Preserve, &error, 1, &retries, now()).next
        };
        assert_eq!(limited(900), Next::Retry(Duration::from_secs(900)));
        assert_eq!(limited(901), Next::Abort);
        assert_eq!(limited(-5), Next::Retry(Duration::ZERO));
    }
}
