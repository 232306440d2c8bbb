//! Reads an archive at many places at once, in memory that does not grow with
//! the number of readers.
//!
//! Content is given in pieces of at most 128 KiB, each of which was checked.
//! Before anything of a frame is given the frame is read as a whole and compared
//! with its checksum; what is noted of it then, a keyed hash of each piece, is
//! what each piece is compared with ever after, so that a file that changes
//! while it is read is found out. Stored frames are read a piece at a time;
//! compressed ones are unpacked in one of a few [`Slot`]s, which whoever waits
//! for somebody gives back.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh64::{Xxh64, xxh64};
use zstd::bulk::Decompressor;

use super::damage::invalid;
use super::frames::{self, BLOCK_HEADER, FRAME_HEADER, RAW_BLOCK};
use super::index::{Frame, Index, Indexed};
use super::reader::TarReader;

/// Bytes of a piece at most.
pub const PIECE: usize = RAW_BLOCK;
/// Pieces that are kept for the next one who needs one.
const SPARE: usize = 64;

/// An archive that many read.
pub struct Pieces {
    file: File,
    frames: Vec<Frame>,
    layout: Layout,
    /// What nobody who writes into the file can know.
    key: u64,
    /// By number of the frame, once it was checked.
    known: Mutex<HashMap<usize, Known>>,
    buffers: Arc<Buffers>,
}

/// How content lies in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Zstd,
    /// The file is the tar: frames are a way of counting.
    Plain,
}

/// What was found in a frame when it was checked.
#[derive(Clone)]
enum Known {
    /// A hash of each piece, which lies in the file as it is.
    Stored(Arc<[u64]>),
    /// A hash of all its content.
    Packed(u64),
}

impl Pieces {
    /// The archive in `file`, whose index is known.
    pub fn new(file: File, index: &Index, buffers: &Arc<Buffers>) -> Self {
        Self::with(file, index.frames.clone(), Layout::Zstd, buffers)
    }

    /// One whose frames were found.
    pub(super) fn walked(file: File, frames: Vec<Frame>, buffers: &Arc<Buffers>) -> Self {
        Self::with(file, frames, Layout::Zstd, buffers)
    }

    /// A tar of so many bytes.
    pub(super) fn plain(file: File, size: u64, buffers: &Arc<Buffers>) -> Self {
        let step = frames::SEGMENT;
        let frame = |at: u64| Frame { at, length: step, content_at: at, content: step.min((size - at) as usize) };
        let frames = (0..size).step_by(step).map(frame).collect();
        Self::with(file, frames, Layout::Plain, buffers)
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Reads the tar from a place on.
    pub(super) fn from(&self, at: u64) -> Bytes<'_> {
        Bytes { of: self, at, piece: Piece::empty(&self.buffers), held: Held::of(&self.buffers) }
    }

    fn with(file: File, frames: Vec<Frame>, layout: Layout, buffers: &Arc<Buffers>) -> Self {
        let key = fastrand::u64(..);
        Self { file, frames, layout, key, known: Mutex::default(), buffers: buffers.clone() }
    }

    /// Byte of the tar at which the content of an entry begins.
    ///
    /// # Errors
    /// Where another entry lies there; as [`Self::read`].
    pub fn content_of(&self, entry: &Indexed) -> io::Result<u64> {
        Ok(entry.at + self.entry(entry, 1024)?.position())
    }

