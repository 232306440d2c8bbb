//! Guards the host against plugins that nobody has trusted yet: compiling,
//! describing and checking happen in a process of their own, which has limits,
//! ends with the host and leaves nothing; and what the host does for a
//! third-party plugin it does behind the second wall.

use std::path::Path;
use std::time::{Duration, Instant};

use airgap_tests::digest::sha256;
use airgap_tests::git_server::GitServer;
use airgap_tests::images::Image;
use airgap_tests::project::{Project, Running};
use airgap_tests::registry::{Options, Redirects, Registry};
use airgap_tests::wasm;
use serde_json::{Value, json};

/// A project with one component that no step names, and a cache of its own.
fn with_component(bytes: &[u8], plugins: Value) -> Project {
    let project = Project::new();
    project.write("plugins/guest.wasm", bytes);
    let cache = project.path("cache").to_string_lossy().into_owned();
    project.with_env("XDG_CACHE_HOME", cache).with_settings(|settings| settings["plugins"] = plugins)
}

/// Pins the component and makes it the only step beside the configuration.
fn pinned(project: Project, bytes: &[u8]) -> Project {
    let lock =
        json!({ "format": 1, "plugins": { "guest": { "path": "plugins/guest.wasm", "sha256": sha256(bytes) } } });
    project.write("config/plugins.lock", lock.to_string());
    let step = json!({
        "id": "guest", "name": "A guest", "run": { "plugin": "guest" }, "on_failure": "roll-back",
        "configuration": { "name": "world" }, "publish": [{ "from": "hello.txt", "to": "dist" }],
    });
    project.write("config/pipeline.yaml", json!({ "steps": [step] }).to_string());
    project
}

