//! Guards that a kill costs only the bytes that were not yet safe: the next
//! run asks for the rest of a blob, and the package is the one of an
//! undisturbed run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::package::Package;
use airgap_tests::platform::Platform;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::soak::SYNC_INTERVAL;

/// The partial file of a blob: the largest file below build/store/partial.
fn partial(project: &Project) -> Option<(PathBuf, u64)> {
    let mut largest = None;
    visit(&project.path("build/store/partial"), &mut |path, size| {
        if largest.as_ref().is_none_or(|(_, other)| size > *other) {
            largest = Some((path.to_owned(), size));
        }
    });
    largest
}

fn visit(folder: &Path, found: &mut impl FnMut(&Path, u64)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(data) if data.is_dir() => visit(&entry.path(), found),
            Ok(data) => found(&entry.path(), data.len()),
            Err(_) => {}
        }
    }
}

fn wait_for(limit: Duration, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_kill_in_the_middle_of_a_layer_costs_one_sync_interval_at_most() {
    let registry = Registry::start();
    let content = Noise::new(1).bytes(48 << 20);
    let image = Image::new(1, &[layer_of("data", &content, Packing::Plain)]);
    registry.push("app:1", &image);
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    let layer = image.layers[0].digest.clone();
    let stalled = 40 << 20;
    registry.fault(On::get(layer.as_str()).once(), Fault::hang(stalled));

    let running = project.start(&["build"]);
    wait_for(Duration::from_secs(60), "the partial blob", || {
        partial(&project).is_some_and(|(_, size)| size >= stalled)
    });
    running.kill();
    let (_, kept) = partial(&project).unwrap();
    project.run(&["status"]).success().prints(&["◐ Interrupted"]);

    registry.forget();
    project.build();
    let requests = registry.requests("GET", &layer);
    let start = requests[0].range.expect("the rest is asked for").0;
    assert!(start + SYNC_INTERVAL >= kept && start <= kept, "{kept} bytes were there, asked from {start}");
    assert_eq!(requests.len(), 1);
    assert!(partial(&project).is_none(), "no partial blob is left: {:?}", partial(&project));
    Package::open(&project.package());
}

#[test]
fn a_terminated_build_ends_in_time_and_goes_on() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let registry = Registry::start();
        let image = Image::small(1, 2 << 20);
        registry.push("app:1", &image);
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        registry.fault(On::get(image.layers[0].digest.as_str()).once(), Fault::hang(1 << 20));
        let running = project.start(&["build"]);
        registry.wait_until(Duration::from_secs(60), |log| log.iter().any(|entry| entry.sent >= 1 << 20));
        wait_for(Duration::from_secs(60), "the partial blob", || {
            partial(&project).is_some_and(|(_, size)| size >= 1 << 20)
        });
        let sent = Instant::now();
        running.signal(signal);
        running.finish().code(code).says(&["kept"]);
        assert!(sent.elapsed() < Duration::from_secs(3), "{signal}: {:?}", sent.elapsed());

        registry.forget();
        project.build();
        let requests = registry.requests("GET", &image.layers[0].digest);
        assert_eq!(requests[0].range.map(|(start, _)| start), Some(1 << 20), "{}", registry.render_log());
    }
}

/// Killed at many places, by the number of requests that were answered.
#[test]
fn killed_anywhere_the_rerun_gives_the_same_package() {
    let platform = Platform::start();
    let undisturbed = platform.configure(Project::new().with_env("SOURCE_DATE_EPOCH", "1700000000"));
    undisturbed.build();
    let wanted = Package::open(&undisturbed.package()).sha256;
    let requests = platform.registry.log().len();
    for number in (0..requests).step_by(5) {
        let platform_gate = Gate::default();
        platform.registry.forget();
        platform.registry.heal();
        platform.registry.fault(On::any().after(number as u64), Fault::Held(platform_gate.clone()));
        let project = platform.configure(Project::new().with_env("SOURCE_DATE_EPOCH", "1700000000"));
        let running = project.start(&["build"]);
        platform.registry.wait_until(Duration::from_secs(60), |log| log.len() > number);
        running.kill();
        platform_gate.open();
        platform.registry.heal();
        project.build();
        assert_eq!(Package::open(&project.package()).sha256, wanted, "killed at request {number}");
        let left = std::fs::read_dir(project.path("build/staging")).map(Iterator::count).unwrap_or(0);
        assert_eq!(left, 0, "a transaction is left after a kill at request {number}");
    }
}

#[test]
fn only_the_failed_step_and_those_behind_it_run_again() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    platform.files.fault(On::get("/yq"), Fault::status(404));
    project.run(&["build"]).code(1);
    assert_eq!(project.step("files")["status"], "FAILED");
    assert_eq!(project.step("images")["status"], "COMPLETED");
    assert_eq!(project.step("package")["status"], "PENDING");
    let images = project.step("images");

    platform.files.heal();
    platform.files.forget();
    platform.registry.forget();
    project.build();
    assert_eq!(platform.registry.render_log(), "");
    assert_eq!(project.step("images"), images);
    let fetched: Vec<String> = platform.files.log().into_iter().map(|entry| entry.path).collect();
    assert!(fetched.iter().all(|path| path.contains("/yq")), "{fetched:?}");
}
