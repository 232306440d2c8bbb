//! Guards steps that are added to the built-in pipeline: what fails keeps the
//! package from being made, what is contributed is in it, and what cannot be is
//! refused with file and line.

use std::collections::BTreeMap;

use airgap_tests::authored;
use airgap_tests::digest::sha256_file;
use airgap_tests::file_server::FileServer;
use airgap_tests::package::Package;
use airgap_tests::project::{self, Project};
use airgap_tests::tools;
use serde_json::{Value, json};

/// A project that packages one tool, with guests pinned under their names;
/// None where they were not built.
fn with_guests(server: &FileServer, guests: &[&str]) -> Option<Project> {
    let url = server.put_plain("/tool", "a tool");
    let project = Project::new().with_file_server(&server.host()).with_tool("tool", &url, None);
    let mut pins = BTreeMap::new();
    for name in guests {
        let component = project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
        if !component.is_file() {
            tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
            return None;
        }
        let path = format!("plugins/{name}.wasm");
        project.write(&path, std::fs::read(&component).unwrap());
        pins.insert(name.replace('_', "-"), json!({ "path": path, "sha256": sha256_file(&component) }));
    }
    project.write("config/plugins.lock", json!({ "format": 1, "plugins": pins }).to_string());
    Some(project)
}

fn add(project: &Project, steps: &Value) {
    project.write("config/pipeline.yaml", json!({ "additional_steps": steps }).to_string());
}

/// A step that fails as often as it runs.
fn refusing(kind: &str) -> Value {
    json!({
        "id": "policy", "run": { "plugin": "fails-politely" }, "needs": ["manifests"],
        "configuration": { "kind": kind },
    })
}

/// The step was added and nothing says that the package waits for it: a package
/// that a policy refuses is no package.
#[test]
fn a_step_that_fails_keeps_the_package_from_being_published() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["fails_politely"]) else { return };
    let mut whole: Value = serde_json::from_str(&authored::pipeline("zarf-yaml", &json!({}))).unwrap();
    let mut last = refusing("invalid-input");
    last["name"] = json!("Policy");
    last["on_failure"] = json!("roll-back");
    whole["steps"].as_array_mut().unwrap().push(last);
    for pipeline in [whole, json!({ "additional_steps": [refusing("invalid-input")] })] {
        project.write("config/pipeline.yaml", pipeline.to_string());
        project.run(&["build", "--clean"]).code(1).says(&["step `policy` failed", "chart `x` is not there"]);
        assert_eq!(project.packages(), Vec::<std::path::PathBuf>::new());
        assert!(!project.exists("dist/artifact-manifest.json"));
        assert_eq!(project.step("package")["status"], "PENDING");
        assert_eq!(project.step("zarf_gen")["status"], "COMPLETED", "its neighbours go on");
        // Asked for alone, it is still no package.
        project.run(&["build", "--step", "package"]).code(1);
        assert_eq!(project.packages(), Vec::<std::path::PathBuf>::new());
    }
    project.remove("config/pipeline.yaml");
    project.run(&["build", "--on-change", "restart"]).success();
    Package::open(&project.package());
    // Nobody takes the package that lies there for that of a build that failed.
    add(&project, &json!([refusing("invalid-input")]));
    let run =
        project.run(&["build"]).code(1).says(&["amd64-1.0.0.tar.zst is of an earlier build: this one has made no"]);
    assert!(run.stdout.contains("waits for `policy`, which failed"), "{run}");
}

/// What comes after the package can not keep it from being there, and what
/// comes before something else keeps that from beginning.
#[test]
fn before_and_after_decide_what_a_failure_keeps_from_happening() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["fails_politely"]) else { return };
    let mut step = refusing("invalid-input");
    step["after"] = json!("package");
    add(&project, &json!([step]));
    project.run(&["build"]).code(1).says(&["step `policy` failed"]);
    Package::open(&project.package());

    let asked = server.paths().len();
    step.as_object_mut().unwrap().remove("after");
    step["before"] = json!(["files"]);
    add(&project, &json!([step]));
    std::fs::remove_dir_all(project.path("build")).unwrap();
    project.run(&["build"]).code(1);
    assert_eq!(project.step("files")["status"], "PENDING");
    assert_eq!(server.paths().len(), asked, "nothing is fetched that a step in front of it refuses");
}

