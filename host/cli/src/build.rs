//! `build`: turns the configuration into a package, or goes on with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use model::count::counted;
use serde::Serialize;

use super::choices::ChoiceArgs;
use super::environment::Variables;
use super::plan::Looker;
use super::signals::{self, Attended};
use super::signer;
use super::table;
use super::ui::{Color, Ui};
use super::wall::{self, Runs};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::{Progress, text};
use config::Project;
use disk::fs;
use engine::carry;
use engine::carry::Filled;
use engine::orchestrator::plan::Request;
use engine::orchestrator::report::{Report, RunError};
use engine::orchestrator::run::Run;
use engine::orchestrator::session;
use engine::orchestrator::session::{Options, Session};
use engine::state::Status;
use fetch::network;
use model::zarf::is_package_file;
use plugin_host::catalog;

/// Build the package, or go on with an unfinished build
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Forget the recorded build and run every step again; what was downloaded
    /// is kept
    #[arg(long)]
    clean: bool,

    /// Go on from what is recorded (the default)
    #[arg(long, overrides_with = "no_resume")]
    resume: bool,

    /// Run every step of this build again
    #[arg(long, overrides_with = "resume")]
    no_resume: bool,

    /// Run this step and what it still needs
    #[arg(long, value_name = "ID")]
    step: Option<String>,

    /// Generate the component manifest anew: the pins win over hand edits
    #[arg(long)]
    force_regenerate: bool,

    /// What to do when the configuration changed since an unfinished build
    /// began
    #[arg(long, value_name = "WHAT", default_value = "refuse")]
    on_change: OnChange,

    /// Use no network: build from what the store holds
    #[arg(long)]
    offline: bool,

    /// Refuse whatever airgap.lock does not hold
    #[arg(long)]
    locked: bool,

    /// Fail when a chart names an image that the manifest lacks
    #[arg(long)]
    strict_images: bool,

    /// Hash the outputs of completed steps instead of comparing their sizes
    #[arg(long)]
    verify_outputs: bool,

    /// Lay the package into a folder with all that is needed to use it where
    /// there is nothing: this program, zarf, START-HERE.txt
    #[arg(long, value_name = "DIR", conflicts_with_all = ["plan", "step"])]
    carry: Option<PathBuf>,

    /// Say which steps would run and why, what would be fetched and written,
    /// and change nothing
    #[arg(long)]
    plan: bool,

    #[command(flatten)]
    choices: ChoiceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnChange {
    Refuse,
    Restart,
}

impl BuildArgs {
    fn options(&self, project: &Project) -> Result<Options> {
        if let Some(only) = &self.step
            && !project.pipeline.steps.iter().any(|spec| spec.id == *only)
        {
            let ids: Vec<&str> = project.pipeline.steps.iter().map(|spec| spec.id.as_str()).collect();
            return Err(Error::new(Class::Usage, format!("there is no step `{only}`"))
                .hint(format!("the steps are {}", ids.join(", "))));
        }
        Ok(Options {
            clean: self.clean,
            request: Request {
                no_resume: self.no_resume,
                only: self.step.clone().map(|step| [step].into()),
                force_regenerate: self.force_regenerate,
            },
            on_change: match self.on_change {
                OnChange::Refuse => session::OnChange::Refuse,
                OnChange::Restart => session::OnChange::Restart,
            },
            offline: self.offline,
            locked: self.locked,
            strict_images: self.strict_images,
            verify_outputs: self.verify_outputs,
            refresh: None,
        })
    }
}

