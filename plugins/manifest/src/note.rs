//! What a merge did, for the log: changes as information, kept edits as
//! warnings.

use std::fmt;

use components::problem::{redacted, shown};

/// One thing that a merge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The pins brought an entry.
    Added { kind: String, name: String },
    /// The pins dropped an entry that nobody had edited.
    Removed { kind: String, name: String },
    /// The pins dropped an entry that was edited by hand: it stays.
    Kept { kind: String, name: String },
    /// The pins changed a value.
    Changed { what: String, field: String, old: String, new: String },
    /// The pins and a person changed a value: the person's stays.
    Conflict { what: String, field: String, kept: String, pinned: String },
}

impl Note {
    /// Whether the user should look at it.
    pub fn is_warning(&self) -> bool {
        matches!(self, Note::Kept { .. } | Note::Conflict { .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Added { kind, name } => write!(f, "{kind} {name}: added by the pins"),
            Note::Removed { kind, name } => write!(f, "{kind} {name}: removed, the pins no longer ask for it"),
            Note::Kept { kind, name } => write!(
                f,
                "{kind} {name}: the pins no longer ask for it, but it was edited by hand and stays; remove it from \
                 components.yaml, or let the pins win with --force-regenerate"
            ),
            Note::Changed { what, field, old, new } => write!(f, "{what}: {field} {old} → {new}"),
            Note::Conflict { what, field, kept, pinned } => write!(
                f,
                "{what}: {field} was edited by hand to {kept} and stays, while the pins ask for {pinned}; edit \
                 components.yaml, or let the pins win with --force-regenerate"
            ),
        }
    }
}

/// Notes in the making.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    pub fn added(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Added { kind: kind.to_owned(), name: safe(name) });
    }

    pub fn removed(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Removed { kind: kind.to_owned(), name: safe(name) });
    }

    pub fn kept(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Kept { kind: kind.to_owned(), name: safe(name) });
    }

    pub fn changed(&mut self, what: &str, field: &str, old: &str, new: &str) {
        let (what, field) = (safe(what), field.to_owned());
        self.0.push(Note::Changed { what, field, old: safe(old), new: safe(new) });
    }

    pub fn conflict(&mut self, what: &str, field: &str, kept: &str, pinned: &str) {
        let (what, field) = (safe(what), field.to_owned());
        self.0.push(Note::Conflict { what, field, kept: safe(kept), pinned: safe(pinned) });
    }

    pub fn into_list(self) -> Vec<Note> {
        self.0
    }
}

fn safe(text: &str) -> String {
    shown(&redacted(text))
}
