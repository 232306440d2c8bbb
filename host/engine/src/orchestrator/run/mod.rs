//! The run loop: every step whose needs are met runs, each attempt in one
//! transaction.
//!
//! The loop owns the state and does every commit itself, one after the other;
//! attempts run as tasks and only hand back their result. A failed step stops
//! those that need it, never its neighbours. [`attempt`] is how one begins and
//! ends, [`lock`] what becomes of airgap.lock meanwhile; [`book`] decides which
//! step comes next, and knows nothing of all that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use model::{RESOLVED, ResolvedComponents};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::facts::{Executor, epoch, facts, made_from};
use super::outputs::{self, tree_of};
use super::plan::{Action, Facts, Plan, Reason, plan};
use super::report::{Report, RunError};
use super::session::{Options, Session};
use super::{CONFIG, MANIFESTS, listed, preview};
use crate::state::Status;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::{Event, Level, Observer};
use base::timestamp::Stamp;
use config::Project;
use config::core_plugins::{DISCOVER, RENDER};
use config::hash;
use config::named::NamedPaths;
use config::pipeline::{Pipeline, Runner, StepSpec};
use config::publish::Published;
use config::settings::Discover;
use confine::wall::Wall;
use disk::tree::Tree;
use fetch::network::{Network, NetworkEnvironment};
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use plugin_host::catalog::PluginSource;
use plugin_host::{Runtime, RuntimeOptions};
use signing::PrivateKey;

mod attempt;
mod book;
mod lock;

use attempt::{Message, Open, Turn};
use book::{Book, StepIndex};

/// What the command line hands in: the world outside the project.
#[derive(Clone)]
pub struct Environment {
    /// Who shows what happens.
    pub observer: Arc<dyn Observer>,
    /// Cancelled when the user asks to stop.
    pub cancel: CancellationToken,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// SOURCE_DATE_EPOCH, seconds.
    pub source_date_epoch: Option<u64>,
    /// Where compiled plugins are kept; None keeps none.
    pub cache_dir: Option<PathBuf>,
    /// Proxies and credentials.
    pub network: NetworkEnvironment,
    /// How this process is confined.
    pub wall: Wall,
    /// Who signs the package, where the settings name a key.
    pub signer: Option<Arc<PrivateKey>>,
}

/// How often a step that fetches one large thing tells of its bytes.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long running steps may take to stop before they are stopped.
const GRACE: Duration = Duration::from_millis(1500);
const _: () = assert!(fetch::git::GRACE.as_millis() < GRACE.as_millis(), "git is stopped before its step is");

/// A prepared run: the plan, the book, and what the steps are done with.
pub struct Run {
    session: Session,
    options: Options,
    environment: Environment,
    plan: Arc<Plan>,
    started: Instant,
    started_at: Stamp,
    runtime: Arc<Runtime>,
    store: Arc<Store>,
    network: Option<Arc<Network>>,
    lock: SharedLock,
    /// The lock as this run read or wrote it last: what else lies there by now
    /// is somebody else's.
    lock_on_disk: Option<Digest>,
    /// The local paths that the configuration named when the run began: no
    /// step's output adds to them.
    named: Arc<NamedPaths>,
    /// Seconds since 1970: the clock of every step.
    epoch: u64,
    book: Book<Open>,
    /// Whether what the steps will fetch and write was looked at.
    is_checked: bool,
    /// Whether a commit failed, or somebody else wrote the lock: then nothing
    /// more begins.
    is_over: bool,
    /// Whether the content of all that was finished before was compared, and is
    /// what was recorded.
    is_sound: bool,
    turn: Turn,
    warnings: Vec<String>,
    errors: Vec<RunError>,
}

/// Who asks for all images of charts needs the step that finds them, which a
/// pipeline.yaml of before it has not.
fn check_finder(project: &Project, options: &Options) -> Result<()> {
    let asked = match project.settings.images.discover {
        _ if options.strict_images => "`--strict-images`",
        Discover::Add => "`images.discover: add`",
        Discover::Off | Discover::Report => return Ok(()),
    };
    if project.pipeline.steps.iter().any(|step| step.runs(DISCOVER)) {
        return Ok(());
    }
    Err(Error::configuration(format!("{asked} needs a step that runs the plugin `{DISCOVER}`, and config/pipeline.yaml has none"))
        .hint("`opencenter-airgap init --pipeline` in another folder writes the built-in steps, `render` and `discover` among them: take them over"))
}

