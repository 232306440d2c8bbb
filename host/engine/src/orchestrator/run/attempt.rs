//! One attempt of a step: how it begins, and the endings it may have.
//!
//! [`Run::start`] opens the transaction, [`Run::complete`] commits it and
//! [`Run::fail`] ends it as the step declares and asks whether to try again.
//! None of them writes the state: [`Run::record`] does, once for all that one
//! turn of the loop changed. So the commit of one step and the start of those
//! that waited for it cost one write together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use super::book::{self, Spent, StepIndex};
use super::lock::WHILE_BUILDING;
use super::{Run, millis};
use crate::orchestrator::decide::Ending;
use crate::orchestrator::facts::{Executor, made_with};
use crate::orchestrator::report::RunError;
use crate::orchestrator::{MANIFESTS, preview, room};
use crate::state::format::{Items, RecordedError};
use crate::state::{Status, StepState};
use crate::steps::{Step, StepContext};
use crate::transaction::{Committed, Publication, Transaction};
use crate::{steps, transaction};
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::{Layout, shown};
use base::progress::{Counts, Event, ItemProgress, Progress, StepOutcome};
use base::timestamp::Stamp;
use config::as_read::no_longer;
use config::hash::ConfigHashes;
use config::pipeline::{StepSpec, Target};
use config::settings::RetrySettings;
use config::{hash, publish, written};
use disk::tree::Tree;
use futures_util::future::BoxFuture;
use plugin_host::catalog::PluginSource;
use plugin_host::handed::Handed;

/// How long the end of an interrupted attempt may tidy up, and the bytes of a
/// file whose removal alone would take longer.
const TIDYING: Duration = Duration::from_millis(100);
const LARGE: u64 = 32 << 20;

/// What the loop keeps of a running attempt.
pub(super) struct Open {
    pub(super) transaction: Transaction,
    pub(super) progress: Progress,
    started: Instant,
    started_at: Stamp,
    inputs: Digest,
}

/// What a task hands back.
pub(super) enum Message {
    Ended(StepIndex, Result<StepOutcome>),
    RetryDue(StepIndex),
}

/// What one turn of the loop changed and has not written down yet.
#[derive(Default)]
pub(super) struct Turn {
    /// Carried out; the state is to say so.
    committed: Vec<Committed>,
    /// Told once it is durable.
    events: Vec<Event>,
    /// Run once the state says so.
    starting: Vec<BoxFuture<'static, Message>>,
}

/// What an attempt came to that did not complete.
pub(super) struct Ended {
    items: Items,
    progress: Option<ItemProgress>,
    duration_ms: u64,
    counts: Counts,
}

impl Open {
    /// What there is to record of it; the journal goes with the transaction.
    pub(super) fn ended(&self) -> Result<Ended> {
        let (items, progress) = self.transaction.items()?;
        Ok(Ended {
            items,
            progress: progress.or_else(|| self.progress.reached()),
            duration_ms: millis(self.started.elapsed()),
            counts: self.progress.counters().read(),
        })
    }
}

impl Run {
    pub(super) fn start(
        &mut self,
        index: StepIndex,
        executor: Executor,
        inputs: BTreeMap<String, Tree>,
        key: Digest,
    ) -> Result<()> {
        let spec = self.book.spec(index).clone();
        let id = spec.id.clone();
        let recorded = executor.plugin().map(PluginSource::identity);
        let plugin_configuration =
            executor.plugin().map_or(Value::Null, |plugin| self.plugin_configuration(&spec, plugin));
        let step = self.step(&spec, executor);
        let has_room =
            if preview::packs(&spec) { room::for_package(&self.session.project.layout, &inputs) } else { Ok(()) };
        let transaction = Transaction::begin(&self.session.project.layout, &id)?;
        let progress = Progress::new(&id, self.environment.observer.clone(), self.environment.cancel.clone());
        let started_at = Stamp::from(self.now());
        let why = self.book.why_again(index);
        let attempt = self.book.next_attempt(index);
        let cx = StepContext {
            project: self.session.project.clone(),
            attempt,
            epoch: self.epoch,
            inputs,
            output: transaction.tree().clone(),
            journal: transaction.journal().clone(),
            progress: progress.clone(),
            store: self.store.clone(),
            network: self.network.clone(),
            lock: self.lock.clone(),
            room: self.room(),
            named: self.named.clone(),
            signer: self.environment.signer.clone(),
            plugin_configuration,
        };
        self.session.state.change(|state| {
            if let Some(step) = state.step_mut(&id) {
                step.status = Status::Running;
                step.attempts += 1;
                step.started_at = Some(started_at);
                step.completed_at = None;
                step.plugin = recorded;
                step.error = None;
            }
        });
        self.book.start(index, Open { transaction, progress, started: Instant::now(), started_at, inputs: key });
        self.turn.events.push(Event::StepStarted { step: id.to_string(), attempt, why });
        self.turn.starting.push(Box::pin(async move {
            let result = match has_room {
                Ok(()) => step.run(&cx).await,
                Err(error) => Err(error),
            };
            Message::Ended(index, result)
        }));
        Ok(())
    }

