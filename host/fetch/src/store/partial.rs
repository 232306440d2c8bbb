//! An unfinished download: its bytes, and a journal that says how many of them
//! are durable and what their hash is so far.
//!
//! `partial/<key>/data` grows with [`Partial::write`]. Every [`SYNC_BYTES`] or
//! [`SYNC_TIME`] the data is synced, and then a line with the length and the
//! state of the SHA-256 is appended to `journal` and synced too. Opening it
//! again in the process that wrote it cuts the data back to that length and goes
//! on with that hash: nothing is read again. Another process reads what is there
//! once and goes on behind the last line whose hash the bytes still have: what
//! rotted meanwhile never becomes part of a blob. A line carries a checksum of
//! itself; a damaged last line costs one interval.
//!
//! What is downloaded by digest is checked against it at the end, whatever the
//! journal said. What is downloaded by URL is only ever continued when the
//! journal holds a validator that the server can compare.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Store;
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use disk::fs;

/// At most this many bytes are lost to a crash, per download.
pub(crate) const SYNC_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes older than this are synced, so no more work than that is lost.
pub(crate) const SYNC_TIME: Duration = Duration::from_secs(2);
/// A journal is rewritten when it grows beyond this.
const LONGEST_JOURNAL: u64 = 64 * 1024;
const FORMAT: u32 = 1;
/// Bytes read at once where a file has to be hashed again.
const READ_CHUNK: usize = 256 * 1024;

/// What is being downloaded: the key of its journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// A digest, or a URL.
    pub source: String,
    /// Bytes of the whole, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// An ETag or a Last-Modified date: what a server compares before it
    /// sends the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
}

impl Identity {
    /// Something known by its digest: its bytes are checked, whoever sent
    /// them.
    pub fn blob(digest: Digest, size: Option<u64>) -> Self {
        Self { source: digest.to_string(), size, validator: None }
    }

    /// Something known by where it comes from.
    pub fn url(url: &str) -> Self {
        Self { source: url.to_owned(), size: None, validator: None }
    }

    fn is_blob(&self) -> bool {
        self.source.starts_with("sha256:")
    }

    /// Whether bytes that lie there under `other` may be continued.
    fn continues(&self, other: &Self) -> bool {
        let sizes = self.size.is_none() || other.size.is_none() || self.size == other.size;
        self.source == other.source && sizes && (self.is_blob() || other.validator.is_some())
    }
}

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// Each other line.
#[derive(Debug, Serialize, Deserialize)]
struct Synced {
    /// Bytes that are durable.
    synced: u64,
    /// Of the SHA-256 over exactly those bytes, base64.
    midstate: String,
}

impl Synced {
    /// The hash over the bytes up to this line.
    fn hasher(&self) -> Option<Hasher> {
        Hasher::resume(&STANDARD.decode(&self.midstate).ok()?)
    }
}

/// An open unfinished download. Every method blocks.
#[derive(Debug)]
pub struct Partial {
    directory: PathBuf,
    identity: Identity,
    data: File,
    journal: Option<File>,
    journal_bytes: u64,
    hasher: Hashing,
    written: u64,
    synced: u64,
    synced_at: Instant,
}

