//! Servers that want to know who asks, and do not say so as the others do.

use super::*;

/// Lets in `me` with `right`; everybody else gets `refusal`.
fn closed(refusal: impl Fn() -> Response + Send + Sync + 'static) -> Server {
    let manifest = r#"{"schemaVersion":2,"manifests":[]}"#;
    Server::start(move |asked: &Asked| match asked.refusal("me", "right") {
        Some(_) => refusal(),
        None => Response::new(200, manifest),
    })
}

async fn ask(server: &Server, network: &Network) -> Result<ManifestBytes> {
    let reference = Reference::parse(&format!("{}/a:1", server.host())).unwrap();
    network.manifest(&reference, &Progress::silent("images")).await
}

/// What private servers answer to nobody: there is nothing, it is forbidden, a
/// 401 that does not say what is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_say_what_it_wants_gets_the_password() {
    for status in [401, 403, 404] {
        let folder = tempfile::tempdir().unwrap();
        let server = closed(move || Response::new(status, ""));
        let config = docker_config(&folder, &server.host(), &auth_entry("me", "right"));
        let network = logged_in(&settings(&[&server.host()]), &config);
        ask(&server, &network).await.unwrap();
        // From then on it is sent at once.
        ask(&server, &network).await.unwrap();
        let sent: Vec<bool> = server.log().iter().map(|entry| entry.header("authorization").is_some()).collect();
        assert_eq!(sent, [false, true, true], "{status}: {}", server.render_log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_for_its_host_and_what_it_does_not_open_is_told_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = closed(|| Response::new(404, ""));
    // Nobody's credentials, another host's, and wrong ones.
    let error = ask(&server, &network(&settings(&[&server.host()]))).await.unwrap_err();
    assert_eq!((error.class(), server.log().len()), (Class::NotFound, 1), "{error:?}");
    let config = docker_config(&folder, "other.example", &auth_entry("me", "right"));
    ask(&server, &logged_in(&settings(&[&server.host()]), &config)).await.unwrap_err();
    assert!(server.log().iter().all(|entry| entry.header("authorization").is_none()), "{}", server.render_log());

    let folder = tempfile::tempdir().unwrap();
    let config = docker_config(&folder, &server.host(), &auth_entry("me", "wrong"));
    let error = ask(&server, &logged_in(&settings(&[&server.host()]), &config)).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error:?}");
    // An identity token is no password, and is not sent to who did not ask.
    let folder = tempfile::tempdir().unwrap();
    let server = closed(|| Response::new(403, ""));
    let config = docker_config(&folder, &server.host(), r#"{"identitytoken":"idt"}"#);
    let error = ask(&server, &logged_in(&settings(&[&server.host()]), &config)).await.unwrap_err();
    assert_eq!(server.log().len(), 1);
    assert!(error.hint_text().unwrap().contains("were not sent"), "{error:?}");
}

/// An error of a storage behind a redirect is none of the registry's.
#[tokio::test(flavor = "multi_thread")]
async fn no_password_goes_where_a_redirect_leads() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Server::start(|_: &Asked| Response::new(403, ""));
    let target = storage.url("/signed");
    let server = Server::start(move |_: &Asked| Response::new(307, "").with("location", target.clone()));
    let config = docker_config(&folder, &server.host(), &auth_entry("me", "right"));
    ask(&server, &logged_in(&settings(&[&server.host()]), &config)).await.unwrap_err();
    let all = [server.log(), storage.log()].concat();
    assert!(all.iter().all(|entry| entry.header("authorization").is_none()), "{}", storage.render_log());
}

