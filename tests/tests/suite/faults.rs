//! Guards that each fault of a network costs only the work in flight: what is
//! retried, what is kept, what is never appended to, what is given up and with
//! which exit code.

use std::time::{Duration, Instant, SystemTime};

use airgap_tests::fault::{Fault, On, Trigger};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::{LoggedRequest, in_flight};
use airgap_tests::images::{Image, Layer, Packing, layer, layer_of};
use airgap_tests::layout::Layout;
use airgap_tests::outcome::Outcome;
use airgap_tests::package::Package;
use airgap_tests::platform::Platform;
use airgap_tests::project::{Project, Run};
use airgap_tests::registry::{Auth, Options, RateLimit, Redirects, Registry, TokenAuth};
use serde_json::json;

const SIZE: usize = 1 << 20;

/// A registry with one image of one large layer, and a project that wants it.
struct Bench {
    registry: Registry,
    project: Project,
    layer: Layer,
}

impl Bench {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let registry = Registry::with(options);
        let content = airgap_tests::images::Noise::new(7).bytes(SIZE);
        let layer = layer_of("data", &content, Packing::Plain);
        registry.push("app:1", &Image::new(1, std::slice::from_ref(&layer)));
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        Self { registry, project, layer }
    }

    fn on_layer(&self) -> On {
        On::get(format!("/blobs/{}", self.layer.blob.digest))
    }

    fn cut_once(&self, after: u64) -> Trigger {
        self.registry.fault(self.on_layer().once(), Fault::Cut { after })
    }

    #[track_caller]
    fn succeeds(&self) -> Vec<LoggedRequest> {
        let run = self.project.run(&["build"]);
        let requests = self.requests();
        assert_eq!(run.status.code(), Some(0), "{run}\n{}", self.registry.render_log());
        Layout::check(&self.project.path("build/steps/images"));
        Package::open(&self.project.package());
        requests
    }

    #[track_caller]
    fn fails(&self, code: i32) -> Run {
        self.project.run(&["build"]).code(code)
    }

    /// The requests for the layer, wherever they went.
    fn requests(&self) -> Vec<LoggedRequest> {
        self.registry.requests("GET", &self.layer.blob.digest)
    }

    fn size(&self) -> u64 {
        self.layer.blob.size()
    }
}

fn starts(requests: &[LoggedRequest]) -> Vec<Option<u64>> {
    requests.iter().map(|entry| entry.range.map(|(start, _)| start)).collect()
}

#[test]
fn a_cut_goes_on_where_it_stopped() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    assert_eq!(starts(&bench.succeeds()), [None, Some(600_000)]);
}

#[test]
fn a_reset_goes_on_where_it_stopped() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().once(), Fault::Reset { after: 600_000 });
    let requests = bench.succeeds();
    assert_eq!(requests.len(), 2);
    // A reset may drop what the kernel had not handed over yet.
    assert!(requests[1].range.is_none_or(|(start, _)| start <= 600_000), "{requests:?}");
}

#[test]
fn many_cuts_are_no_failure_while_there_is_progress() {
    let bench = Bench::new();
    // More cuts than a request has attempts without progress.
    bench.registry.fault(bench.on_layer().times(20), Fault::Cut { after: 50_000 });
    let starts: Vec<u64> = starts(&bench.succeeds()).into_iter().flatten().collect();
    assert!(starts.is_sorted() && starts.len() == 20, "{starts:?}");
}

#[test]
fn a_200_to_a_range_starts_over() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    bench.registry.fault(bench.on_layer().with_range(), Fault::IgnoreRange);
    bench.succeeds();
}

#[test]
fn a_206_with_another_start_is_not_appended() {
    for start in [0, 599_999, 600_001] {
        let bench = Bench::new();
        bench.cut_once(600_000);
        bench.registry.fault(bench.on_layer().with_range().once(), Fault::RangeFrom(start));
        bench.succeeds();
    }
}

#[test]
fn a_206_with_another_total_is_not_appended() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    let total = bench.size() + 1;
    bench.registry.fault(bench.on_layer().with_range().once(), Fault::RangeTotal(total));
    bench.succeeds();
}

#[test]
fn a_206_without_its_place_is_not_appended() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    bench.registry.fault(bench.on_layer().with_range().once(), Fault::NoContentRange);
    bench.succeeds();
}

