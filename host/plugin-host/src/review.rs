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
use config::source::Source;
use entitlement::grants::{Grants, Rules};
use model::problem::YamlPath;

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
    let is_granted = |want: &Want| match want {
        Want::Fetch(prefix) => source.rules().is_ok_and(|rules| rules.covers(prefix)),
        Want::Directories => source.is_core() || source.wants_directories(),
    };
    let right = |want: &Want| Right { grant: want.to_string(), granted: is_granted(want) };
    description.wants.iter().map(right).collect()
}

/// The grants that no want of a plugin asks for: each as it stands under
/// `grants`, with its key there.
pub fn unwanted(description: &Description, grants: &Grants) -> Vec<(&'static str, String)> {
    let wanted: Vec<String> = description
        .wants
        .iter()
        .filter_map(|want| if let Want::Fetch(prefix) = want { Some(prefix.clone()) } else { None })
        .collect();
    let rules = |fetch: &[String]| Rules::new(&Grants { fetch: fetch.to_vec(), ..Grants::default() }).ok();
    // What is granted more widely, or more narrowly, than it is wanted is wanted.
    let is_wanted = |prefix: &String| {
        let granted = rules(std::slice::from_ref(prefix));
        let wants = wanted.iter().any(|want| granted.as_ref().is_some_and(|granted| granted.covers(want)));
        let covers = |want: &String| rules(std::slice::from_ref(want)).is_some_and(|want| want.covers(prefix));
        wants || wanted.iter().any(covers)
    };
    let mut found: Vec<(&'static str, String)> =
        grants.fetch.iter().filter(|prefix| !is_wanted(prefix)).map(|prefix| ("fetch", prefix.clone())).collect();
    if grants.directories && !description.wants.contains(&Want::Directories) {
        found.push(("directories", "true".to_owned()));
    }
    found
}

impl Runtime {
    /// Looks at every pinned plugin that the pipeline names. Gives warnings
    /// about rights that are wanted and not granted, and the other way round. What can not be described
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
            let misfits = self.misfits(&source, &description, own(step), progress).await?;
            refuse_misfit(step, name, &misfits)?;
            let missing = rights(&description, &source).into_iter().filter(|right| !right.granted);
            warnings.extend(missing.map(|right| {
                let Right { grant, .. } = right;
                format!(
                    "the plugin `{name}` of step `{}` wants `{grant}`, which config/plugins.lock does not grant",
                    step.id
                )
            }));
            let granted = source.grants().cloned().unwrap_or_default();
            warnings.extend(told_unwanted(project, name, &unwanted(&description, &granted))?);
        }
        Ok(warnings)
    }
}

/// Rights that nobody needs are told with their lines: taken away, they can not
/// be misused.
fn told_unwanted(project: &Project, name: &str, unwanted: &[(&'static str, String)]) -> Result<Vec<String>> {
    if unwanted.is_empty() {
        return Ok(Vec::new());
    }
    let Some(source) = Source::read(&project.layout.plugins_lock())? else { return Ok(Vec::new()) };
    let (_, spans) = source.yaml::<serde_yaml::Value>()?;
    let grants = YamlPath::root().key("plugins").key(name).key("grants");
    let told = unwanted.iter().map(|(key, value)| {
        let place = source.place_of(&spans, &grants.key(key));
        format!("{place}: the plugin `{name}` is granted `{key}: {value}`, which it does not say it wants: take it away, unless you know better")
    });
    Ok(told.collect())
}

/// What stands in the pipeline; the host adds the rest.
pub fn own(step: &StepSpec) -> Value {
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
    fn what_is_granted_and_not_wanted_is_known() {
        let fetch = |prefixes: &[&str]| prefixes.iter().map(|&prefix| prefix.to_owned()).collect::<Vec<_>>();
        let given = |fetch, directories| Grants { fetch, directories, ..Grants::default() };
        let narrower = given(fetch(&["https://example.com/", "https://example.com/a/b/"]), true);
        assert_eq!(unwanted(&description(), &narrower), []);
        let more = given(fetch(&["https://example.com/c/", "r.example/team/"]), true);
        let found = unwanted(&description(), &more);
        assert_eq!(found, [("fetch", "https://example.com/c/".to_owned()), ("fetch", "r.example/team/".to_owned())]);
        let nothing = Description { wants: Vec::new(), ..description() };
        assert_eq!(unwanted(&nothing, &given(Vec::new(), true)), [("directories", "true".to_owned())]);
    }

    #[test]
    fn what_the_host_fills_in_is_not_missed() {
        let mut step = config::pipeline::Pipeline::built_in().steps.remove(1);
        let misfits = |step: &StepSpec| {
            schema::problems(
                &description().configuration_schema,
                &own(step),
                "configuration",
                &crate::described::PROVIDED,
            )
        };
        let error = refuse_misfit(&step, "x", &misfits(&step)).unwrap_err();
        assert!(error.message().ends_with("`configuration.own` is missing"), "{error}");
        step.configuration = serde_json::json!({"own": 1});
        refuse_misfit(&step, "x", &misfits(&step)).unwrap();
    }
}
