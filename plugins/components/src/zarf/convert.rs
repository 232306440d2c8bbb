//! One form of a definition from the other, as Zarf itself converts them, and
//! what gets lost on the way.
//!
//! [`to_beta`] and [`to_alpha`] go through the definition from top to bottom;
//! what the other form has no place for becomes a [`Loss`]. Going there and
//! back gives the same definition, where nothing was lost and where it says
//! what it says in one way: `required: false`, `template: false` and a wait
//! without condition come back in the other spelling of the same. Source:
//! `src/internal/api/*/convert.go` of Zarf 0.84.

mod actions;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::{BETA_VERSION, alpha, beta};
use sources::{chart_to_alpha, chart_to_beta, flatten, repository_to_beta};

/// Something that the other form cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it stands: `components.web.charts.podinfo.variables`.
    pub field: String,
    /// Continues the field.
    pub why: String,
}

/// Collects losses below a place of the definition.
struct Losses<'a> {
    place: String,
    all: &'a mut Vec<Loss>,
}

impl Losses<'_> {
    fn below(&mut self, part: &str) -> Losses<'_> {
        let place = if self.place.is_empty() { part.to_owned() } else { format!("{}.{part}", self.place) };
        Losses { place, all: self.all }
    }

    /// An item of a list, by its name.
    fn item(&mut self, list: &str, name: &str) -> Losses<'_> {
        self.below(&format!("{list}.{name}"))
    }

    fn add_if(&mut self, lost: bool, field: &str, why: &str) {
        if lost {
            let field = self.below(field).place;
            self.all.push(Loss { field, why: why.to_owned() });
        }
    }
}

/// What v1beta1 has no form for.
const NO_FORM: &str = "has no form in v1beta1";
/// And the other way round.
const NO_ALPHA_FORM: &str = "has no form in v1alpha1";

/// Fields of `metadata` that are annotations in v1beta1.
const ANNOTATED: [&str; 6] = [
    "metadata.url",
    "metadata.image",
    "metadata.authors",
    "metadata.documentation",
    "metadata.source",
    "metadata.vendor",
];

/// The form v1beta1 of a definition.
pub fn to_beta(definition: &alpha::Definition) -> (beta::Definition, Vec<Loss>) {
    let mut all = Vec::new();
    let mut losses = Losses { place: String::new(), all: &mut all };
    losses.add_if(!definition.constants.is_empty(), "constants", NO_FORM);
    losses.add_if(!definition.variables.is_empty(), "variables", NO_FORM);
    let converted = beta::Definition {
        api_version: BETA_VERSION.to_owned(),
        kind: definition.kind.clone(),
        metadata: metadata_to_beta(&definition.metadata, &mut losses.below("metadata")),
        build: build_to_beta(definition, &mut losses.below("build")),
        components: definition.components.iter().map(|component| component_to_beta(component, &mut losses)).collect(),
        values: definition.values.clone(),
        documentation: definition.documentation.clone(),
    };
    filled_in(definition, &mut all);
    (converted, all)
}

/// The form v1alpha1 of a definition.
pub fn to_alpha(definition: &beta::Definition) -> (alpha::Definition, Vec<Loss>) {
    let mut all = Vec::new();
    let mut losses = Losses { place: String::new(), all: &mut all };
    let mut metadata = metadata_to_alpha(&definition.metadata);
    metadata.aggregate_checksum.clone_from(&definition.build.aggregate_checksum);
    let converted = alpha::Definition {
        api_version: super::API_VERSION.to_owned(),
        kind: definition.kind.clone(),
        metadata,
        build: build_to_alpha(&definition.build, &mut losses.below("build")),
        components: definition.components.iter().map(|component| component_to_alpha(component, &mut losses)).collect(),
        constants: Vec::new(),
        variables: Vec::new(),
        values: definition.values.clone(),
        documentation: definition.documentation.clone(),
    };
    (converted, all)
}

fn metadata_to_beta(metadata: &alpha::Metadata, losses: &mut Losses<'_>) -> beta::Metadata {
    losses.add_if(metadata.yolo, "yolo", "has no form in v1beta1: `zarf package deploy --connected` replaces it");
    let mut annotations = metadata.annotations.clone();
    let alpha::Metadata { url, image, authors, documentation, source, vendor, .. } = metadata;
    for (key, value) in ANNOTATED.iter().zip([url, image, authors, documentation, source, vendor]) {
        let is_taken = annotations.contains_key(*key);
        losses.add_if(is_taken && !value.is_empty(), key.trim_start_matches("metadata."), "is an annotation as well");
        if !is_taken && !value.is_empty() {
            annotations.insert((*key).to_owned(), value.clone());
        }
    }
    beta::Metadata {
        name: metadata.name.clone(),
        description: metadata.description.clone(),
        version: metadata.version.clone(),
        uncompressed: metadata.uncompressed,
        architecture: metadata.architecture.clone(),
        annotations,
        prevent_namespace_override: metadata.allow_namespace_override == Some(false),
    }
}

