//! Writing the user's files: where they lie, and only over what was read.
//!
//! A file of config/ may be a link, to one that several projects share or that a
//! tool for such files keeps. It stays one: what it leads to is replaced, in
//! one rename, as a plain file is. And whoever writes says what was read there
//! before: what the user, or git, wrote in the meantime is kept, and the error
//! says so.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};
use disk::fs;

/// Bytes of a file that is compared: an airgap.lock of hundreds of thousands of
/// entries.
const LARGEST: u64 = 256 << 20;

/// The files of config/ that a build writes.
pub fn by_builds(layout: &Layout) -> [PathBuf; 3] {
    [layout.airgap_lock(), layout.components(), layout.components_base()]
}

/// Whether a build can write where these lie: said before hours of work.
///
/// # Errors
/// As [`home`]; `local` where nothing can be made beside what one leads to.
pub fn check(layout: &Layout) -> Result<()> {
    for path in by_builds(layout) {
        let home = home(layout, &path)?;
        home.parent().filter(|_| home != path).map_or(Ok(()), fs::check_writable)?;
    }
    Ok(())
}

/// Where a file of the configuration lies, which may be a link.
///
/// # Errors
/// `local` where it leads to nothing, or to what is neither in the project nor
/// the user's.
pub fn home(layout: &Layout, path: &Path) -> Result<PathBuf> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
        return Ok(path.to_owned());
    }
    let link = shown(path);
    let found = path.canonicalize().map_err(|source| {
        Error::local(format!("`{link}` is a link that leads to no file"))
            .caused_by(source)
            .hint("create the file that it leads to, empty if need be, or remove the link")
    })?;
    let metadata = found.metadata().map_err(|source| Error::io("cannot read", &found, source))?;
    let refused = |why: &str| {
        Err(Error::local(format!("`{link}` is a link to `{}`, which {why}", found.display()))
            .hint("put a file of its own in the place of the link, or let it lead to one in the project"))
    };
    if !metadata.is_file() {
        return refused("is no file");
    }
    let root = layout.config.parent().filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_inside =
        [root, &layout.config].iter().any(|folder| folder.canonicalize().is_ok_and(|folder| found.starts_with(folder)));
    if !is_inside && metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("is neither in the project nor yours");
    }
    Ok(found)
}

/// Whether what lies there is what was read, or nothing.
///
/// # Errors
/// `local` where it can not be read.
pub fn is_as_read(path: &Path, read: Option<Digest>) -> Result<bool> {
    let there = fs::read_optional(path, LARGEST)?.map(|bytes| Digest::of(&bytes));
    Ok(there.is_none() || there == read)
}

/// Replaces a file of the configuration by `bytes`.
///
/// # Errors
/// `changed` where something else lies there than what was read; as [`home`];
/// `local`, `disk-full`.
pub fn replace(layout: &Layout, path: &Path, read: Option<Digest>, bytes: &[u8]) -> Result<()> {
    let home = home(layout, path)?;
    if !is_as_read(&home, read)? {
        return Err(was_saved(path, "it was being changed"));
    }
    fs::write_atomic(&home, bytes)
}

/// `meanwhile` continues "while".
pub fn was_saved(path: &Path, meanwhile: &str) -> Error {
    let shown = shown(path);
    Error::new(Class::Changed, format!("`{shown}` was saved by somebody else while {meanwhile}: it is kept as it is"))
        .hint(
            "run the same command again, a build with `--on-change restart`: it goes by what the file says now, and \
             nothing that was fetched is fetched twice",
        )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay links")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn project() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join("project").join(path);
        for folder in ["config", "shared"] {
            fs::create_dir_all(&at(folder)).unwrap();
        }
        let layout = Layout::new(at("config"), at("build"), at("dist"));
        (root, layout)
    }

    #[test]
    fn what_was_saved_in_the_meantime_is_kept() {
        let (_root, layout) = project();
        let path = layout.components();
        replace(&layout, &path, None, b"1").unwrap();
        let read = Some(Digest::of(b"1"));
        fs::write_new(&path, b"the user's").unwrap();
        for read in [read, None] {
            let error = replace(&layout, &path, read, b"2").unwrap_err();
            assert_eq!(error.class(), Class::Changed);
            assert!(error.message().contains("components.yaml"), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"the user's");
        replace(&layout, &path, Some(Digest::of(b"the user's")), b"2").unwrap();
        // What was removed is nothing that could be lost.
        fs::remove_file(&path).unwrap();
        replace(&layout, &path, read, b"3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3");
    }

    #[test]
    fn a_link_stays_one() {
        let (root, layout) = project();
        let path = layout.airgap_lock();
        let (inside, mine) = (layout.config.join("../shared/airgap.lock"), root.path().join("mine.lock"));
        for target in [&inside, &mine] {
            fs::write_new(target, b"1").unwrap();
            fs::remove_file(&path).unwrap();
            symlink(target, &path).unwrap();
            replace(&layout, &path, Some(Digest::of(b"1")), b"2").unwrap();
            assert!(path.symlink_metadata().unwrap().is_symlink());
            assert_eq!(std::fs::read(target).unwrap(), b"2");
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_told_and_left() {
        let (_root, layout) = project();
        let path = layout.airgap_lock();
        let mut targets = vec![("gone", "leads to no file"), ("../shared", "is no file"), ("airgap.lock", "no file")];
        // Of another user, where this is one.
        if !rustix::process::geteuid().is_root() {
            targets.push(("/etc/hosts", "neither in the project nor yours"));
        }
        for (target, why) in targets {
            fs::remove_file(&path).unwrap();
            symlink(target, &path).unwrap();
            let error = replace(&layout, &path, None, b"2").unwrap_err();
            assert!(error.message().contains(why), "{target}: {error}");
            assert!(path.symlink_metadata().unwrap().is_symlink());
        }
    }
}
