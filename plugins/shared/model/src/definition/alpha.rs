//! Zarf's rules for imports in v1alpha1: `resolveImports` of its package `load`.
//!
//! A component is laid over the one that it imports: metadata replaces, lists
//! follow, charts and manifests of one name are merged. Variables, constants
//! and values of the imported definition come along; the importing one wins.

use std::collections::BTreeSet;

use serde_yaml::{Mapping, Value};

use super::import::{Base, Import, Imported, Resolved, each_source};
use super::reader::{DEEPEST, Home, Reader, Refused};
use super::{Found, address, merge, path, refuse, template};
use crate::problem::{YamlPath, shown};
use crate::zarf::Definition;
use crate::zarf::alpha::{Action, ActionSet, Chart, Component, Manifest};

/// A definition, with the place of each component in its file.
pub(super) struct Package {
    pub(super) definition: Definition,
    pub(super) places: Vec<YamlPath>,
    pub(super) home: Home,
}

impl Reader<'_> {
    pub(super) fn compose_alpha(&mut self, home: &Home, document: Value) -> Refused<(Definition, Vec<String>)> {
        let mut package = self.package(home, &document)?;
        let metadata = &package.definition.metadata;
        let architecture = self.architecture(home, &package.definition.kind, &metadata.architecture)?;
        package.definition.metadata.architecture.clone_from(&architecture);
        let Resolved { definition, schemas } = self.resolve(package, &architecture, &[])?;
        self.check_names(home, definition.components.iter().map(|component| &*component.name), &architecture, "only")?;
        let definition = self.filled(home, &definition, &architecture)?;
        Ok((definition, schemas))
    }

    fn filled(&mut self, home: &Home, definition: &Definition, architecture: &str) -> Refused<Definition> {
        let bad = |error: serde_yaml::Error| home.refusal(error.to_string(), "correct the values of the templates");
        let mut document = serde_yaml::to_value(definition).map_err(bad)?;
        let names = template::fill(&mut document, architecture, self.choice);
        self.learnt.templates.extend(names.all);
        for name in names.missing {
            let message = format!("the package template `###ZARF_PKG_TMPL_{name}###` has no value");
            let hint = format!("give it one: `--set {name}=…`, or `package.set` in config/settings.yaml");
            self.refusals.push(*home.refusal(message, hint));
        }
        serde_yaml::from_value(document).map_err(bad)
    }

    pub(super) fn package(&mut self, home: &Home, document: &Value) -> Refused<Package> {
        let mut definition: Definition = self.typed(home, document)?;
        self.count(home, definition.components.len())?;
        definition.components.iter_mut().for_each(plural_variables);
        let list = YamlPath::root().key("components");
        let places = (0..definition.components.len()).map(|index| list.index(index)).collect();
        Ok(Package { definition, places, home: home.clone() })
    }

    /// `stack` are the folders of the definitions that led here.
    fn resolve(&mut self, package: Package, architecture: &str, stack: &[String]) -> Refused<Resolved> {
        let Package { mut definition, places, home } = package;
        let mut stack = stack.to_vec();
        stack.push(home.folder.clone());
        let mut merged = Merged::default();
        let components = std::mem::take(&mut definition.components);
        for (component, place) in components.into_iter().zip(&places) {
            self.learnt.flavor(&component.only.flavor);
            if !self.applies(&component, architecture) {
                continue;
            }
            for (within, message, hint) in refuse::of_alpha(&component) {
                let path = place.then(&within);
                self.refusals.push(*home.at(&path, &component.name, message, hint));
            }
            let Some(import) = self.import(&home, place, &component)? else {
                merged.components.push(component);
                continue;
            };
            let at = (&home, place);
            let base = match import.url.is_empty() {
                true => Some(self.imported(&component, &import, at, architecture, &stack)?),
                false => self.skeleton(&component, &import, at, architecture)?,
            };
            let name = component.name.clone();
            let refused = |(message, hint): (String, &str)| home.at(&place.key("import"), &name, message, hint);
            merged.lay(base, component).map_err(refused)?;
        }
        Ok(merged.into_resolved(definition))
    }

    fn applies(&self, component: &Component, architecture: &str) -> bool {
        let only = &component.only;
        self.fits(&only.cluster.architecture, &only.flavor, architecture)
    }

    fn import(&mut self, home: &Home, place: &YamlPath, component: &Component) -> Refused<Option<Import>> {
        let at = place.key("import");
        let refused = |message: String, hint: &str| home.at(&at, &component.name, message, hint);
        let Some(written) = component.import.as_ref().filter(|import| !import.is_null()) else { return Ok(None) };
        let import: Import = serde_yaml::from_value(written.clone())
            .map_err(|error| refused(format!("its import is none: {error}"), "write `path` or `url`, and `name`"))?;
        if import.path.is_empty() && import.url.is_empty() {
            return Ok(None);
        }
        if !import.path.is_empty() && !import.url.is_empty() {
            return Err(refused("its import has a `path` and a `url`".to_owned(), "keep one of them"));
        }
        if template::is_in(&import.path) || template::is_in(&import.url) {
            let message = "its import holds a package template, which are filled in later".to_owned();
            return Err(refused(message, "write the value itself"));
        }
        if import.path.starts_with('/') {
            return Err(refused(
                "the path of its import is absolute".to_owned(),
                "write it relative to the definition",
            ));
        }
        if !import.url.is_empty() {
            address::check_url(&import.url).map_err(|(message, hint)| refused(message, &hint))?;
        }
        Ok(Some(import))
    }

    fn imported(
        &mut self,
        component: &Component,
        import: &Import,
        (home, place): (&Home, &YamlPath),
        architecture: &str,
        stack: &[String],
    ) -> Refused<Base> {
        let at = place.key("import");
        let refused = |message: String, hint: &str| home.at(&at, &component.name, message, hint);
        let (inner, folder) = self.import_home(home, &import.path).map_err(|(message, hint)| refused(message, hint))?;
        if stack.contains(&inner.folder) || stack.len() >= DEEPEST {
            let way: Vec<String> = stack.iter().chain([&inner.folder]).map(|folder| shown_folder(folder)).collect();
            let message = format!("its imports go in a circle, or too deep: {}", way.join(" → "));
            return Err(refused(message, "let one of them not import the other"));
        }
        let documents = self.documents(&inner)?;
        let Some(document) = documents.alpha else {
            let message = format!("it imports `{}`, which holds no v1alpha1 document", shown(&inner.file));
            return Err(refused(message, "import from a definition of the same apiVersion"));
        };
        let package = self.package(&inner, &document)?;
        let base = self.chosen(package, component, import, (home, place), architecture, stack)?;
        Ok(Box::new(Imported { folder, ..*base }))
    }

    /// The component of a package that an import names.
    pub(super) fn chosen(
        &mut self,
        mut package: Package,
        component: &Component,
        import: &Import,
        (home, place): (&Home, &YamlPath),
        architecture: &str,
        stack: &[String],
    ) -> Refused<Base> {
        let name = import.called(component);
        let file = package.home.file.clone();
        let taken: Vec<(Component, YamlPath)> =
            package.definition.components.into_iter().zip(package.places).filter(|(one, _)| one.name == name).collect();
        let known = !taken.is_empty();
        (package.definition.components, package.places) = taken.into_iter().unzip();
        let resolved = self.resolve(package, architecture, stack)?;
        let mut found = resolved.definition.components.iter().filter(|one| one.name == name);
        let (Some(base), None) = (found.next().cloned(), found.next()) else {
            let count = resolved.definition.components.len();
            let message = match (known, count) {
                (false, _) => format!("it imports `{}`, which is no component of `{file}`", shown(name)),
                (true, 0) => {
                    let target = self.target(architecture);
                    format!("it imports `{}` of `{file}`, which is not for {target}", shown(name))
                }
                _ => format!("it imports `{}`, and `{file}` has {count} of them", shown(name)),
            };
            let hint = "correct the name, or `only` of the component there";
            return Err(home.at(&place.key("import"), &component.name, message, hint));
        };
        Ok(Box::new(Imported { component: base, folder: String::new(), along: resolved }))
    }

    /// Where an import leads: the definition there, and its folder as the
    /// importing one says it.
    fn import_home(&mut self, home: &Home, written: &str) -> Result<(Home, String), (String, &'static str)> {
        let inside = |path: &str| match path::of_project("", path) {
            _ if path == "." => Ok(String::new()),
            Ok(plain) => Ok(plain.trim_start_matches("./").to_owned()),
            Err((why, hint)) => Err((format!("its import `{}` {why}", shown(written)), hint)),
        };
        let target = inside(&path::joined(&home.folder, written))?;
        let unreadable = |why: String| (format!("its import `{}` {why}", shown(written)), "correct the path");
        match if target.is_empty() { Ok(Found::Directory) } else { self.files.look(&target) }.map_err(unreadable)? {
            Found::Text(_) => Ok((Home::of(&target), path::folder(&path::joined("", written)).to_owned())),
            Found::Nothing => Err(unreadable("is not there".to_owned())),
            Found::Directory => {
                let file = |name: &str| if target.is_empty() { name.to_owned() } else { format!("{target}/{name}") };
                let is_there = |found| matches!(found, Ok(Found::Text(_)));
                let generated = file("zarf.gen.yaml");
                let file = file("zarf.yaml");
                let has_own = is_there(self.files.look(&file));
                let file = if !has_own && is_there(self.files.look(&generated)) { generated } else { file };
                Ok((Home { file, folder: target }, path::joined("", written)))
            }
        }
    }
}

