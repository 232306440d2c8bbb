//! How much is read.

/// Bytes of a packed chart.
pub const ARCHIVE_LIMIT: u64 = 64 << 20;
