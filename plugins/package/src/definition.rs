//! Reads a package definition and refuses what cannot be packaged here.
//! [`authored`] makes v1alpha1 of one that is v1beta1.
//!
//! The typed view decides what lies in the package; the YAML value keeps
//! everything else that the author wrote. Both hold the same components: those
//! of another flavor or architecture are left out of both, as Zarf does.

use std::collections::{BTreeMap, BTreeSet};

use model::zarf::{self, Component, Definition};
use sdk::StepError;
use serde_yaml::{Mapping, Value};

use crate::authored::{self, Authored};
use crate::refusal::refuse;

/// Fields of the schema that hold numbers. Anywhere else Zarf reads a number
/// into a string, and `1.10` becomes `1.1`.
const NUMBERS: &[&str] = &["maxTotalSeconds", "maxRetries", "retries", "code"];
/// Below these keys anything is allowed.
const FREE: &[&str] = &["value", "x-"];
/// Zarf's limit for names of charts and manifests.
const LONGEST_NAME: usize = 40;

/// A definition that can be packaged.
#[derive(Clone, Debug)]
pub struct Package {
    /// What is packaged, in the form `zarf.dev/v1alpha1`.
    pub definition: Definition,
    /// The whole document, with the same components.
    pub document: Mapping,
    /// The definition with the charts' versions and sources as they were
    /// written; the same components and charts in the same order.
    pub authored: Definition,
    /// The sources of provenance files that lie beside their charts, by
    /// `<component>/<chart>`.
    pub provenance: BTreeMap<String, String>,
    /// Versions of documents that nobody here knows, and that are left out.
    pub left_out: Vec<String>,
}

impl Package {
    /// The name that Zarf gives the package's file.
    pub fn file_name(&self) -> String {
        zarf::package_file_name(&self.definition.metadata, &self.definition.build.flavor)
    }
}

/// Reads `text`; `architecture` is for a definition that names none.
///
/// # Errors
/// `invalid-input` for what is no definition, and for what only `zarf package
/// create` can do.
pub fn read(text: &str, architecture: Option<&str>) -> Result<Package, StepError> {
    let Authored { mut document, is_beta, left_out } = authored::read(text)?;
    set_architecture(&mut document, architecture)?;
    let architecture = text_at(&document, "metadata", "architecture").unwrap_or_default();
    let mut document = Value::Mapping(document);
    substitute(&mut document, &architecture, None)?;
    check_numbers(&document, "")?;
    let document = if is_beta { authored::as_alpha(&document)? } else { document };
    let Value::Mapping(mut document) = document else { return Err(refuse("definition", "zarf.yaml is no mapping")) };
    let mut definition: Definition = serde_yaml::from_value(Value::Mapping(document.clone()))
        .map_err(|error| refuse("definition", format!("zarf.yaml is no package definition: {error}")))?;
    keep_applicable(&mut definition, &mut document)?;
    check_package(&definition)?;
    for component in &definition.components {
        check_component(component).map_err(|error| error.context(format!("component `{}`", component.name)))?;
    }
    check_actions(&document)?;
    Ok(Package { authored: definition.clone(), definition, document, provenance: BTreeMap::new(), left_out })
}

fn set_architecture(document: &mut Mapping, architecture: Option<&str>) -> Result<(), StepError> {
    let Some(Value::Mapping(metadata)) = document.get_mut("metadata") else {
        return Err(refuse("metadata", "zarf.yaml has no `metadata`"));
    };
    let known = metadata.get("architecture").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (known.as_str(), architecture) {
        ("", None) => Err(refuse("architecture", "zarf.yaml names no `metadata.architecture`")),
        ("", Some(architecture)) => {
            metadata.insert("architecture".into(), architecture.into());
            Ok(())
        }
        (known, Some(architecture)) if known != architecture => {
            Err(refuse("architecture", format!("zarf.yaml is for `{known}` and this build for `{architecture}`"))
                .hint("set TARGET_ARCH in config/versions.env to the architecture of the package"))
        }
        _ => Ok(()),
    }
}

