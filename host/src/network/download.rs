//! Files by URL: into the store, checked against what is known about them, and
//! remembered in airgap.lock when nothing was.

use url::Url;

use super::auth::Subject;
use super::mirrors::{host_of, shown};
use super::restrict::Bounds;
use super::transfer::Wanted;
use super::transport::Request;
use super::{Fetched, Network};
use crate::config::airgap_lock::{AirgapLock, LockedFile};
use crate::config::shared_lock::SharedLock;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::grants::{At, Granting, Place, Restriction};
use crate::progress::Progress;
use crate::store::{Identity, Store};

/// A file to fetch.
#[derive(Clone, Debug, Default)]
pub struct Download {
    /// As it is written in the configuration: the key in airgap.lock, whatever
    /// mirror serves it.
    pub url: String,
    /// From a checksum file or an index.
    pub expected: Option<Digest>,
    /// Bytes; the settings' limit applies as well.
    pub limit: Option<u64>,
    /// For people: "kubectl", "chart cert-manager".
    pub label: String,
    /// What `update` calls it, where airgap.lock does not know better.
    pub name: Option<String>,
    /// Whether the content may change under the same URL: then it is neither
    /// looked up in the lock nor entered there.
    pub mutable: bool,
    /// For a guest: what it may reach.
    pub restriction: Option<Restriction>,
}

/// What is known about a download before it begins.
#[derive(Clone, Debug)]
struct Known {
    digest: Digest,
    size: Option<u64>,
    /// What `update` calls it, where airgap.lock says all this.
    locked: Option<String>,
}

/// # Errors
/// `integrity` when the lock says something else than the checksum.
fn known(download: &Download, lock: &SharedLock) -> Result<Option<Known>> {
    let lock = lock.lock();
    let locked = if download.mutable { None } else { lock.files.get(&download.url) };
    let name = || download.name.clone().unwrap_or_else(|| lock.name_of(&download.url));
    match (download.expected, locked) {
        (Some(expected), Some(locked)) if expected != locked.sha256 => {
            let found = format!("{} has the checksum {expected}", download.label);
            Err(contradicts(&found, &locked.sha256.to_string(), &name()))
        }
        (_, Some(locked)) => Ok(Some(Known { digest: locked.sha256, size: Some(locked.size), locked: Some(name()) })),
        (Some(expected), None) => {
            let of_chart = lock.charts.values().any(|chart| chart.url == download.url && chart.digest == expected);
            Ok(Some(Known { digest: expected, size: None, locked: of_chart.then(name) }))
        }
        (None, None) => Ok(None),
    }
}

/// Something is not what airgap.lock says.
pub(super) fn contradicts(found: &str, locked: &str, name: &str) -> Error {
    Error::integrity(format!("{found}, but config/airgap.lock says {locked}")).hint(format!(
        "the file changed under its URL: if that is right, take the new one with `opencenter-airgap update {name}`"
    ))
}

/// What the store holds of a download already, without any network.
///
/// # Errors
/// `integrity` when the lock says something else than the checksum.
pub fn cached(store: &Store, download: &Download, lock: &SharedLock) -> Result<Option<Fetched>> {
    let Some(Known { digest, size, .. }) = known(download, lock)? else { return Ok(None) };
    Ok(store.whole(&digest, size)?.map(|size| Fetched { digest, size }))
}

impl Network {
    /// Fetches a file into the store, or finds it there.
    ///
    /// # Errors
    /// `integrity` when the bytes differ from the checksum or the lock,
    /// `not-found`, `auth`, `transient`, `rate-limited`, `disk-full`; `plugin`
    /// for what a guest may not reach; `changed` with `--locked` and a file
    /// that nobody knows.
    pub async fn download(
        &self,
        store: &Store,
        download: &Download,
        lock: &SharedLock,
        progress: &Progress,
    ) -> Result<Fetched> {
        let known = known(download, lock)?;
        if known.is_none() && !download.mutable {
            lock.may_resolve(&format!("the file {}", download.url))?;
        }
        let (key, identity) = match &known {
            Some(known) => (known.digest.hex(), Identity::blob(known.digest, known.size)),
            None => (format!("url-{}", Digest::of(download.url.as_bytes()).hex()), Identity::url(&download.url)),
        };
        let _claim = store.claim(&key).await;
        let fetched = match cached(store, download, lock)? {
            Some(fetched) => {
                progress.expects(fetched.size);
                progress.reused(fetched.size);
                fetched
            }
            None => self.fetch(store, download, known, key, identity, progress).await?,
        };
        if !download.mutable {
            enter(lock, &download.url, fetched)?;
        }
        Ok(fetched)
    }

    async fn fetch(
        &self,
        store: &Store,
        download: &Download,
        known: Option<Known>,
        key: String,
        identity: Identity,
        progress: &Progress,
    ) -> Result<Fetched> {
        let url = self.transport.places.locate(&download.url)?;
        let (host, source) = (host_of(&url), shown(&url));
        let bounds = Bounds::of(download.restriction.as_ref().map(|reach| mirrored(reach, &download.url, &url)));
        let reach = bounds.reach(&url)?;
        let wanted = Wanted {
            key,
            identity,
            expected: known.as_ref().map(|known| known.digest),
            size: known.as_ref().and_then(|known| known.size),
            locked: known.as_ref().and_then(|known| known.locked.as_deref()),
            limit: download.limit.unwrap_or(u64::MAX).min(self.largest),
            is_counted: false,
            what: &download.label,
            source: &source,
            subject: Subject { host: &host, scope: "", credentials: bounds.credentials(), reach },
            request: Request { bounds, ..Request::get(url) },
        };
        self.transfer(&wanted, store, progress).await
    }
}

/// A grant covers a URL as it is written. Where the settings send that one
/// elsewhere, the one address there may be asked as well; what it redirects to
/// must be granted.
fn mirrored(reach: &Restriction, written: &str, url: &Url) -> Restriction {
    let granted = Url::parse(written).ok().filter(|written| written != url);
    let place = granted.and_then(|written| {
        let granting = reach.grant_for(&written).ok()?;
        let by_name = granting == Granting::Named || written.host() != url.host();
        Some(Place { what: At::Exactly(url.clone()), by_name })
    });
    reach.with_place(place)
}

/// Remembers what came, unless the lock knows. Into a frozen one comes only
/// what was asked for by a digest, which needs no entry.
pub(crate) fn enter(lock: &SharedLock, url: &str, fetched: Fetched) -> Result<()> {
    if lock.is_frozen() || lock.lock().files.contains_key(url) {
        return Ok(());
    }
    let locked = LockedFile { sha256: fetched.digest, size: fetched.size };
    lock.enter(&AirgapLock { files: [(url.to_owned(), locked)].into(), ..AirgapLock::default() })
}
