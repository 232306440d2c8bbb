//! Outputs that survive a failed attempt, beside the attempt's tree.
//!
//! `checkpoint/files/<digest>` holds a second name of each marked output,
//! `checkpoint/marks.jsonl` one line per mark after a first line that says
//! what the marks are worth: the digest of plugin, configuration and inputs.
//! A mark is a line appended and synced, so that it costs the same however
//! many there are, and nothing where it says what is said already; a torn last
//! line is as if it had not been written. What is kept counts against the limits
//! of an output of its own, as long as a mark names it: the output itself may be
//! gone. Outputs come back with what they were charged before, so that what once
//! fitted the limits fits them again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::input::hash_file;
use super::ledger::Ledger;
use super::limits::{MARK_KEY, MARKS, MARKS_BYTES};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::leash::Leash;
use disk::fs;
use disk::tree::{Artifact, TreeBuilder};

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

/// A kept file: its digest, and whether it is executable. A second name shares
/// the mode, so that the name says it.
type Kept = (Digest, bool);

/// The marks of one step, open for appending.
#[derive(Debug)]
pub(super) struct Marks {
    root: PathBuf,
    log: File,
    /// Bytes of the log.
    length: u64,
    /// By key: the digest of its line, and what it keeps.
    keys: BTreeMap<String, (Digest, Vec<Kept>)>,
    /// By how many marks each is kept, and what it was charged.
    kept: HashMap<Kept, (u64, u64)>,
}

impl Marks {
    /// Takes up what earlier attempts marked for the same `worth`, and puts
    /// those outputs into the tree. Anything else is dropped.
    ///
    /// # Errors
    /// `local`, `disk-full`; what the leash ends with.
    pub(super) fn open(
        root: PathBuf,
        worth: Digest,
        output: &TreeBuilder,
        ledger: &Ledger,
        leash: &Leash,
    ) -> Result<Self> {
        let earlier = read(&log_of(&root), worth);
        let kept = match restore_all(&root, earlier, output, ledger, leash) {
            // A file was marked and removed, and marked again as a directory:
            // the marks fit no tree together.
            Err(error) if error.class() == Class::Plugin && leash.check().is_ok() => Vec::new(),
            other => other?,
        };
        if kept.is_empty() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root.join("files"))?;
        let text = text_of(worth, &kept);
        fs::write_atomic(&log_of(&root), text.as_bytes())?;
        let log = fs::append(&log_of(&root))?;
        let mut marks = Self { root, log, length: text.len() as u64, keys: BTreeMap::new(), kept: HashMap::new() };
        for mark in kept {
            let line = Digest::of(&line_of(&mark));
            marks.enter(mark, line);
        }
        Ok(marks)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// Makes the outputs at `paths` durable under `key`.
    ///
    /// # Errors
    /// `invalid-input` where a path was not written or the key is none;
    /// `plugin` where it is too much; what the leash ends with.
    pub(super) fn mark(
        &mut self,
        key: String,
        paths: &[String],
        output: &TreeBuilder,
        ledger: &Ledger,
        leash: &Leash,
    ) -> Result<()> {
        if key.is_empty() || key.len() > MARK_KEY || self.keys.len() >= MARKS {
            return Err(Error::invalid(format!(
                "a checkpoint takes at most {MARKS} keys of 1 to {MARK_KEY} bytes each"
            )));
        }
        // Each output is marked once, so that no list is longer than the output.
        let paths: BTreeSet<&String> = paths.iter().collect();
        let missing = |path: &String| Error::invalid(format!("`{path}` can not be marked: it was not written"));
        let marked = |path: &String| {
            let artifact = output.get(path).ok_or_else(|| missing(path))?;
            Ok(Marked { artifact, charged: ledger.charged(path) })
        };
        let mark = Mark { key, artifacts: paths.into_iter().map(marked).collect::<Result<_>>()? };
        let text = line_of(&mark);
        let line = Digest::of(&text);
        if self.keys.get(&mark.key).is_some_and(|(said, _)| *said == line) {
            return Ok(());
        }
        self.check(&mark, text.len() as u64, ledger)?;
        self.keep(&mark, output, leash)?;
        fs::write_all(&mut self.log, &log_of(&self.root), &text)?;
        fs::sync(&self.log, &log_of(&self.root))?;
        self.length += text.len() as u64;
        let replaced = self.keys.remove(&mark.key);
        self.enter(mark, line);
        replaced.map_or(Ok(()), |(_, kept)| kept.iter().try_for_each(|kept| self.drop_one(kept)))
    }

