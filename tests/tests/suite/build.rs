//! Guards the way from a configuration to a package: what is in it, that a
//! finished build is left alone, that the same configuration gives the same
//! bytes, and how the command talks.

use std::io::Read;
use std::process::Stdio;

use airgap_tests::layout::Layout;
use airgap_tests::package::Package;
use airgap_tests::platform::Platform;
use airgap_tests::project::{Project, Run, Running};
use airgap_tests::registry::Registry;
use serde_json::json;

/// A project with one small image.
fn small(registry: &Registry) -> Project {
    registry.push("app:1", &airgap_tests::images::Image::small(1, 5_000));
    Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"))
}

#[test]
fn a_whole_platform_becomes_one_package() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    project.build();

    let package = Package::open(&project.package());
    let text = package.text("zarf.yaml");
    let zarf = package.definition();
    assert_eq!(zarf["kind"], "ZarfPackageConfig");
    assert_eq!(zarf["metadata"]["name"], "platform");
    let file = project.package().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(file, "zarf-package-platform-amd64-1.0.0.tar.zst");

    let images = Layout::check(&project.path("build/steps/images"));
    assert_eq!(images.entries.len(), 5);
    for name in ["images/index.json", "images/oci-layout", "checksums.txt"] {
        assert!(package.has(name), "{name} is missing");
    }
    for part in ["kubeadm", "kubectl", "kubelet", "yq", "helm", "web", "gitops-base"] {
        assert!(text.contains(part), "zarf.yaml does not name {part}:\n{text}");
    }
    assert!(project.exists("config/airgap.lock"));
    assert!(project.exists("config/components.yaml"));
    assert!(project.exists("build/metrics.json"));
}

/// Whatever a step forgot to say, one that is done has done all of its items.
#[test]
fn the_table_counts_to_the_end() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    let run = project.build().prints(&["1 chart"]).never_says("1 charts").never_says("1 repositories");
    if platform.git.is_some() {
        run.prints(&["1 repository, 1 fetched"]);
    }
    let metrics: serde_json::Value = serde_json::from_str(&project.read("build/metrics.json")).expect("JSON");
    for step in metrics["steps"].as_array().expect("steps") {
        assert_eq!(step["counts"]["items_done"], step["counts"]["items_total"], "{step:#}");
    }
}

#[test]
fn a_second_build_asks_nobody_and_says_so() {
    let registry = Registry::start();
    let project = small(&registry);
    project.build();
    let (package, state) = (Package::open(&project.package()).sha256, project.read("build/state.json"));
    let modified = std::fs::metadata(project.package()).unwrap().modified().unwrap();
    registry.forget();

    project.build().prints(&["Nothing to do"]);
    assert_eq!(registry.render_log(), "");
    assert_eq!(Package::open(&project.package()).sha256, package);
    assert_eq!(std::fs::metadata(project.package()).unwrap().modified().unwrap(), modified);
    assert_eq!(project.read("build/state.json"), state);
}

#[test]
fn the_same_configuration_gives_the_same_bytes_in_any_folder() {
    let platform = Platform::start();
    let first = platform.configure(Project::new());
    first.build();
    let second = platform.configure(Project::new());
    for (name, bytes) in first.config_files() {
        let relative = name.strip_prefix(&*first.root().to_string_lossy()).unwrap().trim_start_matches('/');
        second.write(relative, bytes);
    }
    second.build();
    assert_eq!(Package::open(&first.package()).sha256, Package::open(&second.package()).sha256);
}

#[test]
fn source_date_epoch_is_the_only_clock() {
    let registry = Registry::start();
    let build = || {
        let project = small(&registry).with_env("SOURCE_DATE_EPOCH", "1700000000");
        project.build();
        Package::open(&project.package())
    };
    let (first, second) = (build(), build());
    assert_eq!(first.sha256, second.sha256);
    assert!(first.text("zarf.yaml").contains("2023"), "{}", first.text("zarf.yaml"));
}

