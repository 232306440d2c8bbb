//! Guards the host against plugins that misbehave, through the whole binary: a
//! pinned component runs as the only step of a pipeline; whatever it does ends
//! in a message with the step, the plugin and the setting, never in a crash.

use airgap_tests::digest::{sha256, sha256_file};
use airgap_tests::file_server::FileServer;
use airgap_tests::project::{self, Project};
use airgap_tests::tools;
use serde_json::{Value, json};

/// A project whose pipeline is one guest; None where the guests were not
/// built.
fn with_guest(name: &str, configuration: &Value) -> Option<Project> {
    let component = project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
    if !component.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
        return None;
    }
    let project = Project::new();
    project.write("plugins/guest.wasm", std::fs::read(&component).unwrap());
    pin(&project, "plugins/guest.wasm", &sha256_file(&component));
    project.write(
        "config/pipeline.yaml",
        json!({ "steps": [
            { "id": "config", "name": "Configuration", "run": { "host": "config" }, "on_failure": "roll-back" },
            {
                "id": "guest", "name": "A guest", "run": { "plugin": "guest" }, "needs": ["config"],
                "on_failure": "roll-back", "configuration": configuration,
                "publish": [{ "from": "hello.txt", "to": "dist" }],
            },
        ]})
        .to_string(),
    );
    // Only a guest that never ends is to meet the limit of time.
    let time_limit = if name == "loops" { 1 } else { 60 };
    Some(project.with_settings(|settings| {
        settings["plugins"] =
            json!({ "memory_mib": 64, "time_limit": time_limit, "output_mib": 8, "output_files": 100 });
    }))
}

fn pin(project: &Project, path: &str, sha256: &str) {
    let lock = json!({ "format": 1, "plugins": { "guest": { "path": path, "sha256": sha256 } } });
    project.write("config/plugins.lock", lock.to_string());
}

/// The build fails with exit code 1 and a message that names the step.
#[track_caller]
fn fails(name: &str, configuration: &Value, says: &[&str]) {
    let Some(project) = with_guest(name, configuration) else { return };
    project.run(&["build"]).code(1).says(&["guest"]).says(says).never_says("\u{1b}");
    let step = project.step("guest");
    assert_eq!((&step["status"], step["error"]["class"].is_string()), (&json!("FAILED"), true), "{step:#}");
    // Nothing of it is left, and the folder above is as it was.
    assert!(!project.exists("build/steps/guest") && !project.exists("build/staging/guest"));
}

#[test]
fn a_pinned_plugin_runs_and_publishes() {
    let Some(project) = with_guest("hello", &json!({ "name": "world" })) else { return };
    project.run(&["build"]).success();
    assert_eq!(project.read("dist/hello.txt"), "hello world from guest, attempt 1\n");
    let plugin = project.step("guest")["plugin"].clone();
    assert!(plugin["digest"].as_str().unwrap().starts_with("sha256:"), "{plugin}");
}

#[test]
fn other_bytes_than_the_pinned_ones_do_not_run() {
    let Some(project) = with_guest("hello", &json!({ "name": "world" })) else { return };
    pin(&project, "plugins/guest.wasm", &sha256(b"other"));
    project.run(&["build"]).code(3).says(&["guest", "plugins.lock", &sha256(b"other")]);
    assert!(!project.exists("dist/hello.txt"));
    pin(&project, "plugins/missing.wasm", &sha256(b"other"));
    project.run(&["build"]).code(3).says(&["plugins/missing.wasm"]);
    project.remove("config/plugins.lock");
    project.run(&["build"]).code(3).says(&["guest"]);
}

#[test]
fn plugins_that_are_not_there_are_named_with_their_lines_before_anything_is_written() {
    let step = |id: &str, plugin: &str| {
        format!("  - {{id: {id}, name: n, run: {{plugin: {plugin}}}, on_failure: roll-back}}\n")
    };
    let project = Project::new();
    project.write("config/pipeline.yaml", format!("steps:\n{}{}", step("a", "charst"), step("b", "licences")));
    project.write(
        "config/plugins.lock",
        format!("format: 1\nplugins:\n  licences:\n    path: gone.wasm\n    sha256: {}\n", sha256(b"")),
    );
    project.run(&["build"]).code(3).says(&[
        "config/pipeline.yaml:2:",
        "`charst`",
        "charts",
        "config/plugins.lock:4:",
        "gone.wasm",
    ]);
    assert!(!project.exists("build"));
}

