//! Reads the layer of an image front to back, in one pass and in memory that
//! stays the same, and unpacks nothing to disk.
//!
//! A thread of its own decompresses ahead of who reads ([`Ahead`]). The reader
//! says beforehand what it [`Wanted`]; everything else passes by, but for its
//! name: [`Names`] tells afterwards what the layer hides of those below it, by
//! the rules of the OCI image format for removals (`.wh.…`).
//!
//! A layer comes from outside: names may be no UTF-8 (they are read with U+FFFD
//! in them), nothing leads above the root, and what it unpacks to is bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use xxhash_rust::xxh64::xxh64;

use super::reader::{EntryKind, TarReader};
use base::error::{Error, Result};
use base::leash::Leash;

/// Bytes that pass at once from the thread that decompresses: whole blocks of
/// the tar.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait for the reader.
const AHEAD: usize = 4;
/// Names of one layer. The largest layers in use have some hundred thousand.
pub const MOST_NAMES: usize = 4_000_000;
/// What is given at once of links and wanted files.
const BATCH: usize = 1000;
/// Nothing honest shrinks by more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 1 << 30;
const ZSTD_WINDOW_LOG: u32 = 27;

/// What a reader wants to see of a layer. Paths begin with `/`.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Files whose path ends so.
    pub ends: Vec<String>,
    /// Files that lie below a folder of this path, wherever that lies.
    pub below: Vec<String>,
    /// Files whose content begins so.
    pub beginnings: Vec<Vec<u8>>,
}

impl Wanted {
    fn path(&self, path: &str) -> bool {
        self.ends.iter().any(|end| path.ends_with(end.as_str()))
            || self.below.iter().any(|folder| path.contains(folder.as_str()))
    }

    fn begins(&self, start: &[u8]) -> bool {
        self.beginnings.iter().any(|beginning| start.starts_with(beginning))
    }
}

/// A link, or a file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the root of the image, without a `/` in front.
    pub path: String,
    /// A file, or a link.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Whether somebody may execute it, by its mode.
    pub executable: bool,
    /// Where a link points: a symlink as written, a hard link from the root.
    pub target: String,
}

/// A layer that is being read.
pub struct LayerReader {
    tar: TarReader<BufReader<Ahead>>,
    wanted: Wanted,
    names: Vec<u64>,
    shown: String,
}

impl LayerReader {
    /// A tar, plain or packed with gzip, zstd or xz; `shown` is what errors
    /// call it.
    ///
    /// # Errors
    /// `local` where the file cannot be read.
    pub fn open(path: &Path, shown: &str, wanted: Wanted, leash: &Leash) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("cannot read", path, error))?;
        let ahead = Ahead::new(file, leash.clone()).map_err(|error| Error::io("cannot read", path, error))?;
        let tar = TarReader::lenient(BufReader::with_capacity(CHUNK, ahead));
        Ok(Self { tar, wanted, names: Vec::new(), shown: shown.to_owned() })
    }

    /// What comes next: links, up to and with the next wanted file, which
    /// [`LayerReader::read`] gives then. Empty at the end.
    ///
    /// # Errors
    /// `invalid-input` where it is no tar, is damaged, or holds too much; what
    /// the leash ends with.
    pub fn next(&mut self, leash: &Leash) -> Result<Vec<Found>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some((found, is_file)) = self.advance(leash)? else { break };
            batch.extend(found);
            if is_file {
                break;
            }
        }
        Ok(batch)
    }

    /// One entry further: what there is to say of it, and whether it is a file
    /// that is wanted. None at the end.
    fn advance(&mut self, leash: &Leash) -> Result<Option<(Option<Found>, bool)>> {
        let Some(header) = self.tar.next_entry().map_err(|error| damaged(&self.shown, leash, error))? else {
            return Ok(None);
        };
        if self.names.len().is_multiple_of(4096) {
            leash.check()?;
        }
        let path = rooted(&header.path);
        self.names.push(name_of(&path, header.kind == EntryKind::Directory));
        if self.names.len() > MOST_NAMES {
            let why = format!("`{}` holds more than {MOST_NAMES} files: what follows is not read", self.shown);
            return Err(Error::invalid(why));
        }
        let is_wanted = match header.kind {
            EntryKind::File => self.wanted.path(&path) || self.begins_as_wanted(leash)?,
            EntryKind::HardLink => self.wanted.path(&path),
            EntryKind::Symlink => true,
            EntryKind::Directory | EntryKind::Other(_) => false,
        };
        let target = if header.kind == EntryKind::HardLink { rooted(&header.target) } else { header.target };
        let found = is_wanted.then(|| Found {
            path: path.trim_start_matches('/').to_owned(),
            kind: header.kind,
            size: header.size,
            executable: header.mode & 0o111 != 0,
            target: if header.kind == EntryKind::HardLink { target[1..].to_owned() } else { target },
        });
        Ok(Some((found, is_wanted && header.kind == EntryKind::File)))
    }

    fn begins_as_wanted(&mut self, leash: &Leash) -> Result<bool> {
        if self.wanted.beginnings.is_empty() {
            return Ok(false);
        }
        // Content begins where a block does, and so do chunks: one holds the
        // whole first block.
        let Self { tar, wanted, shown, .. } = self;
        let start = tar.chunk().map_err(|error| damaged(shown, leash, error))?;
        Ok(wanted.begins(start))
    }

    /// At most `length` further bytes of the file that was found last; empty at
    /// its end.
    ///
    /// # Errors
    /// As [`LayerReader::next`].
    pub fn read(&mut self, length: usize, leash: &Leash) -> Result<Vec<u8>> {
        leash.check()?;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let chunk = self.tar.chunk().map_err(|error| damaged(&self.shown, leash, error))?;
            let taken = chunk.len().min(length - bytes.len());
            if taken == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..taken]);
            self.tar.consume(taken);
        }
        Ok(bytes)
    }

    /// Passes over at most `length` bytes of it, and says how many.
    ///
    /// # Errors
    /// As [`LayerReader::next`].
    pub fn skip(&mut self, length: u64, leash: &Leash) -> Result<u64> {
        let mut left = length;
        while left > 0 {
            leash.check()?;
            let chunk = self.tar.chunk().map_err(|error| damaged(&self.shown, leash, error))?.len();
            let taken = chunk.min(usize::try_from(left).unwrap_or(usize::MAX));
            if taken == 0 {
                break;
            }
            self.tar.consume(taken);
            left -= taken as u64;
        }
        Ok(length - left)
    }

    /// The names of what was read.
    pub fn names(self) -> Names {
        Names::of(self.names)
    }
}

