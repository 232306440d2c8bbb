//! Progress without a terminal: one plain line per thing worth telling.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base::error::Class;
use base::progress::{Counters, Event, Level, Observer, text};
use base::visible;

/// A step's progress is told at most this often: a log is read afterwards.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines to a log.
pub(crate) struct Lines {
    inner: Mutex<Inner>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    verbose: bool,
    told: HashMap<String, Instant>,
    counters: HashMap<String, Arc<Counters>>,
}

impl Lines {
    pub(crate) fn new(out: Box<dyn Write + Send>, verbose: bool) -> Self {
        Self { inner: Mutex::new(Inner { out, verbose, told: HashMap::new(), counters: HashMap::new() }) }
    }
}

impl Observer for Lines {
    fn observe(&self, event: &Event) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::StepProgress { step, .. } = event {
            let due = inner.told.get(step).is_none_or(|told| told.elapsed() >= INTERVAL);
            if !due {
                return;
            }
            inner.told.insert(step.clone(), Instant::now());
        }
        // Many items wait for one server: it is told once.
        if let Event::Waiting { step, message, .. } = event
            && !inner.verbose
        {
            let key = format!("{step}: {message}");
            if inner.told.get(&key).is_some_and(|told| told.elapsed() < INTERVAL) {
                return;
            }
            inner.told.insert(key, Instant::now());
        }
        let fetched = match event {
            Event::StepProgress { step, .. } => inner.counters.get(step).map(|counters| counters.read().bytes_fetched),
            _ => None,
        };
        if let Some(line) = line(event, fetched, inner.verbose) {
            // A log that nobody reads any more is no reason to stop a build.
            let _ = writeln!(inner.out, "{line}");
        }
    }

    fn watch(&self, step: &str, counters: Arc<Counters>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // The first progress comes with the start; the next one is due later.
        inner.told.insert(step.to_owned(), Instant::now());
        inner.counters.insert(step.to_owned(), counters);
    }
}

/// One event as one line; None for what is not worth one.
pub(crate) fn line(event: &Event, fetched: Option<u64>, verbose: bool) -> Option<String> {
    let text = match event {
        Event::StepStarted { step, attempt: 1, why } if why.is_empty() => format!("{step}: started"),
        Event::StepStarted { step, attempt: 1, why } => format!("{step}: started again, {why}"),
        Event::StepStarted { step, attempt, .. } => format!("{step}: started, attempt {attempt}"),
        Event::StepProgress { step, done, total, unit, message } => {
            let of = total.map(|total| format!("/{total}")).unwrap_or_default();
            let way = if step == "push" { "sent" } else { "fetched" };
            let bytes = fetched.filter(|bytes| *bytes > 0).map(|bytes| format!(", {} {way}", text::bytes(bytes)));
            let message = if message.is_empty() { String::new() } else { format!(", {message}") };
            format!("{step}: {done}{of} {unit}{}{message}", bytes.unwrap_or_default())
        }
        Event::StepCompleted { step, summary, duration_ms } => {
            format!("{step}: completed in {}: {summary}", text::duration(*duration_ms))
        }
        Event::StepSkipped { step, reason } => format!("{step}: kept, {reason}"),
        // Who stopped it knows.
        Event::StepFailed { class, .. } if *class == Class::Interrupted => return None,
        Event::StepFailed { step, class, message } => format!("{step}: failed ({class}): {message}"),
        Event::StepRetrying { step, attempt, wait_ms, message } => {
            format!("{step}: attempt {attempt} in {}: {message}", text::duration(*wait_ms))
        }
        Event::Waiting { step, wait_ms, message } => {
            format!("{step}: again in {}: {message}", text::duration(*wait_ms))
        }
        Event::Log { level, .. } if *level < Level::Info && !verbose => return None,
        Event::Log { step, level, message } => {
            let step = step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
            let level = match level {
                Level::Warn => "warning: ",
                Level::Error => "error: ",
                _ => "",
            };
            format!("{level}{step}{message}")
        }
    };
    Some(visible::line(&text))
}
