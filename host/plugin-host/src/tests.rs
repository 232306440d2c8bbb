//! Guests that behave and guests that do not, through the real runtime. Each
//! limit is tested from both sides: kept, and exceeded by a little.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::attempt::{Asked, Attempt};
use super::catalog::{EMBEDDED, PluginSource};
use super::worker::Worker;
use super::{Runtime, RuntimeOptions};
use crate::drift::Drift;
use archive::{ArchiveWriter, Compression, NewMember};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::Layout;
use base::progress::{Event, Observer, Progress, Silent, StepOutcome};
use config::Project;
use config::airgap_lock::AirgapLock;
use config::as_read::AsRead;
use config::limits::PluginSettings;
use config::named::{LocalTree, NamedPaths};
use config::settings::{NetworkSettings, Settings};
use confine::wall::Wall;
use disk::fs;
use disk::tree::{Tree, TreeBuilder};
use entitlement::Asker;
use entitlement::grants::Grants;
use fetch::desk::Means;
use fetch::network::{Network, NetworkEnvironment};
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use fetch::store::receipts::Receipt;

mod strains;

/// A component of tests/guests.
fn guest(name: &str) -> PluginSource {
    granted(name, Grants::default())
}

fn granted(name: &str, grants: Grants) -> PluginSource {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/test-guests/{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}: the test guests are not built: run `make plugins`", path.display())
    });
    PluginSource::new(name, "1.0.0", bytes, grants).unwrap()
}

/// A project with one committed tree, and what a step works with.
struct Bench {
    root: tempfile::TempDir,
    settings: PluginSettings,
    observer: Arc<dyn Observer>,
    cancel: CancellationToken,
    attempt: u32,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            root: tempfile::tempdir().unwrap(),
            settings: PluginSettings::default(),
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
            attempt: 1,
        };
        for folder in ["config", "build/steps", "build/staging/step"] {
            fs::create_dir_all(&bench.path(folder)).unwrap();
        }
        fs::write_new(&bench.path("config/versions.env"), b"A=\"1\"\n").unwrap();
        fs::write_new(&bench.path("config/settings.yaml"), b"{}\n").unwrap();
        bench
    }

    fn with(settings: PluginSettings) -> Self {
        Self { settings, ..Self::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The tree of a step that this one needs.
    fn made(&self) -> Tree {
        let builder = TreeBuilder::new(self.path("build/steps/made"));
        builder.write("a", b"content of a", true).unwrap();
        builder.write("sub/b", b"b", false).unwrap();
        Tree { root: builder.root().to_owned(), listing: Arc::new(builder.listing()) }
    }

    fn output(&self) -> TreeBuilder {
        fs::remove_dir_all(&self.path("build/staging/step/tree")).unwrap();
        TreeBuilder::new(self.path("build/staging/step/tree"))
    }

    fn attempt(&self, configuration: Value) -> Attempt {
        Attempt {
            step: "step".into(),
            attempt: self.attempt,
            timeout: None,
            asked: Asked::default(),
            epoch: 1_700_000_000,
            configuration,
            trees: BTreeMap::from([("made".into(), self.made())]),
            output: self.output(),
            progress: Progress::new("step", self.observer.clone(), self.cancel.clone()),
            means: self.means(None, SharedLock::default()),
            drift: Drift::default(),
            layout: self.layout(),
            named: Arc::new(NamedPaths::of(&Project::unconfigured(self.layout()).unwrap()).unwrap()),
            largest_unpacked: 1 << 30,
            read: AsRead::default(),
            local: vec![LocalTree::chosen(&self.path("config"), &self.layout()).unwrap()],
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.path("config"), self.path("build"), self.path("dist"))
    }

    fn means(&self, network: Option<Arc<Network>>, lock: SharedLock) -> Means {
        Means::new(Arc::new(Store::open(self.path("build/store")).unwrap()), network, lock)
    }

    fn options(&self, cache_dir: Option<PathBuf>) -> RuntimeOptions {
        RuntimeOptions { cache_dir, settings: self.settings.clone(), wall: Wall::Off, ..RuntimeOptions::default() }
    }

    fn runtime(&self) -> Arc<Runtime> {
        Arc::new(Runtime::new(self.options(None)))
    }

    async fn run(&self, source: &PluginSource, configuration: Value) -> Result<StepOutcome> {
        self.runtime().run(source, &self.attempt(configuration)).await
    }

    /// What lies in the output, by path.
    fn written(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path("build/staging/step/tree").join(path)).ok()
    }
}

