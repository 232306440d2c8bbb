//! The one error of the host: what failed, where, what to do, and the class
//! that decides between retry, abort and exit code.
//!
//! Modules build errors with [`Error::new`] and the class constructors, add a
//! [hint](Error::hint) that says what the user can do, and keep the cause as
//! [source](std::error::Error::source). Nobody decides by text: `orchestrator::decide`
//! looks at the [`Class`], `exit_code` maps it to a number.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What else it may be that a file may not be written, where this process gave
/// up rights of its own.
static DENIED: OnceLock<&str> = OnceLock::new();

/// From now on a file that may not be written has this `hint`.
pub fn hint_where_denied(hint: &'static str) {
    DENIED.get_or_init(|| hint);
}

/// What kind of failure this is. The class alone decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// Something outside failed and may recover: retried with backoff.
    Transient,
    /// A server asked to come back later, at the time of [`Error::until`].
    RateLimited,
    /// Credentials are missing or refused.
    Auth,
    /// What was asked for is not there.
    NotFound,
    /// Bytes differ from their digest.
    Integrity,
    /// Input that can never work: a manifest, an archive, a plugin's output.
    InvalidInput,
    /// A plugin trapped, exceeded a limit or was refused a right.
    Plugin,
    /// A disk is full.
    DiskFull,
    /// Something local is in the way: permissions, a missing program.
    Local,
    /// The user asked to stop.
    Interrupted,
    /// The configuration is invalid.
    Configuration,
    /// The configuration changed since the build began, or drifted from the
    /// lock.
    Changed,
    /// The recorded state can not be used.
    State,
    /// Another process holds the build.
    Held,
    /// The command line asks for something impossible.
    Usage,
}

impl Class {
    /// The name used in state.json, logs and `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::RateLimited => "rate-limited",
            Class::Auth => "auth",
            Class::NotFound => "not-found",
            Class::Integrity => "integrity",
            Class::InvalidInput => "invalid-input",
            Class::Plugin => "plugin",
            Class::DiskFull => "disk-full",
            Class::Local => "local",
            Class::Interrupted => "interrupted",
            Class::Configuration => "configuration",
            Class::Changed => "changed",
            Class::State => "state",
            Class::Held => "held",
            Class::Usage => "usage",
        }
    }

    /// Whether a rerun with nothing changed may succeed.
    pub fn may_recover(self) -> bool {
        matches!(self, Class::Transient | Class::RateLimited | Class::DiskFull | Class::Interrupted | Class::Held)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One bad item of a step that went on with the others.
#[derive(Clone, Debug, Serialize)]
pub struct ItemFailure {
    /// The image, file, chart or repository as the user wrote it.
    pub item: String,
    /// Where it was to come from: a registry, a host.
    pub origin: String,
    /// What kind of failure it is.
    pub class: Class,
    /// HTTP status, where a server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What a plugin calls this failure: `chart-not-found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What failed and why, on one line, without the hint.
    pub message: String,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An error with its class. Cheap to clone, so that one failed request can
/// answer everyone who waited for it.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    class: Class,
    message: String,
    hint: Option<String>,
    until: Option<Timestamp>,
    status: Option<u16>,
    code: Option<String>,
    items: Vec<ItemFailure>,
    details: Vec<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The result of nearly everything in the host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `message` is a lowercase fragment that names what failed, without a
    /// final full stop and without the text of the cause.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class,
            message: message.into(),
            hint: None,
            until: None,
            status: None,
            code: None,
            items: Vec::new(),
            details: Vec::new(),
            source: None,
        }))
    }

    /// Something in config/ is wrong: [`Class::Configuration`].
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Class::Configuration, message)
    }

    /// Input that can never work: [`Class::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Class::InvalidInput, message)
    }

    /// Something of this machine is in the way: [`Class::Local`].
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Class::Local, message)
    }

    /// Bytes are not what their digest says: [`Class::Integrity`].
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Class::Integrity, message)
    }

    /// Something outside failed and may recover: [`Class::Transient`].
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Class::Transient, message)
    }

    /// The user asked to stop: [`Class::Interrupted`].
    pub fn interrupted() -> Self {
        Self::new(Class::Interrupted, "interrupted")
    }

    /// A failed file operation: `verb` and `path` say what was tried
    /// ("cannot write"), the operating system's error gives the class.
    pub fn io(verb: &str, path: &Path, source: io::Error) -> Self {
        let kind = source.kind();
        let class = match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::DiskFull,
            _ => Class::Local,
        };
        let error = Self::new(class, format!("{verb} `{}`", path.display())).caused_by(source);
        match kind {
            _ if class == Class::DiskFull => {
                error.hint("free some space and run the same command again: finished work is kept")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => error.hint(DENIED.get().copied().unwrap_or(
                "it belongs to another user, or its folder is read-only: mend the permissions, or choose other folders \
                 with --config-dir, --build-dir and --dist-dir",
            )),
            _ => error,
        }
    }

    /// What the user can do. Whole sentence fragments, imperative.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The cause, printed on a line of its own.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Puts `message` in front: the old message becomes the cause; class,
    /// hint, code, items and details stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let mut outer = Self::new(self.class(), message);
        outer.0.hint = self.0.hint.clone();
        outer.0.until = self.0.until;
        outer.0.status = self.0.status;
        outer.0.code = self.0.code.clone();
        outer.0.items = self.0.items.clone();
        outer.0.details = self.0.details.clone();
        outer.0.source = Some(Arc::new(self));
        outer
    }

    /// When a rate-limited server will answer again.
    #[must_use]
    pub fn retry_at(mut self, until: Timestamp) -> Self {
        self.0.until = Some(until);
        self
    }

    /// The HTTP status behind the error.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// The bad items of a step that went on past them.
    #[must_use]
    pub fn with_items(mut self, items: Vec<ItemFailure>) -> Self {
        self.0.items = items;
        self
    }

    /// What a plugin calls this failure: short, stable, `kebab-case`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Lines for who looks into it: shown with `--verbose`, kept in state.json.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.0.details = details;
        self
    }

    /// The same error in another class.
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.0.class = class;
        self
    }

    /// What kind of failure it is, which decides what happens next.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// What failed, without causes and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the user can do about it; None where nobody put in a [hint](Self::hint).
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// When a server that limits rates will answer again; None where none said so.
    pub fn until(&self) -> Option<Timestamp> {
        self.0.until
    }

    /// The HTTP status that a server answered with; None where it was no answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What a plugin calls this failure; None for what is the host's own.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The bad items of a step that went on past them; empty for every other error.
    pub fn items(&self) -> &[ItemFailure] {
        &self.0.items
    }

    /// Lines for who looks into it, as [`Self::with_details`] took them; mostly none.
    pub fn details(&self) -> &[String] {
        &self.0.details
    }

    /// The message and its causes on one line, for a table or a log.
    pub fn one_line(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// This error as one row of a step's table of failures.
    pub fn into_item(self, item: impl Into<String>, origin: impl Into<String>) -> ItemFailure {
        ItemFailure {
            item: item.into(),
            origin: origin.into(),
            class: self.class(),
            status: self.status(),
            code: self.code().map(str::to_owned),
            message: self.one_line(),
            hint: self.hint_text().map(str::to_owned),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