impl Run {
    /// Plans the run; nothing is started.
    ///
    /// # Errors
    /// `configuration` where a plugin of the pipeline is not there; `local`.
    pub fn prepare(mut session: Session, mut options: Options, environment: Environment) -> Result<Self> {
        check_finder(&session.project, &options)?;
        if session.is_doubtful() {
            options.verify_outputs = true;
            let text = "the last run was cut short or found damage: what is finished is compared with its record";
            log(environment.observer.as_ref(), Level::Info, text.to_owned());
        }
        let looks = looks(&session);
        let facts = facts(&session.project, session.state.get(), &options, environment.source_date_epoch)?;
        let is_sound = options.verify_outputs && facts.values().all(|facts| facts.broken_output.is_none());
        remember_looks(&mut session, looks, &facts, (environment.now)())?;
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
            wall: environment.wall,
            ..RuntimeOptions::default()
        });
        let network = None;
        let build = session.state.get().map(|state| state.build_id.clone()).unwrap_or_default();
        let lock = options.lock(&project)?.in_build(&build);
        let named = Arc::new(NamedPaths::of(&project)?);
        let warnings = lock::warnings(&project, &lock)?;
        warnings.iter().for_each(|text| log(environment.observer.as_ref(), Level::Warn, text.clone()));
        let book = Book::new(&session.project.pipeline, &plan, session.state.get());
        Ok(Self {
            started: Instant::now(),
            started_at: (environment.now)().into(),
            session,
            options,
            environment,
            plan: Arc::new(plan),
            runtime: Arc::new(runtime),
            store,
            network,
            lock,
            lock_on_disk: project.read.digest(hash::AIRGAP_LOCK),
            named,
            epoch,
            book,
            is_checked: false,
            is_over: false,
            is_sound,
            turn: Turn::default(),
            warnings,
            errors: Vec::new(),
        })
    }

    /// Whether every step is done already.
    pub fn has_nothing_to_do(&self) -> bool {
        self.plan.is_empty()
    }

    /// Runs what the plan says and reports what came of it.
    /// Whatever fails is in the report, what ends the run as a whole as well.
    pub async fn run(mut self) -> Report {
        if let Err(error) = self.go().await {
            self.errors.push(RunError::of_the_run(error));
        }
        self.into_report()
    }

    async fn go(&mut self) -> Result<()> {
        self.reopen_planned();
        self.drive().await?;
        self.tidy_lock()?;
        self.session.remember_lock()
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
    fn reopen_planned(&mut self) {
        let planned: BTreeSet<String> = self
            .plan
            .steps
            .iter()
            .filter(|step| matches!(&step.action, Action::Run(reason) if !matches!(reason, Reason::Needs(_))))
            .map(|step| step.id.clone())
            .collect();
        let regenerates = matches!(self.plan.action(MANIFESTS), Some(Action::Run(_)));
        self.session.state.change(|state| {
            if regenerates {
                state.release();
            }
            for step in &mut state.steps {
                if planned.contains(&step.id) && step.id != CONFIG {
                    step.status = Status::Pending;
                    step.error = None;
                }
            }
        });
    }

    async fn drive(&mut self) -> Result<()> {
        if !self.options.offline {
            let project = &self.session.project;
            let network = Network::new(&project.settings, &project.layout.config, self.environment.network.clone())?;
            self.network = Some(Arc::new(network));
        }
        self.load_ahead();
        let mut tasks: JoinSet<Message> = JoinSet::new();
        let cancel = self.environment.cancel.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut grace = std::pin::pin!(grace_over(&cancel));
        loop {
            let started = if cancel.is_cancelled() || self.is_over { Ok(()) } else { self.start_ready() };
            self.record(&mut tasks)?;
            started?;
            if tasks.is_empty() || self.is_over {
                return Ok(());
            }
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(message)) => self.handle(message, &mut tasks)?,
                    Some(Err(panic)) => self.handle_panic(&panic)?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    self.book.running().for_each(|open| open.progress.beat());
                }
                () = &mut grace => {
                    tasks.abort_all();
                    self.stop_running()?;
                    return self.record(&mut tasks);
                }
            }
        }
    }

    /// The core plugins of the steps that will run are loaded while the first
    /// ones are at work. What is pinned is read, and asked about, when its step
    /// begins.
    fn load_ahead(&self) {
        let project = &self.session.project;
        let is_core =
            |spec: &&StepSpec| matches!(&spec.run, Runner::Plugin(name) if project.plugin_pins.pin(name).is_none());
        let will_run = |spec: &&StepSpec| matches!(self.plan.action(&spec.id), Some(Action::Run(_)));
        // Large, and needed where there are charts.
        let is_needed = |spec: &&StepSpec| !spec.runs(RENDER);
        let core = self.pipeline().steps.iter().filter(is_core).filter(will_run).filter(is_needed);
        let sources = core.filter_map(|spec| Executor::of(project, spec).ok()?.into_plugin()).collect();
        self.runtime.load_ahead(sources);
    }

    /// Starts every waiting step for which all is complete that it waits for.
    fn start_ready(&mut self) -> Result<()> {
        while let Some(step) = self.book.ready() {
            self.check_ahead()?;
            let spec = self.book.spec(step).clone();
            let inputs = self.input_trees(&spec)?;
            let executor = Executor::of(&self.session.project, &spec)?;
            let key = self.key(&spec, executor.plugin());
            if self.may_be_kept(step, &spec, key) {
                self.keep(step, &spec, "its inputs turned out to be the same");
                continue;
            }
            self.start(step, executor, inputs, key)?;
        }
        Ok(())
    }

    /// Once the components are known, and before anything of them is fetched:
    /// what the lock does not hold, what `--offline` lacks, what the disk has
    /// no room for.
    fn check_ahead(&mut self) -> Result<()> {
        if self.is_checked || self.pipeline().step(MANIFESTS).is_none() || !self.book.is_done(MANIFESTS) {
            return Ok(());
        }
        self.is_checked = true;
        let Some(components) = self.components()? else { return Ok(()) };
        let outlook = preview::outlook(&self.session.project, &self.plan, &components, &self.lock, &self.store)?;
        outlook.refusal(&self.options).map_or(Ok(()), Err)?;
        // Where the lock is written, hours from now.
        if outlook.changes_lock() { disk::fs::check_writable(&self.session.project.layout.config) } else { Ok(()) }
    }

    /// What the step `manifests` resolved, where there is one.
    fn components(&self) -> Result<Option<ResolvedComponents>> {
        if self.pipeline().step(MANIFESTS).is_none() {
            return Ok(None);
        }
        let project = &self.session.project;
        let tree = tree_of(&project.layout, MANIFESTS)?;
        if tree.listing.get(RESOLVED).is_none() {
            return Ok(None);
        }
        let is_done = |id: &str| self.book.is_done(id);
        listed::with_found(project, listed::components_of(&tree)?, &self.lock.lock(), is_done).map(Some)
    }

    /// A step that runs only because one that it needs runs is kept when that
    /// one's outputs are what they were.
    fn may_be_kept(&self, step: StepIndex, spec: &StepSpec, key: Digest) -> bool {
        let recorded = self.session.state.get().and_then(|state| state.step(&spec.id));
        self.book.may_turn_out_the_same(step)
            && recorded.is_some_and(|step| {
                step.status == Status::Completed
                    && step.inputs == Some(key)
                    && outputs::broken(&self.session.project.layout, step, self.options.verify_outputs).is_none()
            })
    }

    fn keep(&mut self, step: StepIndex, spec: &StepSpec, reason: &str) {
        self.book.keep(step, reason);
        self.environment.observer.observe(&Event::StepSkipped { step: spec.id.clone(), reason: reason.to_owned() });
    }

    fn key(&self, spec: &StepSpec, plugin: Option<&PluginSource>) -> Digest {
        let plugin = plugin.map(PluginSource::identity);
        let state = self.session.state.get();
        made_from(&self.session.project, state, spec, plugin.as_ref(), self.options.strict_images, self.epoch)
    }

    fn input_trees(&self, spec: &StepSpec) -> Result<BTreeMap<String, Tree>> {
        let needs = spec.needs.iter().filter(|need| *need != CONFIG);
        needs.map(|need| Ok((need.clone(), tree_of(&self.session.project.layout, need)?))).collect()
    }

    fn handle(&mut self, message: Message, tasks: &mut JoinSet<Message>) -> Result<()> {
        match message {
            Message::RetryDue(step) => {
                self.book.retry(step);
                Ok(())
            }
            Message::Ended(step, result) => {
                disk::fs::checkpoint("step-returned");
                let Some(open) = self.book.end(step) else {
                    // Interrupted between two attempts.
                    if let Err(error) = result {
                        self.record_failure(step, error, None);
                    }
                    return Ok(());
                };
                // A later attempt finds again what an earlier one found.
                let told = open.progress.warnings().into_iter().filter(|text| !self.warnings.contains(text));
                let told: Vec<String> = told.collect();
                self.warnings.extend(told);
                match result {
                    Ok(outcome) => {
                        let publications = match self.publications(step, &open) {
                            Ok(publications) => publications,
                            Err(error) => return self.fail(step, open, error, tasks),
                        };
                        if let Err(error) = self.complete(step, open, outcome, publications) {
                            // The disk decides at the next start what became of
                            // it. Nothing else may be committed before that:
                            // recovery would publish this step's lock over a
                            // newer one.
                            self.is_over = true;
                            self.record_failure(step, error.context("it could not be committed"), None);
                        }
                        Ok(())
                    }
                    Err(error) => self.fail(step, open, error, tasks),
                }
            }
        }
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
        for (step, open) in self.book.end_all() {
            let ended = open.ended().ok();
            // The task may still hold files of the attempt: the tree is left
            // to the next start, which drops it.
            drop(open);
            self.record_failure(step, Error::interrupted(), ended);
        }
        if self.errors.is_empty() {
            self.errors.push(RunError::of_the_run(Error::interrupted()));
        }
        self.keep_resolved(None)
    }

    /// What came of it.
    pub(crate) fn into_report(mut self) -> Report {
        // Whatever else failed on the way: it was a signal that ended it.
        let interrupted = self.errors.iter().any(|failed| failed.error.class() == Class::Interrupted);
        if self.environment.cancel.is_cancelled() && !self.book.is_finished() && !interrupted {
            self.errors.push(RunError::of_the_run(Error::interrupted()));
        }
        // What was found damaged is made anew by now, or the next run looks again.
        if self.is_sound || (self.book.is_finished() && self.plan.is_whole()) {
            self.session.state.settle();
        }
        let (state, layout) = (self.session.state.get(), &self.session.project.layout);
        let published: Vec<Published> = state
            .iter()
            .flat_map(|state| &state.steps)
            .filter(|step| step.status == Status::Completed)
            .flat_map(|step| step.outputs.iter().flat_map(|outputs| outputs.published.clone()))
            .map(|published| Published {
                path: layout.published(&published.path).display().to_string(),
                stamp: None,
                ..published
            })
            .filter(|published| Path::new(&published.path).starts_with(&layout.dist))
            .collect();
        let build_id = state.map(|state| state.build_id.clone()).unwrap_or_default();
        Report {
            build_id,
            started_at: self.started_at,
            duration_ms: millis(self.started.elapsed()),
            nothing_to_do: self.plan.is_empty(),
            steps: self.book.into_reports(),
            published,
            warnings: self.warnings,
            errors: self.errors,
        }
    }
}

