//! `gc`: drops what the configuration no longer needs.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::choices::ChoiceArgs;
use super::ui::Ui;
use base::error::Result;
use base::exit_code::ExitCode;
use base::layout::Layout;
use base::progress::text;
use config::Project;
use engine::orchestrator::garbage::{Garbage, collect};
use engine::state;
use engine::state::lock::BuildLock;
use engine::state::store;

/// Drop what the configuration no longer needs from the build folder
///
/// Removes blobs that neither airgap.lock nor a finished step refers to,
/// unfinished downloads of them, and clones of repositories that are no longer
/// named. As long as no build is finished, everything that was fetched since
/// the last one was stays.
#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    choices: ChoiceArgs,
}

#[derive(Serialize)]
struct Collected<'a> {
    event: &'static str,
    dry_run: bool,
    bytes: u64,
    #[serde(flatten)]
    garbage: &'a Garbage,
}

pub(super) fn run(args: &GcArgs, layout: &Layout, ui: &Ui) -> Result<ExitCode> {
    let garbage = if layout.build.exists() { collect_in(args, layout)? } else { Garbage::default() };
    ui.say_all(render(&garbage, args.dry_run));
    ui.data(&Collected { event: "collected", dry_run: args.dry_run, bytes: garbage.bytes(), garbage: &garbage });
    Ok(ExitCode::Done)
}

/// Where a disk is full: what `gc` would give back, if it is anything.
pub(super) fn advice(layout: &Layout) -> Option<String> {
    let project = Project::load(layout.clone()).ok()?;
    let state = state::read(&layout.state()).ok()?;
    let bytes = collect(&project, state.as_ref(), Timestamp::now(), true).ok()?.bytes();
    (bytes > 0).then(|| format!("`opencenter-airgap gc` would give back up to {}.", text::bytes(bytes)))
}

fn collect_in(args: &GcArgs, layout: &Layout) -> Result<Garbage> {
    if !store::is_ours(layout) {
        return Err(store::unmarked(layout));
    }
    let now = Timestamp::now();
    let _lock = BuildLock::take(&layout.state_lock(), "gc", now)?;
    let project = Project::load_with(layout.clone(), args.choices.choices()?)?;
    let state = state::read(&layout.state())?;
    collect(&project, state.as_ref(), now, args.dry_run)
}

fn render(garbage: &Garbage, dry_run: bool) -> Vec<String> {
    let verb = if dry_run { "would remove" } else { "removed" };
    let store = &garbage.store;
    let mut lines = Vec::new();
    if store.blobs > 0 {
        lines.push(format!("{verb} {} blobs, {}", store.blobs, text::bytes(store.blob_bytes)));
    }
    if store.partials > 0 {
        lines.push(format!("{verb} {} unfinished downloads, {}", store.partials, text::bytes(store.partial_bytes)));
    }
    for clone in &garbage.clones {
        lines.push(format!("{verb} the clone {}, {}", clone.path, text::bytes(clone.bytes)));
    }
    for skeleton in &garbage.imports {
        lines.push(format!("{verb} the skeleton {}, {}", skeleton.path, text::bytes(skeleton.bytes)));
    }
    for entry in &garbage.entries {
        lines.push(format!("{verb} from airgap.lock: {}", entry.entry()));
    }
    if lines.is_empty() {
        lines.push("nothing to remove".to_owned());
    }
    lines.push(format!("{} blobs stay, {}", store.kept_blobs, text::bytes(store.kept_bytes)));
    if garbage.is_unfinished {
        lines.push(
            "The build is not finished: everything that was fetched since the last finished one stays.".to_owned(),
        );
    }
    lines
}
