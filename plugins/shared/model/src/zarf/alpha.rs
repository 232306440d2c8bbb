//! A definition in the form of `zarf.dev/v1alpha1`, which the program works on.
//!
//! The field names are the schema's, and all of them are here but those of
//! skeletons: what a reader of this form knows and this type lacks would be
//! lost on the way to the other form. Source: `src/api/v1alpha1` of Zarf 0.84.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// A package definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// [`API_VERSION`](super::API_VERSION); empty means that as well.
    #[serde(default, skip_serializing_if = "is_default")]
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
    /// Each `{name, value, …}`: texts that replace `###ZARF_CONST_<NAME>###` when the package
    /// is deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub constants: Vec<Value>,
    /// Each `{name, default, prompt, …}`: texts that whoever deploys may choose, and that
    /// replace `###ZARF_VAR_<NAME>###`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: Vec<Value>,
    /// The values of the package, for templates and charts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Values,
    /// Documents that go along, by name; nothing is deployed from them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: BTreeMap<String, String>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// Any text without `/` and `\`; part of the name of the package's file. Empty means that
    /// it has none, and then it cannot be published to a registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
    /// Where to read about the package.
    #[serde(default, skip_serializing_if = "is_default")]
    pub url: String,
    /// The address of a picture of it; Zarf does nothing with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub image: String,
    /// Whether the package is a plain tar (`.tar`), not compressed by Zstandard (`.tar.zst`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub uncompressed: bool,
    /// Of the cluster that it is for: `amd64` or `arm64`. Empty means that of whoever creates
    /// it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    /// Whether it is deployed to a cluster that was not prepared by `zarf init`, which then
    /// pulls its images itself. Deprecated: `--connected` replaces it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub yolo: bool,
    /// Who made it, with commas between several.
    #[serde(default, skip_serializing_if = "is_default")]
    pub authors: String,
    /// Where its documentation is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: String,
    /// Where its source is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: String,
    /// Who distributes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub vendor: String,
    /// The sha256 of checksums.txt, 64 lowercase hexadecimal digits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aggregate_checksum: String,
    /// Anything else about it, by key. They become annotations of its manifest in a registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Absent means true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_namespace_override: Option<bool>,
}

/// What a build adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The name of the machine that created it; empty where that is not told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminal: String,
    /// Who created it; empty where that is not told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    /// Of the cluster that it is for; part of the name of its file.
    #[serde(default)]
    pub architecture: String,
    /// RFC 1123 with a numeric zone.
    #[serde(default)]
    pub timestamp: String,
    /// The release of Zarf whose format this is.
    #[serde(default)]
    pub version: String,
    /// Names of the rewritings of old fields that were done: `scripts-to-actions`,
    /// `pluralize-set-variable`. Of those that are listed a reader drops the old field, of the
    /// others it does the rewriting.
    #[serde(default, skip_serializing_if = "is_default")]
    pub migrations: Vec<String>,
    /// Registries, or beginnings of references, and what images were pulled from instead of
    /// them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub registry_overrides: BTreeMap<String, String>,
    /// Whether it holds only what another version of it lacks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential: bool,
    /// Of a differential package: the version that it was made against.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_package_version: String,
    /// Of a differential package: the components that it leaves out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_missing: Vec<String>,
    /// The flavor that was asked for when it was created; empty for none. Part of the name of
    /// its file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
    /// Whether a signature of zarf.yaml lies in the package. None where nobody says: then
    /// `zarf.yaml.sig` tells, by being there or not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signed: Option<bool>,
    /// Which Zarf it takes; every entry must be met.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_requirements: Vec<VersionRequirement>,
    /// Files that vouch for others, and are in no list themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub provenance_files: Vec<String>,
}

/// The oldest Zarf that may deploy and remove the package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRequirement {
    /// `v0.65.0`; this release and every newer one will do.
    pub version: String,
    /// What of the package asks for it, for people.
    #[serde(default)]
    pub reason: String,
}

