//! One pass over the tar of a package: what the rules need to know of it.
//!
//! Kept are a digest and a size for each file, the text of the few files that
//! describe the others, what manifests and configurations of images refer to,
//! and the members of component tars. All of it is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

use model::oci::{LARGEST_INDEX, LARGEST_MANIFEST, Manifest, Platform};

use super::repositories::{self, Repository};
use super::{Problems, charts};
use archive::reader::{EntryKind, Header, TarReader};
use base::digest::{Digest, Hasher};
use disk::tree::check_path;
use seal::members::{BUNDLE, SIGNATURE};
use serde::de::IgnoredAny;

const MIB: u64 = 1024 * 1024;
/// Memory for what is kept: some 300,000 files, a hundred times a platform.
const KEPT: u64 = 128 * MIB;
/// What keeping one file costs beside its text, roughly, and one descriptor.
const ENTRY: u64 = 200;
const DESCRIPTOR: u64 = 300;

/// Bytes of a file with a signature.
const LARGEST_SIGNATURE: u64 = 1 << 20;
/// Where the documents that zarf.yaml names lie.
pub(crate) const DOCUMENTS: &str = "documentation.tar";
/// Where the SBOMs lie.
pub(crate) const SBOMS: &str = "sboms.tar";

/// The files whose text is kept, and how long each may be.
pub(crate) const TEXTS: &[(&str, u64)] = &[
    // A parsed YAML takes a hundred times its text at worst.
    ("zarf.yaml", 2 * MIB),
    ("images/index.json", LARGEST_INDEX),
    ("checksums.txt", 64 * MIB),
    ("images/oci-layout", MIB),
    (BUNDLE, LARGEST_SIGNATURE),
    (SIGNATURE, LARGEST_SIGNATURE),
];

/// A regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Byte of the tar at which its header begins.
    pub(crate) at: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Regular files of the package, by path.
    pub(crate) files: BTreeMap<String, File>,
    /// The small files that describe the others.
    pub(crate) texts: BTreeMap<String, Vec<u8>>,
    /// By hexadecimal digest: JSON blobs that refer to others.
    pub(crate) blobs: BTreeMap<String, Blob>,
    /// By path of the component tar: its regular files.
    pub(crate) components: BTreeMap<String, BTreeMap<String, Member>>,
    /// By path in their component tar.
    pub(crate) charts: BTreeMap<String, ChartResult>,
    /// By folder in their component tar.
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// Names in the archive of documents, where there is one.
    pub(crate) documents: Option<BTreeSet<String>>,
    /// What is in the archive of SBOMs, where there is one.
    pub(crate) sboms: Option<Sboms>,
    /// Whether the tar was read to its end.
    pub(crate) complete: bool,
}

impl Facts {
    /// The files of a tar in the package, where they are known.
    pub(super) fn members(&self, tar: &str) -> Option<&BTreeMap<String, Member>> {
        let of_sboms = || self.sboms.as_ref().filter(|_| tar == SBOMS).map(|sboms| &sboms.files);
        self.components.get(tar).or_else(of_sboms)
    }
}

/// A file of a component tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) size: u64,
    /// Byte of the whole tar at which its header begins.
    pub(crate) at: u64,
    pub(crate) mode: u32,
    /// Of charts and files.
    pub(crate) digest: Option<Digest>,
}

/// What the archive of SBOMs holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sboms {
    /// Its files, by name.
    pub(crate) files: BTreeMap<String, Member>,
    /// Those that are called JSON and are none.
    pub(crate) broken: BTreeSet<String>,
}

/// What is inside of a chart; what is wrong with it continues its name.
pub(crate) type ChartResult = Result<charts::Description, String>;

/// What a small blob of an image says: a manifest or an index, or the
/// configuration of an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blob {
    pub(crate) manifest: Manifest,
    pub(crate) platform: Option<Platform>,
}

