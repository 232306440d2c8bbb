//! `/in`, `/out` and `/work`, for a plugin that insists on files and was
//! granted them. Fresh in every attempt.
//!
//! What a guest leaves in `/out` is hostile: it is taken over file by file,
//! without following a link, and anything but plain files and directories is
//! refused.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::input::InputTree;
use super::ledger::Ledger;
use super::limits::LOCAL_DEPTH;
use crate::error::{Class, Error, Result};
use crate::fs;
use crate::tree::{Artifact, TreeBuilder, check_path};

/// The directories of one attempt. Dropping removes what is left.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    /// Committed trees by name, read-only.
    inputs: Vec<(String, PathBuf)>,
}

impl Directories {
    /// `root` is made anew.
    pub(super) fn create<'a>(root: PathBuf, inputs: impl Iterator<Item = (&'a str, &'a InputTree)>) -> Result<Self> {
        fs::remove_dir_all(&root)?;
        fs::create_dir_all(&root.join("out"))?;
        fs::create_dir_all(&root.join("work"))?;
        let inputs = inputs
            .filter(|(name, _)| check_path(name).is_ok())
            .filter_map(|(name, tree)| tree.committed_root().map(|path| (name.to_owned(), path.to_owned())))
            .collect();
        Ok(Self { root, inputs })
    }

    /// Where each lies, what the guest calls it, whether it may write.
    pub(super) fn preopens(&self) -> Vec<(PathBuf, String, bool)> {
        let inputs = self.inputs.iter().map(|(name, path)| (path.clone(), format!("/in/{name}"), false));
        let own = [("out", "/out"), ("work", "/work")];
        inputs.chain(own.iter().map(|(name, guest)| (self.root.join(name), (*guest).to_owned(), true))).collect()
    }

    /// Moves what lies in `/out` into the output tree.
    pub(super) fn take_over(&self, output: &TreeBuilder, ledger: &Ledger) -> Result<()> {
        take_over(&self.root.join("out"), "", output, ledger, 0)
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn take_over(directory: &Path, prefix: &str, output: &TreeBuilder, ledger: &Ledger, depth: usize) -> Result<()> {
    if depth > LOCAL_DEPTH {
        return Err(refusal(prefix, "lies too deep"));
    }
    let entries = directory.read_dir().map_err(|error| Error::io("cannot list", directory, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("cannot list", directory, error))?;
        let name = entry.file_name().into_string().map_err(|_| refusal(prefix, "has a name that is not UTF-8"))?;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata =
            entry.path().symlink_metadata().map_err(|error| Error::io("cannot read", &entry.path(), error))?;
        if metadata.is_dir() {
            take_over(&entry.path(), &path, output, ledger, depth + 1)?;
        } else if !metadata.is_file() || metadata.nlink() > 1 {
            return Err(refusal(&path, "is a link or a special file"));
        } else {
            take_file(&entry.path(), &path, &metadata, output, ledger)?;
        }
    }
    Ok(())
}

fn take_file(
    file: &Path,
    path: &str,
    metadata: &std::fs::Metadata,
    output: &TreeBuilder,
    ledger: &Ledger,
) -> Result<()> {
    check_path(path)
        .and_then(|()| ledger.charge(path, metadata.len()))
        .map_err(|error| error.with_class(Class::Plugin))?;
    let (digest, size) = super::input::hash_file(file)?;
    let executable = metadata.mode() & 0o100 != 0;
    let target = output.prepare(path)?;
    fs::rename(file, &target)?;
    // A guest does not sync what it writes.
    fs::sync_file(&target)?;
    fs::set_mode(&target, if executable { 0o755 } else { 0o644 })?;
    output.record(Artifact { path: path.to_owned(), digest, size, executable });
    Ok(())
}

fn refusal(path: &str, why: &str) -> Error {
    Error::new(
        Class::Plugin,
        format!("what the plugin left in /out can not be taken over: `{}` {why}", path.escape_debug()),
    )
}
