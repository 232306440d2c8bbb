//! `make soak`: kills builds at random moments. The last line is the figure.
//!
//! `soak [kills] [seed]`: 200 kills of builds from the real registry. The seed
//! decides what is built and when it is killed; without one, chance does.

use airgap_tests::images::random_seed;
use airgap_tests::soak::{Sizes, Soak};

const SIZES: Sizes = Sizes { layer: 64 << 20, file: 40 << 20, bytes_per_second: 48 << 20 };

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kills: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or_else(|| Ok(random_seed()), |text| text.parse())?;
    println!("soak: seed {seed}");
    let soak = Soak::start("long", seed, SIZES)
        .ok_or_else(|| anyhow::anyhow!("docker-registry and skopeo are needed: run `make tools`"))?;
    let report = soak.run(kills, |line| println!("{line}"));
    println!("soak: {report}, every package the same");
    Ok(())
}
