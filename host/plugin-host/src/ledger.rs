//! What a call has put into its output tree, against the limits, and which of
//! it is still being written: of two writers on one path nobody could say whose
//! bytes the file has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::amount::Amount;
use super::limits::CallLimits;
use base::error::{Class, Error, Result};
use config::limits::{Limit, OwnLimits};
use disk::tree::check_path;
use disk::tree::names::Spellings;

/// Bytes by path. Files that the host fetched count as files of no bytes: other
/// limits hold for them.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes: u64,
    files: u64,
    own: OwnLimits,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    by_path: BTreeMap<String, u64>,
    spellings: Spellings,
    bytes: u64,
    /// What lies in `/out` and was not taken over yet.
    directory: Amount,
    /// Paths with an unfinished stream or archive.
    open: BTreeSet<String>,
}

impl Written {
    fn amount(&self) -> Amount {
        Amount { bytes: self.bytes, files: self.by_path.len() as u64 }
    }
}

impl Ledger {
    pub(super) fn new(limits: &CallLimits) -> Self {
        Self { bytes: limits.output_bytes, files: limits.output_files, own: limits.own, written: Mutex::default() }
    }

    /// Enters a file with its size, in place of what was at that path.
    ///
    /// # Errors
    /// `plugin` where the path is refused or a limit exceeded; then nothing
    /// changed.
    pub(super) fn charge(&self, path: &str, bytes: u64) -> Result<()> {
        check_path(path).map_err(|error| error.with_class(Class::Plugin))?;
        let mut written = self.written();
        check_conflict(&written, path)?;
        check_open(&written.open, path)?;
        let before = written.by_path.get(path).copied();
        let files = written.by_path.len() as u64 + u64::from(before.is_none());
        let total = (written.bytes - before.unwrap_or(0)).saturating_add(bytes);
        self.check(Amount { bytes: total, files }.plus(written.directory))?;
        let directories = written.spellings.count_with(path) as u64 - files;
        if directories > self.files {
            let message = format!("the output would have more than {} directories", self.files);
            return Err(self.own.exceeded(Limit::OutputFiles, message));
        }
        if before.is_none() {
            written.spellings.add(path);
        }
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

    /// Holds a path for a file that the host fetches. Until it is there nobody
    /// else may write to it, and what was written to it before counts on.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub(super) fn reserve(self: &Arc<Self>, path: &str) -> Result<Reserved> {
        let charged = self.written().by_path.get(path).copied();
        match charged {
            None => self.charge(path, 0)?,
            Some(_) => self.check_idle(path)?,
        }
        self.written().open.insert(path.to_owned());
        Ok(Reserved { ledger: self.clone(), path: path.to_owned(), before: charged, is_settled: false })
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
        self.check(Amount::bytes(total).plus(Amount::bytes(written.directory.bytes)))?;
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
            written.spellings.remove(path);
        }
    }

    /// `/out` grows.
    ///
    /// # Errors
    /// `plugin` where that is too much; then nothing changed.
    pub(super) fn grow_directory(&self, more: Amount) -> Result<()> {
        let mut written = self.written();
        let directory = written.directory.plus(more);
        self.check(written.amount().plus(directory))?;
        written.directory = directory;
        Ok(())
    }

    /// What lies in `/out` was counted.
    ///
    /// # Errors
    /// `plugin` where that is too much.
    pub(super) fn set_directory(&self, found: Amount) -> Result<()> {
        let mut written = self.written();
        written.directory = found;
        self.check(written.amount().plus(found))
    }

    /// What marks keep, whether it is in the output or not.
    ///
    /// # Errors
    /// `plugin` where that is too much.
    pub(super) fn check_marked(&self, kept: Amount) -> Result<()> {
        self.check_of("what is marked", kept)
    }

    fn check(&self, total: Amount) -> Result<()> {
        self.check_of("the output", total)
    }

    fn check_of(&self, what: &str, total: Amount) -> Result<()> {
        if total.files > self.files {
            let message = format!("{what} would have more than {} files", self.files);
            return Err(self.own.exceeded(Limit::OutputFiles, message));
        }
        if total.bytes > self.bytes {
            let mib = self.bytes >> 20;
            return Err(self.own.exceeded(Limit::OutputBytes, format!("{what} would have more than {mib} MiB")));
        }
        Ok(())
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path that is held for a file to come. Dropped, it is as it was before.
#[derive(Debug)]
pub(super) struct Reserved {
    ledger: Arc<Ledger>,
    path: String,
    before: Option<u64>,
    is_settled: bool,
}

impl Reserved {
    /// The file is there, and takes this much of the output.
    ///
    /// # Errors
    /// As [`Ledger::charge`].
    pub(super) fn fill(mut self, bytes: u64) -> Result<()> {
        self.ledger.end(&self.path);
        self.ledger.charge(&self.path, bytes)?;
        self.is_settled = true;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        match (self.is_settled, self.before) {
            (true, _) => {}
            (false, None) => self.ledger.release(&self.path),
            (false, Some(_)) => self.ledger.end(&self.path),
        }
    }
}

/// A file can not lie where a directory is needed, nor the other way round, and
/// no two names may be one to a file system that knows no case.
fn check_conflict(written: &Written, path: &str) -> Result<()> {
    let below = format!("{path}/");
    let by_path = &written.by_path;
    let is_directory = by_path.range(below.clone()..).next().is_some_and(|(other, _)| other.starts_with(&below));
    let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    if is_directory || parents.any(|parent| by_path.contains_key(parent)) {
        return Err(Error::new(Class::Plugin, format!("`{path}` would be both a file and a directory of the output")));
    }
    match written.spellings.conflict(path) {
        Some(other) => Err(Error::new(
            Class::Plugin,
            format!("`{}` and `{}` would be one file to some systems", path.escape_debug(), other.escape_debug()),
        )
        .hint("give them names that differ in more than case or composition")),
        None => Ok(()),
    }
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
    use config::limits::PluginSettings;

    fn ledger(mib: u64, files: u64) -> Ledger {
        let settings = PluginSettings { output_mib: mib, output_files: files, ..PluginSettings::default() };
        Ledger::new(&CallLimits::new(&settings, OwnLimits::default()))
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

    /// One path may name sixty of them.
    #[test]
    fn directories_are_counted_as_well() {
        let ledger = ledger(1, 2);
        ledger.charge("a/b/c", 0).unwrap();
        ledger.charge("a/b/d", 0).unwrap();
        ledger.release("a/b/d");
        let error = ledger.charge("a/e/f", 0).unwrap_err();
        assert!(error.message().contains("more than 2 directories (`plugins.output_files`)"), "{error}");
    }

    #[test]
    fn what_lies_in_out_counts_with_what_was_written() {
        let ledger = ledger(1, 3);
        ledger.charge("a", 1 << 19).unwrap();
        ledger.grow_directory(Amount { bytes: 1 << 19, files: 2 }).unwrap();
        assert!(ledger.grow_directory(Amount::bytes(1)).unwrap_err().message().contains("`plugins.output_mib`"));
        assert!(ledger.grow_directory(Amount::file(0)).unwrap_err().message().contains("`plugins.output_files`"));
        assert!(ledger.grow("a", 1).is_err() && ledger.charge("b", 0).is_err());
        ledger.set_directory(Amount::default()).unwrap();
        ledger.charge("b", 1 << 19).unwrap();
        assert!(ledger.set_directory(Amount::file(1)).is_err());
    }

    #[test]
    fn names_that_differ_in_case_alone_are_refused_while_both_are_there() {
        let ledger = ledger(1, 10);
        ledger.charge("Dir/a", 0).unwrap();
        for other in ["dir/b", "Dir/A", "DIR"] {
            let error = ledger.charge(other, 0).unwrap_err();
            assert!(error.message().contains("one file to some systems"), "{error}");
        }
        ledger.charge("Dir/a", 1).unwrap();
        ledger.release("Dir/a");
        ledger.charge("dir/b", 0).unwrap();
    }

    /// A download that fails must not take off the account what is there.
    #[test]
    fn what_was_there_counts_until_something_else_is() {
        let ledger = Arc::new(ledger(1, 2));
        ledger.charge("a", 1 << 20).unwrap();
        let reserved = ledger.reserve("a").unwrap();
        assert!(ledger.charge("a", 0).unwrap_err().message().contains("still being written"));
        assert!(ledger.reserve("a").is_err() && ledger.reserve("A").is_err());
        drop(reserved);
        assert_eq!(ledger.charged("a"), 1 << 20);
        assert!(ledger.charge("b", 1).is_err());
        ledger.reserve("a").unwrap().fill(0).unwrap();
        ledger.charge("b", 1 << 20).unwrap();
        assert!(ledger.reserve("c").is_err(), "files are counted");
        ledger.release("b");
        drop(ledger.reserve("c").unwrap());
        ledger.charge("d", 1 << 20).unwrap();
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