#[test]
fn clean_builds_again_without_a_download() {
    let registry = Registry::start();
    let project = small(&registry);
    project.build();
    let package = Package::open(&project.package()).sha256;
    registry.forget();
    project.run(&["build", "--clean"]).success();
    assert_eq!(registry.requests("GET", "/blobs/").len(), 0, "{}", registry.render_log());
    assert_eq!(Package::open(&project.package()).sha256, package);
}

#[test]
fn a_lost_output_is_made_again() {
    let registry = Registry::start();
    let project = small(&registry);
    project.build();
    let package = project.package();
    let digest = Package::open(&package).sha256;
    std::fs::remove_file(&package).unwrap();
    project.build();
    assert_eq!(Package::open(&project.package()).sha256, digest);
}

#[test]
fn json_is_one_object_per_line_and_nothing_else() {
    let registry = Registry::start();
    let project = small(&registry);
    let run = project.run(&["build", "--json"]).success();
    let lines = run.json_lines();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().expect("every line has an event")).collect();
    assert!(events.contains(&"step-started") && events.contains(&"step-completed"), "{events:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&json!("finished"), &json!(0)));
    assert_eq!(run.stderr, "");

    let status = project.run(&["status", "--json"]).success().json();
    assert_eq!(status["steps"].as_array().map(Vec::len), project.state()["steps"].as_array().map(Vec::len));
}

#[test]
fn quiet_prints_nothing_when_all_is_well() {
    let registry = Registry::start();
    let project = small(&registry);
    let run = project.run(&["build", "--quiet"]).success();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}

#[test]
fn without_a_terminal_no_escape_codes_are_printed() {
    let registry = Registry::start();
    let project = small(&registry);
    project.build().never_says("\u{1b}");
    project.run(&["status"]).success().never_says("\u{1b}");
}

#[test]
fn a_reader_that_goes_away_does_not_fail_the_build() {
    let registry = Registry::start();
    let project = small(&registry);
    let mut child = project.command(&["build", "--json"]).spawn().unwrap();
    let mut first = [0];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop((stdout, child.stderr.take()));
    assert!(child.wait().unwrap().success());
    Package::open(&project.package());
}

#[test]
fn the_folders_may_lie_anywhere() {
    let registry = Registry::start();
    let project = small(&registry);
    std::fs::rename(project.path("config"), project.path("settings here")).unwrap();
    project.run(&["build", "--config-dir", "settings here", "--build-dir", "work/deep", "--dist-dir", "out"]).success();
    assert!(project.exists("out/zarf-package-platform-amd64-1.0.0.tar.zst"));
    assert!(project.exists("work/deep/state.json"));
    assert!(!project.exists("build") && !project.exists("dist") && !project.exists("config"));
}

#[test]
fn clean_wipes_build_and_spares_the_configuration() {
    let registry = Registry::start();
    let project = small(&registry);
    project.build();
    let config = project.config_files();
    project.run(&["clean"]).success();
    assert!(!project.exists("build/state.json") && !project.exists("build/store"));
    assert_eq!(project.config_files(), config);
    assert!(project.package().is_file());
    project.write("other/file", "mine");
    project.run(&["clean", "--build-dir", "other"]).code(1);
    assert_eq!(project.read("other/file"), "mine");
}

