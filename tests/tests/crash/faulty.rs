//! The build of the binary whose disk fails on demand, and what it is told to
//! do wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use airgap_tests::project::{Project, Run, Running, target_folder};

/// The program with a disk that fails on demand.
///
/// # Panics
/// When it is missing.
pub(crate) fn faulty_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = target_folder().join("faulty");
        assert!(path.is_file(), "{} is not there: run `make programs` first", path.display());
        path
    })
}

/// What happens to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// SIGKILL at this visit of a checkpoint.
    Kill { checkpoint: String, visit: u64 },
    /// The n-th operation fails.
    Fail { at: u64, error: &'static str },
    /// At the n-th operation the power goes: nothing that was not synced is
    /// there afterwards, neither bytes nor names.
    PowerLoss { at: u64 },
    /// The same, but the names reached the disk before the bytes did.
    TornPowerLoss { at: u64 },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { checkpoint, visit } => write!(f, "kill:{checkpoint}:{visit}"),
            Self::Fail { at, error } => write!(f, "fail:{at}:{error}"),
            Self::PowerLoss { at } => write!(f, "power-loss:{at}"),
            Self::TornPowerLoss { at } => write!(f, "torn-power-loss:{at}"),
        }
    }
}

/// Starts the binary with a plan.
pub(crate) fn start(project: &Project, plan: &impl fmt::Display, arguments: &[&str]) -> Running {
    let mut command = project.command_of(faulty_binary(), arguments);
    command.env("OPENCENTER_AIRGAP_FAULTS", plan.to_string());
    Running::spawn(&mut command, project.root())
}

/// Runs the binary with a plan to its end.
pub(crate) fn run(project: &Project, plan: &impl fmt::Display, arguments: &[&str]) -> Run {
    start(project, plan, arguments).finish()
}

/// Whether the run ended by SIGKILL.
pub(crate) fn was_killed(run: &Run) -> bool {
    run.status.signal() == Some(9)
}

/// What an undisturbed run did.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Each checkpoint with the number of its visits.
    pub(crate) checkpoints: BTreeMap<String, u64>,
    /// Each operation: "Rename /path".
    pub(crate) operations: Vec<String>,
}

/// Runs the binary to its successful end and counts.
pub(crate) fn count(project: &Project, arguments: &[&str]) -> Counted {
    let file = project.path("count");
    let _ = std::fs::remove_file(&file);
    run(project, &format!("count:{}", file.display()), arguments).success();
    let mut counted = Counted::default();
    for line in std::fs::read_to_string(&file).expect("the binary counts").lines() {
        match line.strip_prefix("checkpoint ") {
            Some(name) => *counted.checkpoints.entry(name.to_owned()).or_default() += 1,
            None => counted.operations.push(line.to_owned()),
        }
    }
    counted
}
