//! What plugins ask of registries: by an address that was granted, into the
//! store, and from the store only what that address gave the same plugin
//! before.

use super::blocking::blocking;
use super::download::{held, seen};
use super::{Fetched, Network};
use crate::seen::Seen;
use crate::store::Store;
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::Progress;
use base::reference::{Reference, blob_address, manifest_address};
use entitlement::Granted;

/// What the store may answer a plugin that asks for a digest at an address.
///
/// # Errors
/// `local`.
pub async fn held_at(store: &Store, from: &Granted<Reference>, address: &str, digest: Digest) -> Result<Option<Seen>> {
    let (store, from, address) = (store.clone(), from.clone(), address.to_owned());
    blocking(move || held(&store, &from, &address, &digest)).await
}

impl Network {
    /// A blob of a repository, from there.
    ///
    /// # Errors
    /// As for [`Network::blob`], and `plugin`.
    pub(crate) async fn blob_for(
        &self,
        from: &Granted<Reference>,
        digest: Digest,
        limit: Option<u64>,
        store: &Store,
        build: &str,
        progress: &Progress,
    ) -> Result<Seen> {
        let address = blob_address(from.at());
        let key = from.partial_key(&address, Some(digest));
        let _claim = store.claim(&key).await;
        // Asked for twice at once it is fetched once.
        if let Some(there) = held_at(store, from, &address, digest).await? {
            progress.reused(there.size());
            return Ok(there);
        }
        let fetched = self.blob_from(from.reach(), &key, from.at(), &digest, None, limit, store, progress).await?;
        seen(store, from, &address, fetched, build)
    }

    /// The manifest behind a reference, of `digest` where that is known.
    ///
    /// # Errors
    /// As for [`Network::manifest`], and `plugin`.
    pub(crate) async fn manifest_for(
        &self,
        from: &Granted<Reference>,
        digest: Option<Digest>,
        limit: Option<u64>,
        store: &Store,
        build: &str,
        progress: &Progress,
    ) -> Result<Seen> {
        let at = digest.map_or_else(|| from.at().clone(), |digest| from.at().at(digest));
        let manifest = self.manifest_within(from.reach(), &at, progress).await?;
        let size = manifest.bytes.len() as u64;
        // What is refused is not kept either.
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            let what = format!("{at} has {size} bytes, and at most {limit} are wanted");
            return Err(Error::invalid(what));
        }
        let store_of_bytes = store.clone();
        let digest = blocking(move || store_of_bytes.insert_bytes(&manifest.bytes)).await?;
        seen(store, from, &manifest_address(from.at()), Fetched { digest, size }, build)
    }

    /// The tags of a repository, at most `limit`.
    ///
    /// # Errors
    /// As for [`Network::list_tags`], and `plugin`.
    pub(crate) async fn tags_for(
        &self,
        from: &Granted<Reference>,
        limit: usize,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        self.list_tags_within(from.reach(), from.at(), limit, progress).await
    }
}