fn damaged(shown: &str, leash: &Leash, error: io::Error) -> Error {
    // The thread below hears of the leash first.
    leash.check().err().unwrap_or_else(|| Error::invalid(format!("`{shown}` can not be read: {error}")))
}

/// As seen from the root of the image, with a `/` in front: `.` and `..` lead
/// nowhere.
fn rooted(path: &str) -> String {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let mut rooted = String::with_capacity(path.len() + 1);
    if path.split('/').all(is_plain) {
        rooted.push('/');
        rooted.push_str(path);
        return rooted;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().for_each(|part| {
        rooted.push('/');
        rooted.push_str(part);
    });
    if rooted.is_empty() { "/".to_owned() } else { rooted }
}

/// The names of a layer, each as eight bytes of a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<u64>);

fn name_of(path: &str, is_directory: bool) -> u64 {
    xxh64(path.as_bytes(), u64::from(is_directory))
}

impl Names {
    fn of(mut names: Vec<u64>) -> Self {
        names.sort_unstable();
        names.dedup();
        names.shrink_to_fit();
        Self(names)
    }

    fn has(&self, path: &str, is_directory: bool) -> bool {
        self.0.binary_search(&name_of(path, is_directory)).is_ok()
    }

    /// Whether the layer removes or replaces what layers below it have at
    /// `path`: by the same name, by a removal of it or of a folder above it, or
    /// by something that is no folder in a folder's place.
    pub fn hides(&self, path: &str) -> bool {
        let path = rooted(path);
        if self.0.is_empty() {
            return false;
        }
        if self.has(&path, false) || self.has(&path, true) {
            return true;
        }
        let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.push(path.len());
        ends.windows(2).any(|ends| {
            let (folder, name) = (&path[..ends[0]], &path[ends[0] + 1..ends[1]]);
            let is_above = ends[1] < path.len();
            self.has(&format!("{folder}/.wh.{name}"), false)
                || self.has(&format!("{folder}/.wh..wh..opq"), false)
                || (is_above && self.has(&path[..ends[1]], false))
        })
    }

    /// To be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|name| name.to_le_bytes()).collect()
    }

    /// What was kept; the bytes are those that were written.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_chunks::<8>().0.iter().map(|name| u64::from_le_bytes(*name)).collect())
    }
}

/// The bytes of a file, decompressed by a thread of their own.
struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Ahead {
    fn new(file: File, leash: Leash) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let (sender, chunks) = sync_channel(AHEAD);
        let work = move || {
            let mut left = RATIO_FREE.saturating_add(length.saturating_mul(LARGEST_RATIO));
            let mut decoder = match decoder(file) {
                Ok(decoder) => decoder,
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let next = leash.check().map_err(io::Error::other).and_then(|()| fill(&mut decoder, &mut left));
                let ends = !matches!(&next, Ok(chunk) if !chunk.is_empty());
                if sender.send(next).is_err() || ends {
                    return;
                }
            }
        };
        thread::Builder::new().name("layer".to_owned()).spawn(work)?;
        Ok(Self { chunks, chunk: Vec::new(), at: 0 })
    }
}

/// The next chunk, empty at the end.
fn fill(decoder: &mut dyn Read, left: &mut u64) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    decoder.take(CHUNK as u64).read_to_end(&mut chunk)?;
    let rest = left.checked_sub(chunk.len() as u64);
    *left = rest.ok_or_else(|| io::Error::other(format!("it unpacks to more than {LARGEST_RATIO} times its size")))?;
    Ok(chunk)
}

