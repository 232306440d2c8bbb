//! The threads behind a verification: one reads the file and hashes it, one
//! decompresses, and the caller parses and hashes the content. Buffers go
//! round, so memory stays the same for any package.
//!
//! A frame whose checksum is wrong is noted and read on: the digests of the
//! files in it say which of them is damaged.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use xxhash_rust::xxh64::Xxh64;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use archive::pipe::{Feed, Pipe, fill, pipe};
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};

const BUFFER: usize = 1024 * 1024;
/// Buffers between two threads.
const QUEUE: usize = 3;
/// The window that a frame may ask for: 128 MiB.
const WINDOW_LOG: u32 = 27;
const MAGIC: [u8; 4] = zstd::zstd_safe::MAGICNUMBER.to_le_bytes();
/// Nothing honest unpacks to more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 256 << 20;

/// The thread that reads the file to its end, whatever becomes of the content.
pub(crate) struct Whole(JoinHandle<Result<(Digest, u64)>>);

impl Whole {
    /// Digest and size of the file.
    pub(crate) fn finish(self) -> Result<(Digest, u64)> {
        self.0.join().unwrap_or_else(|_| Err(Error::local("reading the package ended early")))
    }
}

/// What the frames themselves were like. Known when the content was read to
/// its end.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Frames>>);

/// Of all frames of an archive.
#[derive(Default)]
pub(super) struct Frames {
    /// Whether one was not what its checksum says.
    pub(super) are_damaged: bool,
    /// Bytes of each, compressed and not.
    pub(super) sizes: Vec<(u64, u64)>,
    /// The skippable ones behind them, whole.
    pub(super) skippable: Vec<Vec<u8>>,
}

impl Seen {
    pub(super) fn take(&self) -> Frames {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The package as it comes: a file, or a pipe of which nothing is known
/// beforehand.
pub(crate) struct Source {
    file: File,
    path: PathBuf,
    /// Whether there is a name, which Zarf goes by, and a folder with more.
    pub(crate) is_file: bool,
}

impl Source {
    /// `-` is the standard input.
    ///
    /// # Errors
    /// `local`, `not-found`; `invalid-input` for a folder.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::io("cannot read", path, source);
        let file = match path.to_str() {
            Some("-") => io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?.into(),
            _ => File::open(path).map_err(unreadable)?,
        };
        let kind = file.metadata().map_err(unreadable)?.file_type();
        if kind.is_dir() {
            return Err(Error::invalid(format!("`{}` is not a file", path.display())).hint("name the package itself"));
        }
        Ok(Self { file, path: path.to_owned(), is_file: kind.is_file() && path.as_os_str() != "-" })
    }
}

/// Starts to read a package: all of it, and the tar in it. The name decides
/// whether it is compressed, as it does for Zarf; without one it is.
pub(crate) fn read(source: Source) -> Result<(Whole, Pipe, Seen)> {
    let Source { file, path, is_file } = source;
    let is_plain = is_file && path.extension().is_some_and(|extension| extension == "tar");
    let (feed, bytes) = pipe(BUFFER, QUEUE);
    let whole = spawn("verify-read", move || read_and_hash(file, &path, feed))?;
    if is_plain {
        return Ok((Whole(whole), bytes, Seen::default()));
    }
    let (feed, content) = pipe(BUFFER, QUEUE);
    let seen = Seen::default();
    let noted = seen.clone();
    spawn("verify-zstd", move || decompress(bytes, feed, noted))?;
    Ok((Whole(whole), content, seen))
}

fn read_and_hash(mut file: File, path: &Path, feed: Feed) -> Result<(Digest, u64)> {
    let mut feed = Some(feed);
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut spare = vec![0; BUFFER];
    loop {
        let mut buffer = match &feed {
            Some(feed) => feed.buffer(),
            None => std::mem::take(&mut spare),
        };
        let (length, result) = fill(&mut file, &mut buffer);
        result.map_err(|source| Error::io("cannot read", path, source))?;
        if length == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
        if let Some(open) = &feed {
            // Where nobody reads on, the content is damaged: the file is still
            // hashed to its end.
            if !open.send(buffer, length) {
                feed = None;
                spare = vec![0; BUFFER];
            }
        } else {
            spare = buffer;
        }
    }
}

fn decompress(mut bytes: Pipe, feed: Feed, seen: Seen) {
    let result = begins_with_a_frame(&mut bytes).and_then(|()| {
        let mut decoder = Unpacked::new(bytes, seen)?;
        let mut unpacked: u64 = 0;
        loop {
            let mut buffer = feed.buffer();
            let (length, result) = fill(&mut decoder, &mut buffer);
            unpacked += length as u64;
            let allowed = RATIO_FREE.saturating_add(decoder.input.taken().saturating_mul(LARGEST_RATIO));
            if unpacked > allowed {
                return Err(io::Error::other(format!("it unpacks to more than {LARGEST_RATIO} times its size")));
            }
            let wanted = length > 0 && feed.send(buffer, length);
            result?;
            if !wanted {
                return Ok(());
            }
        }
    });
    if let Err(error) = result {
        feed.fail(error);
    }
}

/// The content of one frame after the other. The decoder would stop at a wrong
/// checksum, so the flag that announces one is taken out of each header, and
/// the checksum compared here.
struct Unpacked {
    input: Pipe,
    decoder: Decoder<'static>,
    /// In the middle of a frame.
    is_open: bool,
    has_checksum: bool,
    found: Xxh64,
    /// Bytes of the frame so far, compressed and not.
    size: (u64, u64),
    /// Bytes of skippable frames that may still be kept.
    room: usize,
    seen: Seen,
}

const CHECKSUM_FLAG: u8 = 0b100;
/// Magic numbers of skippable frames, without their last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;
/// Bytes of all skippable frames together: an index is not longer.
const LARGEST_SKIPPABLE: usize = 80 << 20;

impl Unpacked {
    fn new(input: Pipe, seen: Seen) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        let found = Xxh64::new(0);
        let room = LARGEST_SKIPPABLE;
        Ok(Self { input, decoder, is_open: false, has_checksum: false, found, size: (0, 0), room, seen })
    }

