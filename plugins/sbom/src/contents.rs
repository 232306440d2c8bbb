//! What was found in an image, a file or the files of a component.

use crate::found::{Package, Release, Unread};

/// A package, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What was found.
    pub package: Package,
    /// From the root, with a `/` in front.
    pub path: String,
    /// Of the layer, as the configuration of the image has it; empty outside of
    /// images.
    pub layer: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The system that an image is made of; None where it does not say, and outside of
    /// images.
    pub release: Option<Release>,
    /// Sorted by [`Contents::sort`].
    pub packages: Vec<Placed>,
    /// Digest of the layer, its name in the configuration, and what of it could
    /// not be read.
    pub unread: Vec<(String, String, Unread)>,
}

impl Contents {
    /// The order of the documents: by kind, name, version and place.
    pub fn sort(&mut self) {
        let key = |placed: &Placed| {
            let Package { kind, name, version, inside, .. } = &placed.package;
            (*kind, name.clone(), version.clone(), placed.path.clone(), inside.clone())
        };
        self.packages.sort_by_cached_key(key);
        self.packages.dedup();
        self.unread.sort();
        self.unread.dedup();
    }
}
