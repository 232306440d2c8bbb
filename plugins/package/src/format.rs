//! In which forms the definition is written.
//!
//! Zarf 1.0 deprecates `zarf.dev/v1alpha1`, and releases before 0.84 know
//! nothing else. One set of files serves both when the charts are local and
//! have no version in the definition: every release then looks for
//! `charts/<name>.tgz`, and v1beta1 has no other form for what lies in a
//! package already. [`choose`] makes the definition so, unless it says what
//! v1beta1 cannot: then it is written as v1alpha1 alone, and the build says
//! which field it is.

use model::zarf::convert::{FILLED_IN, Loss, to_beta};
use model::zarf::{self, Definition};
use sdk::{JsonSchema, StepError};
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use crate::definition::Package;
use crate::losses::listed;
use crate::refusal::refuse;
use crate::sources::{Sources, locate};

/// `package.format` of settings.yaml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "sdk::schemars")]
pub enum Format {
    /// Both documents: for every Zarf from 0.65 on.
    #[default]
    Both,
    /// `zarf.dev/v1alpha1` alone.
    V1alpha1,
    /// `zarf.dev/v1beta1` alone.
    V1beta1,
}

/// The documents that zarf.yaml gets, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forms {
    /// Whether there is one of `zarf.dev/v1alpha1`, which comes first.
    pub alpha: bool,
    /// Whether there is one of `zarf.dev/v1beta1`.
    pub beta: bool,
}

impl Forms {
    /// `zarf.dev/v1alpha1` alone.
    pub const ALPHA: Self = Self { alpha: true, beta: false };
    /// `zarf.dev/v1beta1` alone.
    pub const BETA: Self = Self { alpha: false, beta: true };
    /// Both of them.
    pub const BOTH: Self = Self { alpha: true, beta: true };
}

/// What becomes part of a cluster's objects is text, and not long.
const LARGEST_TEXT: u64 = 16 << 20;

/// What a site must know about a package that is v1alpha1 alone.
const CALENDAR: &str = "Zarf publishes and signs such a package only with `--features=v1alpha1=true` from February 2027 \
                        on, deploys it only so from March, and not at all from May";

/// Decides the forms and makes the definition fit for them. Gives what to warn
/// of.
///
/// # Errors
/// `format` where v1beta1 is asked for and cannot say it.
pub fn choose(
    package: Package,
    format: Format,
    home: &str,
    sources: &dyn Sources,
) -> Result<(Package, Forms, Option<String>), StepError> {
    if format == Format::V1alpha1 {
        return Ok((package, Forms::ALPHA, None));
    }
    let local = with_provenance_beside_charts(with_local_charts(package.clone()));
    let mut losses = to_beta(&local.definition).1;
    losses.extend(unknown(&local)?);
    losses.extend(filled_in(&local.definition, home, sources)?);
    losses.extend(documents(&local.definition));
    match (format, losses.is_empty()) {
        (Format::V1beta1, true) => Ok((local, Forms::BETA, None)),
        (Format::V1beta1, false) => {
            Err(refuse("format", format!("the definition cannot be v1beta1: {}", listed(&losses)))
                .hint("do without it, or set `package.format: both` in config/settings.yaml"))
        }
        (_, true) => Ok((local, Forms::BOTH, None)),
        (_, false) => {
            let warning = format!(
                "the package is written as v1alpha1 alone: {}; {CALENDAR}: do without it, or set `package.format: \
                 v1alpha1` in config/settings.yaml",
                listed(&losses)
            );
            Ok((package, Forms::ALPHA, Some(warning)))
        }
    }
}

/// Every chart as the local one that it is in the package. What it was is kept
/// in `authored`.
fn with_local_charts(mut package: Package) -> Package {
    for component in &mut package.definition.components {
        for chart in &mut component.charts {
            if chart.local_path.is_empty() {
                chart.local_path = format!("charts/{}.tgz", chart.name);
            }
            for field in [&mut chart.version, &mut chart.url, &mut chart.repo_name, &mut chart.git_path] {
                field.clear();
            }
        }
    }
    let components = package.document.get_mut("components").and_then(Value::as_sequence_mut);
    for (component, typed) in components.into_iter().flatten().zip(&package.definition.components) {
        let charts = component.get_mut("charts").and_then(Value::as_sequence_mut);
        for (chart, typed) in charts.into_iter().flatten().zip(&typed.charts) {
            if let Value::Mapping(chart) = chart {
                make_local(chart, typed);
            }
        }
    }
    package
}

