//! Guards what a pinned plugin may do, through the whole binary: where its
//! downloads may lead, what it may publish, whose place it may take, and what
//! of its words reaches the terminal.

use airgap_tests::digest::sha256_file;
use airgap_tests::http::{Request, Response, Server};
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project, Run};
use airgap_tests::tools;
use serde_json::{Value, json};

/// A guest of the tests, or None where they were not built.
fn guest(name: &str) -> Option<Vec<u8>> {
    let component = project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
    if !component.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
        return None;
    }
    Some(std::fs::read(component).unwrap())
}

/// Pins `component` as `name`, with the rest of the pin as it is given.
fn pin(project: &Project, name: &str, component: &[u8], rest: &Value) {
    let path = format!("plugins/{name}.wasm");
    project.write(&path, component);
    let mut pin = json!({ "path": path, "sha256": sha256_file(&project.path(&path)) });
    pin.as_object_mut().unwrap().extend(rest.as_object().cloned().unwrap_or_default());
    project.write("config/plugins.lock", json!({ "format": 1, "plugins": { name: pin } }).to_string());
}

fn step(id: &str, plugin: &str, configuration: &Value, publish: &Value) -> Value {
    json!({
        "id": id, "name": id, "run": { "plugin": plugin }, "needs": ["config"], "on_failure": "roll-back",
        "configuration": configuration, "publish": publish,
    })
}

fn pipeline(project: &Project, steps: &[Value]) {
    let config = json!({ "id": "config", "name": "c", "run": { "host": "config" }, "on_failure": "roll-back" });
    let steps: Vec<Value> = std::iter::once(config).chain(steps.iter().cloned()).collect();
    project.write("config/pipeline.yaml", json!({ "steps": steps }).to_string());
}

/// What is refused when a plugin asks for it is refused when a server leads
/// there, whatever the code: the server never sees a second request.
#[test]
fn no_redirect_leads_out_of_a_grant() {
    let Some(fetches) = guest("fetches") else { return };
    for code in [301, 302, 303, 307, 308] {
        let server = Server::start(move |asked: &Request| match asked.path.strip_prefix("/charts/to/") {
            Some(number) => Response::new(code, "").with("location", WAYS_OUT[number.parse::<usize>().unwrap()].0),
            None => Response::new(200, "secret"),
        });
        let project = Project::new().with_file_server(&server.host());
        pin(&project, "fetches", &fetches, &json!({ "grants": { "fetch": [server.url("/charts/")] } }));
        let steps = WAYS_OUT.iter().enumerate().map(|(number, _)| {
            let url = server.url(&format!("/charts/to/{number}"));
            step(&format!("s{number}"), "fetches", &json!({ "url": url }), &json!([]))
        });
        pipeline(&project, &steps.collect::<Vec<_>>());
        project.run(&["build"]).code(1);
        for (number, (location, says)) in WAYS_OUT.iter().enumerate() {
            let error = project.step(&format!("s{number}"))["error"].to_string();
            assert!(error.contains(says), "{code} {location}: {error}");
        }
        let asked: Vec<String> = server.log().into_iter().map(|entry| entry.path).collect();
        assert!(asked.iter().all(|path| path.starts_with("/charts/to/")), "{code}: {asked:?}");
        assert_eq!(asked.len(), WAYS_OUT.len(), "{code}: {asked:?}");
    }
}

const WAYS_OUT: &[(&str, &str)] = &[
    ("/charts/..%2fsecret", "encodes a separator"),
    ("/charts/%2e%2e%2fsecret", "encodes a separator"),
    ("/charts/..%5csecret", "encodes a separator"),
    ("/charts/..%252fsecret", "encodes a separator"),
    ("/charts/..%c0%afsecret", "encodes a separator"),
    ("/charts/%2e%2e/secret", "not below a granted prefix"),
    ("/charts/..;/secret", "has a parameter"),
    ("/charts//secret", "has an empty part"),
    ("/charts/..\\secret", "backslash"),
    ("/secret", "not below a granted prefix"),
    ("//user:word@127.0.0.1/charts/secret", "holds credentials"),
    ("http://2130706433/charts/secret", "as it is read"),
    ("ftp://127.0.0.1/charts/secret", "neither http nor https"),
];

