//! The thread that decompresses a layer and walks through it, ahead of who reads.
//!
//! What nobody wants passes here, but for its name. A file that is wanted is
//! handed over in pieces as long as who reads asks for them: [`Asked`] says from
//! which byte on, so that what it passes over is never copied. So several layers
//! come forward at the same time, though one thread reads them in turn.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use super::names::{name_of, rooted};
use super::{Found, LayerFilter};
use crate::pipe::fill;
use crate::reader::{EntryKind, Header, TarReader};
use base::leash::Leash;

/// Bytes that are decompressed at once: whole blocks of the tar.
const CHUNK: usize = 256 * 1024;
/// Bytes of the front of a marked file that are told with it.
const FRONT: usize = 4096;
/// Links and files that are told at once.
const BATCH: usize = 1000;
/// Names that are told at once.
pub(super) const STRIDE: usize = 4096;
/// Nothing honest shrinks by more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 1 << 30;
const ZSTD_WINDOW_LOG: u32 = 27;

/// What the walk came by.
pub(super) enum Told {
    /// Entries: the names of all, what of them is to be found, and whether the
    /// last of that is a file whose content follows.
    Passed { names: Vec<u64>, found: Vec<Found>, is_file: bool },
    /// Content of that file, and at which of its bytes it begins.
    Content { at: u64, bytes: Vec<u8> },
    /// There is nothing more.
    End,
}

/// What who reads still wants: of which file, counted from 1, and from which byte
/// of it on.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<(u64, u64)>);

impl Asked {
    pub(super) fn set(&self, file: u64, from: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (file, from);
    }

    /// Nothing is wanted any more.
    pub(super) fn leave(&self) {
        self.set(u64::MAX, 0);
    }

    fn is_left(&self) -> bool {
        self.from(u64::MAX - 1).is_none()
    }

