//! What the earlier steps fetched, read from their trees.

use std::collections::BTreeSet;

use components::{ChartEntry, FileEntry, RepositoryEntry, ResolvedComponents};
use sdk::{Inputs, StepError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The lists of all steps.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub components: ResolvedComponents,
    /// Complete references of the images that were pulled.
    pub images: BTreeSet<String>,
    pub files: Vec<FileEntry>,
    pub repositories: Vec<RepositoryEntry>,
    pub charts: Vec<ChartEntry>,
}

/// The part of an OCI index that says what is in it.
#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Reads the trees. One that is absent counts as empty: `compose` names what
/// then is missing.
pub fn read(inputs: &Inputs) -> Result<Fetched, StepError> {
    let components = inputs.get("manifests")?.read_json("components.resolved.json")?;
    let images = match inputs.find("images") {
        Some(tree) => references(tree.read_json("index.json")?),
        None => BTreeSet::new(),
    };
    Ok(Fetched {
        components,
        images,
        files: list(inputs, "files", "files.json")?,
        repositories: list(inputs, "repos", "repos.json")?,
        charts: list(inputs, "charts", "charts.json")?,
    })
}

fn list<T: DeserializeOwned>(inputs: &Inputs, tree: &str, path: &str) -> Result<Vec<T>, StepError> {
    match inputs.find(tree) {
        Some(found) if found.exists(path)? => found.read_json(path),
        _ => Ok(Vec::new()),
    }
}

fn references(index: Index) -> BTreeSet<String> {
    index.manifests.into_iter().filter_map(|mut descriptor| descriptor.annotations.remove(REFERENCE)).collect()
}