/// Where the values of a package come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Paths of YAML files, merged in their order: a later one wins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    /// The path of a JSON schema that the merged values must fit; empty for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schema: String,
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
    /// Whether it is deployed where it is not required, is asked about, and nobody answers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// Absent means false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: Option<bool>,
    /// Empty fields match everything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub only: Only,
    /// Of the components with the same one, whoever deploys chooses one; empty for none.
    /// Deprecated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub group: String,
    /// A component of another definition, `{name, path}` or `{name, url}`, that this one is
    /// laid over. In a built package there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub import: Option<Value>,
    /// Sets of Kubernetes manifests, each of which is deployed as a generated chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub manifests: Vec<Manifest>,
    /// Helm charts, installed in this order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub charts: Vec<Chart>,
    /// Data that is copied into containers that run. Deprecated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub data_injections: Vec<DataInjection>,
    /// Files and folders that are put on the machine that deploys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    /// References of images, as the author wrote them: they are pushed to the cluster's
    /// registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub images: Vec<String>,
    /// Archives of images, from which the build takes more of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_archives: Vec<ImageArchive>,
    /// URLs of git repositories, `<url>[@<ref>]`, that are mirrored to the cluster's git
    /// server. The reference is a tag, 40 digits of a commit or `refs/heads/<branch>`; without
    /// one all branches and tags are mirrored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repos: Vec<String>,
    /// Commands before and after the deployment, in the form that `actions` replaced.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scripts: Option<Value>,
    /// Commands and waits around the creation, deployment and removal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub actions: Actions,
    /// Objects that must be ready before the component counts as deployed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_checks: Vec<HealthCheck>,
    /// Which secrets of the cluster's state its templates may read: `registryCredentials`,
    /// `gitCredentials`, `agentCerts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state_access: Vec<String>,
}

/// Where a component applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Only {
    /// The operating system of the machine that deploys: `linux`, `darwin` or `windows`. Empty
    /// matches any.
    #[serde(default, skip_serializing_if = "is_default", rename = "localOS")]
    pub local_os: String,
    /// The cluster that it is deployed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: OnlyCluster,
    /// The flavor that the package is created with. Empty matches any; any other takes the
    /// component along only where the same one is asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
}

/// The cluster that a component is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OnlyCluster {
    /// `amd64` or `arm64`, for creating and deploying. Empty matches any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    /// Kubernetes distributions that it works with: `k3s`. They decide nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distros: Vec<String>,
}

/// A set of Kubernetes manifests, deployed as one generated chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// At most 40 characters, unique in the component: the name of that chart.
    pub name: String,
    /// The namespace that they are deployed to; empty means `default`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// Paths or URLs of YAML files, in their order. The package holds them by their place in
    /// this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    /// Whether a kustomization may reach above its own folder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kustomize_allow_any_directory: bool,
    /// Paths or URLs of kustomizations, rendered when the package is created. The package holds
    /// them by their place in this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kustomizations: Vec<String>,
    /// Whether plugins of kustomize run while it renders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_kustomize_plugins: bool,
    /// Whether the deployment goes on without waiting until its objects are ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_wait: bool,
    /// `true`, `false` or `auto`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
    /// Whether Go templates in the files are filled in when they are deployed. Absent means
    /// false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

/// A Helm chart of exactly one source: `url` or `local_path`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// At most 40 characters, unique in the component. The chart may call itself otherwise.
    pub name: String,
    /// Of the chart in its repository or registry; of one from git the tag. Part of the name of
    /// its file in the package: [`Chart::stem`]. Only a local chart may have none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
    /// Of a repository with an index (`https://…`), of a chart in a registry (`oci://…`), or of
    /// a git repository (`….git`, with `@<ref>` where wanted). Empty of a local chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub url: String,
    /// What the repository calls the chart; empty where that is `name`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repo_name: String,
    /// The folder of the chart in its git repository.
    #[serde(default, skip_serializing_if = "is_default")]
    pub git_path: String,
    /// The folder or the `.tgz` of a local chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_path: String,
    /// The namespace that it is installed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// The name of the Helm release; empty where that is `name`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub release_name: String,
    /// Whether the deployment goes on without waiting until its objects are ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_wait: bool,
    /// Paths or URLs of values files, merged in their order: a later one wins. The package
    /// holds them by their place in this list.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values_files: Vec<String>,
    /// The same, filled in as Go templates when they are deployed. They come after
    /// `values_files`, in the package and when they are merged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub templated_values_files: Vec<String>,
    /// Each `{name, description, path}`: variables of the package that become values of the
    /// chart at `path`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: Vec<Value>,
    /// Values of the package that become values of the chart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<ChartValue>,
    /// Absent means true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schema_validation: Option<bool>,
    /// `true`, `false` or `auto`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
}

impl Chart {
    /// The name of the chart's file in a package, without `.tgz`.
    pub fn stem(&self) -> String {
        if self.version.is_empty() { self.name.clone() } else { format!("{}-{}", self.name, self.version) }
    }
}

/// A value of the package that becomes one of the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartValue {
    /// Where in the package's values: `.a.b`, or `.` for all of them.
    pub source_path: String,
    /// Where in the chart's values: `.a.b`, or `.` for all of them.
    pub target_path: String,
    /// Paths below `source_path` that are left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclude_paths: Vec<String>,
}

/// A file or folder that is put on the machine that deploys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// A path or a URL; a URL may end in `@` and the SHA-256 of what it gives.
    pub source: String,
    /// 64 lowercase hexadecimal digits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shasum: String,
    /// Where it is put: an absolute path, or one that is relative to where it is deployed from.
    /// Its last part is the name in the package.
    pub target: String,
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
    /// Whether Go templates in it are filled in when it is deployed. Absent means false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