#[test]
fn a_416_starts_over() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    bench.registry.fault(bench.on_layer().with_range().once(), Fault::RangeRefused);
    bench.succeeds();
}

#[test]
fn a_registry_without_ranges_works_from_scratch() {
    let bench = Bench::with(Options { no_ranges: true, ..Options::default() });
    bench.cut_once(600_000);
    bench.succeeds();
}

#[test]
fn an_expired_redirect_goes_back_to_the_registry() {
    let bench =
        Bench::with(Options { redirects: Some(Redirects { uses: Some(1), lifetime: None }), ..Options::default() });
    let storage = bench.registry.storage();
    storage.fault(bench.on_storage().once(), Fault::Cut { after: 600_000 });
    bench.succeeds();
    let sent = storage.requests("GET", &bench.layer.blob.digest);
    assert_eq!(sent.last().unwrap().range.map(|(start, _)| start), Some(600_000), "{}", storage.render_log());
    // The registry's credentials and its tokens are not for other hosts.
    assert!(storage.log().iter().all(|entry| entry.header("authorization").is_none()));
}

impl Bench {
    fn on_storage(&self) -> On {
        On::get(self.layer.blob.digest.clone())
    }
}

#[test]
fn a_token_that_expires_in_the_middle_is_renewed() {
    let auth = TokenAuth { uses: Some(3), claimed_seconds: Some(3600), ..TokenAuth::default() };
    let bench = Bench::with(Options { auth: Auth::Token(auth), ..Options::default() });
    bench.registry.fault(bench.on_layer().times(4), Fault::Cut { after: 150_000 });
    bench.succeeds();
    assert!(bench.registry.requests("GET", "/token").len() >= 2, "{}", bench.registry.render_log());
}

#[test]
fn refused_credentials_are_renewed_once_and_then_reported() {
    let bench = Bench::with(Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() });
    bench.registry.fault(
        On::get("/v2/app"),
        Fault::Status {
            status: 401,
            headers: vec![(
                "www-authenticate".into(),
                format!(
                    "Bearer realm=\"{}\",service=\"x\",scope=\"repository:app:pull\"",
                    bench.registry.url("/token")
                ),
            )],
            body: Vec::new(),
        },
    );
    bench.fails(1).says(&[&bench.registry.host(), "401"]);
    assert!(bench.registry.requests("GET", "/v2/app").len() <= 3, "{}", bench.registry.render_log());
}

/// The time between the refusal and the next request for the same thing.
fn pause(requests: &[LoggedRequest]) -> Duration {
    let refused = requests.iter().position(|entry| entry.status == 429).expect("one was refused");
    requests[refused + 1].at - requests[refused].at
}

#[test]
fn retry_after_in_seconds_is_waited_for_and_shown() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().once(), Fault::too_many(Some("2")));
    let run = bench.project.run(&["build"]).code(0);
    let waited = pause(&bench.requests());
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    run.says(&["429", "again in 2"]);
}

/// The same as data.
#[test]
fn retry_after_is_told_in_milliseconds() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().once(), Fault::too_many(Some("2")));
    let lines = bench.project.run(&["build", "--json"]).success().json_lines();
    let waiting = lines.iter().find(|line| line["event"] == "waiting").expect("the wait is told");
    assert!((2_000..4_000).contains(&waiting["wait_ms"].as_u64().unwrap()), "{waiting}");
    assert_eq!(waiting["step"], "images");
}

#[test]
fn retry_after_as_a_date_is_waited_for() {
    let bench = Bench::new();
    let until = SystemTime::now() + Duration::from_secs(5);
    bench.registry.fault(bench.on_layer().once(), Fault::too_many(Some(&httpdate::fmt_http_date(until))));
    bench.succeeds();
    let earliest = until - Duration::from_secs(1);
    assert!(SystemTime::now() >= earliest);
}

#[test]
fn a_429_without_a_time_is_retried() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().times(2), Fault::too_many(None));
    assert_eq!(bench.succeeds().len(), 3);
}

