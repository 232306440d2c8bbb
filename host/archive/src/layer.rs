//! Reads the layer of an image front to back, in one pass and in memory that
//! stays the same, and unpacks nothing to disk.
//!
//! A thread of its own decompresses and [walks](walk) ahead of who reads, so that
//! several layers come forward while one reader takes them in turn. The reader says
//! beforehand what it wants ([`LayerFilter`]); everything else passes by, but for
//! its name: [`Names`] tells afterwards what the layer hides of those below it, by
//! the rules of the OCI image format for removals (`.wh.…`).
//!
//! A layer comes from outside: names may be no UTF-8 (they are read with U+FFFD
//! in them), nothing leads above the root, and what it unpacks to is bounded.
//! An image has as many layers as it likes, so the names that are held of all
//! of them have a [`Room`] together.

mod marks;
mod names;
mod walk;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

pub use self::marks::Marks;
use self::names::Taken;
pub use self::names::{Names, Room};
use self::walk::{Asked, Told, Walk};
use super::reader::EntryKind;
use base::error::{Error, Result};
use base::leash::Leash;

/// What waits for the reader: pieces of content, each of one decompressed chunk
/// at most, and batches of entries.
const AHEAD: usize = 4;
/// Names of one layer. The largest layers in use have some hundred thousand.
const MOST_NAMES: usize = 4_000_000;

/// What a reader wants to see of a layer. Paths begin with `/`.
#[derive(Clone, Debug, Default)]
pub struct LayerFilter {
    /// Files whose path ends so.
    pub ends: Vec<String>,
    /// Files that lie below a folder of this path, wherever that lies.
    pub below: Vec<String>,
    /// Files whose content begins so.
    pub beginnings: Vec<Vec<u8>>,
    /// Of those only what holds one of these, where there are any.
    pub marks: Marks,
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
    /// At which of them reading begins.
    pub begin: u64,
    /// The first bytes of a file in which a mark was found, at most 4096.
    pub front: Vec<u8>,
    /// Whether somebody may execute it, by its mode.
    pub executable: bool,
    /// Where a link points: a symlink as written, a hard link from the root.
    pub target: String,
}

/// A layer that is being read.
pub struct LayerReader {
    told: Receiver<io::Result<Told>>,
    asked: Arc<Asked>,
    names: Vec<u64>,
    taken: Taken,
    shown: String,
    /// Files that came so far; the last of them may be open.
    files: u64,
    open: Option<OpenFile>,
    is_over: bool,
    /// What was heard before its turn.
    heard: Option<io::Result<Told>>,
}

/// The file that came last.
struct OpenFile {
    size: u64,
    /// Bytes that were read or passed over.
    at: u64,
    /// What came of it and was not read yet.
    piece: Vec<u8>,
    used: usize,
}

impl OpenFile {
    /// Passes over at most `length` bytes, and says how many.
    fn pass(&mut self, length: u64) -> u64 {
        let length = length.min(self.size - self.at);
        self.at += length;
        self.used = usize::try_from(length).map_or(self.piece.len(), |length| self.used + length).min(self.piece.len());
        length
    }

    /// A piece that begins at this byte, of which some may be behind already.
    fn take(&mut self, begin: u64, bytes: Vec<u8>) {
        self.used = usize::try_from(self.at.saturating_sub(begin)).unwrap_or(usize::MAX).min(bytes.len());
        self.piece = bytes;
    }
}

impl LayerReader {
    /// A tar, plain or packed with gzip, zstd or xz; `shown` is what errors
    /// call it, and its names take of `room`.
    ///
    /// # Errors
    /// `local` where the file cannot be read.
    pub fn open(path: &Path, shown: &str, wanted: LayerFilter, room: &Room, leash: &Leash) -> Result<Self> {
        let unreadable = |error| Error::io("cannot read", path, error);
        let file = File::open(path).map_err(unreadable)?;
        let (tell, told) = mpsc::sync_channel(AHEAD);
        let asked = Arc::new(Asked::default());
        let walk = Walk::new(file, wanted, tell, asked.clone(), leash.clone()).map_err(unreadable)?;
        thread::Builder::new().name("layer".to_owned()).spawn(move || walk.run()).map_err(unreadable)?;
        let (names, taken, shown) = (Vec::new(), Taken::none(room), shown.to_owned());
        Ok(Self { told, asked, names, taken, shown, files: 0, open: None, is_over: false, heard: None })
    }

