//! Makes one file, marks it and fails; then makes the other one.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "checkpoints";
    const SUMMARY: &'static str = "Makes one file, marks it and fails; then makes the other one.";

    fn run(cx: &Context, _: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let done = sdk::checkpoint::done();
        if done.is_empty() {
            output.write_text("slow", &format!("made in attempt {}", cx.attempt))?;
            sdk::checkpoint::mark("slow", &["slow".to_owned()])?;
            output.write_text("lost", "not marked")?;
            return Err(StepError::transient("later", "the other half is not ready"));
        }
        output.write_text("fast", "f")?;
        Ok(Summary::new(2, "files").message(done.join(",")))
    }
}

sdk::export_step!(Guest);
