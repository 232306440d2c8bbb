//! What state.json holds. It is JSON and therefore YAML as well.
//!
//! A reader of this version reads only this version: a newer file is shown an
//! error, never overwritten. Unknown fields are refused with the same care,
//! for a file that we half understand is not ours to write back.

use base::progress::ItemProgress;
use base::timestamp::Stamp;
use config::publish::Published;
use plugin_host::catalog::PluginIdentity;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use base::digest::Digest;
use base::error::{Class, Error};
use base::progress::Counts;
use config::hash::ConfigHashes;
use config::pipeline::{CONFIG, MANIFESTS, Pipeline, StepId, StepSpec};

/// The version of the format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// state.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildState {
    /// Of the file's format: [`FORMAT`].
    pub format: u32,
    /// Says which build this is: the time of its start and six random digits.
    pub build_id: String,
    /// Of the program that wrote the file.
    pub tool_version: String,
    /// None until the component manifest was published.
    pub config_hash: Option<Digest>,
    /// The digest of each file of the configuration, by name as in [`ConfigHashes`]; empty as long as
    /// `config_hash` is None.
    pub config_files: BTreeMap<String, Digest>,
    /// When the build began.
    pub created_at: Stamp,
    /// When the state was written last.
    pub updated_at: Stamp,
    /// When the last finished build gave way to this one, or to one before it
    /// that never finished: what came into the store since then may be known to
    /// nobody yet. None where no finished build is known of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished_since: Option<Stamp>,
    /// One for each step, in the order of the pipeline.
    pub steps: Vec<StepState>,
    /// The configuration that the build began with, for telling what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigHashes>,
    /// The one before it, while the component manifest is being made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<ConfigHashes>,
    /// The lock that this build is about to write: until it is written, the
    /// file may be this one or the one that `configuration` knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_lock: Option<Digest>,
}

/// Where a step stands. RUNNING without a holder of the lock means that the
/// attempt was interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Not done in this build yet.
    #[default]
    Pending,
    /// An attempt runs.
    Running,
    /// Its outputs are committed.
    Completed,
    /// The last attempt failed, and was not repeated.
    Failed,
}

/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepState {
    /// The step's id in the pipeline.
    pub id: StepId,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Where it stands.
    #[serde(default)]
    pub status: Status,
    /// Attempts in this build.
    #[serde(default)]
    pub attempts: u32,
    /// When the last attempt began. None before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Stamp>,
    /// When its outputs were committed. None while they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Stamp>,
    /// Milliseconds of the last attempt that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The plugin of the last attempt; None where the host itself does the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginIdentity>,
    /// How far the last attempt was when it ended; None where it never said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ItemProgress>,
    /// Of the last attempt: how many items are done, and which failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// What it made; None before it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// Why the last attempt failed; None where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
    /// What it made when it was last completed, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it fetched and found in the store: in all attempts of the run that completed it, or
    /// in the last attempt where that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What the outputs were made from: plugin, configuration, input trees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
}

impl StepState {
    /// A step of which nothing is done.
    pub fn new(spec: &StepSpec) -> Self {
        Self {
            id: spec.id.clone(),
            name: spec.name.clone(),
            status: Status::Pending,
            attempts: 0,
            started_at: None,
            completed_at: None,
            duration_ms: None,
            plugin: None,
            progress: None,
            items: None,
            outputs: None,
            error: None,
            summary: None,
            counts: None,
            inputs: None,
        }
    }
}

