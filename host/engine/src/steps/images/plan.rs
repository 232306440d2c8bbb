//! What an image is made of, told from the lock and the store alone.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Descriptor, Document, packaged, select};
use super::resolve::locked_image;
use base::digest::Digest;
use base::reference::Reference;
use config::airgap_lock::LockedImage;
use fetch::store::Store;
use model::media_type::{CHART_PROVENANCE, is_index};
use model::oci::LARGEST_MANIFEST;

/// Everything in the store that one image consists of, with its bytes: the
/// manifests that lead to it first. An index whose size the lock does not tell
/// counts as none.
pub(crate) fn parts(written: &str, locked: &LockedImage, store: &Store) -> Vec<(Digest, u64)> {
    let Parts { manifests, blobs } = Parts::of(written, locked, store);
    let size = |digest: &Digest| if *digest == locked.manifest { locked.size } else { store.get(digest).unwrap_or(0) };
    manifests.iter().map(|digest| (*digest, size(digest))).chain(blobs).collect()
}

/// What an image is that is pinned at a digest, where the store holds the
/// manifests that say so: nothing is left to ask.
pub(crate) fn pinned(written: &str, architecture: &str, store: &Store) -> Option<LockedImage> {
    let digest = Reference::parse(written).ok()?.digest()?;
    let read = |digest: Digest| {
        let bytes = store.read(&digest, LARGEST_MANIFEST).ok()??;
        Some((Document::parse(&bytes, None).ok()?, bytes.len() as u64))
    };
    match read(digest)? {
        (Document::Image { media_type, config, layers }, size) => {
            Some(locked_image(None, &Descriptor::new(&media_type, digest, size), &config, &layers))
        }
        (Document::Index { manifests, .. }, _) => {
            let chosen = select(&manifests, architecture).ok()?;
            let (Document::Image { config, layers, .. }, _) = read(chosen.digest)? else { return None };
            Some(locked_image(Some(digest), chosen, &config, &layers))
        }
    }
}

/// The provenance file that the manifest of a chart names, where the store
/// holds the manifest.
pub(crate) fn provenance(manifest: &Digest, store: &Store) -> Option<(Digest, u64)> {
    let bytes = store.read(manifest, LARGEST_MANIFEST).ok()??;
    let Document::Image { layers, .. } = Document::parse(&bytes, None).ok()? else { return None };
    layers.iter().find(|layer| layer.media_type == CHART_PROVENANCE).map(|layer| (layer.digest, layer.size))
}

/// Indexes in one index that are looked into.
const MOST_INDEXES: usize = 100;

/// Whether this is an index, as far as its descriptor tells.
fn may_be_index(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_empty() || is_index(&descriptor.media_type)
}

/// The digests of one image.
#[derive(Debug, Default)]
struct Parts {
    manifests: BTreeSet<Digest>,
    blobs: BTreeMap<Digest, u64>,
}

impl Parts {
    fn of(written: &str, locked: &LockedImage, store: &Store) -> Self {
        let mut parts = Self::default();
        parts.manifests.extend(locked.index);
        parts.manifests.insert(locked.manifest);
        parts.blobs.extend(locked.layers.iter().chain([&locked.config]).map(|blob| (blob.digest, blob.size)));
        for referrer in locked.referrers.iter().flatten() {
            parts.manifests.insert(referrer.manifest);
            parts.blobs.extend(referrer.blobs.iter().map(|blob| (blob.digest, blob.size)));
        }
        let pinned = Reference::parse(written).ok().and_then(|reference| reference.digest());
        match locked.index {
            Some(index) if pinned == Some(index) => parts.add_all_below(index, store),
            Some(index) => parts.add_way(index, store),
            None => {}
        }
        parts
    }

    /// The indexes in an index that the store holds: one of them leads to the
    /// image, and without it the way would have to be asked for again.
    fn add_way(&mut self, index: Digest, store: &Store) {
        let mut open = vec![index];
        let mut seen = BTreeSet::new();
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) || seen.len() > MOST_INDEXES {
                continue;
            }
            let Ok(Some(bytes)) = store.read(&digest, LARGEST_MANIFEST) else { continue };
            if let Ok(Document::Index { manifests, .. }) = Document::parse(&bytes, None) {
                self.manifests.insert(digest);
                open.extend(manifests.iter().filter(|manifest| may_be_index(manifest)).map(|manifest| manifest.digest));
            }
        }
    }

    /// A pinned index needs everything it names.
    fn add_all_below(&mut self, index: Digest, store: &Store) {
        let mut open = vec![(index, false)];
        let mut seen = BTreeSet::new();
        while let Some((digest, of_windows)) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let Ok(Some(bytes)) = store.read(&digest, LARGEST_MANIFEST) else { continue };
            match Document::parse(&bytes, None) {
                Ok(Document::Index { manifests, .. }) => {
                    open.extend(manifests.iter().map(|manifest| (manifest.digest, manifest.is_for_windows())));
                    self.manifests.extend(manifests.iter().map(|manifest| manifest.digest));
                }
                Ok(Document::Image { config, layers, .. }) => {
                    let layers = packaged(&layers, of_windows).chain([&config]);
                    self.blobs.extend(layers.map(|blob| (blob.digest, blob.size)));
                }
                Err(_) => {}
            }
        }
    }
}
