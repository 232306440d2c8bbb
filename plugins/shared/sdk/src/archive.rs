//! Archives, read and written by the host.

use crate::bindings::opencenter::airgap::archives::{self as wit, Content, Member};
pub use crate::bindings::opencenter::airgap::archives::{Added, Compression, Limits};
use crate::{Artifact, Sink, StepError, Tree};

/// Unpacks a tar (plain, gzip, zstd, xz) or zip file of `source` into a tree
/// that lives as long as the handle.
///
/// # Errors
/// `invalid-input`: code `unsafe-archive` for links and paths that lead out,
/// `too-large` where it exceeds `limits` or the room of the call.
pub fn unpack(source: &Tree, path: &str, limits: Limits) -> Result<Tree, StepError> {
    wit::unpack(source, path, limits)
}

/// What goes into an archive.
#[derive(Debug)]
pub struct Item<'a> {
    path: String,
    mode: u32,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Bytes(Vec<u8>),
    File(&'a Tree, String),
    Directory,
}

impl<'a> Item<'a> {
    /// A file at `path` with `bytes` as its content. `mode` are its permission bits.
    pub fn bytes(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, source: Source::Bytes(bytes.into()) }
    }

    /// A file of a tree; its bytes do not cross into the component.
    pub fn file(path: impl Into<String>, mode: u32, tree: &'a Tree, source: impl Into<String>) -> Self {
        Self { path: path.into(), mode, source: Source::File(tree, source.into()) }
    }

    /// A directory at `path`. `mode` are its permission bits.
    pub fn directory(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, source: Source::Directory }
    }
}

/// An archive in the output tree, written front to back in one pass.
///
/// ```no_run
/// # fn step(input: &sdk::Tree, output: &sdk::Sink) -> Result<(), sdk::StepError> {
/// use sdk::archive::{Archive, Compression, Item};
/// let archive = Archive::create(output, "out.tar.zst", Compression::Zstd);
/// let added = archive.add(&[Item::file("bin/tool", 0o755, input, "tool")])?;
/// let checksums = format!("{} bin/tool\n", added[0].sha256);
/// archive.add(&[Item::bytes("checksums.txt", 0o644, checksums)])?;
/// archive.finish()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Archive(wit::Archive);

impl Archive {
    /// A refused path is reported by the first call that adds something.
    pub fn create(output: &Sink, path: &str, compression: Compression) -> Self {
        Self(wit::Archive::new(output, path, compression))
    }

    /// Adds in the order given and returns the digests in that order.
    ///
    /// # Errors
    /// `missing-input` where a source is absent, `denied` where a path is
    /// refused.
    pub fn add(&self, items: &[Item<'_>]) -> Result<Vec<Added>, StepError> {
        let (trees, members) = flatten(items);
        self.0.add(&trees, &members)
    }

    /// Adds everything of `tree` at and below `prefix`, sorted by path.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn add_tree(&self, tree: &Tree, prefix: &str) -> Result<Vec<Added>, StepError> {
        self.0.add_tree(tree, prefix)
    }

    /// Adds an uncompressed tar of `items` as one file.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn add_nested(&self, path: &str, mode: u32, items: &[Item<'_>]) -> Result<Added, StepError> {
        let (trees, members) = flatten(items);
        self.0.add_nested(path, mode, &trees, &members)
    }

    /// Completes the archive. One that is dropped without this is dropped
    /// from the output as well.
    ///
    /// # Errors
    /// What went wrong while writing.
    pub fn finish(self) -> Result<Artifact, StepError> {
        self.0.finish()
    }
}

/// The trees, each once, and the members that refer to them by index.
fn flatten<'a>(items: &[Item<'a>]) -> (Vec<&'a Tree>, Vec<Member>) {
    let mut trees: Vec<&'a Tree> = Vec::new();
    let mut index_of = |tree: &'a Tree| {
        let known = trees.iter().position(|other| std::ptr::eq(*other, tree));
        let index = known.unwrap_or_else(|| {
            trees.push(tree);
            trees.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    };
    let members = items
        .iter()
        .map(|item| Member {
            path: item.path.clone(),
            mode: item.mode,
            content: match &item.source {
                Source::Bytes(bytes) => Content::Bytes(bytes.clone()),
                Source::File(tree, path) => Content::File((index_of(tree), path.clone())),
                Source::Directory => Content::Directory,
            },
        })
        .collect();
    (trees, members)
}
