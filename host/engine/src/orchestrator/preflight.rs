//! Whether the disk has room for what will be written, asked before the first
//! byte of it is.
//!
//! [`demands`] and [`shortfall`] decide without I/O; [`mounts`] asks the
//! operating system. What lies on one mount is added up: the package is
//! written in build/staging and gets a second name in dist/, so it counts
//! once where both are on one disk, and twice where they are not.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::needs::Total;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};
use base::progress::text;

/// The places that a build writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildArea {
    /// What is downloaded.
    Store,
    /// What the steps make of it, the package included.
    Staging,
    /// The finished package.
    Dist,
}

impl fmt::Display for BuildArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Staging => "staging",
            Self::Dist => "dist",
        })
    }
}

/// One file system, and which places are on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    #[serde(skip)]
    pub device: u64,
    /// A folder on it, for people.
    pub path: String,
    pub places: Vec<BuildArea>,
    /// Bytes that this user may still write.
    pub free: u64,
}

/// What a mount will have to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Demand {
    #[serde(flatten)]
    pub mount: Mount,
    /// Bytes that will be written, as far as they are known.
    pub needed: u64,
}

/// What will be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    /// Bytes that are still to be downloaded.
    pub store: u64,
    /// Bytes of what the steps get from the store: links on one mount, copies
    /// on two.
    pub linked: u64,
    /// Bytes of the package: at most those of what is in it.
    pub package: u64,
}

impl Writes {
    /// Of a build that still works on `worked_on`, and makes a package of
    /// `packaged` or none.
    pub(crate) fn new(worked_on: &Total, packaged: Option<&Total>) -> Self {
        Self {
            store: worked_on.bytes_to_fetch,
            linked: worked_on.bytes_needed,
            package: packaged.map_or(0, |packaged| packaged.bytes_needed),
        }
    }
}

/// Adds up what each mount gets.
pub(crate) fn demands(writes: &Writes, mounts: &[Mount]) -> Vec<Demand> {
    let device = |place: BuildArea| mounts.iter().find(|mount| mount.places.contains(&place)).map(|mount| mount.device);
    let is_split = |one: BuildArea, other: BuildArea| device(one) != device(other);
    let mut needed: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    let mut add = |place: BuildArea, bytes: u64| {
        let sum = needed.entry(device(place)).or_default();
        *sum = sum.saturating_add(bytes);
    };
    add(BuildArea::Store, writes.store);
    if is_split(BuildArea::Store, BuildArea::Staging) {
        add(BuildArea::Staging, writes.linked);
    }
    add(BuildArea::Staging, writes.package);
    if is_split(BuildArea::Staging, BuildArea::Dist) {
        add(BuildArea::Dist, writes.package);
    }
    mounts
        .iter()
        .map(|mount| Demand { needed: needed.get(&Some(mount.device)).copied().unwrap_or(0), mount: mount.clone() })
        .collect()
}

/// Refuses when a mount will not hold what is asked of it, naming both
/// numbers of each such mount.
pub(crate) fn shortfall(demands: &[Demand]) -> Option<Error> {
    let short: Vec<String> = demands.iter().filter(|demand| demand.needed > demand.mount.free).map(told).collect();
    (!short.is_empty()).then(|| {
        Error::new(Class::DiskFull, format!("not enough space: {}", short.join("; ")))
            .hint("free some space, or move build/ with --build-dir or dist/ with --dist-dir: finished work is kept")
    })
}

fn told(demand: &Demand) -> String {
    let places: Vec<String> = demand.mount.places.iter().map(ToString::to_string).collect();
    format!(
        "`{}` ({}) needs up to {} ({} bytes) and has {} free ({} bytes)",
        demand.mount.path,
        places.join(", "),
        text::bytes(demand.needed),
        demand.needed,
        text::bytes(demand.mount.free),
        demand.mount.free
    )
}

/// The file systems under store, staging and dist, with their free space.
///
/// # Errors
/// `local` where the operating system does not say.
pub(crate) fn mounts(layout: &Layout) -> Result<Vec<Mount>> {
    mounts_of(&[
        (BuildArea::Store, &layout.store()),
        (BuildArea::Staging, &layout.staging()),
        (BuildArea::Dist, &layout.dist),
    ])
}

