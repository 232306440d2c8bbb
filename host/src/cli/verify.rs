//! `verify`: checks a package where it arrives.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::ui::{Color, Ui};
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::verify::{Report, verify};

/// Check a package: sound, complete, and what it says it is
///
/// Needs no network and no configuration. The .sha256 and the
/// artifact-manifest.json are compared where they lie beside the package. Ends
/// with 4 where anything is wrong, each damaged file named.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The package: zarf-package-….tar.zst, or - for the standard input
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,
}

#[derive(Serialize)]
struct Verified<'a> {
    event: &'static str,
    sound: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &VerifyArgs, ui: &Ui) -> Result<ExitCode> {
    let report = verify(&args.package)?;
    let sound = report.is_sound();
    let color = if sound { Color::Green } else { Color::Red };
    for line in report.render_text().lines() {
        if marks(line) { ui.say_painted(color, line, line) } else { ui.say(line) }
    }
    ui.data(&Verified { event: "verified", sound, report: &report });
    match report.error() {
        None => Ok(ExitCode::Done),
        Some(error) => {
            // The data says it already.
            if !ui.json {
                ui.error(&error);
            }
            Ok(ExitCode::Unreadable)
        }
    }
}

/// Whether a line is a finding and not a fact.
fn marks(line: &str) -> bool {
    line.starts_with(['✓', '✗'])
}
