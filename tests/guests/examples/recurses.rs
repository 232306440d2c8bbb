//! Calls itself without end.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "recurses";
    const SUMMARY: &'static str = "Calls itself without end.";

    fn run(_: &Context, _: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        Ok(Summary::new(deeper(1), "calls"))
    }
}

sdk::export_step!(Guest);

#[inline(never)]
fn deeper(n: u64) -> u64 {
    if std::hint::black_box(n) == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([n; 64]);
    deeper(frame[0] + 1) + frame[63]
}
