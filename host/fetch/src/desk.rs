//! The desk at which one plugin asks the host for what lies outside of it.
//!
//! A call holds no network, no store and no lock: it holds a [`Desk`], which is
//! its own. Whatever is asked there is first looked up in the entitlement, then
//! in what this very asker saw before, and only then fetched. So "the blob with
//! this digest" can not be asked for, and nothing that another one fetched can
//! be told from what nobody has.

use std::sync::Arc;

use crate::network;
use crate::network::{Download, Network};
use crate::seen::{Seen, SeenChart};
use crate::shared_lock::SharedLock;
use crate::store::Store;
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::{Level, Progress};
use base::reference::{Reference, blob_address, manifest_address};
use config::airgap_lock::{AirgapLock, LockedChart, Statement};
use config::lock_doubts::Witness as _;
use disk::fs;
use disk::tree::{Artifact, TreeBuilder};
use entitlement::grants::address;
use entitlement::{Asker, Entitlement, Granted};

/// What the host serves plugins with. By itself it gives nothing: each plugin
/// gets a desk of its own.
#[derive(Clone)]
pub struct Means {
    store: Arc<Store>,
    /// None when offline.
    network: Option<Arc<Network>>,
    lock: SharedLock,
}

impl Means {
    /// What `network` fetches goes into `store`, and what it is for into `lock`. Without a
    /// network there is what was fetched before, and nothing else.
    pub fn new(store: Arc<Store>, network: Option<Arc<Network>>, lock: SharedLock) -> Self {
        Self { store, network, lock }
    }

    /// The desk of a plugin, with what the user granted it.
    pub fn desk(&self, entitlement: Entitlement) -> Desk {
        Desk { entitlement, means: self.clone() }
    }
}

/// Where one asker asks. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    entitlement: Entitlement,
    means: Means,
}

/// What is asked for, without where.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the content must be; None where nobody knows beforehand.
    pub expected: Option<Digest>,
    /// Bytes; more is refused.
    pub limit: Option<u64>,
    /// What the asker calls it.
    pub label: String,
    /// Whether the content may change under the same address.
    pub mutable: bool,
}

/// Why nothing was handed out.
#[derive(Debug)]
pub enum Refused {
    /// There is no network, and it was not fetched from there before.
    Offline(Error),
    /// The lock is frozen and does not hold it; what was asked for.
    Frozen(String, Error),
    /// It is longer than was asked for.
    TooLarge(Error),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Answer<T> = std::result::Result<T, Refused>;

impl Desk {
    /// What this plugin noted of a blob: [`Store::notes`].
    ///
    /// # Errors
    /// `local`.
    pub fn notes(&self, plugin: &Digest, blob: &Digest) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.means.store.notes(plugin, blob)
    }

    /// Keeps such notes.
    ///
    /// # Errors
    /// As [`Store::keep_notes`].
    pub fn keep_notes(&self, plugin: &Digest, blob: &Digest, names: &[u8], notes: &[u8]) -> Result<()> {
        self.means.store.keep_notes(plugin, blob, names, notes)
    }

    /// Whatever lies at a URL.
    ///
    /// # Errors
    /// `plugin` where it is not granted, before anything is looked up; those
    /// of [`Network::download`].
    pub async fn url(&self, url: &str, request: Request, progress: &Progress) -> Answer<Seen> {
        let from = self.entitlement.url(url)?;
        let Request { expected, limit, label, mutable } = request;
        let is_locked = !mutable && self.means.lock.said_to(from.asker(), from.at()).is_some();
        if expected.is_none() && !is_locked {
            self.may_ask(&label)?;
        }
        let download = Download { expected, limit, mutable, ..Download::of(from, label) };
        let Means { store, network, lock } = &self.means;
        let seen = match network {
            Some(network) => network.download(store, &download, lock, progress).await?,
            None => network::cached_aside(store, &download, lock).await?.ok_or_else(|| offline(&download.label))?,
        };
        // What the store held already was not counted on its way.
        too_large(&download.label, limit, seen.size())?;
        Ok(seen)
    }

