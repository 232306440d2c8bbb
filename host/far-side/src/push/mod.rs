//! What packages hold, sent to a registry and to a git server.
//!
//! [`plan`] says what becomes what: an image keeps its path, tag and digest and
//! changes its registry, a repository keeps its path and changes its server.
//! [`push`] sends what is not there, several at a time, blobs before the
//! manifests that name them and `referrers` behind those; a stopped one goes on
//! where it was, for what is there is not sent again. `repositories` decides
//! which reference shall name what, and makes one pack of what is carried.
//! [`names`] tells whoever has to rewrite what was called how.

mod names;
mod plan;
mod referrers;
mod repositories;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use model::oci::{DEEPEST, Manifest};
use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};

pub use names::{Format, written};
pub use plan::{Item, PushFilter, Targets, plan};

use crate::serve::Library;
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use fetch::network::{Network, Outgoing};

/// Blobs under way at a time: each takes 8 MiB.
const AT_ONCE: usize = 4;
/// Images of which something is asked or sent at a time.
const ITEMS_AT_ONCE: usize = 8;
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What came of one item.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// What was to be sent, and as what.
    #[serde(flatten)]
    pub item: Item,
    /// Whether all of it was there already.
    pub was_there: bool,
}

/// What it took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was sent, in the order of the plan.
    pub items: Vec<Pushed>,
    /// Bytes of blobs and packs that were sent.
    pub sent: u64,
    /// Blobs that were sent.
    pub blobs_sent: u64,
    /// Taken over from other repositories of the registry.
    pub blobs_mounted: u64,
    /// Blobs that their repository had already.
    pub blobs_there: u64,
    /// References of git repositories that were not what they are now.
    pub references_set: usize,
}

/// Sends items that [`plan`] named. `replaces`: references over there are
/// replaced whatever they name.
///
/// # Errors
/// What keeps one from being sent, naming it; those before it are there.
pub async fn push(
    library: &Library,
    items: Vec<Item>,
    replaces: bool,
    network: &Network,
    progress: &Progress,
) -> Result<Report> {
    let room = Semaphore::new(AT_ONCE);
    let (known, places, sums) = (Mutex::default(), Mutex::default(), Mutex::default());
    let work = PushRun { library, network, progress, replaces, room, known, places, sums };
    let done = AtomicU64::new(0);
    let total = items.len() as u64;
    let pushed = iter(items).map(async |item: Item| {
        let failed = |error: Error| error.context(format!("cannot push `{}` to `{}`", item.old, item.new));
        let was_there = work.item(&item).await.map_err(failed)?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress.items(done, Some(total), "items", &item.new);
        Ok::<_, Error>(Pushed { item, was_there })
    });
    let pushed = pin!(pushed.buffered(ITEMS_AT_ONCE).try_collect::<Vec<Pushed>>());
    let items = match select(pushed, pin!(beats(progress))).await {
        Either::Left((items, _)) => items?,
        Either::Right((never, _)) => match never {},
    };
    let sums = work.sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Report { items, ..sums })
}

/// Tells how many bytes have left, for as long as it takes.
async fn beats(progress: &Progress) -> Infallible {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        progress.beat();
    }
}

/// Where a blob is known to be; who sends it holds the place.
type Known = Arc<tokio::sync::Mutex<Option<Reference>>>;

struct PushRun<'a> {
    library: &'a Library,
    network: &'a Network,
    progress: &'a Progress,
    replaces: bool,
    room: Semaphore,
    known: Mutex<HashMap<Digest, Known>>,
    /// Who writes to a place over there holds it: several references of one
    /// repository go to one, and a list of referrers may be carried as well.
    places: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    sums: Mutex<Report>,
}

/// Each once: artifacts without a configuration name an empty one twice.
fn blobs(document: &Manifest<Digest>) -> BTreeSet<Digest> {
    document.blobs().map(|descriptor| descriptor.digest).collect()
}