/// As little of a document of Syft as there can be.
const SYFT: &str = r#"{"artifacts": [], "schema": {"version": "16.0.0"}}"#;

#[test]
fn what_is_contributed_is_in_the_package_and_in_its_list() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["authors"]) else { return };
    let files = json!({ "notes.md": "read me", "etc/motd": "welcome", "repo/a.deb": "a", "repo/b/c.deb": "c", "beside.txt": "b", "site.json": SYFT });
    add(
        &project,
        &json!([{
            "id": "site", "run": { "plugin": "authors" }, "needs": ["manifests"], "configuration": { "files": files },
            "contribute": [
                { "from": "notes.md", "into": "documentation" },
                { "from": "etc/motd", "into": "files", "target": "/etc/motd" },
                { "from": "repo", "into": "files" },
                { "from": "site.json", "into": "sboms" },
            ],
            "publish": [{ "from": "beside.txt", "to": "dist" }],
        }]),
    );
    project.build();
    assert_eq!(project.read("dist/beside.txt"), "b");
    let package = Package::open(&project.package());
    assert_eq!(package.nested("documentation.tar")["notes.md"], b"read me");
    assert_eq!(package.nested("sboms.tar")["site.json"], SYFT.as_bytes());
    let component = package.nested("components/site.tar");
    assert_eq!(component["site/files/0/motd"], b"welcome");
    assert_eq!(component["site/files/1/repo/b/c.deb"], b"c");
    let definition = package.definition();
    let components = definition["components"].as_array().unwrap();
    let site = components.iter().find(|component| component["name"] == "site").unwrap();
    assert_eq!(site["files"][0]["target"], "/etc/motd");
    assert_eq!(site["files"][1]["target"], "/opt/opencenter/files/repo");
    // The step is named as the one who made it, file by file.
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    let listed = list["files"].as_array().unwrap().iter().filter(|file| file["component"] == "site");
    let listed: Vec<_> = listed.map(|file| (file["target"].as_str().unwrap(), file["by"].as_str().unwrap())).collect();
    let by = "plugin authors";
    let repo = "/opt/opencenter/files/repo";
    assert_eq!(listed, [("/etc/motd", by), (&format!("{repo}/a.deb"), by), (&format!("{repo}/b/c.deb"), by)]);
    let package = project.package();
    project.run(&["verify", package.to_str().unwrap()]).success();
    project.run(&["build"]).success().prints(&["Nothing to do"]);
}

#[test]
fn what_collides_with_a_core_file_is_refused_with_its_line() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["authors"]) else { return };
    for (contribution, says) in [
        (
            json!({ "from": "x", "into": "files", "target": "/opt/opencenter/files/tool" }),
            "`../files/bin/tool` of the component `tools`",
        ),
        (json!({ "from": "gone", "into": "files" }), "the step `site` made no `gone`"),
        (json!({ "from": "d", "into": "documentation" }), "is a folder"),
    ] {
        let files = json!({ "x": "x", "d/e": "e" });
        let step = json!({
            "id": "site", "run": { "plugin": "authors" }, "configuration": { "files": files },
            "contribute": [contribution],
        });
        let text = serde_yaml::to_string(&json!({ "additional_steps": [step] })).unwrap();
        let line = text.lines().position(|line| line.contains("from:")).unwrap() + 1;
        project.write("config/pipeline.yaml", &text);
        let place = format!("config/pipeline.yaml:{line}:");
        project.run(&["build", "--clean"]).code(1).says(&["step `zarf_gen` failed", &place, says, "hint:"]);
        assert_eq!(project.packages(), Vec::<std::path::PathBuf>::new());
    }
    let bad = json!([{ "id": "s", "run": { "plugin": "authors" }, "publish": [{ "from": "zarf-package-x.tar.zst", "to": "dist" }] }]);
    add(&project, &bad);
    project.run(&["build"]).code(3).says(&["config/pipeline.yaml:1:", "name of the package"]);
}

