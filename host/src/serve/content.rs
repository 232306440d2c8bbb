//! One content of a package: found by the archive's index, and proven to have
//! its digest before its last byte leaves.
//!
//! Whoever reads furthest hashes: all readers of a content share one SHA-256,
//! which they carry on piece by piece, and who comes behind compares what it
//! reads with what was noted of the piece (see [`pieces`](crate::archive::pieces)).
//! A part is given only of a content that is proven as a whole.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::archive::index::Indexed;
use crate::archive::pieces::{Buffers, Held, Piece, Pieces};
use crate::digest::{Digest, Hasher};

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

/// Takes pieces one after the other; false where nobody wants more. What has to
/// wait for somebody lets go of what is held.
pub(super) trait Sink {
    fn take(&mut self, piece: Piece, held: &mut Held) -> bool;
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
        while at < end {
            let piece = self.piece(at..end, &mut held)?;
            at += piece.len() as u64;
            if !sink.take(piece, &mut held) {
                return Ok(());
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

    /// The first bytes, of which only the checksum of their frame is known to be
    /// right.
    pub(super) fn beginning(&self, length: u64) -> io::Result<Vec<u8>> {
        let (start, length) = (self.start()?, length.min(self.size()));
        Ok(self.archive.read(start..start + length, &mut Held::of(&self.buffers))?.to_vec())
    }

    fn send_and_prove(&self, start: u64, sink: &mut dyn Sink, held: &mut Held) -> io::Result<()> {
        let mut at = 0;
        while at < self.size() {
            let piece = self.piece(start + at..start + self.size(), held)?;
            self.note(at, &piece)?;
            at += piece.len() as u64;
            if !sink.take(piece, held) {
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
    fn take(&mut self, piece: Piece, _: &mut Held) -> bool {
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