    /// A log that is longer would not be believed by the next attempt.
    fn check(&self, mark: &Mark, more: u64, ledger: &Ledger) -> Result<()> {
        if self.length.saturating_add(more) > MARKS_BYTES {
            let mib = MARKS_BYTES >> 20;
            return Err(Error::new(Class::Plugin, format!("the marks of the step would have more than {mib} MiB"))
                .hint("mark fewer outputs at a time, or the same ones less often"));
        }
        let new: HashMap<Kept, u64> = mark
            .artifacts
            .iter()
            .map(|marked| (kept_of(&marked.artifact), marked.charged))
            .filter(|(kept, _)| !self.kept.contains_key(kept))
            .collect();
        let charged = self.kept.values().map(|(_, charged)| charged).chain(new.values());
        ledger.check_marked(Amount { bytes: charged.sum(), files: (self.kept.len() + new.len()) as u64 })
    }

    /// Gives what a mark names, and nothing keeps yet, a second name.
    fn keep(&self, mark: &Mark, output: &TreeBuilder, leash: &Leash) -> Result<()> {
        let mut has_changed = false;
        for Marked { artifact, .. } in &mark.artifacts {
            leash.check()?;
            if self.kept.contains_key(&kept_of(artifact)) {
                continue;
            }
            let kept = kept_at(&self.root, &kept_of(artifact));
            fs::remove_file(&kept)?;
            fs::link_or_copy(&output.root().join(&artifact.path), &kept)?;
            has_changed = true;
        }
        if has_changed { fs::sync_dir(&self.root.join("files")) } else { Ok(()) }
    }

    fn enter(&mut self, mark: Mark, line: Digest) {
        let mut keeps = Vec::with_capacity(mark.artifacts.len());
        for Marked { artifact, charged } in &mark.artifacts {
            let kept = kept_of(artifact);
            self.kept.entry(kept).or_insert((0, *charged)).0 += 1;
            keeps.push(kept);
        }
        self.keys.insert(mark.key, (line, keeps));
    }

    /// A mark that kept it is gone.
    fn drop_one(&mut self, kept: &Kept) -> Result<()> {
        match self.kept.get_mut(kept) {
            Some((marks, _)) if *marks > 1 => *marks -= 1,
            Some(_) => {
                self.kept.remove(kept);
                fs::remove_file(&kept_at(&self.root, kept))?;
            }
            None => {}
        }
        Ok(())
    }
}

fn log_of(root: &Path) -> PathBuf {
    root.join("marks.jsonl")
}

fn kept_of(artifact: &Artifact) -> Kept {
    (artifact.digest, artifact.executable)
}

