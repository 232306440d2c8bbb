//! Guards that no single moment is a bad one to die at, and no single file
//! operation a bad one to fail: after a kill at every checkpoint, a power loss
//! or an error at any operation, the same command finishes the build, the
//! package is that of an undisturbed run, and nothing is left lying around.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::package::Package;
use airgap_tests::project::{self, Project, Run, Running};
use airgap_tests::registry::Registry;

/// A registry and a file server with a little of everything.
struct Stage {
    registry: Registry,
    files: FileServer,
    binary: PathBuf,
    /// Of the undisturbed run.
    package: String,
    config: Vec<(String, Vec<u8>)>,
}

impl Stage {
    /// None where the binary with the fault layer was not built.
    fn set() -> Option<Self> {
        let binary = project::faults_binary()?;
        let registry = Registry::start();
        let base = layer_of("base", &Noise::new(1).bytes(200_000), Packing::Plain);
        registry.push("a:1", &Image::new(1, std::slice::from_ref(&base)));
        registry.push("b:1", &Image::new(2, &[base]));
        let files = FileServer::start();
        files.put_with_checksum("/tool", airgap_tests::platform::program("tool", 1, 50_000));
        let mut stage = Self { registry, files, binary, package: String::new(), config: Vec::new() };
        let undisturbed = stage.project();
        undisturbed.build();
        stage.package = Package::open(&undisturbed.package()).sha256;
        stage.config = relative_config(&undisturbed);
        Some(stage)
    }

    fn project(&self) -> Project {
        Project::new()
            .with_env("SOURCE_DATE_EPOCH", "1700000000")
            .with_registry(&self.registry.host())
            .with_file_server(&self.files.host())
            .with_image(self.registry.reference("a:1"))
            .with_image(self.registry.reference("b:1"))
            .with_tool("tool", &self.files.url("/tool"), Some(&self.files.url("/tool.sha256")))
    }

    /// Builds with a fault plan.
    fn build(&self, project: &Project, plan: &str) -> Run {
        let template = project.command(&["build"]);
        let mut command = std::process::Command::new(&self.binary);
        command.args(template.get_args()).current_dir(project.root()).env_clear();
        for (name, value) in template.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("OPENCENTER_AIRGAP_FAULTS", plan).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Running::spawn(&mut command, project.root()).finish()
    }

    /// What an undisturbed build does: operations in all, and how often each
    /// checkpoint is visited.
    fn count(&self) -> (usize, BTreeMap<String, usize>) {
        let project = self.project();
        let notes = project.path("notes");
        self.build(&project, &format!("count:{}", notes.display())).success();
        let (mut operations, mut checkpoints) = (0, BTreeMap::new());
        for line in project.read("notes").lines() {
            match line.strip_prefix("checkpoint ") {
                Some(name) => *checkpoints.entry(name.to_owned()).or_insert(0) += 1,
                None => operations += 1,
            }
        }
        (operations, checkpoints)
    }

    /// After the fault the same command finishes the build.
    fn finishes(&self, project: &Project, plan: &str, faulty: &Run) {
        let run = project.run(&["build"]);
        assert_eq!(run.status.code(), Some(0), "after {plan}:\n{faulty}\n{run}");
        let context = || format!("after {plan}:\n{faulty}\n{run}");
        assert_eq!(Package::open(&project.package()).sha256, self.package, "{}", context());
        assert_eq!(relative_config(project), self.config, "config/ differs {}", context());
        let left = leftovers(project);
        assert!(left.is_empty(), "{left:?} are left over {}", context());
    }

    /// Tries every plan, two at a time.
    fn every(&self, plans: Vec<String>, check: impl Fn(&str, &Run) + Sync) {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Vec<String>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(plan) = plans.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            let project = self.project();
                            let run = self.build(&project, plan);
                            check(plan, &run);
                            self.finishes(&project, plan, &run);
                        }));
                        if result.is_err() {
                            failed.lock().unwrap().push(plan.clone());
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        assert!(failed.is_empty(), "of {} plans these failed: {failed:?}", plans.len());
    }
}

fn relative_config(project: &Project) -> Vec<(String, Vec<u8>)> {
    let root = project.root().to_string_lossy().into_owned();
    project
        .config_files()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("airgap.lock"))
        .map(|(name, bytes)| (name.replace(&root, ""), bytes))
        .collect()
}

/// Files that should not outlive a finished build.
fn leftovers(project: &Project) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["build/staging", "build/store/partial"] {
        for entry in std::fs::read_dir(project.path(folder)).into_iter().flatten().flatten() {
            found.push(entry.path().display().to_string());
        }
    }
    for folder in ["", "build", "dist", "config"] {
        for entry in std::fs::read_dir(project.path(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(".tmp") || name.starts_with(".airgap") || name.ends_with('~') {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_kill_at_every_checkpoint() {
    let Some(stage) = Stage::set() else { return };
    let (_, checkpoints) = stage.count();
    assert!(checkpoints.len() >= 5, "{checkpoints:?}");
    let visits =
        checkpoints.iter().flat_map(|(name, visits)| (1..=*visits).map(move |visit| format!("kill:{name}:{visit}")));
    stage.every(visits.collect(), |plan, run| {
        use std::os::unix::process::ExitStatusExt;
        // Steps run side by side: the last visits may not come in every run.
        assert!(run.status.signal() == Some(9) || run.status.success(), "{plan}\n{run}");
    });
}

#[test]
fn an_error_at_every_file_operation() {
    let Some(stage) = Stage::set() else { return };
    let (operations, _) = stage.count();
    let plans = (1..=operations).map(|n| format!("fail:{n}:EIO"));
    stage.every(plans.collect(), |plan, run| {
        assert!(matches!(run.status.code(), Some(0 | 1 | 75)), "{plan}\n{run}");
    });
}

#[test]
fn a_full_disk_at_every_file_operation() {
    let Some(stage) = Stage::set() else { return };
    let (operations, _) = stage.count();
    let plans = (1..=operations).map(|n| format!("fail:{n}:ENOSPC"));
    stage.every(plans.collect(), |plan, run| {
        assert!(matches!(run.status.code(), Some(0 | 75)), "{plan}\n{run}");
    });
}

#[test]
fn a_power_loss_at_every_file_operation() {
    let Some(stage) = Stage::set() else { return };
    let (operations, _) = stage.count();
    stage.every((1..=operations).map(|n| format!("power-loss:{n}")).collect(), |_, _| ());
}
