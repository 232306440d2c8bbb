//! Guards what becomes of a build folder between two runs: bytes that rot, marks
//! and records that are lost, folders that nobody may write to. Nothing damaged
//! counts as done, and nothing that was downloaded is thrown away.

use std::process::{Command, Stdio};
use std::time::Duration;

use airgap_tests::digest::sha256_file;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::platform::program;
use airgap_tests::project::{Project, Run, Running, binary};
use airgap_tests::registry::Registry;
use airgap_tests::tools;

struct Built {
    registry: Registry,
    project: Project,
    /// SHA-256 of the package.
    package: String,
}

impl Built {
    fn new() -> Self {
        let registry = Registry::start();
        registry.push("app:1", &Image::small(1, 50_000));
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        project.build();
        let package = sha256_file(&project.package());
        registry.forget();
        Self { registry, project, package }
    }

    /// One bit of a file is another one; its size stays.
    fn flip(&self, relative: &str) {
        let path = self.project.path(relative);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    fn package_name(&self) -> String {
        format!("dist/{}", self.project.package().file_name().unwrap().to_string_lossy())
    }

    #[track_caller]
    fn is_whole_and_asked_nobody(&self) {
        assert_eq!(sha256_file(&self.project.package()), self.package);
        let asked = self.registry.requests("GET", "/blobs/");
        assert!(asked.is_empty(), "{}", self.registry.render_log());
    }
}

#[test]
fn a_package_that_somebody_wrote_into_is_not_nothing_to_do() {
    let built = Built::new();
    let sidecar = format!("{}.sha256", built.package_name());
    for (damaged, content) in
        [(built.package_name(), None), (sidecar, Some("0")), ("dist/artifact-manifest.json".into(), Some("{}"))]
    {
        let right = std::fs::read(built.project.path(&damaged)).unwrap();
        match content {
            None => built.flip(&damaged),
            Some(content) => built.project.write(&damaged, content.repeat(right.len()).get(..right.len()).unwrap()),
        }
        let status = built.project.run(&["status"]).success();
        assert!(status.stdout.contains(&format!("its output `{damaged}`")), "{status}");
        built.project.build();
        assert_eq!(std::fs::read(built.project.path(&damaged)).unwrap(), right, "{damaged}");
        built.project.build().prints(&["Nothing to do"]);
    }
    built.is_whole_and_asked_nobody();
}

/// A copy that was put in its place, or a new time, costs one look.
#[test]
fn a_package_that_only_looks_otherwise_is_done() {
    let built = Built::new();
    let package = built.project.package();
    let copy = built.project.path("copy");
    std::fs::copy(&package, &copy).unwrap();
    std::fs::rename(&copy, &package).unwrap();
    let stamp = || {
        let step = built.project.step("package");
        step.pointer("/outputs/published").unwrap().to_string()
    };
    let before = stamp();
    built.project.build().prints(&["Nothing to do"]);
    let after = stamp();
    assert_ne!(after, before, "how it looks now is recorded");
    built.project.build().prints(&["Nothing to do"]);
    assert_eq!(stamp(), after);
}

/// What a kill leaves, and a power loss: the name of who held the build.
fn was_cut_short(project: &Project) {
    project.write("build/state.lock", r#"{"pid":4194300,"command":"build","since":"2026-01-01T00:00:00Z"}"#);
}

#[test]
fn after_a_run_that_was_cut_short_contents_are_compared() {
    let built = Built::new();
    assert_eq!(built.project.read("build/state.lock"), "", "it ended by itself");
    let listing: serde_json::Value = serde_json::from_str(&built.project.read("build/steps/images.json")).unwrap();
    let paths = listing["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["path"].as_str().unwrap());
    let largest = paths
        .max_by_key(|path| std::fs::metadata(built.project.path(&format!("build/steps/images/{path}"))).unwrap().len());
    let damaged = format!("build/steps/images/{}", largest.unwrap());
    built.flip(&damaged);
    was_cut_short(&built.project);
    built.project.run(&["status"]).success().prints(&["was cut short", "compares"]);
    // Who has not looked does not say that all is well.
    built.project.run(&["gc"]).success();
    built.project.build().says(&["was cut short", "images: started again, its output", "was changed"]);
    assert_eq!(sha256_file(&built.project.package()), built.package);
    assert_eq!(built.registry.requests("GET", "/blobs/").len(), 1, "{}", built.registry.render_log());
    let again = built.project.build();
    let again = again.prints(&["Nothing to do"]);
    assert!(!again.stderr.contains("cut short"), "{again}");
}

/// The step that packs finds what rotted; the next build mends it.
#[test]
fn what_the_package_finds_damaged_is_mended_by_the_same_command() {
    let files = FileServer::start();
    let url = files.put("/tool", program("tool", 1, 200_000));
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, None);
    project.build();
    let package = sha256_file(&project.package());
    let path = project.path("build/steps/files/bin/tool");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    project.run(&["build", "--step", "package"]).code(1).says(&["the next build finds"]);
    project.build().says(&["bin/tool", "was changed"]);
    assert_eq!(sha256_file(&project.package()), package);
}

#[test]
fn a_lost_marker_costs_nothing() {
    let built = Built::new();
    for tag in [None, Some("Signature: 8a477f597d28d172789f06886806bc55\r\n")] {
        built.project.remove("build/CACHEDIR.TAG");
        if let Some(tag) = tag {
            built.project.write("build/CACHEDIR.TAG", tag);
        }
        for refused in [&["clean"][..], &["gc"]] {
            let run = built.project.run(refused).code(1);
            let run = run.says(&["holds a build", "nothing was removed", "writes the tag again"]);
            assert!(!run.stderr.contains("empty this"), "{run}");
        }
        built.project.build().prints(&["Nothing to do"]);
        assert!(built.project.read("build/CACHEDIR.TAG").contains("opencenter-airgap"));
    }
    built.is_whole_and_asked_nobody();
    built.project.run(&["clean"]).success();
    assert!(!built.project.exists("build"));
}

#[test]
fn a_state_that_nobody_can_read_stops_nobody_who_begins_again() {
    for damage in ["{\"format\": 1, \"buil", "", "not json", "{\"format\": 99}"] {
        let built = Built::new();
        built.project.write("build/state.json", damage);
        for blocked in [&["build"][..], &["status"], &["gc"], &["build", "--plan"]] {
            built.project.run(blocked).code(4).says(&["build --clean"]);
        }
        built.project.run(&["clean", "--dist"]).code(4).says(&["without --dist"]);
        assert_eq!(built.project.read("build/state.json"), damage);
        built.project.run(&["build", "--clean", "--plan"]).success().prints(&["Fetches nothing"]);
        built.project.run(&["build", "--clean", "--locked"]).success().says(&["build/state.json.damaged"]);
        assert_eq!(built.project.read("build/state.json.damaged"), damage);
        built.is_whole_and_asked_nobody();
        built.project.build().prints(&["Nothing to do"]);
        built.project.write("build/state.json", damage);
        built.project.run(&["clean"]).success();
        assert!(!built.project.exists("build"));
    }
}

/// Runs a command where config/ is mounted read-only; None where nobody may
/// mount.
fn with_config_read_only(project: &Project, arguments: &str) -> Option<Run> {
    let script = format!(
        "mount --bind config config && mount -o remount,bind,ro config && exec {} {arguments}",
        binary().display()
    );
    let template = project.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]).current_dir(project.root()).env_clear();
    for (name, value) in template.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.arg(script).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = Running::spawn(&mut command, project.root()).finish();
    let cannot = ["unshare:", "mount:", "permission denied"].iter().any(|word| run.stderr.starts_with(word));
    if cannot {
        tools::skipped("a configuration that is mounted read-only: this user may not mount");
        return None;
    }
    Some(run)
}

