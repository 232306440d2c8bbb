//! Guards what a plugin is given: a digest is no right to what the store holds,
//! what a plugin says of an address is not locked, an entry that nobody can
//! vouch for is resolved again, and what a plugin left goes with it.

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::{sha256, sha256_file};
use airgap_tests::file_server::FileServer;
use airgap_tests::project::{self, Project};
use airgap_tests::tools;
use serde_json::{Value, json};

/// A project with a tool, and the guest that fetches what it is told to after
/// the step `files`; None where the guests were not built.
fn with_guest(files: &FileServer, grant: &str) -> Option<Project> {
    let component = project::target_folder().parent().unwrap().join("test-guests/fetches.wasm");
    if !component.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", component.display()));
        return None;
    }
    let project = Project::new().with_file_server(&files.host());
    project.write("config/components.yaml", json!({ "tools": [tool(files, "yq")] }).to_string());
    project.write("plugins/guest.wasm", std::fs::read(&component).unwrap());
    let pin =
        json!({ "path": "plugins/guest.wasm", "sha256": sha256_file(&component), "grants": { "fetch": [grant] } });
    project.write("config/plugins.lock", json!({ "format": 1, "plugins": { "guest": pin } }).to_string());
    Some(project)
}

fn tool(files: &FileServer, name: &str) -> Value {
    json!({ "name": name, "version": "1", "url": files.url(&format!("/{name}")) })
}

/// `guest` after `needs`, with this configuration; without one no guest.
fn pipeline(project: &Project, needs: &str, configuration: Option<&Value>) {
    let manifests = ["components.yaml", "components.base.yaml"].map(|name| json!({ "from": name, "to": "config" }));
    let mut steps = vec![
        json!({ "id": "config", "name": "Configuration", "run": { "host": "config" }, "on_failure": "roll-back" }),
        json!({
            "id": "manifests", "name": "Component manifest", "run": { "plugin": "manifest" }, "needs": ["config"],
            "on_failure": "roll-back", "publish": manifests,
        }),
        json!({
            "id": "files", "name": "Files", "run": { "host": "files" }, "needs": ["manifests"], "on_failure": "roll-back",
        }),
    ];
    steps.extend(configuration.map(|configuration| {
        json!({
            "id": "guest", "name": "A guest", "run": { "plugin": "guest" }, "needs": [needs],
            "on_failure": "roll-back", "configuration": configuration,
        })
    }));
    project.write("config/pipeline.yaml", json!({ "steps": steps }).to_string());
}

fn lock_of(project: &Project) -> String {
    project.read("config/airgap.lock")
}

