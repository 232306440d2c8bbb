//! Guards what a build knows and has, beyond the bytes of one download: what
//! was resolved before a kill, outputs that rot, the clock of a package.

use std::time::{Duration, SystemTime};

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, Index};
use airgap_tests::package::Package;
use airgap_tests::platform::program;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

/// Without a checksum the only one who knows what a file was is the one who
/// fetched it.
#[test]
fn a_file_without_a_checksum_that_came_before_a_kill_is_not_fetched_again() {
    let files = FileServer::start();
    let first = files.put("/first", program("first", 1, 200_000));
    let second = files.put("/second", program("second", 2, 200_000));
    let project = Project::new()
        .with_file_server(&files.host())
        .with_tool("first", &first, None)
        .with_tool("second", &second, None);
    let gate = Gate::default();
    files.fault(On::get("/second"), Fault::Held(gate.clone()));
    let running = project.start(&["build"]);
    files.wait_until(Duration::from_secs(60), |log| log.iter().any(|entry| entry.path == "/second"));
    let journal = || std::fs::read_to_string(project.path("build/staging/files/journal.jsonl")).unwrap_or_default();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !journal().contains("first") {
        assert!(std::time::Instant::now() < deadline, "the first file is not done: {}", journal());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    gate.open();
    files.heal();
    files.forget();
    project.build();
    assert!(files.requests("GET", "/first").is_empty(), "{}", files.render_log());
    assert!(!project.exists("build/resolved.jsonl"), "all of it is in airgap.lock now");
}

/// The trees share their bytes with the store, which rots along.
#[test]
fn outputs_that_rot_are_found_and_fetched_again() {
    let registry = Registry::start();
    let image = Image::small(1, 50_000);
    registry.push("app:1", &image);
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    let wanted = Package::open(&project.package()).sha256;
    let layer = image.layers[0].hex();
    let path = project.path(&format!("build/steps/images/blobs/sha256/{layer}"));
    let bytes = std::fs::read(&path).unwrap();

    let mut rotten = bytes.clone();
    rotten[1000] ^= 1;
    for (content, arguments) in
        [(&rotten[..], &["build", "--verify-outputs"][..]), (&bytes[..1000], &["build"][..]), (&[][..], &["build"][..])]
    {
        registry.forget();
        std::fs::write(&path, content).unwrap();
        project.run(arguments).success();
        assert_eq!(registry.requests("GET", layer).len(), 1, "{}", registry.render_log());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(Package::open(&project.package()).sha256, wanted);
        project.run(&["build", "--verify-outputs"]).success().prints(&["Nothing to do"]);
    }
}

/// An update that changes the lock and no tree still moves the clock.
#[test]
fn the_lock_that_an_update_left_gives_the_same_package_elsewhere() {
    let registry = Registry::start();
    let image = Image::small(1, 5_000);
    registry.push_index("app:1", &Index::new(std::slice::from_ref(&image)));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    registry.push_index("app:1", &Index::with_attestations(&[image]));
    // The clock of the lock has whole seconds.
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let built = second();
    while second() == built {
        std::thread::sleep(Duration::from_millis(5));
    }
    project.run(&["update"]).success().prints(&["app:1"]);
    project.build();
    project.build().prints(&["Nothing to do"]);

    let elsewhere = Project::bare();
    for (path, content) in project.config_files() {
        let name = std::path::Path::new(&path).strip_prefix(project.root()).unwrap();
        elsewhere.write(&name.to_string_lossy(), content);
    }
    elsewhere.build();
    assert_eq!(Package::open(&elsewhere.package()).sha256, Package::open(&project.package()).sha256);
}

#[test]
fn a_signal_between_two_attempts_of_a_step_ends_as_one() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 5_000));
    registry.fault(On::get("/app/"), Fault::status(503));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1")).with_settings(
        |settings| {
            settings["retries"] = serde_json::json!({ "requests": 1, "steps": 5, "backoff": 30.0 });
        },
    );
    let running = project.start(&["build", "--json"]);
    registry.wait_until(Duration::from_secs(60), |log| log.iter().any(|entry| entry.path.contains("/app/")));
    running.signal("INT");
    running.finish().code(130);
}
