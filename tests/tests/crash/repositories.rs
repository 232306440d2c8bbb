//! Guards that a git repository survives a power loss: git syncs its packs, and
//! neither their names nor its references nor what `git init` makes.

use airgap_tests::git_server::GitServer;
use airgap_tests::outcome::Outcome;
use airgap_tests::project::{EMPTY_CATALOG, VERSIONS_ENV};
use serde_json::json;

use crate::faulty::{self, Plan, was_killed};
use crate::fixture::{Case, in_parallel, is_thorough, seed, tell};

/// Power losses that are tried of each kind.
const SAMPLE: usize = 12;

struct Site {
    server: GitServer,
    built: Outcome,
}

impl Site {
    /// None where the machine has no git that serves.
    fn start() -> Option<Self> {
        let server = GitServer::start()?;
        let repository = server.create("base");
        for step in 0..4 {
            repository.commit(&format!("file{step}"), format!("line {step}\n").repeat(50));
        }
        let undisturbed = case_of(&server);
        undisturbed.build();
        let built = undisturbed.result();
        Some(Self { server, built })
    }

    fn case(&self) -> Case {
        case_of(&self.server)
    }

    /// Where the power goes: from the first operation on a clone to the last of
    /// the build, when everything is done.
    fn losses(&self) -> Vec<Plan> {
        let operations = faulty::count(&self.case(), &["build"]).operations;
        let is_clone = |line: &&String| line.contains("/build/base") || line.contains("/build/.base");
        let first = 1 + operations.iter().position(|line| is_clone(&line)).expect("a clone is made");
        let all = first..=operations.len();
        let step = if is_thorough() { 1 } else { all.clone().count().div_ceil(SAMPLE) };
        let start = usize::try_from(seed()).unwrap_or(0) % step;
        let sampled = all.skip(start).step_by(step).chain([operations.len()]);
        sampled
            .map(|at| u64::try_from(at).expect("operations are few"))
            .flat_map(|at| [Plan::PowerLoss { at }, Plan::TornPowerLoss { at }])
            .collect()
    }
}

fn case_of(server: &GitServer) -> Case {
    Case::new(|project| {
        project.write("config/versions.env", VERSIONS_ENV);
        project.write("config/catalog.yaml", EMPTY_CATALOG);
        let repository = json!({ "name": "base", "url": server.clone_url("base"), "ref": "main" });
        project.with_file_server(&server.host()).with_repository(repository)
    })
}

#[test]
fn whatever_a_power_loss_leaves_of_a_clone_the_same_command_mends() {
    let Some(site) = Site::start() else { return };
    let losses = site.losses();
    tell(&format!("{} power losses while a repository is cloned", losses.len()));
    in_parallel(losses, |loss| {
        let case = site.case();
        assert!(was_killed(&faulty::run(&case, loss, &["build"])), "{loss}");
        // None of these needs the clone whole, and none makes it worse.
        case.run(&["gc"]).success();
        case.finishes_as(&site.built, &["build"]);
        case.run(&["build", "--clean", "--offline"]).success();
    });
}

/// `update` fetches into clones that stand, `gc` and `clean` remove what lies beside them.
#[test]
fn a_power_loss_in_what_touches_a_clone_is_mended_by_the_same_commands() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("base");
    repository.commit("file", "one\n");
    let built = || {
        let case = case_of(&server);
        case.build();
        case
    };
    let (undisturbed, counted) = (built(), built());
    let cases: Vec<Case> = (0..if is_thorough() { 4 * SAMPLE } else { SAMPLE }).map(|_| built()).collect();
    repository.commit("file", "two\n");
    undisturbed.run(&["update"]).success();
    undisturbed.build();
    let updated = undisturbed.result();
    let operations = faulty::count(&counted, &["update"]).operations.len();
    tell(&format!("{} power losses in {operations} operations of an update", cases.len()));
    let step = operations.div_ceil(cases.len());
    let start = usize::try_from(seed()).unwrap_or(0) % step;
    in_parallel(0..cases.len(), |count| {
        let case = &cases[*count];
        let at = u64::try_from(1 + (start + count * step) % operations).expect("operations are few");
        let loss = |at| if at % 2 == 0 { Plan::PowerLoss { at } } else { Plan::TornPowerLoss { at } };
        assert!(was_killed(&faulty::run(case, &loss(at), &["update"])), "{at}");
        case.run(&["gc"]).success();
        case.run(&["update"]).success();
        case.finishes_as(&updated, &["build"]);
        // They have fewer operations: where the power holds, they end.
        for command in ["gc", "clean"] {
            let _ = faulty::run(case, &loss(1 + at % 8), &[command]);
            case.finishes_as(&updated, &["build"]);
        }
    });
}
