//! `build`: turns the configuration into a package, or goes on with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::choices::ChoiceArgs;
use super::environment::Variables;
use super::outcome::{Outcome, exit_code};
use super::plan::Looker;
use super::signals::Attended;
use super::signer;
use super::ui::{Color, Ui};
use super::wall::{self, Runs};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::{Observer, Progress, text};
use config::Project;
use config::airgap_lock::AirgapLock;
use config::pipeline::StepId;
use disk::fs;
use engine::carry;
use engine::carry::Filled;
use engine::imports;
use engine::imports::Surroundings;
use engine::orchestrator::plan::Request;
use engine::orchestrator::report::Report;
use engine::orchestrator::run::Run;
use engine::orchestrator::session;
use engine::orchestrator::session::{Options, Session};
use fetch::network;
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

/// The id of a step of the pipeline.
fn known_step(project: &Project, id: &str) -> Result<StepId> {
    project.pipeline.step(id).map(|spec| spec.id.clone()).ok_or_else(|| {
        let ids: Vec<&str> = project.pipeline.steps.iter().map(|spec| spec.id.as_str()).collect();
        Error::new(Class::Usage, format!("there is no step `{id}`")).hint(format!("the steps are {}", ids.join(", ")))
    })
}

impl BuildArgs {
    fn options(&self, project: &Project) -> Result<Options> {
        let only = self.step.as_deref().map(|only| known_step(project, only)).transpose()?;
        Ok(Options {
            clean: self.clean,
            request: Request {
                no_resume: self.no_resume,
                only: only.map(|step| [step].into()),
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
            found: AirgapLock::default(),
        })
    }
}

pub(super) fn run(args: &BuildArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let epoch = variables.epoch()?;
    let project = Project::load_with(layout.clone(), args.choices.choices()?)?;
    let mut options = args.options(&project)?;
    check_outside(&project, options.offline, variables)?;
    let key = if args.plan { None } else { signer::of_project(&project, variables)? };
    let runs = if args.plan { Runs::LookAhead } else { Runs::Pipeline };
    if let Some(folder) = &args.carry {
        carry::check(folder, &layout)?;
        // What is not there can not be left open.
        fs::create_dir_all(folder)?;
    }
    let wall = wall::raise_beside(&project, runs, args.carry.as_deref(), "", ui, variables)?;
    // The first threads: they stand behind the wall.
    let attended = Attended::begin(ui)?;
    super::plugin::review(&project, wall, ui, variables)?;
    let looker = Looker { wall, variables, cancel: attended.cancellation() };
    if args.plan {
        attended.gracefully(ui);
        return super::plan::run(&project, &options, &layout, &looker, ui);
    }
    let observer = ui.observer();
    let project = Arc::new(brought(project, &mut options, observer.clone(), &attended, variables)?);
    super::plan::refuse_drift(&project, &options, &looker)?;
    let carrying = Carrying { folder: args.carry.as_deref(), layout: &layout, hash: options.verify_outputs };
    let built = project.clone();
    let session = Session::open(project, &options, observer.as_ref(), Timestamp::now())?;
    let environment = variables.of_run(observer, attended.cancellation(), epoch, wall, key);
    let run = Run::prepare(session, options, environment)?;
    if run.has_nothing_to_do() {
        let report = run.keep_everything()?;
        Outcome { report: &report, layout: &layout }.tell(ui);
        return carrying.fill(&built, &report, attended, ui);
    }
    let report = attended.drive(run);
    let outcome = Outcome { report: &report, layout: &layout };
    outcome.tell(ui);
    let written = outcome.write_metrics();
    match report.exit_code() {
        ExitCode::Done => written.and_then(|()| carrying.fill(&built, &report, attended, ui)),
        // What ended the build is what is told, even where the disk is full.
        _ => {
            attended.end();
            Ok(exit_code(&report))
        }
    }
}

/// The project with what its definition imports from registries.
pub(super) fn brought(
    project: Project,
    options: &mut Options,
    observer: Arc<dyn Observer>,
    attended: &Attended,
    variables: &Variables,
) -> Result<Project> {
    if !imports::are_lacking(&project, options) {
        // Until the first step begins a signal ends the process at once.
        return Ok(project);
    }
    let cancel = attended.cancellation();
    let surroundings = Surroundings { observer, cancel, network: variables.network.clone(), now: Timestamp::now() };
    attended.wait(imports::fetch(project, options, &surroundings))
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

/// What the configuration leads to outside of itself, while nothing is written
/// yet: the pipeline's plugins, and the proxies of the environment.
pub(super) fn check_outside(project: &Project, offline: bool, variables: &Variables) -> Result<()> {
    catalog::check(project)?;
    if offline { Ok(()) } else { network::check_proxies(&project.settings, &variables.network) }
}
