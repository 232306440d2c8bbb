//! Unpacks archives that came from outside.
//!
//! The format is told from the content, never from the name. Nothing leaves
//! the target: absolute paths, `..`, links out and devices are refused, and so
//! is what would unpack to more than the limits allow: before anything is
//! written where the format tells, while it grows where it does not. Links to
//! files inside the archive become files, and count as such. The work ends soon
//! after its [`Leash`] does.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use super::guard::{Allowance, Guarded, Paced, zip_directory};
use super::reader::{EntryKind, TarReader};
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use base::leash::Leash;
use disk::tree::{Artifact, TreeBuilder};
use disk::{fs, tree};

/// How much an archive may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of all files together.
    pub total: u64,
    /// Number of entries, and of the directories that they need.
    pub entries: u32,
}

/// An archive to be read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// What errors call it: who asked may not know where it lies.
    pub shown: &'a str,
    /// What ends the work early.
    pub leash: &'a Leash,
}

/// Nothing honest shrinks by more than this factor once it is large.
const LARGEST_RATIO: u64 = 1000;
const RATIO_FREE: u64 = 64 * 1024 * 1024;
const BUFFER: usize = 128 * 1024;
/// Bytes that a decoder is asked for between two questions to the leash. What
/// it takes for them decides how late the answer is heard.
const PIECE: usize = 32 * 1024;
/// Memory that an xz archive may ask for.
const XZ_MEMORY_KIB: u32 = 128 * 1024;
/// The window of a zstd archive: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
const SHOWN: usize = 20;
/// The code of every error about a limit, for who has to tell those from the others.
pub const TOO_LARGE: &str = "too-large";

/// More came out of a reader than is allowed, in bytes.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {0} bytes")]
struct TooLarge(u64);

/// Unpacks everything into a tree, and says what it takes there.
///
/// # Errors
/// `invalid-input` for an archive that is damaged, unsafe or too large; what
/// the leash ends with.
pub fn unpack(source: Source<'_>, into: &TreeBuilder, limits: UnpackLimits) -> Result<UnpackLimits> {
    let mut links = Vec::new();
    let mut folders = HashSet::new();
    let mut budget = Budget::new(source, limits);
    let visited = each_member(source, &mut budget, &mut |budget, member, content| {
        if member.kind == EntryKind::Directory {
            // Counted as an entry, and made when something lies in it.
            folders.insert(member.path.clone());
            return Ok(());
        }
        budget.make_room(&mut folders, &member.path)?;
        match member.kind {
            EntryKind::File => {
                let full = prepare(into, &member.path)?;
                let (digest, size) = write_out(source, content, &full)?;
                let executable = member.mode & 0o100 != 0;
                if executable {
                    fs::set_mode(&full, 0o755)?;
                }
                into.record(Artifact { path: member.path.clone(), digest, size, executable });
            }
            EntryKind::Symlink | EntryKind::HardLink => links.push(Link::of(source, member)?),
            _ => {}
        }
        Ok(())
    });
    let unpacked = visited.and_then(|()| links.into_iter().try_for_each(|link| link.resolve(&mut budget, into)));
    ended(source, unpacked)?;
    Ok(UnpackLimits { total: budget.bytes, entries: budget.entries })
}

/// What a reader made of the end of the leash is told as what it was.
fn ended<T>(source: Source<'_>, result: Result<T>) -> Result<T> {
    result.or_else(|error| source.leash.check().and(Err(error)))
}

