//! Files by URL: into the store, checked against what is known about them, and
//! remembered in airgap.lock when nothing was.
//!
//! [`cached`] is where the store answers instead of the network, and the one
//! place that decides whether it may: what the lock says under the asker's own
//! name, what the host's configuration knows by a digest, and what a plugin has
//! a receipt for.

use url::Url;

use super::auth::Subject;
use super::blocking::blocking;
use super::contradiction::contradicts;
use super::mirrors::{host_of, shown};
use super::restrict::Bounds;
use super::transfer::TransferRequest;
use super::transport::Request;
use super::{Fetched, Network};
use crate::seen::Seen;
use crate::shared_lock::SharedLock;
use crate::store::receipts::Receipt;
use crate::store::{Identity, Store};
use base::digest::Digest;
use base::error::Result;
use base::progress::Progress;
use config::airgap_lock::LockedFile;
use config::lock_doubts::contradicted;
use entitlement::grants::{At, Granting, Restriction, SettingsAddress};
use entitlement::{Asker, Granted};

/// A file to fetch.
#[derive(Clone, Debug)]
pub struct Download {
    /// The URL as it is written in the configuration: the key in airgap.lock,
    /// whatever mirror serves it.
    pub from: Granted<String>,
    /// From a checksum file or an index.
    pub expected: Option<Digest>,
    /// The checksum file that said so, which the configuration names.
    pub checksum: Option<String>,
    /// Bytes; the settings' limit applies as well.
    pub limit: Option<u64>,
    /// For people: "kubectl", "chart cert-manager".
    pub label: String,
    /// What `update` calls it, where airgap.lock does not know better.
    pub name: Option<String>,
    /// Whether the content may change under the same URL: then it is neither
    /// looked up in the lock nor entered there.
    pub mutable: bool,
}

impl Download {
    /// What lies at an address, of which nothing else is known.
    pub fn of(from: Granted<String>, label: impl Into<String>) -> Self {
        Self { from, expected: None, checksum: None, limit: None, label: label.into(), name: None, mutable: false }
    }

    fn url(&self) -> &str {
        self.from.at()
    }
}

/// What is known about a download before it begins.
#[derive(Clone, Debug)]
struct Known {
    digest: Digest,
    size: Option<u64>,
    /// What `update` calls it, where airgap.lock says all this.
    locked: Option<String>,
    /// The build in which the lock saw it, under the asker's own name.
    build: Option<String>,
}

/// # Errors
/// `integrity` when the lock says something else than the checksum.
fn known(download: &Download, lock: &SharedLock) -> Result<Option<Known>> {
    let lock = lock.lock();
    let url = download.url();
    let locked = if download.mutable { None } else { lock.file(download.from.asker(), url) };
    let locked = locked.filter(|locked| locked.build.is_some());
    let name = || download.name.clone().unwrap_or_else(|| lock.name_of(url));
    match (download.expected, locked) {
        (Some(expected), Some(locked)) if expected != locked.sha256 => {
            let found = format!("{} has the checksum {expected}", download.label);
            Err(contradicts(&found, &locked.sha256.to_string(), &name()))
        }
        (_, Some(locked)) => Ok(Some(Known {
            digest: locked.sha256,
            size: Some(locked.size),
            locked: Some(name()),
            build: locked.build.clone(),
        })),
        (Some(expected), None) => {
            let of_chart = lock.charts.values().any(|chart| chart.url == url && chart.digest == expected);
            Ok(Some(Known { digest: expected, size: None, locked: of_chart.then(name), build: None }))
        }
        (None, None) => Ok(None),
    }
}

/// What the store may answer a download with, without any network.
///
/// # Errors
/// `integrity` when the lock says something else than the checksum.
pub fn cached(store: &Store, download: &Download, lock: &SharedLock) -> Result<Option<Seen>> {
    let Some(known) = known(download, lock)? else { return Ok(None) };
    let (asker, url) = (download.from.asker(), download.url());
    match known.build {
        // The lock knows a plugin by its name, which another one may have had.
        Some(_) if download.from.needs_receipt() => held(store, &download.from, url, &known.digest),
        Some(build) => {
            let size = store.whole(&known.digest, known.size)?;
            Ok(size.map(|size| Seen::new(asker, url, known.digest, size).in_build(Some(build))))
        }
        None => held(store, &download.from, url, &known.digest),
    }
}

/// The same on a thread that may block.
///
/// # Errors
/// As for [`cached`].
pub async fn cached_aside(store: &Store, download: &Download, lock: &SharedLock) -> Result<Option<Seen>> {
    let (store, download, lock) = (store.clone(), download.clone(), lock.clone());
    blocking(move || cached(&store, &download, &lock)).await
}

