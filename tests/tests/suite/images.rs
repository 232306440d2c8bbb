//! Guards which bytes an image reference becomes: the right platform, byte for
//! byte what the registry served, each blob fetched once.

use std::time::Duration;

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::{self, Blob, Dialect, Image, Index, Layer, Packing, Platform, layer, layer_of};
use airgap_tests::layout::Layout;
use airgap_tests::project::{Project, VERSIONS_ENV};
use airgap_tests::registry::{Auth, Options, Registry, TokenAuth};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

fn project(registry: &Registry, names: &[&str]) -> Project {
    names.iter().fold(Project::new().with_registry(&registry.host()), |project, name| {
        project.with_image(registry.reference(name))
    })
}

fn layout(project: &Project) -> Layout {
    Layout::check(&project.path("build/steps/images"))
}

#[test]
fn short_names_lead_to_docker_hub() {
    let registry = Registry::start();
    registry.push("library/nginx:1.27", &Image::small(1, 1_000));
    registry.push("grafana/grafana:latest", &Image::small(2, 1_000));
    let project = Project::new()
        .with_settings(|settings| {
            settings["registries"]["docker.io"] =
                json!({ "mirrors": [{ "location": registry.host(), "plain_http": true }], "mirrors_only": true });
        })
        .with_image("nginx:1.27")
        .with_image("grafana/grafana");
    project.build();
    let names = ["docker.io/grafana/grafana:latest", "docker.io/library/nginx:1.27"];
    assert_eq!(layout(&project).references(), names);
}

#[test]
fn an_index_gives_the_image_of_the_target_platform_without_attestations() {
    let registry = Registry::start();
    let amd64 = Image::small(1, 1_000);
    let arm64 = Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64());
    let windows = Image::build(3, &[layer(3, 1_000)], Dialect::Oci, Platform::new("windows", "amd64", None));
    registry.push_index("app:1", &Index::with_attestations(&[windows, arm64.clone(), amd64.clone()]));
    let reference = registry.reference("app:1");

    let project = project(&registry, &["app:1"]);
    project.build();
    assert_eq!(layout(&project).digest_of(&reference), amd64.digest());
    assert_eq!(layout(&project).blobs(), 3);

    project.write("config/versions.env", VERSIONS_ENV.replace("\"amd64\"", "\"arm64\""));
    project.build();
    assert_eq!(layout(&project).digest_of(&reference), arm64.digest());
}

#[test]
fn arm64_is_found_with_and_without_a_variant() {
    let registry = Registry::start();
    let plain = Platform::new("linux", "arm64", None);
    let without = Image::build(1, &[layer(1, 1_000)], Dialect::Oci, plain);
    let with = Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64());
    let arm = Image::build(3, &[layer(3, 1_000)], Dialect::Oci, Platform::new("linux", "arm", Some("v7")));
    registry.push_index("without:1", &Index::new(&[arm.clone(), without.clone()]));
    registry.push_index("with:1", &Index::new(&[arm, with.clone()]));
    let newer = Image::build(4, &[layer(4, 1_000)], Dialect::Oci, Platform::new("linux", "arm64", Some("v9")));
    registry.push_index("both:1", &Index::new(&[newer, with.clone()]));
    let project = project(&registry, &["without:1", "with:1", "both:1"]);
    project.write("config/versions.env", VERSIONS_ENV.replace("\"amd64\"", "\"arm64\""));
    project.build();
    assert_eq!(layout(&project).digest_of(&registry.reference("without:1")), without.digest());
    assert_eq!(layout(&project).digest_of(&registry.reference("with:1")), with.digest());
    assert_eq!(layout(&project).digest_of(&registry.reference("both:1")), with.digest(), "not every arm64 is v9");
}

#[test]
fn an_index_without_the_platform_says_which_there_are() {
    let registry = Registry::start();
    let arm64 = Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64());
    registry.push_index("app:1", &Index::new(&[arm64]));
    let run = project(&registry, &["app:1"]).run(&["build"]).code(1);
    run.says(&[&registry.reference("app:1"), "linux/amd64", "linux/arm64"]);
}

#[test]
fn an_index_with_nothing_but_attestations_is_refused_by_name() {
    let registry = Registry::start();
    registry.push_index("app:1", &Index::only_attestations(&[Image::small(1, 1_000)]));
    project(&registry, &["app:1"]).run(&["build"]).code(1).says(&[&registry.reference("app:1"), "linux/amd64"]);
}

