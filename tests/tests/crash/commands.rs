//! Guards what must hold after any sequence of commands and faults, against a
//! small model of a build: when a changed configuration is refused, what a
//! finished build made, and that nothing verified is fetched twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use airgap_tests::images::{Image, layer};
use airgap_tests::outcome::Outcome;
use airgap_tests::platform::{Platform, program};
use airgap_tests::project::Run;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::faulty::{self, Plan, was_killed};
use crate::fixture::{Case, is_thorough, seed, tell};

/// For as long as this, sequences are tried.
const BUDGET: Duration = Duration::from_secs(50);

#[derive(Clone, Debug)]
enum Command {
    Build(&'static [&'static str], Option<Plan>),
    /// Another pin; again, and it is the old one.
    EditConfiguration,
    /// A file that a step made.
    DeleteOutput(usize),
    /// A blob in the store, half as long.
    ShortenBlob(usize),
    Clean,
}

const CHECKPOINTS: &[&str] = &[
    "step-started",
    "step-returned",
    "state-written",
    "temporary-written",
    "blob-renamed",
    "blob-linked",
    "commit-placed",
    "commit-prepared",
    "commit-decided",
    "commit-replaced",
    "commit-tree-visible",
    "commit-published",
    "commit-recorded",
    "lock-announced",
    "recovery-began",
];

fn plans() -> impl Strategy<Value = Option<Plan>> {
    let kill = (0..CHECKPOINTS.len(), 1..6_u64)
        .prop_map(|(name, visit)| Plan::Kill { checkpoint: CHECKPOINTS[name].to_owned(), visit });
    prop_oneof![
        3 => Just(None),
        4 => kill.prop_map(Some),
        1 => (1..400_u64).prop_map(|at| Some(Plan::Fail { at, error: "EIO" })),
        1 => (1..400_u64).prop_map(|at| Some(Plan::Fail { at, error: "ENOSPC" })),
        2 => (1..400_u64).prop_map(|at| Some(Plan::PowerLoss { at })),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let arguments = prop_oneof![
        6 => Just(&["build"][..]),
        1 => Just(&["build", "--clean"][..]),
        1 => Just(&["build", "--no-resume"][..]),
        1 => Just(&["build", "--step", "files"][..]),
        1 => Just(&["build", "--step", "package"][..]),
        1 => Just(&["build", "--on-change", "restart"][..]),
    ];
    prop_oneof![
        8 => (arguments, plans()).prop_map(|(arguments, plan)| Command::Build(arguments, plan)),
        3 => Just(Command::EditConfiguration),
        1 => (0..40_usize).prop_map(Command::DeleteOutput),
        1 => (0..40_usize).prop_map(Command::ShortenBlob),
        1 => Just(Command::Clean),
    ]
}

/// The two configurations that a sequence switches between.
const PINS: [&str; 2] = ["2.1.0", "2.1.1"];

/// One project and what is known about it without looking at the state's
/// meaning.
struct Model<'a> {
    world: &'a World,
    case: Case,
    /// Which of the two configurations is there.
    present: usize,
    /// Which build is recorded, and which configuration it is bound to.
    bound: Option<(String, usize)>,
}

/// Servers and references; none of it changes.
struct World {
    platform: Platform,
    built: [Outcome; 2],
    /// The size of everything that is fetched by digest, by its hex digits.
    sizes: BTreeMap<String, u64>,
    /// The digest of each file by its path.
    files: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let platform = Platform::smaller(8);
        let mut sizes = BTreeMap::new();
        for (name, seed) in [("team/api", 60), ("team/worker", 61)] {
            let image = Image::new(seed, &[layer(seed, 140_000)]);
            platform.registry.push(&format!("{name}:{}", PINS[1]), &image);
            sizes.extend(image.blobs().map(|blob| (blob.hex().to_owned(), blob.size())));
        }
        let built = PINS.map(|pin| {
            let case = Case::new(|project| platform.configure(project));
            set_pin(&case, pin);
            case.build();
            for blob in std::fs::read_dir(case.path("build/store/blobs/sha256")).expect("a store").flatten() {
                let name = blob.file_name().to_string_lossy().into_owned();
                sizes.insert(name, blob.metadata().expect("a blob").len());
            }
            case.result()
        });
        let files = (1..=3)
            .zip(["kubeadm", "kubectl", "kubelet"])
            .map(|(seed, name)| {
                let path = format!("/release/{}/bin/linux/amd64/{name}", airgap_tests::project::KUBERNETES);
                (path, airgap_tests::digest::sha256(&program(name, seed, (1 << 20) / 8)))
            })
            .collect();
        Self { platform, built, sizes, files }
    }
}

fn set_pin(case: &Case, pin: &str) {
    let text = case.read("config/versions.env");
    let lines = text
        .lines()
        .map(|line| if line.starts_with("API_VERSION=") { format!("API_VERSION=\"{pin}\"") } else { line.to_owned() });
    case.write("config/versions.env", lines.collect::<Vec<_>>().join("\n") + "\n");
}

