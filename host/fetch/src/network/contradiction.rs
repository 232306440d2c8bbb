//! What came is not what airgap.lock says.

use base::error::Error;

/// Something is not what airgap.lock says.
pub(super) fn contradicts(found: &str, locked: &str, name: &str) -> Error {
    Error::integrity(format!("{found}, but config/airgap.lock says {locked}")).hint(format!(
        "the file changed under its URL: if that is right, take the new one with `opencenter-airgap update {name}`"
    ))
}