/// Extracts one file to `into` and gives its digest and size: the member with
/// the path `member` (a leading `./` does not matter), or the one whose last
/// component is `default_name`. A compressed file that is no archive counts as
/// its own only member.
///
/// # Errors
/// `not-found` where no member or more than one fits, with a list of what is
/// there; `invalid-input` for an archive that is damaged, unsafe or unpacks to
/// more than `limit` bytes.
pub fn extract_one(
    source: Source<'_>,
    member: Option<&str>,
    default_name: &str,
    into: &Path,
    limit: u64,
) -> Result<(Digest, u64)> {
    let wanted = member.map(|path| path.trim_start_matches("./").trim_start_matches('/'));
    let mut matches = Vec::new();
    let mut others = Listing::default();
    let mut extracted = None;
    let mut budget = Budget::new(source, UnpackLimits { total: limit, entries: 1_000_000 });
    let visited = each_member(source, &mut budget, &mut |_, found, content| {
        let name = found.path.rsplit('/').next().unwrap_or_default();
        let fits = match wanted {
            Some(path) => found.path == path,
            None => name == default_name || found.lone,
        };
        match (fits, found.kind) {
            (true, EntryKind::File) => {
                matches.push(found.path.clone());
                if extracted.is_none() {
                    extracted = Some(write_out(source, content, into)?);
                }
            }
            (true, EntryKind::Symlink | EntryKind::HardLink) => others.link = Some(found.target.clone()),
            (false, EntryKind::File) => others.add(&found.path),
            _ => {}
        }
        Ok(())
    });
    let result = visited.and_then(|()| match (extracted, matches.len()) {
        (Some(extracted), 1) => Ok(extracted),
        (_, 0) => Err(others.missing(source, wanted, default_name)),
        _ => Err(ambiguous(source, default_name, &matches)),
    });
    if result.is_err() {
        fs::remove_file(into)?;
    }
    ended(source, result)
}

/// What the archive holds besides what was looked for.
#[derive(Default)]
struct Listing {
    shown: Vec<String>,
    more: usize,
    /// Where the member points that fits by name but is a link.
    link: Option<String>,
}

impl Listing {
    fn add(&mut self, path: &str) {
        if self.shown.len() < SHOWN {
            self.shown.push(path.to_owned());
        } else {
            self.more += 1;
        }
    }

    fn missing(&self, source: Source<'_>, wanted: Option<&str>, default_name: &str) -> Error {
        let what = match wanted {
            Some(path) => format!("no file `{path}`"),
            None => format!("no file named `{default_name}`"),
        };
        let message = match &self.link {
            Some(target) => format!("the archive `{}` holds {what} but a link to `{target}`", source.shown),
            None => format!("the archive `{}` holds {what}", source.shown),
        };
        let mut hint = format!("set `binary` to one of: {}", self.shown.join(", "));
        if self.more > 0 {
            hint.push_str(&format!(" and {} more", self.more));
        }
        let hint = if self.shown.is_empty() { "the archive holds no files".to_owned() } else { hint };
        Error::new(Class::NotFound, message).hint(hint)
    }
}

fn ambiguous(source: Source<'_>, name: &str, matches: &[String]) -> Error {
    let shown = matches.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let message = format!("the archive `{}` holds {} files that fit `{name}`", source.shown, matches.len());
    Error::new(Class::NotFound, message).hint(format!("set `binary` to one of: {shown}"))
}

/// An entry of whatever archive, with a safe path.
struct Member {
    path: String,
    kind: EntryKind,
    target: String,
    mode: u32,
    /// The archive is just this compressed file.
    lone: bool,
}

type Visit<'a> = &'a mut dyn FnMut(&mut Budget<'_>, &Member, &mut dyn Read) -> Result<()>;

fn each_member(source: Source<'_>, budget: &mut Budget<'_>, visit: Visit<'_>) -> Result<()> {
    let failed = |error| unreadable(source, error);
    let mut file = File::open(source.path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut start = [0; 512];
    let read = read_start(&mut file, &mut start).map_err(failed)?;
    let start = &start[..read];
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return each_zip_member(source, file, budget, visit);
    }
    let UnpackLimits { total, entries } = budget.limits;
    let allowed = total.saturating_add(u64::from(entries) * 2048).saturating_add(BUFFER as u64);
    let allowed = allowed.min(RATIO_FREE + length.saturating_mul(LARGEST_RATIO));
    let (decoder, compressed) = decoder(source, file, start)?;
    let mut stream = BufReader::with_capacity(BUFFER, Bounded::new(decoder, allowed, source));
    let begin = stream.fill_buf().map_err(|error| damaged(source, error))?;
    if looks_like_tar(begin) {
        return each_tar_member(source, stream, budget, visit);
    }
    if !compressed {
        return Err(Error::invalid(format!("`{}` is not an archive", source.shown))
            .hint("tar (plain or with gzip, zstd or xz) and zip are understood"));
    }
    let name = source.shown.rsplit('/').next().unwrap_or("file").to_owned();
    let member = Member { path: name, kind: EntryKind::File, target: String::new(), mode: 0o755, lone: true };
    budget.spend(0)?;
    visit(budget, &member, &mut Bounded::new(stream, total, source))
}

/// The archive itself: not what is in it.
fn unreadable(source: Source<'_>, error: io::Error) -> Error {
    Error::local(format!("the archive `{}` can not be read", source.shown)).caused_by(error)
}

/// The content of the file, decompressed, and whether it was compressed.
fn decoder<'a>(source: Source<'a>, file: File, start: &[u8]) -> Result<(Box<dyn Read + 'a>, bool)> {
    // Below the decoder as well: one that gives nothing asks for more without
    // coming back.
    let file = Paced::new(BufReader::with_capacity(BUFFER, file), source.leash);
    let decoder: Box<dyn Read + 'a> = if start.starts_with(b"\x1f\x8b") {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(|error| damaged(source, error))?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| damaged(source, error))?;
        Box::new(decoder)
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB))
    } else {
        return Ok((Box::new(file), false));
    };
    Ok((decoder, true))
}

