//! Guards the promises of airgap.lock: `--locked` lets nothing past that the
//! lock does not say, `--offline` takes what is pinned and there, a build that
//! ends well leaves no entry that nothing names, and what changed is told by
//! entry.

use std::path::Path;

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::sha256_file;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::GitServer;
use airgap_tests::images::{Image, Index};
use airgap_tests::project::{self, Project, Run};
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use serde_json::{Value, json};

/// One of everything that is locked.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) files: FileServer,
    pub(crate) git: GitServer,
}

impl World {
    /// None without git.
    pub(crate) fn start() -> Option<Self> {
        let world = Self { registry: Registry::start(), files: FileServer::start(), git: GitServer::start()? };
        for (seed, name) in [(1, "app:1"), (2, "app:2"), (3, "other:1")] {
            world.registry.push(name, &Image::small(seed, 5_000));
        }
        for tool in ["/yq", "/helm"] {
            world.files.put(tool, format!("the program {tool}"));
        }
        world.publish(&["1.0.0"]);
        let repository = world.git.create("base");
        repository.commit("a", "1");
        repository.tag("v1");
        repository.commit("a", "2");
        repository.tag("v2");
        Some(world)
    }

    /// Serves the chart `web` in these versions.
    fn publish(&self, versions: &[&str]) {
        let archives: Vec<_> = versions
            .iter()
            .map(|version| (*version, format!("web-{version}.tgz"), chart("web", version, &[])))
            .collect();
        let rows: Vec<_> = archives
            .iter()
            .map(|(version, url, archive)| ("web", *version, url.as_str(), archive.as_slice()))
            .collect();
        self.files.put("/charts/index.yaml", index(&rows));
        for (_, url, archive) in &archives {
            self.files.put(&format!("/charts/{url}"), archive.clone());
        }
    }

    /// components.yaml with these images, tools, chart version and ref.
    pub(crate) fn write(&self, project: &Project, images: &[&str], tools: &[&str], version: &str, reference: &str) {
        let tool = |name: &&str| json!({ "name": name, "version": "1", "url": self.files.url(&format!("/{name}")) });
        let components = json!({
            "images": { "additional": images.iter().map(|name| self.registry.reference(name)).collect::<Vec<_>>() },
            "tools": tools.iter().map(tool).collect::<Vec<_>>(),
            "charts": [{ "name": "web", "repo": self.files.url("/charts"), "version": version }],
            "repositories": [{ "name": "base", "url": self.git.clone_url("base"), "ref": reference }],
        });
        project.write("config/components.yaml", components.to_string());
    }

    pub(crate) fn project(&self) -> Project {
        let project = Project::new()
            .with_registry(&self.registry.host())
            .with_file_server(&self.files.host())
            .with_file_server(&self.git.host());
        self.write(&project, &["app:1"], &["yq"], "^1", "v1");
        project
    }

    pub(crate) fn forget(&self) {
        self.registry.forget();
        self.files.forget();
        self.git.forget();
    }

    #[track_caller]
    pub(crate) fn assert_nobody_was_asked(&self, run: &Run) {
        let logs = [self.registry.render_log(), self.files.render_log(), self.git.render_log()].concat();
        assert_eq!(logs, "", "asked by\n{run}");
    }
}

pub(crate) fn lock_of(project: &Project) -> String {
    project.read("config/airgap.lock")
}

/// The lines of `after` that `before` lacks: what a review would have to read.
fn new_lines<'a>(before: &str, after: &'a str) -> Vec<&'a str> {
    after.lines().filter(|line| !before.lines().any(|known| known == *line)).collect()
}

