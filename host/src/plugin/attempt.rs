//! What one attempt of a step gives to its plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use components::ResolvedComponents;
use serde_json::Value;

use super::drift::Drift;
use super::input::InputTree;
use crate::config::airgap_lock::AirgapLock;
use crate::config::shared_lock::SharedLock;
use crate::config::{Project, local};
use crate::error::{Error, Result};
use crate::fs;
use crate::layout::Layout;
use crate::network::Network;
use crate::progress::Progress;
use crate::steps::StepContext;
use crate::store::Store;
use crate::tree::{Tree, TreeBuilder};

/// Everything that a call may touch. Cheap to clone.
#[derive(Clone)]
pub struct Attempt {
    /// The step's id.
    pub step: String,
    /// Starts at 1.
    pub attempt: u32,
    /// Seconds since 1970.
    pub epoch: u64,
    /// What `run` gets as configuration.
    pub configuration: Value,
    /// The trees of the steps that this one needs, by id.
    pub trees: BTreeMap<String, Tree>,
    pub output: TreeBuilder,
    pub progress: Progress,
    pub store: Arc<Store>,
    /// None when offline.
    pub network: Option<Arc<Network>>,
    pub lock: SharedLock,
    /// What was asked for and a frozen lock does not hold.
    pub drift: Drift,
    pub layout: Layout,
    /// What local paths are relative to.
    pub root: PathBuf,
    /// Bytes that one archive may unpack to.
    pub largest_unpacked: u64,
    /// Local paths beside those that the component manifest names: as they
    /// are written, and where they lie.
    pub local: Vec<(String, PathBuf)>,
}

impl Attempt {
    pub fn of(step: &str, cx: &StepContext) -> Self {
        Self {
            step: step.to_owned(),
            attempt: cx.attempt,
            epoch: cx.epoch,
            configuration: cx.plugin_configuration.clone(),
            trees: cx.inputs.clone(),
            output: cx.output.clone(),
            progress: cx.progress.clone(),
            store: cx.store.clone(),
            network: cx.network.clone(),
            lock: cx.lock.clone(),
            drift: Drift::default(),
            layout: cx.project.layout.clone(),
            root: cx.project.root.clone(),
            largest_unpacked: cx.project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
            local: Vec::new(),
        }
    }

    /// An attempt outside of any build: no inputs but `config` and local
    /// paths, no network, nothing recorded.
    pub fn aside(
        step: &str,
        project: &Project,
        configuration: Value,
        output: TreeBuilder,
        progress: Progress,
    ) -> Result<Self> {
        Ok(Self {
            step: step.to_owned(),
            attempt: 1,
            epoch: 0,
            configuration,
            trees: BTreeMap::new(),
            output,
            progress,
            store: Arc::new(Store::open(project.layout.store())?),
            network: None,
            lock: SharedLock::new(project.lock.clone()),
            drift: Drift::default(),
            layout: project.layout.clone(),
            root: project.root.clone(),
            largest_unpacked: project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
            local: Vec::new(),
        })
    }

    /// The trees of the steps that this one needs, `config`, and the local
    /// paths that the component manifest names.
    pub(super) fn inputs(&self) -> Result<BTreeMap<String, InputTree>> {
        let mut inputs = BTreeMap::from([("config".to_owned(), self.config()?)]);
        for (written, path) in &self.local {
            let base = path.parent().unwrap_or(path);
            inputs.insert(format!("local:{written}"), InputTree::local(base, path, written)?);
        }
        for (id, tree) in &self.trees {
            if let Some(resolved) = resolved(tree)? {
                for path in self.local_paths(&resolved)? {
                    inputs.insert(format!("local:{path}"), self.local(&path)?);
                }
            }
            inputs.insert(id.clone(), InputTree::committed(tree.clone()));
        }
        Ok(inputs)
    }

    /// As they are written, each once, with the directories that local charts
    /// depend on.
    fn local_paths(&self, resolved: &ResolvedComponents) -> Result<BTreeSet<String>> {
        let mut paths = BTreeSet::new();
        for chart in &resolved.charts {
            if local::is_local(&chart.repo) {
                paths.insert(chart.repo.clone());
                paths.extend(local::dependencies(&self.layout, &self.root, &chart.repo)?);
            }
            paths.extend(chart.values.iter().cloned());
        }
        Ok(paths)
    }

    /// The settings are not among them: they may name what is secret.
    fn config(&self) -> Result<InputTree> {
        let files = [
            ("versions.env", self.layout.versions_env()),
            ("catalog.yaml", self.layout.catalog()),
            ("components.yaml", self.layout.components()),
            ("components.base.yaml", self.layout.components_base()),
            (LOCK, self.locked()?),
        ];
        Ok(InputTree::files(files.map(|(name, path)| (name.to_owned(), path))))
    }

    /// The file with the lock: the one in config/, or a copy without the
    /// charts that are to be resolved again.
    fn locked(&self) -> Result<PathBuf> {
        let path = self.layout.airgap_lock();
        let on_disk = AirgapLock::load(&path)?;
        let lock = self.lock.lock();
        if on_disk.charts.keys().all(|chart| lock.charts.contains_key(chart)) {
            return Ok(path);
        }
        let copy = self.output.root().with_file_name(LOCK);
        fs::write_new(&copy, lock.to_text().as_bytes())?;
        Ok(copy)
    }

    fn local(&self, written: &str) -> Result<InputTree> {
        let full = local::resolve(&self.layout, &self.root, written);
        let base = if full.starts_with(&self.root) { &self.root } else { &self.layout.config };
        InputTree::local(base, &full, written)
    }
}

/// What references resolved to: a step that resolves some prefers it.
pub(super) const LOCK: &str = "airgap.lock";
const RESOLVED: &str = "components.resolved.json";
const RESOLVED_BYTES: u64 = 64 << 20;

/// What the manifest resolved to, where the tree has it.
fn resolved(tree: &Tree) -> Result<Option<ResolvedComponents>> {
    if tree.listing.get(RESOLVED).is_none() {
        return Ok(None);
    }
    let path = tree.path_of(RESOLVED);
    let bytes = fs::read_optional(&path, RESOLVED_BYTES)?.unwrap_or_default();
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::invalid(format!("`{}` is damaged", path.display())).caused_by(error))
}
