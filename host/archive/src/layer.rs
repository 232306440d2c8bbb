//! Reads the layer of an image front to back, in one pass and in memory that
//! stays the same, and unpacks nothing to disk.
//!
//! A thread of its own decompresses ahead of who reads. The reader
//! says beforehand what it [`LayerFilter`]; everything else passes by, but for its
//! name: [`Names`] tells afterwards what the layer hides of those below it, by
//! the rules of the OCI image format for removals (`.wh.…`).
//!
//! A layer comes from outside: names may be no UTF-8 (they are read with U+FFFD
//! in them), nothing leads above the root, and what it unpacks to is bounded.
//! An image has as many layers as it likes, so the names that are held of all
//! of them have a [`Room`] together.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use xxhash_rust::xxh64::xxh64;

use super::pipe::{Feed, Pipe, fill, pipe};
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
/// Names between two questions to the leash and to the room.
const STRIDE: usize = 4096;
/// What is given at once of links and wanted files.
const BATCH: usize = 1000;
/// Nothing honest shrinks by more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 1 << 30;
const ZSTD_WINDOW_LOG: u32 = 27;

/// What a reader wants to see of a layer. Paths begin with `/`.
#[derive(Clone, Debug, Default)]
pub struct LayerFilter {
    /// Files whose path ends so.
    pub ends: Vec<String>,
    /// Files that lie below a folder of this path, wherever that lies.
    pub below: Vec<String>,
    /// Files whose content begins so.
    pub beginnings: Vec<Vec<u8>>,
}

impl LayerFilter {
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

/// For the names of layers that are held at the same time.
#[derive(Clone, Debug)]
pub struct Room {
    left: Arc<AtomicUsize>,
    most: usize,
}

impl Room {
    /// For so many, each of eight bytes.
    pub fn new(most: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(most)), most }
    }
}

/// Room that is taken, until it is dropped.
#[derive(Debug)]
struct Taken {
    room: Room,
    count: usize,
}

impl Taken {
    fn none(room: &Room) -> Self {
        Self { room: room.clone(), count: 0 }
    }

    /// Whether there was as much left.
    fn add(&mut self, count: usize) -> bool {
        let take = |left: usize| left.checked_sub(count);
        let is_taken = self.room.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        self.count += if is_taken { count } else { 0 };
        is_taken
    }

    fn give_back(&mut self, count: usize) {
        self.room.left.fetch_add(count, Ordering::Relaxed);
        self.count -= count;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.count);
    }
}

/// A layer that is being read.
pub struct LayerReader {
    tar: TarReader<Pipe>,
    wanted: LayerFilter,
    names: Vec<u64>,
    taken: Taken,
    shown: String,
}

