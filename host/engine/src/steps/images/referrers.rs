//! What a registry holds about an image: signatures, attestations, SBOMs.
//!
//! They are found by the referrers API, by the tags that cosign gives them
//! (`sha256-<digits>.sig`, `.att`, `.sbom`), and once airgap.lock says which
//! there are, by that alone. With `images.referrers` they are carried with the image;
//! with `images.verify` one of them must be the signature of the key that the
//! user's rule names, before anything else of the image is fetched.

use std::collections::BTreeSet;

use super::manifest::{Descriptor, Document};
use super::resolve::{Resolved, Resolver, locked_blob};
use crate::steps::not_here;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;
use config::airgap_lock::{ImageKey, LockedReferrer};
use config::settings::ImagesSettings;
use fetch::network::Aside;
use signing::image::is_signature;
use signing::{PublicKey, legacy};

/// Bytes of a signature that is looked into.
const LARGEST_SIGNATURE: u64 = 16 << 20;

/// Which images need whose signature, and whether it is carried.
#[derive(Debug, Default)]
pub(super) struct Policy {
    carried: bool,
    /// Pattern and key, the first that matches counts.
    rules: Vec<(String, PublicKey)>,
}

impl Policy {
    pub(super) fn of(settings: &ImagesSettings, keys: Vec<PublicKey>) -> Self {
        let rules = settings.verify.iter().map(|rule| rule.pattern.clone()).zip(keys);
        Self { carried: settings.referrers, rules: rules.collect() }
    }

    /// The key that must have signed an image.
    fn key(&self, reference: &Reference) -> Option<&PublicKey> {
        let (full, name) = (reference.normalized(), reference.name());
        let matches =
            |pattern: &str| config::settings::matches(pattern, &full) || config::settings::matches(pattern, &name);
        self.rules.iter().find(|(pattern, _)| matches(pattern)).map(|(_, key)| key)
    }

    /// Whether anything is asked about an image.
    fn asks(&self, reference: &Reference) -> bool {
        self.carried || self.key(reference).is_some()
    }
}

/// A manifest about an image.
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    pub(super) reference: Reference,
    pub(super) descriptor: Descriptor,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Referrer {
    fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    fn locked(&self) -> LockedReferrer {
        LockedReferrer {
            tag: self.reference.tag().map(str::to_owned),
            manifest: self.descriptor.digest,
            media_type: self.descriptor.media_type.clone(),
            size: self.descriptor.size,
            blobs: self.blobs().map(locked_blob).collect(),
        }
    }
}