/// Before the first step: what a build would run into after an hour.
#[test]
fn a_wrong_configuration_is_refused_before_the_build() {
    let Some(project) = with_guest("hello", &json!({ "nmae": "world" })) else { return };
    let parts = ["config/pipeline.yaml", "`guest`", "configuration.nmae", "configuration.name` is missing"];
    project.run(&["build"]).code(3).says(&parts).says(&["plugin inspect guest"]);
    assert!(!project.exists("build/state.json"));
}

#[test]
fn a_plugin_is_pinned_listed_and_inspected_by_command() {
    let Some(project) = with_guest("hello", &json!({ "name": "world" })) else { return };
    let digest = sha256_file(&project.path("plugins/guest.wasm"));
    project.remove("config/plugins.lock");
    project.run(&["build"]).code(3).says(&["there is no plugin `guest`"]);

    let add = ["plugin", "add", "plugins/guest.wasm", "--name", "guest"];
    project.run(&add).success().prints(&["pinned guest", &digest, "wants no grants"]);
    project.run(&["build"]).success();
    assert_eq!(project.read("dist/hello.txt"), "hello world from guest, attempt 1\n");

    project.run(&add).code(3).says(&["pinned already", "--replace"]);
    let granted = [&add[..], &["--replace", "--grant-fetch", "https://example.com/x/", "--grant-directories"]].concat();
    project.run(&granted).success();
    let lock = project.read("config/plugins.lock");
    assert!(lock.contains("https://example.com/x/") && lock.contains("directories: true"), "{lock}");
    project.run(&["plugin", "list"]).success().prints(&[
        "guest",
        "downloads from https://example.com/x/, and can send",
        "as directories",
        "charts",
        "core",
    ]);
    project.run(&["plugin", "inspect", "guest"]).success().prints(&["hello", "Writes a greeting", &digest, "\"name\""]);
    let listed = project.run(&["plugin", "list", "--json"]).success().json();
    assert!(listed["plugins"].as_array().unwrap().iter().any(|plugin| plugin["name"] == "guest"), "{listed}");

    let outside = [&add[..2], &["/bin/true"]].concat();
    project.run(&outside).code(1).says(&["is not WebAssembly"]);
    project.run(&["plugin", "add", "plugins/missing.wasm"]).code(3).says(&["plugins/missing.wasm"]);
    let bad = [&add[..], &["--replace", "--grant-fetch", "nonsense://"]].concat();
    project.run(&bad).code(3).says(&["nonsense"]);
}

/// Where in the component it was is for who looks into it.
#[test]
fn a_panic_is_told_with_message_and_place_and_its_frames_on_request() {
    let Some(project) = with_guest("traps", &Value::Null) else { return };
    let place = ["panicked at ", "examples/traps.rs:30:5: the number was 2"];
    let run = project.run(&["build"]).code(1).says(&place).never_says("inner_most").never_says("it printed");
    assert!(!run.stderr.contains("unreachable"), "{run}");
    project
        .run(&["build", "--verbose"])
        .code(1)
        .says(&place)
        .says(&["in traps::inner_most, called by", "about to fail"]);
    project.run(&["status"]).success().never_says("inner_most");
    project.run(&["status", "--verbose"]).success().prints(&["in traps::inner_most", "about to fail"]);
}

