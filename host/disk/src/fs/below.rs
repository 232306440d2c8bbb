//! What lies below a directory: made durable as a whole, and told to a
//! [hook](super::hook) where another program made it.

use std::path::{Path, PathBuf};

use super::hook::tell;
use super::{sync_dir, sync_file};
use base::error::{Error, Result};

/// Runs `program`, which changes files below `directory` by itself and syncs
/// what it likes: of what it makes nothing counts as durable before
/// [`sync_below`].
pub async fn made_by<T>(directory: &Path, program: impl Future<Output = T>) -> T {
    tell(|hook| hook.others_begin(directory));
    let made = program.await;
    tell(|hook| hook.others_end(directory));
    made
}

/// Makes every file and every name below `directory` durable; its own name is
/// that of the directory above. Links are not followed.
///
/// # Errors
/// `local`, `disk-full`.
pub fn sync_below(directory: &Path) -> Result<()> {
    let mut folders: Vec<PathBuf> = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        at += 1;
        let failed = |source| Error::io("cannot list", &folder, source);
        for entry in folder.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                sync_file(&entry.path())?;
            }
        }
    }
    // A folder comes after what lies in it.
    folders.iter().rev().try_for_each(|folder| sync_dir(folder))
}
