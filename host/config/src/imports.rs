//! Skeleton packages that definitions import from registries: where each lies
//! once it was fetched, and whether it is still what was unpacked.
//!
//! One has a folder of its own in build/imports, called by the digest of its
//! manifest: its zarf.yaml, and a folder for each component that has files. Paths
//! of the configuration call that folder [`AT`](crate::import_paths::AT), wherever build/ is. Beside it lies
//! the digest of all that is in it ([`seal`]): a folder that is not what that says
//! counts as not there, and is unpacked again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::airgap_lock::AirgapLock;
use crate::hidden::Hidden;
use crate::local::Content;
use base::digest::Digest;
use base::error::Result;
use base::layout::Layout;
use disk::fs;
use entitlement::Asker;

/// The definition of a skeleton, in its folder.
pub const DEFINITION: &str = "zarf.yaml";

/// Bytes of a digest as text.
const RECORD: u64 = 100;

/// The digest of the manifest that each imported URL stands for, as far as it is
/// known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(BTreeMap<String, Digest>);

impl Known {
    /// What airgap.lock holds and somebody vouches for, and what was `seen` since.
    pub(crate) fn new(lock: &AirgapLock, seen: &BTreeMap<String, Digest>) -> Self {
        let locked = lock.files_of(&Asker::Host).into_iter().flatten();
        let locked = locked.filter(|(url, file)| url.as_str().starts_with("oci://") && file.build.is_some());
        let mut known: BTreeMap<String, Digest> =
            locked.map(|(url, file)| (url.as_str().to_owned(), file.sha256)).collect();
        known.extend(seen.iter().map(|(url, digest)| (url.clone(), *digest)));
        Self(known)
    }

    pub(crate) fn get(&self, url: &str) -> Option<&Digest> {
        self.0.get(url)
    }
}

/// The folder of a skeleton, by the digest of its manifest.
pub fn folder(layout: &Layout, manifest: &Digest) -> PathBuf {
    layout.imports().join(manifest.hex())
}

fn record(folder: &Path) -> PathBuf {
    folder.with_extension("sha256")
}

/// Notes what a folder holds that was just unpacked.
///
/// # Errors
/// `local`, `disk-full`, `configuration` where it is too much.
pub fn seal(folder: &Path) -> Result<()> {
    let digest = Content::of(folder.to_owned(), &Hidden::default())?.digest();
    fs::write_atomic(&record(folder), digest.to_string().as_bytes())
}

/// Whether a folder is there and holds what was unpacked.
pub fn is_whole(folder: &Path) -> bool {
    let recorded = fs::read_optional(&record(folder), RECORD).ok().flatten();
    let found = || Content::of(folder.to_owned(), &Hidden::default()).ok();
    recorded.is_some_and(|recorded| found().is_some_and(|found| found.digest().to_string().as_bytes() == recorded))
}

/// Removes a folder and what is noted of it.
///
/// # Errors
/// `local`.
pub fn remove(folder: &Path) -> Result<()> {
    fs::remove_file(&record(folder))?;
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was changed after it was unpacked is no part of a skeleton.
    #[test]
    fn a_folder_counts_only_as_it_was_unpacked() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("ab");
        let write = |name: &str, text: &str| fs::write_new(&folder.join(name), text.as_bytes()).unwrap();
        fs::create_dir_all(&folder.join("web")).unwrap();
        write("zarf.yaml", "a");
        assert!(!is_whole(&folder), "nobody noted it");
        seal(&folder).unwrap();
        assert!(is_whole(&folder));
        write("web/more", "x");
        assert!(!is_whole(&folder));
        remove(&folder).unwrap();
        assert!(!folder.exists() && !is_whole(&folder) && std::fs::read_dir(place.path()).unwrap().next().is_none());
    }
}
