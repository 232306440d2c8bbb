//! Guards the far side as a whole: in a network without a way out a folder that
//! was carried there is enough to verify, to look, to serve everything to the
//! programs that want it, and to fill a registry and a git server.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airgap_tests::digest::sha256;
use airgap_tests::git_server::{self, GitServer};
use airgap_tests::platform::Platform;
use airgap_tests::project::Project;
use airgap_tests::serving::Serving;
use airgap_tests::tools::{self, DockerRegistry, Skopeo};
use serde_json::Value;

/// Mounts the folder as a DVD is mounted, and runs what follows.
const BEHIND_THE_GAP: &str = "\
    mount --bind \"$AIRGAP_CARRIED\" \"$AIRGAP_CARRIED\" 2>/dev/null && \
    mount -o remount,bind,ro,nosuid,nodev \"$AIRGAP_CARRIED\" 2>/dev/null || \
    { echo 'unshare: it may not mount' >&2; exit 1; }; \
    ip link set lo up && exec \"$@\"";

/// Names the folder, for the half of the test that is on the far side.
const CARRIED: &str = "AIRGAP_CARRIED";

#[test]
fn a_carried_folder_is_enough_where_there_is_no_way_out() {
    match std::env::var_os(CARRIED) {
        Some(folder) => far_side(Path::new(&folder)),
        None => near_side(),
    }
}

/// Builds, copies what is carried, stops every server, and goes to the other
/// side.
fn near_side() {
    let Some(unshare) = tools::require("unshare") else { return };
    let (Some(_), Some(_), Some(_)) = (Skopeo::find(), tools::require("docker-registry"), tools::require("git")) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let platform = Platform::smaller(4);
    let project = platform.configure(Project::new());
    project.run(&["build", "--carry", "carried"]).success();
    for entry in std::fs::read_dir(project.path("carried")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    drop((project, platform));
    let this = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let program = std::env::current_exe().expect("a program knows where it lies");
    let mut command = Command::new(unshare);
    command
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", BEHIND_THE_GAP, "far-side"])
        .arg(program)
        .args([&this, "--exact", "--nocapture"])
        .env(CARRIED, folder.path());
    let output = command.output().expect("unshare runs");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if failed.starts_with("unshare:") {
        tools::skipped(&format!("the far side: no network and mounts of its own to be had here ({})", failed.trim()));
        return;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{failed}");
}

fn far_side(carried: &Path) {
    let interfaces: Vec<PathBuf> =
        std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path()).collect();
    let nowhere = TcpStream::connect_timeout(&"192.0.2.1:80".parse().unwrap(), Duration::from_secs(5));
    assert!(nowhere.is_err(), "there is a way out: {interfaces:?}");
    assert!(std::fs::write(carried.join("written"), "").is_err(), "it is mounted to be read alone");
    let project = Project::new();
    let package = only(carried, ".tar.zst");
    let shown = package.display().to_string();
    let program = std::fs::read_dir(carried).unwrap().map(|entry| entry.unwrap().path());
    let program = program.filter(|path| path.to_string_lossy().contains("/opencenter-airgap-")).min().unwrap();
    let verified = Command::new(program).args(["verify", "."]).current_dir(carried).env_clear().output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let there = project.run(&["inspect", "--json", &shown]).success().json();
    let serving = Serving::start(&project, &[&shown]);
    pull_all(&there, |name| serving.reference(&name.replacen(':', "_", 1)), &[]);
    take_charts(&serving);
    let commits = clone_all(&serving);
    fill(&project, &shown, &there, &commits);
    assert_eq!(serving.stop().0, Some(0));
}

fn only(folder: &Path, ending: &str) -> PathBuf {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let [path] =
        <[PathBuf; 1]>::try_from(paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect::<Vec<_>>())
            .unwrap();
    path
}

fn rows<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let rows = of[key].as_array().expect("a list");
    assert!(!rows.is_empty(), "{key}: {of}");
    rows.iter()
}

/// skopeo pulls every image, and it is what the package says.
fn pull_all(there: &Value, reference: impl Fn(&str) -> String, arguments: &[&str]) {
    let skopeo = Skopeo::find().expect("the near side found it");
    for image in rows(there, "images") {
        let folder = tempfile::tempdir().unwrap();
        let from = format!("docker://{}", reference(image["reference"].as_str().unwrap()));
        skopeo.copy(arguments, &from, &format!("dir:{}", folder.path().display()));
        let manifest = std::fs::read(folder.path().join("manifest.json")).unwrap();
        assert_eq!(format!("sha256:{}", sha256(&manifest)), image["digest"].as_str().unwrap(), "{from}");
    }
}

/// Each chart as an artifact, with the archive that the repository gives.
fn take_charts(serving: &Serving) {
    let skopeo = Skopeo::find().expect("the near side found it");
    for chart in rows(&serving.get("/index.json").json(), "charts") {
        let (name, version) = (chart["name"].as_str().unwrap(), chart["version"].as_str().unwrap());
        let manifest: Value = serde_json::from_str(
            &skopeo.raw_manifest(&format!("docker://{}", serving.reference(&format!("charts/{name}:{version}")))),
        )
        .unwrap();
        let archive = serving.get(&format!("/charts/{name}-{version}.tgz"));
        assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{}", sha256(&archive.body)), "{chart}");
    }
}

/// git clones every repository; its commits, by the path over there.
fn clone_all(serving: &Serving) -> Vec<(String, String)> {
    let there = serving.get("/index.json").json();
    let cloned = rows(&there, "repositories").map(|repository| {
        let url = repository["url"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        tools::run(git_server::git().args(["clone", "--quiet", url]).arg(folder.path().join("clone")));
        let git = |arguments: &[&str]| {
            tools::run(git_server::git().arg("-C").arg(folder.path().join("clone")).args(arguments))
        };
        git(&["fsck", "--strict"]);
        let path = url.split_once("/git/").unwrap().1.split_once('/').unwrap().1.to_owned();
        (path, git(&["rev-parse", "HEAD"]).trim().to_owned())
    });
    cloned.collect()
}

/// A second registry and a git server get all of it, and give it.
fn fill(project: &Project, package: &str, there: &Value, commits: &[(String, String)]) {
    let registry = DockerRegistry::start_closed().expect("the near side found it");
    let git = GitServer::start_receiving().expect("the near side found it");
    let login = |host: &str| serde_json::from_str::<Value>(&tools::docker_config(host, tools::PASSWORD)).unwrap();
    let mut config = login(&registry.host());
    config["auths"][git.host()] = login(&git.host())["auths"][git.host()].clone();
    project.write("home/.docker/config.json", config.to_string());
    let base = git.url("/team");
    let push = || project.run(&["push", package, &registry.host(), "--plain-http", "--git", &base, "--json"]).success();
    push();
    let credentials = format!("{}:{}", tools::USER, tools::PASSWORD);
    let new = |name: &str| registry.reference(name.split_once('/').unwrap().1);
    pull_all(there, new, &["--src-creds", &credentials]);
    let received = git.received();
    for (path, commit) in commits {
        let name = path.trim_end_matches(".git").split('@').next().unwrap();
        let folder = received
            .iter()
            .find(|folder| folder.ends_with(format!("team/{name}")))
            .unwrap_or_else(|| panic!("{name}: {received:?}"));
        let refs = tools::run(git_server::git().arg("-C").arg(folder.join(".git")).arg("show-ref"));
        assert!(refs.contains(commit.as_str()), "{name}: {refs}");
    }
    let again: Value = serde_json::from_str(push().stdout.lines().last().unwrap()).unwrap();
    assert_eq!(again["sent"], 0, "{again}");
}
