//! Whole runs of the step against a file server.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use model::FileKind;

use super::*;
use crate::steps::test_support::{network, settings};

struct Bench {
    folder: tempfile::TempDir,
    server: FileServer,
    store: Store,
    lock: SharedLock,
    security: SecuritySettings,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let server = FileServer::start();
    Bench { folder, server, store, lock: SharedLock::default(), security: SecuritySettings::default() }
}

impl Bench {
    async fn run(&self, files: &[ResolvedFile], online: bool) -> (Result<StepOutcome>, TreeBuilder) {
        let tree = TreeBuilder::new(self.folder.path().join("tree"));
        let progress = Progress::silent("files");
        let network = network(&settings(&[]));
        let work = FilesRun {
            store: &self.store,
            network: online.then_some(&network),
            lock: &self.lock,
            output: &tree,
            journal: None,
            progress: &progress,
            security: &self.security,
            concurrency: 4,
            unpackers: Semaphore::new(UNPACKERS),
            architecture: "amd64",
            local: AsRead::default(),
        };
        (work.run(files).await, tree)
    }

    async fn fails(&self, file: ResolvedFile) -> base::error::ItemFailure {
        let error = self.run(&[file], true).await.0.unwrap_err();
        error.items()[0].clone()
    }
}

fn file(name: &str, url: &str) -> ResolvedFile {
    ResolvedFile {
        kind: FileKind::Tool,
        name: name.into(),
        version: "1.2.3".into(),
        url: url.into(),
        checksum_url: None,
        sha256: None,
        extract: false,
        binary: None,
    }
}

fn with_checksum(name: &str, (url, checksum_url): (String, String)) -> ResolvedFile {
    ResolvedFile { checksum_url: Some(checksum_url), ..file(name, &url) }
}

fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&airgap_tests::images::tar_of(members)).unwrap();
    encoder.finish().unwrap()
}

/// A login page would be packaged as a program, and locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_no_tool_unless_a_checksum_says_so() {
    let bench = bench();
    let page = "\n<!DOCTYPE html><title>Sign in</title>";
    let url = bench.server.put("/login", page);
    let failure = bench.fails(file("tool", &url)).await;
    assert!(failure.message.contains("web page") && failure.hint.is_some(), "{failure:?}");
    assert!(bench.lock.lock().files.is_empty(), "it is not locked");
    let known = with_checksum("tool", bench.server.put_with_checksum("/page", page));
    bench.run(&[known], true).await.0.unwrap();
    let url = bench.server.put("/tool", "a program");
    bench.run(&[file("other", &url)], true).await.0.unwrap();
    assert!(bench.lock.lock().files.contains_key(&url));
}

