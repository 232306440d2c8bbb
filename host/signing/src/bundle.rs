//! Sigstore bundles: a signature, and what it takes to check it, in one JSON
//! file.
//!
//! What is written has the version 0.3, a public key's hint and either the
//! signature of a message or an envelope (DSSE) with a statement. What is read
//! may be any version. A certificate and the entry of a transparency log are
//! told and not used: who checks has a key.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use base::digest::Digest;
use base::error::{Error, Result};

use crate::key::{PrivateKey, PublicKey};
use crate::statement::Statement;

/// Bytes of a bundle: the statement about a package of thousands of contents is
/// the longest.
pub const LARGEST_BUNDLE: u64 = 64 << 20;

/// The media type of what is written.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Of all versions.
const MEDIA_TYPES: &str = "application/vnd.dev.sigstore.bundle";
const ALGORITHM: &str = "SHA2_256";
/// Of a statement in an envelope.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Signatures of an envelope that are tried.
const MOST_SIGNATURES: usize = 16;

/// JSON of other programs may be without padding, and in either alphabet.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// Who signed, as the bundle itself says: nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "hint")]
pub enum Signer {
    /// Whoever has the private key: the [hint](PublicKey::hint) of its public
    /// one, or nothing.
    Key(String),
    /// Whom a certificate names.
    Certificate,
}

impl std::fmt::Display for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(hint) if hint.is_empty() => f.write_str("a key that is not named"),
            Self::Key(hint) => write!(f, "the key {hint}"),
            Self::Certificate => f.write_str("a certificate, without a key"),
        }
    }
}

/// Whether a blob of this media type is a bundle.
pub fn is_bundle_type(media_type: &str) -> bool {
    media_type.starts_with(MEDIA_TYPES)
}

