//! Where everything is in an archive: written at its end, so that a reader who
//! wants a little of a large archive reads a little.
//!
//! Two skippable frames, over which every reader of Zstandard passes. The first
//! lists the entries: for each a line with the place of its header in the tar,
//! its size, its SHA-256 and its path; the members of a nested tar stand before
//! it, with a `+`. The second, at the very end, is the table of frames in the
//! [seekable format] of Zstandard. An index is a promise of whoever wrote the
//! archive: [`Index::read`] checks that it is possible, and whoever uses it that
//! the header at a place is the one that it names.
//!
//! [seekable format]: https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt;

use zstd::stream::write::Encoder;

use super::frames;
use base::digest::Digest;

/// One of the sixteen magic numbers of skippable frames, which the list of
/// entries has for itself.
const LIST_MAGIC: u32 = 0x184D_2A5D;
/// The list, in its first version.
const LIST_NAME: &[u8; 8] = b"entries1";
const LIST_LEVEL: i32 = 3;
/// Bytes that it looks back, as a power of two. A high level over a stream whose
/// length nobody knows takes 45 MiB for its tables, however short the list is.
const LIST_WINDOW: u32 = 18;
const TABLE_MAGIC: u32 = 0x184D_2A5E;
const TABLE_END: u32 = 0x8F92_EAB1;
/// Number of frames, descriptor, magic number.
const FOOTER: usize = 9;
/// Magic number and size.
const SKIPPABLE: usize = 8;
/// Sizes of a frame, compressed and not.
const ROW: usize = 8;

/// Bytes of a list, unpacked: some 500,000 entries.
const LARGEST_LIST: u64 = 64 << 20;
/// Frames of an archive: 2 TiB where they are full, and a million small files.
const MOST_FRAMES: usize = 1 << 20;

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// In the archive, or in the nested tar where it is a member.
    pub path: String,
    /// Byte of the whole tar at which its header begins.
    pub at: u64,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// The list of entries in the making.
pub(super) struct List(Encoder<'static, Vec<u8>>);

impl List {
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), LIST_LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.window_log(LIST_WINDOW)?;
        Ok(Self(encoder))
    }

    /// `is_member` of the nested tar that comes next.
    pub(super) fn add(&mut self, entry: &Indexed, is_member: bool) -> io::Result<()> {
        let Indexed { path, at, size, digest } = entry;
        let sign = if is_member { "+" } else { "" };
        self.0.write_all(format!("{sign}{at} {size} {} {path}\n", digest.hex()).as_bytes())
    }

    /// The frame that holds it.
    pub(super) fn frame(self) -> io::Result<Vec<u8>> {
        let list = self.0.finish()?;
        let length = u32::try_from(LIST_NAME.len() + list.len()).map_err(|_| too_many())?;
        let mut frame = skippable(LIST_MAGIC, length);
        frame.extend_from_slice(LIST_NAME);
        frame.extend(list);
        Ok(frame)
    }
}

/// Sizes of the frames so far: compressed, and of their content.
#[derive(Default)]
pub(super) struct Table(Vec<(u32, u32)>);

impl Table {
    pub(super) fn add(&mut self, compressed: usize, content: usize) -> io::Result<()> {
        let number = |size| u32::try_from(size).map_err(|_| too_many());
        self.0.push((number(compressed)?, number(content)?));
        Ok(())
    }

    /// The frame that holds it.
    pub(super) fn frame(&self) -> io::Result<Vec<u8>> {
        let count = u32::try_from(self.0.len()).map_err(|_| too_many())?;
        let length = u32::try_from(self.0.len() * ROW + FOOTER).map_err(|_| too_many())?;
        let mut frame = skippable(TABLE_MAGIC, length);
        for (compressed, content) in &self.0 {
            frame.extend(compressed.to_le_bytes());
            frame.extend(content.to_le_bytes());
        }
        frame.extend(count.to_le_bytes());
        // No checksums here: each frame ends with its own.
        frame.push(0);
        frame.extend(TABLE_END.to_le_bytes());
        Ok(frame)
    }
}

fn skippable(magic: u32, length: u32) -> Vec<u8> {
    let mut frame = magic.to_le_bytes().to_vec();
    frame.extend(length.to_le_bytes());
    frame
}

fn too_many() -> io::Error {
    io::Error::other("the archive has more frames than its index can hold")
}

/// A frame of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Byte of the file.
    pub(super) at: u64,
    pub(super) length: usize,
    /// Byte of the tar at which its content begins.
    pub(super) content_at: u64,
    pub(super) content: usize,
}

/// What an archive says about where everything is in it.
#[derive(Debug)]
pub struct Index {
    pub(super) frames: Vec<Frame>,
    /// Files of the archive, in their order.
    pub entries: Vec<Indexed>,
    /// Files of nested tars, each with the place of its tar in `entries`.
    pub members: Vec<(usize, Indexed)>,
}

impl Index {
    /// Whether the members of all components are listed: those of a tar that
    /// went in as a file are not.
    pub fn lists_components(&self) -> bool {
        let listed: BTreeSet<usize> = self.members.iter().map(|(of, _)| *of).collect();
        let is_component = |path: &str| path.starts_with("components/") && path.ends_with(".tar");
        self.entries.iter().enumerate().all(|(at, entry)| !is_component(&entry.path) || listed.contains(&at))
    }

