//! The process that compiles, describes and checks.
//!
//! What a component's author wrote decides how long a compiler runs and how
//! much memory it takes, and what `describe` answers before anybody has trusted
//! the plugin. So these three happen in a process of their own: this binary
//! once more, with [`COMMAND`] for its only argument, an empty environment and
//! nothing but its three pipes (`confine::alone`). It ends with the host,
//! whatever ends that one.
//!
//! One process answers one question: `ask` starts it and puts its end into
//! words, `serve` is what runs in it, `frame` is how the two talk. A process
//! that compiles never runs guest code, and one that runs guest code makes no
//! code: machine code that comes back is the compiler's word, as it was when
//! the compiler ran in the host. Everything else that comes back is checked
//! like any input.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::FAILURE_MESSAGE;
use super::notes::with_notes;
use super::subject::Subject;
use super::text;
use base::error::{Class, Error};
use config::limits::{OwnLimits, PluginSettings};
use confine::alone::Bounds;

mod ask;
mod frame;
mod serve;

pub(super) use ask::{Question, ask};
pub use serve::main;

/// The only argument of the process. No command of the user: it is told apart
/// before the command line is read.
pub const COMMAND: &str = "__worker";

/// Who answers.
#[derive(Clone, Debug)]
pub enum Worker {
    /// This program, started anew.
    Process(PathBuf),
    /// This process, for the tests of the library: their binary is another.
    #[cfg(test)]
    Here,
}

impl Default for Worker {
    #[cfg(not(test))]
    fn default() -> Self {
        // Not the path that was called: that one may have been replaced.
        Self::Process("/proc/self/exe".into())
    }

    #[cfg(test)]
    fn default() -> Self {
        Self::Here
    }
}

/// The head of a question.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The process that asks.
    parent: u32,
    bounds: Bounds,
    task: Task,
}

/// What is to be done with the body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Task {
    /// A component: make code of it.
    Compile { subject: Subject },
    /// Code: call `describe`, and answer with [`Said`](super::description::Said).
    Describe { subject: Subject, settings: PluginSettings, own: OwnLimits },
    /// [`Fitting`]: say what does not fit.
    Check,
}

/// A configuration and the schema that it has to fit, each in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fitting {
    pub(super) schema: String,
    pub(super) configuration: String,
    /// Keys that somebody else fills in.
    pub(super) provided: Vec<String>,
}

/// The head of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// The body is what was asked for.
    Done,
    Failed(Told),
}

/// An error on its way through the pipe.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// Whether the machine is at fault and not the plugin.
    is_local: bool,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// Causes that an error is told with.
const CAUSES: usize = 16;

impl Told {
    fn of(error: &Error) -> Self {
        let first = std::error::Error::source(error);
        let causes = std::iter::successors(first, |cause| cause.source());
        Self {
            is_local: error.class() == Class::Local,
            message: error.message().to_owned(),
            causes: causes.take(CAUSES).map(ToString::to_string).collect(),
            hint: error.hint_text().map(str::to_owned),
        }
    }

    /// The error again, cleaned: a guest may have run where it comes from.
    fn into_error(self) -> Error {
        let line = |text: &str| text::line(text, FAILURE_MESSAGE);
        let class = if self.is_local { Class::Local } else { Class::Plugin };
        let causes = self.causes.iter().take(CAUSES).map(|cause| line(cause)).collect();
        let error = with_notes(Error::new(class, line(&self.message)), causes);
        self.hint.iter().fold(error, |error, hint| error.hint(line(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_through_the_pipe_cleaned_and_bounded() {
        let error = with_notes(Error::new(Class::Plugin, "x\u{1b}[31m"), vec!["a".into(), "b\u{202e}".into()]);
        let told = Told::of(&error.hint("do\nthis"));
        let back = told.into_error();
        assert_eq!(
            (back.class(), back.one_line().as_str(), back.hint_text()),
            (Class::Plugin, "x\\u{1b}[31m: a: b\\u{202e}", Some("do this"))
        );
        let long = Told { is_local: true, message: "x".repeat(1 << 20), causes: vec!["y".into(); 1000], hint: None };
        let back = long.into_error();
        assert_eq!(back.class(), Class::Local);
        assert!(back.one_line().len() < FAILURE_MESSAGE + 100, "{}", back.one_line().len());
    }
}
