//! One form of a definition from the other, as Zarf itself converts them, and
//! what gets lost on the way.
//!
//! [`to_beta`] and [`to_alpha`] go through the definition from top to bottom;
//! what the other form has no place for becomes a [`Loss`]. Going there and
//! back gives the same definition, where nothing was lost and where it says
//! what it says in one way: `required: false`, `template: false`, a wait
//! without condition, an annotation `metadata.url` and a chart's `….git@<tag>`
//! come back in the other spelling of the same. Source:
//! `src/internal/api/*/convert.go` of Zarf 0.84.
//!
//! Each function names every field of what it converts, so that one that a type
//! gains is converted or reported: nothing compiles until it is.

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
    let alpha::Definition {
        api_version: _,
        kind,
        metadata,
        build,
        components,
        constants,
        variables,
        values,
        documentation,
    } = definition;
    losses.add_if(!constants.is_empty(), "constants", NO_FORM);
    losses.add_if(!variables.is_empty(), "variables", NO_FORM);
    let converted = beta::Definition {
        api_version: BETA_VERSION.to_owned(),
        kind: kind.clone(),
        metadata: metadata_to_beta(metadata, &mut losses.below("metadata")),
        build: build_to_beta(build, &metadata.aggregate_checksum, &mut losses.below("build")),
        components: components.iter().map(|component| component_to_beta(component, &mut losses)).collect(),
        values: values.clone(),
        documentation: documentation.clone(),
    };
    filled_in(definition, &mut all);
    (converted, all)
}

/// The form v1alpha1 of a definition.
pub fn to_alpha(definition: &beta::Definition) -> (alpha::Definition, Vec<Loss>) {
    let mut all = Vec::new();
    let mut losses = Losses { place: String::new(), all: &mut all };
    let beta::Definition { api_version: _, kind, metadata, build, components, values, documentation } = definition;
    let converted = alpha::Definition {
        api_version: super::API_VERSION.to_owned(),
        kind: kind.clone(),
        metadata: metadata_to_alpha(metadata, &build.aggregate_checksum),
        build: build_to_alpha(build, &mut losses.below("build")),
        components: components.iter().map(|component| component_to_alpha(component, &mut losses)).collect(),
        constants: Vec::new(),
        variables: Vec::new(),
        values: values.clone(),
        documentation: documentation.clone(),
    };
    (converted, all)
}

fn metadata_to_beta(metadata: &alpha::Metadata, losses: &mut Losses<'_>) -> beta::Metadata {
    let alpha::Metadata {
        name,
        description,
        version,
        url,
        image,
        uncompressed,
        architecture,
        yolo,
        authors,
        documentation,
        source,
        vendor,
        aggregate_checksum: _,
        annotations,
        allow_namespace_override,
    } = metadata;
    losses.add_if(*yolo, "yolo", "has no form in v1beta1: `zarf package deploy --connected` replaces it");
    let mut annotations = annotations.clone();
    for (key, value) in ANNOTATED.iter().zip([url, image, authors, documentation, source, vendor]) {
        let is_taken = annotations.contains_key(*key);
        losses.add_if(is_taken && !value.is_empty(), key.trim_start_matches("metadata."), "is an annotation as well");
        if !is_taken && !value.is_empty() {
            annotations.insert((*key).to_owned(), value.clone());
        }
    }
    beta::Metadata {
        name: name.clone(),
        description: description.clone(),
        version: version.clone(),
        uncompressed: *uncompressed,
        architecture: architecture.clone(),
        annotations,
        prevent_namespace_override: *allow_namespace_override == Some(false),
    }
}

