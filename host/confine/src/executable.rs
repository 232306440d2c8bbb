//! What may still be executed: everything that lies outside of the folders that
//! may be written.
//!
//! Landlock adds rights to what lies below a folder and takes none away, so
//! the folders above a writable one are opened entry by entry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Entries of one folder that are looked at. A folder with more is left out:
/// nothing in it is executed, but for what another rule names.
const ENTRIES: usize = 20_000;

/// Files and folders that together hold everything outside of `writable`,
/// whose paths are without links.
pub(super) fn outside_of(writable: &[PathBuf]) -> Vec<PathBuf> {
    let above: BTreeSet<&Path> = writable.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    let mut found = Vec::new();
    for folder in above.iter().filter(|folder| !is_below(folder, writable)) {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        let entries: Vec<PathBuf> =
            // What a link leads to has its own place.
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())).map(|entry| entry.path()).take(ENTRIES + 1).collect();
        if entries.len() <= ENTRIES {
            found.extend(
                entries.into_iter().filter(|path| !above.contains(path.as_path()) && !is_below(path, writable)),
            );
        }
    }
    found
}

fn is_below(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay links")]
mod tests {
    use super::*;
    use disk::fs;

    #[test]
    fn what_lies_beside_a_writable_folder_is_found_and_the_folder_is_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["project/build/deep", "project/config", "project/tools", "other"] {
            fs::create_dir_all(&root.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("project/build"), root.join("way-in")).unwrap();
        let writable = ["project/build", "project/config", "project/build/deep"].map(|path| root.join(path));
        let found = outside_of(&writable);
        let below: BTreeSet<&Path> = found.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
        assert_eq!(below, ["other", "project/tools"].map(Path::new).into());
        let usr = Path::new("/usr").to_path_buf();
        assert!(found.contains(&usr), "{found:?}");
        assert!(found.iter().all(|path| !root.starts_with(path)), "a rule above a writable folder would cover it");
    }
}
