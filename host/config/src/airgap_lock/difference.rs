//! What moved between two locks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde::Serialize;

use super::{AirgapLock, LockedChart, LockedFile, LockedImage, LockedRepository, Statement};
use entitlement::Asker;

impl AirgapLock {
    /// What is different in `new`.
    pub fn diff(&self, new: &Self) -> Vec<LockChange> {
        let mut changes = Vec::new();
        let image = |image: &LockedImage| image.root().to_string();
        let chart = |chart: &LockedChart| match &chart.by {
            Some(by) => format!("{} {} by {by}", chart.version, chart.digest),
            None => format!("{} {}", chart.version, chart.digest),
        };
        let file = |file: &LockedFile| file.sha256.to_string();
        let repository = |repository: &LockedRepository| repository.commit.clone();
        compare("image", None, &self.images, &new.images, &mut changes, image);
        compare("chart", None, &self.charts, &new.charts, &mut changes, chart);
        compare("file", None, &self.files, &new.files, &mut changes, file);
        compare("repository", None, &self.repositories, &new.repositories, &mut changes, repository);
        for asker in self.plugins_with(new) {
            let [before, after] = [self, new].map(|lock| lock.files_of(&asker).cloned().unwrap_or_default());
            compare("file", Some(&asker), &before, &after, &mut changes, file);
        }
        changes
    }

    /// Whoever fetched something, here or in `other`.
    fn plugins_with(&self, other: &Self) -> BTreeSet<Asker> {
        let core = self.core.keys().chain(other.core.keys()).cloned().map(Asker::Core);
        let pinned = self.plugins.keys().chain(other.plugins.keys()).cloned().map(Asker::Pinned);
        core.chain(pinned).collect()
    }
}

/// One difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockChange {
    /// `image`, `chart`, `file` or `repository`.
    pub kind: &'static str,
    /// The key of the entry in its section of airgap.lock.
    pub key: String,
    /// The plugin under whose name the entry stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Asker>,
    /// What it resolved to; None where it was not there.
    pub old: Option<String>,
    /// What it resolves to now; None where it is gone.
    pub new: Option<String>,
    /// Of an entry that is doubted or unnamed: for what reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl LockChange {
    /// `file https://…`, and by which plugin where it stands under one.
    pub fn entry(&self) -> String {
        let Self { kind, key, by, .. } = self;
        by.as_ref().map_or_else(|| format!("{kind} {key}"), |by| format!("{kind} {key} of the {by}"))
    }

    /// Whether both are about the same entry.
    pub fn is_of(&self, other: &Self) -> bool {
        (self.kind, &self.key, &self.by) == (other.kind, &other.key, &other.by)
    }
}

impl Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, new, .. } = self;
        let entry = self.entry();
        match (old, new) {
            (Some(old), Some(new)) if old == new => write!(f, "~ {entry}: {new}, its parts differ"),
            (Some(old), Some(new)) => write!(f, "~ {entry}: {old} → {new}"),
            (None, Some(new)) => write!(f, "+ {entry}: {new}"),
            (Some(old), None) => write!(f, "- {entry}: {old}"),
            (None, None) => write!(f, "  {entry}"),
        }
    }
}

fn compare<K: Ord + Display, T: Statement>(
    kind: &'static str,
    by: Option<&Asker>,
    old: &BTreeMap<K, T>,
    new: &BTreeMap<K, T>,
    changes: &mut Vec<LockChange>,
    shown: impl Fn(&T) -> String,
) {
    let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before.zip(after).is_none_or(|(before, after)| !before.agrees_with(after)) {
            let (old, new) = (before.map(&shown), after.map(&shown));
            changes.push(LockChange { kind, key: key.to_string(), by: by.cloned(), old, new, why: None });
        }
    }
}