    /// Reads the content of an entry, `ahead` bytes at a time.
    ///
    /// # Errors
    /// As [`Self::content_of`].
    pub(super) fn entry(&self, entry: &Indexed, ahead: usize) -> io::Result<TarReader<io::BufReader<Bytes<'_>>>> {
        let mut reader = TarReader::new(io::BufReader::with_capacity(ahead, self.from(entry.at)));
        let header = reader.next_entry()?.ok_or_else(|| invalid("the index leads behind the end of the tar".into()))?;
        if header.path == entry.path && header.size == entry.size {
            return Ok(reader);
        }
        let (found, listed) = (header.path.escape_debug(), entry.path.escape_debug());
        Err(invalid(format!("the index says `{listed}` where `{found}` lies")))
    }

    /// What lies at byte `range.start` of the tar: some of the range, and
    /// nothing but where the tar or the range is at its end. Pieces of one range
    /// are the same ones however often it is read.
    ///
    /// # Errors
    /// Where the file cannot be read, or is damaged there, or was changed.
    pub fn read(&self, range: Range<u64>, held: &mut Held) -> io::Result<Piece> {
        let Some(number) = self.frame_of(range.start).filter(|_| !range.is_empty()) else {
            return Ok(Piece::empty(&self.buffers));
        };
        let frame = self.frames[number];
        let start = (range.start - frame.content_at) as usize;
        let block = start / PIECE * PIECE;
        let wanted = usize::try_from(range.end - frame.content_at).unwrap_or(usize::MAX);
        let end = (block + PIECE).min(frame.content).min(wanted);
        match self.known(number, held)? {
            Known::Stored(hashes) => {
                let length = PIECE.min(frame.content - block);
                let mut piece = self.buffers.piece();
                self.file.read_exact_at(&mut piece.bytes[..length], self.place_of(&frame, block))?;
                if hashes.get(block / PIECE) != Some(&xxh64(&piece.bytes[..length], self.key)) {
                    return Err(invalid("it was changed while it was read".into()));
                }
                piece.range = start - block..end - block;
                Ok(piece)
            }
            Known::Packed(hash) => {
                let content = held.unpack(self, number, Some(hash))?;
                let mut piece = self.buffers.piece();
                piece.bytes[..end - start].copy_from_slice(&content[start..end]);
                piece.range = 0..end - start;
                Ok(piece)
            }
        }
    }

    /// Byte of the file at which the piece lies that begins at `block`.
    fn place_of(&self, frame: &Frame, block: usize) -> u64 {
        frame.at
            + match self.layout {
                Layout::Zstd => frames::raw_offset(block) as u64,
                Layout::Plain => block as u64,
            }
    }

    fn frame_of(&self, at: u64) -> Option<usize> {
        Index::frame_at(&self.frames, at)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a frame where nobody has.
    fn known(&self, number: usize, held: &mut Held) -> io::Result<Known> {
        if let Some(known) = self.lock().get(&number) {
            return Ok(known.clone());
        }
        let known = match self.check_stored(&self.frames[number])? {
            Some(hashes) => Known::Stored(hashes.into()),
            None => Known::Packed(xxh64(held.unpack(self, number, None)?, self.key)),
        };
        // A small frame is read as a whole each time: noting it costs more.
        if self.frames[number].content > PIECE {
            self.lock().insert(number, known.clone());
        }
        Ok(known)
    }

    /// Reads a frame whose content lies in the file as it is to its end; None
    /// where it is not one. A plain tar has no checksums: it is as it was when it
    /// was first read.
    fn check_stored(&self, frame: &Frame) -> io::Result<Option<Vec<u64>>> {
        let is_plain = self.layout == Layout::Plain;
        if !is_plain && !self.is_stored(frame)? {
            return Ok(None);
        }
        let mut piece = self.buffers.piece();
        let mut found = Xxh64::new(0);
        let mut hashes = Vec::with_capacity(frame.content.div_ceil(PIECE));
        for block in (0..frame.content).step_by(PIECE) {
            let length = PIECE.min(frame.content - block);
            let place = self.place_of(frame, block);
            if !is_plain {
                let mut header = [0; BLOCK_HEADER];
                self.file.read_exact_at(&mut header, place - BLOCK_HEADER as u64)?;
                if header != frames::raw_block_header(length, block + length == frame.content) {
                    return Ok(None);
                }
            }
            let bytes = &mut piece.bytes[..length];
            self.file.read_exact_at(bytes, place)?;
            found.update(bytes);
            hashes.push(xxh64(bytes, self.key));
        }
        if is_plain {
            return Ok(Some(hashes));
        }
        let mut claimed = [0; frames::CHECKSUM];
        self.file.read_exact_at(&mut claimed, frame.at + (frame.length - frames::CHECKSUM) as u64)?;
        match found.digest().to_le_bytes().starts_with(&claimed) {
            true => Ok(Some(hashes)),
            false => Err(invalid("a frame is not what its checksum says".into())),
        }
    }

    fn is_stored(&self, frame: &Frame) -> io::Result<bool> {
        if frame.content == 0 || frame.length != frames::stored_length(frame.content) {
            return Ok(false);
        }
        let mut header = [0; FRAME_HEADER];
        self.file.read_exact_at(&mut header, frame.at)?;
        Ok(frames::announces_stored(&header, frame.content))
    }
}

