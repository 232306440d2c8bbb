//! A definition in the form of `zarf.dev/v1beta1`.
//!
//! The field names are the schema's. What releases after Zarf 0.84 changed is
//! read in both shapes, and never written. Source: `src/api/v1beta1` of Zarf
//! 0.84, and the schema of Zarf 1.0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::alpha::{ChartValue, ImageArchive, Shell, Values, VersionRequirement, Wait, is_default};

/// A package definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "is_default")]
    pub build: Build,
    #[serde(default)]
    pub components: Vec<Component>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Values,
    /// Until Zarf 0.88; `attachments` since. Where the second lies in a
    /// package is not known, so neither is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub uncompressed: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub prevent_namespace_override: bool,
}

/// What a build adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timestamp: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub migrations: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub registry_overrides: BTreeMap<String, String>,
    /// A boolean until Zarf 0.88, an object since.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential: Option<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_package_version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub signed: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_requirements: Vec<VersionRequirement>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub provenance_files: Vec<String>,
    /// The sha256 of checksums.txt, 64 lowercase hexadecimal digits.
    #[serde(default)]
    pub aggregate_checksum: String,
}

/// What is deployed together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub import: Import,
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Target,
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: Selector,
    #[serde(default, skip_serializing_if = "is_default")]
    pub manifests: Vec<Manifest>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub charts: Vec<Chart>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub images: Vec<Image>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_archives: Vec<ImageArchive>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub repositories: Vec<Repository>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub actions: Actions,
    /// A name until Zarf 0.87, an object since; of the init package alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: Option<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub state_access: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Import {
    #[serde(default, skip_serializing_if = "is_default")]
    pub local: Vec<Local>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub remote: Vec<Remote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    pub path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    pub url: String,
}

/// Where a component is deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(default, skip_serializing_if = "is_default")]
    pub os: String,
}

/// For which package a component is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub kustomize: Option<Kustomize>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_wait: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kustomize {
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_any_directory: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_plugins: bool,
}

/// Of exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub helm_repository: Option<HelmRepository>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub git: Option<Git>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub local: Option<Local>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub oci: Option<Oci>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub release_name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_wait: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values_files: Vec<ValuesFile>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<ChartValue>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_schema_validation: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesFile {
    pub path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelmRepository {
    /// Of the chart in its repository, where it is another.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    pub url: String,
    pub version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    pub url: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: String,
    #[serde(default, rename = "ref")]
    pub reference: GitRef,
}

/// At most one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitRef {
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub branch: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub commit: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oci {
    pub url: String,
    #[serde(default, rename = "ref")]
    pub reference: OciRef,
}

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRef {
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub digest: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    pub source: String,
    /// 64 hexadecimal digits of SHA-256, or `<algorithm>:<hex>`, which only
    /// Zarf 0.88 and newer understand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: String,
    pub destination: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub symlinks: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub extract_path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub name: String,
    /// `registry`, which is the default, or `daemon`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    pub url: String,
    #[serde(default, skip_serializing_if = "is_default", rename = "ref")]
    pub reference: Option<GitRef>,
}

/// What is run around the parts of a package's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actions {
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_create: ActionSet,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_deploy: ActionSet,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_remove: ActionSet,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSet {
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: ActionDefaults,
    #[serde(default, skip_serializing_if = "is_default")]
    pub before: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_success: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: Vec<Action>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionDefaults {
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dir: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Shell,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: Option<i32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: Option<i32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dir: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cmd: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Option<Shell>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_values: Vec<SetValue>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetValue {
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: String,
    /// `yaml`, `json` or `string`.
    #[serde(default, skip_serializing_if = "is_default", rename = "type")]
    pub kind: String,
}
