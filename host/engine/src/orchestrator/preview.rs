//! What a build would do, without doing any of it: `build --plan`, and the
//! check that a build makes before it downloads.
//!
//! [`preview`] reads the state and the configuration, plans as a build does,
//! and looks at what the planned steps need ([`Outlook`]). Nothing is written,
//! locked or asked over the network.

use std::collections::{BTreeMap, BTreeSet};

use model::ResolvedComponents;
use serde::Serialize;

use super::facts::facts;
use super::listed::{components_of, with_found};
use super::needs::{self, Held, Kind, Need, Requests, Total, Useless, kind_of};
use super::outputs::tree_of;
use super::plan::{Action, Plan, PlannedStep, plan};
use super::preflight::{self, Demand, Writes};
use super::session::{self, OnChange, Options, Standing, standing};
use super::{CONFIG, MANIFESTS};
use crate::state::BuildState;
use crate::steps::{images, repos};
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::{Layout, shown};
use config::Project;
use config::airgap_lock::{LockChange, LockedImage};
use config::hash::Change;
use config::lock_names::Names;
use config::pipeline::{HostStep, Pipeline, Runner, StepSpec, Target};
use config::runners::Runners;
use fetch::network;
use fetch::shared_lock::SharedLock;
use fetch::skeleton::Parts;
use fetch::store::Store;
use plugin_host::catalog;
use plugin_host::catalog::PluginIdentity;

/// What `build` would do.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// Whether the recorded build goes on or a new one begins.
    pub begins: Begins,
    /// Why a new build begins, where the configuration is the reason.
    pub changes: Vec<Change>,
    /// In an order in which they may run.
    pub steps: Vec<PreviewedStep>,
    /// What the steps that run fetch and write.
    #[serde(flatten)]
    pub outlook: Outlook,
}

/// A step of the plan, with who does it.
#[derive(Debug, Serialize)]
pub struct PreviewedStep {
    /// The step, and what the plan decided about it.
    #[serde(flatten)]
    pub planned: PlannedStep,
    /// Ids of the steps that are complete before it begins.
    pub waits_for: Vec<String>,
    /// Who does it.
    pub by: Maker,
}

/// Who does a step.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Maker {
    /// A step of the host.
    Host {
        /// Which one.
        host: HostStep,
    },
    /// A plugin, of the binary or of plugins.lock.
    Plugin {
        /// The plugin by its own name.
        plugin: String,
        /// What it calls its version; the digest says which code it is.
        version: String,
        /// Of the component, `sha256:…`.
        digest: String,
        /// The component as plugins.lock writes it; none of what is part of the
        /// binary.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
}

/// How a build relates to the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begins {
    /// There is none yet.
    First,
    /// The recorded one goes on, or is complete.
    GoesOn,
    /// A new one: `--clean`, or the configuration changed.
    Anew,
}

/// What the planned steps fetch and write.
#[derive(Debug, Serialize)]
pub struct Outlook {
    /// What is still to be fetched.
    pub to_fetch: Vec<Need>,
    /// What the planned steps need, there already or not, added up.
    pub total: Total,
    /// By registry or server.
    pub requests: BTreeMap<String, Requests>,
    /// By mount.
    pub disk: Vec<Demand>,
    /// What a build of all steps drops from airgap.lock.
    pub unnamed: Vec<LockChange>,
    /// The skeletons that are imported and not fetched yet: what they name is not
    /// known, and in no other list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfetched: Vec<String>,
    /// What nobody can vouch for of airgap.lock, and is resolved again.
    pub doubted: Vec<LockChange>,
    /// What the planned steps need, there already or not.
    #[serde(skip)]
    needed: Vec<Need>,
}

/// The disk as it is.
pub(crate) struct OnDisk<'a> {
    pub store: &'a Store,
    pub layout: &'a Layout,
}