/// The tar from a place on.
pub(super) struct Bytes<'a> {
    of: &'a Pieces,
    at: u64,
    /// What was read and is not given yet.
    piece: Piece,
    held: Held,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.of.read(self.at..u64::MAX, &mut self.held)?;
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece[..length]);
        self.piece.range.start += length;
        self.at += length as u64;
        Ok(length)
    }
}

/// Memory for all readers of all archives.
#[derive(Default)]
pub struct Buffers {
    spare: Mutex<Vec<Vec<u8>>>,
    slots: Mutex<Slots>,
    freed: Condvar,
}

#[derive(Default)]
struct Slots {
    free: Vec<Slot>,
    /// How many more there may be.
    left: usize,
}

impl Buffers {
    /// With so many frames unpacked at a time.
    pub fn new(slots: usize) -> Arc<Self> {
        let slots = Mutex::new(Slots { free: Vec::new(), left: slots.max(1) });
        Arc::new(Self { slots, ..Self::default() })
    }

    fn piece(self: &Arc<Self>) -> Piece {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Piece { bytes: spare.unwrap_or_else(|| vec![0; PIECE]), range: 0..0, home: self.clone() }
    }

    /// A slot, by preference one that holds this frame already.
    fn slot(&self, content: Holds) -> io::Result<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = slots.free.iter().position(|slot| slot.holds == Some(content)) {
                return Ok(slots.free.swap_remove(at));
            }
            if slots.left > 0 {
                slots.left -= 1;
                return Slot::new();
            }
            // The one that was given back first is the least likely to be wanted.
            if !slots.free.is_empty() {
                return Ok(slots.free.remove(0));
            }
            slots = self.freed.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, slot: Slot) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(slot);
        self.freed.notify_one();
    }
}

/// Some bytes of content.
pub struct Piece {
    bytes: Vec<u8>,
    range: Range<usize>,
    home: Arc<Buffers>,
}

impl Piece {
    fn empty(home: &Arc<Buffers>) -> Self {
        Self { bytes: Vec::new(), range: 0..0, home: home.clone() }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut spare = self.home.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() == PIECE && spare.len() < SPARE {
            spare.push(bytes);
        }
    }
}

/// An archive, told by its key, and a frame of it.
type Holds = (u64, usize);

/// What it takes to unpack one frame.
struct Slot {
    decompressor: Decompressor<'static>,
    packed: Vec<u8>,
    content: Vec<u8>,
    holds: Option<Holds>,
}

impl Slot {
    fn new() -> io::Result<Self> {
        let decompressor = Decompressor::new()?;
        Ok(Self { decompressor, packed: Vec::new(), content: Vec::new(), holds: None })
    }
}

/// The frame that a reader has unpacked. Who waits for anybody else
/// [lets go](Held::release) of it before.
pub struct Held {
    slot: Option<Slot>,
    home: Arc<Buffers>,
}

impl Held {
    /// Nothing unpacked yet, in one of the slots of `home`.
    pub fn of(home: &Arc<Buffers>) -> Self {
        Self { slot: None, home: home.clone() }
    }

    /// Gives the slot back to those who wait for one. What was unpacked is unpacked again when
    /// it is read on.
    pub fn release(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.home.give_back(slot);
        }
    }

    /// The content of a frame, whose checksum is right, and its hash where that
    /// is known.
    fn unpack(&mut self, of: &Pieces, number: usize, known: Option<u64>) -> io::Result<&[u8]> {
        let wanted = (of.key, number);
        if self.slot.as_ref().is_none_or(|slot| slot.holds != Some(wanted)) {
            self.release();
            let slot = self.slot.insert(self.home.slot(wanted)?);
            if slot.holds != Some(wanted) {
                slot.holds = None;
                let Frame { at, length, content, .. } = of.frames[number];
                slot.packed.resize(length, 0);
                of.file.read_exact_at(&mut slot.packed, at)?;
                slot.content.resize(content, 0);
                let read = slot.decompressor.decompress_to_buffer(&slot.packed, &mut slot.content[..]);
                // What libzstd finds wrong has no kind of its own.
                let read = read.map_err(|error| invalid(format!("a frame cannot be unpacked: {error}")))?;
                if read != content {
                    return Err(invalid(format!("a frame has {read} bytes of content where the index says {content}")));
                }
                if known.is_some_and(|known| known != xxh64(&slot.content, of.key)) {
                    return Err(invalid("it was changed while it was read".into()));
                }
                slot.holds = Some(wanted);
            }
        }
        Ok(self.slot.as_ref().map_or(&[], |slot| &slot.content))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
