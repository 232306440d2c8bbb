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
    /// [`BETA_VERSION`](super::BETA_VERSION).
    pub api_version: String,
    /// `ZarfPackageConfig`, or `ZarfInitConfig` of the package of `zarf init`.
    pub kind: String,
    /// What the package is called and what it is for.
    pub metadata: Metadata,
    /// What its build noted; empty in a definition that is not built.
    #[serde(default, skip_serializing_if = "is_default")]
    pub build: Build,
    /// In the order in which they are deployed; at least one.
    #[serde(default)]
    pub components: Vec<Component>,
    /// The values of the package, for templates and charts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Values,
    /// Until Zarf 0.88; `attachments` since. Where the second lies in a
    /// package is not known, so neither is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: BTreeMap<String, String>,
}

/// What a package is called and what it is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// `^[a-z0-9][a-z0-9-]*$`; part of the name of the package's file.
    pub name: String,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// Part of the name of the package's file. Empty means that it has none, and then it cannot
    /// be published to a registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
    /// Whether the package is a plain tar (`.tar`), not compressed by Zstandard (`.tar.zst`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub uncompressed: bool,
    /// Of the cluster that it is for: `amd64` or `arm64`. Empty means that of whoever creates
    /// it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    /// Anything else about it, by key: also what the other form has fields for, as
    /// `metadata.url`, `metadata.authors` and the like. They become annotations of its manifest
    /// in a registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it may be deployed to no other namespaces than its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prevent_namespace_override: bool,
}

/// What a build adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The name of the machine that created it; empty where that is not told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: String,
    /// Who created it; empty where that is not told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    /// RFC 1123 with a numeric zone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timestamp: String,
    /// Of the cluster that it is for; part of the name of its file.
    #[serde(default)]
    pub architecture: String,
    /// The release of Zarf whose format this is.
    #[serde(default)]
    pub version: String,
    /// Names of the rewritings of old fields that were done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub migrations: Vec<String>,
    /// Registries, or beginnings of references, and what images were pulled from instead of
    /// them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub registry_overrides: BTreeMap<String, String>,
    /// A boolean until Zarf 0.88, an object since.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential: Option<Value>,
    /// Of a differential package: the version that it was made against.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_package_version: String,
    /// The flavor that was asked for when it was created; empty for none. Part of the name of
    /// its file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
    /// Whether a signature of zarf.yaml lies in the package. None where nobody says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signed: Option<bool>,
    /// Which Zarf it takes; every entry must be met.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_requirements: Vec<VersionRequirement>,
    /// Files that vouch for others, and are in no list themselves.
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
    /// `^[a-z0-9][a-z0-9-]*$`; unique in the package.
    pub name: String,
    /// What it is for: shown to whoever is asked about it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// Whether it is deployed only where it is asked for. What is not optional is always
    /// deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optional: bool,
    /// Component files that this one is laid over. In a built package there are none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub import: Import,
    /// The machine that deploys it; an empty field matches everything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Target,
    /// The package that it becomes part of; empty fields match everything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: Selector,
    /// Sets of Kubernetes manifests, each of which is deployed as a generated chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub manifests: Vec<Manifest>,
    /// Helm charts, installed in this order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub charts: Vec<Chart>,
    /// Files and folders that are put on the machine that deploys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    /// Images that are pushed to the cluster's registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub images: Vec<Image>,
    /// Archives of images, from which the build takes more of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_archives: Vec<ImageArchive>,
    /// Git repositories that are mirrored to the cluster's git server.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repositories: Vec<Repository>,
    /// Commands and waits around the creation, deployment and removal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub actions: Actions,
    /// A name until Zarf 0.87, an object since; of the init package alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: Option<Value>,
    /// Which secrets of the cluster's state its templates may read: `registryCredentials`,
    /// `gitCredentials`, `agentCerts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state_access: Vec<String>,
}

/// Where the component files that a component is laid over come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// Files beside the definition.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local: Vec<Local>,
    /// Components in a registry, pulled when the package is created.
    #[serde(default, skip_serializing_if = "is_default")]
    pub remote: Vec<Remote>,
}

/// Something that lies beside the definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// Its path, relative to the definition: a file, or of a chart a folder or a `.tgz`.
    pub path: String,
}

/// A component in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Its reference: `oci://…`.
    pub url: String,
}

/// Where a component is deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The operating system of the machine that deploys: `linux`, `darwin` or `windows`. Empty
    /// matches any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub os: String,
}

/// For which package a component is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Of the package: `amd64` or `arm64`. Empty matches any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    /// The flavor that the package is created with. Empty matches any; any other takes the
    /// component along only where the same one is asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
}

/// A set of Kubernetes manifests, deployed as one generated chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// At most 40 characters: the name of that chart.
    pub name: String,
    /// The namespace that they are deployed to; empty means `default`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// Paths or URLs of YAML files, in their order. The package holds them by their place in
    /// this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    /// Kustomizations beside the files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kustomize: Option<Kustomize>,
    /// Whether the deployment goes on without waiting until its objects are ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_wait: bool,
    /// `true`, `false` or `auto`, which an empty one means.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
    /// Whether Go templates in the files are filled in when they are deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

/// Kustomizations of a set of manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kustomize {
    /// Paths or URLs of kustomizations, rendered when the package is created. The package holds
    /// them by their place in this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    /// Whether a kustomization may reach above its own folder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_any_directory: bool,
    /// Whether plugins of kustomize run while it renders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_plugins: bool,
}

