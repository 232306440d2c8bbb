//! The journal of a step attempt: one line per item, appended, so that an
//! item costs the same however many there are.
//!
//! The lines are folded into state.json when the attempt ends. After a crash
//! the journal tells `status` how far the attempt got.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::format::{FailedItem, Items};
use base::error::{Class, ItemFailure, Result};
use base::progress::ItemProgress;
use disk::fs;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "item")]
pub enum Line {
    /// How many items there are.
    Total {
        /// Items in all.
        total: u64,
        /// What is counted: "images".
        unit: String,
    },
    /// An item is finished.
    Done {
        /// The item as the user wrote it.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// An item failed, and the step went on.
    Failed {
        /// The item as the user wrote it.
        name: String,
        /// The error's class.
        class: Class,
        /// What a plugin calls this failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// What failed and why.
        message: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// The open journal of one attempt. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Journal {
    /// Opens for appending.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(fs::append(path)?)) })
    }

    pub(crate) fn total(&self, total: u64, unit: &str) -> Result<()> {
        self.append(&Line::Total { total, unit: unit.to_owned() })
    }

    pub(crate) fn done(&self, name: &str, bytes: u64) -> Result<()> {
        self.append(&Line::Done { name: name.to_owned(), bytes })
    }

    pub(crate) fn failed(&self, failure: &ItemFailure) -> Result<()> {
        self.append(&Line::Failed {
            name: failure.item.clone(),
            class: failure.class,
            code: failure.code.clone(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        })
    }

    fn append(&self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write_all(&mut file, &self.path, &bytes)
    }
}

/// Folds the lines of a journal. A line that a crash cut short is ignored;
/// an item that failed and was done later counts as done.
///
/// The list of failures is bounded, for what is folded goes into state.json;
/// those beyond it are counted.
pub fn fold(text: &[u8]) -> (Items, Option<ItemProgress>) {
    let mut done = BTreeSet::new();
    let mut failed: BTreeMap<(String, String), FailedItem> = BTreeMap::new();
    let mut total = 0;
    let mut counted_in = String::new();
    for line in text.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Total { total: count, unit }) => {
                total = count;
                counted_in = unit;
            }
            Ok(Line::Done { name, .. }) => {
                failed.retain(|(failed, _), _| *failed != name);
                done.insert(name);
            }
            // One thing may fail in several ways.
            Ok(Line::Failed { name, class, code, message, hint }) => {
                failed.insert((name.clone(), message.clone()), FailedItem { name, class, code, message, hint });
            }
            Err(_) => {}
        }
    }
    let count = done.len() as u64;
    let progress = (!counted_in.is_empty()).then_some(ItemProgress { done: count, total, unit: counted_in });
    let failed_unlisted = failed.len().saturating_sub(FAILURES_KEPT) as u64;
    let failed = failed.into_values().take(FAILURES_KEPT).collect();
    (Items { done: count, total, failed, failed_unlisted }, progress)
}

/// Failures of one attempt that state.json lists.
const FAILURES_KEPT: usize = 1000;

/// Reads and folds a journal; a missing one is empty.
pub fn read(path: &Path) -> Result<(Items, Option<ItemProgress>)> {
    Ok(fold(&fs::read_optional(path, SIZE_LIMIT)?.unwrap_or_default()))
}

/// A million items of 256 bytes.
const SIZE_LIMIT: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_and_a_repeated_item_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        journal.total(3, "images").unwrap();
        journal.done("a", 1).unwrap();
        let failure = base::error::Error::transient("reset").into_item("b", "r");
        journal.failed(&failure).unwrap();
        journal.done("a", 1).unwrap();
        let (items, progress) = read(&path).unwrap();
        assert_eq!((items.done, items.total, items.failed.len()), (1, 3, 1));
        assert_eq!(progress.unwrap().unit, "images");
        journal.done("b", 1).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(br#"{"item":"done","name":"c""#);
        let (items, _) = fold(&text);
        assert_eq!((items.done, items.failed.len()), (2, 0));
        assert_eq!(read(&folder.path().join("none")).unwrap().0, Items::default());
    }

    #[test]
    fn failures_beyond_the_list_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        for number in 0..FAILURES_KEPT + 5 {
            journal.failed(&base::error::Error::transient("reset").into_item(number.to_string(), "r")).unwrap();
        }
        let (items, _) = read(&path).unwrap();
        assert_eq!((items.failed.len(), items.failed_unlisted), (FAILURES_KEPT, 5));
    }
}
