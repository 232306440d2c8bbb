//! The plugin host.
//!
//! `catalog` says which bytes run under a name. [`Runtime::run`] turns them
//! into code (`compiled`: the `cache`, or a process that compiles and nothing
//! else, `worker`), loads it (`code`) into the `engine`, checks that it is a
//! step (`validate`), and lets one `call` run (`running`): a fresh store with inert WASI
//! (`wasi`), a memory budget (`budget`), a deadline over guest time, a clock over
//! what the host works for it (`host_time`), and the `imports` through which the
//! guest reaches its inputs (`input`), its output (`stream`, `ledger`, `marks`,
//! `directories`) and the network, as far as [`grants`](entitlement::grants) let it.
//! Layers of images it reads through a `layer_handle`.
//! What it writes through directories (`files`) and unpacks is counted while it
//! grows (`watch`, `room`), and so are the descriptors that it holds
//! (`open_files`). Whatever ends the call early (`stop`) is put into words by `report`.
//! Every limit stands in `limits`. Before any call, [`review`] compares what the
//! plugins of a pipeline say about themselves (`described`) with what the project
//! gives them; what that comes to [`abilities`] says in sentences, and what another
//! version changes [`difference`] lists.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;
use wasmtime::component::Component;

use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::DIRECTORIES;
use base::leash::Leash;
use base::progress::{Level, Progress, StepOutcome};
use config::limits::PluginSettings;
use confine::wall::Wall;
use futures_util::future::BoxFuture;

pub mod abilities;
mod amount;
mod archive_handle;
mod attempt;
mod bindings;
mod budget;
mod cache;
mod call;
pub mod catalog;
mod clock;
mod code;
mod compiled;
mod console;
mod described;
mod description;
pub mod difference;
mod directories;
pub mod drift;
mod engine;
mod files;
pub mod handed;
mod host_time;
mod imports;
mod input;
mod layer_handle;
mod ledger;
pub mod limits;
mod marks;
mod notes;
mod open_files;
mod opened;
mod panic;
mod report;
pub mod review;
mod room;
mod running;
mod schema;
mod stop;
mod stream;
mod subject;
mod text;
mod validate;
mod wasi;
mod watch;
pub mod worker;

#[cfg(test)]
mod tests;

use bindings::{BuildStepPre, step};
use call::{Call, Maker, RunScope};
use catalog::PluginSource;
use code::Code;
use directories::Directories;
use engine::Machine;
use handed::Handed;
use limits::{CallLimits, PROGRESS_MESSAGE, UNIT};
use open_files::Descriptors;
use report::Told;
use running::{Running, Setup};
use subject::Subject;
use worker::Worker;

pub use attempt::{Asked, Attempt};
pub use description::{Description, Want};
pub use validate::{STEP, contract_of};

/// How plugins are run.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Where compiled plugins are kept; None keeps none.
    pub cache_dir: Option<PathBuf>,
    /// The limits of a call, which the user may have raised.
    pub settings: PluginSettings,
    /// Who compiles and describes them.
    pub worker: Worker,
    /// How this process is confined. Third-party plugins run once somebody has
    /// asked for a wall, whatever came of it.
    pub wall: Wall,
}

/// Runs plugins. Cheap until the first one is needed.
pub struct Runtime {
    options: RuntimeOptions,
    machine: OnceLock<Result<Arc<Machine>>>,
    cache: OnceLock<Option<cache::Cache>>,
    loaded: Mutex<HashMap<Digest, Arc<OnceCell<Loaded>>>>,
    /// What the compiler has refused or given up.
    refused: Mutex<HashSet<Digest>>,
    descriptors: Descriptors,
}

