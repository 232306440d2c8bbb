//! Lines below an error, each the cause of the one before.

use std::fmt;
use std::sync::Arc;

use base::error::Error;

/// A line of a report, with the next one as its cause.
#[derive(Clone, Debug)]
struct Note {
    text: String,
    next: Option<Arc<Note>>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Note {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

pub(super) fn with_notes(error: Error, notes: Vec<String>) -> Error {
    let first = notes.into_iter().rev().fold(None, |next, text| Some(Note { text, next: next.map(Arc::new) }));
    match first {
        Some(note) => error.caused_by(note),
        None => error,
    }
}
