//! Every change to the disk goes through here.
//!
//! Two rules live in this file alone: nothing visible is written in place
//! ([`write_atomic`]: temporary file, sync, rename, sync of the directory),
//! and every error names its path. clippy.toml forbids the functions of
//! `std::fs` that change things everywhere else. Reading is free.
#![expect(clippy::disallowed_methods, reason = "the one module that may change the disk")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base::digest::{Digest, Hasher};
use base::error::{Error, Result};

mod below;
pub mod hook;
mod remove;
pub mod walk;

pub use below::{made_by, sync_below};
use hook::{Operation, ask, tell};

/// Writes `bytes` to `path` so that after a crash either the old or the new
/// content is there, whole. Only where this process is the only one that
/// writes there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_via(&temporary_beside(path), path, bytes)
}

/// The same where other processes may write the same file at the same time.
/// What a crash leaves beside it nobody clears away.
pub fn write_atomic_shared(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    write_atomic_via(&path.with_file_name(format!(".{name}.{}.tmp", std::process::id())), path, bytes)
}

fn write_atomic_via(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let result = write_new(temporary, bytes).and_then(|()| {
        checkpoint("temporary-written");
        rename(temporary, path)
    });
    if result.is_err() {
        let _ = fs::remove_file(temporary);
    }
    result?;
    sync_parent(path)
}

/// Replaces `path` without any sync: for what a power loss may take along.
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path);
    let mut file = create(&temporary)?;
    write_all(&mut file, &temporary, bytes)?;
    rename(&temporary, path)
}

/// Creates or truncates `path`, writes `bytes` and syncs them.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create(path)?;
    write_all(&mut file, path, bytes)?;
    sync(&file, path)
}

/// A name beside `path` for what will be renamed to it. Always the same, so
/// that what a crash leaves is overwritten by the next try.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Opens for writing, empty: whatever lies there is emptied.
pub fn create(path: &Path) -> Result<File> {
    ask(|hook| hook.before(Operation::Create, path))
        .and_then(|()| File::create(path))
        .map_err(|source| Error::io("cannot create", path, source))
        .inspect(|file| tell(|hook| hook.created(file, path)))
}

/// Opens for appending, creating it where it is missing.
pub fn append(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().create(true).append(true))
}

/// Opens for reading and writing without truncation, creating it where it is
/// missing.
pub fn open_rw(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().create(true).truncate(false).read(true).write(true))
}

fn open(path: &Path, options: &OpenOptions) -> Result<File> {
    let is_new = !path.exists();
    ask(|hook| hook.before(Operation::Create, path))
        .and_then(|()| options.open(path))
        .map_err(|source| Error::io("cannot open", path, source))
        .inspect(|file| {
            if is_new {
                tell(|hook| hook.created(file, path));
            }
        })
}

/// Writes where the file stands; `path` is what the error names.
pub fn write_all(file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
    ask(|hook| hook.before_write(file, path, bytes))
        .and_then(|()| file.write_all(bytes))
        .map_err(|source| Error::io("cannot write", path, source))
}

/// Cuts a file off at `length` bytes.
pub fn truncate(file: &File, path: &Path, length: u64) -> Result<()> {
    ask(|hook| hook.before(Operation::Write, path))
        .and_then(|()| file.set_len(length))
        .map_err(|source| Error::io("cannot truncate", path, source))
}

/// Makes the file's content durable.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    ask(|hook| hook.before(Operation::Sync, path))
        .and_then(|()| file.sync_data())
        .map_err(|source| Error::io("cannot sync", path, source))?;
    tell(|hook| hook.synced(file));
    Ok(())
}

/// Makes the content of the file at `path` durable.
pub fn sync_file(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::io("cannot open", path, source))?;
    sync(&file, path)
}

/// A place at which a test can kill the process.
pub fn checkpoint(name: &str) {
    tell(|hook| hook.checkpoint(name));
}

/// Makes the entries of a directory durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    ask(|hook| hook.before(Operation::SyncDirectory, path))
        .and_then(|()| File::open(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::io("cannot sync directory", path, source))?;
    tell(|hook| hook.directory_synced(path));
    Ok(())
}

