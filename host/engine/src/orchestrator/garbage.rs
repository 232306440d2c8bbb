//! `gc`: what lies in build/ and is not needed by the configuration.
//!
//! Needed is what airgap.lock and the diary of a killed build hold of the
//! components, and what the committed trees are made of. As long as no build
//! is finished, everything that was fetched since the last one was stays as
//! well: what that is for may be known only once a build goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use model::ResolvedComponents;
use serde::Serialize;

use super::listed::in_memory;
use super::needs::{needs, skeletons};
use super::outputs::tree_of;
use super::preview::OnDisk;
use crate::state::BuildState;
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::{Layout, RESERVED, shown};
use config::airgap_lock::{AirgapLock, LockChange};
use config::lock_names::Names;
use config::pipeline::Runner;
use config::runners::Runners;
use config::{Project, hash, imports, written};
use disk::fs;
use fetch::shared_lock::found_since;
use fetch::store::Store;
use fetch::store::collect::{Keep, Removed};
use plugin_host::catalog;

/// What was removed, or would be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Garbage {
    /// What of the store.
    pub store: Removed,
    /// Clones of repositories that the configuration does not name.
    pub clones: Vec<StaleClone>,
    /// Skeletons that the definition does not import, as they were unpacked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<StaleClone>,
    /// Entries of airgap.lock of plugins that do not run here any more, or may
    /// not ask for what they fetched.
    pub entries: Vec<LockChange>,
    /// Whether no build is finished, so that all that was fetched since the
    /// last one was stays.
    pub is_unfinished: bool,
}

/// A clone, or a skeleton, that nobody names any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StaleClone {
    /// Where it lies: `build/<name>`, `build/imports/<digest>`.
    pub path: String,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Garbage {
    /// Bytes that come back once no tree links to them.
    pub fn bytes(&self) -> u64 {
        let clones: u64 = self.clones.iter().chain(&self.imports).map(|clone| clone.bytes).sum();
        self.store.blob_bytes + self.store.partial_bytes + clones
    }
}

/// Removes what is not needed; with `dry_run` only says what it would be. The
/// caller holds the build.
///
/// # Errors
/// `configuration`, `local`.
pub fn collect(project: &Project, state: Option<&BuildState>, now: Timestamp, dry_run: bool) -> Result<Garbage> {
    if !project.unfetched().is_empty() {
        let missing = project.unfetched().join(", ");
        return Err(Error::configuration(format!(
            "nobody knows what is needed: the definition imports what is not fetched yet: {missing}"
        ))
        .hint("run `opencenter-airgap build` first, which fetches it"));
    }
    let components = in_memory(project)?;
    let store = Store::open(project.layout.store())?;
    let runners = Runners::of(project);
    let names =
        Names::new(&components, &project.of_architectures(), runners.clone()).with_skeletons(&project.skeletons());
    let mut lock = project.lock.clone();
    lock.absorb(&found_since(&lock, &project.layout.resolved())?);
    let held = OnDisk { store: &store, layout: &project.layout };
    let mut needed = needs(&components, &lock, &held);
    needed.extend(skeletons(&project.skeletons(), &lock, &held));
    let mut blobs: BTreeSet<Digest> = needed.iter().flat_map(|need| &need.parts).map(|part| part.digest).collect();
    blobs.extend(locked_blobs(lock, &names));
    for spec in &project.pipeline.steps {
        if let Ok(tree) = tree_of(&project.layout, &spec.id) {
            blobs.extend(tree.listing.artifacts.iter().map(|artifact| artifact.digest));
        }
    }
    let is_unfinished = state.is_none_or(|state| !state.is_finished());
    if is_unfinished {
        blobs.extend(store.fetched_since(unfinished_since(state, now))?);
    }
    let plugins = project.pipeline.steps.iter().filter_map(|step| match &step.run {
        Runner::Plugin(name) => catalog::identity(name, &project.plugin_pins),
        Runner::Host(_) => None,
    });
    let readers = plugins.map(|plugin| plugin.digest).collect();
    let keep = Keep { blobs, runners: runners.clone(), readers, every_partial: is_unfinished };
    Ok(Garbage {
        store: store.remove_all_but(&keep, dry_run)?,
        imports: remove_imports(project, dry_run)?,
        clones: remove_clones(&project.layout, &components, dry_run)?,
        entries: remove_entries(project, &runners, dry_run)?,
        is_unfinished,
    })
}

