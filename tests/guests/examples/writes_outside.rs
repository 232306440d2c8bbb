//! Writes to the path that it is told.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "writes_outside";
    const SUMMARY: &'static str = "Writes to the path that it is told.";

    fn run(_: &Context, configuration: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let path = configuration["path"].as_str().unwrap_or("../x");
        output.write_text(path, "outside")?;
        Ok(Summary::new(1, "files"))
    }
}

sdk::export_step!(Guest);