/// An archive of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageArchive {
    /// The path of a tar that holds an OCI image layout.
    pub path: String,
    /// References of the images that are taken from it.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Data that is copied into a container that runs. Deprecated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataInjection {
    /// A path or a URL of a file or folder.
    pub source: String,
    /// Which containers, and where in them.
    pub target: DataTarget,
    /// Whether it is compressed by gzip on its way; the container must have tar and gzip.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compress: bool,
}

/// Where data is copied to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataTarget {
    /// The namespace of the pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// A label selector of the pods: `app=web`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: String,
    /// The name of the container in them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub container: String,
    /// The path in the container.
    pub path: String,
}

/// An object whose readiness ends the deployment of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Of the object: `apps/v1`.
    #[serde(default)]
    pub api_version: String,
    /// Of the object: `Deployment`.
    #[serde(default)]
    pub kind: String,
    /// The namespace that it is in; empty of one that is in none.
    #[serde(default)]
    pub namespace: String,
    /// The name of the object.
    #[serde(default)]
    pub name: String,
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

impl Actions {
    /// Every action, whenever it runs.
    pub fn all(&self) -> impl Iterator<Item = &Action> {
        let sets = [&self.on_create, &self.on_deploy, &self.on_remove].into_iter();
        let lists = sets.flat_map(|set| [&set.before, &set.after, &set.on_success, &set.on_failure]);
        lists.flatten()
    }
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
    /// After the operation, before it counts as done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<Action>,
    /// Once the operation and `after` have succeeded.
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
    pub mute: bool,
    /// Seconds that a command may take; 0 for any time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: i32,
    /// How often a command that failed is repeated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_retries: i32,
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
    pub mute: Option<bool>,
    /// Seconds that it may take; 0 for any time. Of a wait the default is 300.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: Option<i32>,
    /// How often the command is repeated after it failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_retries: Option<i32>,
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
    /// The variable that is set to what the command writes. Deprecated: `set_variables`
    /// replaces it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_variable: String,
    /// Each `{name, …}`: variables that are set to what the command writes, for all that comes
    /// after it. When the component is deployed alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_variables: Vec<Value>,
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
    /// Whether Go templates in the command are filled in. Absent means false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

/// A value of the package that a command sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetValue {
    /// Where in the values: `.a.b`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: String,
    /// What stands there so far; what the command writes replaces it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Option<Value>,
    /// `yaml`, `json` or `string`.
    #[serde(default, skip_serializing_if = "is_default", rename = "type")]
    pub kind: String,
}

/// What an action waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// An object of the cluster.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: Option<WaitCluster>,
    /// An address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Option<WaitNetwork>,
}

/// An object of the cluster, and how it has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitCluster {
    /// `Pod`, or `<kind>.<version>.<group>`.
    #[serde(default)]
    pub kind: String,
    /// Its name, or a label selector: `app=web`. Empty means any object of the kind.
    #[serde(default)]
    pub name: String,
    /// The namespace that it is in. Empty means the one that is set where Zarf runs; what is in
    /// none needs none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// In this form an empty one means `exists`, in the other one ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub condition: String,
}

/// An address, and what it has to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNetwork {
    /// `tcp`, `http` or `https`.
    #[serde(default)]
    pub protocol: String,
    /// `localhost:8080`, with a path where `protocol` is not `tcp`.
    #[serde(default)]
    pub address: String,
    /// The HTTP status that is waited for; 0 means 200. `tcp` has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub code: i32,
}

/// By the operating system of who deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// On Windows; empty means `powershell`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub windows: String,
    /// On Linux; empty means `sh`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub linux: String,
    /// On macOS; empty means `sh`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub darwin: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zarf::to_text;

    #[test]
    fn a_definition_reads_what_it_wrote_and_ignores_what_it_does_not_know() {
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1.10', authors: me}\ncomponents:\n\
                    - name: a\n  required: true\n  actions: {onDeploy: {}}\n  charts: [{name: c, version: '1.0', localPath: x}]\n";
        let definition: Definition = serde_yaml::from_str(text).unwrap();
        assert_eq!(definition.metadata.version, "1.10");
        assert_eq!(definition.components[0].charts[0].stem(), "c-1.0");
        let again: Definition = serde_yaml::from_str(&to_text(&definition).unwrap()).unwrap();
        assert_eq!(again, definition);
    }

    #[test]
    fn duplicate_keys_are_refused() {
        let twice = "kind: x\nmetadata: {name: x}\nmetadata: {name: y}\n";
        assert!(serde_yaml::from_str::<Value>(twice).is_err());
        assert!(serde_yaml::from_str::<Definition>(twice).is_err());
    }
}
