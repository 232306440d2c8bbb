//! Which crate may know what.

mod circles;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What the crates of the host stand on, by the crate.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let folders = std::fs::read_dir(root().join("host")).unwrap();
    let of = |folder: std::fs::DirEntry| {
        let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        // Of a target and for the build as well; tests may know what they like.
        let is_table = |head: &str| head.ends_with("dependencies") && head != "dev-dependencies";
        let tables = manifest.split("\n[").filter_map(|table| table.split_once("]\n"));
        let lines = tables.filter(|(head, _)| is_table(head)).flat_map(|(_, table)| table.lines());
        let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
        (folder.file_name().to_string_lossy().into_owned(), names.map(str::to_owned).collect())
    };
    let crates = folders.map(Result::unwrap).filter(|folder| folder.path().join("Cargo.toml").is_file());
    crates.map(of).collect()
}

/// The engine of plugins, the network, the terminal and the cryptography are each known to one
/// crate: whoever needs one of them goes there.
#[test]
fn each_of_the_heavy_libraries_is_known_to_one_crate() {
    let dependencies = dependencies();
    assert!(dependencies.len() > 10, "{dependencies:?}");
    for (library, home) in [
        ("wasmtime", "plugin-host"),
        ("wasmtime-wasi", "plugin-host"),
        ("reqwest", "fetch"),
        ("clap", "cli"),
        ("indicatif", "cli"),
        ("landlock", "confine"),
        ("seccompiler", "confine"),
        ("zip", "archive"),
        ("wit-component", "workbench"),
        ("rustls-platform-verifier", "trust"),
        ("p256", "signing"),
        ("crypto_secretbox", "signing"),
        ("scrypt", "signing"),
    ] {
        let knows = |(name, on): (&String, &Vec<String>)| on.iter().any(|one| one == library).then(|| name.clone());
        let found: Vec<String> = dependencies.iter().filter_map(knows).collect();
        assert_eq!(found, [home], "{library}");
    }
}

/// Which step runs, why, and what becomes of it, is decided from what is handed
/// in: what decides reads no disk, no clock and no network.
#[test]
fn what_decides_does_nothing() {
    for file in ["plan.rs", "decide.rs", "refresh.rs", "run/book.rs"] {
        let path = root().join("host/engine/src/orchestrator").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["fs::", "disk::", "fetch::", "tokio", "Timestamp::now", "Instant::now", "SystemTime", "std::env"] {
            assert!(!code.contains(word), "{} names `{word}`", path.display());
        }
    }
}

/// The crates of the host, and those of the plugins and of what they stand on.
fn crates() -> Vec<PathBuf> {
    let folders = ["host", "plugins", "plugins/shared"].map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let crates = folders.into_iter().flatten().map(|folder| folder.unwrap().path());
    crates.filter(|folder| folder.join("Cargo.toml").is_file() && folder.join("src").is_dir()).collect()
}

/// The text of each source below a folder, by its path there. A crate's `main.rs`
/// beside a `lib.rs` is a crate of its own.
fn sources(folder: &Path) -> BTreeMap<String, String> {
    let (mut sources, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                sources.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    if sources.contains_key("lib.rs") {
        sources.remove("main.rs");
    }
    sources
}

/// Modules of one parent stand on each other in one direction: what two of them need
/// lies below both.
#[test]
fn no_two_modules_stand_on_each_other() {
    let crates = crates();
    assert!(crates.len() > 20, "{crates:?}");
    let mut found = Vec::new();
    for folder in &crates {
        let name = folder.strip_prefix(root()).unwrap().display().to_string();
        found.extend(
            circles::circles(&sources(&folder.join("src"))).into_iter().map(|circle| format!("{name}/src: {circle}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What airgap.lock takes in was seen: by the network what an address gave, by a
/// desk what a chart is. Nothing else says so.
#[test]
fn what_was_seen_is_said_by_who_saw_it() {
    for (made, home) in [("Seen::new(", "network/"), ("SeenChart::new(", "desk.rs")] {
        let files = sources(&root().join("host/fetch/src"));
        let makes =
            |text: &String| text.match_indices(made).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric));
        let makers: Vec<String> = files.into_iter().filter(|(_, text)| makes(text)).map(|(file, _)| file).collect();
        assert!(!makers.is_empty() && makers.iter().all(|file| file.starts_with(home)), "{made} {makers:?}");
    }
}
