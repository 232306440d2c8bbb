//! The images that the step `discover` adds to those of components.yaml.

use std::collections::BTreeMap;

use base::error::{Error, Result};
use disk::fs;
use disk::tree::Tree;
use model::rendered::{DISCOVERED, Discovered};

const LARGEST: u64 = 64 << 20;

/// Each with the chart and the place that name it; none where there is no such
/// tree.
///
/// # Errors
/// `invalid-input` for a list that can not be read.
pub(crate) fn added(tree: Option<&Tree>) -> Result<BTreeMap<String, String>> {
    let Some(tree) = tree.filter(|tree| tree.listing.get(DISCOVERED).is_some()) else { return Ok(BTreeMap::new()) };
    let bytes = fs::read_optional(&tree.path_of(DISCOVERED), LARGEST)?.unwrap_or_default();
    let found: Discovered = serde_json::from_slice(&bytes).map_err(|source| {
        Error::invalid(format!("cannot read {DISCOVERED} of the step that finds images")).caused_by(source)
    })?;
    Ok(found.added().into_iter().collect())
}
