//! `status`: how far the build is, and what a start would do.

use clap::Args;
use serde::Serialize;

use super::choices::ChoiceArgs;
use super::environment::Variables;
use super::table::{self, Failed};
use super::ui::{Color, Ui};
use base::error::{Class, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::text;
use config::{Choices, Project};
use engine::orchestrator::facts::facts;
use engine::orchestrator::plan;
use engine::orchestrator::plan::{PlannedStep, Request, plan};
use engine::orchestrator::session::{Options, Standing, is_doubtful, standing};
use engine::state;
use engine::state::format::FailedItem;
use engine::state::lock::{Holder, holder};
use engine::state::{BuildState, Status, StepState};
use engine::transaction::{decided, journal_of};

/// Show how far the build is and what a start would do
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    choices: ChoiceArgs,
}

/// `--json`: the state, and what only a look at the disk can tell.
#[derive(Serialize)]
struct Shown<'a> {
    event: &'static str,
    #[serde(flatten)]
    state: Option<&'a BuildState>,
    holder: Option<&'a Holder>,
    /// Steps whose attempt was cut short.
    interrupted: Vec<&'a str>,
    next: &'a Next,
}

pub(super) fn run(args: &StatusArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let state = state::read(&layout.state())?;
    let holder = holder(&layout.state_lock());
    let next = next(&layout, args.choices.choices()?, state.as_ref(), holder.as_ref(), variables.epoch()?);
    ui.data(&Shown {
        event: "status",
        state: state.as_ref(),
        holder: holder.as_ref(),
        interrupted: interrupted(state.as_ref(), holder.is_some()),
        next: &next,
    });
    match &state {
        None => ui.say(&format!("No build in `{}` yet.", shown(&layout.build))),
        Some(state) => show(state, holder.as_ref(), &layout, ui),
    }
    let lines = next.lines();
    if state.is_some() && !lines.is_empty() {
        ui.say("");
    }
    lines.iter().for_each(|line| ui.say(line));
    Ok(ExitCode::Done)
}

fn interrupted(state: Option<&BuildState>, held: bool) -> Vec<&str> {
    let steps = state.iter().flat_map(|state| &state.steps);
    steps.filter(|step| step.status == Status::Running && !held).map(|step| step.id.as_str()).collect()
}

fn show(state: &BuildState, holder: Option<&Holder>, layout: &Layout, ui: &Ui) {
    let hash = state.config_hash.map_or_else(|| "not fixed yet".to_owned(), |hash| hash.to_string());
    let mut lines = vec![
        format!("Build:          {}", state.build_id),
        format!("Configuration:  {hash}"),
        format!("Started:        {}", state.created_at),
    ];
    if let Some(holder) = holder {
        lines.push(format!("Held by:        process {} (`{}`)", holder.pid, holder.command));
    }
    lines.push(String::new());
    ui.say_all(lines);
    let mut rows = vec![["step", "status", "time", "items", "size", ""].map(str::to_owned).to_vec()];
    rows.extend(state.steps.iter().map(|step| row(step, holder.is_some(), layout)));
    for (at, line) in table::render(&rows, ui.width()).iter().enumerate() {
        match at.checked_sub(1).and_then(|at| state.steps.get(at)) {
            Some(step) => ui.say_painted(color(step, holder.is_some()), word(step, holder.is_some()), line),
            None => ui.say(line),
        }
    }
    ui.say_all(failures(state, ui.verbose));
}

fn row(step: &StepState, held: bool, layout: &Layout) -> Vec<String> {
    let running = step.status == Status::Running;
    let progress = if running { journal_of(layout, &step.id).ok().and_then(|(_, progress)| progress) } else { None };
    let progress = progress.as_ref().or(step.progress.as_ref());
    let items = match progress {
        Some(progress) if progress.total > 0 => format!("{}/{} {}", progress.done, progress.total, progress.unit),
        Some(progress) => format!("{} {}", progress.done, progress.unit),
        None => String::new(),
    };
    let size = step.outputs.as_ref().map(|outputs| outputs.bytes).filter(|bytes| *bytes > 0);
    let remark = match (&step.error, &step.summary) {
        (Some(error), _) => error.message.clone(),
        (None, Some(summary)) if step.status == Status::Completed => summary.clone(),
        _ => String::new(),
    };
    vec![
        step.id.clone(),
        word(step, held).to_owned(),
        step.duration_ms.filter(|_| has_ended(step)).map(text::duration).unwrap_or_default(),
        items,
        size.map(text::bytes).unwrap_or_default(),
        remark,
    ]
}

fn word(step: &StepState, held: bool) -> &'static str {
    match step.status {
        Status::Completed => "✓ Completed",
        Status::Running if held => "● Running",
        Status::Running => "◐ Interrupted",
        Status::Failed if was_interrupted(step) => "◐ Interrupted",
        Status::Failed => "✗ Failed",
        Status::Pending => "○ Pending",
    }
}

/// Whether its last attempt took a time that is known.
fn has_ended(step: &StepState) -> bool {
    matches!(step.status, Status::Completed | Status::Failed)
}

/// By the user, who saw it end: nothing is wrong with it.
fn was_interrupted(step: &StepState) -> bool {
    step.error.as_ref().is_some_and(|error| error.class == Class::Interrupted)
}

