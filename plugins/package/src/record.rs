//! artifact-manifest.json: what is in the package and where it came from.
//!
//! It lies beside the package, so that whoever receives both can tell whether
//! everything is there (`opencenter-airgap verify`), and so that people and
//! scanners need not unpack anything. It says of each content who asked for it,
//! where, and on what [`Evidence`]. docs/package-format.md documents it.

use std::collections::BTreeMap;

use model::image::normalized;
use model::rendered::{DISCOVERED, Discovered};
use model::zarf;
use model::{ChartEntry, FileEntry, RepositoryEntry};
use sdk::StepError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Plugin;
use crate::definition::Package;
use crate::images::{CarriedChart, Image};
use crate::plan::{Plan, Source};
use crate::sources::{Found, Sources};

/// Of this file's format.
const FORMAT: u32 = 1;
const LARGEST_LIST: u64 = 64 << 20;
/// The tree of the step that finds images in charts.
const DISCOVER: &str = "discover";

/// The whole file.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Of the file's format: another meaning gets another number.
    pub format: u32,
    /// Which program wrote it.
    pub tool: Tool,
    /// What decided about the content, step by step.
    pub plugins: Vec<Plugin>,
    /// RFC 3339, UTC: the build's clock.
    pub created: String,
    /// The package itself.
    pub package: PackageFile,
    /// The images, by reference.
    pub images: Vec<ImageRecord>,
    /// The charts, component by component.
    pub charts: Vec<Chart>,
    /// The files, component by component.
    pub files: Vec<File>,
    /// The git repositories, component by component.
    pub repositories: Vec<Repository>,
}

/// The program that wrote the list.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// Which release of it.
    pub version: String,
}

/// The package as a file, and what it says it is.
#[derive(Clone, Debug, Serialize)]
pub struct PackageFile {
    /// The name of the file.
    pub file: String,
    /// Of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes of the file.
    pub size: u64,
    /// `metadata.name` of zarf.yaml.
    pub name: String,
    /// `metadata.version` of zarf.yaml.
    pub version: String,
    /// `metadata.architecture` of zarf.yaml.
    pub architecture: String,
}

/// What says that a content is what was meant. None of it is what a plugin
/// other than the core ones says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// A checksum file that the configuration names said so when it was fetched.
    Checksum,
    /// The configuration names the digest or the commit.
    Digest,
    /// It is a file of the user's own.
    Local,
    /// Nothing but what the address gave when it was first asked.
    FirstSight,
    /// A plugin made it, or says from where it came without having been given
    /// it there.
    Made,
}

/// Whoever the host's own steps are to a reader.
const HOST: &str = "host";

/// One image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageRecord {
    /// The complete spelling.
    pub reference: String,
    /// As components.yaml writes it.
    pub source: String,
    /// Of the manifest or index, `sha256:…`.
    pub digest: String,
    /// Of the manifest or index.
    pub media_type: String,
    /// `linux/amd64`; None where the registry served no index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Bytes of manifest, configuration and layers, shared or not.
    pub size: u64,
    /// The components that name it.
    pub components: Vec<String>,
    /// Who asked: `host`, `core plugin <name>`, `plugin <name>`.
    pub by: String,
    /// What says that it is what was meant.
    pub evidence: Evidence,
    /// What names it, where components.yaml does not: `chart app 1.0.0:
    /// templates/pod.yaml:12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_in: Option<String>,
}

/// One chart of a component.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// As zarf.yaml calls it.
    pub name: String,
    /// Its version, which zarf.yaml need not say.
    pub version: String,
    /// The component that it is in.
    pub component: String,
    /// In the component's tar; of an artifact that of its layer in the package.
    pub path: String,
    /// What it is called as an OCI artifact, where it is carried as one and not
    /// installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// `sha256:…` of the manifest of that artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Of the archive, 64 hexadecimal digits, where the host knew them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes of the archive.
    pub size: u64,
    /// Where it came from: a URL, or the path in the definition.
    pub source: String,
    /// How many values files it is installed with.
    pub values_files: usize,
    /// Its signed provenance file; None where there is none in the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Who asked: `host`, `core plugin <name>`, `plugin <name>`.
    pub by: String,
    /// What says that it is what was meant.
    pub evidence: Evidence,
    #[serde(skip)]
    from: (String, String),
}

