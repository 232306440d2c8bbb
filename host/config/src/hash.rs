//! The configuration hash, and what changed between two of them.
//!
//! The hash covers what decides about the content of a package, file by file:
//! names and lengths are hashed along, under a domain of their own, so that
//! nothing can move from one file to the next unnoticed. Beside the hashes
//! lie the values, flat and without secrets, so that a refusal can say
//! `KUBERNETES_VERSION: v1.34.3 → v1.34.4 in config/versions.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use base::digest::{Digest, Hasher};

/// The names under which the files are hashed, wherever config/ lies.
pub const VERSIONS_ENV: &str = "config/versions.env";
/// The catalog.
pub const CATALOG: &str = "config/catalog.yaml";
/// The component manifest.
pub const COMPONENTS: &str = "config/components.yaml";
/// The settings, of which only what decides about the content is hashed.
pub const SETTINGS: &str = "config/settings.yaml";
/// The lock.
pub const AIRGAP_LOCK: &str = "config/airgap.lock";
pub(crate) const PIPELINE: &str = "config/pipeline.yaml";
pub(crate) const PLUGINS_LOCK: &str = "config/plugins.lock";

/// Values of one file that are kept for a difference; beyond that only the
/// file is named.
const VALUES: usize = 5_000;

/// Goes into state.json.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigHashes {
    /// By name, for example `config/versions.env`; local charts and values
    /// files by the path as written. Of settings.yaml only the part that
    /// decides about the content counts.
    pub files: BTreeMap<String, Digest>,
    /// Over all files; None until components.yaml exists.
    #[serde(default)]
    pub total: Option<Digest>,
    /// The pins: KEY and value, secrets and long values cut.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, String>,
    /// The values of the YAML files, by file and place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, BTreeMap<String, String>>,
}

impl ConfigHashes {
    /// Adds a file, with its values where a difference may show them.
    pub fn add(&mut self, name: &str, digest: Digest, values: Option<BTreeMap<String, String>>) {
        self.files.insert(name.to_owned(), digest);
        if let Some(values) = values.filter(|values| values.len() <= VALUES) {
            self.values.insert(name.to_owned(), values);
        }
        self.sum_up();
    }

    /// The same configuration with another airgap.lock: what a build itself
    /// writes there is not a change.
    #[must_use]
    pub fn with_lock(&self, lock: Option<Digest>) -> Self {
        let mut hashes = self.clone();
        match lock {
            Some(digest) => drop(hashes.files.insert(AIRGAP_LOCK.to_owned(), digest)),
            None => drop(hashes.files.remove(AIRGAP_LOCK)),
        }
        hashes.sum_up();
        hashes
    }

    /// Of airgap.lock as it was when the hashes were made.
    pub fn lock(&self) -> Option<Digest> {
        self.files.get(AIRGAP_LOCK).copied()
    }

    /// Whether another file is different than those that the component
    /// manifest is made of, and that itself.
    pub fn differs_beyond_manifests(&self, other: &Self) -> bool {
        let rest = |hashes: &Self| {
            let mut files = hashes.files.clone();
            files.retain(|name, _| ![VERSIONS_ENV, CATALOG, COMPONENTS].contains(&name.as_str()));
            files
        };
        rest(self) != rest(other)
    }

    fn sum_up(&mut self) {
        self.total = self.files.contains_key(COMPONENTS).then(|| {
            let mut hasher = Hasher::new();
            hasher.update(b"opencenter-airgap configuration 1\0");
            hasher.update(&(self.files.len() as u64).to_le_bytes());
            for (name, digest) in &self.files {
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name.as_bytes());
                hasher.update(digest.as_bytes());
            }
            hasher.finish()
        });
    }
}

/// The digest of a file under its name and length, so that equal bytes in two
/// files do not hash alike.
pub fn file_digest(name: &str, content: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"opencenter-airgap file 1\0");
    for bytes in [name.as_bytes(), content] {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finish()
}

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `config/versions.env`.
    pub file: String,
    /// A pin or a place in a YAML file; None where only the file is known to
    /// differ. Without old and new as well, no value differs.
    pub key: Option<String>,
    /// What it was; None where it was not there.
    pub old: Option<String>,
    /// What it is now; None where it is gone.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, old, new } = self;
        // The command line may say these as well.
        let chosen = match key.as_deref() {
            Some("package.flavor") => Some("--flavor"),
            Some(key) if key.starts_with("package.set.") => Some("--set"),
            _ => None,
        };
        let file = match chosen {
            Some(option) if file == SETTINGS => &format!("{file}, or by {option}"),
            _ => file,
        };
        let [old, new] =
            [old, new].map(|value| value.as_deref().map(|text| if text.is_empty() { "nothing" } else { text }));
        match (key, old, new) {
            (Some(key), Some(old), Some(new)) => write!(f, "{key}: {old} → {new} in {file}"),
            (Some(key), None, Some(new)) => write!(f, "{key}: {new} was added in {file}"),
            (Some(key), Some(old), None) => write!(f, "{key}: {old} was removed in {file}"),
            (None, None, Some(_)) => write!(f, "{file} was added"),
            (None, Some(_), None) => write!(f, "{file} was removed"),
            (None, None, None) => write!(f, "{file} changed (comments or layout only)"),
            _ => write!(f, "{file} changed"),
        }
    }
}

