//! Writes one archive front to back, in one pass over the data.
//!
//! Every entry is read once: while its bytes go into the archive they are
//! hashed for [`Added`] and, where the digest is known, checked against it.
//! Nested tars are never laid out on disk: their size follows from their
//! members, so they are streamed like any other entry.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::entry::{Content, NewMember};
use super::frames::{Probe, Treatment};
use super::index::{Indexed, List};
use super::pipeline::Pipeline;
use super::ustar::{self, Kind};
use super::walk;
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use base::leash::Leash;
use base::progress::{Progress, text};
use disk::fs;
use disk::tree::{Tree, check_path};

/// How often it is told how much was packed.
const PAUSE: Duration = Duration::from_millis(500);

/// How the archive as a whole is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// Zstandard: what is compressed already is stored, text is compressed.
    Zstd,
}

/// What was added: digest and size of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Path inside the archive.
    pub path: String,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
}

/// An archive in the making. Blocking: use it from a thread that may block.
/// Dropped without [`finish`](ArchiveWriter::finish) it removes its file.
#[must_use = "end with finish(), or the archive is removed"]
pub struct ArchiveWriter {
    path: PathBuf,
    compression: Compression,
    /// None once finished, or after a failure.
    pipeline: Option<Pipeline>,
    probe: Probe,
    /// None of a plain tar, which has no place for an index.
    list: Option<List>,
    /// Bytes of the tar so far.
    position: u64,
    /// Digests of the paths: as long as a path may be, this takes little.
    seen: HashSet<Digest>,
    packed: Packed,
    leash: Leash,
    finished: bool,
}

impl ArchiveWriter {
    /// Creates or truncates `path`.
    pub fn create(path: PathBuf, compression: Compression) -> Result<Self> {
        Self::with_workers(path, compression, workers())
    }

    /// The same with a number of compression threads. The bytes of the archive
    /// do not depend on it.
    pub(crate) fn with_workers(path: PathBuf, compression: Compression, workers: usize) -> Result<Self> {
        let file = fs::create(&path)?;
        Self::into_file(file, path, compression, workers)
    }

    /// One that begins with what lies before the place where `file` stands,
    /// which is [kept](Self::keep) first.
    pub(super) fn behind(file: File, path: PathBuf, compression: Compression) -> Result<Self> {
        Self::into_file(file, path, compression, workers())
    }

    fn into_file(file: File, path: PathBuf, compression: Compression, workers: usize) -> Result<Self> {
        let probe = Probe::new().map_err(|source| Error::io("cannot compress for", &path, source))?;
        let pipeline = Some(Pipeline::new(file, &path, workers)?);
        let list = match compression {
            Compression::None => None,
            Compression::Zstd => Some(List::new().map_err(|source| Error::io("cannot index", &path, source))?),
        };
        Ok(Self {
            path,
            compression,
            pipeline,
            probe,
            list,
            position: 0,
            seen: HashSet::new(),
            packed: Packed::default(),
            leash: Leash::endless(),
            finished: false,
        })
    }

    /// What is added from here on is added as long as the leash holds.
    pub fn leashed(&mut self, leash: Leash) -> &mut Self {
        self.leash = leash;
        self
    }

