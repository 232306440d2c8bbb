//! Syncing a directory for many at once.
//!
//! Each commit of a blob needs its directory on disk before it may be called
//! done. While one thread syncs, the others queue; the next sync serves all of
//! them, so that a thousand small blobs cost a few dozen syncs.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use base::error::Result;
use disk::fs;

#[derive(Debug)]
pub(super) struct GroupSync {
    directory: PathBuf,
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Turns {
    /// Renames that asked for a sync so far.
    asked: u64,
    /// All that had asked up to here are durable.
    durable: u64,
    running: bool,
}

impl GroupSync {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, turns: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns once everything that was renamed into the directory before the
    /// call is durable.
    pub(super) fn sync(&self) -> Result<()> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.asked += 1;
        let mine = turns.asked;
        loop {
            if turns.durable >= mine {
                return Ok(());
            }
            if turns.running {
                turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            turns.running = true;
            let covered = turns.asked;
            drop(turns);
            let result = fs::sync_dir(&self.directory);
            turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.running = false;
            if result.is_ok() {
                turns.durable = turns.durable.max(covered);
            }
            self.changed.notify_all();
            result?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let group = GroupSync::new(folder.path().to_owned());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..50).for_each(|_| group.sync().unwrap()));
            }
        });
        let turns = group.turns.lock().unwrap();
        assert_eq!((turns.asked, turns.durable), (800, 800));
    }

    #[test]
    fn a_failing_sync_fails_its_caller_and_blocks_nobody() {
        let group = GroupSync::new("/nowhere/at/all".into());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(group.sync().is_err()));
            }
        });
    }
}
