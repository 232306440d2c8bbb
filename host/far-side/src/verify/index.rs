//! The index at the end of an archive must say what the archive holds:
//! whoever looks into a package or serves from it goes by that.

use std::collections::BTreeMap;

use super::Problems;
use super::facts::Facts;
use super::stream::Frames;
use archive::index::{Index, Indexed};

/// Compares the index of a package, where it has one.
pub(super) fn check(frames: &Frames, facts: &Facts, problems: &mut Problems) {
    let index = match frames.skippable.as_slice() {
        [] => return,
        [list, table] => Index::of(list, table),
        _ => Ok(None),
    };
    match index {
        Ok(Some(index)) if facts.complete => compare(&index, frames, facts, problems),
        Ok(Some(_)) => {}
        Ok(None) => problems.add("index", "what lies behind the content of the archive is no index, or a damaged one"),
        Err(error) => problems.add("index", error.to_string()),
    }
}

fn compare(index: &Index, frames: &Frames, facts: &Facts, problems: &mut Problems) {
    if !index.sizes().eq(frames.sizes.iter().copied()) {
        problems.add("index", "the index of the archive says other sizes than its frames have");
    }
    for entry in &index.entries {
        let found = facts.files.get(&entry.path);
        let is_found =
            |found: &super::facts::File| (found.at, found.size, found.digest) == (entry.at, entry.size, entry.digest);
        told(found.is_some_and(is_found), &entry.path, entry, problems);
    }
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for (of, entry) in &index.members {
        // Of other tars the members are not known.
        let tar = index.entries[*of].path.as_str();
        let Some(members) = facts.members(tar) else { continue };
        let is_found = |found: &super::facts::Member| {
            let same_digest = found.digest.is_none_or(|digest| digest == entry.digest);
            (found.at, found.size) == (entry.at, entry.size) && same_digest
        };
        told(members.get(&entry.path).is_some_and(is_found), tar, entry, problems);
        *listed.entry(tar).or_default() += 1;
    }
    // A tar that went in as a file has no members in the list.
    let is_half = |(tar, listed): (&&str, &usize)| facts.members(tar).is_some_and(|all| all.len() != *listed);
    if index.entries.len() != facts.files.len() || listed.iter().any(is_half) {
        problems.add("index", "the index of the archive does not list every file in it, or lists one twice");
    }
}

/// `file` is what holds the entry: what is damaged is told already.
fn told(fits: bool, file: &str, entry: &Indexed, problems: &mut Problems) {
    if !fits && !problems.is_damaged(file) {
        problems.add_for("index", &entry.path, "is not what, or not where, the index of the archive says");
    }
}
