//! Opens a build: lock, recovery, and the comparison of the configuration
//! with the one that the build began with.

use std::sync::Arc;

use jiff::Timestamp;

use super::known_lock;
use super::plan::Request;
use crate::state::{BuildState, ExclusiveState, Status, StepState};
use crate::transaction::Recovered;
use crate::{state, transaction};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};
use base::progress::{Event, Level, Observer};
use config::airgap_lock::AirgapLock;
use config::hash::{Change, ConfigHashes, changes};
use config::pipeline::OnFailure;
use config::runners::Runners;
use config::{Project, written};
use disk::fs;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Forget the recorded build; the store stays.
    pub clean: bool,
    /// Which steps.
    pub request: Request,
    /// What happens where the configuration changed under an unfinished build.
    pub on_change: OnChange,
    /// Build from the store alone.
    pub offline: bool,
    /// Refuse anything that airgap.lock does not hold.
    pub locked: bool,
    /// An update: the names whose entries in the lock are resolved again; `*`
    /// is all. None for a build.
    pub refresh: Option<Vec<String>>,
    /// Images that charts name and the manifest lacks are errors.
    pub strict_images: bool,
    /// Hash the outputs of completed steps instead of comparing sizes.
    pub verify_outputs: bool,
    /// What was resolved before the build was opened: the skeletons that the
    /// definition imports.
    pub found: AirgapLock,
}

impl Options {
    /// The lock as a build with these options knows it: what can not be
    /// vouched for is not in it. Under `--locked`
    /// nothing counts but airgap.lock itself, and what an `update` that was
    /// killed had found is not known to be wanted.
    ///
    /// # Errors
    /// `local` where the diary of a killed build can not be read.
    pub fn lock(&self, project: &Project) -> Result<SharedLock> {
        let mut lock = project.lock.clone();
        lock.forget(self.refresh.as_deref().unwrap_or_default());
        let shared = match (self.locked, &self.refresh) {
            (true, _) => SharedLock::frozen(lock),
            (false, Some(_)) => SharedLock::new(lock),
            (false, None) => SharedLock::with_diary(lock, project.layout.resolved())?,
        };
        shared.take_up(&self.found)?;
        Ok(shared.without_doubts(&Runners::of(project), &Store::open(project.layout.store())?))
    }
}

/// What happens when the configuration of an unfinished build changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// Refuse to go on, and say what changed.
    #[default]
    Refuse,
    /// Begin again; the store stays.
    Restart,
}

/// A build that this process holds.
#[derive(Debug)]
pub struct Session {
    /// The configuration, loaded and checked.
    pub project: Arc<Project>,
    /// state.json, under the lock.
    pub state: ExclusiveState,
}

impl Session {
    /// Takes the build over: locks it, recovers it, and decides whether it
    /// goes on or begins anew.
    ///
    /// # Errors
    /// `held`, `state`, `changed`, `local`, `disk-full`. With `changed`
    /// nothing was altered.
    pub fn open(project: Arc<Project>, options: &Options, observer: &dyn Observer, now: Timestamp) -> Result<Self> {
        let mut state = open_state(&project.layout, options, observer, now)?;
        let pipeline = &project.pipeline;
        let on_failure = |id: &str| {
            pipeline.steps.iter().find(|spec| spec.id == id).map_or(OnFailure::RollBack, |spec| spec.on_failure)
        };
        sweep(&project)?;
        let recovered = transaction::recover(&project.layout, &mut state, on_failure, now)?;
        recovered.iter().for_each(|recovered| tell(observer, Level::Info, &told(recovered)));
        // A commit that was carried out may have published configuration.
        let project = if recovered.is_empty() { project } else { Arc::new(project.reload()?) };
        let pipeline = &project.pipeline;
        settle(&mut state, &project, now)?;
        // Where the last step publishes, hours from now.
        fs::check_writable(&project.layout.dist)?;
        written::check(&project.layout)?;
        if options.refresh.is_some() {
            fs::check_writable(&project.layout.config)?;
        }
        let next = BuildState::new(pipeline, now).after(state.get());
        if options.clean {
            state.delete()?;
        }
        match state.get().map(|state| standing(state, &project)) {
            None => {
                begin(&mut state, next, now)?;
            }
            Some(Standing::Unchanged) => {
                if state.get().is_some_and(|state| !aligned(state, &project)) {
                    state.update(now, |state| state.align(pipeline))?;
                }
            }
            Some(Standing::FinishedAndChanged(changes)) => {
                tell(
                    observer,
                    Level::Info,
                    &format!("the configuration changed, a new build begins: {}", list(&changes)),
                );
                begin(&mut state, next, now)?;
            }
            Some(Standing::UnfinishedAndChanged(changes)) if options.on_change == OnChange::Restart => {
                tell(
                    observer,
                    Level::Info,
                    &format!("the configuration changed, the build begins again: {}", list(&changes)),
                );
                begin(&mut state, next, now)?;
            }
            Some(Standing::UnfinishedAndChanged(changes)) => return Err(refusal(&changes)),
        }
        let session = Self { project, state };
        session.remember_lock()?;
        Ok(session)
    }