fn shown_folder(folder: &str) -> String {
    format!("`{}`", if folder.is_empty() { "." } else { folder })
}

/// `setVariable` as the list that replaced it.
fn plural_variables(component: &mut Component) {
    let actions = &mut component.actions;
    for set in [&mut actions.on_create, &mut actions.on_deploy, &mut actions.on_remove] {
        let lists = [&mut set.before, &mut set.after, &mut set.on_success, &mut set.on_failure];
        for action in lists.into_iter().flatten() {
            if !action.set_variable.is_empty() && action.set_variables.is_empty() {
                let name = Value::String(action.set_variable.clone());
                action.set_variables = vec![Value::Mapping(Mapping::from_iter([("name".into(), name)]))];
            }
        }
    }
}

/// What comes together while the components of a definition are resolved.
#[derive(Default)]
struct Merged {
    components: Vec<Component>,
    variables: Vec<Value>,
    constants: Vec<Value>,
    values: Vec<String>,
    schemas: Vec<String>,
}

impl Merged {
    /// A component over what it imports; without that where it is not there yet.
    fn lay(&mut self, base: Option<Base>, over: Component) -> Result<(), (String, &'static str)> {
        let Some(base) = base else {
            // Its charts may be halves of those that are imported.
            self.components.push(Component { import: None, charts: Vec::new(), ..over });
            return Ok(());
        };
        let Imported { component, folder, along } = *base;
        self.components.push(laid_over(moved(component, &folder), over)?);
        self.take(along, &folder);
        Ok(())
    }

