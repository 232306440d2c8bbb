//! Guards airgap.lock: it wins over what servers say now, `update` takes what
//! is new and shows it, `--locked` and `--offline` refuse what it lacks.

use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::layout::Layout;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

fn project(registry: &Registry, files: &FileServer) -> Project {
    registry.push("app:1", &Image::small(1, 5_000));
    registry.push("other:1", &Image::small(2, 5_000));
    let url = files.put("/yq", "one");
    Project::new()
        .with_registry(&registry.host())
        .with_file_server(&files.host())
        .with_image(registry.reference("app:1"))
        .with_image(registry.reference("other:1"))
        .with_tool("yq", &url, None)
}

#[test]
fn a_tag_that_moved_stays_until_it_is_updated() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    project.build();
    let moved = Image::small(3, 5_000);
    registry.push("app:1", &moved);
    registry.push("other:1", &Image::small(4, 5_000));
    let lock = project.read("config/airgap.lock");
    project.run(&["build", "--clean"]).success();
    assert_eq!(project.read("config/airgap.lock"), lock);

    let run = project.run(&["update", "/app"]).success();
    assert_eq!(run.stdout.lines().filter(|line| line.starts_with('~')).count(), 1, "{run}");
    assert!(run.stdout.contains("app:1") && run.stdout.contains('→'), "{run}");
    let images = Layout::check(&project.path("build/steps/images"));
    assert_eq!(images.digest_of(&registry.reference("app:1")), moved.digest());

    // What depends on it runs, and nothing is fetched again.
    let built = project.build();
    assert!(!built.stdout.contains("Nothing to do"), "{built}");
    let metrics: serde_json::Value = serde_json::from_str(&project.read("build/metrics.json")).unwrap();
    for step in metrics["steps"].as_array().unwrap() {
        match step["id"].as_str().unwrap() {
            "zarf_gen" | "package" => assert_eq!(step["ran"], true, "{built}"),
            // Neither is made from what an image resolved to.
            "images" | "files" | "repos" | "manifests" | "charts" => assert_eq!(step["ran"], false, "{built}"),
            _ => {}
        }
    }
    project.build().prints(&["Nothing to do"]);
}

#[test]
fn an_update_without_news_changes_nothing() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    project.build();
    let lock = project.read("config/airgap.lock");
    project.run(&["update"]).success().prints(&["Everything is as"]);
    assert_eq!(project.read("config/airgap.lock"), lock);
    let lines = project.run(&["update", "--json", "yq"]).success().json_lines();
    let last = lines.last().unwrap();
    assert_eq!((last["event"].as_str(), last["changes"].as_array().map(Vec::len)), (Some("updated"), Some(0)));
}

#[test]
fn what_can_not_be_resolved_keeps_its_entry() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    project.build();
    registry.push("app:1", &Image::small(3, 5_000));
    registry.fault(On::get("/other/manifests/"), Fault::status(404));
    let run = project.run(&["update"]).code(1).says(&["other:1"]);
    assert!(run.stdout.contains("app:1"), "{run}");
    let lock = project.read("config/airgap.lock");
    assert!(lock.contains("other:1"), "{lock}");
}

#[test]
fn a_file_that_changed_is_taken_by_its_name() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    project.build();
    files.put("/yq", "two");
    project.run(&["update", "yq"]).success().prints(&["~ file", "/yq"]);
    project.run(&["update", "yp"]).code(2).says(&["`yp`", "`yq`"]);
}

#[test]
fn locked_refuses_all_that_the_lock_lacks_before_anything_is_fetched() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    registry.forget();
    let (app, other) = (registry.reference("app:1"), registry.reference("other:1"));
    project.run(&["build", "--locked"]).code(3).says(&[&app, &other, "/yq", "airgap.lock"]);
    assert_eq!(registry.render_log(), "");
    assert!(!project.exists("config/airgap.lock"));
    project.build();
    project.run(&["build", "--clean", "--locked"]).success();
}

#[test]
fn offline_lists_everything_that_is_missing_at_once() {
    let (registry, files) = (Registry::start(), FileServer::start());
    let project = project(&registry, &files);
    let (app, other) = (registry.reference("app:1"), registry.reference("other:1"));
    registry.forget();
    project.run(&["build", "--offline"]).code(1).says(&[&app, &other, "/yq", "--offline"]);
    assert_eq!(registry.render_log(), "");
    project.build();
    registry.forget();
    project.run(&["build", "--clean", "--offline"]).success();
    assert_eq!(registry.render_log(), "");
}
