//! Writes the files that its configuration holds, a definition made by hand, and
//! those of the trees that it names.

use std::collections::BTreeMap;

use sdk::{Context, EntryKind, Inputs, Sink, Step, StepError, Summary};

#[derive(serde::Deserialize, sdk::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// Text by path.
    files: BTreeMap<String, String>,
    /// Names of local trees, whose files are written below the path that they have.
    #[serde(default)]
    local: Vec<String>,
}

struct Guest;

impl Step for Guest {
    type Configuration = Configuration;
    const NAME: &'static str = "authors";
    const SUMMARY: &'static str = "Writes the files that its configuration holds";

    fn run(_: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        for (path, text) in &configuration.files {
            output.write_text(path, text)?;
        }
        for path in &configuration.local {
            let tree = inputs.get(&format!("local:{path}"))?;
            for entry in tree.entries("")?.iter().filter(|entry| entry.kind == EntryKind::File) {
                output.link(tree, &entry.path, &format!("{path}/{}", entry.path))?;
            }
        }
        Ok(Summary::new(configuration.files.len() as u64, "files"))
    }
}

sdk::export_step!(Guest);