fn guest(name: &str) -> Vec<u8> {
    let path = airgap_tests::project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make plugins`", path.display()))
}

const INSPECT: [&str; 3] = ["plugin", "inspect", "plugins/guest.wasm"];

#[test]
fn a_compiler_that_computes_without_end_meets_its_limit() {
    let project = with_component(&wasm::branchy(1 << 20), json!({ "compile_seconds": 1 }));
    let run = project.run(&INSPECT).code(1).says(&["compiling plugin guest", "`plugins.compile_seconds`", "raise"]);
    assert!(run.time < Duration::from_secs(20), "{run}");
    // A machine that is busy with something else lets four times as many pass.
    let told = ["could not be compiled in 1 s of processor time", "could not be compiled within 4 s"];
    assert!(told.iter().any(|told| run.stderr.contains(told)), "{run}");
    // A build finds out before its first step, and tries it once.
    let project = pinned(project, &wasm::branchy(1 << 20));
    let run = project.run(&["build"]).code(1).says(&["`plugins.compile_seconds`"]);
    assert_eq!(run.stderr.matches("compiling plugin").count(), 1, "{run}");
    assert!(!project.exists("build/state.json"));
}

#[test]
fn a_compiler_that_takes_memory_without_end_meets_its_limit() {
    let project = with_component(&wasm::many_functions(100_000), json!({ "compile_mib": 256 }));
    let says = ["could not be compiled in 256 MiB of memory", "`plugins.compile_mib`"];
    project.run(&INSPECT).code(1).says(&says);
}

/// The smallest limits that can be set are enough for a small plugin.
#[test]
fn a_usual_plugin_keeps_within_the_limits() {
    let bytes = guest("hello");
    let project = with_component(&bytes, json!({ "compile_mib": 256, "compile_seconds": 20, "schema_kib": 1 }));
    project.run(&INSPECT).success().says(&["compiling plugin guest"]).prints(&["Writes a greeting"]);
    // The second time nothing is compiled.
    project.run(&INSPECT).success().never_says("compiling").prints(&["Writes a greeting"]);
    let project = pinned(project, &bytes);
    project.run(&["build"]).success().never_says("warning");
    assert_eq!(project.read("dist/hello.txt"), "hello world from guest, attempt 1\n");
}

/// The children of a process, by id.
fn children(of: u32) -> Vec<u32> {
    let lists = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let read = lists.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    read.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Waits until the process compiles, and gives the id of its child.
#[track_caller]
fn compiling(running: &Running) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(child) = children(running.id()).first() {
            return *child;
        }
        assert!(Instant::now() < deadline, "nothing is compiled");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn ends(process: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Path::new(&format!("/proc/{process}")).exists() {
        assert!(Instant::now() < deadline, "{process} runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupted_build_takes_the_compiler_along_at_once() {
    let bytes = wasm::branchy(1 << 20);
    let project = pinned(with_component(&bytes, json!({})), &bytes);
    let running = project.start(&["build"]);
    let child = compiling(&running);
    let sent = Instant::now();
    running.signal("INT");
    running.finish().code(130);
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    ends(child);
}

#[test]
fn a_killed_host_takes_the_compiler_along() {
    for arguments in [&["build"][..], &INSPECT] {
        let bytes = wasm::branchy(1 << 20);
        let project = pinned(with_component(&bytes, json!({})), &bytes);
        let running = project.start(arguments);
        let child = compiling(&running);
        running.kill();
        ends(child);
    }
}

/// A user who calls it gets nothing out of it, and help does not name it.
#[test]
fn the_worker_is_no_command() {
    let project = Project::new();
    project.run(&["__worker"]).code(1);
    project.run(&["__worker", "--help"]).code(2);
    project.run(&["--help"]).success().never_says("__worker");
}

/// Where the wall is required, an honest build does not notice: it compiles,
/// publishes, and writes its cache.
#[test]
fn an_honest_build_stands_behind_the_wall() {
    let bytes = guest("hello");
    let temporary = tempfile::tempdir().unwrap();
    let project = pinned(with_component(&bytes, json!({})), &bytes)
        .with_env("TMPDIR", temporary.path().to_string_lossy())
        .with_settings(|settings| settings["security"] = json!({ "second_wall": "require" }));
    project.run(&["build", "--plan"]).success();
    assert!(!project.exists("build") && !project.exists("dist"), "a plan changes nothing");
    project.run(&["build"]).success().never_says("warning");
    assert_eq!(project.read("dist/hello.txt"), "hello world from guest, attempt 1\n");
    project.run(&["build"]).success().never_says("compiling").prints(&["Nothing to do"]);
    project.run(&["plugin", "add", "plugins/guest.wasm", "--name", "other"]).success();
}

/// The folder for the package is moved away by a link after the build: what it
/// leads to now is not a folder of this build.
#[test]
fn what_the_wall_keeps_from_being_written_is_explained() {
    let bytes = guest("hello");
    let (temporary, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let project =
        pinned(with_component(&bytes, json!({})), &bytes).with_env("TMPDIR", temporary.path().to_string_lossy());
    project.run(&["build"]).success();
    std::fs::remove_dir_all(project.path("build/steps")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), project.path("build/steps")).unwrap();
    project.run(&["build"]).code(1).says(&["second wall", "`security.writable`"]);
    let open = elsewhere.path().to_string_lossy().into_owned();
    let opened = project.with_settings(|settings| settings["security"] = json!({ "writable": [open] }));
    opened.run(&["build", "--on-change", "restart"]).success();
}

/// A registry whose blobs lie elsewhere, at a port that nobody could know.
#[test]
fn a_redirect_to_a_port_that_nothing_names_is_explained_and_can_be_let_through() {
    let registry = Registry::with(Options { redirects: Some(Redirects::default()), ..Options::default() });
    registry.push("app:1", &Image::small(1, 5_000));
    let bytes = guest("hello");
    let project = with_component(&bytes, json!({})).with_registry(&registry.host());
    let project = pinned(project.with_image(registry.reference("app:1")), &bytes);
    let steps = [
        ("config", json!({ "host": "config" }), json!([])),
        ("manifests", json!({ "plugin": "manifest" }), json!(["config"])),
        ("images", json!({ "host": "images" }), json!(["manifests"])),
    ];
    let step = |(id, run, needs)| json!({ "id": id, "name": id, "run": run, "needs": needs, "on_failure": "preserve" });
    extend_pipeline(&project, &steps.map(step));
    let run = project.run(&["build"]).code(1);
    run.says(&["the second wall lets no connection to", "`security.ports`"]);
    let port: u16 = registry.storage().host().rsplit(':').next().unwrap().parse().unwrap();
    let project = project.with_settings(|settings| settings["security"] = json!({ "ports": [port] }));
    project.run(&["build", "--on-change", "restart"]).success();
}

/// The pipeline of a project, with these steps behind those that it has.
fn extend_pipeline(project: &Project, steps: &[Value]) {
    let mut pipeline: Value = serde_json::from_str(&project.read("config/pipeline.yaml")).unwrap();
    pipeline["steps"].as_array_mut().unwrap().extend(steps.iter().cloned());
    project.write("config/pipeline.yaml", pipeline.to_string());
}

/// git says that it got no connection, and not why.
#[test]
fn a_repository_at_a_port_that_nothing_names_is_explained_and_can_be_let_through() {
    let Some(server) = GitServer::start() else { return };
    server.create("app").commit("a", "1");
    let bytes = guest("hello");
    let repository = json!({ "name": "app", "url": "https://git.example/app.git", "ref": "main" });
    let project = pinned(with_component(&bytes, json!({})).with_repository(repository), &bytes);
    let step = |id: &str, run: Value, needs: &str| json!({ "id": id, "name": id, "run": run, "needs": [needs], "on_failure": "preserve" });
    let config = json!({ "id": "config", "name": "c", "run": { "host": "config" }, "on_failure": "roll-back" });
    extend_pipeline(
        &project,
        &[
            config,
            step("manifests", json!({ "plugin": "manifest" }), "config"),
            step("repos", json!({ "host": "repos" }), "manifests"),
        ],
    );
    // The user's own git knows another way, to which no file of config/ points.
    let url = server.clone_url("app");
    let (base, _) = url.rsplit_once('/').unwrap();
    project.write("home/.gitconfig", format!("[url \"{base}/\"]\n\tinsteadOf = https://git.example/\n"));
    let run = project.run(&["build"]).code(1);
    let run = run.says(&["repository `app`", "the second wall lets no connection to", "`security.ports`"]);
    assert!(run.stderr.contains(&server.host()), "the address is named: {run}");
    run.never_says("run the same command again; what was fetched is kept");
    let port: u16 = server.host().rsplit(':').next().unwrap().parse().unwrap();
    let project = project.with_settings(|settings| settings["security"] = json!({ "ports": [port] }));
    project.run(&["build", "--on-change", "restart"]).success();
}

/// What may pass from the signal to the end, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(600);

/// The attacker as the only step, doing `acts`.
fn attacking(project: &Project, ending: &str, acts: &Value) {
    let step = json!({
        "id": "guest", "name": "A guest", "run": { "plugin": "guest" }, "on_failure": ending,
        "configuration": { "acts": acts },
    });
    project.write("config/pipeline.yaml", json!({ "steps": [step] }).to_string());
}

/// Thousands of files of which each is on the disk, or a large one: removing
/// them takes seconds, which nobody waits for.
#[test]
fn an_interruption_does_not_wait_for_what_a_plugin_has_piled_up() {
    let bytes = guest("attacker");
    let many = json!([{ "do": "repeat", "times": 1_000_000, "acts": [{ "do": "write", "path": "{n}", "text": "x" }] }]);
    let large = json!([{ "do": "file", "path": "/work/large", "mib": 1500 }, { "do": "spin" }]);
    let piled = |tree: &Path| std::fs::read_dir(tree).map_or(0, Iterator::count) >= 3_000;
    let written = |tree: &Path| {
        let large = tree.with_file_name("directories/work/large");
        large.metadata().is_ok_and(|large| large.len() == 1500 << 20)
    };
    type IsThere = fn(&Path) -> bool;
    for (ending, acts, is_there) in [("roll-back", &many, piled as IsThere), ("preserve", &large, written)] {
        let project = with_component(&bytes, json!({ "host_limit": 3600, "output_files": 1_000_000 }));
        let pin = json!({ "path": "plugins/guest.wasm", "sha256": sha256(&bytes), "grants": { "directories": true } });
        project.write("config/plugins.lock", json!({ "format": 1, "plugins": { "guest": pin } }).to_string());
        attacking(&project, ending, acts);
        let running = project.start(&["build"]);
        let tree = project.path("build/staging/guest/tree");
        let deadline = Instant::now() + Duration::from_secs(120);
        while !is_there(&tree) {
            assert!(Instant::now() < deadline, "it takes longer than two minutes");
            std::thread::sleep(Duration::from_millis(20));
        }
        let sent = Instant::now();
        running.signal("INT");
        let run = running.finish().code(130);
        assert!(sent.elapsed() < AT_ONCE, "{ending}: {:?} {run}", sent.elapsed());
        assert_eq!(project.state()["steps"][0]["status"], "FAILED", "{ending}");
        // What is left is no output, and goes with the next start.
        assert!(!project.exists("build/steps/guest"));
        attacking(&project, ending, &json!([{ "do": "write", "path": "x", "text": "x" }]));
        project.run(&["build", "--on-change", "restart"]).success();
        assert!(!project.exists("build/staging/guest"), "{ending}");
    }
}