#[test]
fn the_plan_shows_the_order_with_who_does_each_step_and_its_digest() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["authors"]) else { return };
    add(
        &project,
        &json!([{ "id": "site", "run": { "plugin": "authors" }, "needs": ["zarf_gen"], "configuration": { "files": {} } }]),
    );
    let digest = sha256_file(&project.path("plugins/authors.wasm"));
    project.run(&["build", "--plan"]).success().prints(&["plugins/authors.wasm", &digest[..12], "core zarf-yaml"]);
    let plan = project.run(&["build", "--plan", "--json"]).success().json_lines();
    let steps = plan.last().unwrap()["steps"].as_array().unwrap().clone();
    let ids: Vec<&str> = steps.iter().map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(ids[ids.len() - 2..], ["site", "package"]);
    let site = &steps[ids.len() - 2];
    assert_eq!(site["by"]["digest"], format!("sha256:{digest}"));
    assert_eq!(site["by"]["path"], "plugins/authors.wasm");
    assert_eq!(site["waits_for"], json!(["zarf_gen"]));
    assert!(steps[ids.len() - 1]["waits_for"].as_array().unwrap().contains(&json!("site")));
    assert_eq!(steps[0]["by"], json!({ "host": "config" }));
}

#[test]
fn a_step_says_how_often_it_is_tried_again_and_for_how_long() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["fails_politely", "loops"]) else { return };
    for (retries, attempts) in [(0, 1), (3, 4)] {
        let mut step = refusing("transient");
        step["retries"] = json!(retries);
        add(&project, &json!([step]));
        project.run(&["build", "--clean"]).code(75);
        assert_eq!(project.step("policy")["attempts"], attempts);
    }
    add(&project, &json!([{ "id": "slow", "run": { "plugin": "loops" }, "timeout": 1 }]));
    project.run(&["build", "--clean"]).code(1).says(&["limit of 1 s (`timeout` of the step)", "config/pipeline.yaml"]);
}

/// What a step does not name it is not given, whatever other steps name.
#[test]
fn a_step_reads_the_files_of_the_project_that_it_names() {
    let server = FileServer::start();
    let Some(project) = with_guests(&server, &["authors"]) else { return };
    project.write("site/motd", "welcome");
    project.write("config/keys/mirror.asc", "a key");
    let step = |id: &str, local: &[&str], copied: &[&str]| {
        json!({
            "id": id, "run": { "plugin": "authors" }, "needs": ["manifests"], "local": local,
            "configuration": { "files": {}, "local": copied },
        })
    };
    let both = ["site", "config/keys/mirror.asc"];
    add(&project, &json!([step("site", &both, &both)]));
    project.build();
    assert_eq!(project.read("build/steps/site/site/motd"), "welcome");
    assert_eq!(project.read("build/steps/site/config/keys/mirror.asc/mirror.asc"), "a key");
    project.write("site/motd", "go away");
    project.run(&["build"]).success().says(&["the configuration changed", "site"]);
    assert_eq!(project.read("build/steps/site/site/motd"), "go away");

    add(&project, &json!([step("site", &both, &both), step("other", &[], &["site"])]));
    project.run(&["build"]).code(1).says(&["step `other` failed", "there is no input tree `local:site`"]);
    for (local, says) in [
        ("gone", "there is nothing at"),
        ("config/settings.yaml", "is a part of the project that no plugin reads"),
        ("../other", "leaves the project"),
        ("/etc/passwd", "is absolute"),
    ] {
        add(&project, &json!([step("site", &[local], &[])]));
        project.run(&["build", "--clean"]).code(3).says(&[
            "config/pipeline.yaml:1:",
            "additional_steps[0].local[0]",
            says,
        ]);
    }
    let host = json!({ "id": "more", "run": { "host": "files" }, "needs": ["manifests"], "local": ["site"] });
    add(&project, &json!([host]));
    project.run(&["build", "--clean"]).code(3).says(&["reads no files of the project"]);
}
