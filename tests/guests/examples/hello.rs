//! The smallest step: typed configuration, one output.

use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

#[derive(serde::Deserialize, sdk::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// Who is greeted.
    name: String,
}

struct Hello;

impl Step for Hello {
    type Configuration = Configuration;
    const NAME: &'static str = "hello";
    const SUMMARY: &'static str = "Writes a greeting";

    fn run(cx: &Context, configuration: Configuration, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let text = format!("hello {} from {}, attempt {}\n", configuration.name, cx.step, cx.attempt);
        output.write_text("hello.txt", &text)?;
        Ok(Summary::new(1, "greetings"))
    }
}

sdk::export_step!(Hello);
