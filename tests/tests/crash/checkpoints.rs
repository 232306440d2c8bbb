//! Guards that a kill at any named checkpoint costs the work in flight alone.

use airgap_tests::project::Project;

use crate::faulty::{self, Counted, Plan, was_killed};
use crate::fixture::{everything, in_parallel, is_thorough, seed, tell};

/// First and last visit of each checkpoint and one in between, which the seed
/// chooses; all of them if thorough.
fn kills(counted: &Counted) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (checkpoint, visits) in &counted.checkpoints {
        let mut chosen: Vec<u64> =
            if is_thorough() { (1..=*visits).collect() } else { vec![1, 1 + seed() % visits, *visits] };
        chosen.dedup();
        plans.extend(chosen.into_iter().map(|visit| Plan::Kill { checkpoint: checkpoint.clone(), visit }));
    }
    plans
}

/// The places that matter are places: a checkpoint that is renamed or lost
/// would otherwise go unnoticed.
const WANTED: &[&str] = &[
    "archive-finished",
    "blob-linked",
    "blob-renamed",
    "blob-synced",
    "clone-made",
    "commit-decided",
    "commit-placed",
    "commit-prepared",
    "commit-published",
    "commit-recorded",
    "commit-replaced",
    "commit-tree-visible",
    "lock-announced",
    "lock-held",
    "repository-packed",
    "state-written",
    "step-returned",
    "step-started",
    "temporary-written",
    "transaction-begun",
];

#[test]
fn killed_at_every_checkpoint_the_rerun_gives_the_same_package() {
    let fixture = everything();
    let counted = faulty::count(&fixture.case(), &["build"]);
    let missing: Vec<_> = WANTED.iter().filter(|name| !counted.checkpoints.contains_key(**name)).collect();
    assert!(missing.is_empty(), "not visited: {missing:?} among {:?}", counted.checkpoints);
    let plans = kills(&counted);
    tell(&format!("{} kills at {} checkpoints of a new build", plans.len(), counted.checkpoints.len()));
    in_parallel(plans, |plan| {
        let case = fixture.case();
        let run = faulty::run(&case, plan, &["build"]);
        // How often a checkpoint is visited depends on who is faster.
        assert!(was_killed(&run) || *plan != first_of(plan), "{plan} did not kill\n{run}");
        case.readable_state();
        case.finishes_as(&fixture.built, &["build"]);
    });
}

fn first_of(plan: &Plan) -> Plan {
    match plan {
        Plan::Kill { checkpoint, .. } => Plan::Kill { checkpoint: checkpoint.clone(), visit: 1 },
        other => other.clone(),
    }
}

/// Here every commit replaces something that is there already.
#[test]
fn killed_while_a_build_is_made_anew_the_rerun_gives_the_same_package() {
    let fixture = everything();
    let finished = fixture.case();
    finished.build();
    let counted = faulty::count(&finished, &["build", "--clean"]);
    finished.finishes_as(&fixture.built, &["build"]);
    let plans: Vec<Plan> = kills(&counted)
        .into_iter()
        .filter(|plan| matches!(plan, Plan::Kill { checkpoint, .. } if is_thorough() || is_commit(checkpoint)))
        .collect();
    tell(&format!("{} kills while a build is made anew", plans.len()));
    in_parallel(plans, |plan| {
        let case = fixture.case();
        case.build();
        faulty::run(&case, plan, &["build", "--clean"]);
        case.finishes_as(&fixture.built, &["build"]);
    });
}

fn is_commit(checkpoint: &str) -> bool {
    checkpoint.starts_with("commit-") || checkpoint.starts_with("state-")
}

/// The second process is killed as well, while it cleans up after the first.
#[test]
fn killed_in_recovery_the_next_rerun_gives_the_same_package() {
    let fixture = everything();
    let firsts = ["commit-decided", "commit-replaced", "commit-tree-visible", "commit-published", "commit-recorded"];
    let plans: Vec<(Plan, Plan)> = firsts
        .iter()
        .flat_map(|first| {
            let kill = |checkpoint: &str, visit| Plan::Kill { checkpoint: checkpoint.to_owned(), visit };
            let seconds = ["recovery-began", "commit-tree-visible", "commit-published", "state-written"];
            seconds.into_iter().map(move |second| (kill(first, 2), kill(second, 1)))
        })
        .collect();
    in_parallel(plans, |(first, second)| {
        let case = fixture.case();
        assert!(was_killed(&faulty::run(&case, first, &["build"])), "{first}");
        assert!(was_killed(&faulty::run(&case, second, &["build"])), "{second}");
        case.finishes_as(&fixture.built, &["build"]);
    });
}

