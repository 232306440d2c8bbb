//! What a package says is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::zarf::{self, Component, RepositoryUrl};
use serde::{Deserialize, Serialize};

use super::glance::{Glance, glance, glance_through};
use super::names::split_url;
use crate::verify::components::below;
use crate::verify::facts::{Facts, Member, SBOMS};
use crate::verify::package::Package;
use crate::verify::{Definition, Problems, Statement, definition, forms, images, provenance, signature};
use archive::random::Archive;
use base::error::{Error, Result};
use disk::fs;
use model::oci::{DEEPEST, Descriptor};
use seal::beside::LIST;
use seal::members::{BUNDLE, SIGNATURE};

/// Bytes of the list beside a package.
const LARGEST_LIST: u64 = 64 << 20;
/// Where an image layout has its blobs.
pub(crate) const BLOBS: &str = "images/blobs/sha256/";
/// How far down an image goes: to its manifest, and to the blobs of that.
const LEVELS: usize = DEEPEST + 1;

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
    /// `metadata.name` of zarf.yaml.
    pub name: String,
    /// `metadata.version` of zarf.yaml; empty where it names none.
    pub version: String,
    /// `metadata.description` of zarf.yaml; empty where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `metadata.architecture` of zarf.yaml: `amd64`.
    pub architecture: String,
    /// Which documents zarf.yaml has, and who can read it.
    pub definition: Definition,
    /// SHA-256 of zarf.yaml, as 64 digits.
    pub definition_sha256: String,
    /// When it was made, and for which Zarf.
    pub built: Built,
    /// Files with signatures of zarf.yaml; nobody has checked them.
    pub signatures: Vec<String>,
    /// Who signed, as the signature itself says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// How it was made, where the statement beside the package says; nobody has
    /// checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Statement>,
    /// The SBOMs that it carries; None where it carries none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sboms: Option<SbomsRow>,
    /// The components, in the order of zarf.yaml.
    pub components: Vec<ComponentRow>,
    /// The images of all components, each once, sorted by reference.
    pub images: Vec<ImageRow>,
    /// The charts, component by component.
    pub charts: Vec<ChartRow>,
    /// The files, component by component.
    pub files: Vec<FileRow>,
    /// The git repositories, component by component.
    pub repositories: Vec<RepositoryRow>,
    /// What decided about the content, where the list beside the package says.
    pub plugins: Vec<PluginRow>,
    /// Sizes of all contents by the digits of their SHA-256: blobs of images,
    /// members of components.
    #[serde(skip)]
    pub bytes: BTreeMap<String, u64>,
    /// Whether the list beside the package said where things came from.
    #[serde(skip)]
    pub is_listed: bool,
}

/// When and by which release of Zarf's format it was made.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// As zarf.yaml says it.
    pub timestamp: String,
    /// The version of Zarf whose format it has: `v0.84.0`.
    pub zarf: String,
}

/// The archive of SBOMs.
#[derive(Clone, Debug, Serialize)]
pub struct SbomsRow {
    /// In the package.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Files in it.
    pub documents: usize,
}

/// One component, and how much of each kind it has.
#[derive(Clone, Debug, Serialize)]
pub struct ComponentRow {
    /// Unique in the package.
    pub name: String,
    /// Whether it is always deployed.
    pub required: bool,
    /// Images that it names.
    pub images: usize,
    /// Charts in it.
    pub charts: usize,
    /// Sets of manifests in it.
    pub manifests: usize,
    /// Files in it.
    pub files: usize,
    /// Git repositories in it.
    pub repositories: usize,
}

/// One image of the package.
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

