//! The last two files: checksums.txt, and the zarf.yaml that vouches for it.

use model::zarf::alpha::VersionRequirement;
use model::zarf::convert::to_beta;
use model::zarf::{self, Build, Component, Definition};
use sdk::StepError;
use serde_yaml::{Mapping, Value};
use sha2::{Digest, Sha256};

use crate::definition::Package;
use crate::format::Forms;
use crate::plan::Plan;

/// `<sha256> <path>` for each file, sorted by the whole line.
pub fn checksums<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut lines: Vec<String> = files.map(|(sha256, path)| format!("{sha256} {path}")).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

/// The definition with the aggregate checksum and the build section, in each of
/// its forms; readers up to Zarf 0.75.0 take the first.
///
/// # Errors
/// A definition that cannot be written as YAML.
pub fn definition(
    package: &Package,
    forms: Forms,
    plan: &Plan,
    checksums: &str,
    epoch: u64,
) -> Result<String, StepError> {
    let aggregate = sha256(checksums.as_bytes());
    let build = build(package, forms, plan, epoch);
    let alpha = || alpha(package, &build, &aggregate);
    let beta = || beta(package, &build, &aggregate);
    match forms {
        Forms { alpha: true, beta: true } => Ok(format!("{}---\n{}", alpha()?, beta()?)),
        Forms { alpha: false, beta: true } => beta(),
        _ => alpha(),
    }
}

/// With everything that the author wrote.
fn alpha(package: &Package, build: &Build, aggregate: &str) -> Result<String, StepError> {
    let mut document = Mapping::new();
    document.insert("apiVersion".into(), zarf::API_VERSION.into());
    document.insert("kind".into(), zarf::KIND.into());
    let mut metadata = package.document.get("metadata").and_then(Value::as_mapping).cloned().unwrap_or_default();
    metadata.insert("aggregateChecksum".into(), aggregate.into());
    document.insert("metadata".into(), metadata.into());
    document.insert("build".into(), serde_yaml::to_value(build)?);
    for (key, value) in &package.document {
        if !matches!(key.as_str(), Some("apiVersion" | "kind" | "metadata" | "build")) {
            document.insert(key.clone(), value.clone());
        }
    }
    Ok(zarf::to_text(&document)?)
}

/// The same as v1beta1 says it.
fn beta(package: &Package, build: &Build, aggregate: &str) -> Result<String, StepError> {
    let mut definition = package.definition.clone();
    definition.build = build.clone();
    definition.metadata.aggregate_checksum = aggregate.to_owned();
    let (mut converted, _) = to_beta(&definition);
    // Its name has changed between releases, and its place in the package is
    // not known; what is deployed does not depend on it.
    converted.documentation.clear();
    Ok(zarf::to_text(&converted)?)
}

fn build(package: &Package, forms: Forms, plan: &Plan, epoch: u64) -> Build {
    Build {
        architecture: package.definition.metadata.architecture.clone(),
        timestamp: zarf::rfc1123(epoch),
        version: zarf::FORMAT_VERSION.to_owned(),
        flavor: package.definition.build.flavor.clone(),
        migrations: migrations(&package.definition, forms),
        signed: Some(false),
        version_requirements: requirements(package, plan),
        provenance_files: vec!["checksums.txt".to_owned()],
        ..Build::default()
    }
}

/// Which fields of what v1alpha1 was before nobody has to look at any more.
/// Zarf drops a field whose migration is listed, and migrates one whose is not:
/// `migrateDeprecated` of its package `v1alpha1`. Nothing that v1beta1 could say
/// needs them.
fn migrations(definition: &Definition, forms: Forms) -> Vec<String> {
    if forms.beta {
        return Vec::new();
    }
    let has_scripts = definition.components.iter().any(|component| component.scripts.is_some());
    let sets = |component: &Component| component.actions.all().any(|action| !action.set_variable.is_empty());
    let old = [("scripts-to-actions", has_scripts), ("pluralize-set-variable", definition.components.iter().any(sets))];
    old.iter().filter(|(_, is_used)| !is_used).map(|(name, _)| (*name).to_owned()).collect()
}

