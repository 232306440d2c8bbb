//! The commit: prepare, the point of no return, carry out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StagingPaths, Transaction, placed_beside};
use crate::state::StepState;
use crate::state::format::Outputs;
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::Layout;
use config::publish::Published;
use config::written;
use disk::fs;
use disk::tree::{Listing, Tree};

/// A file to make visible outside build/.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What becomes visible.
    pub content: Content,
    /// Where: the path that the user knows.
    pub to: PathBuf,
    /// Where `to` lies: of a link that is to stay one, what it leads to.
    home: PathBuf,
    /// Of a file of the user: what lay there when it was read. Whatever else
    /// lies there by then is kept.
    over: Option<Over>,
}

/// What may be replaced, beside nothing at all: the file with this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    /// None where there was none.
    read: Option<Digest>,
}

/// Where a published file comes from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A path in the tree; it stays there as well, as a hard link where the
    /// file systems allow it.
    Artifact(String),
    Bytes(Vec<u8>),
    /// It lies there already, with this digest and size: it is recorded and not
    /// touched.
    AsItIs(Digest, u64),
}

impl Publication {
    /// A file of the step's tree, by its path there.
    pub fn artifact(path: impl Into<String>, to: PathBuf) -> Self {
        Self { content: Content::Artifact(path.into()), home: to.clone(), to, over: None }
    }

    /// Bytes that are in no tree.
    pub fn bytes(bytes: Vec<u8>, to: PathBuf) -> Self {
        Self { content: Content::Bytes(bytes), home: to.clone(), to, over: None }
    }

    /// A file of the user that a step leaves as it is: whether it still is
    /// tells whether the step has to be done again.
    pub(crate) fn as_it_is(to: PathBuf, digest: Digest, size: u64) -> Self {
        Self { content: Content::AsItIs(digest, size), home: to.clone(), to, over: None }
    }

    fn recorded(&self) -> Option<(Digest, u64)> {
        match self.content {
            Content::AsItIs(digest, size) => Some((digest, size)),
            Content::Artifact(_) | Content::Bytes(_) => None,
        }
    }

    /// Of the bytes, where they are known here.
    pub fn digest(&self) -> Option<Digest> {
        match &self.content {
            Content::Bytes(bytes) => Some(Digest::of(bytes)),
            Content::AsItIs(digest, _) => Some(*digest),
            Content::Artifact(_) => None,
        }
    }

    /// The same for a file of the user, which was `read` before.
    ///
    /// # Errors
    /// `changed` where it is another one already; as [`written::home`].
    pub fn over(self, layout: &Layout, read: Option<Digest>, meanwhile: &str) -> Result<Self> {
        let home = written::home(layout, &self.to)?;
        match written::is_as_read(&home, read)? {
            true => Ok(Self { home, over: Some(Over { read }), ..self }),
            false => Err(written::was_saved(&self.to, meanwhile)),
        }
    }
}

/// commit.json: everything that is needed to carry the commit out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CommitRecord {
    pub publications: Vec<PlacedPublication>,
    /// The step as state.json shows it afterwards.
    pub step: StepState,
}

/// A file that waits beside its destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlacedPublication {
    pub placed: PathBuf,
    pub to: PathBuf,
    /// Missing where anything may be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

impl PlacedPublication {
    /// Whether what lies there may be replaced: a decided commit may be
    /// carried out long after it was decided.
    fn may_replace(&self) -> Result<bool> {
        self.over.map_or(Ok(true), |Over { read }| written::is_as_read(&self.to, read))
    }
}

/// A commit that is carried out; the state is still to be written.
#[must_use = "write the state, then finish()"]
#[derive(Debug)]
pub struct Committed {
    paths: StagingPaths,
    /// The step as the state is to show it.
    pub step: StepState,
    /// The tree at its committed place.
    pub tree: Tree,
    /// Files of the user that were saved in between: they are kept.
    pub kept: Vec<PathBuf>,
}

impl Transaction {
    /// Makes the attempt visible, all at once.
    ///
    /// `step` is the step as state.json shall show it; its outputs are filled
    /// in here. `publications` become visible outside build/ with the tree;
    /// where they have to be copied there, `stop` ends that.
    ///
    /// # Errors
    /// `disk-full`, `local`: the attempt may or may not be durable; `recover`
    /// of the next start decides by what lies on disk. `interrupted` where
    /// `stop` ended a copy: nothing is decided, and `recover` drops it.
    pub(crate) fn commit(
        self,
        publications: &[Publication],
        mut step: StepState,
        stop: &dyn Fn() -> bool,
    ) -> Result<Committed> {
        let listing = self.tree.listing();
        let mut placed = Vec::new();
        let (there, written): (Vec<_>, Vec<_>) =
            publications.iter().partition(|publication| self.lies_there(publication, &listing));
        let mut published = Vec::new();
        let planned: Vec<PathBuf> =
            written.iter().map(|publication| placed_beside(&publication.home, &self.id)).collect();
        if !planned.is_empty() {
            // Known before it is there: recovery finds what it has to remove.
            write_json(&self.paths.placed(), &planned)?;
            fs::sync_dir(&self.paths.root)?;
        }
        for publication in there {
            published.push(self.published(publication, &listing)?);
        }
        for (publication, waiting) in written.into_iter().zip(planned) {
            published.push(self.place(publication, &waiting, &listing, stop)?);
            let Publication { home, over, .. } = publication;
            placed.push(PlacedPublication { placed: waiting, to: home.clone(), over: *over });
        }
        // A recovery takes a file that does not wait any more for published.
        placed.iter().try_for_each(|placed| fs::sync_parent(&placed.placed))?;
        fs::checkpoint("commit-placed");
        step.outputs = Some(Outputs {
            files: listing.artifacts.len() as u64,
            bytes: listing.bytes(),
            digest: Some(listing.digest()),
            published,
        });
        write_json(&self.paths.listing(), &listing)?;
        sync_tree(&self.paths.tree(), &listing)?;
        fs::sync_dir(&self.paths.root)?;
        fs::checkpoint("commit-prepared");

        // From here the commit happens, in this process or the next.
        write_json(&self.paths.commit(), &CommitRecord { publications: placed.clone(), step: step.clone() })?;
        fs::sync_dir(&self.paths.root)?;
        fs::checkpoint("commit-decided");
        let kept = apply(&self.layout, &self.id, &self.paths, &placed)?;
        for published in step.outputs.iter_mut().flat_map(|outputs| &mut outputs.published) {
            published.stamp = fs::stamp(&self.layout.published(&published.path));
        }
        let root = self.layout.step(&self.id);
        Ok(Committed { paths: self.paths, step, tree: Tree { root, listing: listing.into() }, kept })
    }

