//! Removing a directory whatever is in it.
//!
//! What a guest leaves may be nested deeper than a stack is high, a path is
//! long and a process has descriptors. So nothing here recurses and no path is
//! built: names are removed relative to the open directory that they lie in,
//! of which at most [`OPEN`] are kept. What lies deeper is moved up to the
//! root of what is removed, and its turn comes there. Links are removed and
//! never followed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Directories that are open at the same time.
const OPEN: usize = 16;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the directory at `path` and everything in it, until it is told to
/// stop; whether everything is gone. Who tells is asked before each entry, with
/// the bytes of what is a file: to remove a large one takes long. A link at `path` itself is removed, and
/// what it leads to stays.
pub(super) fn all_unless(stop: &dyn Fn(u64) -> bool, path: &Path) -> io::Result<bool> {
    if path.symlink_metadata()?.is_symlink() {
        rustix::fs::unlink(path)?;
        return Ok(true);
    }
    let root = open(CWD, path)?;
    let is_empty = Removal { levels: vec![Level::new(root, c"")?], moved: 0 }.run(stop)?;
    if is_empty {
        rustix::fs::rmdir(path)?;
    }
    Ok(is_empty)
}

/// A directory that is being emptied.
struct Level {
    /// Its name in the level above.
    name: CString,
    entries: Dir,
    /// Whether something went since its entries were read from the start: then
    /// others may have been passed over.
    has_changed: bool,
}

impl Level {
    fn new(directory: OwnedFd, name: &CStr) -> io::Result<Self> {
        Ok(Self { name: name.to_owned(), entries: Dir::new(directory)?, has_changed: false })
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.entries.fd()?)
    }

    /// The next entry; None when a whole pass has found nothing.
    fn next(&mut self) -> io::Result<Option<CString>> {
        loop {
            match self.entries.read() {
                Some(entry) => match entry?.file_name() {
                    name if name == c"." || name == c".." => {}
                    name => return Ok(Some(name.to_owned())),
                },
                None if self.has_changed => {
                    self.has_changed = false;
                    self.entries.rewind();
                }
                None => return Ok(None),
            }
        }
    }
}

/// From the root of what is removed down to where we are.
struct Removal {
    levels: Vec<Level>,
    moved: u64,
}

impl Removal {
    /// Whether the root is empty.
    fn run(mut self, stop: &dyn Fn(u64) -> bool) -> io::Result<bool> {
        while let Some(level) = self.levels.last_mut() {
            match level.next()? {
                Some(name) if stop(size_of(level.fd()?, &name)) => return Ok(false),
                Some(name) => {
                    level.has_changed = true;
                    self.remove(&name)?;
                }
                None => self.leave()?,
            }
        }
        Ok(true)
    }

    /// A file or a link goes at once; a directory is entered, or moved up.
    fn remove(&mut self, name: &CStr) -> io::Result<()> {
        let depth = self.levels.len();
        let Some(level) = self.levels.last() else { return Ok(()) };
        let directory = level.fd()?;
        match permitted(directory, None, || rustix::fs::unlinkat(directory, name, AtFlags::empty())) {
            // Linux says the first of a directory, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return Ok(done?),
        }
        if depth < OPEN {
            let child = open(directory, name)?;
            self.levels.push(Level::new(child, name)?);
            return Ok(());
        }
        self.move_up(name)
    }

    /// Gives the directory `name` of the lowest level a name of its own in the
    /// root, where it is found in the next pass.
    fn move_up(&mut self, name: &CStr) -> io::Result<()> {
        let (Some(root), Some(level)) = (self.levels.first(), self.levels.last()) else { return Ok(()) };
        let (above, below) = (root.fd()?, level.fd()?);
        loop {
            self.moved += 1;
            let new = format!(".removed-{}", self.moved);
            let moving = || rustix::fs::renameat_with(below, name, above, new.as_str(), RenameFlags::NOREPLACE);
            match permitted(below, Some(name), moving) {
                // Something of that name lies there.
                Err(Errno::EXIST) => {}
                done => return Ok(done?),
            }
        }
    }

