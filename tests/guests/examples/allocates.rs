//! Takes as many MiB as it is told to.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "allocates";
    const SUMMARY: &'static str = "Takes as many MiB as it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        let mib = configuration["mib"].as_u64().unwrap_or(1 << 20);
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for _ in 0..mib {
            kept.push(std::hint::black_box(vec![1; 1 << 20]));
        }
        Ok(Summary::new(kept.len() as u64, "MiB"))
    }
}

sdk::export_step!(Guest);
