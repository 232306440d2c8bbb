//! Guards `push`: a registry has what the package has, nothing is sent twice, and
//! a push that was stopped goes on.

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::sha256;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, Index, layer};
use airgap_tests::pass_through::PassThrough;
use airgap_tests::project::{Project, Run};
use airgap_tests::registry::Registry;
use airgap_tests::tls::AUTHORITY;
use airgap_tests::tools::{self, DockerRegistry, Skopeo};
use serde_json::{Value, json};

/// Two images that share a layer, one of them larger than what is sent at once,
/// an index, and a chart.
fn packaged(registry: &Registry, files: &FileServer) -> (Project, Vec<(String, String)>) {
    let shared = layer(1, 20_000_000);
    let (app, other) = (Image::new(1, &[shared.clone(), layer(2, 5_000)]), Image::new(2, &[shared, layer(3, 7_000)]));
    let both = Index::new(&[Image::small(4, 3_000), Image::small(5, 4_000)]);
    registry.push("team/app:1", &app);
    registry.push("team/other:2", &other);
    registry.push_index("team/both:3", &both);
    let archive = chart("web", "1.0.0+build", &[("values.yaml", "a: 1\n")]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0+build", "web.tgz", &archive)]));
    files.put("/charts/web.tgz", archive);
    let pinned = format!("team/both:3@{}", both.manifest.digest);
    let mut project = Project::new().with_registry(&registry.host()).with_file_server(&files.host());
    for name in ["team/app:1", "team/other:2", &pinned] {
        project = project.with_image(registry.reference(name));
    }
    let repo = files.url("/charts");
    let project =
        project.with_chart(json!({"name": "web", "repo": repo, "version": "1.0.0+build", "namespace": "web"}));
    project.build();
    let digests =
        [("team/app:1", app.digest()), ("team/other:2", other.digest()), ("team/both:3", &both.manifest.digest)];
    (project, digests.map(|(name, digest)| (name.to_owned(), digest.to_owned())).to_vec())
}

/// The last line.
fn told(run: &Run) -> Value {
    serde_json::from_str(run.stdout.lines().last().expect("a line")).expect("JSON")
}

fn package(project: &Project) -> String {
    project.package().display().to_string()
}

fn log_in(project: &Project, host: &str) {
    project.write("home/.docker/config.json", tools::docker_config(host, tools::PASSWORD));
}

#[test]
fn a_registry_with_a_login_and_tls_gets_everything_once() {
    let (Some(target), Some(skopeo)) = (DockerRegistry::start_closed_with_tls(), Skopeo::find()) else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, images) = packaged(&registry, &files);
    project.write("ca.pem", AUTHORITY);
    let to = target.reference("mirror");
    let push = |more: &[&str]| {
        let package = package(&project);
        let arguments = [&["push", &package, &to, "--ca-file", "ca.pem"], more].concat();
        project.run(&arguments)
    };
    push(&[]).code(1).says(&["cannot push", "401", "docker login"]);
    log_in(&project, &target.host());
    let plan = told(&push(&["--plan", "--json"]).success());
    assert_eq!((&plan["event"], plan["items"].as_array().unwrap().len()), (&json!("push-plan"), 4), "{plan}");
    let pushed = told(&push(&["--json"]).success());
    // Six layers, of which one is in two images, five configurations, and a
    // chart with its own.
    assert_eq!((&pushed["blobs_mounted"], &pushed["blobs_there"]), (&json!(1), &json!(0)), "{pushed}");
    assert!(pushed["sent"].as_u64().unwrap() > 20_000_000, "{pushed}");
    let credentials = format!("{}:{}", tools::USER, tools::PASSWORD);
    let raw = |name: &str| {
        let image = format!("docker://{to}/{name}");
        let mut command = skopeo.command();
        tools::run(command.args(["inspect", "--tls-verify=false", "--raw", "--creds", &credentials, &image]))
    };
    for (name, digest) in &images {
        assert_eq!(format!("sha256:{}", sha256(raw(name).as_bytes())), *digest, "{name}");
        let folder = tempfile::tempdir().unwrap();
        let into = format!("dir:{}", folder.path().display());
        skopeo.copy(&["--all", "--src-creds", &credentials], &format!("docker://{to}/{name}"), &into);
    }
    let chart: Value = serde_json::from_str(&raw("charts/web:1.0.0_build")).unwrap();
    assert_eq!(chart["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
    let again = told(&push(&["--json"]).success());
    assert_eq!(again["sent"], 0, "{again}");
    assert!(again["items"].as_array().unwrap().iter().all(|item| item["was_there"] == true), "{again}");
}

#[test]
fn what_is_chosen_is_pushed_under_names_that_are_told() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let host = target.host();
    let push = |more: &[&str]| {
        let package = package(&project);
        let arguments = [&["push", &package, &host, "--plain-http"], more].concat();
        project.run(&arguments)
    };
    let plan = |more: &[&str]| push(&[&["--plan"], more].concat()).success().stdout;
    assert_eq!(plan(&["--charts"]), format!("charts/web:1.0.0_build → {host}/charts/web:1.0.0_build\n"));
    assert_eq!(plan(&["--images"]).lines().count(), 3);
    assert_eq!(plan(&["--match", "*/team/app:?"]).lines().count(), 1);
    let kept = plan(&["--match", "*app*", "--keep-registry"]);
    assert!(kept.contains(&format!("{host}/{}/team/app:1", registry.host().replace(':', "_"))), "{kept}");
    let kustomization: Value = serde_yaml::from_str(&plan(&["--names", "kustomize"])).unwrap();
    let row = json!({ "name": format!("{}/team/app", registry.host()), "newName": format!("{host}/team/app") });
    assert!(kustomization["images"].as_array().unwrap().contains(&row), "{kustomization}");
    assert!(plan(&["--names", "registries.conf"]).contains(&format!("location = \"{host}/team/other\"")));
    push(&["--match", "*app*"]).success().prints(&["/team/app:1 → "]);
    let nowhere = project.run(&["push", &package(&project), "nowhere", "--plan"]);
    nowhere.code(2).says(&["`nowhere` is no registry"]);
    project.run(&["push", "none.tar.zst", &host]).code(2).says(&["no package at `none.tar.zst`"]);
}

#[test]
fn a_push_that_failed_goes_on_where_it_was() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let front = PassThrough::start(&target.host());
    let push = || project.run(&["push", &package(&project), &front.host(), "--plain-http", "--json", "--images"]);
    // A chunk that fails once is sent again, from the beginning of its blob.
    front.fault(On::method("PATCH", "/blobs/uploads/").once(), Fault::status(503));
    front.fault(On::method("PUT", "/team/other/manifests/"), Fault::status(400));
    let failed = push().code(1);
    assert!(failed.stdout.contains("team/other:2") && failed.stdout.contains("400"), "{failed}");
    front.heal();
    let before = front.log().len();
    let pushed = told(&push().success());
    assert_eq!(
        (&pushed["blobs_sent"], &pushed["sent"]),
        (&json!(0), &json!(0)),
        "a manifest alone was missing: {pushed}"
    );
    let uploads = front.log()[before..].iter().filter(|entry| entry.path.contains("/uploads/")).count();
    assert_eq!(uploads, 0, "nothing is sent twice");
}

/// What an earlier push sent is taken over like what this one sent.
#[test]
fn a_push_that_goes_on_takes_over_what_lies_in_other_repositories() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let front = PassThrough::start(&target.host());
    let push = || project.run(&["push", &package(&project), &front.host(), "--plain-http", "--json", "--images"]);
    front.fault(On::method("POST", "/team/other/blobs/uploads/"), Fault::status(400));
    push().code(1);
    front.heal();
    let pushed = told(&push().success());
    assert_eq!(pushed["blobs_mounted"], 1, "{pushed}");
    assert!(pushed["sent"].as_u64().unwrap() < 1_000_000, "the layer that both have is not sent again: {pushed}");
}
