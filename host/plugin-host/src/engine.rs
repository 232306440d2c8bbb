//! wasmtime as this host uses it: one engine, the features of WebAssembly that
//! it has, one linker, a thread that advances the epoch.

use std::thread;

use rustix::process::{Resource, getrlimit};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::wasmparser::WasmFeatures;
use wasmtime::{Config, Engine, OptLevel, WasmBacktraceDetails};

use super::bindings::{archives, checkpoint, fetch, host, layers, outputs, trees, types};
use super::call::Call;
use super::limits::{CALL_STACK, GUEST_STACK, TICK};
use super::wasi;
use base::error::{Class, Error, Result};

/// Everything that is the same for all components.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Call>,
}

impl Machine {
    /// # Errors
    /// `local` where the system gives no memory or thread.
    pub(super) fn new() -> Result<Self> {
        Self::of(new()?)
    }

    /// # Errors
    /// As [`Machine::new`].
    pub(super) fn of(engine: Engine) -> Result<Self> {
        start_ticker(&engine)?;
        let linker = linker(&engine).map_err(failed)?;
        Ok(Self { engine, linker })
    }
}

/// An engine that compiles and loads, and starts no thread.
///
/// # Errors
/// `local` where the system gives no memory.
pub(super) fn new() -> Result<Engine> {
    Engine::new(&configuration()).map_err(failed)
}

fn failed(error: wasmtime::Error) -> Error {
    Error::local(format!("the plugin engine can not start: {error:#}"))
        .hint("check `ulimit -v` and the memory limit of the container")
}

/// The features of WebAssembly that components may use, each with who needs it.
/// Every other one is off, those that wasmtime will learn among them: it is
/// more compiler and more runtime that an attacker can reach, and a component
/// that uses it is refused with its name.
///
/// On beside these is what WebAssembly began with.
const FEATURES: [WasmFeatures; 11] = [
    // What a plugin is.
    WasmFeatures::COMPONENT_MODEL,
    // The baseline of LLVM since version 20, so of what Rust, C and Go compile
    // to.
    WasmFeatures::MUTABLE_GLOBAL,
    WasmFeatures::SIGN_EXTENSION,
    WasmFeatures::SATURATING_FLOAT_TO_INT,
    WasmFeatures::BULK_MEMORY,
    WasmFeatures::MULTI_VALUE,
    // LLVM writes call_indirect in its long form. References to the host's
    // objects are part of this proposal and off all the same: they need the
    // garbage collector, which is not compiled in.
    WasmFeatures::REFERENCE_TYPES,
    // Guests that compute with vectors: CPython is compiled with it, and Rust
    // where a crate asks for it. Deterministic, unlike its relaxed form.
    WasmFeatures::SIMD,
    // Offsets of shared libraries: componentize-py links CPython that way.
    WasmFeatures::EXTENDED_CONST,
    // Not for guests: where a component is composed of several, wasmtime
    // itself writes the code that copies from one's memory to the other's.
    WasmFeatures::MULTI_MEMORY,
    // No feature but that numbers with a fraction exist.
    WasmFeatures::FLOATS,
];

/// Below this much address space the usual 4 GiB per memory do not fit.
const ROOMY: u64 = 64 << 30;

fn configuration() -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    for feature in FEATURES {
        config.wasm_features(feature, true);
    }
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        // The same bytes on every processor.
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(CALL_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // Tables for debuggers, an eighth of what is read and hashed before the
        // first call of each plugin: frames are reported by the names of their
        // functions.
        .generate_address_map(false)
        .native_unwind_info(false);
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
    layers::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What compiling a component of these parts ends with.
    fn compile(parts: &str) -> std::result::Result<(), String> {
        let bytes = wat::parse_str(format!("(component {parts})")).unwrap();
        let compiled = new().unwrap().precompile_component(&bytes);
        compiled.map(drop).map_err(|error| crate::code::compile_error("x", &error).message().to_owned())
    }

    /// The smallest use of each feature that is off, and its name in the
    /// refusal.
    #[test]
    fn a_feature_that_no_guest_needs_is_refused_by_its_name() {
        for (feature, parts) in [
            ("gc", "(core module (type (struct (field i32))))"),
            ("gc", "(core module (func (result i31ref) (ref.i31 (i32.const 1))))"),
            ("gc types", "(core module (table 1 externref))"),
            (
                "function references",
                "(core module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
            ),
            ("exceptions", "(core module (tag))"),
            ("exceptions", "(core module (func (try_table)))"),
            ("tail call", "(core module (func $f (return_call $f)))"),
            ("threads", "(core module (memory 1 1 shared))"),
            ("threads", "(core module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"),
            ("memory64", "(core module (memory i64 1))"),
            ("memory64", "(core module (table i64 1 funcref))"),
            (
                "relaxed SIMD",
                "(core module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))",
            ),
            ("stack switching", "(core module (type $f (func)) (type (cont $f)))"),
            ("custom page sizes", "(core module (memory 1 (pagesize 1)))"),
            (
                "wide arithmetic",
                "(core module (func (param i64) (drop (i64.mul_wide_s (local.get 0) (local.get 0))) drop))",
            ),
            ("async", "(type (func async))"),
            ("async", "(type (stream u8))"),
            ("async", "(type (future u8))"),
            ("error-context", "(type (option error-context))"),
            ("fixed", "(type (list u8 4))"),
            ("map", "(type (map string u8))"),
            ("component model values", "(import \"v\" (value string))"),
            ("shared-everything", "(core module (type (shared (func))))"),
        ] {
            let refused = compile(parts).expect_err(parts).to_lowercase().replace(['-', '_'], " ").replace('`', "");
            assert!(refused.contains(&feature.to_lowercase().replace('-', " ")), "{feature}: {refused}");
        }
    }

    #[test]
    fn what_guests_are_made_of_is_compiled() {
        for parts in [
            "(core module (func (result i32 i32) (i32.const 1) (i32.extend8_s (i32.const 2))))",
            "(core module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))",
            "(core module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
            "(core module (global (export \"g\") (mut i32) (i32.const 0)))",
            "(core module (type $t (func)) (table 1 funcref) (table 1 funcref) (func (call_indirect 1 (type $t) (i32.const 0))))",
            "(core module (func (param v128) (result v128) (i8x16.neg (local.get 0))))",
            "(core module (import \"e\" \"base\" (global i32)) (global i32 (i32.add (global.get 0) (i32.const 8))))",
            "(core module (memory 1) (memory 1))",
        ] {
            compile(parts).unwrap_or_else(|error| panic!("{parts}: {error}"));
        }
    }

    /// wasmtime expects its own code for a call between two memories to be
    /// valid: without several memories in a module it is not.
    #[test]
    fn components_may_be_composed() {
        compile(
            r#"
            (component $inner
                (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "f") (param "s" string)
                    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
            (instance $inner (instantiate $inner))
            (core module $m (memory (export "memory") 1))
            (core instance $i (instantiate $m))
            (core func $f (canon lower (func $inner "f") (memory (core memory $i "memory"))))
            (core module $user (import "" "f" (func (param i32 i32))))
            (core instance (instantiate $user (with "" (instance (export "f" (func $f))))))"#,
        )
        .unwrap();
    }
}
