//! What came of a build: the table at the end, metrics.json, the exit code.

use serde::Serialize;

use crate::state::Status;
use base::error::Error;
use base::exit_code::ExitCode;
use base::progress::Counts;
use base::timestamp::Stamp;
use config::publish::Published;

/// The result of one run of `build`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub build_id: String,
    pub started_at: Stamp,
    pub duration_ms: u64,
    /// Whether every step was done already.
    pub nothing_to_do: bool,
    pub steps: Vec<StepReport>,
    /// What the steps published into dist/.
    pub published: Vec<Published>,
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub errors: Vec<RunError>,
}

/// What failed in a run.
#[derive(Clone, Debug)]
pub struct RunError {
    /// The id of the step that failed; None for what ended the run as a whole.
    pub step: Option<String>,
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
    pub id: String,
    pub name: String,
    pub status: Status,
    /// Whether it ran now, or was done before.
    pub ran: bool,
    /// Why it ran, or why it did not.
    pub reason: String,
    pub attempts: u32,
    pub duration_ms: u64,
    pub summary: String,
    pub counts: Counts,
}

impl Report {
    /// The exit code of the errors together.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::of_all(self.errors.iter().map(|failed| &failed.error))
    }
}
