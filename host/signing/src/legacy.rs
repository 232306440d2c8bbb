//! Signatures as cosign wrote them before bundles, and still does where it is
//! told to: the signature of a file alone, in base64, and for an image a small
//! JSON text that names its digest, signed as a file.

use serde::Deserialize;

use base::digest::Digest;
use base::error::{Error, Result};

use crate::bundle::decoded;
use crate::key::PublicKey;

/// The media type of a text that says which image was signed.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of its layer that holds the signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What such a text is said to be.
const KIND: &str = "cosign container image signature";

/// Checks that `key` signed what has this digest.
///
/// # Errors
/// `integrity` where it did not; `invalid-input` where the signature is no
/// base64.
pub fn verify(key: &PublicKey, digest: &Digest, signature: &str) -> Result<()> {
    match key.verifies(digest, &decoded(signature)?) {
        true => Ok(()),
        false => Err(Error::integrity(format!(
            "the signature does not hold: the key {} did not sign these bytes",
            key.hint()
        ))
        .hint("give the public key of whoever signed it, if you trust them")),
    }
}

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Checks that `key` signed the text, and that it is about the image with one of
/// these digests.
///
/// # Errors
/// As [`verify`]; `integrity` where it is about another image.
pub(crate) fn verify_image(key: &PublicKey, text: &[u8], signature: &str, image: &[Digest]) -> Result<()> {
    verify(key, &Digest::of(text), signature)?;
    let signed: SimpleSigning = serde_json::from_slice(text)
        .map_err(|error| Error::invalid("what was signed names no image").caused_by(error))?;
    let Critical { image: Image { digest }, kind } = signed.critical;
    if kind != KIND || !digest.parse::<Digest>().is_ok_and(|digest| image.contains(&digest)) {
        let found: String = digest.chars().take(80).collect();
        return Err(Error::integrity(format!("the signature is about another image, `{}`", found.escape_debug())));
    }
    Ok(())
}