/// Fills in what `zarf package create` knows without asking.
fn substitute(value: &mut Value, architecture: &str, component: Option<&str>) -> Result<(), StepError> {
    match value {
        Value::String(text) if text.contains("###ZARF_PKG_TMPL_") => {
            Err(refuse("template", format!("zarf.yaml holds the package template `{text}`"))
                .hint("write the value itself: templates are filled in by `zarf package create --set`"))
        }
        Value::String(text) => {
            if text.contains("###") {
                *text = text.replace("###ZARF_PKG_ARCH###", architecture);
                if let Some(component) = component {
                    *text = text.replace("###ZARF_COMPONENT_NAME###", component);
                }
            }
            Ok(())
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| substitute(item, architecture, component)),
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter_mut() {
                match value {
                    Value::Sequence(items) if key.as_str() == Some("components") => {
                        for item in items {
                            let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
                            substitute(item, architecture, name.as_deref())?;
                        }
                    }
                    value => substitute(value, architecture, component)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses numbers where the schema has strings.
fn check_numbers(value: &Value, place: &str) -> Result<(), StepError> {
    match value {
        Value::Number(number) => {
            Err(refuse("unquoted", format!("`{place}` in zarf.yaml is the number {number} and should be a string"))
                .hint("put it in double quotes exactly as it should read: Zarf would turn 1.10 into 1.1"))
        }
        Value::Sequence(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| check_numbers(item, &format!("{place}[{index}]")))
        }
        Value::Mapping(mapping) => mapping.iter().try_for_each(|(key, value)| {
            let key = key.as_str().unwrap_or_default();
            if NUMBERS.contains(&key) || FREE.iter().any(|free| key.starts_with(free)) {
                return Ok(());
            }
            let place = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            check_numbers(value, &place)
        }),
        _ => Ok(()),
    }
}

/// Leaves out components of another flavor or architecture.
fn keep_applicable(definition: &mut Definition, document: &mut Mapping) -> Result<(), StepError> {
    let architecture = definition.metadata.architecture.clone();
    // Whoever composed the definition says which one was asked for.
    let flavor = definition.build.flavor.clone();
    let applies = |component: &Component| {
        let wanted = &component.only.cluster.architecture;
        let of_flavor = component.only.flavor.is_empty() || component.only.flavor == flavor;
        of_flavor && (wanted.is_empty() || *wanted == architecture)
    };
    let keep: Vec<bool> = definition.components.iter().map(applies).collect();
    if let Some(Value::Sequence(items)) = document.get_mut("components") {
        let mut flags = keep.iter();
        items.retain(|_| flags.next().copied().unwrap_or(true));
    }
    let mut flags = keep.iter();
    definition.components.retain(|_| flags.next().copied().unwrap_or(true));
    if definition.components.is_empty() {
        return Err(refuse("empty-package", "zarf.yaml has no component for this architecture: the package is empty")
            .hint("add images, files, charts or repositories to config/components.yaml"));
    }
    Ok(())
}

fn check_package(definition: &Definition) -> Result<(), StepError> {
    let Definition { kind, metadata, components, .. } = definition;
    if kind != zarf::KIND {
        return Err(refuse("kind", format!("zarf.yaml has the kind `{kind}`"))
            .hint(format!("only `{}` is packaged", zarf::KIND)));
    }
    if !zarf::is_name(&metadata.name) {
        return Err(refuse("name", format!("the package name `{}` is not one that Zarf accepts", metadata.name))
            .hint("use lowercase letters, digits and `-`"));
    }
    safe_name("metadata.version", &metadata.version)?;
    safe_name("metadata.architecture", &metadata.architecture)?;
    unique("component", components.iter().map(|component| component.name.as_str()))
}

fn check_component(component: &Component) -> Result<(), StepError> {
    let Component { name, manifests, charts, image_archives, import, files, .. } = component;
    let create = "run `zarf package create` for such a definition, or spell it out";
    safe_name("the name", name)?;
    if name.is_empty() {
        return Err(refuse("name", "has no name"));
    }
    if import.is_some() {
        return Err(refuse("import", "imports another package").hint(create));
    }
    if !image_archives.is_empty() {
        return Err(refuse("image-archives", "has imageArchives").hint("list the images under `images`"));
    }
    if let Some(manifest) = manifests.iter().find(|manifest| !manifest.kustomizations.is_empty()) {
        return Err(refuse("kustomization", format!("manifest `{}` has kustomizations", manifest.name))
            .hint("render them with `kubectl kustomize` and list the result under `files`"));
    }
    if let Some(file) = files.iter().find(|file| !file.extract_path.is_empty()) {
        return Err(refuse("extract-path", format!("file `{}` has an extractPath", file.source))
            .hint("let components.yaml extract it (`extract: true`) and refer to the file itself"));
    }
    unique("chart", charts.iter().map(|chart| chart.name.as_str()))?;
    unique("manifest", manifests.iter().map(|manifest| manifest.name.as_str()))?;
    for manifest in manifests {
        short_name("manifest", &manifest.name)?;
        if manifest.files.is_empty() {
            return Err(refuse("manifest", format!("manifest `{}` has no files", manifest.name)));
        }
    }
    charts.iter().try_for_each(check_chart)
}

fn check_chart(chart: &zarf::Chart) -> Result<(), StepError> {
    let zarf::Chart { name, version, url, local_path, namespace, release_name, .. } = chart;
    short_name("chart", name)?;
    safe_name("the chart's version", version)?;
    if url.is_empty() == local_path.is_empty() {
        return Err(refuse("chart", format!("chart `{name}` must have exactly one of url and localPath")));
    }
    if namespace.is_empty() {
        return Err(refuse("chart", format!("chart `{name}` has no namespace")));
    }
    let release = if release_name.is_empty() { name } else { release_name };
    if !zarf::is_release_name(release) {
        return Err(refuse("chart", format!("chart `{name}` would be released as `{release}`, which Helm refuses"))
            .hint("set `releaseName` to lowercase letters, digits and `-` that start with a letter"));
    }
    Ok(())
}

/// What would have to run on the build host.
fn check_actions(document: &Mapping) -> Result<(), StepError> {
    let Some(Value::Sequence(components)) = document.get("components") else { return Ok(()) };
    for component in components {
        let on_create = component.get("actions").and_then(|actions| actions.get("onCreate"));
        let has_actions = on_create.and_then(Value::as_mapping).is_some_and(|actions| !actions.is_empty());
        // Zarf makes onCreate actions of them.
        let prepare = component.get("scripts").and_then(|scripts| scripts.get("prepare"));
        let has_scripts = prepare.and_then(Value::as_sequence).is_some_and(|scripts| !scripts.is_empty());
        if has_actions || has_scripts {
            let name = component.get("name").and_then(Value::as_str).unwrap_or_default();
            let what = if has_actions { "onCreate actions" } else { "`scripts.prepare`" };
            return Err(refuse("on-create", format!("component `{name}` has {what}"))
                .hint("nothing is executed while packaging: do that work before the build and refer to its result"));
        }
    }
    Ok(())
}

fn short_name(kind: &str, name: &str) -> Result<(), StepError> {
    safe_name(kind, name)?;
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(refuse(
            "name",
            format!("the {kind} name `{name}` is empty or longer than {LONGEST_NAME} characters"),
        ));
    }
    Ok(())
}

/// Refuses what would become a bad path: these become parts of file names.
fn safe_name(what: &str, text: &str) -> Result<(), StepError> {
    if text.contains(['/', '\\', ' ', ':']) || text.chars().any(char::is_control) || text == ".." {
        return Err(refuse("name", format!("{what} `{}` cannot be part of a file name", text.escape_debug())));
    }
    Ok(())
}

fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Result<(), StepError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(refuse("duplicate", format!("two {kind}s are called `{name}`")));
        }
    }
    Ok(())
}

