//! Guards `build --plan`, which changes nothing, and the check of free space
//! before the first byte.

use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

fn project(registry: &Registry) -> Project {
    registry.push("app:1", &Image::small(1, 50_000));
    Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"))
}

#[test]
fn a_plan_changes_nothing_and_asks_nobody() {
    let registry = Registry::start();
    let project = project(&registry);
    let before = project.config_files();
    registry.forget();
    project.run(&["build", "--plan"]).success().prints(&["first one", "images", "runs", &registry.host()]);
    assert_eq!(project.config_files(), before);
    assert!(!project.exists("build") && !project.exists("dist"));
    assert_eq!(registry.render_log(), "");
}

#[test]
fn a_plan_knows_what_is_missing_and_what_runs() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let state = project.read("build/state.json");
    project.run(&["build", "--plan"]).success().prints(&["Nothing to do", "Fetches nothing"]);

    std::fs::remove_dir_all(project.path("build/store")).unwrap();
    let plan = project.run(&["build", "--plan", "--json", "--clean"]).success().json();
    assert_eq!(plan["event"], "plan");
    assert_eq!(plan["begins"], "anew");
    let action = |id: &str| {
        let steps = plan["steps"].as_array().unwrap();
        steps.iter().find(|step| step["id"] == id).unwrap()["action"].as_str().unwrap().to_owned()
    };
    assert_eq!((action("images").as_str(), action("package").as_str()), ("run", "run"));
    // The manifest, the configuration, one layer.
    assert_eq!(plan["total"]["missing"], 3);
    assert_eq!(plan["total"]["unknown"], 0);
    assert!(plan["total"]["bytes_to_fetch"].as_u64().unwrap() > 50_000);
    assert_eq!(plan["requests"][registry.host()]["known"], 3);
    assert!(plan["disk"][0]["free"].as_u64().unwrap() > 0);
    assert_eq!(project.read("build/state.json"), state);
}

#[test]
fn a_plan_sees_the_pins_as_they_are_now() {
    let registry = Registry::start();
    let project = Project::new().with_registry(&registry.host());
    let catalog = project.read("config/catalog.yaml");
    let image = registry.reference("kube");
    project
        .write("config/catalog.yaml", format!("{catalog}images:\n  - image: \"{image}:{{{{KUBERNETES_VERSION}}}}\"\n"));
    registry.push("kube:v1.34.3", &Image::small(1, 1_000));
    project.build();
    let pins = project.read("config/versions.env");
    project.write("config/versions.env", pins.replace("v1.34.3", "v1.34.4"));
    let before = project.config_files();
    let plan = project.run(&["build", "--plan", "--json"]).success().json();
    assert_eq!(plan["to_fetch"][0]["item"], format!("{image}:v1.34.4"));
    assert!(plan["changes"].to_string().contains("KUBERNETES_VERSION"), "{plan:#}");
    assert_eq!(project.config_files(), before);
}

/// A layer that no disk holds is refused with both numbers before the first
/// byte of anything is fetched.
#[test]
fn a_disk_that_is_too_small_is_refused_early() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let lock = project.read("config/airgap.lock");
    let at = lock.find("      - {").expect("a layer in the lock");
    let size = at + lock[at..].find("size: ").expect("its size") + "size: ".len();
    let end = size + lock[size..].find('}').expect("its end");
    project.write("config/airgap.lock", format!("{}9000000000000000{}", &lock[..size], &lock[end..]));
    std::fs::remove_dir_all(project.path("build/store")).unwrap();
    registry.forget();
    let run = project.run(&["build", "--clean"]).code(75).says(&["not enough space", "free", "hint:"]);
    assert!(run.stderr.contains("9000000000000") || run.stderr.contains("18000000000"), "{run}");
    assert_eq!(registry.render_log(), "");
    project.run(&["build", "--plan", "--clean"]).code(75).prints(&["Writes"]);
}
