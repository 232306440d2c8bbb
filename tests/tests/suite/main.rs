//! The suite that runs the binary. Each file begins with what it guards.

mod add;
mod additional_steps;
mod bad_input;
mod build;
mod carry;
mod charts;
mod clock;
mod confined;
mod deep;
mod default_platform;
mod defined;
mod diary;
mod docs;
mod doubt;
mod entitlement;
mod far_side;
mod faults;
mod files;
mod format;
mod formats;
mod full_size;
mod gc;
mod harness;
mod house;
mod images;
mod imported;
mod inspect;
mod interop;
mod kept;
mod layers;
mod lock;
mod own_files;
mod plan;
mod plugin_authors;
mod plugin_sources;
mod plugins;
mod policy;
mod push;
mod rendering;
mod repos;
mod resume;
mod sbom;
mod scan;
mod serve;
mod sign;
mod soak;
mod statements;
mod travels;
mod update;
mod verify;
mod vouched;
mod words;

/// A file that is not named above would never run.
#[test]
fn every_file_is_part_of_the_suite() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || listed.contains(&format!("mod {module};")), "{name} is not listed");
    }
}
