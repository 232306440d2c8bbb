//! What the steps of the product write, as types: the input trees of a step that
//! needs them.
//!
//! These are a contract like the WIT: `formats/` has their JSON Schemas, frozen by
//! a test, and docs/formats.md says which file of which tree is which. Fields and
//! kinds may be added, which the types read past; what is there stays. That is why
//! they can be matched and read outside of this crate, and not built.
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
/// In the tree of `render`: a list of [`RenderedChart`].
pub const RENDERED: &str = "rendered.json";
/// In the tree of `discover`: [`Discovered`].
pub const DISCOVERED: &str = "discovered.json";
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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Package {
    /// As Zarf calls it.
    pub name: String,
    /// As settings.yaml says it.
    pub version: String,
    /// One line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What settings.yaml wants beside the package, as it writes it; each is one of
    /// [`Components::files`] as well, where its templates are expanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<CarriedFile>,
}

/// A file beside the package: an entry of `carry.files` in settings.yaml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct CarriedFile {
    /// What it is called in the folder that is carried; may hold `{{arch}}`.
    pub name: String,
    /// Where it is downloaded from; may hold `{{arch}}`.
    pub url: String,
    /// 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A file with its checksum; may hold `{{arch}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// A binary of kubernetes.
    Kubernetes,
    /// A command-line tool.
    Tool,
    /// What lies beside the package, in the folder that is carried, and not in it.
    Carry,
    /// One that a later version writes.
    #[serde(other, skip_serializing)]
    #[schemars(skip)]
    Other,
}

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
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
    /// What the configuration itself says of the download: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether the URL is an archive to extract from.
    #[serde(default)]
    pub extract: bool,
    /// The path in the archive; by default the entry with the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// A git repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
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
#[non_exhaustive]
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
    /// Whether deploying the package installs it; written where it does not. One
    /// that is not installed is carried as an OCI artifact: [`Chart::artifact`].
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub deploy: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// A file that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
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
#[non_exhaustive]
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
    /// What it is as an OCI artifact, where it is not to be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ChartArtifact>,
}

/// A chart as registries have it; its layers are the archive and the provenance
/// file of its [`Chart`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ChartArtifact {
    /// The complete spelling: `charts.jetstack.io/charts/cert-manager:v1.16.2`.
    pub reference: String,
    /// Its manifest, in the tree.
    pub manifest: String,
    /// Its configuration, in the tree.
    pub config: String,
}

/// What became of a chart that was to be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RenderedChart {
    /// As its Chart.yaml calls it.
    pub name: String,
    /// The exact version.
    pub version: String,
    /// The file in the tree that holds what it renders to, a list of
    /// [`RenderedDocument`]; missing where it could not be rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it could not be rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<RenderingProblem>,
}

/// Why a chart could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RenderingProblem {
    /// As Helm says it, in one line.
    pub message: String,
    /// The template that is the reason, where one is: `app/templates/pod.yaml`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// Of the template, from 1; 0 where it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(line: &u32) -> bool {
    *line == 0
}

/// A resource as Helm sends it to a cluster, hooks and tests among them, notes and
/// the folder `crds/` not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RenderedDocument {
    /// The template that writes it: `app/charts/db/templates/pod.yaml`.
    pub template: String,
    /// The YAML.
    pub text: String,
    /// For each line of the text the line of the template; 0 where it is not known.
    pub lines: Vec<u32>,
    /// When it is sent, where it is a hook: `pre-install`, `test`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
}

/// What is known about the images of the charts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Discovered {
    /// Chart by chart.
    pub images: Vec<DiscoveredImage>,
    /// What is an image, nobody knows which.
    pub unknown: Vec<UnknownImage>,
    /// The charts that could not be rendered.
    pub problems: Vec<RenderedChart>,
}

/// An image of a chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct DiscoveredImage {
    /// The reference as it is written.
    pub image: String,
    /// Name and version of the chart: `cert-manager 1.16.2`.
    pub chart: String,
    /// `templates/deployment.yaml:62`; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// How it was found.
    pub found: Found,
    /// Whether only `helm test` starts it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_test: bool,
    /// Whether the components name it.
    pub is_packaged: bool,
    /// Whether it goes into the package because of this.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_added: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// How an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Found {
    /// What the chart renders to names it.
    Rendered,
    /// The chart could not be rendered or renders to no image, and its values or
    /// templates name it.
    Searched,
    /// Its values or templates name it, and what it renders to does not: an operator
    /// may pull it, or it is switched off.
    NamedOnly,
    /// One that a later version writes.
    #[serde(other, skip_serializing)]
    #[schemars(skip)]
    Other,
}

/// What names an image that nobody knows for sure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct UnknownImage {
    /// Name and version of the chart.
    pub chart: String,
    /// As far as it is written.
    pub text: String,
    /// `templates/pod.yaml:12`.
    pub place: String,
    /// Continues "it is not known: ".
    pub why: String,
}

/// A repository that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// One for each image.
    pub manifests: Vec<Descriptor>,
}

/// A content by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
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
        let schemas: [(&str, Schema); 8] = [
            ("components.resolved", schema_for!(Components)),
            ("files", schema_for!(Vec<File>)),
            ("charts", schema_for!(Vec<Chart>)),
            ("rendered", schema_for!(Vec<RenderedChart>)),
            ("rendered.documents", schema_for!(Vec<RenderedDocument>)),
            ("discovered", schema_for!(Discovered)),
            ("repos", schema_for!(Vec<Repository>)),
            ("images.index", schema_for!(ImageIndex)),
        ];
        for (name, schema) in schemas {
            let path = format!("{}/formats/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let text = format!("{}\n", serde_json::to_string_pretty(schema.as_value()).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{path} says something else than the type");
        }
    }

    /// What the types do without is read past, and what is missing has its default.
    #[test]
    fn what_an_earlier_or_a_later_version_writes_is_read() {
        let chart = r#"{"name": "web", "repo": "oci://registry.example.com", "version": "1.0.0", "since": "2"}"#;
        assert!(serde_json::from_str::<WantedChart>(chart).unwrap().deploy);
        let file = r#"{"kind": "firmware", "name": "blob", "version": "1", "url": "https://example.com/blob"}"#;
        assert_eq!(serde_json::from_str::<WantedFile>(file).unwrap().kind, FileKind::Other);
        let image = r#"{"image": "a/b:1", "chart": "c 1.0.0", "found": "guessed", "is_packaged": false}"#;
        let image = serde_json::from_str::<DiscoveredImage>(image).unwrap();
        assert_eq!((image.found, image.is_added, image.place.as_str()), (Found::Other, false, ""));
    }
}
