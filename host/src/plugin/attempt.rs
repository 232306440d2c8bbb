//! What one attempt of a step gives to its plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use components::ResolvedComponents;
use serde_json::Value;

use super::drift::Drift;
use super::handed::Handed;
use super::input::InputTree;
use crate::config::Project;
use crate::config::airgap_lock::AirgapLock;
use crate::config::shared_lock::SharedLock;
use crate::entitlement::Runners;
use crate::entitlement::desk::Means;
use crate::entitlement::named::{LocalTree, NamedPaths};
use crate::error::{Error, Result};
use crate::fs;
use crate::layout::Layout;
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
    /// What a desk for the plugin is made of.
    pub means: Means,
    /// What was asked for and a frozen lock does not hold.
    pub drift: Drift,
    pub layout: Layout,
    /// The local paths that the configuration names.
    pub named: Arc<NamedPaths>,
    /// Bytes that one archive may unpack to.
    pub largest_unpacked: u64,
    /// Local paths beside those that the configuration names.
    pub local: Vec<LocalTree>,
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
            means: Means::new(cx.store.clone(), cx.network.clone(), cx.lock.clone()),
            drift: Drift::default(),
            layout: cx.project.layout.clone(),
            named: cx.named.clone(),
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
        let store = Arc::new(Store::open(project.layout.store())?);
        Ok(Self {
            step: step.to_owned(),
            attempt: 1,
            epoch: 0,
            configuration,
            trees: BTreeMap::new(),
            output,
            progress,
            means: Means::new(store, None, SharedLock::new(project.lock.clone()).without_doubts(&Runners::of(project))),
            drift: Drift::default(),
            layout: project.layout.clone(),
            named: Arc::new(NamedPaths::of(project)?),
            largest_unpacked: project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
            local: Vec::new(),
        })
    }

    /// The trees of the steps that this one needs, `config` as far as it is
    /// handed over, with the plugin's own `lock`, and the local paths that the
    /// configuration names, as far as the components of a needed step choose
    /// them.
    pub(super) fn inputs(&self, lock: &AirgapLock, handed: Handed) -> Result<BTreeMap<String, InputTree>> {
        let mut inputs = BTreeMap::new();
        if handed.config || handed.own_lock {
            inputs.insert("config".to_owned(), self.config(lock, handed)?);
        }
        let mut trees = self.local.clone();
        for (id, tree) in &self.trees {
            if let Some(resolved) = resolved(tree)? {
                trees.extend(self.named.trees(&resolved, id)?);
            }
            inputs.insert(id.clone(), InputTree::committed(tree.clone()));
        }
        for tree in trees {
            inputs.insert(format!("local:{}", tree.written()), InputTree::local(tree));
        }
        Ok(inputs)
    }

    /// The settings are not among them: they may name what is secret.
    fn config(&self, lock: &AirgapLock, handed: Handed) -> Result<InputTree> {
        let mut files = Vec::new();
        if handed.config {
            files.extend([
                ("versions.env", self.layout.versions_env()),
                ("catalog.yaml", self.layout.catalog()),
                ("components.yaml", self.layout.components()),
                ("components.base.yaml", self.layout.components_base()),
            ]);
        }
        if handed.own_lock {
            let copy = self.output.root().with_file_name(LOCK);
            let mut lock = lock.clone();
            if !handed.whole_lock {
                lock.keep_of_plugins();
            }
            fs::replace_unsynced(&copy, lock.to_text().as_bytes())?;
            files.push((LOCK, copy));
        }
        Ok(InputTree::files(files.into_iter().map(|(name, path)| (name.to_owned(), path))))
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
