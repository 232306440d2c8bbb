//! `host`: the log and the progress line.

use std::time::Instant;

use crate::bindings::Refusal;
use crate::bindings::{host, types};
use crate::call::Call;
use crate::limits::{
    FAILURE_ITEMS, LOG_LINES, LOG_MESSAGE, PROGRESS_ENDS, PROGRESS_MESSAGE, PROGRESS_PAUSE, UNIT, WARNINGS,
};
use crate::report::failed_item;
use crate::text;
use base::progress::Level;

impl host::Host for Call {
    async fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        self.talk.lines += 1;
        if self.talk.lines > LOG_LINES {
            if self.talk.lines == LOG_LINES + 1 {
                self.progress.warn(&format!("the plugin logged more than {LOG_LINES} lines: the others are dropped"));
            }
            return Ok(());
        }
        let message = text::lines(&message, LOG_MESSAGE);
        if level == host::Level::Warn {
            self.talk.warnings += 1;
            if self.talk.warnings <= WARNINGS {
                self.progress.warn(&message);
                return Ok(());
            }
        }
        self.progress.log(level_of(level), &message);
        Ok(())
    }

    async fn progress(
        &mut self,
        done: u64,
        total: Option<u64>,
        unit: String,
        message: String,
    ) -> wasmtime::Result<bool> {
        let message = text::line(&message, PROGRESS_MESSAGE);
        self.progress.count(done, total);
        let due = self.talk.shown.is_none_or(|shown| shown.elapsed() >= PROGRESS_PAUSE);
        // What is complete is shown at once, unless it is so over and over.
        self.talk.ends += u64::from(total == Some(done));
        if due || (total == Some(done) && self.talk.ends <= PROGRESS_ENDS) {
            self.talk.shown = Some(Instant::now());
            self.progress.items(done, total, &text::line(&unit, UNIT), &message);
        }
        self.talk.at = message;
        Ok(!self.progress.cancellation().is_cancelled())
    }

    async fn failed(&mut self, items: Vec<types::ItemFailure>) -> wasmtime::Result<()> {
        self.work("host.failed").map_err(Refusal::into_error)?;
        let room = FAILURE_ITEMS.saturating_sub(self.talk.failed.len());
        self.talk.unlisted += items.len().saturating_sub(room);
        for item in items.into_iter().take(room).map(failed_item) {
            self.progress.log(Level::Error, &format!("{}: {}", item.item, item.message));
            self.talk.failed.push(item);
        }
        Ok(())
    }
}

fn level_of(level: host::Level) -> Level {
    match level {
        host::Level::Trace => Level::Trace,
        host::Level::Debug => Level::Debug,
        host::Level::Info => Level::Info,
        host::Level::Warn => Level::Warn,
        host::Level::Error => Level::Error,
    }
}