/// A bundle that was read.
#[derive(Clone, Debug)]
pub struct Bundle {
    wire: Wire,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: String,
    verification_material: Material,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// A DSSE envelope, alone or in a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

impl Bundle {
    /// Signs what has this digest.
    ///
    /// # Errors
    /// `local`, where the library cannot.
    pub fn of_message(key: &PrivateKey, digest: &Digest) -> Result<Self> {
        let message_signature = MessageSignature {
            message_digest: MessageDigest { algorithm: ALGORITHM.to_owned(), digest: encode(digest.as_bytes()) },
            signature: encode(key.sign(digest)?),
        };
        Ok(Self { wire: Wire { message_signature: Some(message_signature), ..Wire::by(key) } })
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// As [`of_message`](Self::of_message).
    pub fn of_statement(key: &PrivateKey, statement: &Statement) -> Result<Self> {
        let payload = statement.to_json()?;
        let sig = encode(key.sign(&encoded(IN_TOTO, &payload))?);
        let envelope = Envelope {
            payload: encode(payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![EnvelopeSignature { sig }],
        };
        Ok(Self { wire: Wire { dsse_envelope: Some(envelope), ..Wire::by(key) } })
    }

    /// # Errors
    /// `invalid-input` for what is no bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid("this is no Sigstore bundle").caused_by(error))?;
        if !is_bundle_type(&wire.media_type) {
            let found: String = wire.media_type.chars().take(100).collect();
            return Err(Error::invalid(format!("this is no Sigstore bundle but `{}`", found.escape_debug())));
        }
        Ok(Self { wire })
    }

    /// Whether this JSON says that it is a bundle.
    pub fn is_bundle(json: &serde_json::Value) -> bool {
        json.get("mediaType").and_then(serde_json::Value::as_str).is_some_and(is_bundle_type)
    }

    /// On one line, and a last newline.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(&self.wire).map_err(|error| Error::local("cannot write JSON").caused_by(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Who signed, as it says itself.
    pub fn signer(&self) -> Signer {
        match &self.wire.verification_material.public_key {
            Some(KeyHint { hint }) => Signer::Key(hint.chars().take(100).collect()),
            None => Signer::Certificate,
        }
    }

    /// Whether the bundle says of itself that it is about the message with this
    /// digest: nobody vouches for that.
    ///
    /// # Errors
    /// As [`verify_message`](Self::verify_message).
    pub fn is_about(&self, digest: &Digest) -> Result<()> {
        let Some(MessageSignature { message_digest, .. }) = &self.wire.message_signature else {
            return Err(Error::invalid("the bundle holds a statement, and the signature of a file was expected"));
        };
        if message_digest.algorithm != ALGORITHM {
            let found = message_digest.algorithm.chars().take(50).collect::<String>();
            return Err(Error::invalid(format!("the bundle is over a digest of the kind `{}`", found.escape_debug())));
        }
        let about = decoded(&message_digest.digest)?;
        match about == digest.as_bytes() {
            true => Ok(()),
            false => Err(Error::integrity(format!(
                "the bundle is about other bytes: they have the {digest}, and it is about {}",
                shown(&about)
            ))),
        }
    }

    /// Checks that `key` signed the message with this digest.
    ///
    /// # Errors
    /// `integrity` where it did not, with what was found; `invalid-input` for
    /// a bundle without the signature of a message.
    pub fn verify_message(&self, key: &PublicKey, digest: &Digest) -> Result<()> {
        self.is_about(digest)?;
        let signature = self.wire.message_signature.as_ref().map(|message| decoded(&message.signature)).transpose()?;
        match signature.is_some_and(|signature| key.verifies(digest, &signature)) {
            true => Ok(()),
            false => Err(self.refused(key)),
        }
    }

    /// The statement in the bundle, whoever signed it.
    ///
    /// # Errors
    /// `invalid-input` for a bundle without one.
    pub fn statement(&self) -> Result<Statement> {
        let envelope = self.envelope()?;
        if envelope.payload_type != IN_TOTO {
            return Err(Error::invalid("the envelope in the bundle holds no in-toto statement"));
        }
        Statement::parse(&decoded(&envelope.payload)?)
    }

    /// Checks that `key` signed the statement in the bundle, and gives it.
    ///
    /// # Errors
    /// As [`verify_message`](Self::verify_message).
    pub fn verify_statement(&self, key: &PublicKey) -> Result<Statement> {
        let envelope = self.envelope()?;
        let digest = encoded(&envelope.payload_type, &decoded(&envelope.payload)?);
        for EnvelopeSignature { sig } in envelope.signatures.iter().take(MOST_SIGNATURES) {
            if key.verifies(&digest, &decoded(sig)?) {
                return self.statement();
            }
        }
        Err(self.refused(key))
    }

    fn envelope(&self) -> Result<&Envelope> {
        let expected = "the bundle holds the signature of a file, and a statement was expected";
        self.wire.dsse_envelope.as_ref().ok_or_else(|| Error::invalid(expected))
    }

    /// Why a signature does not hold, as far as the bundle tells.
    fn refused(&self, key: &PublicKey) -> Error {
        let own = key.hint();
        match self.signer() {
            Signer::Key(hint) if hint == own || hint.is_empty() => {
                Error::integrity(format!("the signature does not hold: the key {own} did not sign these bytes"))
            }
            signer => Error::integrity(format!(
                "the signature is by {}, and the key given is {own}",
                signer.to_string().escape_debug()
            ))
            .hint("give the public key of whoever signed it, if you trust them"),
        }
    }
}

impl Wire {
    fn by(key: &PrivateKey) -> Self {
        let material = Material { public_key: Some(KeyHint { hint: key.public().hint() }) };
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: material,
            message_signature: None,
            dsse_envelope: None,
        }
    }
}

/// The digest of what is signed of an envelope (PAE of DSSE).
fn encoded(payload_type: &str, payload: &[u8]) -> Digest {
    let mut hasher = base::digest::Hasher::new();
    hasher.update(format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).as_bytes());
    hasher.update(payload);
    hasher.finish()
}

/// In the alphabet of the standard, with padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn decoded(text: &str) -> Result<Vec<u8>> {
    let text = text.trim_ascii();
    let bytes = BASE64.decode(text).or_else(|_| URL_SAFE.decode(text));
    bytes.map_err(|_| Error::invalid("the signature is damaged: its base64"))
}

/// A digest of whatever length.
fn shown(bytes: &[u8]) -> String {
    match <[u8; 32]>::try_from(bytes) {
        Ok(digest) => Digest::from_bytes(digest).to_string(),
        Err(_) => format!("a digest of {} bytes", bytes.len()),
    }
}
