//! The steps and their order: the built-in pipeline, or config/pipeline.yaml.

use std::collections::BTreeMap;

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use crate::source::Source;
use crate::{plugins_lock, publish};
use base::error::{Error, Result};

pub use crate::publish::{Publish, Target};

/// The step that loads and checks the configuration; the host does it before
/// anything else.
pub const CONFIG: &str = "config";
/// The step that publishes the component manifest.
pub const MANIFESTS: &str = "manifests";

/// What the host itself can do in a step.
pub const HOST_STEPS: [&str; 4] = ["config", "images", "files", "repos"];

/// The steps in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    pub steps: Vec<StepSpec>,
}

/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    pub id: String,
    /// For people: "Container images".
    pub name: String,
    /// What does the work.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub run: Runner,
    /// Step ids whose trees this step reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    pub on_failure: OnFailure,
    /// Files of the step's tree that are published outside build/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// Handed to the plugin as JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub configuration: serde_json::Value,
}

/// `host: images` or `plugin: manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// A step of the host: `config`, `images`, `files`, `repos`.
    Host(String),
    /// A plugin by name: a core plugin, or one pinned in plugins.lock.
    Plugin(String),
}

/// What happens to the staging of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    RollBack,
    Preserve,
}

impl StepSpec {
    /// Whether it does what the step `manifests` lists with rights that no
    /// plugin was granted: as a step of the host, and as a core plugin that
    /// reads that list.
    fn trusts_the_list(&self) -> bool {
        match &self.run {
            Runner::Host(name) => name != CONFIG,
            Runner::Plugin(name) => {
                plugins_lock::core(name).is_some() && self.needs.iter().any(|need| need == MANIFESTS)
            }
        }
    }
}

impl Pipeline {
    /// The pipeline of every project that has no pipeline.yaml.
    pub fn built_in() -> Self {
        let step = |id: &str, name: &str, run: Runner, needs: &[&str], on_failure: OnFailure, publish: Vec<Publish>| {
            StepSpec {
                id: id.to_owned(),
                name: name.to_owned(),
                run,
                needs: needs.iter().map(|need| (*need).to_owned()).collect(),
                on_failure,
                publish,
                configuration: serde_json::Value::Null,
            }
        };
        let host = |name: &str| Runner::Host(name.to_owned());
        let plugin = |name: &str| Runner::Plugin(name.to_owned());
        let publish = |from: &[&str], to: Target| -> Vec<Publish> {
            from.iter().map(|from| Publish { from: (*from).to_owned(), to }).collect()
        };
        let sources = ["manifests", "images", "files", "repos", "charts"];
        let made = ["manifests", "images", "files", "repos", "charts", "zarf_gen"];
        let everything = ["manifests", "images", "files", "repos", "charts", "zarf_gen", "sbom"];
        let manifests = publish(&["components.yaml", "components.base.yaml"], Target::Config);
        let package = publish(
            &["*.tar.zst", "*.tar", "*.sha256", "*.manifest.json", "*.spdx.json", "artifact-manifest.json"],
            Target::Dist,
        );
        use OnFailure::{Preserve, RollBack};
        Self {
            steps: vec![
                step("config", "Configuration", host("config"), &[], RollBack, Vec::new()),
                step("manifests", "Component manifest", plugin("manifest"), &["config"], RollBack, manifests),
                step("images", "Container images", host("images"), &["manifests"], Preserve, Vec::new()),
                step("files", "Binaries and tools", host("files"), &["manifests"], Preserve, Vec::new()),
                step("repos", "Git repositories", host("repos"), &["manifests"], Preserve, Vec::new()),
                step("charts", "Helm charts", plugin("charts"), &["manifests"], Preserve, Vec::new()),
                step("zarf_gen", "zarf.yaml", plugin("zarf-yaml"), &sources, RollBack, Vec::new()),
                step("sbom", "SBOMs", plugin("sbom"), &made, RollBack, Vec::new()),
                step("package", "Zarf package", plugin("package"), &everything, RollBack, package),
            ],
        }
    }

    /// Reads a pipeline.yaml.
    ///
    /// # Errors
    /// `configuration` with the line of every problem.
    pub fn parse(source: &Source) -> Result<Self> {
        let (pipeline, _) = source.checked(None, Self::problems)?;
        Ok(pipeline)
    }

    /// # Errors
    /// `configuration`: unknown needs, cycles, duplicate or bad ids.
    pub fn check(&self) -> Result<()> {
        match self.problems().into_iter().next() {
            None => Ok(()),
            Some(problem) => Err(Error::configuration(format!("the pipeline: {problem}")).hint(problem.hint)),
        }
    }

