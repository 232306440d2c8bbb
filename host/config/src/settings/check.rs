//! What sections check alike: numbers in a range, files that must be there, keys.

use std::path::Path;

use model::problem::{Problem, YamlPath};

use base::error::{Class, Result};
use base::layout;
use signing::PublicKey;

/// Checks that a number lies in a range.
pub(super) fn range<N: PartialOrd + std::fmt::Display>(
    value: N,
    from: N,
    to: N,
    unit: &str,
    path: &YamlPath,
    problems: &mut Vec<Problem>,
) {
    if !(value >= from && value <= to) {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        problems.push(Problem::new(
            path,
            format!("{value} is out of range"),
            format!("use {from} to {to}{unit}, or remove the line to get the default"),
        ));
    }
}

/// A file that the settings name must be there.
pub(super) fn file(relative: &Path, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) -> bool {
    let full = config.join(relative);
    if !full.is_file() {
        problems.push(Problem::new(
            path,
            format!("there is no file `{}`", layout::shown(&full)),
            "the path is relative to the configuration folder",
        ));
        return false;
    }
    true
}

/// A file of certificate authorities must hold some.
pub(super) fn authorities(relative: &Path, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) {
    if file(relative, config, path, problems) {
        refused(trust::check_authorities(&config.join(relative)), path, problems);
    }
}

pub(super) fn refused(result: Result<()>, path: &YamlPath, problems: &mut Vec<Problem>) {
    if let Err(error) = result {
        problems.push(Problem::new(path, error.one_line(), error.hint_text().unwrap_or("correct the file")));
    }
}

pub(super) fn public_key(path: &Path) -> Result<PublicKey> {
    let bytes = disk::fs::read_optional(path, signing::key::LARGEST_FILE)?.unwrap_or_default();
    PublicKey::from_pem(&bytes).map_err(|error| error.with_class(Class::Configuration))
}
