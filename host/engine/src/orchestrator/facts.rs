//! What is known about each step before anything runs, read from the state and
//! the disk: the input of [`plan`](super::plan).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::listed::in_memory;
use super::needs::{Kind, kind_of};
use super::plan::Facts;
use super::session::Options;
use super::{MANIFESTS, outputs};
use crate::state::{BuildState, Status};
use crate::transaction;
use base::digest::Digest;
use base::error::Result;
use base::timestamp::Stamp;
use config::airgap_lock::AirgapLock;
use config::contribute::Told;
use config::core_plugins::{DISCOVER, PACKAGE, RENDER, SBOM};
use config::pipeline::{HostStep, Runner, StepSpec};
use config::settings::Discover;
use config::{Project, contribute, hash, publish};
use disk::fs;
use plugin_host::catalog;
use plugin_host::catalog::{PluginIdentity, PluginSource};
use plugin_host::handed::Handed;

/// The facts that a plan needs. Outputs are hashed where `options` ask for it;
/// `dist/` also where a file there is not as it was left.
///
/// # Errors
/// `configuration` where a plugin of the pipeline is not there.
pub fn facts(
    project: &Project,
    state: Option<&BuildState>,
    options: &Options,
    source_date_epoch: Option<u64>,
) -> Result<BTreeMap<String, Facts>> {
    let mut facts = BTreeMap::new();
    let Some(state) = state else { return Ok(facts) };
    let epoch = epoch(project, Some(state), source_date_epoch);
    let decided = transaction::decided(&project.layout);
    let doubted = options.lock(project)?.doubted(&in_memory(project)?);
    for spec in &project.pipeline.steps {
        if decided.contains(&spec.id) {
            facts.insert(spec.id.clone(), Facts { status: Status::Completed, ..Facts::default() });
            continue;
        }
        let Some(step) = state.step(&spec.id) else { continue };
        let broken_output = match step.status {
            Status::Completed => outputs::broken(&project.layout, step, options.verify_outputs),
            _ => None,
        };
        let plugin = Executor::of(project, spec)?.plugin().map(PluginSource::identity);
        let key = made_from(project, Some(state), spec, plugin.as_ref(), options.strict_images, epoch);
        facts.insert(
            spec.id.clone(),
            Facts {
                status: step.status,
                is_stale: step.inputs.is_some_and(|inputs| inputs != key) || resolves(spec, &doubted),
                recorded_plugin: step.plugin.clone(),
                plugin,
                broken_output,
                failed_class: step.error.as_ref().map(|error| error.class),
            },
        );
    }
    Ok(facts)
}

/// Whether a step resolves what nobody can vouch for: it is not done then.
fn resolves(spec: &StepSpec, doubted: &AirgapLock) -> bool {
    match kind_of(spec) {
        Some(Kind::File) => !doubted.files.is_empty(),
        Some(Kind::Chart) => !doubted.charts.is_empty(),
        Some(Kind::Image) => !doubted.images.is_empty(),
        Some(Kind::Repository) => !doubted.repositories.is_empty(),
        // What is imported is there before any step.
        Some(Kind::Skeleton) | None => false,
    }
}

/// The build's clock, in seconds since 1970: SOURCE_DATE_EPOCH, else the
/// lock's time of resolution, else the start of the build, which becomes the
/// lock's time. It is the same for every step of a run, whatever they resolve.
pub(super) fn epoch(project: &Project, state: Option<&BuildState>, source_date_epoch: Option<u64>) -> u64 {
    let seconds = |time: Stamp| u64::try_from(time.seconds()).ok();
    let resolved = || project.lock.resolved_at.and_then(seconds);
    let begun = || state.and_then(|state| seconds(state.created_at));
    source_date_epoch.or_else(resolved).or_else(begun).unwrap_or(0)
}

/// One digest over everything that the outputs of a step are made from,
/// configuration excepted, which the configuration hash watches.
pub(super) fn made_from(
    project: &Project,
    state: Option<&BuildState>,
    spec: &StepSpec,
    plugin: Option<&PluginIdentity>,
    strict_images: bool,
    epoch: u64,
) -> Digest {
    let tree = |need: &String| Some(state?.step(need)?.outputs.as_ref()?.digest);
    let signed_with = publish::makes_package(spec).then(|| signed_with(project)).flatten();
    let trees: BTreeMap<&String, Option<Digest>> = spec.needs.iter().map(|need| (need, tree(need).flatten())).collect();
    // Only these are read before the configuration is fixed.
    let pins = [hash::VERSIONS_ENV, hash::CATALOG].map(|name| project.hashes.files.get(name));
    let handed = plugin.map(|plugin| handed(project, plugin));
    let mut key = json!({
        "step": spec,
        "pins": (spec.id == MANIFESTS).then_some(pins),
        "plugin": plugin.map(|plugin| plugin.digest),
        "configuration": plugin.map(|plugin| made_with(project, spec, plugin, strict_images)),
        "trees": trees,
        "epoch": handed.filter(|handed| handed.clock).map(|_| epoch),
        // Whatever is resolved anew moves the lock's time.
        "lock": handed.filter(|handed| handed.whole_lock).map(|_| self::epoch(project, state, None)),
    });
    // What few steps have is no part of the others' keys.
    let asked = asks_about_images(spec).then(|| asked_of_images(project)).flatten();
    let defined = project.defined.as_ref().filter(|_| spec.id == MANIFESTS).map(|defined| json!(defined.digest()));
    let few = [("signed_with", signed_with.map(|digest| json!(digest))), ("images", asked), ("definition", defined)];
    for (name, value) in few {
        if let Some(value) = value {
            key[name] = value;
        }
    }
    Digest::of(key.to_string().as_bytes())
}

