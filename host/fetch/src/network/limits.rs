//! How many requests may be under way: one pool over all steps, of which
//! guests have half, and a window per host that learns what the host bears.
//!
//! A window starts small and grows with every success. A host that answers 429
//! halves it, once per wave of answers, and from then on it grows by one per
//! full window. A host that asks to wait is left alone by everyone until then.
//! Remaining-quota headers narrow the window before a 429 is needed.
//!
//! A window is that of one party: what a server says to a guest, and how long
//! it lets one wait, holds up nobody else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::party::{Party, PerParty};
use base::error::{Error, Result};

/// Requests that a host gets at once before it has answered any.
const FIRST_WINDOW: f64 = 2.0;

/// The pool and the windows.
#[derive(Debug)]
pub(super) struct Limits {
    pool: Arc<Semaphore>,
    /// What guests may hold of the pool all together.
    share: Arc<Semaphore>,
    /// A pool of one has no half: what guests hold then comes on top.
    is_shared: bool,
    hosts: PerParty<Arc<Host>>,
}

#[derive(Debug)]
pub(super) struct Host {
    is_of_guest: bool,
    window: Mutex<Window>,
    changed: Notify,
}

/// The right to have one request under way. Given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    host: Arc<Host>,
    epoch: u64,
    _places: [Option<OwnedSemaphorePermit>; 2],
}

/// What a quota header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) remaining: u64,
    /// Until the quota is whole again.
    pub(super) reset: Option<Duration>,
}

impl Limits {
    pub(super) fn new(pool: usize) -> Self {
        let of = |places: usize| Arc::new(Semaphore::new(places.max(1)));
        Self { pool: of(pool), share: of(pool / 2), is_shared: pool > 1, hosts: PerParty::default() }
    }

    /// The window that `party` has of a host, which may grow to `most`.
    pub(super) fn host(&self, party: &Party, name: &str, most: usize) -> Arc<Host> {
        self.hosts.or_insert_with(party, name, || Arc::new(Host::new(party, most)))
    }

    /// Waits for a place in the host's window, then for one in the pool. Who
    /// waits for a host holds nothing that others could use.
    ///
    /// # Errors
    /// `rate-limited` at once when the host asked for a pause beyond
    /// `patience`; `interrupted`.
    pub(super) async fn acquire(
        &self,
        host: &Arc<Host>,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<Permit> {
        let epoch = host.enter(patience, cancel).await?;
        // Made first, so that being cancelled below gives the place back.
        let mut place = WindowSlot { host: host.clone(), taken: true };
        let places = tokio::select! {
            places = self.places(host.is_of_guest) => places?,
            () = cancel.cancelled() => return Err(Error::interrupted()),
        };
        place.taken = false;
        Ok(Permit { host: host.clone(), epoch, _places: places })
    }

    /// Of their share first: a guest that waits holds nothing of the pool.
    async fn places(&self, is_of_guest: bool) -> Result<[Option<OwnedSemaphorePermit>; 2]> {
        let share = match is_of_guest {
            true => Some(self.share.clone().acquire_owned().await.map_err(|_| Error::interrupted())?),
            false => None,
        };
        let pool = match is_of_guest && !self.is_shared {
            true => None,
            false => Some(self.pool.clone().acquire_owned().await.map_err(|_| Error::interrupted())?),
        };
        Ok([share, pool])
    }
}

/// A place in a window that is not a permit yet.
struct WindowSlot {
    host: Arc<Host>,
    taken: bool,
}

impl Drop for WindowSlot {
    fn drop(&mut self) {
        if self.taken {
            self.host.leave();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.host.leave();
    }
}

impl Permit {
    /// The host answered as it should.
    pub(super) fn succeeded(&self) {
        self.host.window().succeeded();
        self.host.changed.notify_one();
    }

