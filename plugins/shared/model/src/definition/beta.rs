//! Zarf's rules for imports in v1beta1: a component imports one of several
//! component files (`ZarfComponentConfig`), of which exactly one must fit the
//! architecture and flavor, and is laid over it.

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::reader::{DEEPEST, Home, Reader, Refused};
use super::{Refusal, merge, path, refuse, template};
use crate::problem::{YamlPath, shown};
use crate::zarf::alpha::Values;
use crate::zarf::authored;
use crate::zarf::beta::{ActionSet, Actions, Chart, Component, Definition, Image, Import, Manifest, Selector};
use crate::zarf::{BETA_VERSION, alpha};

/// The kind of a file that holds one component.
const KIND: &str = "ZarfComponentConfig";

/// A component file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComponentFile {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    component: Value,
    #[serde(default)]
    values: Values,
}

/// A component that is imported, and where it was read.
struct Read {
    component: Component,
    values: Values,
    home: Home,
    /// Its folder as the importing one says it.
    folder: String,
}

/// Values and schemas that come along, in Zarf's order.
#[derive(Default)]
struct Along {
    files: Vec<String>,
    schemas: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn compose_beta(
        &mut self,
        home: &Home,
        document: Value,
    ) -> Refused<(alpha::Definition, Definition, Vec<String>)> {
        let mut definition: Definition = self.typed(home, &document)?;
        self.count(home, definition.components.len())?;
        let architecture = self.architecture(home, &definition.kind, &definition.metadata.architecture)?;
        definition.metadata.architecture.clone_from(&architecture);
        let list = YamlPath::root().key("components");
        let (mut components, mut along) = (Vec::new(), Along::default());
        for (index, component) in std::mem::take(&mut definition.components).into_iter().enumerate() {
            self.learnt.flavor(&component.selector.flavor);
            if !self.selects(&component.selector, &architecture) {
                continue;
            }
            let stack = [home.file.clone()];
            let (component, inner) = self.spec(component, home, &list.index(index), &architecture, &stack)?;
            along.files.extend(inner.files);
            along.schemas.extend(inner.schemas);
            components.push(component);
        }
        self.check_names(home, components.iter().map(|component| &*component.name), &architecture, "selector")?;
        definition.components = components;
        let values = along.files.into_iter().chain(std::mem::take(&mut definition.values.files));
        definition.values.files = merge::once(values.map(|file| path::relative_to(&file, ".")));
        let schemas = merge::once(along.schemas.into_iter().map(|schema| path::relative_to(&schema, ".")));
        let alpha = self.as_alpha(home, &definition)?;
        Ok((alpha, definition, schemas))
    }

    /// In the form that the rest of the program works on.
    fn as_alpha(&mut self, home: &Home, definition: &Definition) -> Refused<alpha::Definition> {
        let bad = |why: String| home.refusal(why, "correct the definition");
        let document = serde_yaml::to_value(definition).map_err(|error| bad(error.to_string()))?;
        if template::is_in(&serde_yaml::to_string(&document).unwrap_or_default()) {
            let hint = "write the value itself: Zarf fills in templates of v1alpha1 alone";
            return Err(home.refusal("it holds a package template", hint));
        }
        let (alpha, losses) = authored::as_alpha(&document).map_err(bad)?;
        let hint = format!("do without it, or write the definition in `{}`", crate::zarf::API_VERSION);
        let refusals = losses.into_iter().map(|loss| {
            let component = loss.field.strip_prefix("components.").and_then(|rest| rest.split('.').next());
            let message = format!("`{}` {}", loss.field, loss.why);
            Refusal { component: component.unwrap_or_default().to_owned(), ..*home.refusal(message, hint.clone()) }
        });
        self.refusals.extend(refusals);
        Ok(alpha)
    }

    fn selects(&self, selector: &Selector, architecture: &str) -> bool {
        self.fits(&selector.architecture, &selector.flavor, architecture)
    }

