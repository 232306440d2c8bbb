//! A place for who watches every change of the disk, and may refuse it: the
//! tests put a disk there that fails on demand and forgets what was not synced.
//! Nobody is there in the program that people run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What is about to be done.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// A file is made, or emptied.
    Create,
    /// A file gets other content or another length.
    Write,
    /// The content of a file is made durable.
    Sync,
    /// The names in a directory are made durable.
    SyncDirectory,
    /// A file gets a second name.
    Link,
}

/// Is told of each change before and after it. An error in its place ends the
/// operation.
pub trait Hook: Send + Sync {
    /// # Errors
    /// What the operation fails with.
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()>;
    /// # Errors
    /// As [`Hook::before`]; part of `bytes` may be in the file then.
    fn before_write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Before a directory is made with all that are missing above it.
    ///
    /// # Errors
    /// As [`Hook::before`].
    fn before_create_directory(&self, path: &Path) -> io::Result<()>;
    /// May give a second name for what lies at `to`, to be handed to
    /// [`Hook::renamed`].
    ///
    /// # Errors
    /// As [`Hook::before`].
    fn before_rename(&self, from: &Path, to: &Path) -> io::Result<Option<PathBuf>>;
    /// What lay at `from` lies at `to`. `replaced` is the name that [`Hook::before_rename`]
    /// gave.
    fn renamed(&self, from: &Path, to: &Path, replaced: Option<PathBuf>);
    /// Before a file or a directory is removed; it may be gone afterwards.
    ///
    /// # Errors
    /// As [`Hook::before`].
    fn before_remove(&self, path: &Path) -> io::Result<()>;
    /// A file was made or emptied.
    fn created(&self, file: &File, path: &Path);
    /// A file that was there has a second name.
    fn linked(&self, path: &Path);
    /// The content of a file is durable.
    fn synced(&self, file: &File);
    /// The names in a directory are durable.
    fn directory_synced(&self, path: &Path);
    /// Another program is about to change what lies below.
    fn others_begin(&self, directory: &Path);
    /// The other program has ended.
    fn others_end(&self, directory: &Path);
    /// A place at which a process can be killed.
    fn checkpoint(&self, name: &str);
}

static HOOK: OnceLock<Box<dyn Hook>> = OnceLock::new();

/// From now on `hook` is told. Only the first one counts.
pub fn install(hook: Box<dyn Hook>) {
    HOOK.get_or_init(|| hook);
}

/// Asks whoever is there before an operation.
pub(super) fn ask<T: Default>(what: impl FnOnce(&dyn Hook) -> io::Result<T>) -> io::Result<T> {
    HOOK.get().map_or_else(|| Ok(T::default()), |hook| what(hook.as_ref()))
}

/// Tells them afterwards.
pub(super) fn tell(what: impl FnOnce(&dyn Hook)) {
    if let Some(hook) = HOOK.get() {
        what(hook.as_ref());
    }
}
