//! Compiled components, kept between builds in a private folder.
//!
//! Compiled code is run as it is, so whoever can write it can run anything as
//! the user. An entry is therefore two files: `<component>-<engine>.cwasm` and
//! a receipt with the digests of component, engine and code, sealed with a key
//! that lies outside of the folder. Both are opened without following links,
//! must belong to the user, and are read whole and checked before the code is
//! used. What is used is what was read, in memory of ours: the file is never mapped,
//! so that nobody can change it underneath us.
//!
//! An entry that is missing, foreign, torn or of another engine is a miss,
//! never a failure: the component is compiled again.

use std::fs::File;
use std::hash::{Hash, Hasher as StdHasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use super::code::Code;
use super::limits::{COMPILED_BYTES, COMPILED_ENTRIES};
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use disk::fs;

/// The folder and its key.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY],
}

const KEY: usize = 32;
const RECEIPT_BYTES: u64 = 4096;
/// Largest description that is read back.
const NOTE_BYTES: u64 = 4 << 20;

/// Notes of one kind that are kept; the oldest go first.
const NOTES: usize = 1000;

/// Something small that is kept beside the code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// What a component says about itself.
    Description,
    /// Whether a configuration fits a schema.
    Fit,
}

impl Note {
    /// Of the file's name. A seal holds for one name, so a note of one kind is
    /// never taken for one of the other.
    fn extension(self) -> &'static str {
        match self {
            Note::Description => "json",
            Note::Fit => "fit",
        }
    }
}

/// What an entry is, sealed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    component: Digest,
    engine: Digest,
    code: Digest,
    size: u64,
}

/// A value with its seal.
#[derive(Serialize, Deserialize)]
struct Sealed {
    value: String,
    seal: Digest,
}

impl Cache {
    /// Opens the folder, making it and the key where they are missing. None
    /// where it can not be trusted or made: then there is no cache.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        fs::create_private_dir(folder).ok()?;
        let metadata = folder.symlink_metadata().ok()?;
        let private = metadata.is_dir() && metadata.uid() == own_uid() && metadata.mode() & 0o077 == 0;
        let key = private.then(|| key_beside(folder)).flatten()?;
        Some(Self { folder: folder.to_owned(), key })
    }

    /// The compiled component, if a good one is there: what was stored.
    pub(super) fn load(&self, engine: &Engine, component: Digest) -> Option<Code> {
        let name = Name::new(engine, component);
        let receipt: Receipt = self.unseal(&self.folder.join(name.receipt()), RECEIPT_BYTES)?;
        let expected = (component, name.engine);
        if (receipt.component, receipt.engine) != expected || receipt.size > COMPILED_BYTES {
            return None;
        }
        let file = open_private(&self.folder.join(name.code()), receipt.size)?;
        let (code, digest) = Code::read(&mut file.take(receipt.size)).ok()?;
        (digest == receipt.code).then_some(code)
    }

    /// Keeps a compiled component. What can not be written is not kept.
    pub(super) fn store(&self, engine: &Engine, component: Digest, code: &[u8]) {
        let name = Name::new(engine, component);
        let receipt = Receipt { component, engine: name.engine, code: Digest::of(code), size: code.len() as u64 };
        let _ = fs::write_atomic_shared(&self.folder.join(name.code()), code)
            .and_then(|()| self.seal(&self.folder.join(name.receipt()), &receipt));
        self.prune("cwasm", COMPILED_ENTRIES);
    }

    /// What was found out about something, if it is known.
    pub(super) fn note<T: DeserializeOwned>(&self, kind: Note, about: Digest) -> Option<T> {
        self.unseal(&self.note_path(kind, about), NOTE_BYTES)
    }

    pub(super) fn keep_note<T: Serialize>(&self, kind: Note, about: Digest, note: &T) {
        let _ = self.seal(&self.note_path(kind, about), note);
        self.prune(kind.extension(), NOTES);
    }

    fn note_path(&self, kind: Note, about: Digest) -> PathBuf {
        self.folder.join(format!("{}.{}", about.hex(), kind.extension()))
    }

    fn seal<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let encode = |error: serde_json::Error| Error::local("a receipt can not be written").caused_by(error);
        let value = serde_json::to_string(value).map_err(encode)?;
        let seal = keyed_hash(&self.key, &message(path, &value));
        let sealed = serde_json::to_vec(&Sealed { value, seal }).map_err(encode)?;
        fs::write_atomic_shared(path, &sealed)
    }

    fn unseal<T: DeserializeOwned>(&self, path: &Path, limit: u64) -> Option<T> {
        let sealed: Sealed = serde_json::from_slice(&read_private(path, limit)?).ok()?;
        let intact = keyed_hash(&self.key, &message(path, &sealed.value)) == sealed.seal;
        if intact { serde_json::from_str(&sealed.value).ok() } else { None }
    }

    /// Removes the entries that were written first, above the number that is
    /// kept.
    fn prune(&self, extension: &str, kept: usize) {
        let Ok(entries) = self.folder.read_dir() else { return };
        let mut entries: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|found| found == extension))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(kept);
        for (_, path) in entries.into_iter().take(surplus) {
            let _ = fs::remove_file(&path.with_extension("receipt"));
            let _ = fs::remove_file(&path);
        }
    }
}

/// What an entry is called.
struct Name {
    component: Digest,
    engine: Digest,
}

