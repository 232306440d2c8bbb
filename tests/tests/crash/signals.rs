//! Guards that a signal ends a build in time with everything kept, whatever it
//! is doing, and that one folder has one build.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use airgap_tests::digest::sha256_file;
use airgap_tests::fault::{Fault, On};
use airgap_tests::outcome::steps;
use airgap_tests::project::{Project, Running, target_folder};
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use serde_json::json;

use crate::fixture::{Case, little};

const LIMIT: Duration = Duration::from_secs(60);
/// From the first signal to the end.
const GRACE: Duration = Duration::from_secs(2);

/// A build that waits for a layer that does not come.
struct Waiting {
    registry: Registry,
    case: Case,
    /// Blobs of the image that does come.
    stored: Vec<String>,
    /// The layer that does not.
    hanging: String,
}

impl Waiting {
    fn new() -> Self {
        let registry = Registry::start();
        let app = airgap_tests::images::Image::small(1, 300_000);
        registry.push("app:1", &app);
        let hanging = app.layers[0].hex().to_owned();
        let done = airgap_tests::images::Image::small(2, 200_000);
        registry.push("done:1", &done);
        let stored = done.blobs().map(|blob| blob.hex().to_owned()).collect();
        let case = Case::new(|project| {
            project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
            project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
            let project = project.with_registry(&registry.host()).with_image(registry.reference("done:1"));
            project.with_image(registry.reference("app:1"))
        });
        registry.fault(On::get("/v2/app/blobs/"), Fault::hang(150_000));
        Self { registry, case, stored, hanging }
    }

    /// Whether everything that was sent is in the store.
    fn is_taken_in(&self) -> bool {
        let store = self.case.path("build/store");
        let partial = std::fs::metadata(store.join(format!("partial/{}/data", self.hanging)));
        self.stored.iter().all(|hex| store.join(format!("blobs/sha256/{hex}")).exists())
            && partial.is_ok_and(|data| data.len() >= 150_000)
    }

    fn start(&self) -> Running {
        let running = self.case.start(&["build"]);
        self.registry.wait_until(LIMIT, |log| {
            let hangs = |entry: &airgap_tests::http::LoggedRequest| {
                entry.path.contains("/v2/app/blobs/") && entry.sent >= 150_000
            };
            log.iter().any(hangs)
        });
        // What the client has not taken in yet is still in flight.
        let deadline = Instant::now() + LIMIT;
        while !self.is_taken_in() {
            assert!(Instant::now() < deadline, "not taken in: {}", self.registry.render_log());
            std::thread::sleep(Duration::from_millis(5));
        }
        running
    }
}

#[test]
fn the_first_signal_ends_in_time_and_keeps_everything() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let waiting = Waiting::new();
        let running = waiting.start();
        let begun = Instant::now();
        running.signal(signal);
        running.finish().code(code).says(&["same command"]);
        assert!(begun.elapsed() < GRACE, "{signal} took {:?}", begun.elapsed());
        let state = waiting.case.readable_state().expect("a state");
        assert_eq!(steps(&state, Some("RUNNING")), [""; 0], "nothing runs any more");

        waiting.registry.heal();
        waiting.registry.forget();
        waiting.case.build();
        waiting.case.assert_tidy();
        let again = waiting.registry.requests("GET", "/v2/done/blobs/");
        assert!(again.is_empty(), "fetched again: {}", waiting.registry.render_log());
        let ranges: Vec<_> =
            waiting.registry.requests("GET", "/v2/app/blobs/").iter().filter_map(|entry| entry.range).collect();
        assert_eq!(ranges.first().map(|(start, _)| *start), Some(150_000), "{}", waiting.registry.render_log());
    }
}

/// A step that does not listen: a plugin that never returns.
fn with_guest(guest: &str) -> Case {
    let path = target_folder().parent().expect("target/ has profiles").join(format!("test-guests/{guest}.wasm"));
    assert!(path.is_file(), "{} is not there: run `make plugins`", path.display());
    let case = little().case();
    pin(&case, guest, &path);
    case
}

