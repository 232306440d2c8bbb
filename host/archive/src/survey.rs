//! Opens an archive for many readers, whoever wrote it.
//!
//! One with an index at its end says itself where everything is. One without is
//! walked once: its frames are found by the sizes of their blocks, its files by
//! their headers, and what has no digest in its name is hashed. That needs
//! frames that stand for themselves; an archive that is one stream can be read
//! from its beginning alone, and is unpacked into a file without a name first,
//! in a folder that the user names. A plain tar is as good as such a file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use zstd::stream::read::Decoder;

use super::damage::{damaged, invalid};
use super::frames;
use super::index::{Frame, Index, Indexed};
use super::pieces::{Buffers, Pieces};
use super::reader::{EntryKind, TarReader};
use super::ustar;
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use disk::fs;

const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Magic numbers of skippable frames, without their last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;
/// Frames of an archive.
const MOST_FRAMES: usize = 1 << 20;
/// Files of an archive: some 100 MiB of names.
const MOST_FILES: usize = 500_000;
/// The window that a stream may ask for: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Nothing honest unpacks to more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 256 << 20;
const BUFFER: usize = 1 << 20;
const BLOBS: &str = "images/blobs/sha256/";

/// An archive, and where everything is in it.
pub struct Opened {
    /// What reads its content, at many places at once.
    pub pieces: Arc<Pieces>,
    /// Where each entry is.
    pub index: Arc<Index>,
    /// Who said that.
    pub found: Found,
    /// Whether the frames of the index lie in the file as they are.
    pub(super) has_frames: bool,
}

impl Opened {
    /// Whether its end can be written anew where it is: nothing that is no
    /// content lies between its frames, and it was not unpacked.
    pub fn is_tight(&self) -> bool {
        let touches = |pair: &[Frame]| pair[0].at + pair[0].length as u64 == pair[1].at;
        self.found != Found::Spooled && (!self.has_frames || self.index.frames.windows(2).all(touches))
    }
}

/// Who said where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The archive.
    Indexed,
    /// A walk through it.
    Walked,
    /// A walk through what it was unpacked to.
    Spooled,
}

/// Opens the archive at `path`. One that is a single stream is unpacked into
/// `spool`.
///
/// # Errors
/// `local`, `not-found`, `disk-full`; `integrity` where it is damaged; `usage`
/// where it is one stream and there is no folder for it.
pub fn open(path: &Path, spool: Option<&Path>, buffers: &Arc<Buffers>) -> Result<Opened> {
    let file = File::open(path).map_err(|source| Error::io("cannot read", path, source))?;
    let index = Index::read(&file).map_err(|source| damaged(path, source))?;
    if let Some(index) = index.filter(Index::lists_components) {
        let pieces = Arc::new(Pieces::new(file, &index, buffers));
        return Ok(Opened { pieces, index: Arc::new(index), found: Found::Indexed, has_frames: true });
    }
    let kind = Kind::of(&file).map_err(|source| damaged(path, source))?;
    let has_frames = matches!(kind, Kind::Frames(_));
    let (pieces, found) = match kind {
        Kind::Frames(frames) => (Pieces::walked(file, frames, buffers), Found::Walked),
        Kind::Plain(size) => (Pieces::plain(file, size, buffers), Found::Walked),
        Kind::Stream => {
            let Some(folder) = spool else { return Err(one_stream(path)) };
            let (spooled, size) = unpack(file, path, folder)?;
            (Pieces::plain(spooled, size, buffers), Found::Spooled)
        }
        Kind::Other => return Err(Error::invalid(format!("`{}` is no archive", path.display()))),
    };
    let pieces = Arc::new(pieces);
    let index = walk(&pieces).map_err(|source| damaged(path, source))?;
    Ok(Opened { pieces, index: Arc::new(index), found, has_frames })
}

fn one_stream(path: &Path) -> Error {
    let message = format!("`{}` is one stream, as `zarf package create` writes it", path.display());
    Error::new(Class::Usage, message).hint(
        "nothing in it can be read before all that lies before it: name a folder with room for its content with --spool",
    )
}

/// How an archive without an index can be read.
enum Kind {
    /// Frames that can be read one by one.
    Frames(Vec<Frame>),
    /// A tar of so many bytes.
    Plain(u64),
    /// Something of Zstandard.
    Stream,
    Other,
}

impl Kind {
    fn of(file: &File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let mut block = [0; ustar::BLOCK];
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(block.len());
        file.read_exact_at(&mut block[..length], 0)?;
        if !block.starts_with(&MAGIC) {
            return Ok(if block[257..262] == *b"ustar" { Self::Plain(size) } else { Self::Other });
        }
        Ok(find_frames(file, size)?.map_or(Self::Stream, Self::Frames))
    }
}

