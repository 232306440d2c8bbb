//! One call of one component: its store, its deadline, its end.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use super::attempt::Attempt;
use super::bindings::{BuildStep, BuildStepPre, step};
use super::budget::Budget;
use super::console::Console;
use super::directories::Directories;
use super::engine::Machine;
use super::files::Opened;
use super::host_time::HostTime;
use super::input::InputTree;
use super::ledger::Ledger;
use super::limits::{CallLimits, HANDLES, HOST_CALL_BYTES, LAYER_NAMES, OPEN_ARCHIVES, OPEN_LAYERS, TICK};
use super::marks::Marks;
use super::open_files::OpenFiles;
use super::room::Room;
use super::stop::{Circumstances, Refusal, Stop, Subject, explain};
use super::stream::FileWriter;
use super::wasi::{self, VirtualClock};
use super::watch::Watch;
use base::digest::Digest;
use base::error::{Error, ItemFailure, Result};
use base::leash::Leash;
use base::progress::Progress;
use fetch::desk::Desk;
use futures_util::future::BoxFuture;

/// What one store holds. Made for one call and dropped after it: a store that
/// was stopped is never used again.
pub(super) struct Call {
    pub(super) wasi: WasiCtx,
    /// The build's clock.
    pub(super) epoch: u64,
    pub(super) table: ResourceTable,
    pub(super) clock: VirtualClock,
    pub(super) console: Console,
    pub(super) budget: Budget,
    pub(super) progress: Progress,
    pub(super) talk: Talk,
    /// None for `describe`.
    pub(super) work: Option<RunScope>,
    /// Where directories were granted.
    pub(super) opened: Option<Opened>,
    pub(super) open_files: OpenFiles,
    time: GuestTime,
    host_time: HostTime,
}

/// How long a guest may still compute.
///
/// Epochs pass for host and guest alike, so of each tick what the host worked
/// is taken off. A tick never costs more than itself: when the whole process
/// had to wait, nobody computed.
#[derive(Debug)]
struct GuestTime {
    left: Duration,
    /// Since when [`Self::hosted`] counts.
    ticked: Instant,
    hosted: Duration,
}

impl GuestTime {
    fn new(ticks: u64, now: Instant) -> Self {
        let left = TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        Self { left, ticked: now, hosted: Duration::ZERO }
    }

    /// The host worked for the guest.
    fn host_worked(&mut self, spent: Duration) {
        self.hosted = self.hosted.saturating_add(spent);
    }

    /// None when the time is used up.
    fn tick(&mut self, now: Instant) -> Option<()> {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.ticked, now));
        let computed = passed.saturating_sub(std::mem::take(&mut self.hosted)).min(TICK);
        self.left = self.left.checked_sub(computed)?;
        Some(())
    }
}

/// How much a guest has said.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) lines: u64,
    pub(super) warnings: u64,
    pub(super) shown: Option<Instant>,
    /// How often something was complete.
    pub(super) ends: u64,
    /// What it said of the things that failed, and how many more there were.
    pub(super) failed: Vec<ItemFailure>,
    pub(super) unlisted: usize,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maker {
    /// Of the plugin.
    pub(super) digest: Digest,
    pub(super) is_core: bool,
    /// What marks of a checkpoint are worth: plugin and configuration.
    pub(super) identity: Digest,
}

/// What `run` may touch.
pub(super) struct RunScope {
    pub(super) cx: Attempt,
    /// Where the call asks for what lies outside of it.
    pub(super) desk: Desk,
    pub(super) is_core: bool,
    /// Of the plugin.
    pub(super) plugin: Digest,
    pub(super) ledger: Arc<Ledger>,
    pub(super) inputs: BTreeMap<String, InputTree>,
    /// What marks of a checkpoint are worth: plugin and configuration.
    pub(super) identity: Digest,
    pub(super) marks: Option<Marks>,
    pub(super) writers: Vec<FileWriter>,
    /// Beside the output tree: the step's staging directory.
    pub(super) staging: PathBuf,
    pub(super) unpacked: u64,
    /// When the server that asked for the longest wait answers again: a guest
    /// can say "transient", and not until when.
    pub(super) come_back: Option<Timestamp>,
    /// What unpacked archives may still take up.
    pub(super) room: Room,
    /// Files that went into an archive: a second time they are charged.
    pub(super) packed: HashSet<PathBuf>,
    /// For archives that are written at the same time.
    pub(super) archives: Arc<Semaphore>,
    /// For layers that are read at the same time.
    pub(super) layers: Arc<Semaphore>,
    /// For the names of layers.
    pub(super) names: archive::layer::Room,
    /// Held by work on other threads, so that the call outlives none of it.
    busy: mpsc::Sender<()>,
}

/// The other end of [`RunScope`]'s `busy`.
pub(super) struct Idle(mpsc::Receiver<()>);