fn make_local(chart: &mut Mapping, typed: &zarf::Chart) {
    for field in ["version", "url", "repoName", "gitPath"] {
        chart.shift_remove(field);
    }
    chart.insert("localPath".into(), typed.local_path.as_str().into());
}

/// What vouches for a chart lies beside it: [`documents`] says why not among
/// the documents.
fn with_provenance_beside_charts(mut package: Package) -> Package {
    for component in &package.authored.components {
        for chart in &component.charts {
            let archive = match zarf::base_name(&chart.local_path) {
                "" => format!("{}.tgz", chart.stem()),
                name => name.to_owned(),
            };
            let vouches = |source: &String| zarf::base_name(source) == format!("{archive}.prov");
            let documents = &mut package.definition.documentation;
            let Some(key) = documents.iter().find(|(_, source)| vouches(source)).map(|(key, _)| key.clone()) else {
                continue;
            };
            let source = documents.remove(&key).unwrap_or_default();
            package.provenance.insert(format!("{}/{}", component.name, chart.name), source);
            if let Some(Value::Mapping(documents)) = package.document.get_mut("documentation") {
                documents.shift_remove(key.as_str());
            }
        }
    }
    if package.definition.documentation.is_empty() {
        package.document.shift_remove("documentation");
    }
    package
}

/// Their name in v1beta1 has changed between releases, and so has their place.
/// `zarf package pull` fetches those alone that the document it reads names,
/// and then refuses the package for lacking the others.
fn documents(definition: &Definition) -> Option<Loss> {
    let why = "has no form in v1beta1 that releases agree on, and is left behind by `zarf package pull`";
    let first = definition.documentation.keys().next()?;
    Some(Loss { field: format!("documentation.{first}"), why: why.to_owned() })
}

/// Fields that the typed definition does not hold: nobody knows their form in
/// v1beta1. Extensions (`x-…`) are the author's own.
fn unknown(package: &Package) -> Result<Vec<Loss>, StepError> {
    let typed = serde_yaml::to_value(&package.definition)?;
    let document = Value::Mapping(package.document.clone());
    let fields = zarf::left_over(&document, &typed).into_iter().map(|place| zarf::named_place(&document, &place));
    let why = "is no field of v1alpha1 that this version knows";
    Ok(fields.map(|field| Loss { field, why: why.to_owned() }).collect())
}

/// Manifests and values whose text Zarf fills in: with v1beta1 it does not, and
/// `###ZARF_REGISTRY###` would be deployed as it stands.
fn filled_in(definition: &Definition, home: &str, sources: &dyn Sources) -> Result<Vec<Loss>, StepError> {
    let mut losses = Vec::new();
    for component in &definition.components {
        let manifests = component.manifests.iter().map(|manifest| ("manifests", &manifest.name, &manifest.files));
        let values = component.charts.iter().flat_map(|chart| {
            [("charts", &chart.name, &chart.values_files), ("charts", &chart.name, &chart.templated_values_files)]
        });
        for (list, name, files) in manifests.chain(values) {
            for file in files {
                if is_filled_in(file, home, sources)? {
                    let field = format!("components.{}.{list}.{name}", component.name);
                    losses
                        .push(Loss {
                            field, why: format!("has `{FILLED_IN}…###` in `{file}`, which v1beta1 refuses")
                        });
                }
            }
        }
    }
    Ok(losses)
}

