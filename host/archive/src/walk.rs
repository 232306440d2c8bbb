//! The order of a nested tar: that of Go's `filepath.Walk`, parents first and
//! children in byte order per directory, with every directory as an entry.

use std::collections::BTreeMap;

use super::entry::{Content, NewMember};
use base::error::{Error, Result};

/// The mode of a directory that no entry names.
const DIRECTORY: u32 = 0o700;

/// Directories that are made for members of one nested archive: their names
/// take memory that the members do not.
const DIRECTORIES: usize = 100_000;

/// `entries` in walk order, with the directories that are missing.
///
/// # Errors
/// A path that appears twice, or as a file and as a directory.
pub(super) fn in_walk_order(entries: Vec<NewMember>) -> Result<Vec<NewMember>> {
    // Components compare before their separators do, which is what sorting
    // per directory means: `a/b` comes before `a.b`.
    let mut sorted: BTreeMap<Vec<String>, NewMember> = BTreeMap::new();
    for entry in entries {
        let key: Vec<String> = entry.path.split('/').map(str::to_owned).collect();
        if let Some(previous) = sorted.insert(key, entry) {
            return Err(twice(&previous.path));
        }
    }
    for parent in parents(&sorted)? {
        let path = parent.join("/");
        let entry = sorted.entry(parent).or_insert_with(|| NewMember::directory(path, DIRECTORY));
        if !matches!(entry.content, Content::Directory) {
            return Err(twice(&entry.path));
        }
    }
    Ok(sorted.into_values().collect())
}

/// The directories above the entries, each once: entries that share one are
/// neighbours.
fn parents(sorted: &BTreeMap<Vec<String>, NewMember>) -> Result<Vec<Vec<String>>> {
    let mut parents: Vec<Vec<String>> = Vec::new();
    let mut previous: &[String] = &[];
    for key in sorted.keys() {
        let shared = key.iter().zip(previous).take_while(|(one, other)| one == other).count();
        // What is a component of both is a directory of both, unless it is
        // where the previous one ends: then that is a file, which is told.
        let known = shared.min(previous.len().saturating_sub(1));
        parents.extend((known + 1..key.len()).map(|depth| key[..depth].to_vec()));
        if parents.len() > DIRECTORIES {
            return Err(Error::invalid(format!(
                "the members of an archive lie in more than {DIRECTORIES} directories"
            )));
        }
        previous = key;
    }
    Ok(parents)
}

fn twice(path: &str) -> Error {
    Error::invalid(format!("the archive path `{path}` appears twice")).hint("give the two files different names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(given: &[&str]) -> Result<Vec<String>> {
        let entries = given.iter().map(|path| NewMember::bytes(*path, 0o644, Vec::new())).collect();
        Ok(in_walk_order(entries)?.into_iter().map(|entry| entry.path).collect())
    }

    #[test]
    fn directories_come_first_and_sort_by_their_own_name() {
        assert_eq!(paths(&["w/a.b", "w/a/z", "w/a/b/c"]).unwrap(), ["w", "w/a", "w/a/b", "w/a/b/c", "w/a/z", "w/a.b"]);
    }

    #[test]
    fn a_named_directory_keeps_its_mode_and_others_get_0700() {
        let entries = vec![NewMember::bytes("w/charts/x", 0o644, Vec::new()), NewMember::directory("w/charts", 0o755)];
        let modes: Vec<u32> = in_walk_order(entries).unwrap().iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o700, 0o755, 0o644]);
    }

    /// Each directory is named once, whoever needs it.
    #[test]
    fn directories_cost_as_much_as_there_are() {
        let deep = vec!["d"; 60].join("/");
        let given: Vec<String> = (0..3000).map(|n| format!("{deep}/{n}")).collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        assert_eq!(paths(&given).unwrap().len(), 3060);
        let apart: Vec<String> = (0..2000).map(|n| format!("{n}/{deep}/x")).collect();
        let apart: Vec<&str> = apart.iter().map(String::as_str).collect();
        assert!(paths(&apart).unwrap_err().message().contains("more than 100000 directories"));
    }

    #[test]
    fn a_path_is_used_once_and_is_one_kind() {
        assert!(paths(&["a", "a"]).is_err());
        assert!(paths(&["a", "a/b"]).is_err());
    }
}