/// The hash over everything written, without a useless Debug output.
struct Hashing(Hasher);

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Partial {
    /// `is_own` where this process opened it before: then the journal is
    /// believed.
    pub(super) fn open(directory: PathBuf, identity: Identity, is_own: bool, stop: &dyn Fn() -> bool) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let recorded = Recorded::read(&journal_path(&directory))?;
        let data = fs::open_rw(&data_path(&directory))?;
        let mut partial = Self {
            directory,
            identity,
            data,
            journal: None,
            journal_bytes: 0,
            hasher: Hashing(Hasher::new()),
            written: 0,
            synced: 0,
            synced_at: Instant::now(),
        };
        if partial.may_continue(&recorded) {
            partial.take_up(recorded, is_own, stop)?;
        } else {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Bytes that are there; the next ones go behind them.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What is downloaded, and what the server said of it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the server says the content is; remembered with the next sync.
    pub fn describe(&mut self, size: Option<u64>, validator: Option<String>) -> Result<()> {
        if self.identity.size == size && self.identity.validator == validator {
            return Ok(());
        }
        self.identity.size = size;
        self.identity.validator = validator;
        self.forget_journal()
    }

    /// Appends, hashes, and syncs where it is time.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.written - self.synced + bytes.len() as u64 > SYNC_BYTES {
            self.checkpoint()?;
        }
        fs::write_all(&mut self.data, &data_path(&self.directory), bytes)?;
        self.hasher.0.update(bytes);
        self.written += bytes.len() as u64;
        if self.written - self.synced >= SYNC_BYTES || self.synced_at.elapsed() >= SYNC_TIME {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes everything written so far survive a crash.
    pub fn checkpoint(&mut self) -> Result<()> {
        if self.synced == self.written {
            return Ok(());
        }
        fs::sync(&self.data, &data_path(&self.directory))?;
        let line = Synced { synced: self.written, midstate: STANDARD.encode(self.hasher.0.midstate()) };
        fs::checkpoint("partial-synced");
        self.record(&line)?;
        fs::checkpoint("partial-journal-written");
        self.synced = self.written;
        self.synced_at = Instant::now();
        Ok(())
    }

    /// Throws the bytes away and begins at zero.
    pub fn restart(&mut self) -> Result<()> {
        self.forget_journal()?;
        self.cut(0)?;
        self.hasher.0 = Hasher::new();
        self.written = 0;
        self.synced = 0;
        self.synced_at = Instant::now();
        Ok(())
    }

    /// The digest of what was written.
    pub fn digest(&self) -> Digest {
        self.hasher.0.clone().finish()
    }

    /// Turns the bytes into the blob of their digest, durable when this
    /// returns. The caller has compared the digest.
    pub fn commit(self, store: &Store) -> Result<(Digest, u64)> {
        let digest = self.digest();
        fs::sync(&self.data, &data_path(&self.directory))?;
        store.publish(&data_path(&self.directory), &digest)?;
        fs::remove_dir_all(&self.directory)?;
        Ok((digest, self.written))
    }

    /// Removes the bytes and the journal.
    pub fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.directory)
    }

    /// Bytes without a journal are those of a first interval, written since the
    /// machine started: they can be hashed again where the end is checked
    /// against a digest.
    fn may_continue(&self, recorded: &Recorded) -> bool {
        match &recorded.identity {
            Some(identity) => self.identity.continues(identity),
            None => self.identity.is_blob(),
        }
    }

    fn take_up(&mut self, recorded: Recorded, is_own: bool, stop: &dyn Fn() -> bool) -> Result<()> {
        let path = data_path(&self.directory);
        let there = self.data.metadata().map_err(|source| Error::io("cannot read", &path, source))?.len();
        let known = recorded.identity.is_some();
        if let Some(identity) = recorded.identity {
            self.identity.validator = identity.validator;
            self.identity.size = self.identity.size.or(identity.size);
        }
        let mut lines = recorded.synced;
        lines.retain(|line| line.synced <= there);
        let last = lines.last();
        let length = last.map_or(there, |line| line.synced);
        if self.identity.size.is_some_and(|size| length > size) {
            return self.restart();
        }
        let believed = last.filter(|_| is_own).and_then(Synced::hasher);
        let (length, hasher) = match believed {
            Some(hasher) => (length, hasher),
            None => self.proven(&lines, length, stop)?,
        };
        if length == 0 && !self.identity.is_blob() {
            return self.restart();
        }
        self.cut(length)?;
        self.hasher.0 = hasher;
        self.written = length;
        self.synced = if last.is_some() { length } else { 0 };
        self.journal_bytes = recorded.bytes;
        // Behind a damaged line nothing would be read, and lines beyond what is
        // there would be believed once it has grown: the next sync writes the
        // journal anew.
        if known && recorded.is_whole && lines.last().is_some_and(|line| line.synced == length) {
            self.journal = Some(fs::append(&journal_path(&self.directory))?);
        }
        Ok(())
    }

    /// How far the bytes are what was written, by the lines of the journal, and
    /// the hash up to there. A line without a hash proves nothing: what is
    /// downloaded by digest is compared at the end all the same.
    fn proven(&mut self, lines: &[Synced], length: u64, stop: &dyn Fn() -> bool) -> Result<(u64, Hasher)> {
        let path = data_path(&self.directory);
        self.data.seek(SeekFrom::Start(0)).map_err(|source| Error::io("cannot read", &path, source))?;
        let mut proven = (0, Hasher::new());
        let (mut at, mut hasher) = (0, Hasher::new());
        for line in lines {
            self.hash_on(&mut hasher, line.synced.saturating_sub(at), stop)?;
            at = at.max(line.synced);
            let found = hasher.clone().finish();
            match line.hasher().map(Hasher::finish) {
                Some(recorded) if recorded != found => return Ok(proven),
                None if !self.identity.is_blob() => {}
                _ => proven = (at, hasher.clone()),
            }
        }
        if lines.is_empty() && self.identity.is_blob() {
            self.hash_on(&mut hasher, length, stop)?;
            proven = (length, hasher);
        }
        Ok(proven)
    }

    /// Reads the next `length` bytes into the hash.
    fn hash_on(&mut self, hasher: &mut Hasher, length: u64, stop: &dyn Fn() -> bool) -> Result<()> {
        let path = data_path(&self.directory);
        let failed = |source| Error::io("cannot read", &path, source);
        let mut buffer = vec![0; READ_CHUNK];
        let mut left = length;
        while left > 0 {
            if stop() {
                return Err(Error::interrupted());
            }
            let want = usize::try_from(left).unwrap_or(READ_CHUNK).min(READ_CHUNK);
            let read = self.data.read(&mut buffer[..want]).map_err(failed)?;
            if read == 0 {
                return Err(Error::transient(format!("`{}` became shorter while it was read", path.display())));
            }
            hasher.update(&buffer[..read]);
            left -= read as u64;
        }
        Ok(())
    }

    fn record(&mut self, line: &Synced) -> Result<()> {
        let path = journal_path(&self.directory);
        let text = checked_line(line);
        if self.journal.is_none() || self.journal_bytes > LONGEST_JOURNAL {
            let header = Header { format: FORMAT, identity: self.identity.clone() };
            let whole = format!("{}{text}", checked_line(&header));
            let first = self.journal.is_none();
            fs::write_atomic(&path, whole.as_bytes())?;
            if first {
                fs::sync_parent(&self.directory)?;
            }
            self.journal = Some(fs::append(&path)?);
            self.journal_bytes = whole.len() as u64;
            return Ok(());
        }
        if let Some(journal) = &mut self.journal {
            fs::write_all(journal, &path, text.as_bytes())?;
            fs::sync(journal, &path)?;
            self.journal_bytes += text.len() as u64;
        }
        Ok(())
    }

    fn forget_journal(&mut self) -> Result<()> {
        self.journal = None;
        self.journal_bytes = 0;
        self.synced = 0;
        fs::remove_file(&journal_path(&self.directory))
    }

    fn cut(&mut self, length: u64) -> Result<()> {
        let path = data_path(&self.directory);
        fs::truncate(&self.data, &path, length)?;
        self.data.seek(SeekFrom::Start(length)).map_err(|source| Error::io("cannot read", &path, source))?;
        Ok(())
    }
}

