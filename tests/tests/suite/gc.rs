//! Guards `gc`: what the configuration needs stays, the rest goes, and a dry
//! run only says so.

use airgap_tests::fault::{Fault, On};
use airgap_tests::images::{Dialect, Image, Index, Platform, layer};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

fn blobs(project: &Project) -> usize {
    std::fs::read_dir(project.path("build/store/blobs/sha256")).map_or(0, Iterator::count)
}

#[test]
fn what_the_configuration_no_longer_names_is_dropped() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 20_000));
    registry.push("old:1", &Image::small(2, 30_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    let kept = project.read("config/components.yaml");
    project.build();
    let needed = blobs(&project);
    project.run(&["add", "image", &registry.reference("old:1")]).success();
    project.build();
    let all = blobs(&project);
    assert!(all > needed);
    project.run(&["gc"]).success().prints(&["nothing to remove"]);
    assert_eq!(blobs(&project), all);

    project.write("config/components.yaml", kept);
    project.build();
    project.run(&["gc", "--dry-run"]).success().prints(&["would remove"]);
    assert_eq!(blobs(&project), all);
    let collected = project.run(&["gc", "--json"]).success().json();
    assert_eq!(collected["event"], "collected");
    assert!(collected["bytes"].as_u64().unwrap() > 30_000, "{collected:#}");
    assert_eq!(blobs(&project), needed);

    // Nothing that a build needs is gone.
    registry.forget();
    project.run(&["build", "--clean", "--offline"]).success();
    assert_eq!(registry.render_log(), "");
}

#[test]
fn an_unfinished_build_keeps_what_it_fetched() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 20_000));
    registry.push("bad:1", &Image::small(2, 20_000));
    let project = Project::new()
        .with_registry(&registry.host())
        .with_image(registry.reference("app:1"))
        .with_image(registry.reference("bad:1"));
    registry.fault(On::get("/bad/manifests/"), Fault::status(404));
    project.run(&["build"]).code(1);
    let fetched = blobs(&project);
    assert!(fetched > 0);
    project.run(&["gc"]).success().prints(&["not finished"]);
    assert_eq!(blobs(&project), fetched);
    registry.heal();
    project.build();
}

#[test]
fn a_foreign_folder_is_left_alone() {
    let project = Project::new();
    project.run(&["gc"]).success().prints(&["nothing to remove"]);
    project.write("build/precious.txt", "x");
    project.run(&["gc"]).code(1).says(&["not a build folder"]);
    assert!(project.exists("build/precious.txt"));
}

/// The lock names the image for this platform alone; the others that its pin
/// names are known by the index in the store.
#[test]
fn an_image_pinned_at_an_index_keeps_all_that_the_index_names() {
    let registry = Registry::start();
    let other = Image::build(2, &[layer(2, 30_000)], Dialect::Oci, Platform::arm64());
    let index = Index::new(&[Image::small(1, 20_000), other]);
    registry.push_index("app:1", &index);
    let pin = registry.reference(&format!("app@{}", index.manifest.digest));
    let project = Project::new().with_registry(&registry.host()).with_image(pin);
    project.build();
    // The tree that is made of them is to be made again.
    project.remove("build/steps/images.json");
    project.run(&["gc"]).success().prints(&["nothing to remove"]);
    registry.forget();
    project.run(&["build", "--offline"]).success();
}