    /// Whether what the last run left is compared with what it recorded before
    /// any of it is called done: it did not end by itself, or found that
    /// something is not what was recorded.
    pub fn is_doubtful(&self) -> bool {
        self.state.is_doubtful() || self.state.get().is_some_and(has_found_damage)
    }

    /// Keeps the lock as this build knows it, for telling what changed.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub(crate) fn remember_lock(&self) -> Result<()> {
        let recorded = self.state.get().and_then(|state| state.configuration.as_ref()).and_then(ConfigHashes::lock);
        known_lock::remember(&self.project.layout, recorded)
    }
}

/// Locks the folder and reads what is recorded in it. Who forgets that anyway
/// is not stopped by what can not be read.
fn open_state(layout: &Layout, options: &Options, observer: &dyn Observer, now: Timestamp) -> Result<ExclusiveState> {
    if !options.clean {
        return ExclusiveState::open(layout, "build", now);
    }
    let (state, aside) = ExclusiveState::open_anew(layout, "build", now)?;
    if let Some(aside) = aside {
        let (from, to) = (shown(&layout.state()), shown(&aside));
        tell(observer, Level::Warn, &format!("the state `{from}` could not be read: it is put aside as `{to}`"));
    }
    Ok(state)
}

/// The recorded build, for who only looks ahead: what `--clean` puts aside
/// counts as none.
///
/// # Errors
/// `state`.
pub fn recorded(layout: &Layout, options: &Options) -> Result<Option<BuildState>> {
    match state::read(&layout.state()) {
        Err(error) if options.clean && error.class() == Class::State => Ok(None),
        read => read,
    }
}

/// As [`Session::is_doubtful`], for who only looks.
pub fn is_doubtful(layout: &Layout, state: Option<&BuildState>) -> bool {
    state::lock::is_doubtful(&layout.state_lock()) || state.is_some_and(has_found_damage)
}

/// Whether a step failed over bytes that are not what was recorded of them.
fn has_found_damage(state: &BuildState) -> bool {
    let of_step = |step: &StepState| step.error.as_ref().is_some_and(|error| error.class == Class::Integrity);
    state.steps.iter().any(of_step)
}

/// Drops what a kill left half-written outside of every transaction.
fn sweep(project: &Project) -> Result<()> {
    let layout = &project.layout;
    let lock = layout.airgap_lock();
    let lock = written::home(layout, &lock).unwrap_or(lock);
    for path in [layout.state(), layout.metrics(), layout.resolved(), layout.known_lock(), lock] {
        fs::remove_file(&fs::temporary_beside(&path))?;
    }
    Store::open(layout.store())?.sweep()
}

/// How a recorded build relates to the present configuration.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// It is the one that the build began with.
    Unchanged,
    /// The build is complete: a new one begins.
    FinishedAndChanged(Vec<Change>),
    /// The build is not complete: it may not go on with another configuration unless the user
    /// says so.
    UnfinishedAndChanged(Vec<Change>),
}

