//! Recovery: what the last process left open, decided by the disk alone.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::StagingPaths;
use super::commit::{self, CommitRecord};
use crate::state::{ExclusiveState, Status, StepState};
use base::error::{Error, Result};
use base::layout::Layout;
use config::pipeline::OnFailure;
use disk::fs;

/// What recovery did about one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovered {
    /// The commit had been decided: it was carried out.
    Committed(Box<StepState>),
    /// The attempt had not ended: what cannot be used again was dropped.
    Discarded(String),
}

/// Ends every transaction that the last process left open.
///
/// A decided commit is carried out and recorded in the state; anything else is
/// dropped as `on_failure` of its step says, an unknown step altogether. Then
/// nothing is in staging but what was preserved. May be repeated.
///
/// # Errors
/// `local`, `disk-full`. Run it again when the cause is mended.
pub fn recover(
    layout: &Layout,
    state: &mut ExclusiveState,
    on_failure: impl Fn(&str) -> OnFailure,
    now: jiff::Timestamp,
) -> Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    let open = open_transactions(layout)?;
    if open.is_empty() {
        return Ok(recovered);
    }
    for id in open {
        let paths = StagingPaths::new(layout, &id);
        fs::checkpoint("recovery-began");
        match read_json::<CommitRecord>(&paths.commit())? {
            Some(record) => {
                // What was saved since then is kept: the configuration's hash tells.
                commit::apply(layout, &id, &paths, &record.publications)?;
                let step = record.step.clone();
                state.update(now, |state| {
                    if let Some(known) = state.step_mut(&id) {
                        *known = step;
                    }
                })?;
                commit::finish(&paths)?;
                recovered.push(Recovered::Committed(Box::new(record.step)));
            }
            None => {
                // The commit of a completed step was being tidied away.
                let is_done = state.get().and_then(|state| state.step(&id)).is_some_and(is_completed);
                let was_cut_short = paths.tree().exists();
                discard(&paths, if is_done { OnFailure::RollBack } else { on_failure(&id) }, &|_| false)?;
                if was_cut_short {
                    recovered.push(Recovered::Discarded(id));
                }
            }
        }
    }
    super::sync_staging(layout)?;
    Ok(recovered)
}

/// Drops every open attempt with what it placed outside build/, for a folder
/// that is about to be wiped: a commit that was decided is not carried out.
///
/// # Errors
/// `local`; may be repeated.
pub fn abandon(layout: &Layout) -> Result<()> {
    let drop = |id: &String| discard(&StagingPaths::new(layout, id), OnFailure::RollBack, &|_| false);
    open_transactions(layout)?.iter().try_for_each(drop)
}

/// The steps whose commit was decided: the next start carries it out.
pub fn decided(layout: &Layout) -> Vec<String> {
    let mut ids = open_transactions(layout).unwrap_or_default();
    let is_decided = |id: &String| {
        let record = read_json::<CommitRecord>(&StagingPaths::new(layout, id).commit());
        record.is_ok_and(|record| record.is_some())
    };
    ids.retain(is_decided);
    ids
}

fn is_completed(step: &StepState) -> bool {
    step.status == Status::Completed
}

/// Drops an attempt that was not decided: the temporary files outside build/,
/// the tree, and, unless they are preserved, journal and marked outputs.
pub(super) fn discard(paths: &StagingPaths, on_failure: OnFailure, stop: &dyn Fn(u64) -> bool) -> Result<()> {
    let remove = |path: PathBuf| fs::remove_dir_all_unless(stop, &path);
    for placed in read_json::<Vec<PathBuf>>(&paths.placed())?.unwrap_or_default() {
        fs::remove_file(&placed)?;
    }
    match on_failure {
        OnFailure::RollBack => remove(paths.root.clone()),
        OnFailure::Preserve => {
            fs::remove_file(&paths.placed())?;
            fs::remove_file(&paths.listing())?;
            remove(paths.replaced())?;
            remove(paths.unpacked())?;
            remove(paths.directories())?;
            // Last: it tells that an attempt did not end.
            remove(paths.tree())
        }
    }
}

fn open_transactions(layout: &Layout) -> Result<Vec<String>> {
    let staging = layout.staging();
    let entries = match staging.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("cannot list", &staging, source)),
    };
    let mut ids: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Largest record that is read back: the listing of a commit is not in it.
const RECORD_LIMIT: u64 = 16 << 20;

/// None where the file is missing or was cut short by a crash, which comes to
/// the same: it was not yet decided.
fn read_json<T: DeserializeOwned>(path: &std::path::Path) -> Result<Option<T>> {
    let bytes = fs::read_optional(path, RECORD_LIMIT)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
