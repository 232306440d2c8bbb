//! What packages hold, sent to a registry.
//!
//! [`plan`] says what becomes what: an image keeps its path, tag and digest and
//! changes its registry. [`push`] sends what is not there, blobs before the
//! manifests that name them, several at a time; a stopped one goes on where it
//! was, for what is there is not sent again. [`names`] tells whoever has to
//! rewrite what was called how.

mod names;
mod plan;

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use model::media_type::OCI_INDEX;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    /// What was to be sent, and as what.
    #[serde(flatten)]
    pub item: Item,
    /// Whether the tag was there already, with this digest.
    pub was_there: bool,
}

/// What it took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was sent, in the order of the plan.
    pub items: Vec<Pushed>,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Blobs that were sent.
    pub blobs_sent: u64,
    /// Taken over from other repositories of the registry.
    pub blobs_mounted: u64,
    /// Blobs that their repository had already.
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

impl Document {
    /// Each once: artifacts without a configuration name an empty one twice.
    fn blobs(&self) -> BTreeSet<Digest> {
        self.config.iter().chain(&self.layers).map(|descriptor| descriptor.digest).collect()
    }
}

impl Work<'_> {
    /// Whether it was there.
    async fn item(&self, item: &Item) -> Result<bool> {
        let target = Reference::parse(&item.new)?;
        let was_there = self.is_there(&target, item.digest).await?;
        match was_there {
            true => self.remember(&target, item.digest, DEEPEST)?,
            false => Box::pin(self.manifest(&target, item.digest, DEEPEST)).await?,
        }
        // They come last, so a push that was stopped may have left them out.
        for referrer in self.library.referring_to(item.digest) {
            let target = target.at(referrer);
            if !self.is_there(&target, referrer).await? {
                Box::pin(self.manifest(&target, referrer, DEEPEST)).await?;
            }
        }
        self.list_referrers(&target, item.digest).await?;
        Ok(was_there)
    }

    /// Registries without the referrers API have their list under a tag, which
    /// whoever pushes one writes.
    async fn list_referrers(&self, target: &Reference, subject: Digest) -> Result<()> {
        let carried = self.library.descriptors_about(subject);
        if carried.is_empty() {
            return Ok(());
        }
        let known = self.network.referrers(target, subject, self.progress).await?;
        let new: Vec<Value> = carried
            .into_iter()
            .filter(|(digest, _)| !known.contains(digest))
            .map(|(_, descriptor)| descriptor)
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let tag = target.tagged(&format!("sha256-{}", subject.hex()));
        let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
        if !known.is_empty() {
            let there = self.network.manifest(&tag, self.progress).await?;
            index = model::json::read(&there.bytes)
                .map_err(|error| Error::invalid(format!("`{tag}` is no list of referrers: {error}")))?;
        }
        if let Some(listed) = index["manifests"].as_array_mut() {
            listed.extend(new);
        }
        self.network.send_manifest(&tag, OCI_INDEX, Bytes::from(index.to_string()), self.progress).await
    }

    async fn is_there(&self, target: &Reference, digest: Digest) -> Result<bool> {
        Ok(self.network.held_manifest(target, self.progress).await? == Some(digest))
    }

    /// What a manifest names that is there is there as well, for others to take
    /// over.
    fn remember(&self, target: &Reference, digest: Digest, depth: usize) -> Result<()> {
        let (_, _, document) = self.document(digest)?;
        for child in self.children(&document, depth) {
            self.remember(target, child, depth - 1)?;
        }
        document.blobs().into_iter().for_each(|blob| self.know(blob, target));
        Ok(())
    }

    fn know(&self, blob: Digest, at: &Reference) {
        if let Ok(mut known) = self.known.lock() {
            known.entry(blob).or_insert_with(|| at.clone());
        }
    }

    /// Media type and bytes of a manifest, and what it names.
    fn document(&self, digest: Digest) -> Result<(String, Vec<u8>, Document)> {
        let Some((media_type, bytes)) = self.library.manifest(digest)? else {
            return Err(Error::integrity(format!("the package lacks the manifest {digest}")));
        };
        let document = model::json::read(&bytes)
            .map_err(|error| Error::invalid(format!("the manifest {digest} cannot be read: {error}")))?;
        Ok((media_type, bytes, document))
    }

    /// An index may name platforms that are not carried.
    fn children<'a>(&'a self, document: &'a Document, depth: usize) -> impl Iterator<Item = Digest> + 'a {
        let children = document.manifests.iter().map(|descriptor| descriptor.digest);
        children.filter(move |child| depth > 0 && self.library.has_manifest(*child))
    }

    /// A manifest behind everything that it names.
    async fn manifest(&self, target: &Reference, digest: Digest, depth: usize) -> Result<()> {
        let (media_type, bytes, document) = self.document(digest)?;
        for child in self.children(&document, depth) {
            Box::pin(self.manifest(&target.at(child), child, depth - 1)).await?;
        }
        let blobs = document.blobs().into_iter();
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
        self.know(digest, target);
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
