//! The three-way merge of the component manifest: what the last generation
//! said (base), what this generation says, and what lies there now, edited by
//! people and other tools.
//!
//! Entries are known by name, images by their repository. Binaries, tools,
//! repositories and charts are merged field by field, so that a hand-edited
//! URL follows when the pins change the version. Images carry nothing but
//! their tag, so there the tag is what is merged.

use model::{Binary, Chart, ComponentManifest, Images, Kubernetes, Repository, Tool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::images::merge_images;
use crate::mode::Mode;
use crate::note::{Note, Notes};
use crate::place::place;

/// The manifest that goes on, and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Without `_generated`.
    pub manifest: ComponentManifest,
    /// What the merge did, in its order.
    pub notes: Vec<Note>,
}

/// Merges. Without a base everything that lies there counts as added by hand;
/// without a current manifest the generation is the result.
pub fn merge_manifests(
    base: Option<&ComponentManifest>,
    generated: &ComponentManifest,
    current: Option<&ComponentManifest>,
    mode: Mode,
) -> Merged {
    let Some(current) = current else {
        return Merged { manifest: bare(generated), notes: Vec::new() };
    };
    let empty = ComponentManifest::default();
    let base = base.unwrap_or(&empty);
    let mut notes = Notes::default();
    let manifest = ComponentManifest {
        generated: None,
        kubernetes: kubernetes(
            [base.kubernetes.as_ref(), generated.kubernetes.as_ref(), current.kubernetes.as_ref()],
            mode,
            &mut notes,
        ),
        tools: named("tool", [&base.tools, &generated.tools, &current.tools], mode, &mut notes),
        repositories: named(
            "repository",
            [&base.repositories, &generated.repositories, &current.repositories],
            mode,
            &mut notes,
        ),
        images: Images {
            auto_discover: merge_images(&base.images, &generated.images, &current.images, mode, &mut notes),
            additional: current.images.additional.clone(),
        },
        charts: named("chart", [&base.charts, &generated.charts, &current.charts], mode, &mut notes),
        // No pin makes any.
        components: current.components.clone(),
    };
    Merged { manifest, notes: notes.into_list() }
}

/// The manifest without `_generated`, which is about the file.
pub fn bare(manifest: &ComponentManifest) -> ComponentManifest {
    ComponentManifest { generated: None, ..manifest.clone() }
}

/// What is known by its name.
pub trait Named: Clone + PartialEq + Serialize + DeserializeOwned {
    /// By which the two sides find each other.
    fn name(&self) -> &str;
}

macro_rules! named {
    ($($type:ty),*) => { $(impl Named for $type {
        fn name(&self) -> &str {
            &self.name
        }
    })* };
}
named!(Binary, Tool, Repository, Chart);

fn find<'a, T: Named>(list: &'a [T], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name() == name)
}

fn kubernetes(
    [base, generated, current]: [Option<&Kubernetes>; 3],
    mode: Mode,
    notes: &mut Notes,
) -> Option<Kubernetes> {
    match (base, generated, current) {
        (_, Some(generated), Some(current)) => Some(Kubernetes {
            version: kubernetes_version(base, generated, current, mode, notes),
            binaries: named(
                "binary",
                [base.map_or(&[][..], |base| &base.binaries), &generated.binaries, &current.binaries],
                mode,
                notes,
            ),
        }),
        (None, Some(generated), None) => {
            notes.added("section", "kubernetes");
            Some(generated.clone())
        }
        // Removed by hand.
        (Some(_), Some(generated), None) => (mode == Mode::Force).then(|| generated.clone()),
        (None, None, current) => current.cloned(),
        (Some(base), None, Some(current)) => dropped_kubernetes(base, current, mode, notes),
        (Some(_), None, None) => None,
    }
}

fn kubernetes_version(
    base: Option<&Kubernetes>,
    generated: &Kubernetes,
    current: &Kubernetes,
    mode: Mode,
    notes: &mut Notes,
) -> String {
    let (mine, pinned) = (&current.version, &generated.version);
    match decide(base.map(|base| &base.version), pinned, mine, mode) {
        Decision::Mine => mine.clone(),
        Decision::Pinned => {
            notes.changed("kubernetes", "version", mine, pinned);
            pinned.clone()
        }
        Decision::Conflict => {
            notes.conflict("kubernetes", "version", mine, pinned);
            mine.clone()
        }
    }
}