    /// Reads the index of an archive; None where it has none, or one of another
    /// kind: the archive is then to be read from its beginning.
    ///
    /// # Errors
    /// Where the file cannot be read, or the index contradicts itself.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let size = file.metadata()?.len();
        let Some(table) = read_table(file, size)? else { return Ok(None) };
        let end = size - table.len() as u64;
        let Some(at) = Rows::of(&table).and_then(|rows| rows.end()).filter(|at| *at < end) else { return Ok(None) };
        let length = end - at;
        if length > LARGEST_LIST {
            return Ok(None);
        }
        let mut list = vec![0; usize::try_from(length).map_err(|_| too_many())?];
        file.read_exact_at(&mut list, at)?;
        Self::of(&list, &table)
    }

    /// The index in the two skippable frames at the end of an archive, which
    /// are given whole. None where they are other ones.
    ///
    /// # Errors
    /// Where it contradicts itself.
    pub fn of(list: &[u8], table: &[u8]) -> io::Result<Option<Self>> {
        let Some(frames) = Rows::of(table).and_then(|rows| rows.frames()) else { return Ok(None) };
        let Some(text) = text_of(list)? else { return Ok(None) };
        let mut index = Self { frames, entries: Vec::new(), members: Vec::new() };
        (index.entries, index.members) = parse(&text, index.unpacked())?;
        Ok(Some(index))
    }

    /// Bytes of the tar.
    pub fn unpacked(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.content_at + frame.content as u64)
    }

    /// Bytes of each frame, compressed and not.
    pub fn sizes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.frames.iter().map(|frame| (frame.length as u64, frame.content as u64))
    }

    /// The frame that holds a byte of the tar.
    pub(super) fn frame_at(frames: &[Frame], at: u64) -> Option<usize> {
        let next = frames.partition_point(|frame| frame.content_at <= at);
        let index = next.checked_sub(1)?;
        let Frame { content_at, content, .. } = frames[index];
        (at < content_at + content as u64).then_some(index)
    }
}

/// The frame with the table at the end of a file.
fn read_table(file: &File, size: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(footer_at) = size.checked_sub(FOOTER as u64) else { return Ok(None) };
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, footer_at)?;
    let count = number(&footer[..4]) as usize;
    let length = SKIPPABLE + count.min(MOST_FRAMES) * ROW + FOOTER;
    let Some(at) = size.checked_sub(length as u64) else { return Ok(None) };
    if number(&footer[5..]) != TABLE_END || count > MOST_FRAMES {
        return Ok(None);
    }
    let mut table = vec![0; length];
    file.read_exact_at(&mut table, at)?;
    Ok(Some(table))
}

/// The rows of a table: the sizes of each frame.
struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// None of a frame that is no table, or one with checksums.
    fn of(frame: &'a [u8]) -> Option<Self> {
        let rows = frame.len().checked_sub(SKIPPABLE + FOOTER).filter(|rows| rows % ROW == 0)?;
        let (header, rest) = frame.split_at(SKIPPABLE);
        let (table, footer) = rest.split_at(rows);
        let is_table = number(&header[..4]) == TABLE_MAGIC && number(&header[4..]) as usize == rest.len();
        let ends = number(&footer[5..]) == TABLE_END && footer[4] == 0;
        (is_table && ends && number(&footer[..4]) as usize == rows / ROW).then_some(Self(table))
    }

    fn sizes(&self) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.0.chunks_exact(ROW).map(|row| (number(&row[..4]) as usize, number(&row[4..]) as usize))
    }

    /// Byte of the file behind the last frame; None where there is none.
    fn end(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.sizes().map(|(length, _)| length as u64).sum())
    }

    /// None where one is larger than any that this program writes.
    fn frames(&self) -> Option<Vec<Frame>> {
        let (mut at, mut content_at) = (0, 0);
        let frame = |(length, content): (usize, usize)| {
            let fits = content <= frames::SEGMENT && length <= frames::stored_length(frames::SEGMENT);
            let frame = Frame { at, length, content_at, content };
            at += length as u64;
            content_at += content as u64;
            fits.then_some(frame)
        };
        self.sizes().map(frame).collect()
    }
}

/// The text of a list; None of a frame that is none.
fn text_of(frame: &[u8]) -> io::Result<Option<String>> {
    if frame.len() < SKIPPABLE || frame.len() as u64 > LARGEST_LIST {
        return Ok(None);
    }
    let (header, content) = frame.split_at(SKIPPABLE);
    if number(&header[..4]) != LIST_MAGIC || number(&header[4..]) as usize != content.len() {
        return Ok(None);
    }
    let Some(list) = content.strip_prefix(LIST_NAME) else { return Ok(None) };
    let mut text = String::new();
    let read = zstd::stream::read::Decoder::new(list)?.take(LARGEST_LIST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST_LIST {
        return Err(too_many());
    }
    Ok(Some(text))
}

type Parsed = (Vec<Indexed>, Vec<(usize, Indexed)>);

fn parse(text: &str, end: u64) -> io::Result<Parsed> {
    let (mut entries, mut members) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (is_member, line) = line.strip_prefix('+').map_or((false, line), |line| (true, line));
        let entry = parse_line(line).ok_or_else(|| contradiction("its list"))?;
        if entry.at.checked_add(entry.size).is_none_or(|last| last > end) {
            return Err(contradiction(&format!("what it says of `{}`", entry.path.escape_debug())));
        }
        match is_member {
            true => members.push((entries.len(), entry)),
            false => entries.push(entry),
        }
    }
    if members.last().is_some_and(|(of, _)| *of >= entries.len()) {
        return Err(contradiction("its list"));
    }
    Ok((entries, members))
}

fn parse_line(line: &str) -> Option<Indexed> {
    let mut parts = line.splitn(4, ' ');
    let (at, size) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let digest = format!("sha256:{}", parts.next()?).parse().ok()?;
    Some(Indexed { path: parts.next()?.to_owned(), at, size, digest })
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn contradiction(what: &str) -> io::Error {
    let message = format!("the index of the archive contradicts itself: {what} cannot be right");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