    /// What an imported definition brings along beside the component.
    fn take(&mut self, resolved: Resolved, folder: &str) {
        let Resolved { definition, schemas } = resolved;
        self.variables.extend(definition.variables);
        self.constants.extend(definition.constants);
        self.values.extend(definition.values.files.iter().map(|file| path::relative_to(file, folder)));
        let own = Some(definition.values.schema).filter(|schema| !schema.is_empty());
        self.schemas.extend(own.into_iter().chain(schemas).map(|schema| path::relative_to(&schema, folder)));
    }

    fn into_resolved(self, mut definition: Definition) -> Resolved {
        definition.components = self.components;
        definition.variables = by_name(std::mem::take(&mut definition.variables), self.variables);
        definition.constants = by_name(std::mem::take(&mut definition.constants), self.constants);
        let values = self.values.into_iter().chain(std::mem::take(&mut definition.values.files));
        definition.values.files = merge::once(values.map(|file| path::relative_to(&file, "")));
        let schemas = merge::once(self.schemas.into_iter().map(|schema| path::joined("", &schema)));
        Resolved { definition, schemas }
    }
}

/// Of those of one name the first.
fn by_name(own: Vec<Value>, imported: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    own.into_iter().chain(imported).filter(|value| seen.insert(name(value))).collect()
}