#[tokio::test(flavor = "multi_thread")]
async fn binaries_and_archives_become_executables_with_a_list() {
    let bench = bench();
    let kubectl = with_checksum("kubectl", bench.server.put_with_checksum("/v1/kubectl", "the binary"));
    let archive = tar_gz(&[("linux-amd64/LICENSE", b"l"), ("linux-amd64/helm", b"the helm")]);
    let url = bench.server.put("/helm-v3%2B1.tar.gz", archive);
    bench.server.put("/helm-v3+1.tar.gz", bench.server.bytes("/helm-v3%2B1.tar.gz"));
    let sums = bench.server.put_checksum_list("/SHA256SUMS", &["/v1/kubectl", "/helm-v3+1.tar.gz"]);
    let helm = ResolvedFile {
        extract: true,
        binary: Some("linux-amd64/helm".into()),
        checksum_url: Some(sums),
        ..file("helm", &url)
    };
    let (result, tree) = bench.run(&[kubectl.clone(), helm.clone()], true).await;
    assert_eq!(result.unwrap().summary, "2 files");
    for (path, content) in [("bin/kubectl", "the binary"), ("bin/helm", "the helm")] {
        let full = tree.root().join(path);
        assert_eq!(std::fs::read_to_string(&full).unwrap(), content);
        assert_eq!(full.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert!(tree.get(path).unwrap().executable);
    }
    let entries: Vec<FileEntry> =
        serde_json::from_slice(&std::fs::read(tree.root().join("files.json")).unwrap()).unwrap();
    assert_eq!((entries[0].path.as_str(), entries[0].size), ("bin/kubectl", 10));
    assert_eq!(entries[1].sha256, Digest::of(b"the helm").hex());

    // Again: nothing is asked for; and not even a network is needed.
    bench.server.forget();
    bench.run(&[kubectl.clone(), helm.clone()], true).await.0.unwrap();
    assert!(bench.server.log().is_empty());
    bench.run(&[kubectl, helm], false).await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_differs_from_its_checksum_is_refused() {
    let bench = bench();
    let good = bench.server.put_with_checksum("/tool", "good");
    bench.server.put("/tool", "evil");
    let failure = bench.fails(with_checksum("tool", good)).await;
    assert_eq!(failure.class, Class::Integrity);
    assert_eq!(bench.server.requests("GET", "/tool").iter().filter(|entry| entry.path == "/tool").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_contradicts_the_lock_says_how_to_update() {
    let bench = bench();
    let tool = with_checksum("tool", bench.server.put_with_checksum("/tool", "one"));
    bench.run(std::slice::from_ref(&tool), true).await.0.unwrap();
    bench.server.put_with_checksum("/tool", "two");
    // As long as the store has it, nobody asks.
    bench.run(std::slice::from_ref(&tool), true).await.0.unwrap();
    bench.store.discard(&Digest::of(b"one")).unwrap();
    let failure = bench.fails(tool).await;
    assert_eq!(failure.class, Class::Integrity);
    assert!(failure.hint.unwrap().contains("opencenter-airgap update tool"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_listed_together() {
    let bench = bench();
    let good = file("good", &bench.server.put("/good", "good"));
    let url = bench.server.put("/archive", tar_gz(&[("other", b"x")]));
    let summed = bench.server.put("/summed", "x");
    bench.server.put("/sums", "no digest here");
    bench.server.fault(On::get("/busy"), Fault::status(503));
    let files = [
        good.clone(),
        file("missing", &bench.server.url("/missing")),
        file("busy", &bench.server.url("/busy")),
        ResolvedFile { extract: true, ..file("tool", &url) },
        ResolvedFile { checksum_url: Some(bench.server.url("/sums")), ..file("sums", &summed) },
        file("../escape", &url),
        file("aux", &url),
        file("a/b", &url),
        good,
    ];
    let error = bench.run(&files, true).await.0.unwrap_err();
    assert_eq!(error.message(), "8 of 9 files failed");
    assert!(!error.class().may_recover());
    let of = |name: &str| error.items().iter().find(|item| item.item == name).unwrap();
    assert_eq!((of("missing").class, of("missing").status), (Class::NotFound, Some(404)));
    assert_eq!(of("busy").class, Class::Transient);
    assert!(of("tool").message.contains("no file named `tool`"), "{}", of("tool").message);
    assert!(of("good").message.contains("two files"), "{}", of("good").message);
    assert!(!bench.folder.path().join("escape").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_can_be_demanded_and_offline_names_what_is_missing() {
    let mut bench = bench();
    bench.security.require_checksums = true;
    let tool = file("tool", &bench.server.put("/tool", "x"));
    let failure = bench.fails(tool.clone()).await;
    assert!(failure.hint.unwrap().contains("checksum_url"));
    assert!(bench.server.log().is_empty());

    bench.security.require_checksums = false;
    let error = bench.run(std::slice::from_ref(&tool), false).await.0.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.items()[0].hint.as_ref().unwrap().contains("--offline"));
}

#[test]
fn paths_are_decoded() {
    for (url, name) in [
        ("https://a.example/b/c.tar.gz?x=y", "/b/c.tar.gz"),
        ("https://a.example/helm-v3%2B1.tgz", "/helm-v3+1.tgz"),
        ("https://a.example/a+b=c&d", "/a+b=c&d"),
        ("https://a.example/100%", "/100%"),
        ("https://a.example/", "/"),
    ] {
        assert_eq!(decoded_path(url), name);
    }
}
