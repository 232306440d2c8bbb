//! What goes into an archive: a path, a mode, and where the bytes come from.

use std::path::PathBuf;

use super::ustar::{self, Kind};
use base::digest::Digest;
use base::error::Result;

/// One entry to be added.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Path inside the archive.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is, and where its bytes come from.
    pub content: Content,
}

/// Where the bytes of an entry come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file whose content is at hand.
    Bytes(Vec<u8>),
    /// A file whose content is read from the disk.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Bytes; a file that has become longer or shorter is refused.
        size: u64,
        /// Checked while streaming, where it is known.
        digest: Option<Digest>,
    },
    /// A directory, which has no content.
    Directory,
}

impl NewMember {
    /// A file at `path` with `bytes` as its content.
    pub fn bytes(path: impl Into<String>, mode: u32, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(bytes) }
    }

    /// A file at `path` whose content, of `size` bytes, is that of `file`; see
    /// [`Content::File`].
    pub fn file(path: impl Into<String>, mode: u32, file: PathBuf, size: u64, digest: Option<Digest>) -> Self {
        Self { path: path.into(), mode, content: Content::File { path: file, size, digest } }
    }

    /// A directory at `path`.
    pub fn directory(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, content: Content::Directory }
    }

    pub(super) fn kind(&self) -> Kind {
        if matches!(self.content, Content::Directory) { Kind::Directory } else { Kind::File }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { size, .. } => *size,
            Content::Directory => 0,
        }
    }

    pub(super) fn header(&self) -> Result<Vec<u8>> {
        ustar::header(&self.path, self.kind(), self.mode & 0o777, self.size())
    }

    /// Bytes that the entry takes in a tar.
    pub(super) fn length(&self) -> Result<u64> {
        Ok(self.header()?.len() as u64 + self.size() + ustar::padding(self.size()) as u64)
    }
}
