//! pipeline.yaml as it is written: `steps` are a whole pipeline,
//! `additional_steps` come into the built-in one.

use model::problem::{Problem, YamlPath};
use serde::Deserialize;

use super::{Pipeline, StepSpec, Written};
use crate::contribute;
use crate::source::Source;
use crate::span::Spans;
use base::error::Result;

const WHOLE: &str = "steps";
const ADDITIONAL: &str = "additional_steps";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    steps: Option<Vec<StepSpec>>,
    additional_steps: Option<Vec<StepSpec>>,
}

/// Reads the file, with the place of each step in it.
pub(super) fn parse(source: &Source) -> Result<Pipeline> {
    let (file, spans) = source.checked::<File>(None, File::problems)?;
    let mut pipeline = file.pipeline();
    for step in &mut pipeline.steps {
        place(step, source, &spans);
    }
    Ok(pipeline)
}

impl File {
    fn problems(&self) -> Vec<Problem> {
        let at = YamlPath::root().key(ADDITIONAL);
        match (&self.steps, &self.additional_steps) {
            (Some(_), Some(_)) => vec![Problem::new(
                &at,
                format!("`{WHOLE}` is the whole pipeline, and `{ADDITIONAL}` would be added to the built-in one"),
                format!("move these steps to `{WHOLE}`, or remove `{WHOLE}`"),
            )],
            (None, Some(steps)) if steps.is_empty() => {
                vec![Problem::new(&at, "there are no steps", "name a step, or remove the file")]
            }
            _ => self.clone().pipeline().problems(),
        }
    }

    /// A file without either is a pipeline without steps, which is refused.
    fn pipeline(self) -> Pipeline {
        let (steps, key) = match (self.steps, self.additional_steps) {
            (None, Some(steps)) => (steps, ADDITIONAL),
            (steps, _) => (steps.unwrap_or_default(), WHOLE),
        };
        let section = YamlPath::root().key(key);
        let written = steps.into_iter().enumerate().map(|(index, step)| StepSpec {
            name: if step.name.is_empty() { step.id.clone() } else { step.name },
            written: Some(Written { path: section.index(index), configuration: String::new() }),
            ..step
        });
        let mut pipeline = match key {
            WHOLE => Pipeline { steps: written.collect() },
            _ => Pipeline { steps: Pipeline::built_in().steps.into_iter().chain(written).collect() },
        };
        contribute::connect(&mut pipeline.steps);
        if key == ADDITIONAL {
            pipeline.sort();
        }
        pipeline
    }
}