impl Resolver<'_> {
    /// Finds what there is about an image, checks the signature that it needs,
    /// and adds to it what is carried.
    ///
    /// # Errors
    /// Those of the network; `integrity` where the signature is missing or does
    /// not hold; `changed` with `--locked` where the lock does not say what
    /// there is.
    pub(super) async fn vouch(&self, written: &str, policy: &Policy, resolved: &mut Resolved) -> Result<()> {
        if !policy.asks(&resolved.reference) {
            return Ok(());
        }
        let key = ImageKey::of(written, self.architecture);
        let locked = self.lock.lock().images.get(&key).cloned();
        let known = locked.as_ref().and_then(|locked| locked.referrers.clone());
        let about = subjects(locked.as_ref().map(|locked| locked.root()), resolved);
        let referrers = match known {
            Some(known) => self.locked_referrers(&resolved.reference, &known).await?,
            None => {
                self.lock.may_resolve("what the registry holds about this image")?;
                let found = self.find(&resolved.reference, &about).await?;
                if let Some(mut entry) = locked {
                    entry.referrers = Some(found.iter().map(Referrer::locked).collect());
                    let told = self.lock.enter_image(key, entry)?;
                    told.iter().for_each(|told| self.progress.warn(told));
                }
                found
            }
        };
        if let Some(key) = policy.key(&resolved.reference) {
            self.check_signature(key, &resolved.reference, &about, &referrers).await?;
        }
        match policy.carried {
            true => carry(resolved, referrers),
            false => self.keep(&resolved.reference, &referrers).await?,
        }
        Ok(())
    }

    /// What the lock names lies in the store, so that the same can be checked
    /// again without a network.
    async fn keep(&self, image: &Reference, referrers: &[Referrer]) -> Result<()> {
        let Some(network) = self.network else { return Ok(()) };
        for blob in referrers.iter().flat_map(Referrer::blobs) {
            network.blob(image, &blob.digest, Some(blob.size), self.store, self.progress).await?;
        }
        Ok(())
    }

    async fn locked_referrers(&self, image: &Reference, known: &[LockedReferrer]) -> Result<Vec<Referrer>> {
        let mut found = Vec::new();
        for LockedReferrer { tag, manifest, .. } in known {
            let name = tag.as_ref().map_or_else(|| image.at(*manifest), |tag| image.tagged(tag));
            found.extend(self.referrer(&name, image.at(*manifest)).await?);
        }
        Ok(found)
    }

    /// Asks the registry.
    async fn find(&self, image: &Reference, about: &[Digest]) -> Result<Vec<Referrer>> {
        let network = self.network.ok_or_else(|| not_here("what the registry holds about the image is not known"))?;
        let mut found: Vec<Referrer> = Vec::new();
        for Aside { reference, digest } in network.aside(image, about, self.progress).await? {
            found.extend(self.referrer(&reference, image.at(digest)).await?);
        }
        Ok(found)
    }

    /// One manifest about an image; None of an index, which is about nothing.
    async fn referrer(&self, name: &Reference, at: Reference) -> Result<Option<Referrer>> {
        let Some(digest) = at.digest() else { return Ok(None) };
        let loaded = self.load(&at, &digest, None).await?;
        let descriptor = loaded.descriptor();
        match loaded.document {
            Document::Image { config, layers, .. } => {
                Ok(Some(Referrer { reference: name.clone(), descriptor, config, layers }))
            }
            Document::Index { .. } => Ok(None),
        }
    }

    async fn check_signature(
        &self,
        key: &PublicKey,
        image: &Reference,
        about: &[Digest],
        referrers: &[Referrer],
    ) -> Result<()> {
        let mut tried = Vec::new();
        for referrer in referrers {
            for layer in referrer.layers.iter().filter(|layer| is_signature(&layer.media_type)) {
                let bytes = self.signature_bytes(image, layer).await?;
                match holds(key, about, layer, &bytes) {
                    Ok(()) => return Ok(()),
                    Err(error) => tried.push(error.one_line()),
                }
            }
        }
        let wanted = format!("the key {} must have signed it, by `images.verify` in config/settings.yaml", key.hint());
        let message = match tried.first() {
            None => format!("the registry holds no signature of this image: {wanted}"),
            Some(first) => format!("none of {} signatures holds: {wanted}; the first: {first}", tried.len()),
        };
        Err(Error::integrity(message)
            .hint("get an image that is signed, or the key of who signed it if you trust them"))
    }

    async fn signature_bytes(&self, image: &Reference, layer: &Descriptor) -> Result<Vec<u8>> {
        let Descriptor { digest, size, .. } = layer;
        if *size > LARGEST_SIGNATURE {
            return Err(Error::invalid(format!("the signature {digest} has {size} bytes")));
        }
        if let Some(network) = self.network {
            network.blob(image, digest, Some(*size), self.store, self.progress).await?;
        }
        let (store, digest) = (self.store.clone(), *digest);
        let bytes = super::resolve::blocking(move || store.read(&digest, LARGEST_SIGNATURE)).await?;
        bytes.ok_or_else(|| not_here(format!("the signature {digest} is not in the store")))
    }
}

/// What a signature of the image may be about: what its reference named, which
/// may be an index, and the manifest that is packaged.
fn subjects(root: Option<Digest>, resolved: &Resolved) -> Vec<Digest> {
    let mut about: Vec<Digest> = root.into_iter().collect();
    if !about.contains(&resolved.descriptor.digest) {
        about.push(resolved.descriptor.digest);
    }
    about
}

/// Whether this is a signature of the image by the key.
fn holds(key: &PublicKey, about: &[Digest], layer: &Descriptor, bytes: &[u8]) -> Result<()> {
    let annotated = layer.annotations.get(legacy::SIGNATURE).map(String::as_str);
    signing::image::verify(key, about, &layer.media_type, bytes, annotated)
}

/// Puts what is carried beside the image.
fn carry(resolved: &mut Resolved, referrers: Vec<Referrer>) {
    let mut seen: BTreeSet<Digest> = resolved.blobs.iter().map(|blob| blob.digest).collect();
    for referrer in referrers {
        resolved.manifests.insert(referrer.descriptor.digest);
        let blobs: Vec<Descriptor> = referrer.blobs().filter(|blob| seen.insert(blob.digest)).cloned().collect();
        resolved.blobs.extend(blobs);
        resolved.carried.push((referrer.reference, referrer.descriptor));
    }
}
