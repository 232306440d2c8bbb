//! What of the project is laid beside the definition.

use sdk::{EntryKind, Inputs, Sink, StepError};

/// A local file or folder, and where it goes in the tree of the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// As the components write it: `./charts/web`.
    pub from: String,
    /// `sources/web/files/0/web.conf`.
    pub to: String,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Lays local files and folders beside the definition.
///
/// # Errors
/// What is not there.
pub fn copy(copies: &[Copy], inputs: &Inputs, output: &Sink) -> Result<(), StepError> {
    for Copy { from, to, is_folder } in copies {
        let tree = inputs.get(&format!("local:{from}"))?;
        for entry in tree.entries("")?.iter().filter(|entry| entry.kind != EntryKind::Directory) {
            let to = if *is_folder { format!("{to}/{}", entry.path) } else { to.clone() };
            output.link(tree, &entry.path, &to).map_err(|error| error.context(format!("`{from}`")))?;
        }
    }
    Ok(())
}