#[test]
fn a_single_image_for_another_platform_is_refused() {
    let registry = Registry::start();
    registry.push("app:1", &Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64()));
    project(&registry, &["app:1"]).run(&["build"]).code(1).says(&[&registry.reference("app:1"), "arm64"]);
}

#[test]
fn docker_and_oci_images_stay_what_they_are() {
    let registry = Registry::start();
    let docker = Image::build(1, &[layer(1, 1_000)], Dialect::Docker, Platform::amd64());
    let plain = Image::new(2, &[layer_of("file", b"uncompressed", Packing::Plain)]);
    registry.push("docker:1", &docker);
    registry.push_index("list:1", &Index::build(std::slice::from_ref(&docker), &[], Dialect::Docker));
    registry.push("plain:1", &plain);
    let project = project(&registry, &["docker:1", "list:1", "plain:1"]);
    project.build();
    let layout = layout(&project);
    for (name, image) in [("docker:1", &docker), ("list:1", &docker), ("plain:1", &plain)] {
        assert_eq!(layout.digest_of(&registry.reference(name)), image.digest());
        assert_eq!(std::fs::read(layout.blob(image.digest())).unwrap(), image.manifest.bytes[..]);
    }
}

#[test]
fn images_with_no_layers_and_with_empty_layers_are_images() {
    let registry = Registry::start();
    let empty = layer_of("nothing", b"", Packing::Gzip);
    registry.push("none:1", &Image::new(1, &[]));
    registry.push("empty:1", &Image::new(2, &[empty.clone(), empty]));
    let project = project(&registry, &["none:1", "empty:1"]);
    project.build();
    assert_eq!(layout(&project).references().len(), 2);
}

/// Nothing of it is an image: a chart in a registry, as `helm push` stores it.
#[test]
fn artifacts_that_are_not_images_are_carried_too() {
    let registry = Registry::start();
    let config = Blob::new("application/vnd.cncf.helm.config.v1+json", br#"{"name":"web","version":"1.0.0"}"#.to_vec());
    let chart = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", vec![7; 500]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": images::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [chart.descriptor()],
    });
    let manifest = Blob::new(images::OCI_MANIFEST, manifest.to_string().into_bytes());
    for blob in [&config, &chart] {
        registry.push_blob("charts/web", &blob.digest, airgap_tests::http::Content::Memory(blob.bytes.clone()));
    }
    registry.push_manifest("charts/web", Some("1.0.0"), &manifest);
    let project = project(&registry, &["charts/web:1.0.0"]);
    project.build();
    assert_eq!(layout(&project).digest_of(&registry.reference("charts/web:1.0.0")), manifest.digest);
}

#[test]
fn a_pin_by_digest_keeps_its_digest() {
    let registry = Registry::start();
    let amd64 = Image::small(1, 1_000);
    let arm64 = Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64());
    let index = Index::new(&[amd64.clone(), arm64]);
    registry.push_index("app:1", &index);
    let by_image = registry.reference(&format!("app@{}", amd64.digest()));
    let by_index = registry.reference(&format!("app@{}", index.manifest.digest));
    let tagged = registry.reference(&format!("app:1@{}", index.manifest.digest));
    let project = Project::new().with_registry(&registry.host());
    let project = project.with_image(&by_image).with_image(&by_index).with_image(&tagged);
    project.build();
    let layout = layout(&project);
    assert_eq!(layout.digest_of(&by_image), amd64.digest());
    assert_eq!(layout.digest_of(&by_index), index.manifest.digest);
    assert_eq!(layout.digest_of(&tagged), index.manifest.digest);
}

#[test]
fn a_registry_that_serves_other_bytes_for_a_pin_is_caught() {
    let registry = Registry::start();
    let (wanted, other) = (Image::small(1, 1_000), Image::small(2, 1_000));
    registry.push("app:1", &other);
    let lying = Blob { digest: wanted.manifest.digest.clone(), ..other.manifest.clone() };
    registry.push_manifest("app", None, &lying);
    let project = project(&registry, &[&format!("app@{}", wanted.digest())]);
    project.run(&["build"]).code(1).says(&[wanted.digest()]);
}

