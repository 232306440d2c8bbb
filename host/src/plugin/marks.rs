//! Outputs that survive a failed attempt, beside the attempt's tree.
//!
//! `checkpoint/files/<digest>` holds a second name of each marked output,
//! `checkpoint/marks.jsonl` one line per mark after a first line that says
//! what the marks are worth: the digest of plugin, configuration and inputs.
//! A mark is a line appended and synced, so that it costs the same however
//! many there are; a torn last line is as if it had not been written. Outputs
//! come back with what they were charged before, so that what once fitted the
//! limits fits them again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::input::hash_file;
use super::ledger::Ledger;
use super::limits::{MARK_KEY, MARKS, MARKS_BYTES};
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::fs;
use crate::tree::{Artifact, TreeBuilder};

#[derive(Serialize, Deserialize)]
struct Head {
    worth: Digest,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    key: String,
    artifacts: Vec<Marked>,
}

#[derive(Serialize, Deserialize)]
struct Marked {
    #[serde(flatten)]
    artifact: Artifact,
    /// Of the ledger: nothing for what the host fetched.
    charged: u64,
}

/// The marks of one step, open for appending.
#[derive(Debug)]
pub(super) struct Marks {
    root: PathBuf,
    log: File,
    keys: BTreeMap<String, usize>,
}

impl Marks {
    /// Takes up what earlier attempts marked for the same `worth`, and puts
    /// those outputs into the tree. Anything else is dropped.
    pub(super) fn open(root: PathBuf, worth: Digest, output: &TreeBuilder, ledger: &Ledger) -> Result<Self> {
        let earlier = read(&log_of(&root), worth);
        let kept = match restore_all(&root, earlier, output, ledger) {
            // A file was marked and removed, and marked again as a directory:
            // the marks fit no tree together.
            Err(error) if error.class() == Class::Plugin => Vec::new(),
            other => other?,
        };
        if kept.is_empty() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root.join("files"))?;
        let log = rewrite(&root, worth, &kept)?;
        let keys = kept.into_iter().map(|mark| (mark.key, mark.artifacts.len())).collect();
        Ok(Self { root, log, keys })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// Makes the outputs at `paths` durable under `key`.
    ///
    /// # Errors
    /// `invalid-input` where a path was not written or the key is none.
    pub(super) fn mark(&mut self, key: String, paths: &[String], output: &TreeBuilder, ledger: &Ledger) -> Result<()> {
        if key.is_empty() || key.len() > MARK_KEY || self.keys.len() >= MARKS {
            return Err(Error::invalid(format!(
                "a checkpoint takes at most {MARKS} keys of 1 to {MARK_KEY} bytes each"
            )));
        }
        let missing = |path: &String| Error::invalid(format!("`{path}` can not be marked: it was not written"));
        let marked = |path: &String| {
            let artifact = output.get(path).ok_or_else(|| missing(path))?;
            Ok(Marked { artifact, charged: ledger.charged(path) })
        };
        let artifacts: Vec<Marked> = paths.iter().map(marked).collect::<Result<_>>()?;
        for Marked { artifact, .. } in &artifacts {
            let kept = kept_at(&self.root, artifact);
            fs::remove_file(&kept)?;
            fs::link_or_copy(&output.root().join(&artifact.path), &kept)?;
        }
        fs::sync_dir(&self.root.join("files"))?;
        self.keys.insert(key.clone(), artifacts.len());
        append(&mut self.log, &log_of(&self.root), &Mark { key, artifacts })
    }
}

fn log_of(root: &Path) -> PathBuf {
    root.join("marks.jsonl")
}

/// A second name shares the mode, so that the name says it.
fn kept_at(root: &Path, artifact: &Artifact) -> PathBuf {
    let suffix = if artifact.executable { "-x" } else { "" };
    root.join("files").join(format!("{}{suffix}", artifact.digest.hex()))
}

/// The last mark of each key; none where the marks are worth something else.
fn read(log: &Path, worth: Digest) -> BTreeMap<String, Mark> {
    let mut marks = BTreeMap::new();
    let Ok(file) = File::open(log) else { return marks };
    if file.metadata().map_or(true, |metadata| metadata.len() > MARKS_BYTES) {
        return marks;
    }
    let mut lines = BufReader::new(file).lines().map_while(std::result::Result::ok);
    let head = lines.next().and_then(|line| serde_json::from_str::<Head>(&line).ok());
    if head.is_none_or(|head| head.worth != worth) {
        return marks;
    }
    for mark in lines.map_while(|line| serde_json::from_str::<Mark>(&line).ok()) {
        marks.insert(mark.key.clone(), mark);
    }
    marks
}

/// The marks whose outputs are in the tree again. After an error none of them
/// are.
fn restore_all(
    root: &Path,
    earlier: BTreeMap<String, Mark>,
    output: &TreeBuilder,
    ledger: &Ledger,
) -> Result<Vec<Mark>> {
    let mut kept = Vec::new();
    for mark in earlier.into_values() {
        if !is_intact(root, &mark) {
            continue;
        }
        let restored = restore(root, &mark, output, ledger);
        kept.push(mark);
        if let Err(error) = restored {
            for Marked { artifact, .. } in kept.iter().flat_map(|mark| &mark.artifacts) {
                if output.get(&artifact.path).is_some() {
                    output.discard(&artifact.path)?;
                }
                ledger.release(&artifact.path);
            }
            return Err(error);
        }
    }
    Ok(kept)
}

