//! What a run came to, as people and as programs are told it: the table of its
//! steps, what was published, what failed, and what to do about it.

use std::path::Path;

use model::count::counted;
use model::zarf::is_package_file;
use serde::Serialize;

use super::signals;
use super::table;
use super::ui::{Color, Ui};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use base::progress::text;
use disk::fs;
use engine::orchestrator::report::{Report, RunError};
use engine::state::Status;

/// A run that has ended, in its project.
pub(super) struct Outcome<'a> {
    pub(super) report: &'a Report,
    pub(super) layout: &'a Layout,
}

impl Outcome<'_> {
    /// The whole screen.
    pub(super) fn tell(&self, ui: &Ui) {
        let Self { report, layout } = *self;
        if report.nothing_to_do {
            ui.say("Nothing to do: every step is done and its outputs are there.");
        } else {
            let rows = rows(report);
            ui.say_all(table::render(&rows, ui.width()));
        }
        for published in &report.published {
            let path = shown(Path::new(&published.path));
            let line = format!("{path}  {}  {}", text::bytes(published.size), published.digest);
            ui.say_painted(Color::Green, &path, &line);
        }
        if !report.warnings.is_empty() && !report.nothing_to_do {
            let warnings = counted(report.warnings.len(), "warning was", "warnings were");
            ui.note(&format!("{warnings} told on the way; {} lists what was said.", shown(&layout.metrics())));
        }
        tell_errors(report, ui);
        if report.errors.iter().any(|failed| failed.error.class() == Class::DiskFull) {
            super::gc::advice(layout).iter().for_each(|advice| ui.note(advice));
        }
        if !report.errors.is_empty() && report.exit_code() != ExitCode::Interrupted {
            self.left_over().iter().for_each(|text| ui.note(text));
            ui.note(&self.advice());
        }
        ui.data(&Finished { event: "finished", exit_code: exit_code(report) as u8, report });
    }

    /// metrics.json: the table as data.
    pub(super) fn write_metrics(&self) -> Result<()> {
        let Self { report, layout } = *self;
        let mut bytes = serde_json::to_vec_pretty(report).unwrap_or_default();
        bytes.push(b'\n');
        fs::replace_unsynced(&layout.metrics(), &bytes)
    }

    /// A package in dist/ of which nobody shall think that this build made it.
    fn left_over(&self) -> Option<String> {
        let Self { report, layout } = *self;
        let is_package = |path: &Path| is_package_file(&path.file_name().unwrap_or_default().to_string_lossy());
        if report.published.iter().any(|published| is_package(Path::new(&published.path))) {
            return None;
        }
        let mut there: Vec<_> = std::fs::read_dir(&layout.dist).ok()?.flatten().map(|entry| entry.path()).collect();
        there.retain(|path| is_package(path));
        let first = there.iter().min()?;
        Some(format!("{} is of an earlier build: this one has made no package.", shown(first)))
    }

    fn advice(&self) -> String {
        let Self { report, layout } = *self;
        let state = shown(&layout.state());
        match report.exit_code() {
            ExitCode::Resumable => "Finished work is kept: run the same command again to resume.".to_owned(),
            _ => format!(
                "Finished work is kept: mend the cause and run the same command again, with `--on-change restart` where \
                 the cause was in config/. Details are in {state}."
            ),
        }
    }
}

/// What a run ends with, which knows of a signal only that there was one.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    match report.exit_code() {
        ExitCode::Interrupted => signals::exit_code(),
        code => code,
    }
}

/// What failed; that a run was interrupted is told once and not by each step.
pub(super) fn tell_errors(report: &Report, ui: &Ui) {
    let is_told = |error: &Error| ui.json || error.class() != Class::Interrupted;
    for RunError { step, error } in report.errors.iter().filter(|failed| is_told(&failed.error)) {
        match step {
            None => ui.error(error),
            Some(step) => ui.error(&error.clone().context(format!("step `{step}` failed"))),
        }
    }
    if !ui.json && report.exit_code() == ExitCode::Interrupted {
        let kept = "what is finished and what was downloaded is kept; run the same command again to go on";
        ui.error(&Error::interrupted().hint(kept));
    }
}

#[derive(Serialize)]
struct Finished<'a> {
    event: &'static str,
    exit_code: u8,
    #[serde(flatten)]
    report: &'a Report,
}

fn rows(report: &Report) -> Vec<Vec<String>> {
    let heading = ["", "step", "time", "items", "fetched", "reused", "retries", "result"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for step in &report.steps {
        let was_interrupted =
            report.errors.iter().any(|it| it.step.as_ref() == Some(&step.id) && it.error.class() == Class::Interrupted);
        let symbol = match (step.status, step.ran) {
            (Status::Completed, true) => "✓",
            (Status::Completed, false) => "=",
            (Status::Failed, _) if was_interrupted => "◐",
            (Status::Failed, _) => "✗",
            _ => "○",
        };
        let counts = &step.counts;
        let items = match (counts.items_done, counts.items_total) {
            (0, 0) => String::new(),
            (done, 0) => done.to_string(),
            (done, total) => format!("{done}/{total}"),
        };
        let size = |bytes: u64| if bytes == 0 { String::new() } else { text::bytes(bytes) };
        let result = if step.ran { step.summary.clone() } else { step.reason.clone() };
        rows.push(vec![
            symbol.to_owned(),
            step.id.to_string(),
            if step.ran { text::duration(step.duration_ms) } else { String::new() },
            items,
            size(counts.bytes_fetched),
            size(counts.bytes_reused),
            if counts.retries == 0 { String::new() } else { counts.retries.to_string() },
            result,
        ]);
    }
    rows
}
