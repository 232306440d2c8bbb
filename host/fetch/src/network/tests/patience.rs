//! How long somebody is waited for: hosts that are down, limit the rate, or
//! have a mirror beside them.

use super::*;

fn free_host() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn requests(progress: &Progress) -> u64 {
    progress.counters().requests.load(Ordering::Relaxed)
}

/// More wait for a place than are under way when the registry asks for hours:
/// each of them must learn it, or the build never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_hours_is_told_to_everyone_who_waits() {
    let registry = Registry::start();
    for number in 0..40_u64 {
        registry.push(&format!("app{number}:1"), &Image::small(number, 1000));
    }
    registry.fault(On::get("/manifests/").after(3), Fault::too_many(Some("21600")));
    let network = network(&settings(&[&registry.host()]));
    let progress = Progress::silent("images");
    let asked = (0..40).map(|number| {
        let reference = Reference::parse(&registry.reference(&format!("app{number}:1"))).unwrap();
        let (network, progress) = (&network, &progress);
        async move { network.manifest(&reference, progress).await }
    });
    let all = tokio::time::timeout(Duration::from_secs(30), futures_util::future::join_all(asked)).await;
    let results = all.expect("nobody waits for ever");
    let failures: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(failures.len(), 37);
    assert!(failures.iter().all(|error| error.class() == Class::RateLimited && error.until().is_some()));
    assert!(requests(&progress) < 20, "who waits asks no more: {}", requests(&progress));
}

/// A time that no clock can hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_without_end_is_a_rate_limit() {
    let bench = bench(Options::default());
    bench.registry.fault(On::get("/blobs/"), Fault::too_many(Some("18446744073709551615")));
    let error = bench.fetch(&network(&bench.settings())).await.unwrap_err();
    assert_eq!((error.class(), error.until().is_some()), (Class::RateLimited, true));
}

/// A registry that starts again is waited for beyond the attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_given_time() {
    let host = free_host();
    let mut settings = settings(&[&host]);
    settings.retries.requests = 2;
    let network = network(&settings);
    let reference = Reference::parse(&format!("{host}/a:1")).unwrap();
    let progress = Progress::silent("images");
    let image = Image::small(1, 1000);
    let start = async {
        while requests(&progress) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let manifest = image.manifest.clone();
        Server::start_on(&host, move |_: &Asked| Response::new(200, manifest.bytes.to_vec()))
    };
    let asked = network.manifest(&reference, &progress);
    tokio::pin!(asked);
    let _server = tokio::select! {
        server = start => server,
        early = &mut asked => panic!("given up after {} requests: {early:?}", requests(&progress)),
    };
    asked.await.unwrap();
}

/// One waits for all of an attempt, and the next attempt waits anew.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_of_a_step_is_patient_once() {
    let host = free_host();
    let network = network(&settings(&[&host]));
    let reference = Reference::parse(&format!("{host}/a:1")).unwrap();
    for _ in 0..2 {
        let attempt = Progress::silent("images");
        network.manifest(&reference, &attempt).await.unwrap_err();
        let patient = requests(&attempt);
        assert!(patient >= 5, "{patient}");
        network.manifest(&reference, &attempt).await.unwrap_err();
        assert_eq!(requests(&attempt), patient + 1);
    }
}

/// A mirror that is always down must not make what is nowhere look as if it
/// could come. Where nobody else is asked, the mirror decides.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_lacks_is_not_there_whatever_a_mirror_says() {
    let mirror = Registry::start();
    mirror.fault(On::get("/manifests/"), Fault::html(503));
    let registry = Registry::start();
    let mut settings = settings(&[]);
    settings.retries.requests = 1;
    let mirrors = vec![Mirror { location: mirror.host(), plain_http: true }];
    let reference = Reference::parse(&registry.reference("a:1")).unwrap();
    for (mirrors_only, class, status) in [(false, Class::NotFound, 404), (true, Class::Transient, 503)] {
        let of = RegistrySettings {
            plain_http: true,
            mirrors: mirrors.clone(),
            mirrors_only,
            ..RegistrySettings::default()
        };
        settings.registries.insert(registry.host(), of);
        let error = network(&settings).manifest(&reference, &Progress::silent("images")).await.unwrap_err();
        assert_eq!((error.class(), error.status()), (class, Some(status)));
        assert!(error.one_line().contains(&mirror.host()), "{error:?}");
    }
}