/// The pipeline is refused with its line, and nothing is written.
#[track_caller]
fn refuses(publish: &Value, says: &[&str]) {
    let project = Project::new();
    pin(&project, "own", b"never looked at", &Value::Null);
    pipeline(&project, &[step("own", "own", &Value::Null, publish)]);
    project.run(&["build"]).code(3).says(&["config/pipeline.yaml:1:"]).says(says);
    assert!(!project.exists("build"));
}

#[test]
fn no_plugin_publishes_what_decides_about_the_next_build() {
    for from in ["*", "*.lock", "plugins.lock", "airgap.lock", "settings.yaml", "pipeline.yaml", "versions.env"] {
        refuses(&json!([{ "from": from, "to": "config" }]), &["not published into config/", from]);
    }
    refuses(&json!([{ "from": "components.yaml", "to": "config" }]), &["of the plugin `manifest`"]);
    for from in ["artifact-manifest.json", "zarf-package-x-amd64-1.tar.zst", "a/Zarf-Package-x.sha256"] {
        refuses(&json!([{ "from": from, "to": "dist" }]), &["name of the package"]);
    }
    refuses(&json!([{ "from": "a/x", "to": "dist" }, { "from": "X", "to": "dist" }]), &["the step `own` publishes"]);
}

/// Two steps that write `first` and `second` and publish all that they have.
fn published(first: &str, second: &str) -> Option<(Project, Run)> {
    let writes = guest("writes_outside")?;
    let project = Project::new();
    pin(&project, "writes", &writes, &Value::Null);
    let all = json!([{ "from": "*", "to": "dist" }]);
    let mut steps =
        [("one", first), ("two", second)].map(|(id, path)| step(id, "writes", &json!({ "path": path }), &all));
    steps[1]["needs"] = json!(["one"]);
    pipeline(&project, &steps);
    let run = project.run(&["build"]);
    Some((project, run))
}

#[test]
fn a_star_leaves_the_package_and_hidden_names_alone() {
    let Some((project, run)) = published("zarf-package-x-amd64-1.tar.zst", ".hidden") else { return };
    run.success();
    let dist = std::fs::read_dir(project.path("dist")).map(|entries| entries.count()).unwrap_or_default();
    assert_eq!(dist, 0);
}

#[test]
fn one_name_in_dist_has_one_publisher() {
    let Some((project, run)) = published("same.txt", "Same.TXT") else { return };
    run.code(1).says(&["the step `two` would publish `dist/Same.TXT`", "the step `one`"]);
    assert!(project.exists("dist/same.txt") && !project.exists("dist/Same.TXT"));
    assert_eq!(project.step("two")["status"], "FAILED");
    assert!(!project.exists("build/steps/two") && !project.exists("build/staging/two"));
}

/// What lies there is replaced, not followed, and a folder is nobody's to
/// replace: nothing is decided that could not be carried out.
#[test]
fn a_link_in_dist_is_replaced_and_a_folder_is_not() {
    let Some(writes) = guest("writes_outside") else { return };
    let project = Project::new();
    pin(&project, "writes", &writes, &Value::Null);
    let publish = json!([{ "from": "out.txt", "to": "dist" }]);
    pipeline(&project, &[step("own", "writes", &json!({ "path": "out.txt" }), &publish)]);
    project.write("dist/out.txt/kept", "theirs");
    project.run(&["build"]).code(1).says(&["dist/out.txt", "is a folder"]);
    std::fs::remove_dir_all(project.path("dist/out.txt")).unwrap();
    project.write("precious", "theirs");
    std::os::unix::fs::symlink("../precious", project.path("dist/out.txt")).unwrap();
    project.run(&["build"]).success();
    assert_eq!((project.read("dist/out.txt"), project.read("precious")), ("outside".into(), "theirs".into()));
    assert!(!project.path("dist/out.txt").is_symlink());
}

