//! One step of a pipeline, as pipeline.yaml writes it: who does the work, what it
//! waits for, and what of its tree leaves build/. No rule about several steps, no I/O.

use std::fmt;

use model::problem::YamlPath;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::core_plugins;

/// The step that loads and checks the configuration; the host does it before
/// anything else.
pub const CONFIG: &str = "config";
/// The step that publishes the component manifest.
pub const MANIFESTS: &str = "manifests";
/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Unique in the pipeline, and the name of its tree: `images`.
    pub id: String,
    /// For people: "Container images". The id where it is missing.
    #[serde(default)]
    pub name: String,
    /// What does the work.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub run: Runner,
    /// Step ids whose trees this step reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Step ids that wait for this one, without reading its tree.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Step ids that this one waits for, without reading their trees.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What becomes of an attempt that failed.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How often it is tried again; `retries.steps` of settings.yaml where it
    /// is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Seconds that one attempt of a plugin may take; `plugins.step_limit` of
    /// settings.yaml where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Files of the step's tree that are published outside build/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// What of the step's tree goes into the package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contribute: Vec<Contribution>,
    /// Files and folders of the project that the plugin reads: local paths as
    /// components.yaml writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// Handed to the plugin as JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub configuration: serde_json::Value,
    /// None of a built-in step.
    #[serde(skip)]
    pub written: Option<Written>,
}

/// Where a step stands in pipeline.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The path of the step in the document: `steps[2]`.
    pub path: YamlPath,
    /// Of its configuration, else of itself: `config/pipeline.yaml:12:5`.
    pub configuration: String,
}

/// `host: images` or `plugin: manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// A step of the host.
    Host(HostStep),
    /// A plugin by name: a core plugin, or one pinned in plugins.lock.
    Plugin(String),
}

/// What the host itself does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStep {
    /// Loads and checks the configuration, before anything else. The step of
    /// the id [`CONFIG`], and no other.
    Config,
    /// Container images.
    Images,
    /// Binaries and archives.
    Files,
    /// Git repositories.
    Repos,
}

impl HostStep {
    /// In the order of the built-in pipeline.
    pub const ALL: [Self; 4] = [Self::Config, Self::Images, Self::Files, Self::Repos];

    /// As pipeline.yaml calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => CONFIG,
            Self::Images => "images",
            Self::Files => "files",
            Self::Repos => "repos",
        }
    }
}

/// What happens to the staging of a failed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing of it remains.
    #[default]
    RollBack,
    /// Its journal and what it marked as complete stay for the next attempt.
    Preserve,
}

/// A file that becomes visible outside build/ with its step's commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// A path in the tree; a leading `*` matches any beginning of a name in
    /// the root of the tree. One that matches nothing publishes nothing.
    pub from: String,
    /// The folder that it goes into.
    pub to: Target,
}

/// A folder outside build/.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// config/, which decides what the next build does.
    Config,
    /// dist/, which holds what is handed on.
    Dist,
}

/// A file, or for [`PackagePart::Files`] a folder, that goes into the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// A path in the step's tree.
    pub from: String,
    /// Where in the package it goes.
    pub into: PackagePart,
    /// Of [`PackagePart::Files`]: where it is deployed to, an absolute path; else its
    /// name in the folder for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Where it stands: `config/pipeline.yaml:12:9`.
    #[serde(skip)]
    pub at: String,
}

/// Where in the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackagePart {
    /// The documents that Zarf shows of a package; `from` is a file.
    Documentation,
    /// What is deployed: a file or a folder.
    Files,
    /// The SBOMs of the package, beside those of its images: a document of Syft's
    /// JSON.
    Sboms,
}

impl StepSpec {
    /// A step of this id and name that waits for nothing.
    pub fn new(id: &str, run: Runner) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            run,
            needs: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            on_failure: OnFailure::RollBack,
            retries: None,
            timeout: None,
            publish: Vec::new(),
            contribute: Vec::new(),
            local: Vec::new(),
            configuration: serde_json::Value::Null,
            written: None,
        }
    }

    /// Whether it runs the plugin of this name: the core plugin, or the one that
    /// plugins.lock lets take its place.
    pub fn runs(&self, plugin: &str) -> bool {
        matches!(&self.run, Runner::Plugin(name) if name == plugin)
    }

    /// Where it stands in pipeline.yaml; the root for a built-in step.
    pub fn place(&self) -> YamlPath {
        self.written.as_ref().map_or_else(YamlPath::root, |written| written.path.clone())
    }

    /// Whether it does what the step `manifests` lists with rights that no
    /// plugin was granted: as a step of the host, and as a core plugin that
    /// reads that list.
    pub(crate) fn trusts_the_list(&self) -> bool {
        match &self.run {
            Runner::Host(step) => *step != HostStep::Config,
            Runner::Plugin(name) => {
                core_plugins::core(name).is_some() && self.needs.iter().any(|need| need == MANIFESTS)
            }
        }
    }
}

/// A step id, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(OneOrMany)
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step id, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, id: &str) -> std::result::Result<Self::Value, E> {
        Ok(vec![id.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(ids)
    }
}

/// Step ids and plugin names: they become file names and table columns.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'))
}