/// What the table has no room for: why each item of a failed step failed.
fn failures(state: &BuildState, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for step in state.steps.iter().filter(|step| step.status == Status::Failed && !was_interrupted(step)) {
        let failed = step.items.iter().flat_map(|items| &items.failed);
        let unlisted = step.items.as_ref().map_or(0, |items| items.failed_unlisted);
        let failed: Vec<Failed<'_>> = failed
            .map(|FailedItem { name, message, hint, class, .. }| Failed {
                item: name,
                about: String::new(),
                message: message.clone(),
                hint: hint.as_deref(),
                alone: *class == Class::Configuration,
            })
            .collect();
        let total = failed.len() as u64 + unlisted;
        lines.extend(table::grouped(failed, total, ""));
        if verbose {
            let details = step.error.iter().flat_map(|error| &error.details);
            lines.extend(details.map(|line| format!("{}: {line}", step.id)));
        }
        lines.extend(step.error.iter().filter_map(|error| error.hint.as_ref()).map(|hint| format!("hint: {hint}")));
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

fn color(step: &StepState, held: bool) -> Color {
    match step.status {
        Status::Completed => Color::Green,
        Status::Failed if was_interrupted(step) => Color::Yellow,
        Status::Failed => Color::Red,
        Status::Running if held => Color::Blue,
        Status::Running => Color::Yellow,
        Status::Pending => Color::Gray,
    }
}

/// What the next start would do.
#[derive(Debug, Default, Serialize)]
struct Next {
    action: Action,
    /// Why, where the action alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Steps whose commit was decided and cut short: any command completes it.
    completes: Vec<String>,
    /// Whether the last run may have left something else than it recorded: the
    /// next one compares.
    compares: bool,
    /// The skeletons that the definition imports and nobody has fetched yet:
    /// without them nothing can be said of the steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unfetched: Vec<String>,
    steps: Vec<NextStep>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    /// A process builds just now.
    #[default]
    Wait,
    /// The configuration cannot be read.
    Mend,
    /// It changed in the middle of a build: the user decides.
    Decide,
    /// `build` begins a new build.
    Begin,
    /// `build` goes on.
    Build,
    Nothing,
}

#[derive(Debug, Serialize)]
struct NextStep {
    id: String,
    reason: String,
}

impl Next {
    fn new(action: Action, reason: impl Into<String>) -> Self {
        Self { action, reason: Some(reason.into()), ..Self::default() }
    }

    /// For people; the first line is set apart from what stands before it.
    fn lines(&self) -> Vec<String> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let mut lines: Vec<String> = self
            .completes
            .iter()
            .map(|id| format!("`{id}` is done: the next command completes its commit, which was cut short."))
            .collect();
        if self.compares {
            lines.push(
                "The last run was cut short or found damage: the next one compares what is finished with its record."
                    .to_owned(),
            );
        }
        lines.push(match self.action {
            Action::Wait => return Vec::new(),
            Action::Mend => format!("Next: mend the configuration: {reason}"),
            Action::Decide => format!(
                "Next: the configuration changed since this build began ({reason}): revert it, or `build --on-change \
                 restart`."
            ),
            Action::Begin => format!("Next: {reason}"),
            Action::Build if !self.unfetched.is_empty() => {
                "Next: `opencenter-airgap build` fetches what the definition imports, and goes on".to_owned()
            }
            Action::Build => "Next: `opencenter-airgap build` runs".to_owned(),
            Action::Nothing => "Next: nothing to do.".to_owned(),
        });
        lines.extend(self.steps.iter().map(|step| format!("  {}: {}", step.id, step.reason)));
        lines.extend(self.unfetched.iter().map(|url| format!("  not fetched yet: {url}")));
        lines
    }
}

/// What `build` would do now.
fn next(
    layout: &Layout,
    choices: Choices,
    state: Option<&BuildState>,
    holder: Option<&Holder>,
    epoch: Option<u64>,
) -> Next {
    if holder.is_some() {
        return Next::default();
    }
    let project = match Project::load_with(layout.clone(), choices) {
        Ok(project) => project,
        Err(error) => return Next::new(Action::Mend, error.one_line()),
    };
    let unfetched = project.unfetched().to_vec();
    let Some(state) = state else {
        return Next { unfetched, ..Next::new(Action::Begin, "`opencenter-airgap build` begins one.") };
    };
    if !unfetched.is_empty() {
        let (completes, compares) = (decided(layout), is_doubtful(layout, Some(state)));
        return Next { action: Action::Build, completes, compares, unfetched, ..Next::default() };
    }
    match standing(state, &project) {
        Standing::UnfinishedAndChanged(changes) => {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            return Next::new(Action::Decide, changes.join("; "));
        }
        Standing::FinishedAndChanged(_) => {
            return Next::new(Action::Begin, "the configuration changed; `build` begins a new build.");
        }
        Standing::Unchanged => {}
    }
    let facts = match facts(&project, Some(state), &Options::default(), epoch) {
        Ok(facts) => facts,
        Err(error) => return Next::new(Action::Mend, error.one_line()),
    };
    let planned = plan(&project.pipeline, &facts, &Request::default());
    let runs = |step: &PlannedStep| match &step.action {
        plan::Action::Run(reason) => Some(NextStep { id: step.id.clone(), reason: reason.to_string() }),
        _ => None,
    };
    let steps: Vec<NextStep> = planned.steps.iter().filter_map(runs).collect();
    let action = if steps.is_empty() { Action::Nothing } else { Action::Build };
    let (completes, compares) = (decided(layout), is_doubtful(layout, Some(state)));
    Next { action, completes, compares, steps, ..Next::default() }
}
