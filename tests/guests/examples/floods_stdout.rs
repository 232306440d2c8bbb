//! Prints as many KiB as it is told to.
#![expect(clippy::print_stdout, reason = "printing is its misbehaviour")]

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "floods_stdout";
    const SUMMARY: &'static str = "Prints as many KiB as it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        let kib = configuration["kib"].as_u64().unwrap_or(u64::MAX);
        let line = "x".repeat(1023);
        for _ in 0..kib {
            println!("{line}");
        }
        Ok(Summary::new(kib, "KiB"))
    }
}

sdk::export_step!(Guest);
