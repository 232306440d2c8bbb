//! The component manifest (`components.yaml`) as typed data, shared by the
//! host and the core plugins, and its resolved form: every template expanded,
//! every reference complete.
//!
//! Both readers refuse unknown fields. Around them lies what the host and the
//! plugins both need to understand a configuration: the [pins], the [catalog]
//! that turns them into components, [image] references, and the way from the
//! manifest to its resolved form ([resolve]); and chart [version]s. Nothing here does I/O.

use serde::{Deserialize, Deserializer, Serialize};

pub mod catalog;
pub mod chart;
pub mod condition;
pub mod count;
pub mod definition;
pub mod image;
pub mod json;
pub mod line;
pub mod media_type;
pub mod oci;
pub mod pins;
pub mod problem;
pub mod rendered;
pub mod resolve;
pub mod template;
pub mod version;
pub mod yaml_text;
pub mod zarf;

/// `components.yaml`. Every section is optional; an empty one is skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentManifest {
    /// Written by the generator; says from which pins the file was made.
    #[serde(rename = "_generated", default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// None where the package brings no binaries of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Command-line tools and other files.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Git repositories, mirrored whole.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    /// Container images.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Images::is_empty")]
    pub images: Images,
    /// Helm charts, with their values.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Components as a package definition has them, in the form v1alpha1: for
    /// what the sections above cannot say.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<serde_yaml::Value>,
}

/// Where the generated part came from, by content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The file with the pins, normally `versions.env`.
    pub source: String,
    /// SHA-256 of versions.env and of catalog.yaml, hexadecimal.
    pub versions_sha256: String,
    /// SHA-256 of catalog.yaml, hexadecimal.
    pub catalog_sha256: String,
    /// Which program generated it, with its version.
    pub tool: String,
    /// A remark, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The kubernetes release and its binaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// With the leading `v`.
    pub version: String,
    /// Files of the release.
    #[serde(default, deserialize_with = "null_as_default")]
    pub binaries: Vec<Binary>,
}

/// A single file: `url` may hold `{{version}}` (of kubernetes) and `{{arch}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// Its name in the package: `kubectl`.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// A file with its checksum, alone or among others; may hold the same. Without one, the
    /// lock remembers what came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
}

/// A command-line tool: a file, or an archive that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name in the package: `helm`.
    pub name: String,
    /// Without a leading `v`, as the product documents.
    pub version: String,
    /// May hold `{{version}}` and `{{arch}}`.
    pub url: String,
    /// A file with the checksum of what `url` gives, alone or among others; may hold
    /// `{{version}}` and `{{arch}}`. Without one, the lock remembers what came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
    /// Whether `url` is an archive to extract from.
    #[serde(default)]
    pub extract: bool,
    /// The path in the archive; by default the entry named like the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Whether it lies beside the package, in the folder that is carried, and
    /// not in it; its name may hold `{{version}}` and `{{arch}}` then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub carry: bool,
}

/// A git repository at a pinned commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// The name of its folder below build/; unique.
    pub name: String,
    /// Where git clones it from.
    pub url: String,
    /// Branch, tag or commit; the default branch where it is missing.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The full commit; missing or `HEAD` follows `ref`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Both lists are pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Found by the generator and by `scan`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub auto_discover: Vec<Image>,
    /// Added by people.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<Image>,
}

impl Images {
    /// Whether both lists are.
    pub fn is_empty(&self) -> bool {
        self.auto_discover.is_empty() && self.additional.is_empty()
    }

    /// Those of both lists, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.auto_discover.iter().chain(&self.additional)
    }
}

/// `- image: reference`, or just the reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Image {
    /// As docker writes it: `nginx:1.27`, `quay.io/a/b@sha256:…`.
    pub image: String,
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Image;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an image reference, or a mapping with the key `image`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Image, E> {
                Ok(Image { image: text.to_owned() })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Image, A::Error> {
                let mut image = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "image" {
                        return Err(serde::de::Error::unknown_field(&key, &["image"]));
                    }
                    if image.replace(map.next_value::<String>()?).is_some() {
                        return Err(serde::de::Error::duplicate_field("image"));
                    }
                }
                image.map(|image| Image { image }).ok_or_else(|| serde::de::Error::missing_field("image"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A Helm chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// As the repository, or the chart itself, calls it.
    pub name: String,
    /// `https://…` (a repository with index.yaml), `oci://…`, or a local
    /// directory (`./charts/name`, relative to the folder that holds config/).
    pub repo: String,
    /// A version, or a constraint as helm reads it.
    pub version: String,
    /// The namespace that it is installed to; the chart's name where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Values files, relative to the folder that holds config/.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether deploying the package installs it. One that is not installed is
    /// carried as an OCI artifact, for Flux, Argo CD or people.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub deploy: bool,
}

/// For serde: a field that is true where it is missing.
pub(crate) fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(crate) fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

impl Chart {
    /// Its key in airgap.lock: `https://charts.jetstack.io cert-manager v1.16.2`.
    pub fn lock_key(&self) -> String {
        format!("{} {} {}", self.repo, self.name, self.version)
    }
}

pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}

/// The file in the tree of the `manifests` step that holds [`ResolvedComponents`].
pub const RESOLVED: &str = "components.resolved.json";

/// What the `manifests` step hands to the others: [`RESOLVED`].
/// Templates are expanded, duplicates removed, lists in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedComponents {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// What the package is called.
    pub package: Package,
    /// Files to download: those of Kubernetes, then the tools.
    pub files: Vec<ResolvedFile>,
    /// As the manifest has them.
    pub repositories: Vec<Repository>,
    /// References as the user wrote them.
    pub images: Vec<String>,
    /// As the manifest has them.
    pub charts: Vec<Chart>,
    /// Paths of the project that a zarf.yaml names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// Archives of the project that images are taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_archives: Vec<zarf::alpha::ImageArchive>,
    /// Folders of repositories that charts are packed from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
}