#[test]
fn status_tells_before_during_and_after() {
    let registry = Registry::start();
    let project = small(&registry);
    let next = || project.run(&["status", "--json"]).success().json()["next"].clone();
    project.run(&["status"]).success().prints(&["No build"]);
    assert_eq!(next()["action"], "begin");

    let gate = airgap_tests::fault::Gate::default();
    registry.fault(airgap_tests::fault::On::get("/blobs/"), airgap_tests::fault::Fault::Held(gate.clone()));
    let running = project.start(&["build"]);
    registry
        .wait_until(std::time::Duration::from_secs(60), |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
    project.run(&["status"]).success().prints(&["● Running", "○ Pending", "✓ Completed"]);
    assert_eq!(next()["action"], "wait");
    gate.open();
    running.finish().success();
    project.run(&["status"]).success().prints(&["✓ Completed"]).never_says("○ Pending");
    assert_eq!((&next()["action"], &next()["steps"]), (&"nothing".into(), &serde_json::json!([])));
    std::fs::remove_file(project.path("build/steps/images/index.json")).unwrap();
    assert_eq!((&next()["action"], &next()["steps"][0]["id"]), (&"build".into(), &"images".into()));
    project.write("config/versions.env", "no pins");
    assert_eq!(next()["action"], "mend");
}

/// Whatever changes the build or its store waits its turn; whoever only looks
/// may do so.
#[test]
fn a_second_process_is_refused_and_told_who_holds_the_build() {
    let registry = Registry::start();
    let project = small(&registry);
    let gate = airgap_tests::fault::Gate::default();
    registry.fault(airgap_tests::fault::On::get("/blobs/"), airgap_tests::fault::Fault::Held(gate.clone()));
    let first = project.start(&["build"]);
    registry
        .wait_until(std::time::Duration::from_secs(60), |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
    let holder = first.id().to_string();
    let commands: [&[&str]; 7] = [
        &["build"],
        &["build", "--clean"],
        &["build", "--step", "images"],
        &["build", "--dist-dir", "elsewhere"],
        &["clean"],
        &["gc"],
        &["update"],
    ];
    for command in commands {
        project.run(command).code(5).says(&[&holder]);
    }
    project.run(&["status"]).success().prints(&[&holder]);
    project.run(&["build", "--plan"]).success();
    gate.open();
    first.finish().success();
    assert_eq!(registry.log().len(), 3, "nobody else asked the registry:\n{}", registry.render_log());
    airgap_tests::package::Package::open(&project.package());
    assert!(!project.exists("elsewhere"));
}

#[test]
fn version_names_the_core_plugins_and_their_digests() {
    let project = Project::bare();
    let run = project.run(&["--version", "--verbose"]).success();
    for plugin in ["manifest", "charts", "zarf-yaml", "package"] {
        assert!(run.stdout.contains(plugin), "{run}");
    }
    assert!(run.stdout.matches("sha256:").count() >= 4, "{run}");
}

#[test]
fn init_writes_a_configuration_that_loads() {
    let project = Project::bare();
    project.run(&["init"]).success();
    assert!(project.read("config/versions.env").contains("KUBERNETES_VERSION"));
    let written = project.config_files();
    project.run(&["init"]).code(3).says(&["--force"]);
    assert_eq!(project.config_files(), written);
    project.run(&["status"]).success().prints(&["begins one"]);
    project.run(&["--json"]).code(2).prints(&["no command"]);
    project.remove("config/values/gitea.yaml");
    project.run(&["init", "--pipeline"]).success().prints(&["wrote config/pipeline.yaml"]);
    assert!(!project.exists("config/values/gitea.yaml"), "only what was asked for");
}

/// Runs a command that succeeds; `script` gives it a terminal.
fn on_a_terminal(project: &Project, arguments: &str, variables: &[(&str, &str)]) -> Option<Run> {
    airgap_tests::tools::require("script")?;
    let template = project.command(&[]);
    let binary = airgap_tests::project::binary().display();
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &format!("{binary} {arguments}"), "/dev/null"]).current_dir(project.root()).env_clear();
    for (name, value) in template.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("TERM", "xterm").envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(Running::spawn(&mut command, project.root()).finish().success())
}

#[test]
fn no_color_is_honoured_on_a_terminal() {
    let registry = Registry::start();
    for (value, colored) in [("", true), ("1", false)] {
        let project = small(&registry);
        project.build();
        let Some(run) = on_a_terminal(&project, "status", &[("NO_COLOR", value)]) else { return };
        assert_eq!(run.stdout.contains("\u{1b}[32m"), colored, "{run}");
    }
}