#[test]
fn a_layer_of_many_images_is_fetched_once() {
    let registry = Registry::start();
    let shared = layer(99, 200_000);
    let names: Vec<String> = (0..50).map(|number| format!("app{number}:1")).collect();
    for (seed, name) in (0..).zip(&names) {
        registry.push(name, &Image::new(seed, std::slice::from_ref(&shared)));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let project = project(&registry, &names);
    project.build();
    assert_eq!(registry.requests("GET", &shared.blob.digest).len(), 1, "{}", registry.render_log());
    // One manifest each, one config each, one layer.
    assert_eq!(registry.requests("GET", "/manifests/").len(), 50);
    assert_eq!(registry.requests("GET", "/blobs/").len(), 51);
    assert_eq!(layout(&project).blobs(), 101);
}

#[test]
fn one_token_serves_all_requests_for_a_repository() {
    let auth = Auth::Token(TokenAuth { claimed_seconds: Some(300), ..TokenAuth::default() });
    let registry = Registry::with(Options { auth, ..Options::default() });
    let layers: Vec<Layer> = (0..10).map(|seed| layer(seed, 10_000)).collect();
    registry.push("app:1", &Image::new(1, &layers));
    project(&registry, &["app:1"]).build();
    assert_eq!(registry.requests("GET", "/token").len(), 1, "{}", registry.render_log());
}

#[test]
fn a_tag_that_has_moved_keeps_the_lock() {
    let registry = Registry::start();
    let (old, new) = (Image::small(1, 1_000), Image::small(2, 1_000));
    registry.push("app:1", &old);
    let project = project(&registry, &["app:1"]);
    project.build();
    registry.push("app:1", &new);
    // Without a state and a store, as on another machine.
    project.run(&["clean", "--dist"]).success();
    let run = project.build();
    assert_eq!(layout(&project).digest_of(&registry.reference("app:1")), old.digest(), "{run}");
}

/// From the first answer on an image is known by its digests alone.
#[test]
fn a_tag_that_moves_while_its_image_is_pulled_changes_nothing() {
    let registry = Registry::start();
    let index = |seed| {
        let arm64 = Image::build(seed + 1, &[layer(seed + 1, 1_000)], Dialect::Oci, Platform::arm64());
        Index::new(&[Image::small(seed, 200_000), arm64])
    };
    let (old, new) = (index(1), index(3));
    registry.push_index("app:1", &old);
    let gate = Gate::default();
    registry.fault(On::get("/blobs/"), Fault::Held(gate.clone()));
    let project = project(&registry, &["app:1"]);
    project.run(&["build", "--plan"]).success();
    let running = project.start(&["build"]);
    registry.wait_until(MINUTE, |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
    registry.push_index("app:1", &new);
    gate.open();
    running.finish().success();
    let reference = registry.reference("app:1");
    assert_eq!(layout(&project).digest_of(&reference), old.images[0].digest());
    assert!(project.read("config/airgap.lock").contains(old.images[0].digest()));
    project.run(&["build", "--clean"]).success();
    assert_eq!(layout(&project).digest_of(&reference), old.images[0].digest());
}

/// What was resolved counts from then on, also after a kill.
#[test]
fn a_tag_that_moves_between_a_kill_and_the_rerun_changes_nothing() {
    let registry = Registry::start();
    let shared = layer(9, 100_000);
    let image = |seed| Image::new(seed, &[shared.clone(), layer(seed, 200_000)]);
    let (old, new) = (image(1), image(2));
    registry.push("app:1", &old);
    let gate = Gate::default();
    registry.fault(On::get(old.layers[1].digest.clone()), Fault::Held(gate.clone()));
    let project = project(&registry, &["app:1"]);
    let running = project.start(&["build"]);
    registry.wait_until(MINUTE, |log| log.iter().any(|entry| entry.path.contains(&old.layers[1].digest)));
    running.kill();
    gate.open();
    registry.push("app:1", &new);
    project.build();
    assert_eq!(layout(&project).digest_of(&registry.reference("app:1")), old.digest());
    assert_eq!(layout(&project).blobs(), 4, "nothing of the other image is in it");
    assert!(project.read("config/airgap.lock").contains(old.digest()));
}

#[test]
fn many_blobs_are_fetched_at_the_same_time_but_not_too_many() {
    let registry = Registry::start();
    let layers: Vec<Layer> = (0..24).map(|seed| layer(seed, 10_000)).collect();
    registry.push("app:1", &Image::new(1, &layers));
    registry.fault(On::get("/blobs/"), Fault::Delay(Duration::from_millis(100)));
    let project = project(&registry, &["app:1"])
        .with_settings(|settings| settings["network"] = json!({ "concurrency": 16, "concurrency_per_host": 6 }));
    project.build();
    let most = registry.most_in_flight();
    assert!((3..=6).contains(&most), "{most} at the same time\n{}", registry.render_log());
}
