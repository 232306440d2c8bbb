//! Says what its inputs hold.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "reads";
    const SUMMARY: &'static str = "Says what its inputs hold.";

    fn run(_: &Context, _: Value, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let mut seen = String::new();
        for name in inputs.names() {
            for entry in inputs.get(name)?.entries("")? {
                seen.push_str(&format!("{name} {} {:?} {}\n", entry.path, entry.kind, entry.size));
            }
        }
        let mut first = String::new();
        std::io::Read::read_to_string(&mut inputs.get("made")?.reader("a")?, &mut first)?;
        seen.push_str(&first);
        output.write_text("seen", &seen)?;
        inputs.get("made")?.read_text("absent").map(|_| Summary::new(0, "nothing"))
    }
}

sdk::export_step!(Guest);