/// A component that is ready to be instantiated.
type Loaded = Arc<BuildStepPre<Call>>;

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime that has not started its engine yet.
    pub fn new(options: RuntimeOptions) -> Self {
        Self {
            options,
            machine: OnceLock::new(),
            cache: OnceLock::new(),
            loaded: Mutex::default(),
            refused: Mutex::default(),
            descriptors: Descriptors::of_process(),
        }
    }

    /// Runs one attempt of a step.
    ///
    /// # Errors
    /// What the step reports, by its kind; `plugin` for a trap, a limit, a
    /// refused right and a component that is no step; `changed` where it failed
    /// for want of what a frozen lock does not hold; `interrupted`.
    pub async fn run(self: &Arc<Self>, source: &PluginSource, cx: &Attempt) -> Result<StepOutcome> {
        let subject = subject_of(source, Some(&cx.step));
        let loaded = self.load(source, &cx.progress).await?;
        let machine = self.machine()?;
        let rules = source.rules()?;
        let limits = CallLimits::new(&self.options.settings, source.limits);
        let limits = if rules.is_core() { limits.of_core() } else { limits };
        let limits = limits.within(cx.timeout);
        let desk = cx.means.desk(source.entitlement()?);
        let handed = Handed::to_source(source);
        let epoch = if handed.clock { cx.epoch } else { 0 };
        let inputs = cx.inputs(&desk.lock(), handed)?;
        let staging = cx.output.root().with_file_name(DIRECTORIES);
        let directories = match source.wants_directories() {
            true => {
                let trees = inputs.iter().map(|(name, tree)| (name.as_str(), tree));
                let leash = Leash::new(cx.progress.cancellation().clone());
                Some(Arc::new(Directories::create(staging, trees, leash)?))
            }
            false => None,
        };
        let configuration = cx.configuration.to_string();
        // What was made with one set of grants is nothing to another one.
        let identity = Digest::of(format!("{}\n{:?}\n{configuration}", source.digest, source.grants()).as_bytes());
        let progress = cx.progress.clone().within(limits.allowance(&subject));
        let allowed = Attempt { progress, ..cx.clone() };
        let maker = Maker { digest: source.digest, is_core: source.is_core(), identity };
        let (work, idle) = RunScope::new(allowed, desk, maker, &limits, inputs);
        let setup = Setup {
            subject: &subject,
            limits: &limits,
            epoch,
            progress: cx.progress.clone(),
            directories: directories.as_deref(),
            work: Some(work),
            open_files: self.descriptors.for_call(limits.open_files),
        };
        let mut running = Running::new(&machine, setup)?;
        let context = step::Context {
            step: cx.step.clone(),
            attempt: cx.attempt,
            plugin_digest: source.digest.to_string(),
            epoch,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let returned = running.run(&loaded, context, configuration).await;
        let said = returned.and_then(|result| {
            let cancelled = cx.progress.cancellation().is_cancelled();
            let come_back = running.store.data().work.as_ref().and_then(|work| work.come_back);
            let said = std::mem::take(&mut running.store.data_mut().talk.failed);
            let told = Told { failed: said, unlisted: running.store.data().talk.unlisted };
            match result {
                Ok(summary) => {
                    told.warn(&cx.progress);
                    Ok(summary)
                }
                Err(error) => Err(report::until(come_back, report::polite(error, cancelled, &subject, told))),
            }
        });
        let outcome = match said {
            Ok(summary) => complete(&running, directories.clone()).await.map(|()| outcome_of(&summary)),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            discard(&mut running);
        }
        for line in running.store.data().console.last_lines(limits::CONSOLE_LINES) {
            cx.progress.log(Level::Debug, &text::line(&line, limits::LOG_MESSAGE));
        }
        drop(running);
        idle.wait().await;
        outcome.map_err(|error| cx.drift.explain(error))
    }

    /// Compiles a plugin ahead of its first call, or finds it compiled.
    ///
    /// # Errors
    /// As [`Runtime::run`], before anything runs.
    pub async fn prepare(self: &Arc<Self>, source: &PluginSource, progress: &Progress) -> Result<()> {
        self.load(source, progress).await.map(drop)
    }

    fn machine(&self) -> Result<Arc<Machine>> {
        self.machine.get_or_init(|| Machine::new().map(Arc::new)).clone()
    }

    fn cache(&self) -> Option<&cache::Cache> {
        self.cache.get_or_init(|| self.options.cache_dir.as_deref().and_then(cache::Cache::open)).as_ref()
    }

    /// Loads plugins one after the other beside whatever else is done, where
    /// they are compiled already: reading and hashing some megabytes of code then
    /// delays no step. What fails here fails again, and is told, when the plugin
    /// is run.
    pub fn load_ahead(self: &Arc<Self>, sources: Vec<PluginSource>) {
        let runtime = self.clone();
        tokio::spawn(async move {
            for source in &sources {
                let load = || async {
                    let code = runtime.kept(source).await?;
                    runtime.placed(source, code.ok_or_else(|| Error::local("it is not compiled yet"))?).await
                };
                drop(runtime.cell(source.digest).get_or_try_init(load).await);
            }
        });
    }

    /// Each digest is loaded once, whoever asks.
    async fn load(self: &Arc<Self>, source: &PluginSource, progress: &Progress) -> Result<Loaded> {
        let load = || async { self.placed(source, self.compiled(source, progress).await?).await };
        self.cell(source.digest).get_or_try_init(load).await.cloned()
    }

    fn cell(&self, digest: Digest) -> Arc<OnceCell<Loaded>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.entry(digest).or_default().clone()
    }

    /// Code that lies where it can be called.
    async fn placed(&self, source: &PluginSource, code: Code) -> Result<Loaded> {
        let (machine, subject) = (self.machine()?, subject_of(source, None).to_string());
        blocking(move || {
            let component = code
                .load(&machine.engine)
                .ok_or_else(|| Error::local(format!("the code of {subject} is not of this engine")))?;
            link(&machine, &subject, &component)
        })
        .await
    }
}