/// What a journal says.
#[derive(Debug, Default)]
struct Recorded {
    identity: Option<Identity>,
    synced: Vec<Synced>,
    bytes: u64,
    /// Whether every byte of it could be read.
    is_whole: bool,
}

impl Recorded {
    fn read(path: &Path) -> Result<Self> {
        // Twice the limit: the last line before a rewrite goes beyond it.
        let Some(bytes) = fs::read_optional(path, 2 * LONGEST_JOURNAL).or_else(ignore_invalid)? else {
            return Ok(Self::default());
        };
        Ok(Self::parse(&bytes))
    }

    /// Takes the lines up to the first damaged one.
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut read = 0;
        let mut lines = text.split_inclusive('\n').map_while(unchecked).inspect(|line| read += line.len() + LINE_EXTRA);
        let header = lines.next().and_then(|line| serde_json::from_str::<Header>(line).ok());
        let Some(header) = header.filter(|header| header.format == FORMAT) else { return Self::default() };
        let synced = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
        let is_whole = read == bytes.len();
        Self { identity: Some(header.identity), synced, bytes: bytes.len() as u64, is_whole }
    }
}

/// A journal that is no journal counts as none.
fn ignore_invalid(error: Error) -> Result<Option<Vec<u8>>> {
    if error.class() == base::error::Class::InvalidInput { Ok(None) } else { Err(error) }
}

/// A line with its own checksum in front.
fn checked_line(content: &impl Serialize) -> String {
    let json = serde_json::to_string(content).unwrap_or_default();
    format!("{} {json}\n", &Digest::of(json.as_bytes()).hex()[..16])
}

/// What a line has beyond its content: the checksum, a space, the end.
const LINE_EXTRA: usize = 16 + 1 + 1;

/// The content of a whole and undamaged line.
fn unchecked(line: &str) -> Option<&str> {
    let (checksum, json) = line.strip_suffix('\n')?.split_once(' ')?;
    (Digest::of(json.as_bytes()).hex().get(..16)? == checksum).then_some(json)
}