/// Makes the entry of `path` in its directory durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Moves a file or a directory; a file at `to` is replaced. Durable once the directories of
/// both are synced.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| Error::io("cannot rename to", to, source);
    let replaced = ask(|hook| hook.before_rename(from, to)).map_err(failed)?;
    fs::rename(from, to).map_err(failed)?;
    tell(|hook| hook.renamed(from, to, replaced));
    Ok(())
}

/// A second name for the same bytes; a copy where the file system has no hard
/// links or the two lie on different ones.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    link_or_copy_unless(&|| false, from, to)
}

/// The same; a copy ends early when it is told to stop.
///
/// # Errors
/// `interrupted`: part of a copy lies there. `local`, `disk-full`.
pub fn link_or_copy_unless(stop: &dyn Fn() -> bool, from: &Path, to: &Path) -> Result<()> {
    ask(|hook| hook.before(Operation::Link, to)).map_err(|source| Error::io("cannot link to", to, source))?;
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => copy_unless(stop, from, to)?,
        Ok(()) => tell(|hook| hook.linked(to)),
    }
    Ok(())
}

/// Bytes that a second name of a file has taken on the same disk: none but
/// where the file had as many names as it can have, and was copied. On another
/// disk a name is always a copy.
pub fn multiplied(from: &Path, to: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let (Ok(from), Ok(to)) = (from.metadata(), to.metadata()) else { return 0 };
    if from.dev() == to.dev() && from.ino() != to.ino() { to.len() } else { 0 }
}

/// Copies piece by piece: no single act takes long.
fn copy_unless(stop: &dyn Fn() -> bool, from: &Path, to: &Path) -> Result<()> {
    use io::Read;
    const PIECE: u64 = 1 << 20;
    let failed = |source| Error::io("cannot read", from, source);
    let mut source = File::open(from).map_err(failed)?;
    let mut target = create(to)?;
    let mut behind = Behind::default();
    let mut piece = Vec::new();
    loop {
        if stop() {
            return Err(Error::interrupted());
        }
        piece.clear();
        if (&mut source).take(PIECE).read_to_end(&mut piece).map_err(failed)? == 0 {
            break;
        }
        behind.write_all(&mut target, to, &piece)?;
    }
    let mode = source.metadata().map_err(failed)?.permissions();
    target.set_permissions(mode).map_err(|source| Error::io("cannot set the mode of", to, source))?;
    sync(&target, to)
}

/// How far the disk is behind what was written to a file. It is synced on the
/// way, so that what is left of it at the end takes no longer than a piece:
/// nobody can interrupt a sync.
#[derive(Debug, Default)]
pub struct Behind {
    bytes: usize,
}

impl Behind {
    const MOST: usize = 16 << 20;

    /// Writes, and syncs where much has been written since the last time.
    pub fn write_all(&mut self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
        write_all(file, path, bytes)?;
        self.bytes += bytes.len();
        if self.bytes < Self::MOST {
            return Ok(());
        }
        self.bytes = 0;
        sync(file, path)
    }
}

/// Makes a directory and those that are missing above it.
pub fn create_dir_all(path: &Path) -> Result<()> {
    ask(|hook| hook.before_create_directory(path))
        .and_then(|()| fs::create_dir_all(path))
        .map_err(|source| Error::io("cannot create directory", path, source))
}

/// The same, and what was made survives a crash.
pub fn create_dir_all_durable(path: &Path) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    create_dir_all(path)?;
    missing.into_iter().rev().try_for_each(sync_parent)
}

/// A new, private folder in `parent`, removed with everything in it when
/// dropped: for what is never to become visible.
pub fn scratch(parent: &Path) -> Result<tempfile::TempDir> {
    let made = tempfile::Builder::new().prefix("opencenter-airgap-").tempdir_in(parent);
    made.map_err(|source| Error::io("cannot create a temporary folder in", parent, source))
}

/// A file in `folder` that has no name, and is gone when it is closed.
pub fn nameless(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(|source| Error::io("cannot create a file in", folder, source))
}