/// One chart of a component.
#[derive(Clone, Debug, Serialize)]
pub struct ChartRow {
    /// As zarf.yaml calls it.
    pub name: String,
    /// As Chart.yaml in it says it; else as zarf.yaml does, which may say nothing.
    pub version: String,
    /// The component that it is in.
    pub component: String,
    /// In the component's tar; of an artifact that of its layer in the package.
    pub path: String,
    /// Bytes of the archive; 0 where the package lacks it.
    pub size: u64,
    /// Of the archive, as 64 digits; empty where the package lacks it.
    pub sha256: String,
    /// Where it came from, where the list beside the package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is called as an OCI artifact, where it is carried as one: nothing
    /// installs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Of that artifact, `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// One file or folder of a component.
#[derive(Clone, Debug, Serialize)]
pub struct FileRow {
    /// Where it is put on the machine that deploys.
    pub target: String,
    /// The component that it is in.
    pub component: String,
    /// In the component's tar.
    pub path: String,
    /// Bytes: of a folder, of all files in it.
    pub size: u64,
    /// Whether it is made executable where it is put.
    pub executable: bool,
    /// Empty of a folder.
    pub sha256: String,
    /// Where it came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// One git repository of a component.
#[derive(Clone, Debug, Serialize)]
pub struct RepositoryRow {
    /// As zarf.yaml writes it, its reference included.
    pub url: String,
    /// The component that it is in.
    pub component: String,
    /// The folder in the component's tar.
    pub path: String,
    /// Bytes of all files in the folder.
    pub size: u64,
    /// Where the list beside the package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A plugin that decided about the content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginRow {
    /// The id of the step that ran it.
    pub step: String,
    /// The name by which the step runs it.
    pub name: String,
    /// What it calls its version; the digest says which code it is.
    pub version: String,
    /// SHA-256 of the component: `sha256:` and 64 digits.
    pub digest: String,
    /// Whether it took the place of the core plugin of its name.
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
pub(crate) fn read_through(path: &Path, archive: Archive) -> Result<Contents> {
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
        signer: signature::signer(&package, &facts),
        // It only adds, as the list does.
        provenance: provenance::beside(path, None).ok().flatten().map(|(_, statement)| statement),
        sboms: sboms_row(&facts),
        components: package.components().iter().map(component_row).collect(),
        images: image_rows(&package, &facts, &shares),
        charts: chart_rows(&package, &facts, &beside),
        files: rows(&package, |component| files(component, &facts, &beside)),
        repositories: rows(&package, |component| repositories(component, &facts, &beside)),
        is_listed: !beside.package.file.is_empty(),
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
    matches!(path, SIGNATURE | BUNDLE)
}

/// What the list beside the package says, where it is about this one. It only
/// adds: one that cannot be read is none here, and `verify` says so.
fn beside(path: &Path) -> Beside {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Beside::default() };
    let list = path.with_file_name(format!("{name}{LIST}"));
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
    let file = facts.files.get(SBOMS)?;
    // An index lists the members of every tar in the package.
    let listed = facts.components.get(SBOMS).map(BTreeMap::len);
    let read = facts.sboms.as_ref().map(|sboms| sboms.files.len());
    Some(SbomsRow { path: SBOMS.to_owned(), size: file.size, documents: read.or(listed).unwrap_or(0) })
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
    let is_chart =
        |reference: &String| known.get(reference).is_some_and(|image| images::chart_of(facts, image).is_some());
    named.into_iter().filter(|reference| !is_chart(reference)).map(row).collect()
}

/// Charts that are installed, then those that are carried as artifacts.
fn chart_rows(package: &Package, facts: &Facts, beside: &Beside) -> Vec<ChartRow> {
    let mut found = rows(package, |component| charts(component, facts, beside));
    let known = images::by_reference(facts);
    let mut artifacts: BTreeMap<String, ChartRow> = BTreeMap::new();
    for component in package.components() {
        for reference in component.images.iter().map(|written| model::image::normalized(written)) {
            let row = known.get(&reference).and_then(|image| artifact(component, &reference, image, facts, beside));
            if let Some(row) = row {
                artifacts.entry(reference).or_insert(row);
            }
        }
    }
    found.extend(artifacts.into_values());
    found
}

fn artifact(
    component: &Component,
    reference: &str,
    image: &Descriptor,
    facts: &Facts,
    beside: &Beside,
) -> Option<ChartRow> {
    let archive = images::chart_of(facts, image)?;
    let (path, tag) = reference.rsplit_once(':')?;
    let layer = format!("{BLOBS}{}", hex(&archive.digest));
    Some(ChartRow {
        name: zarf::base_name(path).to_owned(),
        // Tags cannot hold the `+` of a version.
        version: tag.replace('_', "+"),
        component: component.name.clone(),
        size: archive.size,
        sha256: hex(&archive.digest).to_owned(),
        source: source(&beside.charts, &component.name, &layer),
        path: layer,
        artifact: Some(reference.to_owned()),
        manifest: Some(image.digest.clone()),
    })
}

/// The platforms that the configurations among these blobs are for.
fn platforms(facts: &Facts, blobs: &BTreeSet<String>) -> Vec<String> {
    let of =
        |hex: &String| facts.blobs.get(hex)?.platform.as_ref().map(|told| format!("{}/{}", told.os, told.architecture));
    let all: BTreeSet<String> = blobs.iter().filter_map(of).collect();
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
            shares.gather(facts, &root, LEVELS, &mut blobs);
            shares.images.insert(root, blobs);
        }
        for blob in shares.images.values().flatten() {
            *shares.users.entry(blob.clone()).or_default() += 1;
        }
        shares
    }

    /// A blob and everything below it that is in the package.
    fn gather(&mut self, facts: &Facts, hex_of: &str, depth: usize, blobs: &mut BTreeSet<String>) {
        let Some(file) = facts.files.get(&format!("{BLOBS}{hex_of}")) else { return };
        self.sizes.insert(hex_of.to_owned(), file.size);
        if !blobs.insert(hex_of.to_owned()) || depth == 0 {
            return;
        }
        let Some(blob) = facts.blobs.get(hex_of) else { return };
        for descriptor in blob.manifest.blobs().chain(blob.manifest.manifests()) {
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
            artifact: None,
            manifest: None,
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
        let path = RepositoryUrl::folder(url).map(|folder| format!("{}/repos/{folder}", component.name));
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
