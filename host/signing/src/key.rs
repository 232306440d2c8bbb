//! Keys in files.
//!
//! A public key is a PEM file `PUBLIC KEY`. A private key is a PEM file
//! `ENCRYPTED SIGSTORE PRIVATE KEY`: JSON that says how its key was made of the
//! password (scrypt) and holds PKCS#8 in a secretbox of NaCl. Only the three
//! strengths of scrypt that cosign knows are taken, so a file cannot make us
//! compute for hours.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::SecretKey;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::spki::SubjectPublicKeyInfoRef;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use base::digest::Digest;
use base::error::{Class, Error, Result};

use crate::secretbox::{self, KEY, NONCE};

/// Bytes of a file with a key, or with a password: more is something else.
pub const LARGEST_FILE: u64 = 64 << 10;

const PRIVATE: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign before 2.0 wrote.
const PRIVATE_BEFORE: &str = "ENCRYPTED COSIGN PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// What a private key is encrypted with. Never shown, and wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// The bytes as they are; an empty password is one, too.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The first line of a file; an editor may have put an end to it.
    pub fn first_line(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A P-256 key that signs. Wiped when dropped.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().hint())
    }
}

/// The JSON of an encrypted key.
#[derive(Serialize, Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// log2 of N that cosign writes today.
const STRENGTH: u8 = 16;
/// Those that it has ever written.
const STRENGTHS: [u8; 3] = [15, STRENGTH, 17];
const SALT: usize = 32;
/// Of a salt that is read.
const LONGEST_SALT: usize = 1024;

impl Params {
    fn of(strength: u8) -> Self {
        Self { n: 1 << strength, r: 8, p: 1 }
    }

    fn strength(self) -> Option<u8> {
        STRENGTHS.into_iter().find(|strength| Self::of(*strength) == self)
    }
}

impl PrivateKey {
    /// # Errors
    /// `local` where the system gives no randomness.
    pub fn generate() -> Result<Self> {
        let key = SecretKey::try_generate().map_err(no_randomness)?;
        Ok(Self(SigningKey::from(&key)))
    }

    /// Reads an encrypted private key. It takes a tenth of a second and 64 MiB
    /// of memory, 128 at most: that is what makes guessing the password dear.
    ///
    /// # Errors
    /// `auth` for a wrong password; `invalid-input` for what is no encrypted
    /// P-256 key.
    pub fn from_pem(text: &[u8], password: &Password) -> Result<Self> {
        let block = block(text)?;
        if ![PRIVATE, PRIVATE_BEFORE].contains(&block.tag()) {
            return Err(not_private(block.tag()));
        }
        let broken = |why: &str| Error::invalid(format!("the private key is damaged: {why}"));
        let encrypted: Encrypted =
            serde_json::from_slice(block.contents()).map_err(|error| broken("its JSON").caused_by(error))?;
        let plain = encrypted.open(password)?;
        let key = SecretKey::from_pkcs8_der(&plain)
            .map_err(|_| Error::invalid("the private key is of another type than ECDSA P-256").hint(P256_ALONE))?;
        Ok(Self(SigningKey::from(&key)))
    }

    /// The key as a file, encrypted.
    ///
    /// # Errors
    /// `local` where the system gives no randomness.
    pub fn to_pem(&self, password: &Password) -> Result<Zeroizing<String>> {
        let plain = SecretKey::from(&self.0).to_pkcs8_der().map_err(not_written)?;
        let encrypted = Encrypted::seal(plain.as_bytes(), password)?;
        Ok(Zeroizing::new(written(PRIVATE, serde_json::to_vec(&encrypted).map_err(not_written)?)))
    }

    /// The half that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// The signature of what has this digest, in DER. The same digest has the
    /// same signature (RFC 6979).
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>> {
        let signature: Signature = self.0.sign_prehash(digest.as_bytes()).map_err(not_written)?;
        Ok(DerSignature::from(signature).as_bytes().to_vec())
    }
}

impl Encrypted {
    fn seal(plain: &[u8], password: &Password) -> Result<Self> {
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
        for bytes in [&mut salt[..], &mut nonce[..]] {
            getrandom::fill(bytes).map_err(no_randomness)?;
        }
        let ciphertext = secretbox::seal(&*derived(password, &salt, STRENGTH)?, &nonce, plain)?;
        Ok(Self {
            kdf: Kdf { name: KDF.to_owned(), params: Params::of(STRENGTH), salt: STANDARD.encode(salt) },
            cipher: Cipher { name: CIPHER.to_owned(), nonce: STANDARD.encode(nonce) },
            ciphertext: STANDARD.encode(ciphertext),
        })
    }

