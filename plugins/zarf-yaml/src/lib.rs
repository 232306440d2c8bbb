//! Writes the package definition, zarf.yaml, from what the earlier steps
//! fetched.
//!
//! [`inputs`] reads their lists, [`contributed`] what other steps put beside
//! them, [`compose`] groups it all into components, or [`defined`] takes those of
//! a zarf.yaml of the project and adds what else there is, with [`copies`] of what the project has, and
//! the text is such that `zarf package create` accepts it as well: every source
//! is a path relative to the definition.

pub mod compose;
pub mod contributed;
pub mod copies;
pub mod defined;
pub mod inputs;
pub mod problem;

use std::collections::BTreeMap;

use model::count::counted;
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary};
use serde::Deserialize;

use crate::contributed::Contribution;

/// Where the files of a package are put when it is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {
    /// The folder for the binaries of kubernetes.
    pub kubernetes_directory: String,
    /// The folder for tools that can be run.
    pub tools_directory: String,
    /// The folder for tools that are archives or data.
    pub files_directory: String,
    /// By the name of a binary or tool: where that one goes, file name
    /// included.
    pub targets: BTreeMap<String, String>,
    /// Names of components in the order in which they are deployed. Those that
    /// are not named follow: binaries, tools, images, repositories, charts.
    pub order: Vec<String>,
    /// By the name of a component: whether it is deployed without being asked
    /// for. By default what needs no cluster is; the others are where the
    /// package has nothing that needs none.
    pub required: BTreeMap<String, bool>,
    /// From the host: what other steps put into the package.
    pub contributions: Vec<Contribution>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            kubernetes_directory: "/opt/opencenter/bin".into(),
            tools_directory: "/usr/local/bin".into(),
            files_directory: "/opt/opencenter/files".into(),
            targets: BTreeMap::new(),
            order: Vec::new(),
            required: BTreeMap::new(),
            contributions: Vec::new(),
        }
    }
}

struct ZarfYaml;

impl Step for ZarfYaml {
    type Configuration = Configuration;
    const NAME: &'static str = "zarf-yaml";
    const SUMMARY: &'static str = "Writes the Zarf package definition";

    fn run(_: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let mut fetched = inputs::read(inputs)?;
        fetched.contributed = contributed::find(&configuration.contributions, inputs)?;
        let definition = match inputs::defined(inputs)? {
            None => compose::compose(&fetched, &configuration).map_err(refused)?,
            Some(composed) => {
                let (definition, copies) = defined::compose(&composed, fetched, &configuration).map_err(refused)?;
                copies::copy(&copies, inputs, output)?;
                definition
            }
        };
        let text = model::zarf::to_text(&definition)?;
        output.write_text("zarf.yaml", &text)?;
        let count = definition.components.len();
        Ok(Summary::new(count as u64, "components").message(counted(count, "component", "components")))
    }
}

fn refused(problem: problem::Problem) -> StepError {
    StepError::invalid_input(problem.code, problem.message).hint(problem.hint)
}

sdk::export_step!(ZarfYaml);
