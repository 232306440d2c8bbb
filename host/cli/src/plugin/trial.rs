//! `plugin test` and `plugin run`: a plugin on inputs that lie in folders, without
//! a build and without a project.
//!
//! Everything happens in a temporary folder, behind the same wall as in a build.
//! [`Trial`] has what a run needs, [`checks`] looks at what came of several.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{executor, missing, read, runtime};
use crate::environment::Variables;
use crate::signals::Attended;
use crate::table;
use crate::ui::{Color, Ui};
use crate::wall::{self, Runs};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::{Observer, Progress, Silent, StepOutcome, text};
use config::Project;
use config::named::{LocalTree, NamedPaths};
use config::pipeline::CONFIG;
use disk::fs;
use disk::tree::{Listing, Tree, TreeBuilder};
use engine::orchestrator::outputs::tree_of;
use entitlement::grants::{Grants, Rules};
use entitlement::{Asker, Entitlement};
use fetch::desk::Means;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use plugin_host::catalog::PluginSource;
use plugin_host::{Asked, Attempt, Description, Runtime, Want, contract_of};

/// Of a file with a step's configuration.
const CONFIGURATION_BYTES: u64 = 8 << 20;
/// How soon a step ends that is asked to stop.
const SOON: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    on: On,
    /// Leave the output in this folder, which is empty or not there yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    on: On,
    /// The folder for the output, which is empty or not there yet; by default
    /// the file's name with .out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What it runs on.
#[derive(Debug, Args)]
struct On {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The tree of a needed step, as a folder; may be repeated
    #[arg(long, value_name = "STEP=DIR")]
    input: Vec<String>,
    /// The step's configuration, in JSON or YAML
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
    /// Take the inputs of this step from the last build of the project, and its
    /// configuration from config/pipeline.yaml
    #[arg(long, value_name = "ID")]
    from_build: Option<String>,
    /// Answer what it fetches from this store of a build; it gets nothing else
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// One check, and what was found.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    outcome: Outcome,
    says: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Passed,
    Failed,
    /// There was nothing to check, or what it needs has failed.
    Skipped,
}

#[derive(Serialize)]
struct Tested<'a> {
    event: &'static str,
    plugin: &'a str,
    digest: String,
    passed: bool,
    checks: &'a [Check],
}

#[derive(Serialize)]
struct Ran<'a> {
    event: &'static str,
    plugin: &'a str,
    digest: String,
    summary: String,
    duration_ms: u64,
    output: String,
    files: u64,
    bytes: u64,
}

/// Runs the checks, and leaves the output where that is asked for.
pub(super) fn test(args: &TestArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let observer: Arc<dyn Observer> = if ui.verbose { ui.observer() } else { Arc::new(Silent) };
    let trial = Trial::prepare(&args.on, args.keep.as_deref(), layout, observer, ui, variables)?;
    let checks = checks(&trial, args.keep.as_deref())?;
    let passed = checks.iter().all(|check| check.outcome != Outcome::Failed);
    for Check { check, outcome, says } in &checks {
        let (symbol, color) = match outcome {
            Outcome::Passed => ("✓", Color::Green),
            Outcome::Failed => ("✗", Color::Red),
            Outcome::Skipped => ("○", Color::Gray),
        };
        for (at, line) in table::wrapped(&format!("{symbol} {check:<11} "), says, ui.width()).iter().enumerate() {
            if at == 0 { ui.say_painted(color, symbol, line) } else { ui.say(line) }
        }
    }
    let digest = trial.source.digest.to_string();
    ui.data(&Tested { event: "plugin-tested", plugin: &trial.source.name, digest, passed, checks: &checks });
    if passed {
        return Ok(ExitCode::Done);
    }
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    let count = model::count::counted(failed, "check", "checks");
    Err(Error::new(Class::Plugin, format!("{count} of plugin {} failed", trial.source.name)))
}

