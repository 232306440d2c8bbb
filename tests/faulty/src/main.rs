//! The program with a [disk] that fails on demand, for the crash tests:
//! `OPENCENTER_AIRGAP_FAULTS` says what it is to do wrong.

mod disk;

use std::process::ExitCode;

use ::disk::fs::hook;

use crate::disk::Faulty;

fn main() -> ExitCode {
    let plan = std::env::var("OPENCENTER_AIRGAP_FAULTS").ok();
    if let Some(faulty) = plan.and_then(|plan| Faulty::of(&plan)) {
        hook::install(Box::new(faulty));
    }
    opencenter_airgap::main()
}
