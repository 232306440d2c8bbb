//! What a call has put into its output tree, against the limits, and which of
//! it is still being written: of two writers on one path nobody could say whose
//! bytes the file has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::limits::{CallLimits, Limit};
use crate::error::{Class, Error, Result};
use crate::tree::check_path;

/// Bytes by path. Files that the host fetched count as files of no bytes: other
/// limits hold for them.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes: u64,
    files: u64,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    by_path: BTreeMap<String, u64>,
    bytes: u64,
    /// Paths with an unfinished stream or archive.
    open: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn new(limits: &CallLimits) -> Self {
        Self { bytes: limits.output_bytes, files: limits.output_files, written: Mutex::default() }
    }

    /// Enters a file with its size, in place of what was at that path.
    ///
    /// # Errors
    /// `plugin` where the path is refused or a limit exceeded; then nothing
    /// changed.
    pub(super) fn charge(&self, path: &str, bytes: u64) -> Result<()> {
        check_path(path).map_err(|error| error.with_class(Class::Plugin))?;
        let mut written = self.written();
        check_conflict(&written.by_path, path)?;
        check_open(&written.open, path)?;
        let before = written.by_path.get(path).copied();
        let files = written.by_path.len() as u64 + u64::from(before.is_none());
        if files > self.files {
            return Err(exceeded(Limit::OutputFiles, format!("the output would have more than {} files", self.files)));
        }
        let total = (written.bytes - before.unwrap_or(0)).saturating_add(bytes);
        self.check_bytes(total)?;
        written.by_path.insert(path.to_owned(), bytes);
        written.bytes = total;
        Ok(())
    }

    /// Enters a file that will be written piece by piece. Until [`Self::end`]
    /// or [`Self::release`] nobody else may write there.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub(super) fn begin(&self, path: &str) -> Result<()> {
        self.charge(path, 0)?;
        self.written().open.insert(path.to_owned());
        Ok(())
    }

    /// The file is complete.
    pub(super) fn end(&self, path: &str) {
        self.written().open.remove(path);
    }

    /// What was charged for a file.
    pub(super) fn charged(&self, path: &str) -> u64 {
        self.written().by_path.get(path).copied().unwrap_or(0)
    }

    /// # Errors
    /// `plugin` where somebody still writes to `path`.
    pub(super) fn check_idle(&self, path: &str) -> Result<()> {
        check_open(&self.written().open, path)
    }

    /// A file that is being written has become longer.
    pub(super) fn grow(&self, path: &str, more: u64) -> Result<()> {
        let mut written = self.written();
        let total = written.bytes.saturating_add(more);
        self.check_bytes(total)?;
        written.bytes = total;
        if let Some(bytes) = written.by_path.get_mut(path) {
            *bytes += more;
        }
        Ok(())
    }

    /// The file is gone.
    pub(super) fn release(&self, path: &str) {
        let mut written = self.written();
        written.open.remove(path);
        if let Some(bytes) = written.by_path.remove(path) {
            written.bytes -= bytes;
        }
    }

    fn check_bytes(&self, total: u64) -> Result<()> {
        if total <= self.bytes {
            return Ok(());
        }
        let mib = self.bytes >> 20;
        Err(exceeded(Limit::OutputBytes, format!("the output would have more than {mib} MiB")))
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exceeded(limit: Limit, message: String) -> Error {
    Error::new(Class::Plugin, format!("{message} (`{}`)", limit.setting())).hint(limit.hint())
}

/// A file can not lie where a directory is needed, nor the other way round.
fn check_conflict(by_path: &BTreeMap<String, u64>, path: &str) -> Result<()> {
    let below = format!("{path}/");
    let is_directory = by_path.range(below.clone()..).next().is_some_and(|(other, _)| other.starts_with(&below));
    let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    if is_directory || parents.any(|parent| by_path.contains_key(parent)) {
        return Err(Error::new(Class::Plugin, format!("`{path}` would be both a file and a directory of the output")));
    }
    Ok(())
}

fn check_open(open: &BTreeSet<String>, path: &str) -> Result<()> {
    if !open.contains(path) {
        return Ok(());
    }
    Err(Error::new(Class::Plugin, format!("`{path}` is still being written")).hint("close the stream or archive first"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::PluginSettings;

    fn ledger(mib: u64, files: u64) -> Ledger {
        let settings = PluginSettings { output_mib: mib, output_files: files, ..PluginSettings::default() };
        Ledger::new(&CallLimits::new(&settings))
    }

    #[test]
    fn bytes_are_counted_once_per_path() {
        let ledger = ledger(1, 10);
        ledger.charge("a", 1 << 20).unwrap();
        ledger.charge("a", 1 << 19).unwrap();
        ledger.grow("a", 1 << 19).unwrap();
        let error = ledger.grow("a", 1).unwrap_err();
        assert!(error.message().contains("more than 1 MiB (`plugins.output_mib`)"), "{error}");
        ledger.release("a");
        ledger.charge("b", 1 << 20).unwrap();
    }

    #[test]
    fn files_are_counted_and_conflicts_refused() {
        let ledger = ledger(1, 2);
        ledger.charge("a/b", 0).unwrap();
        assert!(ledger.charge("a", 0).unwrap_err().message().contains("both a file and a directory"));
        assert!(ledger.charge("a/b/c", 0).is_err());
        assert!(ledger.charge("../x", 0).is_err());
        ledger.charge("ab", 0).unwrap();
        assert!(ledger.charge("c", 0).unwrap_err().message().contains("`plugins.output_files`"));
        ledger.charge("ab", 1).unwrap();
    }

    /// The file of one writer would be recorded with the digest of the other.
    #[test]
    fn a_path_has_one_writer_at_a_time() {
        let ledger = ledger(1, 10);
        ledger.begin("a").unwrap();
        for refused in [ledger.begin("a"), ledger.charge("a", 1), ledger.check_idle("a")] {
            assert!(refused.unwrap_err().message().contains("still being written"));
        }
        ledger.end("a");
        ledger.begin("a").unwrap();
        ledger.release("a");
        ledger.charge("a", 1).unwrap();
    }
}
