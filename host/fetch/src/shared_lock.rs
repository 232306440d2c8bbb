//! airgap.lock while a build runs: shared by the steps, and with a diary, so
//! that what was resolved is not resolved again after a kill.
//!
//! airgap.lock itself is written when a step ends. Until then each entry is a
//! line of build/resolved.jsonl, appended when it is found: a tool without a
//! checksum that came down in an hour is known by its digest from then on. The
//! diary belongs to one text of airgap.lock, named in its first line, and to the
//! next one, which is announced in it before it is written; beside any other
//! text it is worth nothing. Losing it to a power loss costs a question
//! to a server, so it is synced only for a plugin that marks what it made of an
//! entry: that is not made again, so the entry must be there.
//!
//! What is entered was seen in this build, and names it: the host's images and
//! repositories by key, everything that was fetched as a [`Seen`], a chart as a
//! [`SeenChart`]. Nothing else comes in. What can not be vouched for of the lock
//! on disk is left out when it is shared, and remembered for comparing
//! ([`lock_doubts`](config::lock_doubts)).
//!
//! With `--locked` the lock is frozen: whatever a step would resolve newly or
//! differently is refused as `changed`, wherever it is resolved. The check
//! before the first download lists all that can be known then; this is what
//! nothing slips past.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::ResolvedComponents;
use serde::{Deserialize, Serialize};

use crate::seen::{Seen, SeenChart};
use base::digest::Digest;
use base::error::{Class, Error, ItemFailure, Result};
use config::airgap_lock::{AirgapLock, LockChange, LockedFile, LockedImage, LockedRepository, Statement};
use config::lock_doubts::{Witness, contradicted};
use config::lock_names::Names;
use config::runners::Runners;
use config::source::Source;
use disk::fs;
use entitlement::Asker;

/// What to do about a lock that lacks something.
pub const UNLOCK: &str =
    "run `opencenter-airgap update` (or a build without --locked), review the difference and commit the lock";

/// The lock as the steps share it.
#[derive(Clone, Debug)]
pub struct SharedLock {
    inner: Arc<Mutex<Inner>>,
    is_frozen: bool,
    /// The build in which it is shared.
    build: Arc<str>,
}

impl Default for SharedLock {
    fn default() -> Self {
        Self::new(AirgapLock::default())
    }
}

#[derive(Debug, Default)]
struct Inner {
    lock: AirgapLock,
    length: Length,
    /// What was left out of it.
    doubted: AirgapLock,
    diary: Option<Diary>,
}

/// Bytes of airgap.lock: what [`Source`] reads, and some room.
const LONGEST_LOCK: usize = 15 << 20;
/// Bytes of the entries of one pinned plugin: some 10,000.
const LONGEST_OF_A_PLUGIN: usize = 2 << 20;

/// Bytes of what was entered so far.
#[derive(Debug, Default)]
struct Length {
    all: usize,
    of_plugins: BTreeMap<String, usize>,
}

impl Length {
    fn of(lock: &AirgapLock) -> Self {
        let plugin = |name: &String| {
            let entries = [(name.clone(), lock.plugins[name].clone())].into();
            (name.clone(), AirgapLock { plugins: entries, ..AirgapLock::default() }.to_text().len())
        };
        Self { all: lock.to_text().len(), of_plugins: lock.plugins.keys().map(plugin).collect() }
    }

    /// Takes what is to be entered, which must be something that can be read
    /// again: a lock that nobody can read would end every build to come.
    ///
    /// # Errors
    /// `invalid-input`, and nothing is entered.
    fn take(&mut self, new: &AirgapLock) -> Result<()> {
        let text = new.to_text();
        let length = text.len() - AirgapLock::default().to_text().len();
        let named = || {
            let mut keys = AirgapLock::default().diff(new).into_iter().map(|change| change.key);
            keys.next().unwrap_or_default().chars().take(200).flat_map(char::escape_debug).collect::<String>()
        };
        if let Err(error) =
            Source::of("config/airgap.lock".into(), text.into_bytes()).and_then(|new| AirgapLock::parse(&new))
        {
            return Err(
                Error::invalid(format!("`{}` cannot be written to config/airgap.lock", named())).caused_by(error)
            );
        }
        let full = |what: &str, most: usize| {
            Error::invalid(format!(
                "`{}` has no room in config/airgap.lock: {what} at most {} MiB",
                named(),
                most >> 20
            ))
            .hint("a lock that long is a mistake of what asks for so much: look at its requests")
        };
        for plugin in new.plugins.keys() {
            let taken = self.of_plugins.entry(plugin.clone()).or_default();
            if *taken + length > LONGEST_OF_A_PLUGIN {
                return Err(full(&format!("the entries of the plugin `{plugin}` are"), LONGEST_OF_A_PLUGIN));
            }
            *taken += length;
        }
        if self.all + length > LONGEST_LOCK {
            return Err(full("it is", LONGEST_LOCK));
        }
        self.all += length;
        Ok(())
    }
}