impl LayerReader {
    /// A tar, plain or packed with gzip, zstd or xz; `shown` is what errors
    /// call it, and its names take of `room`.
    ///
    /// # Errors
    /// `local` where the file cannot be read.
    pub fn open(path: &Path, shown: &str, wanted: LayerFilter, room: &Room, leash: &Leash) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("cannot read", path, error))?;
        let content = ahead(file, leash.clone()).map_err(|error| Error::io("cannot read", path, error))?;
        let tar = TarReader::lenient(content);
        Ok(Self { tar, wanted, names: Vec::new(), taken: Taken::none(room), shown: shown.to_owned() })
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
        if self.names.len().is_multiple_of(STRIDE) {
            leash.check()?;
            self.make_room()?;
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

    /// For the names that come next.
    fn make_room(&mut self) -> Result<()> {
        if self.taken.add(STRIDE) {
            return Ok(());
        }
        let why = format!(
            "`{}` and the layers beside it hold more than {} files: what follows is not read",
            self.shown, self.taken.room.most
        );
        Err(Error::invalid(why))
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
        Names::of(self.names, self.taken)
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
#[derive(Debug)]
pub struct Names {
    hashes: Vec<u64>,
    _taken: Taken,
}

fn name_of(path: &str, is_directory: bool) -> u64 {
    xxh64(path.as_bytes(), u64::from(is_directory))
}

impl Names {
    fn of(mut hashes: Vec<u64>, mut taken: Taken) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        taken.give_back(taken.count.saturating_sub(hashes.len()));
        Self { hashes, _taken: taken }
    }

    fn has(&self, path: &str, is_directory: bool) -> bool {
        self.hashes.binary_search(&name_of(path, is_directory)).is_ok()
    }

    /// Whether the layer removes or replaces what layers below it have at
    /// `path`: by the same name, by a removal of it or of a folder above it, or
    /// by something that is no folder in a folder's place.
    pub fn hides(&self, path: &str) -> bool {
        let path = rooted(path);
        if self.hashes.is_empty() {
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
        self.hashes.iter().flat_map(|name| name.to_le_bytes()).collect()
    }

    /// What was kept; the bytes are those that were written. None where there
    /// is no room for them.
    pub fn from_bytes(bytes: &[u8], room: &Room) -> Option<Self> {
        let hashes = bytes.as_chunks::<8>().0;
        let mut taken = Taken::none(room);
        let has_room = taken.add(hashes.len());
        has_room.then(|| Self { hashes: hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect(), _taken: taken })
    }
}

/// The bytes of a file, decompressed by a thread of their own.
fn ahead(file: File, leash: Leash) -> io::Result<Pipe> {
    let length = file.metadata()?.len();
    let (feed, content) = pipe(CHUNK, AHEAD);
    let work = move || {
        let mut left = RATIO_FREE.saturating_add(length.saturating_mul(LARGEST_RATIO));
        let result = decoder(file).and_then(|mut decoder| {
            while next(&mut decoder, &feed, &mut left, &leash)? {}
            Ok(())
        });
        if let Err(error) = result {
            feed.fail(error);
        }
    };
    thread::Builder::new().name("layer".to_owned()).spawn(work)?;
    Ok(content)
}

/// One chunk further; false at the end, and where nobody reads on.
fn next(decoder: &mut dyn Read, feed: &Feed, left: &mut u64, leash: &Leash) -> io::Result<bool> {
    leash.check().map_err(io::Error::other)?;
    let mut buffer = feed.buffer();
    let (length, result) = fill(decoder, &mut buffer);
    let rest = left.checked_sub(length as u64);
    *left = rest.ok_or_else(|| io::Error::other(format!("it unpacks to more than {LARGEST_RATIO} times its size")))?;
    let goes_on = length > 0 && feed.send(buffer, length);
    result?;
    Ok(goes_on)
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

    fn open(bytes: &[u8], wanted: LayerFilter) -> LayerReader {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        LayerReader::open(file.path(), "layer", wanted, &Room::new(MOST_NAMES), &Leash::endless()).unwrap()
    }

    fn wanted() -> LayerFilter {
        LayerFilter {
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
        let names = Names::from_bytes(&names.to_bytes(), &Room::new(100)).unwrap();
        let hidden = ["same", "kept", "was-folder/below/it", "d/gone", "d/gone/below", "opaque/old", "opaque/a/b"];
        let seen = ["kept/file", "d/other", "other", "d", "sam", "gone"];
        assert_eq!(hidden.map(|path| (path, names.hides(path))), hidden.map(|path| (path, true)));
        assert_eq!(seen.map(|path| (path, names.hides(path))), seen.map(|path| (path, false)));
    }

    /// Guards the memory of the host: an image has as many layers as it likes.
    #[test]
    fn the_names_of_all_layers_have_room_together_and_leave_it() {
        let tar = tar_of(&vec![(&b"a"[..], Kind::File, &b""[..]); 5000]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar).unwrap();
        let (room, leash) = (Room::new(3 * STRIDE), Leash::endless());
        let read = || {
            let mut layer = LayerReader::open(file.path(), "layer", LayerFilter::default(), &room, &leash).unwrap();
            layer.next(&leash).map(|_| layer)
        };
        let first = read().unwrap();
        let error = read().err().unwrap();
        assert!(error.message().contains("the layers beside it hold more than 12288 files"), "{error}");
        // All have one name, which is held once.
        let held: Vec<Names> = std::iter::once(first).map(LayerReader::names).collect();
        let again: Vec<Names> = (0..3).map(|_| read().unwrap().names()).collect();
        assert_eq!(room.left.load(Ordering::Relaxed), 3 * STRIDE - 4);
        let kept = again[0].to_bytes();
        assert!(Names::from_bytes(&kept, &Room::new(0)).is_none());
        drop((held, again));
        assert_eq!(room.left.load(Ordering::Relaxed), 3 * STRIDE);
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