/// Runs it once.
pub(super) fn run(args: &RunArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let stem = args.on.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.out")));
    let trial = Trial::prepare(&args.on, Some(&output), layout, ui.observer(), ui, variables)?;
    let attempt = trial.attempt("one", "tree", 1, trial.cancel.clone())?;
    let begun = Instant::now();
    let outcome = trial.call(&attempt)?;
    let listing = attempt.output.listing();
    copy(&attempt.output, &listing, &output)?;
    let (files, bytes) = (listing.artifacts.len() as u64, listing.bytes());
    let duration = begun.elapsed();
    let took = text::duration(millis(duration));
    ui.say(&format!("{} in {took}; {files} files with {} in {}", outcome.summary, text::bytes(bytes), shown(&output)));
    ui.data(&Ran {
        event: "plugin-ran",
        plugin: &trial.source.name,
        digest: trial.source.digest.to_string(),
        summary: outcome.summary,
        duration_ms: millis(duration),
        output: shown(&output),
        files,
        bytes,
    });
    Ok(ExitCode::Done)
}

/// A plugin, and all that it runs on.
struct Trial {
    source: PluginSource,
    description: Description,
    project: Project,
    runtime: Arc<Runtime>,
    trees: BTreeMap<String, Tree>,
    /// What pipeline.yaml lets the step of the build read.
    local: Vec<LocalTree>,
    /// The step's own.
    configuration: Value,
    store: Arc<Store>,
    observer: Arc<dyn Observer>,
    executor: tokio::runtime::Runtime,
    cancel: CancellationToken,
    asked: Asked,
    /// That of the build, else the default.
    architecture: String,
    /// Removed with the trial.
    scratch: tempfile::TempDir,
    _attended: Attended,
}

impl Trial {
    fn prepare(
        on: &On,
        output: Option<&Path>,
        layout: Layout,
        observer: Arc<dyn Observer>,
        ui: &Ui,
        variables: &Variables,
    ) -> Result<Self> {
        let scratch = fs::scratch(&variables.temporary)?;
        let own = |name: &str| scratch.path().join(name);
        let mut project = Project::unconfigured(Layout::new(own("config"), own("build"), own("dist")))?;
        output.map_or(Ok(()), new_folder)?;
        let mut architecture = project.architecture().to_owned();
        let (mut trees, mut local) = (BTreeMap::new(), Vec::new());
        let mut configuration = Value::Object(Map::new());
        if let Some(step) = &on.from_build {
            let built = Project::load(layout)?;
            (trees, local, configuration) = of_build(&built, step)?;
            built.architecture().clone_into(&mut architecture);
            project.settings = built.settings;
            project.read = built.read;
        }
        for written in &on.input {
            let (step, folder) = written.split_once('=').ok_or_else(|| {
                Error::new(Class::Usage, format!("`--input {written}` names no folder"))
                    .hint("write `--input images=DIR`")
            })?;
            trees.insert(step.to_owned(), tree(Path::new(folder), &own("inputs").join(step))?);
        }
        if let Some(file) = &on.configuration {
            configuration = read_configuration(file)?;
        }
        // What it wants it gets, as far as the store goes: a test grants nothing
        // that leaves the machine.
        let source = read(&on.file, Grants::default())?;
        let wall = wall::raise_beside(&project, Runs::Unknown, output, "", ui, variables)?;
        let attended = Attended::begin(ui)?;
        attended.gracefully(ui);
        let cancel = attended.cancellation();
        let (runtime, executor) = (runtime(&project, wall, variables), executor()?);
        let progress = Progress::new("plugin", observer.clone(), cancel.clone());
        let description = executor.block_on(runtime.describe(&source, &progress))?;
        let mut source = source.granted(granted(&description))?;
        source.name.clone_from(&description.name);
        let store = Arc::new(Store::open(on.store.clone().unwrap_or_else(|| own("store")))?);
        Ok(Self {
            source,
            description,
            project,
            runtime,
            trees,
            local,
            configuration,
            store,
            observer,
            executor,
            cancel,
            asked: Asked::default(),
            architecture,
            scratch,
            _attended: attended,
        })
    }