fn metadata_to_alpha(metadata: &beta::Metadata, aggregate_checksum: &str) -> alpha::Metadata {
    let beta::Metadata {
        name,
        description,
        version,
        uncompressed,
        architecture,
        annotations,
        prevent_namespace_override,
    } = metadata.clone();
    let mut annotations = annotations;
    let mut taken = ANNOTATED.map(|key| annotations.remove(key).unwrap_or_default()).into_iter();
    let mut next = || taken.next().unwrap_or_default();
    alpha::Metadata {
        url: next(),
        image: next(),
        authors: next(),
        documentation: next(),
        source: next(),
        vendor: next(),
        name,
        description,
        version,
        uncompressed,
        architecture,
        yolo: false,
        aggregate_checksum: aggregate_checksum.to_owned(),
        annotations,
        allow_namespace_override: prevent_namespace_override.then_some(false),
    }
}

fn build_to_beta(build: &alpha::Build, aggregate_checksum: &str, losses: &mut Losses<'_>) -> beta::Build {
    let alpha::Build {
        terminal,
        user,
        architecture,
        timestamp,
        version,
        migrations,
        registry_overrides,
        differential,
        differential_package_version,
        differential_missing,
        flavor,
        signed,
        version_requirements,
        provenance_files,
    } = build.clone();
    losses.add_if(!differential_missing.is_empty(), "differentialMissing", NO_FORM);
    beta::Build {
        hostname: terminal,
        user,
        timestamp,
        architecture,
        version,
        migrations,
        registry_overrides,
        differential: differential.then_some(Value::Bool(true)),
        differential_package_version,
        flavor,
        signed,
        version_requirements,
        provenance_files,
        aggregate_checksum: aggregate_checksum.to_owned(),
    }
}

fn build_to_alpha(build: &beta::Build, losses: &mut Losses<'_>) -> alpha::Build {
    let beta::Build {
        hostname,
        user,
        timestamp,
        architecture,
        version,
        migrations,
        registry_overrides,
        differential,
        differential_package_version,
        flavor,
        signed,
        version_requirements,
        provenance_files,
        aggregate_checksum: _,
    } = build.clone();
    let is_detailed = !matches!(differential, None | Some(Value::Null | Value::Bool(_)));
    losses.add_if(is_detailed, "differential", "is more than yes or no");
    alpha::Build {
        terminal: hostname,
        user,
        architecture,
        timestamp,
        version,
        migrations,
        registry_overrides,
        differential: is_detailed || differential == Some(Value::Bool(true)),
        differential_package_version,
        differential_missing: Vec::new(),
        flavor,
        signed,
        version_requirements,
        provenance_files,
    }
}

fn component_to_beta(component: &alpha::Component, losses: &mut Losses<'_>) -> beta::Component {
    let alpha::Component {
        name,
        description,
        default,
        required,
        only: alpha::Only { local_os, cluster: alpha::OnlyCluster { architecture, distros }, flavor },
        group,
        import,
        manifests,
        charts,
        data_injections,
        files,
        images,
        image_archives,
        repos,
        scripts,
        actions,
        health_checks,
        state_access,
    } = component;
    let mut losses = losses.item("components", name);
    let losses = &mut losses;
    losses.add_if(*default, "default", NO_FORM);
    losses.add_if(!group.is_empty(), "group", "has no form in v1beta1: `selector.flavor` chooses instead");
    losses.add_if(!distros.is_empty(), "only.cluster.distros", NO_FORM);
    losses.add_if(!data_injections.is_empty(), "dataInjections", NO_FORM);
    losses.add_if(scripts.is_some(), "scripts", NO_FORM);
    beta::Component {
        name: name.clone(),
        description: description.clone(),
        optional: *required != Some(true),
        import: import_to_beta(import.as_ref(), losses),
        target: beta::Target { os: local_os.clone() },
        selector: beta::Selector { architecture: architecture.clone(), flavor: flavor.clone() },
        manifests: manifests.iter().map(manifest_to_beta).collect(),
        charts: charts.iter().map(|chart| chart_to_beta(chart, &mut losses.item("charts", &chart.name))).collect(),
        files: files.iter().map(file_to_beta).collect(),
        images: images.iter().map(|name| beta::Image { name: name.clone(), source: String::new() }).collect(),
        image_archives: image_archives.clone(),
        repositories: repos.iter().map(|url| repository_to_beta(url, losses)).collect(),
        actions: actions::to_beta(actions, health_checks, losses),
        service: None,
        state_access: state_access.clone(),
    }
}

