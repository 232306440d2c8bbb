//! `plugin`: pins third-party plugins, and shows what plugins are and want.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::environment::Variables;
use super::table;
use super::ui::Ui;
use super::wall::{self, Runs};
use crate::config::Project;
use crate::config::pipeline::Runner;
use crate::config::plugins_lock::{Grants, Pin, PluginsLock, check_name};
use crate::config::source::Source;
use crate::confine::wall::Wall;
use crate::error::{Error, Result};
use crate::exit_code::ExitCode;
use crate::fs;
use crate::layout::{Layout, shown};
use crate::plugin::catalog::{self, EMBEDDED, PluginSource};
use crate::plugin::limits::COMPONENT_BYTES;
use crate::plugin::review::{Right, rights};
use crate::plugin::{Description, Runtime, RuntimeOptions};
use crate::progress::Progress;

/// Pin a third-party plugin, or look at the plugins
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Pin these exact bytes in plugins.lock, with what they may do
    Add(AddArgs),
    /// List the core plugins and the pinned ones
    List,
    /// Show what a plugin says about itself
    Inspect(InspectArgs),
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
    /// Replace the pin of this name, its grants included
    #[arg(long)]
    replace: bool,
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
    /// Ids of the steps that it runs.
    steps: Vec<String>,
}

pub(super) fn run(args: &PluginArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let project = Project::load(layout)?;
    match &args.what {
        What::Add(args) => add(args, &project, ui, variables),
        What::List => list(&project, ui),
        What::Inspect(args) => inspect(args, &project, ui, variables),
    }
}

/// What the pinned plugins of the pipeline lack, told before a build begins.
pub(super) fn review(project: &Project, wall: Wall, ui: &Ui, variables: &Variables) -> Result<()> {
    let is_pinned = |name: &String| project.plugin_pins.pin(name).is_some();
    if !project.pipeline.steps.iter().any(|step| matches!(&step.run, Runner::Plugin(name) if is_pinned(name))) {
        return Ok(());
    }
    let runtime = runtime(project, wall, variables);
    for warning in executor()?.block_on(runtime.review(project, &told(ui)))? {
        ui.note(&format!("warning: {warning}"));
    }
    Ok(())
}

fn add(args: &AddArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let grants = Grants {
        fetch: args.grant_fetch.clone(),
        credentials: args.grant_credentials.clone(),
        directories: args.grant_directories,
    };
    let path = inside(&project.root, &args.file)?;
    let source = read(&args.file, grants.clone())?;
    let description = describe(project, &source, ui, variables)?;
    let name = args.name.clone().unwrap_or_else(|| description.name.clone());
    check_name(&name)?;
    if project.plugin_pins.pin(&name).is_some() && !args.replace {
        return Err(Error::configuration(format!("a plugin `{name}` is pinned already")).hint(
            "`--replace` pins this one in its place, with the grants of this command; `--name` gives another name",
        ));
    }
    let pin = Pin { path, sha256: source.digest, version: Some(description.version.clone()), grants };
    let file = project.layout.plugins_lock();
    let text = PluginsLock::with_pin(Source::read(&file)?.as_ref(), &project.root, &name, pin)?;
    fs::write_atomic(&file, text.as_bytes())?;
    let shown_file = shown(&file);
    ui.say(&format!("pinned {name} {} as {} in {shown_file}", description.version, source.digest));
    let described = Shown::new("plugin-added", &name, &source, description);
    ui.say(&described.rights_text());
    ui.data(&described);
    Ok(ExitCode::Done)
}

fn list(project: &Project, ui: &Ui) -> Result<ExitCode> {
    let pins = &project.plugin_pins;
    let steps = |name: &str| {
        let runs = project.pipeline.steps.iter().filter(|step| matches!(&step.run, Runner::Plugin(run) if run == name));
        runs.map(|step| step.id.clone()).collect::<Vec<_>>()
    };
    let core = EMBEDDED.iter().filter(|core| pins.pin(core.name).is_none()).map(|core| Row {
        name: core.name.to_owned(),
        version: core.version.to_owned(),
        digest: core.digest.to_string(),
        path: None,
        grants: None,
        steps: steps(core.name),
    });
    let pinned = pins.plugins.iter().map(|(name, pin)| Row {
        name: name.clone(),
        version: pin.version.clone().unwrap_or_default(),
        digest: pin.sha256.to_string(),
        path: Some(pin.path.clone()),
        grants: Some(pin.grants.clone()),
        steps: steps(name),
    });
    let plugins: Vec<Row> = core.chain(pinned).collect();
    let mut rows = vec![["plugin", "version", "steps", "grants", "from"].map(str::to_owned).to_vec()];
    rows.extend(plugins.iter().map(|row| {
        let from = row.path.as_ref().map_or_else(|| "this binary".to_owned(), |path| path.display().to_string());
        let grants = row.grants.as_ref().map_or_else(|| "core".to_owned(), summary);
        vec![row.name.clone(), row.version.clone(), row.steps.join(", "), grants, format!("{from} {}", row.digest)]
    }));
    ui.say(&table::render(&rows, ui.width()).join("\n"));
    ui.data(&Listed { event: "plugins", plugins });
    Ok(ExitCode::Done)
}

fn summary(grants: &Grants) -> String {
    let mut parts = grants.fetch.clone();
    parts.extend(grants.credentials.iter().map(|host| format!("credentials for {host}")));
    parts.extend(grants.directories.then(|| "directories".to_owned()));
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn inspect(args: &InspectArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let is_file = args.plugin.contains('/') || args.plugin.ends_with(".wasm");
    let source = match is_file {
        true => read(Path::new(&args.plugin), Grants::default())?,
        false => catalog::find(&args.plugin, &project.plugin_pins)?,
    };
    let description = describe(project, &source, ui, variables)?;
    let described = Shown::new("plugin", &source.name, &source, description);
    let Description { name, version, summary, configuration_schema, .. } = &described.description;
    let schema = serde_json::to_string_pretty(configuration_schema).unwrap_or_default();
    ui.say(&format!("{name} {version}: {summary}\n{}", described.digest));
    ui.say(&described.rights_text());
    ui.say(&format!("configuration: {schema}"));
    ui.data(&described);
    Ok(ExitCode::Done)
}

impl Shown {
    fn new(event: &'static str, plugin: &str, source: &PluginSource, description: Description) -> Self {
        let rights = rights(&description, source);
        Self { event, plugin: plugin.to_owned(), digest: source.digest.to_string(), description, rights }
    }

    fn rights_text(&self) -> String {
        if self.rights.is_empty() {
            return "wants no grants".to_owned();
        }
        let line = |right: &Right| {
            let state = if right.granted { "granted" } else { "not granted" };
            format!("wants {} ({state})", right.grant)
        };
        self.rights.iter().map(line).collect::<Vec<_>>().join("\n")
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
    executor()?.block_on(runtime(project, wall, variables).describe(source, &told(ui)))
}

fn told(ui: &Ui) -> Progress {
    Progress::new("plugins", ui.observer(), CancellationToken::new())
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
