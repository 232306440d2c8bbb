//! What a host function answers where it gives nothing.

use std::path::{Path, PathBuf};

use wasmtime::component::ResourceTableError;

use super::types::{Failure, StepError};
use crate::stop::Stop;
use base::error::{Class, Error};

/// What a host function answers instead of a result: something the guest may
/// handle, or the end of the call.
#[derive(Debug)]
pub(crate) enum Refusal {
    Step(StepError),
    Stop(Stop),
    /// A handle that is not one, a full table.
    Trap(wasmtime::Error),
}

impl Refusal {
    pub(crate) fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::Step(StepError::InvalidInput(failure(code, message)))
    }

    pub(crate) fn denied(code: &str, message: impl Into<String>) -> Self {
        Self::Step(StepError::Denied(failure(code, message)))
    }
}

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), hint: None, retryable: false }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::told(error, &[])
    }
}

impl Refusal {
    /// Whether a guest may handle an error of the host is a matter of its
    /// class. What it is told names nothing above the folders `hidden`.
    pub(crate) fn told(error: Error, hidden: &[PathBuf]) -> Self {
        let shown = |text: &str| hidden.iter().fold(text.to_owned(), |text, folder| without(&text, folder));
        let failure = |code: &str| Failure {
            hint: error.hint_text().map(shown),
            retryable: error.class().may_recover(),
            ..failure(code, shown(&error.one_line()))
        };
        match error.class() {
            Class::InvalidInput => {
                Self::Step(StepError::InvalidInput(failure(error.code().unwrap_or("invalid-input"))))
            }
            Class::NotFound => Self::Step(StepError::MissingInput(failure("not-found"))),
            Class::Plugin => Self::Step(StepError::Denied(failure("denied"))),
            Class::Transient | Class::RateLimited => Self::Step(StepError::Transient(failure("transient"))),
            Class::Auth => Self::Step(StepError::Other(failure("auth"))),
            Class::Integrity => Self::Step(StepError::Other(failure("integrity"))),
            _ => Self::Stop(Stop::Host(error)),
        }
    }
}

/// `text` with paths below `folder` as they are seen from it.
fn without(text: &str, folder: &Path) -> String {
    match folder.to_str() {
        Some(folder) if folder.starts_with('/') && folder.len() > 1 => {
            text.replace(&format!("{folder}/"), "").replace(folder, "")
        }
        _ => text.to_owned(),
    }
}

impl From<ResourceTableError> for Refusal {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl Refusal {
    /// Ends the call, where a function has no error to answer with.
    pub(crate) fn into_error(self) -> wasmtime::Error {
        match self {
            Self::Step(error) => wasmtime::format_err!("{error:?}"),
            Self::Stop(stop) => stop.into(),
            Self::Trap(error) => error,
        }
    }

    /// What the guest sees; an error ends the call.
    pub(crate) fn into_step_error(self) -> wasmtime::Result<StepError> {
        match self {
            Self::Step(error) => Ok(error),
            Self::Stop(stop) => Err(stop.into()),
            Self::Trap(error) => Err(error),
        }
    }
}
