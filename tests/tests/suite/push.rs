//! Guards `push`: a registry has what the package has, nothing is sent twice, and
//! a push that was stopped goes on.

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::sha256;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::{self, GitServer};
use airgap_tests::http::{Content, LoggedRequest};
use airgap_tests::images::{Blob, Image, Index, Noise, layer};
use airgap_tests::pass_through::PassThrough;
use airgap_tests::project::{Project, Run, Running};
use airgap_tests::registry::Registry;
use airgap_tests::tls::AUTHORITY;
use airgap_tests::tools::{self, DockerRegistry, Skopeo};
use serde_json::{Value, json};
use std::time::Duration;

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
    // A chunk that fails once is sent again.
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

/// What a registry, or a proxy before it, does to an upload of 20 MB, which is
/// two chunks and the rest.
#[test]
fn an_upload_that_is_hindered_goes_on_where_it_was() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, images) = packaged(&registry, &files);
    let front = PassThrough::start(&target.host());
    let second = || On::method("PATCH", "/blobs/uploads/").after(1).once();
    let first = || On::method("PATCH", "/blobs/uploads/").once();
    for (what, on, fault, begun, chunks) in [
        ("nothing", On::method("TRACE", "/"), Fault::status(500), 1, 2),
        ("an error", second(), Fault::status(503), 1, 3),
        ("a limit", second(), Fault::too_many(Some("0")), 1, 3),
        ("a lost connection", second(), Fault::Close, 1, 3),
        ("a wrong range", second(), Fault::status(416), 1, 3),
        // It may have come to its end all the same.
        ("a lost answer", On::method("PUT", "/blobs/uploads/").once(), Fault::Close, 1, 2),
        ("a forgotten upload", second(), Fault::status(404), 2, 4),
        ("no chunks", first(), Fault::status(405), 2, 1),
        ("smaller chunks", first(), Fault::status(413), 1, 11),
    ] {
        front.heal();
        front.forget();
        // Whether it happened is asked below.
        let trigger = front.perhaps(on, fault);
        let prefix = format!("{}/{}", front.host(), what.replace(' ', "-"));
        let run =
            project.run(&["push", &package(&project), &prefix, "--plain-http", "--json", "--match", "*/team/app:1"]);
        let pushed = told(&run.success());
        assert_eq!(trigger.count(), u64::from(what != "nothing"), "{what}");
        assert_eq!(pushed["blobs_sent"], 3, "{what}: {pushed}");
        let log = front.log();
        let of = |method: &str| {
            log.iter().filter(|entry| entry.method == method && entry.path.contains("/uploads/")).count()
        };
        // Two small blobs are begun as well.
        assert_eq!((of("POST") - 2, of("PATCH")), (begun, chunks), "{what}\n{}", front.render_log());
        let there =
            project.run(&["push", &package(&project), &prefix, "--plain-http", "--json", "--match", "*/team/app:1"]);
        assert_eq!(told(&there.success())["items"][0]["was_there"], true, "{what}");
    }
    let Some(skopeo) = Skopeo::find() else { return };
    for what in ["an-error", "a-lost-answer", "no-chunks", "smaller-chunks"] {
        let raw = skopeo.raw_manifest(&format!("docker://{}/{what}/team/app:1", target.host()));
        assert_eq!(format!("sha256:{}", sha256(raw.as_bytes())), images[0].1);
    }
}

/// A process that is killed leaves a note of where its upload goes on.
#[test]
fn a_push_that_was_killed_goes_on_within_a_blob() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let front = PassThrough::start(&target.host());
    front.fault(On::method("PATCH", "/blobs/uploads/").after(1), Fault::too_many(Some("60")));
    let package = package(&project);
    let arguments = ["push", &package, &front.host(), "--plain-http", "--json", "--match", "*/team/app:1"];
    let start =
        || Running::spawn(project.command(&arguments).env("XDG_CACHE_HOME", project.path("cache")), project.root());
    let notes = || std::fs::read_dir(project.path("cache/opencenter-airgap/uploads")).unwrap().count();
    let running = start();
    let is_chunk = |entry: &&LoggedRequest| entry.method == "PATCH";
    front.wait_until(Duration::from_secs(60), |log| log.iter().filter(is_chunk).count() > 1);
    running.kill();
    assert_eq!(notes(), 1);
    front.heal();
    front.forget();
    let pushed = told(&start().finish().success());
    let patches = front.requests("PATCH", "/blobs/uploads/").len();
    assert_eq!(patches, 1, "the first chunk was there:\n{}", front.render_log());
    assert!(pushed["sent"].as_u64().unwrap() < 13_000_000, "{pushed}");
    assert_eq!(notes(), 0, "what is done leaves none");
}

