//! Guards that whole builds survive kills at random moments: a short
//! `make soak`. `AIRGAP_SOAK_SEED` repeats the one that failed.

use airgap_tests::images::random_seed;
use airgap_tests::soak::{Sizes, Soak};

const KILLS: usize = 10;
const SIZES: Sizes = Sizes { layer: 24 << 20, file: 18 << 20, bytes_per_second: 24 << 20 };

#[test]
fn kills_at_random_moments_cost_no_finished_work() {
    let seed = std::env::var("AIRGAP_SOAK_SEED").map_or_else(|_| random_seed(), |seed| seed.parse().unwrap());
    eprintln!("AIRGAP_SOAK_SEED={seed}");
    let Some(soak) = Soak::start("short", seed, SIZES) else { return };
    let report = soak.run(KILLS, |line| eprintln!("{line}"));
    eprintln!("{report}");
    assert_eq!(report.kills, KILLS);
    assert!(report.resumed.streams > 0, "no kill came while the large streams were on their way: {report}");
}