fn metadata_to_alpha(metadata: &beta::Metadata) -> alpha::Metadata {
    let mut annotations = metadata.annotations.clone();
    let mut taken = ANNOTATED.map(|key| annotations.remove(key).unwrap_or_default()).into_iter();
    let mut next = || taken.next().unwrap_or_default();
    alpha::Metadata {
        url: next(),
        image: next(),
        authors: next(),
        documentation: next(),
        source: next(),
        vendor: next(),
        name: metadata.name.clone(),
        description: metadata.description.clone(),
        version: metadata.version.clone(),
        uncompressed: metadata.uncompressed,
        architecture: metadata.architecture.clone(),
        yolo: false,
        aggregate_checksum: String::new(),
        annotations,
        allow_namespace_override: metadata.prevent_namespace_override.then_some(false),
    }
}

fn build_to_beta(definition: &alpha::Definition, losses: &mut Losses<'_>) -> beta::Build {
    let build = definition.build.clone();
    losses.add_if(!build.differential_missing.is_empty(), "differentialMissing", NO_FORM);
    beta::Build {
        hostname: build.terminal,
        user: build.user,
        timestamp: build.timestamp,
        architecture: build.architecture,
        version: build.version,
        migrations: build.migrations,
        registry_overrides: build.registry_overrides,
        differential: build.differential.then_some(Value::Bool(true)),
        differential_package_version: build.differential_package_version,
        flavor: build.flavor,
        signed: build.signed,
        version_requirements: build.version_requirements,
        provenance_files: build.provenance_files,
        aggregate_checksum: definition.metadata.aggregate_checksum.clone(),
    }
}

fn build_to_alpha(build: &beta::Build, losses: &mut Losses<'_>) -> alpha::Build {
    let differential = match &build.differential {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => true,
    };
    let is_detailed = differential && !matches!(build.differential, Some(Value::Bool(_)));
    losses.add_if(is_detailed, "differential", "is more than yes or no");
    let build = build.clone();
    alpha::Build {
        terminal: build.hostname,
        user: build.user,
        architecture: build.architecture,
        timestamp: build.timestamp,
        version: build.version,
        migrations: build.migrations,
        registry_overrides: build.registry_overrides,
        differential,
        differential_package_version: build.differential_package_version,
        differential_missing: Vec::new(),
        flavor: build.flavor,
        signed: build.signed,
        version_requirements: build.version_requirements,
        provenance_files: build.provenance_files,
    }
}

fn component_to_beta(component: &alpha::Component, losses: &mut Losses<'_>) -> beta::Component {
    let mut losses = losses.item("components", &component.name);
    let losses = &mut losses;
    let alpha::Component { only, import, .. } = component;
    losses.add_if(component.default, "default", NO_FORM);
    losses.add_if(!component.group.is_empty(), "group", "has no form in v1beta1: `selector.flavor` chooses instead");
    losses.add_if(!only.cluster.distros.is_empty(), "only.cluster.distros", NO_FORM);
    losses.add_if(!component.data_injections.is_empty(), "dataInjections", NO_FORM);
    losses.add_if(component.scripts.is_some(), "scripts", NO_FORM);
    beta::Component {
        name: component.name.clone(),
        description: component.description.clone(),
        optional: component.required != Some(true),
        import: import_to_beta(import.as_ref(), losses),
        target: beta::Target { os: only.local_os.clone() },
        selector: beta::Selector { architecture: only.cluster.architecture.clone(), flavor: only.flavor.clone() },
        manifests: component.manifests.iter().map(manifest_to_beta).collect(),
        charts: component
            .charts
            .iter()
            .map(|chart| chart_to_beta(chart, &mut losses.item("charts", &chart.name)))
            .collect(),
        files: component.files.iter().map(file_to_beta).collect(),
        images: component.images.iter().map(|name| beta::Image { name: name.clone(), source: String::new() }).collect(),
        image_archives: component.image_archives.clone(),
        repositories: component.repos.iter().map(|url| repository_to_beta(url, losses)).collect(),
        actions: actions::to_beta(&component.actions, &component.health_checks, losses),
        service: None,
        state_access: component.state_access.clone(),
    }
}

fn component_to_alpha(component: &beta::Component, losses: &mut Losses<'_>) -> alpha::Component {
    let mut losses = losses.item("components", &component.name);
    let losses = &mut losses;
    losses.add_if(component.service.is_some(), "service", NO_ALPHA_FORM);
    let is_from_daemon = component.images.iter().any(|image| !matches!(image.source.as_str(), "" | "registry"));
    losses.add_if(is_from_daemon, "images", "names an image that is not from a registry");
    alpha::Component {
        name: component.name.clone(),
        description: component.description.clone(),
        default: false,
        required: (!component.optional).then_some(true),
        only: alpha::Only {
            local_os: component.target.os.clone(),
            cluster: alpha::OnlyCluster { architecture: component.selector.architecture.clone(), distros: Vec::new() },
            flavor: component.selector.flavor.clone(),
        },
        group: String::new(),
        import: import_to_alpha(&component.import, losses),
        manifests: component.manifests.iter().map(manifest_to_alpha).collect(),
        charts: component
            .charts
            .iter()
            .map(|chart| chart_to_alpha(chart, &mut losses.item("charts", &chart.name)))
            .collect(),
        data_injections: Vec::new(),
        files: component.files.iter().map(file_to_alpha).collect(),
        images: component.images.iter().map(|image| image.name.clone()).collect(),
        image_archives: component.image_archives.clone(),
        repos: component
            .repositories
            .iter()
            .map(|repository| flatten(&repository.url, repository.reference.as_ref()))
            .collect(),
        scripts: None,
        actions: actions::to_alpha(&component.actions, losses),
        health_checks: Vec::new(),
        state_access: component.state_access.clone(),
    }
}

