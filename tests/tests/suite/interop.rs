//! Guards that other people's programs and ours understand each other: the
//! real registry, skopeo on both ends, docker's credentials.

use airgap_tests::images::{self, Dialect, Image, Platform, layer};
use airgap_tests::layout::Layout;
use airgap_tests::project::Project;
use airgap_tests::registry::{Auth, Options, Registry};
use airgap_tests::tools::{self, DockerRegistry, Skopeo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

#[test]
fn what_skopeo_pushes_to_a_real_registry_is_pulled_as_it_is() {
    let (Some(registry), Some(skopeo)) = (DockerRegistry::start(), Skopeo::find()) else { return };
    let oci = Image::new(1, &[layer(1, 300_000), layer(2, 100_000)]);
    skopeo.push(&["--preserve-digests"], &oci, &registry.reference("team/oci:1"));
    skopeo.push(&["--format", "v2s2"], &oci, &registry.reference("team/docker:1"));

    let project = Project::new()
        .with_registry(&registry.host())
        .with_image(registry.reference("team/oci:1"))
        .with_image(registry.reference("team/docker:1"));
    project.build();

    let layout = Layout::check(&project.path("build/steps/images"));
    assert_eq!(layout.digest_of(&registry.reference("team/oci:1")), oci.digest());
    for name in ["team/oci:1", "team/docker:1"] {
        let served = skopeo.raw_manifest(&format!("docker://{}", registry.reference(name)));
        let ours = std::fs::read_to_string(layout.blob(&layout.digest_of(&registry.reference(name)))).unwrap();
        assert_eq!(ours, served, "{name}");
    }
    let docker = std::fs::read_to_string(layout.blob(&layout.digest_of(&registry.reference("team/docker:1")))).unwrap();
    assert!(docker.contains(images::DOCKER_MANIFEST), "{docker}");
}

#[test]
fn skopeo_reads_the_image_layout_of_a_build() {
    let (Some(registry), Some(skopeo)) = (DockerRegistry::start(), Skopeo::find()) else { return };
    let oci = Image::new(1, &[layer(1, 300_000)]);
    skopeo.push(&[], &oci, &registry.reference("app:1"));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();

    let layout = format!("oci:{}:{}", project.path("build/steps/images").display(), registry.reference("app:1"));
    assert!(skopeo.raw_manifest(&layout).contains(&oci.layers[0].digest));
    let copy = tempfile::tempdir().unwrap();
    skopeo.copy(&[], &layout, &format!("dir:{}", copy.path().display()));
    let copied = std::fs::read(copy.path().join(oci.layers[0].hex())).unwrap();
    assert_eq!(copied, oci.layers[0].bytes[..]);
}

#[test]
fn credentials_of_docker_login_open_a_closed_registry() {
    let (Some(registry), Some(skopeo)) = (DockerRegistry::start_closed(), Skopeo::find()) else { return };
    let image = Image::build(1, &[layer(1, 100_000)], Dialect::Oci, Platform::amd64());
    let credentials = format!("{}:{}", tools::USER, tools::PASSWORD);
    skopeo.push(&["--dest-creds", &credentials], &image, &registry.reference("app:1"));

    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.run(&["build"]).code(1).says(&[&registry.host(), "401"]);

    project.write("home/.docker/config.json", tools::docker_config(&registry.host(), "hunter2-wrong"));
    let run = project.run(&["build"]).code(1).says(&[&registry.host(), "401", "config.json"]);
    run.never_says("hunter2").never_says(&BASE64.encode(format!("{}:hunter2-wrong", tools::USER)));

    project.write("home/.docker/config.json", tools::docker_config(&registry.host(), tools::PASSWORD));
    let run = project.build();
    run.never_says(tools::PASSWORD);
    Layout::check(&project.path("build/steps/images"));
    for file in ["build/state.json", "build/metrics.json", "config/airgap.lock"] {
        let text = project.read(file);
        assert!(!text.contains(tools::PASSWORD) && !text.contains("hunter2"), "{file}:\n{text}");
    }
}

#[test]
fn credential_helpers_are_asked_for_the_host() {
    use std::os::unix::fs::PermissionsExt;
    let (Some(registry), Some(skopeo)) = (DockerRegistry::start_closed(), Skopeo::find()) else { return };
    let image = Image::small(1, 10_000);
    let credentials = format!("{}:{}", tools::USER, tools::PASSWORD);
    skopeo.push(&["--dest-creds", &credentials], &image, &registry.reference("app:1"));
    let project = Project::new();
    let answer = json!({ "ServerURL": registry.host(), "Username": tools::USER, "Secret": tools::PASSWORD });
    let script = format!("#!/bin/sh\necho \"$1\" >> \"$HOME/asked\"\ncat >> \"$HOME/asked\"\necho '{answer}'\n");
    project.write("bin/docker-credential-tests", script);
    std::fs::set_permissions(project.path("bin/docker-credential-tests"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    let config = json!({ "credHelpers": { registry.host(): "tests" } });
    project.write("home/.docker/config.json", config.to_string());
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    let project =
        project.with_env("PATH", path).with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    let asked = project.read("home/asked");
    assert!(asked.starts_with("get") && asked.contains(&registry.host()), "{asked}");
    // Asked once, however many requests there were.
    assert_eq!(asked.matches("get").count(), 1, "{asked}");
}

#[test]
fn docker_config_names_another_folder() {
    let auth = Auth::Basic(tools::USER.to_owned(), tools::PASSWORD.to_owned());
    let registry = Registry::with(Options { auth, ..Options::default() });
    registry.push("app:1", &Image::small(1, 10_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.write("elsewhere/config.json", tools::docker_config(&registry.host(), tools::PASSWORD));
    project.run(&["build"]).code(1).says(&[&registry.host(), "401"]);
    let folder = project.path("elsewhere").display().to_string();
    project.with_env("DOCKER_CONFIG", folder).build().never_says(tools::PASSWORD);
}
