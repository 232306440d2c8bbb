//! The files, charts, repositories and plugins of a package: packages of its
//! SBOM like what is found in images.

use model::{ChartEntry, FileEntry, RepositoryEntry};
use sdk::layer::Layer;
use sdk::{Inputs, StepError, Tree};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::content::Content;
use crate::contents::{Contents, Placed};
use crate::found::{Found, Unread, What};
use crate::kinds;
use crate::spdx::Element;
use crate::subject::FileSubject;
use crate::{layers, purl, syft};

/// What the other steps fetched.
#[derive(Debug, Default)]
pub struct Lists {
    /// Of `files.json`; empty where no step `files` wrote one.
    pub files: Vec<FileEntry>,
    /// Of `charts.json`; empty where no step `charts` wrote one.
    pub charts: Vec<ChartEntry>,
    /// Of `repos.json`; empty where no step `repos` wrote one.
    pub repositories: Vec<RepositoryEntry>,
}

impl Lists {
    /// Reads the lists that are there.
    ///
    /// # Errors
    /// Where one is none.
    pub fn read(inputs: &Inputs) -> Result<Self, StepError> {
        Ok(Self {
            files: list(inputs, "files", "files.json")?,
            charts: list(inputs, "charts", "charts.json")?,
            repositories: list(inputs, "repos", "repos.json")?,
        })
    }
}

fn list<T: DeserializeOwned>(inputs: &Inputs, step: &str, name: &str) -> Result<Vec<T>, StepError> {
    match inputs.find(step) {
        Some(tree) if tree.exists(name)? => tree.read_json(name),
        _ => Ok(Vec::new()),
    }
}

/// A file as the subject of a document.
pub fn subject(file: &FileEntry) -> FileSubject {
    FileSubject {
        name: file.name.clone(),
        version: file.version.clone(),
        url: file.url.clone(),
        sha256: file.sha256.clone(),
        path: file.path.clone(),
    }
}

/// The files of each component, by its name, as zarf.yaml has them.
pub fn by_component(definition: &str, files: &[FileEntry]) -> BTreeMap<String, Vec<FileEntry>> {
    let mut components: BTreeMap<String, Vec<FileEntry>> = BTreeMap::new();
    let documents = sdk::serde_yaml::Deserializer::from_str(definition);
    for document in documents {
        let Ok(document) = <sdk::serde_yaml::Value as sdk::serde::Deserialize>::deserialize(document) else { break };
        let sequence = |value: &sdk::serde_yaml::Value, key: &str| {
            value.get(key).and_then(|value| value.as_sequence()).cloned().unwrap_or_default()
        };
        for component in sequence(&document, "components") {
            let name = component.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            for wanted in sequence(&component, "files") {
                let source = wanted.get("source").and_then(|source| source.as_str()).unwrap_or_default();
                let found =
                    files.iter().find(|file| file.url == source || source.ends_with(&format!("/files/{}", file.path)));
                components.entry(name.to_owned()).or_default().extend(found.cloned());
            }
        }
        if !components.is_empty() {
            break;
        }
    }
    components
}

/// What a file holds: what it is itself, and what lies in it where it is an
/// archive.
///
/// # Errors
/// Where the build is stopped, or the host fails.
pub fn contents(tree: &Tree, file: &FileEntry) -> Result<Contents, StepError> {
    let mut contents = Contents::default();
    let mut unread = Vec::new();
    let mut place = |found: Found, inside: bool| {
        let What::Packages(packages) = found.what else { return };
        let path = if inside { format!("/{}:{}", file.path, found.path) } else { format!("/{}", file.path) };
        contents.packages.extend(packages.into_iter().map(|package| Placed {
            package,
            path: path.clone(),
            layer: String::new(),
        }));
    };
    if is_archive(tree, &file.path)? {
        let layer = Layer::open(tree, &file.path)?;
        let (notes, _) = layers::notes(&layer)?;
        notes.found.into_iter().for_each(|found| place(found, true));
        unread.extend(notes.unread);
    } else {
        let mut content = Streamed(tree.reader(&file.path)?);
        match kinds::read(&file.path, file.size, &mut content, &mut unread) {
            Ok(found) => found.into_iter().for_each(|found| place(found, false)),
            Err(why) => unread.push(Unread { path: file.path.clone(), why }),
        }
    }
    contents.unread = unread.into_iter().map(|unread| (String::new(), String::new(), unread)).collect();
    contents.sort();
    Ok(contents)
}

