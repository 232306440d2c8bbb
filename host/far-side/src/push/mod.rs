//! What packages hold, sent to a registry.
//!
//! [`plan`] says what becomes what: an image keeps its path, tag and digest and
//! changes its registry. [`push`] sends what is not there, blobs before the
//! manifests that name them, several at a time; a stopped one goes on where it
//! was, for what is there is not sent again. [`names`] tells whoever has to
//! rewrite what was called how.

mod names;
mod plan;

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use serde::{Deserialize, Serialize};

pub use names::{Format, written};
pub use plan::{Item, Wanted, plan};

use crate::serve::Library;
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use fetch::network::{Network, Outgoing};

/// Blobs under way at a time: each takes 8 MiB.
const AT_ONCE: usize = 4;
/// Indexes within each other.
const DEEPEST: usize = 8;

/// What came of one item.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    #[serde(flatten)]
    pub item: Item,
    /// Whether the tag was there already, with this digest.
    pub was_there: bool,
}

/// What it took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub items: Vec<Pushed>,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    pub blobs_sent: u64,
    /// Taken over from other repositories of the registry.
    pub blobs_mounted: u64,
    pub blobs_there: u64,
}

/// Sends items that [`plan`] named.
///
/// # Errors
/// What keeps one from being sent, naming it; those before it are there.
pub async fn push(library: &Library, items: Vec<Item>, network: &Network, progress: &Progress) -> Result<Report> {
    let work = Work { library, network, progress, known: Mutex::default(), sums: Mutex::default() };
    let total = items.len() as u64;
    let mut pushed = Vec::new();
    for (done, item) in items.into_iter().enumerate() {
        progress.items(done as u64, Some(total), "items", &item.new);
        let failed = |error: Error| error.context(format!("cannot push `{}` to `{}`", item.old, item.new));
        let was_there = work.item(&item).await.map_err(failed)?;
        pushed.push(Pushed { item, was_there });
    }
    let sums = work.sums.into_inner().unwrap_or_default();
    Ok(Report { items: pushed, ..sums })
}

struct Work<'a> {
    library: &'a Library,
    network: &'a Network,
    progress: &'a Progress,
    /// Where a blob is known to be.
    known: Mutex<HashMap<Digest, Reference>>,
    sums: Mutex<Report>,
}

/// A manifest or an index, as far as it names others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: Digest,
}

impl Work<'_> {
    /// Whether it was there.
    async fn item(&self, item: &Item) -> Result<bool> {
        let target = Reference::parse(&item.new)?;
        if self.network.held_manifest(&target, self.progress).await? == Some(item.digest) {
            return Ok(true);
        }
        Box::pin(self.manifest(&target, item.digest, DEEPEST)).await?;
        for referrer in self.library.referring_to(item.digest) {
            Box::pin(self.manifest(&target.at(referrer), referrer, DEEPEST)).await?;
        }
        Ok(false)
    }

    /// A manifest behind everything that it names.
    async fn manifest(&self, target: &Reference, digest: Digest, depth: usize) -> Result<()> {
        let Some((media_type, bytes)) = self.library.manifest(digest)? else {
            return Err(Error::integrity(format!("the package lacks the manifest {digest}")));
        };
        let document: Document = components::json::read(&bytes)
            .map_err(|error| Error::invalid(format!("the manifest {digest} cannot be read: {error}")))?;
        for child in document.manifests.iter().filter(|_| depth > 0) {
            // An index may name platforms that are not carried.
            if self.library.manifest(child.digest)?.is_some() {
                Box::pin(self.manifest(&target.at(child.digest), child.digest, depth - 1)).await?;
            }
        }
        let blobs = document.config.iter().chain(&document.layers).map(|descriptor| descriptor.digest);
        let sends = iter(blobs.map(|digest| self.blob(target, digest))).buffer_unordered(AT_ONCE);
        sends.try_collect::<()>().await?;
        self.network.send_manifest(target, &media_type, Bytes::from(bytes), self.progress).await
    }

    async fn blob(&self, target: &Reference, digest: Digest) -> Result<()> {
        // What may not be passed on is not carried, and is not sent.
        let Some(blob) = self.library.blob(digest) else { return Ok(()) };
        if self.network.holds_blob(target, digest, self.progress).await? {
            self.count(|sums| sums.blobs_there += 1);
        } else if self.is_taken_over(target, digest).await? {
            self.count(|sums| sums.blobs_mounted += 1);
        } else {
            let open = || blob.stream();
            let outgoing = Outgoing { digest, size: blob.size(), open: &open };
            self.network.send_blob(target, &outgoing, self.progress).await?;
            self.count(|sums| {
                sums.blobs_sent += 1;
                sums.sent += blob.size();
            });
        }
        if let Ok(mut known) = self.known.lock() {
            known.entry(digest).or_insert_with(|| target.clone());
        }
        Ok(())
    }

    async fn is_taken_over(&self, target: &Reference, digest: Digest) -> Result<bool> {
        let from = self.known.lock().ok().and_then(|known| known.get(&digest).cloned());
        match from.filter(|from| from.repository() != target.repository()) {
            Some(from) => self.network.mount_blob(target, digest, &from, self.progress).await,
            None => Ok(false),
        }
    }

    fn count(&self, add: impl FnOnce(&mut Report)) {
        if let Ok(mut sums) = self.sums.lock() {
            add(&mut sums);
        }
    }
}
