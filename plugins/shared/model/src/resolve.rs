//! From the manifest to what the later steps work on: templates expanded,
//! repetitions dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Problem, YamlPath, shown};
use crate::template::{self, Value};
use crate::{CarriedFile, ComponentManifest, FileKind, Package, ResolvedComponents, ResolvedFile, image};

impl ComponentManifest {
    /// Expands `{{version}}` and `{{arch}}` and drops repeated images.
    ///
    /// # Errors
    /// Templates that name something else, and two files of one name.
    pub fn resolve(&self, package: &Package, architecture: &str) -> Result<ResolvedComponents, Vec<Problem>> {
        let mut problems = Vec::new();
        let files = self.files(&package.carry, architecture, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut seen = BTreeSet::new();
        let images = self.images.iter().map(|image| image.image.clone());
        Ok(ResolvedComponents {
            architecture: architecture.to_owned(),
            package: package.clone(),
            files,
            repositories: self.repositories.clone(),
            images: images.filter(|reference| seen.insert(image::normalized(reference))).collect(),
            charts: self.charts.clone(),
            ..ResolvedComponents::default()
        })
    }

    fn files(&self, carry: &[CarriedFile], architecture: &str, problems: &mut Vec<Problem>) -> Vec<ResolvedFile> {
        let mut files = Vec::new();
        let mut paths: BTreeMap<String, YamlPath> = BTreeMap::new();
        let mut add = |file: ResolvedFile, path: YamlPath, problems: &mut Vec<Problem>| {
            if let Some(first) = paths.insert(file.name.clone(), path.clone()) {
                problems.push(Problem::new(
                    &path.key("name"),
                    format!("a second file is called `{}`; the first is {first}", shown(&file.name)),
                    "kubernetes.binaries, tools and `carry.files` of settings.yaml share one folder: rename or remove \
                     one of them",
                ));
            }
            files.push(file);
        };
        if let Some(kubernetes) = &self.kubernetes {
            for (index, binary) in kubernetes.binaries.iter().enumerate() {
                let path = YamlPath::root().key("kubernetes").key("binaries").index(index);
                let text = |key: &str, template: &str, problems: &mut Vec<Problem>| {
                    expand(template, &kubernetes.version, architecture, &path.key(key), problems)
                };
                let file = ResolvedFile {
                    kind: FileKind::Kubernetes,
                    name: binary.name.clone(),
                    version: kubernetes.version.clone(),
                    url: text("url", &binary.url, problems),
                    checksum_url: binary.checksum_url.as_ref().map(|url| text("checksum_url", url, problems)),
                    sha256: None,
                    extract: false,
                    binary: None,
                };
                add(file, path, problems);
            }
        }
        for (index, tool) in self.tools.iter().enumerate() {
            let path = YamlPath::root().key("tools").index(index);
            let text = |key: &str, template: &str, problems: &mut Vec<Problem>| {
                expand(template, &tool.version, architecture, &path.key(key), problems)
            };
            let file = ResolvedFile {
                kind: if tool.carry { FileKind::Carry } else { FileKind::Tool },
                // Of what lies beside the package several architectures may lie side by side.
                name: if tool.carry { text("name", &tool.name, problems) } else { tool.name.clone() },
                version: tool.version.clone(),
                url: text("url", &tool.url, problems),
                checksum_url: tool.checksum_url.as_ref().map(|url| text("checksum_url", url, problems)),
                sha256: None,
                extract: tool.extract,
                binary: tool.binary.as_ref().map(|binary| text("binary", binary, problems)),
            };
            add(file, path, problems);
        }
        for (index, carried) in carry.iter().enumerate() {
            let path = YamlPath::root().key("carry").key("files").index(index);
            let text = |key: &str, template: &str, problems: &mut Vec<Problem>| {
                expand(template, "", architecture, &path.key(key), problems)
            };
            let file = ResolvedFile {
                kind: FileKind::Carry,
                name: text("name", &carried.name, problems),
                version: String::new(),
                url: text("url", &carried.url, problems),
                checksum_url: carried.checksum_url.as_ref().map(|url| text("checksum_url", url, problems)),
                sha256: carried.sha256.clone(),
                extract: false,
                binary: None,
            };
            add(file, path, problems);
        }
        files
    }
}

/// Expands the two placeholders of the manifest.
fn expand(template: &str, version: &str, arch: &str, path: &YamlPath, problems: &mut Vec<Problem>) -> String {
    let lookup = |name: &str| match name {
        "version" => Value::Is(version.to_owned()),
        "arch" => Value::Is(arch.to_owned()),
        other => Value::Unknown(format!("`{{{{{}}}}}` is not known here", shown(other))),
    };
    template::expand(template, lookup).unwrap_or_else(|message| {
        problems.push(Problem::new(
            path,
            message,
            "components.yaml knows {{version}} and {{arch}}; variables of versions.env belong into catalog.yaml",
        ));
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
kubernetes: {version: v1.2.3, binaries: [{name: kubectl, url: "https://x/{{version}}/{{arch}}/kubectl"}]}
tools:
  - {name: helm, version: 3.1.0, url: "https://x/v{{ version }}.tgz", extract: true, binary: "linux-{{arch}}/helm"}
images:
  auto_discover: [nginx:1, "docker.io/library/nginx:1"]
  additional: [{image: nginx:2}, {image: index.docker.io/library/nginx:1}]
"#;

    #[test]
    fn templates_are_expanded_and_repetitions_dropped() {
        let manifest: ComponentManifest = serde_yaml::from_str(MANIFEST).unwrap();
        let resolved = manifest.resolve(&Package::default(), "arm64").unwrap();
        assert_eq!(resolved.files[0].url, "https://x/v1.2.3/arm64/kubectl");
        assert_eq!(resolved.files[1].url, "https://x/v3.1.0.tgz");
        assert_eq!(resolved.files[1].binary.as_deref(), Some("linux-arm64/helm"));
        assert_eq!(resolved.images, ["nginx:1", "nginx:2"]);
    }

    #[test]
    fn unknown_variables_and_colliding_names_are_problems() {
        let text = r#"
kubernetes: {version: v1, binaries: [{name: helm, url: "https://x/{{HELM}}"}]}
tools: [{name: helm, version: "1", url: "https://x/{{"}]
"#;
        let manifest: ComponentManifest = serde_yaml::from_str(text).unwrap();
        let problems = manifest.resolve(&Package::default(), "amd64").unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(shown[0].starts_with("kubernetes.binaries[0].url: `{{HELM}}`"), "{shown:?}");
        assert!(shown[1].starts_with("tools[0].url"), "{shown:?}");
        assert!(shown[2].starts_with("tools[0].name: a second file"), "{shown:?}");
    }
}
