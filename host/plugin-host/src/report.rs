//! How a call is reported that ended otherwise than well.
//!
//! Three layers never mix: what the step decided to report (`StepError`, see
//! [`polite`]), what the host decided ([`Stop`]) or the guest ran into (a
//! trap), and what was refused before anything ran (`validate`, `catalog`).

use jiff::Timestamp;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::types::{Failure, ItemFailure as ItemSaid, StepError};
use super::budget::Budget;
use super::console::Console;
use super::limits::{
    CallLimits, FAILURE_ITEMS, FAILURE_MESSAGE, HANDLES, HOST_CALL_BYTES, PANIC_LINES, REPORT_FRAMES, REPORT_LINES,
};
use super::notes::with_notes;
use super::panic::Panic;
use super::stop::Stop;
use super::subject::Subject;
use super::text;
use base::error::{Class, Error, ItemFailure};
use base::progress::Progress;
use config::limits::Limit;

/// What the host knows about a call besides its error.
pub(super) struct Circumstances<'a> {
    pub(super) subject: &'a Subject,
    pub(super) limits: &'a CallLimits,
    pub(super) budget: &'a Budget,
    pub(super) console: &'a Console,
    /// What the plugin said last that it works on; may be empty.
    pub(super) at: &'a str,
}

/// The report of a call that did not return.
pub(super) fn explain(error: &wasmtime::Error, about: &Circumstances<'_>) -> Error {
    let subject = about.subject;
    match error.downcast_ref::<Stop>() {
        Some(Stop::Interrupted) => return Error::interrupted(),
        Some(Stop::Host(error)) if names(error, subject) => return error.clone(),
        Some(Stop::Host(error)) if error.class() == Class::Plugin => {
            return error.clone().context(format!("{subject} was stopped"));
        }
        Some(Stop::Host(error)) => return error.clone(),
        Some(Stop::Deadline) if about.limits.describes => {
            let message = format!(
                "{subject} computed for longer than the {} s in which it may describe itself",
                about.limits.seconds()
            );
            let error = with_notes(Error::new(Class::Plugin, message), notes(None, about));
            return error
                .hint("`describe` is there to say what the plugin is: report it to its author, it is not to work");
        }
        Some(Stop::Deadline) => {
            let message = format!("{subject} computed for longer than its limit of {} s", about.limits.seconds());
            return exceeded(Limit::Time, message, error, about);
        }
        Some(Stop::ConsoleFlood) => {
            let (kib, kept) = (about.limits.console_flood() / 1024, about.limits.console / 1024);
            let message = format!("{subject} printed more than {kib} KiB, of which {kept} are kept");
            return exceeded(Limit::Console, message, error, about);
        }
        Some(stop @ Stop::NotInDescribe(_)) => {
            return Error::new(Class::Plugin, format!("{subject} is not usable: {stop}"));
        }
        None => {}
    }
    if let Some(wanted) = about.budget.refused() {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let message = format!(
            "{subject} ran out of memory: it asked for {} MiB, and its limit is {} MiB",
            mib(wanted),
            mib(about.limits.memory)
        );
        return exceeded(Limit::Memory, message, error, about);
    }
    crashed(error, about)
}

/// Whether an error says already whose it is.
fn names(error: &Error, subject: &Subject) -> bool {
    error.message().starts_with(&subject.to_string())
}

fn exceeded(limit: Limit, message: String, error: &wasmtime::Error, about: &Circumstances<'_>) -> Error {
    with_notes(about.limits.own.exceeded(limit, message), notes(None, about)).with_details(details(error))
}

/// A fault of the plugin, not of the user. What it said when it panicked is
/// told; where in the component that was is a detail.
fn crashed(error: &wasmtime::Error, about: &Circumstances<'_>) -> Error {
    let subject = about.subject;
    let panic = Panic::among(&about.console.last_lines(PANIC_LINES));
    let has_panicked = panic.is_some();
    let (message, reason) = if let Some(panic) = panic {
        (format!("{subject} panicked{panic}"), None)
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (format!("{subject} exited with status {} instead of returning", exit.0), None)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (format!("{subject} crashed"), Some(trap.to_string()))
    } else if held_too_much(error) {
        (format!("{subject} held more than {HANDLES} handles"), None)
    } else if error.to_string().contains("fuel allocated for hostcalls") || chain(error).contains("for hostcalls") {
        let mib = HOST_CALL_BYTES >> 20;
        (format!("{subject} passed more than {mib} MiB to the host in one call"), None)
    } else {
        (format!("{subject} failed"), Some(text::line(&chain(error), FAILURE_MESSAGE)))
    };
    let mut details = details(error);
    let mut notes = notes(reason, about);
    if has_panicked {
        details.append(&mut notes);
    }
    let error = with_notes(Error::new(Class::Plugin, message), notes).with_details(details);
    error.hint("this is a fault of the plugin: report it to its author, with what `--verbose` shows")
}