impl Held for OnDisk<'_> {
    fn blob(&self, digest: &Digest) -> Option<u64> {
        self.store.get(digest)
    }

    fn partial(&self, digest: &Digest) -> u64 {
        self.store.partial_bytes(digest)
    }

    fn image(&self, written: &str, locked: &LockedImage) -> Vec<(Digest, u64)> {
        images::parts(written, locked, self.store)
    }

    fn pinned(&self, written: &str, architecture: &str) -> Option<LockedImage> {
        images::pinned(written, architecture, self.store)
    }

    fn provenance(&self, manifest: &Digest) -> Option<(Digest, u64)> {
        images::provenance(manifest, self.store)
    }

    fn skeleton(&self, manifest: &Digest) -> Vec<(Digest, u64)> {
        Parts::held(self.store, manifest).iter().flat_map(Parts::blobs).collect()
    }

    fn clone_holds(&self, repository: &str, objects: &[&str]) -> bool {
        repos::holds(&self.layout.clone_of(repository), objects)
    }
}

/// Looks ahead. `state` is the recorded one; `generate` says what the step
/// `manifests` would, and is asked where that step would run.
///
/// # Errors
/// Whatever would stop `build` before its first step: `changed` above all.
pub fn preview(
    project: &Project,
    state: Option<&BuildState>,
    options: &Options,
    source_date_epoch: Option<u64>,
    generate: impl FnOnce(&Project) -> Result<ResolvedComponents>,
) -> Result<Preview> {
    let (begins, changes) = beginning(project, state, options)?;
    let state = state.filter(|_| begins == Begins::GoesOn);
    let doubtful = session::is_doubtful(&project.layout, state);
    let options = &Options { verify_outputs: options.verify_outputs || doubtful, ..options.clone() };
    let facts = facts(project, state, options, source_date_epoch)?;
    let mut planned = plan(&project.pipeline, &facts, &options.request);
    // The configuration is checked already, here and in every build.
    if let Some(config) = planned.steps.iter_mut().find(|step| step.id == CONFIG) {
        config.action = Action::Keep;
    }
    let kept = matches!(planned.action(MANIFESTS), Some(Action::Keep | Action::Leave));
    let components = match kept.then(|| tree_of(&project.layout, MANIFESTS)).transpose()? {
        Some(tree) => components_of(&tree)?,
        None => generate(project)?,
    };
    let is_found = |id: &str| matches!(planned.action(id), Some(Action::Keep));
    let components = with_found(project, components, &options.lock(project)?.lock(), is_found)?;
    let store = Store::open(project.layout.store())?;
    let outlook = outlook(project, &planned, &components, &options.lock(project)?, &store)?;
    let steps = planned.steps.into_iter().filter_map(|planned| previewed(project, planned)).collect();
    Ok(Preview { begins, changes, steps, outlook })
}

fn previewed(project: &Project, planned: PlannedStep) -> Option<PreviewedStep> {
    let waits_for = project.pipeline.waits_for(&planned.id).into_iter().map(str::to_owned).collect();
    let by = match &project.pipeline.step(&planned.id)?.run {
        Runner::Host(step) => Maker::Host { host: *step },
        Runner::Plugin(name) => {
            let PluginIdentity { name, version, digest, .. } = catalog::identity(name, &project.plugin_pins)?;
            let path = project.plugin_pins.pin(&name).map(|(pin, _)| shown(&pin.path));
            Maker::Plugin { plugin: name, version, digest: digest.to_string(), path }
        }
    };
    Some(PreviewedStep { planned, waits_for, by })
}

/// Whether the recorded build would go on.
fn beginning(project: &Project, state: Option<&BuildState>, options: &Options) -> Result<(Begins, Vec<Change>)> {
    let Some(state) = state else { return Ok((Begins::First, Vec::new())) };
    if options.clean {
        return Ok((Begins::Anew, Vec::new()));
    }
    if !project.unfetched().is_empty() {
        // What it is made of can not be compared yet.
        return Ok((Begins::GoesOn, Vec::new()));
    }
    match standing(state, project) {
        Standing::Unchanged => Ok((Begins::GoesOn, Vec::new())),
        Standing::FinishedAndChanged(changes) => Ok((Begins::Anew, changes)),
        Standing::UnfinishedAndChanged(changes) if options.on_change == OnChange::Restart => {
            Ok((Begins::Anew, changes))
        }
        Standing::UnfinishedAndChanged(changes) => Err(session::refusal(&changes)),
    }
}