/// The first bytes; the file is at its beginning again.
fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < start.len() {
        match file.read(&mut start[length..])? {
            0 => break,
            read => length += read,
        }
    }
    file.rewind()?;
    Ok(length)
}

/// By the magic, or by a checksum that fits.
fn looks_like_tar(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<512>() else { return false };
    block[257..262] == *b"ustar" || TarReader::new(block.as_slice()).next_entry().is_ok_and(|entry| entry.is_some())
}

fn each_tar_member(source: Source<'_>, stream: impl BufRead, budget: &mut Budget<'_>, visit: Visit<'_>) -> Result<()> {
    let mut reader = TarReader::new(stream);
    while let Some(header) = reader.next_entry().map_err(|error| damaged(source, error))? {
        budget.spend(header.size)?;
        let kind = match header.kind {
            EntryKind::Other(flag) => {
                return Err(unsafe_archive(
                    source,
                    &header.path,
                    &format!("is a device, a pipe or a sparse file (type `{}`)", flag.escape_ascii()),
                ));
            }
            kind => kind,
        };
        let Some(path) = safe_path(source, &header.path)? else { continue };
        let member = Member { path, kind, target: header.target, mode: header.mode, lone: false };
        visit(budget, &member, &mut reader)?;
    }
    Ok(())
}

/// What lists the entries of a zip, besides what it says of its own size.
const ZIP_END: u64 = 2 << 20;

fn each_zip_member(source: Source<'_>, mut file: File, budget: &mut Budget<'_>, visit: Visit<'_>) -> Result<()> {
    let bad = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => damaged(source, error),
        error => damaged(source, io::Error::other(error)),
    };
    // The library reads the whole list before anybody could count it.
    let directory = zip_directory(&mut file).map_err(|error| damaged(source, error))?;
    budget.foresee(directory.entries, None)?;
    let allowance = Allowance::of(directory.bytes.saturating_add(ZIP_END));
    let file = BufReader::with_capacity(BUFFER, file);
    let mut archive = zip::ZipArchive::new(Guarded::new(file, source.leash, allowance.clone())).map_err(bad)?;
    allowance.lift();
    let entries = u64::try_from(archive.len()).unwrap_or(u64::MAX);
    budget.foresee(entries, archive.decompressed_size())?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(bad)?;
        let claimed = entry.size();
        budget.spend(claimed)?;
        let name = entry.name().map_err(bad)?.into_owned();
        let Some(path) = safe_path(source, &name)? else { continue };
        let mode = entry.unix_mode().unwrap_or(0o644);
        let kind = match mode & 0o170_000 {
            _ if entry.is_dir() || name.ends_with(SEPARATORS) => EntryKind::Directory,
            0o120_000 => EntryKind::Symlink,
            _ => EntryKind::File,
        };
        let mut target = String::new();
        if kind == EntryKind::Symlink {
            entry.by_ref().take(4096).read_to_string(&mut target).map_err(|error| damaged(source, error))?;
        }
        let member = Member { path, kind, target, mode: mode & 0o777, lone: false };
        // A header that understates the size must not unpack to more.
        visit(budget, &member, &mut Bounded::new(&mut entry, claimed, source))?;
    }
    Ok(())
}

/// What was unpacked, against what may be.
struct Budget<'a> {
    source: Source<'a>,
    limits: UnpackLimits,
    entries: u32,
    bytes: u64,
}

