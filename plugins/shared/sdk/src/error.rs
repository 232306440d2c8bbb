//! [`StepError`]: constructors by kind, and conversions for `?`.

use crate::bindings::opencenter::airgap::fetch::{FetchError, FetchErrorKind};
use crate::bindings::wasi::io::streams::StreamError;
use crate::{Failure, StepError};

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), hint: None, retryable: false }
}

/// `code` is short and stable (`chart-not-found`); `message` is one sentence
/// that names what failed and what was found. Each further line of it is a row of
/// its own, `<item>: <what failed>`, with an indented line for what helps.
impl StepError {
    /// The configuration or an input tree says something impossible.
    pub fn invalid_input(code: &str, message: impl Into<String>) -> Self {
        Self::InvalidInput(failure(code, message))
    }

    /// An input that the step needs is absent.
    pub fn missing_input(code: &str, message: impl Into<String>) -> Self {
        Self::MissingInput(failure(code, message))
    }

    /// A right is missing that the user did not grant.
    pub fn denied(code: &str, message: impl Into<String>) -> Self {
        Self::Denied(failure(code, message))
    }

    /// Something outside failed and may recover: the host tries the step
    /// again.
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::Transient(Failure { retryable: true, ..failure(code, message) })
    }

    /// Anything else. The codes `not-found`, `auth`, `integrity` and `offline`
    /// tell the host more.
    pub fn other(code: &str, message: impl Into<String>) -> Self {
        Self::Other(failure(code, message))
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = self.failure_mut() {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Says that the same call may succeed later with nothing changed.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        if let Some(failure) = self.failure_mut() {
            failure.retryable = true;
        }
        self
    }

    /// Puts `what: ` in front of the message: "values.yaml of chart x".
    #[must_use]
    pub fn context(mut self, what: impl AsRef<str>) -> Self {
        if let Some(failure) = self.failure_mut() {
            failure.message = format!("{}: {}", what.as_ref(), failure.message);
        }
        self
    }

    /// What failed; none for [`StepError::Interrupted`].
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::InvalidInput(failure)
            | Self::MissingInput(failure)
            | Self::Denied(failure)
            | Self::Transient(failure)
            | Self::Other(failure) => Some(failure),
            Self::Interrupted => None,
        }
    }

    pub(crate) fn into_failure(self) -> Option<Failure> {
        match self {
            Self::InvalidInput(failure)
            | Self::MissingInput(failure)
            | Self::Denied(failure)
            | Self::Transient(failure)
            | Self::Other(failure) => Some(failure),
            Self::Interrupted => None,
        }
    }

    fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            Self::InvalidInput(failure)
            | Self::MissingInput(failure)
            | Self::Denied(failure)
            | Self::Transient(failure)
            | Self::Other(failure) => Some(failure),
            Self::Interrupted => None,
        }
    }
}

impl From<serde_json::Error> for StepError {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid_input("json", error.to_string())
    }
}

impl From<serde_yaml::Error> for StepError {
    fn from(error: serde_yaml::Error) -> Self {
        Self::invalid_input("yaml", error.to_string())
    }
}

impl From<std::string::FromUtf8Error> for StepError {
    fn from(error: std::string::FromUtf8Error) -> Self {
        Self::invalid_input("utf-8", error.to_string())
    }
}

/// A stream of the host fails with what the host said; anything else is the
/// step's own I/O.
impl From<std::io::Error> for StepError {
    fn from(error: std::io::Error) -> Self {
        Self::other("io", error.to_string())
    }
}

impl From<std::fmt::Error> for StepError {
    fn from(error: std::fmt::Error) -> Self {
        Self::other("format", error.to_string())
    }
}

impl From<StreamError> for StepError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::LastOperationFailed(error) => Self::other("stream", error.to_debug_string()),
            StreamError::Closed => Self::other("stream", "the stream is closed"),
        }
    }
}

impl From<FetchError> for StepError {
    fn from(error: FetchError) -> Self {
        let FetchError { kind, message, hint } = error;
        let mut error = match kind {
            FetchErrorKind::Denied => Self::denied("fetch-denied", message),
            FetchErrorKind::NotFound => Self::other("not-found", message),
            FetchErrorKind::Auth => Self::other("auth", message),
            FetchErrorKind::Transient => Self::transient("fetch", message),
            FetchErrorKind::Integrity => Self::other("integrity", message),
            FetchErrorKind::TooLarge => Self::invalid_input("too-large", message),
            FetchErrorKind::Offline => Self::other("offline", message),
            FetchErrorKind::Other => Self::other("fetch", message),
        };
        if let Some(hint) = hint {
            error = error.hint(hint);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_download_keeps_its_kind_and_hint() {
        let failed = |kind| FetchError { kind, message: "m".into(), hint: Some("h".into()) };
        let error = StepError::from(failed(FetchErrorKind::Transient));
        assert!(matches!(&error, StepError::Transient(f) if f.retryable && f.hint.as_deref() == Some("h")));
        let error = StepError::from(failed(FetchErrorKind::NotFound)).context("chart x");
        assert_eq!(error.failure().map(|f| (f.code.as_str(), f.message.as_str())), Some(("not-found", "chart x: m")));
        assert!(matches!(StepError::from(failed(FetchErrorKind::Denied)), StepError::Denied(_)));
    }
}
