//! checksums.txt: every file is listed with its digest, and nothing else is
//! there.

use std::collections::BTreeSet;

use super::Problems;
use super::facts::Facts;
use super::package::Package;
use base::digest::Digest;
use seal::members::{BUNDLE, DEFINITION, SIGNATURE};

/// Files that vouch for others and are not in the list themselves.
const EXEMPT: [&str; 4] = [DEFINITION, "checksums.txt", SIGNATURE, BUNDLE];

pub(super) fn check(facts: &Facts, package: Option<&Package>, problems: &mut Problems) {
    for required in ["zarf.yaml", "checksums.txt"] {
        if !facts.files.contains_key(required) {
            problems.add_for("missing", required, "is not in the package");
        }
    }
    let Some(bytes) = facts.texts.get("checksums.txt") else { return };
    let found = Digest::of(bytes).hex();
    if let Some(package) = package
        && package.definition.metadata.aggregate_checksum != found
    {
        let says = match package.definition.metadata.aggregate_checksum.as_str() {
            "" => format!("zarf.yaml lacks `{}`, which says so", package.forms.aggregate_field()),
            claimed => format!("zarf.yaml says `{claimed}`"),
        };
        problems.add_for("aggregate", "checksums.txt", format!("has the sha256 {found}, {says}"));
    }
    let mut left: BTreeSet<&str> = facts.files.keys().map(String::as_str).collect();
    left.retain(|path| !EXEMPT.contains(path) && !package.is_some_and(|package| package.vouches_with(path)));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return problems.add_for("checksums", "checksums.txt", "is not UTF-8");
    };
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        check_line(line, facts, &mut left, problems);
    }
    for path in left {
        problems.add_for("extra-file", path, "is in the package and not in checksums.txt");
    }
}

fn check_line<'a>(line: &'a str, facts: &Facts, left: &mut BTreeSet<&'a str>, problems: &mut Problems) {
    let Some((digest, path)) = line.split_once(' ').filter(|(_, path)| !path.is_empty() && !path.contains([' ', '\r']))
    else {
        let shown: String = line.chars().take(200).collect();
        return problems.add_for(
            "checksums",
            "checksums.txt",
            format!("has a malformed line `{}`", shown.escape_debug()),
        );
    };
    let Some(file) = facts.files.get(path) else {
        let why = if facts.complete { "is missing in the package" } else { "was not reached, the archive is damaged" };
        return problems.add_for("missing", path, why);
    };
    if !left.remove(path) {
        return problems.add_for("checksums", path, "is listed twice in checksums.txt");
    }
    if file.digest.hex() != digest {
        problems.add_for(
            "digest",
            path,
            format!("is damaged: its sha256 is {}, checksums.txt says {digest}", file.digest.hex()),
        );
    }
}
