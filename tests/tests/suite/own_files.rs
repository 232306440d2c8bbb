//! Guards the user's own files: a step reads the version that was hashed or
//! ends with `changed`, what the user or git saves while a build runs is kept, a
//! link in config/ stays one, and the packages of two architectures keep what
//! lies beside them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use airgap_tests::charts::{chart, index};
use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::project::{Project, Running};
use serde_json::{Value, json};

/// As an editor saves: another file in its place, at once.
fn save(project: &Project, path: &str, content: &str) {
    project.write(&format!("{path}.new"), content);
    std::fs::rename(project.path(&format!("{path}.new")), project.path(path)).unwrap();
}

/// A repository with a chart, and a tool that is held while it is asked for,
/// before the step `charts` begins.
struct Held {
    files: FileServer,
    gate: Gate,
}

impl Held {
    fn start() -> Self {
        let held = Self { files: FileServer::start(), gate: Gate::default() };
        let archive = chart("web", "1.0.0", &[]);
        held.files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
        held.files.put("/charts/web-1.0.0.tgz", archive);
        held.files.put("/held", "a program");
        held.files.fault(On::get("/held"), Fault::Held(held.gate.clone()));
        held
    }

    /// That chart with a values file, and a local chart.
    fn project(&self) -> Project {
        let project = Project::new().with_file_server(&self.files.host());
        project.write("values.yaml", "a: 1\n");
        project.write("charts/own/Chart.yaml", "apiVersion: v2\nname: own\nversion: 0.1.0\n");
        project.write("charts/own/values.yaml", "b: 1\n");
        project.write("charts/own/templates/a.yaml", "kind: ConfigMap\n");
        let remote =
            json!({ "name": "web", "repo": self.files.url("/charts"), "version": "^1", "values": ["values.yaml"] });
        let project = project
            .with_tool("held", &self.files.url("/held"), None)
            .with_chart(remote)
            .with_chart(json!({ "name": "own", "repo": "./charts/own", "version": "0.1.0" }));
        project.run(&["init", "--pipeline"]).success();
        let mut pipeline: serde_yaml::Value = serde_yaml::from_str(&project.read("config/pipeline.yaml")).unwrap();
        let steps = pipeline["steps"].as_sequence_mut().unwrap();
        let charts = steps.iter_mut().find(|step| step["id"] == "charts").unwrap();
        charts["needs"].as_sequence_mut().unwrap().push("files".into());
        project.write("config/pipeline.yaml", serde_yaml::to_string(&pipeline).unwrap());
        project
    }

    /// Starts a build and waits until everything is hashed, and no chart read.
    fn started(&self, project: &Project) -> Running {
        let running = project.start(&["build"]);
        self.files.wait_until(Duration::from_secs(60), |log| log.iter().any(|entry| entry.path == "/held"));
        running
    }
}

#[test]
fn a_step_reads_what_was_hashed_or_says_what_changed() {
    for (path, other) in [
        ("values.yaml", "a: 2\n"),
        ("charts/own/values.yaml", "b: 2\n"),
        ("charts/own/Chart.yaml", "apiVersion: v2\nname: own\nversion: 0.2.0\n"),
        ("charts/own/templates/a.yaml", "kind: Secret\n"),
    ] {
        let held = Held::start();
        let project = held.project();
        let before = project.read(path);
        let running = held.started(&project);
        save(&project, path, other);
        held.gate.open();
        running.finish().code(3).says(&[path, "changed while the build ran", "hint:"]);
        assert_eq!(project.step("charts")["error"]["class"], "changed", "{path}");
        assert!(!project.exists("dist") || project.packages().is_empty());

        // Switched back there is nothing left of it.
        save(&project, path, &before);
        project.build();
        assert_eq!(project.read("build/steps/charts/values/web-1.0.0-0"), "a: 1\n");
        project.run(&["build"]).success().prints(&["Nothing to do"]);
        // And as it was switched to, it is another build.
        save(&project, path, other);
        let run = project.run(&["build"]);
        assert!(!run.stdout.contains("Nothing to do"), "{path}\n{run}");
    }
}

