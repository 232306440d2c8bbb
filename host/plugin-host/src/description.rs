//! What a plugin says about itself, checked and cleaned.

use serde::{Deserialize, Serialize};

use super::limits::{FAILURE_MESSAGE, WANTS};
use super::text;
use base::error::{Class, Error, Result};
use config::limits::Limit;

/// The answer to `describe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What the plugin calls itself.
    pub name: String,
    /// The version that it says it has.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of `configuration` in pipeline.yaml.
    pub configuration_schema: serde_json::Value,
    /// What it would like to be granted; empty where it needs nothing.
    pub wants: Vec<Want>,
}

/// What a plugin would like to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Fetch below this prefix.
    Fetch(String),
    /// Have directories.
    Directories,
}

impl std::fmt::Display for Want {
    /// As it stands under `grants` in plugins.lock.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fetch(prefix) => write!(f, "fetch: {prefix}"),
            Self::Directories => f.write_str("directories: true"),
        }
    }
}

/// What a plugin said, as it said it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) configuration_schema: String,
    pub(super) wants: Vec<Want>,
}

/// A description as it is kept, with what it took: a limit that is lowered
/// later holds for it as well.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) bytes: u64,
    pub(super) description: Description,
}

impl Noted {
    /// Checks and cleans what a plugin said.
    ///
    /// # Errors
    /// `plugin` where its schema is not JSON or it wants too many things.
    pub(super) fn new(subject: &str, said: Said) -> Result<Self> {
        let bad = |why: String| Error::new(Class::Plugin, format!("{subject} describes itself badly: {why}"));
        let bytes = size(&said);
        let configuration_schema = serde_json::from_str(&said.configuration_schema)
            .map_err(|error| bad("its configuration schema is not JSON".to_owned()).caused_by(error))?;
        if said.wants.len() > WANTS {
            return Err(bad(format!("it wants more than {WANTS} things")));
        }
        let wants = said.wants.into_iter().map(|want| match want {
            Want::Fetch(prefix) => Want::Fetch(text::line(&prefix, FAILURE_MESSAGE)),
            Want::Directories => Want::Directories,
        });
        let description = Description {
            name: text::line(&said.name, 64),
            version: text::line(&said.version, 64),
            summary: text::line(&said.summary, 200),
            configuration_schema,
            wants: wants.collect(),
        };
        Ok(Self { bytes, description })
    }

    /// The description, where it is not too long.
    ///
    /// # Errors
    /// `plugin`, naming the limit.
    pub(super) fn within(self, subject: &str, kib: u64) -> Result<Description> {
        check_size(subject, self.bytes, kib)?;
        Ok(self.description)
    }
}

/// Refuses a description that is longer than `kib`.
///
/// # Errors
/// `plugin`, naming the limit.
pub(super) fn check_size(subject: &str, bytes: u64, kib: u64) -> Result<()> {
    if bytes <= kib.saturating_mul(1024) {
        return Ok(());
    }
    let message = format!("{subject} describes itself in {} KiB, and {kib} are allowed", bytes.div_ceil(1024));
    Err(Limit::Schema.exceeded(message))
}

/// Bytes of everything that was said.
pub(super) fn size(said: &Said) -> u64 {
    let wants = said.wants.iter().map(|want| if let Want::Fetch(prefix) = want { prefix.len() } else { 1 });
    let texts = [&said.name, &said.version, &said.summary, &said.configuration_schema];
    wants.chain(texts.map(String::len)).fold(0, |sum, bytes| sum.saturating_add(bytes as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: &str) -> Said {
        Said {
            name: "x\u{1b}[2J".into(),
            version: "v".repeat(100),
            summary: "a\nb".into(),
            configuration_schema: schema.into(),
            wants: vec![Want::Fetch("https://a/\u{202e}".into()), Want::Directories],
        }
    }

    #[test]
    fn what_is_said_is_cleaned_and_cut() {
        let Noted { description, .. } = Noted::new("plugin x", said("{}")).unwrap();
        assert_eq!((description.name.as_str(), description.summary.as_str()), ("x\\u{1b}[2J", "a b"));
        assert_eq!((description.version.len(), description.wants.len()), (64 + '…'.len_utf8(), 2));
        assert_eq!(description.wants[0], Want::Fetch("https://a/\\u{202e}".into()));
    }

    #[test]
    fn a_schema_is_json_within_its_limit() {
        let schema = |kib: usize| format!("{{\"description\": \"{}\"}}", "x".repeat((kib << 10) - 400));
        let noted = |kib| Noted::new("plugin x", said(&schema(kib))).unwrap();
        noted(2).within("plugin x", 2).unwrap();
        let error = noted(3).within("plugin x", 2).unwrap_err();
        assert_eq!(error.message(), "plugin x describes itself in 3 KiB, and 2 are allowed (`plugins.schema_kib`)");
        assert!(Noted::new("plugin x", said("nonsense")).unwrap_err().message().contains("not JSON"));
        let many = Said { wants: vec![Want::Directories; WANTS + 1], ..said("{}") };
        assert!(Noted::new("plugin x", many).unwrap_err().message().contains("more than 100 things"));
    }
}
