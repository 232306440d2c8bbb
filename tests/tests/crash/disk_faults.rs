//! Guards that a disk that fails once, at whichever operation, costs a rerun
//! at most: the failing run ends with a documented code, its state can be
//! read, and what it calls done is there.

use std::ops::RangeInclusive;

use crate::faulty::{self, Plan, was_killed};
use crate::fixture::{Case, in_parallel, little, tell};

/// Every operation of a build, by number from 1.
fn places(kind: &str) -> RangeInclusive<u64> {
    let operations = faulty::count(&little().case(), &["build"]).operations.len() as u64;
    tell(&format!("{kind}: each of {operations} operations in turn"));
    1..=operations
}

fn fails_once_then_finishes(error: &'static str, code: i32) {
    let fixture = little();
    in_parallel(places(error), |at| {
        let case = fixture.case();
        let run = faulty::run(&case, &Plan::Fail { at: *at, error }, &["build"]);
        case.readable_state();
        match run.status.code() {
            // What failed was not worth failing for.
            Some(0) => assert_eq!(case.result(), fixture.built, "done, but not with what it should\n{run}"),
            Some(found) => assert_eq!(found, code, "{run}"),
            None => panic!("{run}"),
        }
        case.finishes_as(&fixture.built, &["build"]);
    });
}

#[test]
fn an_input_output_error_anywhere_fails_the_run_and_costs_a_rerun() {
    fails_once_then_finishes("EIO", 1);
}

#[test]
fn a_full_disk_anywhere_keeps_the_work_and_costs_a_rerun() {
    fails_once_then_finishes("ENOSPC", 75);
}

/// After the lights are on again: the state is readable, what it calls done is
/// there, byte for byte, and the rest is made.
fn comes_back(case: &Case, plan: &Plan) {
    let run = faulty::run(case, plan, &["build"]);
    assert!(was_killed(&run) || run.status.code() == Some(0), "{run}");
    // Told with whatever fails from here on.
    println!("{plan}: {}", run.stderr);
    let completed = case.completed();
    let run = case.finishes_as(&little().built, &["build", "--verify-outputs", "--json"]);
    let report = run.json_lines().pop().expect("the last line is the report");
    let steps = report["steps"].as_array().expect("the report lists the steps").clone();
    let made_again: Vec<_> =
        steps.iter().filter(|step| step["ran"] == true && completed.iter().any(|id| step["id"] == **id)).collect();
    assert!(made_again.is_empty(), "recorded as done, but made again: {made_again:#?}");
}

#[test]
fn a_power_loss_anywhere_loses_nothing_that_is_recorded() {
    in_parallel(places("power loss"), |at| comes_back(&little().case(), &Plan::PowerLoss { at: *at }));
}

#[test]
fn a_power_loss_between_names_and_bytes_loses_nothing_that_is_recorded() {
    in_parallel(places("torn power loss"), |at| comes_back(&little().case(), &Plan::TornPowerLoss { at: *at }));
}

/// The disk fails again while the next run cleans up.
#[test]
fn a_power_loss_in_recovery_loses_nothing_either() {
    let fixture = little();
    let kills = ["commit-decided", "commit-tree-visible", "commit-recorded", "blob-renamed", "step-started"];
    let cases = kills.iter().flat_map(|name| (1..=24).map(move |at| (*name, at)));
    in_parallel(cases, |(checkpoint, at)| {
        let case = fixture.case();
        faulty::run(&case, &Plan::Kill { checkpoint: (*checkpoint).to_owned(), visit: 2 }, &["build"]);
        comes_back(&case, &Plan::PowerLoss { at: *at });
    });
}
