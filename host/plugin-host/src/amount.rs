//! What something takes up.

/// Bytes and names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    /// Files, directories and links.
    pub(super) files: u64,
}

impl Amount {
    pub(super) fn bytes(bytes: u64) -> Self {
        Self { bytes, files: 0 }
    }

    /// One name for something of so many bytes.
    pub(super) fn file(bytes: u64) -> Self {
        Self { bytes, files: 1 }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), files: self.files.saturating_sub(other.files) }
    }
}
