//! Guards what a person reads: one calm line for an interruption, all mistakes
//! of a file at once, numbers that are true, and names that are what they look
//! like.

use std::process::{Command, Stdio};
use std::time::Duration;

use airgap_tests::charts::{chart, index};
use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::GitServer;
use airgap_tests::images::Image;
use airgap_tests::platform::program;
use airgap_tests::project::{Project, Running, VERSIONS_ENV, binary};
use airgap_tests::registry::Registry;
use serde_json::json;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn an_interruption_is_one_calm_line_and_each_signal_has_its_code() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 50_000));
    registry.fault(On::get("/blobs/"), Fault::Held(Gate::default()));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        registry.forget();
        let mut command = with_default_signals(&project, "build");
        let running = Running::spawn(&mut command, project.root());
        registry.wait_until(LONG, |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
        running.signal(signal);
        let run = running.finish().code(code);
        let run =
            run.says(&["interrupted: what is finished and what was downloaded is kept; run the same command again"]);
        for word in ["error:", "caused by", "failed"] {
            assert!(!run.stderr.contains(word), "{word}: {run}");
        }
        assert_eq!(run.stderr.matches("interrupted").count(), 1, "{run}");
        run.prints(&["◐  images"]);
        let status = project.run(&["status"]).success();
        assert!(status.stdout.contains("◐ Interrupted"), "{status}");
        let step = project.step("images");
        assert!(step["duration_ms"].as_u64().is_some(), "an attempt that ended has its time: {step}");
    }
    registry.heal();
    project.build();
}

/// The binary with the dispositions that a shell gives it, whoever runs the
/// tests.
fn with_default_signals(project: &Project, arguments: &str) -> Command {
    let template = project.command(&[]);
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(binary()).args(arguments.split(' '));
    command.current_dir(project.root()).env_clear();
    for (name, value) in template.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `nohup` is there so that a closed terminal ends nothing.
#[test]
fn a_hangup_that_is_ignored_is_ignored() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 50_000));
    let gate = Gate::default();
    registry.fault(On::get("/blobs/").once(), Fault::Held(gate.clone()));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    let mut command = with_default_signals(&project, "build");
    let mut ignoring = Command::new("env");
    ignoring.arg("--ignore-signal=HUP").arg(binary()).arg("build").current_dir(project.root()).env_clear();
    for (name, value) in command.get_envs() {
        ignoring.env(name, value.unwrap_or_default());
    }
    command = ignoring;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::spawn(&mut command, project.root());
    registry.wait_until(LONG, |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
    running.signal("HUP");
    gate.open();
    running.finish().success();
}

#[test]
fn other_commands_end_with_the_same_codes() {
    let project = Project::new();
    // Waits for somebody who writes into its standard input.
    for (arguments, signal, code) in [("verify -", "INT", 130), ("verify -", "TERM", 143), ("verify -", "HUP", 143)] {
        let mut command = with_default_signals(&project, arguments);
        command.stdin(Stdio::piped());
        let running = Running::spawn(&mut command, project.root());
        let status = || std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
        // SIGHUP, SIGINT and SIGTERM.
        let catches = |status: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
            u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 0x4003 == 0x4003
        };
        let deadline = std::time::Instant::now() + LONG;
        while !catches(&status()) {
            assert!(std::time::Instant::now() < deadline, "it listens to no signals");
            std::thread::sleep(Duration::from_millis(2));
        }
        running.signal(signal);
        running.finish().code(code).says(&["interrupted: nothing is lost"]);
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let project = Project::new();
    let cases = [
        (
            "config/settings.yaml",
            "package: {name: Bad Name, version: 1.0}\nnetwork:\n  concurrency: many\n  proxi: x\nsecurity:\n  \
             largest_download_gib: -1\nretries: {steps: 0}\n",
            &["1:17", "3:16", "4:3", "6:25", "7:18"][..],
        ),
        (
            "config/components.yaml",
            "images:\n  additional:\n    - image: [7]\n    - imag: nginx:1\ntools:\n  - {name: yq, version: [4], url: \
             ftp://x/}\ncharts: none\n",
            &["3:14", "4:7", "6:25", "6:35", "7:9"],
        ),
        ("config/components.base.yaml", "images: 1\ntools: [1]\n", &["1:9", "2:9"]),
        (
            "config/catalog.yaml",
            "required:\n  - {name: K, pattern: [1]}\n  - {nam: C}\nimages: {}\nwhat: 1\n",
            &["2:24", "3:5", "3:6", "4:9", "5:1"],
        ),
        (
            "config/pipeline.yaml",
            "steps:\n  - {name: Abcdefgh, run: {host: images}, need: [b]}\n  - {id: 7 x, name: [B], run: {plugin: p}, \
             publish: [{from: x, to: moon}]}\n",
            &["2:5", "2:43", "3:10", "3:21", "3:68"],
        ),
        (
            "config/plugins.lock",
            "format: one\nplugins:\n  a: {path: [1], sha256: x}\n  b: {sha256: y, surprise: 1}\n",
            &["1:9", "3:13", "3:26", "4:6", "4:15", "4:18"],
        ),
        (
            "config/airgap.lock",
            "format: 2\nimages:\n  'nginx:1 linux/amd64': {manifest: x, size: many}\nfiles: []\nnothing: 1\n",
            &["3:26", "3:37", "3:46", "4:8", "5:1"],
        ),
    ];
    for (file, text, places) in cases {
        let before = project.exists(file).then(|| project.read(file));
        project.write(file, text);
        let run = project.run(&["build"]).code(3);
        for place in places {
            assert!(run.stderr.contains(&format!("{file}:{place}")), "{file}:{place} is not told\n{run}");
        }
        match before {
            Some(before) => project.write(file, before),
            None => project.remove(file),
        }
    }
}

