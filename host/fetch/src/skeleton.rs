//! Skeleton packages: definitions with their local files, published to a
//! registry for others to import components of.
//!
//! One is a manifest, which an index lists for the architecture `skeleton`, with a
//! layer for each file of a package: `zarf.yaml`, and `components/<name>.tar` of
//! each component that has files. airgap.lock keeps the manifest under the URL as
//! the definition writes it; the manifest names the rest by digest.

use std::collections::BTreeMap;

use model::json;
use model::oci::{Descriptor, LARGEST_MANIFEST, Manifest};

use crate::network::{Fetched, Network, seen};
use crate::seen::Seen;
use crate::store::Store;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use entitlement::Granted;

/// The platform under which an index lists a skeleton.
const ARCHITECTURE: &str = "skeleton";
const SYSTEM: &str = "multi";
/// The configuration of a package; of a component that later versions of Zarf
/// publish by itself.
const PACKAGE: &str = "application/vnd.zarf.config.v1+json";
const COMPONENT: &str = "application/vnd.zarf.component.config.v1+json";
/// What a layer is called.
const TITLE: &str = "org.opencontainers.image.title";
const DEFINITION: &str = "zarf.yaml";

/// Bytes of a definition.
const LARGEST_DEFINITION: u64 = 16 << 20;
/// Bytes of the files of all components.
pub const LARGEST_FILES: u64 = 4 << 30;

/// A skeleton whose blobs lie in the store.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// The manifest, as the URL gave it.
    pub seen: Seen,
    /// What it is made of.
    pub parts: Parts,
}

/// What a manifest names of a skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its zarf.yaml.
    pub definition: (Digest, u64),
    /// The archives of the components that have files, by the component's name.
    pub components: BTreeMap<String, (Digest, u64)>,
}

impl Parts {
    /// Reads a manifest.
    ///
    /// # Errors
    /// `invalid-input` for what is no package, or more than anybody publishes.
    pub fn of(manifest: &[u8], url: &str) -> Result<Self> {
        let read: Manifest<Digest> = json::read(manifest)
            .map_err(|error| Error::invalid(format!("{url} has a manifest that cannot be read")).caused_by(error))?;
        let config = read.config.as_ref().map(|config| config.media_type.clone()).unwrap_or_default();
        if config == COMPONENT {
            return Err(Error::invalid(format!("{url} is a component that was published by itself")).hint(
                "Zarf 0.84 imports none: publish the folder of a definition, `zarf package publish DIR oci://…`",
            ));
        }
        if config != PACKAGE {
            return Err(Error::invalid(format!("{url} is no Zarf package: its configuration is `{}`", shown(&config)))
                .hint("name a skeleton, as `zarf package publish DIR oci://…` makes one of a definition"));
        }
        let titled = |layer: &Descriptor<Digest>| layer.annotations.get(TITLE).cloned();
        let (mut definition, mut components, mut bytes) = (None, BTreeMap::new(), 0_u64);
        for layer in read.layers() {
            let Some(title) = titled(layer) else { continue };
            let name = title.strip_prefix("components/").and_then(|name| name.strip_suffix(".tar"));
            if title == DEFINITION {
                definition.get_or_insert((layer.digest, layer.size));
            } else if let Some(name) = name.filter(|name| is_plain(name)) {
                bytes = bytes.saturating_add(layer.size);
                components.entry(name.to_owned()).or_insert((layer.digest, layer.size));
            }
        }
        let definition =
            definition.ok_or_else(|| Error::invalid(format!("{url} is no package: it has no {DEFINITION}")))?;
        let too_large = |what: &str, bytes: u64, most: u64| {
            Error::invalid(format!("{url} has {bytes} bytes of {what}, and at most {most} are taken"))
                .hint("a skeleton holds a definition and what belongs to it: fetch large files by their URL")
        };
        if definition.1 > LARGEST_DEFINITION {
            return Err(too_large(DEFINITION, definition.1, LARGEST_DEFINITION));
        }
        if bytes > LARGEST_FILES {
            return Err(too_large("files", bytes, LARGEST_FILES));
        }
        Ok(Self { definition, components })
    }

    /// Every blob, with its bytes.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        std::iter::once(self.definition).chain(self.components.values().copied())
    }

    /// The parts of a skeleton whose manifest lies in the store.
    pub fn held(store: &Store, manifest: &Digest) -> Option<Self> {
        let bytes = store.read(manifest, LARGEST_MANIFEST).ok()??;
        Self::of(&bytes, "it").ok()
    }
}

