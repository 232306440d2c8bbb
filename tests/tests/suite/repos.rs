//! Guards repositories in a whole build, over http as servers speak it: the
//! lock, the clone that is left alone, credentials, the same bytes.

use airgap_tests::fault::{Fault, On};
use airgap_tests::git_server::GitServer;
use airgap_tests::project::Project;
use airgap_tests::tls::{self, TlsFront};
use airgap_tests::tools;
use serde_json::{Value, json};

fn project(server: &GitServer, reference: Option<&str>) -> Project {
    let repository = json!({ "name": "base", "url": server.clone_url("base"), "ref": reference });
    Project::new().with_file_server(&server.host()).with_repository(repository)
}

fn rows(project: &Project) -> Value {
    serde_json::from_str(&project.read("build/steps/repos/repos.json")).expect("repos.json is JSON")
}

#[test]
fn a_branch_is_locked_and_its_clone_left_alone() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("base");
    let commit = repository.commit("a", "1");
    let project = project(&server, Some("main"));
    project.build();
    assert_eq!(rows(&project)[0]["commit"], commit.as_str());
    assert!(project.read("config/airgap.lock").contains(&commit));

    let moved = repository.commit("a", "2");
    server.forget();
    let run = project.run(&["build", "--clean"]).success();
    assert_eq!(rows(&project)[0]["commit"], commit.as_str());
    let told = format!("warning: repos: `main` of repository `base` is now at {}", &moved[..12]);
    assert_eq!(run.stderr.matches(&told).count(), 1, "the user is told once that the branch moved: {run}");
    assert_eq!(server.requests("POST", "git-upload-pack").iter().filter(|entry| entry.sent > 10_000).count(), 0);
}

/// A package would carry the tag's name over another content.
#[test]
fn a_tag_that_was_moved_keeps_the_lock_and_is_told_once() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("base");
    for annotated in [false, true] {
        let name = if annotated { "v2" } else { "v1" };
        let tag = |force: &str| match annotated {
            true => repository.git(&["tag", force, "-a", "-m", "x", name]),
            false => repository.git(&["tag", force, name]),
        };
        let commit = repository.commit("a", format!("{name} first"));
        tag("--no-sign");
        let project = project(&server, Some(name));
        project.build();
        let moved = repository.commit("a", format!("{name} second"));
        tag("--force");
        let run = project.run(&["build", "--clean"]).success();
        assert_eq!(rows(&project)[0]["commit"], commit.as_str(), "{name}");
        let told = format!("warning: repos: `{name}` of repository `base` is now at {}", &moved[..12]);
        assert_eq!(run.stderr.matches(&told).count(), 1, "{name}: {run}");
        project.run(&["update", "base"]).success();
        assert!(project.read("config/airgap.lock").contains(&moved), "{name}: update takes it");
    }
}

/// This machine itself is never asked of a proxy.
#[test]
fn a_repository_that_no_proxy_is_needed_for_is_fetched_past_it() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    project(&server, Some("main"))
        .with_settings(|settings| settings["network"]["proxy"] = json!("http://127.0.0.1:9"))
        .with_env("https_proxy", "http://127.0.0.1:9")
        .build();
}

/// Two people, two clones, one package.
#[test]
fn a_fresh_clone_gives_the_same_tree() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("base");
    for step in 0..10 {
        repository.commit(&format!("file{}", step % 3), format!("line {step}\n").repeat(50));
    }
    repository.tag("v1");
    let first = project(&server, Some("v1"));
    first.build();
    repository.git(&["gc", "--quiet"]);
    let second = project(&server, Some("v1"));
    second.write("config/airgap.lock", first.read("config/airgap.lock"));
    second.build();
    let listing = |project: &Project| project.read("build/steps/repos.json");
    assert_eq!(listing(&first), listing(&second));
}

#[test]
fn a_server_that_is_down_for_a_moment_is_asked_again() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    server.fault(On::any().times(2), Fault::status(503));
    project(&server, Some("main")).build();
}

/// The commit is known and cloned: whether the branch went on is a courtesy.
#[test]
fn a_server_that_is_down_is_asked_once_whether_a_branch_moved() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    let project = project(&server, Some("main"));
    project.build();
    server.fault(On::any(), Fault::status(503));
    server.forget();
    project.run(&["build", "--clean"]).success();
    assert_eq!(server.log().len(), 1, "{}", server.render_log());
    assert_eq!(project.step("repos")["counts"]["retries"], 0);
}

