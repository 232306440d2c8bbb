//! `retries`: when something that failed is tried again, and after which pause.

use std::time::Duration;

use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use super::check::range;

/// When a failed request or step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Attempts of one request without progress in between.
    pub requests: u32,
    /// Attempts of one step.
    pub steps: u32,
    /// Seconds before the first repetition; doubles each time, with jitter.
    pub backoff: f64,
    /// Seconds that a pause grows to at most.
    pub backoff_limit: f64,
    /// Seconds that a server may ask to wait before the build gives up with
    /// exit code 75 instead of waiting.
    pub longest_wait: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { requests: 5, steps: 3, backoff: 0.5, backoff_limit: 30.0, longest_wait: 900 }
    }
}

impl RetrySettings {
    /// The longest pause.
    pub fn limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.backoff_limit).unwrap_or_default()
    }

    /// How long to wait after so many failures in a row, from 1: doubles with
    /// each of them, up to the limit.
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = i32::try_from(failures.saturating_sub(1).min(30)).unwrap_or(30);
        let seconds = (self.backoff * 2f64.powi(doublings)).min(self.backoff_limit);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// The same with jitter, so that many who wait do not come back as one:
    /// from half of the pause to all of it, by `spread` in 0..1.
    pub fn pause_with_jitter(&self, failures: u32, spread: f64) -> Duration {
        self.pause(failures).mul_f64(0.5 + spread / 2.0)
    }
}

impl RetrySettings {
    pub(super) fn problems(&self, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("retries");
        range(self.requests, 1, 100, "attempts", &path.key("requests"), problems);
        range(self.steps, 1, 100, "attempts", &path.key("steps"), problems);
        range(self.backoff, 0.0, 3600.0, "seconds", &path.key("backoff"), problems);
        range(self.backoff_limit, 0.0, 3600.0, "seconds", &path.key("backoff_limit"), problems);
        range(self.longest_wait, 0, 7 * 24 * 3600, "seconds", &path.key("longest_wait"), problems);
        if self.backoff_limit < self.backoff {
            problems.push(Problem::new(
                &path.key("backoff_limit"),
                format!("the longest pause, {} s, is shorter than the first, {} s", self.backoff_limit, self.backoff),
                "raise `backoff_limit` or lower `backoff`",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_limit() {
        let retries = RetrySettings::default();
        let pauses: Vec<_> = (1..9).map(|failures| retries.pause(failures).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!((retries.pause(0), retries.pause(u32::MAX)), (retries.pause(1), retries.limit()));
        assert_eq!(retries.pause_with_jitter(2, 0.0), Duration::from_millis(500));
    }
}
