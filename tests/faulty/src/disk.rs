//! A disk that fails on demand.
//!
//! Every operation of `disk::fs` is counted. A [plan](Faulty::of) says what happens at the n-th:
//!
//! - `fail:<n>:EIO` or `fail:<n>:ENOSPC`: it fails; a write leaves half of its
//!   bytes behind.
//! - `power-loss:<n>`: what was not synced is lost, and the process is killed.
//!   Lost are the bytes of a file after its last sync, and names that were
//!   made, moved, replaced or removed in a directory since its last sync.
//! - `torn-power-loss:<n>`: the same, but the names had reached the disk
//!   before the bytes did.
//! - `zeroed-power-loss:<n>`: the names and the lengths of the files had reached
//!   the disk, and there are zeros where the bytes did not.
//! - `kill:<name>:<n>`: the process is killed at the n-th visit of the
//!   checkpoint.
//! - `count:<file>`: nothing fails; at each operation and checkpoint a line is
//!   appended to the file, so that a test learns how many there are.
//!
//! What is synced is known by inode, so that a second name of a file shares
//! it. What a power loss would bring back waits in the temporary folder.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use disk::fs::hook::{Hook, Operation};

#[derive(Debug)]
enum Plan {
    Fail { at: u64, error: rustix::io::Errno },
    PowerLoss { at: u64, keeps: Keeps },
    Kill { checkpoint: String, at: u64 },
    Count { file: PathBuf },
}

/// What had reached the disk beside what was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Names,
    NamesAndLengths,
}

/// What a crash would undo.
#[derive(Debug)]
enum Undo {
    /// A name that was made; its directory is not synced.
    Created(PathBuf),
    /// A name that was moved; `replaced` holds what `to` was before.
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
    /// A name that was removed; `kept` holds its content.
    Removed { path: PathBuf, kept: PathBuf },
}

impl Undo {
    /// The name whose directory has to be synced.
    fn name(&self) -> &Path {
        match self {
            Self::Created(name) | Self::Removed { path: name, .. } | Self::Renamed { to: name, .. } => name,
        }
    }

    fn kept(&self) -> Option<&Path> {
        match self {
            Self::Created(_) => None,
            Self::Renamed { replaced, .. } => replaced.as_deref(),
            Self::Removed { kept, .. } => Some(kept),
        }
    }

    /// A directory above it has another name for good.
    fn moved(&mut self, from: &Path, to: &Path) {
        match self {
            Self::Created(name) | Self::Removed { path: name, .. } => follow(name, from, to),
            Self::Renamed { from: old, to: new, .. } => {
                follow(old, from, to);
                follow(new, from, to);
            }
        }
    }

    fn carry_out(self) {
        let _ = match self {
            Self::Created(path) if path.is_dir() => fs::remove_dir_all(path),
            Self::Created(path) => fs::remove_file(path),
            Self::Renamed { from, to, replaced } => fs::rename(&to, from).and_then(|()| match replaced {
                Some(kept) => fs::rename(kept, to),
                None => Ok(()),
            }),
            Self::Removed { path, kept } => fs::rename(kept, path),
        };
    }
}

fn follow(path: &mut PathBuf, from: &Path, to: &Path) {
    if let Ok(rest) = path.strip_prefix(from) {
        *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
    }
}

struct Disk {
    plan: Plan,
    operations: u64,
    visits: u64,
    /// Bytes of a file that a crash leaves, by device and inode.
    durable: HashMap<(u64, u64), u64>,
    /// Names of those files.
    written: BTreeSet<PathBuf>,
    undo: Vec<Undo>,
}

/// The disk of this process.
pub(crate) struct Faulty(Mutex<Disk>);

