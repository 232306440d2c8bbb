//! The id of a step.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// What a step id may be, in words.
pub(crate) const RULE: &str = "use at most 63 lowercase letters, digits, `_` and `-`, a letter first";

/// The id of a step, which becomes the name of files and of a column: at most 63
/// lowercase letters, digits, `_` and `-`, a letter first.
///
/// It is checked where it comes in: when it is parsed, and of pipeline.yaml together
/// with everything else that is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// None where the text is no step id.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(text.to_owned())).filter(Self::is_sound)
    }

    /// As pipeline.yaml writes it; whoever reads that checks it
    /// ([`Self::is_sound`]) and says where it stands.
    pub(crate) fn as_written(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.len() <= 63
            && self.starts_with(|c: char| c.is_ascii_lowercase())
            && self.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'))
    }

    /// `images`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for StepId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StepId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for StepId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for StepId {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{}` is no step id", text.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the folders that are called like steps.
    #[test]
    fn an_id_is_a_plain_name() {
        for good in ["a", "zarf_gen", "my-step-2", &"a".repeat(63)] {
            assert_eq!(StepId::parse(good).unwrap(), good);
        }
        for bad in ["", "A", "2a", "-a", "_a", "a/b", "a.b", "a b", "..", "é", &"a".repeat(64)] {
            assert_eq!(StepId::parse(bad), None, "{bad}");
        }
        assert!(serde_json::from_str::<StepId>("\"../x\"").unwrap_err().to_string().contains("no step id"));
    }
}
