//! What is wrong with a pipeline: with each of its steps, and with them together.

use std::collections::BTreeMap;

use model::problem::{Problem, YamlPath, shown};

use super::{CONFIG, HostStep, MANIFESTS, Pipeline, Runner, StepSpec, Written, local_paths};
use crate::core_plugins::MANIFEST;
use crate::step::is_id;
use crate::{contribute, limits, local, publish};
use base::error::{Error, Result};

/// How often a step may say that it is tried again.
const MOST_RETRIES: u32 = 20;

impl Pipeline {
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
        problems.extend(contribute::problems(&self.steps, &|id, other| self.comes_after(id, other)));
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
        let list = self.steps.iter().find(|step| step.id == MANIFESTS)?;
        let run = match &list.run {
            Runner::Plugin(name) if name == MANIFEST => return None,
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
                MANIFEST
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
