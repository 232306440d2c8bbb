//! `make bench`: what a build costs beside `skopeo copy` and `tar | zstd`, and
//! what the small things cost. Prints tables for the documents.
//!
//! `bench [rounds] [part …]`: rounds of the comparison (3), and which parts;
//! without a name all but `growth`, which packages ten times the data.

mod bad;
mod compare;
mod growth;
mod many;
mod plugin;
mod push;
mod rendering;
mod resume;
mod run;
mod sbom;
mod serve;
mod small;
mod state;
mod table;
mod workload;

use airgap_tests::measure::machine;
use table::Table;

type Part = fn(&mut Table, usize) -> anyhow::Result<()>;

/// Name, whether it runs unasked, and what it does.
const PARTS: [(&str, bool, Part); 12] = [
    ("compare", true, compare::measure),
    ("small", true, small::measure),
    ("plugin", true, plugin::measure),
    ("many", true, many::measure),
    ("bad", true, bad::measure),
    ("state", true, state::measure),
    ("resume", true, resume::measure),
    ("serve", true, serve::measure),
    ("push", true, push::measure),
    ("sbom", true, sbom::measure),
    ("rendering", true, rendering::measure),
    ("growth", false, growth::measure),
];

fn main() -> anyhow::Result<()> {
    let mut rounds = 3;
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) => wanted.push(argument),
        }
    }
    let known = |name: &String| PARTS.iter().any(|(part, ..)| part == name);
    anyhow::ensure!(wanted.iter().all(known), "parts are {}", PARTS.map(|(name, ..)| name).join(", "));
    println!("Machine: {}", machine());
    let mut table = Table::default();
    for (name, unasked, part) in PARTS {
        if wanted.iter().any(|one| one == name) || (unasked && wanted.is_empty()) {
            part(&mut table, rounds)?;
        }
    }
    println!("\n{}", table.verdict());
    Ok(())
}
