//! `build --plan`: what a build would do, and nothing done.

use std::sync::Arc;

use components::count::counted;
use serde::Serialize;

use super::environment::Variables;
use super::table;
use super::ui::Ui;
use crate::config::{Project, plugins_lock};
use crate::confine::wall::Wall;
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::layout::Layout;
use crate::orchestrator::aside::Aside;
use crate::orchestrator::needs::Kind;
use crate::orchestrator::plan::Action;
use crate::orchestrator::preview::{Begins, Outlook, Preview, preview};
use crate::orchestrator::session::{OnChange, Options, Standing, recorded, standing};
use crate::progress::{Silent, text};
use crate::state::BuildState;
use crate::state::lock::{Holder, holder};

/// `--json`: everything, on one line.
#[derive(Serialize)]
struct Planned<'a> {
    event: &'static str,
    holder: Option<&'a Holder>,
    #[serde(flatten)]
    preview: &'a Preview,
    /// Names of the core plugins that pinned ones replace.
    replaced_core: Vec<&'a str>,
    exit_code: u8,
}

/// Ends with the code that the build would end with before its first
/// download.
pub(super) fn run(
    project: &Project,
    options: &Options,
    layout: &Layout,
    wall: Wall,
    ui: &Ui,
    variables: &Variables,
) -> Result<ExitCode> {
    let state = recorded(layout, options)?;
    let holder = holder(&layout.state_lock());
    let preview = look_ahead(project, state.as_ref(), options, wall, variables)?;
    let refusal = preview.outlook.refusal(options);
    let code = refusal.as_ref().map_or(ExitCode::Done, |error| ExitCode::of(error.class()));
    ui.say_all(render(&preview, holder.as_ref(), ui));
    let replaced_core: Vec<&str> = project.plugin_pins.replaced().collect();
    ui.say_all(replaced_core.iter().map(|name| replacement(project, name)));
    ui.data(&Planned {
        event: "plan",
        holder: holder.as_ref(),
        preview: &preview,
        replaced_core,
        exit_code: code as u8,
    });
    if let Some(error) = refusal {
        ui.error(&error);
    }
    Ok(code)
}

/// Why a build with `--locked` that would begin anew stops: said while the
/// recorded build is still there, which goes on when the change is reverted.
///
/// # Errors
/// `changed`, and whatever stops a plan.
pub(super) fn refuse_drift(project: &Project, options: &Options, wall: Wall, variables: &Variables) -> Result<()> {
    if !options.locked {
        return Ok(());
    }
    let Some(state) = recorded(&project.layout, options)? else { return Ok(()) };
    let begins_anew = match standing(&state, project) {
        Standing::Unchanged => options.clean,
        Standing::FinishedAndChanged(_) => true,
        Standing::UnfinishedAndChanged(_) => options.clean || options.on_change == OnChange::Restart,
    };
    if !begins_anew {
        return Ok(());
    }
    let preview = look_ahead(project, Some(&state), options, wall, variables)?;
    preview.outlook.refusal(options).map_or(Ok(()), Err)
}

fn look_ahead(
    project: &Project,
    state: Option<&BuildState>,
    options: &Options,
    wall: Wall,
    variables: &Variables,
) -> Result<Preview> {
    let generate = |project: &Project| {
        let aside = Aside {
            project,
            cache_dir: variables.cache_dir.clone(),
            temporary: &variables.temporary,
            observer: Arc::new(Silent),
            wall,
        };
        aside.components(options.request.force_regenerate)
    };
    preview(project, state, options, variables.epoch()?, generate)
}

