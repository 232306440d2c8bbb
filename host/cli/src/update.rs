//! `update`: resolves references again and shows what is different.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::build::{brought, check_outside};
use super::choices::ChoiceArgs;
use super::environment::Variables;
use super::signals::Attended;
use super::ui::{Color, Ui};
use super::wall::{self, Runs};
use base::error::Result;
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use config::Project;
use config::airgap_lock::{AirgapLock, LockChange};
use engine::orchestrator::plan::Request;
use engine::orchestrator::refresh;
use engine::orchestrator::refresh::Selection;
use engine::orchestrator::run::Run;
use engine::orchestrator::session::{Options, Session};

/// Resolve references again, and show how airgap.lock changes
///
/// Asks the registries and servers what tags, versions and URLs are now, and
/// fetches what is new. An entry that cannot be resolved stays as it was. The
/// next `build` packages what changed.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// What to resolve again: a name, a reference, a URL, or a part of one;
    /// everything where none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    choices: ChoiceArgs,
}

#[derive(Serialize)]
struct Updated<'a> {
    event: &'static str,
    exit_code: u8,
    changes: &'a [LockChange],
}

pub(super) fn run(args: &UpdateArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let epoch = variables.epoch()?;
    let project = Project::load_with(layout.clone(), args.choices.choices()?)?;
    check_outside(&project, false, variables)?;
    let wall = wall::raise(&project, Runs::Pipeline, ui, variables)?;
    // The first threads: they stand behind the wall.
    let attended = Attended::begin(ui)?;
    let before = project.lock.clone();
    let Selection { keys, steps } = refresh::select(&project, &args.names)?;
    let mut options = Options {
        request: Request { only: Some(steps), ..Request::default() },
        refresh: Some(keys),
        ..Options::default()
    };
    let observer = ui.observer();
    let project = Arc::new(brought(project, &mut options, observer.clone(), &attended, variables)?);
    let session = Session::open(project, &options, observer.as_ref(), Timestamp::now())?;
    let environment = variables.of_run(observer, attended.cancellation(), epoch, wall, None);
    let report = attended.drive(Run::prepare(session, options, environment)?);
    attended.end();
    let changes = before.diff(&AirgapLock::load(&layout.airgap_lock())?);
    if !changes.is_empty() || report.errors.is_empty() {
        show(&changes, &layout, ui);
    }
    super::outcome::tell_errors(&report, ui);
    if !report.errors.is_empty() && report.exit_code() != ExitCode::Interrupted {
        ui.note("What could not be resolved keeps its entry in airgap.lock.");
    }
    let code = super::outcome::exit_code(&report);
    ui.data(&Updated { event: "updated", exit_code: code as u8, changes: &changes });
    Ok(code)
}

fn show(changes: &[LockChange], layout: &Layout, ui: &Ui) {
    let lock = shown(&layout.airgap_lock());
    if changes.is_empty() {
        return ui.say(&format!("Everything is as `{lock}` says."));
    }
    for change in changes {
        let color = match (&change.old, &change.new) {
            (None, _) => Color::Green,
            (_, None) => Color::Red,
            _ => Color::Yellow,
        };
        let line = change.to_string();
        ui.say_painted(color, &line, &line);
    }
    ui.say(&format!("{} changed in `{lock}`: review and commit it, then run `build`.", changes.len()));
}
