//! Against what cosign itself wrote: tests/fixtures/signing.

use std::path::Path;

use base::digest::Digest;
use base::error::Class;

use crate::bundle::Bundle;
use crate::key::{Password, PrivateKey, PublicKey};
use crate::statement::{Statement, Subject};
use crate::{Signer, legacy};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/signing").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn password() -> Password {
    Password::new(&b"the password"[..])
}

fn private() -> PrivateKey {
    PrivateKey::from_pem(&fixture("cosign.key"), &password()).unwrap()
}

fn public() -> PublicKey {
    PublicKey::from_pem(&fixture("cosign.pub")).unwrap()
}

fn blob() -> Digest {
    Digest::of(&fixture("blob"))
}

#[test]
fn keys_of_cosign_are_read_and_written() {
    assert_eq!(private().public(), public());
    assert_eq!(public().to_pem().as_bytes(), fixture("cosign.pub"));
    let again = PrivateKey::from_pem(private().to_pem(&password()).unwrap().as_bytes(), &password()).unwrap();
    assert_eq!(again.public(), public());
    let old = String::from_utf8(fixture("cosign.key")).unwrap().replace("SIGSTORE", "COSIGN");
    assert_eq!(PrivateKey::from_pem(old.as_bytes(), &password()).unwrap().public(), public());
    assert_ne!(PrivateKey::generate().unwrap().public(), PrivateKey::generate().unwrap().public());
}

#[test]
fn a_password_is_a_line() {
    for text in ["the password", "the password\n", "the password\r\n", "the password\nmore\n"] {
        let password = Password::first_line(text.as_bytes().to_vec());
        assert!(PrivateKey::from_pem(&fixture("cosign.key"), &password).is_ok(), "{text:?}");
    }
    let error = PrivateKey::from_pem(&fixture("cosign.key"), &Password::new(&b"other"[..])).unwrap_err();
    assert_eq!(error.class(), Class::Auth);
    assert!(!format!("{:?} {:?}", password(), private()).contains("the password"));
}

/// The same bytes have the same signature, and cosign's holds as ours does.
#[test]
fn signatures_are_deterministic_and_hold() {
    let (one, other) =
        (Bundle::of_message(&private(), &blob()).unwrap(), Bundle::of_message(&private(), &blob()).unwrap());
    assert_eq!(one.to_json().unwrap(), other.to_json().unwrap());
    for bytes in [one.to_json().unwrap(), fixture("blob.bundle.json")] {
        let bundle = Bundle::parse(&bytes).unwrap();
        assert_eq!(bundle.signer(), Signer::Key(public().hint()));
        bundle.verify_message(&public(), &blob()).unwrap();
    }
    let signature = String::from_utf8(fixture("blob.sig")).unwrap();
    legacy::verify(&public(), &blob(), &signature).unwrap();
    let error = legacy::verify(&public(), &Digest::of(b"other"), &signature).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
}

#[test]
fn a_statement_is_who_signed_it_and_what_it_is_about() {
    let theirs = Bundle::parse(&fixture("blob.intoto.bundle.json")).unwrap();
    let statement = theirs.verify_statement(&public()).unwrap();
    assert_eq!(statement.predicate_type, "https://slsa.dev/provenance/v1");
    assert!(statement.is_about(&blob()) && !statement.is_about(&Digest::of(b"other")));
    let ours = Statement::new(Subject::new("blob", &blob()), "p", serde_json::json!({"a": 1}));
    let bundle = Bundle::parse(&Bundle::of_statement(&private(), &ours).unwrap().to_json().unwrap()).unwrap();
    assert_eq!(bundle.verify_statement(&public()).unwrap(), ours);
    let other = PrivateKey::generate().unwrap().public();
    for bundle in [theirs, bundle] {
        assert_eq!(bundle.verify_statement(&other).unwrap_err().class(), Class::Integrity);
        assert_eq!(bundle.verify_message(&public(), &blob()).unwrap_err().class(), Class::InvalidInput);
    }
}

