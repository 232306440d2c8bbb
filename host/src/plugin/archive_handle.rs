//! An archive that a guest is filling, between its host calls.

use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::writer::ArchiveWriter;
use crate::error::{Class, Error, Result};

/// The archive, or why there is none.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ArchiveHandle {
    /// In the output tree.
    pub(super) path: String,
    writer: Arc<Mutex<Result<ArchiveWriter>>>,
}

impl ArchiveHandle {
    /// A constructor can not fail: what went wrong is told by the first use.
    pub(super) fn new(path: String, writer: Result<ArchiveWriter>) -> Self {
        Self { path, writer: Arc::new(Mutex::new(writer)) }
    }

    /// Work on the archive that can be done on another thread.
    pub(super) fn job<T, W: FnOnce(&mut ArchiveWriter) -> Result<T>>(
        &self,
        work: W,
    ) -> impl FnOnce() -> Result<T> + use<T, W> {
        let shared = self.writer.clone();
        move || {
            let mut writer = shared.lock().unwrap_or_else(PoisonError::into_inner);
            writer.as_mut().map_err(|error| error.clone()).and_then(work)
        }
    }

    /// The writer itself, to finish it. What is called after that fails.
    pub(super) fn take(&self) -> Result<ArchiveWriter> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = Err(Error::new(Class::Plugin, format!("the archive `{}` is finished already", self.path)));
        std::mem::replace(&mut *writer, finished)
    }
}
