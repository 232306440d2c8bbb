//! Bytes that are not what they should be: on the disk, in a range, at the
//! end.

use super::*;
use disk::fs;

impl Bench {
    fn cut_once(&self) {
        self.registry.fault(On::get("/blobs/").once(), Fault::Cut { after: 1_000_000 });
    }
}

/// A blob whose file lost its end is fetched again where its size is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_cut_short_in_the_store_is_fetched_again() {
    let bench = bench(Options::default());
    bench.succeeds().await;
    let path = bench.store.path(&bench.digest);
    fs::truncate(&fs::open_rw(&path).unwrap(), &path, 1000).unwrap();
    bench.succeeds().await;
    assert_eq!(bench.starts(), [0, 0]);
}

/// One edge of a network that is wrong once costs no byte.
#[tokio::test(flavor = "multi_thread")]
async fn one_impossible_range_throws_nothing_away() {
    let total = Fault::RangeTotal(SIZE as u64 + 1);
    for fault in [Fault::RangeFrom(0), total, Fault::NoContentRange, Fault::RangeRefused] {
        let bench = bench(Options::default());
        bench.cut_once();
        bench.registry.fault(On::get("/blobs/").with_range().once(), fault);
        bench.succeeds().await;
        let starts = bench.starts();
        assert!(starts.len() == 3 && starts[1] > 0 && starts[2] == starts[1], "{starts:?}");
    }
}

/// A source that insists is believed, whatever the attempts are: the next run
/// does not meet the same bytes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_impossible_range_begins_again() {
    let bench = bench(Options::default());
    bench.cut_once();
    bench.registry.fault(On::get("/blobs/").with_range(), Fault::RangeRefused);
    let mut settings = bench.settings();
    settings.retries.requests = 1;
    for _ in 0..2 {
        assert_eq!(bench.fetch(&network(&settings)).await.unwrap_err().class(), Class::Transient);
    }
    assert_eq!(bench.store.partial_bytes(&bench.digest), 0);
    bench.fetch(&network(&settings)).await.unwrap();
}

/// After wrong bytes everything counts anew: the attempts and the progress.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_again_from_the_beginning_has_all_its_attempts() {
    let bench = bench(Options::default());
    let identity = Identity::blob(bench.digest, Some(SIZE as u64));
    let mut partial = bench.store.partial(&bench.digest.hex(), identity, &|| false).unwrap();
    partial.write(&[0; 1_000_000]).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);
    bench.registry.fault(On::get("/blobs/").after(1).times(10), Fault::Cut { after: 200_000 });
    bench.succeeds().await;
    assert_eq!(bench.starts().len(), 12);
}

/// Serves `content` with ranges, whatever `If-Range` says, under its own ETag
/// or date.
fn careless(content: &[u8], validator: (&'static str, &'static str)) -> Server {
    let content = content.to_vec();
    Server::start(move |asked: &Asked| {
        let total = content.len();
        let start = asked.range().map_or(0, |range| usize::try_from(range.0).unwrap());
        let part = Response::new(if start > 0 { 206 } else { 200 }, content[start..].to_vec());
        let part = part.with(validator.0, validator.1);
        if start == 0 { part } else { part.with("content-range", format!("bytes {start}-{}/{total}", total - 1)) }
    })
}

/// Nobody knows the digest, and the server does not compare: the validator of
/// the part tells that it is a part of something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_other_content_is_never_appended() {
    let (old, new) = (Noise::new(1).bytes(SIZE), Noise::new(2).bytes(SIZE));
    let date = |day: &'static str| ("last-modified", day);
    let (monday, tuesday) = (date("Mon, 05 Jan 2026 00:00:00 GMT"), date("Tue, 06 Jan 2026 00:00:00 GMT"));
    for (before, after) in [(("etag", "\"1\""), ("etag", "\"2\"")), (monday, tuesday), (("etag", "\"1\""), monday)] {
        let files = files();
        let mut settings = settings(&[]);
        settings.retries.requests = 1;
        let server = careless(&old, before);
        server.fault(On::get("/tool").once(), Fault::Cut { after: 1_000_000 });
        let address = server.host();
        let wanted = download(&server.url("/tool"));
        assert_eq!(files.get(&settings, &wanted).await.unwrap_err().class(), Class::Transient);
        drop(server);
        let mirrored = careless(&new, after);
        settings.network.url_mirrors.insert(format!("http://{address}/"), mirrored.url("/"));
        while let Err(error) = files.get(&settings, &wanted).await {
            assert_eq!(error.class(), Class::Transient, "{error:?}");
        }
        assert_eq!(
            files.lock.lock().files[wanted.from.at().as_str()].sha256,
            Digest::of(&new),
            "{}",
            mirrored.render_log()
        );
    }
}

/// The same content goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_with_the_same_validator_is_appended() {
    let content = Noise::new(1).bytes(SIZE);
    for validator in [("etag", "\"1\""), ("last-modified", "Mon, 05 Jan 2026 00:00:00 GMT")] {
        let files = files();
        let server = careless(&content, validator);
        server.fault(On::get("/tool").once(), Fault::Cut { after: 1_000_000 });
        let fetched = files.get(&settings(&[]), &download(&server.url("/tool"))).await.unwrap();
        assert_eq!(fetched.digest(), Digest::of(&content));
        assert_eq!(server.log().len(), 2, "{}", server.render_log());
    }
}
