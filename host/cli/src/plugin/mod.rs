//! `plugin`: shows what plugins are and want; [`add`] pins third-party ones,
//! [`list`] checks them, [`write`] begins new ones, [`trial`] runs them without a
//! build.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::environment::Variables;
use crate::signals::Attended;
use crate::table;
use crate::ui::Ui;
use crate::wall::{self, Runs};
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::Progress;
use base::visible;
use config::limits::{Limit, OwnLimits, PluginSettings};
use config::pin_signature::PinSignature;
use config::pipeline::Runner;
use config::plugins_lock::{Pin, PluginsLock};
use config::source::Source;
use config::{Project, written};
use confine::wall::Wall;
use disk::fs;
use entitlement::grants::Grants;
use plugin_host::catalog::PluginSource;
use plugin_host::difference::Change;
use plugin_host::limits::COMPONENT_BYTES;
use plugin_host::review::{Right, rights};
use plugin_host::{Description, Runtime, RuntimeOptions, abilities, catalog};

mod add;
mod candidate;
mod list;
mod pinning;
mod place;
mod terms;
mod trial;
mod write;

/// Write, try and pin third-party plugins, or look at the plugins
#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Pin exact bytes in plugins.lock, with what they may do: a file, or what
    /// lies at https://… or oci://…
    Add(add::AddArgs),
    /// Ask the sources of pinned plugins again, and pin what they have now
    Update(add::UpdateArgs),
    /// Take a pin out of plugins.lock; the component stays where it is
    Remove(RemoveArgs),
    /// List the core plugins and the pinned ones, and check these
    List(list::ListArgs),
    /// Show what a plugin says about itself
    Inspect(InspectArgs),
    /// Begin a plugin: a project that builds with the tools of its language
    New(write::NewArgs),
    /// Make a component of a core module, as standard Go builds it
    Componentize(write::ComponentizeArgs),
    /// Run a plugin as a build would, and check that it keeps the contract
    Test(trial::TestArgs),
    /// Run a plugin once, with its log, and leave its output in a folder
    Run(trial::RunArgs),
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The name of a pinned plugin
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// The name of a plugin, or a component's file
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

/// One plugin, as data.
#[derive(Serialize)]
struct Shown {
    event: &'static str,
    /// As steps name it.
    plugin: String,
    digest: String,
    description: Description,
    rights: Vec<Right>,
    /// Sentences, for people; of a core plugin none, for it is trusted.
    abilities: Vec<String>,
    replaces_core: bool,
    /// Where it lies; None of what is not pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(flatten)]
    origin: Option<Origin>,
    /// What it changes of the one whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<Change>>,
}

/// Where a pinned plugin came from, who signed it, and its own limits.
#[derive(Serialize)]
struct Origin {
    /// None where that was a file.
    source: Option<String>,
    manifest: Option<String>,
    /// The key that signed it, as bundles name it.
    signer: Option<String>,
    limits: OwnLimits,
    /// Those of the settings that hold instead of one that is not below them.
    #[serde(skip)]
    told: Vec<String>,
}

impl Origin {
    fn of(pin: &Pin, settings: &PluginSettings) -> Self {
        Self {
            source: pin.source.clone(),
            manifest: pin.manifest.map(|digest| digest.to_string()),
            signer: pin.signature.as_ref().map(PinSignature::signer),
            limits: pin.limits,
            told: told_limits(pin.limits, settings),
        }
    }

    fn say(&self, ui: &Ui) {
        let Self { source, manifest, signer, told, .. } = self;
        let manifest = manifest.as_ref().map(|digest| format!(", the manifest {digest}")).unwrap_or_default();
        let lines = [
            source.as_ref().map(|source| format!("came from {source}{manifest}")),
            signer.as_ref().map(|signer| format!("is signed by the key {signer}")),
            (!told.is_empty()).then(|| format!("is held to {}", told.join(", "))),
        ];
        for line in lines.into_iter().flatten() {
            ui.say_all(table::wrapped("  - ", &line, ui.width()));
        }
    }
}

