//! zarf.yaml of a built package.

use image_finder::yaml::{self, Root};
use model::zarf::convert::to_alpha;
use model::zarf::documents::{Documents, check_directives};
use model::zarf::{Component, Definition, beta};

use super::facts::Facts;
use super::package::{Forms, Naming, Package};
use super::{Identity, Problems, forms, images};

impl Package {
    /// What the package says it is.
    pub(crate) fn identity(&self, facts: &Facts) -> Identity {
        let metadata = &self.definition.metadata;
        let count = |of: fn(&Component) -> usize| self.components().iter().map(of).sum();
        let images: std::collections::BTreeSet<&str> =
            self.components().iter().flat_map(|component| component.images.iter().map(String::as_str)).collect();
        let known = images::by_reference(facts);
        let is_chart = |written: &&&str| {
            known.get(&model::image::normalized(written)).is_some_and(|image| images::chart_of(facts, image).is_some())
        };
        let artifacts = images.iter().filter(is_chart).count();
        Identity {
            name: metadata.name.clone(),
            version: metadata.version.clone(),
            architecture: metadata.architecture.clone(),
            components: self.components().len(),
            images: images.len() - artifacts,
            charts: count(|component| component.charts.len()) + artifacts,
            files: count(|component| component.files.len()),
            repositories: count(|component| component.repos.len()),
        }
    }
}

/// The definition, where there is one that can be read.
pub(crate) fn read(facts: &Facts, problems: &mut Problems) -> Option<Package> {
    let bytes = facts.texts.get("zarf.yaml")?;
    match parse(bytes, problems) {
        Ok(mut package) => {
            check(&package, problems);
            forms::settle_charts(&mut package, facts);
            Some(package)
        }
        Err(why) => {
            problems.add_for("definition", "zarf.yaml", why);
            None
        }
    }
}

fn parse(bytes: &[u8], problems: &mut Problems) -> Result<Package, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))?;
    check_roots(text)?;
    let documents = Documents::parse(text)?;
    let forms = Forms::of(&documents);
    let unknown = documents.unknown;
    let bad = |error: serde_yaml::Error| format!("is no package definition: {error}");
    let alpha: Option<Definition> = documents.alpha.map(serde_yaml::from_value).transpose().map_err(bad)?;
    let beta: Option<beta::Definition> = documents.beta.map(serde_yaml::from_value).transpose().map_err(bad)?;
    if let (Some(alpha), Some(beta)) = (&alpha, &beta) {
        forms::compare(alpha, beta, problems);
    }
    let named = [alpha.as_ref().map(|it| &it.documentation), beta.as_ref().map(|it| &it.documentation)];
    let documentation =
        named.into_iter().flatten().flatten().map(|(key, source)| (key.clone(), source.clone())).collect();
    // As Zarf does: the newest document that it knows.
    let definition = match (alpha, beta) {
        (_, Some(beta)) => to_alpha(&beta).0,
        (Some(alpha), None) => alpha,
        (None, None) => return Err("holds no package definition".to_owned()),
    };
    Ok(Package { definition, forms, naming: Naming::default(), documentation, unknown })
}

/// Before anything is built of it: Zarf takes mappings and nothing for a
/// document, and not even an outspoken `null`.
fn check_roots(text: &str) -> Result<(), String> {
    check_directives(text)?;
    let roots = yaml::roots(text).map_err(|error| format!("cannot be read: {error}"))?;
    match roots.iter().any(|root| matches!(root, Root::Scalar | Root::List)) {
        true => Err("holds a document that is no mapping".to_owned()),
        false => Ok(()),
    }
}

fn check(package: &Package, problems: &mut Problems) {
    let metadata = &package.definition.metadata;
    let mut bad = |message: String| problems.add_for("definition", "zarf.yaml", message);
    if !matches!(package.definition.kind.as_str(), "ZarfPackageConfig" | "ZarfInitConfig") {
        bad(format!("has the unknown kind `{}`", package.definition.kind));
    }
    if metadata.name.is_empty() || metadata.architecture.is_empty() || package.definition.build.architecture.is_empty()
    {
        bad("lacks metadata.name, metadata.architecture or build.architecture".to_owned());
    }
    if package.components().is_empty() {
        bad("has no components".to_owned());
    }
    for chart in package.components().iter().flat_map(|component| &component.charts) {
        let release = if chart.release_name.is_empty() { &chart.name } else { &chart.release_name };
        if chart.namespace.is_empty() {
            bad(format!("has the chart `{}` without a namespace", chart.name.escape_debug()));
        }
        if !is_release_name(release) {
            bad(format!(
                "would release the chart `{}` as `{}`, which is no DNS label",
                chart.name.escape_debug(),
                release.escape_debug()
            ));
        }
    }
    let mut names = std::collections::BTreeSet::new();
    let mut parts = vec![metadata.name.as_str(), metadata.version.as_str()];
    for component in package.components() {
        if !names.insert(&component.name) {
            bad(format!("has two components `{}`", component.name));
        }
        parts.push(&component.name);
        parts.extend(component.manifests.iter().map(|manifest| manifest.name.as_str()));
        parts.extend(component.charts.iter().flat_map(|chart| [chart.name.as_str(), chart.version.as_str()]));
    }
    for part in parts.into_iter().filter(|part| *part == ".." || part.contains(['/', '\\'])) {
        bad(format!("has the name `{}`, which would make an invalid path", part.escape_debug()));
    }
}

/// A label of RFC 1035: what Zarf takes as the name of a release.
fn is_release_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(allowed)
}
