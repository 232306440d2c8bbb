//! What waits for what.
//!
//! A step waits for the steps that it needs and those that it comes after, for
//! those that come before it, and the step that makes the package for everything
//! that does not come after it: a package is made of a build in which all went
//! well, so whatever fails keeps it from being made.

use std::collections::BTreeSet;

use model::problem::{Problem, shown};

use super::{CONFIG, Pipeline, StepSpec};
use crate::core_plugins::PACKAGE;

impl Pipeline {
    /// The ids of the steps that have to be complete before `id` begins, each
    /// once, in the order of the pipeline.
    pub fn waits_for(&self, id: &str) -> Vec<&str> {
        let Some(step) = self.step(id) else { return Vec::new() };
        let mut ids: BTreeSet<&str> = self.declared(step).collect();
        if step.runs(PACKAGE) {
            let later = self.packages_and_later();
            ids.extend(self.steps.iter().map(|step| step.id.as_str()).filter(|id| !later.contains(id)));
        }
        self.steps.iter().map(|step| step.id.as_str()).filter(|id| ids.contains(id)).collect()
    }

    /// What a step waits for because a declaration says so.
    fn declared<'a>(&'a self, step: &'a StepSpec) -> impl Iterator<Item = &'a str> {
        let own = step.needs.iter().chain(&step.after).map(String::as_str);
        let before = self.steps.iter().filter(|other| other.before.contains(&step.id));
        own.chain(before.map(|other| other.id.as_str()))
    }

    /// The steps that make a package, and those that wait for one.
    fn packages_and_later(&self) -> BTreeSet<&str> {
        let makers = self.steps.iter().filter(|step| step.runs(PACKAGE));
        self.with_later(makers.map(|step| step.id.as_str()).collect())
    }

    /// These steps, and every one that waits for one of them.
    fn with_later<'a>(&'a self, mut found: BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        loop {
            let waits = |step: &&StepSpec| self.declared(step).any(|id| found.contains(id));
            let later: Vec<&str> = self
                .steps
                .iter()
                .filter(|step| !found.contains(step.id.as_str()))
                .filter(waits)
                .map(|step| step.id.as_str())
                .collect();
            if later.is_empty() {
                return found;
            }
            found.extend(later);
        }
    }

    /// Whether `id` waits for `other`, at whatever distance.
    pub(crate) fn comes_after(&self, id: &str, other: &str) -> bool {
        self.with_later([other].into()).contains(id) && id != other
    }

    /// Puts each step after what it waits for; else the order stays. In a circle
    /// it stays as well.
    pub(super) fn sort(&mut self) {
        let order: Vec<String> = self.in_order().into_iter().map(str::to_owned).collect();
        let at = |step: &StepSpec| order.iter().position(|id| *id == step.id).unwrap_or(usize::MAX);
        self.steps.sort_by_key(at);
    }

    /// The ids in the order of the pipeline, but each after what it waits for.
    /// What waits in a circle is missing.
    pub fn in_order(&self) -> Vec<&str> {
        let mut order: Vec<&str> = Vec::new();
        while order.len() < self.steps.len() {
            let ids = self.steps.iter().map(|step| step.id.as_str());
            let is_free = |id: &&str| !order.contains(id) && self.waits_for(id).iter().all(|need| order.contains(need));
            match ids.into_iter().find(is_free) {
                Some(id) => order.push(id),
                None => break,
            }
        }
        order
    }

    /// What is wrong with the steps that `step` names.
    pub(super) fn order_problems(&self, step: &StepSpec) -> Vec<Problem> {
        let lists = [
            ("needs", "needs", &step.needs),
            ("before", "comes before", &step.before),
            ("after", "comes after", &step.after),
        ];
        let mut problems = Vec::new();
        for (key, verb, ids) in lists {
            for (index, id) in ids.iter().enumerate() {
                let at = step.place().key(key).index(index);
                let message = if *id == step.id {
                    format!("the step `{}` {verb} itself", shown(id))
                } else if self.step(id).is_none() {
                    format!("the step `{}` {verb} `{}`, which does not exist", shown(&step.id), shown(id))
                } else if key == "before" && id == CONFIG {
                    format!("nothing runs before `{CONFIG}`, which reads this file")
                } else {
                    continue;
                };
                problems.push(Problem::new(&at, message, self.remedy(step, id)));
            }
        }
        problems
    }

    fn remedy(&self, step: &StepSpec, id: &str) -> String {
        if *id == step.id || self.step(id).is_some() {
            return format!("remove `{}` there", shown(id));
        }
        let ids: Vec<&str> = self.steps.iter().map(|step| step.id.as_str()).collect();
        let there = format!("there are: {}", ids.join(", "));
        match Self::built_in().step(id) {
            // The file has `steps`, and means to add some.
            Some(_) => format!("{there}; steps that come into the built-in pipeline stand under `additional_steps:`"),
            None => there,
        }
    }

    /// The first circle, as the way around it.
    pub(super) fn cycle(&self) -> Option<Problem> {
        let index_of = |id: &str| self.steps.iter().position(|step| step.id == id);
        let mut done = vec![false; self.steps.len()];
        for start in 0..self.steps.len() {
            // Depth first with an explicit way: each entry is a step and how
            // many of those that it waits for were followed already.
            let mut way: Vec<(usize, usize)> = vec![(start, 0)];
            while let Some((step, followed)) = way.pop() {
                if done[step] {
                    continue;
                }
                let Some(need) = self.declared(&self.steps[step]).nth(followed) else {
                    done[step] = true;
                    continue;
                };
                way.push((step, followed + 1));
                let Some(next) = index_of(need) else { continue };
                if let Some(from) = way.iter().position(|(on_way, _)| *on_way == next) {
                    let circle: Vec<&StepSpec> = way[from..].iter().map(|(at, _)| &self.steps[*at]).collect();
                    return Some(circle_problem(&circle));
                }
                way.push((next, 0));
            }
        }
        None
    }
}

