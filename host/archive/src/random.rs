//! Reads a little of an archive, at any place, through its
//! [`index`](super::index).

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::damage::{damaged, invalid};
use super::index::{Index, Indexed};
use super::pieces::{Buffers, Pieces};
use base::error::{Error, Result};

/// Bytes that are read at a time.
const AHEAD: usize = 8 << 10;

/// An archive with an index.
pub struct Archive {
    pieces: Arc<Pieces>,
    index: Arc<Index>,
}

impl Archive {
    /// None where the archive has no index: it is then to be read from its
    /// beginning.
    ///
    /// # Errors
    /// `local`, `not-found`; `integrity` where the index contradicts itself.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = std::fs::File::open(path).map_err(|source| Error::io("cannot read", path, source))?;
        let Some(index) = Index::read(&file).map_err(|source| damaged(path, source))? else { return Ok(None) };
        let pieces = Pieces::new(file, &index, &Buffers::new(1));
        Ok(Some(Self { pieces: Arc::new(pieces), index: Arc::new(index) }))
    }

    /// One that is open already.
    pub fn of(pieces: &Arc<Pieces>, index: &Arc<Index>) -> Self {
        Self { pieces: pieces.clone(), index: index.clone() }
    }

    /// Where everything is in the archive.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The content of an entry that is not longer than `limit`.
    ///
    /// # Errors
    /// Where it is longer, cannot be read or is damaged, or where another entry
    /// lies at its place.
    pub fn content(&self, entry: &Indexed, limit: u64) -> io::Result<Vec<u8>> {
        if entry.size > limit {
            return Err(invalid(format!("`{}` has {} bytes", entry.path.escape_debug(), entry.size)));
        }
        let mut bytes = Vec::new();
        self.reader(entry)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the content of an entry, which is compared with nothing but the
    /// checksums of the frames that it lies in.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub fn reader(&self, entry: &Indexed) -> io::Result<impl Read + '_> {
        self.pieces.entry(entry, AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::{ArchiveWriter, Compression, NewMember};
    use base::digest::Digest;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    /// Names and contents of all sizes, as text and as noise, some in a nested
    /// tar. Gives the archive and what lies in it.
    fn written(folder: &Path, sizes: &[usize]) -> (std::path::PathBuf, Vec<(String, Vec<u8>)>) {
        let path = folder.join("a.tar.zst");
        let mut writer = ArchiveWriter::create(path.clone(), Compression::Zstd).unwrap();
        let mut contents = Vec::new();
        let long = format!("long/{}/{}", "x".repeat(200), "y".repeat(200));
        for (at, &size) in sizes.iter().enumerate() {
            let name = if at == 3 { long.clone() } else { format!("e{at}") };
            let bytes = if at % 2 == 0 { noise(at as u64, size) } else { b"name: value\n".repeat(size / 12 + 1) };
            writer.add(NewMember::bytes(&name, 0o644, bytes.clone())).unwrap();
            contents.push((name, bytes));
        }
        let members =
            ["m/a", "m/deep/b", &format!("m/{long}")].map(|name| (name.to_owned(), noise(9, name.len() * 10)));
        let nested = members.iter().map(|(name, bytes)| NewMember::bytes(name, 0o600, bytes.clone())).collect();
        writer.add_nested("nested.tar", 0o644, nested).unwrap();
        contents.extend(members);
        writer.finish().unwrap();
        (path, contents)
    }

    #[test]
    fn everything_is_found_where_the_index_says() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 511, 512, 513, 70_000, 300_000, 2 << 20, (5 << 20) + 7];
        let (path, contents) = written(folder.path(), &sizes);
        let archive = Archive::open(&path).unwrap().expect("an index");
        let all: Vec<Indexed> = archive
            .index()
            .entries
            .iter()
            .chain(archive.index().members.iter().map(|(_, member)| member))
            .cloned()
            .collect();
        assert_eq!(all.len(), contents.len() + 1, "the nested tar is an entry as well");
        for (name, bytes) in &contents {
            let entry = all.iter().find(|entry| entry.path == *name).unwrap();
            assert_eq!((entry.size, entry.digest), (bytes.len() as u64, Digest::of(bytes)), "{name}");
            assert_eq!(archive.content(entry, u64::MAX).unwrap(), *bytes, "{name}");
        }
        let nested = all.iter().find(|entry| entry.path == "nested.tar").unwrap();
        assert_eq!(Digest::of(&archive.content(nested, u64::MAX).unwrap()), nested.digest);
        assert!(archive.content(nested, nested.size - 1).is_err(), "no more than was asked for");
        let unpacked = zstd::decode_all(File::open(&path).unwrap()).unwrap();
        assert_eq!(archive.index().unpacked(), unpacked.len() as u64, "other readers pass over the index");
    }

    /// Whatever stands at the end of a file: an answer, or an error.
    #[test]
    fn a_damaged_index_is_no_other_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (path, contents) = written(folder.path(), &[0, 511, 512, 900, 30]);
        let bytes = std::fs::read(&path).unwrap();
        let sound = Archive::open(&path).unwrap().unwrap();
        let frames = sound.index().frames.last().map_or(0, |frame| frame.at as usize + frame.length);
        let other = folder.path().join("b.tar.zst");
        for at in frames..bytes.len() {
            for flip in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                disk::fs::write_atomic(&other, &damaged).unwrap();
                let Ok(Some(archive)) = Archive::open(&other) else { continue };
                let entries = archive.index().entries.clone();
                for entry in entries.iter().filter(|entry| entry.size < 1000) {
                    let Ok(read) = archive.content(entry, 1000) else { continue };
                    let known = contents.iter().any(|(name, bytes)| *name == entry.path && *bytes == read);
                    assert!(known, "byte {at}: {} is something else", entry.path);
                }
            }
            disk::fs::write_atomic(&other, &bytes[..at]).unwrap();
            assert!(Archive::open(&other).is_ok_and(|archive| archive.is_none()), "cut at {at}");
        }
    }
}
