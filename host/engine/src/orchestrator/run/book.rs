//! A run's book: where every step stands, and which one comes next.
//!
//! It decides and does nothing: it knows no clock, no disk and no task. The
//! loop asks which step is [ready](Book::ready), does what there is to do, and
//! enters what came of it. A step is named by a [`StepIndex`], which the book
//! alone hands out, so there is none without an entry. What the loop keeps of
//! an attempt lies in the entry while the attempt runs, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::orchestrator::decide::{self, Decision, Next};
use crate::orchestrator::plan::{Action, Plan, Reason};
use crate::orchestrator::report::StepReport;
use crate::state::{BuildState, Status};
use base::error::Error;
use base::progress::Counts;
use config::pipeline::{HostStep, Pipeline, Runner, StepSpec};
use config::settings::RetrySettings;

/// A step of the book that handed it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepIndex(usize);

/// One entry for each step, in the order of the pipeline. `T` is what the loop
/// keeps of a running attempt.
pub(super) struct Book<T> {
    entries: Vec<StepEntry<T>>,
}

struct StepEntry<T> {
    spec: Arc<StepSpec>,
    /// Ids of the steps that are complete before it begins.
    waits_for: Vec<String>,
    action: Action,
    phase: Phase<T>,
    report: StepReport,
}

enum Phase<T> {
    /// For its turn.
    Waiting,
    Running(T),
    /// The attempt is over; what becomes of it is being found out.
    Ending,
    /// Between two attempts.
    Pausing,
    Done,
    /// Failed for good.
    Stopped,
    /// Not part of what was asked for.
    Left,
}

/// What an attempt took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) counts: Counts,
    pub(super) duration_ms: u64,
}

impl<T> Book<T> {
    /// What `state` recorded of a step that does not run stands in its row.
    pub(super) fn new(pipeline: &Pipeline, plan: &Plan, state: Option<&BuildState>) -> Self {
        let entry = |spec: &StepSpec| {
            let action = plan.action(&spec.id).cloned().unwrap_or(Action::Leave);
            let waits_for = pipeline.waits_for(&spec.id).into_iter().map(str::to_owned).collect();
            StepEntry::new(spec, waits_for, action, state)
        };
        Self { entries: pipeline.steps.iter().map(entry).collect() }
    }

    fn entry(&mut self, step: StepIndex) -> &mut StepEntry<T> {
        &mut self.entries[step.0]
    }

    /// What the pipeline says of a step.
    pub(super) fn spec(&self, step: StepIndex) -> &Arc<StepSpec> {
        &self.entries[step.0].spec
    }

    /// The first waiting step for which all is complete that it waits for. A
    /// step that is left out keeps those waiting that wait for it: they are left
    /// out as well.
    pub(super) fn ready(&self) -> Option<StepIndex> {
        let ready = |entry: &StepEntry<T>| {
            matches!(entry.phase, Phase::Waiting) && entry.waits_for.iter().all(|id| self.is_done(id))
        };
        self.entries.iter().position(ready).map(StepIndex)
    }

