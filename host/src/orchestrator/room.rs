//! Whether the disks have room, asked again once more is known.
//!
//! Before the first download airgap.lock tells what will be written. Of a
//! first build it tells nothing: the sizes of images are known when their
//! manifests are, so the step that fetches them asks here between the two.
//! Files, charts and repositories have no size before they are there; what
//! the package gets of them is asked for when it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use components::ResolvedComponents;

use super::plan::Plan;
use super::preflight::{Writes, demands, mounts, shortfall};
use super::preview::outlook;
use crate::config::Project;
use crate::config::shared_lock::SharedLock;
use crate::error::Result;
use crate::layout::Layout;
use crate::store::Store;
use crate::tree::Tree;

/// What a running build still writes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room {
    pub project: Arc<Project>,
    pub plan: Arc<Plan>,
    pub lock: SharedLock,
    pub store: Arc<Store>,
}

impl Room {
    /// Refuses when a disk has no room for all that the lock knows by now,
    /// the package included.
    ///
    /// # Errors
    /// `disk-full` with both numbers; `local` where a mount does not tell its
    /// free space.
    pub fn check(&self, components: &ResolvedComponents) -> Result<()> {
        let outlook = outlook(&self.project, &self.plan, components, &self.lock, &self.store)?;
        shortfall(&outlook.disk).map_or(Ok(()), Err)
    }
}

/// Refuses when the disks have no room for a package of these trees.
///
/// # Errors
/// As [`Room::check`].
pub fn for_package(layout: &Layout, trees: &BTreeMap<String, Tree>) -> Result<()> {
    let package = trees.values().map(|tree| tree.listing.bytes()).fold(0, u64::saturating_add);
    let writes = Writes { package, ..Writes::default() };
    shortfall(&demands(&writes, &mounts(layout)?)).map_or(Ok(()), Err)
}
