//! A file of a package as it is sent on.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::content::Source;
use base::error::{Error, Result};

/// A file of a package that is sent on.
#[derive(Clone)]
pub(crate) struct Blob(pub(super) Source);

impl Blob {
    #[cfg(test)]
    pub(crate) fn made(bytes: Vec<u8>) -> Self {
        Self(Source::Made(bytes.into()))
    }

    /// Bytes of its content.
    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    /// Its content from a byte on, verified as it is read. To be called in a
    /// runtime.
    pub(crate) fn stream(&self, from: u64) -> Receiver<io::Result<Bytes>> {
        self.0.stream(from)
    }

    /// A small part of it.
    ///
    /// # Errors
    /// `integrity` where it is damaged.
    pub(crate) fn part(&self, part: Range<u64>) -> Result<Vec<u8>> {
        match &self.0 {
            Source::Made(bytes) => {
                let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes[at(part.start)..at(part.end)].to_vec())
            }
            Source::Carried(content) => content
                .part(part)
                .map_err(|source| Error::integrity(format!("`{}` is damaged", content.path())).caused_by(source)),
        }
    }
}