/// The provenance file of a chart: in `documentation.tar`, with its component in
/// front beside it, or of an artifact a layer in the package.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Where it is: its name in `documentation.tar`, or its path in the component's tar.
    pub path: String,
    /// 64 hexadecimal digits, where the host knew them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In bytes.
    pub size: u64,
}

/// One file or folder of a component.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// The last part of `target`.
    pub name: String,
    /// The component that it is in.
    pub component: String,
    /// In the component's tar.
    pub path: String,
    /// Where it is deployed to.
    pub target: String,
    /// 64 hexadecimal digits, where the host knew them; None of a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In bytes.
    pub size: u64,
    /// Where it came from: a URL, or the path in the definition.
    pub source: String,
    /// Who asked: `host`, `core plugin <name>`, `plugin <name>`.
    pub by: String,
    /// What says that it is what was meant.
    pub evidence: Evidence,
    /// The checksum file that said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    #[serde(skip)]
    from: (String, String),
}

/// One git repository of a component.
#[derive(Clone, Debug, Serialize)]
pub struct Repository {
    /// As zarf.yaml writes it.
    pub source: String,
    /// The full commit; None where no step says which it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The component that it is in.
    pub component: String,
    /// The folder in the component's tar.
    pub path: String,
    /// Number of files in it, and their bytes.
    pub files: usize,
    /// Bytes of all files in the folder.
    pub size: u64,
    /// Who asked: `host`, `core plugin <name>`, `plugin <name>`.
    pub by: String,
    /// What says that it is what was meant.
    pub evidence: Evidence,
}

impl Chart {
    /// Of a chart as it was written, which lies in the package as `stem`.
    pub fn of(component: &zarf::Component, chart: &zarf::Chart, stem: &str, tree: &str, found: &Found) -> Self {
        let source = if chart.url.is_empty() { &chart.local_path } else { &chart.url };
        Self {
            name: chart.name.clone(),
            version: chart.version.clone(),
            component: component.name.clone(),
            path: format!("{}/charts/{stem}.tgz", component.name),
            artifact: None,
            manifest: None,
            sha256: found.sha256.clone(),
            size: found.size,
            source: source.clone(),
            values_files: chart.values_files.len() + chart.templated_values_files.len(),
            provenance: None,
            by: String::new(),
            evidence: Evidence::Made,
            from: (tree.to_owned(), found.path.clone()),
        }
    }

    /// Of an image that is one.
    pub fn carried(image: &Image) -> Option<Self> {
        let CarriedChart { entry, archive, .. } = image.chart.as_ref()?;
        Some(Self {
            name: entry.name.clone(),
            version: entry.version.clone(),
            component: image.components.first().cloned().unwrap_or_default(),
            path: format!("images/blobs/sha256/{}", archive.sha256.as_deref().unwrap_or_default()),
            artifact: Some(image.reference.clone()),
            manifest: Some(image.digest.clone()),
            sha256: archive.sha256.clone(),
            size: archive.size,
            source: entry.repo.clone(),
            values_files: 0,
            provenance: None,
            by: String::new(),
            evidence: Evidence::Made,
            from: ("charts".to_owned(), archive.path.clone()),
        })
    }
}

impl File {
    /// Of the file at `index` of its component, which was found in the tree `tree`.
    pub fn of(component: &zarf::Component, index: usize, tree: &str, found: &Found) -> Self {
        let file = &component.files[index];
        let name = zarf::base_name(&file.target);
        Self {
            name: name.to_owned(),
            component: component.name.clone(),
            path: format!("{}/files/{index}/{name}", component.name),
            target: file.target.clone(),
            sha256: found.sha256.clone(),
            size: found.size,
            source: file.source.clone(),
            by: String::new(),
            evidence: Evidence::Made,
            checksum: None,
            from: (tree.to_owned(), found.path.clone()),
        }
    }
}

impl File {
    /// A file of a folder that lies at `folder` in its tree.
    pub fn below(component: &zarf::Component, index: usize, tree: &str, folder: &str, found: &Found) -> Self {
        let whole = Self::of(component, index, tree, found);
        let rest = found.path.strip_prefix(folder).unwrap_or(&found.path).trim_start_matches('/');
        Self {
            name: zarf::base_name(rest).to_owned(),
            path: format!("{}/{rest}", whole.path),
            target: format!("{}/{rest}", whole.target.trim_end_matches('/')),
            source: format!("{}/{rest}", whole.source.trim_end_matches('/')),
            ..whole
        }
    }
}

