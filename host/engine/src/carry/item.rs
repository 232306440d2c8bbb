//! One file of the folder.

use std::path::PathBuf;

use base::digest::Digest;

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in the folder, which has no folders in it.
    pub name: String,
    /// Where its content comes from.
    pub source: Source,
    /// Whether the copy gets the mode 0755, else 0644, where the disk has modes.
    pub executable: bool,
}

/// Where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that is copied.
    File {
        /// Where it lies.
        path: PathBuf,
        /// SHA-256 that the copy must have.
        digest: Digest,
        /// Bytes.
        size: u64,
    },
    /// What is written for the folder alone.
    Text(String),
}

impl Item {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match &self.source {
            Source::File { size, .. } => *size,
            Source::Text(text) => text.len() as u64,
        }
    }

    /// SHA-256 of its content, which is checked as it is copied.
    pub fn digest(&self) -> Digest {
        match &self.source {
            Source::File { digest, .. } => *digest,
            Source::Text(text) => Digest::of(text.as_bytes()),
        }
    }

    pub(super) fn file(name: String, path: PathBuf, (digest, size): (Digest, u64), executable: bool) -> Self {
        Self { name, source: Source::File { path, digest, size }, executable }
    }
}
