//! Which steps run, and why. No I/O: the facts are handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::outputs::Broken;
use crate::state::Status;
use base::error::Class;
use config::pipeline::{Pipeline, StepId};
use plugin_host::catalog::PluginIdentity;

/// What is known about a step before anything runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What the state records.
    pub status: Status,
    /// The plugin that made the recorded outputs.
    pub recorded_plugin: Option<PluginIdentity>,
    /// The plugin that would run now.
    pub plugin: Option<PluginIdentity>,
    /// What is wrong with the recorded outputs; None where they are sound, or there are none.
    pub broken_output: Option<Broken>,
    /// The class of the error that it failed with.
    pub failed_class: Option<Class>,
    /// Whether the recorded outputs were made from something else than what
    /// is there now.
    pub is_stale: bool,
}

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Ignore recorded completion.
    pub no_resume: bool,
    /// Only these steps and what they still need; None for the whole pipeline.
    pub only: Option<BTreeSet<StepId>>,
    /// Regenerate the component manifest.
    pub force_regenerate: bool,
}

/// What happens to one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action", content = "why")]
pub enum Action {
    /// Runs, for this reason.
    Run(Reason),
    /// Its outputs are there and were made by the same plugin.
    Keep,
    /// Not part of what was asked for.
    Leave,
}

/// Why a step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was not done in this build yet.
    NeverRan,
    /// The last attempt was stopped, or its process died.
    Interrupted,
    /// The last attempt failed; its error's class.
    Failed(Class),
    /// Its outputs are not what was recorded; what is wrong with them.
    OutputBroken(String),
    /// Another plugin would make them now; from which to which.
    PluginChanged(String),
    /// A tree or a setting that it was made from is another one now.
    InputsChanged,
    /// `--no-resume`, `--step`, `--force-regenerate`.
    Asked,
    /// A step that it waits for runs; skipped after all when what it is made
    /// from turns out to be the same.
    Needs(StepId),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRan => f.write_str("not done yet"),
            Self::Interrupted => f.write_str("was interrupted"),
            Self::Failed(class) => write!(f, "failed ({class})"),
            Self::OutputBroken(what) => f.write_str(what),
            Self::PluginChanged(what) => f.write_str(what),
            Self::InputsChanged => f.write_str("what it was made from changed"),
            Self::Asked => f.write_str("asked for"),
            Self::Needs(id) => write!(f, "needs `{id}`, which runs"),
        }
    }
}

/// The steps in an order in which each comes after what it needs, with what
/// happens to each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Each after what it needs.
    pub steps: Vec<PlannedStep>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// The step's id.
    pub id: StepId,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
}

impl Plan {
    /// What happens to the step with this id; None where there is none.
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.steps.iter().find(|step| step.id == id).map(|step| &step.action)
    }

    /// Whether every step is asked for.
    pub fn is_whole(&self) -> bool {
        self.steps.iter().all(|step| step.action != Action::Leave)
    }

    /// Whether no step runs.
    pub fn is_empty(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step.action, Action::Run(_)))
    }
}

/// Plans a build. The pipeline has been checked: ids are unique, needs exist,
/// there is no circle.
pub fn plan(pipeline: &Pipeline, facts: &BTreeMap<StepId, Facts>, request: &Request) -> Plan {
    let wanted = request.only.as_ref().map(|only| with_needs(pipeline, only));
    let mut steps: Vec<PlannedStep> = Vec::new();
    for id in pipeline.in_order() {
        let action = if wanted.as_ref().is_some_and(|wanted| !wanted.contains(id)) {
            Action::Leave
        } else if let Some(reason) = reason(id, facts.get(id), request) {
            Action::Run(reason)
        } else {
            let runs =
                |need: &&StepId| steps.iter().any(|step| step.id == **need && matches!(step.action, Action::Run(_)));
            match pipeline.waits_for(id).into_iter().find(runs) {
                Some(need) => Action::Run(Reason::Needs(need.clone())),
                None => Action::Keep,
            }
        };
        steps.push(PlannedStep { id: id.clone(), action });
    }
    Plan { steps }
}

