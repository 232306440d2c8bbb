//! `make soak`: kills builds at random moments. The last line is the figure.
//!
//! `soak [kills] [seed]`: 200 kills of builds from the real registry.

use airgap_tests::soak::{Report, Soak};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kills: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut soak = Soak::with_real_registry(seed, 96 << 20)
        .ok_or_else(|| anyhow::anyhow!("docker-registry and skopeo are needed: run `make tools`"))?;
    let report = soak.run(kills, tell);
    println!(
        "soak: {} kills, {} builds, {} resumed ranges, {} bytes kept, {} bytes refetched, {} mismatches",
        report.kills,
        report.builds,
        report.resumed_ranges,
        report.bytes_kept,
        report.bytes_refetched,
        report.mismatches
    );
    anyhow::ensure!(report.mismatches == 0, "packages differ from the undisturbed one");
    Ok(())
}

fn tell(report: &Report) {
    println!("{:>5} kills, {:>4} packages", report.kills, report.builds);
}
