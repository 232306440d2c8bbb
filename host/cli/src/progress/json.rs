//! Progress as data: one JSON object per line.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use base::progress::{Counters, Event, Observer};
use base::visible;

/// A step's progress is told at most this often.
const INTERVAL: Duration = Duration::from_millis(200);

/// Writes one JSON object per event.
pub(crate) struct JsonLines {
    inner: Mutex<Inner>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    told: Option<Instant>,
    counters: HashMap<String, Arc<Counters>>,
}

/// An event; a step's progress with its bytes.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_fetched: Option<u64>,
    /// Those in the store included, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
}

impl<'a> Line<'a> {
    fn new(event: &'a Event, counters: &HashMap<String, Arc<Counters>>) -> Self {
        let counters = match event {
            Event::StepProgress { step, .. } => counters.get(step),
            _ => None,
        };
        let bytes_total = counters.map(|counters| counters.bytes_total.load(Ordering::Relaxed));
        let bytes_fetched = counters.map(|counters| counters.bytes_fetched.load(Ordering::Relaxed));
        Self { event, bytes_fetched, bytes_total: bytes_total.filter(|bytes| *bytes > 0) }
    }
}

impl JsonLines {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { inner: Mutex::new(Inner { out, told: None, counters: HashMap::new() }) }
    }
}

impl Observer for JsonLines {
    fn observe(&self, event: &Event) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event, Event::StepProgress { .. }) {
            if inner.told.is_some_and(|told| told.elapsed() < INTERVAL) {
                return;
            }
            inner.told = Some(Instant::now());
        }
        if let Ok(line) = serde_json::to_string(&Line::new(event, &inner.counters)) {
            // A reader that went away is no reason to stop a build.
            let _ = writeln!(inner.out, "{}", visible::json(&line));
            let _ = inner.out.flush();
        }
    }

    fn watch(&self, step: &str, counters: Arc<Counters>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.counters.insert(step.to_owned(), counters);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use base::progress::Progress;

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_step_s_progress_comes_with_its_bytes() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let observer = Arc::new(JsonLines::new(Box::new(Shared(said.clone()))));
        let progress = Progress::new("files", observer, CancellationToken::new());
        progress.expects(1000);
        progress.fetched(400);
        progress.items(0, Some(1), "files", "");
        let line: serde_json::Value = serde_json::from_slice(&said.lock().unwrap()).unwrap();
        assert_eq!((&line["event"], &line["step"]), (&"step-progress".into(), &"files".into()));
        assert_eq!((&line["bytes_fetched"], &line["bytes_total"]), (&400.into(), &1000.into()));
    }
}
