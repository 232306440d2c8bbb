//! Guards what happens when the disk is really full: a small file system of
//! its own. A plain user mounts it in a namespace of his own; on a machine that
//! allows neither, `AIRGAP_NO_MOUNT=1` says so, and these tests are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use tempfile::TempDir;

use crate::fixture::{Case, tell};

const MIB: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A mounted tmpfs of a few MiB, unmounted on drop.
struct SmallDisk {
    folder: PathBuf,
    _parent: TempDir,
}

impl SmallDisk {
    /// None where this process may not mount: then the test has run where it
    /// may, or was skipped.
    fn mount(mib: usize) -> Option<Self> {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join("disk");
        std::fs::create_dir(&folder).expect("a new folder");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder, _parent: parent });
        }
        run_in_a_namespace();
        None
    }

    fn case(&self, registry: &Registry) -> Case {
        self.case_with(|project| project.with_registry(&registry.host()).with_image(registry.reference("app:1")))
    }

    fn case_with(&self, configure: impl FnOnce(Project) -> Project) -> Case {
        let folder = tempfile::Builder::new().tempdir_in(&self.folder).expect("a folder on the small disk");
        Case::on(folder, |project| configure(plain(project)))
    }

    /// Makes it larger, or smaller.
    fn resize(&self, mib: usize) {
        let size = format!("remount,size={mib}m");
        // With its source named, the options that it has are not given again:
        // in a namespace they hold users that mean nothing there.
        tools::run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&self.folder));
    }

    /// Leaves so many bytes free. Returns the file that takes the rest.
    fn fill_up_to(&self, free: usize) -> PathBuf {
        let ballast = self.folder.join("ballast");
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.folder).output().expect("df runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let available: usize = text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number");
        std::fs::write(&ballast, vec![0; available.saturating_sub(free)]).expect("space for the ballast");
        ballast
    }
}

/// Runs the same test again as root of a namespace, where a plain user may mount.
fn run_in_a_namespace() {
    let namespace = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]).arg(program);
        command
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = namespace(Path::new("mount")).args(["-t", "tmpfs", "tmpfs"]).arg(folder.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return skipped();
    }
    let this = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let program = std::env::current_exe().expect("a program knows where it lies");
    let told = tools::run(namespace(&program).args([&this, "--exact"]));
    assert!(told.contains("1 passed"), "{this} did not run:\n{told}");
}

