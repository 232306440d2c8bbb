//! The run loop: every step whose needs are met runs, each attempt in one
//! transaction.
//!
//! The loop owns the state and does every commit itself, one after the other;
//! attempts run as tasks and only hand back their result. A failed step stops
//! those that need it, never its neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use components::ResolvedComponents;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::decide::{Ending, Next, decide};
use super::facts::{epoch, facts, identity, made_from, made_with, plugin_source};
use super::outputs::{self, tree_of};
use super::plan::{Action, Plan, Reason, plan};
use super::report::{Report, StepReport};
use super::room::{self, Room};
use super::session::{Options, Session};
use super::{CONFIG, MANIFESTS, needs, preview};
use crate::config::Project;
use crate::config::airgap_lock::{AirgapLock, LockChange};
use crate::config::hash;
use crate::config::lock_names::Names;
use crate::config::pipeline::{Pipeline, Publish, Runner, StepSpec, Target};
use crate::config::shared_lock::SharedLock;
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::network::{Network, NetworkEnvironment};
use crate::plugin::catalog::PluginSource;
use crate::plugin::{Runtime, RuntimeOptions};
use crate::progress::{Counts, Event, Level, Observer, Progress};
use crate::state::format::{Published, RecordedError, rfc3339};
use crate::state::{BuildState, Status, StepState};
use crate::steps::{self, Step, StepContext, StepOutcome};
use crate::store::Store;
use crate::transaction::{Publication, Transaction};
use crate::tree::Tree;

/// What the command line hands in: the world outside the project.
#[derive(Clone)]
pub struct Environment {
    pub observer: Arc<dyn Observer>,
    pub cancel: CancellationToken,
    pub now: fn() -> Timestamp,
    /// SOURCE_DATE_EPOCH, seconds.
    pub source_date_epoch: Option<u64>,
    /// Where compiled plugins are kept; None keeps none.
    pub cache_dir: Option<PathBuf>,
    pub network: NetworkEnvironment,
}

/// How often a step that fetches one large thing tells of its bytes.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long running steps may take to stop before they are stopped.
const GRACE: Duration = Duration::from_millis(1500);

/// A prepared run: the plan, and the loop's own book with one entry per step.
pub struct Run {
    session: Session,
    options: Options,
    environment: Environment,
    plan: Arc<Plan>,
    started: Instant,
    started_at: String,
    runtime: Arc<Runtime>,
    store: Arc<Store>,
    network: Option<Arc<Network>>,
    lock: SharedLock,
    /// Seconds since 1970: the clock of every step.
    epoch: u64,
    book: BTreeMap<String, Entry>,
    /// Whether what the steps will fetch and write was looked at.
    is_checked: bool,
    warnings: Vec<String>,
    errors: Vec<(String, Error)>,
}

/// Where a step stands in this run.
struct Entry {
    phase: Phase,
    attempt: u32,
    reason: String,
    ran: bool,
    open: Option<Open>,
    report: StepReport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    /// Between two attempts.
    Pausing,
    Done,
    /// Failed, or needs one that failed.
    Stopped,
    Left,
}

/// What the loop keeps of a running attempt.
struct Open {
    transaction: Transaction,
    progress: Progress,
    started: Instant,
    started_at: String,
    inputs: Digest,
}

/// What a task hands back.
enum Message {
    Ended(String, Result<StepOutcome>),
    RetryDue(String),
}

