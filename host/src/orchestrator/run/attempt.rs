//! One attempt of a step: how it begins, and the endings it may have.
//!
//! [`Run::start`] opens the transaction, [`Run::complete`] commits it and
//! [`Run::fail`] ends it as the step declares and asks whether to try again.
//! None of them writes the state: [`Run::record`] does, once for all that one
//! turn of the loop changed. So the commit of one step and the start of those
//! that waited for it cost one write together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::task::JoinSet;

use super::{Phase, Run, millis};
use crate::config::Project;
use crate::config::hash::ConfigHashes;
use crate::config::pipeline::{Runner, StepSpec, Target};
use crate::config::publish;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layout::shown;
use crate::orchestrator::decide::{Ending, Next, decide};
use crate::orchestrator::facts::made_with;
use crate::orchestrator::plan::{Action, Reason};
use crate::orchestrator::room::{self, Room};
use crate::orchestrator::{MANIFESTS, preview};
use crate::plugin::catalog::PluginSource;
use crate::plugin::handed::Handed;
use crate::progress::{Counts, Event, Progress};
use crate::state::format::{ItemProgress, Items, RecordedError, rfc3339};
use crate::state::{Status, StepState};
use crate::steps::{self, BoxFuture, Step, StepContext, StepOutcome};
use crate::transaction::{self, Committed, Publication, Transaction};
use crate::tree::Tree;

/// What the loop keeps of a running attempt.
pub(super) struct Open {
    pub(super) transaction: Transaction,
    pub(super) progress: Progress,
    started: Instant,
    started_at: String,
    inputs: Digest,
}

/// What a task hands back.
pub(super) enum Message {
    Ended(String, Result<StepOutcome>),
    RetryDue(String),
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

/// What the journal of an attempt said.
type Folded = (Items, Option<ItemProgress>);

impl Run {
    pub(super) fn start(
        &mut self,
        spec: &StepSpec,
        plugin: Option<PluginSource>,
        inputs: BTreeMap<String, Tree>,
        key: Digest,
    ) -> Result<()> {
        let id = spec.id.clone();
        let recorded = plugin.as_ref().map(PluginSource::identity);
        let plugin_configuration =
            plugin.as_ref().map_or(Value::Null, |plugin| self.plugin_configuration(spec, plugin));
        let step = self.make_step(spec, plugin)?;
        let has_room =
            if preview::packs(spec) { room::for_package(&self.session.project.layout, &inputs) } else { Ok(()) };
        let transaction = Transaction::begin(&self.session.project.layout, &id)?;
        let progress = Progress::new(&id, self.environment.observer.clone(), self.environment.cancel.clone());
        let started_at = rfc3339(self.now());
        let why = self.why_again(&id);
        let Some(entry) = self.book.get_mut(&id) else { return Ok(()) };
        entry.attempt += 1;
        entry.phase = Phase::Running;
        entry.ran = true;
        let attempt = entry.attempt;
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
            plugin_configuration,
        };
        self.session.state.change(|state| {
            if let Some(step) = state.step_mut(&id) {
                step.status = Status::Running;
                step.attempts += 1;
                step.started_at = Some(started_at.clone());
                step.completed_at = None;
                step.plugin = recorded;
                step.error = None;
            }
        });
        if let Some(entry) = self.book.get_mut(&id) {
            entry.open = Some(Open { transaction, progress, started: Instant::now(), started_at, inputs: key });
        }
        self.turn.events.push(Event::StepStarted { step: id.clone(), attempt, why });
        self.turn.starting.push(Box::pin(async move {
            let result = match has_room {
                Ok(()) => step.run(&cx).await,
                Err(error) => Err(error),
            };
            Message::Ended(id, result)
        }));
        Ok(())
    }

    /// Why a step runs whose outputs were there once.
    fn why_again(&self, id: &str) -> String {
        match self.plan.action(id) {
            Some(Action::Run(
                reason @ (Reason::OutputBroken(_)
                | Reason::PluginChanged(_)
                | Reason::InputsChanged
                | Reason::Failed(_)),
            )) => reason.to_string(),
            _ => String::new(),
        }
    }

    fn room(&self) -> Room {
        let (project, plan) = (self.session.project.clone(), self.plan.clone());
        Room { project, plan, lock: self.lock.clone(), store: self.store.clone() }
    }

    fn make_step(&self, spec: &StepSpec, plugin: Option<PluginSource>) -> Result<Box<dyn Step>> {
        match (plugin, &spec.run) {
            (Some(source), _) => {
                Ok(Box::new(steps::plugin::PluginStep::new(spec.clone(), source, self.runtime.clone())))
            }
            (None, Runner::Host(name) | Runner::Plugin(name)) => steps::of_host(name),
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
            crate::fs::checkpoint("step-started");
            tasks.spawn(attempt);
        }
        Ok(())
    }

