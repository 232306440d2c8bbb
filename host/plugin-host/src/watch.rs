//! What lies in `/out` and `/work`, counted while it grows.
//!
//! Each act that makes a file longer or makes a new name is charged before it
//! is done, and nothing is given back: what was charged is never less than what
//! lies there. Where it meets a limit, what really lies there is counted anew,
//! so that a guest may write one file over and over and is refused only where
//! it is really too much. Names that are gone from the disk count as long as
//! something holds the file open.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::amount::Amount;
use super::host_time::HostTime;
use super::ledger::Ledger;
use super::room::Room;
use super::stop::Stop;
use base::error::Result;
use disk::fs::walk;

/// Which directory of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuestDirectory {
    /// Below `/in`: nothing grows there.
    In,
    Out,
    Work,
}

/// The two directories that a guest writes to. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    out: PathBuf,
    work: PathBuf,
    ledger: Arc<Ledger>,
    room: Room,
    time: HostTime,
    /// Files that were opened, as long as they are.
    opened: Mutex<Vec<(GuestDirectory, Weak<File>)>>,
}

impl Watch {
    pub(super) fn new(out: PathBuf, work: PathBuf, ledger: Arc<Ledger>, room: Room, time: HostTime) -> Self {
        Self(Arc::new(Inner { out, work, ledger, room, time, opened: Mutex::default() }))
    }

    pub(super) fn time(&self) -> &HostTime {
        &self.0.time
    }

    /// A file that lies, or lay, at `place`.
    pub(super) fn opened(&self, place: GuestDirectory, file: &Arc<File>) {
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Doubling: each is looked at a few times in all.
        if opened.len() == opened.capacity() {
            opened.retain(|(_, file)| file.strong_count() > 0);
        }
        opened.push((place, Arc::downgrade(file)));
    }

    /// What is about to be done makes `place` larger by `more` at most.
    ///
    /// # Errors
    /// Stops the call where that is too much.
    pub(super) fn charge(&self, place: GuestDirectory, more: Amount) -> std::result::Result<(), Stop> {
        if self.grow(place, more).is_ok() {
            return Ok(());
        }
        self.recount().and_then(|()| self.grow(place, more)).map_err(Stop::Host)
    }

    fn grow(&self, place: GuestDirectory, more: Amount) -> Result<()> {
        match place {
            GuestDirectory::In => Ok(()),
            GuestDirectory::Out => self.0.ledger.grow_directory(more),
            GuestDirectory::Work => self.0.room.grow_work(more),
        }
    }

    /// Both at once: a file may have been moved from one to the other.
    fn recount(&self) -> Result<()> {
        let mut seen = HashSet::new();
        let mut out = self.count(&self.0.out, &mut seen)?;
        let mut work = self.count(&self.0.work, &mut seen)?;
        for (place, file) in self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let gone = file.upgrade().and_then(|file| file.metadata().ok()).filter(|metadata| metadata.nlink() == 0);
            let amount = gone.map_or(Amount::default(), |metadata| Amount::file(metadata.len()));
            match place {
                GuestDirectory::In => {}
                GuestDirectory::Out => out = out.plus(amount),
                GuestDirectory::Work => work = work.plus(amount),
            }
        }
        self.0.ledger.set_directory(out)?;
        self.0.room.set_work(work)
    }

    fn count(&self, root: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<Amount> {
        let leash = self.0.time.leash();
        count(walk::open(root)?, seen, &|| leash.check())
    }
}

/// What lies below a directory. Of a file with several names the bytes count
/// once; of one with holes, its length.
fn count(root: walk::Folder, seen: &mut HashSet<(u64, u64)>, ask: &dyn Fn() -> Result<()>) -> Result<Amount> {
    let mut amount = Amount::default();
    walk::each(root, &mut |entry| {
        ask()?;
        let again = entry.has_others && !entry.is_directory && !seen.insert(entry.inode);
        let bytes = if again || entry.is_directory { 0 } else { entry.size };
        amount = amount.plus(Amount::file(bytes));
        Ok(())
    })?;
    Ok(amount)
}

/// The same for a directory that the guest has open.
pub(super) fn count_below(directory: &File) -> Result<Amount> {
    count(walk::Folder::of(directory)?, &mut HashSet::new(), &|| Ok(()))
}