/// A folder of a git repository that a chart is packed from. In the tree of the
/// step `repos` it lies at `exports/<folder of the repository>/<path>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The name of the repository among the components.
    pub repository: String,
    /// In the repository; empty for all of it.
    pub path: String,
    /// Whether the repository is there for the chart alone, and not carried.
    pub is_alone: bool,
}

/// What settings.yaml says of the package: its name and version, and what is
/// carried beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// `metadata.name` of the package.
    pub name: String,
    /// `metadata.version` of the package.
    pub version: String,
    /// `metadata.description` of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What lies beside the package in a folder that is carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<CarriedFile>,
}

/// A file that is carried beside the package: an entry of `carry.files` in
/// settings.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedFile {
    /// What it is called in the folder; may hold `{{arch}}`.
    pub name: String,
    /// May hold `{{arch}}`.
    pub url: String,
    /// 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where its checksum is; may hold `{{arch}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A binary of the Kubernetes release.
    Kubernetes,
    /// A command-line tool or another file.
    Tool,
    /// Lies beside the package.
    Carry,
    /// What a component of a zarf.yaml names, which says where it goes.
    Definition,
}

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedFile {
    /// What it is for.
    pub kind: FileKind,
    /// Its name in the package; unique.
    pub name: String,
    /// Of the product: with the leading `v` for Kubernetes, as written for a tool.
    pub version: String,
    /// Where it is, complete.
    pub url: String,
    /// Where its checksum is, complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
    /// What the configuration says itself, as 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether `url` gives an archive that it is in.
    #[serde(default)]
    pub extract: bool,
    /// Its path in that archive; the entry of its name where that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// One row of `files.json` in the tree of the `files` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// What it is for.
    pub kind: FileKind,
    /// Its name in the package.
    pub name: String,
    /// Of the product, as in [`ResolvedFile`].
    pub version: String,
    /// Where it came from.
    pub url: String,
    /// In the tree: `bin/kubectl`.
    pub path: String,
    /// 64 hexadecimal digits, of the file in the tree.
    pub sha256: String,
    /// Bytes of the file in the tree.
    pub size: u64,
    /// The checksum file of the configuration that named what was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// One row of `repos.json` in the tree of the `repos` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEntry {
    /// Its name in the configuration.
    pub name: String,
    /// Where it was cloned from.
    pub url: String,
    /// As it is written in zarf.yaml: `https://…/kubespray.git@<ref>`.
    pub zarf_reference: String,
    /// The full commit that its reference resolved to.
    pub commit: String,
    /// The folder in the tree, `<repo>-<crc32>`, that holds `.git`.
    pub path: String,
    /// Whether the configuration names the commit.
    #[serde(default)]
    pub is_pinned: bool,
}

/// One row of `charts.json` in the tree of the `charts` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartEntry {
    /// As components.yaml calls it.
    pub name: String,
    /// The exact version that was resolved.
    pub version: String,
    /// The version or constraint as components.yaml writes it.
    #[serde(default)]
    pub requested: String,
    /// As components.yaml writes it.
    pub repo: String,
    /// Where the archive came from.
    pub url: String,
    /// The namespace that it is installed to.
    pub namespace: String,
    /// In the tree: `charts/cert-manager-1.16.2.tgz`.
    pub path: String,
    /// 64 hexadecimal digits, of the archive.
    pub sha256: String,
    /// The provenance file in the tree, where the repository has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// Values files in the tree, in order: `values/cert-manager-1.16.2-0`.
    pub values: Vec<String>,
    /// Images that the chart's values name.
    pub images: Vec<String>,
    /// What it is as an OCI artifact, where it is not to be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ChartArtifact>,
}

/// A chart as registries have it; its layers are the archive and the provenance
/// file of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartArtifact {
    /// The complete spelling: `charts.jetstack.io/charts/cert-manager:v1.16.2`.
    pub reference: String,
    /// In the tree: its manifest and its configuration.
    pub manifest: String,
    /// In the tree: the configuration of the artifact.
    pub config: String,
}
