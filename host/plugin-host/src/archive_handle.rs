//! An archive that a guest is filling, between its host calls.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use archive::ArchiveWriter;
use base::error::{Class, Error, Result};
use base::leash::Leash;

/// An archive that is being written, and its part of how many may be.
pub(super) struct Archive {
    pub(super) writer: ArchiveWriter,
    pub(super) _slot: OwnedSemaphorePermit,
}

/// The archive, or why there is none.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ArchiveHandle {
    /// In the output tree.
    pub(super) path: String,
    archive: Arc<Mutex<Result<Archive>>>,
}

impl ArchiveHandle {
    /// A constructor can not fail: what went wrong is told by the first use.
    pub(super) fn new(path: String, archive: Result<Archive>) -> Self {
        Self { path, archive: Arc::new(Mutex::new(archive)) }
    }

    /// Work on the archive that can be done on another thread.
    pub(super) fn job<T, W: FnOnce(&mut ArchiveWriter, &Leash) -> Result<T>>(
        &self,
        work: W,
    ) -> impl FnOnce(&Leash) -> Result<T> + use<T, W> {
        let shared = self.archive.clone();
        move |leash: &Leash| {
            let mut archive = shared.lock().unwrap_or_else(PoisonError::into_inner);
            archive.as_mut().map_err(|error| error.clone()).and_then(|archive| work(&mut archive.writer, leash))
        }
    }

    /// The archive itself, to finish it. What is called after that fails.
    pub(super) fn take(&self) -> Result<Archive> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = Err(Error::new(Class::Plugin, format!("the archive `{}` is finished already", self.path)));
        std::mem::replace(&mut *archive, finished)
    }
}
