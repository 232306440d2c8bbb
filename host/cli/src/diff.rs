//! `diff`: what differs between two packages.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::inspect::{look_into, short, unreadable};
use super::ui::Ui;
use base::error::Result;
use base::exit_code::ExitCode;
use base::progress::text;
use far_side::inspect::difference::{Change, Difference, Version, between};

/// Show what differs between two packages
///
/// Images are compared by repository, charts by name, files by target,
/// repositories by URL. Ends with 0 where nothing differs and with 1 where
/// something does; 4 where one of them cannot be read.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The package that is there already
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The package that is to take its place
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

#[derive(Serialize)]
struct Compared<'a> {
    event: &'static str,
    same: bool,
    #[serde(flatten)]
    difference: &'a Difference,
}

pub(super) fn run(args: &DiffArgs, ui: &Ui) -> Result<ExitCode> {
    let both = look_into(&args.old).and_then(|old| Ok((old, look_into(&args.new)?)));
    let (old, new) = match both {
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