/// Where no build is recorded: nothing is entered there either.
const NO_BUILD: &str = "none";

impl SharedLock {
    /// One that keeps no diary.
    pub fn new(lock: AirgapLock) -> Self {
        let inner = Inner { length: Length::of(&lock), lock, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), is_frozen: false, build: NO_BUILD.into() }
    }

    /// The same, shared in the build with this id.
    #[must_use]
    pub fn in_build(self, id: &str) -> Self {
        Self { build: id.into(), ..self }
    }

    /// Leaves out what can not be vouched for, as if it were not there.
    #[must_use]
    pub fn without_doubts(self, runners: &Runners, witness: &dyn Witness) -> Self {
        let mut inner = self.inner();
        inner.doubted = inner.lock.take_doubtful(runners, witness);
        drop(inner);
        self
    }

    /// What nothing names, of what counts and of what was left out. What was
    /// fetched for a chart that was left out goes with the chart and is not
    /// told beside it.
    pub fn unnamed(&self, names: &Names) -> Vec<LockChange> {
        let inner = self.inner();
        let mut whole = inner.doubted.clone();
        whole.absorb(&inner.lock);
        let parts = inner.doubted.parts_of_charts();
        let mut unnamed = whole.unnamed(names);
        unnamed.retain(|entry| !parts.has(entry));
        unnamed
    }

    /// What was left out of what a build of these components resolves, each
    /// with its reason.
    pub fn doubts(&self, components: &ResolvedComponents, runners: &Runners) -> Vec<LockChange> {
        let inner = self.inner();
        inner.doubted.clone().concerning(components).told(&inner.lock, runners)
    }

    /// What was left out of what a build of these components resolves.
    pub fn doubted(&self, components: &ResolvedComponents) -> AirgapLock {
        self.inner().doubted.clone().concerning(components)
    }

    /// The build in which it is shared.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// For `--locked`: one into which nothing can be entered.
    pub fn frozen(lock: AirgapLock) -> Self {
        Self { is_frozen: true, ..Self::new(lock) }
    }

    /// Whether nothing can be entered: `--locked`.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Takes up what a killed build had resolved beside this very lock.
    ///
    /// # Errors
    /// `local` where the diary can not be read.
    pub fn with_diary(mut lock: AirgapLock, diary: PathBuf) -> Result<Self> {
        let base = base_of(&lock);
        let held = found_since(&lock, &diary)?;
        lock.absorb(&held);
        let diary = Diary { path: diary, base, next: None, held, file: None, is_synced: false };
        let inner = Inner { length: Length::of(&lock), lock, diary: Some(diary), ..Inner::default() };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), ..Self::default() })
    }

    /// What it holds now. Hold it briefly: never across an await.
    pub fn lock(&self) -> LockGuard<'_> {
        LockGuard(self.inner())
    }

    /// Asked before a server is asked what something is: not with `--locked`.
    /// `what` is a kind and a name: "the file https://…".
    ///
    /// # Errors
    /// `changed`.
    pub fn may_resolve(&self, what: &str) -> Result<()> {
        let message = || format!("config/airgap.lock does not hold {what}, and --locked resolves nothing anew");
        if self.is_frozen { Err(Error::new(Class::Changed, message()).hint(UNLOCK)) } else { Ok(()) }
    }

    /// Enters what an address gave, under whoever asked. Returns what an entry
    /// that was left out said of this address.
    ///
    /// # Errors
    /// `local`, `disk-full`; `changed` with `--locked`, where it is new or
    /// different.
    pub fn enter(&self, seen: &Seen) -> Result<Option<Digest>> {
        let build = Some(seen.build().unwrap_or(&self.build).to_owned());
        let checksum = seen.checksum().map(str::to_owned);
        let file = LockedFile { sha256: seen.digest(), size: seen.size(), checksum, build };
        self.add(&AirgapLock::of_file(seen.asker(), seen.address(), file))?;
        Ok(self.inner().doubted.said_of(seen.address()))
    }

    /// Enters the charts that a plugin resolved.
    ///
    /// # Errors
    /// As [`SharedLock::enter`].
    pub fn enter_charts(&self, seen: impl IntoIterator<Item = SeenChart>) -> Result<()> {
        let charts = seen.into_iter().map(SeenChart::into_entry).collect();
        self.add(&AirgapLock { charts, ..AirgapLock::default() })
    }

    /// Enters what the step `images` resolved. Returns what to tell where an
    /// entry that was left out said something else.
    ///
    /// # Errors
    /// As [`SharedLock::enter`].
    pub fn enter_image(&self, key: String, image: LockedImage) -> Result<Option<String>> {
        let image = LockedImage { build: Some(self.build.to_string()), ..image };
        let now = image.root();
        let lock = AirgapLock { images: [(key.clone(), image)].into(), ..AirgapLock::default() };
        self.add(&lock)?;
        let before = self.inner().doubted.images.get(&key).map(LockedImage::root);
        Ok(before.filter(|before| *before != now).map(|before| contradicted(&key, &now, &before)))
    }

    /// The same of the step `repos`.
    ///
    /// # Errors
    /// As [`SharedLock::enter`].
    pub fn enter_repository(&self, key: String, repository: LockedRepository) -> Result<Option<String>> {
        let repository = LockedRepository { build: Some(self.build.to_string()), ..repository };
        let now = repository.clone();
        let lock = AirgapLock { repositories: [(key.clone(), repository)].into(), ..AirgapLock::default() };
        self.add(&lock)?;
        let before = self.inner().doubted.repositories.get(&key).filter(|before| !before.agrees_with(&now)).cloned();
        Ok(before.map(|before| contradicted(&key, &now.commit, &before.commit)))
    }

    /// Takes up what the same command resolved before it shared the lock.
    ///
    /// # Errors
    /// As [`SharedLock::enter`].
    pub fn take_up(&self, found: &AirgapLock) -> Result<()> {
        self.add(found)
    }

    /// The digest that an address gave this asker, where the lock says.
    pub(crate) fn said_to(&self, asker: &Asker, address: &str) -> Option<LockedFile> {
        self.inner().lock.file(asker, address).cloned()
    }

    fn add(&self, found: &AirgapLock) -> Result<()> {
        let mut inner = self.inner();
        let new = found.lacking_in(&inner.lock);
        if new.is_empty() {
            return Ok(());
        }
        if self.is_frozen {
            return Err(refused(&inner.lock, &new));
        }
        inner.length.take(&new)?;
        inner.lock.absorb(found);
        inner.diary.as_mut().map_or(Ok(()), |diary| diary.note(found))
    }

    /// Makes durable what was entered so far.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn sync(&self) -> Result<()> {
        self.inner().diary.as_mut().map_or(Ok(()), Diary::sync)
    }

    /// airgap.lock is about to say `text`: what is entered until it does holds
    /// beside either.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn announce(&self, text: &str) -> Result<()> {
        self.inner().diary.as_mut().map_or(Ok(()), |diary| diary.announce(Digest::of(text.as_bytes())))
    }

    /// airgap.lock says `written` now: the diary begins anew with what is not
    /// in it.
    ///
    /// # Errors
    /// `local`, `disk-full`.
    pub fn was_written(&self, written: &AirgapLock) -> Result<()> {
        let mut inner = self.inner();
        let rest = inner.lock.lacking_in(written);
        inner.diary.as_mut().map_or(Ok(()), |diary| diary.begin(written, rest))
    }

    /// Drops what nothing names.
    pub fn prune(&self, names: &Names) {
        self.inner().lock.prune(names);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what a frozen lock does not hold, all of it at once.
fn refused(lock: &AirgapLock, new: &AirgapLock) -> Error {
    let mut wanted = lock.clone();
    wanted.absorb(new);
    let row = |LockChange { kind, key, old, .. }: LockChange| -> ItemFailure {
        let message = match old {
            Some(_) => format!("airgap.lock says something else about this {kind}"),
            None => format!("airgap.lock does not hold this {kind}"),
        };
        Error::new(Class::Changed, message).into_item(key, "")
    };
    let rows: Vec<ItemFailure> = lock.diff(&wanted).into_iter().map(row).collect();
    Error::new(Class::Changed, format!("config/airgap.lock does not hold what was resolved: {} differ", rows.len()))
        .with_items(rows)
        .hint(UNLOCK)
}

/// A view of the lock.
#[derive(Debug)]
pub struct LockGuard<'a>(MutexGuard<'a, Inner>);