impl Repository {
    /// Of the repository `url`, which lies in the package as `folder` with these files.
    pub fn of(component: &zarf::Component, url: &str, folder: &str, files: &[Found]) -> Self {
        Self {
            source: url.to_owned(),
            commit: None,
            component: component.name.clone(),
            path: format!("{}/repos/{folder}", component.name),
            files: files.len(),
            size: files.iter().map(|file| file.size).sum(),
            by: String::new(),
            evidence: Evidence::Made,
        }
    }
}

/// The package as a file.
#[derive(Clone, Debug)]
pub struct Whole<'a> {
    /// Its name.
    pub file: &'a str,
    /// Of its bytes, 64 hexadecimal digits.
    pub sha256: &'a str,
    /// In bytes.
    pub size: u64,
    /// The build's clock, in seconds since 1970.
    pub epoch: u64,
    /// The release of this program.
    pub tool: &'a str,
}

/// What the earlier steps wrote about their sources, and what ran in them.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// What ran in each step.
    pub plugins: Vec<Plugin>,
    /// What `files` fetched.
    pub files: Vec<FileEntry>,
    /// What `charts` fetched or packaged.
    pub charts: Vec<ChartEntry>,
    /// What `repos` cloned.
    pub repositories: Vec<RepositoryEntry>,
    /// By the complete spelling of an image that components.yaml does not name, what
    /// does.
    pub found: BTreeMap<String, String>,
}

impl Lists {
    /// # Errors
    /// A list that is not what its step writes.
    pub fn read(sources: &dyn Sources) -> Result<Self, StepError> {
        Ok(Self {
            plugins: Vec::new(),
            files: files(sources)?,
            charts: charts(sources)?,
            repositories: list(sources, "repos", "repos.json")?,
            found: found(sources)?,
        })
    }
}

fn found(sources: &dyn Sources) -> Result<BTreeMap<String, String>, StepError> {
    if !sources.has(DISCOVER) || sources.find(DISCOVER, DISCOVERED)?.is_none() {
        return Ok(BTreeMap::new());
    }
    let bytes = sources.read(DISCOVER, DISCOVERED, LARGEST_LIST)?;
    let found: Discovered =
        serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(DISCOVERED))?;
    Ok(found.added().into_iter().map(|(image, origin)| (normalized(&image), origin)).collect())
}

impl Lists {
    /// Who runs the step whose tree this is.
    fn asker(&self, step: &str) -> &str {
        self.plugins.iter().find(|plugin| plugin.step == step).map_or(HOST, |plugin| &plugin.asker)
    }
}

pub(crate) fn files(sources: &dyn Sources) -> Result<Vec<FileEntry>, StepError> {
    list(sources, "files", "files.json")
}

pub(crate) fn charts(sources: &dyn Sources) -> Result<Vec<ChartEntry>, StepError> {
    list(sources, "charts", "charts.json")
}

fn list<T: DeserializeOwned>(sources: &dyn Sources, tree: &str, path: &str) -> Result<Vec<T>, StepError> {
    if !sources.has(tree) || sources.find(tree, path)?.is_none() {
        return Ok(Vec::new());
    }
    let bytes = sources.read(tree, path, LARGEST_LIST)?;
    serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(path))
}

/// Writes down what `plan` put into the package.
pub fn record(package: &Package, plan: &Plan, lists: &Lists, whole: &Whole<'_>) -> Record {
    let metadata = &package.definition.metadata;
    Record {
        format: FORMAT,
        tool: Tool { name: "opencenter-airgap", version: whole.tool.to_owned() },
        plugins: lists.plugins.clone(),
        created: zarf::rfc3339(whole.epoch),
        package: PackageFile {
            file: whole.file.to_owned(),
            sha256: whole.sha256.to_owned(),
            size: whole.size,
            name: metadata.name.clone(),
            version: metadata.version.clone(),
            architecture: metadata.architecture.clone(),
        },
        images: plan.images.iter().filter(|one| one.chart.is_none()).map(|one| image(one, lists)).collect(),
        charts: plan.charts.iter().map(|chart| with_chart_source(chart.clone(), plan, lists)).collect(),
        files: plan.files.iter().map(|file| with_file_source(file.clone(), lists)).collect(),
        repositories: plan.repositories.iter().map(|entry| with_commit(entry.clone(), lists)).collect(),
    }
}