    /// One attempt, in the staging folder `staging` with the output `tree`.
    fn attempt(&self, staging: &str, tree: &str, number: u32, cancel: CancellationToken) -> Result<Attempt> {
        let output = TreeBuilder::new(self.scratch.path().join(staging).join(tree));
        fs::create_dir_all(output.root())?;
        let progress = Progress::new(&self.source.name, self.observer.clone(), cancel);
        let step = &self.source.name;
        Ok(Attempt {
            attempt: number,
            trees: self.trees.clone(),
            local: self.local.clone(),
            means: Means::new(self.store.clone(), None, SharedLock::default()),
            asked: self.asked.clone(),
            ..Attempt::aside(step, &self.project, self.told(), output, progress)?
        })
    }

    /// What the host tells, and the step's own configuration over it.
    fn told(&self) -> Value {
        let mut told = json!({
            "package": self.project.settings.identity(), "architecture": self.architecture,
            "force_regenerate": false, "strict_images": false,
        });
        if let (Value::Object(told), Value::Object(own)) = (&mut told, &self.configuration) {
            told.extend(own.clone());
        }
        told
    }

    /// Whoever interrupts a trial is told so, and not that the plugin failed.
    fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }

    fn call(&self, attempt: &Attempt) -> Result<StepOutcome> {
        self.executor.block_on(self.runtime.run(&self.source, attempt))
    }
}

/// What a plugin wants, as if the user had granted it.
fn granted(description: &Description) -> Grants {
    let fetch = description.wants.iter().filter_map(|want| match want {
        Want::Fetch(prefix) => Some(prefix.clone()),
        Want::Directories => None,
    });
    let fetch = fetch.collect();
    Grants { fetch, directories: description.wants.contains(&Want::Directories), ..Grants::default() }
}

/// The trees that a step of the last build was given, the local ones that
/// pipeline.yaml names for it, and its configuration.
fn of_build(project: &Project, step: &str) -> Result<(BTreeMap<String, Tree>, Vec<LocalTree>, Value)> {
    let spec = project.pipeline.step(step).ok_or_else(|| {
        let ids: Vec<&str> = project.pipeline.steps.iter().map(|spec| spec.id.as_str()).collect();
        Error::new(Class::Usage, format!("there is no step `{step}`")).hint(format!("the steps are {}", ids.join(", ")))
    })?;
    let needs = spec.needs.iter().filter(|need| *need != CONFIG);
    let trees = needs.map(|need| Ok((need.to_string(), tree_of(&project.layout, need)?))).collect::<Result<_>>()?;
    let own = plugin_host::review::own(spec);
    let local = NamedPaths::of(project)?.of_step(spec, &project.read)?;
    Ok((trees, local, own))
}

fn new_folder(folder: &Path) -> Result<()> {
    // What a try that failed has left is empty.
    let is_empty = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.symlink_metadata().is_ok() && !is_empty {
        return Err(Error::new(Class::Usage, format!("`{}` is there already", shown(folder)))
            .hint("name a folder that is empty or not there yet: nothing is written over"));
    }
    fs::create_dir_all(folder)
}

/// A folder of the user's as a tree, under names of its own.
fn tree(folder: &Path, copy: &Path) -> Result<Tree> {
    if !folder.is_dir() {
        return Err(Error::new(Class::Usage, format!("there is no folder `{}`", shown(folder))));
    }
    let builder = TreeBuilder::new(copy.to_owned());
    fs::create_dir_all(copy)?;
    let mut files = Vec::new();
    fs::walk::each(fs::walk::open(folder)?, &mut |entry| {
        if entry.is_file {
            let parts = entry.above.iter().map(|name| name.as_c_str()).chain([entry.name]);
            let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
            files.push((parts.join("/"), entry.size, entry.mode & 0o100 != 0));
        }
        Ok(())
    })?;
    for (name, size, executable) in files {
        let path = folder.join(&name);
        builder.link(&path, fs::hashed(&path)?.0, size, &name, executable)?;
    }
    Ok(Tree { root: copy.to_owned(), listing: builder.listing().into() })
}

fn read_configuration(file: &Path) -> Result<Value> {
    let bytes = fs::read_optional(file, CONFIGURATION_BYTES)?.ok_or_else(|| missing(file))?;
    let value: Value = serde_yaml::from_slice(&bytes).map_err(|error| {
        Error::configuration(format!("`{}` is neither JSON nor YAML", shown(file))).caused_by(error)
    })?;
    match value {
        Value::Object(_) => Ok(value),
        Value::Null => Ok(Value::Object(Map::new())),
        _ => Err(Error::configuration(format!("`{}` holds no mapping", shown(file))).hint("write `key: value` lines")),
    }
}