/// What the steps that a plan runs fetch and write.
///
/// # Errors
/// `local` where a mount does not tell its free space.
pub fn outlook(
    project: &Project,
    plan: &Plan,
    components: &ResolvedComponents,
    shared: &SharedLock,
    store: &Store,
) -> Result<Outlook> {
    let lock = shared.lock().clone();
    let held = OnDisk { store, layout: &project.layout };
    let runs = |spec: &&StepSpec| matches!(plan.action(&spec.id), Some(Action::Run(_)));
    let (packaged, running) = (kinds(&project.pipeline, |_| true), kinds(&project.pipeline, |spec| runs(&spec)));
    let mut all = needs::needs(components, &lock, &held);
    all.retain(|need| packaged.contains(&need.kind));
    let is_packed = project.pipeline.steps.iter().filter(runs).any(packs);
    let package = is_packed.then(|| Total::of(&all));
    let skeletons = needs::skeletons(&project.skeletons(), &lock, &held);
    let needed = all.into_iter().filter(|need| running.contains(&need.kind));
    let needed: Vec<Need> = skeletons.into_iter().chain(needed).collect();
    let total = Total::of(&needed);
    let mounts = preflight::mounts(&project.layout)?;
    let runners = Runners::of(project);
    let names =
        || Names::new(components, &project.of_architectures(), runners.clone()).with_skeletons(&project.skeletons());
    let asked = |need: &Need| network::first_asked(&project.settings, &need.address, &need.origin);
    Ok(Outlook {
        to_fetch: needed.iter().filter(|need| !need.is_available()).cloned().collect(),
        requests: needs::requests(&needed, asked),
        disk: preflight::demands(&Writes::new(&total, package.as_ref()), &mounts),
        unnamed: if plan.is_whole() { shared.unnamed(&names()) } else { Vec::new() },
        doubted: if plan.is_whole() { shared.doubts(components, &runners) } else { Vec::new() },
        unfetched: project.unfetched().to_vec(),
        total,
        needed,
    })
}

/// Whether a step makes the package.
pub fn packs(spec: &StepSpec) -> bool {
    let is_archive = |name: &str| name.ends_with(".tar.zst") || name.ends_with(".tar");
    spec.publish.iter().any(|publish| publish.to == Target::Dist && is_archive(&publish.from))
}

impl Outlook {
    /// Whether such a build writes into airgap.lock.
    pub(crate) fn changes_lock(&self) -> bool {
        let is_news = |need: &Need| !need.is_locked || need.differs.is_some();
        self.needed.iter().any(is_news) || !self.unnamed.is_empty() || !self.doubted.is_empty()
    }

    /// Why a build with these options stops before its first download: the
    /// lock, what `--offline` lacks, or the disk.
    pub fn refusal(&self, options: &Options) -> Option<Error> {
        let useless = Useless { unnamed: self.unnamed.clone(), doubted: self.doubted.clone() };
        let drift = options.locked.then(|| needs::drift(&self.needed, &useless)).flatten();
        let missing = || options.offline.then(|| needs::missing_offline(&self.needed, &useless)).flatten();
        drift.or_else(missing).or_else(|| preflight::shortfall(&self.disk))
    }
}

/// What the steps for which `chosen` holds fetch.
fn kinds(pipeline: &Pipeline, chosen: impl Fn(&StepSpec) -> bool) -> BTreeSet<Kind> {
    pipeline.steps.iter().filter(|spec| chosen(spec)).filter_map(kind_of).collect()
}
