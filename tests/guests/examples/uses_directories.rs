//! Works on files, if it may.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "uses_directories";
    const SUMMARY: &'static str = "Works on files, if it may.";

    fn run(_: &Context, configuration: Value, _: &Inputs, _: &Sink) -> Result<Summary, StepError> {
        let text = std::fs::read_to_string("/in/made/a")?;
        std::fs::write("/work/scratch", &text)?;
        std::fs::create_dir_all("/out/sub")?;
        std::fs::rename("/work/scratch", "/out/sub/copy")?;
        if configuration["change"].as_bool() == Some(true) {
            std::fs::write("/in/made/a", "changed")?;
        }
        if configuration["link"].as_bool() == Some(true) {
            std::fs::hard_link("/out/sub/copy", "/out/second")?;
        }
        Ok(Summary::new(1, "files"))
    }
}

sdk::export_step!(Guest);
