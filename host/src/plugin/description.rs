//! What a plugin says about itself, checked and cleaned.

use serde::{Deserialize, Serialize};

use super::bindings::step;
use super::limits::{DESCRIPTION_BYTES, FAILURE_MESSAGE, WANTS};
use super::text;
use crate::error::{Class, Error, Result};

/// The answer to `describe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of `configuration` in pipeline.yaml.
    pub configuration_schema: serde_json::Value,
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

impl Description {
    /// # Errors
    /// `plugin` where the answer is too long or its schema is not JSON.
    pub(super) fn new(subject: &str, said: step::Description) -> Result<Self> {
        let bad = |why: String| Error::new(Class::Plugin, format!("{subject} describes itself badly: {why}"));
        let wanted: usize =
            said.wants.iter().map(|want| if let step::Want::Fetch(url) = want { url.len() } else { 1 }).sum();
        if said.configuration_schema.len() + wanted > DESCRIPTION_BYTES {
            return Err(bad(format!("more than {} KiB", DESCRIPTION_BYTES >> 10)));
        }
        let configuration_schema = serde_json::from_str(&said.configuration_schema)
            .map_err(|error| bad("its configuration schema is not JSON".to_owned()).caused_by(error))?;
        if said.wants.len() > WANTS {
            return Err(bad(format!("it wants more than {WANTS} things")));
        }
        let wants = said.wants.into_iter().map(|want| match want {
            step::Want::Fetch(prefix) => Want::Fetch(text::line(&prefix, FAILURE_MESSAGE)),
            step::Want::Directories => Want::Directories,
        });
        Ok(Self {
            name: text::line(&said.name, 64),
            version: text::line(&said.version, 64),
            summary: text::line(&said.summary, 200),
            configuration_schema,
            wants: wants.collect(),
        })
    }
}