/// The imported component with its sources as the importing definition says
/// them.
pub(super) fn moved(mut component: Component, folder: &str) -> Component {
    each_source(&mut component, &mut |source| *source = path::relative_to(source, folder));
    component
}

/// `override` laid over what it imports.
fn laid_over(mut base: Component, over: Component) -> Result<Component, (String, &'static str)> {
    base.name = over.name;
    base.default = over.default;
    base.required = over.required;
    base.import = None;
    if !over.description.is_empty() {
        base.description = over.description;
    }
    if !over.only.flavor.is_empty() {
        base.only.flavor = over.only.flavor;
    }
    if !over.only.local_os.is_empty() {
        if !base.only.local_os.is_empty() {
            let message = format!(
                "its `only.localOS` is `{}`, and that of what it imports `{}`",
                shown(&over.only.local_os),
                shown(&base.only.local_os)
            );
            return Err((message, "keep one of the two"));
        }
        base.only.local_os = over.only.local_os;
    }
    base.group = over.group;
    actions_over(&mut base.actions.on_create, over.actions.on_create);
    actions_over(&mut base.actions.on_deploy, over.actions.on_deploy);
    actions_over(&mut base.actions.on_remove, over.actions.on_remove);
    base.data_injections.extend(over.data_injections);
    base.files.extend(over.files);
    base.images.extend(over.images);
    base.repos.extend(over.repos);
    over.charts.into_iter().for_each(|chart| chart_over(&mut base.charts, chart));
    over.manifests.into_iter().for_each(|manifest| manifest_over(&mut base.manifests, manifest));
    base.health_checks.extend(over.health_checks);
    base.image_archives.extend(over.image_archives);
    Ok(base)
}

fn actions_over(base: &mut ActionSet, over: ActionSet) {
    let join = |base: &mut Vec<Action>, over: Vec<Action>| base.extend(over);
    base.defaults = over.defaults;
    join(&mut base.before, over.before);
    join(&mut base.after, over.after);
    join(&mut base.on_success, over.on_success);
    join(&mut base.on_failure, over.on_failure);
}

fn chart_over(charts: &mut Vec<Chart>, over: Chart) {
    let Some(chart) = charts.iter_mut().find(|chart| chart.name == over.name) else { return charts.push(over) };
    merge::replace(&mut chart.namespace, over.namespace);
    merge::replace(&mut chart.release_name, over.release_name);
    merge::replace(&mut chart.version, over.version);
    merge::replace(&mut chart.url, over.url);
    chart.values_files.extend(over.values_files);
    chart.templated_values_files.extend(over.templated_values_files);
    chart.variables.extend(over.variables);
    chart.values.extend(over.values);
}

fn manifest_over(manifests: &mut Vec<Manifest>, over: Manifest) {
    let Some(manifest) = manifests.iter_mut().find(|manifest| manifest.name == over.name) else {
        return manifests.push(over);
    };
    merge::replace(&mut manifest.namespace, over.namespace);
    manifest.files.extend(over.files);
    manifest.kustomizations.extend(over.kustomizations);
}
