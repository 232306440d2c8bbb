//! The `images` step: every image for the target platform, as one OCI layout.
//!
//! 1. [`resolve`] turns each reference into digests: by airgap.lock, else by
//!    asking the registry; manifests go into the store.
//! 2. [`referrers`] finds what the registry holds about each, where that is
//!    carried, and checks the signature that the user's rules ask for.
//! 3. [`fetch`] brings the blobs of all images into the store, each once, some
//!    at a time, the largest image first.
//! 4. [`archives`] takes images out of archives of the project.
//! 5. [`layout`] links them into the tree and writes index.json.
//!
//! A bad image does not stop the others: the end lists all that failed.
//! [`plan`] answers what a run would do, without a network.

use std::collections::{BTreeMap, BTreeSet};

use config::resolved::resolved;
use futures_util::StreamExt;
use model::count::counted;
use model::{RESOLVED, ResolvedComponents};

use self::archives::Archived;
use self::fetch::Fetch;
use self::manifest::Descriptor;
use self::referrers::Policy;
use self::resolve::{Resolved, Resolver};
use super::failures::{Failures, is_fatal};
use crate::state::journal::Journal;
use crate::steps::{Room, Step, StepContext, at_once, discovered};
use ::fetch::network::Network;
use ::fetch::shared_lock::SharedLock;
use ::fetch::store::Store;
use base::error::{Error, Result};
use base::leash::Leash;
use base::progress::{Progress, StepOutcome};
use base::reference::Reference;
use config::Project;
use config::as_read::AsRead;
use config::core_plugins::DISCOVER;
use disk::tree::{Tree, TreeBuilder};
use futures_util::future::BoxFuture;

mod archives;
mod fetch;
mod layout;
pub(crate) mod manifest;
pub(crate) mod plan;
mod referrers;
mod resolve;
#[cfg(test)]
mod tests;

pub(crate) use plan::{parts, pinned, provenance};

/// The step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ImagesStep;

impl Step for ImagesStep {
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async move {
            let mut resolved = components(cx.inputs.get("manifests"))?;
            let origins = discovered::added(cx.inputs.get(DISCOVER))?;
            resolved.images.extend(origins.keys().cloned());
            let work = ImagesRun {
                origins,
                store: &cx.store,
                network: cx.network.as_deref(),
                lock: &cx.lock,
                output: &cx.output,
                journal: Some(&cx.journal),
                progress: &cx.progress,
                concurrency: cx.project.settings.network.concurrency.max(1),
                room: Some(&cx.room),
                policy: policy(&cx.project)?,
                local: cx.project.read.clone(),
                largest_unpacked: cx.project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
            };
            work.run(&resolved).await
        })
    }
}

/// What the settings ask about images.
fn policy(project: &Project) -> Result<Policy> {
    let images = &project.settings.images;
    Ok(Policy::of(images, images.keys(&project.layout.config)?))
}

/// components.resolved.json out of the tree of the step `manifests`.
pub(super) fn components(manifests: Option<&Tree>) -> Result<ResolvedComponents> {
    let tree = manifests.ok_or_else(|| Error::invalid("this step needs the step `manifests`"))?;
    resolved(tree)?.ok_or_else(|| Error::invalid(format!("the tree of the step `manifests` lacks {RESOLVED}")))
}

/// What one run of the step works with.
struct ImagesRun<'a> {
    store: &'a Store,
    network: Option<&'a Network>,
    lock: &'a SharedLock,
    output: &'a TreeBuilder,
    journal: Option<&'a Journal>,
    progress: &'a Progress,
    concurrency: usize,
    room: Option<&'a Room>,
    policy: Policy,
    /// Of the images that components.yaml does not name, what does.
    origins: BTreeMap<String, String>,
    /// Files of the project.
    local: AsRead,
    /// Bytes that an archive may unpack to.
    largest_unpacked: u64,
}

/// An image that could be resolved.
struct Item<'a> {
    written: &'a str,
    resolved: Resolved,
}

