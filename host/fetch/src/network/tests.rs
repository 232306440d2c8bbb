//! Against servers that fail on demand: what they send must end up whole in
//! the store, with no byte fetched twice that did not have to be.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::{Content, Request as Asked, Response, Server};
use airgap_tests::images::{Image, Noise};
use airgap_tests::registry::{Auth, Options, Redirects, Registry, TokenAuth};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::test_support::{below, logged_in, network, rules, settings};
use super::*;
use crate::seen::Seen;
use crate::shared_lock::SharedLock;
use crate::store::{Identity, Keep, Store};
use base::error::{Class, Error};
use base::reference::Reference;
use config::airgap_lock::{AirgapLock, LockedFile};
use config::lock_doubts::Nobody;
use config::runners::Runners;
use config::settings::{Mirror, RegistrySettings};
use disk::fs;
use entitlement::grants::Rules;
use entitlement::{Asker, Entitlement, Granted};

mod bodies;
mod doubt;
mod logins;
mod patience;
mod places;
mod secrets;

/// Larger than what is collected in memory.
const SIZE: usize = 3_000_000;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    registry: Registry,
    blob: Vec<u8>,
    digest: Digest,
    progress: Progress,
}

fn bench(options: Options) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let registry = Registry::with(options);
    let blob = Noise::new(7).bytes(SIZE);
    let digest = Digest::of(&blob);
    registry.push_blob("a/b", &digest.to_string(), Content::from(blob.clone()));
    Bench { folder, store, registry, blob, digest, progress: Progress::silent("images") }
}

impl Bench {
    fn settings(&self) -> Settings {
        settings(&[&self.registry.host()])
    }

    fn repository(&self) -> Reference {
        Reference::parse(&self.registry.reference("a/b:1")).unwrap()
    }

    async fn fetch(&self, network: &Network) -> Result<Fetched> {
        let size = Some(self.blob.len() as u64);
        network.blob(&self.repository(), &self.digest, size, &self.store, &self.progress).await
    }

    async fn succeeds(&self) {
        let result = self.fetch(&network(&self.settings())).await;
        let fetched = result.unwrap_or_else(|error| panic!("{error:?}\n{}", self.registry.render_log()));
        assert_eq!(fetched, Fetched { digest: self.digest, size: SIZE as u64 });
        assert_eq!(std::fs::read(self.store.path(&self.digest)).unwrap(), self.blob);
        assert_eq!(std::fs::read_dir(self.folder.path().join("store/partial")).unwrap().count(), 0);
    }

    /// Where the requests for the blob began.
    fn starts(&self) -> Vec<u64> {
        let requests = self.registry.requests("GET", "/blobs/");
        requests.iter().map(|request| request.range.map_or(0, |range| range.0)).collect()
    }

    fn retries(&self) -> u64 {
        self.progress.counters().retries.load(Ordering::Relaxed)
    }
}