/// Harbor asks for a password where a token ran out before its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_dies_early_is_fetched_anew_whatever_is_asked_for_then() {
    for challenge in [Some("Basic realm=\"harbor\""), None] {
        let registry = Registry::with(Options {
            auth: Auth::Token(TokenAuth { claimed_seconds: Some(3600), ..TokenAuth::default() }),
            ..Options::default()
        });
        let image = Image::small(1, 1_000);
        registry.push("a:1", &image);
        let network = network(&settings(&[&registry.host()]));
        let reference = Reference::parse(&registry.reference("a:1")).unwrap();
        network.manifest(&reference, &Progress::silent("images")).await.unwrap();
        let headers = challenge.map(|challenge| ("www-authenticate".to_owned(), challenge.to_owned()));
        let refusal = Fault::Status { status: 401, headers: headers.into_iter().collect(), body: Vec::new() };
        registry.fault(On::get("/manifests/").once(), refusal);
        network.manifest(&reference, &Progress::silent("images")).await.unwrap();
        assert_eq!(registry.requests("GET", "/token").len(), 2, "{}", registry.render_log());
    }
}

/// A registry that sends on to another one, which has a token service of its
/// own; and the first one's credentials stay at home.
#[tokio::test(flavor = "multi_thread")]
async fn the_registry_that_a_redirect_leads_to_is_logged_in_at() {
    for closed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let credentials = closed.then(|| ("me".to_owned(), "theirs".to_owned()));
        let auth = Auth::Token(TokenAuth { credentials, ..TokenAuth::default() });
        let other = Registry::with(Options { auth, ..Options::default() });
        let image = Image::small(1, 300_000);
        other.push("a:1", &image);
        let base = other.url("");
        let first = Server::start(move |asked: &Asked| {
            asked
                .refusal("me", "ours")
                .unwrap_or_else(|| Response::new(307, "").with("location", format!("{base}{}", asked.path)))
        });
        let config = folder.path().join("config.json");
        let entries = [(first.host(), auth_entry("me", "ours")), (other.host(), auth_entry("me", "theirs"))];
        let entries: Vec<String> = entries.iter().map(|(host, entry)| format!("\"{host}\":{entry}")).collect();
        fs::write_new(&config, format!("{{\"auths\":{{{}}}}}", entries.join(",")).as_bytes()).unwrap();
        let network = logged_in(&settings(&[&first.host()]), &config);
        let reference = Reference::parse(&format!("{}/a:1", first.host())).unwrap();
        let progress = Progress::silent("images");
        network.manifest(&reference, &progress).await.unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let layer: Digest = image.layers[0].digest.parse().unwrap();
        network.blob(&reference, &layer, Some(image.layers[0].size()), &store, &progress).await.unwrap();
        let ours = STANDARD.encode("me:ours");
        let leaks = |entry: &airgap_tests::http::LoggedRequest| {
            entry.header("authorization").is_some_and(|sent| sent.contains(&ours))
        };
        assert!(!other.log().iter().any(leaks), "{}", other.render_log());
        assert_eq!(other.requests("GET", "/token").len(), 1, "{}", other.render_log());
    }
}

/// What a repository wants of who asks for it.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// A token of its own service.
    Own,
    Open,
    Password,
}

