//! The steps and their order: the built-in pipeline, what config/pipeline.yaml
//! adds to it, or the pipeline that stands there whole.
//!
//! [`file`](self::file) reads the file, `order` says what waits for what, and
//! [`Pipeline::problems`] what is wrong with it all.

use std::collections::{BTreeMap, BTreeSet};

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use crate::airgap_lock::CHARTS;
use crate::settings::Discover;
use crate::source::Source;
use crate::{contribute, limits, local, plugins_lock, publish};
use base::error::{Error, Result};

pub use crate::contribute::{Contribution, PackagePart};
pub use crate::publish::{Publish, Target};

mod file;
mod order;

/// The step that loads and checks the configuration; the host does it before
/// anything else.
pub const CONFIG: &str = "config";
/// The step that publishes the component manifest.
pub const MANIFESTS: &str = "manifests";
/// The plugin that renders charts.
pub const RENDER: &str = "helm-render";
/// The plugin that finds what they deploy, and the step that runs it.
pub const DISCOVER: &str = "discover";

/// The steps: those of a whole pipeline in the order of the file, else each
/// after what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pipeline {
    /// In the order of the file, which need not be the one in which they run.
    pub steps: Vec<StepSpec>,
}

/// One step of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Unique in the pipeline, and the name of its tree: `images`.
    pub id: String,
    /// For people: "Container images". The id where it is missing.
    #[serde(default)]
    pub name: String,
    /// What does the work.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub run: Runner,
    /// Step ids whose trees this step reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Step ids that wait for this one, without reading its tree.
    #[serde(default, deserialize_with = "file::one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Step ids that this one waits for, without reading their trees.
    #[serde(default, deserialize_with = "file::one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What becomes of an attempt that failed.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How often it is tried again; `retries.steps` of settings.yaml where it
    /// is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Seconds that one attempt of a plugin may take; `plugins.step_limit` of
    /// settings.yaml where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Files of the step's tree that are published outside build/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// What of the step's tree goes into the package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contribute: Vec<Contribution>,
    /// Files and folders of the project that the plugin reads: local paths as
    /// components.yaml writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// Handed to the plugin as JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub configuration: serde_json::Value,
    /// None of a built-in step.
    #[serde(skip)]
    pub written: Option<Written>,
}

/// Where a step stands in pipeline.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The path of the step in the document: `steps[2]`.
    pub path: YamlPath,
    /// Of its configuration, else of itself: `config/pipeline.yaml:12:5`.
    pub configuration: String,
}

/// `host: images` or `plugin: manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// A step of the host.
    Host(HostStep),
    /// A plugin by name: a core plugin, or one pinned in plugins.lock.
    Plugin(String),
}

/// What the host itself does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStep {
    /// Loads and checks the configuration, before anything else. The step of
    /// the id [`CONFIG`], and no other.
    Config,
    /// Container images.
    Images,
    /// Binaries and archives.
    Files,
    /// Git repositories.
    Repos,
}

impl HostStep {
    /// In the order of the built-in pipeline.
    pub const ALL: [Self; 4] = [Self::Config, Self::Images, Self::Files, Self::Repos];

    /// As pipeline.yaml calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => CONFIG,
            Self::Images => "images",
            Self::Files => "files",
            Self::Repos => "repos",
        }
    }
}

/// What happens to the staging of a failed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing of it remains.
    #[default]
    RollBack,
    /// Its journal and what it marked as complete stay for the next attempt.
    Preserve,
}

/// How often a step may say that it is tried again.
const MOST_RETRIES: u32 = 20;

