//! Reading and writing state.json.
//!
//! [`read`] needs no lock and changes nothing. Only [`ExclusiveState`], which
//! holds the lock, can write. Every write is whole: temporary file, sync,
//! rename, sync of the directory. A file that is not ours is never
//! overwritten.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::format::{BuildState, FORMAT};
use super::lock::BuildLock;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};
use disk::fs;
use fetch::store::Store;

/// Larger than any real state by far: 10,000 steps of 6 KiB.
const SIZE_LIMIT: u64 = 64 << 20;

/// The marker of a folder that holds caches (bford.info/cachedir), and ours.
const MARKER: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder belongs to opencenter-airgap: `opencenter-airgap clean` wipes it.\n";

/// Reads state.json; None where there is none.
///
/// # Errors
/// `state` where it is damaged, foreign, or of another format. Nothing is
/// changed.
pub fn read(path: &Path) -> Result<Option<BuildState>> {
    let unreadable = |why: String| {
        Error::new(Class::State, format!("the state `{}` {why}", shown(path))).hint(
            "`opencenter-airgap build --clean` puts the file aside and begins again: it runs every step, and downloads \
             nothing that the store holds",
        )
    };
    let bytes = match fs::read_optional(path, SIZE_LIMIT) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        Err(error) => return Err(unreadable("can not be read".to_owned()).caused_by(error)),
    };
    #[derive(Deserialize)]
    struct Header {
        format: Option<u32>,
    }
    let header: Header = serde_json::from_slice(&bytes)
        .map_err(|error| unreadable("is damaged or was not written by this program".to_owned()).caused_by(error))?;
    match header.format {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(unreadable(format!("has format {newer}; this version reads format {FORMAT}")).hint(
                "use the version that wrote it, or begin again with `build --clean`, which puts the file aside: \
                     finished downloads stay in the store",
            ));
        }
        _ => return Err(unreadable("was not written by this program".to_owned())),
    }
    let state = serde_json::from_slice(&bytes)
        .map_err(|error| unreadable("is damaged or was edited".to_owned()).caused_by(error))?;
    Ok(Some(state))
}

/// The right to change the state: holds the lock of the build directory.
#[derive(Debug)]
pub struct ExclusiveState {
    layout: Layout,
    state: Option<BuildState>,
    /// Whether the file does not say what `state` does.
    is_changed: bool,
    lock: BuildLock,
}

impl ExclusiveState {
    /// Makes build/ where it is missing, takes the lock, and reads the state.
    ///
    /// # Errors
    /// `held`, `state`, `local`.
    pub fn open(layout: &Layout, command: &str, now: Timestamp) -> Result<Self> {
        let mut exclusive = Self::take(layout, command, now)?;
        exclusive.state = read(&layout.state())?;
        Ok(exclusive)
    }

    /// The same for who forgets the recorded build anyway: a state that can not
    /// be read is put aside, and where it lies now is told.
    ///
    /// # Errors
    /// `held`, `local`.
    pub(crate) fn open_anew(layout: &Layout, command: &str, now: Timestamp) -> Result<(Self, Option<PathBuf>)> {
        let mut exclusive = Self::take(layout, command, now)?;
        let aside = match read(&layout.state()) {
            Ok(state) => {
                exclusive.state = state;
                None
            }
            Err(_) => {
                let aside = layout.damaged_state();
                fs::rename(&layout.state(), &aside)?;
                fs::sync_dir(&layout.build)?;
                Some(aside)
            }
        };
        Ok((exclusive, aside))
    }

    /// The same for who leaves the recorded build alone, whatever it says.
    ///
    /// # Errors
    /// `held`, `local`.
    pub(crate) fn take(layout: &Layout, command: &str, now: Timestamp) -> Result<Self> {
        prepare_folder(layout)?;
        let lock = BuildLock::take(&layout.state_lock(), command, now)?;
        fs::checkpoint("lock-held");
        mark(layout)?;
        Ok(Self { layout: layout.clone(), state: None, is_changed: false, lock })
    }

    /// Whether the last run may have left something else than it recorded.
    pub fn is_doubtful(&self) -> bool {
        self.lock.is_doubtful()
    }