impl std::ops::Deref for LockGuard<'_> {
    type Target = AirgapLock;

    fn deref(&self) -> &AirgapLock {
        &self.0.lock
    }
}

/// Tests set the stage with it.
#[cfg(test)]
impl std::ops::DerefMut for LockGuard<'_> {
    fn deref_mut(&mut self) -> &mut AirgapLock {
        &mut self.0.lock
    }
}

/// The first line of a diary, and each later one that names the next lock.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    lock: Digest,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Head(Head),
    Entry(Box<AirgapLock>),
}

#[derive(Debug)]
struct Diary {
    path: PathBuf,
    /// The lock beside which it is kept.
    base: Digest,
    /// The one that is about to be written.
    next: Option<Digest>,
    /// What it holds.
    held: AirgapLock,
    file: Option<File>,
    /// Whether every line, and the name of the file, is durable.
    is_synced: bool,
}

impl Diary {
    /// Appends a line.
    fn note(&mut self, found: &AirgapLock) -> Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.start()?,
        };
        self.is_synced = false;
        let written = fs::write_all(&mut file, &self.path, line(found).as_bytes());
        self.held.absorb(found);
        // A file that may end in the middle of a line is begun anew.
        self.file = written.is_ok().then_some(file);
        written
    }

    /// A new file in place of what lies there, which may belong to another
    /// lock or end in the middle of a line.
    fn start(&self) -> Result<File> {
        let heads = [Some(self.base), self.next].into_iter().flatten();
        let head: String = heads.map(|lock| line(&Head { lock })).collect();
        if self.held.is_empty() {
            let mut file = fs::create(&self.path)?;
            fs::write_all(&mut file, &self.path, head.as_bytes())?;
            return Ok(file);
        }
        fs::write_atomic(&self.path, format!("{head}{}", line(&self.held)).as_bytes())?;
        fs::append(&self.path)
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            fs::sync(file, &self.path)?;
            fs::sync_parent(&self.path)?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn announce(&mut self, next: Digest) -> Result<()> {
        self.next = Some(next);
        let Some(mut file) = self.file.take() else { return Ok(()) };
        self.is_synced = false;
        fs::write_all(&mut file, &self.path, line(&Head { lock: next }).as_bytes())?;
        self.file = Some(file);
        // What a mark made durable must hold beside the new lock as well.
        self.sync()
    }

    fn begin(&mut self, beside: &AirgapLock, rest: AirgapLock) -> Result<()> {
        self.base = base_of(beside);
        self.next = None;
        self.held = rest;
        self.file = None;
        if self.held.is_empty() {
            return fs::remove_file(&self.path);
        }
        self.is_synced = false;
        self.file = Some(self.start()?);
        Ok(())
    }
}

