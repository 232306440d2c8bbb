//! The journal of a step attempt: one line per item, appended, so that an
//! item costs the same however many there are.
//!
//! The lines are folded into state.json when the attempt ends. After a crash
//! the journal tells `status` how far the attempt got.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{ItemFailure, Result};
use crate::fs;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "item")]
pub enum Line {
    /// How many items there are.
    Total {
        total: u64,
        unit: String,
    },
    Done {
        name: String,
        bytes: u64,
    },
    Failed {
        name: String,
        class: String,
        message: String,
    },
}

/// The open journal of one attempt. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Journal {
    /// Opens for appending.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(fs::append(path)?)) })
    }

    pub fn total(&self, total: u64, unit: &str) -> Result<()> {
        self.append(&Line::Total { total, unit: unit.to_owned() })
    }

    pub fn done(&self, name: &str, bytes: u64) -> Result<()> {
        self.append(&Line::Done { name: name.to_owned(), bytes })
    }

    pub fn failed(&self, failure: &ItemFailure) -> Result<()> {
        self.append(&Line::Failed {
            name: failure.item.clone(),
            class: failure.class.as_str().to_owned(),
            message: failure.message.clone(),
        })
    }

    fn append(&self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write_all(&mut file, &self.path, &bytes)
    }
}
