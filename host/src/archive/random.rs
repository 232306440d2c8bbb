//! Reads an archive at any place, through its [`index`](super::index): a
//! decompressed frame at a time, whose checksum is right.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use zstd::bulk::Decompressor;

use super::index::{Frame, Index, Indexed};
use super::reader::{Header, TarReader};
use crate::error::{Error, Result};

/// An archive with an index.
pub struct Archive {
    file: File,
    index: Index,
    decompressor: Decompressor<'static>,
    /// The frame that was read last.
    current: Option<(usize, Vec<u8>)>,
    packed: Vec<u8>,
}

impl Archive {
    /// None where the archive has no index: it is then to be read from its
    /// beginning.
    ///
    /// # Errors
    /// `local`, `not-found`; `integrity` where the index contradicts itself.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let unreadable = |source| Error::io("cannot read", path, source);
        let file = File::open(path).map_err(unreadable)?;
        let Some(index) = Index::read(&file).map_err(|source| damaged(path, source))? else { return Ok(None) };
        let decompressor = Decompressor::new().map_err(unreadable)?;
        Ok(Some(Self { file, index, decompressor, current: None, packed: Vec::new() }))
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The content of an entry that is not longer than `limit`.
    ///
    /// # Errors
    /// Where it is longer, cannot be read or is damaged, or where another entry
    /// lies at its place.
    pub fn content(&mut self, entry: &Indexed, limit: u64) -> io::Result<Vec<u8>> {
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
    pub fn reader(&mut self, entry: &Indexed) -> io::Result<impl Read + '_> {
        let mut reader = TarReader::new(BufReader::with_capacity(BUFFER, Bytes { archive: self, at: entry.at }));
        let header = reader.next_entry()?.ok_or_else(|| invalid("the index leads behind the end of the tar".into()))?;
        if header.path != entry.path || header.size != entry.size {
            return Err(misplaced(entry, &header));
        }
        Ok(reader)
    }

    /// The content of a frame.
    fn frame(&mut self, at: usize) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != at) {
            let Frame { at: place, length, content, .. } = self.index.frames[at];
            self.packed.resize(length, 0);
            self.file.read_exact_at(&mut self.packed, place)?;
            let mut bytes = self.current.take().map(|(_, bytes)| bytes).unwrap_or_default();
            bytes.resize(content, 0);
            let read = self.decompressor.decompress_to_buffer(&self.packed, &mut bytes[..])?;
            if read != content {
                return Err(invalid(format!("a frame has {read} bytes of content where the index says {content}")));
            }
            self.current = Some((at, bytes));
        }
        Ok(self.current.as_ref().map_or(&[][..], |(_, bytes)| bytes))
    }
}

/// Bytes that are taken out of a frame at once.
const BUFFER: usize = 64 << 10;

/// The tar from a place on.
struct Bytes<'a> {
    archive: &'a mut Archive,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(frame) = self.archive.index.frame_of(self.at) else { return Ok(0) };
        let start = usize::try_from(self.at - self.archive.index.frames[frame].content_at).unwrap_or(usize::MAX);
        let content = &self.archive.frame(frame)?[start..];
        let length = content.len().min(buffer.len());
        buffer[..length].copy_from_slice(&content[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

/// What is said where another entry lies than the one that the index names.
pub(super) fn misplaced(listed: &Indexed, found: &Header) -> io::Error {
    let (found, listed) = (found.path.escape_debug(), listed.path.escape_debug());
    invalid(format!("the index says `{listed}` where `{found}` lies"))
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// An error of a package that was opened.
pub fn damaged(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::integrity(format!("`{}` is damaged: {source}", path.display()))
                .hint("`opencenter-airgap verify` says what is wrong with it")
        }
        _ => Error::io("cannot read", path, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ArchiveWriter, Compression, Entry};
    use crate::digest::Digest;

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
            writer.add(Entry::bytes(&name, 0o644, bytes.clone())).unwrap();
            contents.push((name, bytes));
        }
        let members =
            ["m/a", "m/deep/b", &format!("m/{long}")].map(|name| (name.to_owned(), noise(9, name.len() * 10)));
        let nested = members.iter().map(|(name, bytes)| Entry::bytes(name, 0o600, bytes.clone())).collect();
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
        let mut archive = Archive::open(&path).unwrap().expect("an index");
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
                crate::fs::write_atomic(&other, &damaged).unwrap();
                let Ok(Some(mut archive)) = Archive::open(&other) else { continue };
                let entries = archive.index().entries.clone();
                for entry in entries.iter().filter(|entry| entry.size < 1000) {
                    let Ok(read) = archive.content(entry, 1000) else { continue };
                    let known = contents.iter().any(|(name, bytes)| *name == entry.path && *bytes == read);
                    assert!(known, "byte {at}: {} is something else", entry.path);
                }
            }
            crate::fs::write_atomic(&other, &bytes[..at]).unwrap();
            assert!(Archive::open(&other).is_ok_and(|archive| archive.is_none()), "cut at {at}");
        }
    }
}