/// To and fro while the step runs: it has read the one version or ended.
#[test]
fn a_file_that_is_switched_and_switched_back_is_read_as_it_was_hashed() {
    let held = Held::start();
    let project = held.project();
    let mut running = held.started(&project);
    held.gate.open();
    for round in 0.. {
        let content = if round % 2 == 0 { "a: 2\n" } else { "a: 1\n" };
        save(&project, "values.yaml", content);
        if !running.is_running() {
            break;
        }
    }
    let run = running.finish();
    assert!(matches!(run.status.code(), Some(0 | 3)), "{run}");
    if run.status.success() {
        assert_eq!(project.read("build/steps/charts/values/web-1.0.0-0"), "a: 1\n");
    }
    save(&project, "values.yaml", "a: 1\n");
    project.build();
    assert_eq!(project.read("build/steps/charts/values/web-1.0.0-0"), "a: 1\n");
}

/// What is added to a chart is none of it, and what is removed is missed.
#[test]
fn a_local_chart_is_the_one_that_was_hashed() {
    let held = Held::start();
    let project = held.project();
    let running = held.started(&project);
    project.write("charts/own/templates/late.yaml", "kind: Secret\n");
    held.gate.open();
    running.finish().success();
    let archive = std::fs::read(project.path("build/steps/charts/charts/own-0.1.0.tgz")).unwrap();
    let mut names = Vec::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    for entry in tar.entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert!(
        names.iter().any(|name| name.ends_with("a.yaml")) && !names.iter().any(|name| name.ends_with("late.yaml")),
        "{names:?}"
    );
    // The next build sees it.
    let run = project.run(&["build"]).success();
    assert!(!run.stdout.contains("Nothing to do"), "{run}");

    let held = Held::start();
    let project = held.project();
    let running = held.started(&project);
    project.remove("charts/own/values.yaml");
    held.gate.open();
    running.finish().code(3).says(&["charts/own/values.yaml", "changed while the build ran"]);
}

/// Whenever it is saved, it is there afterwards, as it was saved or with it.
#[test]
fn components_yaml_that_is_saved_while_it_is_made_anew_is_kept() {
    let files = FileServer::start();
    let tool = |name: &str| json!({ "name": name, "version": "1", "url": files.put(&format!("/{name}"), name) });
    for round in 0..12_u64 {
        let project = Project::new().with_file_server(&files.host());
        project.write("config/components.yaml", json!({ "tools": [tool("first")] }).to_string());
        let running = project.start(&["build"]);
        let since = std::time::Instant::now();
        while since.elapsed() < Duration::from_millis(round * 15) {
            std::hint::spin_loop();
        }
        save(&project, "config/components.yaml", &json!({ "tools": [tool("first"), tool("mine")] }).to_string());
        let run = running.finish();
        assert!(matches!(run.status.code(), Some(0 | 3)), "{run}");
        assert!(project.read("config/components.yaml").contains("mine"), "{round}: what was saved is gone\n{run}");
        let again = project.run(&["build", "--on-change", "restart"]).success();
        assert!(project.exists("build/steps/files/bin/mine"), "{round}\n{run}\n{again}");
    }
}

/// A tool that is asked for and held, in a project that is built but for it.
fn held_at_a_tool(files: &FileServer, gate: &Gate) -> Project {
    let first = files.put("/first", "first");
    let second = files.put("/second", "second");
    let project = Project::new().with_file_server(&files.host()).with_tool("first", &first, None);
    project.build();
    files.fault(On::get("/second"), Fault::Held(gate.clone()));
    project.with_tool("second", &second, None)
}

#[test]
fn airgap_lock_that_is_replaced_while_a_build_runs_is_kept() {
    let (files, gate) = (FileServer::start(), Gate::default());
    let project = held_at_a_tool(&files, &gate);
    let running = project.start(&["build"]);
    files.wait_until(Duration::from_secs(60), |log| log.iter().any(|entry| entry.path == "/second"));
    // As a `git pull` leaves it.
    let pulled = format!("# pulled\n{}", project.read("config/airgap.lock"));
    save(&project, "config/airgap.lock", &pulled);
    gate.open();
    let run = running.finish().code(3).says(&["config/airgap.lock", "saved by somebody else", "hint:"]);
    assert_eq!(run.stderr.matches("hint:").count(), 1, "told once\n{run}");
    assert_eq!(project.read("config/airgap.lock"), pulled);
    // What it says counts from then on, and nothing is fetched twice.
    files.heal();
    files.forget();
    project.run(&["build", "--on-change", "restart"]).success();
    assert!(project.read("config/airgap.lock").contains("/second"));
    project.run(&["build", "--locked"]).success();
}