#[test]
fn a_configuration_that_nothing_is_written_to_may_be_read_only() {
    let built = Built::new();
    built.project.run(&["clean", "--dist"]).success();
    for (arguments, words) in [
        ("build --plan --locked", "Fetches"),
        ("status", "No build"),
        ("scan config", "app:1"),
        ("build --locked", "dist/"),
        ("build --offline --clean", "dist/"),
        ("build", "Nothing to do"),
        ("gc --dry-run", "nothing to remove"),
    ] {
        let Some(run) = with_config_read_only(&built.project, arguments) else { return };
        run.success().prints(&[words]);
    }
    assert_eq!(sha256_file(&built.project.package()), built.package);
}

/// Where the lock will be written that is told before anything is fetched.
#[test]
fn a_lock_that_can_not_be_written_is_told_before_the_first_download() {
    let built = Built::new();
    built.project.remove("config/airgap.lock");
    built.project.run(&["clean"]).success();
    let Some(run) = with_config_read_only(&built.project, "build") else { return };
    run.code(1).says(&["cannot write in", "config"]);
    built.is_whole_and_asked_nobody();
    assert!(built.registry.requests("GET", "/manifests/").is_empty(), "{}", built.registry.render_log());
}

/// Of a URL without a checksum nobody else knows what its bytes are to be.
#[test]
fn a_bit_that_flips_in_an_unfinished_download_is_not_locked() {
    const SIZE: usize = 3_000_000;
    let files = FileServer::start();
    let content = program("tool", 1, SIZE);
    let url = files.put("/tool", content.clone());
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, None);
    files.fault(On::get("/tool").once(), Fault::Slow { bytes_per_second: 600_000 });
    let running = project.start(&["build"]);
    let journal = || {
        let partials = std::fs::read_dir(project.path("build/store/partial")).into_iter().flatten().flatten();
        partials.map(|entry| entry.path().join("journal")).find(|path| path.exists())
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let journal = loop {
        if let Some(journal) = journal() {
            break journal;
        }
        assert!(std::time::Instant::now() < deadline, "nothing of it was synced");
        std::thread::sleep(Duration::from_millis(5));
    };
    running.kill();
    let data = journal.with_file_name("data");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    files.heal();
    project.build();
    assert_eq!(std::fs::read(project.path("build/steps/files/bin/tool")).unwrap(), content);
}
