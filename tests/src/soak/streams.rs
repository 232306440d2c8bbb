//! What is kept of downloads that a kill cut short.

use std::collections::BTreeMap;
use std::fmt;

use super::site::Site;
use crate::project::Project;

/// Bytes of one stream that a kill may cost.
pub const SYNC_INTERVAL: u64 = 16 << 20;

/// The bytes that are there of each partial download, by its key.
pub(super) fn partials(project: &Project) -> BTreeMap<String, u64> {
    let folders = std::fs::read_dir(project.path("build/store/partial")).into_iter().flatten().flatten();
    let size = |folder: &std::fs::DirEntry| std::fs::metadata(folder.path().join("data")).ok().map(|data| data.len());
    folders.filter_map(|folder| Some((folder.file_name().into_string().ok()?, size(&folder)?))).collect()
}

/// What became of partial downloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resumed {
    /// Downloads that went on behind their beginning.
    pub streams: usize,
    /// Bytes that were not fetched again.
    pub kept: u64,
    /// Bytes that were there and were fetched again.
    pub refetched: u64,
    /// The most of them in one stream.
    pub most_refetched: u64,
}

impl Resumed {
    /// Compares the downloads before a run with what the run asked for.
    ///
    /// # Panics
    /// When a request starts before what was safe, or behind what was there.
    pub(super) fn add(&mut self, before: &BTreeMap<String, u64>, site: &Site) {
        for (key, there) in before {
            let Some(first) = site.first_request(key) else { continue };
            let start = first.range.map_or(0, |(start, _)| start);
            assert!(start <= *there, "{there} bytes of {} were there, asked from {start}", first.path);
            let refetched = there - start;
            assert!(
                refetched <= SYNC_INTERVAL,
                "{there} bytes of {} were there, asked again for {refetched} of them",
                first.path
            );
            self.streams += usize::from(start > 0);
            self.kept += start;
            self.refetched += refetched;
            self.most_refetched = self.most_refetched.max(refetched);
        }
    }
}

impl fmt::Display for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} streams resumed, {:.0} MiB kept, {:.0} MiB fetched again, at most {:.1} MiB of one stream",
            self.streams,
            mib(self.kept),
            mib(self.refetched),
            mib(self.most_refetched)
        )
    }
}
