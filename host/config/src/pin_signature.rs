//! The signature of a pinned plugin, as plugins.lock keeps it: all that somebody
//! with a public key needs to check it again, without asking anybody.
//!
//! Either it is about the component itself (`cosign sign-blob --bundle`), or about
//! the manifest that names the component in a registry (`cosign sign`). Then the
//! manifest is kept with it, for only that says which component is meant.

use serde::{Deserialize, Serialize};

use crate::component_manifest;
use base::digest::Digest;
use base::error::{Error, Result};
use signing::bundle::is_bundle_type;
use signing::{Bundle, PublicKey, image};

/// Bytes of what holds a signature of a plugin: cosign's have some thousand.
pub const LARGEST: u64 = 256 << 10;

/// A signature, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinSignature {
    /// The public key that it holds by, as its file says it.
    pub key: String,
    /// Of `content`: a Sigstore bundle, or the text that cosign signed of an
    /// image before there were bundles.
    pub media_type: String,
    /// Of the signature, as it was found.
    pub content: String,
    /// Base64, where it is not in `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The manifest that it is about; missing where it is about the component
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

impl PinSignature {
    /// That of a component, by a bundle that lies beside it.
    ///
    /// # Errors
    /// `invalid-input` for what is no bundle; as [`Self::verify`].
    pub fn of_component(keys: &[PublicKey], component: &Digest, bundle: &[u8]) -> Result<Self> {
        let content = text(Bundle::parse(bundle)?.to_json()?)?;
        let found = Self {
            key: String::new(),
            media_type: signing::bundle::MEDIA_TYPE.to_owned(),
            content,
            signature: None,
            manifest: None,
        };
        found.by_one_of(keys, component)
    }

    /// That of a manifest in a registry, by the layer of another one that is
    /// about it.
    ///
    /// # Errors
    /// As [`Self::of_component`].
    pub fn of_manifest(
        keys: &[PublicKey],
        component: &Digest,
        manifest: &[u8],
        media_type: &str,
        content: &[u8],
        annotated: Option<&str>,
    ) -> Result<Self> {
        let content = if is_bundle_type(media_type) { Bundle::parse(content)?.to_json()? } else { content.to_vec() };
        let found = Self {
            key: String::new(),
            media_type: media_type.to_owned(),
            content: text(content)?,
            signature: annotated.map(str::to_owned),
            manifest: Some(text(manifest.to_vec())?),
        };
        found.by_one_of(keys, component)
    }

    /// The same, by the first of these keys that it holds by.
    fn by_one_of(mut self, keys: &[PublicKey], component: &Digest) -> Result<Self> {
        self.key = self.held_by(keys, component)?.to_pem();
        Ok(self)
    }

    /// The first of these keys that it holds by.
    ///
    /// # Errors
    /// As [`Self::verify`] for the first of them; `configuration` where there is none.
    pub fn held_by<'k>(&self, keys: &'k [PublicKey], component: &Digest) -> Result<&'k PublicKey> {
        let mut refused = None;
        for key in keys {
            match self.verify(key, component) {
                Ok(()) => return Ok(key),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| Error::configuration("there is no key to check a signature with")))
    }

    /// The key that it is by, as the lock says it.
    ///
    /// # Errors
    /// `invalid-input` for what is no key.
    pub fn key(&self) -> Result<PublicKey> {
        PublicKey::from_pem(self.key.as_bytes())
    }

    /// How the key is named: [`PublicKey::hint`].
    pub fn signer(&self) -> String {
        self.key().map_or_else(|_| "a key that can not be read".to_owned(), |key| key.hint())
    }

    /// Checks that `key` signed the component with this digest.
    ///
    /// # Errors
    /// `integrity` where it did not, with what was found; `invalid-input` for
    /// what is no signature.
    pub fn verify(&self, key: &PublicKey, component: &Digest) -> Result<()> {
        let Some(manifest) = &self.manifest else {
            if !is_bundle_type(&self.media_type) {
                return Err(Error::invalid("the signature of a component is a bundle, and this is none"));
            }
            return Bundle::parse(self.content.as_bytes())?.verify_message(key, component);
        };
        let about = [Digest::of(manifest.as_bytes())];
        image::verify(key, &about, &self.media_type, self.content.as_bytes(), self.signature.as_deref())?;
        let named = component_manifest::component(manifest.as_bytes())?;
        match named.digest == *component {
            true => Ok(()),
            false => Err(Error::integrity(format!(
                "the manifest that is signed names the component {}, and this one has {component}",
                named.digest
            ))),
        }
    }
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::invalid("the signature is about bytes that are no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;
    use signing::PrivateKey;
    use signing::statement::{Statement, Subject};

    fn manifest(component: &Digest) -> Vec<u8> {
        format!(r#"{{"layers":[{{"mediaType":"application/wasm","digest":"{component}","size":1}}]}}"#).into_bytes()
    }

    #[test]
    fn a_bundle_beside_the_component_holds_for_it_alone() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap().public());
        let component = Digest::of(b"component");
        let bundle = Bundle::of_message(&key, &component).unwrap().to_json().unwrap();
        let keys = [other.clone(), key.public()];
        let kept = PinSignature::of_component(&keys, &component, &bundle).unwrap();
        assert_eq!((kept.key().unwrap(), kept.signer()), (key.public(), key.public().hint()));
        kept.verify(&key.public(), &component).unwrap();
        for (key, component) in [(&other, component), (&key.public(), Digest::of(b"another"))] {
            assert_eq!(kept.verify(key, &component).unwrap_err().class(), Class::Integrity);
        }
        assert!(PinSignature::of_component(&keys[..1], &component, &bundle).is_err());
        assert!(PinSignature::of_component(&[], &component, &bundle).is_err());
        assert!(PinSignature::of_component(&keys, &component, b"{}").is_err());
    }

    /// A signature of a manifest is one of the component that it names.
    #[test]
    fn a_signed_manifest_vouches_for_what_it_names() {
        let key = PrivateKey::generate().unwrap();
        let [component, another] = [b"component".as_slice(), b"another"].map(Digest::of);
        let signed = manifest(&component);
        let statement = Statement::new(Subject::new("", &Digest::of(&signed)), image::PREDICATE, serde_json::json!({}));
        let bundle = Bundle::of_statement(&key, &statement).unwrap().to_json().unwrap();
        let of = |manifest: &[u8], component: &Digest| {
            let media_type = signing::bundle::MEDIA_TYPE;
            PinSignature::of_manifest(&[key.public()], component, manifest, media_type, &bundle, None)
        };
        of(&signed, &component).unwrap();
        assert!(of(&signed, &another).unwrap_err().message().contains("names the component"));
        assert!(of(&manifest(&another), &another).unwrap_err().message().contains("another image"));
        // Without the manifest it is about nothing that is pinned.
        let bare = PinSignature { manifest: None, ..of(&signed, &component).unwrap() };
        assert!(bare.verify(&key.public(), &component).is_err());
    }
}