/// Removes a file; one that is not there is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match ask(|hook| hook.before_remove(path)).and_then(|()| fs::remove_file(path)) {
        Err(error) if !is_gone(&error, path) => Err(Error::io("cannot remove", path, error)),
        _ => Ok(()),
    }
}

/// A file system that is mounted read-only refuses the removal of what is not
/// there as well.
fn is_gone(error: &io::Error, path: &Path) -> bool {
    let is_missing = || path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    error.kind() == io::ErrorKind::NotFound || (error.kind() == io::ErrorKind::ReadOnlyFilesystem && is_missing())
}

/// Removes a directory and everything in it, however deep; one that is not
/// there is fine.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    remove_dir_all_unless(&|_| false, path)
}

/// The same, until it is told to stop: what is left then lies where it was.
/// `stop` gets the bytes of a file that is about to be removed.
pub fn remove_dir_all_unless(stop: &dyn Fn(u64) -> bool, path: &Path) -> Result<()> {
    match ask(|hook| hook.before_remove(path)).and_then(|()| remove::all_unless(stop, path)) {
        Err(error) if !is_gone(&error, path) => Err(Error::io("cannot remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a directory that is empty; whether it did.
pub(crate) fn remove_empty_dir(path: &Path) -> bool {
    fs::remove_dir(path).is_ok()
}

/// Sets the permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|source| Error::io("cannot set the mode of", path, source))
}

/// What lies at a path where it is no regular file, links followed.
pub fn no_file(path: &Path) -> Option<&'static str> {
    let metadata = path.metadata().ok()?;
    match () {
        () if metadata.is_file() => None,
        () if metadata.is_dir() => Some("a folder"),
        () => Some("a device, a socket or a pipe"),
    }
}

/// The digest of a file, and its size in bytes.
///
/// # Errors
/// `local` where it cannot be read.
pub fn hashed(path: &Path) -> Result<(Digest, u64)> {
    let failed = |source| Error::io("cannot read", path, source);
    let mut file = io::BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut hasher = Hasher::new();
    let size = io::copy(&mut file, &mut hasher).map_err(failed)?;
    Ok((hasher.finish(), size))
}

/// The names in a folder.
///
/// # Errors
/// `local` where it cannot be listed.
pub fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let failed = |source| Error::io("cannot read", folder, source);
    let entries = folder.read_dir().map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

/// Reads a whole file of at most `limit` bytes; None where it is missing.
pub fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use io::Read;
    // Opening a pipe would wait for somebody to write into it.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::invalid(format!("`{}` is not a regular file", path.display())));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| Error::io("cannot read", path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(format!("`{}` is larger than {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// How a file looks from outside: its number and the times of its last changes.
/// Whoever writes into it or puts another one in its place changes that.
pub fn stamp(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let found = path.symlink_metadata().ok()?;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some(format!("{} {}.{:09} {}.{:09}", found.ino(), modified.0, modified.1, changed.0, changed.1))
}

/// Whether files can be made in a directory, which may not be there yet.
///
/// # Errors
/// `local` with the folder that is in the way.
pub fn check_writable(path: &Path) -> Result<()> {
    let there = path.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(Error::local(format!("`{}` is in the way: it is not a folder", there.display())));
    }
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK)
        .map_err(|source| Error::io("cannot write in", there, source.into()))
}

/// Makes a directory that nobody else may enter, and those above it where they
/// are missing. One that is there is left as it is.
pub fn create_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("cannot create directory", path, error))
        }
        _ => Ok(()),
    }
}

/// Creates a file that nobody else may read. Fails where one is there.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::io("cannot create", path, source))?;
    write_all(&mut file, path, bytes)?;
    sync(&file, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    #[test]
    fn a_copy_is_whole_with_its_mode_or_stops_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        write_new(&from, &bytes).unwrap();
        set_mode(&from, 0o755).unwrap();
        let asked = std::cell::Cell::new(0);
        let after_two = || asked.replace(asked.get() + 1) == 2;
        assert_eq!(copy_unless(&after_two, &from, &to).unwrap_err().class(), Class::Interrupted);
        assert_eq!(fs::read(&to).unwrap(), bytes[..2 << 20]);
        copy_unless(&|| false, &from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}
