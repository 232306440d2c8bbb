//! `diff`: what differs between two packages, or a package and its lock.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::inspect::{look_into, short, there, unreadable};
use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::progress::text;
use config::airgap_lock::AirgapLock;
use far_side::inspect::difference::{Change, Difference, Side, Version, between, whole};
use far_side::inspect::{Contents, locked};

/// Bytes of a file that tell what it is.
const BEGINNING: u64 = 4096;

/// Show what differs between two packages, or a package and an airgap.lock
///
/// Images are compared by repository, charts by name, files by target,
/// repositories by URL; with a lock, what came from an address alone, files by
/// it. Ends with 0 where nothing differs and with 1 where something does; 4
/// where one of them cannot be read.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The package that is there already, or an airgap.lock
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The package that is to take its place, or an airgap.lock
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// What was given.
enum Given {
    Package(Box<Contents>),
    Lock(Box<AirgapLock>),
}

#[derive(Serialize)]
struct Compared<'a> {
    event: &'static str,
    same: bool,
    #[serde(flatten)]
    difference: &'a Difference,
}

pub(super) fn run(args: &DiffArgs, ui: &Ui) -> Result<ExitCode> {
    let both = given(&args.old).and_then(|old| Ok((old, given(&args.new)?)));
    let sides = both.and_then(|(old, new)| Ok((side(&old, &new)?, side(&new, &old)?)));
    let (old, new) = match sides {
        Ok(both) => both,
        Err(error) => return unreadable(error, ui),
    };
    let difference = between(&old, &new);
    let same = difference.is_empty();
    ui.say_all(difference.changes.iter().map(|change| line(change, ui.verbose)));
    ui.say(&match same {
        true => "no difference".to_owned(),
        false => format!("{} are new", text::bytes(difference.new_bytes)),
    });
    ui.data(&Compared { event: "compared", same, difference: &difference });
    Ok(if same { ExitCode::Done } else { ExitCode::Failed })
}

fn given(path: &Path) -> Result<Given> {
    there(path)?;
    match is_lock(path)? {
        true => Ok(Given::Lock(Box::new(AirgapLock::load(path)?))),
        false => Ok(Given::Package(Box::new(look_into(path)?))),
    }
}

/// A lock is text and says its format; a package is neither.
fn is_lock(path: &Path) -> Result<bool> {
    let mut bytes = Vec::new();
    let unread = |source| Error::io("cannot read", path, source);
    std::fs::File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut bytes)).map_err(unread)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(!text.contains('\0') && text.lines().any(|line| line.starts_with("format: ")))
}

/// One of two, as it is compared with the other.
fn side(one: &Given, other: &Given) -> Result<Side> {
    match (one, other) {
        (Given::Package(one), Given::Package(_)) => Ok(whole(one)),
        (Given::Package(one), Given::Lock(_)) => locked::package(one),
        (Given::Lock(one), Given::Package(other)) => Ok(locked::lock(one, Some(other))),
        (Given::Lock(one), Given::Lock(_)) => Ok(locked::lock(one, None)),
    }
}

fn line(change: &Change, verbose: bool) -> String {
    let Change { kind, name, old, new } = change;
    let version = |version: &Version, is_digest_told: bool| {
        let digest = if verbose { version.digest.clone() } else { short(&version.digest) };
        match (version.label.as_str(), is_digest_told && !digest.is_empty()) {
            ("", true) => digest,
            (label, true) => format!("{label} ({digest})"),
            (label, false) => label.to_owned(),
        }
    };
    match (old, new) {
        (Some(old), Some(new)) => {
            // A label that moved says enough of itself.
            let told = verbose || old.label == new.label;
            format!("~ {kind} {name}: {} → {}", version(old, told), version(new, told))
        }
        (None, Some(new)) => format!("+ {kind} {name} {}", version(new, true)),
        (Some(old), None) => format!("- {kind} {name} {}", version(old, true)),
        (None, None) => format!("  {kind} {name}"),
    }
}