/// `memory_mib` 64 MiB.
fn told_limits(own: OwnLimits, settings: &PluginSettings) -> Vec<String> {
    let below = own.below(settings);
    let told = |limit: Limit| {
        let (key, unit) = (limit.key(), limit.unit());
        let value = own.get(limit)?;
        Some(match below.get(limit) {
            Some(value) => format!("{value} {unit} ({key})"),
            None => format!("{} {unit} ({key}; settings.yaml allows no {value})", settings.get(limit)),
        })
    };
    OwnLimits::ALL.into_iter().filter_map(told).collect()
}

pub(crate) fn run(args: &PluginArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    match &args.what {
        What::Add(args) => add::add(args, &Project::load(layout)?, ui, variables),
        What::Update(args) => add::update(args, &Project::load(layout)?, ui, variables),
        What::Remove(args) => remove(args, &Project::load(layout)?, ui),
        What::List(args) => list::list(args, &Project::load(layout)?, ui),
        What::Inspect(args) => inspect(args, &loaded(layout)?, ui, variables),
        What::New(args) => write::new(args, ui),
        What::Componentize(args) => write::componentize(args, ui),
        What::Test(args) => trial::test(args, layout, ui, variables),
        What::Run(args) => trial::run(args, layout, ui, variables),
    }
}

/// The project, or none where there is no configuration: what looks at a file
/// needs none.
fn loaded(layout: Layout) -> Result<Project> {
    if layout.versions_env().exists() { Project::load(layout) } else { Project::unconfigured(layout) }
}

/// What the pinned plugins of the pipeline lack, told before a build begins.
pub(crate) fn review(project: &Project, wall: Wall, ui: &Ui, variables: &Variables) -> Result<()> {
    let is_pinned = |name: &String| project.plugin_pins.pin(name).is_some();
    if !project.pipeline.steps.iter().any(|step| matches!(&step.run, Runner::Plugin(name) if is_pinned(name))) {
        return Ok(());
    }
    let runtime = runtime(project, wall, variables);
    for warning in executor()?.block_on(runtime.review(project, &told(ui, CancellationToken::new())))? {
        ui.note(&format!("warning: {warning}"));
    }
    Ok(())
}

/// What a step still runs stays pinned: without its pin no build would begin.
fn remove(args: &RemoveArgs, project: &Project, ui: &Ui) -> Result<ExitCode> {
    let (name, file) = (&args.plugin, project.layout.plugins_lock());
    let Some((pin, path)) = project.plugin_pins.pin(name) else {
        return Err(not_pinned(project, name));
    };
    let users = project.pipeline.steps.iter().filter(|step| step.runs(name));
    let users: Vec<String> = users.map(|step| format!("`{}`", step.id)).collect();
    if !users.is_empty() && !pin.replace_core {
        return Err(Error::configuration(format!("the plugin `{name}` is run by {}", users.join(", ")))
            .hint("take the steps out of config/pipeline.yaml first"));
    }
    let old = Source::read(&file)?.ok_or_else(|| missing(&file))?;
    let text = PluginsLock::without_pin(&old, &project.root, name)?;
    written::replace(&project.layout, &file, old.digest, text.as_bytes())?;
    let more =
        if pin.replace_core { format!(": the core plugin `{name}` is back in its place") } else { String::new() };
    ui.say(&format!("removed {name} from {}{more}; {} is still there", shown(&file), shown(&path)));
    ui.data(&Removed { event: "plugin-removed", plugin: name, path: shown(&path) });
    Ok(ExitCode::Done)
}

fn not_pinned(project: &Project, name: &str) -> Error {
    let pinned: Vec<&str> = project.plugin_pins.plugins.keys().map(String::as_str).collect();
    let there = if pinned.is_empty() { "none is".to_owned() } else { format!("there are: {}", pinned.join(", ")) };
    Error::configuration(format!("no plugin `{}` is pinned; {there}", visible::line(name)))
        .hint("`opencenter-airgap plugin list` shows the plugins that are there")
}

#[derive(Serialize)]
struct Removed<'a> {
    event: &'static str,
    plugin: &'a str,
    path: String,
}

fn say_abilities(name: &str, abilities: &[String], ui: &Ui) {
    ui.say(&format!("{name}:"));
    abilities.iter().for_each(|sentence| ui.say_all(table::wrapped("  - ", sentence, ui.width())));
}