pub(super) fn run(args: &BuildArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let epoch = variables.epoch()?;
    let project = Arc::new(Project::load_with(layout.clone(), args.choices.choices()?)?);
    let options = args.options(&project)?;
    check_outside(&project, options.offline, variables)?;
    let key = if args.plan { None } else { signer::of_project(&project, variables)? };
    let runs = if args.plan { Runs::LookAhead } else { Runs::Pipeline };
    if let Some(folder) = &args.carry {
        carry::check(folder, &layout)?;
        // What is not there can not be left open.
        fs::create_dir_all(folder)?;
    }
    let wall = wall::raise_beside(&project, runs, args.carry.as_deref(), ui, variables)?;
    // The first threads: they stand behind the wall.
    let attended = Attended::begin(ui)?;
    super::plugin::review(&project, wall, ui, variables)?;
    let looker = Looker { wall, variables, cancel: attended.cancellation() };
    if args.plan {
        attended.gracefully(ui);
        return super::plan::run(&project, &options, &layout, &looker, ui);
    }
    super::plan::refuse_drift(&project, &options, &looker)?;
    let observer = ui.observer();
    let carrying = Carrying { folder: args.carry.as_deref(), layout: &layout, hash: options.verify_outputs };
    let built = project.clone();
    let session = Session::open(project, &options, observer.as_ref(), Timestamp::now())?;
    let environment = variables.of_run(observer, attended.cancellation(), epoch, wall, key);
    let run = Run::prepare(session, options, environment)?;
    if run.has_nothing_to_do() {
        let report = run.keep_everything()?;
        finish(&report, &layout, ui);
        return carrying.fill(&built, &report, attended, ui);
    }
    let report = attended.drive(run);
    finish(&report, &layout, ui);
    let written = write_metrics(&layout, &report);
    match report.exit_code() {
        ExitCode::Done => written.and_then(|()| carrying.fill(&built, &report, attended, ui)),
        // What ended the build is what is told, even where the disk is full.
        _ => {
            attended.end();
            Ok(exit_code(&report))
        }
    }
}

/// What is to be done with a finished build.
struct Carrying<'a> {
    /// None where it stays in dist/.
    folder: Option<&'a Path>,
    layout: &'a Layout,
    hash: bool,
}

#[derive(Serialize)]
struct Carried<'a> {
    event: &'static str,
    #[serde(flatten)]
    filled: &'a Filled,
}

impl Carrying<'_> {
    fn fill(&self, project: &Project, report: &Report, attended: Attended, ui: &Ui) -> Result<ExitCode> {
        let Some(folder) = self.folder else {
            attended.end();
            return Ok(ExitCode::Done);
        };
        let program = std::env::current_exe()
            .map_err(|source| Error::local("cannot tell where this program lies").caused_by(source))?;
        let mut notes = Vec::new();
        let items = carry::items::of(project, &report.published, &program, &mut notes)?;
        notes.iter().for_each(|note| ui.note(&format!("warning: {note}")));
        let progress = Progress::new("carry", ui.observer(), attended.cancellation());
        let work = async { carry::fill(folder, self.layout, &items, self.hash, &progress) };
        let filled = attended.block_on(work).map_err(|error| match error.class() {
            Class::Interrupted => error.hint("what was copied is kept; run the same command again to go on"),
            _ => error.context(format!("the package was built, and is not carried to `{}`", shown(folder))),
        })?;
        let Filled { files, bytes, copied, .. } = &filled;
        let written =
            if *copied == 0 { "nothing was missing".to_owned() } else { format!("{} copied", text::bytes(*copied)) };
        let path = shown(folder);
        ui.say_painted(Color::Green, &path, &format!("{path}  {files} files, {}, {written}", text::bytes(*bytes)));
        ui.data(&Carried { event: "carried", filled: &filled });
        Ok(ExitCode::Done)
    }
}

/// What a run ends with, which knows of a signal only that there was one.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    match report.exit_code() {
        ExitCode::Interrupted => signals::exit_code(),
        code => code,
    }
}

/// What the configuration leads to outside of itself, while nothing is written
/// yet: the pipeline's plugins, and the proxies of the environment.
pub(super) fn check_outside(project: &Project, offline: bool, variables: &Variables) -> Result<()> {
    catalog::check(project)?;
    if offline { Ok(()) } else { network::check_proxies(&project.settings, &variables.network) }
}

/// metrics.json: the table as data.
fn write_metrics(layout: &Layout, report: &Report) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(report).unwrap_or_default();
    bytes.push(b'\n');
    fs::replace_unsynced(&layout.metrics(), &bytes)
}

