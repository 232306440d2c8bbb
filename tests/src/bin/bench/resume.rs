//! From the start of a build to the first byte of a large layer: behind 1 GiB
//! that is there already, and from scratch.

use std::fs::File;
use std::time::{Duration, Instant};

use airgap_tests::digest::sha256_file;
use airgap_tests::fault::{Fault, On};
use airgap_tests::http::{Content, LoggedRequest};
use airgap_tests::images::{Blob, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use airgap_tests::measure::median;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::soak::SYNC_INTERVAL;
use serde_json::json;

use crate::table::{Table, Target, Unit, difference};

const THERE: u64 = 1 << 30;
/// Where the first build is killed: so that a sync was behind `THERE`.
const KILLED_AT: u64 = THERE + SYNC_INTERVAL;
const SIZE: u64 = THERE + (64 << 20);
const RUNS: usize = 7;
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let large = Large::new()?;
    let project = large.project();
    large.until(&project, KILLED_AT)?;
    let mut resumed = Vec::new();
    let mut scratch = Vec::new();
    for _ in 0..RUNS {
        scratch.push(large.until(&large.project(), 1)?);
        resumed.push(large.until(&project, 1)?);
        let ranges = large.registry.requests("GET", &large.digest);
        let start = ranges.first().and_then(|entry| entry.range).map_or(0, |(start, _)| start);
        anyhow::ensure!(start >= THERE, "resumed from {start}");
    }
    let (resumed, scratch) = (median(resumed), median(scratch));
    table.begin(&format!("From the start to the first byte of a layer, the median of {RUNS} runs"));
    table.tell("from scratch", Unit::Milliseconds, scratch.as_secs_f64());
    table.tell("behind a partial blob of 1 GiB", Unit::Milliseconds, resumed.as_secs_f64());
    let more = difference(resumed, scratch);
    // What a killed build left is read and hashed before it counts.
    table.row("what resuming takes longer, the GiB hashed again", Unit::Milliseconds, Target::AtMost(1.0), more);
    Ok(())
}

/// A registry with one image of one large layer, all zeros in a sparse file.
struct Large {
    registry: Registry,
    digest: String,
    _folder: tempfile::TempDir,
}

impl Large {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("layer");
        File::create(&path)?.set_len(SIZE)?;
        let digest = format!("sha256:{}", sha256_file(&path));
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [digest] },
        });
        let config = Blob::new(OCI_CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(),
            "layers": [{ "mediaType": OCI_LAYER, "digest": digest, "size": SIZE }],
        });
        let manifest = Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes());
        let registry = Registry::start();
        registry.push_blob("large", &config.digest, Content::Memory(config.bytes));
        registry.push_blob("large", &digest, Content::file(path));
        registry.push_manifest("large", Some("1"), &manifest);
        Ok(Self { registry, digest, _folder: folder })
    }

    fn project(&self) -> Project {
        Project::new().with_registry(&self.registry.host()).with_image(self.registry.reference("large:1"))
    }

    /// Builds until so many bytes of the layer came, then kills. Says how long
    /// that took.
    fn until(&self, project: &Project, bytes: u64) -> anyhow::Result<Duration> {
        crate::run::settle();
        self.registry.heal();
        self.registry.forget();
        let enough = bytes.max(64 << 10);
        self.registry.fault(On::get(self.digest.as_str()), Fault::hang(enough));
        let begun = Instant::now();
        let running = project.start(&["build"]);
        let sent =
            |log: &[LoggedRequest]| log.iter().any(|entry| entry.path.contains(&self.digest) && entry.sent >= bytes);
        self.registry.wait_until(LIMIT, sent);
        let time = begun.elapsed();
        if bytes > 1 {
            arrived(project, bytes)?;
        }
        running.kill();
        Ok(time)
    }
}

/// Waits until the partial blob has so many bytes.
fn arrived(project: &Project, bytes: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    let there = || {
        let folders = std::fs::read_dir(project.path("build/store/partial")).into_iter().flatten().flatten();
        folders.filter_map(|folder| Some(std::fs::metadata(folder.path().join("data")).ok()?.len())).max()
    };
    while there().is_none_or(|there| there < bytes) {
        anyhow::ensure!(Instant::now() < deadline, "{:?} of {bytes} bytes after {LIMIT:?}", there());
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
