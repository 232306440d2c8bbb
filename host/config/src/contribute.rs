//! What a step puts into the package. No I/O.
//!
//! The step that runs the plugin `zarf-yaml` lists it in the definition, and the
//! one that runs `package` packs it. So both read the step's tree ([`connect`]),
//! and a step that waits for the definition contributes nothing.

use std::collections::BTreeMap;

use model::problem::{Problem, YamlPath, shown};
use model::zarf;
use serde::Serialize;

use super::core_plugins::{PACKAGE, ZARF_YAML};
use super::publish;
use super::step::{Contribution, PackagePart, StepSpec};
use disk::tree;

/// As the plugin `zarf-yaml` is told of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told<'a> {
    /// The id of the step in whose tree it lies.
    pub step: &'a str,
    /// What goes where, as pipeline.yaml says.
    #[serde(flatten)]
    pub what: &'a Contribution,
    /// Where that is written: `config/pipeline.yaml:12:9`.
    pub at: &'a str,
}

/// What the steps contribute, in the order of the pipeline, as far as a step is
/// the one that takes it: documents and files stand in the definition, SBOMs do
/// not.
pub fn told<'a>(steps: &'a [StepSpec], taker: &StepSpec) -> Vec<Told<'a>> {
    let takes = |what: &&Contribution| match what.into {
        PackagePart::Documentation | PackagePart::Files => taker.runs(ZARF_YAML),
        PackagePart::Sboms => taker.runs(PACKAGE),
    };
    let of = |step| move |what| Told { step, what, at: &what.at };
    steps.iter().flat_map(|step| step.contribute.iter().filter(takes).map(of(step.id.as_str()))).collect()
}

fn reads(step: &StepSpec) -> bool {
    step.runs(ZARF_YAML) || step.runs(PACKAGE)
}

/// Hands what is contributed to those who list and pack it.
pub(super) fn connect(steps: &mut [StepSpec]) {
    let contributors: Vec<String> =
        steps.iter().filter(|step| !step.contribute.is_empty()).map(|step| step.id.clone()).collect();
    for step in steps.iter_mut().filter(|step| reads(step)) {
        let missing = contributors.iter().filter(|id| !step.needs.contains(id) && **id != step.id);
        let missing: Vec<String> = missing.cloned().collect();
        step.needs.extend(missing);
    }
}

/// Whether the step of the first id waits for that of the second.
type ComesAfter<'a> = &'a dyn Fn(&str, &str) -> bool;

/// Everything that is wrong with what the steps contribute, as far as their
/// declarations tell.
pub(super) fn problems(steps: &[StepSpec], comes_after: ComesAfter<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<(PackagePart, String), &str> = BTreeMap::new();
    for step in steps.iter().filter(|step| !step.contribute.is_empty()) {
        let section = step.place().key("contribute");
        problems.extend(misplaced(steps, comes_after, step, &section));
        for (index, contribution) in step.contribute.iter().enumerate() {
            let at = section.index(index);
            if let Some(problem) = refused(contribution, &at) {
                problems.push(problem);
                continue;
            }
            let name = contribution.name();
            if let Some(other) = names.insert((contribution.into, name.to_lowercase()), &step.id) {
                problems.push(collision(contribution, &at, other));
            }
        }
    }
    problems
}

impl Contribution {
    /// What no second one may be: the name of a document, the place of a file.
    fn name(&self) -> &str {
        self.target.as_deref().unwrap_or_else(|| zarf::base_name(&self.from))
    }
}

/// Whether anybody takes what the step contributes.
fn misplaced(steps: &[StepSpec], comes_after: ComesAfter<'_>, step: &StepSpec, at: &YamlPath) -> Option<Problem> {
    let waits = |reader: &&StepSpec| step.id == reader.id || comes_after(&step.id, &reader.id);
    let id = shown(&step.id);
    for plugin in [ZARF_YAML, PACKAGE] {
        let mut readers = steps.iter().filter(|reader| reader.runs(plugin));
        let Some(first) = readers.next() else {
            return Some(Problem::new(
                at,
                format!("the step `{id}` contributes to the package, and no step runs the plugin `{plugin}`"),
                "publish it beside the package: `publish: [{from: …, to: dist}]`",
            ));
        };
        if let Some(later) = std::iter::once(first).chain(readers).find(waits) {
            return Some(Problem::new(
                at,
                format!(
                    "the step `{id}` contributes to the package, which `{0}` lists, and waits for `{0}`",
                    shown(&later.id)
                ),
                "do without what it waits for, or publish it beside the package: `publish: [{from: …, to: dist}]`",
            ));
        }
    }
    None
}

fn refused(contribution: &Contribution, at: &YamlPath) -> Option<Problem> {
    let Contribution { from, into, target, .. } = contribution;
    if let Err(error) = tree::check_path(from) {
        return Some(Problem::new(&at.key("from"), error.message(), "name a file of the step's tree"));
    }
    match (into, target) {
        (PackagePart::Documentation | PackagePart::Sboms, Some(_)) => Some(Problem::new(
            &at.key("target"),
            "documents are not deployed anywhere",
            "remove the line, or write `into: files`",
        )),
        (PackagePart::Sboms, None) if !is_document(from) => Some(Problem::new(
            &at.key("from"),
            format!("`{}` is no name of an SBOM: Zarf and grype look for `.json`", shown(zarf::base_name(from))),
            "give the file a plain name that ends in `.json`, with Syft's JSON in it",
        )),
        (PackagePart::Files, Some(target)) => bad_target(target, &at.key("target")),
        (PackagePart::Documentation, None) if !publish::has_plain_name(zarf::base_name(from)) => Some(Problem::new(
            &at.key("from"),
            format!("`{}` is no name of a document: {}", shown(zarf::base_name(from)), publish::PLAIN),
            "give the file another name",
        )),
        _ => None,
    }
}

fn is_document(from: &str) -> bool {
    let name = zarf::base_name(from);
    publish::has_plain_name(name) && name.ends_with(".json")
}

fn bad_target(target: &str, at: &YamlPath) -> Option<Problem> {
    let path = target.strip_prefix('/').filter(|path| tree::check_path(path).is_ok());
    path.is_none().then(|| {
        Problem::new(
            at,
            format!("`{}` is no absolute path of plain names", shown(target)),
            "write where the file is deployed to, its name included: `/opt/opencenter/files/notes.txt`",
        )
    })
}

fn collision(contribution: &Contribution, at: &YamlPath, other: &str) -> Problem {
    let (other, name) = (shown(other), shown(contribution.name()));
    match contribution.into {
        PackagePart::Files => Problem::new(
            at,
            format!("the step `{other}` contributes a file that is deployed to `{name}`"),
            "give one of them another `target`",
        ),
        _ => Problem::new(
            at,
            format!("the step `{other}` contributes a document of the name `{name}`"),
            "give one of them another name, also where names differ in their case only",
        ),
    }
}
