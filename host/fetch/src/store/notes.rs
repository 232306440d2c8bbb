//! Notes: what a core plugin found in a blob, so that no later build reads that
//! blob again.
//!
//! A file `read/<plugin>/<blob>` holds the digest of the rest, a length, the
//! names of what lies in the blob, and what the plugin made of it. Another
//! version of the plugin has notes of its own. Like a receipt they are not
//! synced: what a crash took along or cut short counts for nothing, and costs
//! reading the blob.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Store;
use super::collect::entries;
use base::digest::Digest;
use base::error::{Error, Result};
use disk::fs;

/// Bytes of what a plugin notes of one blob.
const LARGEST: usize = 64 << 20;
/// Bytes of the whole file, with the names.
const LARGEST_FILE: u64 = 128 << 20;
const DIGEST: usize = 32;
const HEAD: usize = DIGEST + 8;

impl Store {
    fn path_of_notes(&self, plugin: &Digest, blob: &Digest) -> PathBuf {
        self.read.join(plugin.hex()).join(blob.hex())
    }

    /// The names and the notes that were kept; None where there are none, or
    /// they are not what was written.
    ///
    /// # Errors
    /// `local`.
    pub fn notes(&self, plugin: &Digest, blob: &Digest) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let path = self.path_of_notes(plugin, blob);
        Ok(fs::read_optional(&path, LARGEST_FILE).unwrap_or_default().and_then(|bytes| parts(&bytes)))
    }

    /// Keeps names and notes.
    ///
    /// # Errors
    /// `invalid-input` where the notes are longer than 64 MiB, `disk-full`,
    /// `local`.
    pub fn keep_notes(&self, plugin: &Digest, blob: &Digest, names: &[u8], notes: &[u8]) -> Result<()> {
        if notes.len() > LARGEST {
            return Err(Error::invalid(format!("notes of {} bytes are not kept", notes.len())));
        }
        let mut rest = (names.len() as u64).to_le_bytes().to_vec();
        rest.extend_from_slice(names);
        rest.extend_from_slice(notes);
        let mut bytes = Digest::of(&rest).as_bytes().to_vec();
        bytes.append(&mut rest);
        let path = self.path_of_notes(plugin, blob);
        fs::create_dir_all(&self.read.join(plugin.hex()))?;
        fs::replace_unsynced(&path, &bytes)
    }

    /// Drops notes on other blobs, and those of other plugins.
    pub(super) fn remove_notes(&self, blobs: &BTreeSet<Digest>, readers: &BTreeSet<Digest>) -> Result<()> {
        let named =
            |entry: &std::fs::DirEntry| format!("sha256:{}", entry.file_name().to_string_lossy()).parse::<Digest>();
        for plugin in entries(&self.read)? {
            if !named(&plugin).is_ok_and(|digest| readers.contains(&digest)) {
                fs::remove_dir_all(&plugin.path())?;
                continue;
            }
            for note in entries(&plugin.path())? {
                if !named(&note).is_ok_and(|digest| blobs.contains(&digest)) {
                    fs::remove_file(&note.path())?;
                }
            }
        }
        Ok(())
    }
}

fn parts(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (digest, rest) = bytes.split_at_checked(DIGEST)?;
    if Digest::of(rest).as_bytes() != digest {
        return None;
    }
    let length = u64::from_le_bytes(*rest.first_chunk::<8>()?);
    let (names, notes) = bytes[HEAD..].split_at_checked(usize::try_from(length).ok()?)?;
    Some((names.to_vec(), notes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let (plugin, other, blob) = (Digest::of(b"p"), Digest::of(b"q"), Digest::of(b"b"));
        assert_eq!(store.notes(&plugin, &blob).unwrap(), None);
        store.keep_notes(&plugin, &blob, b"12345678", b"found").unwrap();
        assert_eq!(store.notes(&plugin, &blob).unwrap(), Some((b"12345678".to_vec(), b"found".to_vec())));
        assert_eq!(store.notes(&other, &blob).unwrap(), None);
        let path = store.path_of_notes(&plugin, &blob);
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[whole.as_slice(), b"x"].concat(), &[0; 80]] {
            fs::replace_unsynced(&path, damaged).unwrap();
            assert_eq!(store.notes(&plugin, &blob).unwrap(), None);
        }
    }

    #[test]
    fn notes_go_with_their_blob_and_with_their_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let [plugin, gone, blob, dropped] = [b"p", b"q", b"b", b"d"].map(|text| Digest::of(text));
        for (plugin, blob) in [(plugin, blob), (plugin, dropped), (gone, blob)] {
            store.keep_notes(&plugin, &blob, b"", b"found").unwrap();
        }
        store.remove_notes(&BTreeSet::from([blob]), &BTreeSet::from([plugin])).unwrap();
        let there = |plugin, blob| store.notes(plugin, blob).unwrap().is_some();
        assert_eq!([there(&plugin, &blob), there(&plugin, &dropped), there(&gone, &blob)], [true, false, false]);
    }
}
