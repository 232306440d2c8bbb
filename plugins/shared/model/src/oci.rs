//! Manifests, indexes and descriptors of images, by the OCI image specification
//! and Docker's before it: the one reading of them, for the host and the plugins.
//!
//! A layout, a registry and a package all hold the same three things: an index
//! names manifests, a manifest names a configuration and layers, and whatever is
//! named is named by a descriptor. [`Manifest`] is the first two, told apart by
//! what is in it, because a document need not say which of them it is.
//!
//! The types of `oci-client` are not these: theirs drop `data` and
//! `artifactType` of a descriptor and give a platform to the rows of an index
//! alone, count bytes with a sign, and refuse the `null` that Go writes for an
//! empty list. What is read here is written again beside it (the layout of a
//! package), and has to come out as it went in. A manifest itself is never
//! written again from these types: its bytes are kept, for they are its digest.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::media_type::{is_image_config, is_layer};

/// Bytes of a manifest or an index: registries and Zarf take no more.
pub const LARGEST_MANIFEST: u64 = 4 << 20;
/// Bytes of the index of a layout, which no registry ever has to take.
pub const LARGEST_INDEX: u64 = 64 << 20;
/// Indexes in indexes that are followed.
pub const DEEPEST: usize = 4;
/// Descriptors of one list. Images have some hundred layers, and packages some
/// thousand images.
const MOST_DESCRIPTORS: usize = 100_000;

/// The annotation of a descriptor in the index of a layout that names the image,
/// as publishing looks for it.
pub const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The same, as deploying looks for it.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// A pointer to a content: what it is, its digest, its size. `D` is how the
/// digest is held: a text, or the host's type, which takes SHA-256 alone. The
/// order of the fields is Go's, hence Zarf's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor<D = String> {
    /// Empty where it is not said.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: D,
    /// Bytes; 0 where it is not said.
    #[serde(default, deserialize_with = "null_is_default")]
    pub size: u64,
    /// Where else it may be had.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// By key.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What an index says that the image is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What an artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl<D> Descriptor<D> {
    /// Of something by itself, without what an index adds.
    pub fn new(media_type: &str, digest: D, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The image that the index of a layout calls so; None where it says nothing.
    pub fn reference(&self) -> Option<&str> {
        self.annotations.get(REFERENCE).map(String::as_str)
    }

    /// What it says it is for; an empty platform says nothing.
    pub fn told_platform(&self) -> Option<&Platform> {
        self.platform.as_ref().filter(|platform| !platform.os.is_empty() || !platform.architecture.is_empty())
    }

    /// Whether an index says that this is an image for Windows.
    pub fn is_for_windows(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "windows")
    }
}

impl Descriptor<String> {
    /// The digits of the digest alone.
    pub fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }
}

/// What an image runs on. A configuration says it with the same fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`; empty where it is not said.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// `linux`; empty where it is not said.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Of Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Of Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// A manifest or an index.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest<D = String> {
    /// 2; Docker gave up 1.
    #[serde(default)]
    pub schema_version: Option<u64>,
    /// What it says it is.
    #[serde(default)]
    pub media_type: Option<String>,
    /// What an artifact is.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Of a manifest.
    #[serde(default = "none")]
    pub config: Option<Descriptor<D>>,
    /// Of a manifest.
    #[serde(default = "none", deserialize_with = "bounded", bound(deserialize = "D: Deserialize<'de>"))]
    layers: Option<Vec<Descriptor<D>>>,
    /// Of an index.
    #[serde(default = "none", deserialize_with = "bounded", bound(deserialize = "D: Deserialize<'de>"))]
    manifests: Option<Vec<Descriptor<D>>>,
    /// What it is about: of signatures and the like.
    #[serde(default = "none")]
    pub subject: Option<Descriptor<D>>,
    /// By key.
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Without asking the type of digests for a default.
fn none<T>() -> Option<T> {
    None
}

impl<D> Default for Manifest<D> {
    fn default() -> Self {
        Self {
            schema_version: None,
            media_type: None,
            artifact_type: None,
            config: None,
            layers: None,
            manifests: None,
            subject: None,
            annotations: BTreeMap::new(),
            fs_layers: None,
        }
    }
}

impl<D> Manifest<D> {
    /// From bottom to top; none of an index.
    pub fn layers(&self) -> &[Descriptor<D>] {
        self.layers.as_deref().unwrap_or_default()
    }

    /// What an index names; none of a manifest.
    pub fn manifests(&self) -> &[Descriptor<D>] {
        self.manifests.as_deref().unwrap_or_default()
    }

