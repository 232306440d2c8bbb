//! Is this component a step that this host can run? Asked before anything of
//! it runs, so that the answer names what is wrong instead of a link error.

use super::limits::COMPONENT_BYTES;
use base::error::{Class, Error, Result};

/// What a plugin must export, and the version of the contract.
pub const STEP: &str = "opencenter:airgap/step@1.1.0";
const PACKAGE: &str = "opencenter:airgap/";
const MAJOR: u64 = 1;

/// The interfaces that a step may import.
const OWN: &[&str] = &["types", "host", "trees", "outputs", "fetch", "archives", "checkpoint", "layers"];
/// The packages of WASI 0.2 that are linked, inert.
const WASI: &[&str] = &["wasi:io", "wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:random", "wasi:sockets"];

/// Checks bytes before they are compiled: a component, not a module or
/// something else, and not too large.
///
/// # Errors
/// `plugin`, saying what it is instead.
pub(super) fn check_component(subject: &str, bytes: &[u8]) -> Result<()> {
    check_header(subject, bytes)?;
    if bytes.len() as u64 > COMPONENT_BYTES {
        let mib = COMPONENT_BYTES >> 20;
        return Err(Error::new(Class::Plugin, format!("{subject} is larger than {mib} MiB")));
    }
    Ok(())
}

fn check_header(subject: &str, bytes: &[u8]) -> Result<()> {
    let what = match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => "a core WebAssembly module",
        Some([0, b'a', b's', b'm', ..]) => "WebAssembly of an unknown version",
        _ => "not WebAssembly",
    };
    Err(Error::new(Class::Plugin, format!("{subject} is {what}, and a plugin is a WebAssembly component"))
        .hint("build it for wasm32-wasip2, or wrap the module with `wasm-tools component new`"))
}

/// The version of the contract that a step was built against, as the name of what
/// it exports says.
pub fn contract_of(component: &[u8]) -> Option<String> {
    let name = b"opencenter:airgap/step@";
    let at = component.windows(name.len()).position(|window| window == name)?;
    let version = component[at + name.len()..].iter().take(VERSION).map(|byte| char::from(*byte));
    let version: String = version.take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (!version.is_empty()).then_some(version)
}

/// Bytes of a version that are read.
const VERSION: usize = 20;

/// Checks the names of what a component exports and imports.
///
/// # Errors
/// `plugin`, naming what was found and what is expected.
pub(super) fn check_world(subject: &str, exports: &[String], imports: &[String]) -> Result<()> {
    check_exports(exports).and_then(|()| imports.iter().try_for_each(|import| check_import(import))).map_err(|why| {
        Error::new(Class::Plugin, format!("{subject} is not a step: {why}"))
            .hint(format!("a step exports `{STEP}`: docs/write-a-plugin.md shows how to build one"))
    })
}

fn check_exports(exports: &[String]) -> std::result::Result<(), String> {
    let steps = exports.iter().filter_map(|export| export.strip_prefix("opencenter:airgap/step@"));
    let mut other = None;
    for version in steps {
        if major(version) == Some(MAJOR) {
            return Ok(());
        }
        other = Some(version);
    }
    if let Some(version) = other {
        return Err(format!("it speaks version {version} of the contract, and this host speaks {MAJOR}.x (`{STEP}`)"));
    }
    let shown = match exports {
        [] => "nothing".to_owned(),
        _ => shown(exports),
    };
    Err(format!("it exports {shown}, and not `{STEP}`"))
}

fn check_import(import: &str) -> std::result::Result<(), String> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(name) = interface.strip_prefix(PACKAGE) {
        return match (OWN.contains(&name), major(version)) {
            (true, Some(MAJOR)) => Ok(()),
            (true, _) => Err(format!("it imports `{import}`, and this host offers version {MAJOR}.x")),
            (false, _) => Err(format!("it imports `{import}`, which this version of the host does not offer")),
        };
    }
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    if WASI.contains(&package) && version.starts_with("0.2.") {
        return Ok(());
    }
    Err(format!("it imports `{import}`, which no step gets"))
}

fn major(version: &str) -> Option<u64> {
    version.split('.').next()?.parse().ok()
}

fn shown(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(5).map(|name| format!("`{}`", name.escape_debug())).collect();
    if names.len() > 5 {
        shown.push(format!("{} more", names.len() - 5));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(exports: &[&str], imports: &[&str]) -> Result<(), String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        check_world("plugin x", &owned(exports), &owned(imports)).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_step_with_wasi_and_our_imports_is_one() {
        let imports = ["wasi:io/streams@0.2.6", "opencenter:airgap/host@1.0.0", "wasi:sockets/tcp@0.2.3"];
        assert_eq!(world(&[STEP], &imports), Ok(()));
        assert_eq!(world(&["opencenter:airgap/step@1.3.0", "extra:thing/x@0.1.0"], &[]), Ok(()));
    }

    #[test]
    fn another_world_is_named_with_what_was_expected() {
        let error = world(&["acme:greeter/greet@2.1.0"], &[]).unwrap_err();
        assert!(
            error.contains("it exports `acme:greeter/greet@2.1.0`, and not `opencenter:airgap/step@1.1.0`"),
            "{error}"
        );
        assert!(world(&[], &[]).unwrap_err().contains("exports nothing"));
        let error = world(&["opencenter:airgap/step@2.0.0"], &[]).unwrap_err();
        assert!(error.contains("version 2.0.0") && error.contains("1.x"), "{error}");
    }

    #[test]
    fn imports_that_no_step_gets_are_named() {
        for import in [
            "wasi:http/outgoing-handler@0.2.3",
            "acme:exec/run@1.0.0",
            "opencenter:airgap/exec@1.0.0",
            "wasi:io/streams@0.3.0",
            "env",
        ] {
            let error = world(&[STEP], &[import]).unwrap_err();
            assert!(error.contains(import), "{error}");
        }
    }

    #[test]
    fn a_core_module_is_told_apart_from_a_component() {
        assert!(check_header("x", b"\0asm\x0d\0\x01\0rest").is_ok());
        assert!(check_header("x", b"\0asm\x01\0\0\0").unwrap_err().message().contains("core WebAssembly module"));
        assert!(check_header("x", b"#!/bin/sh").unwrap_err().message().contains("not WebAssembly"));
    }
}