/// Each is a row, with its code where data is asked for, and is there for
/// `status` afterwards.
#[test]
fn what_failed_of_many_is_a_row_each() {
    let Some(project) = with_guest("fails_politely", &json!({ "items": 10 })) else { return };
    let run = project.run(&["build"]).code(1).says(&["10 of 10 charts failed", "pin a digest"]).never_says("\u{1b}");
    assert!(run.stderr.contains("chart c0\\u{1b}[31m") && run.stderr.contains("chart c9"), "{run}");
    let step = project.step("guest");
    assert_eq!(step["error"]["code"], "items");
    let failed = step["items"]["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[3]["code"]), (10, &json!("mutable-tag")), "{step:#}");
    project.run(&["status"]).success().prints(&["chart c0", "chart c9", "`latest` says nothing", "pin a digest"]);
    let lines = project.run(&["build", "--json"]).code(1).json_lines();
    let error = lines.iter().find(|line| line["event"] == "error").unwrap();
    let items = error["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[9]["code"], &error["code"]),
        (10, &json!("mutable-tag"), &json!("items")),
        "{error:#}"
    );
}

/// Whatever the plugin makes of the refusal.
#[test]
fn credentials_that_were_not_granted_are_named() {
    let server = FileServer::start_closed();
    let url = server.put_plain("/files/a", "secret");
    let Some(project) = with_guest("fetches", &json!({ "url": url })) else { return };
    let project = project.with_file_server(&server.host());
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let lock = |grants: Value| {
        let pin = json!({ "path": "plugins/guest.wasm", "sha256": sha256_file(&project.path("plugins/guest.wasm")), "grants": grants });
        project.write("config/plugins.lock", json!({ "format": 1, "plugins": { "guest": pin } }).to_string());
    };
    lock(json!({ "fetch": [server.url("/files/")] }));
    let says = format!("`--grant-credentials {}`", server.host());
    project.run(&["build"]).code(1).says(&["may not use your credentials for", &says, "config/plugins.lock"]);
    lock(json!({ "fetch": [server.url("/files/")], "credentials": [server.host()] }));
    project.run(&["build", "--on-change", "restart"]).success();
}

/// No build begins without what a step runs.
#[test]
fn a_pin_is_removed_once_no_step_runs_it() {
    let Some(project) = with_guest("hello", &json!({ "name": "world" })) else { return };
    project.run(&["plugin", "remove", "guest"]).code(3).says(&["`guest` is run by `guest`", "config/pipeline.yaml"]);
    project.run(&["plugin", "remove", "gone"]).code(3).says(&["no plugin `gone` is pinned; there are: guest"]);
    project.remove("config/pipeline.yaml");
    project.run(&["plugin", "remove", "guest"]).success().prints(&["removed guest", "guest.wasm is still there"]);
    assert!(!project.read("config/plugins.lock").contains("guest") && project.exists("plugins/guest.wasm"));
    project.run(&["plugin", "list"]).success().never_says("guest.wasm");
}

#[test]
fn a_loop_is_stopped_by_its_time_limit() {
    fails("loops", &Value::Null, &["plugins.time_limit"]);
}

#[test]
fn memory_without_end_is_stopped_by_its_limit() {
    fails("allocates", &Value::Null, &["plugins.memory_mib"]);
}

#[test]
fn recursion_without_end_is_a_crash() {
    fails("recurses", &Value::Null, &["crashed"]);
}

#[test]
fn a_flood_of_output_is_stopped() {
    fails("floods_stdout", &Value::Null, &["plugins.console_kib"]);
}

#[test]
fn floods_of_files_and_bytes_are_stopped() {
    fails("floods_files", &Value::Null, &["plugins.output_files"]);
    fails("floods_bytes", &Value::Null, &["plugins.output_mib"]);
}

#[test]
fn no_path_leads_out_of_the_tree() {
    for path in ["../x", "/tmp/x", "a/../../x", "a\\..\\x", "a/./b", "CON", "a:b"] {
        fails("writes_outside", &json!({ "path": path }), &[]);
    }
}

#[test]
fn a_component_of_another_world_is_refused() {
    fails("another_world", &Value::Null, &["opencenter:airgap"]);
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    for content in [&b""[..], b"\0asm\x01\0\0\0", b"#!/bin/sh\n"] {
        let Some(project) = with_guest("hello", &Value::Null) else { return };
        project.write("plugins/guest.wasm", content);
        pin(&project, "plugins/guest.wasm", &sha256(content));
        let run = project.run(&["build"]);
        assert!(matches!(run.status.code(), Some(1 | 3)), "{run}");
        run.says(&["guest"]);
    }
}

#[test]
fn an_exit_is_no_result() {
    fails("exits", &Value::Null, &["exited with status"]);
}

#[test]
fn a_polite_refusal_is_told_with_its_hint_and_without_escape_codes() {
    fails("fails_politely", &json!({ "kind": "missing-input" }), &["chart `x` is not there", "look again"]);
}

#[test]
fn a_running_plugin_is_stopped_by_a_signal() {
    let Some(project) = with_guest("loops", &Value::Null) else { return };
    let project = project.with_settings(|settings| settings["plugins"]["time_limit"] = json!(3600));
    let running = project.start(&["build"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !project.exists("build/staging/guest") {
        assert!(std::time::Instant::now() < deadline, "the step does not start");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let sent = std::time::Instant::now();
    running.signal("INT");
    running.finish().code(130);
    assert!(sent.elapsed() < std::time::Duration::from_secs(3), "{:?}", sent.elapsed());
}
