//! Descriptors that guests make the host hold.
//!
//! Every file, stream and directory that a guest has open is a descriptor of
//! this process, which has so many and needs some itself. Each is a [`Slot`],
//! counted for its call and for the whole process, and given back with the
//! last thing that holds the descriptor.

use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::HOST_DESCRIPTORS;
use base::error::{Class, Error, Result};
use config::limits::Limit;

/// What all calls of this process may have open together.
#[derive(Clone, Debug)]
pub(super) struct Descriptors {
    limit: usize,
    left: Arc<Semaphore>,
}

impl Descriptors {
    /// What the process may have, but for the host's part.
    pub(super) fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(1 << 20).min(1 << 20);
        // Of few, the host needs most.
        Self::new(limit.saturating_sub(HOST_DESCRIPTORS).max(limit / 4))
    }

    fn new(limit: usize) -> Self {
        Self { limit, left: Arc::new(Semaphore::new(limit)) }
    }

    /// For one call, which may have `limit` of them.
    pub(super) fn for_call(&self, limit: usize) -> OpenFiles {
        let left = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        OpenFiles { limit, left, process: self.clone() }
    }
}

/// What one call may have open. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct OpenFiles {
    limit: usize,
    left: Arc<Semaphore>,
    process: Descriptors,
}

/// The right to one descriptor.
#[derive(Debug)]
pub(super) struct Slot {
    _call: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

impl OpenFiles {
    /// # Errors
    /// `plugin` where the call or the process has as many as it may.
    pub(super) fn take(&self) -> Result<Arc<Slot>> {
        let (limit, all) = (self.limit, self.process.limit);
        let call = self.left.clone().try_acquire_owned();
        let call = call.map_err(|_| Limit::OpenFiles.exceeded(format!("more than {limit} files would be open")))?;
        let process = self.process.left.clone().try_acquire_owned().map_err(|_| {
            Error::new(Class::Plugin, format!("the plugins of this build would have more than {all} files open"))
                .hint(format!("allow this process more than {HOST_DESCRIPTORS} open files beside them: `ulimit -n`"))
        })?;
        Ok(Arc::new(Slot { _call: call, _process: process }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_for_a_call_and_for_all_and_come_back() {
        let process = Descriptors::new(3);
        let (one, other) = (process.for_call(2), process.for_call(2));
        let held = (one.take().unwrap(), one.take().unwrap());
        let error = one.take().unwrap_err();
        assert!(error.message().contains("more than 2 files would be open (`plugins.open_files`)"), "{error}");
        let third = other.take().unwrap();
        let error = other.take().unwrap_err();
        assert!(error.message().contains("more than 3 files open"), "{error}");
        assert!(error.hint_text().unwrap().contains("ulimit -n"));
        drop(held);
        other.take().unwrap();
        one.take().unwrap();
        drop(third);
    }
}
