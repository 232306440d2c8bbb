//! When a failed request is sent again, and after how long. No I/O, no clock.

use std::time::{Duration, SystemTime};

use config::settings::RetrySettings;

/// Why a request failed, as far as repeating it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server answered with this status.
    Status(u16),
    /// No connection came about.
    Unreachable,
    /// The connection broke, or the body ended early.
    Broken,
    /// Nothing came for too long.
    Silent,
    /// Repeating it can not help.
    Fatal,
}

impl Cause {
    /// Whether the same request may succeed later.
    pub(super) fn may_pass(self) -> bool {
        match self {
            Cause::Status(status) => matches!(status, 408 | 429 | 500..=599),
            Cause::Unreachable | Cause::Broken | Cause::Silent => true,
            Cause::Fatal => false,
        }
    }
}

/// A host that cannot be reached may be starting again: it is given the time
/// that so many more attempts would take.
const ATTEMPTS_TO_REACH: u32 = 3;
/// No server means more, and no clock can add much more to now.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The rules, from settings.yaml.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    retries: RetrySettings,
    /// How long a host that cannot be reached is tried.
    reach_time: Duration,
    pub(super) longest_wait: Duration,
}

/// What happened to one request so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// Failures since bytes last came, this one included.
    pub(super) failures: u32,
    /// Time spent waiting because a server asked for it, since bytes last
    /// came.
    pub(super) waited: Duration,
    /// Time since the first of these failures.
    pub(super) failing: Duration,
    /// Whether another place can be asked instead.
    pub(super) has_alternative: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Again(Duration),
    GiveUp,
    /// The server asked for more patience than the settings allow: come back
    /// after that time.
    ComeBack(Duration),
}

impl Policy {
    pub(super) fn new(settings: &RetrySettings) -> Self {
        let failures = 1..settings.requests.max(1).saturating_add(ATTEMPTS_TO_REACH);
        Self {
            reach_time: failures.map(|failures| settings.pause(failures)).sum(),
            longest_wait: Duration::from_secs(settings.longest_wait),
            retries: settings.clone(),
        }
    }

    /// `asked` is what the server wants us to wait; `spread` in 0..1 is drawn
    /// by the caller and keeps many clients from coming back as one.
    pub(super) fn decide(&self, cause: Cause, asked: Option<Duration>, history: History, spread: f64) -> Decision {
        let forbidden_for_now = cause == Cause::Status(403) && asked.is_some();
        if !cause.may_pass() && !forbidden_for_now {
            return Decision::GiveUp;
        }
        if let Some(asked) = asked {
            // A server that asks for no time at all again and again is given
            // some nevertheless.
            let pause = asked.max(self.retries.pause(history.failures).mul_f64(spread));
            return if pause + history.waited > self.longest_wait {
                Decision::ComeBack(asked)
            } else {
                Decision::Again(pause + Duration::from_millis(250).mul_f64(spread))
            };
        }
        if history.failures >= self.retries.requests.max(1) && !self.may_be_reached(cause, history) {
            let limited = cause == Cause::Status(429);
            return if limited { Decision::ComeBack(self.retries.limit()) } else { Decision::GiveUp };
        }
        Decision::Again(self.retries.pause_with_jitter(history.failures, spread))
    }

    /// Refusing a connection takes no time: attempts alone would be over
    /// before a server has started again.
    fn may_be_reached(&self, cause: Cause, history: History) -> bool {
        cause == Cause::Unreachable && !history.has_alternative && history.failing < self.reach_time
    }
}

