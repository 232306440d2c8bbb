//! What an import says, and what comes of it.

use serde::Deserialize;

use crate::zarf::Definition;
use crate::zarf::alpha::Component;

/// `import` of a component.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Import {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) url: String,
}

impl Import {
    /// What the component is called there.
    pub(super) fn called<'a>(&'a self, component: &'a Component) -> &'a str {
        if self.name.is_empty() { &component.name } else { &self.name }
    }
}

/// What composing one gave.
pub(super) struct Resolved {
    pub(super) definition: Definition,
    pub(super) schemas: Vec<String>,
}

/// What a component is laid over. Boxed, for imports lead to imports.
pub(super) type Base = Box<Imported>;

/// A component that is imported.
pub(super) struct Imported {
    pub(super) component: Component,
    /// The folder of its files, as the importing definition says it.
    pub(super) folder: String,
    /// What comes along.
    pub(super) along: Resolved,
}

/// Every source of a component that may be a path.
pub(super) fn each_source(component: &mut Component, visit: &mut dyn FnMut(&mut String)) {
    component.files.iter_mut().for_each(|file| visit(&mut file.source));
    component.image_archives.iter_mut().for_each(|archive| visit(&mut archive.path));
    for chart in &mut component.charts {
        chart.values_files.iter_mut().chain(&mut chart.templated_values_files).for_each(&mut *visit);
        if !chart.local_path.is_empty() {
            visit(&mut chart.local_path);
        }
    }
    component.manifests.iter_mut().flat_map(|manifest| &mut manifest.files).for_each(visit);
}