/// Each byte of what was signed counts.
#[test]
fn a_changed_statement_is_refused() {
    let text = String::from_utf8(fixture("blob.intoto.bundle.json")).unwrap();
    let payload = text.split("\"payload\":\"").nth(1).unwrap().split('"').next().unwrap();
    for at in (0..payload.len() - 4).step_by(7) {
        let mut changed = payload.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = text.replace(payload, std::str::from_utf8(&changed).unwrap());
        let found = Bundle::parse(changed.as_bytes()).and_then(|bundle| bundle.verify_statement(&public()));
        assert!(found.is_err(), "character {at}");
    }
}

#[test]
fn what_was_found_is_said() {
    let bundle = Bundle::parse(&fixture("blob.bundle.json")).unwrap();
    let other = PrivateKey::generate().unwrap().public();
    let said = bundle.verify_message(&other, &blob()).unwrap_err();
    assert!(said.message().contains(&public().hint()) && said.message().contains(&other.hint()), "{said}");
    let said = bundle.verify_message(&public(), &Digest::of(b"other")).unwrap_err();
    assert!(said.message().contains("about other bytes") && said.message().contains(&blob().hex()), "{said}");
    // The digest alone is nobody's word.
    let text = String::from_utf8(fixture("blob.bundle.json")).unwrap();
    let digest = |digest: &Digest| crate::bundle::encode(digest.as_bytes());
    let changed = text.replace(&digest(&blob()), &digest(&Digest::of(b"other")));
    assert_ne!(changed, text);
    let said = Bundle::parse(changed.as_bytes()).unwrap().verify_message(&public(), &Digest::of(b"other")).unwrap_err();
    assert!(said.message().contains("does not hold"), "{said}");
}

#[test]
fn what_is_no_key_is_called_by_its_name() {
    for (file, said) in [
        ("certificate.pem", "`CERTIFICATE`"),
        ("p384.pub", "ECDSA P-384"),
        ("rsa.pub", "RSA"),
        ("cosign.key", "`ENCRYPTED SIGSTORE PRIVATE KEY`"),
        ("blob", "no key"),
    ] {
        let error = PublicKey::from_pem(&fixture(file)).unwrap_err();
        assert!(error.message().contains(said) && error.hint_text().is_some(), "{file}: {error}");
    }
    for (file, said) in
        [("plain.key", "`PRIVATE KEY`"), ("cosign.pub", "`PUBLIC KEY`"), ("certificate.pem", "`CERTIFICATE`")]
    {
        let error = PrivateKey::from_pem(&fixture(file), &password()).unwrap_err();
        assert!(error.message().contains(said) && error.hint_text().is_some(), "{file}: {error}");
    }
}

/// No file makes us compute for hours, and none ends in a panic.
#[test]
fn a_damaged_key_or_bundle_is_refused() {
    let encrypted = pem::parse(fixture("cosign.key")).unwrap();
    let text = std::str::from_utf8(encrypted.contents()).unwrap();
    for (from, to) in [
        ("65536", "1073741824"),
        ("\"r\":8", "\"r\":8000"),
        ("scrypt", "pbkdf2"),
        ("nacl/secretbox", "none"),
        ("\"nonce\":\"", "\"nonce\":\"AAAA"),
        ("\"salt\":\"", "\"salt\":\"!"),
        ("{\"kdf\"", "{"),
    ] {
        let changed = pem::encode(&pem::Pem::new(encrypted.tag(), text.replacen(from, to, 1)));
        let error = PrivateKey::from_pem(changed.as_bytes(), &password()).unwrap_err();
        assert_eq!(error.class(), Class::InvalidInput, "{to}: {error}");
    }
    let bundle = fixture("blob.bundle.json");
    for length in 0..bundle.len() {
        assert!(Bundle::parse(&bundle[..length]).is_err(), "cut at {length}");
    }
    let other = b"{\"mediaType\":\"text/plain\",\"verificationMaterial\":{}}";
    assert!(Bundle::parse(other).unwrap_err().message().contains("text/plain"));
}
