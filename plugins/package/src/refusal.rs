//! How a definition is refused.

use sdk::StepError;

pub(crate) fn refuse(code: &str, message: impl Into<String>) -> StepError {
    StepError::invalid_input(code, message)
}