    /// Commits a finished attempt, with the files that it publishes.
    pub(super) fn complete(
        &mut self,
        id: &str,
        open: Open,
        outcome: StepOutcome,
        mut publications: Vec<Publication>,
    ) -> Result<()> {
        let (items, progress) = open.transaction.items()?;
        publications.extend(self.lock_publication()?);
        let counts = open.progress.counters().read().completed();
        let duration_ms = millis(open.started.elapsed());
        let now = self.now();
        let recorded = self.session.state.get().and_then(|state| state.step(id)).cloned().unwrap_or_default();
        let step = StepState {
            status: Status::Completed,
            started_at: Some(open.started_at),
            completed_at: Some(rfc3339(now)),
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
        let step = committed.step.clone();
        let fixed = if id == MANIFESTS { Some(self.reload_configuration()?) } else { None };
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
        if let Some(entry) = self.book.get_mut(id) {
            entry.phase = Phase::Done;
            entry.report.status = Status::Completed;
            entry.report.duration_ms = duration_ms;
            entry.report.summary.clone_from(&outcome.summary);
            entry.report.counts = counts;
        }
        self.turn.events.push(Event::StepCompleted { step: id.to_owned(), summary: outcome.summary, duration_ms });
        Ok(())
    }

    /// The files that a step publishes, as its declaration names them.
    ///
    /// # Errors
    /// `invalid-input` where another file has the name, `local` where a folder
    /// does: nothing was decided yet.
    pub(super) fn publications(&self, id: &str, open: &Open) -> Result<Vec<Publication>> {
        let spec = self.spec(id)?;
        let layout = &self.session.project.layout;
        let listing = open.transaction.tree().listing();
        let selected = publish::selected(&spec, listing.artifacts.iter().map(|artifact| artifact.path.as_str()));
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
            publications.push(Publication::artifact(&file.path, to));
        }
        Ok(publications)
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
        self.announce_lock(&text)?;
        Ok(Some(Publication::bytes(text.into_bytes(), self.session.project.layout.airgap_lock())))
    }

    /// The component manifest is published: from here on the build belongs to
    /// this configuration.
    fn reload_configuration(&mut self) -> Result<ConfigHashes> {
        let project = Project::load(self.session.project.layout.clone())?;
        let hashes = project.hashes.clone();
        self.session.project = Arc::new(project);
        Ok(hashes)
    }

    pub(super) fn fail(&mut self, id: &str, open: Open, error: Error, tasks: &mut JoinSet<Message>) -> Result<()> {
        let spec = self.spec(id)?;
        let attempt = self.book.get(id).map_or(1, |entry| entry.attempt);
        let decision = decide(spec.on_failure, &error, attempt, &self.session.project.settings.retries, self.now());
        let counts = open.progress.counters().read();
        let duration_ms = millis(open.started.elapsed());
        let folded = open.transaction.items()?;
        match decision.ending {
            Ending::RollBack => open.transaction.roll_back()?,
            Ending::Preserve => open.transaction.preserve()?,
        }
        self.keep_resolved()?;
        if let Some(entry) = self.book.get_mut(id) {
            entry.report.counts = add(entry.report.counts, counts);
            entry.report.duration_ms += duration_ms;
        }
        let retry = match decision.next {
            Next::Retry(pause) if !self.environment.cancel.is_cancelled() => Some(pause),
            _ => None,
        };
        let Some(pause) = retry else {
            self.record_failure(id, error, Some(folded));
            return Ok(());
        };
        if let Some(entry) = self.book.get_mut(id) {
            entry.phase = Phase::Pausing;
        }
        self.environment.observer.observe(&Event::StepRetrying {
            step: id.to_owned(),
            attempt: attempt + 1,
            wait_ms: millis(pause),
            message: error.one_line(),
        });
        let id = id.to_owned();
        let cancel = self.environment.cancel.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => Message::RetryDue(id),
                () = cancel.cancelled() => Message::Ended(id, Err(error)),
            }
        });
        Ok(())
    }

    /// Records a failed step and stops those that need it.
    pub(super) fn record_failure(&mut self, id: &str, error: Error, folded: Option<Folded>) {
        self.session.state.change(|state| {
            if let Some(step) = state.step_mut(id) {
                step.status = Status::Failed;
                step.completed_at = None;
                step.error = Some(RecordedError::from(&error));
                if let Some((items, progress)) = folded {
                    step.items = (items.total > 0 || items.done > 0 || !items.failed.is_empty()).then_some(items);
                    step.progress = progress;
                }
            }
        });
        self.turn.events.push(Event::StepFailed {
            step: id.to_owned(),
            class: error.class().as_str().to_owned(),
            message: error.one_line(),
        });
        if let Some(entry) = self.book.get_mut(id) {
            entry.phase = Phase::Stopped;
            entry.report.status = Status::Failed;
            entry.report.summary = error.one_line();
        }
        self.errors.push((id.to_owned(), error));
    }
}

fn add(left: Counts, right: Counts) -> Counts {
    Counts {
        items_done: right.items_done,
        items_total: right.items_total,
        bytes_fetched: left.bytes_fetched + right.bytes_fetched,
        bytes_reused: left.bytes_reused + right.bytes_reused,
        requests: left.requests + right.requests,
        retries: left.retries + right.retries,
    }
}
