//! One build directory, one process: the lock on build/state.lock.
//!
//! The lock is the operating system's, so that of a dead process frees
//! itself. It lies beside state.json, because replacing a file by rename
//! would lose a lock on it. The holder writes who it is into the file, and takes
//! that out when it ends: what the next one finds there did not end by itself.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use base::error::{Class, Error, Result};
use base::layout::shown;
use base::timestamp::Stamp;
use disk::fs;

/// Who holds a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// "build", "clean".
    pub command: String,
    /// When it took the lock; None where nothing tells.
    #[serde(serialize_with = "or_nothing", deserialize_with = "stamp")]
    pub since: Option<Stamp>,
}

/// A time that is not known is written as an empty text.
#[expect(clippy::ref_option, reason = "serde hands in references")]
fn or_nothing<S: Serializer>(since: &Option<Stamp>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match since {
        Some(since) => since.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

fn stamp<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Stamp>, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().ok())
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct BuildLock {
    file: File,
    path: PathBuf,
    /// Whether a holder before this one was killed, or the machine stopped, and
    /// nobody has looked since at what it left.
    is_doubtful: bool,
}

impl BuildLock {
    /// Takes the lock, or says at once who has it.
    ///
    /// # Errors
    /// `held` with the holder's process and command.
    pub fn take(path: &Path, command: &str, now: Timestamp) -> Result<Self> {
        let mut file = fs::open_rw(path)?;
        lock(&file, path)?;
        let is_doubtful = is_written(&file);
        let holder = Holder { pid: std::process::id(), command: command.to_owned(), since: Some(now.into()) };
        // Who holds it is told for people: a failure to write it is no reason
        // not to build. It is synced, so that a power loss leaves it there.
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        let _ = written.map(|()| fs::sync(&file, path));
        Ok(Self { file, path: path.to_owned(), is_doubtful })
    }

    /// Whether a process before this one did not end by itself, so that what it
    /// left is not known to be what it recorded.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// What was left was compared with what is recorded of it.
    pub fn settle(&mut self) {
        self.is_doubtful = false;
    }
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        // A lock that was replaced or taken away meanwhile is nobody's.
        if !self.is_doubtful && !std::thread::panicking() && self.path.exists() {
            let _ = fs::truncate(&self.file, &self.path, 0);
        }
    }
}

fn is_written(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// Whether the last process that held this lock did not end by itself. Nothing
/// is said while one holds it.
pub fn is_doubtful(path: &Path) -> bool {
    holder(path).is_none() && File::open(path).is_ok_and(|file| is_written(&file))
}

/// `status` asks who holds the build by a shared lock of a moment: only one
/// that stays is a holder's.
fn lock(file: &File, path: &Path) -> Result<()> {
    const TRIES: u32 = 20;
    for attempt in 1..=TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if attempt == TRIES || holder(path).is_some() => break,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(source)) => return Err(Error::io("cannot lock", path, source)),
        }
    }
    Err(held(path))
}

/// Who holds the build now, if anybody does.
pub fn holder(path: &Path) -> Option<Holder> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    let mut text = String::new();
    (&file).take(4096).read_to_string(&mut text).ok()?;
    let unknown = Holder { pid: 0, command: "unknown".to_owned(), since: None };
    Some(serde_json::from_str(&text).unwrap_or(unknown))
}

fn held(path: &Path) -> Error {
    let who = match holder(path) {
        Some(Holder { pid, command, since: Some(since) }) if pid != 0 => {
            format!("process {pid} (`{command}`, since {since})")
        }
        Some(Holder { pid, command, since: None }) if pid != 0 => format!("process {pid} (`{command}`)"),
        _ => "another process".to_owned(),
    };
    Error::new(Class::Held, format!("{who} holds the build in `{}`", shown(path.parent().unwrap_or(path))))
        .hint("wait for it to end, stop it, or use another --build-dir; a dead process holds nothing")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests stand in for a killed process")]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.lock");
        let now = Timestamp::from_second(0).unwrap();
        let lock = BuildLock::take(&path, "build", now).unwrap();
        let error = BuildLock::take(&path, "build", now).unwrap_err();
        assert_eq!(error.class(), Class::Held);
        assert!(error.message().contains(&format!("process {} (`build`, since 1970-01-01", std::process::id())));
        assert_eq!(holder(&path).unwrap().command, "build");
        drop(lock);
        assert!(holder(&path).is_none());
        BuildLock::take(&path, "clean", now).unwrap();
    }

    /// Only who has looked at it may say that all is well: `gc` has not.
    #[test]
    fn what_a_killed_process_left_is_doubtful_until_it_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.lock");
        let now = Timestamp::from_second(0).unwrap();
        let take = |command| BuildLock::take(&path, command, now).unwrap();
        assert!(!take("build").is_doubtful(), "the first one");
        assert!(!take("build").is_doubtful() && !is_doubtful(&path), "it ended by itself");
        std::fs::write(&path, "{\"pid\":1,\"command\":\"build\",\"since\":\"\"}").unwrap();
        assert!(is_doubtful(&path) && take("gc").is_doubtful() && take("build").is_doubtful());
        let mut lock = take("build");
        lock.settle();
        drop(lock);
        assert!(!take("build").is_doubtful());
    }
}
