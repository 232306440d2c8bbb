//! What the pins win over.

/// Who wins where both the pins and a person changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The hand edit stays, with a warning.
    #[default]
    KeepEdits,
    /// The pins win over edits and removals; additions still stay.
    Force,
}
