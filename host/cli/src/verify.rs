//! `verify`: checks a package where it arrives.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::inspect::unreadable;
use super::signer;
use super::ui::{Color, Ui};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use config::airgap_lock::AirgapLock;
use far_side::verify::{Against, FolderReport, Report, verify_folder, verify_with};

/// Check a package: sound, complete, and what it says it is
///
/// Needs no network and no configuration. Of a folder that `build --carry`
/// filled every file is checked, and that there is nothing else. The .sha256 and the .manifest.json
/// are compared where they lie beside the package. Ends with 4 where anything
/// is wrong, each damaged file named; with --verbose, what rests on nothing but
/// its address is named as well.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The package: zarf-package-….tar.zst, the folder that it was carried in,
    /// or - for the standard input
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

#[derive(Serialize)]
struct VerifiedFolder<'a> {
    event: &'static str,
    sound: bool,
    #[serde(flatten)]
    report: &'a FolderReport,
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
    let against = Against { lock: lock.as_ref(), key: key.as_ref() };
    if args.package.is_dir() {
        return folder(args, &against, ui);
    }
    let report = verify_with(&args.package, &against)?;
    let sound = report.is_sound();
    say(&report.render_text(ui.verbose), ui);
    ui.data(&Verified { event: "verified", sound, report: &report });
    Ok(end(report.error(), ui))
}

fn folder(args: &VerifyArgs, against: &Against<'_>, ui: &Ui) -> Result<ExitCode> {
    let report = match verify_folder(&args.package, against) {
        Ok(report) => report,
        Err(error) => return unreadable(error, ui),
    };
    say(&report.render_text(ui.verbose), ui);
    ui.data(&VerifiedFolder { event: "verified-folder", sound: report.is_sound(), report: &report });
    Ok(end(report.error(), ui))
}

fn say(text: &str, ui: &Ui) {
    for line in text.lines() {
        match line.chars().next() {
            Some('✓') => ui.say_painted(Color::Green, line, line),
            Some('✗') => ui.say_painted(Color::Red, line, line),
            _ => ui.say(line),
        }
    }
}

/// The data says it already.
fn end(error: Option<Error>, ui: &Ui) -> ExitCode {
    let Some(error) = error else { return ExitCode::Done };
    if !ui.json {
        ui.error(&error);
    }
    ExitCode::Unreadable
}
