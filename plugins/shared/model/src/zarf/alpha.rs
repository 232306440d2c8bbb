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
    #[serde(default, skip_serializing_if = "is_default")]
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "is_default")]
    pub build: Build,
    #[serde(default)]
    pub components: Vec<Component>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub constants: Vec<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: Vec<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Values,
    /// Documents that go along, by name; nothing is deployed from them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: BTreeMap<String, String>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    pub url: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub image: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub uncompressed: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub yolo: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub authors: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub documentation: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub vendor: String,
    /// The sha256 of checksums.txt, 64 lowercase hexadecimal digits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aggregate_checksum: String,
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
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminal: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    #[serde(default)]
    pub architecture: String,
    /// RFC 1123 with a numeric zone.
    #[serde(default)]
    pub timestamp: String,
    /// The release of Zarf whose format this is.
    #[serde(default)]
    pub version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub migrations: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub registry_overrides: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_package_version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub differential_missing: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub signed: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_requirements: Vec<VersionRequirement>,
    /// Files that vouch for others, and are in no list themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub provenance_files: Vec<String>,
}

/// The oldest Zarf that may deploy and remove the package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRequirement {
    pub version: String,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub schema: String,
}

/// What is deployed together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// Absent means false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub only: Only,
    #[serde(default, skip_serializing_if = "is_default")]
    pub group: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub import: Option<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub manifests: Vec<Manifest>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub charts: Vec<Chart>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub data_injections: Vec<DataInjection>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub images: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_archives: Vec<ImageArchive>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub repos: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scripts: Option<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub actions: Actions,
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_checks: Vec<HealthCheck>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub state_access: Vec<String>,
}

/// Where a component applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Only {
    #[serde(default, skip_serializing_if = "is_default", rename = "localOS")]
    pub local_os: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: OnlyCluster,
    #[serde(default, skip_serializing_if = "is_default")]
    pub flavor: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OnlyCluster {
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub distros: Vec<String>,
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
    pub kustomize_allow_any_directory: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub kustomizations: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_kustomize_plugins: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_wait: bool,
    /// `true`, `false` or `auto`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server_side_apply: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub url: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub repo_name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub git_path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub release_name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_wait: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values_files: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub templated_values_files: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: Vec<Value>,
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
    pub source_path: String,
    pub target_path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclude_paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    pub source: String,
    /// 64 lowercase hexadecimal digits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shasum: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub symlinks: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub extract_path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageArchive {
    pub path: String,
    #[serde(default)]
    pub images: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataInjection {
    pub source: String,
    pub target: DataTarget,
    #[serde(default, skip_serializing_if = "is_default")]
    pub compress: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataTarget {
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub container: String,
    pub path: String,
}

/// An object whose readiness ends the deployment of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub name: String,
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

impl Actions {
    /// Every action, whenever it runs.
    pub fn all(&self) -> impl Iterator<Item = &Action> {
        let sets = [&self.on_create, &self.on_deploy, &self.on_remove].into_iter();
        let lists = sets.flat_map(|set| [&set.before, &set.after, &set.on_success, &set.on_failure]);
        lists.flatten()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSet {
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: ActionDefaults,
    #[serde(default, skip_serializing_if = "is_default")]
    pub before: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_success: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: Vec<Action>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionDefaults {
    #[serde(default, skip_serializing_if = "is_default")]
    pub mute: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_retries: i32,
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
    pub mute: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_total_seconds: Option<i32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_retries: Option<i32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dir: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cmd: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Option<Shell>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_variable: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_variables: Vec<Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub set_values: Vec<SetValue>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetValue {
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Option<Value>,
    /// `yaml`, `json` or `string`.
    #[serde(default, skip_serializing_if = "is_default", rename = "type")]
    pub kind: String,
}

/// What an action waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: Option<WaitCluster>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Option<WaitNetwork>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitCluster {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: String,
    /// In this form an empty one means `exists`, in the other one ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub condition: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNetwork {
    #[serde(default)]
    pub protocol: String,
    #[serde(default)]
    pub address: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub code: i32,
}

/// By the operating system of who deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    #[serde(default, skip_serializing_if = "is_default")]
    pub windows: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub linux: String,
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
