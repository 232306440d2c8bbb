//! Everything that is printed. Data goes to standard output, what happens on
//! the way to standard error. Every line is made [visible] here, and coloured
//! after that: only the colours of this file reach a terminal.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use indicatif::ProgressDrawTarget;
use serde::Serialize;

use super::GlobalArgs;
use super::environment::Variables;
use crate::progress::json::JsonLines;
use crate::progress::lines::Lines;
use crate::progress::terminal::Terminal;
use base::error::{Class, Error, Result};
use base::progress::{Observer, Silent};
use base::visible;

/// How this process talks.
#[derive(Clone, Debug)]
pub(super) struct Ui {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    color: bool,
    error_color: bool,
    columns: Option<usize>,
    /// Why standard output could not be written.
    failure: Arc<OnceLock<io::Error>>,
}

impl Ui {
    pub(super) fn new(args: &GlobalArgs, variables: &Variables) -> Self {
        let color = |terminal: bool| terminal && !variables.no_color && !args.json;
        Self {
            json: args.json,
            quiet: args.quiet,
            verbose: args.verbose,
            color: color(io::stdout().is_terminal()),
            error_color: color(io::stderr().is_terminal()),
            columns: variables.columns,
            failure: Arc::default(),
        }
    }

    /// Who shows the events of a build.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        if self.json {
            Arc::new(JsonLines::new(Box::new(io::stdout())))
        } else if self.quiet {
            Arc::new(Silent)
        } else if io::stderr().is_terminal() {
            Arc::new(Terminal::new(ProgressDrawTarget::stderr(), self.verbose))
        } else {
            Arc::new(Lines::new(Box::new(io::stderr()), self.verbose))
        }
    }

    /// A line for people on standard output: dropped with --quiet and --json.
    pub(super) fn say(&self, line: &str) {
        if !self.quiet && !self.json {
            self.write(&visible::line(line));
        }
    }

    /// Several lines, of which none can pretend to be two.
    pub(super) fn say_all(&self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        lines.into_iter().for_each(|line| self.say(line.as_ref()));
    }

    /// A line with the first `part` of it in colour.
    pub(super) fn say_painted(&self, color: Color, part: &str, line: &str) {
        let (line, part) = (visible::line(line), visible::line(part));
        if self.quiet || self.json {
            return;
        }
        match line.split_once(&part).filter(|_| self.color) {
            Some((before, behind)) => self.write(&format!("{before}\u{1b}[{}m{part}\u{1b}[0m{behind}", color as u8)),
            None => self.write(&line),
        }
    }

    /// Data on standard output: one JSON object on a line, with --json only.
    pub(super) fn data(&self, value: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(value)
        {
            self.write(&visible::json(&line));
        }
    }

    fn write(&self, line: &str) {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        match written {
            // A reader that went away is not a failure of ours: the work is done.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(self.failure.set(error)),
            _ => {}
        }
    }

    /// What was printed and did not arrive.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub(super) fn complete(&self) -> Result<()> {
        let failed = self.failure.get().map(|error| io::Error::new(error.kind(), error.to_string()));
        failed.map_or(Ok(()), |error| Err(Error::io("cannot write to", Path::new("standard output"), error)))
    }

    /// A remark on standard error.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr(), "{}", visible::line(text));
        }
    }

    /// An error: message, causes, hint, and the table of the items that
    /// failed.
    pub(super) fn error(&self, error: &Error) {
        if self.json {
            self.data(&JsonError::new(error));
            return;
        }
        // Who asked for it knows that it ended.
        if error.class() == Class::Interrupted {
            let what_now = error.hint_text().unwrap_or("nothing is lost, run the same command again");
            let _ = writeln!(io::stderr(), "interrupted: {}", visible::line(what_now));
            return;
        }
        let mut lines = vec![format!("{} {}", self.paint_error("error:"), visible::line(error.message()))];
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            lines.push(format!("  caused by: {}", visible::line(&inner.to_string())));
            cause = inner.source();
        }
        if self.verbose {
            lines.extend(error.details().iter().map(|line| format!("  {}", visible::line(line))));
        }
        lines.extend(super::table::failures(error.items()));
        let is_told = |hint: &&str| error.items().iter().any(|item| item.hint.as_deref() == Some(*hint));
        if let Some(hint) = error.hint_text().filter(|hint| !is_told(hint)) {
            lines.push(format!("hint: {}", visible::line(hint)));
        }
        let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
    }

    fn paint_error(&self, text: &str) -> String {
        if self.error_color { format!("\u{1b}[1;31m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Columns of standard output; without end where neither a terminal nor
    /// COLUMNS says how many: a log is cut nowhere.
    pub(super) fn width(&self) -> usize {
        let of_terminal = || {
            let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
            (size.ws_col > 0).then_some(usize::from(size.ws_col))
        };
        self.columns.or_else(of_terminal).unwrap_or(usize::MAX).max(40)
    }
}

/// The ANSI code of a foreground colour.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Gray = 90,
}

#[derive(Serialize)]
struct JsonError<'a> {
    event: &'static str,
    class: &'static str,
    message: &'a str,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    items: &'a [base::error::ItemFailure],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    details: &'a [String],
}

impl<'a> JsonError<'a> {
    fn new(error: &'a Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        Self {
            event: "error",
            class: error.class().as_str(),
            message: error.message(),
            causes,
            hint: error.hint_text(),
            until: error.until().map(base::timestamp::rfc3339),
            code: error.code(),
            items: error.items(),
            details: error.details(),
        }
    }
}