/// The frames of an archive; None where one is larger than any that this
/// program writes, or does not say how large it is.
fn find_frames(file: &File, size: u64) -> io::Result<Option<Vec<Frame>>> {
    let (mut at, mut content_at) = (0, 0);
    let mut found = Vec::new();
    while at < size {
        let mut start = [0; 8];
        file.read_exact_at(&mut start, at)?;
        let magic = u32::from_le_bytes([start[0], start[1], start[2], start[3]]);
        if magic & !0xf == SKIPPABLE {
            at += 8 + u64::from(u32::from_le_bytes([start[4], start[5], start[6], start[7]]));
            continue;
        }
        if !start.starts_with(&MAGIC) {
            return Err(invalid("it holds what is no frame".into()));
        }
        let Some((header, content)) = header(file, at, start[4])? else { return Ok(None) };
        let Some(length) = length(file, at, header, start[4])? else { return Ok(None) };
        if content > frames::SEGMENT || found.len() == MOST_FRAMES {
            return Ok(None);
        }
        found.push(Frame { at, length, content_at, content });
        at += length as u64;
        content_at += content as u64;
    }
    Ok(Some(found))
}

/// Bytes of a frame's header and of its content (RFC 8878, 3.1.1.1); None where
/// the latter is not told, or the frame needs a dictionary.
fn header(file: &File, at: u64, descriptor: u8) -> io::Result<Option<(usize, usize)>> {
    let is_single = descriptor & 0x20 != 0;
    let width = match (descriptor >> 6, is_single) {
        (0, true) => 1,
        (0, false) => return Ok(None),
        (flag, _) => 1 << flag,
    };
    if descriptor & 0x03 != 0 {
        return Ok(None);
    }
    let before = 5 + usize::from(!is_single);
    let mut digits = [0; 8];
    file.read_exact_at(&mut digits[..width], at + before as u64)?;
    let number = u64::from_le_bytes(digits) + if width == 2 { 256 } else { 0 };
    Ok(usize::try_from(number).ok().map(|content| (before + width, content)))
}

/// Bytes of a frame, by the sizes of its blocks; None where it is too long.
fn length(file: &File, at: u64, header: usize, descriptor: u8) -> io::Result<Option<usize>> {
    const RLE: u32 = 1;
    let mut length = header;
    loop {
        let mut block = [0; 4];
        file.read_exact_at(&mut block[..frames::BLOCK_HEADER], at + length as u64)?;
        let block = u32::from_le_bytes(block);
        length += frames::BLOCK_HEADER + if block >> 1 & 3 == RLE { 1 } else { (block >> 3) as usize };
        if length > frames::stored_length(frames::SEGMENT) {
            return Ok(None);
        }
        if block & 1 != 0 {
            break;
        }
    }
    let has_checksum = descriptor & 0x04 != 0;
    Ok(Some(length + if has_checksum { frames::CHECKSUM } else { 0 }))
}

/// Unpacks a stream into a file without a name, which is gone when this process
/// is.
fn unpack(file: File, path: &Path, folder: &Path) -> Result<(File, u64)> {
    let size = file.metadata().map_err(|source| Error::io("cannot read", path, source))?.len();
    let broken = |source| damaged(path, source);
    let mut decoder = Decoder::new(file).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    let mut spooled = fs::nameless(folder)?;
    let mut buffer = vec![0; BUFFER];
    let mut unpacked: u64 = 0;
    loop {
        let read = decoder.read(&mut buffer).map_err(|source| {
            // What libzstd finds wrong has no kind of its own.
            let source = if source.kind() == io::ErrorKind::Other { invalid(source.to_string()) } else { source };
            damaged(path, source)
        })?;
        if read == 0 {
            return Ok((spooled, unpacked));
        }
        unpacked += read as u64;
        if unpacked > RATIO_FREE.saturating_add(size.saturating_mul(LARGEST_RATIO)) {
            let message = format!("`{}` unpacks to more than {LARGEST_RATIO} times its size", path.display());
            return Err(Error::invalid(message));
        }
        fs::write_all(&mut spooled, folder, &buffer[..read])?;
    }
}

/// Goes from header to header.
fn walk(pieces: &Arc<Pieces>) -> io::Result<Index> {
    let mut index = Index { frames: pieces.frames().to_vec(), entries: Vec::new(), members: Vec::new() };
    let mut at = 0;
    loop {
        let mut reader = TarReader::new(BufReader::new(pieces.from(at)));
        let Some(header) = reader.next_entry()? else { return Ok(index) };
        let content_at = at + reader.position();
        if header.kind == EntryKind::File {
            let digest = match header.path.strip_prefix(BLOBS).and_then(|hex| hex.parse().ok()) {
                Some(digest) => digest,
                None if is_tar(&header.path) => walk_members(&mut index, content_at, reader)?,
                None => hash(&mut reader)?,
            };
            index.entries.push(Indexed { path: header.path, at, size: header.size, digest });
        }
        if index.entries.len() + index.members.len() > MOST_FILES {
            return Err(invalid(format!("it holds more than {MOST_FILES} files")));
        }
        at = content_at + header.size + ustar::padding(header.size) as u64;
    }
}

