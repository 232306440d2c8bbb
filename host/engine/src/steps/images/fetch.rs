//! The blobs of all images: each once, from the first place that has it.
//!
//! A blob that several images share is asked of the repository of each, and
//! then of the addresses that its descriptor names, before any image fails.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;

use super::manifest::check_platform;
use super::resolve::LARGEST_CONFIG;
use super::{Item, origin};
use crate::state::journal::Journal;
use crate::steps::at_once;
use crate::steps::failures::{Failures, is_fatal};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use fetch::network::{Network, SharedBlob};
use fetch::store::Store;
use futures_util::future::BoxFuture;

/// Repositories of one registry that are asked for a blob.
const MOST_OF_A_REGISTRY: usize = 3;

pub(super) struct Fetch<'a> {
    pub(super) store: &'a Store,
    pub(super) network: Option<&'a Network>,
    pub(super) journal: Option<&'a Journal>,
    pub(super) progress: &'a Progress,
    pub(super) concurrency: usize,
    pub(super) architecture: &'a str,
    /// Images, those that failed already included.
    pub(super) total: usize,
}

/// A blob that some images need.
#[derive(Debug)]
struct NeededBlob<'a> {
    digest: Digest,
    size: u64,
    /// Repositories that should have it.
    sources: Vec<&'a Reference>,
    /// Where else its descriptors say that it is.
    urls: Vec<String>,
    /// Images that need it, by index.
    images: Vec<usize>,
}

/// What is still to come for each image.
struct Pending {
    left: Vec<usize>,
    failed: Vec<bool>,
    done: u64,
}

