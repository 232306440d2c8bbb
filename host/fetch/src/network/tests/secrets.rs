//! Who gets to see credentials, and who is asked for them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

/// A registry that wants tokens of `realm`.
fn wants_token(realm: &str) -> Server {
    let challenge = format!("Bearer realm=\"{realm}\"");
    Server::start(move |_: &Asked| Response::new(401, "").with("www-authenticate", challenge.clone()))
}

/// An identity token is in the body, which a redirect repeats.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_posted_to_no_other_server() {
    for status in [301, 302, 303, 307, 308] {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = Server::start(|_: &Asked| Response::new(200, r#"{"token":"t"}"#));
        let target = elsewhere.url("/token");
        let service = Server::start(move |_: &Asked| Response::new(status, "").with("location", target.clone()));
        let registry = wants_token(&service.url("/token"));
        let config = docker_config(&folder, &registry.host(), r#"{"identitytoken":"idt"}"#);
        let network = logged_in(&settings(&[&registry.host()]), &config);
        let reference = Reference::parse(&format!("{}/a:1", registry.host())).unwrap();
        let error = network.manifest(&reference, &Progress::silent("images")).await.unwrap_err();
        assert!(elsewhere.log().is_empty(), "{status}: {}", elsewhere.render_log());
        assert_eq!(error.class(), Class::InvalidInput, "{error:?}");
        assert!(error.message().contains(&elsewhere.host()) && !format!("{error:?}").contains("idt"), "{error:?}");
    }
}

/// On the same server a form is posted again, or becomes a GET without it, as
/// the status says.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_a_form_on_its_server_is_followed() {
    for (status, method) in [(303, "GET"), (307, "POST")] {
        let folder = tempfile::tempdir().unwrap();
        let service = Server::start(move |asked: &Asked| match asked.path.as_str() {
            "/token" => Response::new(status, "").with("location", "/moved"),
            _ => Response::new(200, r#"{"token":"t"}"#),
        });
        let registry = wants_token(&service.url("/token"));
        let config = docker_config(&folder, &registry.host(), r#"{"identitytoken":"idt"}"#);
        let network = logged_in(&settings(&[&registry.host()]), &config);
        let reference = Reference::parse(&format!("{}/a:1", registry.host())).unwrap();
        network.manifest(&reference, &Progress::silent("images")).await.unwrap_err();
        let moved = service.log().into_iter().find(|entry| entry.path == "/moved").unwrap();
        assert_eq!(moved.method, method);
        assert_eq!(moved.header("content-type").is_some(), method == "POST");
    }
}

/// A helper that fails may have opened a browser: it is not asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_that_fails_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-test");
    let count = folder.path().join("count");
    let script = format!("#!/bin/sh\nread host\necho x >> {}\nexit 1\n", count.display());
    fs::write_new(&helper, script.as_bytes()).unwrap();
    fs::set_mode(&helper, 0o755).unwrap();
    let config = folder.path().join("config.json");
    fs::write_new(&config, br#"{"credsStore":"test"}"#).unwrap();
    let credentials = credentials::Credentials::with_search_path(Some(config), folder.path().to_owned());
    for _ in 0..3 {
        let error = credentials.find("r.example").await.unwrap_err();
        assert_eq!(error.class(), Class::Auth, "{error:?}");
    }
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

/// Whoever owns a name may change what it means between a check and the
/// connection: there is one lookup, and nothing it finds inside is reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let looked_up = Arc::new(AtomicUsize::new(0));
    let files = files();
    files.server.put("/tool", "secret");
    let url = format!("http://rebound.attacker.example:{}/tool", files.server.host().rsplit_once(':').unwrap().1);
    let ask = async |prefix: &str| {
        let mut settings = settings(&[]);
        settings.network.plain_http_hosts = vec!["rebound.attacker.example".into()];
        let mut network = network(&settings);
        let count = looked_up.clone();
        network.transport.clients.lookup = names::Lookup::with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            vec![std::net::Ipv4Addr::LOCALHOST.into()]
        });
        let wanted = asked(&sbom(), &url, rules(&[prefix]));
        network.download(&files.store, &wanted, &files.lock, &files.progress).await
    };
    let folder = url.strip_suffix("tool").unwrap();
    let error = ask(&folder.replace("rebound", "*")).await.unwrap_err();
    assert_eq!(error.class(), Class::Plugin, "{error:?}");
    assert!(error.message().contains("private address"), "{error:?}");
    assert_eq!((looked_up.load(Ordering::SeqCst), files.server.log().len()), (1, 0));
    // Granted by its name it may be anywhere.
    ask(folder).await.unwrap();
}

/// A token service that may be asked must not lead elsewhere inside.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_of_a_guest_redirects_to_nothing_inside() {
    let inside = Server::start_on("127.0.0.2:0", |_: &Asked| Response::new(200, r#"{"token":"t"}"#));
    let target = inside.url("/token");
    let service = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/token" => Response::new(307, "").with("location", target.clone()),
        path => panic!("{path}"),
    });
    let registry = wants_token(&service.url("/token"));
    let network = network(&settings(&[&registry.host()]));
    let reference = Reference::parse(&format!("{}/a:1", registry.host())).unwrap();
    let restriction = below(&[&registry.url("/"), &service.url("/")]);
    let progress = Progress::silent("charts");
    let error = network.manifest_within(Some(&restriction), &reference, &progress).await.unwrap_err();
    assert_eq!((service.log().len(), inside.log().len()), (1, 0), "{error:?}");
    assert_eq!(error.class(), Class::Plugin, "{error:?}");
}

/// A helper that asks a person does not keep up who wants to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_that_waits_is_left_when_the_build_stops() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-test");
    let asked = folder.path().join("asked");
    fs::write_new(&helper, format!("#!/bin/sh\ntouch {}\nexec sleep 600\n", asked.display()).as_bytes()).unwrap();
    fs::set_mode(&helper, 0o755).unwrap();
    let config = folder.path().join("config.json");
    fs::write_new(&config, br#"{"credsStore":"test"}"#).unwrap();
    let registry = wants_token("http://127.0.0.1:1/token");
    let mut network = network(&settings(&[&registry.host()]));
    network.auth.credentials = credentials::Credentials::with_search_path(Some(config), folder.path().to_owned());
    let reference = Reference::parse(&format!("{}/a:1", registry.host())).unwrap();
    let progress = Progress::silent("images");
    let stop = async {
        while !asked.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        progress.cancellation().cancel();
    };
    let (result, ()) = tokio::join!(network.manifest(&reference, &progress), stop);
    assert_eq!(result.unwrap_err().class(), Class::Interrupted);
}