impl PushRun<'_> {
    /// Whether it was there.
    async fn item(&self, item: &Item) -> Result<bool> {
        let Some(digest) = item.digest else { return self.repository(item).await };
        let target = Reference::parse(&item.new)?;
        let alone = self.alone(&target.to_string()).await;
        let was_there = self.is_there(&target, digest).await?;
        match was_there {
            true => self.remember(&target, digest, DEEPEST).await?,
            false => Box::pin(self.manifest(&target, digest, DEEPEST)).await?,
        }
        drop(alone);
        self.refer(&target, digest).await?;
        Ok(was_there)
    }

    async fn is_there(&self, target: &Reference, digest: Digest) -> Result<bool> {
        Ok(self.network.held_manifest(target, self.progress).await? == Some(digest))
    }

    /// What a manifest names that is there is there as well, for others to take
    /// over.
    async fn remember(&self, target: &Reference, digest: Digest, depth: usize) -> Result<()> {
        let (_, _, document) = self.document(digest)?;
        for child in self.children(&document, depth) {
            Box::pin(self.remember(target, child, depth - 1)).await?;
        }
        for blob in blobs(&document) {
            let known = self.known(blob);
            // Whoever holds it sends it, and knows then.
            if let Ok(mut known) = known.try_lock() {
                known.get_or_insert_with(|| target.clone());
            }
        }
        Ok(())
    }

    fn known(&self, blob: Digest) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(blob).or_default().clone()
    }

    /// Media type and bytes of a manifest, and what it names.
    fn document(&self, digest: Digest) -> Result<(String, Vec<u8>, Manifest<Digest>)> {
        let Some((media_type, bytes)) = self.library.manifest(digest)? else {
            return Err(Error::integrity(format!("the package lacks the manifest {digest}")));
        };
        let document = model::json::read(&bytes)
            .map_err(|error| Error::invalid(format!("the manifest {digest} cannot be read: {error}")))?;
        Ok((media_type, bytes, document))
    }

    /// An index may name platforms that are not carried.
    fn children<'a>(&'a self, document: &'a Manifest<Digest>, depth: usize) -> impl Iterator<Item = Digest> + 'a {
        let children = document.manifests().iter().map(|descriptor| descriptor.digest);
        children.filter(move |child| depth > 0 && self.library.has_manifest(*child))
    }

    /// A manifest behind everything that it names.
    async fn manifest(&self, target: &Reference, digest: Digest, depth: usize) -> Result<()> {
        let (media_type, bytes, document) = self.document(digest)?;
        for child in self.children(&document, depth) {
            Box::pin(self.manifest(&target.at(child), child, depth - 1)).await?;
        }
        let blobs = blobs(&document).into_iter();
        let sends = iter(blobs.map(|digest| self.blob(target, digest))).buffer_unordered(AT_ONCE);
        sends.try_collect::<()>().await?;
        self.network.send_manifest(target, &media_type, Bytes::from(bytes), self.progress).await
    }

    async fn blob(&self, target: &Reference, digest: Digest) -> Result<()> {
        // What may not be passed on is not carried, and is not sent.
        let Some(blob) = self.library.blob(digest) else { return Ok(()) };
        let known = self.known(digest);
        // Another image may be sending it: then it is taken over from there.
        let mut known = known.lock().await;
        let _room = self.room.acquire().await.map_err(|_| Error::interrupted())?;
        let from = known.clone().filter(|from| from.repository() != target.repository());
        if self.network.holds_blob(target, digest, self.progress).await? {
            self.progress.reused(blob.size());
            self.count(|sums| sums.blobs_there += 1);
        } else if let Some(from) = from
            && self.network.mount_blob(target, digest, &from, self.progress).await?
        {
            self.progress.reused(blob.size());
            self.count(|sums| sums.blobs_mounted += 1);
        } else {
            let size = blob.size();
            let outgoing = Outgoing { digest, size, open: Arc::new(move |from| blob.stream(from)) };
            let sent = self.network.send_blob(target, &outgoing, self.progress).await?;
            self.count(|sums| {
                sums.blobs_sent += 1;
                sums.sent += sent;
            });
        }
        known.get_or_insert_with(|| target.clone());
        Ok(())
    }

    fn count(&self, add: impl FnOnce(&mut Report)) {
        add(&mut self.sums.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Until it is dropped nobody else writes to the place.
    async fn alone(&self, place: &str) -> OwnedMutexGuard<()> {
        let mutex = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(place.to_owned()).or_default().clone()
        };
        mutex.lock_owned().await
    }
}