    /// The blob of `registry/repository@sha256:…`.
    ///
    /// # Errors
    /// As [`Desk::url`]; `invalid-input` where the reference names no digest.
    pub async fn blob(&self, reference: &str, request: Request, progress: &Progress) -> Answer<Seen> {
        let from = self.entitlement.reference(reference)?;
        let digest = from.at().digest().ok_or_else(|| {
            Error::invalid(format!("`{}` names no blob: write `registry/repository@sha256:…`", from.at()))
        })?;
        check_expected(&request, digest)?;
        let address = blob_address(from.at());
        let seen = match self.held(&from, &address, digest, progress).await? {
            Some(seen) => seen,
            None => {
                let (network, build) = (self.network(&request.label)?, self.means.lock.build());
                network.blob_for(&from, digest, request.limit, &self.means.store, build, progress).await?
            }
        };
        too_large(&request.label, request.limit, seen.size())?;
        Ok(seen)
    }

    /// The manifest that a reference points to. A tag is locked at first sight
    /// like a file: under `oci://<reference>`.
    ///
    /// # Errors
    /// As [`Desk::url`].
    pub async fn manifest(&self, reference: &str, request: Request, progress: &Progress) -> Answer<Seen> {
        let from = self.entitlement.reference(reference)?;
        let address = manifest_address(from.at());
        let locks = !request.mutable && from.at().digest().is_none();
        let said = if locks { self.means.lock.said_to(from.asker(), &address) } else { None };
        let known = from.at().digest().or(request.expected).or(said.as_ref().map(|file| file.sha256));
        if known.is_none() {
            self.may_ask(&request.label)?;
        }
        let there = match known {
            Some(digest) => self.held(&from, &address, digest, progress).await?,
            None => None,
        };
        let seen = match there {
            Some(seen) => seen,
            None => {
                let (network, build) = (self.network(&request.label)?, self.means.lock.build());
                network.manifest_for(&from, known, request.limit, &self.means.store, build, progress).await?
            }
        };
        too_large(&request.label, request.limit, seen.size())?;
        check_expected(&request, seen.digest())?;
        if locks && said.is_none() {
            network::remember(&self.means.lock, &seen, progress)?;
        }
        Ok(seen)
    }

    /// The tags of `registry/repository`, at most `limit`.
    ///
    /// # Errors
    /// As [`Desk::url`].
    pub async fn tags(&self, repository: &str, limit: u32, progress: &Progress) -> Answer<Vec<String>> {
        let from = self.entitlement.reference(repository)?;
        let what = format!("the tags of {}", from.at().name());
        self.may_ask(&what)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let tags = self.network(&what)?.tags_for(&from, limit, progress).await?;
        progress.log(Level::Debug, &format!("{}: {} tags", from.at().name(), tags.len()));
        Ok(tags)
    }

    /// Puts what was seen into the asker's output. Gives the bytes as well that
    /// this took of the disk beside the store's own: see [`fs::multiplied`].
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn link(&self, seen: &Seen, output: &TreeBuilder, path: &str) -> Result<(Artifact, u64)> {
        let artifact = self.means.store.link(&seen.digest(), output, path, false)?;
        let bytes = fs::multiplied(&self.means.store.path(&seen.digest()), &output.root().join(path));
        Ok((artifact, bytes))
    }