impl Run {
    /// Plans the run; nothing is started.
    ///
    /// # Errors
    /// `configuration` where a plugin of the pipeline is not there; `local`.
    pub fn prepare(session: Session, options: Options, environment: Environment) -> Result<Self> {
        let facts = facts(&session.project, session.state.get(), &options, environment.source_date_epoch)?;
        let plan = plan(&session.project.pipeline, &facts, &options.request);
        let store = Arc::new(Store::open(session.project.layout.store())?);
        for broken in facts.values().filter_map(|facts| facts.broken_output.as_ref()) {
            broken.digests.iter().try_for_each(|digest| store.drop_if_damaged(digest))?;
        }
        let project = session.project.clone();
        let epoch = epoch(&project, session.state.get(), environment.source_date_epoch);
        let runtime = Runtime::new(RuntimeOptions {
            cache_dir: environment.cache_dir.clone(),
            settings: project.settings.plugins.clone(),
        });
        let network = None;
        let mut lock = project.lock.clone();
        lock.forget(&options.refresh);
        // Under `--locked` nothing counts but airgap.lock itself, and what an
        // `update` that was killed had found is not known to be wanted.
        let lock = match (options.locked, options.refresh.is_empty()) {
            (true, _) => SharedLock::frozen(lock),
            (false, false) => SharedLock::new(lock),
            (false, true) => SharedLock::with_diary(lock, project.layout.resolved())?,
        };
        let book =
            plan.steps.iter().map(|step| (step.id.clone(), Entry::new(&session, &step.id, &step.action))).collect();
        Ok(Self {
            started: Instant::now(),
            started_at: rfc3339((environment.now)()),
            session,
            options,
            environment,
            plan: Arc::new(plan),
            runtime: Arc::new(runtime),
            store,
            network,
            lock,
            epoch,
            book,
            is_checked: false,
            warnings: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// Whether every step is done already.
    pub fn has_nothing_to_do(&self) -> bool {
        self.plan.is_empty()
    }

    /// Runs what the plan says and reports what came of it.
    ///
    /// # Errors
    /// Only what prevents the run as a whole; a failed step is in the report.
    pub async fn run(mut self) -> Result<Report> {
        self.reopen_planned()?;
        self.drive().await?;
        self.tidy_lock()?;
        self.session.remember_lock()?;
        Ok(self.into_report())
    }

    /// What came of a run in which every step is done already.
    ///
    /// # Errors
    /// `changed` with `--locked`, where the lock holds what nothing names.
    pub fn keep_everything(mut self) -> Result<Report> {
        self.tidy_lock()?;
        Ok(self.into_report())
    }

    fn now(&self) -> Timestamp {
        (self.environment.now)()
    }

    fn pipeline(&self) -> &Pipeline {
        &self.session.project.pipeline
    }

    /// Steps that will run are no longer complete: a kill from here on must
    /// not find the record of an output that is being replaced.
    fn reopen_planned(&mut self) -> Result<()> {
        let planned: BTreeSet<String> = self
            .plan
            .steps
            .iter()
            .filter(|step| matches!(&step.action, Action::Run(reason) if !matches!(reason, Reason::Needs(_))))
            .map(|step| step.id.clone())
            .collect();
        let now = self.now();
        let regenerates = matches!(self.plan.action(MANIFESTS), Some(Action::Run(_)));
        self.session.state.update(now, |state| {
            if regenerates {
                state.release();
            }
            for step in &mut state.steps {
                if planned.contains(&step.id) && step.id != CONFIG {
                    step.status = Status::Pending;
                    step.error = None;
                }
            }
        })
    }

    async fn drive(&mut self) -> Result<()> {
        if !self.options.offline {
            let project = &self.session.project;
            let network = Network::new(&project.settings, &project.layout.config, self.environment.network.clone())?;
            self.network = Some(Arc::new(network));
        }
        let mut tasks: JoinSet<Message> = JoinSet::new();
        let cancel = self.environment.cancel.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut grace = std::pin::pin!(grace_over(&cancel));
        loop {
            if !cancel.is_cancelled() {
                self.start_ready(&mut tasks)?;
            }
            if tasks.is_empty() {
                return Ok(());
            }
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(message)) => self.handle(message, &mut tasks)?,
                    Some(Err(panic)) => self.handle_panic(&panic)?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    self.book.values().filter_map(|entry| entry.open.as_ref()).for_each(|open| open.progress.beat());
                }
                () = &mut grace => {
                    tasks.abort_all();
                    return self.stop_running();
                }
            }
        }
    }

    /// Starts every waiting step whose needs are met.
    fn start_ready(&mut self, tasks: &mut JoinSet<Message>) -> Result<()> {
        loop {
            let ready = self.pipeline().steps.iter().find(|spec| self.is_ready(spec)).cloned();
            let Some(spec) = ready else { return Ok(()) };
            self.check_ahead()?;
            let inputs = self.input_trees(&spec)?;
            let plugin = plugin_source(&self.session.project, &spec)?;
            let key = self.key(&spec, plugin.as_ref());
            if self.may_be_kept(&spec.id, key) {
                self.keep(&spec.id, "its inputs turned out to be the same");
                continue;
            }
            self.start(&spec, plugin, inputs, key, tasks)?;
        }
    }

    /// Once the components are known, and before anything of them is fetched:
    /// what the lock does not hold, what `--offline` lacks, what the disk has
    /// no room for.
    fn check_ahead(&mut self) -> Result<()> {
        if self.is_checked || self.phase(MANIFESTS) != Some(Phase::Done) {
            return Ok(());
        }
        self.is_checked = true;
        let Some(components) = self.components()? else { return Ok(()) };
        let lock = self.lock.lock().clone();
        let outlook = preview::outlook(&self.session.project, &self.plan, &components, &lock, &self.store)?;
        outlook.refusal(&self.options).map_or(Ok(()), Err)
    }

