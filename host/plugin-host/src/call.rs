//! What one call of one component holds, and how long it may still take.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use super::attempt::Attempt;
use super::bindings::Refusal;
use super::budget::Budget;
use super::clock::VirtualClock;
use super::console::Console;
use super::host_time::HostTime;
use super::input::InputTree;
use super::ledger::Ledger;
use super::limits::{CallLimits, LAYER_NAMES, OPEN_ARCHIVES, OPEN_LAYERS, TICK};
use super::marks::Marks;
use super::open_files::OpenFiles;
use super::opened::Opened;
use super::room::Room;
use super::stop::Stop;
use super::stream::FileWriter;
use base::digest::Digest;
use base::error::{Error, ItemFailure, Result};
use base::leash::Leash;
use base::progress::Progress;
use fetch::desk::Desk;

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
    pub(super) time: GuestTime,
    pub(super) host_time: HostTime,
}

/// How long a guest may still compute.
///
/// Epochs pass for host and guest alike, so of each tick what the host worked
/// is taken off. A tick never costs more than itself: when the whole process
/// had to wait, nobody computed.
#[derive(Debug)]
pub(super) struct GuestTime {
    left: Duration,
    /// Since when [`Self::hosted`] counts.
    ticked: Instant,
    hosted: Duration,
}

impl GuestTime {
    pub(super) fn new(ticks: u64, now: Instant) -> Self {
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
    /// What it said last that it works on.
    pub(super) at: String,
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
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.progress.cancellation().is_cancelled() {
            return Err(Stop::Interrupted.into());
        }
        self.time.tick(Instant::now()).ok_or(Stop::Deadline)?;
        Ok(UpdateDeadline::Yield(1))
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
