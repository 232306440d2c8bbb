//! The step that makes SBOMs, over layers of one GiB at most, beside `syft scan` of the
//! same image, where `make interop` has built syft; taking turns.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use airgap_tests::digest::sha256;
use airgap_tests::images::{Blob, Image, Layer, OCI_LAYER_GZIP};
use airgap_tests::measure::{cost, median};
use airgap_tests::project::{Project, target_folder};
use airgap_tests::registry::Registry;
use airgap_tests::tools::Skopeo;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::compare::MEMORY;
use crate::run::{build, metrics, settle, steps};
use crate::table::{Table, Target, Unit};

const LAYERS: usize = 4;
/// Bytes of a layer before it is packed, and of one file at most.
const LAYER: u64 = 256 << 20;
const LARGEST: u64 = 64 << 20;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let syft = target_folder().parent().expect("target/ has profiles").join("interop/bin/syft");
    let Some(skopeo) = Skopeo::find().filter(|_| syft.is_file()) else {
        println!("\nSKIPPED: syft is built by `make interop`, and skopeo is Debian's");
        return Ok(());
    };
    let registry = Registry::start();
    let (layers, files, bytes) = layers();
    registry.push("bench/app:1", &Image::new(1, &layers));
    drop(layers);
    let reference = registry.reference("bench/app:1");
    let layout = tempfile::tempdir()?;
    let target = format!("oci:{}:1", layout.path().display());
    let mut copy = skopeo.command();
    copy.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}"), &target]);
    anyhow::ensure!(cost(&mut copy).status.success(), "{copy:?} failed");
    table.begin(&format!("The SBOM of {} MiB of this machine's programs: {files} files", bytes >> 20));
    let (mut ours, mut theirs, mut memory, mut their_memory) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..rounds {
        settle();
        let mut scan = Command::new(&syft);
        scan.args(["scan", "-q", "-o", "syft-json", &format!("oci-dir:{}", layout.path().display())]);
        let scan = cost(scan.env("SYFT_CHECK_FOR_APP_UPDATE", "false"));
        anyhow::ensure!(scan.status.success(), "syft failed");
        theirs.push(scan.time);
        their_memory = their_memory.max(scan.memory);
        let project = Project::new().with_registry(&registry.host()).with_image(&reference);
        memory = memory.max(build(&project)?.memory);
        ours.push(step(&project)?);
    }
    let [ours, theirs] = [ours, theirs].map(|times| median(times).as_secs_f64());
    table.tell("`syft scan` of the image, median", Unit::Seconds, theirs);
    table.tell("the step `sbom`, median", Unit::Seconds, ours);
    table.row("`syft scan` ÷ the step", Unit::Times, Target::AtLeast(5.0), theirs / ours);
    table.row("the whole build, peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), memory as f64);
    table.tell("`syft scan`, peak memory", Unit::Mebibytes, their_memory as f64);
    Ok(())
}

/// How long the step took.
fn step(project: &Project) -> anyhow::Result<Duration> {
    let metrics = metrics(project)?;
    let step = steps(&metrics).find(|step| step["id"] == "sbom");
    let took = step.and_then(|step| step["duration_ms"].as_u64());
    Ok(Duration::from_millis(took.ok_or_else(|| anyhow::anyhow!("the build has no step sbom"))?))
}

/// The programs and libraries of this machine, which are what images are made of:
/// four layers of 256 MiB at most, and the list of its packages in the first.
fn layers() -> (Vec<Layer>, usize, u64) {
    let mut open: Vec<PathBuf> = ["/usr/local", "/usr/share", "/usr/lib", "/usr/bin"].map(PathBuf::from).into();
    let mut packed = vec![Builder::default()];
    let status = std::fs::read("/var/lib/dpkg/status").unwrap_or_default();
    packed[0].add("var/lib/dpkg/status", &status);
    let (mut files, mut bytes) = (1, status.len() as u64);
    while let Some(path) = open.pop() {
        let Ok(about) = path.symlink_metadata() else { continue };
        if about.is_dir() {
            let mut inside: Vec<PathBuf> =
                std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            inside.sort();
            open.extend(inside);
            continue;
        }
        let Some(content) = std::fs::read(&path).ok().filter(|_| about.is_file() && about.len() <= LARGEST) else {
            continue;
        };
        if packed.last().is_some_and(|layer| layer.bytes + about.len() > LAYER) {
            if packed.len() == LAYERS {
                break;
            }
            packed.push(Builder::default());
        }
        let name = path.to_string_lossy().trim_start_matches('/').to_owned();
        packed.last_mut().into_iter().for_each(|layer| layer.add(&name, &content));
        (files, bytes) = (files + 1, bytes + about.len());
    }
    (packed.into_iter().map(Builder::finish).collect(), files, bytes)
}

/// A layer in the making: packed as registries hold them.
struct Builder {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    bytes: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self { tar: tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast())), bytes: 0 }
    }
}

impl Builder {
    fn add(&mut self, path: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        self.tar.append_data(&mut header, path, content).expect("memory takes it");
        self.bytes += content.len() as u64;
    }

    fn finish(self) -> Layer {
        let packed = self.tar.into_inner().and_then(GzEncoder::finish).expect("memory takes it");
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).expect("it is whole");
        Layer { diff_id: format!("sha256:{}", sha256(&tar)), blob: Blob::new(OCI_LAYER_GZIP, packed) }
    }
}