/// Also of files that need each other: what one of them says is checked as far
/// as the others are sound.
#[test]
fn mistakes_in_several_files_are_told_at_once() {
    let project = Project::new();
    project.write("config/settings.yaml", "package: {name: a, version: '1'}\nnetwork: {proxi: x}\n");
    project.write("config/versions.env", VERSIONS_ENV.replace("KUBERNETES_VERSION=\"v1.34.3\"\n", ""));
    project.write("config/components.yaml", "charts:\n  - {name: a, repo: ./gone, version: '', namespace: a}\n");
    project.write("config/pipeline.yaml", "steps: 1\n");
    project.write("config/plugins.lock", "format: one\n");
    project.write("config/airgap.lock", b"format: \xff\n".as_slice());
    let run = project.run(&["build"]).code(3);
    for told in [
        "config/settings.yaml:2:11: ",
        "config/versions.env: KUBERNETES_VERSION is missing",
        "config/components.yaml:2:",
        "config/pipeline.yaml:1:8: ",
        "config/plugins.lock:1:9: ",
        "config/airgap.lock:1:9: a byte that is not UTF-8",
    ] {
        assert!(run.stderr.contains(told), "`{told}` is not told\n{run}");
    }
    assert!(run.stderr.contains("more problems)"), "{run}");
}

#[test]
fn what_nobody_sees_in_a_name_is_told_with_its_place() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("\"1.3.4\"", "\"1.3\u{200b}.4\""));
    project.run(&["build"]).code(3).says(&["config/versions.env:8", "U+200B (zero width space)"]);
    project.write("config/versions.env", VERSIONS_ENV);
    for (file, text, place, name) in [
        ("config/components.yaml", "images: {additional: [{image: \"quay.io\u{ad}/a:1\"}]}\n", "1:31", "U+00AD"),
        ("config/components.yaml", "tools:\n  - {name: y\u{feff}q, version: '4', url: https://x/}\n", "2:12", "U+FEFF"),
        ("config/settings.yaml", "package: {name: a, version: \"1\u{a0}\"}\n", "1:29", "U+00A0"),
        (
            "config/settings.yaml",
            "package: {name: a, version: '1'}\nregistries: {\"r\u{202e}.io\": {}}\n",
            "U+202E",
            "",
        ),
    ] {
        let before = project.exists(file).then(|| project.read(file));
        project.write(file, text);
        project.run(&["build"]).code(3).says(&[file, place, name]);
        match before {
            Some(before) => project.write(file, before),
            None => project.remove(file),
        }
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_told_as_that() {
    let project = Project::new();
    project.remove("config/versions.env");
    std::fs::create_dir(project.path("config/versions.env")).unwrap();
    let run = project.run(&["build"]).code(3);
    let run = run.says(&["config/versions.env is a folder"]);
    assert!(!run.stderr.contains("MiB"), "{run}");
}

#[test]
fn a_plan_says_what_it_does_not_know_and_who_is_asked() {
    let registry = Registry::start();
    let mirror = registry.host();
    let project = Project::new().with_image("quay.io/team/app:1").with_image("docker.io/library/nginx:1").with_settings(
        |settings| {
            settings["registries"]["quay.io"] =
                json!({ "mirrors": [{ "location": format!("{mirror}/quay"), "plain_http": true }], "mirrors_only": true });
        },
    );
    let run = project.run(&["build", "--plan"]).success();
    let run = run.prints(&["Fetches 2 images: nobody knows their size", &format!("{mirror}/quay"), "docker.io"]);
    for word in ["at least 0 B", "quay.io "] {
        assert!(!run.stdout.contains(word), "{word}: {run}");
    }
}

#[test]
fn a_repository_whose_head_names_nothing_is_not_called_empty() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("flux");
    repository.commit("a", "1");
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let project = Project::new().with_repository(json!({ "name": "flux", "url": server.clone_url("flux") }));
    let run = project.run(&["build"]).code(1);
    let run = run.says(&["its HEAD names one that is not there", "there are `main`", "ref: main"]);
    assert!(!run.stderr.contains("is empty"), "{run}");
}

