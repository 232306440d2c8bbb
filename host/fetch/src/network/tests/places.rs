//! One thing that may be had in several places, and lists in several pages.

use super::*;

async fn shared(network: &Network, bench: &Bench, repositories: &[&str], urls: &[String]) -> Result<Fetched> {
    let repositories: Vec<Reference> = repositories.iter().map(|name| Reference::parse(name).unwrap()).collect();
    let blob = SharedBlob {
        digest: bench.digest,
        size: Some(SIZE as u64),
        repositories: &repositories.iter().collect::<Vec<_>>(),
        urls,
    };
    network.blob_of_any(&blob, &bench.store, &bench.progress).await
}

/// Whatever is wrong with one registry, the other one has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_several_repositories_is_asked_of_each() {
    let down = {
        let server = Server::start(|_: &Asked| Response::new(200, ""));
        server.host()
    };
    let wrong = [
        Fault::status(404),
        Fault::status(503),
        Fault::status(401),
        Fault::Close,
        Fault::Damage { at: 5 },
        Fault::Cut { after: 1_000_000 },
    ];
    for fault in wrong.into_iter().map(Some).chain([None]) {
        let bench = bench(Options::default());
        let first = Registry::start();
        first.push_blob("x/y", &bench.digest.to_string(), Content::from(bench.blob.clone()));
        let host = if fault.is_some() { first.host() } else { down.clone() };
        let shown = format!("{fault:?}");
        fault.map(|fault| first.fault(On::get("/blobs/"), fault));
        let network = network(&settings(&[&host, &bench.registry.host()]));
        let names = [format!("{host}/x/y:1"), bench.registry.reference("a/b:1")];
        let fetched = shared(&network, &bench, &[&names[0], &names[1]], &[]).await;
        assert_eq!(fetched.unwrap_or_else(|error| panic!("{shown}: {error:?}")).size, SIZE as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_nobody_gives_names_all_who_were_asked() {
    let bench = bench(Options::default());
    let (first, second) = (Registry::start(), Registry::start());
    let hosts = [first.host(), second.host()];
    let names = [format!("{}/x/y:1", hosts[0]), format!("{}/z:1", hosts[1])];
    let url = format!("http://{}/layer?signature=secret", first.host());
    let mut settings = settings(&[&hosts[0], &hosts[1]]);
    settings.network.plain_http_hosts = vec![hosts[0].clone()];
    let error = shared(&network(&settings), &bench, &[&names[0], &names[1]], &[url]).await.unwrap_err();
    let told = error.one_line();
    for asked in [format!("{}/x/y", hosts[0]), format!("{}/z", hosts[1]), format!("http://{}/layer", hosts[0])] {
        assert!(told.contains(&asked), "{asked}: {told}");
    }
    assert!(!format!("{error:?}").contains("secret") && error.class() == Class::NotFound, "{error:?}");

    // Where one may still have it, the build may come back.
    first.fault(On::get("/blobs/"), Fault::status(503));
    let error = shared(&network(&settings), &bench, &[&names[0], &names[1]], &[]).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error:?}");
}

/// Layers that may not be passed on: their descriptors say where they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_registry_lacks_comes_from_its_addresses() {
    let bench = bench(Options::default());
    let files = FileServer::start();
    let moved = files.redirect("/moved", &files.put("/layer", bench.blob.clone()));
    let empty = Registry::start();
    let mut settings = settings(&[&empty.host()]);
    let network = |settings: &Settings| network(settings);
    let names = [format!("{}/win/base:1", empty.host())];
    // Who wrote the image does not decide that something comes unencrypted.
    let refused = shared(&network(&settings), &bench, &[&names[0]], std::slice::from_ref(&moved)).await.unwrap_err();
    assert!(refused.one_line().contains("is not encrypted"), "{refused:?}");
    settings.network.plain_http_hosts = vec![files.host()];
    for bad in ["ftp://h.example/x", "http://u:p@h.example/x", "file:///etc/passwd", "nonsense"] {
        let error = shared(&network(&settings), &bench, &[&names[0]], &[bad.to_owned()]).await.unwrap_err();
        assert!(error.one_line().contains("address of the blob"), "{bad}: {error:?}");
    }
    let urls = [files.url("/gone"), moved];
    shared(&network(&settings), &bench, &[&names[0]], &urls).await.unwrap();
    assert_eq!(std::fs::read(bench.store.path(&bench.digest)).unwrap(), bench.blob);

    // Other bytes than the manifest's are never taken.
    let other = super::bench(Options::default());
    let url = files.put("/other", vec![0; SIZE]);
    let error = shared(&network(&settings), &other, &[&names[0]], &[url]).await.unwrap_err();
    assert_eq!(other.store.get(&other.digest), None, "{error:?}");
}

/// What is behind a page that can not be found is the newest version.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leads_nowhere_is_no_end_of_a_list() {
    let tags = async |link: &'static str| {
        let server = Server::start(move |asked: &Asked| {
            let page = |tags: &str| Response::new(200, format!(r#"{{"name":"a","tags":{tags}}}"#));
            match asked.parameters("last").next() {
                None => page(r#"["1"]"#).with("link", link.replace("HOST", asked.header("host").unwrap())),
                Some(last) if last == "loop" => page("null").with("link", link),
                Some(_) => page(r#"["2"]"#),
            }
        });
        let network = network(&settings(&[&server.host()]));
        let repository = Reference::parse(&format!("{}/a", server.host())).unwrap();
        network.list_tags(&repository, 100, &Progress::silent("charts")).await
    };
    for good in [
        "<http://HOST/v2/a/tags/list?last=1>; rel=\"next\"",
        "<https://registry.example/v2/a/tags/list?last=1>; rel=\"next\"",
        "/v2/a/tags/list?last=1",
    ] {
        assert_eq!(tags(good).await.unwrap(), ["1", "2"], "{good}");
    }
    for (bad, why) in [
        ("<https://registry.example/elsewhere?last=1>; rel=\"next\"", "another list"),
        ("<>", "is no address"),
        ("</v2/a/tags/list?last=loop>; rel=\"next\"", "without end"),
    ] {
        let error = tags(bad).await.unwrap_err();
        assert!(error.message().contains(why) && error.class() == Class::InvalidInput, "{bad}: {error:?}");
    }
}

/// Names in headers are those of other countries.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_may_hold_letters_of_every_country() {
    for location in ["/gr\u{fc}\u{df}e/a b", "/gr%C3%BC%C3%9Fe/a%20b"] {
        let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
            "/x" => Response::new(302, "").with("location", location),
            "/gr%C3%BC%C3%9Fe/a%20b" => Response::new(200, "there"),
            _ => Response::new(404, ""),
        });
        let seen = files().get(&Settings::default(), &download(&server.url("/x"))).await;
        assert_eq!(seen.unwrap_or_else(|error| panic!("{error:?}\n{}", server.render_log())).size(), 5);
    }
}
