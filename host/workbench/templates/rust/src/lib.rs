//! Lists the images of the package in a file.

use sdk::formats::{COMPONENTS, Components};
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary};

/// What `configuration` of the step may hold.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// The first line of the file.
    title: String,
}

struct Plugin;

impl Step for Plugin {
    type Configuration = Configuration;
    const NAME: &'static str = "{{name}}";
    const SUMMARY: &'static str = "Lists the images of the package in a file";

    fn run(_: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let components: Components = inputs.get("manifests")?.read_json(COMPONENTS)?;
        output.write_text("{{name}}.txt", &listed(&configuration.title, &components.images))?;
        Ok(Summary::new(components.images.len() as u64, "images"))
    }
}

sdk::export_step!(Plugin);

/// The text: what decides is a plain function, which a test calls natively.
fn listed(title: &str, images: &[String]) -> String {
    let lines = images.iter().map(|image| format!("- {image}\n"));
    format!("{title}\n\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_image_is_a_line() {
        assert_eq!(super::listed("Images", &["a:1".to_owned()]), "Images\n\n- a:1\n");
    }
}