    /// What the last run left was compared with what it recorded.
    pub fn settle(&mut self) {
        self.lock.settle();
    }

    /// The state with every change so far; None where there is none.
    pub fn get(&self) -> Option<&BuildState> {
        self.state.as_ref()
    }

    /// Begins a new build.
    pub fn replace(&mut self, state: BuildState, now: Timestamp) -> Result<()> {
        self.state = Some(state);
        self.write(now)
    }

    /// Changes the state and writes it. Without a state nothing happens.
    pub fn update(&mut self, now: Timestamp, change: impl FnOnce(&mut BuildState)) -> Result<()> {
        self.change(change);
        self.write_changes(now)
    }

    /// Changes the state; the next write takes it along.
    pub fn change(&mut self, change: impl FnOnce(&mut BuildState)) {
        if let Some(state) = &mut self.state {
            change(state);
            self.is_changed = true;
        }
    }

    /// Writes what was changed since the last write.
    pub(crate) fn write_changes(&mut self, now: Timestamp) -> Result<()> {
        if self.is_changed { self.write(now) } else { Ok(()) }
    }

    /// Forgets the build: deletes state.json.
    pub fn delete(&mut self) -> Result<()> {
        self.state = None;
        fs::remove_file(&self.layout.state())?;
        fs::sync_dir(&self.layout.build)
    }

    fn write(&mut self, now: Timestamp) -> Result<()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        state.updated_at = now.into();
        let mut bytes = serde_json::to_vec_pretty(state)
            .map_err(|error| Error::new(Class::State, "cannot write the state as JSON").caused_by(error))?;
        bytes.push(b'\n');
        fs::write_atomic(&self.layout.state(), &bytes)?;
        self.is_changed = false;
        fs::checkpoint("state-written");
        Ok(())
    }
}

/// Makes build/ where it is missing, and refuses what somebody else has filled.
fn prepare_folder(layout: &Layout) -> Result<()> {
    if is_ours(layout) {
        return Ok(());
    }
    // What a kill leaves of a first start, and what another process is
    // writing just now.
    let begun = [layout.state_lock(), fs::temporary_beside(&layout.marker())];
    let is_foreign =
        |entry: std::io::Result<std::fs::DirEntry>| entry.map_or(true, |entry| !begun.contains(&entry.path()));
    let foreign = layout.build.read_dir().is_ok_and(|mut entries| entries.any(is_foreign));
    if foreign && !is_ours(layout) && !holds_our_work(layout) {
        return Err(Error::local(format!(
            "`{}` is not empty and not a build folder of ours: it has no CACHEDIR.TAG that says so",
            shown(&layout.build)
        ))
        .hint("choose another folder with --build-dir, or move what lies in this one away"));
    }
    // Whatever is published elsewhere is recorded in here.
    fs::create_dir_all_durable(&layout.build)
}

/// Whether a folder carries our marker.
pub fn is_ours(layout: &Layout) -> bool {
    std::fs::read_to_string(layout.marker()).is_ok_and(|text| text == MARKER)
}

/// Whether a folder without the marker is ours all the same: it holds a store
/// or a state of ours. Backups and clean-up tools lose or change the marker.
pub fn holds_our_work(layout: &Layout) -> bool {
    Store::is_at(&layout.store()) || read(&layout.state()).is_ok_and(|state| state.is_some())
}

/// Writes the marker where it is missing or another one.
///
/// # Errors
/// `local`, `disk-full`.
pub fn mark(layout: &Layout) -> Result<()> {
    if is_ours(layout) { Ok(()) } else { fs::write_atomic(&layout.marker(), MARKER.as_bytes()) }
}