/// They lie beside the tree of the attempt, and go with it.
#[test]
fn authorities_leave_nothing_beside_the_clones() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    let project =
        project(&server, Some("main")).with_settings(|settings| settings["network"]["ca_files"] = json!(["ca.pem"]));
    project.write("config/ca.pem", include_str!("../../../host/fetch/src/network/fixtures/ca.pem"));
    project.build();
    let names: Vec<String> = std::fs::read_dir(project.path("build"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.ends_with(".pem")), "{names:?}");
    assert_eq!(std::fs::read_dir(project.path("build/staging")).map(Iterator::count).unwrap_or(0), 0);
}

#[test]
fn a_server_that_wants_a_password_is_named_and_nothing_is_asked() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    server.fault(On::any(), Fault::status(401));
    let project = project(&server, Some("main"));
    let run = project.run(&["build"]).code(1);
    assert!(run.stderr.contains("base") && run.stderr.contains("credential"), "{run}");
}

#[test]
fn a_ref_that_is_not_there_is_named() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    let run = project(&server, Some("v9")).run(&["build"]).code(1);
    assert!(run.stderr.contains("neither a branch nor a tag `v9`"), "{run}");
}

/// Guards that git's own helpers are asked, with what they say told to nobody.
#[test]
fn a_credential_helper_of_the_user_opens_a_closed_server() {
    let Some(server) = GitServer::start_closed() else { return };
    let commit = server.create("base").commit("a", "1");
    let project = project(&server, Some("main"));
    project.run(&["build"]).code(1).says(&["base"]);
    let answer = format!("echo username={}; echo password='{}'", tools::USER, tools::PASSWORD);
    project.write("home/.gitconfig", format!("[credential]\n\thelper = \"!f() {{ {answer}; }}; f\"\n"));
    project.build().never_says(tools::PASSWORD);
    assert_eq!(rows(&project)[0]["commit"], commit.as_str());
    assert!(!project.holds(tools::PASSWORD), "the password lies in the project");
}

#[test]
fn the_proxy_of_the_settings_is_asked_for_repositories_too() {
    let Some(server) = GitServer::start() else { return };
    let commit = server.create("base").commit("a", "1");
    let repository = json!({ "name": "base", "url": "http://git.invalid/base.git", "ref": "main" });
    let project = Project::new()
        .with_file_server("git.invalid")
        .with_repository(repository)
        .with_settings(|settings| settings["network"]["proxy"] = json!(server.url("")));
    project.build();
    assert_eq!(rows(&project)[0]["commit"], commit.as_str());
    let through = |entry: &airgap_tests::http::LoggedRequest| entry.path.starts_with("http://git.invalid/");
    assert!(server.log().iter().all(through), "{}", server.render_log());
}

/// Guards that git trusts the authorities of the settings, and no server
/// without them.
#[test]
fn the_authorities_of_the_settings_are_trusted_for_repositories_too() {
    let Some(server) = GitServer::start() else { return };
    let commit = server.create("base").commit("a", "1");
    let front = TlsFront::start(&server.host());
    let repository = json!({ "name": "base", "url": front.url("/base.git"), "ref": "main" });
    let project = Project::new().with_repository(repository);
    project.run(&["build"]).code(1).says(&["base", "certificate"]);
    assert_eq!(server.render_log(), "", "nobody was asked over a connection that is not trusted");
    let project = project.with_settings(|settings| settings["network"]["ca_files"] = json!(["ca.pem"]));
    project.write("config/ca.pem", tls::AUTHORITY);
    project.build();
    assert_eq!(rows(&project)[0]["commit"], commit.as_str());
}

/// A clone is made by this tool alone, so whatever damage it has is mended.
#[test]
fn a_clone_with_odd_damage_is_made_anew() {
    let Some(server) = GitServer::start() else { return };
    server.create("base").commit("a", "1");
    let project = project(&server, Some("main"));
    project.build();
    let tree = project.read("build/steps/repos.json");
    let damage: [fn(&Project); 4] = [
        |project| project.write("build/base/shallow", "garbage"),
        |project| project.write("build/base/shallow", "0123456789012345678901234567890123456789\n"),
        |project| {
            project.remove("build/base/HEAD");
            std::fs::create_dir(project.path("build/base/HEAD")).unwrap();
        },
        |project| project.write("build/base/packed-refs", "\0\0\0"),
    ];
    for spoil in damage {
        spoil(&project);
        project.run(&["build", "--clean"]).success();
        assert_eq!(project.read("build/steps/repos.json"), tree);
        assert!(!project.exists("build/base/shallow") && project.path("build/base/HEAD").is_file());
    }
    std::fs::remove_dir_all(project.path("build/base")).unwrap();
    project.write("build/base", "the user's");
    project.run(&["build", "--clean"]).code(1).says(&["build/base", "in the way"]);
    assert_eq!(project.read("build/base"), "the user's");
}
