//! Warns, then returns the error that it is told to.

use sdk::serde_json::Value;
use sdk::{Context, Failures, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "fails_politely";
    const SUMMARY: &'static str = "Warns, then returns the error that it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        sdk::log::warn("this will \u{1b}[31mfail\r\nsoon");
        sdk::progress(1, Some(2), "lines", "going \u{202e}on")?;
        if let Some(items) = configuration["items"].as_u64() {
            let mut failures = Failures::default();
            for number in 0..items {
                let error = StepError::invalid_input("mutable-tag", "`latest` says nothing").hint("pin a digest");
                failures.add(format!("chart c{number}\u{1b}[31m"), error);
            }
            let total = usize::try_from(items).unwrap_or_default();
            return failures.into_result(total, "charts").map(|()| Summary::new(0, "charts"));
        }
        let message = "chart `x` is not there\u{1b}[31m";
        Err(match configuration["kind"].as_str().unwrap_or_default() {
            "invalid-input" => StepError::invalid_input("bad-chart", message),
            "missing-input" => StepError::missing_input("chart-not-found", message).hint("look again"),
            "denied" => StepError::denied("no-right", message),
            "transient" => StepError::transient("busy", message),
            "interrupted" => StepError::Interrupted,
            code => StepError::other(code, message),
        })
    }
}

sdk::export_step!(Guest);