    fn open(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>> {
        let broken = |why: &str| Error::invalid(format!("the private key is damaged: {why}"));
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| broken("its base64"));
        let Self { kdf, cipher, ciphertext } = self;
        if (kdf.name.as_str(), cipher.name.as_str()) != (KDF, CIPHER) {
            return Err(broken("it is not encrypted as cosign encrypts").hint(IMPORT));
        }
        let strength = kdf.params.strength().ok_or_else(|| {
            let Params { n, r, p } = kdf.params;
            broken(&format!("scrypt with N {n}, r {r} and p {p} is none of the three that cosign writes"))
        })?;
        let (salt, nonce, ciphertext) = (decoded(&kdf.salt)?, decoded(&cipher.nonce)?, decoded(ciphertext)?);
        let Some(nonce) = <[u8; NONCE]>::try_from(nonce).ok().filter(|_| salt.len() <= LONGEST_SALT) else {
            return Err(broken("its nonce or salt has another length"));
        };
        secretbox::open(&*derived(password, &salt, strength)?, &nonce, &ciphertext).ok_or_else(|| {
            Error::new(Class::Auth, "the password does not open the private key, or the file is damaged")
                .hint("give the password that the key was made with")
        })
    }
}

/// The key of the box.
fn derived(password: &Password, salt: &[u8], strength: u8) -> Result<Zeroizing<[u8; KEY]>> {
    let Params { r, p, .. } = Params::of(strength);
    let params = scrypt::Params::new(strength, r, p).map_err(not_written)?;
    let mut key = Zeroizing::new([0; KEY]);
    scrypt::scrypt(&password.0, salt, &params, &mut key[..]).map_err(not_written)?;
    Ok(key)
}

/// A P-256 key that checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// # Errors
    /// `invalid-input` for what is no public key, or one of another type: what
    /// it is instead is said.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let block = block(text)?;
        if block.tag() != PUBLIC {
            return Err(not_public(block.tag()));
        }
        let damaged = || Error::invalid("the public key is damaged: it is no SubjectPublicKeyInfo");
        let info = SubjectPublicKeyInfoRef::try_from(block.contents()).map_err(|_| damaged())?;
        let kind = kind(&info);
        if kind != "ECDSA P-256" {
            return Err(Error::invalid(format!("the public key is of the type {kind}")).hint(P256_ALONE));
        }
        VerifyingKey::try_from(info).map(Self).map_err(|_| damaged())
    }

    /// The key as a file.
    pub fn to_pem(&self) -> String {
        written(PUBLIC, self.der())
    }

    /// What bundles name a key by: base64 of the SHA-256 of its DER.
    pub fn hint(&self) -> String {
        STANDARD.encode(Digest::of(&self.der()).as_bytes())
    }

    fn der(&self) -> Vec<u8> {
        self.0.to_public_key_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    /// Whether this is a signature, in DER, of what has this digest.
    pub(crate) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        let signature = Signature::from_der(signature);
        signature.is_ok_and(|signature| self.0.verify_prehash(digest.as_bytes(), &signature).is_ok())
    }
}

const P256_ALONE: &str =
    "keys are ECDSA P-256: `opencenter-airgap keygen` and `cosign generate-key-pair` make such ones";
const IMPORT: &str = "`cosign import-key-pair` encrypts a key of another tool";

/// Name of the type of a key.
fn kind(info: &SubjectPublicKeyInfoRef<'_>) -> String {
    let curve = || info.algorithm.parameters_oid().map(|oid| oid.to_string()).unwrap_or_default();
    match info.algorithm.oid.to_string().as_str() {
        "1.2.840.10045.2.1" => match curve().as_str() {
            "1.2.840.10045.3.1.7" => "ECDSA P-256".to_owned(),
            "1.3.132.0.34" => "ECDSA P-384".to_owned(),
            "1.3.132.0.35" => "ECDSA P-521".to_owned(),
            other => format!("ECDSA over the curve {other}"),
        },
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        other => other.to_owned(),
    }
}

/// The first block of a PEM file.
fn block(text: &[u8]) -> Result<pem::Pem> {
    pem::parse(text).map_err(|_| {
        Error::invalid("this is no key: there is no PEM block in it, `-----BEGIN …-----`")
            .hint("a public key is a file such as cosign.pub, a private one such as cosign.key")
    })
}

fn not_public(tag: &str) -> Error {
    let error = Error::invalid(format!("a public key was expected, and this is a `{}`", tag.escape_debug()));
    match tag {
        "CERTIFICATE" => error.hint(
            "signatures are checked with a key alone, without certificates: `openssl x509 -pubkey -noout` writes the key of one",
        ),
        PRIVATE | PRIVATE_BEFORE => error.hint("name the public key, cosign.pub: the private one stays where packages are built"),
        _ => error.hint("a public key begins with `-----BEGIN PUBLIC KEY-----`"),
    }
}

fn not_private(tag: &str) -> Error {
    let error =
        Error::invalid(format!("an encrypted private key was expected, and this is a `{}`", tag.escape_debug()));
    match tag {
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => error.hint(IMPORT),
        PUBLIC => error.hint("name the private key, cosign.key"),
        _ => error.hint("`opencenter-airgap keygen` makes one"),
    }
}

fn written(tag: &str, contents: Vec<u8>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, contents), config)
}

fn no_randomness(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::local("the system gives no random numbers").caused_by(error)
}

fn not_written(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::local("cannot compute with the key").caused_by(error)
}