impl Blob {
    /// None where it is neither. A configuration has a field `config` as well,
    /// which is no descriptor.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let manifest = model::json::read::<Manifest>(bytes).ok();
        let platform = model::json::read::<Platform>(bytes).ok();
        let platform = platform.filter(|platform| *platform != Platform::default());
        (manifest.is_some() || platform.is_some()).then(|| Self { manifest: manifest.unwrap_or_default(), platform })
    }
}

/// Reads the tar to its end, or to where it is damaged. Gives the bytes read
/// as well.
pub(crate) fn collect(content: impl BufRead, problems: &mut Problems) -> (Facts, u64) {
    let mut walk = Walk { facts: Facts::default(), seen: BTreeSet::new(), room: KEPT, problems };
    let mut counted = Counted { inner: content, read: 0 };
    let mut current = String::new();
    match walk.package(&mut counted, &mut current) {
        Ok(()) => walk.facts.complete = true,
        Err(error) if current.is_empty() => {
            walk.problems.add("archive", format!("the archive cannot be read: {error}"))
        }
        Err(error) => {
            walk.problems.add_for(
                "archive",
                &current,
                format!("is where the archive is damaged, it cannot be read on: {error}"),
            );
        }
    }
    (walk.facts, counted.read)
}

struct Walk<'a> {
    facts: Facts,
    seen: BTreeSet<String>,
    /// What is left of [`KEPT`].
    room: u64,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    /// Called before something is kept.
    fn keep(&mut self, bytes: u64) -> io::Result<()> {
        take(&mut self.room, bytes)
    }

    fn package(&mut self, content: &mut impl BufRead, current: &mut String) -> io::Result<()> {
        let mut reader = TarReader::new(content);
        while let Some(header) = reader.next_entry()? {
            let path = header.path.trim_end_matches('/').to_owned();
            current.clone_from(&path);
            self.hygiene(&path, &header);
            self.keep(2 * path.len() as u64 + ENTRY)?;
            if !self.seen.insert(path.clone()) {
                self.problems.add_for("duplicate", &path, "is in the package twice");
            }
            if header.kind == EntryKind::File {
                let file = self.file(&path, &header, &mut reader)?;
                self.facts.files.insert(path, file);
            }
        }
        current.clear();
        self.rest_is_empty("the package", reader.into_inner())
    }

    fn file<R: BufRead>(&mut self, path: &str, header: &Header, reader: &mut TarReader<R>) -> io::Result<File> {
        let Header { size, at, .. } = *header;
        let limit = text_limit(path);
        if limit.is_some_and(|limit| size <= limit) {
            self.keep(size)?;
            let bytes = read_all(reader, size)?;
            let file = File { digest: Digest::of(&bytes), size, at };
            self.facts.texts.insert(path.to_owned(), bytes);
            return Ok(file);
        }
        if let Some(limit) = limit {
            self.problems.add_for("too-large", path, format!("has {size} bytes, and at most {limit} are read"));
        }
        if let Some(hex) = path.strip_prefix("images/blobs/sha256/")
            && size <= LARGEST_MANIFEST
            && reader.chunk()?.first() == Some(&b'{')
        {
            let bytes = read_all(reader, size)?;
            if let Some(blob) = Blob::read(&bytes) {
                let count = blob.manifest.layers().len() + blob.manifest.manifests().len();
                self.keep(size + count as u64 * DESCRIPTOR)?;
                self.facts.blobs.insert(hex.to_owned(), blob);
            }
            return Ok(File { digest: Digest::of(&bytes), size, at });
        }
        let content_at = reader.position();
        let mut hashed = Hashed { inner: reader, hasher: Hasher::new() };
        if path.starts_with("components/") && path.ends_with(".tar") {
            self.component(path, content_at, &mut hashed);
        }
        if path == DOCUMENTS {
            self.documents(&mut hashed);
        }
        if path == SBOMS {
            self.sboms(content_at, &mut hashed);
        }
        hashed.drain()?;
        Ok(File { digest: hashed.hasher.finish(), size, at })
    }

    /// A nested tar; what is wrong with it does not end the pass.
    fn component(&mut self, path: &str, content_at: u64, content: &mut impl BufRead) {
        let mut members = BTreeMap::new();
        if let Err(error) = self.component_members(path, content_at, content, &mut members) {
            self.problems.add_for("component", path, format!("cannot be read: {error}"));
        }
        self.facts.components.insert(path.to_owned(), members);
    }

    /// The names in the archive of documents, which Zarf writes with and
    /// without a folder `.` around them.
    fn documents(&mut self, content: &mut impl BufRead) {
        let mut names = BTreeSet::new();
        if let Err(error) = self.document_names(content, &mut names) {
            self.problems.add_for("documents", DOCUMENTS, format!("cannot be read: {error}"));
        }
        self.facts.documents = Some(names);
    }

    fn document_names(&mut self, content: &mut impl BufRead, names: &mut BTreeSet<String>) -> io::Result<()> {
        let mut reader = TarReader::new(content);
        while let Some(header) = reader.next_entry()? {
            let path = header.path.trim_start_matches("./").to_owned();
            self.keep(path.len() as u64 + ENTRY)?;
            if header.kind == EntryKind::File {
                names.insert(path);
            }
        }
        Ok(())
    }

    /// The archive of SBOMs; what is wrong with it does not end the pass.
    fn sboms(&mut self, content_at: u64, content: &mut impl BufRead) {
        let mut found = Sboms::default();
        if let Err(error) = self.sbom_files(content_at, content, &mut found) {
            self.problems.add_for("sbom", SBOMS, format!("cannot be read: {error}"));
        }
        self.facts.sboms = Some(found);
    }

    fn sbom_files(&mut self, content_at: u64, content: &mut impl BufRead, found: &mut Sboms) -> io::Result<()> {
        let mut reader = TarReader::new(content);
        while let Some(header) = reader.next_entry()? {
            let path = header.path.trim_start_matches("./").trim_end_matches('/').to_owned();
            // Zarf puts a folder `.` around them.
            if path.is_empty() || path == "." {
                continue;
            }
            self.keep(2 * path.len() as u64 + ENTRY)?;
            self.hygiene(&path, &header);
            if header.kind != EntryKind::File {
                continue;
            }
            let mut hashed = Hashed { inner: &mut reader, hasher: Hasher::new() };
            let is_broken = path.ends_with(".json") && !is_json(&mut hashed);
            hashed.drain()?;
            let Header { size, mode, at, .. } = header;
            let member = Member { size, at: content_at + at, mode, digest: Some(hashed.hasher.finish()) };
            found.broken.extend(is_broken.then(|| path.clone()));
            if found.files.insert(path.clone(), member).is_some() {
                self.problems.add_for("duplicate", &path, format!("is in `{}` twice", SBOMS));
            }
        }
        self.rest_is_empty(SBOMS, reader.into_inner())
    }

    fn component_members(
        &mut self,
        tar: &str,
        content_at: u64,
        content: &mut impl BufRead,
        members: &mut BTreeMap<String, Member>,
    ) -> io::Result<()> {
        let mut reader = TarReader::new(content);
        while let Some(header) = reader.next_entry()? {
            let path = header.path.trim_end_matches('/').to_owned();
            self.hygiene(&path, &header);
            if header.kind != EntryKind::File {
                continue;
            }
            self.keep(path.len() as u64 + ENTRY)?;
            let digest = self.member(&path, header.size, &mut reader)?;
            let Header { size, mode, at, .. } = header;
            if members.insert(path.clone(), Member { size, at: content_at + at, mode, digest }).is_some() {
                self.problems.add_for("duplicate", &path, format!("is in `{tar}` twice"));
            }
        }
        self.rest_is_empty(tar, reader.into_inner())
    }

    /// Looks into a member of a component tar; gives the digest of one that has
    /// a digest elsewhere.
    fn member<R: BufRead>(&mut self, path: &str, size: u64, reader: &mut TarReader<R>) -> io::Result<Option<Digest>> {
        if let Some((folder, part)) = repositories::part_of(path) {
            let room = &mut self.room;
            let repository = self.facts.repositories.entry(folder.to_owned()).or_default();
            repository.read(part, size, reader, &mut |bytes| take(room, bytes))?;
            return Ok(None);
        }
        if !wants_digest(path) {
            return Ok(None);
        }
        let mut hashed = Hashed { inner: reader, hasher: Hasher::new() };
        if charts::is_chart(path) {
            self.facts.charts.insert(path.to_owned(), charts::read(&mut hashed));
        }
        hashed.drain()?;
        Ok(Some(hashed.hasher.finish()))
    }

    fn hygiene(&mut self, path: &str, header: &Header) {
        if let Err(error) = check_path(path) {
            self.problems.add_for("path", path, format!("would not be unpacked: {}", error.message()));
        }
        if !header.ustar {
            self.problems.add_for("tar", path, "has a header that is not USTAR");
        }
        match header.kind {
            EntryKind::File if header.mode & 0o400 == 0 => {
                self.problems.add_for("mode", path, format!("could not be read: mode {:o}", header.mode));
            }
            EntryKind::Directory if header.mode & 0o700 != 0o700 => {
                self.problems.add_for("mode", path, format!("could not be entered: mode {:o}", header.mode));
            }
            EntryKind::Symlink | EntryKind::HardLink | EntryKind::Other(_) => {
                self.problems.add_for("entry-type", path, "is neither a file nor a directory");
            }
            _ => {}
        }
    }

    /// Behind a tar only zeros may follow. Reads to the end.
    fn rest_is_empty(&mut self, place: &str, mut rest: impl BufRead) -> io::Result<()> {
        let mut clean = true;
        loop {
            let chunk = rest.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            clean &= chunk.iter().all(|byte| *byte == 0);
            let length = chunk.len();
            rest.consume(length);
        }
        if !clean {
            self.problems.add("tar", format!("{place} has data behind its end"));
        }
        Ok(())
    }
}