fn render(preview: &Preview, holder: Option<&Holder>, ui: &Ui) -> Vec<String> {
    let mut lines = vec![beginning(preview)];
    if let Some(holder) = holder {
        lines.push(format!("Process {} (`{}`) holds the build now: it has to end first.", holder.pid, holder.command));
    }
    lines.extend(preview.changes.iter().take(10).map(|change| format!("  {change}")));
    lines.push(String::new());
    let mut rows = vec![["step", "", "why"].map(str::to_owned).to_vec()];
    rows.extend(preview.steps.iter().map(|step| {
        let (what, why) = match &step.action {
            Action::Run(reason) => ("runs", reason.to_string()),
            Action::Keep => ("done", String::new()),
            Action::Leave => ("left", "not asked for".to_owned()),
        };
        vec![step.id.clone(), what.to_owned(), why]
    }));
    lines.extend(table::render(&rows, ui.width()));
    lines.push(String::new());
    lines.extend(fetches(&preview.outlook, ui));
    lines.extend(disk(&preview.outlook));
    if !preview.outlook.unnamed.is_empty() {
        let entries = counted(preview.outlook.unnamed.len(), "entry", "entries");
        lines.push(format!("Drops {entries} of airgap.lock that nothing names any more."));
    }
    if !preview.outlook.doubted.is_empty() {
        let entries = counted(preview.outlook.doubted.len(), "entry", "entries");
        lines.push(format!("Resolves {entries} of airgap.lock again that nobody can vouch for."));
    }
    lines
}

fn replacement(project: &Project, name: &str) -> String {
    let path = project.plugin_pins.pin(name).map(|(pin, _)| pin.path.display().to_string()).unwrap_or_default();
    let decides = plugins_lock::core(name).unwrap_or_default();
    format!("{path} replaces the core plugin `{name}`: it decides {decides}.")
}

fn beginning(preview: &Preview) -> String {
    let runs = preview.steps.iter().any(|step| matches!(step.action, Action::Run(_)));
    match (preview.begins, runs) {
        (Begins::First, _) => "There is no build yet: the first one would begin.".to_owned(),
        (Begins::Anew, _) if preview.changes.is_empty() => "A new build would begin.".to_owned(),
        (Begins::Anew, _) => "A new build would begin, because the configuration changed:".to_owned(),
        (Begins::GoesOn, true) => "The build would go on.".to_owned(),
        (Begins::GoesOn, false) => "Nothing to do: every step is done and its outputs are there.".to_owned(),
    }
}

fn fetches(outlook: &Outlook, ui: &Ui) -> Vec<String> {
    let total = &outlook.total;
    if outlook.to_fetch.is_empty() {
        return vec!["Fetches nothing.".to_owned()];
    }
    let mut lines = vec![format!("Fetches at least {} in {} blobs.", text::bytes(total.bytes_to_fetch), total.missing)];
    if total.unknown > 0 {
        lines.push(format!(
            "The size of {} more is unknown: airgap.lock does not hold them yet, or they are git repositories.",
            total.unknown
        ));
    }
    let mut rows = vec![["from", "requests", ""].map(str::to_owned).to_vec()];
    rows.extend(outlook.requests.iter().map(|(origin, requests)| {
        let more = match requests.unresolved {
            0 => String::new(),
            count => format!("and those of {count} not resolved yet"),
        };
        vec![origin.clone(), requests.known.to_string(), more]
    }));
    lines.extend(table::render(&rows, ui.width()));
    if ui.verbose {
        lines.extend(outlook.to_fetch.iter().map(|need| {
            let missing: Vec<_> = need.parts.iter().filter(|part| !part.is_held).collect();
            let bytes: u64 = missing.iter().map(|part| part.size.unwrap_or(0).saturating_sub(part.partial)).sum();
            match (need.is_resolved, need.kind) {
                (true, Kind::Repository) | (false, _) => format!("  {} {}: size unknown", need.kind, need.item),
                (true, _) => {
                    format!("  {} {}: {} in {} blobs", need.kind, need.item, text::bytes(bytes), missing.len())
                }
            }
        }));
    }
    lines
}

fn disk(outlook: &Outlook) -> Vec<String> {
    let least = if outlook.total.unknown > 0 { "at least " } else { "" };
    outlook
        .disk
        .iter()
        .map(|demand| {
            let places: Vec<String> = demand.mount.places.iter().map(ToString::to_string).collect();
            format!(
                "Writes {least}{} on the disk of {}, which has {} free.",
                text::bytes(demand.needed),
                places.join(", "),
                text::bytes(demand.mount.free)
            )
        })
        .collect()
}
