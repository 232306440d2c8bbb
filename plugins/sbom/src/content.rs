//! A file as it passes by.

use std::io::{self, Read};

/// A file that is read front to back, parts of which can be passed over.
pub trait Content: Read {
    /// Passes over at most `length` bytes, and says how many.
    ///
    /// # Errors
    /// As reading does.
    fn pass(&mut self, length: u64) -> io::Result<u64>;
}

impl Content for &[u8] {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.len());
        *self = &self[length..];
        Ok(length as u64)
    }
}

/// Why a file says nothing.
pub type Why = String;