/// What is different in `new`, by file and as far as possible by key.
pub fn changes(old: &ConfigHashes, new: &ConfigHashes) -> Vec<Change> {
    let names: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = (old.files.get(name), new.files.get(name));
        if before == after {
            continue;
        }
        let whole = Change {
            file: name.clone(),
            key: None,
            old: before.map(ToString::to_string),
            new: after.map(ToString::to_string),
        };
        let keys = match (before, after) {
            (Some(_), Some(_)) => key_changes(name, values_of(old, name), values_of(new, name)),
            _ => None,
        };
        match keys {
            None => changes.push(whole),
            Some(keys) if keys.is_empty() => changes.push(Change { old: None, new: None, ..whole }),
            Some(keys) => changes.extend(keys),
        }
    }
    changes
}

fn values_of<'a>(hashes: &'a ConfigHashes, name: &str) -> Option<&'a BTreeMap<String, String>> {
    if name == VERSIONS_ENV { Some(&hashes.pins) } else { hashes.values.get(name) }
}

/// By key; None where the values are not known.
fn key_changes(
    file: &str,
    old: Option<&BTreeMap<String, String>>,
    new: Option<&BTreeMap<String, String>>,
) -> Option<Vec<Change>> {
    let (old, new) = (old?, new?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changes =
        keys.into_iter().filter(|key| !key.starts_with("_generated")).filter(|key| old.get(*key) != new.get(*key)).map(
            |key| Change {
                file: file.to_owned(),
                key: Some(key.clone()),
                old: old.get(key).cloned(),
                new: new.get(key).cloned(),
            },
        );
    Some(changes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(pins: &[(&str, &str)], files: &[(&str, &str)]) -> ConfigHashes {
        let mut hashes = ConfigHashes {
            pins: pins.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..ConfigHashes::default()
        };
        hashes.add(VERSIONS_ENV, Digest::of(format!("{pins:?}").as_bytes()), None);
        for (name, text) in files {
            hashes.add(name, file_digest(name, text.as_bytes()), None);
        }
        hashes
    }

    #[test]
    fn there_is_no_hash_before_components_exist() {
        assert_eq!(hashes(&[], &[]).total, None);
        assert!(hashes(&[], &[(COMPONENTS, "")]).total.is_some());
    }

    #[test]
    fn every_file_counts_with_its_name() {
        let base = hashes(&[], &[(COMPONENTS, "a")]);
        let others = [
            hashes(&[("A", "1")], &[(COMPONENTS, "a")]),
            hashes(&[], &[(COMPONENTS, "b")]),
            hashes(&[], &[(COMPONENTS, "a"), (CATALOG, "")]),
            hashes(&[], &[(COMPONENTS, "a"), ("charts/x", "")]),
            base.with_lock(Some(Digest::of(b"lock"))),
        ];
        let totals: BTreeSet<_> = others.iter().map(|other| other.total).chain([base.total]).collect();
        assert_eq!(totals.len(), others.len() + 1);
        assert_eq!(others[4].with_lock(None), base);
        assert_ne!(file_digest("a", b"bc"), file_digest("ab", b"c"));
    }

    #[test]
    fn changes_go_down_to_the_key() {
        let old = hashes(
            &[("KUBERNETES_VERSION", "v1.34.3"), ("GONE", "1"), ("SAME", "x")],
            &[(AIRGAP_LOCK, "a"), (CATALOG, "c")],
        );
        let new = hashes(
            &[("KUBERNETES_VERSION", "v1.34.4"), ("NEW", "2"), ("SAME", "x")],
            &[(AIRGAP_LOCK, "b"), (PIPELINE, "p")],
        );
        let shown: Vec<String> = changes(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "config/airgap.lock changed",
                "config/catalog.yaml was removed",
                "config/pipeline.yaml was added",
                "GONE: 1 was removed in config/versions.env",
                "KUBERNETES_VERSION: v1.34.3 → v1.34.4 in config/versions.env",
                "NEW: 2 was added in config/versions.env",
            ]
        );
        assert!(changes(&old, &old).is_empty());
        let mut commented = old.clone();
        commented.add(VERSIONS_ENV, Digest::of(b"with a comment"), None);
        let shown: Vec<String> = changes(&old, &commented).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["config/versions.env changed (comments or layout only)"]);
    }

    #[test]
    fn hashes_survive_state_json() {
        let hashes = hashes(&[("A", "1")], &[(COMPONENTS, "a")]);
        let text = serde_json::to_string(&hashes).unwrap();
        assert_eq!(serde_json::from_str::<ConfigHashes>(&text).unwrap(), hashes);
    }
}
