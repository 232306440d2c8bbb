//! From a reference to digests: what the lock says, else what the registry
//! says, which then goes into the lock.
//!
//! With a lock entry nothing is asked for by tag. Manifests come from the
//! store where it has them, so that a rebuild asks for none.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Descriptor, Document, candidates, for_another_platform, is_for, packaged, tells_platform};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use config::airgap_lock::{AirgapLock, LockedBlob, LockedImage, Statement as _};
use fetch::network::Network;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use model::media_type::is_foreign;
use model::oci::{DEEPEST, LARGEST_MANIFEST};

/// Manifests that one index may lead to, indexes inside it included.
const MOST_MANIFESTS: usize = 1000;
/// Bytes of a configuration that is looked into.
pub(super) const LARGEST_CONFIG: u64 = 16 << 20;

/// Everything that one image consists of.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) reference: Reference,
    /// For index.json, without the names.
    pub(super) descriptor: Descriptor,
    /// In the store already.
    pub(super) manifests: BTreeSet<Digest>,
    /// Configs and layers, each once.
    pub(super) blobs: Vec<Descriptor>,
    /// The configuration that has to name the right platform, where no index
    /// did.
    pub(super) platform_of: Option<Digest>,
    /// What is carried about it, whose manifests and blobs are among these.
    pub(super) carried: Vec<(Reference, Descriptor)>,
}

/// What resolving needs.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) store: &'a Store,
    pub(super) network: Option<&'a Network>,
    pub(super) lock: &'a SharedLock,
    pub(super) architecture: &'a str,
    pub(super) progress: &'a Progress,
    /// Of the images that components.yaml does not name, what does.
    pub(super) origins: &'a BTreeMap<String, String>,
}

/// A document with its bytes' digest and size.
pub(super) struct Loaded {
    pub(super) document: Document,
    digest: Digest,
    size: u64,
}

/// The key of an image in airgap.lock.
pub(super) fn lock_key(written: &str, architecture: &str) -> String {
    AirgapLock::image_key(written, &format!("linux/{architecture}"))
}

