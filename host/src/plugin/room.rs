//! Room on the disk for what a call unpacks: taken by each tree, given back
//! when its last handle is dropped. One archive is bounded by its own limits;
//! this bounds all of them together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::UNPACKED_ENTRIES;
use crate::archive::unpack::UnpackLimits;
use crate::tree::Listing;

#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Mutex<UnpackLimits>>);

/// What one tree takes.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: u64,
    entries: u32,
}

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(UnpackLimits { total: bytes, entries: UNPACKED_ENTRIES })))
    }

    /// What is left, and no more than `wanted`.
    pub(super) fn limits(&self, wanted: UnpackLimits) -> UnpackLimits {
        let left = self.left();
        UnpackLimits { total: wanted.total.min(left.total), entries: wanted.entries.min(left.entries) }
    }

    pub(super) fn take(&self, listing: &Listing) -> Taken {
        let bytes = listing.artifacts.iter().map(|artifact| artifact.size).sum();
        let entries = u32::try_from(listing.artifacts.len()).unwrap_or(u32::MAX);
        let mut left = self.left();
        left.total = left.total.saturating_sub(bytes);
        left.entries = left.entries.saturating_sub(entries);
        Taken { room: self.clone(), bytes, entries }
    }

    fn left(&self) -> MutexGuard<'_, UnpackLimits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut left = self.room.left();
        left.total = left.total.saturating_add(self.bytes);
        left.entries = left.entries.saturating_add(self.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::tree::Artifact;

    #[test]
    fn trees_share_the_room_and_give_it_back() {
        let room = Room::new(10);
        let wanted = UnpackLimits { total: 100, entries: 5 };
        assert_eq!((room.limits(wanted).total, room.limits(wanted).entries), (10, 5));
        let file = Artifact { path: "a".into(), digest: Digest::of(b""), size: 7, executable: false };
        let taken = room.take(&Listing { artifacts: vec![file] });
        assert_eq!(room.limits(wanted).total, 3);
        drop(taken);
        assert_eq!(room.limits(wanted).total, 10);
    }
}
