//! What was never synced is there as long as the machine runs, whatever becomes
//! of the process. After that a file may have its length and not its bytes.
//!
//! `store/boot` says since which start of the machine the unfinished downloads
//! were written. Where it is another one, those of which no byte was recorded
//! as synced begin anew; what is recorded is durable.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::partial;
use base::error::{Error, Result};
use disk::fs;

/// Another one after each start; there is none outside of Linux.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug)]
pub(super) struct Boot {
    path: PathBuf,
    is_settled: Mutex<bool>,
}

impl Boot {
    pub(super) fn new(store: PathBuf) -> Self {
        Self { path: store.join("boot"), is_settled: Mutex::default() }
    }

    /// Before an unfinished download is opened: drops those that cannot be
    /// believed.
    pub(super) fn settle(&self, partials: &Path) -> Result<()> {
        let mut is_settled = self.is_settled.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_settled {
            let now = std::fs::read(BOOT_ID).ok();
            let then = std::fs::read(&self.path).ok();
            if now.is_none() || now != then {
                drop_unrecorded(partials)?;
            }
            // Without a sync: a power loss that takes it along is the next
            // start of the machine.
            if let Some(now) = now.filter(|now| then.as_ref() != Some(now)) {
                fs::replace_unsynced(&self.path, &now)?;
            }
            *is_settled = true;
        }
        Ok(())
    }

    /// Drops what a kill left half-written.
    pub(super) fn sweep(&self) -> Result<()> {
        fs::remove_file(&fs::temporary_beside(&self.path))
    }
}

fn drop_unrecorded(partials: &Path) -> Result<()> {
    let failed = |source| Error::io("cannot list", partials, source);
    for entry in std::fs::read_dir(partials).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && !partial::is_recorded(&path)? {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Identity, Store};
    use base::digest::Digest;

    #[test]
    fn only_what_was_synced_is_believed_after_the_machine_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let names = [Digest::of(b"synced"), Digest::of(b"first interval")];
        let open = || {
            let store = Store::open(folder.path().join("store")).unwrap();
            names.map(|name| store.partial(&name.hex(), Identity::blob(name, None), &|| false).unwrap())
        };
        let [mut synced, mut unsynced] = open();
        for partial in [&mut synced, &mut unsynced] {
            partial.write(&[7; 1000]).unwrap();
        }
        synced.checkpoint().unwrap();
        drop((synced, unsynced));
        assert_eq!(open().map(|partial| partial.written()), [1000, 1000], "a kill alone loses nothing");
        fs::write_new(&folder.path().join("store/boot"), b"before the power went").unwrap();
        assert_eq!(open().map(|partial| partial.written()), [1000, 0]);
    }
}
