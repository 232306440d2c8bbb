//! A tree: the artifacts that a step committed, with their digests and sizes.
//!
//! A step fills a [`TreeBuilder`] while it works in its staging directory; the
//! transaction writes the [`Listing`] beside the committed directory, and
//! everyone who reads the tree later believes the listing, not the directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::zarf::path_problem;
use serde::{Deserialize, Serialize};

use crate::fs;
use base::digest::Digest;
use base::error::{Error, Result};

pub mod names;

use names::{is_hidden, mixes_alphabets};

/// Directories that a path goes through at most, its last component among them.
pub const DEPTH: usize = 64;

/// A file that a step made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative, `/`-separated, normal components only.
    pub path: String,
    /// SHA-256 of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether it is made executable wherever it is put.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// The content of a committed tree, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The artifacts, sorted by path.
    pub artifacts: Vec<Artifact>,
}

impl Listing {
    /// The artifact at `path`; None where there is none.
    pub fn get(&self, path: &str) -> Option<&Artifact> {
        let at = self.artifacts.binary_search_by(|artifact| artifact.path.as_str().cmp(path)).ok()?;
        self.artifacts.get(at)
    }

    /// Bytes of all artifacts.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.size).sum()
    }

    /// One digest for the whole tree: paths, sizes, modes and contents.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A committed tree on disk.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The directory that the paths in the listing are relative to.
    pub root: PathBuf,
    /// What is in it.
    pub listing: Arc<Listing>,
}

impl Tree {
    /// Where an artifact lies, by its path in the listing.
    pub fn path_of(&self, artifact: &str) -> PathBuf {
        self.root.join(artifact)
    }
}

/// A tree in the making: a staging directory and what was put into it. Shared
/// by everything that works for one step attempt.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    root: PathBuf,
    artifacts: Arc<Mutex<BTreeMap<String, Artifact>>>,
}

impl TreeBuilder {
    /// An empty tree in the directory `root`, which the caller makes.
    pub fn new(root: PathBuf) -> Self {
        Self { root, artifacts: Arc::default() }
    }

    /// The staging directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` will lie, with its directories made. The file itself is
    /// the caller's to write, followed by [`TreeBuilder::record`].
    pub fn prepare(&self, path: &str) -> Result<PathBuf> {
        check_path(path)?;
        let full = self.root.join(path);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(full)
    }

    /// Enters a file that is complete on disk.
    pub fn record(&self, artifact: Artifact) {
        let mut artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        artifacts.insert(artifact.path.clone(), artifact);
    }

    /// Takes an artifact off the listing; its file stays on the disk.
    pub fn forget(&self, path: &str) {
        let mut artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        artifacts.remove(path);
    }

    /// Takes a file out again, with the folders that it leaves empty.
    pub fn discard(&self, path: &str) -> Result<()> {
        check_path(path)?;
        self.forget(path);
        fs::remove_file(&self.root.join(path))?;
        let mut folder = Path::new(path).parent();
        while let Some(name) = folder.filter(|name| !name.as_os_str().is_empty()) {
            if !fs::remove_empty_dir(&self.root.join(name)) {
                break;
            }
            folder = name.parent();
        }
        Ok(())
    }