impl Idle {
    /// Returns when no thread works for the call any more.
    pub(super) async fn wait(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// What a call is made from.
pub(super) struct Setup<'a> {
    pub(super) subject: &'a Subject,
    pub(super) limits: &'a CallLimits,
    pub(super) epoch: u64,
    pub(super) progress: Progress,
    pub(super) directories: Option<&'a Directories>,
    pub(super) work: Option<RunScope>,
    pub(super) open_files: OpenFiles,
}

impl RunScope {
    pub(super) fn new(
        cx: Attempt,
        desk: Desk,
        maker: Maker,
        limits: &CallLimits,
        inputs: BTreeMap<String, InputTree>,
    ) -> (Self, Idle) {
        let Maker { digest: plugin, is_core, identity } = maker;
        let (busy, idle) = mpsc::channel(1);
        let staging = cx.output.root().parent().map_or_else(|| cx.output.root().to_owned(), PathBuf::from);
        let ledger = Arc::new(Ledger::new(limits));
        let room = Room::new(limits, cx.largest_unpacked);
        let work = Self {
            cx,
            desk,
            is_core,
            plugin,
            ledger,
            inputs,
            identity,
            marks: None,
            writers: Vec::new(),
            staging,
            unpacked: 0,
            come_back: None,
            room,
            packed: HashSet::new(),
            archives: Arc::new(Semaphore::new(OPEN_ARCHIVES)),
            layers: Arc::new(Semaphore::new(OPEN_LAYERS)),
            names: archive::layer::Room::new(LAYER_NAMES),
            busy,
        };
        (work, Idle(idle))
    }

    /// Where the build and the project lie: nothing that a guest is told.
    fn hidden(&self) -> Vec<PathBuf> {
        vec![self.staging.clone(), self.cx.layout.build.clone(), self.cx.named.root().to_owned()]
    }

    /// Does what may block on another thread. When the call is stopped the
    /// thread is waited for.
    pub(super) fn blocking<T: Send + 'static, W: FnOnce() -> Result<T> + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T>> + Send + use<T, W> {
        let busy = self.busy.clone();
        let handle = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(busy);
            result
        });
        async move {
            handle.await.unwrap_or_else(|error| Err(Error::local("a thread of the host ended badly").caused_by(error)))
        }
    }
}

impl Call {
    /// What `run` may touch.
    ///
    /// # Errors
    /// Stops a `describe` that called `function`.
    pub(super) fn work(&mut self, function: &'static str) -> std::result::Result<&mut RunScope, Refusal> {
        self.work.as_mut().ok_or(Refusal::Stop(Stop::NotInDescribe(function)))
    }

    /// Does what may block on another thread, as long as its leash holds. Its
    /// time is the host's and not the guest's. What the guest is told of an
    /// error says nothing of where things lie.
    pub(super) async fn blocking<T: Send + 'static>(
        &mut self,
        function: &'static str,
        work: impl FnOnce(&Leash) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Refusal> {
        let started = Instant::now();
        let leash = self.host_time.leash();
        let result = self.work(function)?.blocking(move || work(&leash)).await;
        self.worked(started).map_err(Refusal::Stop)?;
        let hidden = self.work(function)?.hidden();
        result.map_err(|error| Refusal::told(error, &hidden))
    }

    /// The host has worked since `started`: that time is not the guest's.
    ///
    /// # Errors
    /// Stops the call where a limit is used up.
    pub(super) fn worked(&mut self, started: Instant) -> std::result::Result<(), Stop> {
        self.time.host_worked(started.elapsed());
        self.host_time.worked(started)
    }

    /// It waited for the network since `started`, which is nobody's work, or
    /// found that it need not.
    ///
    /// # Errors
    /// As [`Self::worked`].
    pub(super) fn fetched(&mut self, started: Instant, has_asked: bool) -> std::result::Result<(), Stop> {
        if !has_asked {
            return self.worked(started);
        }
        self.time.host_worked(started.elapsed());
        Ok(())
    }

    /// For what works on for the call after a function has returned.
    pub(super) fn time_of_host(&self) -> HostTime {
        self.host_time.clone()
    }

    /// Called at every tick that guest code sees.
    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.progress.cancellation().is_cancelled() {
            return Err(Stop::Interrupted.into());
        }
        self.time.tick(Instant::now()).ok_or(Stop::Deadline)?;
        Ok(UpdateDeadline::Yield(1))
    }
}

/// A store and what is needed to report on it.
pub(super) struct Running<'a> {
    pub(super) store: Store<Call>,
    subject: &'a Subject,
    limits: &'a CallLimits,
    cancel: CancellationToken,
}

