//! What one attempt of a step gives to its plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::resolved::resolved;
use serde_json::Value;

use super::drift::Drift;
use super::handed::Handed;
use super::input::{InputTree, LOCK};
use super::text;
use base::error::Result;
use base::layout::Layout;
use base::progress::Progress;
use config::Project;
use config::airgap_lock::AirgapLock;
use config::as_read::AsRead;
use config::named::{LocalTree, NamedPaths};
use config::runners::Runners;
use disk::fs;
use disk::tree::{Tree, TreeBuilder};
use fetch::desk::Means;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;

/// Everything that a call may touch. Cheap to clone.
#[derive(Clone)]
pub struct Attempt {
    /// The step's id.
    pub step: String,
    /// Starts at 1.
    pub attempt: u32,
    /// Seconds since 1970.
    pub epoch: u64,
    /// How long it may take, where the step declares it.
    pub timeout: Option<Duration>,
    /// What `run` gets as configuration.
    pub configuration: Value,
    /// The trees of the steps that this one needs, by id.
    pub trees: BTreeMap<String, Tree>,
    /// Where the plugin's output goes.
    pub output: TreeBuilder,
    /// How the attempt is told of, counted and stopped.
    pub progress: Progress,
    /// What a desk for the plugin is made of.
    pub means: Means,
    /// What was asked for and a frozen lock does not hold.
    pub drift: Drift,
    /// Where everything of the project lies.
    pub layout: Layout,
    /// The local paths that the configuration names.
    pub named: Arc<NamedPaths>,
    /// The user's files as they were hashed.
    pub read: AsRead,
    /// Bytes that one archive may unpack to.
    pub largest_unpacked: u64,
    /// Local paths beside those that the configuration names.
    pub local: Vec<LocalTree>,
    /// What it asked of the network.
    pub asked: Asked,
}

/// The addresses that a plugin asked for. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<Mutex<BTreeSet<String>>>);

/// Addresses that are remembered: for a person to read.
const REMEMBERED: usize = 1000;

impl Asked {
    pub(super) fn note(&self, address: &str) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < REMEMBERED {
            asked.insert(text::line(address, ADDRESS));
        }
    }

    /// Each once, sorted.
    pub fn addresses(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Bytes of an address that are remembered.
const ADDRESS: usize = 2000;

impl Attempt {
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
        let lock = SharedLock::new(project.lock.clone()).without_doubts(&Runners::of(project), store.as_ref());
        Ok(Self {
            step: step.to_owned(),
            attempt: 1,
            epoch: 0,
            timeout: None,
            configuration,
            trees: BTreeMap::new(),
            output,
            progress,
            means: Means::new(store, None, lock),
            drift: Drift::default(),
            layout: project.layout.clone(),
            named: Arc::new(NamedPaths::of(project)?),
            read: project.read.clone(),
            largest_unpacked: project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
            local: Vec::new(),
            asked: Asked::default(),
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
                trees.extend(self.named.trees(&resolved, id, &self.read)?);
            }
            inputs.insert(id.clone(), InputTree::committed(tree.clone()));
        }
        let copies = self.output.root().with_file_name(COPIES);
        fs::remove_dir_all(&copies)?;
        for tree in trees {
            inputs.insert(format!("local:{}", tree.written()), InputTree::local(tree, &copies));
        }
        Ok(inputs)
    }

    /// As it was read when the configuration was loaded. The settings are not
    /// among it: they may name what is secret.
    fn config(&self, lock: &AirgapLock, handed: Handed) -> Result<InputTree> {
        let folder = self.output.root().with_file_name(CONFIGURATION);
        fs::create_dir_all(&folder)?;
        let lock = handed.own_lock.then(|| {
            let mut lock = lock.clone();
            if !handed.whole_lock {
                lock.keep_of_plugins();
            }
            lock.to_text()
        });
        let configuration = self.read.for_plugins().filter(|_| handed.config);
        let texts = configuration.chain(lock.as_deref().map(|text| (LOCK, text)));
        let copied = texts.map(|(name, text)| {
            let path = folder.join(name);
            fs::replace_unsynced(&path, text.as_bytes())?;
            Ok((name.to_owned(), path))
        });
        Ok(InputTree::files(copied.collect::<Result<Vec<_>>>()?))
    }
}

/// Folders beside the output tree: the configuration as a plugin gets it, and
/// copies of local files.
const CONFIGURATION: &str = "configuration";
const COPIES: &str = "copies";