    /// Reads up to the descriptor of the next frame with content; false where
    /// there is none.
    fn begin(&mut self) -> io::Result<bool> {
        let mut header = [0; 5];
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.input.read_exact(&mut header)?;
            let magic = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            if magic & !0xf != SKIPPABLE {
                break;
            }
            self.skip(&header)?;
        }
        let is_frame = header.starts_with(&MAGIC);
        self.has_checksum = is_frame && header[4] & CHECKSUM_FLAG != 0;
        if is_frame {
            header[4] &= !CHECKSUM_FLAG;
        }
        self.found = Xxh64::new(0);
        self.size = (header.len() as u64, 0);
        self.is_open = true;
        let mut nowhere: [u8; 0] = [];
        let (mut input, mut nothing) = (InBuffer::around(&header), OutBuffer::around(&mut nowhere[..]));
        while input.pos() < header.len() {
            self.decoder.run(&mut input, &mut nothing)?;
        }
        Ok(true)
    }

    /// Keeps a skippable frame, of which magic number and one byte were read.
    fn skip(&mut self, begun: &[u8; 5]) -> io::Result<()> {
        let mut frame = begun.to_vec();
        frame.resize(8, 0);
        self.input.read_exact(&mut frame[5..])?;
        let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
        self.room = self
            .room
            .checked_sub(length)
            .ok_or_else(|| io::Error::other(format!("it holds more than {LARGEST_SKIPPABLE} bytes of no content")))?;
        if (&mut self.input).take(length as u64).read_to_end(&mut frame)? < length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a frame"));
        }
        self.seen.lock().skippable.push(frame);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.is_open = false;
        if self.has_checksum {
            let mut claimed = [0; 4];
            self.input.read_exact(&mut claimed)?;
            self.size.0 += claimed.len() as u64;
            if self.found.digest().to_le_bytes()[..4] != claimed {
                self.seen.lock().are_damaged = true;
            }
        }
        self.seen.lock().sizes.push(self.size);
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_open && !self.begin()? {
                return Ok(0);
            }
            let bytes = self.input.fill_buf()?;
            let is_cut = bytes.is_empty();
            let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            let left = self.decoder.run(&mut input, &mut output)?;
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            self.size.0 += read as u64;
            self.size.1 += written as u64;
            self.found.update(&buffer[..written]);
            if left == 0 {
                self.end()?;
            }
            if written > 0 {
                return Ok(written);
            }
            if is_cut && left > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a frame"));
            }
        }
    }
}

/// Zarf's reader wants content first: neither a skippable frame nor one of an
/// older format. Buffers are never shorter than a magic number but at the end.
fn begins_with_a_frame(bytes: &mut Pipe) -> io::Result<()> {
    match bytes.fill_buf()?.starts_with(&MAGIC) {
        true => Ok(()),
        false => Err(io::Error::other("it does not begin with a Zstandard frame")),
    }
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(|source| Error::local(format!("cannot start the thread `{name}`")).caused_by(source))
}
