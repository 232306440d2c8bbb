//! The list of what a build put into its package, as far as it can be compared.

use serde::Deserialize;

/// The part of artifact-manifest.json that can be compared.
#[derive(Debug, Deserialize)]
pub(super) struct ArtifactManifest {
    pub(super) format: u32,
    pub(super) package: PackageFile,
    #[serde(default)]
    pub(super) images: Vec<Image>,
    #[serde(default)]
    pub(super) charts: Vec<Item>,
    #[serde(default)]
    pub(super) files: Vec<Item>,
    #[serde(default)]
    pub(super) repositories: Vec<Repository>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PackageFile {
    pub(super) file: String,
    pub(super) sha256: String,
    pub(super) size: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) reference: String,
    /// On what it rests; missing in a list of an older version.
    #[serde(default)]
    pub(super) evidence: Option<String>,
    /// As it was written.
    #[serde(default)]
    pub(super) source: Option<String>,
    pub(super) digest: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Item {
    pub(super) component: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) evidence: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) sha256: Option<String>,
    pub(super) size: u64,
    /// Of a chart.
    #[serde(default)]
    pub(super) version: Option<String>,
    /// Of a chart that is carried as an OCI artifact: its name, and the digest
    /// of its manifest.
    #[serde(default)]
    pub(super) artifact: Option<String>,
    #[serde(default)]
    pub(super) manifest: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) source: String,
    #[serde(default)]
    pub(super) evidence: Option<String>,
    #[serde(default)]
    pub(super) commit: Option<String>,
    pub(super) component: String,
    pub(super) path: String,
    pub(super) files: usize,
    pub(super) size: u64,
}
