//! One call of one component: its store, its deadline, its end.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime::component::ResourceTable;

use super::bindings::{BuildStep, BuildStepPre, step};
use super::budget::Budget;
use super::call::{Call, GuestTime, RunScope, Talk};
use super::clock::VirtualClock;
use super::console::Console;
use super::directories::Directories;
use super::engine::Machine;
use super::host_time::HostTime;
use super::limits::{CallLimits, HANDLES, HOST_CALL_BYTES};
use super::open_files::OpenFiles;
use super::opened::Opened;
use super::report::{Circumstances, explain};
use super::stop::Stop;
use super::subject::Subject;
use super::wasi;
use super::watch::Watch;
use base::digest::Digest;
use base::error::{Error, Result};
use base::leash::Leash;
use base::progress::Progress;
use futures_util::future::BoxFuture;

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
                at: &call.talk.at,
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
