//! Guards the way of a chart through the whole build: repositories that
//! answer in odd ways, the lock, local directories, images that are missing.

use airgap_tests::charts::{chart, index};
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::Content;
use airgap_tests::images::{Blob, OCI_MANIFEST};
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use serde_json::{Value, json};

/// A server with `app` in two versions, and a project that may use it.
fn served() -> (FileServer, Project) {
    let server = FileServer::start();
    let old = chart("app", "1.0.0", &[("values.yaml", "image: {repository: quay.io/org/app, tag: \"1\"}\n")]);
    let new = chart("app", "1.1.0", &[("values.yaml", "image: {repository: quay.io/org/app, tag: \"2\"}\n")]);
    let text = index(&[("app", "1.1.0", "files/app-1.1.0.tgz", &new), ("app", "1.0.0", "files/app-1.0.0.tgz", &old)]);
    server.put("/charts/index.yaml", text);
    server.put("/charts/files/app-1.1.0.tgz", new);
    server.put("/charts/files/app-1.0.0.tgz", old);
    let project = Project::new().with_file_server(&server.host());
    (server, project)
}

fn wanted(server: &FileServer, version: &str) -> Value {
    json!({ "name": "app", "repo": server.url("/charts"), "version": version, "namespace": "apps" })
}

fn rows(project: &Project) -> Value {
    serde_json::from_str(&project.read("build/steps/charts/charts.json")).expect("charts.json is JSON")
}

/// The lock keeps what a constraint resolved to, and then no index is asked.
#[test]
fn a_constraint_is_resolved_once() {
    let (server, project) = served();
    let project = project.with_chart(wanted(&server, "^1.0"));
    project.build();
    let row = &rows(&project)[0];
    assert_eq!((row["version"].as_str(), row["namespace"].as_str()), (Some("1.1.0"), Some("apps")));
    assert!(project.exists("build/steps/charts/charts/app-1.1.0.tgz"));
    assert!(!project.read("build/steps/charts.json").contains(".work"), "what was only read is no part of the tree");
    assert!(
        project.read("config/airgap.lock").contains("version: \"1.1.0\""),
        "{}",
        project.read("config/airgap.lock")
    );

    let newer = chart("app", "1.2.0", &[]);
    server.put("/charts/index.yaml", index(&[("app", "1.2.0", "app-1.2.0.tgz", &newer)]));
    server.put("/charts/app-1.2.0.tgz", newer);
    server.forget();
    let _ = project.run(&["build", "--clean"]).success();
    assert_eq!(rows(&project)[0]["version"], "1.1.0");
    assert_eq!(server.requests("GET", "index.yaml").len(), 0, "{}", server.render_log());
}

/// All that is wrong is said at once, with what is there instead.
#[test]
fn bad_charts_are_listed_with_what_there_is() {
    let (server, project) = served();
    let other = json!({ "name": "apq", "repo": server.url("/charts"), "version": "1.0.0" });
    let project = project.with_chart(wanted(&server, "9.x")).with_chart(other);
    let run = project.run(&["build"]).code(1);
    for word in ["2 of 2 charts failed", "newest: 1.1.0, 1.0.0", "nearest: app"] {
        assert!(run.stderr.contains(word), "{word}: {run}");
    }
    // A row for each, and nothing that only a plugin's author wants to know.
    for chart in ["chart app 9.x", "chart apq 1.0.0"] {
        let rows = run.stderr.lines().filter(|line| line.trim_start().starts_with(&format!("✗ {chart} (not-found): ")));
        assert_eq!(rows.count(), 1, "{chart}: {run}");
    }
    let run = run.never_says("reported by plugin").never_says("(sha256:");
    let items = project
        .run(&["build", "--json"])
        .code(1)
        .json_lines()
        .into_iter()
        .find_map(|line| line["items"].as_array().filter(|_| line["event"] == "error").cloned());
    assert_eq!(items.map(|items| items.len()), Some(2), "{run}");
}

/// A local directory takes its sibling in, and the archive is the same bytes
/// in every build.
#[test]
fn a_local_directory_is_packaged_with_its_dependency() {
    let archive = |project: &Project| std::fs::read(project.path("build/steps/charts/charts/site-0.3.0.tgz")).unwrap();
    let make = || {
        let project = Project::new().with_chart(json!({ "name": "site", "repo": "./charts/site", "version": "0.3.0" }));
        let about = "apiVersion: v2\nname: site\nversion: 0.3.0\ndependencies:\n- name: common\n  version: 1.x\n  repository: file://../common\n";
        project.write("charts/site/Chart.yaml", about);
        project.write("charts/site/.helmignore", "notes/\n");
        project.write("charts/site/notes/todo.md", "x");
        project.write("charts/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 1.4.0\n");
        project.build();
        project
    };
    let project = make();
    assert_eq!(archive(&project), archive(&make()));
    project.write("charts/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 1.5.0\n");
    project.build();
    assert_ne!(archive(&project), archive(&make()), "a changed dependency is a changed configuration");
}

