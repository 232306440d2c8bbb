//! The input trees, as the planning sees them: what lies where, and the bytes
//! of small files.

use sdk::{EntryKind, Inputs, StepError};

use crate::refusal::refuse;

/// A file or directory of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In its tree.
    pub path: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// Whether it has an executable bit.
    pub executable: bool,
    /// 64 hexadecimal digits, where the host knows them.
    pub sha256: Option<String>,
}

/// Trees by name.
pub trait Sources {
    /// Whether there is such a tree.
    fn has(&self, tree: &str) -> bool;
    /// None where nothing, or a link, lies at `path`.
    fn find(&self, tree: &str, path: &str) -> Result<Option<Found>, StepError>;
    /// The files at and below `prefix`, sorted by path; everything for "".
    fn below(&self, tree: &str, prefix: &str) -> Result<Vec<Found>, StepError>;
    /// The bytes of a file; an error where there are more than `limit`.
    fn read(&self, tree: &str, path: &str, limit: u64) -> Result<Vec<u8>, StepError>;
}

/// The tree and the entry behind a source as zarf.yaml writes it: relative to
/// the folder of the definition, whose neighbours are the trees of the other
/// steps.
pub(crate) fn locate(sources: &dyn Sources, home: &str, source: &str) -> Result<(String, Found), StepError> {
    if source.contains("://") {
        return Err(StepError::missing_input("remote", format!("`{source}` was not fetched by any step"))
            .hint("name it in config/components.yaml, or refer to a local file"));
    }
    let (tree, path) = resolve(home, source).ok_or_else(|| {
        refuse("path", format!("`{source}` leads out of the build"))
            .hint("refer to files beside zarf.yaml, or in the tree of a step: `../files/bin/kubectl`")
    })?;
    let found = if sources.has(&tree) { sources.find(&tree, &path)? } else { None };
    let found = found.ok_or_else(|| {
        StepError::missing_input("file", format!("`{source}` is missing: there is no `{path}` in the tree `{tree}`"))
            .hint(format!("check that the step `{tree}` runs before this one and makes the file"))
    })?;
    Ok((tree, found))
}

fn resolve(home: &str, source: &str) -> Option<(String, String)> {
    if source.starts_with('/') {
        return None;
    }
    let mut parts = vec![home];
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let (tree, rest) = parts.split_first()?;
    (!rest.is_empty()).then(|| ((*tree).to_owned(), rest.join("/")))
}

/// The trees that the host handed in.
pub struct Trees<'a> {
    inputs: &'a Inputs,
}

impl<'a> Trees<'a> {
    /// Those of a call.
    pub fn new(inputs: &'a Inputs) -> Self {
        Self { inputs }
    }
}

impl Sources for Trees<'_> {
    fn has(&self, tree: &str) -> bool {
        self.inputs.find(tree).is_some()
    }

    fn find(&self, tree: &str, path: &str) -> Result<Option<Found>, StepError> {
        let tree = self.inputs.get(tree)?;
        let found = tree.stat(path)?.and_then(found);
        if found.is_some() {
            return Ok(found);
        }
        // A committed tree lists files alone.
        let inside = format!("{path}/");
        let is_directory = tree.entries(path)?.iter().any(|entry| entry.path.starts_with(&inside));
        Ok(is_directory.then(|| Found {
            path: path.to_owned(),
            directory: true,
            size: 0,
            executable: false,
            sha256: None,
        }))
    }

    fn below(&self, tree: &str, prefix: &str) -> Result<Vec<Found>, StepError> {
        let entries = self.inputs.get(tree)?.entries(prefix)?;
        Ok(entries.into_iter().filter_map(found).filter(|found| !found.directory).collect())
    }

    fn read(&self, tree: &str, path: &str, limit: u64) -> Result<Vec<u8>, StepError> {
        self.inputs.get(tree)?.read(path, limit)
    }
}

fn found(entry: sdk::Entry) -> Option<Found> {
    let sdk::Entry { path, kind, size, executable, digest, .. } = entry;
    let sha256 = digest.map(|digest| digest.trim_start_matches("sha256:").to_owned());
    (kind != EntryKind::Symlink).then_some(Found {
        path,
        directory: kind == EntryKind::Directory,
        size,
        executable,
        sha256,
    })
}

#[cfg(test)]
pub(crate) mod memory {
    //! Trees of a test, in memory.

    use std::collections::BTreeMap;

    use super::*;
    pub(crate) use crate::seal::sha256;

    #[derive(Default)]
    pub(crate) struct Memory {
        files: BTreeMap<(String, String), Vec<u8>>,
    }

    impl Memory {
        pub(crate) fn with(mut self, tree: &str, path: &str, content: impl Into<Vec<u8>>) -> Self {
            self.files.insert((tree.into(), path.into()), content.into());
            self
        }
    }

    impl Sources for Memory {
        fn has(&self, tree: &str) -> bool {
            self.files.keys().any(|(name, _)| name == tree)
        }

        fn find(&self, tree: &str, path: &str) -> Result<Option<Found>, StepError> {
            let below = self.below(tree, path)?;
            let directory = below.first().is_some_and(|found| found.path != path);
            Ok(below.into_iter().next().map(|found| match directory {
                true => Found { path: path.into(), directory: true, size: 0, executable: false, sha256: None },
                false => found,
            }))
        }

        fn below(&self, tree: &str, prefix: &str) -> Result<Vec<Found>, StepError> {
            let inside = format!("{prefix}/");
            let matching = self.files.iter().filter(|((name, path), _)| {
                name == tree && (prefix.is_empty() || path == prefix || path.starts_with(&inside))
            });
            Ok(matching
                .map(|((_, path), content)| Found {
                    path: path.clone(),
                    directory: false,
                    size: content.len() as u64,
                    executable: false,
                    sha256: Some(sha256(content)),
                })
                .collect())
        }

        fn read(&self, tree: &str, path: &str, _: u64) -> Result<Vec<u8>, StepError> {
            let key = (tree.to_owned(), path.to_owned());
            self.files.get(&key).cloned().ok_or_else(|| StepError::missing_input("missing", format!("{tree}/{path}")))
        }
    }
}
