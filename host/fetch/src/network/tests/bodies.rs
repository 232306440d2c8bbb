//! What a body is by its head: without a length, packed, counted.

use super::*;

/// An old proxy announces no length and ends a body by closing the connection:
/// whether that was the end only the known size tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_that_is_cut_goes_on_where_it_ended() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").times(3), Fault::CutWithoutLength { after: 600_000 });
    bench.succeeds().await;
    let starts = bench.starts();
    assert_eq!(starts.len(), 4);
    assert!(starts.is_sorted() && starts[1] > 0 && starts[3] > 1_000_000, "{starts:?}");

    // Small ones are collected in memory.
    let small = bench.blob[..1000].to_vec();
    let digest = Digest::of(&small);
    bench.registry.push_blob("a/b", &digest.to_string(), Content::from(small));
    bench.registry.fault(On::get(digest.to_string()).once(), Fault::CutWithoutLength { after: 10 });
    let network = network(&bench.settings());
    network.blob(&bench.repository(), &digest, Some(1000), &bench.store, &bench.progress).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_always_cut_is_a_failure_that_may_pass_and_stays() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/").once(), Fault::CutWithoutLength { after: 600_000 });
    bench.registry.fault(On::get("/blobs/"), Fault::CutWithoutLength { after: 0 });
    let mut settings = bench.settings();
    settings.retries.requests = 2;
    let error = bench.fetch(&network(&settings)).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error:?}");
    assert!(bench.store.partial_bytes(&bench.digest) > 0);
}

fn packed(as_what: &str) -> Fault {
    Fault::Header("content-encoding".into(), as_what.into())
}

/// What nobody asked for would be locked for ever as the file itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_is_refused_by_name() {
    let files = files();
    let url = files.server.put("/tool", Noise::new(1).bytes(SIZE));
    files.server.fault(On::get("/tool"), packed("gzip"));
    let mut settings = settings(&[]);
    settings.retries.requests = 1;
    let error = files.get(&settings, &download(&url)).await.unwrap_err();
    assert_eq!(error.class(), Class::InvalidInput, "{error:?}");
    assert!(error.message().contains("tool packed as `gzip`"), "{error:?}");
    assert!(files.lock.lock().files.is_empty() && files.store.list().unwrap().is_empty());
    assert_eq!(files.server.log()[0].header("accept-encoding"), Some("identity"));

    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 1000));
    registry.fault(On::get("/manifests/"), packed("br"));
    let settings = Settings { retries: settings.retries.clone(), ..self::settings(&[&registry.host()]) };
    let reference = Reference::parse(&registry.reference("app:1")).unwrap();
    let error = network(&settings).manifest(&reference, &files.progress).await.unwrap_err();
    assert!(error.message().contains("packed as `br`"), "{error:?}");
}

/// Some servers call every `.gz` packed, and storages repeat what they were
/// told about a layer.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_only_called_packed_is_taken() {
    let files = files();
    let url = files.server.put("/chart-1.tgz", Noise::new(1).bytes(SIZE));
    files.server.fault(On::get("/chart-1.tgz"), packed("x-gzip"));
    files.get(&settings(&[]), &download(&url)).await.unwrap();
    let url = files.server.put("/uploaded", Noise::new(2).bytes(SIZE));
    files.server.fault(On::get("/uploaded"), packed("aws-chunked"));
    files.get(&settings(&[]), &download(&url)).await.unwrap();

    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/"), packed("gzip"));
    bench.succeeds().await;
}

/// Without the total nobody can tell how long it still takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_s_bytes_are_part_of_the_total_from_its_first_answer_on() {
    let files = files();
    let url = files.server.put("/tool", Noise::new(1).bytes(SIZE));
    files.server.fault(On::get("/tool").once(), Fault::Cut { after: 1_000_000 });
    let total = || files.progress.counters().bytes_total.load(Ordering::Relaxed);
    files.get(&settings(&[]), &download(&url)).await.unwrap();
    assert_eq!(total(), SIZE as u64);
    files.get(&settings(&[]), &download(&url)).await.unwrap();
    assert_eq!(total(), 2 * SIZE as u64, "what is reused counts as such");
}