    /// Whether the step of this id is done; one that the pipeline does not have
    /// is waited for by nobody.
    pub(super) fn is_done(&self, id: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.spec.id == id);
        entry.is_none_or(|entry| matches!(entry.phase, Phase::Done))
    }

    /// Whether everything that was asked for is done.
    pub(super) fn is_finished(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.phase, Phase::Done | Phase::Left))
    }

    /// Whether a step runs only because one that it needs does: it is kept
    /// where that one's outputs are what they were.
    pub(super) fn may_turn_out_the_same(&self, step: StepIndex) -> bool {
        matches!(self.entries[step.0].action, Action::Run(Reason::Needs(_)))
    }

    /// Why a step runs whose outputs were there once; empty for any other.
    pub(super) fn why_again(&self, step: StepIndex) -> String {
        match &self.entries[step.0].action {
            Action::Run(Reason::Failed(class)) => format!("it failed before ({class})"),
            Action::Run(reason @ (Reason::OutputBroken(_) | Reason::PluginChanged(_) | Reason::InputsChanged)) => {
                reason.to_string()
            }
            _ => String::new(),
        }
    }

    /// A step is done without an attempt.
    pub(super) fn keep(&mut self, step: StepIndex, reason: &str) {
        let entry = self.entry(step);
        entry.phase = Phase::Done;
        entry.report.status = Status::Completed;
        reason.clone_into(&mut entry.report.reason);
    }

    /// The number of the attempt that comes next, from 1.
    pub(super) fn next_attempt(&self, step: StepIndex) -> u32 {
        self.entries[step.0].report.attempts + 1
    }

    /// The next attempt of a step begins.
    pub(super) fn start(&mut self, step: StepIndex, open: T) {
        let entry = self.entry(step);
        entry.phase = Phase::Running(open);
        entry.report.attempts += 1;
        entry.report.ran = true;
    }

    /// The attempt of a step is over: what was kept of it. None where none was
    /// running, because the step was between two attempts.
    pub(super) fn end(&mut self, step: StepIndex) -> Option<T> {
        match std::mem::replace(&mut self.entry(step).phase, Phase::Ending) {
            Phase::Running(open) => Some(open),
            _ => None,
        }
    }

    /// What is kept of the attempts that run.
    pub(super) fn running(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| match &entry.phase {
            Phase::Running(open) => Some(open),
            _ => None,
        })
    }

    /// Ends every attempt that runs.
    pub(super) fn end_all(&mut self) -> Vec<(StepIndex, T)> {
        let steps = (0..self.entries.len()).map(StepIndex);
        let running = steps.filter(|step| matches!(self.entries[step.0].phase, Phase::Running(_)));
        let running: Vec<StepIndex> = running.collect();
        running.into_iter().filter_map(|step| Some((step, self.end(step)?))).collect()
    }

    /// What a completed attempt and those before it came to, all together.
    pub(super) fn counts_with(&self, step: StepIndex, counts: Counts) -> Counts {
        self.entries[step.0].report.counts.and_then(counts.completed())
    }

    /// A step is done by its attempt; `spent.counts` is what all of its
    /// attempts came to.
    pub(super) fn complete(&mut self, step: StepIndex, summary: &str, spent: Spent) {
        let entry = self.entry(step);
        entry.phase = Phase::Done;
        entry.report.status = Status::Completed;
        entry.report.duration_ms = spent.duration_ms;
        entry.report.counts = spent.counts;
        summary.clone_into(&mut entry.report.summary);
    }

    /// What comes after an attempt that failed. A step that is to be tried
    /// again pauses until [`Book::retry`]; what else becomes of it
    /// [`Book::stop`] enters. Nothing is tried again where `is_ending`.
    pub(super) fn failed(
        &mut self,
        step: StepIndex,
        error: &Error,
        spent: Spent,
        (retries, now): (&RetrySettings, Timestamp),
        is_ending: bool,
    ) -> Decision {
        let entry = self.entry(step);
        entry.report.counts = entry.report.counts.and_then(spent.counts);
        entry.report.duration_ms += spent.duration_ms;
        let decision = decide::decide(entry.spec.on_failure, error, entry.report.attempts, retries, now);
        match decision.next {
            Next::Retry(_) if !is_ending => {
                entry.phase = Phase::Pausing;
                decision
            }
            _ => Decision { next: Next::Abort, ..decision },
        }
    }

    /// The pause of a step is over.
    pub(super) fn retry(&mut self, step: StepIndex) {
        self.entry(step).phase = Phase::Waiting;
    }

    /// A step has failed for good; those that need it stay waiting.
    pub(super) fn stop(&mut self, step: StepIndex, summary: String) {
        let entry = self.entry(step);
        entry.phase = Phase::Stopped;
        entry.report.status = Status::Failed;
        entry.report.summary = summary;
    }

    /// The rows of the table at the end. A step that did not begin says which
    /// failed one it waited for.
    pub(super) fn into_reports(mut self) -> Vec<StepReport> {
        let stopped = self.entries.iter().filter(|entry| matches!(entry.phase, Phase::Stopped));
        let stopped: Vec<String> = stopped.map(|entry| entry.spec.id.clone()).collect();
        for entry in self.entries.iter_mut().filter(|entry| matches!(entry.phase, Phase::Waiting)) {
            if let Some(failed) = entry.waits_for.iter().find(|id| stopped.contains(id)) {
                entry.report.reason = format!("waits for `{failed}`, which failed");
            }
        }
        self.entries.into_iter().map(|entry| entry.report).collect()
    }
}

