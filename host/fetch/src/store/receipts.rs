//! Receipts: who fetched what from where.
//!
//! The store holds what everybody fetched, and a digest is no right to it. A
//! small file `fetched/<name>` says that this asker was given these bytes by
//! that address; with it a plugin need not fetch in the next build what it
//! fetched in the last one. The host's own steps need none for that: the
//! configuration names what they ask for. Theirs and the plugins' are the
//! [`Witness`] of an entry of airgap.lock that does not say who saw it.
//!
//! A receipt is not synced. One that a crash takes along or cuts short counts
//! for nothing, and costs a download.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Store;
use super::collect::entries;
use base::digest::Digest;
use base::error::Result;
use config::lock_doubts::Witness;
use disk::fs;
use entitlement::Asker;
use model::oci::LARGEST_MANIFEST;

/// Bytes of a receipt: a URL and a few words.
const LONGEST: u64 = 64 << 10;

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Who was given it.
    pub asker: Asker,
    /// The URL, or `oci://` and the reference.
    pub address: String,
    /// Of what the address gave.
    pub digest: Digest,
    /// The build in which it was fetched.
    pub build: String,
    /// Bytes; missing of what an older version noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether the user's credentials could go along. What they may have opened
    /// is given to nobody without them, and an older version did not say.
    #[serde(default = "yes")]
    pub credentials: bool,
}

fn yes() -> bool {
    true
}

impl Receipt {
    fn name(asker: &Asker, address: &str, digest: &Digest) -> String {
        Digest::of(format!("{asker}\n{address}\n{digest}").as_bytes()).hex()
    }
}

impl Store {
    /// Notes what a plugin was given. Called once it lies in the store.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn note(&self, receipt: &Receipt) -> Result<()> {
        fs::create_dir_all(&self.fetched)?;
        let path = self.fetched.join(Receipt::name(&receipt.asker, &receipt.address, &receipt.digest));
        let text = serde_json::to_vec(receipt).unwrap_or_default();
        fs::write_all(&mut fs::create(&path)?, &path, &text)
    }

    /// The receipt of exactly this, where there is one.
    ///
    /// # Errors
    /// `local`.
    pub fn receipt(&self, asker: &Asker, address: &str, digest: &Digest) -> Result<Option<Receipt>> {
        let found = self.read_receipt(self.fetched.join(Receipt::name(asker, address, digest)))?;
        let is_it = |found: &Receipt| found.asker == *asker && found.address == address && found.digest == *digest;
        Ok(found.filter(is_it))
    }

    /// Drops the receipts of what is not there any more, and of askers that
    /// `has` does not know; `blobs` is what stays.
    pub(super) fn remove_receipts(&self, blobs: &BTreeSet<Digest>, has: &dyn Fn(&Asker) -> bool) -> Result<()> {
        for entry in entries(&self.fetched)? {
            let receipt = self.read_receipt(entry.path()).ok().flatten();
            if !receipt.is_some_and(|receipt| blobs.contains(&receipt.digest) && has(&receipt.asker)) {
                fs::remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// A manifest in the store, where it is one.
    fn layers_of(&self, manifest: &Digest) -> Option<BTreeSet<Digest>> {
        let bytes = self.read(manifest, LARGEST_MANIFEST).ok()??;
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let layers = manifest["layers"].as_array()?.iter();
        Some(layers.filter_map(|layer| layer["digest"].as_str()?.parse().ok()).collect())
    }

    fn read_receipt(&self, path: PathBuf) -> Result<Option<Receipt>> {
        let bytes = fs::read_optional(&path, LONGEST)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

impl Witness for Store {
    fn saw(&self, asker: &Asker, address: &str, digest: &Digest) -> Option<(String, u64)> {
        let receipt = self.receipt(asker, address, digest).ok()??;
        Some((receipt.build, self.get(digest)?))
    }

    fn names_layer(&self, manifest: &Digest, layer: &Digest) -> Option<bool> {
        self.layers_of(manifest).map(|layers| layers.contains(layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_receipt_is_worth_something_for_its_own_asker_address_and_digest() {
        let (_folder, store) = store();
        let (mine, other) = (Asker::Pinned("sbom".into()), Asker::Core("sbom".into()));
        let digest = Digest::of(b"x");
        let (address, build) = ("https://h/a".into(), "1".into());
        let receipt = Receipt { asker: mine.clone(), address, digest, build, size: None, credentials: false };
        assert_eq!(store.receipt(&mine, "https://h/a", &digest).unwrap(), None);
        store.note(&receipt).unwrap();
        assert_eq!(store.receipt(&mine, "https://h/a", &digest).unwrap(), Some(receipt.clone()));
        assert_eq!(store.receipt(&other, "https://h/a", &digest).unwrap(), None);
        assert_eq!(store.receipt(&mine, "https://h/b", &digest).unwrap(), None);
        assert_eq!(store.receipt(&mine, "https://h/a", &Digest::of(b"y")).unwrap(), None);

        // Cut short, or that of another: worth nothing.
        let path = store.fetched.join(Receipt::name(&mine, "https://h/a", &digest));
        for text in ["", "{\"asker\":", &serde_json::to_string(&Receipt { asker: other, ..receipt }).unwrap()] {
            fs::write_new(&path, text.as_bytes()).unwrap();
            assert_eq!(store.receipt(&mine, "https://h/a", &digest).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn a_receipt_of_an_older_version_is_one_of_something_that_credentials_opened() {
        let text = format!(r#"{{"asker":"plugin sbom","address":"a","digest":"{}","build":"1"}}"#, Digest::of(b"x"));
        let receipt: Receipt = serde_json::from_str(&text).unwrap();
        assert_eq!((receipt.credentials, receipt.size), (true, None));
    }

    #[test]
    fn receipts_go_with_their_blob_and_their_plugin() {
        let (_folder, store) = store();
        let (stays, gone) = (Asker::Pinned("sbom".into()), Asker::Pinned("old".into()));
        let (kept, dropped) = (Digest::of(b"kept"), Digest::of(b"dropped"));
        for (asker, digest) in [(&stays, kept), (&stays, dropped), (&gone, kept)] {
            let (asker, build) = (asker.clone(), "1".into());
            let receipt = Receipt { asker, address: "a".into(), digest, build, size: None, credentials: false };
            store.note(&receipt).unwrap();
        }
        store.remove_receipts(&[kept].into(), &|asker| *asker == stays).unwrap();
        let there = |asker, digest| store.receipt(asker, "a", &digest).unwrap().is_some();
        assert_eq!([there(&stays, kept), there(&stays, dropped), there(&gone, kept)], [true, false, false]);
    }
}
