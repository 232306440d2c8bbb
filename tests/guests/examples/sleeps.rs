//! Sleeps for an hour, then says what time and chance are.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "sleeps";
    const SUMMARY: &'static str = "Sleeps for an hour, then says what time and chance are.";

    fn run(_: &Context, _: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        use std::hash::{BuildHasher, RandomState};
        use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
        let started = Instant::now();
        std::thread::sleep(Duration::from_secs(3600));
        let slept = started.elapsed().as_secs();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let chance = RandomState::new().hash_one(1);
        output.write_text("seen", &format!("{slept} {now} {chance}\n"))?;
        Ok(Summary::new(slept, "seconds"))
    }
}

sdk::export_step!(Guest);