fn base_of(lock: &AirgapLock) -> Digest {
    Digest::of(lock.to_text().as_bytes())
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Longest diary that is read.
const LONGEST: u64 = 256 << 20;

/// What the diary adds to this lock; nothing where it belongs to another.
///
/// # Errors
/// `local`.
pub fn found_since(lock: &AirgapLock, diary: &Path) -> Result<AirgapLock> {
    let mut found = AirgapLock::default();
    let Some(bytes) = fs::read_optional(diary, LONGEST)? else { return Ok(found) };
    let base = base_of(lock);
    let mut is_beside = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Head(head)) => is_beside |= head.lock == base,
            Ok(Line::Entry(entry)) => found.absorb(&entry),
            // Cut short by a crash.
            Err(_) => break,
        }
    }
    if !is_beside {
        found = AirgapLock::default();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> AirgapLock {
        let locked =
            LockedFile { sha256: Digest::of(url.as_bytes()), size: 1, checksum: None, build: Some("1".into()) };
        AirgapLock { files: [(url.to_owned(), locked)].into(), ..AirgapLock::default() }
    }

    fn both(one: &AirgapLock, other: &AirgapLock) -> AirgapLock {
        let mut both = one.clone();
        both.absorb(other);
        both
    }

    #[test]
    fn what_was_resolved_before_a_kill_is_known_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolved.jsonl");
        let on_disk = file("https://a/1");
        let open = || SharedLock::with_diary(on_disk.clone(), path.clone()).unwrap();
        open().add(&file("https://a/2")).unwrap();
        open().add(&file("https://a/3")).unwrap();
        open().add(&file("https://a/3")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3, "a head and one line each");
        let found = both(&file("https://a/2"), &file("https://a/3"));
        assert_eq!(open().lock().files, both(&on_disk, &found).files);

        // Cut short: the line counts for nothing, and nothing is put behind it.
        let text = std::fs::read(&path).unwrap();
        fs::write_new(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(open().lock().files, both(&on_disk, &file("https://a/2")).files);
        open().add(&file("https://a/4")).unwrap();
        assert_eq!(open().lock().files.len(), 3);
    }

    /// While one step's commit writes the lock, others go on resolving.
    #[test]
    fn what_is_found_while_the_lock_is_written_holds_beside_the_old_and_the_new_one() {
        for begins_before in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("resolved.jsonl");
            let old = file("https://a/1");
            let shared = SharedLock::with_diary(old.clone(), path.clone()).unwrap();
            if begins_before {
                shared.add(&file("https://a/2")).unwrap();
            }
            let new = both(&old, &file("https://a/2"));
            shared.announce(&new.to_text()).unwrap();
            shared.add(&file("https://a/3")).unwrap();
            for lock in [&old, &new] {
                let found = SharedLock::with_diary(lock.clone(), path.clone()).unwrap();
                assert!(found.lock().files.contains_key("https://a/3"), "begins before: {begins_before}");
            }
            let other = both(&new, &file("https://a/4"));
            assert_eq!(found_since(&other, &path).unwrap(), AirgapLock::default());
            shared.was_written(&new).unwrap();
            assert!(found_since(&new, &path).unwrap().files.contains_key("https://a/3"));
            assert_eq!(found_since(&old, &path).unwrap(), AirgapLock::default());
        }
    }

    #[test]
    fn a_frozen_lock_lists_everything_that_is_new_or_different() {
        let known = both(&file("https://a/1"), &file("https://a/2"));
        let frozen = SharedLock::frozen(known.clone());
        SharedLock::new(known.clone()).may_resolve("the file https://a/3").unwrap();
        assert_eq!(frozen.may_resolve("the file https://a/3").unwrap_err().class(), Class::Changed);
        frozen.add(&known).unwrap();
        let mut found = both(&known, &file("https://a/3"));
        found.files.get_mut("https://a/1").unwrap().size = 2;
        let error = frozen.add(&found).unwrap_err();
        let rows: Vec<_> = error.items().iter().map(|row| (row.item.as_str(), row.message.as_str())).collect();
        let expected = [
            ("https://a/1", "airgap.lock says something else about this file"),
            ("https://a/3", "airgap.lock does not hold this file"),
        ];
        assert_eq!((error.class(), &rows[..]), (Class::Changed, &expected[..]));
        assert_eq!(*frozen.lock(), known);
    }

    #[test]
    fn a_diary_beside_another_lock_is_worth_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolved.jsonl");
        let held = SharedLock::with_diary(AirgapLock::default(), path.clone()).unwrap();
        held.add(&file("https://a/1")).unwrap();
        let edited = SharedLock::with_diary(file("https://a/9"), path.clone()).unwrap();
        assert_eq!(edited.lock().files.len(), 1);

        // Once it is written the diary holds the rest alone.
        held.add(&file("https://a/2")).unwrap();
        held.was_written(&file("https://a/1")).unwrap();
        assert_eq!(found_since(&file("https://a/1"), &path).unwrap().files, file("https://a/2").files);
        let written = held.lock().clone();
        held.was_written(&written).unwrap();
        assert!(!path.exists());
    }
}
