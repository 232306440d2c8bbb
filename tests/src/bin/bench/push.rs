//! `push` of a package into an empty docker-registry, beside `skopeo copy` of its
//! unpacked layout and, where it was built, `zarf package mirror-resources`,
//! taking turns.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airgap_tests::measure::{Cost, cost, median};
use airgap_tests::project::{Project, target_folder};
use airgap_tests::tools::{DockerRegistry, Skopeo, run};
use anyhow::Context;

use crate::run::{build, settle};
use crate::table::{Table, Target, Unit};
use crate::workload::{IMAGES, Workload};

const MEMORY: f64 = 100.0 * 1024.0 * 1024.0;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let Some(workload) = Workload::new(1) else { return Ok(()) };
    let Some(skopeo) = Skopeo::find() else { return Ok(()) };
    table.begin(&format!("{IMAGES} images out of a package into an empty docker-registry"));
    let project = workload.project();
    build(&project)?;
    let unpacked = tempfile::tempdir()?;
    unpack(&project, unpacked.path());
    let (mut ours, mut theirs, mut zarfs) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0;
    for _ in 0..rounds {
        theirs.push(into_empty(|host| copy(&skopeo, &project, unpacked.path(), host))?);
        let own = push(&project)?;
        memory = memory.max(own.memory);
        ours.push(own.time);
        if let Some(zarf) = zarf() {
            zarfs.push(into_empty(|host| mirror(&zarf, &project, host))?);
        }
    }
    again(table, &project)?;
    let [ours, theirs] = [ours, theirs].map(|times| median(times).as_secs_f64());
    table.tell("`skopeo copy` of each image of the unpacked layout, median", Unit::Seconds, theirs);
    if !zarfs.is_empty() {
        table.tell("`zarf package mirror-resources`, median", Unit::Seconds, median(zarfs).as_secs_f64());
    }
    table.tell("`push`, median", Unit::Seconds, ours);
    table.row("`push` ÷ skopeo", Unit::Times, Target::AtMost(1.0), ours / theirs);
    table.row("`push`, peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), memory as f64);
    Ok(())
}

fn registry() -> anyhow::Result<DockerRegistry> {
    DockerRegistry::start().context("docker-registry is installed")
}

fn into_empty(fill: impl FnOnce(&str) -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let registry = registry()?;
    settle();
    fill(&registry.host())
}

fn of_ours(project: &Project, host: &str) -> anyhow::Result<Cost> {
    let package = project.package().display().to_string();
    let cost = cost(&mut project.command(&["push", &package, host, "--plain-http", "--quiet"]));
    anyhow::ensure!(cost.status.success(), "push failed");
    Ok(cost)
}

fn push(project: &Project) -> anyhow::Result<Cost> {
    let registry = registry()?;
    settle();
    of_ours(project, &registry.host())
}

/// With everything there.
fn again(table: &mut Table, project: &Project) -> anyhow::Result<()> {
    let registry = registry()?;
    of_ours(project, &registry.host())?;
    let times = (0..5).map(|_| of_ours(project, &registry.host()).map(|cost| cost.time));
    let times = times.collect::<anyhow::Result<Vec<Duration>>>()?;
    table.tell("`push` of what is there already", Unit::Milliseconds, median(times).as_secs_f64());
    Ok(())
}

fn unpack(project: &Project, folder: &Path) {
    let script = format!("zstd -dc '{}' | tar -xf - -C '{}' images", project.package().display(), folder.display());
    run(Command::new("sh").args(["-c", &script]));
}

fn copy(skopeo: &Skopeo, project: &Project, unpacked: &Path, host: &str) -> anyhow::Result<Duration> {
    let package = project.package().display().to_string();
    let mut total = Duration::ZERO;
    for image in project.run(&["inspect", "images", &package]).success().stdout.lines() {
        let path = image.split_once('/').context("a full name")?.1;
        let mut command = skopeo.command();
        command.args(["copy", "--quiet", "--all", "--dest-tls-verify=false"]);
        command.args([format!("oci:{}/images:{image}", unpacked.display()), format!("docker://{host}/{path}")]);
        let cost = cost(&mut command);
        anyhow::ensure!(cost.status.success(), "{command:?} failed");
        total += cost.time;
    }
    Ok(total)
}

/// The newest release of Zarf, as `make interop` builds it.
fn zarf() -> Option<PathBuf> {
    let folder = target_folder().parent()?.join("interop/bin");
    let programs = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    programs.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("zarf-"))).max()
}

fn mirror(zarf: &Path, project: &Project, host: &str) -> anyhow::Result<Duration> {
    let package = project.package().display().to_string();
    let home = tempfile::tempdir()?;
    let mut command = Command::new(zarf);
    command.args(["package", "mirror-resources", &package, "--confirm", "--images", "--plain-http"]);
    command.args(["--no-img-checksum", "--registry-url", host]);
    command.args(["--registry-push-username", "push", "--registry-push-password", "x"]);
    let cost = cost(command.env("HOME", home.path()).current_dir(home.path()));
    anyhow::ensure!(cost.status.success(), "{command:?} failed");
    Ok(cost.time)
}
