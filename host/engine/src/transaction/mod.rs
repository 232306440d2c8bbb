//! One attempt of one step, from its beginning to one of three endings.
//!
//! 1. [`Transaction::begin`] makes `build/staging/<id>/` with an empty tree and
//!    a journal. The step writes below it and nowhere else.
//! 2. [`Transaction::commit`] lists the tree, places what will be published
//!    beside its destination under a temporary name, syncs everything, and
//!    writes `commit.json`. **That file is the point of no return**: before it
//!    the attempt leaves no trace, after it the commit is carried out, by this
//!    process or by the next one's [`recover`].
//! 3. [`apply`](commit::apply) carries it out: the tree is renamed to
//!    `build/steps/<id>`, published files are renamed into place. Each act may
//!    be repeated. Then the caller writes the state, [`Committed::finish`]
//!    removes the staging directory, and [`sync_staging`] ends it for good.
//!
//! [`Transaction::roll_back`] drops everything, [`Transaction::preserve`] keeps
//! what a next attempt can use: the journal and the outputs that a plugin
//! marked. A transaction that is merely dropped does nothing: the next start's
//! [`recover`] does the work, so that panic, early return, kill and power loss
//! take the same path.
//!
//! What the caller may believe after an error: of `begin`, `roll_back` and
//! `preserve`, that nothing became visible; of `commit`, nothing. It may be
//! durable already, and the next start finds out.

use std::path::{Path, PathBuf};

use crate::state::format::Items;
use crate::state::journal;
use crate::state::journal::Journal;
use base::error::Result;
use base::layout::{DIRECTORIES, Layout, UNPACKED};
use base::progress::ItemProgress;
use config::pipeline::OnFailure;
use disk::fs;
use disk::tree::TreeBuilder;

mod commit;
mod recovery;
#[cfg(test)]
mod tests;

pub use commit::{Committed, Publication};
pub use recovery::{Recovered, abandon, decided, recover};

/// The open attempt of a step.
#[must_use = "end with commit(), roll_back() or preserve()"]
#[derive(Debug)]
pub(crate) struct Transaction {
    id: String,
    paths: StagingPaths,
    layout: Layout,
    tree: TreeBuilder,
    journal: Journal,
}

/// Where the parts of a transaction lie.
#[derive(Clone, Debug)]
struct StagingPaths {
    root: PathBuf,
}

impl StagingPaths {
    fn new(layout: &Layout, id: &str) -> Self {
        Self { root: layout.transaction(id) }
    }
    fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }
    /// The tree that a commit replaces, until it is removed.
    fn replaced(&self) -> PathBuf {
        self.root.join("replaced")
    }
    /// What a plugin had unpacked for itself.
    fn unpacked(&self) -> PathBuf {
        self.root.join(UNPACKED)
    }
    /// What a plugin had for `/out` and `/work`.
    fn directories(&self) -> PathBuf {
        self.root.join(DIRECTORIES)
    }
    fn listing(&self) -> PathBuf {
        self.root.join("listing.json")
    }
    fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }
    /// The temporary files placed outside build/ so far.
    fn placed(&self) -> PathBuf {
        self.root.join("placed.json")
    }
    /// Present from the point of no return on.
    fn commit(&self) -> PathBuf {
        self.root.join("commit.json")
    }
}

impl Transaction {
    /// Opens an attempt. What an earlier attempt preserved stays beside the
    /// new, empty tree; its journal begins anew. Call [`sync_staging`] before
    /// the attempt makes anything durable in it.
    ///
    /// # Errors
    /// `local`, `disk-full`. Nothing has become visible.
    pub(crate) fn begin(layout: &Layout, id: &str) -> Result<Self> {
        let paths = StagingPaths::new(layout, id);
        fs::create_dir_all_durable(&layout.staging())?;
        fs::create_dir_all(&paths.root)?;
        fs::remove_dir_all(&paths.tree())?;
        fs::remove_dir_all(&paths.unpacked())?;
        fs::remove_file(&paths.journal())?;
        fs::create_dir_all(&paths.tree())?;
        let journal = Journal::open(&paths.journal())?;
        fs::checkpoint("transaction-begun");
        let tree = TreeBuilder::new(paths.tree());
        Ok(Self { id: id.to_owned(), paths, layout: layout.clone(), tree, journal })
    }

    pub(crate) fn tree(&self) -> &TreeBuilder {
        &self.tree
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What the journal says, for folding into the state.
    pub(crate) fn items(&self) -> Result<(Items, Option<ItemProgress>)> {
        journal::read(&self.paths.journal())
    }

    /// Drops the attempt and everything it made. What is left when it is told
    /// to stop is dropped by the next start.
    ///
    /// # Errors
    /// `local`; as above.
    pub(crate) fn roll_back(self, stop: &dyn Fn(u64) -> bool) -> Result<()> {
        recovery::discard(&self.paths, OnFailure::RollBack, stop)
    }

    /// Drops the tree of the attempt and keeps what the next one can use. What
    /// is left when it is told to stop is dropped by the next start.
    ///
    /// # Errors
    /// `local`; as above.
    pub(crate) fn preserve(self, stop: &dyn Fn(u64) -> bool) -> Result<()> {
        recovery::discard(&self.paths, OnFailure::Preserve, stop)
    }
}

/// Makes durable which attempts are open: those that began since the last call,
/// and those that are finished. A finished one that a crash brought back would
/// decide about a later build.
///
/// # Errors
/// `local`, `disk-full`.
pub(crate) fn sync_staging(layout: &Layout) -> Result<()> {
    fs::sync_dir(&layout.staging())
}

/// The journal of a step that is running or was interrupted, for `status`.
pub fn journal_of(layout: &Layout, id: &str) -> Result<(Items, Option<ItemProgress>)> {
    journal::read(&StagingPaths::new(layout, id).journal())
}

/// The name under which a file waits beside its destination: fixed by step
/// and destination, so that a leftover is overwritten, not multiplied.
fn placed_beside(destination: &Path, id: &str) -> PathBuf {
    let name = destination.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    destination.with_file_name(format!(".{name}.{id}.tmp"))
}