#[test]
fn locked_lists_all_drift_of_every_kind_and_asks_nobody() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let lock = lock_of(&project);
    world.write(&project, &["app:2", "other:1"], &["helm"], "1.0.0", "v2");
    world.forget();
    let run = project.run(&["build", "--locked"]).code(3).says(&["10 differ", "hint:"]);
    let new = ["/app:2", "/other:1", "/helm", "web 1.0.0", "base ("];
    for named in new {
        assert!(
            run.stderr.lines().any(|line| line.contains(named) && line.contains("does not hold")),
            "{named}\n{run}"
        );
    }
    let stale = ["/app:1 linux", "/yq ", "web ^1", "web-1.0.0.tgz", "base.git v1"];
    for named in stale {
        assert!(
            run.stderr.lines().any(|line| line.contains(named) && line.contains("nothing names")),
            "{named}\n{run}"
        );
    }
    world.assert_nobody_was_asked(&run);
    assert_eq!(lock_of(&project), lock);
    // What was built stays: with the change reverted there is nothing to do.
    let id = project.state()["build_id"].clone();
    let changed = project.read("config/components.yaml");
    world.write(&project, &["app:1"], &["yq"], "^1", "v1");
    project.run(&["build", "--locked"]).success().prints(&["Nothing to do"]);
    assert_eq!(project.state()["build_id"], id);
    project.write("config/components.yaml", changed);
    // The plan says the same.
    project.run(&["build", "--plan", "--locked"]).code(3).says(&["/app:2", "/yq"]).prints(&["Drops 5 entries"]);
}

#[test]
fn a_build_that_ends_well_drops_what_nothing_names() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    world.write(&project, &["app:1", "other:1"], &["yq", "helm"], "^1", "v1");
    project.build();
    let before = lock_of(&project);
    assert!(before.contains("/other:1") && before.contains("/helm"), "{before}");

    // One that fails and one of a single step leave it as it is.
    world.write(&project, &["app:1"], &["yq"], "^1", "v1");
    std::fs::remove_dir_all(project.path("build/store")).unwrap();
    world.registry.fault(On::any(), Fault::status(404));
    project.run(&["build"]).code(1);
    assert_eq!(lock_of(&project), before);
    world.registry.heal();
    project.run(&["build", "--step", "images"]).success();
    assert_eq!(lock_of(&project), before);

    let run = project.build();
    assert!(run.stderr.contains("/other:1 linux/amd64") && run.stderr.contains("nothing names it"), "{run}");
    let after = lock_of(&project);
    assert!(!after.contains("/other:1") && !after.contains("/helm"), "{after}");
    assert_eq!(new_lines(&before, &after), Vec::<&str>::new(), "nothing but the entries is different");
    project.run(&["build", "--locked"]).success().prints(&["Nothing to do"]);
    project.run(&["build", "--locked", "--clean"]).success();
    assert_eq!(lock_of(&project), after);
}

/// Which entry is needed is known once everything is built.
#[test]
fn steps_by_themselves_leave_it_and_the_build_that_completes_them_drops_it() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let lock = lock_of(&project);
    let stale = format!("files:\n  https://nobody.example/x:\n    sha256: {}\n    size: 1\n", "0".repeat(64));
    project.write("config/airgap.lock", lock.replacen("files:\n", &stale, 1));
    for step in ["images", "files", "repos", "charts", "zarf_gen"] {
        project.run(&["build", "--step", step]).success();
    }
    assert_ne!(lock_of(&project), lock);
    project.run(&["build", "--locked"]).code(3).says(&["https://nobody.example/x"]);
    project.build();
    assert_eq!(lock_of(&project), lock);
}

/// What one person updates and commits, everyone else builds with `--locked`.
#[test]
fn an_update_leaves_a_lock_that_locked_accepts() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    world.publish(&["1.0.0", "1.1.0"]);
    let run = project.run(&["update", "web"]).success();
    for line in ["~ chart", "+ file", "- file"] {
        assert!(run.stdout.lines().any(|shown| shown.starts_with(line)), "{line}\n{run}");
    }
    let lock = lock_of(&project);
    let other = world.project();
    other.write("config/airgap.lock", &lock);
    other.write("config/components.yaml", project.read("config/components.yaml"));
    other.write("config/components.base.yaml", project.read("config/components.base.yaml"));
    other.run(&["build", "--locked"]).success();
    assert_eq!(lock_of(&other), lock);
}

/// Pins a guest or a core plugin under a name of the user's own.
fn pinned(project: &Project, component: &Path, name: &str, grant: &str) -> bool {
    if !component.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
        return false;
    }
    project.write("plugins/own.wasm", std::fs::read(component).unwrap());
    let pin = json!({ "path": "plugins/own.wasm", "sha256": sha256_file(component), "grants": { "fetch": [grant] } });
    project.write("config/plugins.lock", json!({ "format": 1, "plugins": { name: pin } }).to_string());
    true
}

