//! Guards that the wall clock may jump, in the middle of a build and between
//! two: durations, tokens and pauses do not follow it, and no finished work is
//! taken for old.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use airgap_tests::clock::Clock;
use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::{Auth, Options, Registry, TokenAuth};

const SIZE: usize = 1 << 20;
const DAY: i64 = 24 * 3600;

/// A clock without a battery, at the second day of its time.
fn since_the_epoch() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    DAY - i64::try_from(now).unwrap()
}

#[test]
fn a_jump_in_the_middle_of_a_download_changes_nothing() {
    let Some(clock) = Clock::right() else { return };
    for jump in [400 * DAY, -400 * DAY] {
        clock.set(0);
        let auth = Auth::Token(TokenAuth { claimed_seconds: Some(300), ..TokenAuth::default() });
        let registry = Registry::with(Options { auth, ..Options::default() });
        let image = Image::small(1, SIZE);
        registry.push("app:1", &image);
        let layer = image.layers[0].digest.as_str();
        let gate = Gate::default();
        registry.fault(On::get(layer).once(), Fault::Cut { after: 600_000 });
        registry.fault(On::get(layer).after(1), Fault::Held(gate.clone()));
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        let project = clock.given_to(project);

        let running = project.start(&["build"]);
        let asked = || registry.requests("GET", layer);
        registry.wait_until(Duration::from_secs(60), |log| {
            log.iter().filter(|entry| entry.path.contains(layer)).count() == 2
        });
        clock.set(jump);
        gate.open();
        let run = running.finish().success();

        let step = project.step("images");
        let (began, ended) = (step["started_at"].as_str().unwrap(), step["completed_at"].as_str().unwrap());
        assert_eq!(began < ended, jump > 0, "the clock jumped: {step:#}");
        assert!(step["duration_ms"].as_u64().unwrap() <= run.time.as_millis() as u64, "{step:#}");
        let starts: Vec<_> = asked().iter().map(|entry| entry.range.map(|(start, _)| start)).collect();
        assert_eq!(starts, [None, Some(600_000)], "{}", registry.render_log());
        assert_eq!(registry.requests("GET", "/token").len(), 1, "{}", registry.render_log());
        project.run(&["status"]).success();
        project.run(&["build"]).success().prints(&["Nothing to do"]);
    }
}

/// Killed, so that nothing but the time tells which blobs the build fetched.
#[test]
fn what_a_build_with_a_wrong_clock_fetched_is_kept_when_the_clock_is_right() {
    let Some(clock) = Clock::right() else { return };
    for wrong in [4000 * DAY, since_the_epoch()] {
        let registry = Registry::start();
        let (first, second) = (Image::small(1, SIZE), Image::small(2, SIZE));
        registry.push("first:1", &first);
        registry.push("second:1", &second);
        let project = Project::new().with_registry(&registry.host());
        let project = project.with_image(registry.reference("first:1")).with_image(registry.reference("second:1"));
        let project = clock.given_to(project);
        clock.set(wrong);
        let gate = Gate::default();
        registry.fault(On::get(second.layers[0].digest.as_str()), Fault::Held(gate.clone()));
        let running = project.start(&["build"]);
        wait_for_blobs(&project, &first);
        running.kill();
        gate.open();
        registry.heal();
        let begun = project.state()["created_at"].as_str().unwrap().to_owned();
        assert!(begun.starts_with("1970") || begun.as_str() > "2030", "the clock was wrong: {begun}");

        clock.set(0);
        project.run(&["status"]).success();
        project.run(&["gc"]).success();
        registry.forget();
        project.build();
        let fetched = registry.requests("GET", "/first/blobs/");
        assert!(fetched.is_empty(), "fetched again after a clock wrong by {wrong} s:\n{}", registry.render_log());
    }
}

/// Waits until everything of an image is in the store.
fn wait_for_blobs(project: &Project, image: &Image) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !image.blobs().all(|blob| project.exists(&format!("build/store/blobs/sha256/{}", blob.hex()))) {
        assert!(Instant::now() < deadline, "the image did not arrive");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A date to come back at counts by the clock of the server that named it.
#[test]
fn a_wrong_clock_does_not_change_how_long_a_server_is_waited_for() {
    let Some(clock) = Clock::right() else { return };
    for wrong in [DAY, -DAY] {
        clock.set(wrong);
        let registry = Registry::start();
        let image = Image::small(1, SIZE);
        registry.push("app:1", &image);
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        let project = clock.given_to(project);
        let now = SystemTime::now();
        let date = |time| httpdate::fmt_http_date(time);
        let headers =
            vec![("date".to_owned(), date(now)), ("retry-after".to_owned(), date(now + Duration::from_secs(2)))];
        registry.fault(On::get("/blobs/").once(), Fault::Status { status: 429, headers, body: Vec::new() });
        project.build();
        let requests = registry.requests("GET", "/blobs/");
        let refused = requests.iter().position(|entry| entry.status == 429).expect("one was refused");
        let again = requests[refused + 1..].iter().find(|entry| entry.path == requests[refused].path);
        let pause = again.expect("it is asked for again").at - requests[refused].at;
        assert!((Duration::from_secs(2)..Duration::from_secs(30)).contains(&pause), "{wrong}: {pause:?}");
    }
}
