//! What a finished build made, for comparing it with another one, and what it
//! must not leave behind.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::digest::sha256_file;
use crate::project::Project;

/// What two builds of one configuration have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// SHA-256 of the package.
    pub package: String,
    pub components: String,
    pub lock: String,
}

impl Outcome {
    pub fn of(project: &Project) -> Self {
        Self {
            package: sha256_file(&project.package()),
            components: project.read("config/components.yaml"),
            lock: without_time(&project.read("config/airgap.lock")),
        }
    }
}

impl Outcome {
    /// What another build made otherwise; lines that are in one of them alone.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.package != other.package {
            found.push(format!("package {} and {}", self.package, other.package));
        }
        for (one, another) in [(&self.components, &other.components), (&self.lock, &other.lock)] {
            let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
            found.extend(one.lines().filter(|line| lacks(another, line)).map(|line| format!("- {line}")));
            found.extend(another.lines().filter(|line| lacks(one, line)).map(|line| format!("+ {line}")));
        }
        found
    }
}

/// What the lock says without what depends on the build that saw it: when it
/// began, and its name.
fn without_time(lock: &str) -> String {
    let is_of_build = |line: &&str| line.starts_with("resolved_at") || line.trim_start().starts_with("build: ");
    lock.lines().filter(|line| !is_of_build(line)).collect::<Vec<_>>().join("\n")
}

/// What lies around after a finished build and must not: transactions, partial
/// downloads, temporary files, trees of no step.
pub fn leftovers(project: &Project) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for folder in ["build/staging", "build/store/partial"] {
        left.extend(entries(&project.path(folder)));
    }
    for folder in ["build", "config", "dist"] {
        collect_temporary(&project.path(folder), &project.path("config"), &mut left);
    }
    let known = if project.exists("build/state.json") { steps(&project.state(), None) } else { Vec::new() };
    left.extend(entries(&project.path("build/steps")).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !known.iter().any(|id| *id == name.trim_end_matches(".json"))
    }));
    left
}

/// The ids of the steps with a status; without one, of all.
pub fn steps(state: &Value, status: Option<&str>) -> Vec<String> {
    let steps = state["steps"].as_array().into_iter().flatten();
    let wanted = steps.filter(|step| status.is_none_or(|status| step["status"] == status));
    wanted.filter_map(|step| step["id"].as_str().map(str::to_owned)).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn collect_temporary(folder: &Path, config: &Path, left: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of_git = name.ends_with(".lock") && name != "state.lock" && !path.starts_with(config);
        if name.ends_with(".tmp") || of_git || name.starts_with("tmp_") {
            left.push(path.clone());
        }
        if path.is_dir() && !path.is_symlink() {
            collect_temporary(&path, config, left);
        }
    }
}