fn copy(output: &TreeBuilder, listing: &Listing, folder: &Path) -> Result<()> {
    for artifact in &listing.artifacts {
        let to = folder.join(&artifact.path);
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::link_or_copy(&output.root().join(&artifact.path), &to)?;
    }
    Ok(())
}

/// Looks at everything that a step promises.
fn checks(trial: &Trial, keep: Option<&Path>) -> Result<Vec<Check>> {
    let Description { name, version, summary, .. } = &trial.description;
    let contract = contract_of(&trial.source.component()?).unwrap_or_else(|| "an unknown version".to_owned());
    let mut checks = vec![
        passed("contract", format!("a step of {contract}")),
        passed("describe", format!("{name} {version}: {summary}")),
        configuration(trial)?,
    ];
    let (first, took) = completed(trial, "one")?;
    checks.push(match &first {
        Ok((outcome, listing)) => passed(
            "run",
            format!(
                "{}; {} with {} in {}",
                outcome.summary,
                model::count::counted(listing.artifacts.len(), "file", "files"),
                text::bytes(listing.bytes()),
                text::duration(millis(took.duration))
            ),
        ),
        Err(error) => failed("run", told(error)),
    });
    let listing = first.ok().map(|(_, listing)| listing);
    if let (Some(folder), Some(listing)) = (keep, &listing) {
        copy(&TreeBuilder::new(trial.scratch.path().join("one").join(tree_name(took.attempt))), listing, folder)?;
    }
    let took = took.duration;
    checks.push(match &listing {
        Some(listing) => again(trial, listing)?,
        None => skipped("same output", "the run failed"),
    });
    checks.push(match &listing {
        Some(_) => stops(trial, took)?,
        None => skipped("stops", "the run failed"),
    });
    checks.push(match &listing {
        Some(listing) => from_marks(trial, listing)?,
        None => skipped("marks", "the run failed"),
    });
    checks.push(rights(trial)?);
    Ok(checks)
}

fn configuration(trial: &Trial) -> Result<Check> {
    let progress = Progress::new("plugin", trial.observer.clone(), trial.cancel.clone());
    let misfit = trial.runtime.misfits(&trial.source, &trial.description, trial.configuration.clone(), &progress);
    let misfits = trial.executor.block_on(misfit)?;
    Ok(match misfits.as_slice() {
        [] => passed("schema", "the configuration fits".to_owned()),
        _ => failed("schema", misfits.join("; ")),
    })
}

type Made = Result<(StepOutcome, Listing)>;

/// How long the last attempt took, and which it was.
#[derive(Clone, Copy)]
struct Took {
    duration: Duration,
    attempt: u32,
}

/// As many as a build makes where nothing else is said.
const ATTEMPTS: u32 = 3;

/// One attempt after the other while it says that a later one may succeed.
fn completed(trial: &Trial, staging: &str) -> Result<(Made, Took)> {
    let mut attempt = 1;
    loop {
        let (made, duration) = measured(trial, staging, attempt)?;
        let may_recover = made.as_ref().is_err_and(|error| error.class() == Class::Transient);
        if !may_recover || attempt == ATTEMPTS {
            return Ok((made, Took { duration, attempt }));
        }
        attempt += 1;
    }
}

fn measured(trial: &Trial, staging: &str, number: u32) -> Result<(Made, Duration)> {
    let attempt = trial.attempt(staging, &tree_name(number), number, trial.cancel.clone())?;
    let begun = Instant::now();
    let outcome = trial.call(&attempt);
    trial.go_on()?;
    Ok((outcome.map(|outcome| (outcome, attempt.output.listing())), begun.elapsed()))
}

/// Each attempt has a tree of its own beside the marks of all.
fn tree_name(attempt: u32) -> String {
    format!("tree-{attempt}")
}

/// The same input gives the same output.
fn again(trial: &Trial, first: &Listing) -> Result<Check> {
    let (second, _) = completed(trial, "two")?;
    Ok(match second {
        Ok((_, second)) => compared("same output", first, &second, "twice the same bytes"),
        Err(error) => failed("same output", told(&error)),
    })
}