/// The files of config/ that commands write.
const WRITTEN: &[&str] = &["airgap.lock", "components.yaml", "components.base.yaml"];

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_symlink()
}

#[test]
fn a_file_of_the_configuration_that_is_a_link_stays_one() {
    let files = FileServer::start();
    let (first, second) = (files.put("/first", "first"), files.put("/second", "second"));
    let elsewhere = tempfile::tempdir().unwrap();
    for shared in [None, Some(elsewhere.path())] {
        let project = Project::new().with_file_server(&files.host()).with_tool("first", &first, None);
        project.build();
        let shared = shared.map_or_else(|| project.path("shared"), Path::to_owned);
        std::fs::create_dir_all(&shared).unwrap();
        for name in WRITTEN {
            let (link, target) = (project.path(&format!("config/{name}")), shared.join(name));
            std::fs::rename(&link, &target).or_else(|_| std::fs::copy(&link, &target).map(drop)).unwrap();
            let _ = std::fs::remove_file(&link);
            symlink(&target, &link).unwrap();
        }
        project.run(&["build"]).success().prints(&["Nothing to do"]);
        project.run(&["add", "tool", "second", "--url", &second, "--version", "1"]).success();
        project.build();
        project.run(&["update"]).success();
        project.run(&["gc"]).success();
        for name in WRITTEN {
            assert!(is_link(&project.path(&format!("config/{name}"))), "{name} is no link any more");
            let content = std::fs::read_to_string(shared.join(name)).unwrap();
            assert!(*name == "components.base.yaml" || content.contains("/second"), "{name}: {content}");
        }
        let left = std::fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<_> = left.filter(|name| name.ends_with(".tmp")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_before_anything_is_lost() {
    let files = FileServer::start();
    let project = Project::new().with_file_server(&files.host()).with_tool("first", &files.put("/first", "1"), None);
    symlink("../gone/airgap.lock", project.path("config/airgap.lock")).unwrap();
    let run = project.run(&["build"]);
    assert!(!run.status.success(), "{run}");
    run.says(&["config/airgap.lock", "is a link that leads to no file", "hint:"]);
    assert!(is_link(&project.path("config/airgap.lock")));
    project.write("gone/airgap.lock", "");
    project.build();
    assert!(project.read("gone/airgap.lock").contains("/first"));
}

#[test]
fn packages_of_two_architectures_keep_what_lies_beside_them() {
    let files = FileServer::start();
    let project = Project::new().with_file_server(&files.host()).with_tool("first", &files.put("/first", "1"), None);
    project.build();
    let versions = project.read("config/versions.env").replace("\"amd64\"", "\"arm64\"");
    project.write("config/versions.env", versions);
    project.build();
    let packages = project.packages();
    assert_eq!(packages.len(), 2, "{packages:?}");
    for package in packages {
        let name = package.file_name().unwrap().to_str().unwrap().to_owned();
        let report = project.run(&["verify", "--json", &format!("dist/{name}")]).success().json();
        assert_eq!((&report["checksum_file"], &report["artifact_manifest"]), (&json!("matches"), &json!("matches")));
        assert_eq!(report["remarks"], json!([]), "{report}");
        let list: Value = serde_json::from_str(&project.read(&format!("dist/{name}.manifest.json"))).unwrap();
        assert_eq!(list["package"]["file"], name.as_str());
        // A package that was carried away with its own list alone.
        let field = Project::bare();
        for beside in ["", ".sha256", ".manifest.json"] {
            field.write(
                &format!("{name}{beside}"),
                std::fs::read(project.path(&format!("dist/{name}{beside}"))).unwrap(),
            );
        }
        field.run(&["verify", &name]).success().prints(&["matches"]);
    }
    // Where older readers look lies the list of the last one.
    let last: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    assert_eq!(last["package"]["architecture"], "arm64");
}
