//! The steps and their order: the built-in pipeline, or config/pipeline.yaml.

use serde::{Deserialize, Serialize};

/// The steps in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    pub steps: Vec<StepSpec>,
}

/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    pub id: String,
    /// For people: "Container images".
    pub name: String,
    /// What does the work.
    pub run: Runner,
    /// Step ids whose trees this step reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    pub on_failure: OnFailure,
    /// Files of the step's tree that are published outside build/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// Handed to the plugin as JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub configuration: serde_json::Value,
}

/// `host: images` or `plugin: manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// A step of the host: `config`, `images`, `files`, `repos`.
    Host(String),
    /// A plugin by name: a core plugin, or one pinned in plugins.lock.
    Plugin(String),
}

/// What happens to the staging of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    RollBack,
    Preserve,
}

/// A file that becomes visible outside build/ with its step's commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// A path in the tree; a leading `*` matches any beginning of a name in
    /// the root of the tree. One that matches nothing publishes nothing.
    pub from: String,
    pub to: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Config,
    Dist,
}