impl Resolver<'_> {
    /// Resolves one image and locks it.
    ///
    /// # Errors
    /// Those of the network; `not-found` offline, or when the platform is
    /// missing; `configuration` when the lock contradicts a pinned digest or a
    /// manifest; `changed` with `--locked` and an image that the lock lacks.
    pub(super) async fn resolve(&self, written: &str) -> Result<Resolved> {
        self.progress.check()?;
        let reference = Reference::parse(written)?;
        let key = lock_key(written, self.architecture);
        let locked = self.lock.lock().images.get(&key).cloned();
        let root = match &locked {
            Some(locked) => {
                let root = locked.root();
                check_pin(&reference, root, written)?;
                let load = self.load(&reference, &root, None).await;
                load.map_err(|error| gone(error, written))?
            }
            None => {
                self.lock.may_resolve("this image")?;
                self.look_up(&reference).await?
            }
        };
        let (resolved, entry) = self.follow(&reference, root, locked.as_ref().map(|locked| locked.manifest)).await?;
        // What is about it is asked for apart.
        let referrers = locked.as_ref().and_then(|locked| locked.referrers.clone());
        let entry = LockedImage { referrers, found_in: self.origins.get(written).cloned(), ..entry };
        match locked {
            // Locked when these layers were left out.
            Some(locked)
                if locked.agrees_with(&without_foreign(&entry, &resolved.blobs)) && !locked.agrees_with(&entry) =>
            {
                if !self.lock.is_frozen() {
                    self.lock.enter_image(key, entry)?;
                }
                Ok(resolved)
            }
            Some(locked) if !locked.agrees_with(&entry) => Err(Error::configuration(format!(
                "config/airgap.lock does not say of {written} what its manifest says"
            ))
            .hint(format!(
                "bring the entry back from version control, or resolve it again: \
                         `opencenter-airgap update {written}`"
            ))),
            Some(locked) => {
                // Found there now, and locked before.
                if entry.found_in.is_some() && entry.found_in != locked.found_in && !self.lock.is_frozen() {
                    self.lock.enter_image(key, entry)?;
                }
                Ok(resolved)
            }
            None => {
                let other = self.lock.enter_image(key, entry)?;
                other.iter().for_each(|told| self.progress.warn(told));
                Ok(resolved)
            }
        }
    }

    /// Asks the registry what the reference is now; a digest may be in the
    /// store.
    async fn look_up(&self, reference: &Reference) -> Result<Loaded> {
        if let Some(digest) = reference.digest() {
            return self.load(reference, &digest, None).await;
        }
        self.fetch(reference).await
    }

    /// A manifest by digest, from the store or the registry.
    pub(super) async fn load(&self, reference: &Reference, digest: &Digest, served_as: Option<&str>) -> Result<Loaded> {
        let (store, digest) = (self.store.clone(), *digest);
        let there = blocking(move || store.read(&digest, LARGEST_MANIFEST)).await?;
        match there {
            Some(bytes) => {
                self.progress.reused(bytes.len() as u64);
                Loaded::new(&bytes, digest, served_as)
            }
            None => self.fetch(&reference.at(digest)).await,
        }
    }

    async fn fetch(&self, reference: &Reference) -> Result<Loaded> {
        let network = self.network.ok_or_else(|| {
            Error::new(Class::NotFound, "the manifest is not in the store").hint("run once without --offline")
        })?;
        let manifest = network.manifest(reference, self.progress).await?;
        let loaded = Loaded::new(&manifest.bytes, manifest.digest, Some(&manifest.media_type))?;
        let store = self.store.clone();
        blocking(move || store.insert_bytes(&manifest.bytes)).await?;
        Ok(loaded)
    }

    /// From what the reference names to everything that belongs to it.
    async fn follow(
        &self,
        reference: &Reference,
        root: Loaded,
        locked: Option<Digest>,
    ) -> Result<(Resolved, LockedImage)> {
        let descriptor = root.descriptor();
        match root.document {
            Document::Image { config, layers, .. } => {
                // Those of Windows are large: it is asked what they are for.
                let has_foreign = layers.iter().any(|layer| is_foreign(&layer.media_type));
                if has_foreign && self.config_fits(reference, &config).await? == Some(false) {
                    let message =
                        format!("the image is not for linux/{}: its configuration says so", self.architecture);
                    return Err(Error::new(Class::NotFound, message)
                        .hint("choose a tag that has this platform, or another TARGET_ARCH"));
                }
                let entry = locked_image(None, &descriptor, &config, &layers);
                let resolved = Resolved {
                    reference: reference.clone(),
                    descriptor,
                    manifests: BTreeSet::from([root.digest]),
                    platform_of: tells_platform(&config).then_some(config.digest),
                    blobs: blobs(&config, packaged(&layers, false)),
                    carried: Vec::new(),
                };
                Ok((resolved, entry))
            }
            Document::Index { manifests, .. } if reference.digest() == Some(root.digest) => {
                self.whole(reference, descriptor, &manifests, locked).await
            }
            Document::Index { manifests, .. } => self.chosen(reference, root.digest, &manifests, locked).await,
        }
    }

    /// The image for our platform behind an index, through indexes in it.
    async fn choose(&self, reference: &Reference, index: &[Descriptor], locked: Option<Digest>) -> Result<Chosen> {
        let below = |manifests: &[Descriptor], depth: usize| {
            // The best one is taken from the end.
            candidates(manifests, self.architecture, locked).into_iter().rev().map(move |found| (found, depth))
        };
        let mut open: Vec<(Descriptor, usize)> = below(index, 1).collect();
        let mut seen = BTreeSet::new();
        let mut silent = Vec::new();
        while let Some((mut descriptor, depth)) = open.pop() {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            if seen.len() > MOST_MANIFESTS || depth > DEEPEST {
                return Err(Error::invalid(format!(
                    "the index leads to more than {MOST_MANIFESTS} manifests, or through more than {DEEPEST} indexes"
                )));
            }
            let child = self.child(reference, &descriptor).await?;
            if descriptor.media_type.is_empty() {
                child.document.media_type().clone_into(&mut descriptor.media_type);
            }
            let (config, layers) = match child.document {
                Document::Index { manifests, .. } => {
                    open.extend(below(&manifests, depth + 1));
                    continue;
                }
                Document::Image { config, layers, .. } => (config, layers),
            };
            let is_known = descriptor.told_platform().is_some() || locked == Some(descriptor.digest);
            let fits = if is_known { Some(true) } else { self.config_fits(reference, &config).await? };
            let chosen = Chosen { descriptor, config, layers };
            match fits {
                Some(true) => return Ok(chosen),
                Some(false) => {}
                None => silent.push(chosen),
            }
        }
        // Nothing says what the only thing that is there is for.
        match (silent.pop(), silent.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(for_another_platform(index, self.architecture)),
        }
    }

    /// Whether a configuration is for our platform, where it says so.
    async fn config_fits(&self, reference: &Reference, config: &Descriptor) -> Result<Option<bool>> {
        if !tells_platform(config) {
            return Ok(None);
        }
        if config.size > LARGEST_CONFIG {
            return Err(Error::invalid(format!("the configuration {} has {} bytes", config.digest, config.size)));
        }
        match self.network {
            Some(network) => {
                network.blob(reference, &config.digest, Some(config.size), self.store, self.progress).await?;
            }
            None if self.store.get(&config.digest).is_none() => {
                return Err(Error::new(
                    Class::NotFound,
                    "the configuration that tells the platform is not in the store",
                )
                .hint("run once without --offline"));
            }
            None => {}
        }
        let (store, digest) = (self.store.clone(), config.digest);
        let bytes = blocking(move || store.read(&digest, LARGEST_CONFIG)).await?;
        Ok(bytes.and_then(|bytes| is_for(&bytes, self.architecture)))
    }

    /// The one image of an index that is for our platform.
    async fn chosen(
        &self,
        reference: &Reference,
        index: Digest,
        manifests: &[Descriptor],
        locked: Option<Digest>,
    ) -> Result<(Resolved, LockedImage)> {
        let Chosen { descriptor, config, layers } = self.choose(reference, manifests, locked).await?;
        let entry = locked_image(Some(index), &descriptor, &config, &layers);
        let resolved = Resolved {
            reference: reference.clone(),
            manifests: BTreeSet::from([descriptor.digest]),
            descriptor,
            blobs: blobs(&config, packaged(&layers, false)),
            platform_of: None,
            carried: Vec::new(),
        };
        Ok((resolved, entry))
    }

    /// A pinned index stays what it is: everything it names is stored, other
    /// platforms and attestations included, else its digest would be a lie.
    async fn whole(
        &self,
        reference: &Reference,
        root: Descriptor,
        children: &[Descriptor],
        locked: Option<Digest>,
    ) -> Result<(Resolved, LockedImage)> {
        let own = self.choose(reference, children, locked).await?;
        let entry = locked_image(Some(root.digest), &own.descriptor, &own.config, &own.layers);
        let mut manifests = BTreeSet::from([root.digest]);
        let mut all = Vec::new();
        let mut open: Vec<Descriptor> = children.to_vec();
        let mut left_out = 0;
        while let Some(next) = open.pop() {
            if !manifests.insert(next.digest) {
                continue;
            }
            if manifests.len() > MOST_MANIFESTS {
                return Err(Error::invalid(format!("the index leads to more than {MOST_MANIFESTS} manifests")));
            }
            match self.child(reference, &next).await?.document {
                Document::Index { manifests, .. } => open.extend(manifests),
                Document::Image { config, layers, .. } => {
                    let of_windows = next.is_for_windows();
                    left_out += layers.len() - packaged(&layers, of_windows).count();
                    all.extend(blobs(&config, packaged(&layers, of_windows)));
                }
            }
        }
        if left_out > 0 {
            self.progress.warn(&format!(
                "{reference}: {left_out} layers of its images for Windows may not be passed on, and are left out"
            ));
        }
        all.sort_by_key(|blob| blob.digest);
        all.dedup_by_key(|blob| blob.digest);
        let resolved = Resolved {
            reference: reference.clone(),
            descriptor: root,
            manifests,
            blobs: all,
            platform_of: None,
            carried: Vec::new(),
        };
        Ok((resolved, entry))
    }

    async fn child(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Loaded> {
        let child = self.load(reference, &descriptor.digest, Some(&descriptor.media_type)).await?;
        if child.size != descriptor.size {
            return Err(Error::invalid(format!(
                "the index says that the manifest {} has {} bytes, but it has {}",
                descriptor.digest, descriptor.size, child.size
            )));
        }
        Ok(child)
    }
}