/// A registry may have an upload go on somewhere else, and nobody there gets to
/// know who we are.
#[test]
fn where_an_upload_goes_on_no_credentials_go() {
    let (Some(open), Some(closed)) = (DockerRegistry::start(), DockerRegistry::start_closed()) else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let elsewhere = |target: &DockerRegistry| {
        let storage = PassThrough::start(&target.host());
        let base = storage.url("");
        let front = PassThrough::changing(&target.host(), move |_, mut response| {
            for (name, value) in response.headers.iter_mut() {
                if name.eq_ignore_ascii_case("location") {
                    *value = format!("{base}{value}");
                }
            }
            response
        });
        log_in(&project, &front.host());
        let run = project.run(&["push", &package(&project), &front.host(), "--plain-http", "--images"]);
        let told = storage.log();
        assert!(told.iter().any(|entry| matches!(entry.method.as_str(), "PATCH" | "PUT")), "{}", storage.render_log());
        assert!(told.iter().all(|entry| entry.header("authorization").is_none()), "{}", storage.render_log());
        run
    };
    elsewhere(&open).success();
    elsewhere(&closed).code(1).says(&["cannot push", "401"]);
}

#[test]
fn a_registry_that_makes_something_else_of_it_is_found_out() {
    let Some(target) = DockerRegistry::start() else { return };
    let (registry, files) = (Registry::start(), FileServer::start());
    let (project, _) = packaged(&registry, &files);
    let other = format!("sha256:{}", "0".repeat(64));
    let front = PassThrough::changing(&target.host(), {
        let other = other.clone();
        move |request, mut response| {
            if request.method == "PUT" && request.path.contains("/manifests/") {
                response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("docker-content-digest"));
                return response.with("docker-content-digest", &other);
            }
            response
        }
    });
    let push = |host: &str, more: &[&str]| {
        let package = package(&project);
        project.run(&[&["push", &package, host, "--plain-http", "--match", "*/team/app:1"], more].concat())
    };
    push(&front.host(), &[]).code(1).says(&["made", &other]);
    // One that does not tell digests is asked for the manifest itself.
    let silent = PassThrough::changing(&target.host(), |_, mut response| {
        response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("docker-content-digest"));
        response
    });
    push(&silent.host(), &[]).success().prints(&["(was there)"]);
    // One that takes nothing over gets it sent.
    let lonely = PassThrough::start(&target.host());
    let refused = lonely.fault(On::method("POST", "/uploads/").with_query("mount="), Fault::status(405));
    let prefix = format!("{}/again", lonely.host());
    let run = project.run(&["push", &package(&project), &prefix, "--plain-http", "--json", "--images"]);
    assert_eq!(told(&run.success())["blobs_mounted"], 0);
    assert_eq!(refused.count(), 1);
}