#[test]
fn a_wait_of_hours_ends_with_75_and_the_time() {
    let bench = Bench::new();
    bench.registry.fault(On::get("/manifests/"), Fault::too_many(Some("21600")));
    let begun = Instant::now();
    bench.fails(75).says(&[&bench.registry.host(), "429", "come back at"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(bench.project.step("images")["error"]["class"], "rate-limited");
    bench.registry.heal();
    bench.succeeds();
}

/// More images wait for a place than are asked for when the limit is met.
#[test]
fn a_wait_of_hours_ends_a_build_of_many_images() {
    let registry = Registry::start();
    let mut project = Project::new().with_registry(&registry.host());
    for number in 0..40_u64 {
        let name = format!("app{number}:1");
        registry.push(&name, &Image::small(number, 1_000));
        project = project.with_image(registry.reference(&name));
    }
    registry.fault(On::get("/manifests/").after(3), Fault::too_many(Some("21600")));
    let run = project.start(&["build"]).finish_within(Duration::from_secs(60)).code(75);
    run.says(&["429", "come back at", "images failed"]);
    assert_eq!(project.step("images")["error"]["class"], "rate-limited");
    registry.heal();
    registry.forget();
    project.build();
    assert_eq!(registry.requests("GET", "/manifests/").len(), 37, "{}", registry.render_log());
}

/// The store's files are those of the trees: what shortens one shortens both.
#[test]
fn a_blob_that_lost_its_end_is_fetched_again() {
    let bench = Bench::new();
    bench.succeeds();
    let blob = bench.project.path(&format!("build/store/blobs/sha256/{}", bench.layer.blob.hex()));
    std::fs::OpenOptions::new().write(true).open(blob).unwrap().set_len(1000).unwrap();
    bench.registry.forget();
    assert_eq!(bench.succeeds().len(), 1, "{}", bench.registry.render_log());
}

#[test]
fn server_errors_with_web_pages_are_retried() {
    for status in [500, 502, 503, 504, 408] {
        let bench = Bench::new();
        bench.registry.fault(On::get("/manifests/").times(2), Fault::html(status));
        bench.registry.fault(bench.on_layer().once(), Fault::html(status));
        bench.succeeds();
    }
}

#[test]
fn a_server_that_stays_broken_ends_with_75_and_its_status() {
    let bench = Bench::new();
    let project = Project::new()
        .with_registry(&bench.registry.host())
        .with_image(bench.registry.reference("app:1"))
        .with_settings(|settings| settings["retries"] = json!({ "backoff": 0.01, "requests": 2, "steps": 2 }));
    bench.registry.fault(On::get("/manifests/"), Fault::html(503));
    let run = project.run(&["build"]).code(75);
    run.says(&[&bench.registry.host(), "503", "same command"]).never_says("<html>");
    bench.registry.heal();
    project.build();
}

#[test]
fn a_connection_that_closes_without_an_answer_is_retried() {
    let bench = Bench::new();
    bench.registry.fault(On::get("/manifests/").times(2), Fault::Close);
    bench.registry.fault(bench.on_layer().once(), Fault::Close);
    bench.succeeds();
}

#[test]
fn silence_is_given_up_and_gone_on_from() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().once(), Fault::hang(600_000));
    let project = Project::new()
        .with_registry(&bench.registry.host())
        .with_image(bench.registry.reference("app:1"))
        .with_settings(|settings| settings["network"] = json!({ "idle_timeout": 1 }));
    project.build();
    assert_eq!(starts(&bench.requests()), [None, Some(600_000)]);
}

#[test]
fn a_slow_link_is_no_silence() {
    let bench = Bench::new();
    // Takes five times the idle timeout.
    bench.registry.fault(bench.on_layer().once(), Fault::Slow { bytes_per_second: SIZE as u64 / 5 });
    let project = Project::new()
        .with_registry(&bench.registry.host())
        .with_image(bench.registry.reference("app:1"))
        .with_settings(|settings| settings["network"] = json!({ "idle_timeout": 1 }));
    project.build();
    assert_eq!(bench.requests().len(), 1, "{}", bench.registry.render_log());
}

#[test]
fn wrong_bytes_are_fetched_once_more_from_scratch() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer().once(), Fault::Damage { at: 500_000 });
    assert_eq!(starts(&bench.succeeds()), [None, None]);
}

#[test]
fn wrong_bytes_after_a_resume_are_discarded_with_what_was_there() {
    let bench = Bench::new();
    bench.cut_once(600_000);
    bench.registry.fault(bench.on_layer().with_range().once(), Fault::Damage { at: 700_000 });
    assert_eq!(starts(&bench.succeeds()), [None, Some(600_000), None]);
}