    /// Stops with an `interrupted` error when `progress` is cancelled, and
    /// tells it how many bytes were packed.
    pub fn watched_by(mut self, progress: Progress) -> Self {
        self.packed.progress = Some(progress);
        self
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// A path that Zarf would refuse or that was added before; a file that
    /// cannot be read, has another size, or differs from its digest. After an
    /// error nothing more can be added.
    pub fn add(&mut self, entry: NewMember) -> Result<Added> {
        let added = self.claim(&entry.path).and_then(|()| self.put_entry(&entry, None));
        self.ended(added)
    }

    /// Adds everything of a committed tree whose path starts with nothing but
    /// itself, below `prefix` (empty, or without a slash at the end), sorted by
    /// path. Executable files get 0755, others 0644.
    pub fn add_tree(&mut self, tree: &Tree, prefix: &str) -> Result<Vec<Added>> {
        let entries = tree.listing.artifacts.iter().map(|artifact| {
            let path = if prefix.is_empty() { artifact.path.clone() } else { format!("{prefix}/{}", artifact.path) };
            let mode = if artifact.executable { 0o755 } else { 0o644 };
            NewMember::file(path, mode, tree.path_of(&artifact.path), artifact.size, Some(artifact.digest))
        });
        entries.map(|entry| self.add(entry)).collect()
    }

    /// Adds an uncompressed tar with these members as one file. Members are
    /// put into the order of Go's `filepath.Walk`; directories that they need
    /// and that are not among them get mode 0700.
    pub fn add_nested(&mut self, path: &str, mode: u32, members: Vec<NewMember>) -> Result<Added> {
        let added = self.claim(path).and_then(|()| self.put_nested(path, mode, members));
        self.ended(added)
    }

    /// Takes over a frame of another archive, which lies there after the same
    /// bytes of the tar.
    pub(super) fn take_frame(&mut self, frame: Vec<u8>, content: usize) -> Result<()> {
        self.leash.check()?;
        self.position += content as u64;
        let Some(pipeline) = &mut self.pipeline else { return Err(self.broken()) };
        let taken = pipeline.frame(frame, content);
        self.ended(taken)
    }

    /// Counts in what lies in the file already: a frame with so many bytes of
    /// content, or some of a plain tar.
    pub(super) fn keep(&mut self, bytes: Vec<u8>, content: Option<usize>) -> Result<()> {
        self.leash.check()?;
        self.position += content.unwrap_or(bytes.len()) as u64;
        let Some(pipeline) = &mut self.pipeline else { return Err(self.broken()) };
        let kept = pipeline.keep(bytes, content);
        self.ended(kept)
    }

    /// Takes over bytes of the tar of another archive.
    pub(super) fn take_bytes(&mut self, bytes: &[u8], treatment: Treatment) -> Result<()> {
        let taken = self.put(treatment, bytes, None);
        self.ended(taken)
    }

    /// Lists a file whose bytes are taken over.
    pub(super) fn take_entry(&mut self, entry: &Indexed, is_member: bool) -> Result<()> {
        if !is_member {
            self.seen.insert(Digest::of(entry.path.as_bytes()));
        }
        let Indexed { path, at, size, digest } = entry.clone();
        self.note(&Added { path, digest, size }, at, is_member)
    }

    /// Completes the archive and makes it durable. Gives the digest and the
    /// size of the file.
    pub fn finish(mut self) -> Result<(Digest, u64)> {
        let mut pipeline = self.pipeline.take().ok_or_else(|| self.broken())?;
        pipeline.write(self.header_treatment(), &ustar::TRAILER)?;
        let result = pipeline.finish(self.list.take())?;
        self.finished = true;
        Ok(result)
    }

    fn claim(&mut self, path: &str) -> Result<()> {
        check_path(path)?;
        if !self.seen.insert(Digest::of(path.as_bytes())) {
            return Err(Error::invalid(format!("the archive path `{path}` appears twice"))
                .hint("give the two files different names"));
        }
        Ok(())
    }

    /// Half an entry can not be taken back, so an error ends the archive.
    fn ended<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.pipeline = None;
        }
        result
    }

    fn broken(&self) -> Error {
        Error::local(format!("the archive `{}` is incomplete after an earlier error", self.path.display()))
    }

    fn put_nested(&mut self, path: &str, mode: u32, members: Vec<NewMember>) -> Result<Added> {
        for member in &members {
            check_path(&member.path).map_err(|error| error.context(format!("cannot put it into `{path}`")))?;
        }
        let members = walk::in_walk_order(members)?;
        let mut size = ustar::TRAILER.len() as u64;
        for member in &members {
            self.leash.check()?;
            size += member.length()?;
        }
        let (treatment, at) = (self.header_treatment(), self.position);
        self.put(treatment, &ustar::header(path, Kind::File, mode & 0o777, size)?, None)?;
        let mut outer = Hasher::new();
        for member in &members {
            self.put_entry(member, Some(&mut outer))?;
        }
        self.put(treatment, &ustar::TRAILER, Some(&mut outer))?;
        self.put(treatment, &ustar::TRAILER[..ustar::padding(size)], None)?;
        let added = Added { path: path.to_owned(), digest: outer.finish(), size };
        self.note(&added, at, false)?;
        Ok(added)
    }

    /// Puts a file into the list, which names the members of a nested tar
    /// before it.
    fn note(&mut self, added: &Added, at: u64, is_member: bool) -> Result<()> {
        let Some(list) = &mut self.list else { return Ok(()) };
        let Added { path, digest, size } = added.clone();
        list.add(&Indexed { path, at, size, digest }, is_member)
            .map_err(|source| Error::io("cannot index", &self.path, source))
    }

    /// Header, content and padding; all of it also into `outer`.
    fn put_entry(&mut self, entry: &NewMember, mut outer: Option<&mut Hasher>) -> Result<Added> {
        let header = entry.header()?;
        let (size, at, is_member) = (entry.size(), self.position, outer.is_some());
        let (treatment, digest) = match &entry.content {
            Content::Directory => {
                let treatment = self.header_treatment();
                self.put(treatment, &header, outer.as_deref_mut())?;
                (treatment, Digest::of(b""))
            }
            Content::Bytes(bytes) => {
                let treatment = self.treatment_of_bytes(bytes)?;
                self.put(treatment, &header, outer.as_deref_mut())?;
                self.put(treatment, bytes, outer.as_deref_mut())?;
                (treatment, Digest::of(bytes))
            }
            Content::File { path, size, digest } => {
                let file = open(path, *size)?;
                let treatment = self.treatment_of_file(&file, path, *size)?;
                self.put(treatment, &header, outer.as_deref_mut())?;
                let found = self.put_file(file, path, *size, treatment, outer.as_deref_mut())?;
                check_digest(path, *digest, found)?;
                (treatment, found)
            }
        };
        self.put(treatment, &ustar::TRAILER[..ustar::padding(size)], outer)?;
        let added = Added { path: entry.path.clone(), digest, size };
        if entry.kind() == Kind::File {
            self.note(&added, at, is_member)?;
        }
        Ok(added)
    }

    fn put(&mut self, treatment: Treatment, bytes: &[u8], outer: Option<&mut Hasher>) -> Result<()> {
        self.leash.check()?;
        if let Some(outer) = outer {
            outer.update(bytes);
        }
        self.position += bytes.len() as u64;
        match &mut self.pipeline {
            Some(pipeline) => pipeline.write(treatment, bytes),
            None => Err(self.broken()),
        }
    }

    /// Reads the file straight into the segments.
    fn put_file(
        &mut self,
        mut file: File,
        path: &Path,
        size: u64,
        treatment: Treatment,
        mut outer: Option<&mut Hasher>,
    ) -> Result<Digest> {
        let Some(pipeline) = &mut self.pipeline else { return Err(self.broken()) };
        let mut hasher = Hasher::new();
        let mut left = size;
        while left > 0 {
            self.leash.check()?;
            let space = pipeline.space(treatment, usize::try_from(left).unwrap_or(usize::MAX))?;
            let read = file.read(space).map_err(|source| Error::io("cannot read", path, source))?;
            if read == 0 {
                return Err(changed(path, size, size - left));
            }
            hasher.update(&space[..read]);
            if let Some(outer) = outer.as_deref_mut() {
                outer.update(&space[..read]);
            }
            pipeline.advance(read);
            self.packed.add(read as u64)?;
            self.position += read as u64;
            left -= read as u64;
        }
        Ok(hasher.finish())
    }

    /// For what belongs to no file.
    fn header_treatment(&self) -> Treatment {
        match self.compression {
            Compression::None => Treatment::Plain,
            Compression::Zstd => Treatment::Small,
        }
    }

    fn treatment_of_bytes(&mut self, bytes: &[u8]) -> Result<Treatment> {
        match self.compression {
            Compression::None => Ok(Treatment::Plain),
            Compression::Zstd => {
                self.probe.bytes(bytes).map_err(|source| Error::io("cannot compress for", &self.path, source))
            }
        }
    }

    fn treatment_of_file(&mut self, file: &File, path: &Path, size: u64) -> Result<Treatment> {
        match self.compression {
            Compression::None => Ok(Treatment::Plain),
            Compression::Zstd => self.probe.file(file, size).map_err(|source| Error::io("cannot read", path, source)),
        }
    }
}

