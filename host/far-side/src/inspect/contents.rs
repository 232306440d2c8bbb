//! What a package says is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::zarf::{self, Component};
use serde::{Deserialize, Serialize};

use super::difference::split_url;
use super::glance::{Glance, glance, glance_through};
use crate::verify::components::{below, repository_folder};
use crate::verify::definition::Package;
use crate::verify::facts::{Blob, Facts, Member};
use crate::verify::{Definition, Problems, definition, forms, images, sboms};
use archive::random::Archive;
use base::error::{Error, Result};
use disk::fs;

/// Bytes of the list beside a package.
const LARGEST_LIST: u64 = 64 << 20;
/// Indexes within each other.
const DEEPEST: usize = 8;

/// Everything that a package says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Contents {
    /// As given.
    pub package: String,
    /// Bytes of the archive.
    pub size: u64,
    /// Bytes of the tar inside.
    pub unpacked: u64,
    /// Whether the archive said itself where everything is.
    pub indexed: bool,
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub architecture: String,
    pub definition: Definition,
    /// SHA-256 of zarf.yaml, as 64 digits.
    pub definition_sha256: String,
    pub built: Built,
    /// Files with signatures of zarf.yaml; nobody has checked them.
    pub signatures: Vec<String>,
    /// The SBOMs that it carries; None where it carries none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sboms: Option<SbomsRow>,
    pub components: Vec<ComponentRow>,
    pub images: Vec<ImageRow>,
    pub charts: Vec<ChartRow>,
    pub files: Vec<FileRow>,
    pub repositories: Vec<RepositoryRow>,
    /// What decided about the content, where the list beside the package says.
    pub plugins: Vec<PluginRow>,
    /// Sizes of all contents by the digits of their SHA-256: blobs of images,
    /// members of components.
    #[serde(skip)]
    pub bytes: BTreeMap<String, u64>,
}

/// When and by which release of Zarf's format it was made.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// As zarf.yaml says it.
    pub timestamp: String,
    pub zarf: String,
}