/// Takes what gone plugins resolved out of airgap.lock. Who took a plugin out
/// changed the configuration already, so no build minds.
fn remove_entries(project: &Project, runners: &Runners, dry_run: bool) -> Result<Vec<LockChange>> {
    let mut pruned = project.lock.clone();
    pruned.prune_plugins(runners);
    let gone = project.lock.diff(&pruned);
    if !gone.is_empty() && !dry_run {
        let (layout, read) = (&project.layout, project.read.digest(hash::AIRGAP_LOCK));
        written::replace(layout, &layout.airgap_lock(), read, pruned.to_text().as_bytes())?;
    }
    Ok(gone)
}

/// Every blob of the lock that something still names.
fn locked_blobs(mut lock: AirgapLock, names: &Names) -> BTreeSet<Digest> {
    lock.prune(names);
    let mut blobs = BTreeSet::new();
    for image in lock.images.values() {
        blobs.extend(image.index);
        blobs.extend([image.manifest, image.config.digest]);
        blobs.extend(image.layers.iter().map(|layer| layer.digest));
        for referrer in image.referrers.iter().flatten() {
            blobs.insert(referrer.manifest);
            blobs.extend(referrer.blobs.iter().map(|blob| blob.digest));
        }
    }
    blobs.extend(lock.files.values().map(|file| file.sha256));
    blobs.extend(lock.of_plugins().map(|(.., file)| file.sha256));
    blobs.extend(lock.charts.values().map(|chart| chart.digest));
    blobs
}