impl Faulty {
    /// None where `text` is none of the above.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let number = |text: &str| text.parse().unwrap_or(u64::MAX);
        let plan = match parts.as_slice() {
            ["fail", at, "EIO"] => Plan::Fail { at: number(at), error: rustix::io::Errno::IO },
            ["fail", at, "ENOSPC"] => Plan::Fail { at: number(at), error: rustix::io::Errno::NOSPC },
            ["power-loss", at] => Plan::PowerLoss { at: number(at), keeps: Keeps::Nothing },
            ["torn-power-loss", at] => Plan::PowerLoss { at: number(at), keeps: Keeps::Names },
            ["zeroed-power-loss", at] => Plan::PowerLoss { at: number(at), keeps: Keeps::NamesAndLengths },
            ["kill", checkpoint, at] => Plan::Kill { checkpoint: (*checkpoint).to_owned(), at: number(at) },
            ["count", file] => Plan::Count { file: file.into() },
            _ => return None,
        };
        Some(Self(Mutex::new(Disk {
            plan,
            operations: 0,
            visits: 0,
            durable: HashMap::new(),
            written: BTreeSet::new(),
            undo: Vec::new(),
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hook for Faulty {
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        self.disk().count(&format!("{operation:?} {}", path.display()))
    }

    fn before_write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        // A file that was there before this process is durable as it is now.
        if let Ok(metadata) = file.metadata() {
            disk.durable.entry(inode(&metadata)).or_insert(metadata.len());
            if !disk.written.contains(path) {
                disk.written.insert(path.to_owned());
            }
        }
        let counted = disk.count(&format!("Write {}", path.display()));
        counted.inspect_err(|_| drop(file.write_all(&bytes[..bytes.len() / 2])))
    }

    fn before_create_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        disk.count(&format!("CreateDirectory {}", path.display()))?;
        missing.reverse();
        disk.undo.extend(missing.into_iter().map(|path| Undo::Created(path.to_owned())));
        Ok(())
    }

    fn before_rename(&self, _from: &Path, to: &Path) -> io::Result<Option<PathBuf>> {
        let mut disk = self.disk();
        disk.count(&format!("Rename {}", to.display()))?;
        Ok(disk.keep(to))
    }

    fn renamed(&self, from: &Path, to: &Path, replaced: Option<PathBuf>) {
        let mut disk = self.disk();
        let inside: Vec<PathBuf> = disk.written.iter().filter(|path| path.starts_with(from)).cloned().collect();
        for mut path in inside {
            disk.written.remove(&path);
            follow(&mut path, from, to);
            disk.written.insert(path);
        }
        disk.undo.push(Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
    }

    /// Under a power loss it is gone when this returns, to where it can be
    /// brought back from.
    fn before_remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        disk.count(&format!("Remove {}", path.display()))?;
        if let Some(kept) = disk.place_to_keep()
            && fs::rename(path, &kept).is_ok()
        {
            disk.undo.push(Undo::Removed { path: path.to_owned(), kept });
        }
        Ok(())
    }

    fn created(&self, file: &File, path: &Path) {
        let mut disk = self.disk();
        if let Ok(metadata) = file.metadata() {
            disk.durable.insert(inode(&metadata), 0);
            disk.written.insert(path.to_owned());
        }
        disk.undo.push(Undo::Created(path.to_owned()));
    }

    fn linked(&self, path: &Path) {
        self.disk().undo.push(Undo::Created(path.to_owned()));
    }

    /// What is there is as durable as it will be.
    fn others_begin(&self, directory: &Path) {
        let mut disk = self.disk();
        for (_, metadata) in below(directory) {
            disk.durable.entry(inode(&metadata)).or_insert(metadata.len());
        }
    }

    /// Nothing of what they made is durable.
    fn others_end(&self, directory: &Path) {
        let mut disk = self.disk();
        for (path, metadata) in below(directory) {
            if disk.durable.contains_key(&inode(&metadata)) {
                continue;
            }
            disk.durable.insert(inode(&metadata), 0);
            if metadata.is_file() {
                disk.written.insert(path.clone());
            }
            disk.undo.push(Undo::Created(path));
        }
    }

    fn synced(&self, file: &File) {
        if let Ok(metadata) = file.metadata() {
            self.disk().durable.insert(inode(&metadata), metadata.len());
        }
    }

    fn directory_synced(&self, path: &Path) {
        self.disk().settle(path);
    }

    fn checkpoint(&self, name: &str) {
        let mut disk = self.disk();
        match &disk.plan {
            Plan::Kill { checkpoint, at } if checkpoint == name => {
                let at = *at;
                disk.visits += 1;
                if disk.visits == at {
                    die();
                }
            }
            Plan::Count { .. } => disk.note(&format!("checkpoint {name}")),
            _ => {}
        }
    }
}

/// Everything at and below a directory, a directory before what lies in it.
fn below(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found: Vec<(PathBuf, Metadata)> =
        directory.symlink_metadata().map(|metadata| (directory.to_owned(), metadata)).into_iter().collect();
    let mut at = 0;
    while let Some((path, metadata)) = found.get(at).cloned() {
        at += 1;
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            found.extend(entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))));
        }
    }
    found
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Disk {
    /// The names in a directory are durable from here on.
    fn settle(&mut self, path: &Path) {
        let mut remaining: Vec<Undo> = Vec::new();
        for undo in self.undo.drain(..) {
            if undo.name().parent() != Some(path) {
                remaining.push(undo);
                continue;
            }
            if let Undo::Renamed { from, to, .. } = &undo {
                // The new name is durable, so how the old one came to be does not
                // matter any more.
                remaining.retain(|earlier| !matches!(earlier, Undo::Created(name) if name == from));
                remaining.iter_mut().for_each(|earlier| earlier.moved(from, to));
            }
            if let Some(kept) = undo.kept() {
                let _ = fs::remove_file(kept).or_else(|_| fs::remove_dir_all(kept));
            }
        }
        self.undo = remaining;
    }

    fn count(&mut self, what: &str) -> io::Result<()> {
        self.operations += 1;
        match &self.plan {
            Plan::Fail { at, error } if *at == self.operations => Err((*error).into()),
            Plan::PowerLoss { at, keeps } if *at == self.operations => {
                let keeps = *keeps;
                let _ = writeln!(io::stderr(), "the power goes at: {what}");
                self.lose(keeps);
                die()
            }
            Plan::Count { .. } => {
                self.note(what);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note(&self, what: &str) {
        if let Plan::Count { file } = &self.plan
            && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file)
        {
            let _ = writeln!(file, "{what}");
        }
    }

    /// Where something can wait for a power loss; None where none comes.
    fn place_to_keep(&self) -> Option<PathBuf> {
        let will_lose = matches!(self.plan, Plan::PowerLoss { keeps: Keeps::Nothing, .. });
        let place = || std::env::temp_dir().join(format!("fault-{}-{}", std::process::id(), self.operations));
        will_lose.then(place)
    }

    /// A second name for the file at `path`, outside of every folder that is
    /// looked at.
    fn keep(&self, path: &Path) -> Option<PathBuf> {
        let kept = self.place_to_keep().filter(|_| path.is_file())?;
        fs::hard_link(path, &kept).or_else(|_| fs::copy(path, &kept).map(drop)).ok()?;
        Some(kept)
    }

    /// What a power loss leaves: bytes first, then names, newest first.
    fn lose(&mut self, keeps: Keeps) {
        for path in &self.written {
            let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if let Some(durable) = self.durable.get(&inode(&metadata)).filter(|durable| metadata.len() > **durable) {
                let _ = file.set_len(*durable);
                if keeps == Keeps::NamesAndLengths {
                    let _ = file.set_len(metadata.len());
                }
            }
        }
        if keeps == Keeps::Nothing {
            self.undo.drain(..).rev().for_each(Undo::carry_out);
        }
    }
}

/// Ends the process as a power loss or `kill -9` would: no destructor runs.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