/// Guards the merge of new pins with edits by hand, and the way out of it.
#[test]
fn an_edit_by_hand_stays_until_the_pins_are_to_win() {
    let registry = Registry::start();
    for (seed, name) in (1..).zip(["app:1", "app:2", "app:9", "tool:1", "tool:2", "mine:1"]) {
        registry.push(name, &airgap_tests::images::Image::small(seed, 1_000));
    }
    let (app, tool, mine) = (registry.reference("app"), registry.reference("tool"), registry.reference("mine:1"));
    let project = Project::new().with_registry(&registry.host());
    let pins = project.read("config/versions.env");
    let pin = |version: u32| {
        project.write("config/versions.env", format!("{pins}APP_VERSION={version}\nTOOL_VERSION={version}\n"));
    };
    let images =
        format!("images:\n  - image: \"{app}:{{{{APP_VERSION}}}}\"\n  - image: \"{tool}:{{{{TOOL_VERSION}}}}\"\n");
    project.write("config/catalog.yaml", format!("{}{images}", airgap_tests::project::EMPTY_CATALOG));
    pin(1);
    project.build();

    let edited = project.read("config/components.yaml").replace(&format!("{app}:1"), &format!("{app}:9"));
    project.write("config/components.yaml", edited);
    project.run(&["add", "image", &mine]).success();
    pin(2);
    let run = project.build();
    let has = |image: &str| project.read("config/components.yaml").contains(image);
    assert!(has(&format!("{app}:9")) && has(&format!("{tool}:2")) && has(&mine), "{run}");
    let warning = run.stderr.lines().find(|line| line.contains("warning")).unwrap_or_default();
    assert!(warning.contains(&format!("{app}:9")) && warning.contains(&format!("{app}:2")), "shows both: {run}");

    let run = project.run(&["build", "--force-regenerate"]).success();
    assert!(has(&format!("{app}:2")) && !has(&format!("{app}:9")) && has(&mine), "{run}");
    let layout = Layout::check(&project.path("build/steps/images"));
    assert_eq!(layout.entries.len(), 3);
    project.build().prints(&["Nothing to do"]);
}

/// Long errors stay on their line, as wide as the terminal is.
#[test]
fn what_failed_is_shown_with_its_error_cut_to_the_width() {
    let project = Project::new().with_env("COLUMNS", "80");
    project.run(&["build"]).code(1).says(&["hold nothing"]);
    let run = project.run(&["status"]).success();
    let table: Vec<&str> = run.stdout.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    let table = table.split(|line| line.is_empty()).next().unwrap();
    let failed: Vec<_> = table.iter().filter(|line| line.contains("✗ Failed")).collect();
    assert!(matches!(failed[..], [row] if row.starts_with("zarf_gen") && row.ends_with('…')), "{run}");
    assert!(table.iter().all(|line| line.chars().count() <= 80), "wider than 80 columns: {run}");
    // The whole of it stands below.
    assert!(run.stdout.contains("components.yaml") || run.stdout.contains("hint:"), "{run}");
}

/// A single large file: its bytes move on, with a rate, long before it is there.
#[test]
fn a_terminal_shows_how_a_download_moves_on() {
    let files = airgap_tests::file_server::FileServer::start();
    let url = files.put("/tool", airgap_tests::platform::program("tool", 1, 1_500_000));
    let slow = airgap_tests::fault::Fault::Slow { bytes_per_second: 600_000 };
    files.fault(airgap_tests::fault::On::get("/tool"), slow);
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, None);
    let Some(run) = on_a_terminal(&project, "build", &[]) else { return };
    // Each drawing of the line, as `files  0/1 files  512.0 KiB (600.0 KiB/s)`.
    let drawn = run.stdout.split("0/1 files  ").skip(1).filter_map(|rest| rest.split_once("/s)"));
    let mut sizes: Vec<&str> = drawn.map(|(shown, _)| shown.split_once(" (").expect("a size and a rate").0).collect();
    sizes.dedup();
    assert!(sizes.len() >= 4, "the bytes move on: {sizes:?}\n{run}");
}