impl<'a> Model<'a> {
    fn new(world: &'a World) -> Self {
        let case = Case::new(|project| world.platform.configure(project));
        Self { world, case, present: 0, bound: None }
    }

    fn apply(&mut self, command: &Command) {
        match command {
            Command::EditConfiguration => {
                self.present = 1 - self.present;
                set_pin(&self.case, PINS[self.present]);
            }
            Command::DeleteOutput(number) => {
                let _ = self.nth_output(*number).map(std::fs::remove_file);
            }
            Command::ShortenBlob(number) => self.shorten(*number),
            Command::Clean => {
                self.case.run(&["clean"]).success();
                assert!(!self.case.exists("build"));
                self.bound = None;
            }
            Command::Build(arguments, plan) => self.build(arguments, plan.as_ref()),
        }
        self.case.readable_state();
    }

    fn nth_output(&self, number: usize) -> Option<PathBuf> {
        let mut found = Vec::new();
        for folder in ["build/steps", "dist"] {
            collect(&self.case.path(folder), &mut found);
        }
        found.sort();
        (!found.is_empty()).then(|| found.swap_remove(number % found.len()))
    }

    /// Under another inode, so that it is the blob that is damaged and not
    /// every tree that links to it.
    fn shorten(&self, number: usize) {
        let mut blobs = Vec::new();
        collect(&self.case.path("build/store/blobs"), &mut blobs);
        blobs.sort();
        if blobs.is_empty() {
            return;
        }
        let blob = blobs.swap_remove(number % blobs.len());
        let bytes = std::fs::read(&blob).expect("a blob");
        std::fs::remove_file(&blob).expect("a blob");
        std::fs::write(&blob, &bytes[..bytes.len() / 2]).expect("a shorter blob");
    }

    /// The blobs that are whole.
    fn verified(&self) -> BTreeSet<String> {
        let mut blobs = Vec::new();
        collect(&self.case.path("build/store/blobs"), &mut blobs);
        let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        let is_whole = |path: &&PathBuf| {
            std::fs::metadata(path).map(|data| data.len()).ok().as_ref() == self.world.sizes.get(&name(path))
        };
        blobs.iter().filter(is_whole).map(name).collect()
    }

    fn build(&mut self, arguments: &[&str], plan: Option<&Plan>) {
        let verified = self.verified();
        let refused = self.refuses(arguments);
        let before = self.case.readable_state();
        self.world.platform.registry.forget();
        self.world.platform.files.forget();
        let run = match plan {
            Some(plan) => faulty::run(&self.case, plan, arguments),
            None => self.case.run(arguments),
        };
        self.check_code(&run, plan, refused, before.as_ref() == self.case.readable_state().as_ref());
        self.check_requests(&verified, &run);
        if run.status.code() == Some(0) && !arguments.contains(&"files") {
            assert_eq!(self.case.result(), self.world.built[self.present], "another package after\n{run}");
        }
        self.note();
    }

    /// Whether the build is unfinished and was begun with the other
    /// configuration.
    fn refuses(&self, arguments: &[&str]) -> bool {
        let Some(state) = self.case.readable_state() else { return false };
        let allowed = arguments.contains(&"--clean") || arguments.contains(&"restart");
        let finished =
            state["steps"].as_array().is_some_and(|steps| steps.iter().all(|step| step["status"] == "COMPLETED"));
        let bound = self.bound.as_ref().filter(|(build, _)| state["build_id"] == **build);
        !allowed && !finished && bound.is_some_and(|(_, configuration)| *configuration != self.present)
    }

    fn check_code(&self, run: &Run, plan: Option<&Plan>, refused: bool, unchanged: bool) {
        let code = run.status.code();
        match plan {
            _ if code == Some(3) => {
                // What a kill cut short is ended first, refused or not.
                let recovered = run.stderr.contains("cut short") || run.stderr.contains("cleaned up");
                assert!(refused, "refused without a reason\n{run}");
                assert!(unchanged || recovered || plan.is_some(), "refused, and yet the state is another one\n{run}");
                assert!(!run.stderr.contains("airgap.lock"), "its own lock is taken for a change\n{run}");
            }
            // Where only the last commit was left to end, recovery ends the
            // build, and the change begins a new one.
            _ if code == Some(0) && run.stderr.contains("a new build begins") => {
                assert!(!refused || run.stderr.contains("completed the commit"), "not refused\n{run}");
            }
            _ if code == Some(0) => assert!(!refused, "not refused\n{run}"),
            Some(Plan::Fail { error: "EIO", .. }) => assert_eq!(code, Some(1), "{run}"),
            Some(Plan::Fail { .. }) => assert_eq!(code, Some(75), "{run}"),
            Some(_) => assert!(was_killed(run), "{run}"),
            None => panic!("neither done nor refused (wanted: {refused})\n{run}"),
        }
    }

    /// Nothing that was whole is asked for.
    fn check_requests(&self, verified: &BTreeSet<String>, run: &Run) {
        for entry in self.world.platform.registry.requests("GET", "/blobs/") {
            let digest = entry.path.rsplit("sha256:").next().unwrap_or_default();
            assert!(!verified.contains(digest), "{} was there, but fetched again\n{run}", entry.path);
        }
        for entry in self.world.platform.files.log() {
            let known = self.world.files.get(&entry.path).is_some_and(|digest| verified.contains(digest));
            assert!(!known, "{} was there, but fetched again\n{run}", entry.path);
        }
    }