    /// What the step `manifests` resolved, where there is one.
    fn components(&self) -> Result<Option<ResolvedComponents>> {
        if self.pipeline().step(MANIFESTS).is_none() {
            return Ok(None);
        }
        let tree = tree_of(&self.session.project.layout, MANIFESTS)?;
        tree.listing.get(preview::COMPONENTS).is_some().then(|| preview::components_of(&tree)).transpose()
    }

    fn is_ready(&self, spec: &StepSpec) -> bool {
        self.phase(&spec.id) == Some(Phase::Waiting)
            && spec.needs.iter().all(|need| matches!(self.phase(need), None | Some(Phase::Done)))
    }

    fn phase(&self, id: &str) -> Option<Phase> {
        self.book.get(id).map(|entry| entry.phase)
    }

    /// A step that runs only because one that it needs runs is kept when that
    /// one's outputs are what they were.
    fn may_be_kept(&self, id: &str, key: Digest) -> bool {
        let only_by_need = matches!(self.plan.action(id), Some(Action::Run(Reason::Needs(_))));
        let recorded = self.session.state.get().and_then(|state| state.step(id));
        only_by_need
            && recorded.is_some_and(|step| {
                step.status == Status::Completed
                    && step.inputs == Some(key)
                    && outputs::broken(&self.session.project.layout, step, self.options.verify_outputs).is_none()
            })
    }

    fn keep(&mut self, id: &str, reason: &str) {
        if let Some(entry) = self.book.get_mut(id) {
            entry.phase = Phase::Done;
            entry.reason = reason.to_owned();
            entry.report.status = Status::Completed;
        }
        self.environment.observer.observe(&Event::StepSkipped { step: id.to_owned(), reason: reason.to_owned() });
    }

    fn key(&self, spec: &StepSpec, plugin: Option<&PluginSource>) -> Digest {
        let plugin = plugin.map(identity);
        let state = self.session.state.get();
        made_from(&self.session.project, state, spec, plugin.as_ref(), self.options.strict_images, self.epoch)
    }

    fn input_trees(&self, spec: &StepSpec) -> Result<BTreeMap<String, Tree>> {
        let needs = spec.needs.iter().filter(|need| *need != CONFIG);
        needs.map(|need| Ok((need.clone(), tree_of(&self.session.project.layout, need)?))).collect()
    }

    fn plugin_configuration(&self, spec: &StepSpec) -> Value {
        let mut configuration = made_with(&self.session.project, spec, self.options.strict_images);
        configuration["force_regenerate"] = self.options.request.force_regenerate.into();
        configuration
    }

    fn start(
        &mut self,
        spec: &StepSpec,
        plugin: Option<PluginSource>,
        inputs: BTreeMap<String, Tree>,
        key: Digest,
        tasks: &mut JoinSet<Message>,
    ) -> Result<()> {
        let id = spec.id.clone();
        let recorded = plugin.as_ref().map(identity);
        let step = self.make_step(spec, plugin)?;
        let has_room =
            if preview::packs(spec) { room::for_package(&self.session.project.layout, &inputs) } else { Ok(()) };
        let transaction = Transaction::begin(&self.session.project.layout, &id)?;
        let progress = Progress::new(&id, self.environment.observer.clone(), self.environment.cancel.clone());
        let now = self.now();
        let started_at = rfc3339(now);
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
            plugin_configuration: self.plugin_configuration(spec),
        };
        self.session.state.update(now, |state| {
            if let Some(step) = state.step_mut(&id) {
                step.status = Status::Running;
                step.attempts += 1;
                step.started_at = Some(started_at.clone());
                step.completed_at = None;
                step.plugin = recorded;
                step.error = None;
            }
        })?;
        crate::fs::checkpoint("step-started");
        let why = self.why_again(&id);
        self.environment.observer.observe(&Event::StepStarted { step: id.clone(), attempt, why });
        if let Some(entry) = self.book.get_mut(&id) {
            entry.open = Some(Open { transaction, progress, started: Instant::now(), started_at, inputs: key });
        }
        tasks.spawn(async move {
            let result = match has_room {
                Ok(()) => step.run(&cx).await,
                Err(error) => Err(error),
            };
            Message::Ended(id, result)
        });
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