/// The image for our platform.
struct Chosen {
    descriptor: Descriptor,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Loaded {
    fn new(bytes: &[u8], digest: Digest, served_as: Option<&str>) -> Result<Self> {
        Ok(Self { document: Document::parse(bytes, served_as)?, digest, size: bytes.len() as u64 })
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.document.media_type(), self.digest, self.size)
    }
}

/// What is to be fetched: the config and the layers, each digest once.
fn blobs<'a>(config: &'a Descriptor, layers: impl Iterator<Item = &'a Descriptor>) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    std::iter::once(config).chain(layers).filter(|blob| seen.insert(blob.digest)).cloned().collect()
}

/// The entry as it was written when layers that may not be passed on were
/// never packaged.
fn without_foreign(entry: &LockedImage, blobs: &[Descriptor]) -> LockedImage {
    let foreign: BTreeSet<Digest> =
        blobs.iter().filter(|blob| is_foreign(&blob.media_type)).map(|blob| blob.digest).collect();
    let mut before = entry.clone();
    before.layers.retain(|layer| !foreign.contains(&layer.digest));
    before
}

pub(super) fn locked_blob(descriptor: &Descriptor) -> LockedBlob {
    LockedBlob { digest: descriptor.digest, size: descriptor.size }
}

/// The entry of an image in airgap.lock.
pub(super) fn locked_image(
    index: Option<Digest>,
    manifest: &Descriptor,
    config: &Descriptor,
    layers: &[Descriptor],
) -> LockedImage {
    LockedImage {
        index,
        manifest: manifest.digest,
        media_type: manifest.media_type.clone(),
        size: manifest.size,
        config: locked_blob(config),
        layers: layers.iter().map(locked_blob).collect(),
        referrers: None,
        found_in: None,
        build: None,
    }
}

fn check_pin(reference: &Reference, root: Digest, written: &str) -> Result<()> {
    match reference.digest() {
        Some(pinned) if pinned != root => {
            Err(Error::configuration(format!("{written} is pinned to {pinned}, but config/airgap.lock says {root}"))
                .hint(format!("run `opencenter-airgap update {written}`")))
        }
        _ => Ok(()),
    }
}

/// What the lock names may have been deleted from the registry.
fn gone(error: Error, written: &str) -> Error {
    if error.class() != Class::NotFound || error.status().is_none() {
        return error;
    }
    error
        .context("the registry no longer has what config/airgap.lock names")
        .hint(format!("take what the reference means now with `opencenter-airgap update {written}`"))
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error| Error::local("a reading thread failed").caused_by(error);
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