/// How many bytes of files went in.
#[derive(Default)]
struct Packed {
    bytes: u64,
    told: Option<Instant>,
    progress: Option<Progress>,
}

impl Packed {
    /// # Errors
    /// `interrupted`.
    fn add(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        let Some(progress) = &self.progress else { return Ok(()) };
        progress.check()?;
        if self.told.is_none_or(|told| told.elapsed() >= PAUSE) {
            self.told = Some(Instant::now());
            progress.working(&format!("{} packed", text::bytes(self.bytes)));
        }
        Ok(())
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.pipeline = None;
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Threads that compress.
fn workers() -> usize {
    thread::available_parallelism().map_or(2, |count| count.get().clamp(1, 4))
}

/// Opens a regular file of exactly `size` bytes.
fn open(path: &Path, size: u64) -> Result<File> {
    let file = File::open(path).map_err(|source| Error::io("cannot read", path, source))?;
    let metadata = file.metadata().map_err(|source| Error::io("cannot read", path, source))?;
    if !metadata.is_file() {
        return Err(Error::invalid(format!("`{}` is not a regular file", path.display())));
    }
    if metadata.len() != size {
        return Err(changed(path, size, metadata.len()));
    }
    Ok(file)
}

fn changed(path: &Path, expected: u64, found: u64) -> Error {
    repair(Error::integrity(format!("`{}` has {found} bytes and was recorded with {expected}", path.display())))
}

fn check_digest(path: &Path, expected: Option<Digest>, found: Digest) -> Result<()> {
    match expected {
        Some(expected) if expected != found => Err(repair(Error::integrity(format!(
            "`{}` has the digest {found} and was recorded with {expected}",
            path.display()
        )))),
        _ => Ok(()),
    }
}

fn repair(error: Error) -> Error {
    error.hint("the file changed after it was made: the next build finds every such file and makes it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;
    use std::sync::Arc;

    use base::progress::{Event, Observer};
    use disk::tree::TreeBuilder;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    /// Text that shrinks, but not to nothing.
    fn prose(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut text = Vec::with_capacity(length + 32);
        while text.len() < length {
            text.extend(format!("key-{}: value-{}\n", random.u16(..), random.u8(..)).bytes());
        }
        text.truncate(length);
        text
    }

    /// Writes `entries`, a tree and a nested tar; gives the bytes.
    fn archive(directory: &Path, compression: Compression, workers: usize) -> Vec<u8> {
        let sources = TreeBuilder::new(directory.join("sources"));
        sources.write("noise", &noise(1, 5_000_000), false).unwrap();
        sources.write("text", &prose(2, 9_000_000), false).unwrap();
        sources.write("bin/tool", &prose(3, 300_000), true).unwrap();
        let tree = Tree { root: sources.root().to_path_buf(), listing: Arc::new(sources.listing()) };
        let path = directory.join(format!("{workers}.tar"));
        let mut writer = ArchiveWriter::with_workers(path.clone(), compression, workers).unwrap();
        let added = writer.add_tree(&tree, "files").unwrap();
        assert_eq!(added[0].path, "files/bin/tool");
        assert_eq!(added[1].digest, Digest::of(&noise(1, 5_000_000)));
        for index in 0..20 {
            writer.add(NewMember::bytes(format!("small/{index}"), 0o600, prose(index, 700))).unwrap();
            writer.add(NewMember::bytes(format!("small/{index}.gz"), 0o600, noise(index, 900))).unwrap();
        }
        let tool = tree.listing.get("bin/tool").unwrap();
        let member = NewMember::file("x/files/0/tool", 0o700, tree.path_of("bin/tool"), tool.size, Some(tool.digest));
        writer.add_nested("components/x.tar", 0o644, vec![member]).unwrap();
        let (digest, size) = writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (digest, size));
        bytes
    }

    #[test]
    fn the_same_entries_give_the_same_bytes_with_any_number_of_workers() {
        let directory = tempfile::tempdir().unwrap();
        let plain = archive(directory.path(), Compression::None, 1);
        let one = archive(directory.path(), Compression::Zstd, 1);
        for workers in [2, 5] {
            assert!(archive(directory.path(), Compression::Zstd, workers) == one, "{workers} workers");
        }
        assert!(zstd::decode_all(one.as_slice()).unwrap() == plain, "both hold the same tar");
        assert!(one.len() < 9_500_000, "text shrinks: {}", one.len());
        assert_eq!(one[..4], [0x28, 0xb5, 0x2f, 0xfd], "no skippable frame in front");
    }

    /// The longest part of a build, in which no item ends.
    #[test]
    fn bytes_are_told_while_they_are_packed() {
        #[derive(Default)]
        struct Told(std::sync::Mutex<Vec<String>>);
        impl Observer for Told {
            fn observe(&self, event: &Event) {
                if let Event::StepProgress { done, total, unit, message, .. } = event {
                    self.0.lock().unwrap().push(format!("{done}/{total:?} {unit} {message}"));
                }
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("blob");
        fs::write_new(&source, &noise(1, 3 << 20)).unwrap();
        let told = Arc::new(Told::default());
        let progress = Progress::new("package", told.clone(), tokio_util::sync::CancellationToken::new());
        progress.items(1, Some(2), "parts", "images");
        let writer = ArchiveWriter::create(directory.path().join("a.tar"), Compression::Zstd).unwrap();
        let mut writer = writer.watched_by(progress);
        writer.add(NewMember::file("blob", 0o644, source, 3 << 20, None)).unwrap();
        let told = told.0.lock().unwrap();
        assert!(told[1].starts_with("1/Some(2) parts ") && told[1].ends_with(" packed"), "{told:?}");
        assert!(told.len() < 10, "not for every chunk: {told:?}");
    }

    #[test]
    fn the_tar_crate_reads_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let plain = archive(directory.path(), Compression::None, 2);
        let mut archive = tar::Archive::new(plain.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            if names.last().unwrap() == "components/x.tar" {
                let mut nested = Vec::new();
                entry.read_to_end(&mut nested).unwrap();
                let mut nested = tar::Archive::new(nested.as_slice());
                let inner: Vec<String> =
                    nested.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
                assert_eq!(inner, ["x", "x/files", "x/files/0", "x/files/0/tool"]);
            }
        }
        assert_eq!(names.len(), 3 + 40 + 1);
    }

    #[test]
    fn a_file_that_changed_since_it_was_recorded_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("blob");
        fs::write_new(&source, b"content").unwrap();
        let cases = [(7, Some(Digest::of(b"other"))), (8, None), (6, None)];
        for (size, digest) in cases {
            let path = directory.path().join("a.tar");
            let mut writer = ArchiveWriter::create(path.clone(), Compression::Zstd).unwrap();
            let error = writer.add(NewMember::file("blob", 0o644, source.clone(), size, digest)).unwrap_err();
            assert_eq!(error.class(), Class::Integrity);
            assert!(error.message().contains("blob") && error.hint_text().unwrap().contains("the next build"));
            assert!(writer.add(NewMember::bytes("more", 0o644, Vec::new())).is_err(), "nothing follows half an entry");
            drop(writer);
            assert!(!path.exists(), "an unfinished archive is removed");
        }
    }

    #[test]
    fn duplicates_and_bad_paths_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for paths in [["a", "a"], ["a", "../b"], ["a", "aux.c"]] {
            let mut writer = ArchiveWriter::create(directory.path().join("a.tar"), Compression::None).unwrap();
            writer.add(NewMember::bytes(paths[0], 0o644, Vec::new())).unwrap();
            assert!(writer.add(NewMember::bytes(paths[1], 0o644, Vec::new())).is_err());
        }
        let mut writer = ArchiveWriter::create(directory.path().join("a.tar"), Compression::None).unwrap();
        let error = writer.add_nested("n.tar", 0o644, vec![NewMember::bytes("x/nul", 0o644, Vec::new())]).unwrap_err();
        assert!(error.one_line().contains("n.tar") && error.one_line().contains("nul"));
    }

    #[test]
    fn a_full_disk_is_reported_as_such() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let mut writer = ArchiveWriter::with_workers(full.to_path_buf(), Compression::Zstd, 1).unwrap();
        writer.finished = true; // Keeps the device: only a file of ours is removed.
        let error = (0..100)
            .find_map(|index| writer.add(NewMember::bytes(format!("{index}"), 0o644, noise(index, 1 << 20))).err())
            .unwrap();
        assert_eq!(error.class(), Class::DiskFull);
    }
}