fn finish(report: &Report, layout: &Layout, ui: &Ui) {
    if report.nothing_to_do {
        ui.say("Nothing to do: every step is done and its outputs are there.");
    } else {
        let rows = rows(report);
        ui.say_all(table::render(&rows, ui.width()));
    }
    for published in &report.published {
        let path = shown(Path::new(&published.path));
        let line = format!("{path}  {}  {}", text::bytes(published.size), published.digest);
        ui.say_painted(Color::Green, &path, &line);
    }
    if !report.warnings.is_empty() && !report.nothing_to_do {
        let warnings = counted(report.warnings.len(), "warning was", "warnings were");
        ui.note(&format!("{warnings} told on the way; {} lists what was said.", shown(&layout.metrics())));
    }
    tell_errors(report, ui);
    if report.errors.iter().any(|failed| failed.error.class() == Class::DiskFull) {
        super::gc::advice(layout).iter().for_each(|advice| ui.note(advice));
    }
    if !report.errors.is_empty() && report.exit_code() != ExitCode::Interrupted {
        left_over(report, layout).iter().for_each(|text| ui.note(text));
        ui.note(&advice(report, layout));
    }
    ui.data(&Finished { event: "finished", exit_code: exit_code(report) as u8, report });
}

/// What failed; that a run was interrupted is told once and not by each step.
pub(super) fn tell_errors(report: &Report, ui: &Ui) {
    let is_told = |error: &Error| ui.json || error.class() != Class::Interrupted;
    for RunError { step, error } in report.errors.iter().filter(|failed| is_told(&failed.error)) {
        match step {
            None => ui.error(error),
            Some(step) => ui.error(&error.clone().context(format!("step `{step}` failed"))),
        }
    }
    if !ui.json && report.exit_code() == ExitCode::Interrupted {
        let kept = "what is finished and what was downloaded is kept; run the same command again to go on";
        ui.error(&Error::interrupted().hint(kept));
    }
}

/// A package in dist/ of which nobody shall think that this build made it.
fn left_over(report: &Report, layout: &Layout) -> Option<String> {
    let is_package = |path: &Path| is_package_file(&path.file_name().unwrap_or_default().to_string_lossy());
    if report.published.iter().any(|published| is_package(Path::new(&published.path))) {
        return None;
    }
    let mut there: Vec<_> = std::fs::read_dir(&layout.dist).ok()?.flatten().map(|entry| entry.path()).collect();
    there.retain(|path| is_package(path));
    let first = there.iter().min()?;
    Some(format!("{} is of an earlier build: this one has made no package.", shown(first)))
}

fn advice(report: &Report, layout: &Layout) -> String {
    let state = shown(&layout.state());
    match report.exit_code() {
        ExitCode::Resumable => "Finished work is kept: run the same command again to resume.".to_owned(),
        _ => format!(
            "Finished work is kept: mend the cause and run the same command again, with `--on-change restart` where the \
             cause was in config/. Details are in {state}."
        ),
    }
}

#[derive(Serialize)]
struct Finished<'a> {
    event: &'static str,
    exit_code: u8,
    #[serde(flatten)]
    report: &'a Report,
}

fn rows(report: &Report) -> Vec<Vec<String>> {
    let heading = ["", "step", "time", "items", "fetched", "reused", "retries", "result"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for step in &report.steps {
        let was_interrupted =
            report.errors.iter().any(|it| it.step.as_ref() == Some(&step.id) && it.error.class() == Class::Interrupted);
        let symbol = match (step.status, step.ran) {
            (Status::Completed, true) => "✓",
            (Status::Completed, false) => "=",
            (Status::Failed, _) if was_interrupted => "◐",
            (Status::Failed, _) => "✗",
            _ => "○",
        };
        let counts = &step.counts;
        let items = match (counts.items_done, counts.items_total) {
            (0, 0) => String::new(),
            (done, 0) => done.to_string(),
            (done, total) => format!("{done}/{total}"),
        };
        let size = |bytes: u64| if bytes == 0 { String::new() } else { text::bytes(bytes) };
        let result = if step.ran { step.summary.clone() } else { step.reason.clone() };
        rows.push(vec![
            symbol.to_owned(),
            step.id.clone(),
            if step.ran { text::duration(step.duration_ms) } else { String::new() },
            items,
            size(counts.bytes_fetched),
            size(counts.bytes_reused),
            if counts.retries == 0 { String::new() } else { counts.retries.to_string() },
            result,
        ]);
    }
    rows
}
