//! What happens, told to whoever shows it.
//!
//! Steps, network and plugins hold a [`Progress`] of their step and report
//! items, bytes and warnings; an [`Observer`] (terminal, plain lines, JSON)
//! turns [`Event`]s into output. Counters are atomics, so that reporting a
//! chunk costs nanoseconds; observers read them when they draw.

mod allowance;
pub mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::{Class, Error, Result};

pub use allowance::Allowance;

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemProgress {
    /// Items that are finished.
    pub done: u64,
    /// Items in all; 0 while unknown.
    pub total: u64,
    /// What is counted: "images", "files".
    pub unit: String,
}

/// What a finished attempt says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// One line for the table at the end: "38 images, 412 blobs".
    pub summary: String,
    /// How many `unit` there are.
    pub items: u64,
    /// "images", "files", "charts".
    pub unit: String,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every detail.
    Trace,
    /// What helps to find out why something went wrong.
    Debug,
    /// What is worth knowing.
    Info,
    /// Something is not as it should be, and the work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Something that happened. With `--json` each is one line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An attempt of a step begins.
    StepStarted {
        /// The step's id.
        step: String,
        /// Which attempt of the step in this run it is, from 1.
        attempt: u32,
        /// Why a step that was done before runs again; empty otherwise.
        why: String,
    },
    /// Items or bytes of a step moved on.
    StepProgress {
        /// The step's id.
        step: String,
        /// Items that are finished.
        done: u64,
        /// Items in all; None while unknown.
        total: Option<u64>,
        /// What is counted: "images", "files".
        unit: String,
        /// What is worked on, for people; may be empty.
        message: String,
    },
    /// A step committed what it made.
    StepCompleted {
        /// The step's id.
        step: String,
        /// What it made, on one line.
        summary: String,
        /// Milliseconds of the attempt that was committed.
        duration_ms: u64,
    },
    /// A step keeps what it made before.
    StepSkipped {
        /// The step's id.
        step: String,
        /// Why it does not run.
        reason: String,
    },
    /// A step has failed for good.
    StepFailed {
        /// The step's id.
        step: String,
        /// The error's class.
        class: Class,
        /// The error with its causes, on one line.
        message: String,
    },
    /// A step will be tried again after a pause.
    StepRetrying {
        /// The step's id.
        step: String,
        /// The attempt that comes next.
        attempt: u32,
        /// Milliseconds until then.
        wait_ms: u64,
        /// Why the last attempt failed, with its causes, on one line.
        message: String,
    },
    /// The registry or server asked to wait, or a request is repeated.
    Waiting {
        /// The step's id.
        step: String,
        /// Milliseconds of the pause.
        wait_ms: u64,
        /// Who asked to wait, or what failed.
        message: String,
    },
    /// Something to be said.
    Log {
        /// The id of the step that says it; None where it is about the whole build.
        step: Option<String>,
        /// How important it is.
        level: Level,
        /// What is said.
        message: String,
    },
}

/// Shows events. Called from any thread; must not block for long.
pub trait Observer: Send + Sync {
    /// Shows one event, or passes over it.
    fn observe(&self, event: &Event);
    /// A step began: its counters may be read from now on to draw a line.
    fn watch(&self, _step: &str, _counters: Arc<Counters>) {}
}

/// Drops everything.
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event) {}
}

/// What one step attempt has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Items that are finished.
    pub items_done: AtomicU64,
    /// 0 while unknown.
    pub items_total: AtomicU64,
    /// Bytes that came over the network.
    pub bytes_fetched: AtomicU64,
    /// Bytes that the store held already.
    pub bytes_reused: AtomicU64,
    /// Bytes of the work in all, as far as it is known; 0 while it is not.
    pub bytes_total: AtomicU64,
    /// HTTP requests sent.
    pub requests: AtomicU64,
    /// Requests repeated after a failure.
    pub retries: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Counts {
    /// Items that are finished.
    pub items_done: u64,
    /// Items in all; 0 while unknown.
    pub items_total: u64,
    /// Bytes that came over the network.
    pub bytes_fetched: u64,
    /// Bytes that the store held already.
    pub bytes_reused: u64,
    /// HTTP requests sent.
    pub requests: u64,
    /// Requests repeated after a failure.
    pub retries: u64,
}

impl Counts {
    /// Of two attempts of a step, one after the other. What the first one
    /// fetched is no more than that when the second one finds it in the store.
    #[must_use]
    pub fn and_then(self, next: Self) -> Self {
        let found = next.bytes_reused.saturating_sub(self.bytes_fetched);
        Self {
            items_done: next.items_done,
            items_total: next.items_total,
            bytes_fetched: self.bytes_fetched + next.bytes_fetched,
            bytes_reused: self.bytes_reused.max(found),
            requests: self.requests + next.requests,
            retries: self.retries + next.retries,
        }
    }

    /// Of a step that has completed: what a plugin said last about its items
    /// may be older than its end.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { items_done: self.items_done.max(self.items_total), ..self }
    }
}

impl Counters {
    /// Each counter as it stands now.
    pub fn read(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            items_done: get(&self.items_done),
            items_total: get(&self.items_total),
            bytes_fetched: get(&self.bytes_fetched),
            bytes_reused: get(&self.bytes_reused),
            requests: get(&self.requests),
            retries: get(&self.retries),
        }
    }
}

