//! What a merge did, for the log: changes as information, kept edits as
//! warnings.

use std::fmt;

use model::problem::{redacted, shown};

/// One thing that a merge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The pins brought an entry.
    Added {
        /// What it is: "tool".
        kind: String,
        /// What it is called.
        name: String,
    },
    /// The pins dropped an entry that nobody had edited.
    Removed {
        /// What it is: "tool".
        kind: String,
        /// What it is called.
        name: String,
    },
    /// The pins dropped an entry that was edited by hand: it stays.
    Kept {
        /// What it is: "tool".
        kind: String,
        /// What it is called.
        name: String,
    },
    /// The pins changed a value.
    Changed {
        /// The entry, by kind and name.
        what: String,
        /// Which of its fields.
        field: String,
        /// What it was.
        old: String,
        /// What it is now.
        new: String,
    },
    /// The pins and a person changed a value: the person's stays.
    Conflict {
        /// The entry, by kind and name.
        what: String,
        /// Which of its fields.
        field: String,
        /// What the person wrote, and what it is.
        kept: String,
        /// What the pins ask for.
        pinned: String,
    },
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

/// Notes of one kind that are told one by one; more are told together.
const TOLD: usize = 5;

/// What is said of the notes: the many that a first generation or a new catalog
/// brings are one line with their number, and nothing that is kept or changed
/// is left out.
pub fn told(notes: &[Note]) -> Vec<(bool, String)> {
    let mut told: Vec<(bool, String)> = Vec::new();
    let is_one_of_many = |note: &Note| match note {
        Note::Added { .. } => notes.iter().filter(|note| matches!(note, Note::Added { .. })).count() > TOLD,
        Note::Removed { .. } => notes.iter().filter(|note| matches!(note, Note::Removed { .. })).count() > TOLD,
        _ => false,
    };
    for (verb, of_kind) in [("added by the pins", true), ("removed, the pins no longer ask for them", false)] {
        let named = notes.iter().filter(|note| is_one_of_many(note)).filter_map(|note| match note {
            Note::Added { kind, name } if of_kind => Some(format!("{kind} {name}")),
            Note::Removed { kind, name } if !of_kind => Some(format!("{kind} {name}")),
            _ => None,
        });
        let names: Vec<String> = named.collect();
        if let [first, .., last] = names.as_slice() {
            told.push((false, format!("{} entries {verb}: {first}, …, {last}", names.len())));
        }
    }
    told.extend(notes.iter().filter(|note| !is_one_of_many(note)).map(|note| (note.is_warning(), note.to_string())));
    told
}

/// Notes in the making.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// See [`Note::Added`].
    pub fn added(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Added { kind: kind.to_owned(), name: safe(name) });
    }

    /// See [`Note::Removed`].
    pub fn removed(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Removed { kind: kind.to_owned(), name: safe(name) });
    }

    /// See [`Note::Kept`].
    pub fn kept(&mut self, kind: &str, name: &str) {
        self.0.push(Note::Kept { kind: kind.to_owned(), name: safe(name) });
    }

    /// See [`Note::Changed`].
    pub fn changed(&mut self, what: &str, field: &str, old: &str, new: &str) {
        let (what, field) = (safe(what), field.to_owned());
        self.0.push(Note::Changed { what, field, old: safe(old), new: safe(new) });
    }

    /// See [`Note::Conflict`].
    pub fn conflict(&mut self, what: &str, field: &str, kept: &str, pinned: &str) {
        let (what, field) = (safe(what), field.to_owned());
        self.0.push(Note::Conflict { what, field, kept: safe(kept), pinned: safe(pinned) });
    }

    /// All that were made, in order.
    pub fn into_list(self) -> Vec<Note> {
        self.0
    }
}

fn safe(text: &str) -> String {
    shown(&redacted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_were_added_are_one_line_and_every_conflict_is_its_own() {
        let mut notes = Notes::default();
        for number in 0..51 {
            notes.added("image", &format!("r.io/a:{number}"));
            notes.kept("tool", &format!("t{number}"));
        }
        notes.removed("chart", "web");
        let told = told(&notes.into_list());
        let (warnings, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|(is_warning, _)| *is_warning);
        assert_eq!(warnings.len(), 51);
        let others: Vec<String> = others.into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            others,
            [
                "51 entries added by the pins: image r.io/a:0, …, image r.io/a:50",
                "chart web: removed, the pins no longer ask for it"
            ]
        );
    }
}