    /// The host said that it is too much.
    pub(super) fn throttled(&self) {
        self.host.window().throttled(self.epoch);
    }
}

impl Host {
    fn new(party: &Party, most: usize) -> Self {
        Self { is_of_guest: party.is_guest(), window: Mutex::new(Window::new(most)), changed: Notify::new() }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(&self, patience: Duration, cancel: &CancellationToken) -> Result<u64> {
        let _baton = Baton(&self.changed);
        loop {
            let changed = self.changed.notified();
            let entry = self.window().try_enter(Instant::now());
            match entry {
                Admission::Free(epoch) => return Ok(epoch),
                Admission::Full => tokio::select! {
                    () = changed => {}
                    () = cancel.cancelled() => return Err(Error::interrupted()),
                },
                Admission::Paused(pause) if pause > patience => return Err(come_back(pause)),
                Admission::Paused(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = cancel.cancelled() => return Err(Error::interrupted()),
                },
            }
        }
    }

    fn leave(&self) {
        self.window().in_flight -= 1;
        self.changed.notify_one();
    }

    /// Nobody asks the host before `pause` is over. Everyone who waits for a
    /// place learns it now, not when a long download frees one.
    pub(super) fn pause(&self, pause: Duration) {
        self.window().pause_until(Instant::now() + pause);
        self.changed.notify_waiters();
    }

    pub(super) fn heed(&self, quota: Quota, patience: Duration) {
        self.window().heed(quota, patience, Instant::now());
    }

    /// Remembers that someone of this attempt tried to reach the host for long
    /// enough: the others of the attempt fail at once, the next one tries anew.
    pub(super) fn give_up(&self, attempt: u64) {
        self.window().given_up.insert(attempt);
    }

    pub(super) fn is_given_up(&self, attempt: u64) -> bool {
        self.window().given_up.contains(&attempt)
    }

    /// The host answered, whatever it said.
    pub(super) fn reached(&self) {
        self.window().given_up.clear();
    }
}

/// Tells the next one who waits, whatever becomes of who holds it: two places
/// may have come free with one notice, and who was told of one may return
/// without taking it.
struct Baton<'a>(&'a Notify);

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The error for a host that wants to be left alone for `pause`.
pub(super) fn come_back(pause: Duration) -> Error {
    let until = jiff::Timestamp::now().checked_add(pause).unwrap_or(jiff::Timestamp::MAX);
    Error::new(base::error::Class::RateLimited, "the server asked to wait longer than this build may")
        .retry_at(until)
        .hint(format!(
            "come back at {} and run the same command again: finished work is kept; `retries.longest_wait` in settings.yaml is how \
             long a build waits",
            base::progress::text::minute(until)
        ))
}

#[derive(Debug)]
struct Window {
    /// Requests at once, in fractions while it grows.
    size: f64,
    most: f64,
    /// Beyond this size the window grows slowly.
    slow_from: f64,
    in_flight: usize,
    /// Counts the halvings: a late answer to a request from before one does
    /// not halve again.
    epoch: u64,
    paused_until: Option<Instant>,
    /// Attempts of steps that found the host unreachable.
    given_up: BTreeSet<u64>,
}

#[derive(Debug, PartialEq)]
enum Admission {
    Free(u64),
    Full,
    Paused(Duration),
}

impl Window {
    fn new(most: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        let most = most.max(1) as f64;
        Self {
            size: FIRST_WINDOW.min(most),
            most,
            slow_from: most,
            in_flight: 0,
            epoch: 0,
            paused_until: None,
            given_up: BTreeSet::new(),
        }
    }

    fn try_enter(&mut self, now: Instant) -> Admission {
        if let Some(until) = self.paused_until {
            if until > now {
                return Admission::Paused(until - now);
            }
            self.paused_until = None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and `most`")]
        let size = self.size as usize;
        if self.in_flight >= size.max(1) {
            return Admission::Full;
        }
        self.in_flight += 1;
        Admission::Free(self.epoch)
    }

    fn succeeded(&mut self) {
        let step = if self.size < self.slow_from { 1.0 } else { 1.0 / self.size };
        self.size = (self.size + step).min(self.most);
    }

    fn throttled(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.epoch += 1;
            self.size = (self.size / 2.0).max(1.0);
            self.slow_from = self.size;
        }
    }

    fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |old| old.max(until)));
    }

    fn heed(&mut self, quota: Quota, patience: Duration, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "compared with a number of connections")]
        let remaining = quota.remaining as f64;
        if remaining < self.size {
            self.size = remaining.max(1.0);
            self.slow_from = self.size;
        }
        match quota.reset {
            Some(reset) if quota.remaining == 0 && reset <= patience => self.pause_until(now + reset),
            _ => {}
        }
    }
}