/// Numbers attempts.
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

/// The reporting and cancellation handle of one step attempt. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    step: Arc<str>,
    attempt: u64,
    observer: Arc<dyn Observer>,
    counters: Arc<Counters>,
    warnings: Arc<Mutex<Vec<String>>>,
    /// What was told last, and how many bytes had come by then.
    last: Arc<Mutex<Option<(u64, Event)>>>,
    /// None where nobody counts.
    allowance: Option<Arc<Allowance>>,
    cancel: CancellationToken,
}

impl Progress {
    /// The handle of one attempt of `step`, whose counters `observer` may read from now on.
    /// `cancel` is what stops the attempt.
    pub fn new(step: &str, observer: Arc<dyn Observer>, cancel: CancellationToken) -> Self {
        let counters = Arc::new(Counters::default());
        observer.watch(step, counters.clone());
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let (warnings, last) = (Arc::default(), Arc::default());
        Self { step: step.into(), attempt, observer, counters, warnings, last, allowance: None, cancel }
    }

    /// Bounds what may be asked of the network through this handle.
    #[must_use]
    pub fn within(self, allowance: Allowance) -> Self {
        Self { allowance: Some(Arc::new(allowance)), ..self }
    }

    /// For tests and for work outside a build.
    pub fn silent(step: &str) -> Self {
        Self::new(step, Arc::new(Silent), CancellationToken::new())
    }

    /// The step's id.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// Tells attempts apart, over all steps of this process.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// What the attempt has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Tells how far the step is: `done` of `total` items in `unit`.
    pub fn items(&self, done: u64, total: Option<u64>, unit: &str, message: &str) {
        self.count(done, total);
        let (step, unit, message) = (self.step.to_string(), unit.to_owned(), message.to_owned());
        let event = Event::StepProgress { step, done, total, unit, message };
        self.observer.observe(&event);
        let bytes = self.counters.bytes_fetched.load(Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, event));
    }

    /// The same, told to nobody: the next one who reads the counters sees it.
    pub fn count(&self, done: u64, total: Option<u64>) {
        self.counters.items_done.store(done, Ordering::Relaxed);
        self.counters.items_total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    /// How far the step is, where it counts anything.
    pub fn reached(&self) -> Option<ItemProgress> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, Event::StepProgress { unit, .. })) = &*last else { return None };
        let Counts { items_done: done, items_total: total, .. } = self.counters.read();
        Some(ItemProgress { done, total, unit: unit.clone() })
    }

    /// Tells again how far the step is where only bytes have moved on.
    pub fn beat(&self) {
        let bytes = self.counters.bytes_fetched.load(Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((told, event)) = &mut *last else { return };
        if std::mem::replace(told, bytes) != bytes {
            self.observer.observe(event);
        }
    }

    /// Tells what is being worked on; the items are as they were.
    pub fn working(&self, message: &str) {
        let told = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, Event::StepProgress { done, total, unit, .. })) = told {
            self.items(done, total, &unit, message);
        }
    }

    /// So many bytes belong to the work, wherever they come from.
    pub fn expects(&self, bytes: u64) {
        self.counters.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes came over the network.
    pub fn fetched(&self, bytes: u64) {
        self.counters.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were needed, and the store held them already.
    pub fn reused(&self, bytes: u64) {
        self.counters.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request was sent.
    pub fn request(&self) {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Ok while what was asked for and what came is within the allowance. For
    /// who is about to send, and for who has just received.
    ///
    /// # Errors
    /// What the allowance says of the limit that is exceeded.
    pub fn may_go_on(&self) -> Result<()> {
        self.allowance.as_ref().map_or(Ok(()), |allowance| allowance.check(self.counters.read()))
    }

    /// A request will be repeated after `wait_ms`.
    pub fn retrying(&self, wait_ms: u64, message: &str) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.observer.observe(&Event::Waiting { step: self.step.to_string(), wait_ms, message: message.to_owned() });
    }

    /// Says something about the step.
    pub fn log(&self, level: Level, message: &str) {
        self.observer.observe(&Event::Log { step: Some(self.step.to_string()), level, message: message.to_owned() });
    }

    /// A warning is shown at once and again at the end of the build.
    pub fn warn(&self, message: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
        self.log(Level::Warn, message);
    }

    /// Every warning of the attempt, in order.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Done when the user asked to stop.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The error of a step that was asked to stop; Ok while it was not.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of 27 bytes is not reused as 54 because a step began twice.
    #[test]
    fn what_an_attempt_fetched_is_not_reused_by_the_next_one() {
        let attempt = |bytes_fetched, bytes_reused| Counts { bytes_fetched, bytes_reused, ..Counts::default() };
        for (first, second, fetched, reused) in [
            (attempt(20, 7), attempt(0, 27), 20, 7),
            (attempt(0, 27), attempt(0, 27), 0, 27),
            (attempt(5, 0), attempt(15, 12), 20, 7),
            (attempt(0, 0), attempt(27, 0), 27, 0),
        ] {
            let both = first.and_then(second);
            assert_eq!((both.bytes_fetched, both.bytes_reused), (fetched, reused));
        }
    }
}