/// What the store may answer an asker that names a digest: the host's steps,
/// whose digests are the configuration's, with any blob; a plugin only with
/// what that address gave it before, and where credentials may have opened it,
/// only while it is granted them.
///
/// # Errors
/// `local`.
pub(crate) fn held<P>(store: &Store, from: &Granted<P>, address: &str, digest: &Digest) -> Result<Option<Seen>> {
    let asker = from.asker();
    if asker.is_host() {
        let size = store.whole(digest, None)?;
        return Ok(size.map(|size| Seen::new(asker, address, *digest, size)));
    }
    match store.receipt(asker, address, digest)? {
        Some(receipt) if receipt.credentials && !from.credentials() => Ok(None),
        _ => seen_again(store, asker, address, digest),
    }
}

/// What vouches for something that an asker says it was given: its receipt.
/// Nothing is given for it.
///
/// # Errors
/// `local`.
pub fn seen_again(store: &Store, asker: &Asker, address: &str, digest: &Digest) -> Result<Option<Seen>> {
    let Some(receipt) = store.receipt(asker, address, digest)? else { return Ok(None) };
    let size = whole(store, &receipt)?;
    Ok(size.map(|size| Seen::new(asker, address, *digest, size).in_build(Some(receipt.build))))
}

/// A plugin may ask for the same thing without end: what a receipt says the
/// size of costs a stat, and what an old one does not, is read once.
fn whole(store: &Store, receipt: &Receipt) -> Result<Option<u64>> {
    let size = store.whole(&receipt.digest, receipt.size)?;
    if size.is_some() && size != receipt.size {
        store.note(&Receipt { size, ..receipt.clone() })?;
    }
    Ok(size)
}

/// A completed fetch. It leaves a receipt: what a plugin needs to be given it
/// again, and what vouches for an entry of airgap.lock that names no build.
///
/// # Errors
/// `local`, `disk-full`.
pub(crate) fn seen<P>(store: &Store, from: &Granted<P>, address: &str, fetched: Fetched, build: &str) -> Result<Seen> {
    let (Fetched { digest, size }, asker) = (fetched, from.asker());
    let (by, at, build) = (asker.clone(), address.to_owned(), build.to_owned());
    let credentials = from.credentials();
    store.note(&Receipt { asker: by, address: at, digest, build, size: Some(size), credentials })?;
    Ok(Seen::new(asker, address, digest, size))
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
    ) -> Result<Seen> {
        let known = known(download, lock)?;
        if known.is_none() && !download.mutable {
            lock.may_resolve(&format!("the file {}", download.url()))?;
        }
        let key = download.from.partial_key(download.url(), known.as_ref().map(|known| known.digest));
        let identity = match &known {
            Some(known) => Identity::blob(known.digest, known.size),
            None => Identity::url(download.url()),
        };
        let _claim = store.claim(&key).await;
        let given = match cached_aside(store, download, lock).await? {
            Some(there) => {
                progress.expects(there.size());
                progress.reused(there.size());
                there
            }
            None => {
                let fetched = self.fetch(store, download, known, key, identity, progress).await?;
                seen(store, &download.from, download.url(), fetched, lock.build())?
            }
        };
        let given = given.checked_by(download.checksum.clone());
        if !download.mutable {
            remember(lock, &given, progress)?;
        }
        Ok(given)
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
        let written = download.url();
        let url = self.transport.places.locate(written)?;
        let (host, source) = (host_of(&url), shown(&url));
        let bounds = Bounds::of(download.from.reach().map(|reach| mirrored(reach, written, &url)));
        bounds.reach(&url)?;
        let wanted = TransferRequest {
            key,
            identity,
            expected: known.as_ref().map(|known| known.digest),
            size: known.as_ref().and_then(|known| known.size),
            locked: known.as_ref().and_then(|known| known.locked.as_deref()),
            limit: download.limit.unwrap_or(u64::MAX).min(self.largest),
            is_counted: false,
            what: &download.label,
            source: &source,
            subject: Subject { host: &host, scope: "", credentials: bounds.credentials(), bounds: &bounds },
            request: Request { bounds: bounds.clone(), ..Request::get(url) },
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
        Some(SettingsAddress { what: At::Exactly(url.clone()), by_name })
    });
    reach.with_place(place)
}

/// Enters what was seen, unless the lock says so already. Into a frozen one
/// comes only what was asked for by a digest, which needs no entry. Where an
/// entry that nobody can vouch for said something else, that is told; returns
/// whether one said the same.
///
/// # Errors
/// `local`, `disk-full`.
pub fn remember(lock: &SharedLock, seen: &Seen, progress: &Progress) -> Result<bool> {
    // A checksum file that agrees is worth more than first sight.
    let says_as_much = |said: LockedFile| said.checksum.is_some() || seen.checksum().is_none();
    if lock.is_frozen() || lock.said_to(seen.asker(), seen.address()).is_some_and(says_as_much) {
        return Ok(false);
    }
    let doubted = lock.enter(seen)?;
    if let Some(old) = doubted.filter(|old| *old != seen.digest()) {
        progress.warn(&contradicted(seen.address(), &seen.digest(), &old));
    }
    Ok(doubted == Some(seen.digest()))
}