fn asks_about_images(spec: &StepSpec) -> bool {
    spec.run == Runner::Host(HostStep::Images)
}

/// What is asked about images, and the keys that answers are checked with.
fn asked_of_images(project: &Project) -> Option<Value> {
    let images = &project.settings.images;
    let keys: Vec<Option<Digest>> = images.verify.iter().map(|rule| key_digest(project, &rule.key)).collect();
    let settings = json!({ "referrers": images.referrers, "verify": images.verify });
    (images.referrers || !keys.is_empty()).then(|| json!({ "settings": settings, "keys": keys }))
}

/// The file with the key that the package is signed with, which names the key
/// to who does not know its password. Of one that is not there the
/// configuration says so.
fn signed_with(project: &Project) -> Option<Digest> {
    key_digest(project, project.settings.signing.key.as_ref()?)
}

fn key_digest(project: &Project, key: &Path) -> Option<Digest> {
    let bytes = fs::read_optional(&project.layout.config.join(key), signing::key::LARGEST_FILE).ok()??;
    Some(Digest::of(&bytes))
}

/// What the plugin of a step is handed, by which code it is.
fn handed(project: &Project, plugin: &PluginIdentity) -> Handed {
    Handed::to(plugin, project.plugin_pins.pin(&plugin.name).is_none())
}

/// The configuration of a plugin that its outputs depend on: of what the host
/// tells what it is handed, and the step's own. An attempt gets the same.
pub(super) fn made_with(project: &Project, spec: &StepSpec, plugin: &PluginIdentity, strict_images: bool) -> Value {
    let makers = makers(project, spec);
    let told = json!({
        "package": project.settings.identity(),
        "architecture": project.architecture(),
        "strict_images": strict_images,
        // Of what only the steps know that it is for.
        "discover": spec.runs(DISCOVER).then(|| discover(project)),
        "api_versions": spec.runs(RENDER).then(|| api_versions(project)),
        "plugins": makers,
        // Of what only the core plugins know, like their list.
        "format": makers.is_some().then_some(project.settings.package.format),
        "contributions": contributions(project, spec),
        "sbom": makers.is_some().then_some(project.settings.package.sbom),
    });
    let handed = handed(project, plugin);
    let mut configuration = serde_json::Map::new();
    if let Value::Object(told) = told {
        configuration.extend(told.into_iter().filter(|(name, value)| handed.field(name) && !value.is_null()));
    }
    if let Value::Object(own) = &spec.configuration {
        configuration.extend(own.clone());
    }
    Value::Object(configuration)
}

/// What becomes of images that components.yaml lacks, where it is not what a step
/// does by itself.
fn discover(project: &Project) -> Option<Discover> {
    Some(project.settings.images.discover).filter(|discover| *discover != Discover::default())
}

fn api_versions(project: &Project) -> Option<&[String]> {
    Some(project.settings.images.api_versions.as_slice()).filter(|versions| !versions.is_empty())
}

/// What the steps contribute, for who takes it: nobody else, and nothing where
/// nothing is contributed, as before there was any.
fn contributions<'a>(project: &'a Project, spec: &StepSpec) -> Option<Vec<Told<'a>>> {
    Some(contribute::told(&project.pipeline.steps, spec)).filter(|told| !told.is_empty())
}

/// The core plugins that are told who made what.
const MAKERS: [&str; 2] = [PACKAGE, SBOM];

/// Which plugins made what is packaged, for the core plugins that write the
/// package's list and its SBOM. One in their place need not know what to do
/// with it.
fn makers(project: &Project, spec: &StepSpec) -> Option<Value> {
    let is_core = |name: &String| MAKERS.contains(&name.as_str()) && project.plugin_pins.pin(name).is_none();
    if !matches!(&spec.run, Runner::Plugin(name) if is_core(name)) {
        return None;
    }
    let makers = project.pipeline.steps.iter().filter_map(|step| {
        let Runner::Plugin(name) = &step.run else { return None };
        let PluginIdentity { name, version, digest, replaces_core } = catalog::identity(name, &project.plugin_pins)?;
        let asker = config::runners::asker_of(&name, &project.plugin_pins);
        Some(json!({
            "step": step.id, "name": name, "version": version, "digest": digest, "replaces_core": replaces_core,
            "asker": asker,
        }))
    });
    Some(makers.collect())
}

/// Who does a step.
pub(super) enum Executor {
    Host(HostStep),
    Plugin(Box<PluginSource>),
}

impl Executor {
    /// # Errors
    /// `configuration`, `integrity`: see [`catalog::find`].
    pub(super) fn of(project: &Project, spec: &StepSpec) -> Result<Self> {
        match &spec.run {
            Runner::Host(step) => Ok(Self::Host(*step)),
            Runner::Plugin(name) => {
                let found = catalog::find(name, &project.plugin_pins)?;
                Ok(Self::Plugin(Box::new(found)))
            }
        }
    }

    pub(super) fn plugin(&self) -> Option<&PluginSource> {
        match self {
            Self::Host(_) => None,
            Self::Plugin(source) => Some(source),
        }
    }

    pub(super) fn into_plugin(self) -> Option<PluginSource> {
        match self {
            Self::Host(_) => None,
            Self::Plugin(source) => Some(*source),
        }
    }
}
