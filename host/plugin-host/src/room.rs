//! Room on the disk for what a call keeps beside its output: what it unpacks,
//! and what it leaves in `/work`. Unpacked trees take their room and give it
//! back when their last handle is dropped; `/work` takes it while it grows (see
//! `watch`). One archive is bounded by its own limits; this bounds all of them
//! together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::amount::Amount;
use super::limits::CallLimits;
use archive::unpack::UnpackLimits;
use base::error::Result;
use config::limits::Limit;

#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// What both may be together.
    limit: Amount,
    /// Bytes of unpacked archives, whatever else there is.
    largest_unpacked: u64,
    unpacked: Amount,
    work: Amount,
}

/// What one tree takes.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    amount: Amount,
}

impl Room {
    /// `largest_unpacked` in bytes.
    pub(super) fn new(limits: &CallLimits, largest_unpacked: u64) -> Self {
        let limit = Amount { bytes: limits.scratch_bytes, files: limits.scratch_files };
        let (unpacked, work) = (Amount::default(), Amount::default());
        Self(Arc::new(Mutex::new(Inner { limit, largest_unpacked, unpacked, work })))
    }

    /// What may be unpacked now, and no more than `wanted`; with what the user
    /// can do where it is less.
    pub(super) fn limits(&self, wanted: UnpackLimits) -> (UnpackLimits, Option<String>) {
        let inner = self.inner();
        let used = inner.unpacked.plus(inner.work);
        let scratch = inner.limit.bytes.saturating_sub(used.bytes);
        let unpacked = inner.largest_unpacked.saturating_sub(inner.unpacked.bytes);
        let entries = u32::try_from(inner.limit.files.saturating_sub(used.files)).unwrap_or(u32::MAX);
        let limits =
            UnpackLimits { total: wanted.total.min(scratch).min(unpacked), entries: wanted.entries.min(entries) };
        let mut raise = Vec::new();
        match limits.total {
            total if total == wanted.total => {}
            total if total == unpacked => raise.push("`security.largest_unpacked_gib`".to_owned()),
            _ => raise.push(format!("`{}`", Limit::ScratchBytes.setting())),
        }
        if limits.entries < wanted.entries {
            raise.push(format!("`{}`", Limit::ScratchFiles.setting()));
        }
        let hint = (!raise.is_empty()).then(|| {
            format!("raise {} in config/settings.yaml, if the archive is what you expect", raise.join(" or "))
        });
        (limits, hint)
    }

    /// What was unpacked.
    pub(super) fn take(&self, unpacked: UnpackLimits) -> Taken {
        let amount = Amount { bytes: unpacked.total, files: unpacked.entries.into() };
        let mut inner = self.inner();
        inner.unpacked = inner.unpacked.plus(amount);
        Taken { room: self.clone(), amount }
    }

    /// `/work` grows.
    ///
    /// # Errors
    /// `plugin` where that is too much; then nothing changed.
    pub(super) fn grow_work(&self, more: Amount) -> Result<()> {
        let mut inner = self.inner();
        let work = inner.work.plus(more);
        inner.check(work)?;
        inner.work = work;
        Ok(())
    }

    /// What lies in `/work` was counted.
    ///
    /// # Errors
    /// `plugin` where that is too much.
    pub(super) fn set_work(&self, found: Amount) -> Result<()> {
        let mut inner = self.inner();
        inner.work = found;
        inner.check(found)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check(&self, work: Amount) -> Result<()> {
        let (limit, used) = (self.limit, work.plus(self.unpacked));
        if used.bytes > limit.bytes {
            let mib = limit.bytes >> 20;
            let message = format!("/work and unpacked archives would have more than {mib} MiB");
            return Err(Limit::ScratchBytes.exceeded(message));
        }
        if used.files > limit.files {
            let message = format!("/work and unpacked archives would have more than {} files", limit.files);
            return Err(Limit::ScratchFiles.exceeded(message));
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut inner = self.room.inner();
        inner.unpacked = inner.unpacked.minus(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::limits::{OwnLimits, PluginSettings};

    fn room(mib: u64, files: u64, largest_unpacked: u64) -> Room {
        let settings = PluginSettings { scratch_mib: mib, scratch_files: files, ..PluginSettings::default() };
        Room::new(&CallLimits::new(&settings, OwnLimits::default()), largest_unpacked)
    }

    #[test]
    fn trees_share_the_room_and_give_it_back() {
        let room = room(1, 10, 10);
        let wanted = UnpackLimits { total: 100, entries: 5 };
        let (limits, hint) = room.limits(wanted);
        assert_eq!((limits.total, limits.entries), (10, 5));
        assert!(hint.unwrap().contains("`security.largest_unpacked_gib`"));
        let taken = room.take(UnpackLimits { total: 7, entries: 6 });
        let (limits, hint) = room.limits(wanted);
        assert_eq!((limits.total, limits.entries), (3, 4));
        assert!(hint.unwrap().contains("`plugins.scratch_files`"));
        drop(taken);
        assert_eq!(room.limits(wanted).0.total, 10);
        assert_eq!(room.limits(UnpackLimits { total: 1, entries: 1 }).1, None);
    }

    #[test]
    fn work_and_unpacked_archives_share_it_too() {
        let room = room(1, 10, u64::MAX);
        let of = |bytes, files| Amount { bytes, files };
        room.grow_work(of(1 << 19, 4)).unwrap();
        let (limits, hint) = room.limits(UnpackLimits { total: u64::MAX, entries: 100 });
        assert_eq!((limits.total, limits.entries), (1 << 19, 6));
        assert!(hint.unwrap().contains("`plugins.scratch_mib` or `plugins.scratch_files`"));
        let taken = room.take(UnpackLimits { total: 1 << 19, entries: 6 });
        assert!(room.grow_work(of(1, 0)).unwrap_err().message().contains("1 MiB (`plugins.scratch_mib`)"));
        assert!(room.grow_work(of(0, 1)).unwrap_err().message().contains("10 files (`plugins.scratch_files`)"));
        room.set_work(of(0, 0)).unwrap();
        room.grow_work(of(1, 1)).unwrap();
        drop(taken);
        assert!(room.set_work(of(1 << 21, 0)).is_err());
    }
}