    /// The same, to keep.
    pub fn into_manifests(self) -> Vec<Descriptor<D>> {
        self.manifests.unwrap_or_default()
    }

    /// Configuration and layers, to keep; None of an index.
    pub fn into_image(self) -> Option<(Descriptor<D>, Vec<Descriptor<D>>)> {
        Some((self.config?, self.layers.unwrap_or_default()))
    }

    /// Whether it has a list of manifests, be it empty.
    pub fn is_index(&self) -> bool {
        self.manifests.is_some()
    }

    /// Whether it has the schema version 1 of Docker, which registries gave up.
    pub fn is_of_schema_1(&self) -> bool {
        self.schema_version == Some(1) || self.fs_layers.is_some()
    }

    /// What a manifest names: its configuration, and its layers from bottom to
    /// top. Artifacts without a configuration name an empty one twice.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor<D>> {
        self.config.iter().chain(self.layers())
    }

    /// Whether it is something that runs: its configuration says so, and its
    /// layers are tars. Charts, signatures and attestations are not.
    pub fn runs(&self) -> bool {
        self.config.as_ref().is_some_and(|config| is_image_config(&config.media_type))
            && self.layers().iter().all(|layer| is_layer(&layer.media_type))
    }
}

/// Go leaves a field that is `null` as it was.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that is refused before it fills the memory: few bytes of JSON are
/// enough for a descriptor.
fn bounded<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST_DESCRIPTORS} descriptors")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                if all.len() == MOST_DESCRIPTORS {
                    return Err(serde::de::Error::invalid_length(MOST_DESCRIPTORS + 1, &self));
                }
                all.push(item);
            }
            Ok(Some(all))
        }
    }
    deserializer.deserialize_any(Bounded(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that what Go and old tools write is read, and comes out as it was.
    #[test]
    fn a_descriptor_is_read_as_go_writes_it_and_written_as_go_does() {
        let written = r#"{"mediaType":"m","digest":"sha256:a","size":7,"urls":["u"],"annotations":{"a":"b"},"data":"e30=","platform":{"architecture":"arm","os":"linux","os.features":["f"],"variant":"v7"},"artifactType":"t"}"#;
        let read: Descriptor = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        let nulls =
            r#"{"mediaType":null,"digest":"sha256:a","size":null,"urls":null,"annotations":null,"platform":null}"#;
        assert_eq!(serde_json::from_str::<Descriptor>(nulls).unwrap(), Descriptor::new("", "sha256:a".to_owned(), 0));
        assert!(serde_json::from_str::<Descriptor>(r#"{"size":1}"#).is_err(), "what has no digest points nowhere");
    }

    #[test]
    fn an_index_an_image_and_what_is_neither_are_told_apart() {
        let read = |text: &str| serde_json::from_str::<Manifest>(text).unwrap();
        let index = read(r#"{"schemaVersion":2,"manifests":[]}"#);
        assert!(index.is_index() && index.manifests().is_empty() && index.into_image().is_none());
        let empty = read(r#"{"manifests":null,"layers":null,"config":null}"#);
        assert!(!empty.is_index() && empty.layers().is_empty() && !empty.runs());
        assert!(read(r#"{"schemaVersion":1}"#).is_of_schema_1() && read(r#"{"fsLayers":[1]}"#).is_of_schema_1());
        let config = "application/vnd.oci.image.config.v1+json";
        for (config, layer, runs) in [
            (config, "application/vnd.oci.image.layer.v1.tar+zstd", true),
            (config, "application/vnd.docker.image.rootfs.diff.tar.gzip", true),
            (config, "application/vnd.in-toto+json", false),
            ("application/vnd.cncf.helm.config.v1+json", "application/vnd.oci.image.layer.v1.tar", false),
        ] {
            let manifest = read(&format!(
                r#"{{"config":{{"mediaType":"{config}","digest":"c"}},"layers":[{{"mediaType":"{layer}","digest":"l"}}]}}"#
            ));
            assert_eq!(manifest.runs(), runs, "{config} {layer}");
            assert_eq!(manifest.blobs().map(|blob| blob.digest.as_str()).collect::<Vec<_>>(), ["c", "l"]);
        }
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let rows = vec![r#"{"digest":""}"#; MOST_DESCRIPTORS + 1].join(",");
        let error = serde_json::from_str::<Manifest>(&format!(r#"{{"layers":[{rows}]}}"#)).unwrap_err();
        assert!(error.to_string().contains("at most 100000 descriptors"), "{error}");
    }
}
