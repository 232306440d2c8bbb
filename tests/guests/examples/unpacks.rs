//! Unpacks an archive of its input and lists it.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "unpacks";
    const SUMMARY: &'static str = "Unpacks an archive of its input and lists it.";

    fn run(_: &Context, configuration: Value, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let path = configuration["path"].as_str().unwrap_or("archive.tar");
        let limits = sdk::archive::Limits { total: 1 << 20, entries: 100 };
        let tree = sdk::archive::unpack(inputs.get("made")?, path, limits)?;
        let entries = tree.entries("")?;
        for entry in &entries {
            output.link(&tree, &entry.path, &entry.path)?;
        }
        let names: Vec<String> = entries.into_iter().map(|entry| entry.path).collect();
        Ok(Summary::new(names.len() as u64, "entries").message(names.join(" ")))
    }
}

sdk::export_step!(Guest);