fn import_to_beta(import: Option<&Value>, losses: &mut Losses<'_>) -> beta::Import {
    let text = |key: &str| import.and_then(|import| import.get(key)).and_then(Value::as_str).map(str::to_owned);
    losses.add_if(text("name").is_some(), "import.name", NO_FORM);
    beta::Import {
        local: text("path").into_iter().map(|path| beta::Local { path }).collect(),
        remote: text("url").into_iter().map(|url| beta::Remote { url }).collect(),
    }
}

fn import_to_alpha(import: &beta::Import, losses: &mut Losses<'_>) -> Option<Value> {
    losses.add_if(import.local.len() + import.remote.len() > 1, "import", "names more than one component");
    let path = import.local.first().map(|local| ("path", &local.path));
    let url = import.remote.first().map(|remote| ("url", &remote.url));
    let fields: serde_yaml::Mapping =
        path.into_iter().chain(url).map(|(key, value)| (key.into(), value.as_str().into())).collect();
    (!fields.is_empty()).then_some(Value::Mapping(fields))
}

fn manifest_to_beta(manifest: &alpha::Manifest) -> beta::Manifest {
    let kustomize = beta::Kustomize {
        files: manifest.kustomizations.clone(),
        allow_any_directory: manifest.kustomize_allow_any_directory,
        enable_plugins: manifest.enable_kustomize_plugins,
    };
    beta::Manifest {
        name: manifest.name.clone(),
        namespace: manifest.namespace.clone(),
        files: manifest.files.clone(),
        kustomize: (kustomize != beta::Kustomize::default()).then_some(kustomize),
        skip_wait: manifest.no_wait,
        server_side_apply: manifest.server_side_apply.clone(),
        enable_templating: manifest.template == Some(true),
    }
}

fn manifest_to_alpha(manifest: &beta::Manifest) -> alpha::Manifest {
    let kustomize = manifest.kustomize.clone().unwrap_or_default();
    alpha::Manifest {
        name: manifest.name.clone(),
        namespace: manifest.namespace.clone(),
        files: manifest.files.clone(),
        kustomize_allow_any_directory: kustomize.allow_any_directory,
        kustomizations: kustomize.files,
        enable_kustomize_plugins: kustomize.enable_plugins,
        no_wait: manifest.skip_wait,
        server_side_apply: manifest.server_side_apply.clone(),
        template: manifest.enable_templating.then_some(true),
    }
}

fn file_to_beta(file: &alpha::File) -> beta::File {
    beta::File {
        source: file.source.clone(),
        checksum: file.shasum.clone(),
        destination: file.target.clone(),
        executable: file.executable,
        symlinks: file.symlinks.clone(),
        extract_path: file.extract_path.clone(),
        enable_templating: file.template == Some(true),
    }
}

fn file_to_alpha(file: &beta::File) -> alpha::File {
    alpha::File {
        source: file.source.clone(),
        shasum: file.checksum.clone(),
        target: file.destination.clone(),
        executable: file.executable,
        symlinks: file.symlinks.clone(),
        extract_path: file.extract_path.clone(),
        template: file.enable_templating.then_some(true),
    }
}

/// What Zarf fills in by itself in v1alpha1 it refuses in v1beta1.
pub const FILLED_IN: &str = "###ZARF_";

/// Reports every text of a definition that Zarf would fill in.
fn filled_in(definition: &alpha::Definition, all: &mut Vec<Loss>) {
    let Ok(value) = serde_yaml::to_value(definition) else { return };
    let mut texts = BTreeMap::new();
    texts_of(&value, String::new(), &mut texts);
    let why = format!("holds `{FILLED_IN}…###`, which v1beta1 refuses");
    let found = texts.into_iter().filter(|(_, text)| text.contains(FILLED_IN));
    all.extend(found.map(|(field, _)| Loss { field, why: why.clone() }));
}

fn texts_of(value: &Value, place: String, texts: &mut BTreeMap<String, String>) {
    let below = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    match value {
        Value::String(text) => drop(texts.insert(place, text.clone())),
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
                texts_of(item, below(&name), texts);
            }
        }
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                texts_of(value, below(key.as_str().unwrap_or_default()), texts);
            }
        }
        _ => {}
    }
}