impl StepSpec {
    /// A step of this id and name that waits for nothing.
    pub fn new(id: &str, run: Runner) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            run,
            needs: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            on_failure: OnFailure::RollBack,
            retries: None,
            timeout: None,
            publish: Vec::new(),
            contribute: Vec::new(),
            local: Vec::new(),
            configuration: serde_json::Value::Null,
            written: None,
        }
    }

    /// Whether it runs the plugin of this name: the core plugin, or the one that
    /// plugins.lock lets take its place.
    pub fn runs(&self, plugin: &str) -> bool {
        matches!(&self.run, Runner::Plugin(name) if name == plugin)
    }

    /// Where it stands in pipeline.yaml; the root for a built-in step.
    pub fn place(&self) -> YamlPath {
        self.written.as_ref().map_or_else(YamlPath::root, |written| written.path.clone())
    }

    /// Whether it does what the step `manifests` lists with rights that no
    /// plugin was granted: as a step of the host, and as a core plugin that
    /// reads that list.
    fn trusts_the_list(&self) -> bool {
        match &self.run {
            Runner::Host(step) => *step != HostStep::Config,
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
            let needs = needs.iter().map(|need| (*need).to_owned()).collect();
            StepSpec { name: name.to_owned(), needs, on_failure, publish, ..StepSpec::new(id, run) }
        };
        let host = Runner::Host;
        let plugin = |name: &str| Runner::Plugin(name.to_owned());
        let publish = |from: &[&str], to: Target| -> Vec<Publish> {
            from.iter().map(|from| Publish { from: (*from).to_owned(), to }).collect()
        };
        let sources = ["manifests", "images", "files", "repos", "charts"];
        let found = ["manifests", "charts", "render"];
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
                step("config", "Configuration", host(HostStep::Config), &[], RollBack, Vec::new()),
                step("manifests", "Component manifest", plugin("manifest"), &["config"], RollBack, manifests),
                step("images", "Container images", host(HostStep::Images), &["manifests"], Preserve, Vec::new()),
                step("files", "Binaries and tools", host(HostStep::Files), &["manifests"], Preserve, Vec::new()),
                step("repos", "Git repositories", host(HostStep::Repos), &["manifests"], Preserve, Vec::new()),
                step("charts", "Helm charts", plugin("charts"), &["manifests"], Preserve, Vec::new()),
                step("render", "Rendered charts", plugin("helm-render"), &["charts"], RollBack, Vec::new()),
                step("discover", "Images of charts", plugin("discover"), &found, RollBack, Vec::new()),
                step("zarf_gen", "zarf.yaml", plugin("zarf-yaml"), &sources, RollBack, Vec::new()),
                step("sbom", "SBOMs", plugin("sbom"), &made, RollBack, Vec::new()),
                step("package", "Zarf package", plugin("package"), &everything, RollBack, package),
            ],
        }
    }

    /// What a setting makes of it: charts that are not to be rendered need no step of
    /// the built-in pipeline, and what is added to the package is known to those who
    /// pull, define and list it.
    #[must_use]
    pub fn discovering(mut self, discover: Discover) -> Self {
        if discover == Discover::Off {
            self.steps.retain(|step| step.written.is_some() || !step.runs(RENDER));
        }
        let ids: BTreeSet<String> = self.steps.iter().map(|step| step.id.clone()).collect();
        let finder = self.steps.iter().find(|step| step.runs(DISCOVER)).map(|step| step.id.clone());
        for step in &mut self.steps {
            if step.written.is_none() {
                step.needs.retain(|need| ids.contains(need));
            }
            let reads = step.run == Runner::Host(HostStep::Images) || step.runs("zarf-yaml") || step.runs("package");
            let is_new = |finder: &&String| reads && discover == Discover::Add && !step.needs.contains(finder);
            let added: Vec<String> = finder.iter().filter(is_new).cloned().collect();
            step.needs.extend(added);
        }
        self
    }

    /// Reads a pipeline.yaml.
    ///
    /// # Errors
    /// `configuration` with the line of every problem.
    pub fn parse(source: &Source) -> Result<Self> {
        file::parse(source)
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
        if self.steps.is_empty() {
            problems.push(Problem::new(
                &YamlPath::root().key("steps"),
                "there are no steps",
                "`opencenter-airgap init --pipeline` writes the built-in ones",
            ));
        }
        let mut seen: BTreeMap<&str, &StepSpec> = BTreeMap::new();
        for step in &self.steps {
            self.step_problems(step, &mut problems);
            match seen.get(step.id.as_str()) {
                Some(first) => problems.push(second(first, step)),
                None => drop(seen.insert(&step.id, step)),
            }
        }
        problems.extend(publish::problems(&self.steps));
        problems.extend(contribute::problems(self));
        problems.extend(self.list_problem());
        if problems.is_empty() {
            problems.extend(self.cycle());
        }
        problems
    }

    /// Has the step that bundles charts wait for the one that clones
    /// repositories, and read its tree: some of its charts lie in there.
    pub(crate) fn charts_need_repositories(&mut self) {
        let is_clone = |spec: &&StepSpec| spec.run == Runner::Host(HostStep::Repos);
        let Some(repositories) = self.steps.iter().find(is_clone).map(|spec| spec.id.clone()) else { return };
        let is_charts = |spec: &&mut StepSpec| matches!(&spec.run, Runner::Plugin(name) if name == CHARTS);
        for spec in self.steps.iter_mut().filter(is_charts).filter(|spec| !spec.needs.contains(&repositories)) {
            spec.needs.push(repositories.clone());
        }
    }

    /// The host and the core plugins do what the step `manifests` lists, with
    /// the host's own rights: no plugin gets them by taking that id.
    fn list_problem(&self) -> Option<Problem> {
        let reader = self.steps.iter().find(|step| step.trusts_the_list())?;
        let list = self.steps.iter().find(|step| step.id == MANIFESTS)?;
        let run = match &list.run {
            Runner::Plugin(name) if name == publish::MANIFEST => return None,
            Runner::Plugin(name) => name,
            Runner::Host(step) => step.as_str(),
        };
        Some(Problem::new(
            &list.place().key("run"),
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

    fn step_problems(&self, step: &StepSpec, problems: &mut Vec<Problem>) {
        let path = &step.place();
        if !is_id(&step.id) {
            problems.push(Problem::new(
                &path.key("id"),
                format!("`{}` is no step id", shown(&step.id)),
                "use at most 63 lowercase letters, digits, `_` and `-`, a letter first",
            ));
        }
        match &step.run {
            run if (step.id == CONFIG) != (*run == Runner::Host(HostStep::Config)) => problems.push(Problem::new(
                &path.key("run"),
                format!("the step `{CONFIG}` and the host's `{CONFIG}` are one: it is loaded before anything runs"),
                format!("write `id: {CONFIG}` and `run: {{host: {CONFIG}}}`, or another id and another runner"),
            )),
            Runner::Plugin(name) if !is_id(name) => problems.push(Problem::new(
                &path.key("run").key("plugin"),
                format!("`{}` is no plugin name", shown(name)),
                "use at most 63 lowercase letters, digits, `_` and `-`, a letter first",
            )),
            _ => {}
        }
        problems.extend(self.order_problems(step));
        problems.extend(patience_problems(step));
        problems.extend(local_problems(step));
        if !step.configuration.is_null() && !step.configuration.is_object() {
            problems.push(Problem::new(&path.key("configuration"), "is not a mapping", "write `key: value` lines"));
        }
    }

    /// The local paths that steps read, each with its place.
    pub(crate) fn local_paths(&self) -> Vec<(YamlPath, String)> {
        self.steps.iter().flat_map(local_paths).collect()
    }

    /// The step with this id; None where there is none.
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

/// Two steps of one id, the first of which may be a built-in one.
fn second(first: &StepSpec, step: &StepSpec) -> Problem {
    let (at, id) = (step.place().key("id"), shown(&step.id));
    match &first.written {
        Some(Written { path, .. }) => Problem::new(
            &at,
            format!("a second step has the id `{id}`; the first is {path}"),
            "give every step an id of its own",
        ),
        None => Problem::new(
            &at,
            format!("the built-in pipeline has a step `{id}` already"),
            "give this one another id; `opencenter-airgap init --pipeline` writes the built-in steps down, to be changed",
        ),
    }
}

fn local_paths(step: &StepSpec) -> impl Iterator<Item = (YamlPath, String)> {
    let section = step.place().key("local");
    step.local.iter().enumerate().map(move |(index, written)| (section.index(index), written.clone()))
}

/// What is wrong with the local paths of a step as they are written.
fn local_problems(step: &StepSpec) -> Vec<Problem> {
    if let (Runner::Host(host), false) = (&step.run, step.local.is_empty()) {
        let message = format!("the host's step `{}` reads no files of the project", host.as_str());
        return vec![Problem::new(&step.place().key("local"), message, "remove the line")];
    }
    local_paths(step).filter_map(|(place, written)| local::problem(&written, &place)).collect()
}

/// What a step says about being tried again, and for how long.
fn patience_problems(step: &StepSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(retries) = step.retries.filter(|retries| *retries > MOST_RETRIES) {
        problems.push(Problem::new(
            &step.place().key("retries"),
            format!("`{retries}` is no number of retries"),
            format!("write a number from 0 to {MOST_RETRIES}"),
        ));
    }
    let Some(timeout) = step.timeout else { return problems };
    let at = step.place().key("timeout");
    let allowed = limits::Limit::StepTime.range();
    if let Runner::Host(host) = step.run {
        let message = format!("the host's step `{}` has no time limit", host.as_str());
        problems.push(Problem::new(&at, message, "remove the line: what the host fetches takes as long as it takes"));
    } else if !allowed.contains(&timeout) {
        let (from, to) = (allowed.start(), allowed.end());
        let message = format!("`{timeout}` is no number of seconds that a step may take");
        problems.push(Problem::new(&at, message, format!("write a number from {from} to {to}")));
    }
    problems
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
#   contribute  what of the step's output goes into the package: `into: files`
#               or `into: documentation`
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

    fn unplaced(mut pipeline: Pipeline) -> Pipeline {
        pipeline.steps.iter_mut().for_each(|step| step.written = None);
        pipeline
    }

    #[test]
    fn the_built_in_pipeline_is_sound_and_survives_its_own_text() {
        let built_in = Pipeline::built_in();
        built_in.check().unwrap();
        assert_eq!(unplaced(parse(&built_in.to_text()).unwrap()), built_in);
        let ids: Vec<&str> = built_in.steps.iter().map(|step| step.id.as_str()).collect();
        let first = ["config", "manifests", "images", "files", "repos", "charts"];
        let then = ["render", "discover", "zarf_gen", "sbom", "package"];
        assert_eq!(ids, [&first[..], &then[..]].concat());
        let published: Vec<&str> = built_in.steps[10].publish.iter().map(|publish| publish.from.as_str()).collect();
        assert!(published.contains(&"*.tar") && published.contains(&"*.tar.zst"), "packages come in both forms");
    }

    /// Guards who waits for what is found in charts: nobody but the package, unless it
    /// is added to the package.
    #[test]
    fn a_setting_says_what_becomes_of_charts() {
        let with = |discover| {
            let pipeline = Pipeline::built_in().discovering(discover);
            pipeline.check().unwrap();
            pipeline
        };
        let reads = |pipeline: &Pipeline| -> Vec<String> {
            let reads = pipeline.steps.iter().filter(|step| step.needs.iter().any(|need| need == DISCOVER));
            reads.map(|step| step.id.clone()).collect()
        };
        assert_eq!(with(Discover::Report), Pipeline::built_in());
        assert_eq!(reads(&with(Discover::Report)), [""; 0]);
        assert_eq!(reads(&with(Discover::Add)), ["images", "zarf_gen", "package"]);
        let off = with(Discover::Off);
        assert!(off.step("render").is_none());
        assert_eq!(off.step("discover").unwrap().needs, ["manifests", "charts"]);
        let mut written = Pipeline::built_in();
        let written_step = written.steps.iter_mut().find(|step| step.id == "render").unwrap();
        written_step.written = Some(Written { path: YamlPath::root(), configuration: String::new() });
        assert!(written.discovering(Discover::Off).step("render").is_some(), "what is written down stays");
    }

    #[test]
    fn a_step_with_configuration_survives_its_text() {
        let mut pipeline = Pipeline::built_in();
        pipeline.steps[1].configuration = serde_json::json!({"a": ["b: c", 1], "d": null});
        assert_eq!(unplaced(parse(&pipeline.to_text()).unwrap()), pipeline);
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
            (
                "  - {id: a, name: n, run: {host: pictures}, on_failure: preserve}\n".into(),
                "2:",
                "unknown variant `pictures`",
            ),
            ("  - {id: a, name: n, run: {host: config}, on_failure: preserve}\n".into(), "2:", "are one"),
            ("  - {id: config, name: n, run: {plugin: p}, on_failure: preserve}\n".into(), "2:", "are one"),
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