/// What is carried about an image is found by it over there, whether or not the
/// registry knows of referrers.
#[test]
fn what_is_about_an_image_is_listed_where_the_registry_does_not() {
    let Some(target) = DockerRegistry::start() else { return };
    let registry = Registry::start();
    let image = Image::small(1, 1_000);
    registry.push("team/app:1", &image);
    let empty = Blob::new("application/vnd.oci.empty.v1+json", b"{}".to_vec());
    let about = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.test.signature", "config": empty.descriptor(), "layers": [empty.descriptor()],
        "subject": image.manifest.descriptor(),
    });
    let about = Blob::new("application/vnd.oci.image.manifest.v1+json", about.to_string().into_bytes());
    registry.push_blob("team/app", &empty.digest, Content::Memory(empty.bytes.clone()));
    registry.push_manifest("team/app", Some("signature"), &about);
    let mut project = Project::new().with_registry(&registry.host());
    for name in ["team/app:1", "team/app:signature"] {
        project = project.with_image(registry.reference(name));
    }
    project.build();
    let front = PassThrough::start(&target.host());
    let push = || project.run(&["push", &package(&project), &front.host(), "--plain-http", "--match", "*:1"]).success();
    push();
    let tag = format!("sha256-{}", image.digest().trim_start_matches("sha256:"));
    let Some(skopeo) = Skopeo::find() else { return };
    let listed: Value =
        serde_json::from_str(&skopeo.raw_manifest(&format!("docker://{}/team/app:{tag}", target.host()))).unwrap();
    assert_eq!(listed["manifests"][0]["digest"], about.digest.as_str());
    assert_eq!(listed["manifests"][0]["artifactType"], "application/vnd.test.signature");
    front.forget();
    push();
    assert!(front.log().iter().all(|entry| entry.method != "PUT"), "{}", front.render_log());
}

/// References, objects and all, into a server that knows nothing of them, and no
/// git on the way.
#[test]
fn repositories_are_pushed_without_git() {
    let (Some(origin), Some(target)) = (GitServer::start(), GitServer::start_receiving()) else { return };
    let repository = origin.create("app");
    let first = repository.commit("README.md", "# one\n");
    repository.tag("v1");
    let second = repository.commit("large.bin", Noise::new(5).bytes(300_000));
    let build = |reference: &str| {
        let project = Project::new()
            .with_file_server(&origin.host())
            .with_repository(json!({ "name": "app", "url": origin.clone_url("app"), "ref": reference }));
        project.build();
        log_in(&project, &target.host());
        project
    };
    let project = build("main");
    let git = target.url("/mirror");
    let push = |project: &Project, more: &[&str]| {
        let package = package(project);
        // Nothing that looks for git finds it.
        let arguments = [&["push", &package, "--git", &git], more].concat();
        let mut command = project.command(&arguments);
        Running::spawn(command.env("PATH", "/nonexistent"), project.root()).finish()
    };
    let plan = push(&project, &["--plan"]);
    let new = format!("{git}/app.git");
    plan.success().prints(&[&format!("{}@main → {new}", origin.clone_url("app"))]);
    assert!(target.received().is_empty());
    let pushed = told(&push(&project, &["--json"]).success());
    assert_eq!(
        (&pushed["items"][0]["kind"], &pushed["items"][0]["new"]),
        (&json!("repository"), &json!(new)),
        "{pushed}"
    );
    let [folder] = <[_; 1]>::try_from(target.received()).unwrap();
    let there = |arguments: &[&str]| {
        let mut command = git_server::git();
        tools::run(command.arg("-C").arg(folder.join(".git")).args(arguments)).trim().to_owned()
    };
    assert_eq!(there(&["rev-parse", "refs/heads/main"]), second);
    there(&["fsck", "--strict", "--full"]);
    assert_eq!(there(&["rev-parse", "refs/heads/main~1"]), first);

    // Nothing is sent twice.
    target.forget();
    let again = told(&push(&project, &["--json"]).success());
    assert_eq!((&again["sent"], &again["items"][0]["was_there"]), (&json!(0), &json!(true)), "{again}");
    assert!(target.log().iter().all(|entry| entry.method == "GET"), "{}", target.render_log());

    // A newer package moves the branch.
    let third = repository.commit("README.md", "# three\n");
    let newer = build("main");
    push(&newer, &[]).success();
    assert_eq!(there(&["rev-parse", "refs/heads/main"]), third);
    // An older one does not move it back, and says so; unless that is wanted.
    push(&project, &[]).code(1).says(&["refs/heads/main", &third, &second, "--force"]);
    assert_eq!(there(&["rev-parse", "refs/heads/main"]), third);
    push(&project, &["--force"]).success();
    assert_eq!(there(&["rev-parse", "refs/heads/main"]), second);

    // A tag, whose answer is lost on the way.
    let tagged = build("v1");
    target.fault(On::method("POST", "git-receive-pack").once(), Fault::status(503));
    push(&tagged, &[]).success();
    assert_eq!(there(&["rev-parse", "refs/tags/v1"]), first);

    // Those who may not, and what is no git server.
    project.write("home/.docker/config.json", "{}");
    push(&project, &[]).code(1).says(&["cannot push", "401", "docker login"]);
    let nowhere = |url: &str| project.run(&["push", &package(&project), "--git", url]);
    nowhere("git@example.com:team").code(2).says(&["no address of a git server"]);
    let files = FileServer::start();
    nowhere(&files.url("/none")).code(1).says(&["/none/app.git", "ENABLE_PUSH_CREATE"]);
    files.put("/x/app.git/info/refs", "<html>");
    nowhere(&files.url("/x")).code(1).says(&["no git server that can be pushed to"]);
}

