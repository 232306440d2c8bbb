//! Guards what somebody gets who writes a plugin, out of the binary alone: a
//! project to begin with, components out of core modules, and a run without any
//! project that says whether the contract is kept. What needs the tools of a
//! language is in `tests/examples`.

use airgap_tests::project::{self, Project};
use airgap_tests::tools;
use serde_json::{Value, json};

/// An empty folder with a guest in it; None where the guests were not built.
fn with_guest(name: &str) -> Option<Project> {
    let component = project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
    if !component.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
        return None;
    }
    let project = Project::bare();
    project.write("guest.wasm", std::fs::read(&component).unwrap());
    Some(project)
}

fn outcome<'a>(tested: &'a Value, check: &str) -> (&'a str, &'a str) {
    let checks = tested["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("no {check} in {tested:#}"));
    (found["outcome"].as_str().unwrap(), found["says"].as_str().unwrap())
}

#[test]
fn a_project_of_each_language_has_the_contract_and_four_commands() {
    let project = Project::bare();
    for (language, own) in [("rust", "src/lib.rs"), ("python", "app.py"), ("go", "step/step.go")] {
        let name = format!("my-{language}");
        project
            .run(&["plugin", "new", &name, "--lang", language])
            .success()
            .prints(&["files into"])
            .says(&["README.md"]);
        assert!(project.read(&format!("{name}/{own}")).contains("Lists the images") || language == "go");
        let wit = if language == "rust" { "sdk/wit" } else { "wit" };
        assert!(project.read(&format!("{name}/{wit}/airgap.wit")).contains("world build-step"));
        assert!(project.exists(&format!("{name}/formats/components.resolved.schema.json")));
        assert!(project.exists(&format!("{name}/example/manifests/components.resolved.json")));
        let readme = project.read(&format!("{name}/README.md"));
        let commands = readme.split("```").nth(1).unwrap().lines().skip(1).filter(|line| !line.starts_with(' '));
        assert_eq!(commands.count(), 4, "{readme}");
    }
    project.run(&["plugin", "new", "my-go", "--lang", "go"]).code(3).says(&["is there already"]);
    project.run(&["plugin", "new", "My", "--lang", "go"]).code(3).says(&["not a plugin name"]);
    project.run(&["plugin", "new", "a_b", "--lang", "go"]).code(3).says(&["not a plugin name"]);
    project.run(&["plugin", "new", "chart", "--lang", "go"]).code(3).says(&["looks like the core plugin"]);
    project.run(&["plugin", "new", "x", "--lang", "cobol"]).code(2);
}

#[test]
fn what_is_no_core_module_becomes_no_component() {
    let Some(project) = with_guest("hello") else { return };
    project.run(&["plugin", "componentize", "guest.wasm"]).code(1).says(&["`guest.wasm`", "a component already"]);
    project.write("empty.wasm", b"\0asm\x01\0\0\0");
    project.run(&["plugin", "componentize", "empty.wasm"]).code(1).says(&["can not become a step", "hint:"]);
    project.run(&["plugin", "componentize", "gone.wasm"]).code(3).says(&["gone.wasm"]);
    assert!(!project.exists("empty.component.wasm"));
}

#[test]
fn a_plugin_is_looked_at_and_tried_without_a_project() {
    let Some(project) = with_guest("hello") else { return };
    project.run(&["plugin", "inspect", "guest.wasm"]).success().prints(&["Writes a greeting"]);
    project.write("c.json", r#"{ "name": "world" }"#);
    let run = project.run(&["plugin", "test", "guest.wasm", "--configuration", "c.json", "--keep", "kept"]).success();
    run.prints(&["✓ contract", "a step of 1.1.0", "✓ same output", "twice the same bytes", "wants none"]);
    assert_eq!(project.read("kept/hello.txt"), "hello world from hello, attempt 1\n");
    project.run(&["plugin", "test", "guest.wasm", "--keep", "kept"]).code(2).says(&["is there already"]);
    project
        .run(&["plugin", "run", "guest.wasm", "--configuration", "c.json"])
        .success()
        .prints(&["1 greetings", "guest.out"]);
    assert!(project.exists("guest.out/hello.txt"));
    // Nothing of a project came into being.
    assert!(!project.exists("config") && !project.exists("build") && !project.exists("dist"));
}

#[test]
fn what_does_not_keep_the_contract_fails_its_check() {
    let Some(project) = with_guest("hello") else { return };
    project.write("c.json", r#"{ "nmae": "world" }"#);
    let tested =
        project.run(&["plugin", "test", "guest.wasm", "--configuration", "c.json", "--json"]).code(1).json_lines();
    let tested = tested.iter().find(|line| line["event"] == "plugin-tested").unwrap();
    assert_eq!(tested["passed"], json!(false));
    assert!(outcome(tested, "schema").1.contains("nmae"), "{tested:#}");
    assert_eq!(outcome(tested, "run").0, "failed");
    assert_eq!(outcome(tested, "same output").0, "skipped");

    let Some(project) = with_guest("fails_politely") else { return };
    project.write("c.yaml", "items: 3\n");
    let says = ["✗ run", "3 of 3 charts failed", "chart c2"];
    project.run(&["plugin", "test", "guest.wasm", "--configuration", "c.yaml"]).code(1).prints(&says);

    // What it does not say that it wants, it may not ask for.
    let Some(project) = with_guest("fetches") else { return };
    project.write("c.yaml", "url: https://example.com/x\n");
    let says = ["✗ rights", "`https://example.com/x`, which it does not say that it wants"];
    project.run(&["plugin", "test", "guest.wasm", "--configuration", "c.yaml"]).code(1).prints(&says);
}

#[test]
fn inputs_are_folders_and_marks_are_tried() {
    let Some(project) = with_guest("checkpoints") else { return };
    let lines = project.run(&["plugin", "test", "guest.wasm", "--json"]).success().json_lines();
    let tested = lines.iter().find(|line| line["event"] == "plugin-tested").unwrap();
    assert_eq!(outcome(tested, "marks").0, "passed", "{tested:#}");

    let Some(project) = with_guest("reads") else { return };
    project.write("made/a", "first");
    project.write("made/b/c", "second");
    let run = project.run(&["plugin", "test", "guest.wasm", "--input", "made=made"]).code(1);
    run.prints(&["✗ run", "absent"]);
    project.run(&["plugin", "test", "guest.wasm", "--input", "made"]).code(2).says(&["names no folder"]);
    project.run(&["plugin", "test", "guest.wasm", "--input", "made=gone"]).code(2).says(&["there is no folder `gone`"]);
}
