//! airgap.lock: what every reference resolved to, and when.
//!
//! The lock is loaded once, shared by the steps as a [`SharedLock`], and
//! written back by the step's commit. What is in the lock wins over what a
//! server says now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The content of config/airgap.lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirgapLock {
    /// Of the file's format: 1.
    pub format: u32,
    /// RFC 3339, UTC: when the newest entry was resolved. The build's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// By `<reference as written> <platform>`: `nginx:1.27 linux/amd64`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, LockedImage>,
    /// By `<repo> <name> <version as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charts: BTreeMap<String, LockedChart>,
    /// By URL: files, and whatever else was fetched without a known digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, LockedFile>,
    /// By `<url> <ref as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<String, LockedRepository>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Of the index that the reference named, where it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    pub manifest: Digest,
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    pub config: LockedBlob,
    #[serde(default)]
    pub layers: Vec<LockedBlob>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBlob {
    pub digest: Digest,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedChart {
    pub version: String,
    pub url: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    pub sha256: Digest,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    pub commit: String,
    /// The full name of what the reference turned out to be:
    /// `refs/heads/main`, `refs/tags/v1.0.0`. Missing where it is a commit.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The tag object of an annotated tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// The lock as the steps share it.
#[derive(Clone, Debug, Default)]
pub struct SharedLock {
    inner: Arc<Mutex<AirgapLock>>,
}

impl SharedLock {
    pub fn new(lock: AirgapLock) -> Self {
        Self { inner: Arc::new(Mutex::new(lock)) }
    }

    /// Hold it briefly: never across an await.
    pub fn lock(&self) -> MutexGuard<'_, AirgapLock> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
