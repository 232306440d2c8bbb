//! `/in`, `/out` and `/work`, for a plugin that insists on files and was
//! granted them. Fresh in every attempt.
//!
//! What a guest leaves in `/out` is hostile: all of it is looked at first, and
//! anything but plain files and directories, a depth or a name that no output
//! may have is refused before a file is touched. Then it is taken over file by
//! file, without following a link.

use std::path::{Path, PathBuf};

use super::amount::Amount;
use super::input::{InputTree, hash_file};
use super::ledger::Ledger;
use super::limits::LOCAL_DEPTH;
use base::error::{Class, Error, Result};
use base::leash::Leash;
use disk::fs;
use disk::fs::walk;
use disk::tree::{Artifact, TreeBuilder, check_path};

/// The directories of one attempt. Dropping removes what is left; once the
/// leash has ended, that is up to the end of the attempt.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    leash: Leash,
    /// Committed trees by name, read-only.
    inputs: Vec<(String, PathBuf)>,
}

impl Directories {
    /// `root` is made anew.
    pub(super) fn create<'a>(
        root: PathBuf,
        inputs: impl Iterator<Item = (&'a str, &'a InputTree)>,
        leash: Leash,
    ) -> Result<Self> {
        fs::remove_dir_all(&root)?;
        let inputs = inputs
            .filter(|(name, _)| check_path(name).is_ok())
            .filter_map(|(name, tree)| tree.committed_root().map(|path| (name.to_owned(), path.to_owned())))
            .collect();
        let directories = Self { root, leash, inputs };
        fs::create_dir_all(&directories.out())?;
        fs::create_dir_all(&directories.work())?;
        Ok(directories)
    }

    /// Where `/out` lies.
    pub(super) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    /// Where `/work` lies.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where each lies, what the guest calls it, whether it may write.
    pub(super) fn preopens(&self) -> Vec<(PathBuf, String, bool)> {
        let inputs = self.inputs.iter().map(|(name, path)| (path.clone(), format!("/in/{name}"), false));
        let own = [(self.out(), "/out"), (self.work(), "/work")];
        inputs.chain(own.map(|(path, guest)| (path, guest.to_owned(), true))).collect()
    }

    /// Moves what lies in `/out` into the output tree.
    ///
    /// # Errors
    /// `plugin` where something there is no output, with nothing moved; what
    /// the leash ends with.
    pub(super) fn take_over(&self, output: &TreeBuilder, ledger: &Ledger, leash: &Leash) -> Result<()> {
        let left = survey(&self.out(), leash)?;
        ledger.set_directory(Amount::default())?;
        for file in &left {
            take_file(&self.out().join(&file.path), file, output, ledger, leash)?;
        }
        Ok(())
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all_unless(&|_| self.leash.check().is_err(), &self.root);
    }
}

/// A file that lies in `/out`.
struct Left {
    path: String,
    size: u64,
    executable: bool,
}

/// Every file in `/out`, where nothing else lies there.
fn survey(out: &Path, leash: &Leash) -> Result<Vec<Left>> {
    let mut left = Vec::new();
    walk::each(walk::open(out)?, &mut |entry| {
        leash.check()?;
        let shown =
            || entry.above.iter().take(LOCAL_DEPTH).map(|name| name.to_string_lossy() + "/").collect::<String>();
        if entry.above.len() >= LOCAL_DEPTH {
            return Err(refusal(&shown(), "lies too deep"));
        }
        let name = entry.name.to_str().map_err(|_| refusal(&shown(), "has a name that is not UTF-8"))?;
        let path = shown() + name;
        if entry.is_directory {
            return Ok(());
        }
        if !entry.is_file || entry.has_others {
            return Err(refusal(&path, "is a link or a special file"));
        }
        check_path(&path).map_err(|error| error.with_class(Class::Plugin))?;
        left.push(Left { path, size: entry.size, executable: entry.mode & 0o100 != 0 });
        Ok(())
    })?;
    Ok(left)
}

fn take_file(file: &Path, left: &Left, output: &TreeBuilder, ledger: &Ledger, leash: &Leash) -> Result<()> {
    let Left { path, size, executable } = left;
    ledger.charge(path, *size).map_err(|error| error.with_class(Class::Plugin))?;
    let (digest, size) = hash_file(file, leash)?;
    let target = output.prepare(path)?;
    fs::rename(file, &target)?;
    // A guest does not sync what it writes.
    fs::sync_file(&target)?;
    fs::set_mode(&target, if *executable { 0o755 } else { 0o644 })?;
    output.record(Artifact { path: path.clone(), digest, size, executable: *executable });
    Ok(())
}

fn refusal(path: &str, why: &str) -> Error {
    let shown: String = path.chars().take(200).flat_map(char::escape_debug).collect();
    Error::new(Class::Plugin, format!("what the plugin left in /out can not be taken over: `{shown}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CallLimits;
    use config::limits::{OwnLimits, PluginSettings};

    fn take_over(left: impl FnOnce(&Path)) -> Result<Vec<String>> {
        let place = tempfile::tempdir().unwrap();
        let directories = Directories::create(place.path().join("directories"), std::iter::empty(), Leash::endless())?;
        left(&directories.out());
        let output = TreeBuilder::new(place.path().join("tree"));
        let ledger = Ledger::new(&CallLimits::new(&PluginSettings::default(), OwnLimits::default()));
        let taken = directories.take_over(&output, &ledger, &Leash::endless());
        let paths = output.listing().artifacts.into_iter().map(|artifact| artifact.path).collect();
        drop(directories);
        assert!(!place.path().join("directories").exists());
        taken.map(|()| paths)
    }

    #[test]
    fn nothing_is_taken_over_where_something_is_no_output() {
        let deep = |out: &Path| {
            fs::write_new(&out.join("a"), b"").unwrap();
            fs::create_dir_all(&out.join(vec!["d"; LOCAL_DEPTH + 1].join("/"))).unwrap();
        };
        assert!(take_over(deep).unwrap_err().message().contains("lies too deep"));
        let link = |out: &Path| {
            fs::write_new(&out.join("a"), b"").unwrap();
            std::os::unix::fs::symlink("a", out.join("b")).unwrap();
        };
        assert!(take_over(link).unwrap_err().message().contains("`b` is a link or a special file"));
        let named = |out: &Path| fs::write_new(&out.join("a\u{202e}b"), b"").unwrap();
        assert!(take_over(named).unwrap_err().message().contains("nobody sees"));
        let alike = |out: &Path| ["a", "A"].iter().for_each(|name| fs::write_new(&out.join(name), b"").unwrap());
        assert!(take_over(alike).unwrap_err().message().contains("one file to some systems"));
    }

    #[test]
    fn plain_files_are_taken_over() {
        let plain = |out: &Path| {
            fs::create_dir_all(&out.join("sub/empty")).unwrap();
            fs::write_new(&out.join("sub/a"), b"1").unwrap();
            fs::write_new(&out.join("b"), b"2").unwrap();
        };
        assert_eq!(take_over(plain).unwrap(), ["b", "sub/a"]);
    }
}