impl Name {
    fn new(engine: &Engine, component: Digest) -> Self {
        let mut hasher = EngineHasher(Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { component, engine: hasher.0.finish() }
    }

    fn stem(&self) -> String {
        let engine = self.engine.hex();
        format!("{}-{}", self.component.hex(), engine.get(..16).unwrap_or(&engine))
    }

    fn code(&self) -> String {
        format!("{}.cwasm", self.stem())
    }

    fn receipt(&self) -> String {
        format!("{}.receipt", self.stem())
    }
}

/// Feeds what wasmtime hashes into SHA-256: 64 bits would not do for a name
/// that stands for code.
struct EngineHasher(Hasher);

impl StdHasher for EngineHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// A seal holds for one file name only.
fn message(path: &Path, value: &str) -> Vec<u8> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    [name.as_bytes(), b"\0", value.as_bytes()].concat()
}

/// HMAC-SHA256 (RFC 2104).
fn keyed_hash(key: &[u8; KEY], message: &[u8]) -> Digest {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let inner = Digest::of(&[pad(0x36).as_slice(), message].concat());
    Digest::of(&[pad(0x5c).as_slice(), inner.as_bytes()].concat())
}

/// The user's key, `<folder>.key`, made at first use.
fn key_beside(folder: &Path) -> Option<[u8; KEY]> {
    let mut name = folder.file_name()?.to_owned();
    name.push(".key");
    let path = folder.with_file_name(name);
    if let Some(key) = read_key(&path) {
        return Some(key);
    }
    let mut key = [0; KEY];
    File::open("/dev/urandom").ok()?.read_exact(&mut key).ok()?;
    // Another process may have been first: then its key counts.
    let _ = fs::create_private(&path, &key);
    read_key(&path)
}

fn read_key(path: &Path) -> Option<[u8; KEY]> {
    read_private(path, KEY as u64)?.try_into().ok()
}

/// What such a file holds.
fn read_private(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let file = open_private(path, limit)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata().ok()?.len().min(limit)).ok()?);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A file of at most `limit` bytes that is the user's own and no link.
fn open_private(path: &Path, limit: u64) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    let trusted = metadata.is_file() && metadata.uid() == own_uid() && metadata.mode() & 0o022 == 0;
    (trusted && metadata.len() <= limit).then_some(file)
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay links")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_keyed_hash_is_hmac() {
        // RFC 4231 test case 2 with the key padded to our length, which HMAC
        // does as well.
        let mut key = [0; KEY];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(keyed_hash(&key, b"what do ya want for nothing?").hex(), expected);
    }

    fn opened() -> (tempfile::TempDir, Cache) {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(&root.path().join("compiled")).unwrap();
        (root, cache)
    }

    #[test]
    fn folder_and_key_are_private_and_the_key_stays() {
        let (root, cache) = opened();
        let mode = |name: &str| root.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("compiled"), mode("compiled.key")), (0o700, 0o600));
        assert_eq!(Cache::open(&root.path().join("compiled")).unwrap().key, cache.key);
    }

    #[test]
    fn a_folder_that_others_may_write_is_no_cache() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("compiled");
        fs::create_dir_all(&folder).unwrap();
        fs::set_mode(&folder, 0o777).unwrap();
        assert!(Cache::open(&folder).is_none());
        let link = root.path().join("link");
        symlink(root.path(), &link).unwrap();
        assert!(Cache::open(&link).is_none());
    }

    #[test]
    fn an_entry_counts_only_untouched_and_under_its_own_name() {
        let (_root, cache) = opened();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        cache.keep_note(Note::Description, one, &"said");
        assert_eq!(cache.note::<String>(Note::Description, one).as_deref(), Some("said"));
        assert_eq!(cache.note::<String>(Note::Description, two), None);

        let bytes = std::fs::read(cache.note_path(Note::Description, one)).unwrap();
        fs::write_new(&cache.note_path(Note::Description, two), &bytes).unwrap();
        assert_eq!(cache.note::<String>(Note::Description, two), None, "a seal of another name");

        let forged = String::from_utf8(bytes).unwrap().replace("said", "lied");
        fs::write_new(&cache.note_path(Note::Description, one), forged.as_bytes()).unwrap();
        assert_eq!(cache.note::<String>(Note::Description, one), None, "a changed value");
    }

    #[test]
    fn a_note_of_one_kind_is_none_of_the_other() {
        let (_root, cache) = opened();
        let about = Digest::of(b"1");
        cache.keep_note(Note::Fit, about, &"fits");
        assert_eq!(cache.note::<String>(Note::Description, about), None);
        fs::rename(&cache.note_path(Note::Fit, about), &cache.note_path(Note::Description, about)).unwrap();
        assert_eq!(cache.note::<String>(Note::Description, about), None, "nor under its name");
    }

    #[test]
    fn the_oldest_notes_go_first() {
        let (_root, cache) = opened();
        for number in 0..3_u32 {
            let about = Digest::of(&number.to_le_bytes());
            cache.keep_note(Note::Fit, about, &number);
            let written = std::fs::File::open(cache.note_path(Note::Fit, about)).unwrap();
            written.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number.into())).unwrap();
        }
        cache.prune(Note::Fit.extension(), 2);
        let known = (0..3_u32).filter_map(|number| cache.note::<u32>(Note::Fit, Digest::of(&number.to_le_bytes())));
        assert_eq!(known.collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn links_are_not_followed() {
        let (root, cache) = opened();
        let note = cache.note_path(Note::Description, Digest::of(b"1"));
        cache.keep_note(Note::Description, Digest::of(b"1"), &1);
        fs::rename(&note, &root.path().join("elsewhere")).unwrap();
        symlink(root.path().join("elsewhere"), &note).unwrap();
        assert_eq!(cache.note::<u32>(Note::Description, Digest::of(b"1")), None);
    }
}