    /// Everything that is wrong, in the order of the file.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let section = YamlPath::root().key("steps");
        if self.steps.is_empty() {
            problems.push(Problem::new(
                &section,
                "there are no steps",
                "`opencenter-airgap init --pipeline` writes the built-in ones",
            ));
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            let path = section.index(index);
            self.step_problems(step, &path, &mut problems);
            if let Some(first) = seen.insert(&step.id, index) {
                problems.push(Problem::new(
                    &path.key("id"),
                    format!("a second step has the id `{}`; the first is steps[{first}]", shown(&step.id)),
                    "give every step an id of its own",
                ));
            }
        }
        problems.extend(publish::problems(&self.steps));
        problems.extend(self.list_problem());
        if problems.is_empty() {
            problems.extend(self.cycle());
        }
        problems
    }

    /// The host and the core plugins do what the step `manifests` lists, with
    /// the host's own rights: no plugin gets them by taking that id.
    fn list_problem(&self) -> Option<Problem> {
        let reader = self.steps.iter().find(|step| step.trusts_the_list())?;
        let index = self.steps.iter().position(|step| step.id == MANIFESTS)?;
        let run = match &self.steps[index].run {
            Runner::Plugin(name) if name == publish::MANIFEST => return None,
            Runner::Plugin(name) | Runner::Host(name) => name,
        };
        Some(Problem::new(
            &YamlPath::root().key("steps").index(index).key("run"),
            format!(
                "the host does what the step `{MANIFESTS}` lists, with your credentials (`{}` does), and it runs `{}`",
                shown(&reader.id),
                shown(run)
            ),
            format!(
                "let it run the plugin `{}`, give the step another id, or put a plugin in the place of that one with \
                 `plugin add --replace-core`",
                publish::MANIFEST
            ),
        ))
    }

    fn step_problems(&self, step: &StepSpec, path: &YamlPath, problems: &mut Vec<Problem>) {
        if !is_id(&step.id) {
            problems.push(Problem::new(
                &path.key("id"),
                format!("`{}` is no step id", shown(&step.id)),
                "use at most 63 lowercase letters, digits, `_` and `-`, a letter first",
            ));
        }
        match &step.run {
            Runner::Host(name) if !HOST_STEPS.contains(&name.as_str()) => problems.push(Problem::new(
                &path.key("run").key("host"),
                format!("the host has no step `{}`", shown(name)),
                format!("there are: {}; everything else is a plugin", HOST_STEPS.join(", ")),
            )),
            Runner::Plugin(name) if !is_id(name) => problems.push(Problem::new(
                &path.key("run").key("plugin"),
                format!("`{}` is no plugin name", shown(name)),
                "use at most 63 lowercase letters, digits, `_` and `-`, a letter first",
            )),
            _ => {}
        }
        for (index, need) in step.needs.iter().enumerate() {
            let at = path.key("needs").index(index);
            if *need == step.id {
                problems.push(Problem::new(
                    &at,
                    format!("the step `{need}` needs itself"),
                    "remove it from its `needs`",
                ));
            } else if !self.steps.iter().any(|other| other.id == *need) {
                let ids: Vec<&str> = self.steps.iter().map(|step| step.id.as_str()).collect();
                problems.push(Problem::new(
                    &at,
                    format!("the step `{}` needs `{}`, which does not exist", shown(&step.id), shown(need)),
                    format!("there are: {}", ids.join(", ")),
                ));
            }
        }
        if !step.configuration.is_null() && !step.configuration.is_object() {
            problems.push(Problem::new(&path.key("configuration"), "is not a mapping", "write `key: value` lines"));
        }
    }

    /// The first cycle, as the way around it.
    fn cycle(&self) -> Option<Problem> {
        let index_of = |id: &str| self.steps.iter().position(|step| step.id == id);
        let mut done = vec![false; self.steps.len()];
        for start in 0..self.steps.len() {
            // Depth first with an explicit way: each entry is a step and how
            // many of its needs were followed already.
            let mut way: Vec<(usize, usize)> = vec![(start, 0)];
            while let Some((step, followed)) = way.pop() {
                if done[step] {
                    continue;
                }
                let Some(need) = self.steps[step].needs.get(followed) else {
                    done[step] = true;
                    continue;
                };
                way.push((step, followed + 1));
                let Some(next) = index_of(need) else { continue };
                if let Some(from) = way.iter().position(|(on_way, _)| *on_way == next) {
                    let mut ids: Vec<&str> = way[from..].iter().map(|(at, _)| self.steps[*at].id.as_str()).collect();
                    ids.push(&self.steps[next].id);
                    return Some(Problem::new(
                        &YamlPath::root().key("steps").index(next).key("needs"),
                        format!("the steps need each other in a circle: {}", ids.join(" → ")),
                        "remove one of these needs",
                    ));
                }
                way.push((next, 0));
            }
        }
        None
    }

    pub fn step(&self, id: &str) -> Option<&StepSpec> {
        self.steps.iter().find(|step| step.id == id)
    }

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
# built-in pipeline, which is what `init --pipeline` writes here.
#
# A step runs when everything it `needs` is complete; steps that do not need
# each other run at the same time.
#   run         host: config | images | files | repos, or plugin: <name>, which
#               is a core plugin or one that config/plugins.lock pins
#   on_failure  roll-back drops what a failed attempt made, preserve keeps it
#               for the next one
#   publish     files of the step's output that become visible outside build/:
#               `to: dist`, and `to: config` for those of the plugin manifest
#   configuration  handed to the plugin as it is
steps:
";

