//! What a run of the step would fetch, told from the lock and the store alone;
//! and what it needs of the store.

use std::collections::{BTreeMap, BTreeSet};

use model::ResolvedComponents;
use serde::Serialize;

use base::digest::Digest;
use config::airgap_lock::AirgapLock;
use fetch::store::Store;

/// What is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MissingFiles {
    pub files: u64,
    /// Bytes of those, less what unfinished downloads hold.
    pub bytes: u64,
    /// Bytes that archives unpack to are not counted: nobody knows them.
    pub archives: u64,
    pub requests_per_host: BTreeMap<String, u64>,
    /// Files without an entry in airgap.lock, by name: their sizes are not
    /// known.
    pub unknown_files: Vec<String>,
}

impl MissingFiles {
    pub fn is_empty(&self) -> bool {
        self.files == 0 && self.unknown_files.is_empty()
    }

    fn request(&mut self, url: &str) {
        *self.requests_per_host.entry(super::origin(url)).or_default() += 1;
    }
}

/// What the files of `resolved` lack in the store.
pub fn missing(resolved: &ResolvedComponents, lock: &AirgapLock, store: &Store) -> MissingFiles {
    let mut missing = MissingFiles::default();
    let mut seen = BTreeSet::new();
    for file in &resolved.files {
        missing.archives += u64::from(file.extract);
        let locked = lock.files.get(&file.url);
        if locked.is_some_and(|locked| store.get(&locked.sha256).is_some()) || !seen.insert(&file.url) {
            continue;
        }
        missing.request(&file.url);
        if let Some(checksum_url) = &file.checksum_url {
            missing.request(checksum_url);
        }
        match locked {
            Some(locked) => {
                missing.files += 1;
                missing.bytes += locked.size.saturating_sub(store.partial_bytes(&locked.sha256));
            }
            None => missing.unknown_files.push(file.name.clone()),
        }
    }
    missing
}

/// Every blob of the store that the files of `resolved` come from.
pub fn needed(lock: &AirgapLock, resolved: &ResolvedComponents) -> BTreeSet<Digest> {
    resolved.files.iter().filter_map(|file| lock.files.get(&file.url)).map(|locked| locked.sha256).collect()
}
