//! What the earlier steps fetched, read from their trees.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use model::definition::Composed;
use model::oci::{Descriptor, Manifest};
use model::rendered::{DISCOVERED, Discovered, Found};
use model::{ChartEntry, FileEntry, RESOLVED, RepositoryEntry, ResolvedComponents};
use sdk::{Inputs, StepError, Tree};
use serde::de::DeserializeOwned;

use crate::contributed::Contributed;

/// The lists of all steps.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// What was to be fetched.
    pub components: ResolvedComponents,
    /// Complete references of the images that were pulled.
    pub images: BTreeSet<String>,
    /// By the complete reference of an image: those about it that are carried
    /// with it, signatures and the like.
    pub about_images: BTreeMap<String, Vec<String>>,
    /// What the step `files` fetched.
    pub files: Vec<FileEntry>,
    /// Paths of those that the nodes can run.
    pub programs: BTreeSet<String>,
    /// What the step `repos` cloned.
    pub repositories: Vec<RepositoryEntry>,
    /// What the step `charts` fetched or packaged.
    pub charts: Vec<ChartEntry>,
    /// What other steps made for the package.
    pub contributed: Vec<Contributed>,
}

/// Reads the trees. One that is absent counts as empty: `compose` names what
/// then is missing.
pub fn read(inputs: &Inputs) -> Result<Fetched, StepError> {
    let mut components: ResolvedComponents = inputs.get("manifests")?.read_json(RESOLVED)?;
    let mut charts: Vec<ChartEntry> = list(inputs, "charts", "charts.json")?;
    if let Some(tree) = inputs.find("discover") {
        add_found(&tree.read_json(DISCOVERED)?, &mut components.images, &mut charts);
    }
    let images = match inputs.find("images") {
        Some(tree) => references(tree.read_json("index.json")?),
        None => BTreeSet::new(),
    };
    let files: Vec<FileEntry> = list(inputs, "files", "files.json")?;
    let programs = match inputs.find("files") {
        Some(tree) => programs(tree, &files)?,
        None => BTreeSet::new(),
    };
    let about_images = match inputs.find("images") {
        Some(tree) if tree.exists("referrers.json")? => tree.read_json("referrers.json")?,
        _ => BTreeMap::new(),
    };
    Ok(Fetched {
        components,
        images,
        about_images,
        files,
        programs,
        repositories: list(inputs, "repos", "repos.json")?,
        charts,
        contributed: Vec::new(),
    })
}

/// What is found in the charts: it is packaged, and belongs to the chart that
/// deploys it.
fn add_found(found: &Discovered, images: &mut Vec<String>, charts: &mut [ChartEntry]) {
    images.extend(found.added().into_iter().map(|(image, _)| image));
    for one in found.images.iter().filter(|one| one.found == Found::Rendered && !one.is_test) {
        let is_its = |chart: &&mut ChartEntry| one.chart == format!("{} {}", chart.name, chart.version);
        if let Some(chart) = charts.iter_mut().find(is_its) {
            chart.images.push(one.image.clone());
        }
    }
}

/// The composed definition of the project, where it has one.
///
/// # Errors
/// What is no composed definition.
pub fn defined(inputs: &Inputs) -> Result<Option<Composed>, StepError> {
    let tree = inputs.get("manifests")?;
    if tree.exists("definition.json")? { tree.read_json("definition.json").map(Some) } else { Ok(None) }
}

fn list<T: DeserializeOwned>(inputs: &Inputs, tree: &str, path: &str) -> Result<Vec<T>, StepError> {
    match inputs.find(tree) {
        Some(found) if found.exists(path)? => found.read_json(path),
        _ => Ok(Vec::new()),
    }
}

/// A tool may be kept as the archive that it came in.
fn programs(tree: &Tree, files: &[FileEntry]) -> Result<BTreeSet<String>, StepError> {
    let mut programs = BTreeSet::new();
    for FileEntry { path, .. } in files {
        let mut start = Vec::new();
        tree.reader(path)?.take(4).read_to_end(&mut start)?;
        if is_program(&start) {
            programs.insert(path.clone());
        }
    }
    Ok(programs)
}

/// What Linux runs by its first bytes: ELF, and scripts that name their
/// interpreter.
pub fn is_program(start: &[u8]) -> bool {
    start.starts_with(b"\x7fELF") || start.starts_with(b"#!")
}

fn references(index: Manifest) -> BTreeSet<String> {
    index.manifests().iter().filter_map(Descriptor::reference).map(str::to_owned).collect()
}