/// Takes some of the memory for what is kept.
fn take(room: &mut u64, bytes: u64) -> io::Result<()> {
    *room = room.checked_sub(bytes).ok_or_else(|| {
        io::Error::other(format!("what describes its content needs more than {} MiB of memory", KEPT / MIB))
    })?;
    Ok(())
}

/// Limit of a file whose text is kept.
fn text_limit(path: &str) -> Option<u64> {
    TEXTS.iter().find(|(name, _)| *name == path).map(|(_, limit)| *limit)
}

/// Charts and files have digests elsewhere that theirs are compared with.
fn wants_digest(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("charts" | "files"))
}

/// However deep it goes, the reader of JSON does not go deeper than 128.
fn is_json(content: impl Read) -> bool {
    let mut content = io::BufReader::new(content);
    serde_json::from_reader::<_, IgnoredAny>(&mut content).is_ok()
}

/// `size` bytes, which are few: grows with what is there, not with the claim.
fn read_all<R: BufRead>(reader: &mut TarReader<R>, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Counts what is consumed.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.read += length as u64;
        self.inner.consume(length);
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        copy_from(self, buffer)
    }
}

/// The content of an entry, hashed as it is consumed.
struct Hashed<'a, R> {
    inner: &'a mut TarReader<R>,
    hasher: Hasher,
}

impl<R: BufRead> Hashed<'_, R> {
    /// Hashes what is left.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }
}

impl<R: BufRead> BufRead for Hashed<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.chunk()
    }

    fn consume(&mut self, length: usize) {
        // The chunk is buffered, so it is there again at no cost.
        if let Ok(chunk) = self.inner.chunk() {
            self.hasher.update(&chunk[..length.min(chunk.len())]);
        }
        self.inner.consume(length);
    }
}

impl<R: BufRead> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        copy_from(self, buffer)
    }
}

fn copy_from(from: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = from.fill_buf()?;
    let length = available.len().min(buffer.len());
    buffer[..length].copy_from_slice(&available[..length]);
    from.consume(length);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_and_depth_overflows_nothing() {
        assert!(is_json(&b"{\"a\": [1, null]}\n"[..]));
        for bytes in [&b"{"[..], b"", b"<html>", &[b'['; 100_000]] {
            assert!(!is_json(bytes));
        }
    }
}
