//! Bytes that become code.
//!
//! The host keeps them in sealed memory: a file without a name, which nobody can
//! change any more once it is complete, and which is mapped as it is. What of the
//! code is never run then takes no room in this process, and nothing of it is there
//! twice. Where the system has no such memory the bytes are held and copied.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::text;
use base::digest::{Digest, Hasher};
use base::error::{Class, Error};

/// Compiled code that was checked, or that our own compiler has just made.
#[derive(Debug)]
pub(super) enum Code {
    Sealed(File),
    Held(Vec<u8>),
}

/// Bytes that are moved at once.
const PIECE: usize = 256 << 10;

impl Code {
    /// What a file holds, to its end, and its digest.
    ///
    /// # Errors
    /// What reading answers, and where there is no memory.
    pub(super) fn read(input: &mut impl Read) -> io::Result<(Self, Digest)> {
        let (mut code, mut hasher) = (Code::empty(), Hasher::new());
        let mut piece = vec![0; PIECE];
        loop {
            let length = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let read = piece.get(..length).unwrap_or_default();
            hasher.update(read);
            code.append(read)?;
        }
        Ok((code.complete()?, hasher.finish()))
    }

    /// What the compiler made.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let mut code = Code::empty();
        match code.append(&bytes).and_then(|()| code.complete()) {
            Ok(sealed @ Code::Sealed(_)) => sealed,
            _ => Code::Held(bytes),
        }
    }

    fn empty() -> Self {
        let memory = memfd_create("plugin-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        memory.map_or_else(|_| Code::Held(Vec::new()), |memory| Code::Sealed(memory.into()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Code::Sealed(memory) => memory.write_all(bytes),
            Code::Held(held) => held.write_all(bytes),
        }
    }

    fn complete(self) -> io::Result<Self> {
        if let Code::Sealed(memory) = &self {
            fcntl_add_seals(memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        }
        Ok(self)
    }

    /// All bytes, for who sends them elsewhere.
    ///
    /// # Errors
    /// What reading answers.
    pub(super) fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self {
            Code::Sealed(mut memory) => {
                let mut bytes = Vec::new();
                memory.rewind()?;
                memory.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Code::Held(held) => Ok(held),
        }
    }

    /// Loads the code; None where it is of another wasmtime or of an engine with
    /// other settings.
    pub(super) fn load(self, engine: &Engine) -> Option<Component> {
        if let Code::Sealed(memory) = &self
            && let Some(component) = map(engine, memory)
        {
            return Some(component);
        }
        // Memory that may not be executed can still be copied to where it may.
        load(engine, &self.into_bytes().ok()?)
    }
}

// SAFETY of both: the code is what `Engine::precompile_component` gave in a process
// that this program started for nothing else, that ran no guest, and whose
// pipe nobody else holds; or it is what that gave earlier, with its digest
// in a receipt that only the holder of the cache's key can have sealed. In
// the process that describes it is what the host sent. So to run it is to
// trust the compiler, as it is wherever the compiler runs. A different wasmtime or
// configuration is refused by wasmtime itself.

/// Loads code by copying it.
#[expect(unsafe_code, reason = "what our own compiler made, through a pipe of ours or out of the sealed cache")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: above; it is a private copy, so nothing changes it meanwhile.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Maps sealed memory. It is named by the descriptor, which is held meanwhile.
#[expect(unsafe_code, reason = "as above, out of memory that is sealed")]
fn map(engine: &Engine, memory: &File) -> Option<Component> {
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    // SAFETY: above; the seals keep everybody, this process included, from writing
    // to it, making it shorter, and taking them off, and the mapping is private.
    unsafe { Component::deserialize_file(engine, path) }.ok()
}

/// Why a component can not be compiled, in the compiler's words: they name a
/// feature of WebAssembly that is off.
pub(super) fn compile_error(subject: &str, error: &wasmtime::Error) -> Error {
    Error::new(Class::Plugin, text::line(&format!("{subject} can not be compiled: {error:#}"), 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;

    fn compiled(engine: &Engine) -> Vec<u8> {
        engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap()
    }

    /// Guards that what was checked is what is run: nobody can write to it any more.
    #[test]
    fn what_is_complete_is_sealed_and_loads_without_a_copy() {
        let engine = engine::new().unwrap();
        let bytes = compiled(&engine);
        let (code, digest) = Code::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        let Code::Sealed(mut memory) = code else { panic!("this system has sealed memory") };
        assert!(memory.rewind().and_then(|()| memory.write_all(b"other")).is_err(), "it can be written to");
        assert!(memory.set_len(1).is_err(), "it can be made shorter");
        assert!(map(&engine, &memory).is_some());
        assert_eq!(Code::Sealed(memory).into_bytes().unwrap(), bytes);
    }

    #[test]
    fn without_sealed_memory_it_is_copied_and_foreign_bytes_are_no_code() {
        let engine = engine::new().unwrap();
        assert!(Code::Held(compiled(&engine)).load(&engine).is_some());
        assert!(Code::of(compiled(&engine)).load(&engine).is_some());
        assert!(Code::of(b"no code".to_vec()).load(&engine).is_none());
    }
}