fn component_to_alpha(component: &beta::Component, losses: &mut Losses<'_>) -> alpha::Component {
    let beta::Component {
        name,
        description,
        optional,
        import,
        target: beta::Target { os },
        selector: beta::Selector { architecture, flavor },
        manifests,
        charts,
        files,
        images,
        image_archives,
        repositories,
        actions,
        service,
        state_access,
    } = component;
    let mut losses = losses.item("components", name);
    let losses = &mut losses;
    losses.add_if(service.is_some(), "service", NO_ALPHA_FORM);
    let is_from_daemon = images.iter().any(|image| !matches!(image.source.as_str(), "" | "registry"));
    losses.add_if(is_from_daemon, "images", "names an image that is not from a registry");
    alpha::Component {
        name: name.clone(),
        description: description.clone(),
        default: false,
        required: (!optional).then_some(true),
        only: alpha::Only {
            local_os: os.clone(),
            cluster: alpha::OnlyCluster { architecture: architecture.clone(), distros: Vec::new() },
            flavor: flavor.clone(),
        },
        group: String::new(),
        import: import_to_alpha(import, losses),
        manifests: manifests.iter().map(manifest_to_alpha).collect(),
        charts: charts.iter().map(|chart| chart_to_alpha(chart, &mut losses.item("charts", &chart.name))).collect(),
        data_injections: Vec::new(),
        files: files.iter().map(file_to_alpha).collect(),
        images: images.iter().map(|image| image.name.clone()).collect(),
        image_archives: image_archives.clone(),
        repos: repositories.iter().map(|repository| flatten(&repository.url, repository.reference.as_ref())).collect(),
        scripts: None,
        actions: actions::to_alpha(actions, losses),
        health_checks: Vec::new(),
        state_access: state_access.clone(),
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
    let alpha::Manifest {
        name,
        namespace,
        files,
        kustomize_allow_any_directory: allow_any_directory,
        kustomizations,
        enable_kustomize_plugins: enable_plugins,
        no_wait,
        server_side_apply,
        template,
    } = manifest.clone();
    let kustomize = beta::Kustomize { files: kustomizations, allow_any_directory, enable_plugins };
    beta::Manifest {
        name,
        namespace,
        files,
        kustomize: (kustomize != beta::Kustomize::default()).then_some(kustomize),
        skip_wait: no_wait,
        server_side_apply,
        enable_templating: template == Some(true),
    }
}

fn manifest_to_alpha(manifest: &beta::Manifest) -> alpha::Manifest {
    let beta::Manifest { name, namespace, files, kustomize, skip_wait, server_side_apply, enable_templating } =
        manifest.clone();
    let beta::Kustomize { files: kustomizations, allow_any_directory, enable_plugins } = kustomize.unwrap_or_default();
    alpha::Manifest {
        name,
        namespace,
        files,
        kustomize_allow_any_directory: allow_any_directory,
        kustomizations,
        enable_kustomize_plugins: enable_plugins,
        no_wait: skip_wait,
        server_side_apply,
        template: enable_templating.then_some(true),
    }
}

fn file_to_beta(file: &alpha::File) -> beta::File {
    let alpha::File { source, shasum, target, executable, symlinks, extract_path, template } = file.clone();
    beta::File {
        source,
        checksum: shasum,
        destination: target,
        executable,
        symlinks,
        extract_path,
        enable_templating: template == Some(true),
    }
}

fn file_to_alpha(file: &beta::File) -> alpha::File {
    let beta::File { source, checksum, destination, executable, symlinks, extract_path, enable_templating } =
        file.clone();
    alpha::File {
        source,
        shasum: checksum,
        target: destination,
        executable,
        symlinks,
        extract_path,
        template: enable_templating.then_some(true),
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