fn reason(id: &str, facts: Option<&Facts>, request: &Request) -> Option<Reason> {
    let Some(facts) = facts else { return Some(Reason::NeverRan) };
    let asked = request.no_resume
        || request.only.as_ref().is_some_and(|only| only.contains(id))
        || (request.force_regenerate && id == super::MANIFESTS);
    match facts.status {
        Status::Pending => Some(Reason::NeverRan),
        Status::Running => Some(Reason::Interrupted),
        Status::Failed => match facts.failed_class {
            None | Some(Class::Interrupted) => Some(Reason::Interrupted),
            Some(class) => Some(Reason::Failed(class)),
        },
        Status::Completed if asked => Some(Reason::Asked),
        Status::Completed => match (&facts.recorded_plugin, &facts.plugin) {
            (Some(old), Some(new)) if old.digest != new.digest => Some(Reason::PluginChanged(format!(
                "its plugin `{}` changed from {} ({}) to {} ({})",
                new.name, old.version, old.digest, new.version, new.digest
            ))),
            (Some(_), None) | (None, Some(_)) => {
                Some(Reason::PluginChanged("another kind of step makes it now".to_owned()))
            }
            _ => match &facts.broken_output {
                Some(broken) => Some(Reason::OutputBroken(broken.why.clone())),
                None => facts.is_stale.then_some(Reason::InputsChanged),
            },
        },
    }
}

/// Steps and everything they wait for, directly or not.
fn with_needs(pipeline: &Pipeline, ids: &BTreeSet<StepId>) -> BTreeSet<StepId> {
    let mut found = BTreeSet::new();
    let mut open: Vec<StepId> = ids.iter().cloned().collect();
    while let Some(id) = open.pop() {
        if found.insert(id.clone()) {
            open.extend(pipeline.waits_for(&id).into_iter().cloned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;

    fn id(id: &str) -> StepId {
        StepId::parse(id).unwrap()
    }

    /// One row per way in which a build can be found.
    #[test]
    fn what_runs_and_why() {
        let pipeline = Pipeline::built_in();
        let done = || -> BTreeMap<StepId, Facts> {
            let complete = Facts { status: Status::Completed, ..Facts::default() };
            pipeline.steps.iter().map(|spec| (spec.id.clone(), complete.clone())).collect()
        };
        let running = |facts: &BTreeMap<StepId, Facts>, request: &Request| -> Vec<StepId> {
            let plan = plan(&pipeline, facts, request);
            plan.steps.iter().filter(|step| matches!(step.action, Action::Run(_))).map(|step| step.id.clone()).collect()
        };
        let nothing = Request::default();
        assert!(running(&done(), &nothing).is_empty());
        assert_eq!(running(&BTreeMap::new(), &nothing).len(), pipeline.steps.len());

        let mut facts = done();
        facts.get_mut("charts").unwrap().status = Status::Failed;
        assert_eq!(running(&facts, &nothing), ["charts", "render", "discover", "zarf_gen", "sbom", "package"]);

        let mut facts = done();
        facts.get_mut("images").unwrap().broken_output =
            Some(Broken { why: "`x` is missing".into(), digests: Vec::new() });
        let found = plan(&pipeline, &facts, &nothing);
        assert_eq!(found.action("images"), Some(&Action::Run(Reason::OutputBroken("`x` is missing".into()))));
        assert_eq!(found.action("files"), Some(&Action::Keep));
        assert_eq!(found.action("package"), Some(&Action::Run(Reason::Needs(id("images")))));

        let mut facts = done();
        facts.get_mut("zarf_gen").unwrap().is_stale = true;
        assert_eq!(running(&facts, &nothing), ["zarf_gen", "sbom", "package"]);

        let mut facts = done();
        let plugin = |bytes: &[u8]| {
            Some(PluginIdentity {
                name: "package".into(),
                version: "1".into(),
                digest: Digest::of(bytes),
                replaces_core: false,
            })
        };
        facts.get_mut("package").unwrap().recorded_plugin = plugin(b"old");
        facts.get_mut("package").unwrap().plugin = plugin(b"new");
        assert_eq!(running(&facts, &nothing), ["package"]);

        let only = Request { only: Some([id("charts")].into()), ..Request::default() };
        assert_eq!(running(&done(), &only), ["charts"]);
        let mut facts = done();
        facts.get_mut("manifests").unwrap().status = Status::Running;
        assert_eq!(running(&facts, &only), ["manifests", "charts"]);
        assert_eq!(plan(&pipeline, &facts, &only).action("images"), Some(&Action::Leave));

        let forced = Request { force_regenerate: true, ..Request::default() };
        assert_eq!(running(&done(), &forced).first().map(StepId::as_str), Some("manifests"));
        let again = Request { no_resume: true, ..Request::default() };
        assert_eq!(running(&done(), &again).len(), pipeline.steps.len());
    }
}
