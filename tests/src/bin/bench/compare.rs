//! Whole builds beside `skopeo copy` and `tar | zstd`, taking turns.

use std::path::PathBuf;

use airgap_tests::digest::sha256;
use airgap_tests::measure::{DiskWatch, bytes_read, median};
use airgap_tests::project::{Project, target_folder};
use anyhow::Context as _;

use crate::run::{build, metrics, run, steps, sum, typical};
use crate::table::{Table, Target, Unit};
use crate::workload::{IMAGES, LEAST_REQUESTS, Workload};

/// Peak memory of `verify`, of however large a package.
const VERIFY_MEMORY: f64 = 48.0 * 1024.0 * 1024.0;
/// Bytes that a look into any package reads, of its frames and its index.
const INSPECTED: f64 = 2e6;
/// How the index of a package begins.
const INDEX: [u8; 4] = 0x184D_2A5D_u32.to_le_bytes();
/// Peak memory of any build.
pub(crate) const MEMORY: f64 = 100.0 * 1024.0 * 1024.0;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let Some(workload) = Workload::new(1) else { return Ok(()) };
    table.begin(&format!("{IMAGES} images of 5 layers from a local docker-registry, cold store"));
    table.tell("blobs", Unit::Megabytes, workload.payload as f64);
    // Compiles the plugins into the shared cache.
    build(&workload.project())?;
    rounds_of(table, &workload, rounds)?;
    cold_cache(table, &workload)?;
    one_build(table, &workload)
}

fn rounds_of(table: &mut Table, workload: &Workload, rounds: usize) -> anyhow::Result<()> {
    let (mut theirs, mut ours, mut memory) = (Vec::new(), Vec::new(), 0);
    for round in 1..=rounds {
        let other = workload.by_hand()?.time;
        let own = build(&workload.project())?;
        let both = own.time.as_secs_f64() / other.as_secs_f64();
        table.tell(&format!("round {round}: build ÷ by hand"), Unit::Times, both);
        theirs.push(other);
        ours.push(own.time);
        memory = memory.max(own.memory);
    }
    let (theirs, ours) = (median(theirs).as_secs_f64(), median(ours).as_secs_f64());
    table.tell("skopeo, tar and zstd by hand, median", Unit::Seconds, theirs);
    table.tell("`build`, median", Unit::Seconds, ours);
    table.row("`build` ÷ by hand", Unit::Times, Target::AtMost(0.5), ours / theirs);
    table.row("peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), memory as f64);
    Ok(())
}

fn cold_cache(table: &mut Table, workload: &Workload) -> anyhow::Result<()> {
    let project = workload.project().with_env("XDG_CACHE_HOME", empty_cache()?.display().to_string());
    let cost = build(&project)?;
    table.tell("with a cold compilation cache", Unit::Seconds, cost.time.as_secs_f64());
    table.tell("with a cold compilation cache, peak memory", Unit::Mebibytes, cost.memory as f64);
    Ok(())
}

/// A folder for a cache that nobody has used.
pub(crate) fn empty_cache() -> anyhow::Result<PathBuf> {
    let folder = target_folder().join("bench-cold-cache");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

/// What one build fetched and wrote, and how fast the package is verified.
fn one_build(table: &mut Table, workload: &Workload) -> anyhow::Result<()> {
    let project = workload.project();
    let watch = DiskWatch::start(project.root());
    build(&project)?;
    let disk = watch.stop();
    let metrics = metrics(&project)?;
    table.tell("bytes fetched", Unit::Megabytes, sum(&metrics, "bytes_fetched") as f64);
    let least = Target::AtMost(LEAST_REQUESTS as f64);
    table.row("requests", Unit::Count, least, sum(&metrics, "requests") as f64);
    table.row("peak disk ÷ payload", Unit::Times, Target::AtMost(2.1), disk as f64 / workload.payload as f64);
    for step in steps(&metrics) {
        let name = format!("step {}", step["id"].as_str().unwrap_or("?"));
        table.tell(&name, Unit::Milliseconds, step["duration_ms"].as_f64().unwrap_or(0.0) / 1e3);
    }
    table.tell("the package", Unit::Megabytes, std::fs::metadata(project.package())?.len() as f64);
    let speed = verify(table, &project, workload)?;
    table.row("`verify`, of what is packaged", Unit::GigabytesPerSecond, Target::AtLeast(1e9), speed);
    inspect(table, &project)?;
    table.tell("SHA-256 on one core; `verify` needs it twice", Unit::GigabytesPerSecond, sha256_speed());
    Ok(())
}

/// A look into the package, which says where everything is in it, and into one
/// that does not.
fn inspect(table: &mut Table, project: &Project) -> anyhow::Result<()> {
    let package = project.package().display().to_string();
    let time = typical(project, &["inspect", &package], 5)?.as_secs_f64();
    table.row("`inspect`", Unit::Milliseconds, Target::AtMost(0.1), time);
    let read = bytes_read(&mut project.command(&["inspect", &package])) as f64;
    table.row("`inspect`, bytes read", Unit::Megabytes, Target::AtMost(INSPECTED), read);
    let bytes = std::fs::read(&package)?;
    let index = bytes.windows(12).rposition(|bytes| bytes.starts_with(&INDEX) && bytes.ends_with(b"entr"));
    project.write("older.tar.zst", &bytes[..index.context("a package has an index")?]);
    let time = typical(project, &["inspect", "older.tar.zst"], 3)?.as_secs_f64();
    table.tell("`inspect`, without the index", Unit::Milliseconds, time);
    Ok(())
}

/// Verifies the package: its speed in bytes of content per second, and a row
/// for the memory.
pub(crate) fn verify(table: &mut Table, project: &Project, workload: &Workload) -> anyhow::Result<f64> {
    let package = project.package().display().to_string();
    let time = typical(project, &["verify", &package], 5)?.as_secs_f64();
    let memory = run(project, &["verify", &package]).memory;
    table.row("`verify`, peak memory", Unit::Mebibytes, Target::AtMost(VERIFY_MEMORY), memory as f64);
    Ok(workload.payload as f64 / time)
}

/// Bytes per second: what bounds everything that checks digests.
fn sha256_speed() -> f64 {
    const BYTES: usize = 64 << 20;
    let content = vec![7; BYTES];
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        std::hint::black_box(sha256(std::hint::black_box(&content)));
        times.push(begun.elapsed());
    }
    BYTES as f64 / median(times).as_secs_f64()
}