/// Folded from the journal when the attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Items that are finished.
    pub done: u64,
    /// Items in all; 0 where that was never known.
    pub total: u64,
    /// Those that failed, as many as are kept.
    pub failed: Vec<FailedItem>,
    /// Those that failed as well, beyond the longest list that is kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_unlisted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One bad item of a step that went on past it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    /// The image, file, chart or repository as the user wrote it.
    pub name: String,
    /// The error's class.
    pub class: Class,
    /// What a plugin calls this failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What failed and why.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a completed step made: its tree, and what was published from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// Files of the tree.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Of the listing of the tree.
    pub digest: Option<Digest>,
    /// What became visible outside build/ with the commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// The error of a failed attempt, as it is shown later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedError {
    /// The error's class.
    pub class: Class,
    /// What a plugin calls this failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error with its causes, on one line.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When a rate-limited server will answer again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// Lines for who looks into it: where in a component it crashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl From<&Error> for RecordedError {
    fn from(error: &Error) -> Self {
        Self {
            class: error.class(),
            code: error.code().map(str::to_owned),
            message: error.one_line(),
            hint: error.hint_text().map(str::to_owned),
            until: error.until().filter(|_| error.class() == Class::RateLimited).map(Stamp::from),
            details: error.details().to_vec(),
        }
    }
}

impl BuildState {
    /// A build in which nothing has happened.
    pub fn new(pipeline: &Pipeline, now: Timestamp) -> Self {
        let steps = pipeline.steps.iter().map(StepState::new).collect();
        Self {
            format: FORMAT,
            build_id: format!("{}-{:06x}", now.strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(0..1 << 24)),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: None,
            config_files: BTreeMap::new(),
            created_at: now.into(),
            updated_at: now.into(),
            unfinished_since: None,
            steps,
            configuration: None,
            released: None,
            next_lock: None,
        }
    }

    /// The step with this id; None where there is none.
    pub fn step(&self, id: &str) -> Option<&StepState> {
        self.steps.iter().find(|step| step.id == id)
    }

    pub(crate) fn step_mut(&mut self, id: &str) -> Option<&mut StepState> {
        self.steps.iter_mut().find(|step| step.id == id)
    }

    /// Fixes the configuration that this build belongs to.
    pub(crate) fn fix(&mut self, hashes: &ConfigHashes) {
        let before = self.released.take();
        if before.is_some_and(|before| before.differs_beyond_manifests(hashes)) {
            // Nothing would tell that they were made from something else.
            let others = self.steps.iter_mut().filter(|step| ![CONFIG, MANIFESTS].contains(&step.id.as_str()));
            others.filter(|step| step.status == Status::Completed).for_each(|step| step.status = Status::Pending);
        }
        self.config_hash = hashes.total;
        self.config_files.clone_from(&hashes.files);
        self.configuration = Some(hashes.clone());
        self.next_lock = None;
    }

    /// The configuration is open again until the component manifest is
    /// published anew.
    pub fn release(&mut self) {
        self.config_hash = None;
        self.released = self.configuration.take().or(self.released.take());
        self.next_lock = None;
    }

    /// The configuration of this build once the announced lock is written.
    pub fn announced(&self) -> Option<ConfigHashes> {
        Some(self.configuration.as_ref()?.with_lock(Some(self.next_lock?)))
    }

    /// The lock was written as announced.
    pub(crate) fn lock_written(&mut self) {
        if let Some(hashes) = self.announced() {
            self.fix(&hashes);
        }
    }

    /// Whether every step is done.
    pub fn is_finished(&self) -> bool {
        self.steps.iter().all(|step| step.status == Status::Completed)
    }

    /// Knows what the build that it replaces leaves in the store. With the
    /// record of an unfinished one goes the knowledge of what it fetched, not
    /// what it fetched.
    #[must_use]
    pub fn after(mut self, replaced: Option<&Self>) -> Self {
        self.unfinished_since = replaced.and_then(|replaced| match replaced.is_finished() {
            true => Some(self.created_at),
            false => replaced.unfinished_since,
        });
        self
    }

    /// Takes over the steps of a pipeline: states of steps that are still
    /// there are kept, new ones are pending.
    pub(crate) fn align(&mut self, pipeline: &Pipeline) {
        let mut old: BTreeMap<StepId, StepState> =
            std::mem::take(&mut self.steps).into_iter().map(|step| (step.id.clone(), step)).collect();
        self.steps = pipeline
            .steps
            .iter()
            .map(|spec| {
                let step = old.remove(&spec.id).unwrap_or_else(|| StepState::new(spec));
                StepState { name: spec.name.clone(), ..step }
            })
            .collect();
    }
}