#[test]
fn a_core_plugin_s_place_is_taken_only_by_who_says_so() {
    let Some(hello) = guest("hello") else { return };
    let project = Project::new();
    project.write("plugins/hello.wasm", &hello);
    let add = ["plugin", "add", "plugins/hello.wasm", "--name", "package"];
    project.run(&add).code(3).says(&["would replace it", "every byte of the package", "--replace-core"]);
    assert!(!project.exists("config/plugins.lock"));
    let other = ["plugin", "add", "plugins/hello.wasm", "--replace-core"];
    project.run(&other).code(3).says(&["no core plugin `hello`"]);
    for name in ["packages", "pack-age", "ch\u{430}rts"] {
        project.run(&[&add[..4], &[name]].concat()).code(3).never_says("\u{430}");
    }
    project
        .run(&[&add[..], &["--replace-core"]].concat())
        .success()
        .prints(&["replaces the core plugin `package`: decides"]);
    assert!(project.read("config/plugins.lock").contains("replace_core: true"));
    project.run(&["plugin", "list"]).success().prints(&["replaces the core plugin"]);
    project.run(&["plugin", "inspect", "package"]).success().prints(&["replaces the core plugin `package`"]);
    // Other bytes in that place are a decision of their own.
    project.run(&[&add[..], &["--replace"]].concat()).code(3).says(&["--replace-core"]);
}

/// However it is spelled: dist/ would be where settings or the state lie.
#[test]
fn dist_is_a_folder_of_its_own() {
    let project = Project::new();
    std::os::unix::fs::symlink("config", project.path("link")).unwrap();
    for folder in ["config", "./config", "link", "build"] {
        project.run(&["build", "--dist-dir", folder]).code(2).says(&["are one"]);
    }
    assert!(!project.exists("build"));
}

/// As they were written before there was the field.
#[test]
fn an_old_pin_with_a_core_name_is_refused_with_the_line_to_write() {
    let project = Project::new();
    pin(&project, "charts", b"\0asm", &Value::Null);
    project.run(&["build"]).code(3).says(&["config/plugins.lock:1:", "core plugin `charts`", "`replace_core: true`"]);
    assert!(!project.exists("build"));
}

/// Who receives the package can see that it was not the core plugin.
#[test]
fn what_took_a_core_plugin_s_place_stands_in_the_list_of_the_package() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    let charts = project::target_folder().parent().unwrap().join("plugins/charts.wasm");
    if !charts.is_file() {
        return tools::skipped(&format!("{} was not built (`make plugins` does)", charts.display()));
    }
    project.build();
    let list =
        |project: &Project| -> Value { serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap() };
    let maker = |list: &Value| list["plugins"].as_array().unwrap().iter().find(|one| one["step"] == "charts").cloned();
    let core = maker(&list(&project)).unwrap();
    assert_eq!((&core["name"], &core["replaces_core"]), (&json!("charts"), &json!(false)));

    let grants = json!({ "fetch": [platform.files.url("/"), format!("{}/", platform.registry.host())] });
    pin(&project, "charts", &std::fs::read(charts).unwrap(), &json!({ "replace_core": true, "grants": grants }));
    project.run(&["build", "--plan"]).success().prints(&["plugins/charts.wasm replaces the core plugin `charts`"]);
    let plan = project.run(&["build", "--plan", "--json"]).json();
    assert_eq!(plan["replaced_core"], json!(["charts"]), "{plan}");
    project.run(&["build"]).success();
    assert_eq!(project.step("charts")["plugin"]["replaces_core"], true);
    assert_eq!(maker(&list(&project)).unwrap()["replaces_core"], true);
}

