//! Progress on a terminal: a line per running step with items, bytes, rate
//! and the time left, above it the log.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::line;
use base::progress::{Counters, Event, Observer, text};
use base::visible;

/// Draws on a terminal.
pub(crate) struct Terminal {
    bars: MultiProgress,
    verbose: bool,
    steps: Mutex<HashMap<String, StepLine>>,
}

struct StepLine {
    bar: ProgressBar,
    counters: Arc<Counters>,
    started: Instant,
}

impl Terminal {
    /// `target` is standard error, which only the command line may choose.
    pub(crate) fn new(target: ProgressDrawTarget, verbose: bool) -> Self {
        Self { bars: MultiProgress::with_draw_target(target), verbose, steps: Mutex::default() }
    }
}

impl Observer for Terminal {
    fn observe(&self, event: &Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepProgress { step, done, total, unit, message } => {
                if let Some(shown) = steps.get(step) {
                    shown.bar.set_message(shown.describe(*done, *total, unit, message));
                }
                return;
            }
            Event::StepCompleted { step, .. } | Event::StepFailed { step, .. } | Event::StepRetrying { step, .. } => {
                if let Some(shown) = steps.remove(step) {
                    shown.bar.finish_and_clear();
                    self.bars.remove(&shown.bar);
                }
            }
            Event::StepStarted { attempt: 1, why, .. } if why.is_empty() => return,
            _ => {}
        }
        if let Some(line) = line(event, None, self.verbose) {
            let _ = self.bars.println(line);
        }
    }

    fn watch(&self, step: &str, counters: Arc<Counters>) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<10} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(visible::line(step));
        bar.enable_steady_tick(Duration::from_millis(120));
        let shown = StepLine { bar, counters, started: Instant::now() };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(step.to_owned(), shown);
    }
}

impl StepLine {
    fn describe(&self, done: u64, total: Option<u64>, unit: &str, message: &str) -> String {
        let counts = self.counters.read();
        let of = total.map(|total| format!("/{total}")).unwrap_or_default();
        let mut line = format!("{done}{of} {unit}");
        if counts.bytes_fetched > 0 {
            let seconds = self.started.elapsed().as_secs_f64().max(0.001);
            let rate = counts.bytes_fetched as f64 / seconds;
            line.push_str(&format!("  {} ({}/s)", text::bytes(counts.bytes_fetched), text::bytes(rate as u64)));
            let expected = self.counters.bytes_total.load(Ordering::Relaxed);
            let left = expected.saturating_sub(counts.bytes_fetched + counts.bytes_reused);
            if left > 0 && rate > 1.0 {
                line.push_str(&format!("  {} left", text::estimate(left as f64 / rate)));
            }
        }
        if !message.is_empty() {
            line.push_str("  ");
            line.push_str(message);
        }
        visible::line(&line)
    }
}
