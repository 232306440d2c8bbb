//! Files by URL: into the store, checked against what is known about them, and
//! remembered in airgap.lock when nothing was.

use url::Url;

use super::auth::Subject;
use super::mirrors::{host_of, shown};
use super::restrict::{Bounds, Place, Restriction};
use super::transfer::Wanted;
use super::transport::Request;
use super::{Fetched, Network};
use crate::config::airgap_lock::{AirgapLock, LockedFile};
use crate::config::shared_lock::SharedLock;
use crate::digest::Digest;
use crate::error::{Error, Result};
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
    /// Whether the content may change under the same URL: then it is neither
    /// looked up in the lock nor entered there.
    pub mutable: bool,
    /// For a guest: what it may reach.
    pub restriction: Option<Restriction>,
}

/// What is known about a download before it begins.
///
/// # Errors
/// `integrity` when the lock says something else than the checksum.
fn known(download: &Download, lock: &SharedLock) -> Result<Option<(Digest, Option<u64>)>> {
    let locked = if download.mutable { None } else { lock.lock().files.get(&download.url).cloned() };
    match (download.expected, locked) {
        (Some(expected), Some(locked)) if expected != locked.sha256 => Err(Error::integrity(format!(
            "{} has the checksum {expected}, but config/airgap.lock says {}",
            download.label, locked.sha256
        ))
        .hint(format!(
            "the file changed under its URL: if that is right, take the new one with `opencenter-airgap update {}`",
            download.url
        ))),
        (_, Some(locked)) => Ok(Some((locked.sha256, Some(locked.size)))),
        (expected, None) => Ok(expected.map(|expected| (expected, None))),
    }
}

/// What the store holds of a download already, without any network.
///
/// # Errors
/// `integrity` when the lock says something else than the checksum.
pub fn cached(store: &Store, download: &Download, lock: &SharedLock) -> Result<Option<Fetched>> {
    let Some((digest, size)) = known(download, lock)? else { return Ok(None) };
    if let Some(size) = size
        && !store.is_whole(&digest, size)?
    {
        return Ok(None);
    }
    Ok(store.get(&digest).map(|size| Fetched { digest, size }))
}

impl Network {
    /// Fetches a file into the store, or finds it there.
    ///
    /// # Errors
    /// `integrity` when the bytes differ from the checksum or the lock,
    /// `not-found`, `auth`, `transient`, `rate-limited`, `disk-full`; `plugin`
    /// for what a guest may not reach.
    pub async fn download(
        &self,
        store: &Store,
        download: &Download,
        lock: &SharedLock,
        progress: &Progress,
    ) -> Result<Fetched> {
        let known = known(download, lock)?;
        let (key, identity) = match known {
            Some((digest, size)) => (digest.hex(), Identity::blob(digest, size)),
            None => (format!("url-{}", Digest::of(download.url.as_bytes()).hex()), Identity::url(&download.url)),
        };
        let _claim = store.claim(&key).await;
        let fetched = match cached(store, download, lock)? {
            Some(fetched) => {
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
        known: Option<(Digest, Option<u64>)>,
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
            expected: known.map(|(digest, _)| digest),
            size: known.and_then(|(_, size)| size),
            limit: download.limit.unwrap_or(u64::MAX).min(self.largest),
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
        let by_name = reach.grant_for(&written)? || written.host() != url.host();
        Some(Place { prefix: url.clone().into(), by_name })
    });
    Restriction { place, ..reach.clone() }
}

/// Remembers what came, unless the lock knows.
pub(crate) fn enter(lock: &SharedLock, url: &str, fetched: Fetched) -> Result<()> {
    if lock.lock().files.contains_key(url) {
        return Ok(());
    }
    let locked = LockedFile { sha256: fetched.digest, size: fetched.size };
    lock.enter(&AirgapLock { files: [(url.to_owned(), locked)].into(), ..AirgapLock::default() })
}