/// The configuration as somebody wrote it, and nothing else.
fn fresh_configuration(project: &Project) -> Vec<(String, Vec<u8>)> {
    project.config_files()
}

/// Every file of config/ that a step publishes belongs to the step: a kill
/// leaves either none of them or, after the rerun, all.
#[test]
fn a_kill_before_the_point_of_no_return_publishes_nothing() {
    let fixture = everything();
    let plans: Vec<Plan> = ["transaction-begun", "step-started", "step-returned", "commit-placed", "commit-prepared"]
        .map(|checkpoint| Plan::Kill { checkpoint: checkpoint.to_owned(), visit: 1 })
        .into();
    in_parallel(plans, |plan| {
        let case = fixture.case();
        let before = fresh_configuration(&case);
        assert!(was_killed(&faulty::run(&case, plan, &["build"])), "{plan}");
        let visible = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
            files.into_iter().filter(|(name, _)| !name.ends_with(".tmp")).collect()
        };
        assert_eq!(visible(fresh_configuration(&case)), before, "{plan}");
        assert!(!case.exists("dist") || std::fs::read_dir(case.path("dist")).unwrap().count() == 0);
        case.finishes_as(&fixture.built, &["build"]);
    });
}

/// A decided commit may wait for its next start for hours: what the user, or
/// git, saves until then is kept.
#[test]
fn what_is_saved_after_a_kill_is_not_committed_over() {
    let fixture = everything();
    let kill = |visit| Plan::Kill { checkpoint: "commit-decided".to_owned(), visit };
    // The first commit is that of the component manifest.
    let case = fixture.case();
    assert!(was_killed(&faulty::run(&case, &kill(1), &["build"])));
    let mine = "tools:\n  - {name: mine, version: \"1\", url: \"https://mine.invalid/mine\"}\n";
    case.write("config/components.yaml", mine);
    let run = case.run(&["build", "--offline", "--on-change", "restart"]);
    assert!(!run.status.success(), "{run}");
    let components = case.read("config/components.yaml");
    assert!(components.contains("https://mine.invalid/mine"), "{components}\n{run}");

    for visit in 2..=6 {
        let case = fixture.case();
        faulty::run(&case, &kill(visit), &["build"]);
        let pulled = "# pulled\nformat: 3\n";
        case.write("config/airgap.lock", pulled);
        let run = case.run(&["build"]).code(3);
        assert_eq!(case.read("config/airgap.lock"), pulled, "{visit}\n{run}");
        case.run(&["build", "--on-change", "restart"]).success();
    }
}

/// The last thing that a build writes: the lock without what nothing names.
#[test]
fn killed_while_the_lock_is_tidied_the_rerun_tidies_it() {
    let fixture = everything();
    let with_stale_entry = || {
        let case = fixture.case();
        let stale =
            format!("format: 1\nfiles:\n  https://nobody.example/x:\n    sha256: {}\n    size: 1\n", "0".repeat(64));
        case.write("config/airgap.lock", stale);
        case
    };
    let case = with_stale_entry();
    let counted = faulty::count(&case, &["build"]);
    case.finishes_as(&fixture.built, &["build"]);
    let last = |name: &str| (counted.checkpoints[name], name.to_owned());
    // The announcement, the file, the record that it is written; its copy.
    let plans: Vec<Plan> = ["lock-announced", "temporary-written", "state-written"]
        .iter()
        .flat_map(|name| {
            let (visits, checkpoint) = last(name);
            (visits.saturating_sub(4).max(1)..=visits)
                .map(move |visit| Plan::Kill { checkpoint: checkpoint.clone(), visit })
        })
        .collect();
    in_parallel(plans, |plan| {
        let case = with_stale_entry();
        faulty::run(&case, plan, &["build"]);
        case.finishes_as(&fixture.built, &["build"]);
        // What the build recorded is what lies there.
        case.run(&["build", "--locked"]).success().prints(&["Nothing to do"]);
    });
}
