//! Ends the process instead of returning.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "exits";
    const SUMMARY: &'static str = "Ends the process instead of returning.";

    fn run(_: &Context, _: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        std::process::exit(3);
    }
}

sdk::export_step!(Guest);
