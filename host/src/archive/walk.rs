//! The order of a nested tar: that of Go's `filepath.Walk`, parents first and
//! children in byte order per directory, with every directory as an entry.

use std::collections::BTreeMap;

use super::writer::{Content, Entry};
use crate::error::{Error, Result};

/// The mode of a directory that no entry names.
const DIRECTORY: u32 = 0o700;

/// `entries` in walk order, with the directories that are missing.
///
/// # Errors
/// A path that appears twice, or as a file and as a directory.
pub(super) fn in_walk_order(entries: Vec<Entry>) -> Result<Vec<Entry>> {
    // Components compare before their separators do, which is what sorting
    // per directory means: `a/b` comes before `a.b`.
    let mut sorted: BTreeMap<Vec<String>, Entry> = BTreeMap::new();
    for entry in entries {
        let key: Vec<String> = entry.path.split('/').map(str::to_owned).collect();
        if let Some(previous) = sorted.insert(key, entry) {
            return Err(twice(&previous.path));
        }
    }
    let parents: Vec<Vec<String>> =
        sorted.keys().flat_map(|key| (1..key.len()).map(|depth| key[..depth].to_vec())).collect();
    for parent in parents {
        let path = parent.join("/");
        let entry = sorted.entry(parent).or_insert_with(|| Entry::directory(path, DIRECTORY));
        if !matches!(entry.content, Content::Directory) {
            return Err(twice(&entry.path));
        }
    }
    Ok(sorted.into_values().collect())
}

fn twice(path: &str) -> Error {
    Error::invalid(format!("the archive path `{path}` appears twice")).hint("give the two files different names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(given: &[&str]) -> Result<Vec<String>> {
        let entries = given.iter().map(|path| Entry::bytes(*path, 0o644, Vec::new())).collect();
        Ok(in_walk_order(entries)?.into_iter().map(|entry| entry.path).collect())
    }

    #[test]
    fn directories_come_first_and_sort_by_their_own_name() {
        assert_eq!(paths(&["w/a.b", "w/a/z", "w/a/b/c"]).unwrap(), ["w", "w/a", "w/a/b", "w/a/b/c", "w/a/z", "w/a.b"]);
    }

    #[test]
    fn a_named_directory_keeps_its_mode_and_others_get_0700() {
        let entries = vec![Entry::bytes("w/charts/x", 0o644, Vec::new()), Entry::directory("w/charts", 0o755)];
        let modes: Vec<u32> = in_walk_order(entries).unwrap().iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o700, 0o755, 0o644]);
    }

    #[test]
    fn a_path_is_used_once_and_is_one_kind() {
        assert!(paths(&["a", "a"]).is_err());
        assert!(paths(&["a", "a/b"]).is_err());
    }
}
