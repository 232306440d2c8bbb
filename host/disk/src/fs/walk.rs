//! Everything below a directory, however deep.
//!
//! Neither the stack nor the number of open descriptors grows with the depth:
//! one directory is open at a time, and the way back up is `..`. So nobody else
//! may move directories meanwhile. Links are told and never followed.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use base::error::{Error, Result};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory, and what errors call it.
#[derive(Debug)]
pub struct Folder {
    directory: OwnedFd,
    shown: String,
}

impl Folder {
    /// Of an open directory.
    ///
    /// # Errors
    /// `local`.
    pub fn of(directory: &File) -> Result<Self> {
        let shown = "a directory of the plugin".to_owned();
        let opened = rustix::fs::openat(directory, c".", DIRECTORY, Mode::empty());
        let directory = opened.map_err(|error| Error::local(format!("cannot list {shown}")).caused_by(error))?;
        Ok(Self { directory, shown })
    }
}

/// # Errors
/// `local`, where it is no directory or can not be read.
pub fn open(path: &Path) -> Result<Folder> {
    let opened = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
    let directory = opened.map_err(|error| Error::io("cannot list", path, error.into()))?;
    Ok(Folder { directory, shown: format!("`{}`", path.display()) })
}

/// One name below the directory.
#[derive(Debug)]
pub struct Visited<'a> {
    /// The directories above it, outermost first.
    pub above: &'a [CString],
    /// Its own name.
    pub name: &'a CStr,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it is a regular file. A link or a device is neither.
    pub is_file: bool,
    /// Bytes.
    pub size: u64,
    /// Whether it has other names as well; a directory may.
    pub has_others: bool,
    /// Device and number.
    pub inode: (u64, u64),
    /// Permission bits.
    pub mode: u32,
}

/// Tells `visit` of everything below `root`, directories before what lies in
/// them, until it fails.
///
/// # Errors
/// What `visit` says; `local`.
pub fn each(root: Folder, visit: &mut dyn FnMut(&Visited<'_>) -> Result<()>) -> Result<()> {
    let Folder { mut directory, shown } = root;
    let failed = |error: rustix::io::Errno| Error::local(format!("cannot list {shown}")).caused_by(error);
    let mut above: Vec<CString> = Vec::new();
    // For each directory that we are in, those in it that are still to come.
    let mut pending = vec![entries(&directory, &above, &failed, visit)?];
    while let Some(names) = pending.last_mut() {
        if let Some(name) = names.pop() {
            directory = rustix::fs::openat(&directory, name.as_c_str(), DIRECTORY, Mode::empty()).map_err(&failed)?;
            above.push(name);
            pending.push(entries(&directory, &above, &failed, visit)?);
        } else {
            pending.pop();
            if above.pop().is_some() {
                directory = rustix::fs::openat(&directory, c"..", DIRECTORY, Mode::empty()).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

/// Visits what lies in one directory, and gives the directories in it.
fn entries(
    directory: &OwnedFd,
    above: &[CString],
    failed: &dyn Fn(rustix::io::Errno) -> Error,
    visit: &mut dyn FnMut(&Visited<'_>) -> Result<()>,
) -> Result<Vec<CString>> {
    let mut folders = Vec::new();
    for entry in Dir::read_from(directory.as_fd()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let found = Visited {
            above,
            name,
            is_directory: kind == FileType::Directory,
            is_file: kind == FileType::RegularFile,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            has_others: stat.st_nlink > 1,
            inode: (stat.st_dev, stat.st_ino),
            mode: stat.st_mode & 0o7777,
        };
        visit(&found)?;
        if found.is_directory {
            folders.push(name.to_owned());
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_once_and_directories_first() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        std::fs::create_dir_all(root.path().join("d")).unwrap();
        for file in ["x", "a/x", "a/b/c/x", "d/x"] {
            crate::fs::write_new(&root.path().join(file), b"12").unwrap();
        }
        std::os::unix::fs::symlink("..", root.path().join("a/loop")).unwrap();
        let mut seen = Vec::new();
        each(open(root.path()).unwrap(), &mut |entry| {
            let mut path: Vec<&str> = entry.above.iter().map(|name| name.to_str().unwrap()).collect();
            path.push(entry.name.to_str().unwrap());
            let path = path.join("/");
            if let Some((above, _)) = path.rsplit_once('/') {
                assert!(seen.iter().any(|known| known == above), "{path}");
            }
            assert_eq!(entry.is_file, path.ends_with('x'), "{path}");
            assert!(!entry.is_file || entry.size == 2);
            seen.push(path);
            Ok(())
        })
        .unwrap();
        seen.sort();
        assert_eq!(seen, ["a", "a/b", "a/b/c", "a/b/c/x", "a/loop", "a/x", "d", "d/x", "x"]);
    }

    #[test]
    fn the_depth_costs_neither_stack_nor_descriptors() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        super::super::remove::nest(&top, 30_000);
        let opened = open(&top).unwrap();
        let walking = move || {
            let mut count = 0;
            each(opened, &mut |_| {
                count += 1;
                Ok(())
            })
            .map(|()| count)
        };
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(walking).unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 30_001);
        crate::fs::remove_dir_all(&top).unwrap();
    }
}