fn data_path(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn journal_path(directory: &Path) -> PathBuf {
    directory.join("journal")
}

/// Whether the journal in `directory` says of any byte that it is durable.
pub(super) fn is_recorded(directory: &Path) -> Result<bool> {
    Ok(!Recorded::read(&journal_path(directory))?.synced.is_empty())
}

/// Whether the bytes of a download have become a blob and a kill left the rest.
pub(super) fn is_taken(directory: &Path) -> bool {
    directory.is_dir() && !data_path(directory).exists()
}

/// Bytes that an interrupted download left in `directory`.
pub(super) fn bytes(directory: &Path) -> u64 {
    let there = std::fs::metadata(data_path(directory)).map_or(0, |metadata| metadata.len());
    let recorded = Recorded::read(&journal_path(directory)).unwrap_or_default();
    recorded.synced.iter().rev().map(|line| line.synced).find(|synced| *synced <= there).unwrap_or(there)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests damage files on purpose")]
mod tests {
    use super::*;

    fn blob() -> (Vec<u8>, Identity) {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let identity = Identity::blob(Digest::of(&bytes), Some(bytes.len() as u64));
        (bytes, identity)
    }

    /// As another process does.
    fn open(folder: &Path, identity: &Identity) -> Partial {
        Partial::open(folder.join("key"), identity.clone(), false, &|| false).unwrap()
    }

    /// Writes 1000 bytes, syncs, writes 500 more and dies.
    fn interrupted(folder: &Path, bytes: &[u8], identity: &Identity) {
        let mut partial = open(folder, identity);
        partial.write(&bytes[..1000]).unwrap();
        partial.checkpoint().unwrap();
        partial.write(&bytes[1000..1500]).unwrap();
    }

    fn finishes(folder: &Path, bytes: &[u8], identity: &Identity, from: u64) {
        let mut partial = open(folder, identity);
        assert_eq!(partial.written(), from);
        partial.write(&bytes[usize::try_from(from).unwrap()..]).unwrap();
        let store = Store::open(folder.join("store")).unwrap();
        store.prepare().unwrap();
        let (digest, size) = partial.commit(&store).unwrap();
        assert_eq!((digest, size), (Digest::of(bytes), bytes.len() as u64));
        assert_eq!(std::fs::read(store.path(&digest)).unwrap(), bytes);
        assert!(!folder.join("key").exists());
    }

    #[test]
    fn goes_on_at_the_last_sync_without_reading() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, identity) = blob();
        interrupted(folder.path(), &bytes, &identity);
        assert_eq!(super::bytes(&folder.path().join("key")), 1000);
        // The synced bytes are exchanged under its feet: the hash does not
        // notice, so nothing was read.
        std::fs::write(folder.path().join("key/data"), [0; 1500]).unwrap();
        let mut partial = Partial::open(folder.path().join("key"), identity, true, &|| false).unwrap();
        assert_eq!(partial.written(), 1000);
        partial.write(&bytes[1000..]).unwrap();
        assert_eq!(partial.digest(), Digest::of(&bytes));
    }

    /// A bit that flipped in what was synced costs what lies behind the last
    /// line that is still true, whoever checks the end: of a URL nobody does.
    #[test]
    fn what_rotted_is_fetched_again_and_nothing_before_it() {
        let (bytes, identity) = blob();
        let by_url = Identity { validator: Some("\"v1\"".into()), ..Identity::url("https://example.com/x") };
        for identity in [identity, by_url] {
            for (flipped, from) in [(0, 0), (999, 0), (1000, 1000), (1999, 1000), (2000, 2000)] {
                let folder = tempfile::tempdir().unwrap();
                let mut partial = open(folder.path(), &identity);
                for part in [0..1000, 1000..2000, 2000..2500] {
                    partial.write(&bytes[part.clone()]).unwrap();
                    if part.end < 2500 {
                        partial.checkpoint().unwrap();
                    }
                }
                drop(partial);
                let path = folder.path().join("key/data");
                let mut data = std::fs::read(&path).unwrap();
                data[flipped] ^= 1;
                std::fs::write(&path, data).unwrap();
                finishes(folder.path(), &bytes, &identity, from);
            }
        }
    }

    /// What a run appends behind a line that is no longer true is recorded
    /// anew: the run after it believes none of the old lines.
    #[test]
    fn lines_beyond_what_was_kept_are_gone_with_the_next_sync() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, identity) = blob();
        let mut partial = open(folder.path(), &identity);
        for part in [0..1000, 1000..5000] {
            partial.write(&bytes[part]).unwrap();
            partial.checkpoint().unwrap();
        }
        drop(partial);
        let path = folder.path().join("key/data");
        let mut data = std::fs::read(&path).unwrap();
        data[4000] ^= 1;
        std::fs::write(&path, data).unwrap();
        let mut partial = open(folder.path(), &identity);
        assert_eq!(partial.written(), 1000);
        partial.write(&bytes[1000..2000]).unwrap();
        partial.checkpoint().unwrap();
        partial.write(&bytes[2000..6000]).unwrap();
        drop(partial);
        finishes(folder.path(), &bytes, &identity, 2000);
    }

    #[test]
    fn a_damaged_last_line_costs_one_interval_and_a_damaged_hash_a_reading() {
        let (bytes, identity) = blob();
        for damage in ["torn", "line", "midstate", "header", "gone", "garbage"] {
            let folder = tempfile::tempdir().unwrap();
            interrupted(folder.path(), &bytes, &identity);
            let path = folder.path().join("key/journal");
            let journal = std::fs::read_to_string(&path).unwrap();
            let mut lines: Vec<String> = journal.lines().map(|line| format!("{line}\n")).collect();
            let from = match damage {
                "torn" => {
                    lines.push("0123 {\"syn".into());
                    1000
                }
                "line" => {
                    lines[1] = lines[1].replace("1000", "1001");
                    1500
                }
                "midstate" => {
                    lines[1] = checked_line(&Synced { synced: 1000, midstate: "AAAA".into() });
                    1000
                }
                "header" => {
                    lines[0] = lines[0].replace("sha256:", "sha256;");
                    1500
                }
                "garbage" => {
                    lines = vec!["\u{0}".repeat(1_000_000)];
                    1500
                }
                _ => 1500,
            };
            std::fs::write(&path, lines.concat()).unwrap();
            if damage == "gone" {
                std::fs::remove_file(&path).unwrap();
            }
            finishes(folder.path(), &bytes, &identity, from);
        }
    }

    /// What is written behind a torn line would never be read.
    #[test]
    fn a_torn_line_does_not_hide_those_of_the_next_run() {
        let (bytes, identity) = blob();
        let folder = tempfile::tempdir().unwrap();
        interrupted(folder.path(), &bytes, &identity);
        let path = folder.path().join("key/journal");
        let torn = format!("{}0123 {{\"syn", std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, torn).unwrap();
        let mut partial = open(folder.path(), &identity);
        partial.write(&bytes[1000..3000]).unwrap();
        partial.checkpoint().unwrap();
        drop(partial);
        finishes(folder.path(), &bytes, &identity, 3000);
    }

    /// After a power loss the data may be shorter than the journal says.
    #[test]
    fn data_that_lost_its_end_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, identity) = blob();
        interrupted(folder.path(), &bytes, &identity);
        std::fs::write(folder.path().join("key/data"), &bytes[..700]).unwrap();
        finishes(folder.path(), &bytes, &identity, 700);
    }

    #[test]
    fn other_content_under_the_same_key_begins_at_zero() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, identity) = blob();
        interrupted(folder.path(), &bytes, &identity);
        let other = Identity { size: Some(7), ..identity.clone() };
        assert_eq!(open(folder.path(), &other).written(), 0);
    }

    #[test]
    fn a_url_is_continued_only_with_a_validator() {
        for (validator, from) in [(Some("\"v1\"".to_owned()), 1000), (None, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let identity = Identity::url("https://example.com/x");
            let mut partial = open(folder.path(), &identity);
            partial.describe(None, validator.clone()).unwrap();
            partial.write(&[1; 1000]).unwrap();
            partial.checkpoint().unwrap();
            drop(partial);
            let partial = open(folder.path(), &identity);
            assert_eq!(partial.written(), from);
            assert_eq!(partial.identity().validator, validator);
        }
    }

    #[test]
    fn a_journal_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::blob(Digest::of(b"?"), None);
        let mut partial = open(folder.path(), &identity);
        for _ in 0..1000 {
            partial.write(&[0; 10]).unwrap();
            partial.checkpoint().unwrap();
        }
        drop(partial);
        assert!(std::fs::metadata(folder.path().join("key/journal")).unwrap().len() < 2 * LONGEST_JOURNAL);
        assert_eq!(open(folder.path(), &identity).written(), 10_000);
    }

    #[test]
    fn restarting_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, identity) = blob();
        interrupted(folder.path(), &bytes, &identity);
        open(folder.path(), &identity).restart().unwrap();
        finishes(folder.path(), &bytes, &identity, 0);
    }
}