impl<'a> Running<'a> {
    /// Makes the store. Nothing of the guest has run yet.
    pub(super) fn new(machine: &Machine, setup: Setup<'a>) -> Result<Self> {
        let Setup { subject, limits, epoch, progress, directories, work, open_files } = setup;
        let console = Console::new(limits.console, limits.console_flood());
        let clock = VirtualClock::default();
        let seed = Digest::of(format!("{} {:?}", subject.digest, subject.step).as_bytes());
        let wasi = wasi::context(epoch, seed, &console, &clock, directories)
            .map_err(|error| Error::local(format!("{subject} can not get its directories: {error:#}")))?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let cancel = progress.cancellation().clone();
        let host_time = HostTime::new(subject, limits, cancel.clone());
        let watch = |work: &RunScope, directories: &Directories| {
            let (out, beside) = (directories.out(), directories.work());
            Watch::new(out, beside, work.ledger.clone(), work.room.clone(), host_time.clone())
        };
        let opened = work.as_ref().zip(directories).map(|(work, directories)| Opened::new(watch(work, directories)));
        let call = Call {
            wasi,
            epoch,
            table,
            clock,
            console,
            budget: Budget::new(limits.memory),
            progress,
            talk: Talk::default(),
            work,
            opened,
            open_files,
            time: GuestTime::new(limits.ticks, Instant::now()),
            host_time,
        };
        let mut store = Store::new(&machine.engine, call);
        store.limiter(|call| &mut call.budget);
        store.set_hostcall_fuel(HOST_CALL_BYTES);
        store.set_max_component_handles(HANDLES);
        // Before instantiation: the default deadline has always passed.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| store.data_mut().tick());
        Ok(Self { store, subject, limits, cancel })
    }

    /// # Errors
    /// `plugin`: a trap, a limit. `interrupted`.
    pub(super) async fn describe(&mut self, pre: &BuildStepPre<Call>) -> Result<step::Description> {
        let store = &mut self.store;
        let call = async {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.opencenter_airgap_step().call_describe(&mut *store).await
        };
        let result = unless_ended(&self.cancel, None, call).await;
        self.explained(result)
    }

    /// Calls `run`. The inner result is what the step itself says.
    ///
    /// # Errors
    /// `plugin`: a trap, a limit. `interrupted`. What the host failed at.
    pub(super) async fn run(
        &mut self,
        pre: &BuildStepPre<Call>,
        context: step::Context,
        configuration: String,
    ) -> Result<std::result::Result<step::Summary, step::StepError>> {
        let store = &mut self.store;
        let host_time = store.data().time_of_host();
        let call = async {
            let (inputs, output) = handles(store.data_mut())?;
            let plugin: BuildStep = pre.instantiate_async(&mut *store).await?;
            plugin.opencenter_airgap_step().call_run(&mut *store, &context, &configuration, &inputs, output).await
        };
        let result = unless_ended(&self.cancel, Some(&host_time), call).await;
        self.explained(result)
    }

    /// Does what is left to do when `run` has returned well: what of the output
    /// the guest left to the host.
    ///
    /// # Errors
    /// What the work fails at; `plugin` where a limit is used up.
    pub(super) fn conclude<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RunScope, Leash) -> Box<dyn FnOnce() -> Result<T> + Send>,
    ) -> BoxFuture<'static, Result<T>> {
        let call = self.store.data();
        match &call.work {
            Some(about) => Box::pin(about.blocking(work(about, call.host_time.leash()))),
            None => Box::pin(async { Err(Error::local("there is nothing to conclude")) }),
        }
    }

    fn explained<T>(&self, result: wasmtime::Result<T>) -> Result<T> {
        let call = self.store.data();
        result.map_err(|error| {
            let about = Circumstances {
                subject: self.subject,
                limits: self.limits,
                budget: &call.budget,
                console: &call.console,
            };
            explain(&error, &about)
        })
    }
}

/// The handles that `run` is called with.
fn handles(
    call: &mut Call,
) -> wasmtime::Result<(Vec<step::NamedTree>, wasmtime::component::Resource<super::bindings::OutputSink>)> {
    let inputs = call.work.as_ref().map(|work| work.inputs.clone()).unwrap_or_default();
    let mut named = Vec::with_capacity(inputs.len());
    for (name, tree) in inputs {
        named.push(step::NamedTree { name, tree: call.table.push(tree)? });
    }
    let output = call.table.push(super::bindings::OutputSink)?;
    Ok((named, output))
}

/// Dropping the call's future is how a guest is stopped inside a host call.
async fn unless_ended<T>(
    cancel: &CancellationToken,
    time: Option<&HostTime>,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let end = async {
        match time {
            Some(time) => time.end().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Stop::Interrupted.into()),
        error = end => Err(Stop::Host(error).into()),
        result = call => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a tick of computing and half a tick of host work, again and again.
    #[test]
    fn host_calls_do_not_make_computing_free() {
        let mut now = Instant::now();
        let mut time = GuestTime::new(10, now);
        let mut ticks = 0;
        while time.tick(now).is_some() {
            now += TICK;
            time.host_worked(TICK / 2);
            ticks += 1;
            assert!(ticks < 100, "never ends");
        }
        assert_eq!(ticks, 21);
    }

    #[test]
    fn waiting_for_the_host_or_for_the_processor_is_not_computing() {
        let start = Instant::now();
        let mut time = GuestTime::new(2, start);
        time.host_worked(TICK * 1000);
        assert!(time.tick(start + TICK * 1000).is_some());
        assert_eq!(time.left, TICK * 2);
        assert!(time.tick(start + TICK * 2000).is_some());
        assert_eq!(time.left, TICK);
    }
}
