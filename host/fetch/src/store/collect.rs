//! What lies in the store, and dropping what nobody needs any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::Store;
use base::digest::Digest;
use base::error::{Error, Result};
use config::runners::Runners;
use disk::fs;

/// What a collection leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Blobs that stay, and their unfinished downloads.
    pub blobs: BTreeSet<Digest>,
    /// Whose receipts stay, as long as what they are for does.
    pub runners: Runners,
    /// Whose notes stay, as long as the blobs do that they are on: digests of
    /// plugins.
    pub readers: BTreeSet<Digest>,
    /// Whether unfinished downloads of something else stay as well.
    pub every_partial: bool,
}

/// What a collection removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Verified blobs.
    pub blobs: u64,
    /// Bytes of them.
    pub blob_bytes: u64,
    /// Unfinished downloads and leftovers.
    pub partials: u64,
    /// Bytes of them.
    pub partial_bytes: u64,
    /// What stays.
    pub kept_blobs: u64,
    /// Bytes of them.
    pub kept_bytes: u64,
}

impl Store {
    /// Every blob with its size, sorted by digest.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for entry in entries(&self.blobs)? {
            let size = entry.metadata().map_err(|source| Error::io("cannot read", &entry.path(), source))?.len();
            if let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                blobs.push((digest, size));
            }
        }
        blobs.sort();
        Ok(blobs)
    }

    /// The blobs whose last byte was written at `time` or later.
    pub fn fetched_since(&self, time: SystemTime) -> Result<Vec<Digest>> {
        let modified = |digest: &Digest| std::fs::metadata(self.path(digest)).and_then(|data| data.modified()).ok();
        let blobs = self.list()?.into_iter().map(|(digest, _)| digest);
        Ok(blobs.filter(|digest| modified(digest).is_some_and(|modified| modified >= time)).collect())
    }

    /// Drops every blob that is not in `keep`, and every unfinished download
    /// of something else. With `dry_run` only counts. Space comes back once no
    /// tree links to the blob either.
    pub fn remove_all_but(&self, keep: &Keep, dry_run: bool) -> Result<Removed> {
        let mut removed = Removed::default();
        for (digest, size) in self.list()? {
            if keep.blobs.contains(&digest) {
                removed.kept_blobs += 1;
                removed.kept_bytes += size;
                continue;
            }
            removed.blobs += 1;
            removed.blob_bytes += size;
            if !dry_run {
                fs::remove_file(&self.path(&digest))?;
            }
        }
        if !dry_run {
            self.remove_receipts(&keep.blobs, &|asker| keep.runners.has(asker))?;
            self.remove_notes(&keep.blobs, &keep.readers)?;
        }
        if !keep.every_partial {
            self.remove_partials(&keep.blobs, dry_run, &mut removed)?;
        }
        Ok(removed)
    }

    /// Drops one blob, so that it is fetched again.
    pub fn discard(&self, digest: &Digest) -> Result<()> {
        fs::remove_file(&self.path(digest))
    }

    fn remove_partials(&self, keep: &BTreeSet<Digest>, dry_run: bool, removed: &mut Removed) -> Result<()> {
        for entry in entries(&self.partial)? {
            let name = entry.file_name();
            let wanted = name.to_str().and_then(|name| name.parse().ok()).is_some_and(|digest| keep.contains(&digest));
            if wanted {
                continue;
            }
            removed.partials += 1;
            removed.partial_bytes += bytes_below(&entry.path());
            if !dry_run && entry.path().is_dir() {
                fs::remove_dir_all(&entry.path())?;
            } else if !dry_run {
                fs::remove_file(&entry.path())?;
            }
        }
        Ok(())
    }
}

pub(super) fn entries(directory: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let list = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(|source| Error::io("cannot list", directory, source))?,
    };
    list.collect::<Result<_, _>>().map_err(|source| Error::io("cannot list", directory, source))
}

fn bytes_below(path: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if path.is_dir() {
        entries(path).map_or(0, |entries| entries.iter().map(|entry| size(&entry.path())).sum())
    } else {
        size(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::partial::Identity;

    #[test]
    fn only_what_is_needed_stays_and_a_dry_run_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        assert!(store.list().unwrap().is_empty());
        let before = SystemTime::now() - std::time::Duration::from_secs(60);
        let kept = store.insert_bytes(b"keep").unwrap();
        let dropped = store.insert_bytes(b"drop it").unwrap();
        let (wanted, unwanted) = (Digest::of(b"later"), Digest::of(b"never"));
        for digest in [wanted, unwanted] {
            let identity = Identity::blob(digest, Some(100));
            let mut partial = store.partial(&digest.hex(), identity, &|| false).unwrap();
            partial.write(b"12345").unwrap();
        }
        let blobs = BTreeSet::from([kept, wanted]);
        let keep = Keep { blobs: blobs.clone(), every_partial: true, ..Keep::default() };
        assert_eq!(store.remove_all_but(&keep, true).unwrap().partials, 0);
        let keep = Keep { blobs, ..Keep::default() };
        let planned = store.remove_all_but(&keep, true).unwrap();
        assert_eq!((planned.blobs, planned.blob_bytes, planned.partials, planned.partial_bytes), (1, 7, 1, 5));
        assert_eq!(store.list().unwrap().len(), 2);
        assert_eq!(store.remove_all_but(&keep, false).unwrap(), planned);
        assert_eq!(store.list().unwrap(), [(kept, 4)]);
        assert_eq!(store.fetched_since(before).unwrap(), [kept]);
        assert!(store.fetched_since(SystemTime::now() + std::time::Duration::from_secs(60)).unwrap().is_empty());
        assert_eq!(store.get(&dropped), None);
        assert_eq!((store.partial_bytes(&wanted), store.partial_bytes(&unwanted)), (5, 0));
    }
}