fn step_text(step: &StepSpec) -> String {
    use model::yaml_text::{flow_scalar, scalar};
    let run = match &step.run {
        Runner::Host(name) => format!("host: {}", flow_scalar(name)),
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

/// Step ids and plugin names: they become file names and table columns.
fn is_id(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pipeline> {
        Pipeline::parse(&Source::of("config/pipeline.yaml".into(), text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_built_in_pipeline_is_sound_and_survives_its_own_text() {
        let built_in = Pipeline::built_in();
        built_in.check().unwrap();
        assert_eq!(parse(&built_in.to_text()).unwrap(), built_in);
        let ids: Vec<&str> = built_in.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["config", "manifests", "images", "files", "repos", "charts", "zarf_gen", "sbom", "package"]);
        let published: Vec<&str> = built_in.steps[8].publish.iter().map(|publish| publish.from.as_str()).collect();
        assert!(published.contains(&"*.tar") && published.contains(&"*.tar.zst"), "packages come in both forms");
    }

    #[test]
    fn a_step_with_configuration_survives_its_text() {
        let mut pipeline = Pipeline::built_in();
        pipeline.steps[1].configuration = serde_json::json!({"a": ["b: c", 1], "d": null});
        assert_eq!(parse(&pipeline.to_text()).unwrap(), pipeline);
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_line() {
        let step = |id: &str, rest: &str| {
            format!("  - {{id: {id}, name: n, run: {{plugin: p}}, on_failure: roll-back{rest}}}\n")
        };
        for (steps, place, word) in [
            ("  []\n".to_owned(), "2:3", "no steps"),
            (step("a", "") + &step("a", ""), "3:10", "second step has the id `a`"),
            (step("A", ""), "2:10", "no step id"),
            (step("a", ", needs: [b]"), "2:", "needs `b`, which does not exist"),
            (step("a", ", needs: [a]"), "2:", "needs itself"),
            (
                step("a", ", needs: [c]") + &step("b", ", needs: [a]") + &step("c", ", needs: [b]"),
                "2:",
                "a → c → b → a",
            ),
            (step("a", ", publish: [{from: ../x, to: dist}]"), "2:", "`..`"),
            (step("a", ", publish: [{from: x, to: home}]"), "2:", "unknown variant `home`"),
            (step("a", ", publish: [{from: plugins.lock, to: config}]"), "2:", "not published into config/"),
            (step("a", ", publish: [{from: artifact-manifest.json, to: dist}]"), "2:", "name of the package"),
            (
                step("a", ", publish: [{from: x, to: dist}]") + &step("b", ", publish: [{from: X, to: dist}]"),
                "3:",
                "the step `a` publishes a file of the name `X`",
            ),
            (step("a", ", configuration: [1]"), "2:", "not a mapping"),
            (step("a", ", when: x"), "2:", "unknown field `when`"),
            ("  - {id: a, name: n, run: {host: pictures}, on_failure: preserve}\n".into(), "2:", "no step `pictures`"),
            ("  - {id: a, name: n, run: {shell: x}, on_failure: preserve}\n".into(), "2:", "unknown variant `shell`"),
        ] {
            let error = parse(&format!("steps:\n{steps}")).unwrap_err();
            let expected = format!("config/pipeline.yaml:{place}");
            assert!(
                error.message().starts_with(&expected) && error.message().contains(word),
                "{steps}: {}",
                error.message()
            );
        }
    }
}
