//! What `faults` is in a released binary: nothing.

use std::fs::File;
use std::io;
use std::path::Path;

#[derive(Clone, Copy)]
pub(super) enum Operation {
    Create,
    Write,
    Sync,
    SyncDirectory,
    Link,
}

/// What a crash would undo.
pub(super) struct Undo;

#[inline]
pub(super) fn before(_operation: Operation, _path: &Path) -> io::Result<()> {
    Ok(())
}
#[inline]
pub(super) fn before_write(_file: &mut File, _path: &Path, _bytes: &[u8]) -> io::Result<()> {
    Ok(())
}
#[inline]
pub(super) fn before_rename(_from: &Path, _to: &Path) -> io::Result<Undo> {
    Ok(Undo)
}
#[inline]
pub(super) fn before_remove(_path: &Path) -> io::Result<()> {
    Ok(())
}
#[inline]
pub(super) fn before_create_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
#[inline]
pub(super) fn created(_file: &File, _path: &Path) {}
#[inline]
pub(super) fn linked(_path: &Path) {}
#[inline]
pub(super) fn renamed(_undo: Undo) {}
#[inline]
pub(super) fn synced(_file: &File) {}
#[inline]
pub(super) fn directory_synced(_path: &Path) {}
#[inline]
pub(super) fn checkpoint(_name: &str) {}
#[inline]
pub(super) fn others_begin(_directory: &Path) {}
#[inline]
pub(super) fn others_end(_directory: &Path) {}
