//! Guards the state: what is not ours is never overwritten, and its cost per
//! item does not grow with the number of items.

use airgap_tests::images::Image;
use airgap_tests::registry::Registry;
use serde_json::json;

use crate::faulty;
use crate::fixture::{Case, is_thorough, little, tell};

#[test]
fn a_state_that_is_not_ours_is_never_overwritten() {
    let case = little().case();
    case.build();
    let good = case.read("build/state.json");
    let newer = good.replacen("\"format\": 1", "\"format\": 2", 1);
    let unknown = good.replacen("\"format\": 1", "\"format\": 1,\n  \"surprise\": 1", 1);
    assert!(newer != good && unknown != good, "{good}");
    let cut = &good[..good.len() / 2];
    for (what, bad) in [
        ("empty", ""),
        ("cut short", cut),
        ("rubbish", "\u{0}\u{0}\u{0}\u{0}"),
        ("a list", "[]"),
        ("foreign", "version: 4\nterraform: true\n"),
        ("foreign JSON", "{\"version\": 4, \"serial\": 1}"),
        ("newer", &newer),
        ("edited", &unknown),
    ] {
        case.write("build/state.json", bad);
        for arguments in [&["build"][..], &["build", "--step", "images"], &["build", "--no-resume"], &["status"]] {
            case.run(arguments).code(4).says(&["state.json", "build --clean"]);
            assert_eq!(case.read("build/state.json"), bad, "{what}: overwritten by {arguments:?}");
        }
    }
    // What the message says is so.
    std::fs::remove_file(case.path("build/state.json")).unwrap();
    little().registry.forget();
    case.finishes_as(&little().built, &["build"]);
}

/// Operations on the state and lines in journals of one build.
struct Cost {
    state_writes: usize,
    /// Of the steps: the values of the configuration lie there as well.
    state_bytes: usize,
    journal_writes: usize,
    /// Everything below build/ but the store and the trees.
    other: usize,
}

/// A build of so many images that share all their blobs.
fn cost_of(items: usize) -> Cost {
    let registry = Registry::start();
    let image = Image::small(1, 1_000);
    let references: Vec<String> = (0..items).map(|number| format!("app{number}:1")).collect();
    references.iter().for_each(|name| registry.push(name, &image));
    let images: Vec<_> = references.iter().map(|name| json!({ "image": registry.reference(name) })).collect();
    let case = Case::new(|project| {
        project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
        project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
        let project = project.with_registry(&registry.host());
        project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
        project
    });
    let counted = faulty::count(&case, &["build", "--step", "images"]);
    let root = case.path("build").display().to_string();
    let below = |part: &str| {
        let lines = counted.operations.iter().filter(|line| line.contains(&root) && line.contains(part));
        lines.count()
    };
    let is_other = |line: &&String| {
        let counted_elsewhere = ["journal.jsonl", "resolved.jsonl", "state.json", "/store/", "/tree", "/build/steps/"];
        line.contains(&root) && !counted_elsewhere.iter().any(|part| line.contains(part))
    };
    Cost {
        state_writes: below("state.json"),
        state_bytes: case.state()["steps"].to_string().len(),
        journal_writes: below("images/journal.jsonl") + below("resolved.jsonl"),
        other: counted.operations.iter().filter(is_other).count(),
    }
}

#[test]
fn an_item_costs_the_same_whatever_their_number() {
    let many = if is_thorough() { 10_000 } else { 2_000 };
    let few = cost_of(10);
    let lot = cost_of(many);
    tell(&format!(
        "state operations with 10 items {}, with {many} items {}; journal lines {} and {}",
        few.state_writes, lot.state_writes, few.journal_writes, lot.journal_writes
    ));
    assert_eq!(few.state_writes, lot.state_writes, "operations on state.json");
    assert_eq!(few.other, lot.other, "operations on other files of the build");
    // Numbers have more digits.
    assert!(lot.state_bytes <= few.state_bytes + 64, "{} and {} bytes", few.state_bytes, lot.state_bytes);
    let per_item = (lot.journal_writes - few.journal_writes) as f64 / (many - 10) as f64;
    assert!(per_item <= 2.0, "{per_item} journal lines per item");
}