/// The name of one folder.
fn is_plain(name: &str) -> bool {
    // A dot in front is for what is put aside while it is unpacked.
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.chars().any(char::is_control)
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

/// The skeleton of a manifest out of the store alone; None where something lacks.
///
/// # Errors
/// `local`; `integrity` where a blob is damaged.
pub fn held(store: &Store, manifest: &Digest) -> Result<Option<Parts>> {
    let Some(parts) = Parts::held(store, manifest) else { return Ok(None) };
    for (digest, size) in parts.blobs() {
        if store.whole(&digest, Some(size))?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(parts))
}

/// Fetches the skeleton at a URL into the store: the one that airgap.lock names,
/// where it does.
///
/// # Errors
/// Those of [`Network::manifest`] and [`Network::blob`], `invalid-input` for what
/// is no skeleton, `integrity` for other bytes than those that are locked.
pub async fn fetch(
    network: &Network,
    store: &Store,
    (url, locked): (&str, Option<Digest>),
    build: &str,
    progress: &Progress,
) -> Result<Skeleton> {
    let reference = Reference::parse(url)?;
    let (digest, bytes) = match locked {
        Some(locked) => (locked, manifest_of(network, store, &reference.at(locked), url, progress).await?),
        None => resolved(network, &reference, url, progress).await?,
    };
    let parts = Parts::of(&bytes, url)?;
    let (kept, manifest) = (store.clone(), bytes.clone());
    blocking(move || kept.insert_bytes(&manifest)).await?;
    for (blob, size) in parts.blobs() {
        network.blob(&reference, &blob, Some(size), store, progress).await?;
    }
    let fetched = Fetched { digest, size: bytes.len() as u64 };
    Ok(Skeleton { seen: seen(store, &Granted::to_host(()), url, fetched, build)?, parts })
}

/// What a URL gives now: the manifest for the architecture `skeleton`, or the one
/// that it names itself.
async fn resolved(
    network: &Network,
    reference: &Reference,
    url: &str,
    progress: &Progress,
) -> Result<(Digest, Vec<u8>)> {
    let root = network.manifest(reference, progress).await?;
    let read: Manifest<Digest> = json::read(&root.bytes)
        .map_err(|error| Error::invalid(format!("{url} has a manifest that cannot be read")).caused_by(error))?;
    if !read.is_index() {
        return Ok((root.digest, root.bytes));
    }
    let is_it = |descriptor: &&Descriptor<Digest>| {
        let platform = descriptor.told_platform();
        platform.is_some_and(|platform| platform.architecture == ARCHITECTURE && platform.os == SYSTEM)
    };
    let Some(found) = read.manifests().iter().find(is_it) else {
        let others = read.manifests().iter().filter_map(Descriptor::told_platform);
        let others: Vec<String> = others.take(10).map(|platform| shown(&platform.architecture)).collect();
        return Err(Error::new(
            Class::NotFound,
            format!("{url} was not published as a skeleton, only for {}", others.join(", ")),
        )
        .hint("publish the folder of its definition: `zarf package publish DIR oci://…`, without the package itself"));
    };
    let manifest = network.manifest(&reference.at(found.digest), progress).await?;
    Ok((manifest.digest, manifest.bytes))
}

async fn manifest_of(
    network: &Network,
    store: &Store,
    reference: &Reference,
    url: &str,
    progress: &Progress,
) -> Result<Vec<u8>> {
    let kept = store.clone();
    if let Some(digest) = reference.digest()
        && let Some(bytes) = blocking(move || kept.read(&digest, LARGEST_MANIFEST)).await?
    {
        return Ok(bytes);
    }
    let fetched = network.manifest(reference, progress).await.map_err(|error| match error.class() {
        Class::NotFound => error
            .context(format!("config/airgap.lock says what {url} is"))
            .hint(format!("the registry has it no more: take what it has now with `opencenter-airgap update {url}`")),
        _ => error,
    })?;
    Ok(fetched.bytes)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::local("a thread failed").caused_by(error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, layers: &[(&str, u64)]) -> Vec<u8> {
        let descriptor = |title: &str, size: u64| {
            serde_json::json!({
                "mediaType": "application/vnd.zarf.layer.v1.blob", "size": size,
                "digest": Digest::of(title.as_bytes()), "annotations": { TITLE: title },
            })
        };
        let layers: Vec<_> = layers.iter().map(|(title, size)| descriptor(title, *size)).collect();
        let config = serde_json::json!({ "mediaType": config, "size": 2, "digest": Digest::of(b"{}") });
        serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into_bytes()
    }

    #[test]
    fn a_manifest_names_the_definition_and_the_files_of_components() {
        let layers = [("zarf.yaml", 5), ("checksums.txt", 3), ("components/web.tar", 7), ("components/../x.tar", 9)];
        let parts = Parts::of(&manifest(PACKAGE, &layers), "oci://h/x:1").unwrap();
        assert_eq!(parts.definition, (Digest::of(b"zarf.yaml"), 5));
        assert_eq!(parts.components, [("web".to_owned(), (Digest::of(b"components/web.tar"), 7))].into());
        assert_eq!(parts.blobs().count(), 2);
    }

    #[test]
    fn what_is_no_package_or_too_large_is_refused() {
        for (bytes, word) in [
            (manifest("application/vnd.oci.image.config.v1+json", &[]), "no Zarf package"),
            (manifest(COMPONENT, &[]), "published by itself"),
            (manifest(PACKAGE, &[("components/web.tar", 1)]), "has no zarf.yaml"),
            (manifest(PACKAGE, &[("zarf.yaml", LARGEST_DEFINITION + 1)]), "16777217 bytes of zarf.yaml"),
            (manifest(PACKAGE, &[("zarf.yaml", 1), ("components/a.tar", LARGEST_FILES + 1)]), "bytes of files"),
            (b"{".to_vec(), "cannot be read"),
        ] {
            let error = Parts::of(&bytes, "oci://h/x:1").unwrap_err();
            assert!(error.message().contains(word) && error.message().contains("oci://h/x:1"), "{error}");
            assert_eq!(error.class(), Class::InvalidInput);
        }
    }
}
