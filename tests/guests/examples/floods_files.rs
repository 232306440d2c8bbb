//! Writes as many files as it is told to.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "floods_files";
    const SUMMARY: &'static str = "Writes as many files as it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let files = configuration["files"].as_u64().unwrap_or(u64::MAX);
        for n in 0..files {
            output.write_text(&format!("files/{n}"), "x")?;
        }
        Ok(Summary::new(files, "files"))
    }
}

sdk::export_step!(Guest);
