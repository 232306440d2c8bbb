//! A disk that fails on demand. Only with the feature `faults`.
//!
//! Every operation of `fs` is counted. [`arm`] says what happens at the n-th:
//!
//! - `fail:<n>:EIO` or `fail:<n>:ENOSPC`: it fails; a write leaves half of its
//!   bytes behind.
//! - `power-loss:<n>`: what was not synced is lost, and the process is killed.
//!   Lost are the bytes of a file after its last sync, and names that were
//!   made, replaced or removed in a directory since its last sync.
//! - `kill:<name>:<n>`: the process is killed at the n-th visit of the
//!   checkpoint.
//! - `count:<file>`: nothing fails; at each operation and checkpoint a line is
//!   appended to the file, so that a test learns how many there are.
#![expect(clippy::disallowed_methods, reason = "the fault layer is part of the disk layer")]

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Create,
    Write,
    Sync,
    SyncDirectory,
    Link,
    Remove,
    CreateDirectory,
}

#[derive(Debug)]
enum Plan {
    Fail { at: u64, error: rustix::io::Errno },
    PowerLoss { at: u64 },
    Kill { checkpoint: String, at: u64 },
    Count { file: PathBuf },
}

/// What a crash would undo.
#[derive(Debug)]
pub(super) enum Undo {
    /// A name that was made; its directory is not synced.
    Created(PathBuf),
    /// A name that was moved; `replaced` holds what `to` was before.
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
    /// A name that was removed; `kept` holds its content.
    Removed { path: PathBuf, kept: PathBuf },
}

struct Disk {
    plan: Plan,
    operations: u64,
    visits: u64,
    /// Bytes of a file that a crash leaves.
    durable: HashMap<PathBuf, u64>,
    undo: Vec<Undo>,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);

fn disk() -> MutexGuard<'static, Option<Disk>> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arms the plan for this process; a text that is none of the above is
/// ignored.
pub fn arm(text: &str) {
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let plan = match parts.as_slice() {
        ["fail", at, "EIO"] => Plan::Fail { at: number(at), error: rustix::io::Errno::IO },
        ["fail", at, "ENOSPC"] => Plan::Fail { at: number(at), error: rustix::io::Errno::NOSPC },
        ["power-loss", at] => Plan::PowerLoss { at: number(at) },
        ["kill", checkpoint, at] => Plan::Kill { checkpoint: (*checkpoint).to_owned(), at: number(at) },
        ["count", file] => Plan::Count { file: file.into() },
        _ => return,
    };
    *disk() = Some(Disk { plan, operations: 0, visits: 0, durable: HashMap::new(), undo: Vec::new() });
}

pub(super) fn before(operation: Operation, path: &Path) -> io::Result<()> {
    match disk().as_mut() {
        Some(disk) => disk.count(&format!("{operation:?} {}", path.display())),
        None => Ok(()),
    }
}

pub(super) fn before_write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut guard = disk();
    let Some(disk) = guard.as_mut() else { return Ok(()) };
    // A file that was there before this process is durable as it is now.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    disk.durable.entry(path.to_owned()).or_insert(length);
    disk.count(&format!("Write {}", path.display())).inspect_err(|_| drop(file.write_all(&bytes[..bytes.len() / 2])))
}

pub(super) fn before_rename(from: &Path, to: &Path) -> io::Result<Option<Undo>> {
    let mut guard = disk();
    let Some(disk) = guard.as_mut() else { return Ok(None) };
    disk.count(&format!("Rename {}", to.display()))?;
    if !matches!(disk.plan, Plan::PowerLoss { .. }) {
        return Ok(None);
    }
    let replaced = disk.keep(to);
    if let Some(durable) = disk.durable.remove(from) {
        disk.durable.insert(to.to_owned(), durable);
    }
    Ok(Some(Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced }))
}

pub(super) fn renamed(undo: Option<Undo>) {
    if let (Some(disk), Some(undo)) = (disk().as_mut(), undo) {
        disk.undo.push(undo);
    }
}

pub(super) fn before_remove(path: &Path) -> io::Result<()> {
    let mut guard = disk();
    let Some(disk) = guard.as_mut() else { return Ok(()) };
    disk.count(&format!("Remove {}", path.display()))?;
    if matches!(disk.plan, Plan::PowerLoss { .. })
        && let Some(kept) = disk.keep(path)
    {
        disk.undo.push(Undo::Removed { path: path.to_owned(), kept });
    }
    Ok(())
}

pub(super) fn created(path: &Path) {
    if let Some(disk) = disk().as_mut() {
        disk.undo.push(Undo::Created(path.to_owned()));
    }
}

pub(super) fn synced(file: &File, path: &Path) {
    if let (Some(disk), Ok(metadata)) = (disk().as_mut(), file.metadata()) {
        disk.durable.insert(path.to_owned(), metadata.len());
    }
}

pub(super) fn directory_synced(path: &Path) {
    if let Some(disk) = disk().as_mut() {
        let inside = |name: &PathBuf| name.parent() == Some(path);
        disk.undo.retain(|undo| match undo {
            Undo::Created(name) | Undo::Removed { path: name, .. } => !inside(name),
            Undo::Renamed { to, .. } => !inside(to),
        });
    }
}

pub(super) fn checkpoint(name: &str) {
    let mut guard = disk();
    let Some(disk) = guard.as_mut() else { return };
    match &disk.plan {
        Plan::Kill { checkpoint, at } if checkpoint == name => {
            disk.visits += 1;
            if disk.visits == *at {
                die();
            }
        }
        Plan::Count { .. } => disk.note(&format!("checkpoint {name}")),
        _ => {}
    }
}

impl Disk {
    fn count(&mut self, what: &str) -> io::Result<()> {
        self.operations += 1;
        match &self.plan {
            Plan::Fail { at, error } if *at == self.operations => Err((*error).into()),
            Plan::PowerLoss { at } if *at == self.operations => {
                self.lose();
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

    /// A second name for what lies at `path`, outside of every folder that is
    /// looked at.
    fn keep(&self, path: &Path) -> Option<PathBuf> {
        if !path.is_file() {
            return None;
        }
        let kept = std::env::temp_dir().join(format!("fault-{}-{}", std::process::id(), self.operations));
        let _ = fs::remove_file(&kept);
        fs::hard_link(path, &kept).or_else(|_| fs::copy(path, &kept).map(drop)).ok()?;
        Some(kept)
    }

    /// What a power loss leaves: newest change first.
    fn lose(&mut self) {
        for (path, durable) in &self.durable {
            if let Ok(file) = OpenOptions::new().write(true).open(path)
                && file.metadata().is_ok_and(|metadata| metadata.len() > *durable)
            {
                let _ = file.set_len(*durable);
            }
        }
        for undo in self.undo.drain(..).rev() {
            let _ = match undo {
                Undo::Created(path) => fs::remove_file(path),
                Undo::Renamed { from, to, replaced } => fs::rename(&to, from).and_then(|()| match replaced {
                    Some(kept) => fs::copy(&kept, &to).and_then(|_| fs::remove_file(kept)),
                    None => Ok(()),
                }),
                Undo::Removed { path, kept } => fs::copy(&kept, path).and_then(|_| fs::remove_file(kept)),
            };
        }
    }
}

/// Ends the process as a power loss or `kill -9` would: no destructor runs.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