fn image(image: &crate::images::Image, lists: &Lists) -> ImageRecord {
    let is_pinned = image.written.rsplit_once('@').is_some_and(|(_, digest)| digest == image.digest);
    ImageRecord {
        by: lists.asker("images").to_owned(),
        evidence: if is_pinned { Evidence::Digest } else { Evidence::FirstSight },
        reference: image.reference.clone(),
        source: image.written.clone(),
        digest: image.digest.clone(),
        media_type: image.media_type.clone(),
        platform: image.platform.clone(),
        size: image.size,
        components: image.components.clone(),
        found_in: lists.found.get(&image.reference).cloned(),
    }
}

fn with_chart_source(mut chart: Chart, plan: &Plan, lists: &Lists) -> Chart {
    let listed = lists.charts.iter().find(|entry| chart.from.0 == "charts" && entry.path == chart.from.1);
    chart.by = lists.asker(&chart.from.0).to_owned();
    if let Some(entry) = listed {
        chart.evidence = match entry.url.contains("://") {
            true => Evidence::FirstSight,
            false if chart.by.starts_with("core ") => Evidence::Local,
            false => Evidence::Made,
        };
        chart.source = if entry.url.is_empty() { entry.repo.clone() } else { entry.url.clone() };
        chart.provenance = entry.provenance.as_ref().and_then(|path| provenance(plan, path));
    }
    chart
}

/// What `path` of the charts' tree became: a document, or the neighbour of its
/// chart.
fn provenance(plan: &Plan, path: &str) -> Option<Provenance> {
    let members = plan.tars.iter().flat_map(|tar| &tar.members).chain(&plan.loose);
    members.into_iter().find_map(|member| match &member.source {
        Source::File { tree, path: from, size, sha256 } if tree == "charts" && from == path => {
            Some(Provenance { path: member.path.clone(), sha256: sha256.clone(), size: *size })
        }
        _ => None,
    })
}

fn with_file_source(mut file: File, lists: &Lists) -> File {
    let listed = lists.files.iter().find(|entry| file.from.0 == "files" && entry.path == file.from.1);
    file.by = lists.asker(&file.from.0).to_owned();
    if let Some(entry) = listed {
        file.source.clone_from(&entry.url);
        file.checksum = entry.checksum.clone().filter(|_| file.by == HOST);
        file.evidence = if file.checksum.is_some() { Evidence::Checksum } else { Evidence::FirstSight };
    }
    file
}

