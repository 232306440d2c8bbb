//! Why no definition can be written.

/// Why no definition can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Short and stable: which kind of problem it is.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}