/// The circle is told where the first step of it that the user wrote stands.
fn circle_problem(circle: &[&StepSpec]) -> Problem {
    let mut ids: Vec<&str> = circle.iter().map(|step| step.id.as_str()).collect();
    ids.extend(ids.first().copied());
    let written = circle.iter().find(|step| step.written.is_some()).or(circle.first());
    let written = written.map(|step| step.place()).unwrap_or_default();
    Problem::new(
        &written.key("needs"),
        format!("the steps wait for each other in a circle: {}", ids.join(" → ")),
        "remove one of the `needs`, `before` or `after` between them",
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Runner, StepSpec};
    use super::*;

    fn step(id: &str, plugin: &str, needs: &[&str]) -> StepSpec {
        let needs = needs.iter().map(|&need| need.to_owned()).collect();
        StepSpec { needs, ..StepSpec::new(id, Runner::Plugin(plugin.to_owned())) }
    }

    /// Guards the package against what fails beside it.
    #[test]
    fn the_package_waits_for_everything_that_does_not_come_after_it() {
        let steps = vec![
            step("policy", "policy", &["manifests"]),
            step("manifests", "manifest", &[]),
            step("package", "package", &["manifests"]),
            step("other", "package", &["manifests"]),
            step("report", "report", &["package"]),
            step("mail", "mail", &["report"]),
        ];
        let pipeline = Pipeline { steps };
        assert_eq!(pipeline.waits_for("package"), ["policy", "manifests"]);
        assert_eq!(pipeline.waits_for("other"), ["policy", "manifests"], "packages do not wait for each other");
        assert_eq!(pipeline.waits_for("mail"), ["report"]);
        assert_eq!(pipeline.in_order(), ["manifests", "policy", "package", "other", "report", "mail"]);
        assert!(pipeline.comes_after("mail", "package") && !pipeline.comes_after("policy", "package"));
        assert_eq!(pipeline.cycle(), None);
        assert_eq!(Pipeline::built_in().waits_for("package").len(), 10);
    }
}
