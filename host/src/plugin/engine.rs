//! wasmtime as this host uses it: one engine, one linker, a thread that
//! advances the epoch.

use std::thread;

use rustix::process::{Resource, getrlimit};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel, WasmBacktraceDetails};

use super::bindings::{archives, checkpoint, fetch, host, outputs, trees, types};
use super::call::Call;
use super::limits::{CALL_STACK, GUEST_STACK, TICK};
use super::wasi;
use crate::error::{Class, Error, Result};

/// Everything that is the same for all components.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Call>,
}

impl Machine {
    /// # Errors
    /// `local` where the system gives no memory or thread.
    pub(super) fn new() -> Result<Self> {
        let failed = |error: wasmtime::Error| {
            Error::local(format!("the plugin engine can not start: {error:#}"))
                .hint("check `ulimit -v` and the memory limit of the container")
        };
        let engine = Engine::new(&configuration()).map_err(failed)?;
        start_ticker(&engine)?;
        let linker = linker(&engine).map_err(failed)?;
        Ok(Self { engine, linker })
    }
}

/// Below this much address space the usual 4 GiB per memory do not fit.
const ROOMY: u64 = 64 << 30;

fn configuration() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // No async of the component model, no 64-bit memories, no SIMD that
        // differs between processors, and no threads, which are not compiled
        // in: a component that needs them is refused when it is loaded.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        // The same bytes on every processor.
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(CALL_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    if getrlimit(Resource::As).current.is_some_and(|bytes| bytes < ROOMY) {
        config.memory_reservation(64 << 20).memory_guard_size(1 << 16);
    }
    config
}

/// Advances the epoch for as long as the engine lives. A thread of its own:
/// it must not wait for a busy runtime.
fn start_ticker(engine: &Engine) -> Result<()> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    let started = thread::Builder::new().name("plugin-epoch".to_owned()).spawn(tick);
    started.map(drop).map_err(|error| Error::new(Class::Local, "can not start a thread").caused_by(error))
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Call>> {
    let mut linker = Linker::new(engine);
    wasi::link(&mut linker)?;
    types::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    host::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    trees::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    outputs::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    fetch::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    archives::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    checkpoint::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    Ok(linker)
}
