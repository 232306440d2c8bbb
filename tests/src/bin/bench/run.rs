//! Running the binary under a clock.

use std::process::Command;
use std::time::Duration;

use airgap_tests::measure::{Cost, cost, median};
use airgap_tests::project::Project;
use serde_json::Value;

/// One build that has to succeed.
pub(crate) fn build(project: &Project) -> anyhow::Result<Cost> {
    settle();
    let cost = run(project, &["build", "--quiet"]);
    anyhow::ensure!(cost.status.success(), "the build failed: {}", project.run(&["status"]));
    Ok(cost)
}

pub(crate) fn run(project: &Project, arguments: &[&str]) -> Cost {
    cost(&mut project.command(arguments))
}

/// The median of so many runs that have to succeed.
pub(crate) fn typical(project: &Project, arguments: &[&str], runs: usize) -> anyhow::Result<Duration> {
    let costs: Vec<Cost> = (0..runs).map(|_| run(project, arguments)).collect();
    anyhow::ensure!(costs.iter().all(|cost| cost.status.success()), "{arguments:?} failed");
    Ok(median(costs.into_iter().map(|cost| cost.time).collect()))
}

/// What earlier runs left to be written must not slow this one down.
pub(crate) fn settle() {
    let _ = Command::new("sync").status();
}

/// What the last build noted about itself.
pub(crate) fn metrics(project: &Project) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&project.read("build/metrics.json"))?)
}

pub(crate) fn steps(metrics: &Value) -> impl Iterator<Item = &Value> {
    metrics["steps"].as_array().into_iter().flatten()
}

/// The sum of a counter over all steps.
pub(crate) fn sum(metrics: &Value, counter: &str) -> u64 {
    steps(metrics).filter_map(|step| step["counts"][counter].as_u64()).sum()
}
