//! Whether the disks have room, asked again once more is known.
//!
//! Before the first download airgap.lock tells what will be written. Of a
//! first build it tells nothing: the sizes of images are known when their
//! manifests are, so the step that fetches them asks here between the two.
//! Files, charts and repositories have no size before they are there; what
//! the package gets of them is asked for when it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::Plan;
use super::preflight::{Writes, demands, mounts, shortfall};
use super::preview::outlook;
use crate::steps::Room;
use base::error::Result;
use base::layout::Layout;
use config::Project;
use disk::tree::Tree;
use fetch::shared_lock::SharedLock;
use fetch::store::Store;

/// Refuses when a disk has no room for all that the lock knows by then, the
/// package included.
pub(crate) fn of_build(project: Arc<Project>, plan: Arc<Plan>, lock: SharedLock, store: Arc<Store>) -> Room {
    Room::new(move |components| {
        let outlook = outlook(&project, &plan, components, &lock, &store)?;
        shortfall(&outlook.disk).map_or(Ok(()), Err)
    })
}

/// Refuses when the disks have no room for a package of these trees.
///
/// # Errors
/// As [`Room::check`].
pub(crate) fn for_package(layout: &Layout, trees: &BTreeMap<String, Tree>) -> Result<()> {
    let package = trees.values().map(|tree| tree.listing.bytes()).fold(0, u64::saturating_add);
    let writes = Writes { package, ..Writes::default() };
    shortfall(&demands(&writes, &mounts(layout)?)).map_or(Ok(()), Err)
}