fn is_intact(root: &Path, mark: &Mark) -> bool {
    mark.artifacts.iter().all(|Marked { artifact, .. }| {
        hash_file(&kept_at(root, artifact)).is_ok_and(|found| found == (artifact.digest, artifact.size))
    })
}

fn restore(root: &Path, mark: &Mark, output: &TreeBuilder, ledger: &Ledger) -> Result<()> {
    for Marked { artifact, charged } in &mark.artifacts {
        let Artifact { path, digest, size, executable } = artifact;
        ledger.charge(path, *charged)?;
        output.link(&kept_at(root, artifact), *digest, *size, path, *executable)?;
    }
    Ok(())
}

/// The log with nothing but the marks that hold, open for more.
fn rewrite(root: &Path, worth: Digest, marks: &[Mark]) -> Result<File> {
    let path = log_of(root);
    let mut text = serde_json::to_string(&Head { worth }).unwrap_or_default();
    text.push('\n');
    for mark in marks {
        text.push_str(&serde_json::to_string(mark).unwrap_or_default());
        text.push('\n');
    }
    fs::write_atomic(&path, text.as_bytes())?;
    fs::append(&path)
}

fn append(log: &mut File, path: &Path, mark: &Mark) -> Result<()> {
    let mut line = serde_json::to_vec(mark).unwrap_or_default();
    line.push(b'\n');
    fs::write_all(log, path, &line)?;
    fs::sync(log, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::PluginSettings;
    use crate::plugin::limits::CallLimits;

    fn ledger() -> Ledger {
        Ledger::new(&CallLimits::new(&PluginSettings::default()))
    }

    fn attempt(root: &Path) -> TreeBuilder {
        fs::remove_dir_all(&root.join("tree")).unwrap();
        TreeBuilder::new(root.join("tree"))
    }

    fn open(root: &Path, worth: &[u8], output: &TreeBuilder) -> Marks {
        Marks::open(root.join("checkpoint"), Digest::of(worth), output, &ledger()).unwrap()
    }

    #[test]
    fn marked_outputs_come_back_for_the_same_worth_only() {
        let root = tempfile::tempdir().unwrap();
        let output = attempt(root.path());
        let mut marks = open(root.path(), b"1", &output);
        output.write("a", b"slow", true).unwrap();
        output.write("b", b"lost", false).unwrap();
        marks.mark("first".into(), &["a".into()], &output, &ledger()).unwrap();
        assert!(marks.mark("second".into(), &["c".into()], &output, &ledger()).is_err());

        let output = attempt(root.path());
        let marks = open(root.path(), b"1", &output);
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["first"]);
        assert_eq!(std::fs::read(output.root().join("a")).unwrap(), b"slow");
        assert!(output.get("a").unwrap().executable);
        assert!(output.get("b").is_none());

        let output = attempt(root.path());
        assert_eq!(open(root.path(), b"2", &output).keys().count(), 0);
        assert!(output.get("a").is_none());
    }

    #[test]
    fn a_torn_line_and_a_damaged_file_are_as_if_never_marked() {
        let root = tempfile::tempdir().unwrap();
        let output = attempt(root.path());
        let mut marks = open(root.path(), b"1", &output);
        for name in ["a", "b"] {
            output.write(name, name.as_bytes(), false).unwrap();
            marks.mark(name.into(), &[name.into()], &output, &ledger()).unwrap();
        }
        let log = root.path().join("checkpoint/marks.jsonl");
        fs::write_all(&mut fs::append(&log).unwrap(), &log, b"{\"key\":\"c\",\"arti").unwrap();
        let damaged = root.path().join("checkpoint/files").join(Digest::of(b"b").hex());
        fs::remove_file(&damaged).unwrap();
        fs::write_new(&damaged, b"B").unwrap();

        let output = attempt(root.path());
        let marks = open(root.path(), b"1", &output);
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["a"]);
    }

    /// A step may fetch more than it may write.
    #[test]
    fn what_was_fetched_comes_back_without_a_charge() {
        let root = tempfile::tempdir().unwrap();
        let small = || Ledger::new(&CallLimits { output_bytes: 4, ..CallLimits::new(&PluginSettings::default()) });
        let (output, ledger) = (attempt(root.path()), small());
        let mut marks = Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger).unwrap();
        ledger.charge("fetched", 0).unwrap();
        output.write("fetched", b"longer than four bytes", false).unwrap();
        ledger.charge("written", 4).unwrap();
        output.write("written", b"four", false).unwrap();
        marks.mark("key".into(), &["fetched".into(), "written".into()], &output, &ledger).unwrap();

        let (output, ledger) = (attempt(root.path()), small());
        let marks = Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger).unwrap();
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["key"]);
        assert!(ledger.charge("more", 1).is_err(), "what was written still counts");
    }

    #[test]
    fn marks_that_fit_no_tree_together_are_dropped() {
        let root = tempfile::tempdir().unwrap();
        let (output, ledger) = (attempt(root.path()), ledger());
        let mut marks = open(root.path(), b"1", &output);
        for path in ["a", "a/b"] {
            ledger.charge(path, 1).unwrap();
            output.write(path, b"x", false).unwrap();
            marks.mark(path.replace('/', "-"), &[path.into()], &output, &ledger).unwrap();
            output.discard(path).unwrap();
            ledger.release(path);
        }
        let (output, ledger) = (attempt(root.path()), self::ledger());
        let marks = Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger).unwrap();
        assert_eq!(marks.keys().count(), 0);
        assert!(output.get("a").is_none());
        ledger.charge("a/b", 1).unwrap();
    }
}