    /// What comes next: links, up to and with the next wanted file, which
    /// [`LayerReader::read`] gives then. Empty at the end.
    ///
    /// # Errors
    /// `invalid-input` where it is no tar, is damaged, or holds too much; what
    /// the leash ends with.
    pub fn next(&mut self, leash: &Leash) -> Result<Vec<Found>> {
        self.open = None;
        self.asked.set(self.files + 1, 0);
        while !self.is_over {
            match self.hear(leash)? {
                Told::Passed { names, found, is_file } => {
                    self.keep(names)?;
                    if let Some(last) = found.last().filter(|_| is_file) {
                        self.files += 1;
                        self.open = Some(OpenFile { size: last.size, at: last.begin, piece: Vec::new(), used: 0 });
                    }
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                Told::Content { .. } => {}
                Told::End => self.is_over = true,
            }
        }
        Ok(Vec::new())
    }

    fn hear(&mut self, leash: &Leash) -> Result<Told> {
        leash.check()?;
        let hear = || self.told.recv().unwrap_or_else(|_| Err(io::Error::other("nobody unpacks it any more")));
        let told = self.heard.take().unwrap_or_else(hear);
        told.map_err(|error| damaged(&self.shown, leash, error))
    }

    fn keep(&mut self, names: Vec<u64>) -> Result<()> {
        if self.names.len() + names.len() > MOST_NAMES {
            let why = format!("`{}` holds more than {MOST_NAMES} files: what follows is not read", self.shown);
            return Err(Error::invalid(why));
        }
        if !self.taken.add(names.len()) {
            let (shown, most) = (&self.shown, self.taken.most());
            let why =
                format!("`{shown}` and the layers beside it hold more than {most} files: what follows is not read");
            return Err(Error::invalid(why));
        }
        self.names.extend(names);
        Ok(())
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
            let Some(file) = self.open.as_mut().filter(|file| file.at < file.size) else { break };
            let rest = file.piece.get(file.used..).unwrap_or_default();
            let taken = rest.len().min(length - bytes.len());
            bytes.extend_from_slice(&rest[..taken]);
            file.pass(taken as u64);
            if taken == 0 {
                self.hear_content(leash)?;
            }
        }
        Ok(bytes)
    }

    /// The next piece of the open file.
    fn hear_content(&mut self, leash: &Leash) -> Result<()> {
        match (self.hear(leash)?, &mut self.open) {
            (Told::Content { at, bytes }, Some(file)) => file.take(at, bytes),
            _ => return Err(Error::invalid(format!("`{}` ends in the middle of a file", self.shown))),
        }
        Ok(())
    }

    /// Passes over at most `length` bytes of it, and says how many. What is wrong
    /// with them comes up with what is read next.
    ///
    /// # Errors
    /// What the leash ends with.
    pub fn skip(&mut self, length: u64, leash: &Leash) -> Result<u64> {
        leash.check()?;
        let Some(file) = &mut self.open else { return Ok(0) };
        let passed = file.pass(length);
        self.asked.set(self.files, file.at);
        // What waits and was passed over would keep the walk from going on.
        while file.used == file.piece.len() && self.heard.is_none() {
            match self.told.try_recv() {
                Ok(Ok(Told::Content { at, bytes })) => file.take(at, bytes),
                Ok(other) => self.heard = Some(other),
                Err(_) => break,
            }
        }
        Ok(passed)
    }

    /// The names of what was read.
    pub fn names(mut self) -> Names {
        Names::of(std::mem::take(&mut self.names), self.taken.all())
    }
}

impl Drop for LayerReader {
    /// The thread ends with the chunk that it is at.
    fn drop(&mut self) {
        self.asked.leave();
    }
}

