//! Leaves an output stream open when it returns.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "forgets_to_close";
    const SUMMARY: &'static str = "Leaves an output stream open when it returns.";

    fn run(_: &Context, configuration: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let mut writer = output.writer("open", true)?;
        std::io::Write::write_all(&mut writer, b"written")?;
        std::mem::forget(writer);
        match configuration["fail"].as_bool() {
            Some(true) => Err(StepError::other("asked", "it was told to")),
            _ => Ok(Summary::new(1, "files")),
        }
    }
}

sdk::export_step!(Guest);