/// The lock without what differs from build to build.
fn said(project: &Project) -> Vec<String> {
    let lock = lock_of(project);
    let lines = lock.lines().filter(|line| !line.starts_with("resolved_at") && !line.trim().starts_with("build:"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_digest_is_no_right_to_what_the_store_holds() {
    let files = FileServer::start();
    files.put("/yq", "the program");
    let other = files.put("/db/other", "something else");
    let Some(project) = with_guest(&files, &files.url("/db/")) else { return };
    let secret = sha256(b"the program");
    let ask = |url: &str, mutable: bool| json!({ "url": url, "sha256": secret, "mutable": mutable });
    pipeline(&project, "files", Some(&ask(&other, false)));
    project.run(&["build"]).code(1).says(&["digest"]);
    assert!(project.exists(&format!("build/store/blobs/sha256/{secret}")), "the store holds it");
    for (url, mutable) in [(&other, true), (&files.url("/db/nothing"), false), (&files.url("/db/nothing"), true)] {
        pipeline(&project, "files", Some(&ask(url, mutable)));
        project.run(&["build", "--clean"]).code(1);
        project.run(&["build", "--clean", "--offline"]).code(1).says(&["not in the store"]);
    }
    assert!(!lock_of(&project).contains("/db/"), "{}", lock_of(&project));
    assert!(!project.exists("build/steps/guest"));

    // From where it is granted and lies it is fetched, and then kept.
    let there = files.put("/db/yq", "the program");
    pipeline(&project, "files", Some(&ask(&there, true)));
    project.run(&["build", "--clean"]).success();
    files.forget();
    project.run(&["build", "--clean", "--offline"]).success();
    project.run(&["build", "--clean"]).success();
    assert!(!files.render_log().contains("/db/yq"), "{}", files.render_log());
}

/// A plugin that runs first, and may ask for the tool's own address.
#[test]
fn nothing_is_planted_for_the_download_of_another_step() {
    let files = FileServer::start();
    let url = files.put("/yq", "planted");
    let Some(project) = with_guest(&files, &files.url("/")) else { return };
    pipeline(&project, "manifests", Some(&json!({ "url": url })));
    project.run(&["build", "--step", "guest"]).success();
    files.put("/yq", "the program");
    let run = project.run(&["build"]).success();
    assert!(run.stderr.contains("no checksum of"), "the step files saw it first itself\n{run}");
    assert_eq!(sha256_file(&project.path("build/steps/files/bin/yq")), sha256(b"the program"));
    let lock = lock_of(&project);
    assert!(lock.contains("\nplugins:\n  guest:\n") && lock.contains(&sha256(b"planted")), "{lock}");
    // The two contradict each other: that is told, with both names.
    project.run(&["build", "--clean"]).success().says(&["gave the host", "plugin guest", &url]);
}

/// As an older version wrote it: one list of files, and no word of who saw it.
fn to_format_1(project: &Project) -> String {
    let mut lock: serde_yaml::Value = serde_yaml::from_str(&lock_of(project)).unwrap();
    let lock = lock.as_mapping_mut().unwrap();
    let of_plugins = lock.remove("core").unwrap();
    let files = lock.entry("files".into()).or_insert_with(|| serde_yaml::Mapping::new().into());
    for (url, file) in of_plugins["charts"].as_mapping().unwrap() {
        files.as_mapping_mut().unwrap().insert(url.clone(), file.clone());
    }
    lock.insert("format".into(), 1.into());
    for section in ["files", "charts"] {
        for (_, entry) in lock[section].as_mapping_mut().unwrap() {
            entry.as_mapping_mut().unwrap().remove("build").unwrap();
        }
    }
    serde_yaml::to_string(&lock).unwrap()
}

#[test]
fn a_lock_of_format_1_is_resolved_again_and_says_so() {
    let files = FileServer::start();
    files.put("/yq", "the program");
    let (helm, checksum) = files.put_with_checksum("/helm", "another program");
    let archive = chart("web", "1.0.0", &[]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
    files.put("/charts/web-1.0.0.tgz", archive);
    let project = Project::new().with_file_server(&files.host());
    let helm = json!({ "name": "helm", "version": "1", "url": helm, "checksum_url": checksum });
    let charts = json!([{ "name": "web", "repo": files.url("/charts"), "version": "^1" }]);
    let components = json!({ "tools": [tool(&files, "yq"), helm], "charts": charts });
    project.write("config/components.yaml", components.to_string());
    project.build();
    let new = said(&project);
    let old = to_format_1(&project);
    let package = project.package().display().to_string();
    project.run(&["verify", "--lock", "config/airgap.lock", &package]).success();
    project.write("old.lock", &old);
    let run = project.run(&["verify", "--lock", "old.lock", &package]).code(4);
    run.prints(&["✗ lock: of the file", "/yq", "of the chart", "does not say in which build"]);
    project.write("old.lock", lock_of(&project).replace(&sha256(b"the program"), &sha256(b"planted")));
    project.run(&["verify", "--lock", "old.lock", &package]).code(4).prints(&["/yq", "is not what airgap.lock says"]);
    project.run(&["verify", "--lock", "no.lock", &package]).code(2);
    project.write("config/airgap.lock", &old);
    // The store of an older version knows nothing of who fetched what.
    std::fs::remove_dir_all(project.path("build/store/fetched")).unwrap();

    let run = project.run(&["build", "--locked", "--clean"]).code(3).says(&["/yq", "/helm", "web ^1", "update"]);
    assert!(run.stderr.contains("does not say in which build"), "{run}");
    project.run(&["build", "--offline", "--clean"]).code(1).says(&["does not say in which build"]);
    project.run(&["build", "--plan", "--clean"]).success().prints(&["Resolves 3 entries"]);
    assert_eq!(lock_of(&project), old);

    // The same bytes: one warning that names them, and nothing else is said.
    files.forget();
    let run = project.build();
    assert_eq!(run.stderr.matches("can not vouch for").count(), 1, "told once\n{run}");
    assert!(!run.stderr.contains("no checksum of") && !run.stderr.contains("config/airgap.lock said"), "{run}");
    let log = files.render_log();
    assert!(log.contains("/yq") && !log.contains("/helm "), "a checksum needs no second download:\n{log}");
    assert_eq!(said(&project), new);
    project.run(&["build", "--locked", "--clean"]).success();
    project.run(&["build", "--offline", "--clean"]).success();

    // Planted ones: what the server gives counts, and both are told.
    let planted = sha256(b"planted");
    project.write("config/airgap.lock", old.replace(&sha256(b"the program"), &planted));
    project.run(&["build"]).success().says(&["config/airgap.lock said", &planted, &sha256(b"the program")]);
    assert_eq!(said(&project), new);
    assert_eq!(sha256_file(&project.path("build/steps/files/bin/yq")), sha256(b"the program"));

    // An entry of the present format that names no build is no better.
    let at = lock_of(&project).replacen("    build:", "    # build:", 1);
    project.write("config/airgap.lock", at);
    project.run(&["build", "--locked", "--clean"]).code(3).says(&["does not say in which build"]);
    project.run(&["update"]).success();
    project.run(&["build", "--locked"]).success();
}

#[test]
fn what_a_plugin_left_goes_with_it() {
    let files = FileServer::start();
    files.put("/yq", "the program");
    let url = files.put("/db/list", "the list");
    let Some(project) = with_guest(&files, &files.url("/db/")) else { return };
    pipeline(&project, "files", Some(&json!({ "url": url })));
    project.run(&["build"]).success();
    assert!(lock_of(&project).contains(&url));
    let receipts = || std::fs::read_dir(project.path("build/store/fetched")).map_or(0, Iterator::count);
    assert_eq!(receipts(), 2, "the host's and the plugin's");
    project.run(&["gc"]).success();
    assert_eq!((receipts(), lock_of(&project).contains(&url)), (2, true), "it runs");

    // An entry that its grants do not cover is foreign, whoever wrote it.
    let lock = lock_of(&project);
    let foreign = files.url("/elsewhere");
    project.write("config/airgap.lock", lock.replace(&url, &foreign));
    project.run(&["build", "--locked", "--clean"]).code(3).says(&[&foreign]);
    project.write("config/airgap.lock", lock);

    pipeline(&project, "files", None);
    project.run(&["build", "--locked", "--clean"]).code(3).says(&[&url, "does not run here"]);
    project.run(&["gc", "--dry-run"]).success().prints(&["would remove from airgap.lock", &url, "plugin guest"]);
    assert!(lock_of(&project).contains(&url));
    project.run(&["gc"]).success().prints(&["removed from airgap.lock", &url]);
    assert_eq!((receipts(), lock_of(&project).contains(&url)), (1, false));
    project.run(&["build", "--locked", "--clean"]).success();
}