    /// The lowest level is empty.
    fn leave(&mut self) -> io::Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let Some(above) = self.levels.last() else { return Ok(()) };
        let directory = above.fd()?;
        drop(level.entries);
        let removing = || rustix::fs::unlinkat(directory, level.name.as_c_str(), AtFlags::REMOVEDIR);
        Ok(permitted(directory, None, removing)?)
    }
}

/// Bytes of a file; 0 for anything else.
fn size_of(directory: BorrowedFd<'_>, name: &CStr) -> u64 {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let file = stat.ok().filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    file.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// Opens a directory to empty it, also one that its owner closed to itself.
fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    match rustix::fs::openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Proof that it is a directory and no link: a mode is set through
            // links.
            rustix::fs::openat(parent, name, OFlags::PATH | DIRECTORY, Mode::empty())?;
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            Ok(rustix::fs::openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// Does `act` in `directory`; where that is not permitted the owner's rights
/// are restored, those on the directory `child` as well, and it is tried again.
fn permitted(
    directory: BorrowedFd<'_>,
    child: Option<&CStr>,
    act: impl Fn() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match act() {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory.as_fd(), Mode::RWXU)?;
            if let Some(child) = child {
                rustix::fs::chmodat(directory, child, Mode::RWXU, AtFlags::empty())?;
            }
            act()
        }
        done => done,
    }
}

/// `depth` directories, each in the one before, and a file in the last.
#[cfg(test)]
pub(super) fn nest(root: &Path, depth: usize) {
    std::fs::create_dir(root).unwrap();
    let mut at = open(CWD, root).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = open(at.as_fd(), c"d").unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    rustix::fs::openat(&at, c"file", flags, Mode::RWXU).unwrap();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn all(path: &Path) -> io::Result<()> {
        all_unless(&|_| false, path).map(drop)
    }

    /// Far longer than a path may be, with the stack of a small thread.
    #[test]
    fn a_hundred_thousand_directories_in_each_other_go() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        nest(&root, 100_000);
        let removing = root.clone();
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || all(&removing));
        thread.unwrap().join().unwrap().unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn wide_and_deep_and_names_of_our_own_go() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        nest(&root, 40);
        for name in [".removed-1", ".removed-2/x", "d/.removed-3"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for number in 0..3000 {
            crate::fs::write_new(&root.join("d/d").join(number.to_string()), b"").unwrap();
        }
        all(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn links_go_and_what_they_lead_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (root, kept) = (folder.path().join("root"), folder.path().join("kept"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::create_dir_all(&kept).unwrap();
        crate::fs::write_new(&kept.join("file"), b"").unwrap();
        symlink(&kept, root.join("a/out")).unwrap();
        symlink("..", root.join("a/loop")).unwrap();
        symlink(&kept, folder.path().join("link")).unwrap();
        all(&root).unwrap();
        all(&folder.path().join("link")).unwrap();
        assert!(!root.exists() && kept.join("file").exists());
        assert!(!folder.path().join("link").exists());
    }

    #[test]
    fn what_its_owner_closed_goes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        nest(&root, 20);
        let mut closed = root.join("d/d");
        std::fs::create_dir(closed.join("beside")).unwrap();
        for mode in [0o000, 0o500, 0o300] {
            std::fs::set_permissions(&closed, PermissionsExt::from_mode(mode)).unwrap();
            closed = root.join("d");
        }
        all(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn who_is_told_to_stop_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        nest(&root, 20);
        let asked = std::cell::Cell::new(0);
        let stop = |_| asked.replace(asked.get() + 1) >= 10;
        assert!(!all_unless(&stop, &root).unwrap());
        assert!(root.exists() && asked.get() == 11);
        crate::fs::write_new(&root.join("large"), b"four").unwrap();
        assert!(!all_unless(&|bytes| bytes == 4, &root).unwrap() && root.join("large").exists());
        assert!(all_unless(&|_| false, &root).unwrap() && !root.exists());
    }

    #[test]
    fn a_file_is_no_directory_and_what_is_absent_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        crate::fs::write_new(&file, b"").unwrap();
        assert_eq!(all(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(all(&folder.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(file.exists());
    }
}