fn docker_config(folder: &tempfile::TempDir, host: &str, entry: &str) -> std::path::PathBuf {
    let path = folder.path().join("config.json");
    fs::write_new(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#).as_bytes()).unwrap();
    path
}

fn auth_entry(user: &str, password: &str) -> String {
    format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_body_goes_on_where_it_ended() {
    for fault in [Fault::Cut { after: 1_000_000 }, Fault::Reset { after: 1_000_000 }] {
        let bench = bench(Options::default());
        bench.registry.fault(On::get("/blobs/").times(2), fault);
        bench.succeeds().await;
        let starts = bench.starts();
        assert_eq!(starts.len(), 3);
        assert!(starts[1] > 0 && starts[1] <= 1_000_000 && starts[2] > starts[1], "{starts:?}");
        assert_eq!(bench.retries(), 2);
    }
}

/// More failures than attempts: each brought some bytes, so none counts.
#[tokio::test(flavor = "multi_thread")]
async fn progress_resets_the_attempts() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").times(20), Fault::Cut { after: 100_000 });
    bench.succeeds().await;
    assert_eq!(bench.starts().len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_progress_the_attempts_end_and_what_came_stays() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").once(), Fault::Cut { after: 2_000_000 });
    bench.registry.fault(On::get("/blobs/"), Fault::html(503));
    let error = bench.fetch(&network(&bench.settings())).await.unwrap_err();
    assert_eq!((error.class(), error.status()), (Class::Transient, Some(503)));
    assert!(!error.one_line().contains("html"), "{}", error.one_line());
    assert_eq!(bench.starts().len(), 5);
    let kept = bench.store.partial_bytes(&bench.digest);
    assert!(kept > 0);
    bench.registry.heal();
    bench.registry.forget();
    bench.succeeds().await;
    assert_eq!(bench.starts(), [kept]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_sends_everything_again() {
    let bench = bench(Options { no_ranges: true, ..Options::default() });
    bench.registry.fault(On::get("/blobs/").times(2), Fault::Cut { after: 1_000_000 });
    bench.succeeds().await;
    assert_eq!(bench.registry.requests("GET", "/blobs/").last().unwrap().sent, SIZE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_not_the_asked_one_is_never_appended() {
    for fault in [
        Fault::RangeFrom(0),
        Fault::RangeFrom(500_000),
        Fault::RangeTotal(SIZE as u64 + 1),
        Fault::NoContentRange,
        Fault::RangeRefused,
        Fault::IgnoreRange,
    ] {
        let bench = bench(Options::default());
        bench.registry.fault(On::get("/blobs/").once(), Fault::Cut { after: 1_000_000 });
        bench.registry.fault(On::get("/blobs/").with_range(), fault);
        bench.succeeds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_request_and_the_next_goes_on() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").once(), Fault::hang(1_000_000));
    bench.registry.fault(On::get("/blobs/").with_range().once(), Fault::Held(Gate::default()));
    bench.succeeds().await;
    let starts = bench.starts();
    assert_eq!((starts.len(), starts[1] > 0), (3, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_fetched_once_more_and_then_named() {
    let bench1 = bench(Options::default());
    bench1.registry.fault(On::get("/blobs/").once(), Fault::Damage { at: 1_500_000 });
    bench1.succeeds().await;
    assert_eq!(bench1.starts(), [0, 0]);

    let bench2 = bench(Options::default());
    bench2.registry.fault(On::get("/blobs/"), Fault::Damage { at: 1_500_000 });
    let error = bench2.fetch(&network(&bench2.settings())).await.unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    assert!(error.message().contains(&bench2.registry.host()), "{error}");
    assert_eq!(bench2.starts(), [0, 0]);
    assert_eq!(bench2.store.get(&bench2.digest), None);
}

/// Bytes that went bad on our disk between two runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_ends_with_a_wrong_digest_begins_again() {
    let bench = bench(Options::default());
    let identity = Identity::blob(bench.digest, Some(SIZE as u64));
    let mut partial = bench.store.partial(&bench.digest.hex(), identity, &|| false).unwrap();
    partial.write(&[0; 1_000_000]).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);
    bench.succeeds().await;
    assert_eq!(bench.starts(), [1_000_000, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_for_or_ends_the_build() {
    let bench1 = bench(Options::default());
    bench1.registry.fault(On::get("/blobs/").once(), Fault::too_many(Some("1")));
    let began = Instant::now();
    bench1.succeeds().await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(bench1.retries(), 1);

    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(7200));
    for after in ["7200", &date] {
        let bench = bench(Options::default());
        bench.registry.fault(On::get("/blobs/"), Fault::too_many(Some(after)));
        let network = network(&bench.settings());
        let error = bench.fetch(&network).await.unwrap_err();
        assert_eq!((error.class(), error.status()), (Class::RateLimited, Some(429)));
        let wait = error.until().unwrap().duration_since(jiff::Timestamp::now()).as_secs();
        assert!((7100..=7200).contains(&wait), "{after}: {wait}");
        // Everybody else learns it without asking.
        let error = bench.fetch(&network).await.unwrap_err();
        assert_eq!(error.class(), Class::RateLimited);
        assert_eq!(bench.starts().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_without_a_time_is_backed_off_from_and_counts_as_one() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/"), Fault::too_many(None));
    let error = bench.fetch(&network(&bench.settings())).await.unwrap_err();
    assert_eq!(error.class(), Class::RateLimited);
    assert!(error.until().is_some());
    assert_eq!(bench.starts().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_forbidden_is_asked_for_once() {
    for (status, class) in [(404, Class::NotFound), (403, Class::Auth)] {
        let bench = bench(Options::default());
        bench.registry.fault(On::get("/blobs/"), Fault::status(status));
        let error = bench.fetch(&network(&bench.settings())).await.unwrap_err();
        assert_eq!((error.class(), error.status()), (class, Some(status)));
        assert_eq!(bench.starts().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_is_transient_and_holds_up_nobody_twice() {
    let host = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let network = network(&settings(&[&host]));
    let reference = Reference::parse(&format!("{host}/a:1")).unwrap();
    let progress = Progress::silent("images");
    let error = network.manifest(&reference, &progress).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(error.message().contains(&host), "{error}");
    let requests = progress.counters().requests.load(Ordering::Relaxed);
    assert!(requests >= 5, "{requests}");
    network.manifest(&reference, &progress).await.unwrap_err();
    assert_eq!(progress.counters().requests.load(Ordering::Relaxed), requests + 1);
}

/// One request per blob, and nothing else: no ping, no HEAD.
#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_pull_asks_for_nothing_but_content() {
    let bench = bench(Options::default());
    bench.succeeds().await;
    assert_eq!(bench.registry.log().len(), 1);
    bench.succeeds().await;
    assert_eq!(bench.registry.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_one_token() {
    let auth = Auth::Token(TokenAuth { claimed_seconds: Some(300), ..TokenAuth::default() });
    let bench = bench(Options { auth, ..Options::default() });
    let blobs: Vec<Vec<u8>> = (0..12_u64).map(|seed| Noise::new(seed).bytes(1000)).collect();
    for blob in &blobs {
        bench.registry.push_blob("a/b", &Digest::of(blob).to_string(), Content::from(blob.clone()));
    }
    let network = network(&bench.settings());
    let repository = bench.repository();
    let fetches = blobs.iter().map(|blob| {
        let (network, repository, bench) = (&network, &repository, &bench);
        async move { network.blob(repository, &Digest::of(blob), Some(1000), &bench.store, &bench.progress).await }
    });
    for result in futures_util::future::join_all(fetches).await {
        result.unwrap();
    }
    assert_eq!(bench.registry.requests("GET", "/token").len(), 1, "{}", bench.registry.render_log());
    let refused = bench.registry.log().iter().filter(|entry| entry.status == 401).count();
    assert_eq!(refused, 1);
    assert_eq!(bench.registry.requests("GET", "/blobs/").len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_is_renewed_before_or_after() {
    // It lies about its lifetime: a 401 in the middle gets a new one.
    let lying = TokenAuth { uses: Some(1), claimed_seconds: Some(300), ..TokenAuth::default() };
    let bench1 = bench(Options { auth: Auth::Token(lying), ..Options::default() });
    bench1.registry.fault(On::get("/blobs/").and("sha256").after(1).times(3), Fault::Cut { after: 500_000 });
    bench1.succeeds().await;

    // It tells the truth: nobody runs into a 401 but the first.
    let honest = TokenAuth { lifetime: Some(Duration::from_secs(1)), claimed_seconds: Some(1), ..TokenAuth::default() };
    let bench2 = bench(Options { auth: Auth::Token(honest), ..Options::default() });
    let network = network(&bench2.settings());
    bench2.fetch(&network).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bench2.store.discard(&bench2.digest).unwrap();
    bench2.fetch(&network).await.unwrap();
    assert_eq!(bench2.registry.requests("GET", "/token").len(), 2);
    assert_eq!(bench2.registry.log().iter().filter(|entry| entry.status == 401).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_identity_tokens_of_docker_login_work() {
    let folder = tempfile::tempdir().unwrap();
    let (user, password) = ("me".to_owned(), "s3cret".to_owned());
    let protected = TokenAuth {
        credentials: Some((user.clone(), password.clone())),
        identity_token: Some("idt".into()),
        ..TokenAuth::default()
    };
    for (auth, entry) in [
        (Auth::Basic(user.clone(), password.clone()), auth_entry(&user, &password)),
        (Auth::Token(protected.clone()), auth_entry(&user, &password)),
        (Auth::Token(protected.clone()), r#"{"identitytoken":"idt"}"#.to_owned()),
    ] {
        let bench = bench(Options { auth, ..Options::default() });
        let config = docker_config(&folder, &bench.registry.host(), &entry);
        bench.fetch(&logged_in(&bench.settings(), &config)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_named_by_their_origin_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let protected = TokenAuth { credentials: Some(("me".into(), "right".into())), ..TokenAuth::default() };
    for auth in [Auth::Basic("me".into(), "right".into()), Auth::Token(protected)] {
        let bench = bench(Options { auth, ..Options::default() });
        let config = docker_config(&folder, &bench.registry.host(), &auth_entry("me", "wr0ng-secret"));
        let error = bench.fetch(&logged_in(&bench.settings(), &config)).await.unwrap_err();
        assert_eq!(error.class(), Class::Auth);
        assert!(error.hint_text().unwrap().contains("config.json"), "{error:?}");
        let shown = format!("{error:?} {}", error.one_line());
        assert!(!shown.contains("wr0ng-secret") && !shown.contains(&STANDARD.encode("me:wr0ng-secret")), "{shown}");

        let error = bench.fetch(&network(&bench.settings())).await.unwrap_err();
        assert_eq!(error.class(), Class::Auth);
        assert!(error.hint_text().unwrap().contains("without credentials"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-test");
    let count = folder.path().join("count");
    let script = format!(
        "#!/bin/sh\nread host\necho x >> {}\necho '{{\"Username\":\"me\",\"Secret\":\"s3cret\"}}'\n",
        count.display()
    );
    fs::write_new(&helper, script.as_bytes()).unwrap();
    fs::set_mode(&helper, 0o755).unwrap();
    let config = folder.path().join("config.json");
    fs::write_new(&config, br#"{"credsStore":"test"}"#).unwrap();
    let credentials = credentials::Credentials::with_search_path(Some(config), folder.path().to_owned());
    let found = futures_util::future::join_all((0..5).map(|_| credentials.find("r.example"))).await;
    for found in found {
        assert!(found.unwrap().unwrap().origin.contains("docker-credential-test"));
    }
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_expire_lead_back_to_the_registry_and_see_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let auth = Auth::Basic("me".into(), "s3cret".into());
    let redirects = Some(Redirects { uses: Some(1), lifetime: None });
    let bench = bench(Options { auth, redirects, ..Options::default() });
    bench.registry.storage().fault(On::any().times(2), Fault::Cut { after: 800_000 });
    bench.registry.storage().fault(On::any().after(2).once(), Fault::status(403));
    let config = docker_config(&folder, &bench.registry.host(), &auth_entry("me", "s3cret"));
    bench.fetch(&logged_in(&bench.settings(), &config)).await.unwrap();
    let storage = bench.registry.storage().log();
    assert!(storage.len() >= 4);
    assert!(storage.iter().all(|entry| entry.header("authorization").is_none()));
    assert!(storage.last().unwrap().range.is_some_and(|range| range.0 > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_asked_first_and_passed_over() {
    let bench = bench(Options::default());
    let empty = Registry::start();
    let down = "127.0.0.1:9";
    let mirror = |location: &str| Mirror { location: location.into(), plain_http: true };
    let mut settings = settings(&[]);
    settings.retries.requests = 1;
    let mirrors = vec![mirror(down), mirror(&format!("{}/x", empty.host()))];
    let of = |mirrors: Vec<Mirror>, mirrors_only| RegistrySettings {
        plain_http: true,
        mirrors,
        mirrors_only,
        ..RegistrySettings::default()
    };
    settings.registries.insert(bench.registry.host(), of(mirrors.clone(), false));
    let network1 = network(&settings);
    bench.fetch(&network1).await.unwrap();
    assert_eq!(empty.requests("GET", "/v2/x/a/b/blobs/").len(), 1);
    // The place that had it is remembered.
    bench.store.discard(&bench.digest).unwrap();
    bench.fetch(&network1).await.unwrap();
    assert_eq!(empty.log().len(), 1);

    settings.registries.insert(bench.registry.host(), of(mirrors, true));
    bench.store.discard(&bench.digest).unwrap();
    bench.registry.forget();
    let error = bench.fetch(&network(&settings)).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "the one that is down may have it");
    assert!(error.one_line().contains(down) && error.message().contains(&empty.host()), "{error:?}");
    assert!(bench.registry.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_download_keeps_its_bytes_for_the_next_process() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").once(), Fault::hang(2_000_000));
    let cancel = bench.progress.cancellation().clone();
    let waiting = async {
        while bench.progress.counters().bytes_fetched.load(Ordering::Relaxed) < 1_000_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let network1 = network(&bench.settings());
    let (result, ()) = tokio::join!(bench.fetch(&network1), waiting);
    assert_eq!(result.unwrap_err().class(), Class::Interrupted);
    let kept = bench.store.partial_bytes(&bench.digest);
    assert!(kept >= 1_000_000);
    let again = Bench { progress: Progress::silent("images"), ..bench };
    again.succeeds().await;
    assert_eq!(again.starts().last(), Some(&kept));
    assert_eq!(again.progress.counters().bytes_reused.load(Ordering::Relaxed), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_bounded_and_checked() {
    let registry = Registry::start();
    let image = Image::small(1, 1000);
    registry.push("a:1", &image);
    let network = network(&settings(&[&registry.host()]));
    let progress = Progress::silent("images");
    let by_tag = Reference::parse(&registry.reference("a:1")).unwrap();
    let manifest = network.manifest(&by_tag, &progress).await.unwrap();
    assert_eq!(manifest.bytes[..], image.manifest.bytes[..]);
    assert_eq!(manifest.media_type, image.manifest.media_type);

    let by_digest = by_tag.at(manifest.digest);
    registry.fault(On::get("/manifests/").once(), Fault::Damage { at: 3 });
    network.manifest(&by_digest, &progress).await.unwrap();
    registry.fault(On::get("/manifests/"), Fault::Damage { at: 3 });
    registry.forget();
    assert_eq!(network.manifest(&by_digest, &progress).await.unwrap_err().class(), Class::Integrity);
    assert_eq!(registry.log().len(), 2);
    registry.heal();

    let huge = Fault::Status { status: 200, headers: Vec::new(), body: vec![b' '; 5 << 20] };
    registry.fault(On::get("/manifests/"), huge);
    assert_eq!(network.manifest(&by_tag, &progress).await.unwrap_err().class(), Class::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_in_pages() {
    let server = Server::start(|asked: &Asked| {
        let last = asked.parameters("last").next();
        let page = |tags: &str| Response::new(200, format!(r#"{{"name":"a","tags":[{tags}]}}"#));
        match last.as_deref() {
            None => page(r#""1","2""#).with("link", r#"</v2/a/tags/list?last=2>; rel="next""#),
            _ => page(r#""3","4""#),
        }
    });
    let network = network(&settings(&[&server.host()]));
    let repository = Reference::parse(&format!("{}/a", server.host())).unwrap();
    let progress = Progress::silent("charts");
    assert_eq!(network.list_tags(&repository, 100, &progress).await.unwrap(), ["1", "2", "3", "4"]);
    assert_eq!(network.list_tags(&repository, 3, &progress).await.unwrap(), ["1", "2", "3"]);
}

struct Files {
    _folder: tempfile::TempDir,
    store: Store,
    server: FileServer,
    lock: SharedLock,
    progress: Progress,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    Files {
        store: Store::open(folder.path().join("store")).unwrap(),
        server: FileServer::start(),
        lock: SharedLock::default(),
        progress: Progress::silent("files"),
        _folder: folder,
    }
}

impl Files {
    async fn get(&self, settings: &Settings, download: &Download) -> Result<Seen> {
        network(settings).download(&self.store, download, &self.lock, &self.progress).await
    }
}

fn download(url: &str) -> Download {
    Download::of(Granted::to_host(url.to_owned()), "tool")
}

fn sbom() -> Asker {
    Asker::Pinned("sbom".into())
}

/// What a plugin asks for.
fn asked(asker: &Asker, url: &str, rules: Rules) -> Download {
    let granted = Entitlement::new(asker.clone(), rules).url(url).unwrap();
    Download::of(granted, "a plugin's file")
}

/// A digest is no right: a plugin gets what its address gives, and from the
/// store what that address gave itself before.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_given_from_the_store_only_what_it_fetched_from_there() {
    let files = files();
    let settings = settings(&[]);
    let content = Noise::new(1).bytes(SIZE);
    let digest = Digest::of(&content);
    files.get(&settings, &download(&files.server.put("/tool", content.clone()))).await.unwrap();
    let named =
        |asker: &Asker, url: &str| Download { expected: Some(digest), ..asked(asker, url, Rules::everything()) };
    let elsewhere = files.server.put("/elsewhere", "something else");
    let (core, other) = (Asker::Core("sbom".into()), Asker::Pinned("other".into()));

    // The store holds it, and the address gives something else, or nothing.
    for asker in [&sbom(), &core, &other] {
        assert_eq!(cached(&files.store, &named(asker, &elsewhere), &files.lock).unwrap(), None, "{asker}");
        assert_eq!(files.get(&settings, &named(asker, &elsewhere)).await.unwrap_err().class(), Class::Integrity);
        let missing = files.server.url("/missing");
        assert_eq!(files.get(&settings, &named(asker, &missing)).await.unwrap_err().class(), Class::NotFound);
    }
    assert!(files.lock.lock().of_plugins().next().is_none(), "nothing that was not seen is entered");

    // From where it lies it is fetched, once, and by each for itself.
    let there = files.server.put("/mirror", content);
    files.server.forget();
    for asker in [&sbom(), &sbom(), &other] {
        assert_eq!(files.get(&settings, &named(asker, &there)).await.unwrap().digest(), digest);
    }
    assert_eq!(files.server.log().len(), 2, "{}", files.server.render_log());
    assert!(cached(&files.store, &named(&sbom(), &elsewhere), &files.lock).unwrap().is_none());
    assert_eq!(cached(&files.store, &named(&core, &there), &files.lock).unwrap(), None);
    let lock = files.lock.lock();
    assert!(lock.file(&sbom(), &there).is_some() && lock.file(&Asker::Host, &there).is_none());
}

/// Who guesses the last byte of what another one fetches completes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_goes_on_with_nobody_elses_download() {
    let files = files();
    let content = Noise::new(1).bytes(SIZE);
    let digest = Digest::of(&content);
    let mut partial = files.store.partial(&digest.hex(), Identity::blob(digest, None), &|| false).unwrap();
    partial.write(&content[..SIZE - 1]).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);
    let url = files.server.put("/x", content[SIZE - 1..].to_vec());
    let named = Download { expected: Some(digest), ..asked(&sbom(), &url, Rules::everything()) };
    assert_eq!(files.get(&settings(&[]), &named).await.unwrap_err().class(), Class::Integrity);
    assert!(files.server.log().iter().all(|asked| asked.status == 200), "{}", files.server.render_log());
}

/// What one asker was told is nothing to another: least of all to the host.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_saw_is_not_what_the_host_sees() {
    let files = files();
    let settings = settings(&[]);
    let url = files.server.put("/tool", "planted");
    files.get(&settings, &asked(&sbom(), &url, Rules::everything())).await.unwrap();
    files.server.put("/tool", "the tool");
    let fetched = files.get(&settings, &download(&url)).await.unwrap();
    assert_eq!(fetched.digest(), Digest::of(b"the tool"));
    let told = files.lock.lock().contradictions();
    assert!(told.len() == 1 && told[0].contains("plugin sbom") && told[0].contains(&url), "{told:?}");
    // And the plugin keeps what it was told.
    let error = files.get(&settings, &Download { mutable: false, ..asked(&sbom(), &url, Rules::everything()) }).await;
    assert_eq!(error.unwrap().digest(), Digest::of(b"planted"));
}

/// An entry that names no build is no knowledge, and what differs is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_vouches_for_is_fetched_and_compared() {
    for (old, warns) in [("the tool", false), ("planted", true)] {
        let files = files();
        let url = files.server.put("/tool", "the tool");
        let doubtful =
            LockedFile { sha256: Digest::of(old.as_bytes()), size: old.len() as u64, checksum: None, build: None };
        let lock = AirgapLock::of_file(&Asker::Host, &url, doubtful);
        let lock = SharedLock::new(lock).in_build("2").without_doubts(&Runners::default(), &Nobody);
        let network = network(&settings(&[]));
        let seen = network.download(&files.store, &download(&url), &lock, &files.progress).await.unwrap();
        assert_eq!((seen.digest(), files.server.log().len()), (Digest::of(b"the tool"), 1));
        assert_eq!(lock.lock().files[&url].build.as_deref(), Some("2"));
        let warnings = files.progress.warnings();
        assert_eq!(warnings.len(), usize::from(warns), "{warnings:?}");
        assert!(!warns || warnings[0].contains(&Digest::of(b"planted").to_string()), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_locked_at_first_sight_and_checked_ever_after() {
    let files = files();
    let url = files.server.put("/tool", Noise::new(1).bytes(SIZE));
    let settings = settings(&[]);
    let first = files.get(&settings, &download(&url)).await.unwrap();
    assert_eq!(files.lock.lock().files[&url].sha256, first.digest());
    let there = cached(&files.store, &download(&url), &files.lock).unwrap().unwrap();
    assert_eq!((there.digest(), there.build()), (first.digest(), Some("none")), "the lock says in which build");

    files.store.discard(&first.digest()).unwrap();
    files.server.put("/tool", Noise::new(2).bytes(SIZE));
    let error = files.get(&settings, &download(&url)).await.unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    assert!(
        error.message().contains("config/airgap.lock says") && error.hint_text().unwrap().contains(&url),
        "{error:?}"
    );
    files.server.put("/tool", Noise::new(2).bytes(SIZE + 1));
    let named = Download { name: Some("the-tool".into()), ..download(&url) };
    let error = files.get(&settings, &named).await.unwrap_err();
    assert!(error.message().contains(&format!("says {SIZE} bytes")), "{error:?}");
    assert!(error.hint_text().unwrap().contains("opencenter-airgap update the-tool"), "{error:?}");
    let contradicting = Download { expected: Some(Digest::of(b"x")), ..download(&url) };
    let error = files.get(&settings, &contradicting).await.unwrap_err();
    assert!(error.message().contains("airgap.lock") && error.hint_text().unwrap().contains("update"), "{error:?}");

    // What may change is neither checked nor locked.
    let mutable = Download { mutable: true, ..download(&url) };
    assert_ne!(files.get(&settings, &mutable).await.unwrap().digest(), first.digest());
    assert_eq!(files.lock.lock().files[&url].sha256, first.digest());
}

/// Nobody knows the digest: only a validator allows to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_content_goes_on_only_while_it_is_the_same() {
    for (changed, plain) in [(false, false), (true, false), (false, true)] {
        let files = files();
        let put = |bytes: Vec<u8>| {
            if plain { files.server.put_plain("/tool", bytes) } else { files.server.put("/tool", bytes) }
        };
        let url = put(Noise::new(1).bytes(SIZE));
        let mut settings = settings(&[]);
        settings.retries.requests = 1;
        files.server.fault(On::get("/tool").once(), Fault::Cut { after: 1_000_000 });
        assert_eq!(files.get(&settings, &download(&url)).await.unwrap_err().class(), Class::Transient);
        let content = Noise::new(if changed { 2 } else { 1 }).bytes(SIZE);
        put(content.clone());
        let fetched = files.get(&settings, &download(&url)).await.unwrap();
        assert_eq!(fetched.digest(), Digest::of(&content));
        let last = files.server.log().pop().unwrap();
        assert_eq!(last.status, if changed || plain { 200 } else { 206 }, "{}", files.server.render_log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_there_already_needs_only_the_word_of_the_server() {
    let files = files();
    let content = Noise::new(1).bytes(SIZE);
    let url = files.server.put("/tool", content.clone());
    let digest = Digest::of(&content);
    let mut partial = files.store.partial(&digest.hex(), Identity::blob(digest, None), &|| false).unwrap();
    partial.write(&content).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);
    let expected = Download { expected: Some(digest), ..download(&url) };
    assert_eq!(files.get(&settings(&[]), &expected).await.unwrap().size(), SIZE as u64);
    let log = files.server.log();
    assert_eq!((log.len(), log[0].status), (1, 416));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beyond_its_limit_is_refused() {
    let files = files();
    for url in [files.server.put("/a", vec![0; 2000]), files.server.put_plain("/b", vec![0; 2000])] {
        let limited = Download { limit: Some(1999), ..download(&url) };
        let error = files.get(&settings(&[]), &limited).await.unwrap_err();
        assert_eq!(error.class(), Class::InvalidInput, "{error}");
    }
}

/// What is not there may never be asked for again, as the provenance of a
/// chart; what was begun is continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_never_began_leaves_nothing() {
    let files = files();
    let mut settings = settings(&[]);
    settings.retries.requests = 1;
    let missing = files.server.url("/missing");
    assert_eq!(files.get(&settings, &download(&missing)).await.unwrap_err().class(), Class::NotFound);
    let nothing = Keep { every_partial: false, ..Keep::default() };
    assert_eq!(files.store.remove_all_but(&nothing, true).unwrap().partials, 0);
    let begun = files.server.put("/begun", Noise::new(1).bytes(SIZE));
    files.server.fault(On::get("/begun"), Fault::Cut { after: 1000 });
    assert_eq!(files.get(&settings, &download(&begun)).await.unwrap_err().class(), Class::Transient);
    assert_eq!(files.store.remove_all_but(&nothing, true).unwrap().partials, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_urls_are_locked_under_their_own_name() {
    let files = files();
    let mirrored = files.server.put("/m/tool", "content");
    let mut settings = settings(&[]);
    let prefix = mirrored.strip_suffix("tool").unwrap().to_owned();
    settings.network.url_mirrors.insert("https://dl.example/".into(), prefix);
    files.get(&settings, &download("https://dl.example/tool")).await.unwrap();
    assert!(files.lock.lock().files.contains_key("https://dl.example/tool"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_only_what_it_was_granted_redirects_included() {
    let files = files();
    let outside = FileServer::start();
    let target = outside.put("/secret", "x");
    let inside = files.server.put("/charts/a", "a");
    let escape = files.server.redirect("/charts/escape", &target);
    let loops = files.server.redirect("/charts/loop", &files.server.url("/charts/loop"));
    let rules = rules(&[&files.server.url("/charts/")]);
    let granted = |url: &str| asked(&sbom(), url, rules.clone());
    let settings = settings(&[]);
    files.get(&settings, &granted(&inside)).await.unwrap();
    for url in [&target, &files.server.url("/other")] {
        let refused = Entitlement::new(sbom(), rules.clone()).url(url).unwrap_err();
        assert_eq!(refused.class(), Class::Plugin, "{url}");
    }
    assert_eq!(files.get(&settings, &granted(&escape)).await.unwrap_err().class(), Class::Plugin);
    assert!(outside.log().is_empty());
    assert_eq!(files.get(&settings, &granted(&loops)).await.unwrap_err().class(), Class::InvalidInput);
}

/// What is refused when it is asked for is refused when it is led to, whatever
/// the code.
#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_leads_a_guest_beyond_its_prefix() {
    let files = files();
    let settings = settings(&[]);
    for code in [301, 302, 303, 307, 308] {
        for (location, class) in [
            ("/charts/..%2fsecret", Class::Plugin),
            ("/charts/..%252fsecret", Class::Plugin),
            ("/charts/%2e%2e/secret", Class::Plugin),
            ("/charts/%2e%2e%2fsecret", Class::Plugin),
            ("/charts/..%5csecret", Class::Plugin),
            ("/charts/..%c0%afsecret", Class::Plugin),
            ("/charts/..;/secret", Class::Plugin),
            ("/charts//secret", Class::Plugin),
            ("../secret", Class::Plugin),
            ("/chartssecret", Class::Plugin),
            ("/charts/..\\secret", Class::InvalidInput),
            ("//user@HOST/charts/secret", Class::InvalidInput),
            ("http:/charts/secret", Class::InvalidInput),
            ("http://127.1:PORT/charts/secret", Class::InvalidInput),
            ("ftp://HOST/charts/secret", Class::InvalidInput),
        ] {
            let server = Server::start(move |asked: &Asked| match asked.header("host") {
                Some(host) if asked.path == "/charts/a" => {
                    let port = host.rsplit_once(':').unwrap().1;
                    Response::new(code, "").with("location", location.replace("HOST", host).replace("PORT", port))
                }
                _ => Response::new(200, "secret"),
            });
            let wanted = asked(&sbom(), &server.url("/charts/a"), rules(&[&server.url("/charts/")]));
            let error = files.get(&settings, &wanted).await.unwrap_err();
            assert_eq!((error.class(), server.log().len()), (class, 1), "{code} {location}: {error:?}");
        }
    }
}

/// Nobody's guest asks, and yet: a redirect says one thing, once, in the header
/// that is for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_one_plain_address() {
    let files = files();
    let settings = settings(&[]);
    let get = async |answer: fn(&str) -> Response| {
        let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
            "/a" => answer(asked.header("host").unwrap_or_default()),
            _ => Response::new(200, "b"),
        });
        let result = files.get(&settings, &download(&server.url("/a"))).await;
        (result, server.log().len())
    };
    for (answer, says) in [
        (
            (|host| Response::new(302, "").with("location", format!("http://user:secret@{host}/b"))) as fn(&str) -> _,
            "holds credentials",
        ),
        (|host| Response::new(302, "").with("location", format!("http://user@{host}/b")), "holds credentials"),
        (|_| Response::new(302, "").with("location", "/b").with("location", "/c"), "several places"),
        (|_| Response::new(307, ""), "nowhere"),
        (|_| Response::new(300, "").with("location", "/b"), "300"),
        (|_| Response::new(305, "").with("location", "/b"), "305"),
    ] {
        let (result, asked) = get(answer).await;
        let error = result.unwrap_err();
        assert!(error.one_line().contains(says) && !error.one_line().contains("secret"), "{says}: {error:?}");
        assert_eq!(asked, 1, "{says}");
    }
    let (result, asked) = get(|_| Response::new(200, "a").with("refresh", "0; url=/b").with("location", "/b")).await;
    assert_eq!((result.unwrap().size(), asked), (1, 1));
}

/// A mirror is the user's own word, and serves what was granted under its
/// written address: nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_served_by_a_mirror_of_what_it_was_granted() {
    let files = files();
    let mirrored = files.server.put("/m/charts/a", "content");
    files.server.put("/m/other/a", "content");
    let mut settings = settings(&[]);
    let prefix = mirrored.strip_suffix("charts/a").unwrap().to_owned();
    settings.network.url_mirrors.insert("https://dl.example/".into(), prefix);
    let rules = rules(&["https://dl.example/charts/"]);
    let granted = |url: &str| asked(&sbom(), url, rules.clone());
    files.get(&settings, &granted("https://dl.example/charts/a")).await.unwrap();
    let error = Entitlement::new(sbom(), rules.clone()).url("https://dl.example/other/a").unwrap_err();
    assert_eq!(error.class(), Class::Plugin, "{error}");
}

/// A sum over hosts: two at a time from each, three in all.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_and_the_windows_hold_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let registries = [Registry::start(), Registry::start()];
    let mut settings = settings(&[&registries[0].host(), &registries[1].host()]);
    settings.network.concurrency = 3;
    settings.network.concurrency_per_host = 2;
    let network = network(&settings);
    let progress = Progress::silent("images");
    let mut wanted = Vec::new();
    for (at, registry) in registries.iter().enumerate() {
        for seed in 0..20_u64 {
            let blob = Noise::new(seed * 2 + at as u64).bytes(200_000);
            let digest = Digest::of(&blob);
            registry.push_blob("a", &digest.to_string(), Content::from(blob));
            wanted.push((Reference::parse(&registry.reference("a")).unwrap(), digest));
        }
    }
    let fetches = wanted.iter().map(|(repository, digest)| {
        let (network, store, progress) = (&network, &store, &progress);
        async move { network.blob(repository, digest, Some(200_000), store, progress).await }
    });
    for result in futures_util::future::join_all(fetches).await {
        result.unwrap();
    }
    assert!(registries.iter().all(|registry| registry.most_in_flight() <= 2));
    assert_eq!(store.list().unwrap().len(), 40);
}

/// The same blob wanted by many at once is fetched once.
#[tokio::test(flavor = "multi_thread")]
async fn one_blob_has_one_fetcher() {
    let bench = bench(Options::default());
    let network = network(&bench.settings());
    let results: Vec<Result<Fetched, Error>> =
        futures_util::future::join_all((0..8).map(|_| bench.fetch(&network))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(bench.starts(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_asked_for_everything_but_the_machine_itself() {
    let proxy = Server::start(|_: &Asked| Response::new(200, "through the proxy"));
    let files = files();
    let direct = files.server.put("/tool", "direct");
    let mut settings = settings(&[]);
    settings.network.plain_http_hosts = vec!["files.example".into()];
    settings.network.proxy = Some(proxy.url(""));
    files.get(&settings, &download("http://files.example/tool")).await.unwrap();
    assert_eq!(proxy.log().len(), 1);
    files.get(&settings, &download(&direct)).await.unwrap();
    assert_eq!((proxy.log().len(), files.server.log().len()), (1, 1));
}

/// A guest's registry must not send the host to a token service inside.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_inside_is_not_asked_for_a_guest() {
    let inside = Registry::start();
    let realm = inside.url("/token").replace("127.0.0.1", "127.0.0.2");
    let challenge = format!("Bearer realm=\"{realm}\"");
    let server = Server::start(move |_: &Asked| Response::new(401, "").with("www-authenticate", challenge.clone()));
    let network = network(&settings(&[&server.host()]));
    let reference = Reference::parse(&format!("{}/a:1", server.host())).unwrap();
    let restriction = below(&[&server.url("/")]);
    let progress = Progress::silent("charts");
    let error = network.manifest_within(Some(&restriction), &reference, &progress).await.unwrap_err();
    assert_eq!(error.class(), Class::Plugin, "{error:?}");
    assert!(inside.log().is_empty());
}
