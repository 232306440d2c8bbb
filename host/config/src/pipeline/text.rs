//! pipeline.yaml as `init --pipeline` writes it.

use super::{OnFailure, Pipeline, Runner, StepSpec, Target};

impl Pipeline {
    /// The text of a pipeline.yaml with these steps, for `init --pipeline`.
    pub fn to_text(&self) -> String {
        let mut text = String::from(PIPELINE_HEADER);
        for step in &self.steps {
            text.push_str(&step_text(step));
        }
        text
    }
}

const PIPELINE_HEADER: &str = "\
# The steps of a build and their order. Remove this file to go back to the
# built-in pipeline, which is what `init --pipeline` writes here. Steps alone
# that are added to it stand under `additional_steps:` in place of `steps:`.
#
# A step runs when everything it `needs` is complete; steps that do not need
# each other run at the same time. The package is made when every step that
# does not come after it is complete: one that fails keeps it from being made.
#   run         host: config | images | files | repos, or plugin: <name>, which
#               is a core plugin or one that config/plugins.lock pins
#   before, after  steps that wait for this one, or that it waits for
#   on_failure  roll-back drops what a failed attempt made, preserve keeps it
#               for the next one
#   retries, timeout  how often it is tried again, and seconds for one attempt
#   publish     files of the step's output that become visible outside build/:
#               `to: dist`, and `to: config` for those of the plugin manifest
#   contribute  what of the step's output goes into the package: `into: files`,
#               `into: documentation` or `into: sboms`
#   local       files and folders of the project that the plugin reads
#   configuration  handed to the plugin as it is
steps:
";

fn step_text(step: &StepSpec) -> String {
    use model::yaml_text::{flow_scalar, scalar};
    let run = match &step.run {
        Runner::Host(step) => format!("host: {}", step.as_str()),
        Runner::Plugin(name) => format!("plugin: {}", flow_scalar(name)),
    };
    let mut text = format!("  - id: {}\n    name: {}\n    run: {{{run}}}\n", scalar(&step.id), scalar(&step.name));
    if !step.needs.is_empty() {
        let needs: Vec<String> = step.needs.iter().map(|need| flow_scalar(need)).collect();
        text.push_str(&format!("    needs: [{}]\n", needs.join(", ")));
    }
    let on_failure = match step.on_failure {
        OnFailure::RollBack => "roll-back",
        OnFailure::Preserve => "preserve",
    };
    text.push_str(&format!("    on_failure: {on_failure}\n"));
    if !step.publish.is_empty() {
        text.push_str("    publish:\n");
    }
    for publish in &step.publish {
        let to = match publish.to {
            Target::Config => "config",
            Target::Dist => "dist",
        };
        text.push_str(&format!("      - {{from: {}, to: {to}}}\n", flow_scalar(&publish.from)));
    }
    if !step.configuration.is_null() {
        // JSON is YAML.
        text.push_str(&format!("    configuration: {}\n", step.configuration));
    }
    text
}