fn pipeline(project: &Project, plugin: &str, configuration: &Value) {
    let manifests = ["components.yaml", "components.base.yaml"].map(|name| json!({ "from": name, "to": "config" }));
    let steps = json!([
        { "id": "config", "name": "Configuration", "run": { "host": "config" }, "on_failure": "roll-back" },
        {
            "id": "manifests", "name": "Component manifest", "run": { "plugin": "manifest" }, "needs": ["config"],
            "on_failure": "roll-back", "publish": manifests,
        },
        {
            "id": "own", "name": "Our own", "run": { "plugin": plugin }, "needs": ["manifests"],
            "on_failure": "preserve", "configuration": configuration,
        },
    ]);
    project.write("config/pipeline.yaml", json!({ "steps": steps }).to_string());
}

/// Nobody knows beforehand what a plugin asks for.
#[test]
fn a_plugin_gets_nothing_that_the_lock_does_not_hold() {
    let files = FileServer::start();
    let url = files.put("/db/list", "the list");
    let project = Project::new().with_file_server(&files.host());
    let guest = project::target_folder().parent().unwrap().join("test-guests/fetches.wasm");
    if !pinned(&project, &guest, "fetches", &files.url("/db/")) {
        return;
    }
    pipeline(&project, "fetches", &json!({ "url": url }));
    project.run(&["build", "--locked"]).code(3).says(&["what was asked", "airgap.lock", "update"]);
    assert_eq!(files.render_log(), "");
    assert_eq!(project.step("own")["error"]["class"], "changed");

    project.run(&["build"]).success();
    let lock = lock_of(&project);
    assert!(lock.contains(&url), "what only the plugin names stays: {lock}");
    project.run(&["build", "--clean", "--locked"]).success();
    assert_eq!(lock_of(&project), lock);
}

