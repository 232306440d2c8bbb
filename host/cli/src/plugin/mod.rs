//! `plugin`: pins third-party plugins, and shows what plugins are and want;
//! [`write`] begins new ones, [`trial`] runs them without a build.

use std::path::{Path, PathBuf};
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
use config::pipeline::Runner;
use config::plugins_lock::{Pin, PluginsLock, check_name};
use config::source::Source;
use config::{Project, plugins_lock, written};
use confine::wall::Wall;
use disk::fs;
use entitlement::grants::Grants;
use plugin_host::catalog::{EMBEDDED, PluginSource};
use plugin_host::limits::COMPONENT_BYTES;
use plugin_host::review::{Right, rights};
use plugin_host::{Description, Runtime, RuntimeOptions, abilities, catalog};

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
    /// Pin these exact bytes in plugins.lock, with what they may do
    Add(AddArgs),
    /// Take a pin out of plugins.lock; the component stays where it is
    Remove(RemoveArgs),
    /// List the core plugins and the pinned ones
    List,
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
struct AddArgs {
    /// The component, inside the folder that holds config/
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What steps call it; by default what it calls itself
    #[arg(long)]
    name: Option<String>,
    /// Let it download below https://host/path/ or registry/repository/; may
    /// be repeated
    #[arg(long, value_name = "PREFIX")]
    grant_fetch: Vec<String>,
    /// Let your credentials for host[:port] go there; may be repeated
    #[arg(long, value_name = "HOST")]
    grant_credentials: Vec<String>,
    /// Let it have its inputs and outputs as directories
    #[arg(long)]
    grant_directories: bool,
    /// Replace the pin of this name and keep its grants; those of this command
    /// are added
    #[arg(long)]
    replace: bool,
    /// Let it take the place of the core plugin of its name, and decide what
    /// that one decides
    #[arg(long)]
    replace_core: bool,
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
}

#[derive(Serialize)]
struct Listed {
    event: &'static str,
    plugins: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    digest: String,
    /// None for a core plugin.
    path: Option<PathBuf>,
    grants: Option<Grants>,
    /// Whether it takes the place of the core plugin of its name.
    replaces_core: bool,
    /// As those of `plugin`.
    abilities: Vec<String>,
    /// Ids of the steps that it runs.
    steps: Vec<String>,
}