impl<'a> Budget<'a> {
    fn new(source: Source<'a>, limits: UnpackLimits) -> Self {
        Self { source, limits, entries: 0, bytes: 0 }
    }

    /// Refuses before the work what an archive says of itself.
    fn foresee(&self, entries: u64, bytes: Option<u128>) -> Result<()> {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        let bytes = bytes.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
        if entries <= self.limits.entries && bytes <= self.limits.total { Ok(()) } else { Err(self.exceeded()) }
    }

    /// One entry more, of `size` bytes.
    fn spend(&mut self, size: u64) -> Result<()> {
        self.source.leash.check()?;
        self.take(1, size)
    }

    fn take(&mut self, entries: u32, size: u64) -> Result<()> {
        self.entries = self.entries.saturating_add(entries);
        self.bytes = self.bytes.saturating_add(size);
        let UnpackLimits { total, entries } = self.limits;
        if self.entries <= entries && self.bytes <= total { Ok(()) } else { Err(self.exceeded()) }
    }

    /// The directories above `path`, each counted once.
    fn make_room(&mut self, folders: &mut HashSet<String>, path: &str) -> Result<()> {
        if path.split('/').count() > tree::DEPTH {
            let why = format!("is nested more than {} deep", tree::DEPTH);
            return Err(unsafe_archive(self.source, path, &why));
        }
        for (at, _) in path.rmatch_indices('/') {
            if !folders.insert(path[..at].to_owned()) {
                break;
            }
            self.take(1, 0)?;
        }
        Ok(())
    }

    fn exceeded(&self) -> Error {
        let UnpackLimits { total, entries } = self.limits;
        Error::invalid(format!(
            "the archive `{}` unpacks to more than {total} bytes or {entries} entries",
            self.source.shown
        ))
        .with_code(TOO_LARGE)
        .hint("raise `security.largest_unpacked_gib` in settings.yaml if the archive is what you expect")
    }
}

/// Fails when more comes out than is allowed, whatever headers say, and when
/// the leash ends.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    allowed: u64,
    leash: &'a Leash,
}

impl<'a, R> Bounded<'a, R> {
    fn new(inner: R, allowed: u64, source: Source<'a>) -> Self {
        Self { inner, left: allowed, allowed, leash: source.leash }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.leash.check().map_err(io::Error::other)?;
        let most = buffer.len().min(PIECE);
        let read = self.inner.read(&mut buffer[..most])?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(TooLarge(self.allowed))),
        }
        Ok(read)
    }
}

/// Between the parts of a path: what Windows writes there no other part has.
const SEPARATORS: [char; 2] = ['/', '\\'];

/// The path without `./` and a slash at the end; None for the root itself.
fn safe_path(source: Source<'_>, path: &str) -> Result<Option<String>> {
    let mut components = Vec::new();
    let drive = path.split(SEPARATORS).next().unwrap_or_default();
    if path.starts_with(SEPARATORS) || (path.contains('\\') && drive.ends_with(':')) {
        return Err(unsafe_archive(source, path, "is absolute"));
    }
    for component in path.split(SEPARATORS) {
        match component {
            "" | "." => {}
            ".." => return Err(unsafe_archive(source, path, "leads out of the archive")),
            other if other.len() > 255 || other.chars().any(char::is_control) => {
                return Err(unsafe_archive(source, path, "holds a control character or a long name"));
            }
            other => components.push(other),
        }
    }
    if path.len() > 4096 {
        return Err(unsafe_archive(source, path, "is longer than 4096 bytes"));
    }
    Ok((!components.is_empty()).then(|| components.join("/")))
}

/// A link whose target is a path of the archive.
struct Link {
    path: String,
    target: String,
}

impl Link {
    fn of(source: Source<'_>, member: &Member) -> Result<Self> {
        let out = || unsafe_archive(source, &member.path, &format!("links to `{}`, out of the archive", member.target));
        if member.target.starts_with(SEPARATORS) {
            return Err(out());
        }
        let mut components: Vec<&str> = match member.kind {
            EntryKind::Symlink => member.path.split('/').collect(),
            _ => Vec::new(),
        };
        components.pop();
        for component in member.target.split(SEPARATORS) {
            match component {
                "" | "." => {}
                ".." => drop(components.pop().ok_or_else(out)?),
                other => components.push(other),
            }
        }
        Ok(Self { path: member.path.clone(), target: components.join("/") })
    }