fn mounts_of(places: &[(BuildArea, &Path)]) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    for (place, path) in places {
        let folder = nearest(path);
        let device = folder.metadata().map_err(|source| Error::io("cannot read", &folder, source))?.dev();
        match mounts.iter_mut().find(|mount| mount.device == device) {
            Some(mount) => mount.places.push(*place),
            None => mounts.push(Mount { device, path: shown(path), places: vec![*place], free: free(&folder)? }),
        }
    }
    Ok(mounts)
}

/// The path itself, or the first folder above it that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.is_dir()).map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

fn free(folder: &Path) -> Result<u64> {
    let told = rustix::fs::statvfs(folder)
        .map_err(|error| Error::io("cannot ask for the free space of", folder, error.into()))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: u64, free: u64, places: &[BuildArea]) -> Mount {
        Mount { device, path: format!("/mnt/{device}"), places: places.to_vec(), free }
    }

    const WRITES: Writes = Writes { store: 100, linked: 150, package: 200 };

    fn needed(mounts: &[Mount]) -> Vec<u64> {
        demands(&WRITES, mounts).iter().map(|demand| demand.needed).collect()
    }

    #[test]
    fn what_is_linked_on_one_mount_is_copied_between_two() {
        use BuildArea::{Dist, Staging, Store};
        assert_eq!(needed(&[mount(1, 0, &[Store, Staging, Dist])]), [300]);
        assert_eq!(needed(&[mount(1, 0, &[Store, Staging]), mount(2, 0, &[Dist])]), [300, 200]);
        assert_eq!(needed(&[mount(1, 0, &[Store]), mount(2, 0, &[Staging, Dist])]), [100, 350]);
        assert_eq!(needed(&[mount(1, 0, &[Store, Dist]), mount(2, 0, &[Staging])]), [300, 350]);
        assert_eq!(needed(&[mount(1, 0, &[Store]), mount(2, 0, &[Staging]), mount(3, 0, &[Dist])]), [100, 350, 200]);
    }

    #[test]
    fn a_refusal_names_both_numbers_of_every_mount_that_is_too_small() {
        use BuildArea::{Dist, Staging, Store};
        let roomy = [mount(1, 300, &[Store, Staging]), mount(2, 200, &[Dist])];
        assert!(shortfall(&demands(&WRITES, &roomy)).is_none());
        let tight = [mount(1, 299, &[Store, Staging]), mount(2, 199, &[Dist])];
        let error = shortfall(&demands(&WRITES, &tight)).unwrap();
        assert_eq!(error.class(), Class::DiskFull);
        for part in ["`/mnt/1` (store, staging)", "300 bytes", "299 bytes", "`/mnt/2` (dist)", "200 bytes", "199 bytes"]
        {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        assert!(shortfall(&demands(&WRITES, &tight[1..])).is_some());
    }

    #[test]
    fn sums_beyond_all_numbers_are_refused_not_wrapped() {
        let writes = Writes { store: u64::MAX, linked: 0, package: u64::MAX };
        let all = [mount(1, u64::MAX - 1, &[BuildArea::Store, BuildArea::Staging, BuildArea::Dist])];
        assert!(shortfall(&demands(&writes, &all)).is_some());
    }

    #[test]
    fn folders_that_are_not_there_yet_are_on_the_mount_above() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("c"), folder.path().join("x/build"), folder.path().join("y/dist"));
        let mounts = mounts(&layout).unwrap();
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].places, [BuildArea::Store, BuildArea::Staging, BuildArea::Dist]);
        assert!(mounts[0].free > 0);
    }

    #[test]
    fn only_what_is_still_to_come_counts() {
        let all = Total { missing: 1, bytes_to_fetch: 10, bytes_needed: 30, unknown: 0 };
        assert_eq!(Writes::new(&all, Some(&all)), Writes { store: 10, linked: 30, package: 30 });
        assert_eq!(Writes::new(&Total::default(), Some(&all)), Writes { store: 0, linked: 0, package: 30 });
        assert_eq!(Writes::new(&Total::default(), None), Writes::default());
    }
}
