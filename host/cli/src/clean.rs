//! `clean`: wipes the build folder.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use disk::fs;
use engine::state::lock::BuildLock;
use engine::state::store;
use engine::{state, transaction};

/// Wipe the build folder: state, store, trees and clones
///
/// To keep what was downloaded and only begin again, use `build --clean`.
#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// Also remove the packages that the build published
    #[arg(long)]
    dist: bool,
}

#[derive(Serialize)]
struct Cleaned {
    event: &'static str,
    removed: Vec<String>,
}

pub(super) fn run(args: &CleanArgs, layout: &Layout, ui: &Ui) -> Result<ExitCode> {
    let mut removed = Vec::new();
    if layout.build.exists() {
        if !store::is_ours(layout) {
            return Err(store::unmarked(layout));
        }
        let _lock = BuildLock::take(&layout.state_lock(), "clean", Timestamp::now())?;
        if args.dist {
            removed.extend(remove_published(layout)?);
        }
        // What a kill left beside the files that it was about to publish.
        transaction::abandon(layout)?;
        fs::remove_file(&fs::temporary_beside(&layout.airgap_lock()))?;
        // These go last, with the folder: a clean that is cut short can be
        // repeated, and until its end no build begins.
        let last = [layout.marker(), layout.state_lock()];
        let entries = layout.build.read_dir().map_err(|source| Error::io("cannot list", &layout.build, source))?;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !last.contains(path)) {
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        fs::remove_dir_all(&layout.build)?;
        removed.push(shown(&layout.build));
    }
    match removed.as_slice() {
        [] => ui.say("nothing to clean"),
        paths => paths.iter().for_each(|path| ui.say(&format!("removed {path}"))),
    }
    ui.data(&Cleaned { event: "cleaned", removed });
    Ok(ExitCode::Done)
}

/// Removes what the state says was published into dist/, and nothing else.
fn remove_published(layout: &Layout) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    let state = state::read(&layout.state()).map_err(|error| {
        error.context("what the build published is not known").hint(
            "`clean` without --dist wipes the build folder all the same; remove the packages that you do not need by hand",
        )
    })?;
    let Some(state) = state else { return Ok(removed) };
    let published = state.steps.iter().flat_map(|step| step.outputs.iter()).flat_map(|outputs| &outputs.published);
    for path in published.map(|published| layout.published(&published.path)) {
        if path.starts_with(&layout.dist) && path.exists() {
            fs::remove_file(&path)?;
            removed.push(shown(&path));
        }
    }
    Ok(removed)
}
