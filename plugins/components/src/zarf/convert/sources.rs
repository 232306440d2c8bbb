//! Where charts and repositories come from: one address in v1alpha1, address
//! and reference apart in v1beta1.

use super::{Losses, NO_ALPHA_FORM, NO_FORM};
use crate::zarf::beta::{GitRef, OciRef};
use crate::zarf::{RepositoryUrl, alpha, beta};

pub(super) fn chart_to_beta(chart: &alpha::Chart, losses: &mut Losses<'_>) -> beta::Chart {
    losses.add_if(!chart.variables.is_empty(), "variables", NO_FORM);
    let mut converted = beta::Chart {
        name: chart.name.clone(),
        namespace: chart.namespace.clone(),
        release_name: chart.release_name.clone(),
        skip_wait: chart.no_wait,
        values_files: values_files(chart),
        values: chart.values.clone(),
        skip_schema_validation: chart.schema_validation == Some(false),
        server_side_apply: chart.server_side_apply.clone(),
        ..beta::Chart::default()
    };
    let (url, reference) = split(&chart.url);
    if chart.url.starts_with("oci://") {
        let reference = OciRef { tag: chart.version.clone(), digest: String::new() };
        converted.oci = Some(beta::Oci { url: chart.url.clone(), reference });
    } else if !chart.url.is_empty() && (!chart.git_path.is_empty() || url.ends_with(".git")) {
        let reference = if reference.is_empty() { &chart.version } else { reference };
        let git = beta::Git { url: url.to_owned(), path: chart.git_path.clone(), reference: classified(reference) };
        converted.git = Some(git);
    } else if !chart.url.is_empty() {
        let (name, url, version) = (chart.repo_name.clone(), chart.url.clone(), chart.version.clone());
        converted.helm_repository = Some(beta::HelmRepository { name, url, version });
    } else if !chart.local_path.is_empty() {
        converted.local = Some(beta::Local { path: chart.local_path.clone() });
    }
    let is_of_repository = converted.helm_repository.is_some();
    losses.add_if(!is_of_repository && !chart.repo_name.is_empty(), "repoName", NO_FORM);
    losses.add_if(converted.git.is_none() && !chart.git_path.is_empty(), "gitPath", NO_FORM);
    losses.add_if(!chart.url.is_empty() && !chart.local_path.is_empty(), "localPath", "is a second source");
    let is_named_twice = converted.git.is_some() && !reference.is_empty() && !chart.version.is_empty();
    let has_version = !chart.version.is_empty();
    losses.add_if(converted.local.is_some() && has_version, "version", "has no form in v1beta1 for a local chart");
    losses.add_if(is_named_twice, "version", "is a second reference beside the one in the URL");
    converted
}

pub(super) fn chart_to_alpha(chart: &beta::Chart, losses: &mut Losses<'_>) -> alpha::Chart {
    let plain = |templated: bool| {
        let files = chart.values_files.iter().filter(move |file| file.enable_templating == templated);
        files.map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let is_mixed = !chart.values_files.is_sorted_by_key(|file| file.enable_templating);
    losses.add_if(is_mixed, "valuesFiles", "has a templated file before a plain one");
    let mut converted = alpha::Chart {
        name: chart.name.clone(),
        namespace: chart.namespace.clone(),
        release_name: chart.release_name.clone(),
        no_wait: chart.skip_wait,
        values_files: plain(false),
        templated_values_files: plain(true),
        values: chart.values.clone(),
        schema_validation: chart.skip_schema_validation.then_some(false),
        server_side_apply: chart.server_side_apply.clone(),
        ..alpha::Chart::default()
    };
    if let Some(beta::HelmRepository { name, url, version }) = chart.helm_repository.clone() {
        (converted.repo_name, converted.url, converted.version) = (name, url, version);
    } else if let Some(beta::Oci { url, reference: OciRef { tag, digest } }) = chart.oci.clone() {
        losses.add_if(!digest.is_empty(), "oci.ref.digest", NO_ALPHA_FORM);
        converted.url = if digest.is_empty() { url } else { format!("{}@{digest}", url.trim_end_matches('/')) };
        converted.version = tag;
    } else if let Some(git) = &chart.git {
        let reference = reference_of(Some(&git.reference));
        // It would become a path where it is a version.
        let is_path = reference.starts_with("refs/");
        converted.url = if is_path { flatten(&git.url, Some(&git.reference)) } else { split(&git.url).0.to_owned() };
        converted.version = if is_path { String::new() } else { reference };
        converted.git_path.clone_from(&git.path);
    } else if let Some(local) = &chart.local {
        converted.local_path.clone_from(&local.path);
    }
    converted
}

/// First the plain ones, as their numbers in the package count.
fn values_files(chart: &alpha::Chart) -> Vec<beta::ValuesFile> {
    let file =
        |enable_templating: bool| move |path: &String| beta::ValuesFile { path: path.clone(), enable_templating };
    let plain = chart.values_files.iter().map(file(false));
    plain.chain(chart.templated_values_files.iter().map(file(true))).collect()
}

pub(super) fn repository_to_beta(url: &str, losses: &mut Losses<'_>) -> beta::Repository {
    let (address, reference) = split(url);
    let reference = (!reference.is_empty()).then(|| classified(reference));
    // The folder in the package is named by the whole text.
    let comes_back = flatten(address, reference.as_ref()) == url;
    losses.add_if(!comes_back, "repos", "holds an address that comes out another way in v1beta1");
    beta::Repository { url: address.to_owned(), reference }
}

/// The address of v1alpha1: `url@reference`.
pub(super) fn flatten(url: &str, reference: Option<&GitRef>) -> String {
    let reference = reference_of(reference);
    if reference.is_empty() { url.to_owned() } else { format!("{}@{reference}", split(url).0) }
}

fn reference_of(reference: Option<&GitRef>) -> String {
    match reference {
        Some(GitRef { tag, .. }) if !tag.is_empty() => tag.clone(),
        Some(GitRef { commit, .. }) if !commit.is_empty() => commit.clone(),
        Some(GitRef { branch, .. }) if !branch.is_empty() => format!("refs/heads/{branch}"),
        _ => String::new(),
    }
}

/// The address and the reference behind its `@`, empty where there is none.
fn split(url: &str) -> (&str, &str) {
    match RepositoryUrl::parse(url).and_then(|parsed| parsed.reference) {
        Some(reference) => {
            let address = &url[..url.len() - reference.len()];
            (address.strip_suffix('+').unwrap_or(address).trim_end_matches('@'), reference)
        }
        None => (url, ""),
    }
}

/// A tag stays as it is written, `refs/tags/` and all: the folder of the
/// repository in the package is named by it.
fn classified(reference: &str) -> GitRef {
    let is_commit = matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    match reference.strip_prefix("refs/heads/") {
        _ if is_commit => GitRef { commit: reference.to_owned(), ..GitRef::default() },
        Some(branch) => GitRef { branch: branch.to_owned(), ..GitRef::default() },
        None => GitRef { tag: reference.to_owned(), ..GitRef::default() },
    }
}
