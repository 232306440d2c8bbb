//! `make soak`: kills builds at random moments. The last line is the figure.
//!
//! `soak [kills] [seed]`: 200 kills, half of them against the real registry.

use airgap_tests::soak::{Report, Soak};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kills: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut total = Report::default();
    println!("ranges are checked against a registry in memory, {} kills", kills / 2);
    add(&mut total, &Soak::new(seed, 96 << 20).run(kills / 2, tell));
    println!("against docker-registry, {} kills", kills - kills / 2);
    let mut real = Soak::with_real_registry(seed + 1, 96 << 20)
        .ok_or_else(|| anyhow::anyhow!("docker-registry and skopeo are needed: run `make tools`"))?;
    add(&mut total, &real.run(kills - kills / 2, tell));
    println!(
        "{} kills, {} packages all equal to the undisturbed ones, {} ranges resumed, {} MB not fetched again",
        total.kills,
        total.builds,
        total.resumed_ranges,
        total.bytes_kept / 1_000_000
    );
    Ok(())
}

fn tell(report: &Report) {
    println!("{:>5} kills, {:>4} packages", report.kills, report.builds);
}

fn add(total: &mut Report, part: &Report) {
    total.kills += part.kills;
    total.builds += part.builds;
    total.resumed_ranges += part.resumed_ranges;
    total.bytes_kept += part.bytes_kept;
}
