//! Writes one file and never returns.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "loops";
    const SUMMARY: &'static str = "Never returns.";

    fn run(_: &Context, _: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        output.write_text("began", "")?;
        let mut n: u64 = 0;
        loop {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }
}

sdk::export_step!(Guest);