    fn place(
        &self,
        publication: &Publication,
        waiting: &Path,
        listing: &Listing,
        stop: &dyn Fn() -> bool,
    ) -> Result<Published> {
        let published = self.published(publication, listing)?;
        if let Some(folder) = waiting.parent() {
            fs::create_dir_all_durable(folder)?;
        }
        fs::remove_file(waiting)?;
        match &publication.content {
            Content::AsItIs(..) => {}
            Content::Bytes(bytes) => fs::write_new(waiting, bytes)?,
            Content::Artifact(path) => {
                fs::link_or_copy_unless(stop, &self.tree.root().join(path), waiting)?;
                fs::sync_file(waiting)?;
            }
        }
        Ok(published)
    }

    fn published(&self, publication: &Publication, listing: &Listing) -> Result<Published> {
        let (digest, size) = match &publication.content {
            Content::AsItIs(digest, size) => (*digest, *size),
            Content::Bytes(bytes) => (Digest::of(bytes), bytes.len() as u64),
            Content::Artifact(path) => {
                let artifact = listing.get(path).ok_or_else(|| {
                    Error::invalid(format!("the step `{}` was to publish `{path}` and did not make it", self.id))
                })?;
                (artifact.digest, artifact.size)
            }
        };
        Ok(Published { path: self.layout.published_name(&publication.to), digest, size, stamp: None })
    }

    /// Whether nothing is to be written: a step recorded the file as it lies
    /// there, or a file of the configuration says already what is published and
    /// is left alone, whoever may write there.
    fn lies_there(&self, publication: &Publication, listing: &Listing) -> bool {
        if publication.recorded().is_some() {
            return true;
        }
        if !publication.to.starts_with(&self.layout.config) {
            return false;
        }
        let Ok(published) = self.published(publication, listing) else { return false };
        let there = fs::read_optional(&publication.to, published.size).ok().flatten();
        there.is_some_and(|bytes| Digest::of(&bytes) == published.digest)
    }
}

impl Committed {
    /// Drops the staging directory. The state has been written. Durable with
    /// the next [`sync_staging`](super::sync_staging).
    pub fn finish(self) -> Result<()> {
        finish(&self.paths)
    }
}

pub(super) fn finish(paths: &StagingPaths) -> Result<()> {
    fs::checkpoint("commit-recorded");
    // The record goes first: a staging directory without one is rolled back,
    // and there is nothing left in it that could be.
    fs::remove_file(&paths.placed())?;
    fs::remove_file(&paths.commit())?;
    fs::remove_dir_all(&paths.root)
}

/// Carries a decided commit out. Every act may be repeated: what is renamed
/// already is not there to be renamed again. Returns the files of the user that
/// were saved since the commit was decided: they are kept.
pub(super) fn apply(
    layout: &Layout,
    id: &str,
    paths: &StagingPaths,
    placed: &[PlacedPublication],
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all_durable(&layout.steps())?;
    let destination = layout.step(id);
    if paths.tree().exists() {
        fs::remove_dir_all(&paths.replaced())?;
        if destination.exists() {
            fs::rename(&destination, &paths.replaced())?;
        }
        fs::checkpoint("commit-replaced");
        fs::rename(&paths.tree(), &destination)?;
    }
    if paths.listing().exists() {
        fs::rename(&paths.listing(), &layout.step_listing(id))?;
    }
    fs::sync_dir(&layout.steps())?;
    fs::checkpoint("commit-tree-visible");
    let mut kept = Vec::new();
    for publication in placed {
        if publication.placed.exists() {
            if publication.may_replace()? {
                fs::rename(&publication.placed, &publication.to)?;
            } else {
                fs::remove_file(&publication.placed)?;
                kept.push(publication.to.clone());
            }
            fs::sync_parent(&publication.to)?;
        }
        fs::checkpoint("commit-published");
    }
    Ok(kept)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::local("cannot write JSON").caused_by(error))?;
    fs::write_new(path, &bytes)
}

/// Makes the directories of the tree durable; its files are synced by those
/// who wrote them.
fn sync_tree(root: &Path, listing: &Listing) -> Result<()> {
    let mut folders = std::collections::BTreeSet::from([root.to_owned()]);
    for artifact in &listing.artifacts {
        let mut folder = Path::new(&artifact.path).parent();
        while let Some(path) = folder.filter(|path| !path.as_os_str().is_empty()) {
            if !folders.insert(root.join(path)) {
                break;
            }
            folder = path.parent();
        }
    }
    folders.iter().try_for_each(|folder| fs::sync_dir(folder))
}