/// Reads the quota from response headers in the spellings that registries and
/// forges use. `header` looks one up by lowercase name.
pub(super) fn quota<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Quota> {
    if let Some(combined) = header("ratelimit").and_then(structured) {
        return Some(combined);
    }
    let find = |name: &str| header(name).or_else(|| header(&format!("x-{name}")));
    let first = |text: &str| text.split(';').next().and_then(|number| number.trim().parse::<u64>().ok());
    let remaining = find("ratelimit-remaining").and_then(first)?;
    let reset = find("ratelimit-reset").and_then(first);
    // Some send a time since 1970 instead of seconds from now.
    let reset = reset.filter(|seconds| *seconds < 10_000_000).map(Duration::from_secs);
    Some(Quota { remaining, reset })
}

/// `"default";r=50;t=30` or `limit=100, remaining=50, reset=30`.
fn structured(text: &str) -> Option<Quota> {
    let mut quota = Quota { remaining: u64::MAX, reset: None };
    for part in text.split([';', ',']) {
        match part.trim().split_once('=') {
            Some(("r" | "remaining", number)) => quota.remaining = number.trim().parse().ok()?,
            Some(("t" | "reset", number)) => quota.reset = number.trim().parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    (quota.remaining != u64::MAX).then_some(quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(window: &mut Window) -> usize {
        let before = window.in_flight;
        while matches!(window.try_enter(Instant::now()), Admission::Free(_)) {}
        window.in_flight - before
    }

    #[test]
    fn a_window_grows_fast_then_halves_once_per_wave_then_grows_slowly() {
        let mut window = Window::new(8);
        assert_eq!(fill(&mut window), 2);
        for _ in 0..20 {
            window.succeeded();
        }
        assert_eq!(fill(&mut window), 6);
        for _ in 0..8 {
            window.throttled(0);
        }
        assert!((window.size - 4.0).abs() < f64::EPSILON);
        for _ in 0..3 {
            window.succeeded();
        }
        assert!(window.size < 5.0, "{}", window.size);
        for epoch in 1..10 {
            window.throttled(epoch);
        }
        window.in_flight = 0;
        assert_eq!(fill(&mut window), 1, "one request always goes");
    }

    #[test]
    fn quotas_narrow_the_window_and_an_empty_one_pauses() {
        let mut window = Window::new(8);
        window.size = 8.0;
        let now = Instant::now();
        let patience = Duration::from_secs(60);
        window.heed(Quota { remaining: 100, reset: None }, patience, now);
        assert_eq!(fill(&mut window), 8);
        window.in_flight = 0;
        window.heed(Quota { remaining: 3, reset: None }, patience, now);
        assert_eq!(fill(&mut window), 3);
        window.in_flight = 0;
        window.heed(Quota { remaining: 0, reset: Some(Duration::from_secs(9)) }, patience, now);
        assert_eq!(window.try_enter(now), Admission::Paused(Duration::from_secs(9)));
        assert_eq!(window.try_enter(now + Duration::from_secs(9)), Admission::Free(0));
    }

    #[test]
    fn quota_headers_are_read_in_every_spelling() {
        let read =
            |pairs: &[(&str, &'static str)]| quota(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1));
        let is = |remaining, reset: Option<u64>| Some(Quota { remaining, reset: reset.map(Duration::from_secs) });
        assert_eq!(read(&[("ratelimit-remaining", "76;w=21600")]), is(76, None));
        assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225600")]), is(0, None));
        assert_eq!(read(&[("ratelimit-remaining", "5"), ("ratelimit-reset", "30")]), is(5, Some(30)));
        assert_eq!(read(&[("ratelimit", "\"default\";r=50;t=30")]), is(50, Some(30)));
        assert_eq!(read(&[("ratelimit", "limit=100, remaining=2, reset=7")]), is(2, Some(7)));
        assert_eq!(read(&[("ratelimit-limit", "100")]), None);
    }

    #[tokio::test]
    async fn places_are_given_back_even_by_those_who_stop_waiting() {
        let limits = Limits::new(2);
        let host = limits.host(&Party::Host, "a", 1);
        let cancel = CancellationToken::new();
        let patience = Duration::from_secs(1);
        let first = limits.acquire(&host, patience, &cancel).await.unwrap();
        let stopped = CancellationToken::new();
        stopped.cancel();
        assert!(limits.acquire(&host, patience, &stopped).await.is_err());
        drop(first);
        let second = limits.acquire(&host, patience, &cancel).await.unwrap();
        second.succeeded();
        drop(second);
        assert_eq!(host.window().in_flight, 0);

        host.pause(Duration::from_secs(3600));
        let error = limits.acquire(&host, patience, &cancel).await.unwrap_err();
        assert_eq!(error.class(), base::error::Class::RateLimited);
        assert!(error.until().is_some());
    }

    #[tokio::test]
    async fn the_pool_bounds_all_hosts_together() {
        let limits = Limits::new(2);
        let cancel = CancellationToken::new();
        let mut held = Vec::new();
        for name in ["a", "b"] {
            held.push(limits.acquire(&limits.host(&Party::Host, name, 4), Duration::ZERO, &cancel).await.unwrap());
        }
        let host = limits.host(&Party::Host, "c", 4);
        let waiting = limits.acquire(&host, Duration::ZERO, &cancel);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        held.pop();
        waiting.await.unwrap();
    }

    /// However much a guest holds, a step of the host finds a place.
    #[tokio::test]
    async fn guests_have_half_of_the_pool_together() {
        for pool in [1, 2, 5] {
            let limits = Limits::new(pool);
            let cancel = CancellationToken::new();
            let guests = ["a", "b"].map(|name| Party::Guest(name.into()));
            let mut held = Vec::new();
            for number in 0..(pool / 2).max(1) {
                let host = limits.host(&guests[number % 2], &number.to_string(), 4);
                held.push(limits.acquire(&host, Duration::ZERO, &cancel).await.unwrap());
            }
            let host = limits.host(&guests[1], "more", 4);
            let mut more = Box::pin(limits.acquire(&host, Duration::ZERO, &cancel));
            assert!(futures_util::poll!(&mut more).is_pending(), "{pool}");
            for number in 0..pool.div_ceil(2) {
                let host = limits.host(&Party::Host, &number.to_string(), 4);
                let asked = limits.acquire(&host, Duration::ZERO, &cancel);
                held.push(tokio::time::timeout(Duration::from_secs(10), asked).await.expect("a place").unwrap());
            }
        }
    }

    /// Nor does the pause that a server asks of a guest hold up the host.
    #[tokio::test]
    async fn a_pause_is_that_of_who_was_asked_for_it() {
        let limits = Limits::new(4);
        let guest = Party::Guest("a".into());
        limits.host(&guest, "h", 1).pause(Duration::from_secs(3600));
        limits.host(&guest, "h", 1).give_up(7);
        let cancel = CancellationToken::new();
        for party in [&Party::Host, &Party::Guest("b".into())] {
            let host = limits.host(party, "h", 1);
            assert!(!host.is_given_up(7));
            limits.acquire(&host, Duration::ZERO, &cancel).await.unwrap();
        }
        assert!(limits.acquire(&limits.host(&guest, "h", 1), Duration::ZERO, &cancel).await.is_err());
    }

    /// More wait for a place than hold one: a long pause ends them all.
    #[tokio::test]
    async fn a_pause_beyond_the_patience_ends_everyone_who_waits() {
        let limits = Limits::new(16);
        let host = limits.host(&Party::Host, "a", 1);
        let cancel = CancellationToken::new();
        let patience = Duration::from_secs(1);
        let held = limits.acquire(&host, patience, &cancel).await.unwrap();
        let waiting = futures_util::future::join_all((0..8).map(|_| limits.acquire(&host, patience, &cancel)));
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        host.pause(Duration::from_secs(3600));
        drop(held);
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("everyone is told");
        for result in ended {
            let error = result.unwrap_err();
            assert_eq!((error.class(), error.until().is_some()), (base::error::Class::RateLimited, true));
        }
    }

    /// Who is told that a place is free and then goes away tells the next one.
    #[tokio::test]
    async fn a_notice_is_not_lost_with_who_stops_waiting() {
        let limits = Limits::new(16);
        let host = limits.host(&Party::Host, "a", 1);
        let cancel = CancellationToken::new();
        let patience = Duration::from_secs(60);
        let held = limits.acquire(&host, patience, &cancel).await.unwrap();
        let mut first = Box::pin(limits.acquire(&host, patience, &cancel));
        let mut second = Box::pin(limits.acquire(&host, patience, &cancel));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        host.window().pause_until(Instant::now() + Duration::from_millis(50));
        drop(held);
        assert!(futures_util::poll!(&mut first).is_pending(), "the pause is not over");
        drop(first);
        tokio::time::timeout(Duration::from_secs(10), second).await.expect("it is told").unwrap();
    }
}
