//! One build directory, one process: the lock on build/state.lock.
//!
//! The lock is the operating system's, so that of a dead process frees
//! itself. It lies beside state.json, because replacing a file by rename
//! would lose a lock on it. The holder writes who it is into the file.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::fs;
use crate::layout::shown;

/// Who holds a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// "build", "clean".
    pub command: String,
    /// RFC 3339, UTC.
    pub since: String,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct BuildLock {
    _file: File,
}

impl BuildLock {
    /// Takes the lock, or says at once who has it.
    ///
    /// # Errors
    /// `held` with the holder's process and command.
    pub fn take(path: &Path, command: &str, now: Timestamp) -> Result<Self> {
        let mut file = fs::open_rw(path)?;
        lock(&file, path)?;
        let holder =
            Holder { pid: std::process::id(), command: command.to_owned(), since: super::format::rfc3339(now) };
        // Who holds it is told for people: a failure to write it is no reason
        // not to build.
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        Ok(Self { _file: file })
    }
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
    let unknown = Holder { pid: 0, command: "unknown".to_owned(), since: String::new() };
    Some(serde_json::from_str(&text).unwrap_or(unknown))
}

fn held(path: &Path) -> Error {
    let who = match holder(path) {
        Some(Holder { pid, command, since }) if pid != 0 => format!("process {pid} (`{command}`, since {since})"),
        _ => "another process".to_owned(),
    };
    Error::new(Class::Held, format!("{who} holds the build in `{}`", shown(path.parent().unwrap_or(path))))
        .hint("wait for it to end, stop it, or use another --build-dir; a dead process holds nothing")
}

#[cfg(test)]
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
}
