//! Work that may block, on a thread of its own.

use base::error::{Class, Error, Result};

/// Runs what blocks on a thread where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

pub(super) fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(Class::Local, "a writing thread failed").caused_by(error)
}
