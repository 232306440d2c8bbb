//! What came of a build: the table at the end, metrics.json, the exit code.

use serde::Serialize;

use crate::state::Status;
use base::error::Error;
use base::exit_code::ExitCode;
use base::progress::Counts;
use base::timestamp::Stamp;
use config::pipeline::StepId;
use config::publish::Published;

/// The result of one run of `build`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which build it was, as in state.json.
    pub build_id: String,
    /// When the run began.
    pub started_at: Stamp,
    /// Milliseconds of this run.
    pub duration_ms: u64,
    /// Whether every step was done already.
    pub nothing_to_do: bool,
    /// One row for each step, in the order of the pipeline.
    pub steps: Vec<StepReport>,
    /// What the steps published into dist/.
    pub published: Vec<Published>,
    /// As they were shown, in order.
    pub warnings: Vec<String>,
    /// What failed, in the order in which it did.
    #[serde(skip)]
    pub errors: Vec<RunError>,
}

/// What failed in a run.
#[derive(Clone, Debug)]
pub struct RunError {
    /// The id of the step that failed; None for what ended the run as a whole.
    pub step: Option<StepId>,
    /// Why.
    pub error: Error,
}

impl RunError {
    pub(crate) fn of_the_run(error: Error) -> Self {
        Self { step: None, error }
    }
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// The step's id.
    pub id: StepId,
    /// What people call it.
    pub name: String,
    /// Where it stands at the end.
    pub status: Status,
    /// Whether it ran now, or was done before.
    pub ran: bool,
    /// Why it ran, or why it did not.
    pub reason: String,
    /// Attempts in this run; 0 where it did not run.
    pub attempts: u32,
    /// Milliseconds: of the attempt that completed it, now or earlier; of all that failed
    /// together, where none did.
    pub duration_ms: u64,
    /// What it made, on one line; of a failed step its error.
    pub summary: String,
    /// What it fetched and found in the store in this run.
    pub counts: Counts,
}

impl Report {
    /// The exit code of the errors together.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::of_all(self.errors.iter().map(|failed| &failed.error))
    }
}