    /// Makes durable what was entered into the lock so far.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn sync_lock(&self) -> Result<()> {
        self.means.lock.sync()
    }

    /// airgap.lock as far as it concerns this asker.
    pub fn lock(&self) -> AirgapLock {
        self.means.lock.lock().copy_for(self.entitlement.asker())
    }

    /// Enters the charts that this asker resolved.
    ///
    /// # Errors
    /// As [`SharedLock::enter`]; `plugin` for a chart whose address the host
    /// never saw give its archive to this asker.
    pub fn enter_charts(&self, resolved: Vec<Resolved>) -> Result<()> {
        let lock = &self.means.lock;
        let asker = self.entitlement.asker();
        let mut seen = Vec::new();
        for Resolved { key, version, url, digest } in resolved {
            let by = (!matches!(asker, Asker::Core(_))).then(|| asker.clone());
            let url = address::written(&url);
            let chart = LockedChart { version, url, digest, by, build: Some(lock.build().to_owned()) };
            let is_known = lock.lock().charts.get(&key).is_some_and(|known| known.settles(&chart));
            // A frozen lock refuses it by itself.
            if !is_known && !lock.is_frozen() {
                if !self.gave(&chart.url, digest)? {
                    return Err(unseen(&chart, asker));
                }
                self.bear_out(&chart)?;
            }
            seen.push(SeenChart::new(key, chart));
        }
        lock.enter_charts(seen)
    }

    /// A chart is believed as far as an entry of its asker bears it out. What
    /// was fetched as something that may change has none yet.
    fn bear_out(&self, chart: &LockedChart) -> Result<()> {
        let Means { store, lock, .. } = &self.means;
        let asker = self.entitlement.asker();
        if chart.url.starts_with("oci://") || lock.said_to(asker, &chart.url).is_some() {
            return Ok(());
        }
        match network::seen_again(store, asker, &chart.url, &chart.digest)? {
            Some(seen) => lock.enter(&seen).map(drop),
            None => Ok(()),
        }
    }

    /// Whether an address gave this asker these bytes: itself, or by the
    /// manifest that it gave, which names them.
    fn gave(&self, address: &str, digest: Digest) -> Result<bool> {
        let Means { store, lock, .. } = &self.means;
        let asker = self.entitlement.asker();
        let said = lock.said_to(asker, address).map(|file| file.sha256);
        if said == Some(digest) || store.receipt(asker, address, &digest)?.is_some() {
            return Ok(true);
        }
        let Some(reference) = address.strip_prefix("oci://") else { return Ok(false) };
        let Some(manifest) = self.manifest_of(&Reference::parse(reference)?)? else { return Ok(false) };
        Ok(store.names_layer(&manifest, &digest).unwrap_or_default())
    }

    /// The manifest that a reference gave this asker. One with a digest is no
    /// exception: whoever holds a blob of that digest holds no manifest of
    /// this registry.
    fn manifest_of(&self, reference: &Reference) -> Result<Option<Digest>> {
        let Means { store, lock, .. } = &self.means;
        let asker = self.entitlement.asker();
        let address = manifest_address(reference);
        if let Some(said) = lock.said_to(asker, &address) {
            return Ok(Some(said.sha256));
        }
        let Some(digest) = reference.digest() else { return Ok(None) };
        Ok(store.receipt(asker, &address, &digest)?.map(|_| digest))
    }

    async fn held(
        &self,
        from: &Granted<Reference>,
        address: &str,
        digest: Digest,
        progress: &Progress,
    ) -> Result<Option<Seen>> {
        let there = network::held_at(&self.means.store, from, address, digest).await?;
        if let Some(seen) = &there {
            progress.reused(seen.size());
        }
        Ok(there)
    }

    /// With `--locked` nobody is asked what something is now.
    fn may_ask(&self, what: &str) -> Answer<()> {
        self.means.lock.may_resolve(what).map_err(|error| Refused::Frozen(what.to_owned(), error))
    }

    fn network(&self, what: &str) -> Answer<&Network> {
        self.means.network.as_deref().ok_or_else(|| offline(what))
    }
}

/// A chart as a plugin says that it resolved it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The key in airgap.lock.
    pub key: String,
    /// The exact version that it is.
    pub version: String,
    /// Where the archive came from: a URL, or `oci://` and the reference of the manifest.
    pub url: String,
    /// Of the archive in the plugin's output.
    pub digest: Digest,
}

fn unseen(chart: &LockedChart, asker: &Asker) -> Error {
    let shown = |text: &str| text.chars().take(200).flat_map(char::escape_debug).collect::<String>();
    let message = format!(
        "charts.json says that {} is version {} of a chart, with {}, and that address never gave this to the {asker}",
        shown(&chart.url),
        shown(&chart.version),
        chart.digest
    );
    Error::new(base::error::Class::Plugin, message)
        .hint("a chart is locked as its address gives it: let the plugin fetch it, or give it no URL")
}

fn check_expected(request: &Request, found: Digest) -> Result<()> {
    match request.expected {
        Some(expected) if expected != found => {
            Err(Error::integrity(format!("{} has {found} instead of {expected}", request.label)))
        }
        _ => Ok(()),
    }
}

fn too_large(label: &str, limit: Option<u64>, size: u64) -> Answer<()> {
    match limit {
        Some(limit) if size > limit => {
            Err(Refused::TooLarge(Error::invalid(format!("{label} has {size} bytes, and at most {limit} are wanted"))))
        }
        _ => Ok(()),
    }
}

fn offline(what: &str) -> Refused {
    let message = format!("{what} is not in the store as its address gave it, and the build is offline");
    Refused::Offline(Error::local(message).hint("run the build once without `--offline`"))
}