fn decoder(file: File) -> io::Result<Box<dyn Read>> {
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

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            // Whoever sends is gone after the end.
            self.chunk = self.chunks.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.at = 0;
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::ustar::{Kind, TRAILER, header, padding};

    fn tar_of(entries: &[(&[u8], Kind, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, kind, content) in entries {
            let mut block = header(&"x".repeat(path.len().min(90)), *kind, 0o755, content.len() as u64).unwrap();
            block[..100].fill(0);
            block[..path.len()].copy_from_slice(path);
            block[148..156].fill(b' ');
            let sum: u64 = block[..512].iter().map(|byte| u64::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes.extend(block);
            bytes.extend(*content);
            bytes.resize(bytes.len() + padding(content.len() as u64), 0);
        }
        bytes.extend(TRAILER);
        bytes
    }

    fn open(bytes: &[u8], wanted: Wanted) -> LayerReader {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        LayerReader::open(file.path(), "layer", wanted, &Leash::endless()).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            ends: vec!["/lib/dpkg/status".into(), ".jar".into()],
            below: vec!["/status.d/".into()],
            beginnings: vec![b"\x7fELF".to_vec()],
        }
    }

    #[test]
    fn what_is_wanted_by_path_or_content_comes_with_its_bytes() {
        let tar = tar_of(&[
            (b"./var/lib/dpkg/status", Kind::File, b"Package: a\n"),
            (b"var/lib/dpkg/status-old", Kind::File, b"no"),
            (b"usr/bin/tool", Kind::File, b"\x7fELF and more"),
            (b"usr/bin/short", Kind::File, b"\x7fE"),
            (b"a/../../x/\xff.jar", Kind::File, b"PK"),
            (b"var/lib/dpkg/status.d/base", Kind::File, b"Package: b\n"),
        ]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        for bytes in [tar.clone(), gzip.finish().unwrap(), zstd::encode_all(tar.as_slice(), 1).unwrap()] {
            let (mut layer, leash) = (open(&bytes, wanted()), Leash::endless());
            let mut found = Vec::new();
            loop {
                let batch = layer.next(&leash).unwrap();
                let Some(last) = batch.last() else { break };
                let start = layer.read(4, &leash).unwrap();
                layer.skip(2, &leash).unwrap();
                let rest = layer.read(100, &leash).unwrap();
                found.push((last.path.clone(), start.len() + rest.len()));
            }
            let expected = [
                ("var/lib/dpkg/status", 9),
                ("usr/bin/tool", 11),
                ("x/\u{fffd}.jar", 2),
                ("var/lib/dpkg/status.d/base", 9),
            ];
            assert_eq!(found, expected.map(|(path, length)| (path.to_owned(), length)));
        }
    }

    #[test]
    fn a_layer_hides_what_it_replaces_and_removes_and_nothing_else() {
        let tar = tar_of(&[
            (b"same", Kind::File, b""),
            (b"kept/", Kind::Directory, b""),
            (b"was-folder", Kind::File, b""),
            (b"d/.wh.gone", Kind::File, b""),
            (b"opaque/.wh..wh..opq", Kind::File, b""),
            (b"opaque/new", Kind::File, b""),
        ]);
        let (mut layer, leash) = (open(&tar, wanted()), Leash::endless());
        assert!(layer.next(&leash).unwrap().is_empty());
        let names = layer.names();
        let names = Names::from_bytes(&names.to_bytes());
        let hidden = ["same", "kept", "was-folder/below/it", "d/gone", "d/gone/below", "opaque/old", "opaque/a/b"];
        let seen = ["kept/file", "d/other", "other", "d", "sam", "gone"];
        assert_eq!(hidden.map(|path| (path, names.hides(path))), hidden.map(|path| (path, true)));
        assert_eq!(seen.map(|path| (path, names.hides(path))), seen.map(|path| (path, false)));
    }

    #[test]
    fn what_is_no_tar_or_is_cut_is_an_error() {
        let tar = tar_of(&[(b"a.jar", Kind::File, &[7; 5000])]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = gzip.finish().unwrap();
        for bytes in
            [&b"not a tar at all, but a text that goes on".repeat(30)[..], &tar[..2000], &gzip[..gzip.len() / 2]]
        {
            let (mut layer, leash) = (open(bytes, wanted()), Leash::endless());
            let read = layer.next(&leash).and_then(|_| layer.skip(u64::MAX, &leash)).and_then(|_| layer.next(&leash));
            let error = read.unwrap_err();
            assert!(error.message().starts_with("`layer` can not be read: "), "{error}");
        }
    }

    #[test]
    fn a_bomb_ends_early() {
        let zeros = vec![0u8; 8 << 20];
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let block = header("huge", Kind::File, 0o644, (1 << 33) - 1).unwrap();
        encoder.write_all(&block).unwrap();
        for _ in 0..200 {
            encoder.write_all(&zeros).unwrap();
        }
        let (mut layer, leash) = (open(&encoder.finish().unwrap(), wanted()), Leash::endless());
        let error = layer.next(&leash).unwrap_err();
        assert!(error.message().contains("more than 1000 times its size"), "{error}");
    }
}
