//! `sign`: signs a finished package.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::environment::Variables;
use super::inspect::there;
use super::signer;
use super::ui::{Color, Ui};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::leash::Leash;
use base::progress::text;
use disk::fs;
use far_side::verify::{Against, Beside, Report, State, verify_with};
use seal::beside::{self, Whole};
use seal::package::{self, Placing};
use seal::provenance;
use signing::bundle::LARGEST_BUNDLE;
use signing::{PrivateKey, PublicKey};

/// Sign a finished package, as `build` does where the settings name a key
///
/// The package is verified first. Nothing in it is written anew but zarf.yaml
/// and the signature, and the file is replaced in one step; the .sha256, the
/// lists and the statement beside it say the new digest then.
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The package: zarf-package-….tar.zst
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// The private key, as keygen or cosign wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// A file whose first line is the key's password; COSIGN_PASSWORD without
    /// it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Replace the signature of another key
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct Signed {
    event: &'static str,
    package: String,
    sha256: Digest,
    size: u64,
    /// What signatures call the key.
    by: String,
    /// Whether it was signed with this key before.
    was_signed: bool,
    /// Files beside it that say the new digest.
    renewed: Vec<String>,
}

/// Bytes of a list beside a package.
const LARGEST_LIST: u64 = 64 << 20;

pub(super) fn run(args: &SignArgs, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let package = &args.package;
    there(package)?;
    let password = signer::password(args.password_file.as_deref(), variables)?;
    let key = signer::private(&args.key, &password)?;
    let found = look(package, &key.public(), args.overwrite)?;
    let (after, was_signed) = match found.signature.state {
        State::Holds => ((found.sha256, found.size), true),
        _ => (package::sign(package, found.sha256, &key, Placing::AtOnce, Leash::endless())?, false),
    };
    let renewed = renew(package, &found, after, &key)?;
    let by = key.public().hint();
    let shown = package.display().to_string();
    let line = format!("{shown}  {}  {}", text::bytes(after.1), after.0);
    ui.say_painted(Color::Green, &shown, &line);
    ui.say(&format!("signed by {by}{}", if was_signed { ", as it was before" } else { "" }));
    renewed.iter().for_each(|path| ui.say(&format!("renewed {path}")));
    ui.data(&Signed { event: "signed", package: shown, sha256: after.0, size: after.1, by, was_signed, renewed });
    Ok(ExitCode::Done)
}

/// What there is to sign: a package that is sound, and not signed by another
/// key unless that is to be replaced.
fn look(package: &Path, key: &PublicKey, overwrite: bool) -> Result<Report> {
    let checked = verify_with(package, &Against { key: Some(key), lock: None })?;
    // What nobody has signed yet lacks that alone: read once, it is known.
    if checked.problems.iter().all(|problem| problem.rule == "unsigned") {
        return Ok(checked);
    }
    // What this key has not signed yet is looked at as it is.
    let found = verify_with(package, &Against::default())?;
    let is_stale = |report: &Report| report.problems.iter().all(|problem| problem.rule == "rewritten");
    let is_signed = checked.signature.state != State::Unsigned;
    if is_signed && !overwrite && is_stale(&found) {
        let by = found.signature.by.as_deref().unwrap_or("a key that is not named");
        let message = format!("`{}` is signed already, by {by}", package.display());
        return Err(Error::new(Class::Usage, message).hint("--overwrite replaces that signature"));
    }
    let ours_alone = |report: &Report| report.problems.iter().all(|problem| problem.rule == "signature");
    match found.error() {
        None => Ok(found),
        Some(_) if is_signed && overwrite && (is_stale(&found) || ours_alone(&found)) => Ok(found),
        Some(error) => Err(error.context("nothing is signed that is not sound")),
    }
}

/// The files beside the package say its new digest: those that are about what
/// it was before. Which archive that was, of one that was signed elsewhere, its
/// list says, with which every content was compared.
fn renew(package: &Path, found: &Report, after: Whole, key: &PrivateKey) -> Result<Vec<String>> {
    let name = package.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let before = match found.artifact_manifest {
        Beside::Rewritten => listed(package)?.unwrap_or((found.sha256, found.size)),
        _ => (found.sha256, found.size),
    };
    let mut renewed = Vec::new();
    let mut put = |path: PathBuf, bytes: &[u8]| -> Result<()> {
        fs::write_atomic_shared(&path, bytes)?;
        renewed.push(path.display().to_string());
        Ok(())
    };
    let checksum = beside::path_of(package, beside::CHECKSUM);
    let text = beside::checksum(&name, &after.0);
    if fs::read_optional(&checksum, LARGEST_LIST)?.is_none_or(|bytes| bytes != text.as_bytes()) {
        put(checksum, text.as_bytes())?;
    }
    for list in [beside::path_of(package, beside::LIST), package.with_file_name(beside::LAST_LIST)] {
        let Some(bytes) = fs::read_optional(&list, LARGEST_LIST)? else { continue };
        let text = beside::list_of(&String::from_utf8_lossy(&bytes), before, after)
            .map_err(|error| error.context(format!("`{}`", list.display())))?;
        if let Some(text) = text.filter(|text| text.as_bytes() != bytes) {
            put(list, text.as_bytes())?;
        }
    }
    let statement = beside::path_of(package, beside::PROVENANCE);
    if let Some(bytes) = fs::read_optional(&statement, LARGEST_BUNDLE)?
        && let Some(signed) = provenance::renewed(&bytes, &before.0, &after.0, key)
            .map_err(|error| error.context(format!("`{}`", statement.display())))?
        && signed != bytes
    {
        put(statement, &signed)?;
    }
    Ok(renewed)
}

/// The digest and size that the list of a package tells.
fn listed(package: &Path) -> Result<Option<Whole>> {
    for list in [beside::path_of(package, beside::LIST), package.with_file_name(beside::LAST_LIST)] {
        if let Some(bytes) = fs::read_optional(&list, LARGEST_LIST)? {
            return beside::whole_of(&String::from_utf8_lossy(&bytes));
        }
    }
    Ok(None)
}