    fn room(&self) -> steps::Room {
        let (project, plan) = (self.session.project.clone(), self.plan.clone());
        room::of_build(project, plan, self.lock.clone(), self.store.clone())
    }

    fn step(&self, spec: &StepSpec, executor: Executor) -> Box<dyn Step> {
        match executor {
            Executor::Host(step) => steps::of_host(step),
            Executor::Plugin(source) => {
                Box::new(steps::plugin::PluginStep::new(spec.clone(), *source, self.runtime.clone()))
            }
        }
    }

    /// What its outputs depend on, and whether this run is asked to write them
    /// anew, which is in no key: what is asked for runs.
    fn plugin_configuration(&self, spec: &StepSpec, plugin: &PluginSource) -> Value {
        let mut configuration = made_with(&self.session.project, spec, &plugin.identity(), self.options.strict_images);
        if Handed::to_source(plugin).field("force_regenerate") {
            configuration["force_regenerate"] = self.options.request.force_regenerate.into();
        }
        configuration
    }

    /// Writes down what this turn of the loop changed: the state, once; then
    /// the staging directories that went and came. Only what is durable is
    /// told, and only attempts that the state knows begin.
    pub(super) fn record(&mut self, tasks: &mut JoinSet<Message>) -> Result<()> {
        self.session.state.write_changes(self.now())?;
        let turn = std::mem::take(&mut self.turn);
        let has_committed = !turn.committed.is_empty();
        let is_staging_changed = has_committed || !turn.starting.is_empty();
        turn.committed.into_iter().try_for_each(Committed::finish)?;
        if is_staging_changed {
            transaction::sync_staging(&self.session.project.layout)?;
        }
        if has_committed {
            self.lock_was_written()?;
        }
        turn.events.iter().for_each(|event| self.environment.observer.observe(event));
        for attempt in turn.starting {
            disk::fs::checkpoint("step-started");
            tasks.spawn(attempt);
        }
        Ok(())
    }

    /// Commits a finished attempt, with the files that it publishes.
    pub(super) fn complete(
        &mut self,
        index: StepIndex,
        open: Open,
        outcome: StepOutcome,
        publications: Vec<Publication>,
    ) -> Result<()> {
        let spec = self.book.spec(index).clone();
        let id = spec.id.as_str();
        let (items, progress) = open.transaction.items()?;
        let counts = self.book.counts_with(index, open.progress.counters().read());
        let duration_ms = millis(open.started.elapsed());
        let now = self.now();
        let recorded = self.session.state.get().and_then(|state| state.step(id)).cloned();
        let recorded = recorded.unwrap_or_else(|| StepState::new(&spec));
        let step = StepState {
            status: Status::Completed,
            started_at: Some(open.started_at),
            completed_at: Some(now.into()),
            duration_ms: Some(duration_ms),
            progress,
            items: (items.total > 0 || items.done > 0).then_some(items),
            error: None,
            summary: Some(outcome.summary.clone()),
            counts: Some(counts),
            inputs: Some(open.inputs),
            ..recorded
        };
        let committed = open.transaction.commit(&publications, step, &|| self.environment.cancel.is_cancelled())?;
        if let Some(kept) = committed.kept.first() {
            return Err(written::was_saved(kept, &format!("the step `{id}` was being committed")));
        }
        self.lock_on_disk = lock_among(&publications, &self.session.project.layout).or(self.lock_on_disk);
        let step = committed.step.clone();
        let fixed = if id == MANIFESTS { Some(self.reload_configuration(&step)?) } else { None };
        self.session.state.change(|state| {
            state.lock_written();
            if let Some(known) = state.step_mut(id) {
                *known = step;
            }
            if let Some(hashes) = &fixed {
                state.fix(hashes);
            }
        });
        self.turn.committed.push(committed);
        self.book.complete(index, &outcome.summary, Spent { counts, duration_ms });
        self.turn.events.push(Event::StepCompleted { step: id.to_owned(), summary: outcome.summary, duration_ms });
        Ok(())
    }