fn text_at(document: &Mapping, section: &str, key: &str) -> Option<String> {
    document.get(section)?.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let error = read(text, Some("amd64")).unwrap_err();
        error.failure().unwrap().message.clone()
    }

    fn with(components: &str) -> String {
        format!("kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n{components}")
    }

    #[test]
    fn a_hand_made_definition_is_read_and_kept() {
        let text = with(
            "- name: a\n  required: true\n  x-note: 7\n  actions: {onDeploy: {before: [{cmd: 'echo ###ZARF_COMPONENT_NAME### ###ZARF_PKG_ARCH###', maxRetries: 3}]}}\n",
        );
        let package = read(&text, Some("arm64")).unwrap();
        assert_eq!(package.file_name(), "zarf-package-x-arm64-1.tar.zst");
        let kept = serde_yaml::to_string(&package.document).unwrap();
        assert!(kept.contains("echo a arm64") && kept.contains("maxRetries: 3"), "{kept}");
    }

    #[test]
    fn components_that_do_not_apply_are_left_out() {
        let text = with(
            "- name: a\n- name: b\n  only: {flavor: x}\n- name: c\n  only: {cluster: {architecture: arm64}}\n- name: d\n  only: {cluster: {architecture: amd64}}\n",
        );
        let package = read(&text, Some("amd64")).unwrap();
        let names: Vec<&str> = package.definition.components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names, ["a", "d"]);
        assert_eq!(package.document["components"].as_sequence().unwrap().len(), 2);
        assert!(message(&with("- name: b\n  only: {flavor: x}\n")).contains("empty"));
    }

    #[test]
    fn what_cannot_be_packaged_is_named() {
        for (components, word) in [
            ("- name: a\n- name: a\n", "called `a`"),
            ("- name: a\n  import: {path: x}\n", "imports"),
            ("- name: a\n  imageArchives: [{path: x}]\n", "imageArchives"),
            ("- name: a\n  actions: {onCreate: {before: [{cmd: x}]}}\n", "onCreate"),
            ("- name: a\n  scripts: {prepare: [make]}\n", "scripts.prepare"),
            ("- name: a/b\n", "a/b"),
            ("- name: a\n  manifests: [{name: m, kustomizations: [x]}]\n", "kustomizations"),
            ("- name: a\n  charts: [{name: c, version: 1.10, localPath: x, namespace: n}]\n", "charts[0].version"),
            ("- name: a\n  charts: [{name: c, version: '1', namespace: n}]\n", "exactly one"),
            ("- name: a\n  charts: [{name: C, version: '1', localPath: x, namespace: n}]\n", "released as `C`"),
            ("- name: a\n  charts: [{name: c, version: '1', localPath: x}]\n", "namespace"),
            ("- name: a\n  files: [{source: x, target: y, extractPath: z}]\n", "extractPath"),
            ("- name: a\n  description: '###ZARF_PKG_TMPL_X###'\n", "template"),
        ] {
            let found = message(&with(components));
            assert!(found.contains(word), "{components}: {found}");
        }
        assert!(message("a: 1\na: 2\n").contains("duplicate"));
        assert!(message("kind: x\n---\nkind: y\n").contains("two documents of zarf.dev/v1alpha1"));
        assert!(message("apiVersion: zarf.dev/v2\n").contains("`zarf.dev/v2`"));
        let error =
            read(&with("- name: a\n").replace("version: '1'", "architecture: arm64"), Some("amd64")).unwrap_err();
        assert!(error.failure().unwrap().message.contains("arm64"));
    }
}