impl ImagesRun<'_> {
    async fn run(&self, components: &ResolvedComponents) -> Result<StepOutcome> {
        let images = distinct(&components.images);
        let total = images.len();
        self.progress.items(0, Some(total as u64), "images", "resolving references");
        if let Some(journal) = self.journal {
            journal.total(total as u64, "images")?;
        }
        let mut failures = Failures::default();
        let items = match self.gather(&images, components, &mut failures).await {
            Ok(items) => items,
            Err(error) => return Err(failures.ended_by(error)),
        };
        if !failures.is_empty() {
            return Err(self.explain(failures.into_error(total, "images")));
        }
        let archived = self.unpack(components).await?;
        let total = total + archived.references.len();
        let blobs = self.write_layout(&items, archived).await?;
        let summary = format!("{}, {}", counted(total, "image", "images"), counted(blobs, "blob", "blobs"));
        Ok(StepOutcome { summary, items: total as u64, unit: "images".to_owned() })
    }

    /// Everything that the images are made of into the store. Bad ones become
    /// failures; an error ends it for all of them.
    async fn gather<'i>(
        &self,
        images: &[&'i str],
        components: &ResolvedComponents,
        failures: &mut Failures,
    ) -> Result<Vec<Item<'i>>> {
        let items = self.resolve_all(images, &components.architecture, failures).await?;
        // The manifests told every size, and no blob is fetched yet.
        self.room.map_or(Ok(()), |room| room.check(components))?;
        let fetch = Fetch {
            store: self.store,
            network: self.network,
            journal: self.journal,
            progress: self.progress,
            concurrency: self.concurrency,
            architecture: &components.architecture,
            total: images.len(),
        };
        fetch.run(&items, failures).await?;
        Ok(items)
    }

    async fn resolve_all<'i>(
        &self,
        images: &[&'i str],
        architecture: &str,
        failures: &mut Failures,
    ) -> Result<Vec<Item<'i>>> {
        let resolver = Resolver {
            store: self.store,
            network: self.network,
            lock: self.lock,
            architecture,
            progress: self.progress,
            origins: &self.origins,
        };
        let resolve = |written: &'i str| -> BoxFuture<'_, (&'i str, Result<Resolved>)> {
            Box::pin(async move { (written, self.resolve(&resolver, written).await) })
        };
        let mut resolving = at_once(images.iter().copied(), self.concurrency, resolve);
        let mut items = Vec::new();
        while let Some((written, result)) = resolving.next().await {
            match result {
                Ok(resolved) => items.push(Item { written, resolved }),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => failures.add(written, &origin(written), error, self.journal, self.progress)?,
            }
        }
        items.sort_by_key(|item| item.written);
        Ok(items)
    }

    async fn resolve(&self, resolver: &Resolver<'_>, written: &str) -> Result<Resolved> {
        let mut resolved = resolver.resolve(written).await?;
        resolver.vouch(written, &self.policy, &mut resolved).await?;
        Ok(resolved)
    }

    /// What archives of the project hold.
    async fn unpack(&self, components: &ResolvedComponents) -> Result<Archived> {
        let archives = components.image_archives.clone();
        if archives.is_empty() {
            return Ok(Archived::default());
        }
        let reading = archives::Reading {
            local: self.local.clone(),
            architecture: components.architecture.clone(),
            folder: self.output.root().with_file_name("archives"),
            limit: self.largest_unpacked,
            leash: Leash::new(self.progress.cancellation().clone()),
        };
        let failed = |error| Error::local("the thread that unpacks failed").caused_by(error);
        tokio::task::spawn_blocking(move || reading.all(&archives)).await.map_err(failed)?
    }

    async fn write_layout(&self, items: &[Item<'_>], archived: Archived) -> Result<usize> {
        let mut references: BTreeMap<String, Descriptor> =
            items.iter().map(|item| (item.resolved.reference.normalized(), item.resolved.descriptor.clone())).collect();
        let mut carried = BTreeMap::new();
        for Resolved { reference, carried: about, .. } in items.iter().map(|item| &item.resolved) {
            let names: Vec<String> = about.iter().map(|(name, _)| name.normalized()).collect();
            if !names.is_empty() {
                carried.insert(reference.normalized(), names);
            }
            references.extend(about.iter().map(|(name, descriptor)| (name.normalized(), descriptor.clone())));
        }
        let blobs: BTreeSet<_> = items
            .iter()
            .flat_map(|item| &item.resolved.manifests)
            .copied()
            .chain(items.iter().flat_map(|item| &item.resolved.blobs).map(|blob| blob.digest))
            .collect();
        references.extend(archived.references);
        let count = blobs.iter().chain(archived.blobs.keys()).collect::<BTreeSet<_>>().len();
        let local = archived.blobs;
        let (tree, store) = (self.output.clone(), self.store.clone());
        tokio::task::spawn_blocking(move || layout::write(&tree, &store, &references, &carried, &blobs, &local))
            .await
            .map_err(|error| Error::local("the thread that writes the layout failed").caused_by(error))??;
        Ok(count)
    }

    fn explain(&self, error: Error) -> Error {
        if self.network.is_none() {
            error.hint("these are not in the store: run once without --offline")
        } else {
            error
        }
    }
}

/// Each reference once, by what it means.
pub(crate) fn distinct(images: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let meaning = |written: &str| Reference::parse(written).map_or_else(|_| written.to_owned(), |one| one.normalized());
    images.iter().map(String::as_str).filter(|written| seen.insert(meaning(written))).collect()
}

/// The registry of a reference.
fn origin(written: &str) -> String {
    Reference::parse(written).map_or_else(|_| "components.yaml".to_owned(), |one| one.registry().to_owned())
}
