//! `package`: what the package is called, and how it is written.

use std::collections::BTreeMap;

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use crate::catalog::ARCHITECTURES;
use disk::tree;

/// Name and version of the package, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSettings {
    /// `metadata.name` of the package: at most 63 lowercase letters, digits and
    /// `-`. A definition says it itself.
    #[serde(default)]
    pub name: String,
    /// `metadata.version` of the package, and part of the name of its file.
    #[serde(default)]
    pub version: String,
    /// `metadata.description` of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which documents its zarf.yaml holds.
    #[serde(default)]
    pub format: PackageFormat,
    /// Whether SBOMs are made, and carried in the package.
    #[serde(default = "yes")]
    pub sbom: bool,
    /// Of a definition that names none: `amd64` or `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The components of a definition that are of this flavor are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<String>,
    /// Values of a definition's package templates, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

impl Default for PackageSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            description: None,
            format: PackageFormat::default(),
            sbom: true,
            architecture: None,
            flavor: None,
            set: BTreeMap::new(),
        }
    }
}

/// The forms of zarf.yaml in the package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageFormat {
    /// A v1alpha1 document and a v1beta1 document: for Zarf before and after
    /// 1.0.
    #[default]
    Both,
    /// A `zarf.dev/v1alpha1` document alone.
    V1alpha1,
    /// A `zarf.dev/v1beta1` document alone.
    V1beta1,
}

/// What only a definition knows.
pub(super) fn choice_problems(package: &PackageSettings, is_defined: bool, problems: &mut Vec<Problem>) {
    let path = YamlPath::root().key("package");
    let PackageSettings { architecture, flavor, set, .. } = package;
    let has = [("architecture", architecture.is_some()), ("flavor", flavor.is_some()), ("set", !set.is_empty())];
    for (key, _) in has.into_iter().filter(|(_, is_there)| *is_there && !is_defined) {
        let hint =
            "name it: `definition: zarf.yaml`; without one versions.env has TARGET_ARCH, and the catalog conditions";
        problems.push(Problem::new(&path.key(key), "is for a project with a definition", hint));
    }
    if let Some(unknown) = architecture.as_ref().filter(|name| !ARCHITECTURES.contains(&name.as_str())) {
        let message = format!("`{}` is no architecture of nodes", shown(unknown));
        problems.push(Problem::new(&path.key("architecture"), message, format!("use {}", ARCHITECTURES.join(" or "))));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(bad) = flavor.as_ref().filter(|name| name.is_empty() || name.len() > 63 || !name.chars().all(plain)) {
        let message = format!("`{}` is no flavor", shown(bad));
        problems.push(Problem::new(
            &path.key("flavor"),
            message,
            "use letters, digits, `.`, `_` and `-`: it becomes part of the file name",
        ));
    }
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    for bad in set.keys().filter(|name| name.is_empty() || !name.chars().all(plain)) {
        let message = format!("`{}` is no name of a template", shown(bad));
        let hint = "write what stands between `###ZARF_PKG_TMPL_` and `###`: uppercase letters, digits and `_`";
        problems.push(Problem::new(&path.key("set").key(bad), message, hint));
    }
}

/// What is wrong with name and version; either may be missing where a
/// definition says it.
pub(crate) fn package_problems(package: &PackageSettings, is_defined: bool, problems: &mut Vec<Problem>) {
    let path = YamlPath::root().key("package");
    let name_fits = package.name.len() <= 63
        && package.name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && package.name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !package.name.ends_with('-');
    let is_named_elsewhere = is_defined && package.name.is_empty();
    if !name_fits && !is_named_elsewhere {
        problems.push(Problem::new(
            &path.key("name"),
            if package.name.is_empty() {
                "is missing or empty".to_owned()
            } else {
                format!("`{}` is no package name", shown(&package.name))
            },
            "use at most 63 lowercase letters, digits and dashes, no dash first or last, for example opencenter-airgap",
        ));
    }
    let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'));
    let version = &package.version;
    let is_missing = version.is_empty() && !is_defined;
    if is_missing
        || version.len() > 100
        || version.contains(bad)
        || (!version.is_empty() && tree::check_path(version).is_err())
    {
        problems.push(Problem::new(
            &path.key("version"),
            if version.is_empty() {
                "is missing or empty".to_owned()
            } else {
                format!("`{}` is no package version", shown(version))
            },
            "use letters, digits, `.`, `_`, `+` and `-`, for example \"1.0.0\"; it becomes part of the file name",
        ));
    }
}