    /// The artifact at `path` as it was last entered; None where none is.
    pub fn get(&self, path: &str) -> Option<Artifact> {
        self.artifacts.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Writes a small file and records it.
    pub fn write(&self, path: &str, bytes: &[u8], executable: bool) -> Result<Artifact> {
        let full = self.prepare(path)?;
        fs::remove_file(&full)?;
        fs::write_new(&full, bytes)?;
        if executable {
            fs::set_mode(&full, 0o755)?;
        }
        let artifact =
            Artifact { path: path.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64, executable };
        self.record(artifact.clone());
        Ok(artifact)
    }

    /// Gives an existing file with a known digest a second name in this tree.
    pub fn link(&self, source: &Path, digest: Digest, size: u64, path: &str, executable: bool) -> Result<Artifact> {
        let full = self.prepare(path)?;
        fs::remove_file(&full)?;
        fs::link_or_copy(source, &full)?;
        let artifact = Artifact { path: path.to_owned(), digest, size, executable };
        self.record(artifact.clone());
        Ok(artifact)
    }

    /// What was entered so far.
    pub fn listing(&self) -> Listing {
        let artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        Listing { artifacts: artifacts.values().cloned().collect() }
    }
}

/// Refuses what could leave the tree or what a Zarf package could not hold, by
/// the rules of [Zarf's extractor](path_problem). Beside them, a name must be what
/// it seems to who reads it: see [`names`].
pub fn check_path(path: &str) -> Result<()> {
    let refuse = |why: &str| {
        let shown: String = path.chars().take(200).flat_map(char::escape_default).collect();
        Err(Error::invalid(format!("the path `{shown}` {why}"))
            .hint("use a relative path of plain names: letters, digits, `.`, `_`, `-` and `/`"))
    };
    if path.len() > 1024 {
        return refuse("is longer than 1024 bytes");
    }
    if path.split('/').count() > DEPTH {
        return refuse(&format!("is nested more than {DEPTH} deep"));
    }
    if let Some(why) = path_problem(path) {
        return refuse(&format!("{why}, which Zarf refuses"));
    }
    if path.contains(char::is_whitespace) {
        return refuse("contains a space or a line break of Unicode");
    }
    if path.contains(is_hidden) {
        return refuse("contains a character that nobody sees");
    }
    if path.split('/').any(mixes_alphabets) {
        return refuse("has a word in two alphabets that look alike");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_tree_or_break_zarf_are_refused() {
        for good in ["a", "images/blobs/sha256/00", "bin/kubectl", "a.b/c-d_e", "com10", "..a"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "../x", "a/../b", "a//b", "a/", ".", "a b", "a:b", "a\\b", "x.", "aux.c", "COM1", "a/nul"]
        {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_seem_to_be_others_are_refused() {
        for good in ["имя.yaml", "naïve", "日本語"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("a\u{202e}txt.exe", "nobody sees"),
            ("zarf\u{200b}.yaml", "nobody sees"),
            ("a/\u{e0041}b", "nobody sees"),
            ("a\u{feff}", "nobody sees"),
            ("a\u{ad}b", "nobody sees"),
            ("a\u{fe0f}", "nobody sees"),
            ("a\u{a0}b", "a space"),
            ("a\u{2028}b", "a space"),
            ("z\u{430}rf.yaml", "two alphabets"),
        ] {
            let error = check_path(bad).unwrap_err();
            assert!(error.message().contains(word), "{error}");
            assert!(error.message().is_ascii(), "shown as what it is: {error}");
        }
    }

    #[test]
    fn the_depth_of_a_path_is_bounded() {
        assert!(check_path(&vec!["d"; DEPTH].join("/")).is_ok());
        let error = check_path(&vec!["d"; DEPTH + 1].join("/")).unwrap_err();
        assert!(error.message().contains("nested more than 64 deep"), "{error}");
    }

    #[test]
    fn the_listing_finds_by_path_and_its_digest_covers_content() {
        let artifact = |path: &str, content: &[u8]| Artifact {
            path: path.into(),
            digest: Digest::of(content),
            size: content.len() as u64,
            executable: false,
        };
        let builder = TreeBuilder::new("/nowhere".into());
        builder.record(artifact("b", b"2"));
        builder.record(artifact("a", b"1"));
        let listing = builder.listing();
        assert_eq!(listing.get("b").unwrap().digest, Digest::of(b"2"));
        assert!(listing.get("c").is_none());
        let before = listing.digest();
        builder.record(artifact("b", b"3"));
        assert_ne!(builder.listing().digest(), before);
    }
}
