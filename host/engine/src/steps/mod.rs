//! The steps of the pipeline: what runs inside one transaction.
//!
//! A [`Step`] gets a [`StepContext`] with everything it may touch, fills the
//! [`TreeBuilder`] of its attempt, tells [`Progress`] and the journal how far
//! it is, and returns a [`StepOutcome`]. It never publishes: the transaction
//! does, once the step has returned.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use model::ResolvedComponents;

use crate::state::journal::Journal;
use base::error::{Class, Error, Result};
use base::progress::{Progress, StepOutcome};
use config::Project;
use config::named::NamedPaths;
use config::pipeline::HostStep;
use disk::tree::{Tree, TreeBuilder};
use fetch::network::Network;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use signing::PrivateKey;

mod chart_lock;
pub(crate) mod discovered;
mod failures;
pub(crate) mod files;
pub(crate) mod images;
pub(crate) mod plugin;
pub(crate) mod repos;
mod seal;
#[cfg(test)]
mod test_support;

/// What to do where a server alone has what is missing, and none is asked.
pub(crate) const GO_ONLINE: &str = "run once without --offline";

/// That something is missing which a server alone has, and none is asked.
pub(crate) fn not_here(what: impl Into<String>) -> Error {
    Error::new(Class::NotFound, what).hint(GO_ONLINE)
}

/// Whether the disks have room for what a running build still writes. Cheap to
/// clone.
#[derive(Clone)]
pub(crate) struct Room(Arc<Check>);

type Check = dyn Fn(&ResolvedComponents) -> Result<()> + Send + Sync;

impl Room {
    pub(crate) fn new(check: impl Fn(&ResolvedComponents) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Asked once the sizes of images are known.
    ///
    /// # Errors
    /// `disk-full` with both numbers; `local` where a mount does not tell its
    /// free space.
    pub(crate) fn check(&self, components: &ResolvedComponents) -> Result<()> {
        (self.0)(components)
    }
}

/// What a step attempt may use.
#[derive(Clone)]
pub(crate) struct StepContext {
    pub project: Arc<Project>,
    /// Starts at 1.
    pub attempt: u32,
    /// The build's clock: seconds since 1970. The only time that may reach an
    /// output.
    pub epoch: u64,
    /// The committed trees of the steps that this one depends on, by step id.
    pub inputs: BTreeMap<String, Tree>,
    /// Where the outputs go.
    pub output: TreeBuilder,
    /// Items done and failed, kept whatever happens.
    pub journal: Journal,
    pub progress: Progress,
    pub store: Arc<Store>,
    /// None with `--offline`: then only the store answers.
    pub network: Option<Arc<Network>>,
    /// What references resolved to; frozen with `--locked`.
    pub lock: SharedLock,
    /// Whether the disks have room for what is left to do.
    pub room: Room,
    /// The local paths that the user's configuration names.
    pub named: Arc<NamedPaths>,
    /// Who signs the package.
    pub signer: Option<Arc<PrivateKey>>,
    /// What a plugin gets as configuration, a JSON object: package,
    /// architecture and flags of this run, then the step's own configuration.
    pub plugin_configuration: serde_json::Value,
}

/// What does a step of the host.
pub(crate) fn of_host(step: HostStep) -> Box<dyn Step> {
    match step {
        HostStep::Config => Box::new(Loaded),
        HostStep::Images => Box::new(images::ImagesStep),
        HostStep::Files => Box::new(files::FilesStep),
        HostStep::Repos => Box::new(repos::ReposStep),
    }
}

/// The configuration, which was loaded before any step ran.
struct Loaded;

impl Step for Loaded {
    fn run<'a>(&'a self, _cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async { Ok(StepOutcome { summary: "valid".to_owned(), ..StepOutcome::default() }) })
    }
}

/// Works on `items`, at most `limit` at a time, and gives the results as they
/// come. What an item needs is made when its turn comes, so that thousands
/// that wait cost nothing.
fn at_once<'a, T, R, I>(
    items: I,
    limit: usize,
    work: impl Fn(T) -> BoxFuture<'a, R> + Send + 'a,
) -> impl Stream<Item = R> + Send + Unpin
where
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'a,
    T: Send + 'a,
    R: Send + 'a,
{
    futures_util::stream::iter(items).map(work).buffer_unordered(limit)
}

/// A unit of the pipeline.
pub(crate) trait Step: Send + Sync {
    /// Makes the outputs. Called once per attempt; may be called again after
    /// any failure, a kill included, and then reuses what the store holds.
    ///
    /// # Errors
    /// The class decides: see `orchestrator::decide`. A step that goes on past
    /// bad items returns one error that lists them all.
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>>;
}
