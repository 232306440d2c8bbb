//! What a guest holds of its directories: descriptors, listings, identities.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime_wasi::p2::bindings::filesystem::types::{DirectoryEntry, MetadataHashValue};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::limits::IDENTITIES;
use super::open_files::Slot;
use super::stop::Stop;
use super::watch::{GuestDirectory, Watch};
use base::error::{Class, Error};

/// What a guest holds of its directories.
pub(super) struct Opened {
    pub(super) watch: Watch,
    pub(super) descriptors: HashMap<u32, Held>,
    /// What is left of each listing.
    pub(super) listings: HashMap<u32, Listing>,
    pub(super) identities: Identities,
}

/// Entries by name, the next one last.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) left: Vec<DirectoryEntry>,
    /// As many as were held at its beginning.
    pub(super) count: u64,
}

/// Files and directories, numbered as a guest comes to ask for them. An inode
/// would tell one build from the other.
#[derive(Default)]
pub(super) struct Identities(HashMap<(u64, u64), u64>);

impl Identities {
    pub(super) fn of(&mut self, found: &MetadataHashValue) -> FsResult<MetadataHashValue> {
        let (key, next) = ((found.lower, found.upper), self.0.len());
        if next >= IDENTITIES && !self.0.contains_key(&key) {
            let message = format!("the plugin asked for the identity of more than {IDENTITIES} files");
            let hint = "this is a fault of the plugin: report it to its author";
            return Err(refused(Error::new(Class::Plugin, message).hint(hint)));
        }
        let lower = *self.0.entry(key).or_insert(next as u64);
        Ok(MetadataHashValue { lower, upper: 0 })
    }
}

/// One descriptor.
pub(super) struct Held {
    pub(super) place: GuestDirectory,
    /// Directories between it and the one that the guest was given.
    pub(super) depth: usize,
    /// None for the ones that it was given.
    pub(super) slot: Option<Arc<Slot>>,
}

impl Opened {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, descriptors: HashMap::new(), listings: HashMap::new(), identities: Identities::default() }
    }
}

pub(super) fn ends_the_call(stop: Stop) -> FsError {
    FsError::trap(stop)
}

pub(super) fn refused(error: Error) -> FsError {
    ends_the_call(Stop::Host(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inodes differ from build to build; what a guest is told does not.
    #[test]
    fn a_file_is_known_by_when_it_was_first_asked_for() {
        let mut identities = Identities::default();
        let mut of = |lower, upper| identities.of(&MetadataHashValue { lower, upper }).unwrap().lower;
        assert_eq!([of(7, 1), of(9, 1), of(7, 2), of(9, 1), of(7, 1)], [0, 1, 2, 1, 0]);
        for inode in 0..IDENTITIES as u64 - 3 {
            of(inode, 3);
        }
        assert!(identities.of(&MetadataHashValue { lower: 7, upper: 1 }).is_ok());
        assert!(identities.of(&MetadataHashValue { lower: 8, upper: 1 }).is_err());
    }
}