    fn handle(&mut self, message: Message, tasks: &mut JoinSet<Message>) -> Result<()> {
        match message {
            Message::RetryDue(id) => {
                if let Some(entry) = self.book.get_mut(&id) {
                    entry.phase = Phase::Waiting;
                }
                Ok(())
            }
            Message::Ended(id, result) => {
                crate::fs::checkpoint("step-returned");
                let Some(open) = self.book.get_mut(&id).and_then(|entry| entry.open.take()) else {
                    // Interrupted between two attempts.
                    return result.map_or_else(|error| self.record_failure(&id, error, None), |_| Ok(()));
                };
                self.warnings.extend(open.progress.warnings());
                match result {
                    Ok(outcome) => match self.complete(&id, open, outcome) {
                        Ok(()) => Ok(()),
                        // The disk decides at the next start what became of it.
                        // Nothing else may be committed before that: recovery
                        // would publish this step's lock over a newer one.
                        Err(error) => {
                            let _ = self.record_failure(&id, error.clone(), None);
                            Err(error.context(format!("step `{id}` could not be committed")))
                        }
                    },
                    Err(error) => self.fail(&id, open, error, tasks),
                }
            }
        }
    }

    /// Commits a finished attempt.
    fn complete(&mut self, id: &str, open: Open, outcome: StepOutcome) -> Result<()> {
        let spec = self.spec(id)?;
        let (items, progress) = open.transaction.items()?;
        let publications = self.publications(&spec, &open)?;
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
        let committed = open.transaction.commit(&publications, step)?;
        let step = committed.step.clone();
        let fixed = if id == MANIFESTS { Some(self.reload_configuration()?) } else { None };
        self.session.state.update(now, |state| {
            state.lock_written();
            if let Some(known) = state.step_mut(id) {
                *known = step;
            }
            if let Some(hashes) = &fixed {
                state.fix(hashes);
            }
        })?;
        committed.finish()?;
        self.lock_was_written()?;
        if let Some(entry) = self.book.get_mut(id) {
            entry.phase = Phase::Done;
            entry.report.status = Status::Completed;
            entry.report.duration_ms = duration_ms;
            entry.report.summary.clone_from(&outcome.summary);
            entry.report.counts = counts;
        }
        self.environment.observer.observe(&Event::StepCompleted {
            step: id.to_owned(),
            summary: outcome.summary,
            duration_ms,
        });
        Ok(())
    }

    fn spec(&self, id: &str) -> Result<StepSpec> {
        let spec = self.pipeline().steps.iter().find(|spec| spec.id == id);
        spec.cloned().ok_or_else(|| Error::local(format!("BUG: the step `{id}` is not in the pipeline")))
    }

    /// The files that a step publishes: those that its declaration names, and
    /// the lock where the step resolved something new.
    fn publications(&mut self, spec: &StepSpec, open: &Open) -> Result<Vec<Publication>> {
        let layout = self.session.project.layout.clone();
        let listing = open.transaction.tree().listing();
        let mut publications = Vec::new();
        for publish in &spec.publish {
            let folder = match publish.to {
                Target::Config => &layout.config,
                Target::Dist => &layout.dist,
            };
            for artifact in listing.artifacts.iter().filter(|artifact| publishes(publish, &artifact.path)) {
                let name = artifact.path.rsplit('/').next().unwrap_or(&artifact.path);
                publications.push(Publication::artifact(&artifact.path, folder.join(name)));
            }
        }
        if let Some(text) = self.changed_lock()? {
            self.announce_lock(&text)?;
            publications.push(Publication::bytes(text.into_bytes(), layout.airgap_lock()));
        }
        Ok(publications)
    }

    /// The text of the lock where this run changed it. Its time is the start
    /// of the build that began it, or of the last `update` that changed it:
    /// what is added in between does not move the build's clock. An entry that
    /// was to be resolved again and was not yet stays as it was.
    fn changed_lock(&self) -> Result<Option<String>> {
        let on_disk = AirgapLock::load(&self.session.project.layout.airgap_lock())?;
        let mut merged = on_disk.clone();
        merged.absorb(&self.lock.lock());
        if merged == on_disk {
            return Ok(None);
        }
        let begun = || self.session.state.get().map(|state| state.created_at.clone());
        merged.resolved_at = match self.options.refresh.is_empty() {
            true => on_disk.resolved_at.or_else(begun),
            false => Some(self.started_at.clone()),
        };
        Ok(Some(merged.to_text()))
    }

