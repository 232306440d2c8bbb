//! The step that makes SBOMs, over layers of one GiB, beside `syft scan` of the
//! same image, where `make interop` has built syft; taking turns.

use std::process::Command;

use airgap_tests::images::{Blob, Image, Layer, OCI_LAYER_GZIP, half_noise, tar_of};
use airgap_tests::measure::{cost, median};
use airgap_tests::project::{Project, target_folder};
use airgap_tests::registry::Registry;
use airgap_tests::tools::Skopeo;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::time::Duration;

use crate::compare::MEMORY;
use crate::run::{build, metrics, settle, steps};
use crate::table::{Table, Target, Unit};

const LAYERS: u64 = 4;
/// Files of a layer, and bytes of each: 256 MiB.
const FILES: u64 = 4096;
const FILE: usize = 64 << 10;
/// Packages of Debian in each layer.
const PACKAGES: usize = 500;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let syft = target_folder().parent().expect("target/ has profiles").join("interop/bin/syft");
    let Some(skopeo) = Skopeo::find().filter(|_| syft.is_file()) else {
        println!("\nSKIPPED: syft is built by `make interop`, and skopeo is Debian's");
        return Ok(());
    };
    let registry = Registry::start();
    registry.push("bench/app:1", &Image::new(1, &(0..LAYERS).map(layer).collect::<Vec<_>>()));
    let reference = registry.reference("bench/app:1");
    let layout = tempfile::tempdir()?;
    let target = format!("oci:{}:1", layout.path().display());
    let mut copy = skopeo.command();
    copy.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}"), &target]);
    anyhow::ensure!(cost(&mut copy).status.success(), "{copy:?} failed");
    table.begin("The SBOM of 1 GiB of layers: 16,384 files, 2,000 packages");
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

/// As registries hold them: half of it shrinks, and it is packed.
fn layer(number: u64) -> Layer {
    let files: Vec<(String, Vec<u8>)> = (0..FILES)
        .map(|file| (format!("usr/lib/{number}/{file}.so"), half_noise(number * FILES + file, FILE)))
        .chain([("var/lib/dpkg/status".to_owned(), status(number).into_bytes())])
        .collect();
    let named: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let tar = tar_of(&named);
    let diff_id = format!("sha256:{}", airgap_tests::digest::sha256(&tar));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar).expect("memory takes it");
    Layer { blob: Blob::new(OCI_LAYER_GZIP, encoder.finish().expect("memory takes it")), diff_id }
}

/// Each layer has those of the layers below as well.
fn status(layer: u64) -> String {
    let packages = 0..PACKAGES * (layer as usize + 1);
    let entry = |number| {
        format!(
            "Package: lib{number}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.{number}-1\nMaintainer: Nobody <nobody@example.com>\nDescription: a library\n\n"
        )
    };
    packages.map(entry).collect()
}