/// Whether the files in it are served as well.
fn is_tar(path: &str) -> bool {
    path == "documentation.tar" || (path.starts_with("components/") && path.ends_with(".tar"))
}

/// Adds the files of a nested tar, and gives the digest of the tar.
fn walk_members<R: io::BufRead>(index: &mut Index, content_at: u64, outer: TarReader<R>) -> io::Result<Digest> {
    let of = index.entries.len();
    let mut reader = TarReader::new(BufReader::new(Hashed { inner: outer, hasher: Hasher::new() }));
    while let Some(header) = reader.next_entry()? {
        if header.kind != EntryKind::File {
            continue;
        }
        let digest = hash(&mut reader)?;
        let path = header.path.trim_start_matches("./").to_owned();
        let member = Indexed { path, at: content_at + header.at, size: header.size, digest };
        index.members.push((of, member));
        if index.members.len() > MOST_FILES {
            return Err(invalid(format!("it holds more than {MOST_FILES} files")));
        }
    }
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    Ok(rest.into_inner().hasher.finish())
}

fn hash(content: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(content, &mut hasher)?;
    Ok(hasher.finish())
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArchiveWriter, Compression, NewMember};

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    fn written(path: &Path, compression: Compression) {
        let mut writer = ArchiveWriter::create(path.to_owned(), compression).unwrap();
        writer.add(NewMember::bytes("zarf.yaml", 0o644, b"a: b\n".repeat(100))).unwrap();
        for size in [0, 1, 300_000, (4 << 20) + 5] {
            let content = noise(size);
            writer.add(NewMember::bytes(format!("{BLOBS}{}", Digest::of(&content).hex()), 0o644, content)).unwrap();
        }
        let long = format!("web/{}", "x".repeat(200));
        let members = ["web/a", "web/b/c", &long];
        let members = members.map(|name| NewMember::bytes(name, 0o600, noise(name.len() * 1000)));
        writer.add_nested("components/web.tar", 0o644, members.to_vec()).unwrap();
        writer.add(NewMember::bytes("text", 0o644, b"text\n".repeat(1_000_000))).unwrap();
        writer.finish().unwrap();
    }

    fn same(one: &Index, other: &Index) {
        assert_eq!(one.entries, other.entries);
        assert_eq!(one.members, other.members);
        assert_eq!(one.unpacked() / 512, other.unpacked() / 512);
    }

    #[test]
    fn a_walk_finds_what_an_index_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.zst");
        written(&path, Compression::Zstd);
        let buffers = Buffers::new(1);
        let indexed = open(&path, None, &buffers).unwrap();
        assert_eq!(indexed.found, Found::Indexed);

        let bytes = std::fs::read(&path).unwrap();
        let end = indexed.index.sizes().map(|(length, _)| length as usize).sum();
        disk::fs::write_new(&folder.path().join("older.tar.zst"), &bytes[..end]).unwrap();
        let older = open(&folder.path().join("older.tar.zst"), None, &buffers).unwrap();
        assert_eq!(older.found, Found::Walked);
        assert_eq!(older.index.frames, indexed.index.frames);
        same(&older.index, &indexed.index);

        let unpacked = zstd::decode_all(bytes.as_slice()).unwrap();
        let stream = folder.path().join("stream.tar.zst");
        disk::fs::write_new(&stream, &zstd::encode_all(unpacked.as_slice(), 1).unwrap()).unwrap();
        let error = open(&stream, None, &buffers).err().unwrap();
        assert!(error.class() == Class::Usage && error.hint_text().unwrap().contains("--spool"), "{error}");
        let spooled = open(&stream, Some(folder.path()), &buffers).unwrap();
        assert_eq!(spooled.found, Found::Spooled);
        same(&spooled.index, &indexed.index);

        let plain = folder.path().join("a.tar");
        written(&plain, Compression::None);
        let plain = open(&plain, None, &buffers).unwrap();
        same(&plain.index, &indexed.index);
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 4, "what was spooled has no name");
    }

    #[test]
    fn a_cut_or_damaged_stream_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let stream = zstd::encode_all(noise(100_000).as_slice(), 1).unwrap();
        let buffers = Buffers::new(1);
        let path = folder.path().join("a.tar.zst");
        for bytes in [&stream[..stream.len() / 2], b"\x28\xb5\x2f\xfd", b"", b"text", &[0; 600]] {
            disk::fs::write_atomic(&path, bytes).unwrap();
            assert!(open(&path, Some(folder.path()), &buffers).is_err(), "{}", bytes.len());
        }
    }
}