#[test]
fn bytes_that_stay_wrong_fail_with_their_source() {
    let bench = Bench::new();
    bench.registry.fault(bench.on_layer(), Fault::Damage { at: 500_000 });
    bench.fails(1).says(&[&bench.registry.host(), &bench.layer.blob.digest]);
    assert_eq!(bench.project.step("images")["error"]["class"], "integrity");
    assert_eq!(bench.requests().len(), 2, "{}", bench.registry.render_log());
    assert!(!bench.project.exists(&format!("build/store/blobs/sha256/{}", bench.layer.blob.hex())));
    bench.registry.heal();
    bench.succeeds();
}

#[test]
fn a_rate_limit_that_runs_out_is_waited_for() {
    let rate_limit = RateLimit { manifests: 3, window_seconds: 60, refuse: Some("1".into()) };
    let registry = Registry::with(Options { rate_limit: Some(rate_limit), ..Options::default() });
    let names: Vec<String> = (0..6).map(|number| format!("app{number}:1")).collect();
    for (seed, name) in (0..).zip(&names) {
        registry.push(name, &Image::small(seed, 1_000));
    }
    let project = names.iter().fold(Project::new().with_registry(&registry.host()), |project, name| {
        project.with_image(registry.reference(name))
    });
    let project = project.with_settings(|settings| {
        settings["retries"] = json!({ "backoff": 0.01, "longest_wait": 1, "requests": 2, "steps": 1 })
    });
    // The limit never recovers here: what was allowed is kept all the same.
    project.run(&["build"]).code(75);
    let blobs = registry.requests("GET", "/blobs/").len();
    assert_eq!(blobs, 6, "{}", registry.render_log());
}

#[test]
fn files_resume_retry_and_verify_like_blobs() {
    let files = FileServer::start();
    let (url, checksum) = files.put_with_checksum("/tool", airgap_tests::platform::program("tool", 1, SIZE));
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, Some(&checksum));
    files.fault(On::get("/tool.sha256").once(), Fault::html(503));
    files.fault(On::get("/tool").without_range().after(2).once(), Fault::Cut { after: 600_000 });
    files.fault(On::get("/tool").with_range().once(), Fault::RangeFrom(0));
    files.fault(On::get("/tool").with_range().after(1).once(), Fault::Damage { at: 700_000 });
    let run = project.run(&["build"]);
    assert_eq!(run.status.code(), Some(0), "{run}\n{}", files.render_log());
}

#[test]
fn a_file_that_changes_between_two_parts_is_not_patched_together() {
    let files = FileServer::start();
    let old = vec![1; SIZE];
    let new = vec![2; SIZE];
    let url = files.put("/tool", old);
    let project = Project::new()
        .with_file_server(&files.host())
        .with_settings(|settings| settings["retries"] = json!({ "backoff": 0.01, "requests": 1, "steps": 1 }))
        .with_tool("tool", &url, None);
    files.fault(On::get("/tool").once(), Fault::Cut { after: 600_000 });
    project.run(&["build"]).code(75);
    files.heal();
    files.put("/tool", new.clone());
    project.build();
    assert_eq!(std::fs::read(project.path("build/steps/files/bin/tool")).unwrap(), new);
}

#[test]
fn a_thousand_images_with_three_bad_ones_end_with_a_list_of_three() {
    let registry = Registry::start();
    let mut project = Project::new().with_registry(&registry.host());
    let shared: Vec<Layer> = (0..8).map(|seed| layer(1_000 + seed, 2_000)).collect();
    let mut images = Vec::new();
    for number in 0..1_000_usize {
        let image = Image::new(number as u64, &shared[number % 8..=number % 8]);
        if ![17, 500, 999].contains(&number) {
            registry.push(&format!("app{number}:1"), &image);
        }
        images.push(json!({ "image": registry.reference(&format!("app{number}:1")) }));
    }
    project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
    let run = project.run(&["build"]).code(1).says(&["app17:1", "app500:1", "app999:1"]);
    // One reason is one row, whose items are listed below it.
    assert_eq!(run.stderr.matches("HTTP 404").count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("\n  ✗ ").count(), 1, "{}", run.stderr);
    assert_eq!(registry.requests("GET", "/manifests/").len(), 1_000);
    assert_eq!(registry.requests("GET", "/blobs/").len(), 997 + 8);

    for number in [17, 500, 999_usize] {
        registry.push(&format!("app{number}:1"), &Image::new(number as u64, &shared[number % 8..=number % 8]));
    }
    registry.forget();
    project = project.with_env("LANG", "C");
    project.build();
    assert_eq!(registry.requests("GET", "/blobs/").len(), 3, "{}", registry.render_log());
}