/// What is damaged becomes neither an image nor a repository.
#[test]
fn what_is_damaged_is_not_pushed() {
    let (Some(origin), Some(target)) = (GitServer::start(), GitServer::start_receiving()) else { return };
    let Some(there) = DockerRegistry::start() else { return };
    let registry = Registry::start();
    let noise = layer(7, 12_000_000);
    registry.push("team/app:1", &Image::new(1, std::slice::from_ref(&noise)));
    origin.create("app").commit("large.bin", Noise::new(5).bytes(300_000));
    let project = Project::new()
        .with_registry(&registry.host())
        .with_file_server(&origin.host())
        .with_image(registry.reference("team/app:1"))
        .with_repository(json!({ "name": "app", "url": origin.clone_url("app"), "ref": "main" }));
    project.build();
    log_in(&project, &target.host());
    let bytes = std::fs::read(project.package()).unwrap();
    let damage = |needle: &[u8]| {
        let at = bytes.windows(needle.len()).position(|window| window == needle).expect("it is stored as it is");
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        project.write("damaged.tar.zst", damaged);
    };
    let content = &noise.blob.bytes;
    damage(&content[content.len() - 100..content.len() - 50]);
    project.run(&["push", "damaged.tar.zst", &there.host(), "--plain-http"]).code(4).says(&["is damaged", "verify"]);
    let skopeo = Skopeo::find().map(|skopeo| {
        let image = format!("docker://{}/team/app:1", there.host());
        skopeo.command().args(["inspect", "--tls-verify=false", "--raw", &image]).output().unwrap().status
    });
    assert!(skopeo.is_none_or(|status| !status.success()), "there is an image");
    let large = Noise::new(5).bytes(300_000);
    damage(&large[200_000..200_050]);
    let run = project.run(&["push", "damaged.tar.zst", "--git", &target.url("/team")]);
    run.code(4).says(&["is damaged", "verify"]);
    for folder in target.received() {
        let refs = tools::run(git_server::git().arg("-C").arg(folder.join(".git")).args(["for-each-ref"]));
        assert_eq!(refs, "", "there is a branch");
    }
}

/// Whoever serves git may refuse, with a reason.
#[test]
fn what_a_git_server_refuses_is_told() {
    let (Some(origin), Some(target)) = (GitServer::start(), GitServer::start_receiving()) else { return };
    origin.create("app").commit("README.md", "# one\n");
    let project = Project::new()
        .with_file_server(&origin.host())
        .with_repository(json!({ "name": "app", "url": origin.clone_url("app"), "ref": "main" }));
    project.build();
    log_in(&project, &target.host());
    let push = || project.run(&["push", &package(&project), "--git", &target.url("/team")]);
    push().success();
    let [folder] = <[_; 1]>::try_from(target.received()).unwrap();
    let there = |arguments: &[&str]| tools::run(git_server::git().arg("-C").arg(folder.join(".git")).args(arguments));
    there(&["update-ref", "-d", "refs/heads/main"]);
    let hook = folder.join(".git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    push().code(1).says(&["does not take the repository", "refs/heads/main", "hook"]);
}
