//! Says what cannot be seen: in its description, its output and its names.

use sdk::{Context, Inputs, Sink, Step, StepError, Summary, Want};

#[derive(serde::Deserialize, sdk::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
#[schemars(description = "one\u{2028}two \u{9b}2J \u{202e}gnp.exe \u{200b}\u{e0041}\u{fff9}")]
#[derive(Default)]
struct Configuration {
    name: String,
}

struct Guest;

impl Step for Guest {
    type Configuration = Configuration;
    const NAME: &'static str = "speaks_oddly\u{202e}";
    const VERSION: &'static str = "1.0\u{2066}";
    const SUMMARY: &'static str = "Says what \u{9b}2Jcannot be seen\u{200d}";

    fn wants() -> Vec<Want> {
        vec![Want::Fetch("https://example.com/\u{202e}x/".to_owned())]
    }

    fn run(_: &Context, configuration: Configuration, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        sdk::log::warn("a warning \u{202e}turned\u{9b}2J");
        sdk::progress(1, Some(2), "li\u{202e}nes", "going \u{e0041}on")?;
        output.write_text(&configuration.name, "text")?;
        Ok(Summary::new(1, "fi\u{202e}les").message("done \u{2067}turned"))
    }
}

sdk::export_step!(Guest);
