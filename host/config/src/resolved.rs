//! What components.yaml resolved to, out of the tree of the step that published it.

use model::{RESOLVED, ResolvedComponents};

use base::error::{Error, Result};
use disk::fs;
use disk::tree::Tree;

/// Bytes. Text that takes some twenty times as much memory once it is read; a
/// thousand components take less than one MiB.
const LARGEST: u64 = 8 << 20;

/// None where the tree has none: most steps publish something else.
///
/// # Errors
/// `invalid-input` where it cannot be read.
pub fn resolved(tree: &Tree) -> Result<Option<ResolvedComponents>> {
    if tree.listing.get(RESOLVED).is_none() {
        return Ok(None);
    }
    let path = tree.path_of(RESOLVED);
    let bytes = fs::read_optional(&path, LARGEST)?.unwrap_or_default();
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::invalid(format!("`{}` is damaged", path.display())).caused_by(error))
}