impl<T> StepEntry<T> {
    fn new(spec: &StepSpec, waits_for: Vec<String>, action: Action, state: Option<&BuildState>) -> Self {
        let recorded = state.and_then(|state| state.step(&spec.id));
        let (phase, reason) = match &action {
            // Loaded in every run, before the plan is made.
            Action::Run(_) | Action::Keep if spec.run == Runner::Host(HostStep::Config) => {
                (Phase::Done, "valid".to_owned())
            }
            Action::Run(reason) => (Phase::Waiting, reason.to_string()),
            Action::Keep => (Phase::Done, "done before".to_owned()),
            Action::Leave => (Phase::Left, "not asked for".to_owned()),
        };
        let kept = recorded.filter(|_| matches!(phase, Phase::Done));
        let report = StepReport {
            id: spec.id.clone(),
            name: spec.name.clone(),
            status: if matches!(phase, Phase::Done) { Status::Completed } else { Status::Pending },
            ran: false,
            reason,
            attempts: 0,
            duration_ms: kept.and_then(|step| step.duration_ms).unwrap_or(0),
            summary: kept.and_then(|step| step.summary.clone()).unwrap_or_default(),
            counts: Counts::default(),
        };
        Self { spec: Arc::new(spec.clone()), waits_for, action, phase, report }
    }
}