async fn failure(bench: &Bench, name: &str, configuration: Value) -> Error {
    bench.run(&guest(name), configuration).await.unwrap_err()
}

#[track_caller]
fn assert_says(error: &Error, class: Class, words: &[&str]) {
    let text = format!("{} ({})", error.one_line(), error.hint_text().unwrap_or_default());
    assert_eq!(error.class(), class, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_writes_its_output_and_says_what_it_did() {
    let bench = Bench::new();
    let attempt = bench.attempt(json!({"name": "world", "package": {"name": "p"}, "architecture": "amd64"}));
    let outcome = bench.runtime().run(&guest("hello"), &attempt).await.unwrap();
    assert_eq!((outcome.items, outcome.unit.as_str()), (1, "greetings"));
    assert_eq!(bench.written("hello.txt").unwrap(), b"hello world from step, attempt 1\n");
    let listing = attempt.output.listing();
    assert_eq!(listing.get("hello.txt").unwrap().digest, Digest::of(b"hello world from step, attempt 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_names_the_field() {
    let error = failure(&Bench::new(), "hello", json!({"nmae": "x"})).await;
    assert_says(&error, Class::InvalidInput, &["unknown field `nmae`", "pipeline.yaml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_describes_itself() {
    let bench = Bench::new();
    let description = bench.runtime().describe(&guest("hello"), &Progress::silent("describe")).await.unwrap();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("hello", env!("CARGO_PKG_VERSION")));
    assert_eq!(description.configuration_schema["properties"]["name"]["type"], "string");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_reported_with_plugin_frames_and_last_words() {
    let error = failure(&Bench::new(), "traps", json!({})).await;
    assert_says(
        &error,
        Class::Plugin,
        &[
            "plugin traps 1.0.0 (sha256:",
            "in step step panicked at tests/guests/examples/traps.rs:30:5: the number was 2",
            "`--verbose` shows",
        ],
    );
    let details = error.details().join("\n");
    for detail in ["in traps::inner_most, called by traps::outer", "it printed: about to fail"] {
        assert!(details.contains(detail) && !error.one_line().contains(detail), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_meets_the_time_limit() {
    let bench = Bench::with(PluginSettings { time_limit: 1, ..PluginSettings::default() });
    let error = failure(&bench, "loops", json!({})).await;
    assert_says(&error, Class::Plugin, &["longer than its limit of 1 s", "`plugins.time_limit`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_stops_guest_code_at_once() {
    let bench = Bench::new();
    let cancel = bench.cancel.clone();
    let source = guest("loops");
    let runtime = bench.runtime();
    runtime.prepare(&source, &Progress::silent("prepare")).await.unwrap();
    let stop = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
        Instant::now()
    });
    let error = runtime.run(&source, &bench.attempt(json!({}))).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    assert!(stop.await.unwrap().elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited_over_the_whole_call() {
    let bench = Bench::with(PluginSettings { memory_mib: 32, ..PluginSettings::default() });
    bench.run(&guest("allocates"), json!({"mib": 16})).await.unwrap();
    let error = failure(&bench, "allocates", json!({"mib": 64})).await;
    assert_says(&error, Class::Plugin, &["ran out of memory", "its limit is 32 MiB", "`plugins.memory_mib`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_and_exit_are_faults_of_the_plugin() {
    let bench = Bench::new();
    let error = failure(&bench, "recurses", json!({})).await;
    assert_says(&error, Class::Plugin, &["crashed", "out of bounds"]);
    assert!(error.details()[0].contains("recurses::deeper"), "{:?}", error.details());
    let error = failure(&bench, "exits", json!({})).await;
    assert_says(&error, Class::Plugin, &["exited with status 1 instead of returning"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_passes_and_a_flood_does_not() {
    let bench = Bench::with(PluginSettings { console_kib: 4, ..PluginSettings::default() });
    bench.run(&guest("floods_stdout"), json!({"kib": 200})).await.unwrap();
    let error = failure(&bench, "floods_stdout", json!({})).await;
    assert_says(&error, Class::Plugin, &["printed more than 256 KiB", "`plugins.console_kib`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_bytes_of_the_output_are_limited() {
    let settings = PluginSettings { output_files: 20, output_mib: 2, ..PluginSettings::default() };
    let bench = Bench::with(settings);
    bench.run(&guest("floods_files"), json!({"files": 20})).await.unwrap();
    let error = failure(&bench, "floods_files", json!({"files": 21})).await;
    assert_says(&error, Class::Plugin, &["more than 20 files", "`plugins.output_files`", "raise"]);
    bench.run(&guest("floods_bytes"), json!({"mib": 2})).await.unwrap();
    let error = failure(&bench, "floods_bytes", json!({"at_once": 65, "mib": 0})).await;
    assert_says(&error, Class::Plugin, &["more than 64 MiB to the host in one call"]);
    let error = failure(&bench, "floods_bytes", json!({"mib": 3})).await;
    assert_says(&error, Class::Plugin, &["more than 2 MiB", "`plugins.output_mib`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_outside_or_where_zarf_would_refuse() {
    let bench = Bench::new();
    for path in ["../x", "/x", "a/../../x", "a b", "aux.txt", "a//b", ""] {
        let error = failure(&bench, "writes_outside", json!({"path": path})).await;
        assert_says(&error, Class::Plugin, &["path"]);
    }
    assert!(!bench.path("build/staging/step/x").exists());
    bench.run(&guest("writes_outside"), json!({"path": "a/b"})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_world_is_named_with_what_is_expected() {
    let error = failure(&Bench::new(), "another_world", json!({})).await;
    assert_says(&error, Class::Plugin, &["`acme:greeter/greet@2.1.0`", "`opencenter:airgap/step@1.1.0`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused() {
    let bench = Bench::new();
    let source = PluginSource::new("x", "1", b"\0asm\x01\0\0\0".to_vec(), Grants::default()).unwrap();
    assert_says(&bench.run(&source, json!({})).await.unwrap_err(), Class::Plugin, &["core WebAssembly module"]);
    let source = PluginSource::new("x", "1", b"\0asm\x0d\0\x01\0junk".to_vec(), Grants::default()).unwrap();
    assert_says(&bench.run(&source, json!({})).await.unwrap_err(), Class::Plugin, &["can not be compiled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn polite_failures_keep_their_kind_and_lose_their_escapes() {
    let bench = Bench::new();
    for (kind, class) in [
        ("invalid-input", Class::InvalidInput),
        ("missing-input", Class::NotFound),
        ("denied", Class::Plugin),
        ("transient", Class::Transient),
        ("interrupted", Class::Plugin),
        ("auth", Class::Auth),
        ("integrity", Class::Integrity),
        ("whatever", Class::InvalidInput),
    ] {
        let error = failure(&bench, "fails_politely", json!({"kind": kind})).await;
        assert_eq!(error.class(), class, "{kind}");
        assert!(!error.one_line().contains('\u{1b}'));
    }
    let error = failure(&bench, "fails_politely", json!({"kind": "missing-input"})).await;
    assert_says(&error, Class::NotFound, &["chart `x` is not there", "look again", "as `chart-not-found`"]);
    assert_eq!(error.code(), Some("chart-not-found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_takes_no_time_and_clocks_and_chance_are_fixed() {
    let bench = Bench::new();
    let started = Instant::now();
    bench.run(&guest("sleeps"), json!({})).await.unwrap();
    let first = bench.written("seen").unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    let text = String::from_utf8(first.clone()).unwrap();
    assert!(text.starts_with("3600 1700000000 "), "{text}");
    bench.run(&guest("sleeps"), json!({})).await.unwrap();
    assert_eq!(bench.written("seen").unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_plugin_fetches_only_what_is_granted() {
    let bench = Bench::new();
    let error = failure(&bench, "fetches", json!({"url": "https://example.com/a/b"})).await;
    assert_says(&error, Class::Plugin, &["`https://example.com/a/b`", "plugins.lock", "https://example.com/a/"]);
    let error = failure(&bench, "fetches", json!({"url": "oci://registry.example.com/team/app:1"})).await;
    assert_says(&error, Class::Plugin, &["registry.example.com/team/app"]);
    let error = failure(&bench, "fetches", json!({"url": "https://user:secret@example.com/"})).await;
    assert!(!error.one_line().contains("secret"), "{}", error.one_line());
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_the_store_answers_and_nothing_else() {
    let bench = Bench::new();
    let url = "https://example.com/a/b";
    let source = granted("fetches", Grants { fetch: vec!["https://example.com/a/".into()], ..Grants::default() });
    let error = bench.run(&source, json!({"url": url})).await.unwrap_err();
    assert_says(&error, Class::NotFound, &["not in the store", "offline"]);

    // That the store holds it is nothing to the plugin, until a receipt says
    // that this address gave it to this plugin.
    let store = Store::open(bench.path("build/store")).unwrap();
    let digest = store.insert_bytes(b"from the store").unwrap();
    let named = json!({"url": url, "sha256": digest.hex()});
    let (mine, core) = (Asker::Pinned("fetches".into()), Asker::Core("fetches".into()));
    for (asker, address) in [(&mine, "https://granted.example/b/other"), (&core, url)] {
        let (asker, address) = (asker.clone(), address.to_owned());
        store.note(&Receipt { asker, address, digest, build: "1".into(), size: None, credentials: false }).unwrap();
        let error = bench.run(&source, named.clone()).await.unwrap_err();
        assert_says(&error, Class::NotFound, &["not in the store", "offline"]);
    }
    store
        .note(&Receipt {
            asker: mine,
            address: url.to_owned(),
            digest,
            build: "1".into(),
            size: None,
            credentials: false,
        })
        .unwrap();
    assert_eq!(bench.run(&source, named.clone()).await.unwrap().summary, "from the store");
    let error = bench.run(&granted("fetches", Grants::default()), named).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["not below a granted prefix"]);
}

/// Answers `/a/file`, and redirects from `/a/away` to a server of its own.
fn servers() -> (u16, u16) {
    let target = serve(|_| "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret".to_owned());
    let first = serve(move |path| match path {
        "/a/away" => format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{target}/secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfile".to_owned(),
    });
    (first, target)
}

fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(path).as_bytes());
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_has_to_be_granted_too() {
    let (first, target) = servers();
    let bench = Bench::new();
    let network = NetworkSettings {
        plain_http_hosts: vec![format!("127.0.0.1:{first}"), format!("127.0.0.1:{target}")],
        ..NetworkSettings::default()
    };
    let settings = Settings { network, ..Settings::default() };
    let network = Network::new(&settings, &bench.path("config"), NetworkEnvironment::default()).unwrap();
    let network = Arc::new(network);
    let fetch = async |grants: &[String], path: &str| {
        let source = granted("fetches", Grants { fetch: grants.to_vec(), ..Grants::default() });
        let url = format!("http://127.0.0.1:{first}{path}");
        let attempt = Attempt {
            means: bench.means(Some(network.clone()), SharedLock::default()),
            ..bench.attempt(json!({"url": url}))
        };
        bench.runtime().run(&source, &attempt).await
    };
    let first = format!("http://127.0.0.1:{first}/a/");
    let both = [first.clone(), format!("http://127.0.0.1:{target}/")];
    assert_eq!(fetch(&both[..1], "/a/file").await.unwrap().summary, "file");
    let error = fetch(&both[..1], "/a/away").await.unwrap_err();
    assert_says(&error, Class::Plugin, &[&format!("127.0.0.1:{target}"), "plugins.lock"]);
    assert_eq!(fetch(&both, "/a/away").await.unwrap().summary, "secret");
}

/// What a digest names can not change, whatever the address gives tomorrow.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_frozen_lock_a_digest_is_enough() {
    let (port, _) = servers();
    let bench = Bench::new();
    let network = NetworkSettings { plain_http_hosts: vec![format!("127.0.0.1:{port}")], ..NetworkSettings::default() };
    let settings = Settings { network, ..Settings::default() };
    let network = Arc::new(Network::new(&settings, &bench.path("config"), NetworkEnvironment::default()).unwrap());
    let fetch = async |sha256: Option<String>| {
        let grants = Grants { fetch: vec![format!("http://127.0.0.1:{port}/")], ..Grants::default() };
        let url = format!("http://127.0.0.1:{port}/a/file");
        let attempt = Attempt {
            means: bench.means(Some(network.clone()), SharedLock::frozen(AirgapLock::default())),
            ..bench.attempt(json!({"url": url, "sha256": sha256, "mutable": true}))
        };
        bench.runtime().run(&granted("fetches", grants), &attempt).await
    };
    assert_eq!(fetch(None).await.unwrap_err().class(), Class::Changed);
    let known = base::digest::Digest::of(b"file").hex();
    assert_eq!(fetch(Some(known)).await.unwrap().summary, "file");
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_outputs_survive_a_failed_attempt() {
    let mut bench = Bench::new();
    let error = failure(&bench, "checkpoints", json!({})).await;
    assert_eq!(error.class(), Class::Transient);
    bench.attempt = 2;
    let attempt = bench.attempt(json!({}));
    let outcome = bench.runtime().run(&guest("checkpoints"), &attempt).await.unwrap();
    assert_eq!(outcome.summary, "slow");
    assert_eq!(bench.written("slow").unwrap(), b"made in attempt 1");
    let paths: Vec<String> = attempt.output.listing().artifacts.into_iter().map(|artifact| artifact.path).collect();
    assert_eq!(paths, ["fast", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_worth_nothing_for_another_configuration() {
    let bench = Bench::new();
    failure(&bench, "checkpoints", json!({})).await;
    let error = failure(&bench, "checkpoints", json!({"other": 1})).await;
    assert_eq!(error.class(), Class::Transient, "it began anew");
    assert_eq!(bench.written("slow").unwrap(), b"made in attempt 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_trees_by_name() {
    let bench = Bench::new();
    let error = failure(&bench, "reads", json!({})).await;
    assert_says(&error, Class::NotFound, &["no file `absent`"]);
    let seen = String::from_utf8(bench.written("seen").unwrap()).unwrap();
    assert!(seen.contains("config versions.env EntryKind::File 6\n"), "{seen}");
    let config = bench.path("config").display().to_string();
    assert!(seen.contains(&format!("local:{config} versions.env EntryKind::File 6\n")), "{seen}");
    assert!(seen.contains("config airgap.lock") && !seen.contains("settings.yaml"), "{seen}");
    assert!(seen.contains("made a EntryKind::File 12\nmade sub/b EntryKind::File 1\n"), "{seen}");
    assert!(seen.ends_with("content of a"), "{seen}");
}

/// The components of a needed step choose among what the configuration names.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_output_opens_no_local_path() {
    let bench = Bench::new();
    fs::write_new(&bench.path(".env"), b"secret").unwrap();
    for (repo, values) in [("./", ".env"), ("https://h", ".env"), ("https://h", "config/settings.yaml")] {
        let chart = json!({"name": "c", "repo": repo, "version": "1", "values": [values]});
        let components = json!({"architecture": "amd64", "package": {"name": "p", "version": "1"}, "images": [],
            "files": [], "repositories": [], "charts": [chart]});
        let tree = TreeBuilder::new(bench.path("build/steps/evil"));
        tree.write("components.resolved.json", components.to_string().as_bytes(), false).unwrap();
        let mut attempt = bench.attempt(json!({}));
        attempt.trees.insert("evil".into(), Tree { root: tree.root().to_owned(), listing: Arc::new(tree.listing()) });
        let error = bench.runtime().run(&guest("reads"), &attempt).await.unwrap_err();
        assert_says(&error, Class::Plugin, &["`evil`", "the configuration does not", "components.yaml"]);
        assert_eq!(bench.written("seen"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_unpacked_for_a_call_and_gone_after_it() {
    let bench = Bench::new();
    let mut writer = ArchiveWriter::create(bench.path("archive.tar.zst"), Compression::Zstd).unwrap();
    writer.add(NewMember::bytes("one", 0o644, b"1".to_vec())).unwrap();
    writer.add(NewMember::bytes("two/three", 0o755, b"3".to_vec())).unwrap();
    let (digest, size) = writer.finish().unwrap();
    let mut attempt = bench.attempt(json!({"path": "archive.tar.zst"}));
    let tree = TreeBuilder::new(bench.path("build/steps/archives"));
    tree.link(&bench.path("archive.tar.zst"), digest, size, "archive.tar.zst", false).unwrap();
    tree.write("junk", b"\x1f\x8bnot an archive", false).unwrap();
    attempt.trees.insert("made".into(), Tree { root: tree.root().to_owned(), listing: Arc::new(tree.listing()) });
    let outcome = bench.runtime().run(&guest("unpacks"), &attempt).await.unwrap();
    assert_eq!(outcome.summary, "one two/three");
    assert_eq!(bench.written("two/three").unwrap(), b"3");
    assert_eq!(std::fs::read_dir(bench.path("build/staging/step/unpacked")).unwrap().count(), 0);

    attempt.configuration = json!({"path": "junk"});
    attempt.output = bench.output();
    let error = bench.runtime().run(&guest("unpacks"), &attempt).await.unwrap_err();
    assert_says(&error, Class::InvalidInput, &["`junk` can not be unpacked", "unsafe-archive"]);
    assert!(error.hint_text().is_some(), "the host's hint reaches the user: {error}");

    attempt.configuration = json!({"path": "archive.tar.zst"});
    attempt.output = bench.output();
    attempt.largest_unpacked = 1;
    let error = bench.runtime().run(&guest("unpacks"), &attempt).await.unwrap_err();
    assert_says(&error, Class::InvalidInput, &["`archive.tar.zst` can not be unpacked", "too-large"]);
    assert_eq!(std::fs::read_dir(bench.path("build/staging/step/unpacked")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_plans_an_archive_and_the_host_writes_it() {
    let bench = Bench::new();
    let attempt = bench.attempt(json!({}));
    let outcome = bench.runtime().run(&guest("packs"), &attempt).await.unwrap();
    let artifact = attempt.output.get("out.tar.zst").unwrap();
    assert_eq!(outcome.summary, artifact.digest.to_string());
    assert_eq!(Digest::of(&bench.written("out.tar.zst").unwrap()), artifact.digest);
    assert!(bench.written("abandoned.tar").is_none() && attempt.output.get("abandoned.tar").is_none());
}

/// What lies on the disk already may be packed; everything else is written.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_pinned_plugin_packs_counts_as_its_output() {
    let bench = Bench::with(PluginSettings { output_mib: 0, ..PluginSettings::default() });
    let error = failure(&bench, "packs", json!({})).await;
    assert_says(&error, Class::Plugin, &["more than 0 MiB", "`plugins.output_mib`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_left_open_is_completed_with_the_step_or_removed_with_it() {
    let bench = Bench::new();
    let attempt = bench.attempt(json!({}));
    bench.runtime().run(&guest("forgets_to_close"), &attempt).await.unwrap();
    let artifact = attempt.output.get("open").unwrap();
    assert_eq!((artifact.size, artifact.executable), (7, true));
    failure(&bench, "forgets_to_close", json!({"fail": true})).await;
    assert!(bench.written("open").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_exist_only_where_they_are_granted() {
    let bench = Bench::new();
    let error = failure(&bench, "uses_directories", json!({})).await;
    assert_eq!(error.class(), Class::InvalidInput);
    let source = granted("uses_directories", Grants { directories: true, ..Grants::default() });
    let attempt = bench.attempt(json!({}));
    bench.runtime().run(&source, &attempt).await.unwrap();
    assert_eq!(attempt.output.listing().artifacts.len(), 1);
    assert_eq!(bench.written("sub/copy").unwrap(), b"content of a");
    assert!(!bench.path("build/staging/step/directories").exists());

    assert!(bench.run(&source, json!({"change": true})).await.is_err(), "/in is read-only");
    assert_eq!(std::fs::read(bench.path("build/steps/made/a")).unwrap(), b"content of a");
    let error = bench.run(&source, json!({"link": true})).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["/out", "a link or a special file"]);
}

/// Keeps what was told.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        let line = match event {
            Event::Log { message, .. } => message.clone(),
            Event::StepProgress { done, total: Some(total), unit, message, .. } => {
                format!("{done} of {total} {unit}: {message}")
            }
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_kept_and_a_damaged_entry_is_a_miss() {
    let bench = Bench::new();
    let cache = bench.path("cache/compiled");
    let runtime = || Arc::new(Runtime::new(bench.options(Some(cache.clone()))));
    let source = guest("hello");
    let configuration = json!({"name": "x"});
    let entry = |extension: &str| {
        let found = std::fs::read_dir(&cache).unwrap().flatten().map(|entry| entry.path());
        found.into_iter().find(|path| path.extension().is_some_and(|found| found == extension)).unwrap()
    };
    runtime().run(&source, &bench.attempt(configuration.clone())).await.unwrap();
    let code = entry("cwasm");
    let written = std::fs::metadata(&code).unwrap().modified().unwrap();
    runtime().run(&source, &bench.attempt(configuration.clone())).await.unwrap();
    assert_eq!(std::fs::metadata(&code).unwrap().modified().unwrap(), written, "a hit writes nothing");

    let mut bytes = std::fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write_new(&code, &bytes).unwrap();
    runtime().run(&source, &bench.attempt(configuration.clone())).await.unwrap();
    bytes[middle] ^= 1;
    assert!(std::fs::read(&code).unwrap() == bytes, "the damaged code was made anew");

    fs::write_new(&entry("receipt"), b"{}").unwrap();
    runtime().run(&source, &bench.attempt(configuration.clone())).await.unwrap();

    // Warm: load, instantiate, run. The bound is loose, for a busy machine;
    // the usual figure is a few milliseconds.
    let warm = runtime();
    let attempt = bench.attempt(configuration);
    let started = Instant::now();
    warm.run(&source, &attempt).await.unwrap();
    let cold_start = started.elapsed();
    assert!(cold_start < Duration::from_secs(2), "{cold_start:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn core_plugins_load_fast_once_they_are_compiled() {
    let bench = Bench::new();
    let options = bench.options(Some(bench.path("cache/compiled")));
    for round in ["cold", "warm"] {
        let runtime = Arc::new(Runtime::new(options.clone()));
        let started = Instant::now();
        for embedded in EMBEDDED {
            let before = started.elapsed();
            runtime.prepare(&embedded.source(), &Progress::silent("prepare")).await.unwrap();
            let spent = started.elapsed() - before;
            println!("{round}: {} ({} KiB) in {spent:?}", embedded.name, embedded.size >> 10);
        }
        println!("{round}: all in {:?}", started.elapsed());
        // Loose, for a busy machine: some 20 ms each is usual.
        assert!(round == "cold" || started.elapsed() < Duration::from_secs(5));
        let description = runtime.describe(&EMBEDDED[0].source(), &Progress::silent("describe")).await.unwrap();
        assert_eq!(description.name, EMBEDDED[0].name);
    }
}

/// Found again in the cache, what a plugin says is held to the limit of today.
#[tokio::test(flavor = "multi_thread")]
async fn a_description_has_a_limit_that_holds_for_one_that_is_known_as_well() {
    let bench = Bench::new();
    let describe = async |schema_kib: u64, cache: &str| {
        let settings = PluginSettings { schema_kib, ..PluginSettings::default() };
        let options = RuntimeOptions { settings, ..bench.options(Some(bench.path(cache))) };
        Arc::new(Runtime::new(options)).describe(&guest("hello"), &Progress::silent("describe")).await
    };
    describe(1, "one").await.unwrap();
    for cache in ["one", "another"] {
        let error = describe(0, cache).await.unwrap_err();
        assert_says(
            &error,
            Class::Plugin,
            &["plugin hello", "describes itself in 1 KiB, and 0 are allowed", "`plugins.schema_kib`"],
        );
    }
}

/// A verdict is kept by schema and configuration together.
#[tokio::test(flavor = "multi_thread")]
async fn whether_a_configuration_fits_is_asked_once() {
    let bench = Bench::new();
    let cache = bench.path("cache");
    let runtime = || Arc::new(Runtime::new(bench.options(Some(cache.clone()))));
    let progress = Progress::silent("review");
    let description = runtime().describe(&guest("hello"), &progress).await.unwrap();
    let misfits = async |runtime: Arc<Runtime>, configuration: Value| {
        runtime.misfits(&guest("hello"), &description, configuration, &progress).await
    };
    let fits = json!({"name": "x"});
    assert_eq!(misfits(runtime(), fits.clone()).await.unwrap(), Vec::<String>::new());
    let wrong = misfits(runtime(), json!({"nmae": "x"})).await.unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");

    // Nobody is there to be asked: what is known is known, what is not fails.
    let worker = Worker::Process(bench.path("missing"));
    let alone =
        || Arc::new(Runtime::new(RuntimeOptions { worker: worker.clone(), ..bench.options(Some(cache.clone())) }));
    assert_eq!(misfits(alone(), fits).await.unwrap(), Vec::<String>::new());
    assert_eq!(misfits(alone(), json!({"nmae": "x"})).await.unwrap(), wrong);
    assert_eq!(misfits(alone(), json!({"name": "y"})).await.unwrap_err().class(), Class::Local);
}

/// Whoever runs what a third party wrote has decided about the second wall.
#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_plugin_is_touched_only_behind_a_wall_that_was_asked_for() {
    let bench = Bench::new();
    let runtime = Arc::new(Runtime::new(RuntimeOptions { wall: Wall::Unasked, ..bench.options(None) }));
    let progress = Progress::silent("step");
    for error in [
        runtime.run(&guest("hello"), &bench.attempt(json!({"name": "x"}))).await.unwrap_err(),
        runtime.describe(&guest("hello"), &progress).await.unwrap_err(),
        runtime.prepare(&guest("hello"), &progress).await.unwrap_err(),
    ] {
        assert_says(&error, Class::Local, &["plugin hello", "no wall was asked for"]);
    }
    runtime.prepare(&EMBEDDED[0].source(), &progress).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_built_until_a_plugin_runs() {
    let bench = Bench::new();
    let cache = bench.path("cache/compiled");
    let runtime = Runtime::new(bench.options(Some(cache.clone())));
    drop(runtime);
    assert!(!cache.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_logs_is_cleaned() {
    let recorder = Arc::new(Recorder::default());
    let bench = Bench { observer: recorder.clone(), ..Bench::new() };
    failure(&bench, "fails_politely", json!({"kind": "denied"})).await;
    assert_eq!(
        *recorder.0.lock().unwrap(),
        ["compiling plugin fails_politely", "this will \\u{1b}[31mfail\nsoon", "1 of 2 lines: going \\u{202e}on"]
    );
}