/// How the published files of the finished steps look, where it is another way
/// than they were left.
type Looks = BTreeMap<String, Vec<(usize, Option<String>)>>;

fn looks(session: &Session) -> Looks {
    let layout = &session.project.layout;
    let steps = session.state.get().into_iter().flat_map(|state| &state.steps);
    let finished = steps.filter(|step| step.status == Status::Completed);
    let looks = finished.map(|step| (step.id.clone(), outputs::new_stamps(layout, step)));
    looks.filter(|(_, new)| !new.is_empty()).collect()
}

/// What turned out to be what was recorded, although it looks otherwise, is
/// not read again the next time.
fn remember_looks(session: &mut Session, looks: Looks, facts: &BTreeMap<String, Facts>, now: Timestamp) -> Result<()> {
    let is_sound = |id: &String| facts.get(id).is_some_and(|facts| facts.broken_output.is_none());
    let sound: Looks = looks.into_iter().filter(|(id, _)| is_sound(id)).collect();
    if sound.is_empty() {
        return Ok(());
    }
    session.state.update(now, |state| {
        for (id, new) in sound {
            let Some(outputs) = state.step_mut(&id).and_then(|step| step.outputs.as_mut()) else { continue };
            for (at, stamp) in new {
                outputs.published[at].stamp = stamp;
            }
        }
    })
}

async fn grace_over(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A line for the log of the build as a whole.
pub fn log(observer: &dyn Observer, level: Level, message: String) {
    observer.observe(&Event::Log { step: None, level, message });
}
