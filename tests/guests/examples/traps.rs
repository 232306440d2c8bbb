//! Panics two calls deep, after printing.
#![expect(clippy::print_stdout, reason = "what it prints is what is tested")]

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "traps";
    const SUMMARY: &'static str = "Panics two calls deep, after printing.";

    fn run(_: &Context, _: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        println!("about to fail");
        outer(std::hint::black_box(1));
        Ok(Summary::new(0, "nothing"))
    }
}

sdk::export_step!(Guest);

#[inline(never)]
fn outer(n: u32) {
    inner_most(n + 1);
}

#[inline(never)]
fn inner_most(n: u32) {
    assert!(n == 0, "the number was {n}");
}
