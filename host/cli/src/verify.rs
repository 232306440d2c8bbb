//! `verify`: checks a package where it arrives.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::signer;
use super::ui::{Color, Ui};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use config::airgap_lock::AirgapLock;
use far_side::verify::{Against, Report, verify_with};

/// Check a package: sound, complete, and what it says it is
///
/// Needs no network and no configuration. The .sha256 and the .manifest.json
/// are compared where they lie beside the package. Ends with 4 where anything
/// is wrong, each damaged file named; with --verbose, what rests on nothing but
/// its address is named as well.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The package: zarf-package-….tar.zst, or - for the standard input
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// The airgap.lock that it was built with: everything in the package must
    /// be what its address gave
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,

    /// The public key of whoever must have signed it, as keygen or cosign wrote
    /// it: checked offline, and a package that is not signed fails
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Verified<'a> {
    event: &'static str,
    sound: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &VerifyArgs, ui: &Ui) -> Result<ExitCode> {
    let lock = match &args.lock {
        Some(path) if !path.is_file() => {
            let message = format!("there is no lock at `{}`", path.display());
            return Err(Error::new(Class::Usage, message).hint("name the airgap.lock that the package was built with"));
        }
        Some(path) => Some(AirgapLock::load(path)?),
        None => None,
    };
    let key = args.key.as_deref().map(signer::public).transpose()?;
    let report = verify_with(&args.package, &Against { lock: lock.as_ref(), key: key.as_ref() })?;
    let sound = report.is_sound();
    let color = if sound { Color::Green } else { Color::Red };
    for line in report.render_text(ui.verbose).lines() {
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