/// A registry whose repository `a` has a token service that answers `denial` to
/// all who want something else, `b` is behind its door, and a token of another
/// one gets `refusal`; none is a 401 that says what is wanted.
fn divided(door: Door, denial: fn() -> Response, refusal: Option<u16>) -> Server {
    Server::start(move |asked: &Asked| {
        if let Some(service) = asked.path.strip_prefix("/token-") {
            let scope = asked.parameters("scope").next().unwrap_or_default();
            return match scope == format!("repository:{service}:pull") {
                true => Response::new(200, format!(r#"{{"token":"for-{service}","expires_in":600}}"#)),
                false => denial(),
            };
        }
        let repository = if asked.path.starts_with("/v2/a/") { "a" } else { "b" };
        let sent = asked.header("authorization").unwrap_or_default().to_owned();
        let is_let_in = match (repository, door) {
            ("a", _) | (_, Door::Own) => sent == format!("Bearer for-{repository}"),
            (_, Door::Password) => asked.refusal("me", "right").is_none(),
            (_, Door::Open) => sent.is_empty() || sent == "Bearer for-b",
        };
        let challenge = match (repository, door) {
            (_, Door::Password) if repository == "b" => "Basic realm=\"b\"".to_owned(),
            _ => format!("Bearer realm=\"http://{}/token-{repository}\"", asked.header("host").unwrap_or_default()),
        };
        match refusal {
            _ if is_let_in => Response::new(200, r#"{"schemaVersion":2,"manifests":[]}"#),
            Some(status) if sent.starts_with("Bearer") => Response::new(status, ""),
            _ => Response::new(401, "").with("www-authenticate", challenge),
        }
    })
}

async fn pull(server: &Server, network: &Network, repository: &str) -> Result<ManifestBytes> {
    let reference = Reference::parse(&format!("{}/{repository}:1", server.host())).unwrap();
    network.manifest(&reference, &Progress::silent("images")).await
}

/// A service that denies a guess gives what its own challenge asks it for.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_one_scope_is_none_of_another() {
    let server = Server::start(|asked: &Asked| {
        if asked.path == "/token" {
            let scope = asked.parameters("scope").next().unwrap_or_default();
            return match ["repository:a:pull", "all"].contains(&scope.as_str()) {
                true => Response::new(200, format!(r#"{{"token":"for-{scope}","expires_in":600}}"#)),
                false => Response::new(401, ""),
            };
        }
        let scope = if asked.path.starts_with("/v2/a/") { "repository:a:pull" } else { "all" };
        let realm = format!("http://{}/token", asked.header("host").unwrap_or_default());
        match asked.header("authorization") == Some(&format!("Bearer for-{scope}")) {
            true => Response::new(200, r#"{"schemaVersion":2,"manifests":[]}"#),
            false => {
                Response::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\",scope=\"{scope}\""))
            }
        }
    });
    let network = network(&settings(&[&server.host()]));
    for repository in ["a", "b", "b"] {
        let pulled = pull(&server, &network, repository).await;
        pulled.unwrap_or_else(|error| panic!("{repository}: {error:?}\n{}", server.render_log()));
    }
}

/// A denial holds for the service and the scope that it was given for.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_decides_about_its_own_repositories_alone() {
    let denials: [fn() -> Response; 6] = [
        || Response::new(401, ""),
        || Response::new(403, ""),
        || Response::new(404, ""),
        || Response::new(500, ""),
        || Response::new(200, "<html>"),
        // Anything goes, and opens nothing.
        || Response::new(200, r#"{"token":"useless"}"#),
    ];
    for door in [Door::Own, Door::Open, Door::Password] {
        for (at, denial) in denials.into_iter().enumerate() {
            for refusal in [None, Some(401), Some(403), Some(404)] {
                let server = divided(door, denial, refusal);
                let folder = tempfile::tempdir().unwrap();
                let config = docker_config(&folder, &server.host(), &auth_entry("me", "right"));
                let network = logged_in(&settings(&[&server.host()]), &config);
                for repository in ["a", "b", "a", "b"] {
                    let pulled = pull(&server, &network, repository).await;
                    let case = format!("{repository} of {door:?}, denial {at}, {refusal:?}");
                    pulled.unwrap_or_else(|error| panic!("{case}: {error:?}\n{}", server.render_log()));
                }
            }
        }
    }
}

/// Where both have one service its word is asked for once.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_its_own_service_is_final_and_asked_for_once() {
    let registry = Registry::with(Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() });
    for name in ["a:1", "b:1", "c:1"] {
        registry.push(name, &Image::small(1, 1_000));
    }
    let network = network(&settings(&[&registry.host()]));
    let reference = |name: &str| Reference::parse(&registry.reference(name)).unwrap();
    let progress = Progress::silent("images");
    network.manifest(&reference("a:1"), &progress).await.unwrap();
    registry.fault(On::get("/token").once(), Fault::status(403));
    let error = network.manifest(&reference("b:1"), &progress).await.unwrap_err();
    assert_eq!(error.class(), Class::Auth, "{error:?}");
    assert_eq!(registry.requests("GET", "/token").len(), 2, "{}", registry.render_log());
    // The next who asks for it asks anew, and others never noticed.
    for name in ["c:1", "b:1", "a:1"] {
        network.manifest(&reference(name), &progress).await.unwrap();
    }
    assert_eq!(registry.requests("GET", "/token").len(), 4, "{}", registry.render_log());
}