    /// Becomes a second name of the file it points to. Its bytes count: where
    /// a file can have no more names it becomes a copy.
    fn resolve(self, budget: &mut Budget<'_>, into: &TreeBuilder) -> Result<()> {
        let source = budget.source;
        let Some(artifact) = into.get(&self.target) else {
            return Err(unsafe_archive(
                source,
                &self.path,
                &format!("links to `{}`, which is no file in it", self.target),
            ));
        };
        source.leash.check()?;
        budget.take(0, artifact.size)?;
        let full = prepare(into, &self.path)?;
        fs::remove_file(&full)?;
        let stop = || source.leash.check().is_err();
        fs::link_or_copy_unless(&stop, &into.root().join(&self.target), &full)?;
        into.record(Artifact { path: self.path, ..artifact });
        Ok(())
    }
}

/// Where a member goes. Its path is safe; that Zarf would refuse it as part of
/// a package does not matter here.
fn prepare(into: &TreeBuilder, path: &str) -> Result<std::path::PathBuf> {
    let full = into.root().join(path);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(full)
}

fn write_out(source: Source<'_>, content: &mut dyn Read, to: &Path) -> Result<(Digest, u64)> {
    let mut file = fs::create(to)?;
    let mut behind = fs::Behind::default();
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = content.read(&mut buffer).map_err(|error| damaged(source, error))?;
        if read == 0 {
            fs::sync(&file, to)?;
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..read]);
        behind.write_all(&mut file, to, &buffer[..read])?;
        size += read as u64;
    }
}

fn damaged(source: Source<'_>, error: io::Error) -> Error {
    let is_too_large = error.get_ref().is_some_and(|inner| inner.is::<TooLarge>());
    let told = Error::invalid(format!("the archive `{}` cannot be read", source.shown));
    let told = if is_too_large { told.with_code(TOO_LARGE) } else { told };
    told.caused_by(error).hint("it is damaged, or built to do harm; check where it came from")
}