/// What is missing the plan names.
fn is_filled_in(file: &str, home: &str, sources: &dyn Sources) -> Result<bool, StepError> {
    let Ok((tree, found)) = locate(sources, home, file) else { return Ok(false) };
    if found.directory {
        return Ok(false);
    }
    let bytes = sources.read(&tree, &found.path, LARGEST_TEXT)?;
    Ok(bytes.windows(FILLED_IN.len()).any(|window| window == FILLED_IN.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::read;
    use crate::sources::memory::Memory;

    fn chosen(
        components: &str,
        format: Format,
        sources: &Memory,
    ) -> Result<(Package, Forms, Option<String>), StepError> {
        let text = format!("kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n{components}");
        choose(read(&text, Some("amd64")).unwrap(), format, "zarf_gen", sources)
    }

    const CHART: &str = "- name: a\n  x-note: 7\n  charts: [{name: c, version: '1.0', url: 'https://h', repoName: r, namespace: n, noWait: true, valuesFiles: [v.yaml]}]\n";

    #[test]
    fn charts_become_local_and_lose_their_version_in_both_views() {
        let (package, forms, warning) = chosen(CHART, Format::Both, &Memory::default()).unwrap();
        assert_eq!((forms, warning), (Forms::BOTH, None));
        let chart = &package.definition.components[0].charts[0];
        assert_eq!((chart.stem().as_str(), chart.local_path.as_str()), ("c", "charts/c.tgz"));
        let typed: Definition = serde_yaml::from_value(Value::Mapping(package.document.clone())).unwrap();
        assert_eq!(typed, package.definition);
        assert_eq!(package.authored.components[0].charts[0].version, "1.0");
        assert_eq!(chosen(CHART, Format::V1beta1, &Memory::default()).unwrap().1, Forms::BETA);
        let (alpha, forms, _) = chosen(CHART, Format::V1alpha1, &Memory::default()).unwrap();
        assert_eq!((forms, alpha.definition.components[0].charts[0].stem().as_str()), (Forms::ALPHA, "c-1.0"));
    }

    /// Nothing is left out of a document in silence.
    #[test]
    fn what_v1beta1_cannot_say_is_named_and_kept() {
        let none = Memory::default();
        let filled = Memory::default().with("zarf_gen", "v.yaml", "image: ###ZARF_REGISTRY###/x\n");
        for (component, sources, field) in [
            ("default: true", &none, "components.a.default"),
            ("newField: {a: x}", &none, "components.a.newField.a"),
            (
                "actions: {onDeploy: {before: [{cmd: x, setVariable: V}]}}",
                &none,
                "components.a.actions.onDeploy.setVariable",
            ),
            ("manifests: [{name: m, files: [v.yaml]}]", &filled, "components.a.manifests.m"),
            (
                "charts: [{name: c, localPath: c.tgz, namespace: n, valuesFiles: [v.yaml]}]",
                &filled,
                "components.a.charts.c",
            ),
        ] {
            let text = format!("- name: a\n  {component}\n");
            let (package, forms, warning) = chosen(&text, Format::Both, sources).unwrap();
            let warning = warning.unwrap();
            assert_eq!(forms, Forms::ALPHA, "{component}");
            assert!(warning.contains(field) && warning.contains("February 2027"), "{component}: {warning}");
            assert_eq!(package.definition, package.authored);
            let error = chosen(&text, Format::V1beta1, sources).unwrap_err();
            assert!(error.failure().unwrap().message.contains(field), "{component}");
        }
    }
    /// `zarf package pull` of 0.84 refuses a package whose documents the
    /// v1beta1 document does not name.
    #[test]
    fn documents_keep_a_package_v1alpha1_but_for_what_vouches_for_charts() {
        let read = |documents: &str| {
            let text = format!(
                "kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ndocumentation: {{{documents}}}\ncomponents:\n\
                 - name: a\n  charts: [{{name: c, version: '1', localPath: ../charts/charts/c-1.tgz, namespace: n}}]\n"
            );
            read(&text, Some("amd64")).unwrap()
        };
        let none = Memory::default();
        let provenance = "c-1.tgz.prov: ../charts/charts/c-1.tgz.prov";
        let (package, forms, warning) = choose(read(provenance), Format::Both, "zarf_gen", &none).unwrap();
        assert_eq!((forms, warning), (Forms::BOTH, None));
        assert!(package.definition.documentation.is_empty() && package.document.get("documentation").is_none());
        assert_eq!(package.provenance["a/c"], "../charts/charts/c-1.tgz.prov");

        let more = format!("{provenance}, guide: d/guide.md");
        let (package, forms, warning) = choose(read(&more), Format::Both, "zarf_gen", &none).unwrap();
        assert_eq!((forms, package.definition.documentation.len()), (Forms::ALPHA, 2));
        assert!(warning.unwrap().contains("`documentation.guide`") && package.provenance.is_empty());
        assert!(choose(read(&more), Format::V1beta1, "zarf_gen", &none).is_err());
        let (package, ..) = choose(read(provenance), Format::V1alpha1, "zarf_gen", &none).unwrap();
        assert_eq!(package.definition.documentation.len(), 1);
    }
}
