//! The last two files: checksums.txt, and the zarf.yaml that vouches for it.

use components::zarf;
use sdk::StepError;
use serde_yaml::{Mapping, Value};
use sha2::{Digest, Sha256};

use crate::definition::Package;
use crate::plan::Plan;

/// `<sha256> <path>` for each file, sorted by the whole line.
pub fn checksums<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut lines: Vec<String> = files.map(|(sha256, path)| format!("{sha256} {path}")).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

/// The definition with the aggregate checksum and the build section.
///
/// # Errors
/// A definition that cannot be written as YAML.
pub fn definition(package: &Package, plan: &Plan, checksums: &str, epoch: u64) -> Result<String, StepError> {
    let mut document = Mapping::new();
    document.insert("apiVersion".into(), zarf::API_VERSION.into());
    document.insert("kind".into(), zarf::KIND.into());
    let mut metadata = package.document.get("metadata").and_then(Value::as_mapping).cloned().unwrap_or_default();
    metadata.insert("aggregateChecksum".into(), sha256(checksums.as_bytes()).into());
    document.insert("metadata".into(), metadata.into());
    document.insert("build".into(), build(package, plan, epoch).into());
    for (key, value) in &package.document {
        if !matches!(key.as_str(), Some("apiVersion" | "kind" | "metadata" | "build")) {
            document.insert(key.clone(), value.clone());
        }
    }
    Ok(zarf::to_text(&document)?)
}

fn build(package: &Package, plan: &Plan, epoch: u64) -> Mapping {
    let mut build = Mapping::new();
    build.insert("architecture".into(), package.definition.metadata.architecture.as_str().into());
    build.insert("timestamp".into(), zarf::rfc1123(epoch).into());
    build.insert("version".into(), zarf::FORMAT_VERSION.into());
    let migrations = ["scripts-to-actions", "pluralize-set-variable"];
    build.insert("migrations".into(), migrations.map(Value::from).to_vec().into());
    build.insert("signed".into(), false.into());
    let requirements = requirements(package, plan);
    if !requirements.is_empty() {
        build.insert("versionRequirements".into(), requirements.into());
    }
    build.insert("provenanceFiles".into(), vec![Value::from("checksums.txt")].into());
    build
}

/// The oldest Zarf that understands what the package holds, and why.
fn requirements(package: &Package, plan: &Plan) -> Vec<Value> {
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
    let requirement = |version: &str, what: &str| {
        let mut requirement = Mapping::new();
        requirement.insert("version".into(), version.into());
        requirement.insert("reason".into(), format!("This package holds {what}").into());
        Value::Mapping(requirement)
    };
    needed.iter().filter(|(.., needed)| *needed).map(|(version, what, _)| requirement(version, what)).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
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
        let written = definition(&package, &Plan::default(), "\n", 1_787_340_146).unwrap();
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
}