    /// The files that a step publishes, as its declaration names them, and the
    /// lock where it resolved something.
    ///
    /// # Errors
    /// `invalid-input` where another file has the name, `local` where a folder
    /// does; `changed` where the user saved one of them since it was read, or
    /// anything that the step was made from. Nothing was decided yet.
    pub(super) fn publications(&mut self, index: StepIndex, open: &Open) -> Result<Vec<Publication>> {
        let spec = self.book.spec(index).clone();
        let mut publications = self.declared(&spec, open)?;
        if spec.id == MANIFESTS {
            self.check_configuration()?;
        }
        publications.extend(self.lock_publication()?);
        Ok(publications)
    }

    fn declared(&self, spec: &StepSpec, open: &Open) -> Result<Vec<Publication>> {
        let id = spec.id.as_str();
        let layout = &self.session.project.layout;
        let listing = open.transaction.tree().listing();
        let selected = publish::selected(spec, listing.artifacts.iter().map(|artifact| artifact.path.as_str()));
        let mut names = self.published_by_others(id);
        let mut publications = Vec::new();
        for file in selected {
            let folder = match file.to {
                Target::Config => &layout.config,
                Target::Dist => &layout.dist,
            };
            let to = folder.join(&file.name);
            names.enter(&layout.published_name(&to), id)?;
            if to.symlink_metadata().is_ok_and(|there| there.is_dir()) {
                return Err(Error::local(format!(
                    "`{}` is a folder, and the step `{id}` publishes a file there",
                    shown(&to)
                ))
                .hint("move the folder away"));
            }
            let publication = Publication::artifact(&file.path, to);
            publications.push(match file.to {
                Target::Dist => publication,
                Target::Config => {
                    let read = self.session.project.read.digest(&layout.published_name(&publication.to));
                    publication.over(layout, read, &format!("the step `{id}` made it anew"))?
                }
            });
        }
        publications.extend(self.left_as_it_is(spec, &publications));
        Ok(publications)
    }

    /// What a step publishes into config/ and did not make this time: it read
    /// what lies there, and belongs to that.
    fn left_as_it_is(&self, spec: &StepSpec, made: &[Publication]) -> Vec<Publication> {
        let project = &self.session.project;
        let declared = spec.publish.iter().filter(|publish| publish.to == Target::Config);
        let paths = declared.map(|publish| project.layout.config.join(&publish.from));
        let left = paths.filter(|path| !made.iter().any(|publication| publication.to == *path));
        let record = |path: PathBuf| {
            let name = project.layout.published_name(&path);
            let digest = project.read.digest(&name)?;
            Some(Publication::as_it_is(path, digest, project.read.size(&name)))
        };
        left.filter_map(record).collect()
    }

    /// What the step `manifests` reads, and every later one goes by, is still
    /// what it was.
    fn check_configuration(&self) -> Result<()> {
        let project = &self.session.project;
        let changed = project.read.changed(&project.layout)?;
        changed.first().map_or(Ok(()), |name| Err(no_longer(&format!("`{name}`"))))
    }

    /// What the other steps have published so far; the lock apart, which each
    /// step that resolves something publishes.
    fn published_by_others(&self, id: &str) -> publish::Names {
        let layout = &self.session.project.layout;
        let lock = layout.published_name(&layout.airgap_lock());
        let others = self.session.state.get().into_iter().flat_map(|state| &state.steps).filter(|step| step.id != id);
        let published = others.flat_map(|step| {
            let files = step.outputs.iter().flat_map(|outputs| &outputs.published);
            files.map(|file| (file.path.as_str(), step.id.as_str()))
        });
        publish::Names::of(published.filter(|(path, _)| *path != lock))
    }

    /// The lock, where the step resolved something new.
    fn lock_publication(&mut self) -> Result<Option<Publication>> {
        let Some(text) = self.changed_lock()? else { return Ok(None) };
        let layout = self.session.project.layout.clone();
        let publication = Publication::bytes(text.clone().into_bytes(), layout.airgap_lock());
        let publication = publication.over(&layout, self.lock_on_disk, WHILE_BUILDING)?;
        self.announce_lock(&text)?;
        Ok(Some(publication))
    }

