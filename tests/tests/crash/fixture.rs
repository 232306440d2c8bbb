//! What the tests build again and again: small, on a fast disk, and compared
//! with what an undisturbed build gives.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, random_seed};
use airgap_tests::outcome::{Outcome, leftovers, steps};
use airgap_tests::platform::{Platform, program};
use airgap_tests::project::{Project, Run};
use airgap_tests::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;

/// Seconds since 1970 that every build takes for its time.
const EPOCH: &str = "1700000000";

/// Whether every case is wanted instead of a sample.
pub(crate) fn is_thorough() -> bool {
    std::env::var("AIRGAP_THOROUGH").is_ok_and(|value| value == "1")
}

/// What chooses among cases that are too many to take them all: the same in
/// each `make test`, another one in each thorough run, or `AIRGAP_SEED`.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("AIRGAP_SEED") {
            Ok(seed) => seed.parse().expect("AIRGAP_SEED is a number"),
            Err(_) if is_thorough() => random_seed() % 10_000,
            Err(_) => 1,
        };
        tell(&format!("AIRGAP_SEED={seed}"));
        seed
    })
}

/// A project that is removed with the test.
pub(crate) struct Case {
    project: Project,
    _folder: TempDir,
}

impl Deref for Case {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Case {
    /// In memory where the machine has a file system for that: a sync then
    /// costs nothing, and what it promises is up to the failing disk.
    pub(crate) fn new(configure: impl FnOnce(Project) -> Project) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = tempfile::Builder::new()
            .prefix("airgap-")
            .tempdir_in(memory)
            .or_else(|_| tempfile::Builder::new().prefix("airgap-").tempdir())
            .expect("a temporary folder");
        Self::on(folder, configure)
    }

    /// In a folder of the caller's.
    pub(crate) fn on(folder: TempDir, configure: impl FnOnce(Project) -> Project) -> Self {
        let root = folder.path().join("project");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("a new folder");
        let project = Project::in_folder(&root)
            .expect("a new folder")
            .with_env("SOURCE_DATE_EPOCH", EPOCH)
            .with_env("TMPDIR", temporary.display().to_string())
            .with_settings(|settings| settings["retries"] = serde_json::json!({ "backoff": 0.02 }));
        Self { project: configure(project), _folder: folder }
    }

    /// What a finished build leaves.
    pub(crate) fn result(&self) -> Outcome {
        Outcome::of(&self.project)
    }

    /// The state, where there is one.
    ///
    /// # Panics
    /// When it can not be read as what it is.
    pub(crate) fn readable_state(&self) -> Option<Value> {
        if !self.exists("build/state.json") {
            return None;
        }
        let state = self.state();
        assert_eq!(state["format"], 1);
        Some(state)
    }

    /// The steps that the state calls COMPLETED.
    pub(crate) fn completed(&self) -> Vec<String> {
        steps(&self.readable_state().unwrap_or_default(), Some("COMPLETED"))
    }

    /// Checks that a finished build left nothing lying around.
    ///
    /// # Panics
    /// With what lies there.
    pub(crate) fn assert_tidy(&self) {
        let left = leftovers(&self.project);
        assert!(left.is_empty(), "left over: {left:#?}");
    }

    /// Runs `build` to its end and compares what it made.
    ///
    /// # Panics
    /// When it fails, or made something else, or left something.
    #[track_caller]
    pub(crate) fn finishes_as(&self, wanted: &Outcome, arguments: &[&str]) -> Run {
        let run = self.run(arguments).success();
        assert_eq!(self.result(), *wanted, "another result after\n{run}");
        let left = leftovers(&self.project);
        assert!(left.is_empty(), "left over: {left:#?} after\n{run}");
        run
    }
}

/// One of everything.
pub(crate) struct Everything {
    pub(crate) platform: Platform,
    pub(crate) built: Outcome,
}

/// One of everything, shared by all tests: nobody makes its servers fail.
pub(crate) fn everything() -> &'static Everything {
    static EVERYTHING: OnceLock<Everything> = OnceLock::new();
    EVERYTHING.get_or_init(|| {
        let platform = Platform::smaller(8);
        let case = Case::new(|project| platform.configure(project));
        case.build();
        let built = case.result();
        Everything { platform, built }
    })
}

impl Everything {
    pub(crate) fn case(&self) -> Case {
        Case::new(|project| self.platform.configure(project))
    }
}

/// An image with two layers, of which one has a partial blob, and a file.
pub(crate) struct Little {
    pub(crate) registry: Registry,
    pub(crate) files: FileServer,
    pub(crate) built: Outcome,
    url: String,
    checksum_url: String,
}

/// The little one, shared by all tests: nobody makes its servers fail.
pub(crate) fn little() -> &'static Little {
    static LITTLE: OnceLock<Little> = OnceLock::new();
    LITTLE.get_or_init(|| {
        let (registry, files) = (Registry::start(), FileServer::start());
        registry.push(
            "app:1",
            &Image::new(1, &[airgap_tests::images::layer(1, 200_000), airgap_tests::images::layer(2, 900)]),
        );
        let (url, checksum_url) = files.put_with_checksum("/tool", program("tool", 1, 150_000));
        let mut little = Little { registry, files, built: Outcome::default(), url, checksum_url };
        let case = little.case();
        case.build();
        little.built = case.result();
        little
    })
}

impl Little {
    pub(crate) fn case(&self) -> Case {
        Case::new(|project| {
            project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
            project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
            project
                .with_registry(&self.registry.host())
                .with_file_server(&self.files.host())
                .with_image(self.registry.reference("app:1"))
                .with_tool("tool", &self.url, Some(&self.checksum_url))
        })
    }
}

/// Runs every case on as many threads as there are processors, and reports all
/// that failed.
///
/// # Panics
/// When one did.
pub(crate) fn in_parallel<T: Send + std::fmt::Debug>(cases: impl IntoIterator<Item = T>, run: impl Fn(&T) + Sync) {
    let cases: VecDeque<T> = cases.into_iter().collect();
    let total = cases.len();
    let queue = Mutex::new(cases);
    let failed: Mutex<BTreeMap<String, String>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&case))) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.insert(format!("{case:?}"), message(&*panic));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let shown: Vec<String> = failed.iter().take(5).map(|(case, why)| format!("{case}: {why}")).collect();
    assert!(failed.is_empty(), "{} of {total} cases failed\n{}", failed.len(), shown.join("\n\n"));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Says something that a passing test would otherwise keep to itself.
pub(crate) fn tell(message: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{message}");
}
