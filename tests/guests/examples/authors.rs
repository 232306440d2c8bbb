//! Writes the files that its configuration holds: a definition made by hand.

use std::collections::BTreeMap;

use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

#[derive(serde::Deserialize, sdk::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// Text by path.
    files: BTreeMap<String, String>,
}

struct Guest;

impl Step for Guest {
    type Configuration = Configuration;
    const NAME: &'static str = "authors";
    const SUMMARY: &'static str = "Writes the files that its configuration holds";

    fn run(_: &Context, configuration: Configuration, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        for (path, text) in &configuration.files {
            output.write_text(path, text)?;
        }
        Ok(Summary::new(configuration.files.len() as u64, "files"))
    }
}

sdk::export_step!(Guest);