fn with_commit(mut repository: Repository, lists: &Lists) -> Repository {
    let listed = lists.repositories.iter().find(|entry| repository.path.ends_with(&format!("/{}", entry.path)));
    repository.commit = listed.map(|entry| entry.commit.clone());
    repository.by = lists.asker("repos").to_owned();
    repository.evidence = match listed {
        None => Evidence::Made,
        Some(entry) if entry.is_pinned && repository.by == HOST => Evidence::Digest,
        Some(_) => Evidence::FirstSight,
    };
    repository
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::read;
    use crate::sources::memory::{Memory, sha256};

    #[test]
    fn the_record_names_sources_sizes_and_digests() {
        let list = r#"[{"kind":"tool","name":"tool","version":"1","url":"https://x/tool","path":"bin/tool","sha256":"","size":1}]"#;
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n  files: [{source: ../files/bin/tool, target: /usr/bin/tool}]\n";
        let sources = Memory::default().with("files", "bin/tool", "t").with("files", "files.json", list);
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let plugin = r#"{"step":"charts","name":"charts","version":"2","digest":"sha256:00","replaces_core":true}"#;
        assert!(serde_json::from_str::<Plugin>(plugin).unwrap().asker.is_empty());
        let lists = Lists { plugins: vec![serde_json::from_str(plugin).unwrap()], ..Lists::read(&sources).unwrap() };
        let record = record(&package, &plan, &lists, &whole);
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(value["created"], "1970-01-01T00:00:00Z");
        assert_eq!(value["package"]["size"], 7);
        assert_eq!(value["plugins"][0], serde_json::from_str::<serde_json::Value>(plugin).unwrap());
        assert_eq!(value["files"][0]["source"], "https://x/tool");
        assert_eq!(value["files"][0]["sha256"], sha256(b"t"));
        assert_eq!(value["files"][0]["path"], "a/files/0/tool");
        assert_eq!(value["files"][0].get("from"), None);
    }

    /// The whole table: what a plugin says of itself is no evidence.
    #[test]
    fn each_content_says_who_asked_and_on_what_evidence() {
        let files = r#"[{"kind":"tool","name":"a","version":"1","url":"https://x/a","path":"bin/a","sha256":"","size":1,"checksum":"https://x/a.sha256"},
            {"kind":"tool","name":"b","version":"1","url":"https://x/b","path":"bin/b","sha256":"","size":1}]"#;
        let chart = |name: &str, url: &str| {
            format!(
                r#"{{"name":"{name}","version":"1.0","repo":"r","url":"{url}","namespace":"n","path":"charts/{name}-1.0.tgz","sha256":"","values":[],"images":[]}}"#
            )
        };
        let charts = format!("[{},{}]", chart("c", "https://h/c.tgz"), chart("l", "./charts/l"));
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n\
            \u{20}\u{20}files: [{source: ../files/bin/a, target: /a}, {source: ../files/bin/b, target: /b}, {source: ../own/c, target: /c}]\n\
            \u{20}\u{20}charts: [{name: c, version: '1.0', localPath: ../charts/charts/c-1.0.tgz, namespace: n}, {name: l, version: '1.0', localPath: ../charts/charts/l-1.0.tgz, namespace: n}]\n";
        let sources = Memory::default()
            .with("files", "files.json", files)
            .with("files", "bin/a", "a")
            .with("files", "bin/b", "b")
            .with("own", "c", "c")
            .with("charts", "charts.json", charts)
            .with("charts", "charts/c-1.0.tgz", "c")
            .with("charts", "charts/l-1.0.tgz", "l");
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let runs = |step: &str, asker: &str| Plugin {
            step: step.into(),
            name: step.into(),
            version: "1".into(),
            digest: "sha256:00".into(),
            replaces_core: false,
            asker: asker.into(),
        };
        let rows = |plugins: Vec<Plugin>| {
            let lists = Lists { plugins, ..Lists::read(&sources).unwrap() };
            let value = serde_json::to_value(record(&package, &plan, &lists, &whole)).unwrap();
            let row = |row: &serde_json::Value| {
                format!("{} {}", row["by"].as_str().unwrap(), row["evidence"].as_str().unwrap())
            };
            ["files", "charts"].iter().flat_map(|list| value[*list].as_array().unwrap()).map(row).collect::<Vec<_>>()
        };
        assert_eq!(
            rows(vec![runs("charts", "core plugin charts"), runs("own", "plugin own")]),
            [
                "host checksum",
                "host first-sight",
                "plugin own made",
                "core plugin charts first-sight",
                "core plugin charts local"
            ]
        );
        assert_eq!(
            rows(vec![runs("charts", "plugin charts"), runs("files", "plugin files"), runs("own", "plugin own")]),
            [
                "plugin files first-sight",
                "plugin files first-sight",
                "plugin own made",
                "plugin charts first-sight",
                "plugin charts made"
            ]
        );
    }

    #[test]
    fn a_provenance_file_is_a_document_of_its_chart() {
        let list = r#"[{"name":"c","version":"1.0","repo":"https://h","url":"https://h/c.tgz","namespace":"n","path":"charts/c-1.0.tgz","sha256":"","provenance":"charts/c-1.0.tgz.prov","values":[],"images":[]}]"#;
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n  charts: [{name: c, version: '1.0', localPath: ../charts/charts/c-1.0.tgz, namespace: n}]\n\
                    documentation: {c-1.0.tgz.prov: ../charts/charts/c-1.0.tgz.prov}\n";
        let sources = Memory::default()
            .with("charts", "charts.json", list)
            .with("charts", "charts/c-1.0.tgz", "c")
            .with("charts", "charts/c-1.0.tgz.prov", "signed");
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let value = serde_json::to_value(record(&package, &plan, &Lists::read(&sources).unwrap(), &whole)).unwrap();
        let expected = serde_json::json!({ "path": "c-1.0.tgz.prov", "sha256": sha256(b"signed"), "size": 6 });
        assert_eq!(value["charts"][0]["provenance"], expected);
    }
}