fn kept_at(root: &Path, (digest, executable): &Kept) -> PathBuf {
    let suffix = if *executable { "-x" } else { "" };
    root.join("files").join(format!("{}{suffix}", digest.hex()))
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
    leash: &Leash,
) -> Result<Vec<Mark>> {
    let mut kept = Vec::new();
    for mark in earlier.into_values() {
        if !is_intact(root, &mark, leash)? {
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

/// # Errors
/// What the leash ends with: a file that can not be read is not intact.
fn is_intact(root: &Path, mark: &Mark, leash: &Leash) -> Result<bool> {
    for Marked { artifact, .. } in &mark.artifacts {
        let found = hash_file(&kept_at(root, &kept_of(artifact)), leash);
        leash.check()?;
        if found.ok() != Some((artifact.digest, artifact.size)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn restore(root: &Path, mark: &Mark, output: &TreeBuilder, ledger: &Ledger) -> Result<()> {
    for Marked { artifact, charged } in &mark.artifacts {
        let Artifact { path, digest, size, executable } = artifact;
        ledger.charge(path, *charged)?;
        output.link(&kept_at(root, &kept_of(artifact)), *digest, *size, path, *executable)?;
    }
    Ok(())
}

/// A log with nothing but the marks that hold.
fn text_of(worth: Digest, marks: &[Mark]) -> String {
    let mut text = serde_json::to_string(&Head { worth }).unwrap_or_default();
    text.push('\n');
    for mark in marks {
        text.push_str(&String::from_utf8_lossy(&line_of(mark)));
    }
    text
}

fn line_of(mark: &Mark) -> Vec<u8> {
    let mut line = serde_json::to_vec(mark).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CallLimits;
    use config::limits::{OwnLimits, PluginSettings};

    fn ledger() -> Ledger {
        Ledger::new(&CallLimits::new(&PluginSettings::default(), OwnLimits::default()))
    }

    fn attempt(root: &Path) -> TreeBuilder {
        fs::remove_dir_all(&root.join("tree")).unwrap();
        TreeBuilder::new(root.join("tree"))
    }

    fn open(root: &Path, worth: &[u8], output: &TreeBuilder) -> Marks {
        Marks::open(root.join("checkpoint"), Digest::of(worth), output, &ledger(), &Leash::endless()).unwrap()
    }

    #[test]
    fn marked_outputs_come_back_for_the_same_worth_only() {
        let root = tempfile::tempdir().unwrap();
        let output = attempt(root.path());
        let mut marks = open(root.path(), b"1", &output);
        output.write("a", b"slow", true).unwrap();
        output.write("b", b"lost", false).unwrap();
        marks.mark("first".into(), &["a".into()], &output, &ledger(), &Leash::endless()).unwrap();
        assert!(marks.mark("second".into(), &["c".into()], &output, &ledger(), &Leash::endless()).is_err());

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
            marks.mark(name.into(), &[name.into()], &output, &ledger(), &Leash::endless()).unwrap();
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
        let small = || {
            Ledger::new(&CallLimits {
                output_bytes: 4,
                ..CallLimits::new(&PluginSettings::default(), OwnLimits::default())
            })
        };
        let (output, ledger) = (attempt(root.path()), small());
        let mut marks =
            Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger, &Leash::endless()).unwrap();
        ledger.charge("fetched", 0).unwrap();
        output.write("fetched", b"longer than four bytes", false).unwrap();
        ledger.charge("written", 4).unwrap();
        output.write("written", b"four", false).unwrap();
        marks.mark("key".into(), &["fetched".into(), "written".into()], &output, &ledger, &Leash::endless()).unwrap();

        let (output, ledger) = (attempt(root.path()), small());
        let marks =
            Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger, &Leash::endless()).unwrap();
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["key"]);
        assert!(ledger.charge("more", 1).is_err(), "what was written still counts");
    }

    /// The same mark again costs nothing, and what no mark keeps goes.
    #[test]
    fn a_repeated_key_keeps_its_last_outputs_alone() {
        let root = tempfile::tempdir().unwrap();
        let (output, ledger) = (attempt(root.path()), ledger());
        let mut marks = open(root.path(), b"1", &output);
        let mark = |marks: &mut Marks, key: &str| {
            marks.mark(key.into(), &["a".into()], &output, &ledger, &Leash::endless()).unwrap();
        };
        let kept = || std::fs::read_dir(root.path().join("checkpoint/files")).unwrap().count();
        output.write("a", b"1", false).unwrap();
        mark(&mut marks, "one");
        mark(&mut marks, "other");
        let length = marks.length;
        mark(&mut marks, "one");
        assert_eq!((marks.length, kept()), (length, 1));
        output.write("a", b"2", false).unwrap();
        mark(&mut marks, "one");
        assert_eq!(kept(), 2);
        mark(&mut marks, "other");
        assert_eq!(kept(), 1);
    }

    /// Marked and removed, over and over: the disk would fill up.
    #[test]
    fn what_is_kept_counts_although_the_output_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let small = Ledger::new(&CallLimits {
            output_bytes: 9,
            ..CallLimits::new(&PluginSettings::default(), OwnLimits::default())
        });
        let output = attempt(root.path());
        let mut marks = open(root.path(), b"1", &output);
        let mut mark = |text: &str| {
            small.charge("a", 4).unwrap();
            output.write("a", text.as_bytes(), false).unwrap();
            let marked = marks.mark(text.into(), &["a".into()], &output, &small, &Leash::endless());
            output.discard("a").unwrap();
            small.release("a");
            marked
        };
        mark("1111").unwrap();
        mark("2222").unwrap();
        let error = mark("3333").unwrap_err();
        assert!(error.message().contains("`plugins.output_mib`"), "{error}");
        mark("1111").unwrap();
    }

    #[test]
    fn marks_that_fit_no_tree_together_are_dropped() {
        let root = tempfile::tempdir().unwrap();
        let (output, ledger) = (attempt(root.path()), ledger());
        let mut marks = open(root.path(), b"1", &output);
        for path in ["a", "a/b"] {
            ledger.charge(path, 1).unwrap();
            output.write(path, b"x", false).unwrap();
            marks.mark(path.replace('/', "-"), &[path.into()], &output, &ledger, &Leash::endless()).unwrap();
            output.discard(path).unwrap();
            ledger.release(path);
        }
        let (output, ledger) = (attempt(root.path()), self::ledger());
        let marks =
            Marks::open(root.path().join("checkpoint"), Digest::of(b"1"), &output, &ledger, &Leash::endless()).unwrap();
        assert_eq!(marks.keys().count(), 0);
        assert!(output.get("a").is_none());
        ledger.charge("a/b", 1).unwrap();
    }
}