fn unsafe_archive(source: Source<'_>, path: &str, why: &str) -> Error {
    let shown: String = path.chars().take(200).flat_map(char::escape_default).collect();
    Error::invalid(format!("unsafe archive `{}`: its entry `{shown}` {why}", source.shown))
        .hint("nothing of it was used; check where it came from")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header
    }

    /// A tar whose paths and links are taken as they are.
    fn tar_of(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            let mut header = header(*kind, if link { 0 } else { content.len() as u64 }, 0o755);
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            if link {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, if link { b"" } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;
    const HARD: tar::EntryType = tar::EntryType::Link;

    struct Scratch {
        directory: tempfile::TempDir,
    }

    impl Scratch {
        fn with(bytes: &[u8]) -> Self {
            let place = Self { directory: tempfile::tempdir().unwrap() };
            fs::write_new(&place.source(), bytes).unwrap();
            place
        }
        fn source(&self) -> std::path::PathBuf {
            self.directory.path().join("archive")
        }
        fn out(&self) -> std::path::PathBuf {
            self.directory.path().join("out")
        }
        fn unpack(&self) -> Result<TreeBuilder> {
            self.unpack_within(&Leash::endless())
        }
        fn unpack_within(&self, leash: &Leash) -> Result<TreeBuilder> {
            let tree = TreeBuilder::new(self.out());
            let path = self.source();
            let source = Source { path: &path, shown: "made/archive", leash };
            unpack(source, &tree, UnpackLimits { total: 1_000_000, entries: 100 })?;
            Ok(tree)
        }
        fn one(&self, member: Option<&str>) -> Result<Vec<u8>> {
            let path = self.source();
            let source = Source { path: &path, shown: "made/archive", leash: &Leash::endless() };
            extract_one(source, member, "tool", &self.out(), 1_000_000)?;
            Ok(std::fs::read(self.out()).unwrap())
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (path, content) in entries {
            writer.start_file(*path, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn every_format_is_told_from_its_content() {
        let tar = tar_of(&[("./d/tool", FILE, "binary"), ("LICENSE", FILE, "text")]);
        let all = [
            tar.clone(),
            gzip(&tar),
            xz(&tar),
            zstd::encode_all(tar.as_slice(), 1).unwrap(),
            zip_of(&[("d/tool", "binary"), ("LICENSE", "text")]),
        ];
        for bytes in all {
            let place = Scratch::with(&bytes);
            assert_eq!(place.one(None).unwrap(), b"binary");
            assert_eq!(place.one(Some("d/tool")).unwrap(), b"binary");
            assert_eq!(place.one(Some("./d/tool")).unwrap(), b"binary");
            fs::remove_file(&place.out()).unwrap();
            let tree = place.unpack().unwrap();
            let tool = tree.get("d/tool").unwrap();
            assert_eq!((tool.digest, tool.size, tool.executable), (Digest::of(b"binary"), 6, true));
        }
    }

    #[test]
    fn a_compressed_file_is_its_own_member() {
        let place = Scratch::with(&gzip(b"just a binary"));
        assert_eq!(place.one(None).unwrap(), b"just a binary");
        fs::remove_file(&place.out()).unwrap();
        assert!(place.unpack().unwrap().get("archive").is_some());
        assert!(Scratch::with(b"neither").one(None).is_err());
    }

    #[test]
    fn what_leads_out_is_refused() {
        let cases: [&[(&str, tar::EntryType, &str)]; 12] = [
            &[("..\\x", FILE, "")],
            &[("a\\..\\..\\x", FILE, "")],
            &[("C:\\x", FILE, "")],
            &[("a\\l", LINK, "..\\..\\x")],
            &[("../x", FILE, "")],
            &[("/etc/x", FILE, "")],
            &[("a/../../x", FILE, "")],
            &[("l", LINK, "/etc/passwd")],
            &[("l", LINK, "../x")],
            &[("a/l", HARD, "../x")],
            &[("a/l", LINK, "missing")],
            &[("d", tar::EntryType::Char, "")],
        ];
        for entries in cases {
            let error = Scratch::with(&tar_of(entries)).unpack().unwrap_err();
            assert_eq!(error.class(), Class::InvalidInput, "{entries:?}");
            assert!(error.message().contains("unsafe archive"), "{}", error.message());
        }
        assert!(Scratch::with(&zip_of(&[("../x", "")])).unpack().is_err());
        assert!(Scratch::with(&zip_of(&[("\\x", "")])).unpack().is_err());
    }

    /// unzip and Helm read them so.
    #[test]
    fn archives_of_windows_have_folders() {
        let tar = tar_of(&[("d\\l", LINK, "bin\\tool"), ("d\\bin\\tool", FILE, "binary")]);
        for bytes in [gzip(&tar), zip_of(&[("d\\", ""), ("d\\bin\\tool", "binary"), ("d\\l", "binary")])] {
            let place = Scratch::with(&bytes);
            assert_eq!(place.one(Some("d/bin/tool")).unwrap(), b"binary");
            fs::remove_file(&place.out()).unwrap();
            let tree = place.unpack().unwrap();
            assert_eq!(tree.get("d/l").unwrap().digest, Digest::of(b"binary"));
        }
    }

    #[test]
    fn links_inside_become_files() {
        let tar = tar_of(&[("d/l", LINK, "../tool"), ("h", HARD, "tool"), ("tool", FILE, "binary")]);
        let tree = Scratch::with(&tar).unpack().unwrap();
        for path in ["d/l", "h"] {
            assert_eq!(tree.get(path).unwrap().digest, Digest::of(b"binary"));
        }
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = "0".repeat(900_000);
        let many = tar_of(&[("a", FILE, &zeros), ("b", FILE, &zeros)]);
        assert!(Scratch::with(&gzip(&many)).unpack().unwrap_err().message().contains("unpacks to more"));
        let lone = Scratch::with(&gzip(&vec![0; 2_000_000]));
        assert!(lone.one(None).is_err());
        assert!(!lone.out().exists(), "nothing is left behind");
        let files: Vec<String> = (0..101).map(|index| index.to_string()).collect();
        let files: Vec<_> = files.iter().map(|path| (path.as_str(), FILE, "")).collect();
        assert!(Scratch::with(&tar_of(&files)).unpack().is_err());
    }

    #[test]
    fn what_a_zip_says_of_itself_is_believed_before_anything_is_written() {
        let names: Vec<String> = (0..101).map(|index| index.to_string()).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let many = Scratch::with(&zip_of(&entries));
        assert!(many.unpack().unwrap_err().code() == Some(TOO_LARGE));
        assert!(!many.out().exists());
        let zeros = "0".repeat(600_000);
        let large = Scratch::with(&zip_of(&[("a", &zeros), ("b", &zeros)]));
        assert!(large.unpack().is_err() && !large.out().exists());
    }

    /// Inodes are taken by directories and links as well.
    #[test]
    fn directories_and_links_count() {
        let deep = |name: &str| format!("{name}/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/f");
        let paths = ["a", "b", "c", "d"].map(deep);
        let of = |count: usize| -> Vec<_> { paths.iter().take(count).map(|path| (path.as_str(), FILE, "")).collect() };
        Scratch::with(&tar_of(&of(4))).unpack().unwrap();
        let names: Vec<String> = (0..20).map(|index| index.to_string()).collect();
        let more = of(4).into_iter().chain(names.iter().map(|name| (name.as_str(), FILE, "")));
        let error = Scratch::with(&tar_of(&more.collect::<Vec<_>>())).unpack().unwrap_err();
        assert!(error.message().contains("1000000 bytes or 100 entries"), "{error}");

        let zeros = "0".repeat(300_000);
        let linked = [("a", FILE, zeros.as_str()), ("b", HARD, "a"), ("c", LINK, "a"), ("d", HARD, "a")];
        Scratch::with(&tar_of(&linked[..3])).unpack().unwrap();
        assert!(Scratch::with(&tar_of(&linked)).unpack().unwrap_err().code() == Some(TOO_LARGE));
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let path = |depth: usize| vec!["d"; depth].join("/");
        Scratch::with(&zip_of(&[(&path(tree::DEPTH), "")])).unpack().unwrap();
        let error = Scratch::with(&zip_of(&[(&path(tree::DEPTH + 1), "")])).unpack().unwrap_err();
        assert!(error.message().contains("nested more than 64 deep"), "{error}");
    }

    #[test]
    fn errors_name_the_archive_as_it_was_asked_for() {
        let tar = tar_of(&[("../x", FILE, "")]);
        let damaged = gzip(&tar)[..60].to_vec();
        for bytes in [tar, damaged, b"neither".to_vec(), zip_of(&[("../x", "")])] {
            let place = Scratch::with(&bytes);
            let error = place.unpack().unwrap_err();
            assert!(error.message().contains("`made/archive`"), "{error}");
            let host = place.directory.path().to_string_lossy().into_owned();
            assert!(!error.one_line().contains(&host), "{}", error.one_line());
        }
    }

    #[test]
    fn a_leash_ends_the_work_with_what_it_says() {
        let leash = Leash::endless().until(std::time::Instant::now(), Error::new(Class::Plugin, "enough"));
        for bytes in [tar_of(&[("a", FILE, "")]), gzip(&tar_of(&[("a", FILE, "")])), zip_of(&[("a", "")]), gzip(b"a")] {
            let error = Scratch::with(&bytes).unpack_within(&leash).unwrap_err();
            assert_eq!((error.class(), error.message()), (Class::Plugin, "enough"));
        }
    }

    #[test]
    fn a_missing_or_ambiguous_member_lists_what_is_there() {
        let place = Scratch::with(&tar_of(&[("a/tool", FILE, "1"), ("b/tool", FILE, "2"), ("c", FILE, "")]));
        let error = place.one(None).unwrap_err();
        assert_eq!(error.hint_text().unwrap(), "set `binary` to one of: a/tool, b/tool");
        let error = place.one(Some("x/tool")).unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert_eq!(error.hint_text().unwrap(), "set `binary` to one of: a/tool, b/tool, c");
        assert!(!place.out().exists());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let tar = tar_of(&[("d/tool", FILE, "binary"), ("LICENSE", FILE, "text")]);
        for bytes in [gzip(&tar), xz(&tar), zip_of(&[("d/tool", "binary")]), zstd::encode_all(&*tar, 1).unwrap()] {
            for at in (0..bytes.len()).step_by(3) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x55;
                let _ = Scratch::with(&damaged).one(None);
                if at % 7 == 0 {
                    let _ = Scratch::with(&bytes[..at]).one(None);
                }
            }
        }
    }
}