/// When the last finished build had ended, by the clock of the disk; the
/// beginning of time where none is known of. Where the clock was set back since
/// then, what came later looks older than it is: then everything stays.
fn unfinished_since(state: Option<&BuildState>, now: Timestamp) -> SystemTime {
    let trusted = state.and_then(|state| {
        let started = state.steps.iter().filter_map(|step| step.started_at);
        let mut later = started.chain([state.created_at, state.updated_at, now.into()]);
        state.unfinished_since.filter(|since| later.all(|time| time >= *since))
    });
    let seconds = trusted.and_then(|since| u64::try_from(since.seconds()).ok()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn remove_clones(layout: &Layout, components: &ResolvedComponents, dry_run: bool) -> Result<Vec<StaleClone>> {
    let named: BTreeSet<&str> = components.repositories.iter().map(|repository| repository.name.as_str()).collect();
    let mut stale = Vec::new();
    for path in entries(&layout.build)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if RESERVED.contains(&name) || named.contains(name) || !is_our_clone(&path) {
            continue;
        }
        stale.push(StaleClone { path: shown(&path), bytes: bytes_below(&path)? });
        if !dry_run {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(stale)
}

fn remove_imports(project: &Project, dry_run: bool) -> Result<Vec<StaleClone>> {
    let layout = &project.layout;
    let locked = project.skeletons().into_iter().filter_map(|url| project.lock.files.get(url));
    let named: BTreeSet<PathBuf> = locked.map(|file| imports::folder(layout, &file.sha256)).collect();
    let mut stale = Vec::new();
    for path in entries(&layout.imports())?.into_iter().filter(|path| path.is_dir() && !named.contains(path)) {
        stale.push(StaleClone { path: shown(&path), bytes: bytes_below(&path)? });
        if !dry_run {
            imports::remove(&path)?;
        }
    }
    Ok(stale)
}

/// A bare repository with references that only we set. Whatever else lies in
/// build/ is left alone.
fn is_our_clone(path: &Path) -> bool {
    let is_bare = !path.is_symlink() && path.join("HEAD").is_file() && path.join("objects").is_dir();
    let packed = || std::fs::read_to_string(path.join("packed-refs")).is_ok_and(|text| text.contains(" refs/pins/"));
    is_bare && (path.join("refs/pins").is_dir() || packed())
}

/// Sorted; empty where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(|source| Error::io("cannot list", folder, source))?,
    };
    let paths: std::io::Result<Vec<PathBuf>> = list.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|source| Error::io("cannot list", folder, source))?;
    paths.sort();
    Ok(paths)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in entries(&folder)? {
            let metadata = path.symlink_metadata().map_err(|source| Error::io("cannot read", &path, source))?;
            if metadata.is_dir() {
                open.push(path);
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use model::Repository;

    use super::*;
    use config::airgap_lock::LockedFile;
    use config::pipeline::Pipeline;

    #[test]
    fn only_what_the_components_name_stays_of_the_lock() {
        let file = |text: &str| LockedFile {
            sha256: Digest::of(text.as_bytes()),
            size: 1,
            checksum: None,
            build: Some("1".into()),
        };
        let mut lock = AirgapLock::default();
        lock.files.insert("https://h/yq".into(), file("yq"));
        lock.files.insert("https://h/old".into(), file("old"));
        let components: ResolvedComponents = serde_json::from_value(serde_json::json!({
            "architecture": "amd64", "package": { "name": "p", "version": "1" }, "repositories": [], "images": [], "charts": [],
            "files": [{ "kind": "tool", "name": "yq", "version": "4", "url": "https://h/yq" }],
        }))
        .unwrap();
        let names = Names::new(&components, &[], Runners::default());
        assert_eq!(locked_blobs(lock, &names), [Digest::of(b"yq")].into());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_old() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let new = |time| BuildState::new(&Pipeline { steps: Vec::new() }, at(time));
        let mut state = new("2030-01-02T00:00:00Z").after(Some(&new("2030-01-01T00:00:00Z")));
        let seconds = |state: &BuildState, now| {
            let since = unfinished_since(Some(state), at(now));
            since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
        };
        assert_eq!(seconds(&state, "2030-01-02T00:00:00.5Z"), at("2030-01-02T00:00:00Z").as_second());
        assert_eq!(seconds(&state, "2030-01-01T23:59:59Z"), 0);
        // It was set back, and enough time has passed since.
        state.updated_at = at("2030-01-01T12:00:00Z").into();
        assert_eq!(seconds(&state, "2030-01-03T00:00:00Z"), 0);
    }

    /// What a build fetched may be known to nobody else: its record may go,
    /// or give way to that of a build that is killed in its first moment.
    #[test]
    fn what_an_unfinished_build_fetched_outlives_its_record() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let done = BuildState::new(&Pipeline { steps: Vec::new() }, at("2030-01-01T00:00:00Z"));
        let mut failed = BuildState { ..done.clone() }.after(Some(&done));
        assert_eq!(failed.unfinished_since, Some(done.created_at));
        failed.steps.push(crate::state::StepState::default());
        let again = BuildState::new(&Pipeline { steps: Vec::new() }, at("2030-01-05T00:00:00Z"));
        assert_eq!(again.clone().after(Some(&failed)).unfinished_since, failed.unfinished_since);
        assert_eq!(again.after(None).unfinished_since, None);
        assert_eq!(unfinished_since(None, at("2030-01-05T00:00:00Z")), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn only_our_own_clones_that_nobody_names_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new("config", folder.path(), "dist");
        let clone = |name: &str, pins: &str| {
            for part in ["objects", pins] {
                fs::create_dir_all(&folder.path().join(name).join(part)).unwrap();
            }
            fs::write_new(&folder.path().join(name).join("HEAD"), b"ref: refs/heads/unborn\n").unwrap();
        };
        clone("named", "refs/pins");
        clone("old", "refs/pins");
        clone("foreign", "refs/heads");
        fs::create_dir_all(&folder.path().join("notes")).unwrap();
        let repository =
            Repository { name: "named".into(), url: "https://h/named.git".into(), reference: None, commit: None };
        let components = ResolvedComponents { repositories: vec![repository], ..ResolvedComponents::default() };

        let planned = remove_clones(&layout, &components, true).unwrap();
        assert_eq!(planned.len(), 1);
        assert!(planned[0].path.ends_with("old") && planned[0].bytes == 23, "{planned:?}");
        assert!(folder.path().join("old").exists());
        assert_eq!(remove_clones(&layout, &components, false).unwrap(), planned);
        assert!(!folder.path().join("old").exists());
        for kept in ["named", "foreign", "notes"] {
            assert!(folder.path().join(kept).exists(), "{kept}");
        }
    }
}