/// The oldest Zarf that understands what the package holds, and why.
fn requirements(package: &Package, plan: &Plan) -> Vec<VersionRequirement> {
    let charts = || package.definition.components.iter().flat_map(|component| &component.charts);
    let needed = [
        ("v0.65.0", "a chart without a version", charts().any(|chart| chart.version.is_empty())),
        ("v0.77.0", "an image that is pinned to an index", plan.images.iter().any(crate::images::Image::is_index)),
        (
            "v0.78.0",
            "a chart with templated values files",
            charts().any(|chart| !chart.templated_values_files.is_empty()),
        ),
    ];
    let requirement = |version: &str, what: &str| VersionRequirement {
        version: version.to_owned(),
        reason: format!("This package holds {what}"),
    };
    needed.iter().filter(|(.., needed)| *needed).map(|(version, what, _)| requirement(version, what)).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use model::zarf::documents::Documents;

    use super::*;
    use crate::definition::read;

    #[test]
    fn checksums_are_sorted_by_the_whole_line_and_end_in_a_newline() {
        assert_eq!(checksums([("bb", "a"), ("aa", "z"), ("aa", "b")].into_iter()), "aa b\naa z\nbb a\n");
        let empty = checksums(std::iter::empty());
        assert_eq!(sha256(empty.as_bytes()), "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b");
    }

    #[test]
    fn the_definition_keeps_what_the_author_wrote_and_says_what_it_needs() {
        let text = "components:\n- name: a\n  charts: [{name: c, localPath: x.tgz, namespace: n}]\nvariables: [{name: V, default: '1.10'}]\n\
                    kind: ZarfPackageConfig\nmetadata: {name: x, version: '1.10', aggregateChecksum: old}\nbuild: {terminal: old}\n";
        let package = read(text, Some("amd64")).unwrap();
        let written = definition(&package, Forms::ALPHA, &Plan::default(), "\n", 1_787_340_146).unwrap();
        let value: Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(value["metadata"]["aggregateChecksum"].as_str().unwrap(), sha256(b"\n"));
        assert_eq!(value["metadata"]["architecture"], "amd64");
        assert_eq!(value["build"]["timestamp"], "Fri, 21 Aug 2026 19:22:26 +0000");
        assert_eq!(value["build"]["versionRequirements"][0]["version"], "v0.65.0");
        assert_eq!(value["build"].get("terminal"), None);
        assert_eq!(value["variables"][0]["default"], "1.10");
        assert!(written.starts_with("apiVersion: \"zarf.dev/v1alpha1\"\nkind: \"ZarfPackageConfig\"\nmetadata:\n"));
        assert!(written.contains("version: \"1.10\"\n"));
    }

    /// What Zarf would have to rewrite it rewrites when it deploys, and what is
    /// listed as rewritten it drops.
    #[test]
    fn a_migration_is_listed_where_there_is_nothing_to_migrate() {
        for (component, listed) in [
            ("", &["scripts-to-actions", "pluralize-set-variable"][..]),
            ("scripts: {before: [x]}", &["pluralize-set-variable"]),
            ("actions: {onRemove: {onFailure: [{cmd: x, setVariable: V}]}}", &["scripts-to-actions"]),
            (
                "actions: {onDeploy: {after: [{cmd: x, setVariables: [{name: V}]}]}}",
                &["scripts-to-actions", "pluralize-set-variable"],
            ),
        ] {
            let text =
                format!("kind: ZarfPackageConfig\nmetadata: {{name: x}}\ncomponents:\n- name: a\n  {component}\n");
            let package = read(&text, Some("amd64")).unwrap();
            assert_eq!(migrations(&package.definition, Forms::ALPHA), listed, "{component}");
        }
    }

    /// One definition, twice: nothing differs but the form.
    #[test]
    fn both_documents_say_the_same() {
        let text = "components:\n- name: a\n  required: true\n  charts: [{name: c, localPath: x.tgz, namespace: n}]\n  images: [nginx]\n\
                    kind: ZarfPackageConfig\nmetadata: {name: x, version: '1.10'}\ndocumentation: {n: f}\n";
        let package = read(text, Some("amd64")).unwrap();
        let written = definition(&package, Forms::BOTH, &Plan::default(), "\n", 1_787_340_146).unwrap();
        let documents = Documents::parse(&written).unwrap();
        assert!(documents.alpha_first);
        let (mut alpha, beta) = (documents.alpha.unwrap(), documents.beta.unwrap());
        assert_eq!(beta["build"]["aggregateChecksum"], alpha["metadata"]["aggregateChecksum"]);
        assert_eq!(beta["build"]["versionRequirements"], alpha["build"]["versionRequirements"]);
        assert_eq!(beta["components"][0]["charts"][0]["local"]["path"], "x.tgz");
        assert_eq!(beta.get("documentation"), None);
        alpha.as_mapping_mut().unwrap().shift_remove("documentation");
        let typed: zarf::Definition = serde_yaml::from_value(alpha).unwrap();
        assert_eq!(serde_yaml::to_value(to_beta(&typed).0).unwrap(), beta);
        let alone = definition(&package, Forms::BETA, &Plan::default(), "\n", 0).unwrap();
        assert!(alone.starts_with("apiVersion: \"zarf.dev/v1beta1\"\n") && !alone.contains("---"));
    }
}