/// A pipeline of one step, made by the guest alone.
fn pin(project: &Project, guest: &str, path: &std::path::Path) {
    std::fs::copy(path, project.path("guest.wasm")).expect("a copy");
    let sha256 = sha256_file(path);
    project.write(
        "config/plugins.lock",
        format!("format: 1\nplugins:\n  {guest}:\n    path: guest.wasm\n    sha256: {sha256}\n"),
    );
    project.write(
        "config/pipeline.yaml",
        format!(
            "steps:\n  - {{ id: config, name: Configuration, run: {{ host: config }}, on_failure: roll-back }}\n  \
             - {{ id: spin, name: Spin, run: {{ plugin: {guest} }}, needs: [config], on_failure: roll-back }}\n"
        ),
    );
}

fn start_spinning(case: &Case) -> Running {
    let running = case.start(&["build"]);
    let deadline = Instant::now() + LIMIT;
    // What the guest writes before it spins.
    let began = || case.exists("build/staging/spin/tree/began");
    while !began() {
        assert!(Instant::now() < deadline, "the guest did not start: {:#}", case.readable_state().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    running
}

#[test]
fn a_running_plugin_is_stopped_too() {
    let case = with_guest("loops");
    let running = start_spinning(&case);
    let begun = Instant::now();
    running.signal("TERM");
    running.finish().code(143);
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    assert_eq!(steps(&case.readable_state().unwrap_or_default(), Some("RUNNING")), [""; 0]);
}

/// A git that goes on when it is asked to stop, for longer than a build waits.
const STUBBORN_GIT: &str = r#"#!/bin/sh
case " $* " in
*" ls-remote "*)
  trap 'touch "$HOME/asked-to-stop"' TERM
  # What the shell says of a stopped sleep nobody reads any more.
  exec 2>/dev/null
  touch "$HOME/began"
  for turn in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; done
  exit 1 ;;
esac
exec REAL "$@"
"#;

/// A build whose only item is a repository of the stubborn git.
fn with_stubborn_git() -> Option<Case> {
    let git = tools::require("git")?;
    let case = Case::new(|project| {
        project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
        project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
        project.write("bin/git", STUBBORN_GIT.replace("REAL", &git.display().to_string()));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(project.path("bin/git"), executable).expect("a program");
        let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        let repository = json!({ "name": "base", "url": "https://git.invalid/base.git", "ref": "main" });
        project.with_env("PATH", path).with_repository(repository)
    });
    Some(case)
}

fn wait_for(case: &Case, file: &str) {
    let deadline = Instant::now() + LIMIT;
    while !case.exists(file) {
        assert!(Instant::now() < deadline, "waited for {file}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first signal waits for what does not stop, the second one does not.
#[test]
fn the_second_signal_ends_at_once() {
    const AT_ONCE: Duration = Duration::from_millis(500);
    for (second, code) in [(None, 130), (Some("INT"), 130), (Some("TERM"), 143)] {
        let Some(case) = with_stubborn_git() else { return };
        let running = case.start(&["build"]);
        wait_for(&case, "home/began");
        running.signal("INT");
        wait_for(&case, "home/asked-to-stop");
        let begun = Instant::now();
        if let Some(second) = second {
            running.signal(second);
        }
        running.finish().code(code);
        let took = begun.elapsed();
        assert_eq!(took < AT_ONCE, second.is_some(), "{second:?} ended after {took:?}");
        assert!(took < GRACE, "{second:?} ended after {took:?}");
        case.readable_state();
    }
}

#[test]
fn a_second_build_of_a_folder_is_refused_at_once_with_the_holders_name() {
    let waiting = Waiting::new();
    let holder = waiting.start();
    let begun = Instant::now();
    let who = format!("process {}", holder.id());
    waiting.case.run(&["build"]).code(5).says(&[&who, "build"]);
    waiting.case.run(&["clean"]).code(5).says(&[&who]);
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    waiting.case.run(&["status"]).success().prints(&[&holder.id().to_string()]);
    // The lock of a dead process is no lock.
    holder.kill();
    waiting.registry.heal();
    let run = waiting.case.run(&["build"]);
    assert_eq!(run.status.signal(), None);
    run.success();
}
