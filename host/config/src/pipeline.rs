//! The steps and their order: the built-in pipeline, what config/pipeline.yaml
//! adds to it, or the pipeline that stands there whole.
//!
//! `file` reads the file and `text` writes one, `order` says what waits for what, and
//! [`Pipeline::problems`] what is wrong with it all. A step by itself is a [`StepSpec`].

use std::collections::BTreeSet;

use model::problem::YamlPath;
use serde::Serialize;

use crate::core_plugins::{CHARTS, DISCOVER, PACKAGE, RENDER, ZARF_YAML};
use crate::settings::Discover;
use crate::source::Source;
use base::error::Result;

pub use crate::step::{
    CONFIG, Contribution, HostStep, MANIFESTS, OnFailure, PackagePart, Publish, Runner, StepSpec, Target, Written,
};

mod built_in;
mod file;
mod order;
mod problems;
mod text;

/// The steps: those of a whole pipeline in the order of the file, else each
/// after what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pipeline {
    /// In the order of the file, which need not be the one in which they run.
    pub steps: Vec<StepSpec>,
}

impl Pipeline {
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
            let reads = step.run == Runner::Host(HostStep::Images) || step.runs(ZARF_YAML) || step.runs(PACKAGE);
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

    /// Has the step that bundles charts wait for the one that clones
    /// repositories, and read its tree: some of its charts lie in there.
    pub(crate) fn charts_need_repositories(&mut self) {
        let is_clone = |spec: &&StepSpec| spec.run == Runner::Host(HostStep::Repos);
        let Some(repositories) = self.steps.iter().find(is_clone).map(|spec| spec.id.clone()) else { return };
        let is_charts = |spec: &&mut StepSpec| spec.runs(CHARTS);
        for spec in self.steps.iter_mut().filter(is_charts).filter(|spec| !spec.needs.contains(&repositories)) {
            spec.needs.push(repositories.clone());
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
}

fn local_paths(step: &StepSpec) -> impl Iterator<Item = (YamlPath, String)> {
    let section = step.place().key("local");
    step.local.iter().enumerate().map(move |(index, written)| (section.index(index), written.clone()))
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