fn damaged(shown: &str, leash: &Leash, error: io::Error) -> Error {
    // The thread below hears of the leash first.
    leash.check().err().unwrap_or_else(|| Error::invalid(format!("`{shown}` can not be read: {error}")))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::walk::STRIDE;
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
            marks: Marks::default(),
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
        let (room, leash) = (Room::new(2 * STRIDE), Leash::endless());
        let read = || {
            let mut layer = LayerReader::open(file.path(), "layer", LayerFilter::default(), &room, &leash).unwrap();
            layer.next(&leash).map(|_| layer)
        };
        let first = read().unwrap();
        let error = read().err().unwrap();
        assert!(error.message().contains("the layers beside it hold more than 8192 files"), "{error}");
        // All have one name, which is held once.
        let held: Vec<Names> = std::iter::once(first).map(LayerReader::names).collect();
        let again: Vec<Names> = (0..3).map(|_| read().unwrap().names()).collect();
        assert_eq!(room.left(), 2 * STRIDE - 4);
        let kept = again[0].to_bytes();
        assert!(Names::from_bytes(&kept, &Room::new(0)).is_none());
        drop((held, again));
        assert_eq!(room.left(), 2 * STRIDE);
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

    /// Bytes that tell where they lie.
    fn numbered(length: u32) -> Vec<u8> {
        (0..length / 4).flat_map(u32::to_le_bytes).collect()
    }

    /// Guards that what is passed over, and what waits meanwhile, is counted right:
    /// files are much longer than what may wait.
    #[test]
    fn layers_that_take_turns_give_their_own_bytes() {
        let long = numbered(12 << 20);
        let tar = tar_of(&[(b"a.jar", Kind::File, &long), (b"b.jar", Kind::File, b"end"), (b"c", Kind::File, &long)]);
        let leash = Leash::endless();
        let mut layers = [open(&tar, wanted()), open(&tar, wanted())];
        for layer in &mut layers {
            assert_eq!(layer.next(&leash).unwrap()[0].path, "a.jar");
        }
        let mut at = 0;
        for (skipped, read) in [(0, 100), (300_000, 8), (5 << 20, 700_000), (1, 3), (0, 400_000)] {
            at += skipped;
            for layer in &mut layers {
                assert_eq!(layer.skip(skipped as u64, &leash).unwrap(), skipped as u64);
                assert_eq!(layer.read(read, &leash).unwrap(), long[at..at + read], "at {at}");
            }
            at += read;
        }
        let [mut first, mut second] = layers;
        assert_eq!(first.skip(u64::MAX, &leash).unwrap(), (long.len() - at) as u64);
        assert!(first.read(1, &leash).unwrap().is_empty());
        for layer in [&mut first, &mut second] {
            assert_eq!(layer.next(&leash).unwrap()[0].path, "b.jar");
            assert_eq!(layer.read(100, &leash).unwrap(), b"end");
            assert!(layer.next(&leash).unwrap().is_empty() && layer.next(&leash).unwrap().is_empty());
        }
        assert!(first.names().hides("c"));
    }

    /// Guards where reading begins, and that nothing is told of a file without a mark.
    #[test]
    fn of_marked_files_what_lies_behind_the_mark_is_read() {
        let mut long = [&b"\x7fELF"[..], &[1; 700_000 - 4]].concat();
        long.truncate(700_000 / 16 * 16);
        let begin = long.len() as u64;
        long[48..52].copy_from_slice(b"MARK");
        long[67..72].copy_from_slice(b"MARK2");
        long.extend(b"MARK1 and more");
        let plain = [&b"\x7fELF"[..], &[0; 600_000]].concat();
        let tar = tar_of(&[
            (b"without", Kind::File, &plain),
            (b"with", Kind::File, &long),
            (b"a.jar", Kind::File, b"MARK"),
            (b"text", Kind::File, b"MARK1"),
        ]);
        let marks = Marks::new(vec![b"MARK1".to_vec(), b"MARK2".to_vec()]).unwrap();
        let (mut layer, leash) = (open(&tar, LayerFilter { marks, ..wanted() }), Leash::endless());
        let found = layer.next(&leash).unwrap();
        assert_eq!((found[0].path.as_str(), found[0].begin, found[0].size), ("with", begin, long.len() as u64));
        assert_eq!(found[0].front, long[..4096]);
        assert_eq!(layer.read(100, &leash).unwrap(), b"MARK1 and more");
        let found = layer.next(&leash).unwrap();
        assert_eq!((found[0].path.as_str(), found[0].begin), ("a.jar", 0));
        assert_eq!(layer.read(100, &leash).unwrap(), b"MARK");
        assert!(layer.next(&leash).unwrap().is_empty());
        for marks in [vec![vec![0; 17]], vec![b"abc".to_vec()], vec![b"abcde".to_vec(), b"abxde".to_vec()]] {
            assert!(Marks::new(marks).is_err());
        }
    }

    /// Guards that what a reader comes to know depends on how far it read, and not
    /// on how far the thread ahead of it is.
    #[test]
    fn a_layer_that_is_left_hides_what_was_read() {
        let tar = tar_of(&[(b"a.jar", Kind::File, b"1"), (b"b.jar", Kind::File, b"2"), (b"c", Kind::File, b"")]);
        let (mut layer, leash) = (open(&tar, wanted()), Leash::endless());
        layer.next(&leash).unwrap();
        let names = layer.names();
        assert_eq!(["a.jar", "b.jar", "c"].map(|path| names.hides(path)), [true, false, false]);
    }

    #[test]
    fn a_file_that_is_cut_never_looks_whole() {
        let tar = tar_of(&[(b"a.jar", Kind::File, &numbered(2 << 20))]);
        let (mut layer, leash) = (open(&tar[..1 << 20], wanted()), Leash::endless());
        layer.next(&leash).unwrap();
        let error = layer.read(2 << 20, &leash).unwrap_err();
        assert!(error.message().contains("ends in the middle of an entry"), "{error}");
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