/// A second line behind the check before the first download, which knows only
/// the plugin that is called `charts`.
#[test]
fn charts_are_not_resolved_behind_the_locks_back() {
    let files = FileServer::start();
    let archive = chart("web", "1.0.0", &[]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
    files.put("/charts/web-1.0.0.tgz", archive);
    let wanted = |name: &str| json!({ "name": name, "repo": files.url("/charts"), "version": "^1" });
    let project = Project::new().with_file_server(&files.host()).with_chart(wanted("web")).with_chart(wanted("api"));
    let charts = project::target_folder().parent().unwrap().join("plugins/charts.wasm");
    if !pinned(&project, &charts, "our-charts", &files.url("/")) {
        return;
    }
    pipeline(&project, "our-charts", &Value::Null);
    project.run(&["build", "--locked"]).code(3).says(&["index of", "does not hold"]);
    assert_eq!(files.render_log(), "");
}

#[test]
fn a_chart_without_a_provenance_file_is_whole_with_locked() {
    let files = FileServer::start();
    let archive = chart("web", "1.0.0", &[]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
    files.put("/charts/web-1.0.0.tgz", archive);
    let wanted = json!({ "name": "web", "repo": files.url("/charts"), "version": "^1" });
    let project = Project::new().with_file_server(&files.host()).with_chart(wanted);
    project.build();
    // One that appears later is no part of what was locked.
    files.put("/charts/web-1.0.0.tgz.prov", "signed");
    files.forget();
    project.run(&["build", "--clean", "--locked"]).success();
    assert_eq!(files.render_log(), "");
}

#[test]
fn offline_takes_what_is_pinned_and_there_without_a_lock() {
    let Some(world) = World::start() else { return };
    let image = Image::small(7, 5_000);
    world.registry.push("pinned:1", &image);
    let multi = Index::with_attestations(&[Image::small(8, 5_000)]);
    world.registry.push_index("multi:1", &multi);
    let commit = world.git.create("pinned").commit("a", "1");
    let project = Project::new()
        .with_registry(&world.registry.host())
        .with_file_server(&world.git.host())
        .with_image(format!("{}@{}", world.registry.reference("pinned"), image.digest()))
        .with_image(format!("{}@{}", world.registry.reference("multi"), multi.manifest.digest))
        .with_repository(json!({ "name": "pinned", "url": world.git.clone_url("pinned"), "commit": commit }));
    project.build();
    let lock = lock_of(&project);
    project.remove("config/airgap.lock");
    world.forget();
    // What is not in the lock is drift all the same.
    let run = project.run(&["build", "--clean", "--locked", "--offline"]).code(3);
    assert_eq!(run.stderr.matches("does not hold").count(), 3, "{run}");
    let run = project.run(&["build", "--clean", "--offline"]).success();
    world.assert_nobody_was_asked(&run);
    let again = lock_of(&project);
    let new = new_lines(&lock, &again);
    let is_time = |line: &&str| line.starts_with("resolved_at") || line.trim().starts_with("build:");
    assert!(new.iter().all(is_time), "the time alone is new, and which build it was: {new:?}");

    project.remove("config/airgap.lock");
    let layer = project.path(&format!("build/store/blobs/sha256/{}", image.layers[0].hex()));
    std::fs::remove_file(layer).unwrap();
    std::fs::remove_dir_all(project.path("build/pinned")).unwrap();
    project.run(&["build", "--clean", "--offline"]).code(1).says(&[
        "2 of what the package needs",
        "1 of its 3 blobs",
        "no clone of it",
    ]);
}

#[test]
fn offline_lists_what_is_missing_of_every_kind_in_one_table() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    // Of the clone its commit is gone, of the rest the blobs.
    std::fs::remove_dir_all(project.path("build/store/blobs")).unwrap();
    std::fs::remove_dir_all(project.path("build/base/refs/pins")).unwrap();
    world.forget();
    let run = project.run(&["build", "--clean", "--offline"]).code(1).says(&["4 of what the package needs"]);
    for named in ["/app:1", "/yq", "web ^1", "base ("] {
        assert!(run.stderr.lines().any(|line| line.contains('✗') && line.contains(named)), "{named}\n{run}");
    }
    world.assert_nobody_was_asked(&run);
}

#[test]
fn a_lock_that_changed_is_told_by_entry() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    world.files.fault(On::get("/yq"), Fault::status(404));
    project.run(&["build"]).code(1);
    let lock = lock_of(&project);
    let commit = lock.lines().find_map(|line| line.trim().strip_prefix("commit: ")).expect("a commit in the lock");
    let other = format!("\"{}\"", "0".repeat(40));
    project.write("config/airgap.lock", lock.replace(commit, &other));
    let run = project.run(&["build"]).code(3).says(&["base.git v1", "config/airgap.lock", commit.trim_matches('"')]);
    assert!(run.stderr.contains(&"0".repeat(40)) && !run.stderr.contains("app:1"), "{run}");
    project.run(&["status"]).success().prints(&["base.git v1"]);
    project.write("config/airgap.lock", lock);
    world.files.heal();
    project.build();
}

#[test]
fn an_entry_edited_by_hand_is_an_invalid_configuration() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let lock = lock_of(&project);
    let size = lock.lines().find(|line| line.trim().starts_with("size: ")).expect("a size in the lock");
    project.write("config/airgap.lock", lock.replacen(size, "    size: 77", 1));
    project.run(&["build"]).code(3).says(&["/app:1", "config/airgap.lock", "opencenter-airgap update"]);
}

/// Bytes that are not what was locked: the message says what they disagree
/// with, and the command that it names mends it.
#[test]
fn bytes_that_contradict_the_lock_say_so_and_how_to_go_on() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    // The same size, then another one; then an archive under its old name.
    let same_size = "the pr0gram /yq";
    for (content, says) in [(same_size, "has the digest"), ("longer than it was before", "bytes for yq")] {
        world.files.put("/yq", content);
        std::fs::remove_dir_all(project.path("build/store")).unwrap();
        let run = project.run(&["build", "--clean"]).code(1);
        run.says(&[says, "but config/airgap.lock says", "opencenter-airgap update yq"]);
    }
    project.run(&["update", "yq"]).success().prints(&["~ file"]);

    let republished = chart("web", "1.0.0", &[("values.yaml", "a: 1\n")]);
    world.files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &republished)]));
    world.files.put("/charts/web-1.0.0.tgz", republished);
    std::fs::remove_dir_all(project.path("build/store")).unwrap();
    let run = project.run(&["build", "--clean"]).code(1);
    run.says(&["config/airgap.lock says", "opencenter-airgap update web"]);
    project.run(&["update", "web"]).success().prints(&["~ chart"]);
    project.build();
}
