//! A file of the folder that is carried.

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
