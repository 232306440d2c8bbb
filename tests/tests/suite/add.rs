//! Guards `add`: one entry more in components.yaml, every other byte as it
//! was, and nothing twice.

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

const COMPONENTS: &str = "# Ours.\nimages:\n  additional:\n    - image: quay.io/a/b:1 # pinned for a reason\n";

fn project() -> Project {
    let project = Project::new();
    project.write("config/components.yaml", COMPONENTS);
    project
}

#[test]
fn additions_leave_the_rest_as_it_is() {
    let project = project();
    project.run(&["add", "image", "nginx:1.27", "quay.io/c/d:2"]).success().prints(&["nginx:1.27", "quay.io/c/d:2"]);
    project.run(&["add", "tool", "yq", "--version", "4.44.1", "--url", "https://files.example/yq_{{arch}}"]).success();
    project
        .run(&["add", "chart", "web", "--repo", "https://charts.example", "--version", "~1.0", "--namespace", "web"])
        .success();
    project.run(&["add", "repo", "base", "--url", "https://git.example/base.git", "--ref", "v1"]).success();

    let text = project.read("config/components.yaml");
    for line in COMPONENTS.lines() {
        assert!(text.contains(line), "{line} is gone from\n{text}");
    }
    let parsed: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(parsed["images"]["additional"].as_array().unwrap().len(), 3);
    assert_eq!(parsed["tools"][0]["url"], "https://files.example/yq_{{arch}}");
    assert_eq!(parsed["charts"][0]["namespace"], "web");
    assert_eq!(parsed["repositories"][0]["ref"], "v1");
}

#[test]
fn what_is_there_is_refused_and_nothing_is_written() {
    let project = project();
    project.write("config/components.yaml", format!("{COMPONENTS}    - nginx\n"));
    let before = project.read("config/components.yaml");
    for image in ["quay.io/a/b:1", "docker.io/library/nginx:latest"] {
        project.run(&["add", "image", image]).code(3).says(&[image, "hint:"]);
    }
    project.run(&["add", "image", "new:1", "new:1"]).code(3);
    project.run(&["add", "image", "Not An Image"]).code(3);
    project.run(&["add", "chart", "web", "--repo", "./charts/web", "--version", "1"]).code(3).says(&["charts/web"]);
    project.run(&["add", "tool", "x", "--version", "1", "--url", "ftp://x/y"]).code(3);
    project.run(&["add", "tool", "x", "--version", "1"]).code(2);
    assert_eq!(project.read("config/components.yaml"), before);
}

/// An addition before the first build keeps the catalog's part.
#[test]
fn an_addition_before_the_first_build_is_packaged_with_what_is_generated() {
    let registry = Registry::start();
    registry.push("generated:1", &Image::small(1, 1_000));
    registry.push("added:1", &Image::small(2, 1_000));
    let project = Project::new().with_registry(&registry.host());
    let catalog = project.read("config/catalog.yaml");
    project
        .write("config/catalog.yaml", format!("{catalog}images:\n  - image: {}\n", registry.reference("generated:1")));
    project.run(&["add", "image", &registry.reference("generated:1")]).code(3).says(&["already"]);
    project.run(&["add", "image", &registry.reference("added:1")]).success();
    // The file is there now, and still lacks what will be generated.
    project.run(&["add", "image", &registry.reference("generated:1")]).code(3).says(&["already", "catalog"]);
    project
        .run(&["add", "image", &registry.reference("added:1")])
        .code(3)
        .says(&["config/components.yaml:", "already"]);
    project.build();
    project.run(&["add", "image", &registry.reference("generated:1")]).code(3).says(&["config/components.yaml:"]);
    let text = project.read("config/components.yaml");
    assert!(text.contains("generated:1") && text.contains("added:1"), "{text}");
    assert_eq!(airgap_tests::layout::Layout::check(&project.path("build/steps/images")).entries.len(), 2);
}

#[test]
fn a_running_build_keeps_its_configuration() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 10_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    let gate = Gate::default();
    registry.fault(On::get("/blobs/"), Fault::Held(gate.clone()));
    let running = project.start(&["build"]);
    registry
        .wait_until(std::time::Duration::from_secs(60), |log| log.iter().any(|entry| entry.path.contains("/blobs/")));
    let before = project.read("config/components.yaml");
    project.run(&["add", "image", "nginx:1.27"]).code(5).says(&["holds the build"]);
    assert_eq!(project.read("config/components.yaml"), before);
    gate.open();
    running.finish().success();
    project.run(&["add", "image", "nginx:1.27"]).success();
}
