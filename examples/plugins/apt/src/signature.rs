//! Who signed an `InRelease`, in OpenPGP.
//!
//! A signature counts that one of the keys of the keyring made, by its primary key or
//! a subkey that the primary key says may sign (and that says so back), with SHA-256
//! or better, while that key was valid. A key with any revocation of its own counts for
//! nothing. `now` is the build's clock, which may be set to any time: it ends signatures that
//! end, and refuses none for being later. What is returned is the text that was signed, and nothing
//! around it.

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

/// Whose signatures count.
#[derive(Debug)]
pub struct Keyring(Vec<SignedPublicKey>);

impl Keyring {
    /// Armored public keys, one block below the other.
    ///
    /// # Errors
    /// What is no key, and where there is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        let mut keys = Vec::new();
        for (at, _) in text.match_indices(BEGIN) {
            let told = |error: pgp::errors::Error| format!("a key can not be read: {error}");
            let (found, _) = SignedPublicKey::from_armor_many(&text.as_bytes()[at..]).map_err(told)?;
            for key in found {
                keys.push(key.map_err(told)?);
            }
        }
        if keys.is_empty() { Err(format!("there is no `{BEGIN}`")) } else { Ok(Self(keys)) }
    }

    /// The text that one of the keys signed; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Which keys signed it instead, or what is wrong with the signature.
    pub fn signed(&self, message: &str, now: u64) -> Result<String, String> {
        let (message, _) =
            CleartextSignedMessage::from_string(message).map_err(|error| format!("it is not signed: {error}"))?;
        let text = message.signed_text();
        let is_good = |signature: &&Signature| self.0.iter().any(|key| made(key, signature, &text, now));
        if message.signatures().iter().any(|signature| is_good(&signature)) {
            return Ok(text);
        }
        let issuers = message
            .signatures()
            .iter()
            .flat_map(Signature::issuer_fingerprint)
            .map(|print| print.to_string().to_uppercase());
        let own = self.0.iter().map(|key| key.primary_key.fingerprint().to_string().to_uppercase());
        let (issuers, own) = (issuers.collect::<Vec<_>>().join(", "), own.collect::<Vec<_>>().join(", "));
        Err(format!("no key of the keyring ({own}) made a valid signature of it; it is signed by {issuers}"))
    }
}

/// Whether `key` made the signature of `text`.
fn made(key: &SignedPublicKey, signature: &Signature, text: &str, now: u64) -> bool {
    let is_document = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    let Some(at) = signature.created().map(|time| time.as_secs()) else { return false };
    if !is_document || !is_strong(signature) || is_over(signature, now) || is_revoked(key) {
        return false;
    }
    let Some(binding) = newest(own_bindings(key)) else { return false };
    if !is_valid(&key.primary_key, binding, at) {
        return false;
    }
    let may_sign = binding.key_flags().sign();
    (may_sign && signature.verify(&key.primary_key, text.as_bytes()).is_ok())
        || key
            .public_subkeys
            .iter()
            .any(|subkey| subkey_signs(key, subkey, at) && signature.verify(&subkey.key, text.as_bytes()).is_ok())
}

fn subkey_signs(key: &SignedPublicKey, subkey: &SignedPublicSubKey, at: u32) -> bool {
    let own = subkey.signatures.iter().filter(|one| one.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok());
    let (revocations, bindings): (Vec<_>, Vec<_>) =
        own.partition(|one| one.typ() == Some(SignatureType::SubkeyRevocation));
    let Some(binding) = newest(bindings.into_iter()) else { return false };
    let agrees = binding
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok());
    revocations.is_empty() && binding.key_flags().sign() && agrees && is_valid(&subkey.key, binding, at)
}

/// What the primary key says about itself, where that verifies.
fn own_bindings(key: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let own = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(move |one| one.verify_key(own).is_ok());
    let users = key.details.users.iter().flat_map(move |user| {
        user.signatures
            .iter()
            .filter(move |one| one.is_certification() && one.verify_certification(own, Tag::UserId, &user.id).is_ok())
    });
    direct.chain(users).filter(|one| is_strong(one))
}

fn is_revoked(key: &SignedPublicKey) -> bool {
    key.details.revocation_signatures.iter().any(|one| one.verify_key(&key.primary_key).is_ok())
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|one| one.created().map(|time| time.as_secs()))
}

/// Whether a key that `binding` speaks of was there and not over at that time.
fn is_valid(key: &impl VerifyingKey, binding: &Signature, at: u32) -> bool {
    let created = key.created_at().as_secs();
    let lasts = binding.key_expiration_time().map_or(0, |time| time.as_secs());
    created <= at && (lasts == 0 || u64::from(at) < u64::from(created) + u64::from(lasts))
}

fn is_over(signature: &Signature, now: u64) -> bool {
    let (Some(created), Some(lasts)) = (signature.created(), signature.signature_expiration_time()) else {
        return false;
    };
    lasts.as_secs() != 0 && u64::from(created.as_secs()) + u64::from(lasts.as_secs()) < now
}

fn is_strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: u64 = 1_735_689_600;

    /// A keyring and a text signed by its key, both made by GnuPG.
    macro_rules! made {
        ($keys:literal, $message:literal) => {
            Keyring::parse(include_str!(concat!("testdata/", $keys, ".asc")))
                .unwrap()
                .signed(include_str!(concat!("testdata/", $message, ".InRelease")), SIGNED + 60)
        };
    }

    #[test]
    fn an_ed25519_key_and_a_subkey_of_rsa_sign() {
        for text in [made!("ed", "ed").unwrap(), made!("rsa", "rsa").unwrap()] {
            assert!(text.starts_with("Origin: Example\r\nSuite: noble\r\n- a line with a dash\r\n"), "{text}");
            assert!(!text.contains("PGP"), "{text}");
        }
    }

    #[test]
    fn another_key_an_old_hash_and_a_key_that_is_over_or_revoked_do_not() {
        assert!(made!("ed", "rsa").unwrap_err().contains("it is signed by"));
        for refused in [made!("ed", "weak"), made!("over", "over"), made!("revoked", "revoked")] {
            assert!(refused.unwrap_err().contains("made a valid signature"));
        }
    }

    #[test]
    fn a_changed_text_and_one_around_it_are_refused() {
        let keys = Keyring::parse(include_str!("testdata/ed.asc")).unwrap();
        let message = include_str!("testdata/ed.InRelease");
        assert!(keys.signed(message, SIGNED).is_ok());
        for changed in
            [message.replace("noble", "jammy"), format!("Suite: jammy\n{message}"), format!("{message}Suite: jammy\n")]
        {
            assert!(keys.signed(&changed, SIGNED).is_err(), "{changed}");
        }
        assert!(Keyring::parse("no key").is_err());
    }
}