/// Lines and columns, for whoever refuses something later.
fn place(step: &mut StepSpec, source: &Source, spans: &Spans) {
    let Some(written) = &mut step.written else { return };
    let at = |path: &YamlPath| format!("{}:{}", source.shown, spans.position(path));
    written.configuration = at(&written.path.key("configuration"));
    for (index, contribution) in step.contribute.iter_mut().enumerate() {
        contribution.at = at(&written.path.key("contribute").index(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pipeline> {
        Pipeline::parse(&Source::of("config/pipeline.yaml".into(), text.as_bytes().to_vec()).unwrap())
    }

    fn added(steps: &str) -> Result<Pipeline> {
        parse(&format!("additional_steps:\n{steps}"))
    }

    #[test]
    fn additional_steps_come_into_the_built_in_pipeline() {
        let pipeline = added(
            "  - {id: policy, run: {plugin: policy}, needs: [zarf_gen], before: package}\n\
             \x20 - id: notes\n    run: {plugin: notes}\n    needs: [manifests]\n    before: [images]\n    retries: 0\n    timeout: 60\n\
             \x20   contribute: [{from: notes.md, into: documentation}]\n",
        )
        .unwrap();
        let ids: Vec<&str> = pipeline.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "config",
                "manifests",
                "files",
                "repos",
                "charts",
                "render",
                "discover",
                "notes",
                "images",
                "zarf_gen",
                "sbom",
                "policy",
                "package"
            ]
        );
        let notes = pipeline.step("notes").unwrap();
        assert_eq!((notes.name.as_str(), notes.retries, notes.timeout), ("notes", Some(0), Some(60)));
        assert_eq!(notes.contribute[0].at, "config/pipeline.yaml:9:18");
        for reader in ["zarf_gen", "package"] {
            assert!(
                pipeline.step(reader).unwrap().needs.contains(&"notes".to_owned()),
                "{reader} reads what is contributed"
            );
        }
        assert!(
            !pipeline.step("package").unwrap().needs.contains(&"policy".to_owned()),
            "what only waits reads nothing"
        );
        assert_eq!(pipeline.waits_for("images"), ["manifests", "notes"]);
    }

    #[test]
    fn what_cannot_be_added_is_refused_with_its_line() {
        for (steps, place, word) in [
            ("  []\n", "2:3", "no steps"),
            ("  - {id: images, run: {plugin: p}}\n", "2:10", "the built-in pipeline has a step `images` already"),
            (
                "  - {id: a, run: {plugin: p}}\n  - {id: a, run: {plugin: p}}\n",
                "3:10",
                "the first is additional_steps[0]",
            ),
            ("  - {id: a, run: {plugin: p}, before: pakage}\n", "2:", "comes before `pakage`, which does not exist"),
            ("  - {id: a, run: {plugin: p}, after: [b]}\n", "2:", "comes after `b`, which does not exist"),
            ("  - {id: a, run: {plugin: p}, before: [a]}\n", "2:", "`a` comes before itself"),
            ("  - {id: a, run: {plugin: p}, before: config}\n", "2:", "nothing runs before `config`"),
            ("  - {id: a, run: {plugin: p}, needs: [package], before: package}\n", "2:", "package → a → package"),
            ("  - {id: a, run: {plugin: p}, before: b}\n  - {id: b, run: {plugin: p}, before: a}\n", "2:", "a → b → a"),
            ("  - {id: a, run: {plugin: p}, before: 1}\n", "2:", "a step id, or a list of them"),
            ("  - {id: a, run: {plugin: p}, retries: 21}\n", "2:", "no number of retries"),
            ("  - {id: a, run: {plugin: p}, timeout: 0}\n", "2:", "no number of seconds"),
            ("  - {id: a, run: {host: images}, timeout: 9}\n", "2:", "has no time limit"),
            ("  - {id: a, run: {plugin: p}, contribute: [{from: x, into: sboms}]}\n", "2:", "look for `.json`"),
            ("  - {id: a, run: {plugin: p}, contribute: [{from: ../x, into: files}]}\n", "2:", "`..`"),
            (
                "  - {id: a, run: {plugin: p}, contribute: [{from: x, into: files, target: x}]}\n",
                "2:",
                "no absolute path",
            ),
            (
                "  - {id: a, run: {plugin: p}, contribute: [{from: x, into: documentation, target: /x}]}\n",
                "2:",
                "are not deployed",
            ),
            (
                "  - {id: a, run: {plugin: p}, needs: [zarf_gen], contribute: [{from: x, into: files}]}\n",
                "2:",
                "waits for `zarf_gen`",
            ),
            (
                "  - {id: a, run: {plugin: p}, contribute: [{from: x, into: documentation}]}\n\
                 \x20 - {id: b, run: {plugin: p}, contribute: [{from: y/X, into: documentation}]}\n",
                "3:",
                "the step `a` contributes a document of the name `X`",
            ),
        ] {
            let error = added(steps).unwrap_err();
            let expected = format!("config/pipeline.yaml:{place}");
            assert!(
                error.message().starts_with(&expected) && error.message().contains(word),
                "{steps}: {}",
                error.message()
            );
        }
        let both = "steps:\n  - {id: a, run: {plugin: p}}\nadditional_steps:\n  - {id: b, run: {plugin: p}}\n";
        let error = parse(both).unwrap_err();
        assert!(
            error.message().starts_with("config/pipeline.yaml:4:3: additional_steps: `steps` is the whole"),
            "{error}"
        );
        // Who writes added steps under the wrong key is told so.
        let hint = parse("steps:\n  - {id: a, run: {plugin: p}, before: package}\n").unwrap_err();
        assert!(
            hint.one_line().contains("`additional_steps:`")
                || hint.hint_text().unwrap().contains("`additional_steps:`"),
            "{hint:?}"
        );
    }
}
