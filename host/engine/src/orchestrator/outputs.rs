//! Whether what a completed step made is still there.

use std::path::{Path, PathBuf};

use crate::state::StepState;
use crate::state::format::Outputs;
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::{Layout, shown};
use config::publish::Published;
use disk::fs;
use disk::tree::{Listing, Tree};

/// Largest listing that is read: a million artifacts.
const LISTING_LIMIT: u64 = 256 << 20;

/// The committed tree of a step.
///
/// # Errors
/// `state` where the listing is missing or damaged.
pub fn tree_of(layout: &Layout, id: &str) -> Result<Tree> {
    let path = layout.step_listing(id);
    let damaged = || {
        Error::new(base::error::Class::State, format!("`{}` is missing or damaged", shown(&path)))
            .hint(format!("run `opencenter-airgap build --step {id}` to make it again"))
    };
    let bytes = fs::read_optional(&path, LISTING_LIMIT)?.ok_or_else(damaged)?;
    let listing: Listing = serde_json::from_slice(&bytes).map_err(|error| damaged().caused_by(error))?;
    Ok(Tree { root: layout.step(id), listing: listing.into() })
}

/// What is wrong with the recorded outputs of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// "its output `build/steps/images/index.json` is missing": the first one.
    pub why: String,
    /// What every damaged file was to hold. A file of a tree may be another
    /// name of a blob of the store, which is damaged with it.
    pub digests: Vec<Digest>,
}

/// What is wrong with the recorded outputs of a step; None when every file is
/// there with the recorded size, and with `hash` with the recorded content.
/// What was published is compared with its digest as well where it does not look
/// as it was left: somebody wrote into it, or brought another file.
pub fn broken(layout: &Layout, step: &StepState, hash: bool) -> Option<Broken> {
    let outputs = step.outputs.as_ref()?;
    let as_a_whole = |why: String| Some(Broken { why, digests: Vec::new() });
    let tree = match tree_of(layout, &step.id) {
        Ok(tree) => tree,
        Err(error) => return as_a_whole(error.message().to_owned()),
    };
    if outputs.digest.is_some_and(|digest| digest != tree.listing.digest()) {
        return as_a_whole(format!("`{}` was changed", shown(&layout.step_listing(&step.id))));
    }
    let artifacts = tree.listing.artifacts.iter();
    let artifacts = artifacts.map(|artifact| (tree.path_of(&artifact.path), artifact.size, artifact.digest, hash));
    let published = in_dist(layout, outputs).map(|(path, published)| {
        let is_touched = published.stamp.is_none() || published.stamp != fs::stamp(&path);
        (path, published.size, published.digest, hash || is_touched)
    });
    let mut found: Option<Broken> = None;
    for (path, size, digest, hash) in artifacts.chain(published) {
        if let Some(why) = broken_file(&path, size, hash.then_some(digest)) {
            found.get_or_insert_with(|| Broken { why, digests: Vec::new() }).digests.push(digest);
        }
    }
    found
}

/// What was published, with where it lies. Published configuration belongs to
/// the user from then on: the configuration hash watches it.
fn in_dist<'a>(layout: &'a Layout, outputs: &'a Outputs) -> impl Iterator<Item = (PathBuf, &'a Published)> {
    let published = outputs.published.iter().map(|published| (layout.published(&published.path), published));
    published.filter(|(path, _)| !path.starts_with(&layout.config))
}

/// How the published files of a step look now, where that is not how they were
/// left: by their place in the list.
pub(crate) fn new_stamps(layout: &Layout, step: &StepState) -> Vec<(usize, Option<String>)> {
    let published = step.outputs.iter().flat_map(|outputs| outputs.published.iter().enumerate());
    let looks = published.map(|(at, published)| (at, &published.stamp, layout.published(&published.path)));
    let looks = looks.filter(|(.., path)| !path.starts_with(&layout.config));
    looks
        .map(|(at, old, path)| (at, old, fs::stamp(&path)))
        .filter(|(_, old, new)| *old != new)
        .map(|(at, _, new)| (at, new))
        .collect()
}

fn broken_file(path: &Path, size: u64, digest: Option<Digest>) -> Option<String> {
    match path.symlink_metadata() {
        Err(_) => Some(format!("its output `{}` is missing", shown(path))),
        Ok(metadata) if !metadata.is_file() || metadata.len() != size => {
            Some(format!("its output `{}` does not have the recorded {size} bytes", shown(path)))
        }
        Ok(_) => {
            let digest = digest?;
            (fs::hashed(path).ok().map(|(found, _)| found) != Some(digest))
                .then(|| format!("its output `{}` was changed", shown(path)))
        }
    }
}
