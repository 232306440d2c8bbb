//! What each entry of the lock says, and when two say the same.

use serde::{Deserialize, Serialize};

use crate::core_plugins::CHARTS;
use base::digest::Digest;
use base::reference::{Reference, manifest_address};
use entitlement::Asker;

/// What a reference to an image resolved to, for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Of the index that the reference named, where it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Of the manifest of the platform.
    pub manifest: Digest,
    /// Of the manifest, as the registry gave it: `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    /// The image's configuration.
    pub config: LockedBlob,
    /// The layers, the lowest first.
    #[serde(default)]
    pub layers: Vec<LockedBlob>,
    /// What the registry held about it, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<Vec<LockedReferrer>>,
    /// What names it, where components.yaml does not and `images.discover` adds it:
    /// `chart app 1.0.0: templates/pod.yaml:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_in: Option<String>,
    /// The build in which the registry gave this for the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// A manifest about an image: a signature, an attestation, an SBOM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedReferrer {
    /// Missing where the registry names it by its digest alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The media type of its manifest.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    /// Its configuration and layers.
    #[serde(default)]
    pub blobs: Vec<LockedBlob>,
}

/// One blob of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBlob {
    /// Of its bytes.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// What a chart of a repository resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedChart {
    /// The exact version that the version as written turned out to be.
    pub version: String,
    /// Where the archive lies: a URL, or `oci://` and the reference of the manifest.
    pub url: String,
    /// Of the archive, the `.tgz`.
    pub digest: Digest,
    /// The pinned plugin that resolved it; missing for the core plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Asker>,
    /// The build in which the host saw `url` give `digest` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

impl LockedImage {
    /// What the reference itself named: the index, where it was one.
    pub fn root(&self) -> Digest {
        self.index.unwrap_or(self.manifest)
    }
}

impl LockedChart {
    /// The plugin that resolved it.
    pub fn asker(&self) -> Asker {
        self.by.clone().unwrap_or_else(|| Asker::Core(CHARTS.to_owned()))
    }

    /// Under which address the entry stands that bears it out: its archive's,
    /// or of one in a registry its manifest's.
    pub fn address(&self) -> String {
        let manifest = self.url.strip_prefix("oci://").and_then(|reference| Reference::parse(reference).ok());
        manifest.map_or_else(|| self.url.clone(), |reference| manifest_address(&reference))
    }
}

/// What a URL gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Of the content.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
    /// The checksum file of the configuration that named this digest when it
    /// was fetched. Without one the address alone was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The build in which the address gave this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// What a reference in a git repository resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// The full name of the commit: 40 hexadecimal digits, or 64 of a SHA-256 repository.
    pub commit: String,
    /// The full name of what the reference turned out to be:
    /// `refs/heads/main`, `refs/tags/v1.0.0`. Missing where it is a commit.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The tag object of an annotated tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The build in which the server named this commit, or gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// An entry, and whether it says the same as another one. When it was seen
/// again is no difference; that it was seen at all is one, and so is that a
/// checksum says the same.
pub trait Statement: Clone {
    /// Whether what is said is equal, whoever saw it when.
    fn agrees_with(&self, other: &Self) -> bool;

    /// The build in which it was seen.
    fn build(&self) -> Option<&str>;

    /// What said the same beside the address.
    fn checksum(&self) -> Option<&str> {
        None
    }

    /// Whether it says in which build it was seen.
    fn is_vouched(&self) -> bool {
        self.build().is_some()
    }

    /// Whether `other` tells something new that is no other statement.
    fn is_news(&self, _other: &Self) -> bool {
        false
    }

    /// Whether nothing is new about `other`.
    fn settles(&self, other: &Self) -> bool {
        self.agrees_with(other)
            && !self.is_news(other)
            && (self.is_vouched() || !other.is_vouched())
            && (self.checksum().is_some() || other.checksum().is_none())
    }
}

impl Statement for LockedImage {
    fn agrees_with(&self, other: &Self) -> bool {
        let Self { index, manifest, media_type, size, config, layers, referrers, found_in: _, build: _ } = self;
        let image = (index, manifest, media_type, size, config, layers);
        image == (&other.index, &other.manifest, &other.media_type, &other.size, &other.config, &other.layers)
            && *referrers == other.referrers
    }

    fn is_news(&self, other: &Self) -> bool {
        other.found_in.is_some() && self.found_in != other.found_in
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedRepository {
    fn agrees_with(&self, other: &Self) -> bool {
        let Self { commit, reference, tag, build: _ } = self;
        (commit, reference, tag) == (&other.commit, &other.reference, &other.tag)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedChart {
    fn agrees_with(&self, other: &Self) -> bool {
        (&self.version, &self.url, self.digest, &self.by) == (&other.version, &other.url, other.digest, &other.by)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedFile {
    fn agrees_with(&self, other: &Self) -> bool {
        (self.sha256, self.size) == (other.sha256, other.size)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }

    fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }
}