/// A package without an image that its chart deploys fails in the field.
#[test]
fn images_that_the_package_lacks_are_told() {
    let (server, project) = served();
    let project = project.with_chart(wanted(&server, "1.1.0"));
    let run = project.run(&["build"]).success();
    assert!(run.stderr.contains("quay.io/org/app:2"), "{run}");
}

/// A registry with `charts/app` 1.2.0 and its provenance.
fn signed() -> Registry {
    let registry = Registry::start();
    let archive = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart("app", "1.2.0", &[]));
    let provenance = Blob::new("application/vnd.cncf.helm.chart.provenance.v1.prov", b"signed\n".to_vec());
    let config = Blob::new("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "config": config.descriptor(),
        "layers": [archive.descriptor(), provenance.descriptor()],
    });
    for blob in [&archive, &provenance, &config] {
        registry.push_blob("charts/app", &blob.digest, Content::Memory(blob.bytes.clone()));
    }
    registry.push_manifest("charts/app", Some("1.2.0"), &Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes()));
    registry
}

/// Guards the provenance of a chart from a registry: it is in the package, and
/// whoever builds from the lock alone gets the same package.
#[test]
fn the_provenance_of_a_registry_chart_is_packaged_and_locked() {
    let registry = signed();
    let project = || {
        let repo = format!("oci://{}", registry.reference("charts"));
        let wanted = json!({ "name": "app", "repo": repo, "version": "^1.0" });
        Project::new().with_registry(&registry.host()).with_chart(wanted)
    };
    let first = project();
    first.build();
    let package = Package::open(&first.package());
    // A document of its own would keep `zarf package pull` from the package.
    assert!(!package.has("documentation.tar"));
    assert_eq!(package.nested("components/app.tar")["app/charts/app.tgz.prov"], b"signed\n");
    let manifest: Value = serde_json::from_str(&first.read("dist/artifact-manifest.json")).unwrap();
    assert_eq!(manifest["charts"][0]["provenance"]["path"], "app/charts/app.tgz.prov", "{manifest:#}");

    let second = project();
    second.write("config/airgap.lock", first.read("config/airgap.lock"));
    let _ = second.run(&["build", "--locked"]).success();
    assert_eq!(Package::open(&second.package()).sha256, package.sha256);
    let _ = first.run(&["build", "--clean", "--offline"]).success();
    assert_eq!(Package::open(&first.package()).sha256, package.sha256);
}

/// Guards what a chart counts as on the far side: under the name of its registry
/// it is a chart as well, and no image.
#[test]
fn a_chart_of_a_registry_is_a_chart_by_each_of_its_names() {
    let registry = signed();
    let repo = format!("oci://{}", registry.reference("charts"));
    let wanted = json!({ "name": "app", "repo": repo, "version": "^1.0" });
    let project = Project::new().with_registry(&registry.host()).with_chart(wanted);
    project.build();
    let package = project.package().display().to_string();
    let planned = |kind: &str| project.run(&["push", &package, "r.test", "--plan", kind]).success().stdout;
    // Both names are one there.
    let name = registry.reference("charts/app:1.2.0");
    assert_eq!(planned("--charts"), format!("{name} → r.test/charts/app:1.2.0\n"));
    assert!(!planned("--images").contains("app"));
}

/// The same as an error, for those who want no such package.
#[test]
fn images_that_the_package_lacks_are_refused_where_that_is_asked_for() {
    let (server, project) = served();
    let project = project.with_chart(wanted(&server, "1.1.0"));
    let run = project.run(&["build", "--strict-images"]).code(1);
    run.says(&["app 1.1.0", "quay.io/org/app:2", "hint:", "images.additional"]);
    assert_eq!(project.packages(), [""; 0].map(std::path::PathBuf::from));
}

/// Guards `--strict-images`: what only a rendering tells is listed with its place, and
/// the build that wants certainty fails on each of them.
#[test]
fn an_image_that_only_rendering_tells_is_told_and_refused_where_that_is_asked_for() {
    let server = FileServer::start();
    let template = "spec:\n  containers:\n    - image: quay.io/org/app:{{ .Values.image.tag }}\n    - image: \"quay.io/org/{{ .Release.Name }}:1\"\n";
    let files =
        [("values.yaml", "image:\n  repository: quay.io/org/app\n  tag: 1.10\n"), ("templates/pod.yaml", template)];
    let archive = chart("app", "1.0.0", &files);
    server.put("/charts/index.yaml", index(&[("app", "1.0.0", "app-1.0.0.tgz", &archive)]));
    server.put("/charts/app-1.0.0.tgz", archive);
    let project = Project::new().with_file_server(&server.host()).with_chart(wanted(&server, "1.0.0"));
    // Rendering knows what the search does not.
    let places =
        ["deploys quay.io/org/app:1.1 (templates/pod.yaml:3)", "deploys quay.io/org/app:1 (templates/pod.yaml:4)"];
    project.run(&["build"]).success().says(&places);
    let run = project.run(&["build", "--strict-images"]).code(1).says(&places);
    let rows = run.stderr.lines().filter(|line| line.contains("✗ chart app 1.0.0"));
    assert_eq!(rows.count(), 2, "{run}");
}