/// Guards that neither the number of downloads at a time nor what went wrong
/// on the way is seen in the package.
#[test]
fn any_concurrency_and_any_faults_give_the_same_package() {
    let platform = Platform::smaller(4);
    let build = |concurrency: u32| {
        let project =
            platform.configure(Project::new()).with_env("SOURCE_DATE_EPOCH", "1700000000").with_settings(|settings| {
                settings["network"]["concurrency"] = json!(concurrency);
                settings["network"]["concurrency_per_host"] = json!(concurrency);
            });
        project.build();
        Outcome::of(&project)
    };
    let undisturbed = build(1);
    for concurrency in [1, 4, 16] {
        let cut = platform.registry.fault(On::get("/blobs/").every(3), Fault::Cut { after: 10_000 });
        let busy = platform.registry.fault(On::get("/manifests/").every(4), Fault::html(503));
        platform.registry.fault(On::get("/blobs/").every(5), Fault::too_many(None));
        let reset = platform.files.fault(On::get("/").every(4), Fault::Reset { after: 20_000 });
        platform.files.perhaps(On::get("/").with_range().every(3), Fault::IgnoreRange);
        assert_eq!(build(concurrency), undisturbed, "{concurrency} at a time");
        assert!([cut, busy, reset].iter().all(|fault| fault.count() > 0), "nothing went wrong");
        platform.registry.heal();
        platform.files.heal();
    }
}

/// Eight at a time, until one is refused: then four at the most, and slowly
/// more.
#[test]
fn a_429_halves_what_is_asked_at_a_time() {
    let registry = Registry::start();
    let layers: Vec<Layer> = (0..48).map(|seed| layer(seed, 1_000)).collect();
    registry.push("app:1", &Image::new(1, &layers));
    registry.fault(On::get("/blobs/").after(20).once(), Fault::too_many(None));
    registry.fault(On::get("/blobs/"), Fault::Delay(Duration::from_millis(200)));
    let project = Project::new()
        .with_registry(&registry.host())
        .with_image(registry.reference("app:1"))
        .with_settings(|settings| settings["network"] = json!({ "concurrency_per_host": 8 }));
    project.build();
    let log = registry.log();
    let under_way = in_flight(&log);
    let refused = log.iter().position(|entry| entry.status == 429).expect("one was refused");
    let shown = || format!("{refused} was refused: {under_way:?}\n{}", registry.render_log());
    assert_eq!(under_way[..refused].iter().max(), Some(&8), "{}", shown());
    // Until the first of those that begin now ends, the old ones' success makes
    // it five. What was sent before the refusal was read may follow it.
    let wave = log[refused].at..log[refused].at + Duration::from_millis(180);
    let begun = log.iter().zip(&under_way).skip(refused + 1).filter(|(entry, _)| wave.contains(&entry.at));
    assert!(begun.filter(|(_, count)| **count > 5).count() <= 2, "{}", shown());
    assert!(under_way[refused + 1..].iter().max() >= Some(&5), "recovers: {}", shown());
}

/// Guards the headers of a rate limit: the registry never has to say no.
#[test]
fn what_a_registry_has_left_is_not_asked_for_all_at_once() {
    let rate_limit = RateLimit { manifests: 12, window_seconds: 60, refuse: Some("1".into()) };
    let registry = Registry::with(Options { rate_limit: Some(rate_limit), ..Options::default() });
    let mut project = Project::new().with_registry(&registry.host());
    for number in 0..10_u64 {
        let name = format!("app{number}:1");
        registry.push(&name, &Image::small(number, 1_000));
        project = project.with_image(registry.reference(&name));
    }
    registry.fault(On::get("/blobs/"), Fault::Delay(Duration::from_millis(150)));
    project.with_settings(|settings| settings["network"] = json!({ "concurrency_per_host": 8 })).build();
    let log = registry.log();
    let under_way = in_flight(&log);
    let first_blob = log.iter().position(|entry| entry.path.contains("/blobs/")).expect("blobs are fetched");
    assert!(log.iter().all(|entry| entry.status != 429), "{}", registry.render_log());
    // Two manifests are left when the blobs begin; from there it grows slowly.
    let first = &under_way[first_blob..first_blob + 8];
    assert!(first.iter().all(|count| *count <= 4), "{under_way:?}\n{}", registry.render_log());
}