/// Compares the configuration that a build recorded with the present one. A
/// build that recorded none yet has nothing to be compared with.
pub fn standing(state: &BuildState, project: &Project) -> Standing {
    let Some(fixed) = &state.configuration else { return Standing::Unchanged };
    // What the build itself wrote is nobody's change.
    let announced = state.announced().filter(|announced| announced.lock() == project.hashes.lock());
    let recorded = announced.as_ref().unwrap_or(fixed);
    if recorded.total == project.hashes.total {
        return Standing::Unchanged;
    }
    let changes = changes(recorded, &project.hashes);
    let changes = known_lock::in_detail(changes, &project.layout, recorded.lock(), &project.lock);
    if state.is_finished() { Standing::FinishedAndChanged(changes) } else { Standing::UnfinishedAndChanged(changes) }
}

/// Finishes what a killed build was about to record: the configuration once
/// the component manifest is published, the lock once it is written.
fn settle(state: &mut ExclusiveState, project: &Project, now: Timestamp) -> Result<()> {
    let Some(build) = state.get() else { return Ok(()) };
    let published = build.step(super::MANIFESTS).filter(|step| step.status == Status::Completed);
    if let (Some(manifests), None) = (published, &build.configuration) {
        let untouched = is_untouched(manifests, project);
        return state.update(now, |state| match state.step_mut(super::MANIFESTS) {
            Some(manifests) if !untouched => manifests.status = Status::Pending,
            _ => state.fix(&project.hashes),
        });
    }
    if build.announced().is_some_and(|announced| announced.lock() == project.hashes.lock()) {
        return state.update(now, BuildState::lock_written);
    }
    Ok(())
}

/// Whether the configuration that a step published is still what it
/// published: an edit made after a kill belongs to a new attempt.
fn is_untouched(step: &StepState, project: &Project) -> bool {
    let published = step.outputs.iter().flat_map(|outputs| &outputs.published);
    let layout = &project.layout;
    let mut configuration =
        published.map(|file| (layout.published(&file.path), file)).filter(|(path, _)| path.starts_with(&layout.config));
    configuration.all(|(path, file)| std::fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == file.digest))
}

fn aligned(state: &BuildState, project: &Project) -> bool {
    state.steps.iter().map(|step| &step.id).eq(project.pipeline.steps.iter().map(|spec| &spec.id))
}

/// Records a new build, in which the configuration is loaded already.
fn begin(state: &mut ExclusiveState, mut build: BuildState, now: Timestamp) -> Result<()> {
    let created_at = build.created_at;
    if let Some(step) = build.step_mut(super::CONFIG) {
        step.status = Status::Completed;
        step.attempts = 1;
        step.started_at = Some(created_at);
        step.completed_at = Some(created_at);
        step.duration_ms = Some(0);
        step.summary = Some("valid".to_owned());
    }
    state.replace(build, now)
}

/// Why an unfinished build does not go on with another configuration.
pub(super) fn refusal(changes: &[Change]) -> Error {
    Error::new(Class::Changed, format!("the configuration changed since this build began: {}", list(changes))).hint(
        "revert the change to go on, or start from the beginning with `build --on-change restart` or `build --clean`: \
         nothing that was downloaded is lost",
    )
}

fn list(changes: &[Change]) -> String {
    const SHOWN: usize = 10;
    let mut text = changes.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if changes.len() > SHOWN {
        text.push_str(&format!("; and {} more", changes.len() - SHOWN));
    }
    if text.is_empty() {
        text.push_str("a file under config/");
    }
    text
}

fn told(recovered: &Recovered) -> String {
    match recovered {
        Recovered::Committed(step) => format!("completed the commit of `{}` that was cut short", step.id),
        Recovered::Discarded(id) => format!("cleaned up after the interrupted attempt of `{id}`"),
    }
}

fn tell(observer: &dyn Observer, level: Level, message: &str) {
    observer.observe(&Event::Log { step: None, level, message: message.to_owned() });
}