/// What a Retry-After header asks for: seconds, or a date. A date is compared
/// with the server's own clock where it told it, so that ours may be wrong.
pub(super) fn retry_after(value: &str, server_now: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = server_now.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::new(&RetrySettings::default())
    }

    fn after(failures: u32) -> History {
        History { failures, ..History::default() }
    }

    #[test]
    fn what_may_pass_is_repeated_and_what_will_not_is_not() {
        for status in [408, 429, 500, 502, 503, 504, 599] {
            let decision = policy().decide(Cause::Status(status), None, after(1), 0.0);
            assert_eq!(decision, Decision::Again(Duration::from_millis(250)), "{status}");
        }
        for cause in [Cause::Unreachable, Cause::Broken, Cause::Silent] {
            assert!(matches!(policy().decide(cause, None, after(1), 0.0), Decision::Again(_)), "{cause:?}");
        }
        for status in [400, 401, 403, 404, 405, 410, 416] {
            assert_eq!(policy().decide(Cause::Status(status), None, after(1), 0.0), Decision::GiveUp, "{status}");
        }
        assert_eq!(policy().decide(Cause::Fatal, None, after(1), 0.0), Decision::GiveUp);
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_end() {
        let pauses: Vec<_> =
            (1..6).map(|failures| policy().decide(Cause::Broken, None, after(failures), 1.0)).collect();
        let again = |seconds| Decision::Again(Duration::from_secs_f64(seconds));
        assert_eq!(pauses, [again(0.5), again(1.0), again(2.0), again(4.0), Decision::GiveUp]);
        assert_eq!(policy().retries.pause(200), Duration::from_secs(30));
        // A rate limit that outlasts the attempts is no ordinary failure.
        assert!(matches!(policy().decide(Cause::Status(429), None, after(5), 0.0), Decision::ComeBack(_)));
    }

    /// A minute at the settings' defaults, and the attempts at least.
    #[test]
    fn a_host_that_cannot_be_reached_is_tried_for_a_time() {
        let decide = |history| policy().decide(Cause::Unreachable, None, history, 1.0);
        let failing = |failures, seconds| History { failing: Duration::from_secs(seconds), ..after(failures) };
        assert_eq!(decide(failing(8, 61)), Decision::Again(Duration::from_secs(30)));
        assert_eq!(decide(failing(8, 62)), Decision::GiveUp);
        assert!(matches!(decide(failing(4, 600)), Decision::Again(_)));
        assert_eq!(decide(History { has_alternative: true, ..failing(5, 1) }), Decision::GiveUp);
        assert_eq!(policy().decide(Cause::Broken, None, failing(5, 1), 1.0), Decision::GiveUp);
    }

    #[test]
    fn a_server_that_names_a_time_is_given_it_up_to_the_longest_wait() {
        let minute = Duration::from_secs(60);
        let decide = |cause, asked, history| policy().decide(cause, Some(asked), history, 0.0);
        assert_eq!(decide(Cause::Status(429), minute, after(1)), Decision::Again(minute));
        // Being asked to wait is no failed attempt.
        assert_eq!(decide(Cause::Status(503), minute, after(50)), Decision::Again(minute));
        assert_eq!(decide(Cause::Status(403), minute, after(1)), Decision::Again(minute));
        assert_eq!(decide(Cause::Status(404), minute, after(1)), Decision::GiveUp);
        assert_eq!(decide(Cause::Status(429), minute * 16, after(1)), Decision::ComeBack(minute * 16));
        let often = policy().decide(Cause::Status(429), Some(Duration::ZERO), after(7), 1.0);
        assert_eq!(often, Decision::Again(Duration::from_millis(30_250)));
        let patient = History { waited: minute * 15, ..after(1) };
        assert_eq!(decide(Cause::Status(429), minute, patient), Decision::ComeBack(minute));
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Tue, 15 Nov 1994 08:12:31 GMT").unwrap();
        let seconds = |text, server| retry_after(text, server, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 ", None), Some(120));
        assert_eq!(seconds("Tue, 15 Nov 1994 08:13:31 GMT", None), Some(60));
        assert_eq!(seconds("Tue, 15 Nov 1994 08:12:30 GMT", None), Some(0));
        // Our clock is an hour behind the server's.
        assert_eq!(seconds("Tue, 15 Nov 1994 09:12:41 GMT", Some("Tue, 15 Nov 1994 09:12:31 GMT")), Some(10));
        assert_eq!(seconds("soon", None), None);
        // No clock can add this to now.
        assert!(seconds("18446744073709551615", None).is_some_and(|wait| wait < 1 << 33));
        assert_eq!(seconds("-5", None), None);
    }
}