fn inspect(args: &InspectArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let is_file = args.plugin.contains('/') || args.plugin.ends_with(".wasm");
    let source = match is_file {
        true => read(Path::new(&args.plugin), Grants::default())?,
        false => catalog::find(&args.plugin, &project.plugin_pins)?,
    };
    let description = describe(project, &source, ui, variables)?;
    let pin = project.plugin_pins.pin(&source.name).filter(|_| !is_file).map(|(pin, _)| pin);
    let abilities = match (source.grants(), pin) {
        (None, _) => Vec::new(),
        (Some(_), Some(pin)) => abilities::of_pin(&source.name, pin),
        (Some(grants), None) => abilities::of_grants(grants),
    };
    let described = Shown::new("plugin", &source.name, &source, description, abilities);
    let described = match pin {
        Some(pin) => described.pinned(pin, project),
        None => described,
    };
    let Description { name, version, summary, configuration_schema, .. } = &described.description;
    let itself = if *name == described.plugin { String::new() } else { format!(", calls itself {name}") };
    ui.say(&format!("{} {version}{itself}: {summary}", described.plugin));
    ui.say(&described.digest);
    described.say(ui);
    let schema = serde_json::to_string_pretty(configuration_schema).unwrap_or_default();
    ui.say_all(format!("configuration: {schema}").lines());
    ui.data(&described);
    Ok(ExitCode::Done)
}

impl Shown {
    fn new(
        event: &'static str,
        plugin: &str,
        source: &PluginSource,
        description: Description,
        abilities: Vec<String>,
    ) -> Self {
        let rights = rights(&description, source);
        let digest = source.digest.to_string();
        Self {
            event,
            plugin: plugin.to_owned(),
            digest,
            description,
            rights,
            abilities,
            replaces_core: source.replaces_core,
            path: None,
            origin: None,
            differences: None,
        }
    }

    fn pinned(self, pin: &Pin, project: &Project) -> Self {
        let origin = Some(Origin::of(pin, &project.settings.plugins));
        Self { path: Some(pin.path.display().to_string()), origin, replaces_core: pin.replace_core, ..self }
    }

    fn changed(self, differences: Option<Vec<Change>>) -> Self {
        Self { differences, ..self }
    }

    /// What it will be able to do, and what it would like to.
    fn say(&self, ui: &Ui) {
        if !self.abilities.is_empty() {
            say_abilities(&self.plugin, &self.abilities, ui);
        }
        self.origin.iter().for_each(|origin| origin.say(ui));
        if self.rights.is_empty() {
            return ui.say("wants no grants");
        }
        for right in &self.rights {
            let state = if right.granted { "granted" } else { "not granted" };
            ui.say(&format!("wants {} ({state})", right.grant));
        }
    }
}

/// The file's bytes, under the name of the file until the plugin says its own.
fn read(file: &Path, grants: Grants) -> Result<PluginSource> {
    let bytes = fs::read_optional(file, COMPONENT_BYTES)?.ok_or_else(|| missing(file))?;
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    PluginSource::new(&name, "unknown", bytes, grants)
}

fn missing(file: &Path) -> Error {
    Error::configuration(format!("there is no file `{}`", shown(file))).hint("name the component, a .wasm file")
}

/// What somebody else wrote says what it is, behind the wall.
fn describe(project: &Project, source: &PluginSource, ui: &Ui, variables: &Variables) -> Result<Description> {
    let wall = if source.is_core() { Wall::Unasked } else { wall::raise(project, Runs::Unknown, ui, variables)? };
    let attended = Attended::begin(ui)?;
    attended.gracefully(ui);
    let told = told(ui, attended.cancellation());
    executor()?.block_on(runtime(project, wall, variables).describe(source, &told))
}

fn told(ui: &Ui, cancel: CancellationToken) -> Progress {
    Progress::new("plugins", ui.observer(), cancel)
}

fn runtime(project: &Project, wall: Wall, variables: &Variables) -> Arc<Runtime> {
    let (settings, cache_dir) = (project.settings.plugins.clone(), variables.cache_dir.clone());
    Arc::new(Runtime::new(RuntimeOptions { cache_dir, settings, wall, ..RuntimeOptions::default() }))
}

fn executor() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Error::local("cannot start the runtime").caused_by(source))
}
