//! Fetches what it is told to.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "fetches";
    const SUMMARY: &'static str = "Fetches what it is told to.";

    fn run(_: &Context, configuration: Value, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let url = configuration["url"].as_str().unwrap_or_default();
        let mut request = match url.strip_prefix("oci://") {
            Some(reference) => sdk::fetch::Request::oci_manifest(reference, "fetched", "what was asked"),
            None => sdk::fetch::Request::url(url, "fetched", "what was asked"),
        };
        if let Some(digest) = configuration["sha256"].as_str() {
            request = request.sha256(digest);
        }
        request.mutable = configuration["mutable"].as_bool().unwrap_or_default();
        let artifact = sdk::fetch::one(request, output)?;
        let content = output.read("fetched", 1 << 20)?;
        Ok(Summary::new(artifact.size, "bytes").message(String::from_utf8_lossy(&content)))
    }
}

sdk::export_step!(Guest);
