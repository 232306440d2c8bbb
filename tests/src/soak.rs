//! Kills builds at random moments, again and again, and compares what comes
//! out with an undisturbed build.
//!
//! Each project is built until it is done, however often it is killed on the
//! way. Before each rerun the partial blobs are measured; the ranges that the
//! rerun asks for must start no earlier than that, less one sync interval.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::{Fault, On};
use crate::http::Server;
use crate::images::{Image, Noise, Packing, layer_of};
use crate::package::Package;
use crate::pass_through::PassThrough;
use crate::platform::Platform;
use crate::project::Project;
use crate::registry::Registry;
use crate::tools::{DockerRegistry, Skopeo};

/// Bytes that a stream may have to fetch again after a kill: an interval, and
/// the piece that completes it.
pub const SYNC_INTERVAL: u64 = 17 << 20;

/// What a soak found. What is wrong beside another package panics.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub kills: usize,
    pub builds: usize,
    /// Packages that differ from the undisturbed one.
    pub mismatches: usize,
    /// Ranges that were asked for after a kill.
    pub resumed_ranges: usize,
    /// Bytes of the partial blobs that were not fetched again.
    pub bytes_kept: u64,
    /// Bytes that were there and had to be fetched again.
    pub bytes_refetched: u64,
    pub sha256: String,
}

/// What is built: a platform, and one image with a layer of many sync
/// intervals. Its images come from a real registry where there is one.
pub struct Soak {
    platform: Platform,
    real: Option<Real>,
    noise: Noise,
}

/// A real registry behind a server that logs and is slow.
struct Real {
    front: PassThrough,
    _registry: DockerRegistry,
}

impl Soak {
    /// `large` is the size of the largest layer.
    pub fn new(seed: u64, large: usize) -> Self {
        let platform = Platform::start();
        let layer = layer_of("large", &Noise::new(seed).bytes(large), Packing::Plain);
        platform.registry.push("large:1", &Image::new(seed, &[layer]));
        Self { platform, real: None, noise: Noise::new(seed) }
    }

    /// The same with every image in a real registry; None where it or skopeo
    /// is not installed.
    pub fn with_real_registry(seed: u64, large: usize) -> Option<Self> {
        let mut soak = Self::new(seed, large);
        let (real, skopeo) = (DockerRegistry::start()?, Skopeo::find()?);
        for name in [
            "library/web:1.27.0",
            "team/api:2.1.0",
            "team/worker:2.1.0",
            "pause:3.10",
            "manifests-only:1.0.0",
            "large:1",
        ] {
            let from = format!("docker://{}", soak.platform.registry.reference(name));
            let to = format!("docker://{}", real.reference(name));
            skopeo.copy(&["--all", "--preserve-digests"], &from, &to);
        }
        soak.real = Some(Real { front: PassThrough::start(&real.host()), _registry: real });
        Some(soak)
    }

    fn registry(&self) -> &Registry {
        &self.platform.registry
    }

    /// Who is asked for blobs.
    fn server(&self) -> &Server {
        self.real.as_ref().map_or(&**self.registry(), |real| &*real.front)
    }

    fn project(&self) -> Project {
        let project = self.platform.configure(Project::new().with_env("SOURCE_DATE_EPOCH", "1700000000"));
        let project = project.with_image(self.registry().reference("large:1"));
        let Some(real) = &self.real else { return project };
        let (host, location) = (self.registry().host(), real.front.host());
        project.with_settings(|settings| {
            settings["registries"][host] = serde_json::json!({
                "mirrors": [{ "location": location, "plain_http": true }],
                "mirrors_only": true,
            });
        })
    }

    /// Kills builds until there were `kills` kills, and finishes the last one.
    ///
    /// # Panics
    /// When a rerun fails, something is left over, or a rerun asks for bytes
    /// that were safe already.
    pub fn run(&mut self, kills: usize, mut tell: impl FnMut(&Report)) -> Report {
        // The large layer takes long enough to be killed in the middle of.
        let rate = 32 << 20;
        self.server().fault(On::get("/large/blobs/"), Fault::Slow { bytes_per_second: rate });
        let undisturbed = self.project();
        let begun = Instant::now();
        undisturbed.build();
        let whole = begun.elapsed();
        let mut report = Report { sha256: Package::open(&undisturbed.package()).sha256, ..Report::default() };
        while report.kills < kills {
            let project = self.project();
            self.one(&project, whole, kills, &mut report);
            report.builds += 1;
            tell(&report);
        }
        report
    }

    /// Builds one project to its end through as many kills as it takes.
    fn one(&mut self, project: &Project, whole: Duration, kills: usize, report: &mut Report) {
        loop {
            self.server().forget();
            let before = partial_blobs(project.root());
            let mut running = project.start(&["build"]);
            // Random on purpose: a kill may come at any moment.
            let share = self.noise.number() % 1_000;
            thread::sleep(whole.mul_f64(share as f64 / 1_000.0));
            if report.kills < kills && running.is_running() {
                running.kill();
                report.kills += 1;
                self.check_ranges(&before, report);
                continue;
            }
            running.finish().success();
            self.check_ranges(&before, report);
            break;
        }
        let package = Package::open(&project.package());
        report.mismatches += usize::from(package.sha256 != report.sha256);
        assert!(partial_blobs(project.root()).is_empty(), "partial blobs are left over");
        let staging = std::fs::read_dir(project.path("build/staging")).map(Iterator::count).unwrap_or(0);
        assert_eq!(staging, 0, "a transaction is left over");
    }

    /// No range starts before what was safe.
    fn check_ranges(&self, before: &BTreeMap<String, u64>, report: &mut Report) {
        for (digest, kept) in before {
            let Some(first) = self.server().requests("GET", digest).into_iter().next() else { continue };
            let start = first.range.map_or(0, |(start, _)| start);
            assert!(start + SYNC_INTERVAL >= *kept, "{kept} bytes of {digest} were there, asked from {start}");
            report.resumed_ranges += usize::from(start > 0);
            report.bytes_kept += start;
            report.bytes_refetched += kept.saturating_sub(start);
        }
    }
}

/// The bytes of each partial blob that is known by its digest.
pub fn partial_blobs(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for folder in std::fs::read_dir(root.join("build/store/partial")).into_iter().flatten().flatten() {
        let journal = std::fs::read_to_string(folder.path().join("journal")).unwrap_or_default();
        let size = std::fs::metadata(folder.path().join("data")).map_or(0, |data| data.len());
        if let Some(at) = journal.find("sha256:") {
            found.insert(journal[at..].chars().take(71).collect(), size);
        }
    }
    found
}
