//! What can be said of the pinned plugins of a pipeline before any step runs:
//! rights that they want and do not have, and configurations that do not fit.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Runtime;
use super::catalog::{self, PluginSource};
use super::description::{Description, Want};
use base::error::{Error, Result};
use base::progress::Progress;
use config::Project;
use config::pipeline::{Runner, StepSpec};

/// What the host tells every step beside its own configuration.
const PROVIDED: [&str; 7] =
    ["package", "architecture", "force_regenerate", "strict_images", "plugins", "format", "contributions"];

/// Something that a plugin would like to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Right {
    /// As it stands under `grants` in plugins.lock: `fetch: https://…`.
    pub grant: String,
    /// Whether plugins.lock grants it.
    pub granted: bool,
}

/// What a plugin wants, and whether it has it.
pub fn rights(description: &Description, source: &PluginSource) -> Vec<Right> {
    let right = |want: &Want| match want {
        Want::Fetch(prefix) => {
            let granted = source.rules().is_ok_and(|rules| rules.covers(prefix));
            Right { grant: format!("fetch: {prefix}"), granted }
        }
        Want::Directories => {
            let granted = source.is_core() || source.wants_directories();
            Right { grant: "directories: true".to_owned(), granted }
        }
    };
    description.wants.iter().map(right).collect()
}

impl Runtime {
    /// Looks at every pinned plugin that the pipeline names. Gives warnings
    /// about rights that are wanted and not granted. What can not be described
    /// is left to the step, whose failure says why; what can not be compiled
    /// is refused here, before its step would try it again.
    ///
    /// # Errors
    /// `configuration` where a step's configuration does not fit the plugin's
    /// schema, and where a plugin is not there; `plugin` where it can not be
    /// compiled.
    pub async fn review(self: &Arc<Self>, project: &Project, progress: &Progress) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for step in &project.pipeline.steps {
            let Runner::Plugin(name) = &step.run else { continue };
            if project.plugin_pins.pin(name).is_none() {
                continue;
            }
            let source = catalog::find(name, &project.plugin_pins)?;
            let description = match self.describe(&source, progress).await {
                Ok(description) => description,
                Err(error) if self.is_refused(source.digest) => return Err(error),
                Err(_) => continue,
            };
            let misfits = self.misfits(&source, &description, own(step), &PROVIDED, progress).await?;
            refuse_misfit(step, name, &misfits)?;
            let missing = rights(&description, &source).into_iter().filter(|right| !right.granted);
            warnings.extend(missing.map(|right| {
                let Right { grant, .. } = right;
                format!(
                    "the plugin `{name}` of step `{}` wants `{grant}`, which config/plugins.lock does not grant",
                    step.id
                )
            }));
        }
        Ok(warnings)
    }
}

impl Runtime {
    /// What of a step's own configuration does not fit its plugin.
    ///
    /// # Errors
    /// `plugin` where a limit was met, `local`.
    pub async fn misfit(
        self: &Arc<Self>,
        source: &PluginSource,
        description: &Description,
        configuration: Value,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        self.misfits(source, description, configuration, &PROVIDED, progress).await
    }
}

/// What stands in the pipeline; the host adds the rest.
fn own(step: &StepSpec) -> Value {
    if step.configuration.is_null() { Value::Object(Map::new()) } else { step.configuration.clone() }
}

fn refuse_misfit(step: &StepSpec, plugin: &str, misfits: &[String]) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    let at = step.written.as_ref().map_or("config/pipeline.yaml", |written| written.configuration.as_str());
    let message = format!("{at}: step `{}` does not fit its plugin: {}", step.id, misfits.join("; "));
    Err(Error::configuration(message)
        .hint(format!("`opencenter-airgap plugin inspect {plugin}` shows what the plugin accepts")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;
    use entitlement::grants::Grants;

    fn description() -> Description {
        Description {
            name: "x".into(),
            version: "1".into(),
            summary: String::new(),
            configuration_schema: serde_json::json!({"required": ["package", "own"]}),
            wants: vec![Want::Fetch("https://example.com/a/".into()), Want::Directories],
        }
    }

    #[test]
    fn what_is_wanted_and_not_granted_is_known() {
        let source = |grants| PluginSource::new("x", "1", Vec::new(), grants).unwrap();
        let granted = |grants| rights(&description(), &source(grants)).into_iter().map(|right| right.granted);
        assert!(granted(Grants::default()).all(|granted| !granted));
        let all = Grants { fetch: vec!["https://example.com/".into()], directories: true, ..Grants::default() };
        assert!(granted(all).all(|granted| granted));
    }

    #[test]
    fn what_the_host_fills_in_is_not_missed() {
        let mut step = config::pipeline::Pipeline::built_in().steps.remove(1);
        let misfits = |step: &StepSpec| {
            schema::problems(&description().configuration_schema, &own(step), "configuration", &PROVIDED)
        };
        let error = refuse_misfit(&step, "x", &misfits(&step)).unwrap_err();
        assert!(error.message().ends_with("`configuration.own` is missing"), "{error}");
        step.configuration = serde_json::json!({"own": 1});
        refuse_misfit(&step, "x", &misfits(&step)).unwrap();
    }
}