#[test]
fn a_step_that_failed_has_its_time_and_true_counts() {
    let files = FileServer::start();
    let good = files.put("/good", program("good", 1, 100_000));
    let host = files.host();
    let project = Project::new().with_file_server(&host).with_tool("good", &good, None).with_tool(
        "bad",
        &format!("http://{host}/bad"),
        None,
    );
    files.fault(On::get("/bad"), Fault::status(503));
    let project =
        project.with_settings(|settings| settings["retries"] = json!({ "requests": 1, "steps": 3, "backoff": 0.01 }));
    project.run(&["build"]).code(75);
    let step = project.step("files");
    assert!(step["duration_ms"].as_u64().is_some(), "{step}");
    let metrics: serde_json::Value = serde_json::from_str(&project.read("build/metrics.json")).unwrap();
    let counts =
        metrics["steps"].as_array().unwrap().iter().find(|step| step["id"] == "files").unwrap()["counts"].clone();
    let store = 100_000;
    let (fetched, reused) = (counts["bytes_fetched"].as_u64().unwrap(), counts["bytes_reused"].as_u64().unwrap());
    assert!(fetched + reused < 2 * store, "{store} bytes are in the store: {counts}");
    project.run(&["build"]).code(75).says(&["files: started again, it failed before (transient)"]);
    let status = project.run(&["status"]).success();
    let row = status.stdout.lines().find(|line| line.starts_with("files")).unwrap();
    assert!(row.contains(" ms") || row.contains(" s"), "{row}");
}

/// Of a plugin's step as well those count that are done.
#[test]
fn charts_that_are_done_count_where_another_one_failed() {
    let files = FileServer::start();
    let archives = ["a", "b", "c"].map(|name| chart(name, "1.0.0", &[]));
    let names = ["a-1.0.0.tgz", "b-1.0.0.tgz", "c-1.0.0.tgz"];
    let entries: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(&names)
        .zip(&archives)
        .map(|((name, file), archive)| (*name, "1.0.0", *file, archive.as_slice()))
        .collect();
    files.put("/charts/index.yaml", index(&entries));
    for (name, archive) in names.iter().zip(&archives).take(2) {
        files.put(&format!("/charts/{name}"), archive.clone());
    }
    let charts = ["a", "b", "c"].map(|name| json!({ "name": name, "repo": files.url("/charts"), "version": "1.0.0" }));
    let project = Project::new().with_file_server(&files.host());
    project.write("config/components.yaml", json!({ "charts": charts }).to_string());
    let run = project.run(&["build"]).code(1);
    let row = run.stdout.lines().find(|line| line.contains("  charts ")).unwrap_or_default();
    assert!(row.contains("2/3"), "{run}");
    let status = project.run(&["status"]).success();
    let row = status.stdout.lines().find(|line| line.starts_with("charts")).unwrap();
    assert!(row.contains("2/3 charts"), "{status}");
}

#[test]
fn a_place_that_can_not_be_listed_does_not_end_a_scan() {
    let project = Project::new();
    project.write("manifests/pod.yaml", "kind: Pod\nspec: {containers: [{name: a, image: 'r.io/a:1'}]}\n");
    use std::os::unix::ffi::OsStrExt;
    let odd = project.path("manifests").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&odd).unwrap();
    let run = project.run(&["scan", "manifests"]).code(1);
    let run = run.prints(&["r.io/a:1"]);
    run.says(&["warning: manifests", "1 place could not be listed"]);
    let json = project.run(&["scan", "--json", "manifests"]).code(1).json_lines();
    let scanned = json.iter().find(|line| line["event"] == "scanned").unwrap();
    assert_eq!(scanned["images"][0]["image"], "r.io/a:1");
    assert!(scanned["warnings"][0].as_str().unwrap().contains("UTF-8"), "{scanned}");
}
