//! A component out of a core module that speaks WASI preview 1, as standard Go
//! builds it.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::project;
use base::error::{Error, Result};

const WORLD: &str = "build-step";

/// Wraps `core` as a step of this host's contract. The same bytes give the same
/// component.
///
/// # Errors
/// `invalid-input` for what is no core module, and for one that lacks what a
/// step exports or imports what nobody offers.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>> {
    check_core(core)?;
    encoded(core).map_err(|error| {
        let why = error.lines().collect::<Vec<_>>().join(" ");
        Error::invalid(format!("the module can not become a step: {why}"))
            .hint("build it against wit/ of a project that `plugin new` writes, as the README there says")
    })
}

fn check_core(core: &[u8]) -> Result<()> {
    let what = match core.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => {
            "a component already: `plugin test` and `plugin add` take it as it is"
        }
        _ => "no WebAssembly module",
    };
    Err(Error::invalid(format!("the file is {what}")))
}

fn encoded(core: &[u8]) -> std::result::Result<Vec<u8>, String> {
    macro_rules! told {
        ($result:expr) => {
            $result.map_err(|error| format!("{error:#}"))
        };
    }
    let mut resolve = Resolve::default();
    let mut packages = Vec::new();
    for (path, text) in project::contract() {
        packages = vec![told!(resolve.push_source(path, text))?];
    }
    let world = told!(resolve.select_world(&packages, Some(WORLD)))?;
    let mut module = core.to_vec();
    told!(embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false))?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    told!(encoder.module(&module))?;
    told!(encoder.adapter(ADAPTER, REACTOR))?;
    told!(encoder.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_core_module_is_refused_with_what_it_is() {
        for (bytes, says) in [
            (&b"\0asm\x0d\0\x01\0"[..], "a component already"),
            (b"#!/bin/sh\n", "no WebAssembly module"),
            (b"", "no WebAssembly module"),
            (b"\0asm\x01\0\0\0", "can not become a step"),
        ] {
            let error = componentize(bytes).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
    }
}
