//! Where charts and repositories come from: one address in v1alpha1, address
//! and reference apart in v1beta1.

use super::{Losses, NO_ALPHA_FORM, NO_FORM};
use crate::zarf::beta::{GitRef, OciRef};
use crate::zarf::{RepositoryUrl, alpha, beta};

const SECOND_SOURCE: &str = "is a second source";

pub(super) fn chart_to_beta(chart: &alpha::Chart, losses: &mut Losses<'_>) -> beta::Chart {
    let alpha::Chart {
        name,
        version,
        url,
        repo_name,
        git_path,
        local_path,
        namespace,
        release_name,
        no_wait,
        values_files,
        templated_values_files,
        variables,
        values,
        schema_validation,
        server_side_apply,
    } = chart;
    losses.add_if(!variables.is_empty(), "variables", NO_FORM);
    let mut converted = beta::Chart {
        name: name.clone(),
        helm_repository: None,
        git: None,
        local: None,
        oci: None,
        namespace: namespace.clone(),
        release_name: release_name.clone(),
        skip_wait: *no_wait,
        values_files: with_templated(values_files, templated_values_files),
        values: values.clone(),
        skip_schema_validation: *schema_validation == Some(false),
        server_side_apply: server_side_apply.clone(),
    };
    let (address, reference) = split(url);
    if url.starts_with("oci://") {
        let reference = OciRef { tag: version.clone(), digest: String::new() };
        converted.oci = Some(beta::Oci { url: url.clone(), reference });
    } else if !url.is_empty() && (!git_path.is_empty() || address.ends_with(".git")) {
        let reference = classified(if reference.is_empty() { version } else { reference });
        converted.git = Some(beta::Git { url: address.to_owned(), path: git_path.clone(), reference });
    } else if !url.is_empty() {
        let (name, url, version) = (repo_name.clone(), url.clone(), version.clone());
        converted.helm_repository = Some(beta::HelmRepository { name, url, version });
    } else if !local_path.is_empty() {
        converted.local = Some(beta::Local { path: local_path.clone() });
    }
    let (is_in_git, is_local) = (converted.git.is_some(), converted.local.is_some());
    losses.add_if(converted.helm_repository.is_none() && !repo_name.is_empty(), "repoName", NO_FORM);
    losses.add_if(!is_in_git && !git_path.is_empty(), "gitPath", NO_FORM);
    losses.add_if(!url.is_empty() && !local_path.is_empty(), "localPath", SECOND_SOURCE);
    let has_version = !version.is_empty();
    losses.add_if(is_local && has_version, "version", "has no form in v1beta1 for a local chart");
    let is_named_twice = is_in_git && !reference.is_empty() && has_version;
    losses.add_if(is_named_twice, "version", "is a second reference beside the one in the URL");
    converted
}

pub(super) fn chart_to_alpha(chart: &beta::Chart, losses: &mut Losses<'_>) -> alpha::Chart {
    let beta::Chart {
        name,
        helm_repository,
        git,
        local,
        oci,
        namespace,
        release_name,
        skip_wait,
        values_files,
        values,
        skip_schema_validation,
        server_side_apply,
    } = chart.clone();
    let plain = |templated: bool| {
        let files = values_files.iter().filter(move |file| file.enable_templating == templated);
        files.map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let is_mixed = !values_files.is_sorted_by_key(|file| file.enable_templating);
    losses.add_if(is_mixed, "valuesFiles", "has a templated file before a plain one");
    let sources = [
        ("helmRepository", helm_repository.is_some()),
        ("oci", oci.is_some()),
        ("git", git.is_some()),
        ("local", local.is_some()),
    ];
    let more = sources.iter().filter(|(_, is_there)| *is_there).skip(1);
    more.for_each(|(name, _)| losses.add_if(true, name, SECOND_SOURCE));
    let mut converted = alpha::Chart {
        name,
        version: String::new(),
        url: String::new(),
        repo_name: String::new(),
        git_path: String::new(),
        local_path: String::new(),
        namespace,
        release_name,
        no_wait: skip_wait,
        values_files: plain(false),
        templated_values_files: plain(true),
        variables: Vec::new(),
        values,
        schema_validation: skip_schema_validation.then_some(false),
        server_side_apply,
    };
    if let Some(beta::HelmRepository { name, url, version }) = helm_repository {
        (converted.repo_name, converted.url, converted.version) = (name, url, version);
    } else if let Some(beta::Oci { url, reference: OciRef { tag, digest } }) = oci {
        losses.add_if(!digest.is_empty(), "oci.ref.digest", NO_ALPHA_FORM);
        converted.url = if digest.is_empty() { url } else { format!("{}@{digest}", url.trim_end_matches('/')) };
        converted.version = tag;
    } else if let Some(beta::Git { url, path, reference }) = git {
        let name = reference_of(Some(&reference));
        // It would become a path where it is a version.
        let is_path = name.starts_with("refs/");
        converted.url = if is_path { flatten(&url, Some(&reference)) } else { split(&url).0.to_owned() };
        converted.version = if is_path { String::new() } else { name };
        converted.git_path = path;
    } else if let Some(beta::Local { path }) = local {
        converted.local_path = path;
    }
    converted
}

/// First the plain ones, as their numbers in the package count.
fn with_templated(plain: &[String], templated: &[String]) -> Vec<beta::ValuesFile> {
    let file =
        |enable_templating: bool| move |path: &String| beta::ValuesFile { path: path.clone(), enable_templating };
    plain.iter().map(file(false)).chain(templated.iter().map(file(true))).collect()
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
