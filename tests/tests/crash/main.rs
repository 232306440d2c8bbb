//! Guards that nothing finished is lost: whatever stops a build, the same
//! command goes on from there, and the package is the one of an undisturbed
//! build.
//!
//! These tests run the binary whose disk fails on demand (`tests/faulty`).
//! `AIRGAP_THOROUGH=1` (as `make crash` sets it) takes every visit of every
//! checkpoint and more sequences of commands; `AIRGAP_SEED`, which each run
//! prints, chooses others and repeats them.

mod carry;
mod checkpoints;
mod commands;
mod disk_faults;
mod early_signals;
mod faulty;
mod fixture;
mod full_disk;
mod power;
mod repositories;
mod resume;
mod signals;
mod state;

/// A file that is not named above would never run.
#[test]
fn every_file_is_part_of_the_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || listed.contains(&format!("mod {module};")), "{name} is not listed");
    }
}