/// Guards the keys of steps: a flag that concerns the charts alone makes no other
/// step run again.
#[test]
fn strict_images_concern_the_charts_alone() {
    let (server, project) = served();
    let plain = chart("plain", "1.0.0", &[("values.yaml", "replicas: 1\n")]);
    server.put("/plain/index.yaml", index(&[("plain", "1.0.0", "plain-1.0.0.tgz", &plain)]));
    server.put("/plain/plain-1.0.0.tgz", plain);
    let wanted = json!({ "name": "plain", "repo": server.url("/plain"), "version": "1.0.0" });
    let project = project.with_chart(wanted);
    project.build();
    let _ = project.run(&["build", "--strict-images"]).success();
    let metrics: Value = serde_json::from_str(&project.read("build/metrics.json")).unwrap();
    for step in metrics["steps"].as_array().unwrap() {
        let id = step["id"].as_str().unwrap();
        assert_eq!(step["ran"], id == "discover", "{id}: {metrics:#}");
    }
}

/// Guards the schema of a chart: what Helm would refuse behind the gap is refused
/// here, and a values file of the project can mend it.
#[test]
fn values_have_to_fulfil_the_schema_of_the_chart() {
    let server = FileServer::start();
    let schema = r#"{"required": ["domain"], "properties": {"domain": {"type": "string"}}}"#;
    let archive = chart("app", "1.0.0", &[("values.yaml", "replicas: 1\n"), ("values.schema.json", schema)]);
    server.put("/charts/index.yaml", index(&[("app", "1.0.0", "app-1.0.0.tgz", &archive)]));
    server.put("/charts/app-1.0.0.tgz", archive);
    let project = || Project::new().with_file_server(&server.host());
    let refused = project().with_chart(wanted(&server, "1.0.0"));
    refused.run(&["build"]).code(1).says(&["`values.schema.json`", "missing properties 'domain'", "values file"]);
    let mut with_values = wanted(&server, "1.0.0");
    with_values["values"] = json!(["./values/app.yaml"]);
    let mended = project().with_chart(with_values);
    mended.write("values/app.yaml", "domain: example.com\n");
    mended.build();
    mended.write("values/app.yaml", "domain: 1\n");
    mended.run(&["build"]).code(1).says(&["`/domain`: want string, but got number"]);
}

/// Guards credentials of chart repositories: those of docker's config.json
/// open one, its archives included, and nobody is told the password.
#[test]
fn a_closed_chart_repository_opens_with_dockers_credentials() {
    let server = FileServer::start_closed();
    let archive = chart("app", "1.0.0", &[]);
    server.put("/charts/index.yaml", index(&[("app", "1.0.0", "app-1.0.0.tgz", &archive)]));
    server.put("/charts/app-1.0.0.tgz", archive);
    let project = Project::new().with_file_server(&server.host()).with_chart(wanted(&server, "1.0.0"));
    project.run(&["build"]).code(1).says(&["401", &server.host(), "hint:"]);
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let run = project.build();
    run.never_says(tools::PASSWORD);
    assert_eq!(rows(&project)[0]["version"], "1.0.0");
    assert!(!project.holds(tools::PASSWORD), "the password lies in the project");
}

/// Guards a constraint over a long list of tags: the newest one is on the
/// second page, which the registry names by another name of itself.
#[test]
fn the_newest_version_is_found_on_every_page_or_the_build_fails() {
    let registry = Registry::start();
    let config = Blob::new("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
    for version in ["1.0.0", "1.9.0"] {
        let archive = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart("app", version, &[]));
        let manifest = json!({
            "schemaVersion": 2, "config": config.descriptor(), "layers": [archive.descriptor()], "manifests": null,
        });
        for blob in [&archive, &config] {
            registry.push_blob("charts/app", &blob.digest, Content::Memory(blob.bytes.clone()));
        }
        registry.push_manifest(
            "charts/app",
            Some(version),
            &Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes()),
        );
    }
    let page = |tags: &str, link: Option<&str>| Fault::Status {
        status: 200,
        headers: link.map(|link| ("link".to_owned(), link.to_owned())).into_iter().collect(),
        body: format!(r#"{{"name":"charts/app","tags":{tags}}}"#).into_bytes(),
    };
    let project = || {
        let repo = format!("oci://{}", registry.reference("charts"));
        Project::new()
            .with_registry(&registry.host())
            .with_chart(json!({ "name": "app", "repo": repo, "version": "^1" }))
    };
    let first = r#"<http://localhost:5714/v2/charts/app/tags/list?last=1.0.0&n=1>; rel="next""#;
    registry.fault(On::get("/tags/list").once(), page(r#"["1.0.0"]"#, Some(first)));
    let found = project();
    found.build();
    assert_eq!(rows(&found)[0]["version"], "1.9.0", "{}", registry.render_log());

    registry.heal();
    let elsewhere = r#"<http://localhost:5714/elsewhere?last=1.0.0>; rel="next""#;
    registry.fault(On::get("/tags/list"), page(r#"["1.0.0"]"#, Some(elsewhere)));
    project().run(&["build"]).code(1).says(&["next page", "localhost:5714/elsewhere"]);
}
