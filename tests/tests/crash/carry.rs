//! Guards the folder that is carried: killed anywhere, it is the old one or says
//! that it is not complete, and the same command completes it.

use std::collections::BTreeMap;
use std::path::Path;

use airgap_tests::platform::Platform;

use crate::faulty::{self, Plan, was_killed};
use crate::fixture::{Case, in_parallel};

/// Small, so that there is little to copy: the header of a program.
fn program() -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    head[18] = 62;
    head
}

fn project(platform: &Platform) -> Case {
    let case = Case::new(|project| {
        platform
            .configure(project)
            .with_settings(|settings| settings["carry"] = serde_json::json!({ "programs": { "amd64": "program" } }))
    });
    case.write("config/program", program());
    case
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let entries = entries.map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_folder_is_whole_or_says_that_it_is_not() {
    let platform = Platform::smaller(16);
    let whole = project(&platform);
    let command = &["build", "--carry", "carried"];
    let counted = faulty::count(&whole, command);
    let expected = files(&whole.path("carried"));
    let mut plans = Vec::new();
    for name in ["carry-begun", "carry-placed", "carry-listed"] {
        let visits = counted.checkpoints.get(name).copied().unwrap_or_default();
        assert!(visits > 0, "{name} among {:?}", counted.checkpoints);
        plans.extend((1..=visits).map(|visit| Plan::Kill { checkpoint: name.to_owned(), visit }));
    }
    in_parallel(plans, |plan| {
        let case = project(&platform);
        let run = faulty::run(&case, plan, command);
        assert!(was_killed(&run), "{plan}\n{run}");
        let there = files(&case.path("carried"));
        assert!(there.contains_key("UNFINISHED.txt"), "{plan}: {:?}", there.keys());
        case.run(&["verify", "carried"]).code(4).prints(&["unfinished"]);
        faulty::count(&case, command);
        assert!(files(&case.path("carried")) == expected, "{plan}");
        case.run(&["verify", "carried"]).success();
    });
}
