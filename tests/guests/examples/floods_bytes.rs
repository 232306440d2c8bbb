//! Streams as many MiB into one file as it is told to.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "floods_bytes";
    const SUMMARY: &'static str = "Streams as many MiB into one file as it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        if let Some(mib) = configuration["at_once"].as_u64() {
            output.write("large", &vec![0; usize::try_from(mib << 20).unwrap_or_default()], false)?;
        }
        let mib = configuration["mib"].as_u64().unwrap_or(u64::MAX);
        let mut writer = output.writer("large", false)?;
        let chunk = vec![0x5a; 1 << 20];
        for _ in 0..mib {
            std::io::Write::write_all(&mut writer, &chunk)?;
        }
        Ok(Summary::new(mib, "MiB"))
    }
}

sdk::export_step!(Guest);
