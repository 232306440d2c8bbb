//! Who signed zarf.yaml, and whether that holds: with a key it is checked,
//! without one it is told. No one is asked, and no log is looked at.

use std::fmt;

use serde::Serialize;

use super::Problems;
use super::facts::Facts;
use super::package::Package;
use base::digest::Digest;
use base::error::Result;
use seal::members::{BUNDLE, SIGNATURE};
use signing::{Bundle, PublicKey, legacy};

/// What was found about a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Whether there is one, and whether it was checked.
    pub state: State,
    /// Who signed, as the signature itself says: the hint of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What is known of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is none.
    #[default]
    Unsigned,
    /// There is one, and no key was given.
    Unchecked,
    /// The key that was given made it.
    Holds,
    /// It did not, or the signature cannot be read: see the problems.
    Fails,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.as_deref().unwrap_or("a key that is not named");
        match self.state {
            State::Unsigned => f.write_str("none"),
            State::Unchecked => write!(f, "by {by}, not checked: --key checks it"),
            State::Holds => write!(f, "holds, by {by}"),
            State::Fails => f.write_str("does not hold"),
        }
    }
}

/// Whether a package says that it is signed, as Zarf decides it.
pub(crate) fn is_signed(package: &Package, facts: &Facts) -> bool {
    package.definition.build.signed.unwrap_or_else(|| facts.files.contains_key(SIGNATURE))
}

/// Who signed a package, where it is signed; nothing is checked.
pub(crate) fn signer(package: &Package, facts: &Facts) -> Option<String> {
    if !is_signed(package, facts) {
        return None;
    }
    let bundle = facts.texts.get(BUNDLE).and_then(|bytes| Bundle::parse(bytes).ok());
    Some(bundle.map_or_else(|| "a key that is not named".to_owned(), |bundle| bundle.signer().to_string()))
}

/// Checks the signature of zarf.yaml.
pub(super) fn check(facts: &Facts, package: &Package, key: Option<&PublicKey>, problems: &mut Problems) -> Signature {
    let Some(definition) = facts.texts.get("zarf.yaml") else { return Signature::default() };
    if !is_signed(package, facts) {
        if key.is_some() {
            problems.add("unsigned", "the package is not signed, and a key was given that it should be signed with");
        }
        return Signature::default();
    }
    let digest = Digest::of(definition);
    let checked = match (facts.texts.get(BUNDLE), facts.texts.get(SIGNATURE)) {
        (Some(bytes), _) => by_bundle(bytes, &digest, key).map_err(|error| (BUNDLE, error.one_line())),
        (None, Some(bytes)) => by_legacy(bytes, &digest, key).map_err(|error| (SIGNATURE, error.one_line())),
        (None, None) => Err((
            BUNDLE,
            format!("is missing, nor is there a `{SIGNATURE}`: zarf.yaml says that the package is signed"),
        )),
    };
    checked.unwrap_or_else(|(file, why)| {
        problems.add_for("signature", file, format!("is no signature of zarf.yaml as it is here: {why}"));
        Signature { state: State::Fails, by: None }
    })
}

fn by_bundle(bytes: &[u8], digest: &Digest, key: Option<&PublicKey>) -> Result<Signature> {
    let bundle = Bundle::parse(bytes)?;
    let state = match key {
        None => bundle.is_about(digest).map(|()| State::Unchecked)?,
        Some(key) => bundle.verify_message(key, digest).map(|()| State::Holds)?,
    };
    // What a key was checked for is that key, whatever the bundle calls it.
    let by = key.map_or_else(|| bundle.signer().to_string(), |key| format!("the key {}", key.hint()));
    Ok(Signature { state, by: Some(by) })
}

fn by_legacy(bytes: &[u8], digest: &Digest, key: Option<&PublicKey>) -> Result<Signature> {
    let Some(key) = key else { return Ok(Signature { state: State::Unchecked, by: None }) };
    legacy::verify(key, digest, &String::from_utf8_lossy(bytes))?;
    Ok(Signature { state: State::Holds, by: Some(format!("the key {}", key.hint())) })
}
