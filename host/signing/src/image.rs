//! Signatures of images, as `cosign sign` leaves them in a registry: a bundle
//! with a statement about the image, or as before a text that names its digest,
//! with the signature beside it. An attestation is no signature.

use base::digest::Digest;
use base::error::{Error, Result};

use crate::bundle::{Bundle, is_bundle_type};
use crate::key::PublicKey;
use crate::legacy;

/// What the predicate of a signature is, beside those of attestations.
pub const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Whether a layer of this media type may hold a signature.
pub fn is_signature(media_type: &str) -> bool {
    media_type == legacy::SIMPLE_SIGNING || is_bundle_type(media_type)
}

/// Checks that `bytes`, the content of a layer of this media type, are the
/// signature by `key` of the image with one of the digests `about`. `annotated`
/// is what the annotation [`legacy::SIGNATURE`] of the layer says.
///
/// # Errors
/// `integrity` where it does not hold, or is about another image;
/// `invalid-input` for what is no signature.
pub fn verify(
    key: &PublicKey,
    about: &[Digest],
    media_type: &str,
    bytes: &[u8],
    annotated: Option<&str>,
) -> Result<()> {
    if media_type == legacy::SIMPLE_SIGNING {
        let signature = annotated.ok_or_else(|| Error::invalid("the layer has no signature in its annotations"))?;
        return legacy::verify_image(key, bytes, signature, about);
    }
    let bundle = Bundle::parse(bytes)?;
    let statement = bundle.verify_statement(key)?;
    if statement.predicate_type != PREDICATE {
        let kind: String = statement.predicate_type.chars().take(100).collect();
        return Err(Error::invalid(format!("it is no signature but an attestation, `{}`", kind.escape_debug())));
    }
    match about.iter().any(|digest| statement.is_about(digest)) {
        true => Ok(()),
        false => Err(Error::integrity("the signature is about another image")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateKey;
    use crate::statement::{Statement, Subject};
    use base::error::Class;

    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

    /// An attestation of the key is no signature, nor is that of another image.
    #[test]
    fn a_bundle_counts_as_what_it_is() {
        let key = PrivateKey::generate().unwrap();
        let image = Digest::of(b"image");
        assert!(is_signature(BUNDLE) && is_signature(legacy::SIMPLE_SIGNING) && !is_signature("application/wasm"));
        let bundle = |about: &Digest, predicate: &str| {
            let statement = Statement::new(Subject::new("", about), predicate, serde_json::json!({}));
            Bundle::of_statement(&key, &statement).unwrap().to_json().unwrap()
        };
        let about = [Digest::of(b"index"), image];
        verify(&key.public(), &about, BUNDLE, &bundle(&image, PREDICATE), None).unwrap();
        for (bytes, said) in [
            (bundle(&image, "https://slsa.dev/provenance/v1"), "an attestation"),
            (bundle(&Digest::of(b"other"), PREDICATE), "about another image"),
            (b"{}".to_vec(), "no Sigstore bundle"),
        ] {
            let error = verify(&key.public(), &about, BUNDLE, &bytes, None).unwrap_err();
            assert!(error.message().contains(said), "{error}");
        }
        let other = PrivateKey::generate().unwrap().public();
        let error = verify(&other, &about, BUNDLE, &bundle(&image, PREDICATE), None).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        let error = verify(&key.public(), &about, legacy::SIMPLE_SIGNING, b"{}", None).unwrap_err();
        assert!(error.message().contains("annotations"), "{error}");
    }
}
