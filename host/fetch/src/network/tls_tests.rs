//! Certificates that only the settings know, on both sides.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::test_support::settings;
use super::*;
use base::error::Class;
use base::reference::Reference;
use config::settings::RegistrySettings;
use disk::fs;

const CA: &[u8] = include_bytes!("fixtures/ca.pem");
const SERVER: &[u8] = include_bytes!("fixtures/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("fixtures/server.key");
const CLIENT: &[u8] = include_bytes!("fixtures/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("fixtures/client.key");

const MANIFEST: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// Answers every request over TLS with a manifest. Returns `127.0.0.1:port`.
fn serve(wants_client_certificate: bool) -> String {
    serve_with(wants_client_certificate, false)
}

/// The first answer turns into something that is no TLS.
fn serve_broken_once() -> String {
    serve_with(false, true)
}

fn serve_with(wants_client_certificate: bool, broken: bool) -> String {
    serve_as(SERVER, SERVER_KEY, wants_client_certificate, broken)
}

fn serve_as(certificate: &[u8], key: &[u8], wants_client_certificate: bool, mut broken: bool) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if wants_client_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            let length = MANIFEST.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{MANIFEST}");
            if std::mem::take(&mut broken) {
                let _ = stream.write_all(&answer.as_bytes()[..answer.len() - 5]);
                let _ = stream.flush();
                let _ = stream.sock.write_all(&[b'x'; 100]);
                continue;
            }
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    host
}

fn config_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("ca.pem", CA), ("client.pem", CLIENT), ("client.key", CLIENT_KEY)] {
        fs::write_new(&folder.path().join(name), content).unwrap();
    }
    folder
}

async fn ask(host: &str, settings: &Settings, folder: &Path, progress: &Progress) -> Result<ManifestBytes> {
    let network = Network::new(settings, folder, NetworkEnvironment::default()).unwrap();
    network.manifest(&Reference::parse(&format!("{host}/a:1")).unwrap(), progress).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused_at_once_and_a_named_one_is_trusted() {
    let (host, folder) = (serve(false), config_folder());
    let progress = Progress::silent("images");
    let error = ask(&host, &settings(&[]), folder.path(), &progress).await.unwrap_err();
    assert_eq!(error.class(), Class::Local, "{error:?}");
    assert!(error.message().contains("not trusted") && error.hint_text().unwrap().contains("ca_file"), "{error:?}");
    assert_eq!(progress.counters().requests.load(Ordering::Relaxed), 1);

    let mut for_all = settings(&[]);
    for_all.network.ca_files = vec!["ca.pem".into()];
    ask(&host, &for_all, folder.path(), &progress).await.unwrap();

    let mut for_one = settings(&[]);
    let registry = RegistrySettings { ca_file: Some("ca.pem".into()), ..RegistrySettings::default() };
    for_one.registries.insert(host.clone(), registry);
    ask(&host, &for_one, folder.path(), &progress).await.unwrap();
    // It is trusted for that registry alone.
    assert_eq!(ask(&serve(false), &for_one, folder.path(), &progress).await.unwrap_err().class(), Class::Local);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_its_registry() {
    let (host, folder) = (serve(true), config_folder());
    let progress = Progress::silent("images");
    let mut settings = settings(&[]);
    let anonymous = RegistrySettings { ca_file: Some("ca.pem".into()), ..RegistrySettings::default() };
    settings.registries.insert(host.clone(), anonymous.clone());
    let error = ask(&host, &settings, folder.path(), &progress).await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("client_certificate"), "{error:?}");

    let known = RegistrySettings {
        client_certificate: Some("client.pem".into()),
        client_key: Some("client.key".into()),
        ..anonymous
    };
    settings.registries.insert(host.clone(), known);
    ask(&host, &settings, folder.path(), &progress).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    let folder = config_folder();
    let error = ask(&host, &settings(&[]), folder.path(), &Progress::silent("images")).await.unwrap_err();
    assert_eq!(error.class(), Class::Local, "{error:?}");
    assert!(error.hint_text().unwrap().contains("plain_http"), "{error:?}");
}

/// What breaks in the middle is no matter of certificates.
#[tokio::test(flavor = "multi_thread")]
async fn tls_that_breaks_inside_a_body_is_tried_again() {
    let (host, folder) = (serve_broken_once(), config_folder());
    let mut settings = settings(&[]);
    settings.network.ca_files = vec!["ca.pem".into()];
    let progress = Progress::silent("images");
    ask(&host, &settings, folder.path(), &progress).await.unwrap();
    assert_eq!(progress.counters().requests.load(Ordering::Relaxed), 2);
}

const OWN: &[u8] = include_bytes!("fixtures/self-signed.pem");
const OWN_KEY: &[u8] = include_bytes!("fixtures/self-signed.key");

/// docker's recipe for a registry of one's own makes a certificate that calls
/// itself an authority. Named in the settings it is trusted as what it is, and
/// for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_that_the_settings_name_is_trusted_as_it_is() {
    let expired = include_bytes!("fixtures/self-signed-expired.pem");
    let other_name = include_bytes!("fixtures/self-signed-other-name.pem");
    let presented: [(&[u8], Option<&str>); 3] =
        [(OWN, None), (expired, Some("has expired")), (other_name, Some("is not for this name"))];
    let progress = Progress::silent("images");
    for (certificate, refusal) in presented {
        let host = serve_as(certificate, OWN_KEY, false, false);
        let folder = config_folder();
        fs::write_new(&folder.path().join("own.pem"), certificate).unwrap();
        let trusting = |name: &str| {
            let mut settings = settings(&[]);
            settings.network.ca_files = vec![name.into()];
            settings
        };
        let answer = ask(&host, &trusting("own.pem"), folder.path(), &progress).await;
        match refusal {
            None => drop(answer.unwrap()),
            Some(why) => {
                let error = answer.unwrap_err();
                assert!(error.message().contains(why), "{error:?}");
                assert!(!error.hint_text().unwrap().contains("ca_file"), "what is there is not asked for: {error:?}");
            }
        }
        // Another one's word does not help, and neither does nobody's.
        let error = ask(&host, &trusting("ca.pem"), folder.path(), &progress).await.unwrap_err();
        assert_eq!(error.class(), Class::Local, "{error:?}");
    }
    // Who is named as an authority still vouches for others, and a leaf that is
    // named itself needs nobody: both beside each other.
    let folder = config_folder();
    fs::write_new(&folder.path().join("own.pem"), &[CA, OWN].concat()).unwrap();
    fs::write_new(&folder.path().join("server.pem"), SERVER).unwrap();
    let mut settings = settings(&[]);
    settings.network.ca_files = vec!["own.pem".into()];
    ask(&serve(false), &settings, folder.path(), &progress).await.unwrap();
    ask(&serve_as(OWN, OWN_KEY, false, false), &settings, folder.path(), &progress).await.unwrap();
    settings.network.ca_files = vec!["server.pem".into()];
    ask(&serve(false), &settings, folder.path(), &progress).await.unwrap();
}