/// Handles are counted by our table and by wasmtime's own, whichever is full
/// first; of the latter there are only words.
fn held_too_much(error: &wasmtime::Error) -> bool {
    let is_full = matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full));
    is_full || chain(error).contains("handle limit exceeded")
}

/// Every cause but the backtrace, which is shown in our own words.
fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|text| !text.starts_with("error while executing at wasm backtrace"))
        .collect();
    causes.join(": ")
}

/// One line each: the reason, what it was at, and what was printed last.
fn notes(reason: Option<String>, about: &Circumstances<'_>) -> Vec<String> {
    let printed = about.console.last_lines(REPORT_LINES);
    let printed = printed.iter().map(|line| format!("it printed: {}", text::line(line.trim_start(), 500)));
    let at = (!about.at.is_empty()).then(|| format!("it was at: {}", about.at));
    reason.into_iter().chain(at).chain(printed).collect()
}

/// Where in the component it was.
fn details(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    if frames.is_empty() { Vec::new() } else { vec![format!("in {}", frames.join(", called by "))] }
}

/// Demangled names, innermost first, without the machinery of a panic.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let all: Vec<String> = backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name())
        .map(|name| text::line(&format!("{:#}", rustc_demangle::demangle(name)), 200))
        .collect();
    let own = all.iter().position(|name| !is_machinery(name)).unwrap_or(0);
    all.into_iter().skip(own).take(REPORT_FRAMES).collect()
}

fn is_machinery(name: &str) -> bool {
    let prefixes = ["std::", "core::", "alloc::", "__rust", "rust_", "<std::", "<core::", "<alloc::", "_R"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || matches!(name, "abort" | "__abort" | "_abort")
}

/// What a step reported by itself, as the host's error.
pub(super) fn polite(error: StepError, cancelled: bool, subject: &Subject, told: Told) -> Error {
    let (class, failure) = match error {
        StepError::Interrupted if cancelled => return Error::interrupted(),
        StepError::Interrupted => {
            return Error::new(Class::Plugin, format!("{subject} stopped although nobody asked it to"));
        }
        StepError::InvalidInput(failure) => (Class::InvalidInput, failure),
        StepError::MissingInput(failure) => (Class::NotFound, failure),
        StepError::Denied(failure) => (Class::Plugin, failure),
        StepError::Transient(failure) => {
            (if failure.retryable { Class::Transient } else { Class::InvalidInput }, failure)
        }
        StepError::Other(failure) => (class_of(&failure), failure),
    };
    let Failure { code, message, hint, .. } = failure;
    let (message, rows) = message.trim().split_once('\n').unwrap_or((&message, ""));
    let message = text::line(message, FAILURE_MESSAGE);
    let message = if message.is_empty() { format!("{subject} failed without a message") } else { message };
    let error = Error::new(class, message).with_items(told.with_rows(rows, class));
    // Which bytes it is and in which step it ran stands elsewhere. Of our own ones
    // nobody needs to know more than the step.
    let Subject { plugin, version, is_core, .. } = subject;
    let code = text::line(&code, CODE);
    let tail = (!is_core).then(|| format!("reported by plugin {plugin} {version} as `{code}`"));
    let error = with_notes(error.with_code(code), tail.into_iter().collect());
    match hint {
        Some(hint) => error.hint(text::line(&hint, FAILURE_MESSAGE)),
        None => error,
    }
}

/// Bytes of a code that are kept.
const CODE: usize = 64;

/// What a step said of the things that failed, through `host.failed`.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) failed: Vec<ItemFailure>,
    /// As many more.
    pub(super) unlisted: usize,
}

impl Told {
    /// They failed, and the step did not.
    pub(super) fn warn(&self, progress: &Progress) {
        self.failed.iter().for_each(|item| progress.warn(&format!("{}: {}", item.item, item.message)));
        if self.unlisted > 0 {
            progress.warn(&format!("and {} more", self.unlisted));
        }
    }

