//! From a reference to digests: what the lock says, else what the registry
//! says, which then goes into the lock.
//!
//! With a lock entry nothing is asked for by tag. Manifests come from the
//! store where it has them, so that a rebuild asks for none.

use std::collections::BTreeSet;

use super::manifest::{Descriptor, Document, is_foreign, select, tells_platform};
use crate::config::airgap_lock::{AirgapLock, LockedBlob, LockedImage, Statement as _};
use crate::config::shared_lock::SharedLock;
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::network::{LARGEST_MANIFEST, Network};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::Store;

/// Manifests that one index may lead to, indexes inside it included.
const MOST_MANIFESTS: usize = 1000;

/// Everything that one image consists of.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) reference: Reference,
    /// For index.json, without the names.
    pub(super) descriptor: Descriptor,
    /// In the store already.
    pub(super) manifests: BTreeSet<Digest>,
    /// Configs and layers, each once.
    pub(super) blobs: Vec<LockedBlob>,
    /// The configuration that has to name the right platform, where no index
    /// did.
    pub(super) platform_of: Option<Digest>,
}

/// What resolving needs.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) store: &'a Store,
    pub(super) network: Option<&'a Network>,
    pub(super) lock: &'a SharedLock,
    pub(super) architecture: &'a str,
    pub(super) progress: &'a Progress,
}

/// A document with its bytes' digest and size.
struct Loaded {
    document: Document,
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
        let (resolved, entry) = self.follow(&reference, root).await?;
        match locked {
            Some(locked) if !locked.agrees_with(&entry) => Err(Error::configuration(format!(
                "config/airgap.lock does not say of {written} what its manifest says"
            ))
            .hint(format!(
                "bring the entry back from version control, or resolve it again: \
                         `opencenter-airgap update {written}`"
            ))),
            Some(_) => Ok(resolved),
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
    async fn load(&self, reference: &Reference, digest: &Digest, served_as: Option<&str>) -> Result<Loaded> {
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
    async fn follow(&self, reference: &Reference, root: Loaded) -> Result<(Resolved, LockedImage)> {
        let descriptor = root.descriptor();
        match root.document {
            Document::Image { config, layers, .. } => {
                let entry = locked_image(None, &descriptor, &config, &layers);
                let resolved = Resolved {
                    reference: reference.clone(),
                    descriptor,
                    manifests: BTreeSet::from([root.digest]),
                    platform_of: tells_platform(&config).then_some(config.digest),
                    blobs: blobs(&config, &layers),
                };
                Ok((resolved, entry))
            }
            Document::Index { manifests, .. } if reference.digest() == Some(root.digest) => {
                self.whole(reference, descriptor, &manifests).await
            }
            Document::Index { manifests, .. } => self.chosen(reference, root.digest, &manifests).await,
        }
    }

    /// The one image of an index that is for our platform.
    async fn chosen(
        &self,
        reference: &Reference,
        index: Digest,
        manifests: &[Descriptor],
    ) -> Result<(Resolved, LockedImage)> {
        let chosen = select(manifests, self.architecture)?;
        let child = self.child(reference, chosen).await?;
        let Document::Image { config, layers, .. } = &child.document else {
            return Err(Error::invalid("the index names another index for the platform"));
        };
        let entry = locked_image(Some(index), chosen, config, layers);
        let resolved = Resolved {
            reference: reference.clone(),
            descriptor: chosen.clone(),
            manifests: BTreeSet::from([child.digest]),
            blobs: blobs(config, layers),
            platform_of: None,
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
    ) -> Result<(Resolved, LockedImage)> {
        let own = select(children, self.architecture)?.clone();
        let mut locked = None;
        let mut manifests = BTreeSet::from([root.digest]);
        let mut all = Vec::new();
        let mut open: Vec<Descriptor> = children.to_vec();
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
                    if next.digest == own.digest {
                        locked = Some(locked_image(Some(root.digest), &own, &config, &layers));
                    }
                    all.extend(blobs(&config, &layers));
                }
            }
        }
        all.sort_by_key(|blob| blob.digest);
        all.dedup_by_key(|blob| blob.digest);
        let entry = locked.ok_or_else(|| Error::invalid("the index names another index for the platform"))?;
        let resolved =
            Resolved { reference: reference.clone(), descriptor: root, manifests, blobs: all, platform_of: None };
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

impl Loaded {
    fn new(bytes: &[u8], digest: Digest, served_as: Option<&str>) -> Result<Self> {
        Ok(Self { document: Document::parse(bytes, served_as)?, digest, size: bytes.len() as u64 })
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.document.media_type(), self.digest, self.size)
    }
}

/// What is to be fetched: the config and the layers, each digest once.
fn blobs(config: &Descriptor, layers: &[Descriptor]) -> Vec<LockedBlob> {
    let mut seen = BTreeSet::new();
    std::iter::once(config)
        .chain(layers.iter().filter(|layer| !is_foreign(layer)))
        .filter(|blob| seen.insert(blob.digest))
        .map(locked_blob)
        .collect()
}

fn locked_blob(descriptor: &Descriptor) -> LockedBlob {
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
        layers: layers.iter().filter(|layer| !is_foreign(layer)).map(locked_blob).collect(),
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error| Error::local("a reading thread failed").caused_by(error);
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
