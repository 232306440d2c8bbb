//! in-toto statements: what somebody says about artifacts with these digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use base::digest::Digest;
use base::error::{Error, Result};

const TYPE: &str = "https://in-toto.io/Statement/v1";
/// Of all versions.
const TYPES: &str = "https://in-toto.io/Statement/";

/// A statement of any predicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// Each of which it is about.
    pub subject: Vec<Subject>,
    /// A URI: what the predicate is.
    pub predicate_type: String,
    /// What is said.
    #[serde(default)]
    pub predicate: Value,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// For people: a file, an image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Hexadecimal, by the algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// What has this SHA-256.
    pub fn new(name: impl Into<String>, digest: &Digest) -> Self {
        Self { name: name.into(), digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]) }
    }
}

impl Statement {
    /// A statement of the version 1 about one subject.
    pub fn new(subject: Subject, predicate_type: impl Into<String>, predicate: Value) -> Self {
        Self { kind: TYPE.to_owned(), subject: vec![subject], predicate_type: predicate_type.into(), predicate }
    }

    /// # Errors
    /// `invalid-input` for what is no statement.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let statement: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid("this is no in-toto statement").caused_by(error))?;
        match statement.kind.starts_with(TYPES) {
            true => Ok(statement),
            false => Err(Error::invalid("this is no in-toto statement: its `_type` is another one")),
        }
    }

    /// On one line, without a newline.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::local("cannot write JSON").caused_by(error))
    }

    /// Whether it is about what has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.subject.iter().any(|subject| subject.digest.get("sha256").is_some_and(|claimed| *claimed == hex))
    }
}