    /// With what stands below the first line of its message: an item a line,
    /// `<item>: <what>`, and what helps in an indented one below.
    fn with_rows(self, rows: &str, class: Class) -> Vec<ItemFailure> {
        let Self { failed: mut items, unlisted: mut left_out } = self;
        for row in rows.lines().filter(|row| !row.trim().is_empty()) {
            if row.starts_with([' ', '\t']) {
                if let Some(item) = items.last_mut().filter(|_| left_out == 0) {
                    item.hint = Some(text::line(row.trim(), FAILURE_MESSAGE));
                }
            } else if items.len() >= FAILURE_ITEMS {
                left_out += 1;
            } else {
                let (item, what) = row.split_once(": ").unwrap_or(("", row));
                let [item, what] = [item, what].map(|text| text::line(text, FAILURE_MESSAGE));
                items.push(one(item, class, what));
            }
        }
        if left_out > 0 {
            items.push(one("…".to_owned(), class, format!("and {left_out} more")));
        }
        items
    }
}

fn one(item: String, class: Class, message: String) -> ItemFailure {
    ItemFailure { item, origin: String::new(), class, status: None, code: None, message, hint: None }
}

/// What a step said of one thing.
pub(super) fn failed_item(said: ItemSaid) -> ItemFailure {
    let ItemSaid { name, failure } = said;
    let class = class_of(&failure);
    let [name, message] = [name, failure.message].map(|text| text::line(&text, FAILURE_MESSAGE));
    ItemFailure {
        code: Some(text::line(&failure.code, CODE)),
        hint: failure.hint.map(|hint| text::line(&hint, FAILURE_MESSAGE)),
        ..one(name, class, message)
    }
}

/// A step that failed for now, and was told by a server when to come back.
pub(super) fn until(come_back: Option<Timestamp>, error: Error) -> Error {
    match come_back {
        Some(until) if error.class() == Class::Transient => error.with_class(Class::RateLimited).retry_at(until),
        _ => error,
    }
}

/// The codes of `other` that say more.
fn class_of(failure: &Failure) -> Class {
    match failure.code.as_str() {
        _ if failure.retryable => Class::Transient,
        "auth" => Class::Auth,
        "not-found" | "offline" => Class::NotFound,
        "integrity" => Class::Integrity,
        _ => Class::InvalidInput,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;
    use config::limits::{OwnLimits, PluginSettings};

    fn told(limits: &CallLimits) -> Error {
        let subject =
            Subject { step: None, plugin: "p".into(), version: "1".into(), digest: Digest::of(b""), is_core: false };
        let (budget, console) = (Budget::new(1), Console::new(100, 100));
        let about = Circumstances { subject: &subject, limits, budget: &budget, console: &console, at: "" };
        explain(&Stop::Deadline.into(), &about)
    }

    /// Nobody raises a setting that is not what was met.
    #[test]
    fn an_overrun_of_describe_names_its_own_limit() {
        let error = told(&CallLimits::describe(&PluginSettings::default(), OwnLimits::default()));
        assert!(error.message().ends_with("for longer than the 10 s in which it may describe itself"), "{error}");
        assert!(!error.hint_text().unwrap().contains("plugins.time_limit"));
        let lower = PluginSettings { time_limit: 3, ..PluginSettings::default() };
        let error = told(&CallLimits::describe(&lower, OwnLimits::default()));
        assert!(error.message().contains("limit of 3 s (`plugins.time_limit`)"), "{error}");
    }

    #[test]
    fn what_failed_is_listed_from_both_ways_of_saying_it() {
        let said = |name: &str| ItemSaid {
            name: name.into(),
            failure: Failure { code: "bad".into(), message: "no\u{1b}".into(), hint: None, retryable: false },
        };
        let told = Told { failed: vec![failed_item(said("chart a"))], unlisted: 2 };
        let items = told.with_rows("chart b: worse\n  look", Class::InvalidInput);
        let seen: Vec<_> =
            items.iter().map(|item| (item.item.as_str(), item.code.as_deref(), item.message.as_str())).collect();
        assert_eq!(
            seen,
            [("chart a", Some("bad"), "no\\u{1b}"), ("chart b", None, "worse"), ("…", None, "and 2 more")]
        );
    }
}
