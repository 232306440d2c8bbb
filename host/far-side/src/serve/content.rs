//! One content of a package: found by the archive's index, and proven to have
//! its digest before its last byte leaves.
//!
//! Whoever reads furthest hashes: all readers of a content share one SHA-256,
//! which they carry on piece by piece, and who comes behind compares what it
//! reads with what was noted of the piece (see [`pieces`](archive::pieces)).
//! A part is given only of a content that is proven as a whole.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use archive::index::Indexed;
use archive::pieces::{Buffers, Held, Piece, Pieces};
use base::digest::{Digest, Hasher};

/// A file of a package, or of a tar in it.
pub(super) struct Content {
    archive: Arc<Pieces>,
    buffers: Arc<Buffers>,
    entry: Indexed,
    /// Byte of the tar at which it begins.
    start: OnceLock<u64>,
    proof: Mutex<Proof>,
}

/// How much of a content was hashed, and what came of it.
struct Proof {
    /// Bytes that were hashed.
    length: u64,
    hasher: Hasher,
    /// None as long as it was not read to its end.
    outcome: Option<bool>,
}

/// Takes pieces one after the other. Both say false where nobody wants more.
pub(super) trait Sink {
    /// Waits until there is room for a piece, without anything held.
    fn has_room(&mut self, _: &mut Held) -> bool {
        true
    }

    fn take(&mut self, piece: Piece) -> bool;
}

impl Content {
    pub(super) fn new(archive: &Arc<Pieces>, buffers: &Arc<Buffers>, entry: Indexed) -> Self {
        let proof = Proof { length: 0, hasher: Hasher::new(), outcome: None };
        Self {
            archive: archive.clone(),
            buffers: buffers.clone(),
            entry,
            start: OnceLock::new(),
            proof: Mutex::new(proof),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.entry.size
    }

    pub(super) fn digest(&self) -> Digest {
        self.entry.digest
    }

    /// Path in the package, or in the tar in it.
    pub(super) fn path(&self) -> &str {
        &self.entry.path
    }

    /// Gives a part to `sink`.
    ///
    /// # Errors
    /// Where it cannot be read, or is damaged: some of it may have been given
    /// then, never all.
    pub(super) fn send(&self, part: Range<u64>, sink: &mut dyn Sink) -> io::Result<()> {
        let mut held = Held::of(&self.buffers);
        let start = self.start()?;
        let outcome = self.proof().outcome;
        match outcome {
            Some(false) => return Err(self.damaged()),
            Some(true) => {}
            None if part == (0..self.size()) => return self.send_and_prove(start, sink, &mut held),
            None => self.prove(start, &mut held)?,
        }
        let (mut at, end) = (start + part.start, start + part.end);
        while at < end && sink.has_room(&mut held) {
            let piece = self.piece(at..end, &mut held)?;
            at += piece.len() as u64;
            if !sink.take(piece) {
                break;
            }
        }
        Ok(())
    }

    /// All of it, where it is not longer than `limit`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn bytes(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.size() > limit {
            let path = self.entry.path.escape_debug();
            return Err(io::Error::other(format!("`{path}` has {} bytes, at most {limit} are read", self.size())));
        }
        let mut all = Vec::with_capacity(usize::try_from(self.size()).unwrap_or_default());
        self.send(0..self.size(), &mut all)?;
        Ok(all)
    }

    /// A small part.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn part(&self, part: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.send(part.start.min(self.size())..part.end.min(self.size()), &mut bytes)?;
        Ok(bytes)
    }

    /// The first bytes, of which only the checksum of their frame is known to be
    /// right.
    pub(super) fn beginning(&self, length: u64) -> io::Result<Vec<u8>> {
        let (start, length) = (self.start()?, length.min(self.size()));
        Ok(self.archive.read(start..start + length, &mut Held::of(&self.buffers))?.to_vec())
    }

    fn send_and_prove(&self, start: u64, sink: &mut dyn Sink, held: &mut Held) -> io::Result<()> {
        let mut at = 0;
        while at < self.size() {
            if !sink.has_room(held) {
                return Ok(());
            }
            let piece = self.piece(start + at..start + self.size(), held)?;
            self.note(at, &piece)?;
            at += piece.len() as u64;
            if !sink.take(piece) {
                return Ok(());
            }
        }
        // Of a content without bytes nothing is noted.
        self.note(at, &[])
    }

    /// Reads on where the last one stopped, to the end.
    fn prove(&self, start: u64, held: &mut Held) -> io::Result<()> {
        loop {
            let at = self.proof().length;
            if at >= self.size() {
                return self.note(at, &[]);
            }
            let piece = self.piece(start + at..start + self.size(), held)?;
            self.note(at, &piece)?;
        }
    }

    fn piece(&self, range: Range<u64>, held: &mut Held) -> io::Result<Piece> {
        let piece = self.archive.read(range, held)?;
        match piece.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the package ends early")),
            false => Ok(piece),
        }
    }

    /// Hashes a piece that is the next one; says whether all is well so far.
    fn note(&self, at: u64, piece: &[u8]) -> io::Result<()> {
        let mut proof = self.proof();
        if proof.outcome.is_none() && proof.length == at {
            proof.hasher.update(piece);
            proof.length += piece.len() as u64;
            if proof.length == self.size() {
                proof.outcome = Some(std::mem::take(&mut proof.hasher).finish() == self.digest());
            }
        }
        match proof.outcome {
            Some(false) => Err(self.damaged()),
            _ => Ok(()),
        }
    }

    fn start(&self) -> io::Result<u64> {
        if let Some(start) = self.start.get() {
            return Ok(*start);
        }
        let start = self.archive.content_of(&self.entry)?;
        Ok(*self.start.get_or_init(|| start))
    }

    fn proof(&self) -> MutexGuard<'_, Proof> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("it does not have the digest {}", self.digest()))
    }
}