    /// Remembers which configuration the recorded build is bound to.
    fn note(&mut self) {
        let state = self.case.readable_state();
        let fixed = state.filter(|state| !state["config_hash"].is_null());
        let build = fixed.and_then(|state| state["build_id"].as_str().map(str::to_owned));
        self.bound = match (build, self.bound.take()) {
            (None, _) => None,
            (Some(build), Some((known, configuration))) if build == known => Some((build, configuration)),
            (Some(build), _) => Some((build, self.present)),
        };
    }

    /// Whatever happened, this is a way on.
    fn finish(&mut self) {
        self.build(&["build", "--on-change", "restart"], None);
        // What was on its way for another configuration is not needed now.
        self.case.run(&["gc"]).success();
        self.case.assert_tidy();
    }
}

fn collect(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// A build that is killed while it publishes the components must not take an
/// edit that comes then for what it has built.
#[test]
fn an_edit_after_a_kill_in_the_middle_of_publishing_is_not_lost() {
    let places = [("commit-decided", 1), ("commit-tree-visible", 1), ("commit-published", 1), ("commit-recorded", 1)];
    // One after the other, in a world of their own: the model looks at
    // everything that the servers are asked for.
    let world = World::new();
    places.into_iter().for_each(|(checkpoint, visit)| {
        let kill = Plan::Kill { checkpoint: checkpoint.to_owned(), visit };
        let mut model = Model::new(&world);
        model.apply(&Command::Build(&["build"], Some(kill)));
        model.apply(&Command::EditConfiguration);
        model.apply(&Command::Build(&["build"], None));
        model.finish();
    });
}

/// Files that wait beside their destination lie outside build/, where wiping
/// it does not reach.
#[test]
fn a_clean_after_a_kill_leaves_nothing_beside_what_was_to_be_published() {
    let world = World::new();
    for (checkpoint, visit) in
        [("commit-placed", 1), ("commit-placed", 3), ("commit-decided", 1), ("commit-decided", 2)]
    {
        let kill = Plan::Kill { checkpoint: checkpoint.to_owned(), visit };
        let mut model = Model::new(&world);
        model.apply(&Command::Build(&["build"], Some(kill)));
        model.apply(&Command::Clean);
        model.case.assert_tidy();
        model.finish();
    }
}

/// Without a lock entry a tag is asked for again; the answer has to replace
/// what lies damaged in the store.
#[test]
fn a_damaged_manifest_in_the_store_is_replaced_by_what_the_registry_sends() {
    let world = World::new();
    let mut model = Model::new(&world);
    model.apply(&Command::Build(&["build"], None));
    let index = model.case.read("build/steps/images/index.json");
    let index: serde_json::Value = serde_json::from_str(&index).expect("an index");
    for manifest in index["manifests"].as_array().expect("images") {
        let hex = manifest["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
        let blob = model.case.path(&format!("build/store/blobs/sha256/{hex}"));
        std::fs::remove_file(&blob).expect("a blob");
        std::fs::write(&blob, "{").expect("a shorter blob");
    }
    std::fs::remove_file(model.case.path("config/airgap.lock")).expect("a lock");
    model.finish();
}

/// A download whose size nobody recorded is believed by its bytes alone.
#[test]
fn a_damaged_file_in_the_store_is_fetched_again_when_the_lock_is_gone() {
    let world = World::new();
    let mut model = Model::new(&world);
    model.apply(&Command::Build(&["build"], None));
    let digests: BTreeSet<&String> = world.files.values().collect();
    for digest in digests {
        let blob = model.case.path(&format!("build/store/blobs/sha256/{digest}"));
        std::fs::remove_file(&blob).expect("a blob");
        std::fs::write(&blob, "half").expect("a shorter blob");
    }
    std::fs::remove_file(model.case.path("config/airgap.lock")).expect("a lock");
    model.finish();
}

#[test]
fn any_sequence_of_commands_and_faults_keeps_what_is_finished() {
    let world = &World::new();
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: if is_thorough() { 2_000 } else { 60 },
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let begun = Instant::now();
    let tried = std::cell::Cell::new(0_u32);
    let failing = std::cell::Cell::new(false);
    let result = runner.run(&proptest::collection::vec(commands(), 1..9), |sequence| {
        if begun.elapsed() > BUDGET && !is_thorough() && !failing.get() {
            return Ok(());
        }
        tried.set(tried.get() + 1);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut model = Model::new(world);
            sequence.iter().for_each(|command| model.apply(command));
            model.finish();
        }));
        outcome.map_err(|panic| {
            failing.set(true);
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            TestCaseError::fail(text)
        })
    });
    tell(&format!("{} sequences of commands and faults", tried.get()));
    if let Err(TestError::Fail(why, sequence)) = result {
        panic!("{sequence:#?}\n{why}");
    }
}