/// The catalog no longer makes the section: what people added to it stays.
fn dropped_kubernetes(base: &Kubernetes, current: &Kubernetes, mode: Mode, notes: &mut Notes) -> Option<Kubernetes> {
    if base == current {
        notes.removed("section", "kubernetes");
        return None;
    }
    if mode == Mode::KeepEdits {
        notes.kept("section", "kubernetes");
        return Some(current.clone());
    }
    let added = current.binaries.iter().filter(|binary| find(&base.binaries, &binary.name).is_none());
    let binaries: Vec<Binary> = added.cloned().collect();
    (!binaries.is_empty()).then(|| Kubernetes { version: current.version.clone(), binaries })
}

/// One list of entries with names.
fn named<T: Named>(kind: &str, [base, generated, current]: [&[T]; 3], mode: Mode, notes: &mut Notes) -> Vec<T> {
    if current == base {
        tell_unedited(kind, base, generated, notes);
        return generated.to_vec();
    }
    let mut result: Vec<T> = Vec::new();
    for entry in current {
        let name = entry.name();
        match (find(base, name), find(generated, name)) {
            (None, None) => result.push(entry.clone()),
            (Some(base), None) if base == entry || mode == Mode::Force => notes.removed(kind, name),
            (Some(_), None) => {
                notes.kept(kind, name);
                result.push(entry.clone());
            }
            (base, Some(generated)) => result.push(merge_entry(kind, base, generated, entry, mode, notes)),
        }
    }
    for (index, entry) in generated.iter().enumerate() {
        let removed_by_hand = find(base, entry.name()).is_some();
        if find(current, entry.name()).is_some() || (removed_by_hand && mode == Mode::KeepEdits) {
            continue;
        }
        notes.added(kind, entry.name());
        let before = generated[..index].iter().rev().map(Named::name);
        let after = generated[index + 1..].iter().map(Named::name);
        let at = place(&result, before, after, |one, name| one.name() == name);
        result.insert(at, entry.clone());
    }
    result
}

fn tell_unedited<T: Named>(kind: &str, base: &[T], generated: &[T], notes: &mut Notes) {
    for entry in generated {
        match find(base, entry.name()) {
            None => notes.added(kind, entry.name()),
            Some(base) => {
                for (field, old, new) in differences(&fields(base), &fields(entry)) {
                    notes.changed(&format!("{kind} {}", entry.name()), &field, &old, &new);
                }
            }
        }
    }
    for entry in base.iter().filter(|entry| find(generated, entry.name()).is_none()) {
        notes.removed(kind, entry.name());
    }
}

fn merge_entry<T: Named>(kind: &str, base: Option<&T>, generated: &T, current: &T, mode: Mode, notes: &mut Notes) -> T {
    let what = format!("{kind} {}", current.name());
    let (pinned, mine) = (fields(generated), fields(current));
    if mode == Mode::Force {
        for (field, old, new) in differences(&mine, &pinned) {
            notes.changed(&what, &field, &old, &new);
        }
        return generated.clone();
    }
    let base = base.map(fields);
    let mut merged = Map::new();
    for key in mine.keys().chain(pinned.keys()) {
        if merged.contains_key(key) {
            continue;
        }
        let (mine, pinned) = (mine.get(key), pinned.get(key));
        let value = match decide(base.as_ref().map(|base| base.get(key)), pinned, mine, mode) {
            Decision::Mine => mine,
            Decision::Pinned => {
                notes.changed(&what, key, &text(mine), &text(pinned));
                pinned
            }
            Decision::Conflict => {
                notes.conflict(&what, key, &text(mine), &text(pinned));
                mine
            }
        };
        if let Some(value) = value {
            merged.insert(key.clone(), value.clone());
        }
    }
    serde_json::from_value(Value::Object(merged)).unwrap_or_else(|_| current.clone())
}

/// Whose value goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// What lies there: it is the same, or edited while the pins stood still.
    Mine,
    Pinned,
    /// Both changed it: what lies there stays, and the user is told.
    Conflict,
}

/// One value: the heart of it all.
fn decide<T: PartialEq>(base: Option<T>, generated: T, current: T, mode: Mode) -> Decision {
    if generated == current {
        return Decision::Mine;
    }
    match base {
        _ if mode == Mode::Force => Decision::Pinned,
        Some(base) if base == current => Decision::Pinned,
        Some(base) if base == generated => Decision::Mine,
        _ => Decision::Conflict,
    }
}

fn fields<T: Serialize>(entry: &T) -> Map<String, Value> {
    match serde_json::to_value(entry) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn differences(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<(String, String, String)> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| (key.clone(), text(old.get(key)), text(new.get(key))))
        .collect()
}

/// A value as a note shows it.
fn text(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