/// A tar, packed or not, by its first bytes.
fn is_archive(tree: &Tree, path: &str) -> Result<bool, StepError> {
    let mut start = Vec::new();
    tree.reader(path)?.take(512).read_to_end(&mut start)?;
    let packed: [&[u8]; 3] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"];
    Ok(packed.iter().any(|magic| start.starts_with(magic)) || start.get(257..262) == Some(b"ustar"))
}

/// A file of a tree: what is passed over is read all the same.
struct Streamed(sdk::Reader);

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Streamed {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.0).take(length), &mut io::sink())
    }
}

/// A chart as a package of the document.
pub fn chart(chart: &ChartEntry) -> Element {
    Element {
        id: format!("SPDXRef-Chart-{}", syft::id(&[&chart.path, &chart.sha256])),
        name: chart.name.clone(),
        version: chart.version.clone(),
        url: chart.url.clone(),
        sha256: chart.sha256.clone(),
        purl: purl::url("helm", "", &chart.name, &chart.version, &[("repository_url", &chart.repo)]),
        purpose: "APPLICATION",
        ..Element::default()
    }
}

/// A git repository as a package of the document.
pub fn repository(repository: &RepositoryEntry) -> Element {
    let place = repository.url.split_once("://").map_or(repository.url.as_str(), |(_, place)| place);
    let place = place.split('@').next_back().unwrap_or(place).trim_end_matches(".git");
    let purl = match place.strip_prefix("github.com/").and_then(|rest| rest.rsplit_once('/')) {
        Some((owner, name)) => purl::url("github", owner, name, &repository.commit, &[]),
        None => purl::url("generic", "", &repository.name, &repository.commit, &[("vcs_url", &repository.url)]),
    };
    Element {
        id: format!("SPDXRef-Repository-{}", syft::id(&[&repository.zarf_reference, &repository.commit])),
        name: repository.name.clone(),
        version: repository.commit.clone(),
        url: format!("git+{}@{}", repository.url, repository.commit),
        purl,
        purpose: "SOURCE",
        ..Element::default()
    }
}

/// A plugin that decided about the package, as a package of the document.
pub fn plugin(step: &str, name: &str, version: &str, digest: &str) -> Element {
    Element {
        id: format!("SPDXRef-Plugin-{}", syft::id(&[step, name, digest])),
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: digest.trim_start_matches("sha256:").to_owned(),
        purl: purl::url("generic", "opencenter-airgap-plugin", name, version, &[("checksum", digest)]),
        purpose: "APPLICATION",
        comment: format!("the plugin that ran the step `{step}`"),
        ..Element::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_the_components_that_name_them() {
        let file = |name: &str, url: &str| FileEntry {
            kind: serde_json::from_str("\"tool\"").unwrap(),
            name: name.into(),
            version: "1".into(),
            url: url.into(),
            path: format!("bin/{name}"),
            sha256: "0".repeat(64),
            size: 1,
            checksum: None,
        };
        let files =
            [file("kubectl", "https://x/kubectl"), file("helm", "https://x/helm.tgz"), file("left", "https://x/l")];
        let text = "components:\n- name: a\n  files: [{source: ../files/bin/kubectl}, {source: 'https://x/helm.tgz'}]\n- name: b\n---\ncomponents:\n- name: a\n";
        let components = by_component(text, &files);
        let names: Vec<&str> = components["a"].iter().map(|file| file.name.as_str()).collect();
        assert_eq!((components.len(), names), (1, vec!["kubectl", "helm"]));
        assert!(by_component("[", &files).is_empty());
    }

    #[test]
    fn repositories_are_named_by_their_commit() {
        let entry = |url: &str| RepositoryEntry {
            name: "kubespray".into(),
            url: url.into(),
            zarf_reference: url.into(),
            commit: "0123".into(),
            path: String::new(),
            is_pinned: false,
        };
        let purl = |url: &str| repository(&entry(url)).purl;
        assert_eq!(
            purl("https://github.com/kubernetes-sigs/kubespray.git"),
            "pkg:github/kubernetes-sigs/kubespray@0123"
        );
        assert_eq!(purl("https://git.x/k.git"), "pkg:generic/kubespray@0123?vcs_url=https://git.x/k.git");
    }
}