/// Why a command leaves a folder without our marker alone.
pub fn unmarked(layout: &Layout) -> Error {
    let folder = shown(&layout.build);
    if holds_our_work(layout) {
        return Error::local(format!(
            "`{folder}` holds a build, but its CACHEDIR.TAG, which says so, is gone or changed"
        ))
        .hint("nothing was removed; look at what lies in it: the next `opencenter-airgap build` writes the tag again");
    }
    Error::local(format!("`{folder}` is not a build folder: it has no CACHEDIR.TAG of ours"))
        .hint("nothing was removed; check --build-dir")
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::pipeline::{HostStep, OnFailure, Pipeline, Runner, StepSpec};

    fn layout(folder: &Path) -> Layout {
        Layout::new(folder.join("config"), folder.join("build"), folder.join("dist"))
    }

    fn state() -> BuildState {
        let spec = StepSpec {
            name: "Container images".into(),
            on_failure: OnFailure::Preserve,
            ..StepSpec::new("images", Runner::Host(HostStep::Images))
        };
        BuildState::new(&Pipeline { steps: vec![spec] }, Timestamp::from_second(0).unwrap())
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        let now = Timestamp::from_second(60).unwrap();
        let mut exclusive = ExclusiveState::open(&layout, "build", now).unwrap();
        assert!(exclusive.get().is_none());
        exclusive.replace(state(), now).unwrap();
        exclusive.update(now, |state| state.steps[0].attempts = 7).unwrap();
        drop(exclusive);
        let read_back = read(&layout.state()).unwrap().unwrap();
        assert_eq!(read_back.steps[0].attempts, 7);
        assert_eq!(read_back.updated_at.to_string(), "1970-01-01T00:01:00Z");
        // YAML is a superset of JSON, and the file is meant to be read as both.
        let text = std::fs::read_to_string(layout.state()).unwrap();
        let yaml: BuildState = serde_yaml::from_str(&text).unwrap();
        assert_eq!(yaml, read_back);
    }

    #[test]
    fn damaged_foreign_and_newer_files_are_refused_and_left_alone() {
        let whole = serde_json::to_string(&state()).unwrap();
        let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
        let unknown = whole.replacen("\"format\":1", "\"format\":1,\"surprise\":true", 1);
        let half = &whole[..whole.len() / 2];
        for text in ["", "null", "[]", "{}", "{\"format\":\"x\"}", half, &newer, &unknown, "\u{0}\u{0}"] {
            let folder = tempfile::tempdir().unwrap();
            let layout = layout(folder.path());
            let now = Timestamp::from_second(0).unwrap();
            drop(ExclusiveState::open(&layout, "build", now).unwrap());
            fs::write_atomic(&layout.state(), text.as_bytes()).unwrap();
            let error = ExclusiveState::open(&layout, "build", now).unwrap_err();
            assert_eq!(error.class(), Class::State, "{text}");
            assert!(error.hint_text().unwrap().contains("build --clean"), "{text}");
            assert_eq!(std::fs::read_to_string(layout.state()).unwrap(), text);
            let (exclusive, aside) = ExclusiveState::open_anew(&layout, "build", now).unwrap();
            assert!(exclusive.get().is_none() && !layout.state().exists(), "{text}");
            assert_eq!(std::fs::read_to_string(aside.unwrap()).unwrap(), text);
        }
    }

    /// The marker is lost, changed or replaced by another's: the downloads stay
    /// where they are, and it is written again.
    #[test]
    fn a_folder_that_lost_its_marker_is_known_by_what_it_holds() {
        let now = Timestamp::from_second(0).unwrap();
        for (tag, holds_store) in [(None, true), (Some(""), true), (Some("Signature: x"), true), (None, false)] {
            let folder = tempfile::tempdir().unwrap();
            let layout = layout(folder.path());
            let mut exclusive = ExclusiveState::open(&layout, "build", now).unwrap();
            if holds_store {
                Store::open(layout.store()).unwrap().insert_bytes(b"x").unwrap();
            } else {
                exclusive.replace(state(), now).unwrap();
            }
            drop(exclusive);
            fs::remove_file(&layout.marker()).unwrap();
            if let Some(tag) = tag {
                fs::write_atomic(&layout.marker(), tag.as_bytes()).unwrap();
            }
            assert!(unmarked(&layout).message().contains("holds a build"));
            drop(ExclusiveState::open(&layout, "build", now).unwrap());
            assert!(is_ours(&layout));
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        fs::create_dir_all(&layout.build).unwrap();
        fs::write_atomic(&layout.build.join("thesis.tex"), b"x").unwrap();
        let error = ExclusiveState::open(&layout, "build", Timestamp::from_second(0).unwrap()).unwrap_err();
        assert!(error.message().contains("not a build folder of ours"));
    }
}
