//! What the steps of the product write, as types: the input trees of a step that
//! needs them.
//!
//! These are a contract like the WIT: `formats/` has their JSON Schemas, frozen by
//! a test, and docs/formats.md says which file of which tree is which. Fields may
//! be added; what is there stays.
//!
//! ```no_run
//! # fn run(inputs: &sdk::Inputs) -> Result<(), sdk::StepError> {
//! let components: sdk::formats::Components = inputs.get("manifests")?.read_json(sdk::formats::COMPONENTS)?;
//! for image in &components.images {
//!     sdk::log::info(image);
//! }
//! # Ok(())
//! # }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In the tree of `manifests`: [`Components`].
pub const COMPONENTS: &str = "components.resolved.json";
/// In the tree of `files`: a list of [`File`].
pub const FILES: &str = "files.json";
/// In the tree of `charts`: a list of [`Chart`].
pub const CHARTS: &str = "charts.json";
/// In the tree of `repos`: a list of [`Repository`].
pub const REPOSITORIES: &str = "repos.json";
/// In the tree of `images`: an OCI image index, [`ImageIndex`].
pub const IMAGES: &str = "index.json";
/// In the tree of `zarf_gen`: the definition of the package, as Zarf reads it.
pub const DEFINITION: &str = "zarf.yaml";
/// The annotation of an image in [`ImageIndex`] that holds its reference.
pub const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Everything that the package is made of, before it is fetched: templates are
/// expanded, duplicates removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Components {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Which package it becomes.
    pub package: Package,
    /// Binaries of kubernetes, and tools.
    pub files: Vec<WantedFile>,
    /// Git repositories.
    pub repositories: Vec<WantedRepository>,
    /// References as the user wrote them.
    pub images: Vec<String>,
    /// Helm charts.
    pub charts: Vec<WantedChart>,
}

/// Name and version of the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// As Zarf calls it.
    pub name: String,
    /// As settings.yaml says it.
    pub version: String,
    /// One line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A binary of kubernetes.
    Kubernetes,
    /// A command-line tool.
    Tool,
}

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantedFile {
    /// What it is for.
    pub kind: FileKind,
    /// The name that it is deployed under.
    pub name: String,
    /// As components.yaml writes it.
    pub version: String,
    /// Where it is downloaded from.
    pub url: String,
    /// A file with its checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
    /// Whether the URL is an archive to extract from.
    #[serde(default)]
    pub extract: bool,
    /// The path in the archive; by default the entry with the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// A git repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantedRepository {
    /// As components.yaml calls it.
    pub name: String,
    /// What git clones.
    pub url: String,
    /// Branch, tag or commit; the default branch where it is missing.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The full commit; where it is missing or `HEAD`, `ref` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A Helm chart to bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantedChart {
    /// As its repository calls it.
    pub name: String,
    /// `https://…` (a repository with index.yaml), `oci://…`, or a local folder.
    pub repo: String,
    /// A version, or a constraint as Helm reads it.
    pub version: String,
    /// Where it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Values files, relative to the folder that holds config/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A file that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// What it is for.
    pub kind: FileKind,
    /// The name that it is deployed under.
    pub name: String,
    /// As components.yaml writes it.
    pub version: String,
    /// Where it came from.
    pub url: String,
    /// In the tree: `bin/kubectl`.
    pub path: String,
    /// 64 hexadecimal digits, of the file in the tree.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The checksum file of the configuration that named what was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// A chart that was bundled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chart {
    /// As its Chart.yaml calls it.
    pub name: String,
    /// The exact version that was resolved.
    pub version: String,
    /// The version or constraint as components.yaml writes it.
    #[serde(default)]
    pub requested: String,
    /// As components.yaml writes it.
    pub repo: String,
    /// Where the archive came from; empty for a local chart.
    #[serde(default)]
    pub url: String,
    /// Where it is installed; may be empty.
    pub namespace: String,
    /// The archive in the tree: `charts/<name>-<version>.tgz`.
    pub path: String,
    /// 64 hexadecimal digits, of the archive.
    pub sha256: String,
    /// The provenance file in the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// Values files in the tree, in their order.
    #[serde(default)]
    pub values: Vec<String>,
    /// References of the images that it deploys, as far as they are known.
    #[serde(default)]
    pub images: Vec<String>,
}

/// A repository that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// As components.yaml calls it.
    pub name: String,
    /// What git cloned.
    pub url: String,
    /// As zarf.yaml writes it: `https://…/kubespray.git@<ref>`.
    pub zarf_reference: String,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// The folder in the tree that holds `.git`.
    pub path: String,
    /// Whether the configuration names the commit.
    #[serde(default)]
    pub is_pinned: bool,
}

/// The part of an OCI image index that says which images are there. The blobs
/// lie in `blobs/sha256/` of the same tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// One for each image.
    pub manifests: Vec<Descriptor>,
}

/// A content by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// [`REFERENCE`] is the complete reference of the image.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use schemars::{Schema, schema_for};

    use super::*;

    /// A plugin that was built against a schema reads what later versions write.
    #[test]
    fn the_schemas_are_frozen() {
        let schemas: [(&str, Schema); 5] = [
            ("components.resolved", schema_for!(Components)),
            ("files", schema_for!(Vec<File>)),
            ("charts", schema_for!(Vec<Chart>)),
            ("repos", schema_for!(Vec<Repository>)),
            ("images.index", schema_for!(ImageIndex)),
        ];
        for (name, schema) in schemas {
            let path = format!("{}/formats/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let text = format!("{}\n", serde_json::to_string_pretty(schema.as_value()).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{path} says something else than the type");
        }
    }
}