    /// The component manifest is published: from here on the build belongs to
    /// this configuration.
    fn reload_configuration(&mut self) -> Result<hash::ConfigHashes> {
        let project = Project::load(self.session.project.layout.clone())?;
        let hashes = project.hashes.clone();
        self.session.project = Arc::new(project);
        Ok(hashes)
    }

    /// What a build itself writes into the lock is not a change: the state
    /// knows it before it is written.
    fn announce_lock(&mut self, text: &str) -> Result<()> {
        let digest = hash::file_digest(hash::AIRGAP_LOCK, text.as_bytes());
        let now = self.now();
        self.session.state.update(now, |state| {
            if state.configuration.is_some() {
                state.next_lock = Some(digest);
            }
        })?;
        crate::fs::checkpoint("lock-announced");
        Ok(())
    }

    /// airgap.lock lies there with all that was known when it was written.
    fn lock_was_written(&self) -> Result<()> {
        self.lock.was_written(&AirgapLock::load(&self.session.project.layout.airgap_lock())?)
    }

    fn fail(&mut self, id: &str, open: Open, error: Error, tasks: &mut JoinSet<Message>) -> Result<()> {
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
        let Some(pause) = retry else { return self.record_failure(id, error, Some(folded)) };
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

    /// What a failed attempt resolved stays resolved.
    fn keep_resolved(&mut self) -> Result<()> {
        let text = self.changed_lock()?;
        text.map_or(Ok(()), |text| self.write_lock(&text))
    }

    /// Once every step is done, or an update has ended well, nothing stays in
    /// the lock that the configuration does not name. Nothing is resolved by
    /// that, so the time of resolution stays.
    fn tidy_lock(&mut self) -> Result<()> {
        let is_finished = self.session.state.get().is_some_and(BuildState::is_finished);
        let is_updated = !self.options.refresh.is_empty() && self.finished();
        if !self.errors.is_empty() || !(is_finished || is_updated) {
            return Ok(());
        }
        let Some(components) = self.components()? else { return Ok(()) };
        let project = self.session.project.clone();
        let names = Names::new(&components, project.components.as_ref(), &project.plugin_pins);
        let mut lock = AirgapLock::load(&project.layout.airgap_lock())?;
        let unnamed = lock.unnamed(&names);
        if unnamed.is_empty() || self.options.locked {
            let refused = self.plan.is_whole().then(|| needs::drift(&[], &unnamed)).flatten();
            return refused.map_or(Ok(()), Err);
        }
        lock.prune(&names);
        self.lock.prune(&names);
        self.write_lock(&lock.to_text())?;
        log(self.environment.observer.as_ref(), Level::Info, dropped(&unnamed));
        Ok(())
    }

    /// Writes the lock outside of a step's commit.
    fn write_lock(&mut self, text: &str) -> Result<()> {
        self.announce_lock(text)?;
        crate::fs::write_atomic(&self.session.project.layout.airgap_lock(), text.as_bytes())?;
        let now = self.now();
        self.session.state.update(now, BuildState::lock_written)?;
        self.lock_was_written()
    }

    /// Records a failed step and stops those that need it.
    fn record_failure(
        &mut self,
        id: &str,
        error: Error,
        folded: Option<(crate::state::format::Items, Option<crate::state::format::ItemProgress>)>,
    ) -> Result<()> {
        let now = self.now();
        self.session.state.update(now, |state| {
            if let Some(step) = state.step_mut(id) {
                step.status = Status::Failed;
                step.completed_at = None;
                step.error = Some(RecordedError::from(&error));
                if let Some((items, progress)) = folded {
                    step.items = (items.total > 0 || items.done > 0 || !items.failed.is_empty()).then_some(items);
                    step.progress = progress;
                }
            }
        })?;
        self.environment.observer.observe(&Event::StepFailed {
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
        Ok(())
    }

    fn handle_panic(&mut self, panic: &tokio::task::JoinError) -> Result<()> {
        if panic.is_cancelled() {
            return Ok(());
        }
        // A panic is our mistake. Which task it was is not told, so the whole
        // run ends here; recovery of the next start takes it up.
        Err(Error::local("BUG: a step panicked")
            .caused_by(std::io::Error::other(panic.to_string()))
            .hint("please report this; running the same command again resumes"))
    }

    /// Ends what did not stop by itself.
    fn stop_running(&mut self) -> Result<()> {
        let running: Vec<String> =
            self.book.iter().filter(|(_, entry)| entry.open.is_some()).map(|(id, _)| id.clone()).collect();
        for id in running {
            let Some(open) = self.book.get_mut(&id).and_then(|entry| entry.open.take()) else { continue };
            let folded = open.transaction.items().ok();
            // The task may still hold files of the attempt: the tree is left
            // to the next start, which drops it.
            drop(open);
            self.record_failure(&id, Error::interrupted(), folded)?;
        }
        if self.errors.is_empty() {
            self.errors.push((String::new(), Error::interrupted()));
        }
        self.keep_resolved()
    }

    /// What came of it.
    pub fn into_report(mut self) -> Report {
        // Whatever else failed on the way: it was a signal that ended it.
        let interrupted = self.errors.iter().any(|(_, error)| error.class() == Class::Interrupted);
        if self.environment.cancel.is_cancelled() && !self.finished() && !interrupted {
            self.errors.push((String::new(), Error::interrupted()));
        }
        let (state, layout) = (self.session.state.get(), &self.session.project.layout);
        let published: Vec<Published> = state
            .iter()
            .flat_map(|state| &state.steps)
            .filter(|step| step.status == Status::Completed)
            .flat_map(|step| step.outputs.iter().flat_map(|outputs| outputs.published.clone()))
            .map(|published| Published { path: layout.published(&published.path).display().to_string(), ..published })
            .filter(|published| Path::new(&published.path).starts_with(&layout.dist))
            .collect();
        let build_id = state.map(|state| state.build_id.clone()).unwrap_or_default();
        let order: Vec<String> = self.pipeline().steps.iter().map(|spec| spec.id.clone()).collect();
        let mut steps = Vec::new();
        for id in order {
            if let Some(mut entry) = self.book.remove(&id) {
                entry.report.ran = entry.ran;
                entry.report.reason = entry.reason;
                entry.report.attempts = entry.attempt;
                steps.push(entry.report);
            }
        }
        Report {
            build_id,
            started_at: self.started_at,
            duration_ms: millis(self.started.elapsed()),
            nothing_to_do: self.plan.is_empty(),
            steps,
            published,
            warnings: self.warnings,
            errors: self.errors,
        }
    }

    fn finished(&self) -> bool {
        self.book.values().all(|entry| matches!(entry.phase, Phase::Done | Phase::Left))
    }
}

impl Entry {
    fn new(session: &Session, id: &str, action: &Action) -> Self {
        let recorded = session.state.get().and_then(|state| state.step(id)).cloned().unwrap_or_default();
        let (phase, reason) = match action {
            // Loaded in every run, before the plan is made.
            Action::Run(_) | Action::Keep if id == CONFIG => (Phase::Done, "valid".to_owned()),
            Action::Run(reason) => (Phase::Waiting, reason.to_string()),
            Action::Keep => (Phase::Done, "done before".to_owned()),
            Action::Leave => (Phase::Left, "not asked for".to_owned()),
        };
        let kept = phase == Phase::Done;
        Self {
            phase,
            attempt: 0,
            reason,
            ran: false,
            open: None,
            report: StepReport {
                id: id.to_owned(),
                name: recorded.name,
                status: if kept { Status::Completed } else { Status::Pending },
                ran: false,
                reason: String::new(),
                attempts: 0,
                duration_ms: if kept { recorded.duration_ms.unwrap_or(0) } else { 0 },
                summary: if kept { recorded.summary.unwrap_or_default() } else { String::new() },
                counts: Counts::default(),
            },
        }
    }
}

/// What went from the lock, in one line.
fn dropped(unnamed: &[LockChange]) -> String {
    const SHOWN: usize = 10;
    let mut keys: Vec<String> =
        unnamed.iter().take(SHOWN).map(|entry| format!("{} {}", entry.kind, entry.key)).collect();
    if unnamed.len() > SHOWN {
        keys.push(format!("and {} more", unnamed.len() - SHOWN));
    }
    format!("dropped from {}, because nothing names it: {}", hash::AIRGAP_LOCK, keys.join(", "))
}

/// Whether a declaration names this path of the tree. A leading `*` stands for
/// any beginning of a name in the root.
fn publishes(publish: &Publish, path: &str) -> bool {
    match publish.from.strip_prefix('*') {
        Some(ending) => path.ends_with(ending) && !path.contains('/'),
        None => publish.from == path,
    }
}

async fn grace_over(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(GRACE).await;
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A line for the log of the build as a whole.
pub fn log(observer: &dyn Observer, level: Level, message: String) {
    observer.observe(&Event::Log { step: None, level, message });
}