impl Fetch<'_> {
    /// Fetches what the store lacks. Images whose blobs are all there are
    /// done; those with a bad blob become failures.
    pub(super) async fn run(&self, items: &[Item<'_>], failures: &mut Failures) -> Result<()> {
        let (wanted, order) = wanted(items);
        let bytes: u64 = wanted.values().map(|blob| blob.size).sum();
        self.progress.counters().bytes_total.store(bytes, Ordering::Relaxed);
        let mut pending = Pending {
            left: items.iter().map(|item| item.resolved.blobs.len()).collect(),
            failed: vec![false; items.len()],
            done: 0,
        };
        let held = self.held(&wanted).await?;
        let mut missing = Vec::new();
        for blob in order.iter().filter_map(|digest| wanted.get(digest)) {
            if held.contains(&blob.digest) {
                self.progress.reused(blob.size);
                self.arrived(blob, &Ok(()), items, &mut pending, failures)?;
            } else {
                missing.push(blob);
            }
        }
        self.fetch_all(missing, items, &mut pending, failures).await
    }

    /// What the store holds whole. A blob of another size than its manifest
    /// gives is read: a damaged one is dropped, and fetched again.
    async fn held(&self, wanted: &BTreeMap<Digest, NeededBlob<'_>>) -> Result<BTreeSet<Digest>> {
        let store = self.store.clone();
        let sizes: Vec<(Digest, u64)> = wanted.values().map(|blob| (blob.digest, blob.size)).collect();
        let look = move || {
            let mut held = BTreeSet::new();
            for (digest, size) in sizes {
                if store.whole(&digest, Some(size))?.is_some() {
                    held.insert(digest);
                }
            }
            Ok(held)
        };
        let failed = |error| Error::local("a reading thread failed").caused_by(error);
        tokio::task::spawn_blocking(look).await.map_err(failed)?
    }

    async fn fetch_all(
        &self,
        missing: Vec<&NeededBlob<'_>>,
        items: &[Item<'_>],
        pending: &mut Pending,
        failures: &mut Failures,
    ) -> Result<()> {
        let stop = AtomicBool::new(false);
        let fetch = |blob| -> BoxFuture<'_, (&NeededBlob<'_>, Result<()>)> {
            let stop = &stop;
            Box::pin(async move {
                let stopped = stop.load(Ordering::Relaxed);
                (blob, if stopped { Err(Error::interrupted()) } else { self.fetch(blob).await })
            })
        };
        let mut fetching = at_once(missing, self.concurrency, fetch);
        let mut fatal: Option<Error> = None;
        while let Some((blob, result)) = fetching.next().await {
            match result {
                Err(error) if is_fatal(&error) => {
                    // What is under way ends by itself and keeps its bytes.
                    stop.store(true, Ordering::Relaxed);
                    fatal.get_or_insert(error);
                }
                result => self.arrived(blob, &result, items, pending, failures)?,
            }
        }
        fatal.map_or(Ok(()), Err)
    }

    async fn fetch(&self, blob: &NeededBlob<'_>) -> Result<()> {
        self.progress.check()?;
        let network = self.network.ok_or_else(|| {
            Error::new(Class::NotFound, format!("the blob {} is not in the store", blob.digest))
                .hint("run once without --offline")
        })?;
        let repositories = in_turn(&blob.sources);
        let (digest, size, urls) = (blob.digest, Some(blob.size), &blob.urls);
        let wanted = SharedBlob { digest, size, repositories: &repositories, urls };
        network.blob_of_any(&wanted, self.store, self.progress).await.map(drop)
    }

    /// Books a blob with every image that needs it.
    fn arrived(
        &self,
        blob: &NeededBlob<'_>,
        result: &Result<()>,
        items: &[Item<'_>],
        pending: &mut Pending,
        failures: &mut Failures,
    ) -> Result<()> {
        for &image in &blob.images {
            pending.left[image] -= 1;
            let item = &items[image];
            let result = match result {
                Err(error) => Err(error.clone()),
                Ok(()) if pending.left[image] == 0 && !pending.failed[image] => self.check(item),
                Ok(()) => continue,
            };
            match result {
                Ok(()) => {
                    pending.done += 1;
                    self.progress.items(pending.done, Some(self.total as u64), "images", item.written);
                    let bytes = item.resolved.blobs.iter().map(|blob| blob.size).sum();
                    self.journal.map_or(Ok(()), |journal| journal.done(item.written, bytes))?;
                }
                // One reason per image is enough.
                Err(_) if pending.failed[image] => {}
                Err(error) => {
                    pending.failed[image] = true;
                    failures.add(item.written, &origin(item.written), error, self.journal, self.progress)?;
                }
            }
        }
        Ok(())
    }

    /// The image is whole: its manifest must have told the truth.
    fn check(&self, item: &Item<'_>) -> Result<()> {
        for blob in &item.resolved.blobs {
            let there = self.store.get(&blob.digest);
            if there != Some(blob.size) {
                let there = there.map_or_else(|| "nothing".to_owned(), |size| format!("{size} bytes"));
                return Err(Error::invalid(format!(
                    "its manifest gives the blob {} {} bytes, but there is {there}",
                    blob.digest, blob.size
                )));
            }
        }
        let Some(config) = item.resolved.platform_of else { return Ok(()) };
        match self.store.read(&config, LARGEST_CONFIG)? {
            Some(config) => check_platform(&config, self.architecture),
            None => {
                Err(Error::integrity(format!("the blob {config} is damaged in the store")).hint("run the build again"))
            }
        }
    }
}

/// Some repositories of every registry, the first of each before the second of
/// any: what one registry lacks or can not give now, another one may have.
fn in_turn<'a>(sources: &[&'a Reference]) -> Vec<&'a Reference> {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, &Reference)> = Vec::new();
    for source in sources {
        let rank = asked.entry(source.registry()).or_default();
        if *rank < MOST_OF_A_REGISTRY {
            ranked.push((*rank, source));
        }
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, source)| source).collect()
}

/// Every blob once, and the order in which to fetch them: the largest image
/// first, its largest blob first. So images complete one after the other, and
/// no large blob is left for the end.
fn wanted<'a>(items: &'a [Item<'_>]) -> (BTreeMap<Digest, NeededBlob<'a>>, Vec<Digest>) {
    let size = |index: &usize| items[*index].resolved.blobs.iter().map(|blob| blob.size).sum::<u64>();
    let mut images: Vec<usize> = (0..items.len()).collect();
    images.sort_by_key(|index| Reverse(size(index)));
    let mut wanted: BTreeMap<Digest, NeededBlob<'a>> = BTreeMap::new();
    let mut named = BTreeSet::new();
    let mut order = Vec::new();
    for index in images {
        let resolved = &items[index].resolved;
        let mut blobs: Vec<_> = resolved.blobs.iter().collect();
        blobs.sort_by_key(|blob| Reverse(blob.size));
        for blob in blobs {
            let entry = wanted.entry(blob.digest).or_insert_with(|| {
                order.push(blob.digest);
                let (sources, urls, images) = (Vec::new(), Vec::new(), Vec::new());
                NeededBlob { digest: blob.digest, size: blob.size, sources, urls, images }
            });
            entry.images.push(index);
            if named.insert((blob.digest, resolved.reference.name())) {
                entry.sources.push(&resolved.reference);
            }
            let unknown: Vec<String> = blob.urls.iter().filter(|url| !entry.urls.contains(url)).cloned().collect();
            entry.urls.extend(unknown);
        }
    }
    (wanted, order)
}
