//! Guards that docs/sandbox.md names every attack, and no test that is not
//! there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::arena::Arena;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// The names of all tests below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_in(&std::fs::read_to_string(&path).expect("a readable source")));
        }
    }
}

fn tests_in(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
            names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            is_test = false;
        }
    }
    names
}

/// The words in backquotes that look like the name of a test.
fn named(document: &str) -> BTreeSet<String> {
    let words = document.split('`').skip(1).step_by(2);
    let name = |word: &&str| word.matches('_').count() > 1 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    words.filter(name).map(str::to_owned).collect()
}

#[test]
fn the_document_names_every_attack_and_no_test_that_is_not_there() {
    let document = std::fs::read_to_string(root().join("docs/sandbox.md")).expect("docs/sandbox.md");
    let mut attacks = BTreeSet::new();
    tests_below(&root().join("tests/tests/attacks"), &mut attacks);
    attacks.retain(|name| !tests_in(include_str!("promises.rs")).contains(name));
    let named = named(&document);
    let missing: Vec<_> = attacks.difference(&named).collect();
    assert!(missing.is_empty(), "docs/sandbox.md does not name {missing:#?}");
    let mut all = attacks;
    for folder in ["tests/tests", "host", "plugins", "tests/fuzz"] {
        tests_below(&root().join(folder), &mut all);
    }
    let unknown: Vec<_> = named.difference(&all).collect();
    assert!(unknown.is_empty(), "docs/sandbox.md names tests that are not there: {unknown:#?}");
    assert!(all.len() > 53, "{} attacks", all.len());
}

/// Setting and default of each limit. configuration.md is held to the code by
/// the host's own tests.
fn limits(document: &str, prefix: &str, separator: &str) -> BTreeSet<(String, String)> {
    let row = |line: &str| {
        let (key, rest) = line.strip_prefix(prefix)?.split_once(separator)?;
        Some((key.to_owned(), rest.split_once(" |")?.0.to_owned()))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn the_document_has_every_limit_with_its_default() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("a document");
    let here = limits(&read("docs/sandbox.md"), "| `plugins.", "` | ");
    assert!(!here.is_empty());
    assert_eq!(here, limits(&read("docs/configuration.md"), "| `plugins` `", "` | "));
}

/// What succeeds in the arena harms nothing outside of it.
#[test]
fn the_arena_has_no_way_out() {
    let Some(_arena) = Arena::enter() else { return };
    let root = std::fs::write("/arena-was-here", "x");
    assert!(root.is_err(), "the root can be written to");
    let outside = std::net::SocketAddr::from(([1, 1, 1, 1], 443));
    let connected = std::net::TcpStream::connect_timeout(&outside, std::time::Duration::from_secs(2));
    assert!(connected.is_err(), "the network leads out");
}

/// A file that is not named in main.rs would never run.
#[test]
fn every_file_is_part_of_the_tests() {
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(root().join("tests/tests/attacks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || listed.contains(&format!("mod {module};")), "{name} is not listed");
    }
}