/// How long until the next attempt, where there is one.
pub(super) fn pause(decision: &Decision) -> Option<Duration> {
    match decision.next {
        Next::Retry(pause) => Some(pause),
        Next::Abort => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::orchestrator::plan::{Request, plan};
    use base::error::Class;

    /// A book of the built-in pipeline in which nothing was done yet.
    fn book(request: &Request) -> Book<&'static str> {
        let pipeline = Pipeline::built_in();
        Book::new(&pipeline, &plan(&pipeline, &BTreeMap::new(), request), None)
    }

    fn id(book: &Book<&'static str>, step: StepIndex) -> String {
        book.spec(step).id.clone()
    }

    /// Starts whatever is ready, and names it.
    fn start_all(book: &mut Book<&'static str>) -> Vec<String> {
        let mut started = Vec::new();
        while let Some(step) = book.ready() {
            book.start(step, "open");
            started.push(id(book, step));
        }
        started
    }

    fn step(book: &Book<&'static str>, id: &str) -> StepIndex {
        StepIndex(book.entries.iter().position(|entry| entry.spec.id == id).unwrap())
    }

    fn complete(book: &mut Book<&'static str>, id: &str) {
        let step = step(book, id);
        assert_eq!(book.end(step), Some("open"));
        book.complete(step, "made", Spent::default());
    }

    fn fail(book: &mut Book<&'static str>, id: &str, class: Class, is_ending: bool) -> Option<Duration> {
        let step = step(book, id);
        assert_eq!(book.end(step), Some("open"));
        let (retries, now) = (RetrySettings::default(), Timestamp::UNIX_EPOCH);
        let decision = book.failed(step, &Error::new(class, "x"), Spent::default(), (&retries, now), is_ending);
        let pause = pause(&decision);
        if pause.is_none() {
            book.stop(step, "x".to_owned());
        }
        pause
    }

    /// Each step begins as soon as what it needs is done, and not before.
    #[test]
    fn steps_begin_in_the_order_of_their_needs() {
        let mut book = book(&Request::default());
        assert_eq!(start_all(&mut book), ["manifests"], "the configuration is valid already");
        complete(&mut book, "manifests");
        assert_eq!(start_all(&mut book), ["images", "files", "repos", "charts"]);
        complete(&mut book, "charts");
        assert_eq!(start_all(&mut book), ["render"], "beside the downloads");
        for id in ["files", "repos"] {
            complete(&mut book, id);
            assert!(book.ready().is_none());
        }
        complete(&mut book, "render");
        assert_eq!(start_all(&mut book), ["discover"]);
        complete(&mut book, "images");
        assert_eq!(start_all(&mut book), ["zarf_gen"]);
        complete(&mut book, "discover");
        complete(&mut book, "zarf_gen");
        assert_eq!(start_all(&mut book), ["sbom"]);
        complete(&mut book, "sbom");
        assert_eq!(start_all(&mut book), ["package"]);
        assert!(!book.is_finished());
        complete(&mut book, "package");
        assert!(book.is_finished());
        assert!(book.into_reports().iter().all(|report| report.status == Status::Completed));
    }

    /// A failed step stops those that need it, never its neighbours.
    #[test]
    fn a_failure_stops_what_needs_it_alone() {
        let mut book = book(&Request::default());
        start_all(&mut book);
        complete(&mut book, "manifests");
        start_all(&mut book);
        assert_eq!(fail(&mut book, "images", Class::NotFound, false), None);
        ["files", "repos", "charts"].iter().for_each(|id| complete(&mut book, id));
        for id in ["render", "discover"] {
            assert_eq!(start_all(&mut book), [id]);
            complete(&mut book, id);
        }
        assert!(book.ready().is_none() && !book.is_finished());
        let reports = book.into_reports();
        let zarf_gen = reports.iter().find(|row| row.id == "zarf_gen").unwrap();
        assert_eq!(zarf_gen.reason, "waits for `images`, which failed");
        let rows: Vec<(String, Status)> = reports.into_iter().map(|row| (row.id, row.status)).collect();
        assert!(
            rows.contains(&("images".into(), Status::Failed)) && rows.contains(&("zarf_gen".into(), Status::Pending))
        );
    }

    /// What may recover is tried again, as often as the settings say; not once
    /// the run is ending.
    #[test]
    fn attempts_are_counted_and_end() {
        let attempts = RetrySettings::default().steps;
        let mut book = book(&Request::default());
        for attempt in 1..=attempts {
            let manifests = step(&book, "manifests");
            assert_eq!((book.ready(), book.next_attempt(manifests)), (Some(manifests), attempt));
            start_all(&mut book);
            let pause = fail(&mut book, "manifests", Class::Transient, false);
            assert_eq!(pause.is_some(), attempt < attempts);
            assert!(book.ready().is_none(), "it pauses");
            if pause.is_some() {
                assert_eq!(book.end(manifests), None, "no attempt runs in a pause");
                book.retry(manifests);
            }
        }
        let mut book = self::book(&Request::default());
        start_all(&mut book);
        assert_eq!(fail(&mut book, "manifests", Class::Transient, true), None);
    }

    #[test]
    fn what_was_not_asked_for_is_left_and_does_not_count() {
        let mut book = book(&Request { only: Some(["files".to_owned()].into()), ..Request::default() });
        assert_eq!(start_all(&mut book), ["manifests"]);
        complete(&mut book, "manifests");
        assert_eq!(start_all(&mut book), ["files"]);
        assert_eq!(book.running().count(), 1);
        assert_eq!(book.end_all().len(), 1);
        assert_eq!(book.running().count(), 0);
        let files = step(&book, "files");
        book.complete(files, "made", Spent::default());
        assert!(book.is_finished());
    }
}
