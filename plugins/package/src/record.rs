//! artifact-manifest.json: what is in the package and where it came from.
//!
//! It lies beside the package, so that whoever receives both can tell whether
//! everything is there (`opencenter-airgap verify`), and so that people and
//! scanners need not unpack anything. It says of each content who asked for it,
//! where, and on what [`Evidence`]. docs/package-format.md documents it.

use model::zarf;
use serde::Serialize;

use crate::Plugin;
use crate::images::{CarriedChart, Image};
use crate::sources::Found;

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
    pub(crate) from: (String, String),
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
    pub(crate) from: (String, String),
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
