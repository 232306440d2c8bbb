//! Progress as data: one JSON object per line.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Event, Observer};

/// A step's progress is told at most this often.
const INTERVAL: Duration = Duration::from_millis(200);

/// Writes one JSON object per event.
pub struct JsonLines {
    inner: Mutex<(Box<dyn Write + Send>, Option<Instant>)>,
}

impl JsonLines {
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { inner: Mutex::new((out, None)) }
    }
}

impl Observer for JsonLines {
    fn observe(&self, event: &Event) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event, Event::StepProgress { .. }) {
            if inner.1.is_some_and(|told| told.elapsed() < INTERVAL) {
                return;
            }
            inner.1 = Some(Instant::now());
        }
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            // A reader that went away is no reason to stop a build.
            let _ = inner.0.write_all(&line);
            let _ = inner.0.flush();
        }
    }
}