/// A new version keeps what the old one was granted, and its wishes are shown.
#[test]
fn a_replacement_keeps_the_grants() {
    let Some(hello) = guest("hello") else { return };
    let Some(oddly) = guest("speaks_oddly") else { return };
    let project = Project::new();
    project.write("plugins/hello.wasm", &hello);
    project.write("plugins/oddly.wasm", &oddly);
    let grants = ["--grant-fetch", "https://a.example/", "--grant-credentials", "a.example"];
    let said = project.run(&[&["plugin", "add", "plugins/hello.wasm"][..], &grants].concat()).success();
    said.prints(&[
        "downloads from https://a.example/, and can send what it reads there: a fetch grant is also a way out",
        "may use your credentials for a.example",
        "reads the outputs of the steps that its step needs",
    ]);
    let replace = ["plugin", "add", "plugins/oddly.wasm", "--name", "hello", "--replace", "--keep-grants"];
    project.run(&replace[..6]).code(3).says(&["wants `fetch: https://example.com/\\u{202e}x/`", "--grant-fetch"]);
    project.run(&replace).success().prints(&["your credentials for a.example", "(not granted)"]);
    project.run(&[&replace[..], &["--grant-fetch", "https://b.example/"]].concat()).success();
    let lock = project.read("config/plugins.lock");
    for kept in ["https://a.example/", "https://b.example/", "- a.example"] {
        assert!(lock.contains(kept), "{kept}: {lock}");
    }
}

/// On a line of 80 columns nothing is cut from what somebody decides by.
#[test]
fn the_sentences_fit_into_the_terminal() {
    let Some(hello) = guest("hello") else { return };
    for columns in [80, 120] {
        let project = Project::new().with_env("COLUMNS", columns.to_string());
        project.write("plugins/hello.wasm", &hello);
        let add = ["plugin", "add", "plugins/hello.wasm", "--grant-fetch", "https://charts.example.com/stable/"];
        let said = project.run(&add).success().stdout;
        let sentences = said.lines().filter(|line| line.starts_with("  "));
        assert!(sentences.clone().all(|line| line.chars().count() <= columns), "{said}");
        assert!(
            said.split_whitespace().collect::<Vec<_>>().join(" ").contains("a fetch grant is also a way out"),
            "{said}"
        );
    }
}

/// Nothing that a plugin says, wants, writes or is called can turn, move or hide
/// what the terminal shows, in text or as data.
#[test]
fn nothing_unseen_reaches_the_terminal() {
    let Some(oddly) = guest("speaks_oddly") else { return };
    let project = Project::new();
    project.write("plugins/oddly.wasm", &oddly);
    let mut shown = vec![project.run(&["plugin", "inspect", "plugins/oddly.wasm"]).success()];
    shown.push(project.run(&["plugin", "add", "plugins/oddly.wasm", "--name", "oddly"]).success());
    let publish = json!([{ "from": "*", "to": "dist" }]);
    pipeline(&project, &[step("oddly", "oddly", &json!({ "name": "fdp\u{202e}x\u{200b}.txt" }), &publish)]);
    for command in [
        &["build"][..],
        &["build", "--json", "--clean"],
        &["build", "--step", "\u{202e}"],
        &["status"],
        &["status", "--json"],
        &["build", "--plan", "--json"],
        &["plugin", "inspect", "oddly", "--json"],
        &["plugin", "inspect", "no\u{202e}\u{9b}"],
        &["plugin", "list", "\u{9b}"],
        &["verify", "\u{202e}x"],
        &["clean", "--dist"],
    ] {
        shown.push(project.run(command));
    }
    for run in &shown {
        let unseen = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
                || c > '\u{e0000}'
        };
        assert!(!run.stdout.chars().any(unseen) && !run.stderr.chars().any(unseen), "{run}");
    }
    shown.remove(0).prints(&["\\u{9b}2J", "\\u{202e}", "\\u{2028}", "\\u{e0041}"]);
}
