//! What came, went and moved between two packages, or a package and a lock, and
//! how much of the second is new.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::contents::Contents;
use super::names::{split_image, split_url};

/// What differs between two packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Each in the order of kind and name.
    pub changes: Vec<Change>,
    /// Bytes of what is in the new one and was in no place of the old one:
    /// blobs of images, charts, files.
    pub new_bytes: u64,
}

impl Difference {
    /// Whether the two packages have the same content.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `package`, `definition`, `image`, `chart`, `file`, `repository`,
    /// `component`, `plugin`.
    pub kind: &'static str,
    /// Without what moves: the repository of an image, the name of a chart.
    pub name: String,
    /// What stood there; none where it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Version>,
    /// What stands there; none where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Version>,
}

/// What a thing is, by its name and by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Version {
    /// A tag, a version, a reference; empty where there is none.
    pub label: String,
    /// Empty where it has none.
    pub digest: String,
}

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub(super) things: BTreeMap<Key, BTreeSet<Version>>,
    /// Sizes of contents by the digits of their SHA-256.
    pub(super) bytes: BTreeMap<String, u64>,
}

/// Kind and name.
pub(super) type Key = (&'static str, String);

impl Side {
    pub(super) fn add(&mut self, kind: &'static str, name: &str, label: &str, digest: &str) {
        let version = Version { label: label.to_owned(), digest: digest.to_owned() };
        self.things.entry((kind, name.to_owned())).or_default().insert(version);
    }
}

/// The difference of two sides.
pub fn between(old: &Side, new: &Side) -> Difference {
    let mut changes = Vec::new();
    let keys: BTreeSet<&Key> = old.things.keys().chain(new.things.keys()).collect();
    for key in keys {
        let none = BTreeSet::new();
        let of = |side: &'_ Side| side.things.get(key).unwrap_or(&none).clone();
        changes.extend(moved(key, &of(old), &of(new)));
    }
    Difference { changes, new_bytes: new_bytes(old, new) }
}

/// Everything of a package.
pub fn whole(contents: &Contents) -> Side {
    let mut side = Side { bytes: contents.bytes.clone(), ..Side::default() };
    let mut add = |kind: &'static str, name: &str, label: &str, digest: &str| side.add(kind, name, label, digest);
    add("package", &contents.name, &format!("{} {}", contents.version, contents.architecture), "");
    add("definition", "zarf.yaml", &contents.definition.documents.join(" and "), "");
    for component in &contents.components {
        add("component", &component.name, if component.required { "required" } else { "optional" }, "");
    }
    for image in &contents.images {
        let (repository, tag) = split_image(&image.reference);
        add("image", repository, tag, &image.digest);
    }
    for chart in &contents.charts {
        add("chart", &chart.name, &chart.version, &chart.sha256);
    }
    for file in &contents.files {
        add("file", &file.target, "", &file.sha256);
    }
    for repository in &contents.repositories {
        let (url, reference) = split_url(&repository.url);
        add("repository", url, reference, repository.commit.as_deref().unwrap_or_default());
    }
    for plugin in &contents.plugins {
        add("plugin", &plugin.step, &format!("{} {}", plugin.name, plugin.version), &plugin.digest);
    }
    side
}

/// What is in both is as it was; of the rest one went for each that came, as
/// far as they are paired.
fn moved(key: &Key, old: &BTreeSet<Version>, new: &BTreeSet<Version>) -> Vec<Change> {
    let mut gone = old.difference(new).cloned();
    let mut came = new.difference(old).cloned();
    let mut changes = Vec::new();
    loop {
        let (old, new) = (gone.next(), came.next());
        if old.is_none() && new.is_none() {
            return changes;
        }
        changes.push(Change { kind: key.0, name: key.1.clone(), old, new });
    }
}

fn new_bytes(old: &Side, new: &Side) -> u64 {
    new.bytes.iter().filter(|(digest, _)| !old.bytes.contains_key(*digest)).map(|(_, size)| size).sum()
}