    fn spec(
        &mut self,
        component: Component,
        home: &Home,
        place: &YamlPath,
        architecture: &str,
        stack: &[String],
    ) -> Refused<(Component, Along)> {
        let at = place.key("import");
        let refused = |message: String, hint: &str| home.at(&at, &component.name, message, hint);
        for (within, message, hint) in refuse::of_beta(&component) {
            self.refusals.push(*home.at(&place.then(&within), &component.name, message, hint));
        }
        if let Some(remote) = component.import.remote.first() {
            let message = format!("it imports `{}` from a registry, which Zarf 0.84 does not know", shown(&remote.url));
            return Err(refused(message, "keep the component file beside the definition, and import it as `local`"));
        }
        if component.import.local.is_empty() {
            return Ok((component, Along::default()));
        }
        if stack.len() >= DEEPEST {
            return Err(refused("its imports go too deep".to_owned(), "import it from fewer places"));
        }
        let mut read = Vec::new();
        for local in &component.import.local {
            let one = self.component_file(home, &local.path, stack);
            read.push(one.map_err(|(message, hint)| refused(message, hint))??);
        }
        let before = read.len();
        read.iter().for_each(|one| self.learnt.flavor(&one.component.selector.flavor));
        read.retain(|one| self.selects(&one.component.selector, architecture));
        let (Some(one), true) = (read.pop(), read.is_empty()) else {
            let what = if before > 0 && read.is_empty() { "none of the files" } else { "more than one of the files" };
            let message = format!("{what} that it imports is for {}", self.target(architecture));
            return Err(refused(message, "exactly one must fit: correct `selector` in them"));
        };
        let Read { component: base, values, home: inner, folder } = one;
        let stack = [stack, std::slice::from_ref(&inner.file)].concat();
        let (base, inherited) = self.spec(base, &inner, &YamlPath::root().key("component"), architecture, &stack)?;
        let relative = |path: &String| path::relative_to(path, &folder);
        let schema = Some(&values.schema).filter(|schema| !schema.is_empty());
        let along = Along {
            files: inherited.files.iter().chain(&values.files).map(relative).collect(),
            schemas: schema.into_iter().chain(&inherited.schemas).map(relative).collect(),
        };
        Ok((laid_over(moved(base, &folder), component), along))
    }

    fn component_file(
        &mut self,
        home: &Home,
        written: &str,
        stack: &[String],
    ) -> Result<Refused<Read>, (String, &'static str)> {
        let import = format!("its import `{}`", shown(written));
        if written.is_empty() || written.starts_with('/') {
            return Err((format!("{import} is empty or absolute"), "write a path relative to the definition"));
        }
        let file = path::of_project(&home.folder, written).map_err(|(why, hint)| (format!("{import} {why}"), hint))?;
        let inner = Home::of(file.trim_start_matches("./"));
        if stack.contains(&inner.file) {
            let way: Vec<String> = stack.iter().chain([&inner.file]).map(|file| format!("`{file}`")).collect();
            let message = format!("its imports go in a circle: {}", way.join(" → "));
            return Err((message, "let one of them not import the other"));
        }
        let folder = path::folder(&path::joined("", written)).to_owned();
        Ok(self.read_component(&inner, folder))
    }

    fn read_component(&mut self, home: &Home, folder: String) -> Refused<Read> {
        let text = self.text(home)?;
        let hint = "a v1beta1 component imports component files alone";
        let mut document: Value =
            serde_yaml::from_str(&text).map_err(|error| home.refusal(format!("cannot be read: {error}"), hint))?;
        document.apply_merge().map_err(|error| home.refusal(error.to_string(), hint))?;
        let ComponentFile { api_version, kind, mut component, values, .. } = self.typed(home, &document)?;
        if kind != KIND || api_version != BETA_VERSION {
            let message = format!("it is a `{}` of `{}`, and no `{KIND}`", shown(&kind), shown(&api_version));
            return Err(home.at(&YamlPath::root().key("kind"), "", message, hint));
        }
        // The file names itself elsewhere; the component there has no name.
        if let Value::Mapping(component) = &mut component {
            component.entry("name".into()).or_insert_with(|| "component".into());
        }
        let component: Component = self.typed(home, &component)?;
        Ok(Read { component, values, home: home.clone(), folder })
    }
}

