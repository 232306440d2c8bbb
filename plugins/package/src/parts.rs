//! What a package consists of: tars and their members.

use crate::sources::Found;

/// An uncompressed tar inside the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tar {
    /// In the package: `components/<name>.tar`.
    pub path: String,
    /// In the order in which they are written.
    pub members: Vec<Member>,
}

/// An entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// In the tar, or in the package.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is made of.
    pub source: Source,
}

/// What a member is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of an input tree.
    File {
        /// The name of the tree.
        tree: String,
        /// The path in it.
        path: String,
        /// In bytes.
        size: u64,
        /// 64 hexadecimal digits, where the host knows them.
        sha256: Option<String>,
    },
    /// A file with this content.
    Bytes(Vec<u8>),
    /// A directory, which has no content.
    Directory,
}

pub(crate) fn file(path: String, mode: u32, tree: &str, found: &Found) -> Member {
    let Found { path: from, size, sha256, .. } = found;
    let source = Source::File { tree: tree.to_owned(), path: from.clone(), size: *size, sha256: sha256.clone() };
    Member { path, mode, source }
}