fn compared(check: &'static str, first: &Listing, second: &Listing, same: &str) -> Check {
    if first.digest() == second.digest() {
        return passed(check, same.to_owned());
    }
    let differs = |path: &str| first.get(path).map(|file| file.digest) != second.get(path).map(|file| file.digest);
    let paths = first.artifacts.iter().chain(&second.artifacts).map(|artifact| artifact.path.as_str());
    let found = paths.clone().find(|path| differs(path)).unwrap_or_default();
    failed(check, format!("`{found}` is another one the second time: sort what comes out of a hash map"))
}

/// A step that is asked to stop ends soon.
fn stops(trial: &Trial, took: Duration) -> Result<Check> {
    let cancel = trial.cancel.child_token();
    let attempt = trial.attempt("three", "tree", 1, cancel.clone())?;
    let (outcome, since) = trial.executor.block_on(async {
        let running = trial.runtime.run(&trial.source, &attempt);
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => (outcome, Duration::ZERO),
            () = tokio::time::sleep(took / 2) => {
                cancel.cancel();
                let asked = Instant::now();
                (running.await, asked.elapsed())
            }
        }
    });
    trial.go_on()?;
    let ms = since.as_millis();
    Ok(match outcome {
        _ if since.is_zero() => skipped("stops", "it ended before it could be asked to"),
        _ if since <= SOON => passed("stops", format!("{ms} ms after it was asked to")),
        _ => failed("stops", format!("only {ms} ms after it was asked to: ask `host.progress` more often")),
    })
}

/// An attempt that finds what an earlier one marked makes the same.
fn from_marks(trial: &Trial, first: &Listing) -> Result<Check> {
    if !trial.scratch.path().join("one/checkpoint").exists() {
        return Ok(skipped("marks", "it marks nothing"));
    }
    let (second, _) = measured(trial, "one", ATTEMPTS + 1)?;
    Ok(match second {
        Ok((_, second)) => {
            compared("marks", first, &second, "a second attempt makes the same of what the first has marked")
        }
        Err(error) => failed("marks", told(&error)),
    })
}

/// What it wants beside what it asked for.
fn rights(trial: &Trial) -> Result<Check> {
    let asked = trial.asked.addresses();
    let wants = trial.description.wants.iter().filter_map(|want| match want {
        Want::Fetch(prefix) => Some(prefix.as_str()),
        Want::Directories => None,
    });
    let (mut beyond, mut unused) = (asked.clone(), Vec::new());
    for prefix in wants {
        // As a build would that grants this and nothing else.
        let rules = Rules::new(&Grants { fetch: vec![prefix.to_owned()], ..Grants::default() })?;
        let entitlement = Entitlement::new(Asker::Pinned(trial.source.name.clone()), rules);
        let covers = |address: &str| entitlement.url(address).is_ok() || entitlement.reference(address).is_ok();
        if !asked.iter().any(|address| covers(address)) {
            unused.push(prefix);
        }
        beyond.retain(|address| !covers(address));
    }
    Ok(match (beyond.first(), unused.as_slice()) {
        (Some(address), _) => {
            failed("rights", format!("it asked for `{address}`, which it does not say that it wants"))
        }
        (None, []) if trial.description.wants.is_empty() => passed("rights", "wants none".to_owned()),
        (None, []) => passed("rights", "it used what it wants".to_owned()),
        (None, unused) => passed("rights", format!("it wants `{}`, and did not use it here", unused.join("`, `"))),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error on one line, with its items.
fn told(error: &Error) -> String {
    let items = error.items().iter().map(|item| format!("{}: {}", item.item, item.message));
    std::iter::once(error.one_line()).chain(items).collect::<Vec<_>>().join("; ")
}

fn passed(check: &'static str, says: String) -> Check {
    Check { check, outcome: Outcome::Passed, says }
}

fn failed(check: &'static str, says: String) -> Check {
    Check { check, outcome: Outcome::Failed, says }
}

fn skipped(check: &'static str, says: &str) -> Check {
    Check { check, outcome: Outcome::Skipped, says: says.to_owned() }
}