/// The imported component with its sources as the importing one says them.
fn moved(mut component: Component, folder: &str) -> Component {
    let to = |source: &mut String| *source = path::relative_to(source, folder);
    component.files.iter_mut().for_each(|file| to(&mut file.source));
    component.image_archives.iter_mut().for_each(|archive| to(&mut archive.path));
    for chart in &mut component.charts {
        chart.local.iter_mut().for_each(|local| to(&mut local.path));
        chart.values_files.iter_mut().for_each(|values| to(&mut values.path));
    }
    component.manifests.iter_mut().flat_map(|manifest| &mut manifest.files).for_each(to);
    component
}

fn laid_over(mut base: Component, over: Component) -> Component {
    base.name = over.name;
    base.description = over.description;
    base.optional = over.optional;
    base.import = Import::default();
    merge::replace(&mut base.target.os, over.target.os);
    merge::replace(&mut base.selector.architecture, over.selector.architecture);
    merge::replace(&mut base.selector.flavor, over.selector.flavor);
    if over.service.is_some() {
        base.service = over.service;
    }
    base.files.extend(over.files);
    base.image_archives.extend(over.image_archives);
    base.repositories.extend(over.repositories);
    base.state_access.extend(over.state_access);
    over.images.into_iter().for_each(|image| image_over(&mut base.images, image));
    over.charts.into_iter().for_each(|chart| chart_over(&mut base.charts, chart));
    over.manifests.into_iter().for_each(|manifest| manifest_over(&mut base.manifests, manifest));
    let Actions { on_create, on_deploy, on_remove } = over.actions;
    actions_over(&mut base.actions.on_create, on_create);
    actions_over(&mut base.actions.on_deploy, on_deploy);
    actions_over(&mut base.actions.on_remove, on_remove);
    base
}

fn image_over(images: &mut Vec<Image>, over: Image) {
    match images.iter_mut().find(|image| image.name == over.name) {
        Some(image) => merge::replace(&mut image.source, over.source),
        None => images.push(over),
    }
}

fn chart_over(charts: &mut Vec<Chart>, over: Chart) {
    let Some(chart) = charts.iter_mut().find(|chart| chart.name == over.name) else { return charts.push(over) };
    merge::replace(&mut chart.namespace, over.namespace);
    merge::replace(&mut chart.release_name, over.release_name);
    merge::replace(&mut chart.server_side_apply, over.server_side_apply);
    let has_source = [over.helm_repository.is_some(), over.git.is_some(), over.local.is_some(), over.oci.is_some()];
    if has_source.contains(&true) {
        chart.helm_repository = over.helm_repository;
        chart.git = over.git;
        chart.local = over.local;
        chart.oci = over.oci;
    }
    chart.skip_wait |= over.skip_wait;
    chart.skip_schema_validation |= over.skip_schema_validation;
    chart.values_files.extend(over.values_files);
    chart.values.extend(over.values);
}

fn manifest_over(manifests: &mut Vec<Manifest>, over: Manifest) {
    let Some(manifest) = manifests.iter_mut().find(|manifest| manifest.name == over.name) else {
        return manifests.push(over);
    };
    merge::replace(&mut manifest.namespace, over.namespace);
    merge::replace(&mut manifest.server_side_apply, over.server_side_apply);
    manifest.files.extend(over.files);
    manifest.skip_wait |= over.skip_wait;
    manifest.enable_templating |= over.enable_templating;
}

fn actions_over(base: &mut ActionSet, over: ActionSet) {
    if over.defaults != Default::default() {
        base.defaults = over.defaults;
    }
    base.before.extend(over.before);
    base.on_success.extend(over.on_success);
    base.on_failure.extend(over.on_failure);
}
