//! `build --plan`: what a build would do, and nothing done.

use std::sync::Arc;

use model::count::counted;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::environment::Variables;
use super::table;
use super::ui::Ui;
use base::error::{Class, Result};
use base::exit_code::ExitCode;
use base::layout::Layout;
use base::progress::{Silent, text};
use config::{Project, core_plugins};
use confine::wall::Wall;
use engine::orchestrator::aside::Aside;
use engine::orchestrator::needs::{Kind, Need};
use engine::orchestrator::plan::Action;
use engine::orchestrator::preview::{Begins, Maker, Outlook, Preview, PreviewedStep, preview};
use engine::orchestrator::session::{OnChange, Options, Standing, recorded, standing};
use engine::state::BuildState;
use engine::state::lock::{Holder, holder};

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
    looker: &Looker<'_>,
    ui: &Ui,
) -> Result<ExitCode> {
    let state = recorded(layout, options)?;
    let holder = holder(&layout.state_lock());
    let preview = looker.look_ahead(project, state.as_ref(), options)?;
    let refusal = preview.outlook.refusal(options);
    let code = refusal.as_ref().map_or(ExitCode::Done, |error| ExitCode::of(error.class()));
    ui.say_all(render(&preview, holder.as_ref(), ui));
    project.unused().iter().for_each(|unused| ui.note(&format!("warning: {unused}")));
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
        if error.class() == Class::DiskFull {
            super::gc::advice(layout).iter().for_each(|advice| ui.note(advice));
        }
    }
    Ok(code)
}

/// Why a build with `--locked` that would begin anew stops: said while the
/// recorded build is still there, which goes on when the change is reverted.
///
/// # Errors
/// `changed`, and whatever stops a plan.
pub(super) fn refuse_drift(project: &Project, options: &Options, looker: &Looker<'_>) -> Result<()> {
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
    let preview = looker.look_ahead(project, Some(&state), options)?;
    preview.outlook.refusal(options).map_or(Ok(()), Err)
}

/// What a look ahead needs of its surroundings.
pub(super) struct Looker<'a> {
    pub(super) wall: Wall,
    pub(super) variables: &'a Variables,
    pub(super) cancel: CancellationToken,
}

impl Looker<'_> {
    fn look_ahead(&self, project: &Project, state: Option<&BuildState>, options: &Options) -> Result<Preview> {
        let generate = |project: &Project| {
            let aside = Aside {
                project,
                cache_dir: self.variables.cache_dir.clone(),
                temporary: &self.variables.temporary,
                observer: Arc::new(Silent),
                wall: self.wall,
                cancel: self.cancel.clone(),
            };
            aside.components(options.request.force_regenerate)
        };
        preview(project, state, options, self.variables.epoch()?, generate)
    }
}

fn render(preview: &Preview, holder: Option<&Holder>, ui: &Ui) -> Vec<String> {
    let mut lines = vec![beginning(preview)];
    if let Some(holder) = holder {
        lines.push(format!("Process {} (`{}`) holds the build now: it has to end first.", holder.pid, holder.command));
    }
    lines.extend(preview.changes.iter().take(10).map(|change| format!("  {change}")));
    lines.push(String::new());
    let mut rows = vec![["step", "by", "digest", "", "why"].map(str::to_owned).to_vec()];
    rows.extend(preview.steps.iter().map(row));
    lines.extend(table::render(&rows, ui.width()));
    lines.push(String::new());
    lines.extend(fetches(&preview.outlook, ui));
    if !preview.outlook.unfetched.is_empty() {
        lines.push(
            "The definition imports, and what that names is in none of these numbers before it is fetched:".to_owned(),
        );
        lines.extend(preview.outlook.unfetched.iter().map(|url| format!("  {url}")));
    }
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

fn row(step: &PreviewedStep) -> Vec<String> {
    let (what, why) = match &step.planned.action {
        Action::Run(reason) => ("runs", reason.to_string()),
        Action::Keep => ("done", String::new()),
        Action::Leave => ("left", "not asked for".to_owned()),
    };
    let (by, digest) = match &step.by {
        Maker::Host { .. } => ("host".to_owned(), String::new()),
        Maker::Plugin { plugin, digest, path, .. } => {
            let by = path.clone().unwrap_or_else(|| format!("core {plugin}"));
            (by, digest.trim_start_matches("sha256:").chars().take(DIGITS).collect())
        }
    };
    vec![step.planned.id.to_string(), by, digest, what.to_owned(), why]
}

/// Of a digest, to tell one from another.
const DIGITS: usize = 12;

fn replacement(project: &Project, name: &str) -> String {
    let path = project.plugin_pins.pin(name).map(|(pin, _)| pin.path.display().to_string()).unwrap_or_default();
    let decides = core_plugins::core(name).unwrap_or_default();
    format!("{path} replaces the core plugin `{name}`: it decides {decides}.")
}

fn beginning(preview: &Preview) -> String {
    let runs = preview.steps.iter().any(|step| matches!(step.planned.action, Action::Run(_)));
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
    let unknown = sizeless(outlook);
    let mut lines = Vec::new();
    if total.missing > 0 {
        let least = if unknown.is_empty() { "" } else { "at least " };
        let blobs = counted(usize::try_from(total.missing).unwrap_or(usize::MAX), "blob", "blobs");
        lines.push(format!("Fetches {least}{} in {blobs}.", text::bytes(total.bytes_to_fetch)));
    }
    if !unknown.is_empty() {
        let (more, why) =
            (if lines.is_empty() { "" } else { " more" }, "nobody knows their size before they are asked for");
        lines.push(format!("Fetches {}{more}: {why}.", unknown.join(", ")));
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

/// What is still to be fetched and has no known size, counted by kind.
fn sizeless(outlook: &Outlook) -> Vec<String> {
    let is_unsized = |need: &&Need| match need.kind {
        Kind::Repository => !need.has_clone,
        _ => !need.is_resolved || need.parts.iter().any(|part| !part.is_held && part.size.is_none()),
    };
    let kinds = [
        (Kind::Image, "image", "images"),
        (Kind::File, "file", "files"),
        (Kind::Chart, "chart", "charts"),
        (Kind::Repository, "repository", "repositories"),
        (Kind::Skeleton, "skeleton", "skeletons"),
    ];
    let count = |kind| outlook.to_fetch.iter().filter(|need| need.kind == kind).filter(is_unsized).count();
    let counts = kinds.into_iter().map(|(kind, one, many)| (count(kind), one, many));
    counts.filter(|(count, ..)| *count > 0).map(|(count, one, many)| counted(count, one, many)).collect()
}

fn disk(outlook: &Outlook) -> Vec<String> {
    let least = if outlook.total.unknown > 0 { "at least " } else { "" };
    outlook
        .disk
        .iter()
        .map(|demand| {
            let places: Vec<String> = demand.mount.places.iter().map(ToString::to_string).collect();
            if demand.needed == 0 && outlook.total.unknown > 0 {
                let (places, free) = (places.join(", "), text::bytes(demand.mount.free));
                return format!("Nobody knows yet how much it writes on the disk of {places}, which has {free} free.");
            }
            format!(
                "Writes {least}{} on the disk of {}, which has {} free.",
                text::bytes(demand.needed),
                places.join(", "),
                text::bytes(demand.mount.free)
            )
        })
        .collect()
}
