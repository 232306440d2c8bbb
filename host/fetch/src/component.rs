//! A plugin's component, fetched from where its author put it, with the
//! signature that vouches for it.
//!
//! It comes over the same network as everything else: with the user's
//! credentials, mirrors and certificates, resumed where it breaks off, bounded,
//! and compared with what is known of it. At an `https://…` address that is
//! nothing, unless the user says a digest; in a registry it is the manifest's
//! word. A signature is looked for where somebody has a key: beside the file,
//! under its name with `.sigstore.json` or `.bundle`, or among what the registry
//! holds about the manifest. None that holds is a refusal.

use config::component_manifest::{self, Named};
use config::pin_signature::{self, PinSignature};
use config::pin_source::PinSource;
use signing::{PublicKey, image, legacy};
use url::Url;

use crate::network::{Aside, Download, Network};
use crate::shared_lock::SharedLock;
use crate::store::Store;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use entitlement::Granted;

/// What cosign's users call a bundle beside a file.
pub const BUNDLES: [&str; 2] = [".sigstore.json", ".bundle"];

/// Manifests about a component that are looked into for a signature.
const MOST: usize = 50;
/// Layers of one of them; cosign writes one.
const MOST_LAYERS: usize = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ComponentRequest<'a> {
    /// Where it lies.
    pub source: &'a PinSource,
    /// One of these must have signed it; nobody where there are none.
    pub keys: &'a [PublicKey],
    /// Of the component, where the user says it.
    pub expected: Option<Digest>,
    /// Bytes of the largest component.
    pub limit: u64,
}

/// A component, and what vouches for it.
#[derive(Clone, Debug)]
pub struct Component {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Of the manifest that named it in a registry.
    pub manifest: Option<Digest>,
    /// Where a signature was asked for.
    pub signature: Option<PinSignature>,
}

/// Asks for a component.
///
/// # Errors
/// Those of [`Network::download`] and [`Network::manifest`]; `integrity` where
/// it is not what was expected, or no signature holds; `invalid-input` where
/// there is something else.
pub async fn fetch(
    network: &Network,
    store: &Store,
    wanted: ComponentRequest<'_>,
    progress: &Progress,
) -> Result<Component> {
    let source = Source { network, store, wanted, progress };
    match wanted.source {
        PinSource::Url(url) => source.at_server(url).await,
        PinSource::Registry(reference) => source.in_registry(reference).await,
    }
}

/// Who asks, and for what.
struct Source<'a> {
    network: &'a Network,
    store: &'a Store,
    wanted: ComponentRequest<'a>,
    progress: &'a Progress,
}

impl Source<'_> {
    async fn at_server(&self, url: &Url) -> Result<Component> {
        let ComponentRequest { keys, expected, limit, .. } = self.wanted;
        let bytes = self.download(url, "the plugin", expected, limit).await?;
        let signature = if keys.is_empty() { None } else { Some(self.bundle_beside(url, &Digest::of(&bytes)).await?) };
        Ok(Component { bytes, manifest: None, signature })
    }

    async fn download(&self, url: &Url, label: &str, expected: Option<Digest>, limit: u64) -> Result<Vec<u8>> {
        let from = Granted::to_host(url.to_string());
        let download = Download { expected, limit: Some(limit), mutable: true, ..Download::of(from, label) };
        let seen = self.network.download(self.store, &download, &SharedLock::default(), self.progress).await?;
        self.read(&seen.digest(), limit).await
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let (store, digest) = (self.store.clone(), *digest);
        let read = tokio::task::spawn_blocking(move || store.read(&digest, limit));
        let bytes = read.await.map_err(|error| Error::local("a reading thread failed").caused_by(error))??;
        bytes.ok_or_else(|| Error::local(format!("{digest} is not in the store any more")))
    }

    /// The first bundle that is there counts.
    async fn bundle_beside(&self, url: &Url, component: &Digest) -> Result<PinSignature> {
        let places = BUNDLES.map(|ending| {
            let mut beside = url.clone();
            beside.set_path(&format!("{}{ending}", url.path()));
            beside
        });
        for beside in &places {
            match self.download(beside, "the signature", None, pin_signature::LARGEST).await {
                Ok(bundle) => {
                    return PinSignature::of_component(self.wanted.keys, component, &bundle)
                        .map_err(|error| error.context(beside.to_string()));
                }
                // Storage services say 403 of what is not there.
                Err(error) if matches!(error.status(), Some(403 | 404 | 410)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(unsigned(&format!("there is none at {}", places.map(String::from).join(", nor at "))))
    }

    async fn in_registry(&self, reference: &Reference) -> Result<Component> {
        let ComponentRequest { keys, expected, limit, .. } = self.wanted;
        let manifest = self.network.manifest(reference, self.progress).await?;
        let named = component_manifest::component(&manifest.bytes);
        let Named { digest, size } = named.map_err(|error| error.context(reference.to_string()))?;
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(Error::integrity(format!(
                "{reference} is the component {digest}, and {expected} was asked for"
            ))
            .hint("the tag was moved: look at who moved it before you take what it names now"));
        }
        if size > limit {
            return Err(Error::invalid(format!("{reference} has {size} bytes, and a plugin has at most {limit}")));
        }
        let signature = match keys {
            [] => None,
            _ => Some(self.signature_of(reference, &manifest.bytes, manifest.digest, &digest).await?),
        };
        self.network.blob(reference, &digest, Some(size), self.store, self.progress).await?;
        let bytes = self.read(&digest, limit).await?;
        Ok(Component { bytes, manifest: Some(manifest.digest), signature })
    }

    /// One signature of the manifest that holds.
    async fn signature_of(
        &self,
        reference: &Reference,
        manifest: &[u8],
        digest: Digest,
        component: &Digest,
    ) -> Result<PinSignature> {
        let mut refused = None;
        let about = self.network.aside(reference, &[digest], self.progress).await?;
        for Aside { digest, .. } in about.into_iter().take(MOST) {
            let signed = self.network.manifest(&reference.at(digest), self.progress).await?;
            let Ok(signed) = component_manifest::read(&signed.bytes) else { continue };
            for layer in signed.layers().iter().take(MOST_LAYERS) {
                if !image::is_signature(&layer.media_type) || layer.size > pin_signature::LARGEST {
                    continue;
                }
                self.network.blob(reference, &layer.digest, Some(layer.size), self.store, self.progress).await?;
                let content = self.read(&layer.digest, pin_signature::LARGEST).await?;
                let annotated = layer.annotations.get(legacy::SIGNATURE).map(String::as_str);
                let keys = self.wanted.keys;
                match PinSignature::of_manifest(keys, component, manifest, &layer.media_type, &content, annotated) {
                    Ok(signature) => return Ok(signature),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        Err(match refused {
            Some(error) => error.with_class(Class::Integrity).context(format!("no signature of {reference} holds")),
            None => unsigned(&format!("the registry holds none of {reference}")),
        })
    }
}

fn unsigned(why: &str) -> Error {
    Error::integrity(format!("the plugin is not signed: {why}")).hint(
        "its author signs it with `cosign sign-blob --bundle` or `cosign sign`; without --key, and without \
         `security.plugin_keys`, it is pinned unsigned",
    )
}
