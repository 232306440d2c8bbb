//! Bytes that become code.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::text;
use base::error::{Class, Error};

/// Loads compiled code; None where it is of another wasmtime or of an engine
/// with other settings.
#[expect(unsafe_code, reason = "what our own compiler made, through a pipe of ours or out of the sealed cache")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `code` is what `Engine::precompile_component` gave in a process
    // that this program started for nothing else, that ran no guest, and whose
    // pipe nobody else holds; or it is what that gave earlier, with its digest
    // in a receipt that only the holder of the cache's key can have sealed. In
    // the process that describes it is what the host sent. So to run it is to
    // trust the compiler, as it is wherever the compiler runs. It is a private
    // copy, so nothing changes it meanwhile. A different wasmtime or
    // configuration is refused by wasmtime itself.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Why a component can not be compiled, in the compiler's words: they name a
/// feature of WebAssembly that is off.
pub(super) fn compile_error(subject: &str, error: &wasmtime::Error) -> Error {
    Error::new(Class::Plugin, text::line(&format!("{subject} can not be compiled: {error:#}"), 1000))
}