    /// From where on `file` is wanted; None where it was left.
    fn from(&self, file: u64) -> Option<u64> {
        let (asked, from) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.cmp(&file) {
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Equal => Some(from),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// Where reading a file begins, and what lies in front of that.
#[derive(Default)]
struct Beginning {
    begin: u64,
    front: Vec<u8>,
}

/// One walk through one layer.
pub(super) struct Walk {
    tar: TarReader<Blocks>,
    wanted: LayerFilter,
    told: SyncSender<io::Result<Told>>,
    asked: Arc<Asked>,
    files: u64,
    names: Vec<u64>,
    found: Vec<Found>,
    /// Of the texts of what was found: names may be long.
    texts: usize,
}

impl Walk {
    /// Through a tar, plain or packed with gzip, zstd or xz.
    pub(super) fn new(
        file: File,
        wanted: LayerFilter,
        told: SyncSender<io::Result<Told>>,
        asked: Arc<Asked>,
        leash: Leash,
    ) -> io::Result<Self> {
        let tar = TarReader::lenient(Blocks::of(file, leash, asked.clone())?);
        Ok(Self { tar, wanted, told, asked, files: 0, names: Vec::new(), found: Vec::new(), texts: 0 })
    }

    /// To the end of the layer, or until nobody listens.
    pub(super) fn run(mut self) {
        let result = self.walk();
        // What came before the damage counts.
        if !self.names.is_empty() {
            let _ = self.pass(false);
        }
        let _ = self.told.send(result.map(|()| Told::End));
    }

    fn walk(&mut self) -> io::Result<()> {
        while let Some(header) = self.tar.next_entry()? {
            let path = rooted(&header.path);
            self.names.push(name_of(&path, header.kind == EntryKind::Directory));
            let is_file = header.kind == EntryKind::File;
            let wanted = self.begin_of(&path, header.kind)?;
            let begin = wanted.as_ref().map(|wanted| wanted.begin);
            if let Some(wanted) = wanted {
                let found = found(&path, wanted, header);
                self.texts += found.path.len() + found.target.len();
                self.found.push(found);
            }
            if let Some(begin) = begin.filter(|_| is_file) {
                self.pass(true)?;
                self.hand_over(begin)?;
            } else if self.names.len() >= STRIDE || self.found.len() >= BATCH || self.texts >= CHUNK {
                self.pass(false)?;
            }
        }
        Ok(())
    }

    /// Where reading an entry begins; None for what is not wanted.
    fn begin_of(&mut self, path: &str, kind: EntryKind) -> io::Result<Option<Beginning>> {
        let is_wanted = match kind {
            EntryKind::File | EntryKind::HardLink => self.wanted.path(path),
            EntryKind::Symlink => true,
            EntryKind::Directory | EntryKind::Other(_) => false,
        };
        if is_wanted || kind != EntryKind::File || !self.begins_as_wanted()? {
            return Ok(is_wanted.then(Beginning::default));
        }
        if self.wanted.marks.are_wanted() { self.mark() } else { Ok(Some(Beginning::default())) }
    }

    /// Passes over what lies before the first mark of a file.
    fn mark(&mut self) -> io::Result<Option<Beginning>> {
        let mut beginning = Beginning::default();
        loop {
            // Chunks are whole blocks, but for the last.
            let chunk = self.tar.chunk()?;
            let (length, found) = (chunk.len(), self.wanted.marks.find(chunk));
            let passed = found.unwrap_or(length);
            let lacking = FRONT.saturating_sub(beginning.front.len()).min(passed);
            beginning.front.extend_from_slice(&chunk[..lacking]);
            self.tar.consume(passed);
            beginning.begin += passed as u64;
            match found {
                None if length > 0 => {}
                found => return Ok(found.map(|_| beginning)),
            }
        }
    }

    fn begins_as_wanted(&mut self) -> io::Result<bool> {
        if self.wanted.beginnings.is_empty() {
            return Ok(false);
        }
        // Content begins where a block does, and so do chunks: one holds the
        // whole first block.
        let start = self.tar.chunk()?;
        Ok(self.wanted.begins(start))
    }

    /// Tells what was passed.
    fn pass(&mut self, is_file: bool) -> io::Result<()> {
        let (names, found) = (std::mem::take(&mut self.names), std::mem::take(&mut self.found));
        self.texts = 0;
        self.tell(Told::Passed { names, found, is_file })
    }

    /// The content of the file that was found last, from `at` on, as far as it is
    /// wanted.
    fn hand_over(&mut self, mut at: u64) -> io::Result<()> {
        self.files += 1;
        while let Some(from) = self.asked.from(self.files) {
            let chunk = self.tar.chunk()?;
            let (length, begin) = (chunk.len(), from.max(at));
            if length == 0 {
                break;
            }
            let passed = usize::try_from(begin - at).unwrap_or(usize::MAX);
            let bytes = chunk.get(passed..).unwrap_or_default().to_vec();
            self.tar.consume(length);
            if !bytes.is_empty() {
                self.tell(Told::Content { at: begin, bytes })?;
            }
            at += length as u64;
        }
        Ok(())
    }

    fn tell(&self, what: Told) -> io::Result<()> {
        self.told.send(Ok(what)).map_err(|_| left())
    }
}

/// Nobody hears it.
fn left() -> io::Error {
    io::Error::other("nobody reads the layer any more")
}

fn found(path: &str, Beginning { begin, front }: Beginning, header: Header) -> Found {
    let target = match header.kind {
        EntryKind::HardLink => rooted(&header.target)[1..].to_owned(),
        _ => header.target,
    };
    Found {
        path: path.trim_start_matches('/').to_owned(),
        kind: header.kind,
        size: header.size,
        begin,
        front,
        executable: header.mode & 0o111 != 0,
        target,
    }
}

/// What a file decompresses to, in whole blocks.
struct Blocks {
    decoder: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
    /// Comes behind what was read before it.
    failure: Option<io::Error>,
    /// Bytes that it may still unpack to.
    left: u64,
    leash: Leash,
    asked: Arc<Asked>,
}

impl Blocks {
    fn of(file: File, leash: Leash, asked: Arc<Asked>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let left = RATIO_FREE.saturating_add(length.saturating_mul(LARGEST_RATIO));
        let buffer = vec![0; CHUNK];
        Ok(Self { decoder: decoder(file)?, buffer, filled: 0, at: 0, failure: None, left, leash, asked })
    }

    fn next(&mut self) -> io::Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.leash.check().map_err(io::Error::other)?;
        if self.asked.is_left() {
            return Err(left());
        }
        let (length, result) = fill(self.decoder.as_mut(), &mut self.buffer);
        let rest = self.left.checked_sub(length as u64);
        self.left =
            rest.ok_or_else(|| io::Error::other(format!("it unpacks to more than {LARGEST_RATIO} times its size")))?;
        (self.filled, self.at) = (length, 0);
        match result {
            Err(failure) if length == 0 => Err(failure),
            result => {
                self.failure = result.err();
                Ok(())
            }
        }
    }
}

impl BufRead for Blocks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.filled {
            self.next()?;
        }
        Ok(&self.buffer[self.at..self.filled])
    }

    fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.filled);
    }
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let length = available.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

fn decoder(file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut file = BufReader::with_capacity(CHUNK, file);
    let start = file.fill_buf()?;
    Ok(if start.starts_with(b"\x1f\x8b") {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Box::new(decoder)
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, 128 * 1024))
    } else {
        Box::new(file)
    })
}