pub(crate) fn run(args: &PluginArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    match &args.what {
        What::Add(args) => add(args, &Project::load(layout)?, ui, variables),
        What::Remove(args) => remove(args, &Project::load(layout)?, ui),
        What::List => list(&Project::load(layout)?, ui),
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

fn add(args: &AddArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let wanted = Grants {
        fetch: args.grant_fetch.clone(),
        credentials: args.grant_credentials.clone(),
        directories: args.grant_directories,
    };
    let path = inside(&project.root, &args.file)?;
    let source = read(&args.file, wanted.clone())?;
    let description = describe(project, &source, ui, variables)?;
    let name = args.name.clone().unwrap_or_else(|| description.name.clone());
    check_name(&name)?;
    check_replacement(&name, args.replace_core)?;
    let old = project.plugin_pins.pin(&name).map(|(pin, _)| pin);
    if old.is_some() && !args.replace {
        return Err(Error::configuration(format!("a plugin `{name}` is pinned already")).hint(
            "`--replace` pins this one in its place and keeps what the other was granted; `--name` gives another name",
        ));
    }
    let grants = old.map(|pin| pin.grants.clone()).unwrap_or_default().with(wanted);
    let source = source.granted(grants.clone())?;
    let version = Some(description.version.clone());
    let pin = Pin { path, sha256: source.digest, version, replace_core: args.replace_core, grants };
    let file = project.layout.plugins_lock();
    let old = Source::read(&file)?;
    let text = PluginsLock::with_pin(old.as_ref(), &project.root, &name, pin.clone())?;
    written::replace(&project.layout, &file, old.and_then(|old| old.digest), text.as_bytes())?;
    let shown_file = shown(&file);
    ui.say(&format!("pinned {name} {} as {} in {shown_file}", description.version, source.digest));
    if description.name != name {
        ui.say(&format!("it calls itself {}", description.name));
    }
    let described = Shown::new("plugin-added", &name, &source, description, abilities::of_pin(&name, &pin));
    described.say(ui);
    ui.data(&described);
    Ok(ExitCode::Done)
}

/// A core plugin's place is taken only by who says so.
fn check_replacement(name: &str, replace_core: bool) -> Result<()> {
    match (plugins_lock::core(name), replace_core) {
        (Some(decides), false) => Err(Error::configuration(format!(
            "`{name}` is the name of a core plugin: this one would replace it, and decide {decides}, in every build"
        ))
        .hint("`--replace-core` pins it in that place if you trust it so far; `--name` gives it another name")),
        (None, true) => Err(Error::configuration(format!("`--replace-core`: there is no core plugin `{name}`"))
            .hint("leave the option out, or name the core plugin with `--name`")),
        _ => Ok(()),
    }
}

/// What a step still runs stays pinned: without its pin no build would begin.
fn remove(args: &RemoveArgs, project: &Project, ui: &Ui) -> Result<ExitCode> {
    let (name, file) = (&args.plugin, project.layout.plugins_lock());
    let Some((pin, path)) = project.plugin_pins.pin(name) else {
        let pinned: Vec<&str> = project.plugin_pins.plugins.keys().map(String::as_str).collect();
        let there = if pinned.is_empty() { "none is".to_owned() } else { format!("there are: {}", pinned.join(", ")) };
        return Err(Error::configuration(format!("no plugin `{}` is pinned; {there}", visible::line(name))));
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

#[derive(Serialize)]
struct Removed<'a> {
    event: &'static str,
    plugin: &'a str,
    path: String,
}

fn list(project: &Project, ui: &Ui) -> Result<ExitCode> {
    let pins = &project.plugin_pins;
    let steps = |name: &str| {
        let runs = project.pipeline.steps.iter().filter(|step| step.runs(name));
        runs.map(|step| step.id.clone()).collect::<Vec<_>>()
    };
    let core = EMBEDDED.iter().filter(|core| pins.pin(core.name).is_none()).map(|core| Row {
        name: core.name.to_owned(),
        version: core.version.to_owned(),
        digest: core.digest.to_string(),
        path: None,
        grants: None,
        replaces_core: false,
        abilities: Vec::new(),
        steps: steps(core.name),
    });
    let pinned = pins.plugins.iter().map(|(name, pin)| Row {
        name: name.clone(),
        version: pin.version.clone().unwrap_or_default(),
        digest: pin.sha256.to_string(),
        path: Some(pin.path.clone()),
        grants: Some(pin.grants.clone()),
        replaces_core: pin.replace_core,
        abilities: abilities::of_pin(name, pin),
        steps: steps(name),
    });
    let plugins: Vec<Row> = core.chain(pinned).collect();
    let mut rows = vec![["plugin", "version", "steps", "kind", "from"].map(str::to_owned).to_vec()];
    rows.extend(plugins.iter().map(|row| {
        let from = row.path.as_ref().map_or_else(|| "this binary".to_owned(), |path| path.display().to_string());
        vec![
            row.name.clone(),
            row.version.clone(),
            row.steps.join(", "),
            kind(row).to_owned(),
            format!("{from} {}", row.digest),
        ]
    }));
    ui.say_all(table::render(&rows, ui.width()));
    for row in plugins.iter().filter(|row| row.path.is_some()) {
        ui.say("");
        say_abilities(&row.name, &row.abilities, ui);
    }
    ui.data(&Listed { event: "plugins", plugins });
    Ok(ExitCode::Done)
}

fn kind(row: &Row) -> &'static str {
    match (&row.path, row.replaces_core) {
        (None, _) => "core",
        (Some(_), true) => "replaces the core plugin",
        (Some(_), false) => "pinned",
    }
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
        }
    }

    /// What it will be able to do, and what it would like to.
    fn say(&self, ui: &Ui) {
        if !self.abilities.is_empty() {
            say_abilities(&self.plugin, &self.abilities, ui);
        }
        if self.rights.is_empty() {
            return ui.say("wants no grants");
        }
        for right in &self.rights {
            let state = if right.granted { "granted" } else { "not granted" };
            ui.say(&format!("wants {} ({state})", right.grant));
        }
    }
}

/// As it is written in plugins.lock: relative to the folder that holds
/// config/, so that it is the same on every machine.
fn inside(root: &Path, file: &Path) -> Result<PathBuf> {
    let failed = |source| Error::io("cannot read", root, source);
    let root = root.canonicalize().map_err(failed)?;
    let found = file.canonicalize().map_err(|_| missing(file))?;
    found.strip_prefix(&root).map(Path::to_path_buf).map_err(|_| {
        Error::configuration(format!("`{}` lies outside of `{}`", shown(file), shown(&root)))
            .hint("copy it into the project, for example into plugins/, so that it can be committed with config/")
    })
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