/// The archive of SBOMs.
#[derive(Clone, Debug, Serialize)]
pub struct SbomsRow {
    /// In the package.
    pub path: String,
    pub size: u64,
    /// Files in it.
    pub documents: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ComponentRow {
    pub name: String,
    pub required: bool,
    pub images: usize,
    pub charts: usize,
    pub manifests: usize,
    pub files: usize,
    pub repositories: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ImageRow {
    /// The complete spelling.
    pub reference: String,
    /// Of its manifest or index; empty where the package lacks it.
    pub digest: String,
    /// `linux/amd64`, several of an index.
    pub platforms: Vec<String>,
    /// Bytes of all its blobs.
    pub size: u64,
    /// Bytes of those that no other image has.
    pub own: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ChartRow {
    pub name: String,
    pub version: String,
    pub component: String,
    /// In the component's tar.
    pub path: String,
    pub size: u64,
    pub sha256: String,
    /// Where it came from, where the list beside the package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileRow {
    pub target: String,
    pub component: String,
    pub path: String,
    pub size: u64,
    pub executable: bool,
    /// Empty of a folder.
    pub sha256: String,
    /// Where it came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RepositoryRow {
    /// As zarf.yaml writes it, its reference included.
    pub url: String,
    pub component: String,
    /// The folder in the component's tar.
    pub path: String,
    pub size: u64,
    /// Where the list beside the package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginRow {
    pub step: String,
    pub name: String,
    pub version: String,
    pub digest: String,
    #[serde(default)]
    pub replaces_core: bool,
}

/// What the list beside the package adds.
#[derive(Debug, Default, Deserialize)]
struct Beside {
    #[serde(default)]
    plugins: Vec<PluginRow>,
    #[serde(default)]
    charts: Vec<Sourced>,
    #[serde(default)]
    files: Vec<Sourced>,
    #[serde(default)]
    repositories: Vec<Commit>,
    package: Named,
}

/// A chart or a file of a component.
#[derive(Debug, Deserialize)]
struct Sourced {
    component: String,
    path: String,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Named {
    file: String,
}

#[derive(Debug, Deserialize)]
struct Commit {
    source: String,
    #[serde(default)]
    commit: Option<String>,
}

/// Looks into the package at `path`.
///
/// # Errors
/// `not-found`, `local`; `integrity` where it cannot be read; `invalid-input`
/// where it is no Zarf package.
pub fn read(path: &Path) -> Result<Contents> {
    told(path, glance(path)?)
}

/// The same of a package that is open.
///
/// # Errors
/// As [`read`].
pub fn read_through(path: &Path, archive: Archive) -> Result<Contents> {
    told(path, glance_through(path, archive)?)
}

fn told(path: &Path, glance: Glance) -> Result<Contents> {
    let Glance { facts, is_indexed, unpacked } = glance;
    let mut problems = Problems::default();
    let package = definition::read(&facts, &mut problems).ok_or_else(|| no_package(path, &facts, &problems))?;
    let beside = beside(path);
    let metadata = &package.definition.metadata;
    let build = &package.definition.build;
    let shares = Shares::of(&facts);
    Ok(Contents {
        package: path.display().to_string(),
        size: std::fs::metadata(path).map_err(|source| Error::io("cannot read", path, source))?.len(),
        unpacked,
        indexed: is_indexed,
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        description: metadata.description.clone(),
        architecture: metadata.architecture.clone(),
        definition: forms::readers(&package, &facts),
        definition_sha256: facts.files.get("zarf.yaml").map(|file| file.digest.hex()).unwrap_or_default(),
        built: Built { timestamp: build.timestamp.clone(), zarf: build.version.clone() },
        signatures: facts.files.keys().filter(|path| is_signature(path)).cloned().collect(),
        sboms: sboms_row(&facts),
        components: package.components().iter().map(component_row).collect(),
        images: image_rows(&package, &facts, &shares),
        charts: rows(&package, |component| charts(component, &facts, &beside)),
        files: rows(&package, |component| files(component, &facts, &beside)),
        repositories: rows(&package, |component| repositories(component, &facts, &beside)),
        plugins: beside.plugins,
        bytes: bytes(&facts),
    })
}

fn no_package(path: &Path, facts: &Facts, problems: &Problems) -> Error {
    let why = match facts.files.get("zarf.yaml") {
        None => "there is no zarf.yaml in it",
        Some(_) => problems.first().unwrap_or("its zarf.yaml is larger than what is read"),
    };
    Error::invalid(format!("`{}` is no Zarf package: {why}", path.display()))
        .hint("name a package that `build` or `zarf package create` made")
}

/// Names of the files in which Zarf keeps signatures of zarf.yaml.
fn is_signature(path: &str) -> bool {
    matches!(path, "zarf.yaml.sig" | "zarf.bundle.sig")
}

/// What the list beside the package says, where it is about this one. It only
/// adds: one that cannot be read is none here, and `verify` says so.
fn beside(path: &Path) -> Beside {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Beside::default() };
    let list = path.with_file_name(format!("{name}.manifest.json"));
    let bytes = fs::read_optional(&list, LARGEST_LIST).ok().flatten();
    let beside: Option<Beside> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    beside.filter(|beside| beside.package.file == name).unwrap_or_default()
}

fn bytes(facts: &Facts) -> BTreeMap<String, u64> {
    let blobs = facts.files.iter().filter(|(path, _)| path.starts_with("images/blobs/"));
    let blobs = blobs.map(|(_, file)| (file.digest.hex(), file.size));
    let members = facts.components.values().flat_map(BTreeMap::values);
    blobs.chain(members.filter_map(|member| Some((member.digest?.hex(), member.size)))).collect()
}

fn rows<T>(package: &Package, of: impl Fn(&Component) -> Vec<T>) -> Vec<T> {
    package.components().iter().flat_map(of).collect()
}

fn sboms_row(facts: &Facts) -> Option<SbomsRow> {
    let file = facts.files.get(sboms::ARCHIVE)?;
    // An index lists the members of every tar in the package.
    let listed = facts.components.get(sboms::ARCHIVE).map(BTreeMap::len);
    let read = facts.sboms.as_ref().map(|sboms| sboms.files.len());
    Some(SbomsRow { path: sboms::ARCHIVE.to_owned(), size: file.size, documents: read.or(listed).unwrap_or(0) })
}

fn component_row(component: &Component) -> ComponentRow {
    ComponentRow {
        name: component.name.clone(),
        required: component.required == Some(true),
        images: component.images.len(),
        charts: component.charts.len(),
        manifests: component.manifests.len(),
        files: component.files.len(),
        repositories: component.repos.len(),
    }
}

fn image_rows(package: &Package, facts: &Facts, shares: &Shares) -> Vec<ImageRow> {
    let known = images::by_reference(facts);
    let named: BTreeSet<String> = package
        .components()
        .iter()
        .flat_map(|component| &component.images)
        .map(|written| model::image::normalized(written))
        .collect();
    let row = |reference: String| {
        let digest = known.get(&reference).map(|descriptor| descriptor.digest.clone()).unwrap_or_default();
        let blobs = shares.images.get(hex(&digest)).cloned().unwrap_or_default();
        let size = |blob: &String| shares.sizes.get(blob).copied().unwrap_or_default();
        let own = blobs.iter().filter(|blob| shares.users.get(*blob) == Some(&1)).map(size).sum();
        let platforms = platforms(facts, &blobs);
        ImageRow { reference, platforms, size: blobs.iter().map(size).sum(), own, digest }
    };
    named.into_iter().map(row).collect()
}

/// The platforms that the configurations among these blobs are for.
fn platforms(facts: &Facts, blobs: &BTreeSet<String>) -> Vec<String> {
    let of = |blob: &Blob| Some(format!("{}/{}", blob.os.as_deref()?, blob.architecture.as_deref()?));
    let all: BTreeSet<String> = blobs.iter().filter_map(|hex| of(facts.blobs.get(hex)?)).collect();
    all.into_iter().collect()
}

/// Which blobs belong to which image.
struct Shares {
    /// By the digits of a manifest or index: those of all its blobs.
    images: BTreeMap<String, BTreeSet<String>>,
    sizes: BTreeMap<String, u64>,
    /// How many different images have a blob.
    users: BTreeMap<String, usize>,
}

impl Shares {
    fn of(facts: &Facts) -> Self {
        let mut shares = Self { images: BTreeMap::new(), sizes: BTreeMap::new(), users: BTreeMap::new() };
        for descriptor in images::by_reference(facts).values() {
            let root = hex(&descriptor.digest).to_owned();
            let mut blobs = BTreeSet::new();
            shares.gather(facts, &root, DEEPEST, &mut blobs);
            shares.images.insert(root, blobs);
        }
        for blob in shares.images.values().flatten() {
            *shares.users.entry(blob.clone()).or_default() += 1;
        }
        shares
    }

    /// A blob and everything below it that is in the package.
    fn gather(&mut self, facts: &Facts, hex_of: &str, depth: usize, blobs: &mut BTreeSet<String>) {
        let Some(file) = facts.files.get(&format!("images/blobs/sha256/{hex_of}")) else { return };
        self.sizes.insert(hex_of.to_owned(), file.size);
        if !blobs.insert(hex_of.to_owned()) || depth == 0 {
            return;
        }
        let Some(blob) = facts.blobs.get(hex_of) else { return };
        for descriptor in blob.config.iter().chain(&blob.layers).chain(&blob.manifests) {
            self.gather(facts, hex(&descriptor.digest), depth - 1, blobs);
        }
    }
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn members<'a>(component: &Component, facts: &'a Facts) -> Option<&'a BTreeMap<String, Member>> {
    facts.components.get(&format!("components/{}.tar", component.name))
}

fn sha256(member: Option<&Member>) -> String {
    member.and_then(|member| member.digest).map(|digest| digest.hex()).unwrap_or_default()
}

fn charts(component: &Component, facts: &Facts, beside: &Beside) -> Vec<ChartRow> {
    let members = members(component, facts);
    let row = |chart: &zarf::Chart| {
        let path = format!("{}/charts/{}.tgz", component.name, chart.stem());
        let member = members.and_then(|members| members.get(&path));
        let said = facts.charts.get(&path).and_then(|read| read.as_ref().ok());
        ChartRow {
            name: chart.name.clone(),
            version: said.map_or_else(|| chart.version.clone(), |said| said.version.clone()),
            component: component.name.clone(),
            size: member.map_or(0, |member| member.size),
            sha256: sha256(member),
            source: source(&beside.charts, &component.name, &path),
            path,
        }
    };
    component.charts.iter().map(row).collect()
}

fn files(component: &Component, facts: &Facts, beside: &Beside) -> Vec<FileRow> {
    let members = members(component, facts);
    let row = |(index, file): (usize, &zarf::File)| {
        let path = format!("{}/files/{index}/{}", component.name, zarf::base_name(&file.target));
        let member = members.and_then(|members| members.get(&path));
        FileRow {
            target: file.target.clone(),
            component: component.name.clone(),
            size: member.map_or_else(|| size_below(members, &path), |member| member.size),
            executable: file.executable,
            sha256: sha256(member),
            source: source(&beside.files, &component.name, &path).or_else(|| address(&file.source)),
            path,
        }
    };
    component.files.iter().enumerate().map(row).collect()
}

fn repositories(component: &Component, facts: &Facts, beside: &Beside) -> Vec<RepositoryRow> {
    let members = members(component, facts);
    let row = |url: &String| {
        let path = repository_folder(url).map(|folder| format!("{}/repos/{folder}", component.name));
        let listed = beside.repositories.iter().find(|listed| listed.source == *url);
        RepositoryRow {
            url: url.clone(),
            component: component.name.clone(),
            size: path.as_ref().map_or(0, |path| size_below(members, path)),
            path: path.unwrap_or_default(),
            commit: listed.and_then(|listed| listed.commit.clone()),
        }
    };
    component.repos.iter().map(row).collect()
}

/// Where something came from, by the list beside the package.
fn source(listed: &[Sourced], component: &str, path: &str) -> Option<String> {
    listed.iter().find(|listed| listed.component == component && listed.path == path)?.source.clone()
}

/// A source in zarf.yaml that is an address and no file of whoever built it.
/// Zarf's own packages have it there.
fn address(source: &str) -> Option<String> {
    let (address, _) = split_url(source);
    address.contains("://").then(|| address.to_owned())
}

fn size_below(members: Option<&BTreeMap<String, Member>>, folder: &str) -> u64 {
    members.map_or(0, |members| below(members, folder).map(|(_, member)| member.size).sum())
}