/// Does what may block on another thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|error| Err(Error::local("the plugin loader ended badly").caused_by(error)))
}

/// Checks that a component is a step, and connects it with the host.
///
/// # Errors
/// `plugin`, saying what it is instead.
fn link(machine: &Machine, subject: &str, component: &Component) -> Result<Loaded> {
    let world = component.component_type();
    let exports: Vec<String> = world.exports(&machine.engine).map(|(name, _)| name.to_owned()).collect();
    let imports: Vec<String> = world.imports(&machine.engine).map(|(name, _)| name.to_owned()).collect();
    validate::check_world(subject, &exports, &imports)?;
    let mismatch = |error: wasmtime::Error| {
        let message = format!("{subject} does not fit the contract `{STEP}`: {error:#}");
        Error::new(Class::Plugin, text::line(&message, 1000)).hint("build it against the WIT of this version")
    };
    let instance = machine.linker.instantiate_pre(component).map_err(mismatch)?;
    Ok(Arc::new(BuildStepPre::new(instance).map_err(mismatch)?))
}

fn subject_of(source: &PluginSource, step: Option<&str>) -> Subject {
    Subject {
        step: step.map(str::to_owned),
        plugin: source.name.clone(),
        version: source.version.clone(),
        digest: source.digest,
        is_core: source.is_core(),
    }
}

/// Completes files that the guest forgot to close, and takes over `/out`.
fn complete(running: &Running<'_>, directories: Option<Arc<Directories>>) -> BoxFuture<'static, Result<()>> {
    running.conclude(|work, leash| {
        let (writers, output, ledger) = (work.writers.clone(), work.cx.output.clone(), work.ledger.clone());
        Box::new(move || {
            writers.iter().try_for_each(stream::FileWriter::finish)?;
            directories.map_or(Ok(()), |directories| directories.take_over(&output, &ledger, &leash))
        })
    })
}

fn discard(running: &mut Running<'_>) {
    if let Some(work) = &running.store.data().work {
        work.writers.iter().for_each(stream::FileWriter::discard);
    }
}

fn outcome_of(summary: &step::Summary) -> StepOutcome {
    StepOutcome {
        summary: text::line(&summary.message, PROGRESS_MESSAGE),
        items: summary.items,
        unit: text::line(&summary.unit, UNIT),
    }
}