impl Sink for Vec<u8> {
    fn take(&mut self, piece: Piece) -> bool {
        self.extend_from_slice(&piece);
        true
    }
}

/// Where the bytes of an answer come from.
#[derive(Clone)]
pub(super) enum Source {
    Carried(Arc<Content>),
    /// What was made of what is carried.
    Made(bytes::Bytes),
}

impl Source {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Carried(content) => content.size(),
            Self::Made(bytes) => bytes.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use archive::survey;
    use archive::{ArchiveWriter, Compression, NewMember};

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    /// What lies there, and its content.
    type Entries = Vec<(Indexed, Vec<u8>)>;

    /// A file of text and one of noise, in an archive.
    fn opened(path: &Path) -> (Arc<Pieces>, Arc<Buffers>, Entries) {
        let contents = [noise(5_000_000), b"some text\n".repeat(300_000), noise(10), Vec::new()];
        let mut writer = ArchiveWriter::create(path.to_owned(), Compression::Zstd).unwrap();
        for (at, content) in contents.iter().enumerate() {
            writer.add(NewMember::bytes(format!("e{at}"), 0o644, content.clone())).unwrap();
        }
        writer.finish().unwrap();
        let buffers = Buffers::new(1);
        let opened = survey::open(path, None, &buffers).unwrap();
        let entries = opened.index.entries.iter().cloned().zip(contents).collect();
        (opened.pieces, buffers, entries)
    }

    fn part(content: &Content, range: Range<u64>) -> io::Result<Vec<u8>> {
        content.part(range)
    }

    #[test]
    fn parts_and_wholes_are_what_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, buffers, entries) = opened(&folder.path().join("a.tar.zst"));
        for (entry, bytes) in entries {
            let size = entry.size;
            for whole_first in [true, false] {
                let content = Content::new(&archive, &buffers, entry.clone());
                if whole_first {
                    assert!(part(&content, 0..size).unwrap() == bytes);
                }
                for range in [0..size.min(1), size / 2..size, size / 3..size / 3 * 2, 0..size] {
                    let expected = &bytes[range.start as usize..range.end as usize];
                    assert!(part(&content, range.clone()).unwrap() == expected, "{range:?}");
                }
                assert!(content.bytes(size).unwrap() == bytes);
                assert!(size == 0 || content.bytes(size - 1).is_err());
            }
        }
    }

    /// An index may promise another digest than what lies there has.
    #[test]
    fn the_last_piece_of_what_has_another_digest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, buffers, entries) = opened(&folder.path().join("a.tar.zst"));
        for (entry, bytes) in entries {
            let content = Content::new(&archive, &buffers, Indexed { digest: Digest::of(b"other"), ..entry });
            for range in [0..content.size(), 0..content.size().min(1), 0..content.size()] {
                let mut given = Vec::new();
                let error = content.send(range, &mut given).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(given.len() < bytes.len() || bytes.is_empty());
            }
        }
    }

    /// Somebody may write into the file while it is served.
    #[test]
    fn what_changes_after_it_was_verified_does_not_leave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.zst");
        let (archive, buffers, entries) = opened(&path);
        let (entry, bytes) = &entries[0];
        let content = Content::new(&archive, &buffers, entry.clone());
        assert!(part(&content, 0..entry.size).unwrap() == *bytes);
        let written = std::fs::read(&path).unwrap();
        let at = written.windows(50).position(|window| *window == bytes[1_000_000..1_000_050]).unwrap();
        let file = disk::fs::open_rw(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"changed", at as u64).unwrap();
        let error = part(&content, 0..entry.size).unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
        assert!(part(&content, 0..100).unwrap() == bytes[..100], "what is as it was is given");
    }

    /// All of them read the same, and it is hashed once.
    #[test]
    fn many_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, buffers, entries) = opened(&folder.path().join("a.tar.zst"));
        for (entry, bytes) in &entries {
            let content = Content::new(&archive, &buffers, entry.clone());
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| assert!(part(&content, 0..entry.size).unwrap() == *bytes));
                }
            });
            assert_eq!(content.proof().outcome, Some(true));
        }
    }
}