/// Of exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// Unique in the component. The chart may call itself otherwise.
    pub name: String,
    /// From a repository with an index.
    #[serde(default, skip_serializing_if = "is_default")]
    pub helm_repository: Option<HelmRepository>,
    /// From a git repository.
    #[serde(default, skip_serializing_if = "is_default")]
    pub git: Option<Git>,
    /// From beside the definition: a folder or a `.tgz`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local: Option<Local>,
    /// From a registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oci: Option<Oci>,
    /// The namespace that it is installed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// The name of the Helm release; empty where that is `name`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub release_name: String,
    /// Whether the deployment goes on without waiting until its objects are ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_wait: bool,
    /// Values files, merged in their order: a later one wins. The package holds them by their
    /// place in this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values_files: Vec<ValuesFile>,
    /// Values of the package that become values of the chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<ChartValue>,
    /// Whether the values are not compared with the schema in the chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_schema_validation: bool,
    /// `true`, `false` or `auto`, which an empty one means.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
}

/// A file with values of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesFile {
    /// Its path or URL.
    pub path: String,
    /// Whether Go templates in it are filled in when the chart is deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

/// A chart in a repository with an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelmRepository {
    /// Of the chart in its repository, where it is another.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Of the repository: the folder of its `index.yaml`.
    pub url: String,
    /// Of the chart, as the index lists it.
    pub version: String,
}

/// A chart in a git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// Of the repository, without `@<ref>`.
    pub url: String,
    /// The folder of the chart in it; empty for its root.
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: String,
    /// What of it is taken.
    #[serde(default, rename = "ref")]
    pub reference: GitRef,
}

/// At most one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitRef {
    /// The name of a tag.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: String,
    /// The name of a branch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub branch: String,
    /// The digits of a commit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub commit: String,
}

/// A chart in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oci {
    /// `oci://…`, without tag and digest.
    pub url: String,
    /// Which manifest of it.
    #[serde(default, rename = "ref")]
    pub reference: OciRef,
}

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRef {
    /// The tag, which is the version of the chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: String,
    /// `sha256:` and 64 hexadecimal digits, of the manifest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub digest: String,
}

/// A file or folder that is put on the machine that deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// A path or a URL.
    pub source: String,
    /// 64 hexadecimal digits of SHA-256, or `<algorithm>:<hex>`, which only
    /// Zarf 0.88 and newer understand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: String,
    /// Where it is put: an absolute path, or one that is relative to where it is deployed from.
    /// Its last part is the name in the package.
    pub destination: String,
    /// Whether it is made executable there. Of files alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: bool,
    /// Paths at which links to it are made.
    #[serde(default, skip_serializing_if = "is_default")]
    pub symlinks: Vec<String>,
    /// The path of what is wanted in `source`, where that is an archive. Empty means the whole
    /// of `source`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extract_path: String,
    /// Whether Go templates in it are filled in when it is deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

/// An image that is pushed to the cluster's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its reference, as the author wrote it.
    pub name: String,
    /// `registry`, which is the default, or `daemon`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: String,
}

/// A git repository that is mirrored to the cluster's git server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Without `@<ref>`.
    pub url: String,
    /// What of it is mirrored; None for all branches and tags.
    #[serde(default, skip_serializing_if = "is_default", rename = "ref")]
    pub reference: Option<GitRef>,
}

/// What is run around the parts of a package's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actions {
    /// When the package is created. None of it is run when a package is deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_create: ActionSet,
    /// When the component is deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_deploy: ActionSet,
    /// When the component is removed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_remove: ActionSet,
}

/// What is run around one operation, each list in its order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSet {
    /// What holds for every action that says nothing else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: ActionDefaults,
    /// Before the operation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub before: Vec<Action>,
    /// Once the operation has succeeded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_success: Vec<Action>,
    /// Once any of it has failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: Vec<Action>,
}

/// What holds for the actions of a set that say nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionDefaults {
    /// Whether what a command writes is not shown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: bool,
    /// Seconds that a command may take; 0 for any time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: i32,
    /// How often a command that failed is repeated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: i32,
    /// The folder that commands run in, from where Zarf runs, or from where zarf.yaml lies when
    /// the package is created. Empty means that place itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dir: String,
    /// Environment variables beside those that are there: `NAME=value`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    /// What commands are handed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Shell,
}

/// One command, or one wait: `cmd` or `wait`, not both. What is None holds as the set's
/// [defaults](ActionDefaults) say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Whether what the command writes is not shown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: Option<bool>,
    /// Seconds that it may take; 0 for any time. Of a wait the default is 300.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: Option<i32>,
    /// How often the command is repeated after it failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: Option<i32>,
    /// The folder that the command runs in, from the same place as that of the defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dir: Option<String>,
    /// Environment variables beside those that are there: `NAME=value`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    /// What is handed to the shell; empty of a wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cmd: String,
    /// What the command is handed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Option<Shell>,
    /// Values of the package that are set to what the command writes, for all that comes after
    /// it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_values: Vec<SetValue>,
    /// What is shown instead of the command.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// What is waited for; None of a command.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait: Option<Wait>,
    /// Whether Go templates in the command are filled in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_templating: bool,
}

/// A value of the package that a command sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetValue {
    /// Where in the values: `.a.b`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: String,
    /// `yaml`, `json` or `string`.
    #[serde(default, skip_serializing_if = "is_default", rename = "type")]
    pub kind: String,
}