fn skipped() {
    let why = "a full disk: this user may not mount a file system, not even in a namespace (`unshare -rm`)";
    if std::env::var("AIRGAP_NO_MOUNT").as_deref() == Ok("1") {
        tell(&format!("SKIPPED: {why}"));
    } else {
        tools::skipped(&format!("{why}; where that can not be changed, set AIRGAP_NO_MOUNT=1"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

/// Without anything to package yet.
fn plain(project: Project) -> Project {
    project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
    project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
    project
}

fn registry_with(size: usize) -> (Registry, String) {
    let registry = Registry::start();
    let image = Image::new(1, &[layer_of("data", &Noise::new(1).bytes(size), Packing::Plain)]);
    registry.push("app:1", &image);
    (registry, image.layers[0].digest.clone())
}

#[test]
fn a_disk_that_fills_up_in_the_middle_keeps_the_work() {
    let Some(disk) = SmallDisk::mount(96) else { return };
    let (registry, layer) = registry_with(20 * MIB);
    let case = disk.case(&registry);
    let gate = Gate::default();
    registry.fault(On::get(layer.as_str()).once(), Fault::Held(gate.clone()));
    let running = case.start(&["build"]);
    registry.wait_until(LIMIT, |log| log.iter().any(|entry| entry.path.contains(&layer)));
    let free = 6 * MIB;
    let ballast = disk.fill_up_to(free);
    gate.open();
    running.finish().code(75).says(&["No space left", "free some space"]);
    case.readable_state();

    // Still full: the same again, and nothing gets worse.
    case.run(&["build"]).code(75);
    std::fs::remove_file(ballast).expect("the ballast");
    registry.forget();
    case.build();
    let requests = registry.requests("GET", &layer);
    assert_eq!(requests.len(), 1, "{}", registry.render_log());
    assert!(requests[0].range.is_some_and(|(start, _)| start > 0), "{}", registry.render_log());
    case.assert_tidy();
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_the_first_byte() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let (registry, layer) = registry_with(40 * MIB);
    let case = disk.case(&registry);
    // What is needed and what is there.
    let run = case.run(&["build"]).code(75).says(&["MiB", "free"]);
    assert!(registry.requests("GET", &layer).is_empty(), "{}\n{run}", registry.render_log());
}

/// The layer itself would fit; it is the package of it that does not.
#[test]
fn a_disk_without_room_for_the_package_is_refused_before_the_first_blob() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let (registry, layer) = registry_with(20 * MIB);
    let case = disk.case(&registry);
    let run = case.run(&["build"]).code(75).says(&["needs up to 40.0 MiB", "free", "store, staging, dist"]);
    assert!(registry.requests("GET", &layer).is_empty(), "{}\n{run}", registry.render_log());
    disk.resize(96);
    case.build();
    case.assert_tidy();
}

/// The package is there, and the disk that it is to be carried on is too small:
/// what lies there stays whole.
#[test]
fn a_disk_without_room_for_what_is_carried_keeps_what_it_has() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let (registry, _) = registry_with(20 * MIB);
    let case = Case::new(|project| {
        plain(project)
            .with_registry(&registry.host())
            .with_settings(|settings| settings["carry"] = serde_json::json!({ "programs": { "amd64": "program" } }))
    });
    case.write("config/program", [b"\x7fELF\x02\x01", &[0; 12][..], &[62, 0], &[0; 44]].concat());
    let chart = "charts:\n  - {name: site, repo: ./site, version: 1.0.0}\n";
    case.write("site/Chart.yaml", "apiVersion: v2\nname: site\nversion: 1.0.0\n");
    case.write("site/templates/a.yaml", "a: b\n");
    case.write("config/components.yaml", chart);
    let folder = disk.folder.join("carry").display().to_string();
    let arguments = ["build", "--on-change", "restart", "--carry", &folder];
    case.run(&arguments).success();
    case.run(&["verify", &folder]).success();
    let reference = registry.reference("app:1");
    case.write("config/components.yaml", format!("{chart}images: {{additional: [\"{reference}\"]}}\n"));
    case.run(&arguments).code(75).says(&["the package was built", "needs 20", "free"]);
    case.run(&["verify", &folder]).success();
    disk.resize(64);
    case.run(&arguments).success();
    case.run(&["verify", &folder]).success();
}

/// A disk of its own for dist/ counts by itself.
#[test]
fn a_small_disk_below_dist_is_refused_before_the_first_blob() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let (registry, layer) = registry_with(20 * MIB);
    let case =
        Case::new(|project| plain(project).with_registry(&registry.host()).with_image(registry.reference("app:1")));
    let dist = disk.folder.join("dist");
    let arguments = ["--dist-dir", dist.to_str().expect("a plain path"), "build"];
    let run = case.run(&arguments).code(75).says(&["(dist) needs up to 20.0 MiB", "disk/dist"]);
    assert!(!run.stderr.contains("(store"), "the other disk is large enough: {run}");
    assert!(registry.requests("GET", &layer).is_empty(), "{}\n{run}", registry.render_log());
    disk.resize(64);
    case.run(&arguments).success();
}

/// Nobody knows the size of a file before it is there; the package of it is
/// refused before its first byte.
#[test]
fn a_package_without_room_is_refused_before_it_is_begun() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let files = FileServer::start();
    let url = files.put("/tool", Noise::new(1).bytes(20 * MIB));
    let case = disk.case_with(|project| project.with_file_server(&files.host()).with_tool("tool", &url, None));
    case.run(&["build"]).code(75).says(&["`package` failed", "needs up to 20.0 MiB", "free"]);
    assert_eq!(case.step("files")["status"], "COMPLETED");
    disk.resize(96);
    files.forget();
    case.build();
    assert_eq!(files.render_log(), "");
    case.assert_tidy();
}
