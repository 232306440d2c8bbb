//! What the earlier steps wrote about their sources.

use std::collections::BTreeMap;

use model::image::normalized;
use model::rendered::{DISCOVERED, Discovered};
use model::{ChartEntry, FileEntry, RepositoryEntry};
use sdk::StepError;
use serde::de::DeserializeOwned;

use crate::Plugin;
use crate::sources::Sources;

const LARGEST_LIST: u64 = 64 << 20;
/// The tree of the step that finds images in charts.
const DISCOVER: &str = "discover";

/// Whoever the host's own steps are to a reader.
pub(crate) const HOST: &str = "host";

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

impl Lists {
    /// Who runs the step whose tree this is.
    pub(crate) fn asker(&self, step: &str) -> &str {
        self.plugins.iter().find(|plugin| plugin.step == step).map_or(HOST, |plugin| &plugin.asker)
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