    /// The component manifest is published: from here on the build belongs to
    /// this configuration.
    ///
    /// # Errors
    /// `changed` where anything else is different than when the run began, or
    /// the manifest is not what the step published.
    fn reload_configuration(&mut self, manifests: &StepState) -> Result<ConfigHashes> {
        let before = &self.session.project;
        let project = before.reload()?;
        let published = manifests.outputs.as_ref().map_or(&[][..], |outputs| &outputs.published);
        if let Some(name) = before.read.differs_from(&project.read, published) {
            return Err(no_longer(&format!("`{name}`")));
        }
        // Local paths that the new manifest names for the first time were not
        // read by anybody yet.
        let mut local = project.hashes.files.iter().filter(|(name, _)| before.read.local(name).is_some());
        if let Some((name, _)) = local.find(|(name, digest)| before.hashes.files.get(*name) != Some(*digest)) {
            return Err(no_longer(&format!("`{name}`")));
        }
        if project.read.digest(hash::AIRGAP_LOCK) != self.lock_on_disk {
            return Err(written::was_saved(&project.layout.airgap_lock(), WHILE_BUILDING));
        }
        let hashes = project.hashes.clone();
        self.session.project = Arc::new(project);
        Ok(hashes)
    }

    pub(super) fn fail(
        &mut self,
        index: StepIndex,
        open: Open,
        error: Error,
        tasks: &mut JoinSet<Message>,
    ) -> Result<()> {
        let ended = open.ended()?;
        let spent = Spent { counts: ended.counts, duration_ms: ended.duration_ms };
        let retries = patience(self.book.spec(index), &self.session.project.settings.retries);
        let is_ending = self.environment.cancel.is_cancelled();
        let decision = self.book.failed(index, &error, spent, (&retries, self.now()), is_ending);
        match decision.ending {
            Ending::RollBack => open.transaction.roll_back(&self.patience())?,
            Ending::Preserve => open.transaction.preserve(&self.patience())?,
        }
        self.keep_resolved(Some(&error))?;
        let Some(pause) = book::pause(&decision) else {
            self.record_failure(index, error, Some(ended));
            return Ok(());
        };
        self.environment.observer.observe(&Event::StepRetrying {
            step: self.book.spec(index).id.to_string(),
            attempt: self.book.next_attempt(index),
            wait_ms: millis(pause),
            message: error.one_line(),
        });
        let cancel = self.environment.cancel.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => Message::RetryDue(index),
                () = cancel.cancelled() => Message::Ended(index, Err(error)),
            }
        });
        Ok(())
    }

    /// Who asked to stop does not wait for a hundred thousand files to be
    /// removed, nor for a large one: what is left after a moment the next start
    /// removes.
    fn patience(&self) -> impl Fn(u64) -> bool + use<> {
        let (cancel, began) = (self.environment.cancel.clone(), Instant::now());
        move |bytes| (bytes > LARGE || began.elapsed() >= TIDYING) && cancel.is_cancelled()
    }

    /// Records a failed step and stops those that need it.
    pub(super) fn record_failure(&mut self, index: StepIndex, error: Error, ended: Option<Ended>) {
        let id = self.book.spec(index).id.clone();
        self.session.state.change(|state| {
            if let Some(step) = state.step_mut(&id) {
                step.status = Status::Failed;
                step.completed_at = None;
                step.duration_ms = ended.as_ref().map(|ended| ended.duration_ms);
                step.error = Some(RecordedError::from(&error));
                if let Some(Ended { items, progress, counts, .. }) = ended {
                    step.items = (items.total > 0 || items.done > 0 || !items.failed.is_empty()).then_some(items);
                    step.progress = progress;
                    step.counts = Some(counts);
                }
            }
        });
        self.turn.events.push(Event::StepFailed {
            step: id.to_string(),
            class: error.class(),
            message: error.one_line(),
        });
        self.book.stop(index, error.one_line());
        self.errors.push(RunError { step: Some(id), error });
    }
}

/// How patient the step is declared to be.
fn patience(spec: &StepSpec, settings: &RetrySettings) -> RetrySettings {
    let attempts = spec.retries.map_or(settings.steps, |retries| retries + 1);
    RetrySettings { steps: attempts, ..settings.clone() }
}

/// The digest of the lock where a step publishes it.
fn lock_among(publications: &[Publication], layout: &Layout) -> Option<Digest> {
    let lock = publications.iter().find(|publication| publication.to == layout.airgap_lock());
    lock.and_then(Publication::digest)
}
