//! From what components.yaml asks for to the address of one archive.
//!
//! airgap.lock answers first. Otherwise a chart of an HTTP repository is
//! looked up in its index, one in a registry by its tag. Each chart gets its
//! own result: a bad one does not stop the others.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use image_finder::Node;
use model::definition::sources::IN_GIT;
use model::image::normalized;
use model::problem::shown;
use model::{Chart, chart};
use sdk::StepError;
use sdk::fetch::Request;

use crate::host::Host;
use crate::index::{self, Answer, ChartVersion};
use crate::oci;
use crate::url;
use model::version::{Constraint, Version, compare};

/// Of one index, as the host fetches it.
const INDEX_LIMIT: u64 = 256 << 20;
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Of one repository; the host reads no more.
const TAGS_LIMIT: u32 = 100_000;
/// Names and versions that an error lists.
const SUGGESTED: usize = 10;
/// What is only fetched to be read lies here until the step ends.
pub const WORK: &str = ".work";

/// Where an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveLocation {
    /// At a URL.
    Url(String),
    /// `registry/repository@sha256:…`, and the address that people know.
    Blob {
        /// The blob: `registry/repository@sha256:…`.
        reference: String,
        /// The address that people know: `oci://…`.
        shown: String,
    },
}

impl ArchiveLocation {
    /// As charts.json and airgap.lock show it.
    pub fn shown(&self) -> &str {
        match self {
            ArchiveLocation::Url(url) => url,
            ArchiveLocation::Blob { shown, .. } => shown,
        }
    }
}

/// One version of a chart that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The exact version.
    pub version: String,
    /// Tried in order.
    pub places: Vec<ArchiveLocation>,
    /// SHA-256 of the archive, where it is known.
    pub digest: Option<String>,
    /// Where the provenance file is, where that is known.
    pub provenance: Option<ArchiveLocation>,
    /// Whether all this comes from airgap.lock.
    pub is_locked: bool,
}

/// Whether `repo` of a chart is a directory: of the project, or of what the
/// step `repos` took out of a git repository.
pub fn is_folder(repo: &str) -> bool {
    !repo.contains("://") || repo.starts_with(IN_GIT)
}

type Results = BTreeMap<usize, Result<Located, StepError>>;

/// Resolves the charts with these indices.
///
/// # Errors
/// Only when the step is being stopped.
pub fn all(host: &dyn Host, wanted: &[(usize, &Chart)], lock: &Node) -> Result<Results, StepError> {
    let mut results = Results::new();
    let mut open = Vec::new();
    for (at, chart) in wanted {
        match Locked::of(chart, lock) {
            Some(locked) => drop(results.insert(*at, passed(locked.located(host, *at, chart))?)),
            None => open.push((*at, *chart)),
        }
    }
    let (registry, http): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, chart)| chart.repo.starts_with("oci://"));
    let indexes = fetch_indexes(host, &http)?;
    for (at, chart) in http {
        let located = match &indexes[&chart.repo] {
            Ok(path) => in_index(host, chart, path),
            Err(error) => Err(error.clone()),
        };
        let located = located.and_then(|located| through_registry(host, at, chart, located));
        results.insert(at, passed(located)?);
    }
    for path in indexes.into_values().flatten() {
        host.remove(&path)?;
    }
    for (at, chart) in registry {
        results.insert(at, passed(in_registry(host, at, chart))?);
    }
    Ok(results)
}

/// An interruption is no result of one chart.
fn passed<T>(result: Result<T, StepError>) -> Result<Result<T, StepError>, StepError> {
    match result {
        Err(StepError::Interrupted) => Err(StepError::Interrupted),
        other => Ok(other),
    }
}

/// What airgap.lock says about a chart.
struct Locked<'a> {
    version: &'a str,
    address: &'a str,
    digest: &'a str,
    /// What else was fetched, by URL.
    files: Option<&'a Node>,
}

impl<'a> Locked<'a> {
    fn of(chart: &Chart, lock: &'a Node) -> Option<Self> {
        let entry = lock.get("charts")?.get(&chart.lock_key())?;
        Some(Self {
            version: entry.text_of("version")?,
            address: entry.text_of("url")?,
            digest: entry.text_of("digest")?,
            files: lock.get("files"),
        })
    }

    /// A provenance file is carried if it was there when the chart was locked:
    /// the same lock gives the same package, whatever appears later.
    fn located(&self, host: &dyn Host, at: usize, chart: &Chart) -> Result<Located, StepError> {
        let Self { version, address, digest, .. } = *self;
        let is_known = |address: &str| self.files.is_some_and(|files| files.get(address).is_some());
        let located = |place: ArchiveLocation, provenance| Located {
            version: version.to_owned(),
            places: vec![place],
            digest: Some(digest.to_owned()),
            provenance,
            is_locked: true,
        };
        if !address.starts_with("oci://") {
            let address = url::resolve(&chart.repo, address)
                .map_err(|why| StepError::invalid_input("lock", format!("airgap.lock, {}: {why}", named(chart))))?;
            let provenance =
                Some(chart::provenance_of(&address)).filter(|address| is_known(address)).map(ArchiveLocation::Url);
            return Ok(located(ArchiveLocation::Url(address), provenance));
        }
        let provenance = match oci::tag_of(address).filter(|_| is_known(address)) {
            Some(tag) => manifest(host, at, chart, oci::repository_of(address), tag, version)?.provenance,
            None => None,
        };
        Ok(located(blob(address, digest), provenance))
    }
}

fn blob(address: &str, digest: &str) -> ArchiveLocation {
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    ArchiveLocation::Blob {
        reference: format!("{}@sha256:{digest}", oci::repository_of(address)),
        shown: address.to_owned(),
    }
}

/// Fetches each index once; by repository its path in the output.
fn fetch_indexes(
    host: &dyn Host,
    charts: &[(usize, &Chart)],
) -> Result<BTreeMap<String, Result<String, StepError>>, StepError> {
    let mut repositories: Vec<&str> = charts.iter().map(|(_, chart)| chart.repo.as_str()).collect();
    repositories.sort_unstable();
    repositories.dedup();
    let request = |(at, repository): (usize, &&str)| {
        let path = format!("{WORK}/index-{at}.yaml");
        Request::url(url::index_of(repository), path, format!("index of {repository}")).limit(INDEX_LIMIT).mutable()
    };
    let requests: Vec<Request> = repositories.iter().enumerate().map(request).collect();
    let results = if requests.is_empty() { Vec::new() } else { host.fetch(&requests)? };
    let named = repositories.iter().zip(&requests).zip(results).map(|((repository, request), result)| {
        let result = match result {
            Ok(_) => Ok(request.path.clone()),
            Err(error) => Err(StepError::from(error).context(format!("the index of {repository}"))),
        };
        ((*repository).to_owned(), result)
    });
    Ok(named.collect())
}

fn in_index(host: &dyn Host, chart: &Chart, path: &str) -> Result<Located, StepError> {
    let Chart { name, repo, .. } = chart;
    let open = || host.open(path).map_err(|error| error.failure().map_or_else(String::new, |why| why.message.clone()));
    let answer = index::read(open, name)
        .map_err(|why| StepError::invalid_input("index", format!("the index of {repo}: {why}")))?;
    let entries = match answer {
        Answer::Chart(entries) => entries,
        Answer::NoSuchChart(names) => return Err(no_such_chart(chart, &names)),
    };
    let entry = pick(&entries, &chart.version)
        .map_err(|why| StepError::invalid_input("version", format!("chart `{name}`: {why}")))?
        .ok_or_else(|| no_such_version(chart, entries.iter().map(|entry| entry.version.as_str())))?;
    let places: Result<Vec<ArchiveLocation>, String> =
        entry.urls.iter().map(|reference| url::resolve(repo, reference).map(ArchiveLocation::Url)).collect();
    let places = places.map_err(|why| {
        StepError::invalid_input(
            "index",
            format!("the index of {repo} has an address for `{name}` that cannot be used: {why}"),
        )
    })?;
    if places.is_empty() {
        let message = format!("the index of {repo} has no address for `{name}` {}", entry.version);
        return Err(StepError::invalid_input("index", message));
    }
    let digest = entry.digest.as_ref().filter(|digest| is_sha256(digest)).cloned();
    Ok(Located { version: entry.version.clone(), places, digest, provenance: None, is_locked: false })
}

fn is_sha256(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// As Helm picks: the text itself, else the newest version that fits.
///
/// # Errors
/// A fragment where the request is no constraint.
pub fn pick<'a>(entries: &'a [ChartVersion], wanted: &str) -> Result<Option<&'a ChartVersion>, String> {
    if let Some(same) = entries.iter().find(|entry| entry.version == wanted) {
        return Ok(Some(same));
    }
    let constraint = constraint(wanted)?;
    let mut best: Option<(&ChartVersion, Version)> = None;
    for entry in entries {
        let Some(version) = Version::parse(&entry.version).filter(|version| constraint.fits(version)) else { continue };
        // Of equal ones the first stays.
        if best.as_ref().is_none_or(|(_, best)| compare(&version, best) == Ordering::Greater) {
            best = Some((entry, version));
        }
    }
    Ok(best.map(|(entry, _)| entry))
}

fn constraint(wanted: &str) -> Result<Constraint, String> {
    Constraint::parse(wanted).ok_or_else(|| {
        format!("`{}` is neither a version nor a constraint (`1.2.3`, `^1.2`, `>=1.0 <2.0`)", shown(wanted))
    })
}

/// An index may point into a registry. Where it has a digest, the registry must
/// have the same archive.
fn through_registry(host: &dyn Host, at: usize, chart: &Chart, located: Located) -> Result<Located, StepError> {
    let Some(ArchiveLocation::Url(address)) = located.places.first() else { return Ok(located) };
    if !address.starts_with("oci://") {
        return Ok(located);
    }
    let tag = oci::tag_of(address).map_or_else(|| oci::tag_for(&located.version), str::to_owned);
    let served = manifest(host, at, chart, oci::repository_of(address), &tag, &located.version)?;
    let bare = |digest: &Option<String>| digest.as_ref().map(|digest| digest.trim_start_matches("sha256:").to_owned());
    match (bare(&located.digest), bare(&served.digest)) {
        (Some(listed), Some(there)) if !listed.eq_ignore_ascii_case(&there) => {
            let message = format!(
                "{}: the index of {} says sha256:{listed}, {address} is sha256:{there}",
                named(chart),
                chart.repo
            );
            Err(StepError::other("integrity", message)
                .hint("ask whoever runs the repository which of the two is right"))
        }
        _ => Ok(served),
    }
}

fn in_registry(host: &dyn Host, at: usize, chart: &Chart) -> Result<Located, StepError> {
    let base = oci::repository_of(&chart.repo).to_owned();
    let below = format!("{base}/{}", chart.name);
    match in_repository(host, at, chart, &below) {
        // `repo` may be the chart itself.
        Err(error) if may_be_absent(&error) && base.ends_with(&format!("/{}", chart.name)) => {
            in_repository(host, at, chart, &base).map_err(|other| if may_be_absent(&other) { error } else { other })
        }
        other => other,
    }
}

fn is_missing(error: &StepError) -> bool {
    matches!(error.failure(), Some(failure) if failure.code == "not-found")
}

/// Many registries answer for a repository that does not exist as for one that
/// nobody may see.
fn may_be_absent(error: &StepError) -> bool {
    is_missing(error) || matches!(error.failure(), Some(failure) if failure.code == "auth")
}

fn in_repository(host: &dyn Host, at: usize, chart: &Chart, repository: &str) -> Result<Located, StepError> {
    let exact = Version::parse(&chart.version).is_some() && chart.version.split(['.', '-', '+']).count() >= 3;
    if exact {
        match manifest(host, at, chart, repository, &oci::tag_for(&chart.version), &chart.version) {
            Err(error) if is_missing(&error) => {}
            other => return other,
        }
    }
    let constraint = constraint(&chart.version)
        .map_err(|why| StepError::invalid_input("version", format!("chart `{}`: {why}", chart.name)))?;
    let tags = host.tags(repository, TAGS_LIMIT).map_err(|error| StepError::from(error).context(named(chart)))?;
    // What fits best may be among those that were not listed.
    if tags.len() >= TAGS_LIMIT as usize {
        let message = format!("chart `{}`: {repository} has {TAGS_LIMIT} tags or more, too many to choose", chart.name);
        return Err(
            StepError::other("not-found", message).hint("write the exact `version` of the chart in components.yaml")
        );
    }
    match oci::newest(&tags, &constraint) {
        Some(version) => manifest(host, at, chart, repository, &oci::tag_for(&version), &version),
        None => Err(no_such_version(chart, tags.iter().map(String::as_str))),
    }
}

/// The layers behind a tag. The host locks the manifest at first sight.
fn manifest(
    host: &dyn Host,
    at: usize,
    chart: &Chart,
    repository: &str,
    tag: &str,
    version: &str,
) -> Result<Located, StepError> {
    let path = format!("{WORK}/manifest-{at}.json");
    // Spelled as the host spells it in the lock.
    let reference = normalized(&format!("{repository}:{tag}"));
    let shown = format!("oci://{reference}");
    let request = Request::oci_manifest(reference, path.clone(), named(chart));
    let mut results = host.fetch(&[request.limit(MANIFEST_LIMIT)])?;
    let fetched = results.pop().ok_or_else(|| StepError::other("fetch", "the host gave no answer to a request"))?;
    fetched.map_err(|error| StepError::from(error).context(format!("{} ({shown})", named(chart))))?;
    let layers = oci::layers(&host.read(&path, MANIFEST_LIMIT)?);
    host.remove(&path)?;
    let layers =
        layers.map_err(|why| StepError::invalid_input("not-a-chart", format!("{} ({shown}): {why}", named(chart))))?;
    Ok(Located {
        version: version.to_owned(),
        places: vec![blob(&shown, &layers.chart)],
        digest: Some(layers.chart),
        provenance: layers.provenance.map(|digest| blob(&shown, &digest)),
        is_locked: false,
    })
}

/// For messages and labels.
pub fn named(chart: &Chart) -> String {
    format!("chart {} {}", chart.name, chart.version)
}

fn no_such_chart(chart: &Chart, names: &[String]) -> StepError {
    let near = nearest(&chart.name, names);
    let listed = if near.is_empty() { "it is empty".to_owned() } else { format!("nearest: {}", near.join(", ")) };
    let message = format!("chart `{}` is not in {} ({} charts; {listed})", chart.name, chart.repo, names.len());
    StepError::other("not-found", message).hint("correct `name` or `repo` of the chart in components.yaml")
}

fn no_such_version<'a>(chart: &Chart, versions: impl Iterator<Item = &'a str>) -> StepError {
    let mut versions: Vec<Version> = versions.filter_map(|text| Version::parse(&text.replace('_', "+"))).collect();
    versions.sort_by(|a, b| compare(b, a));
    let newest: Vec<String> = versions.iter().take(SUGGESTED).map(Version::to_string).collect();
    let there = if newest.is_empty() { "no versions".to_owned() } else { format!("newest: {}", newest.join(", ")) };
    let message = format!("chart `{}` of {} has no version `{}` ({there})", chart.name, chart.repo, chart.version);
    StepError::other("not-found", message).hint("correct `version` of the chart in components.yaml")
}

/// The names most like `wanted`, best first.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Vec<&'a str> {
    let rank = |name: &str| {
        let part = name.contains(wanted) || wanted.contains(name);
        if part { name.len().abs_diff(wanted.len()) / 4 } else { distance(wanted, name) }
    };
    let mut ranked: Vec<(usize, &str)> = names.iter().map(|name| (rank(name), name.as_str())).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(SUGGESTED / 2).map(|(_, name)| name).collect()
}

/// Changes of one character that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (at, c) in b.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (i, own) in a.iter().enumerate() {
            let replaced = diagonal + usize::from(*own != c);
            diagonal = row[i + 1];
            row[i + 1] = replaced.min(row[i] + 1).min(diagonal + 1);
        }
    }
    row[a.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(versions: &[&str]) -> Vec<ChartVersion> {
        let entry = |version: &&str| ChartVersion { version: (*version).into(), urls: vec![], digest: None };
        versions.iter().map(entry).collect()
    }

    #[test]
    fn versions_are_picked_as_helm_picks_them() {
        let there = entries(&["2.0.0-rc.1", "v1.16.2", "1.2.0", "1.10.0", "1.9.0", "weird"]);
        let table = [
            ("1.16.2", Some("v1.16.2")),
            ("v1.16.2", Some("v1.16.2")),
            ("^1.2", Some("v1.16.2")),
            ("<1.10.0", Some("1.9.0")),
            ("*", Some("v1.16.2")),
            (">=2.0.0-0", Some("2.0.0-rc.1")),
            ("weird", Some("weird")),
            ("3.x", None),
        ];
        for (wanted, expected) in table {
            assert_eq!(pick(&there, wanted).unwrap().map(|entry| entry.version.as_str()), expected, "{wanted}");
        }
        assert!(pick(&there, "latest").is_err());
    }

    #[test]
    fn near_names_come_first() {
        let names: Vec<String> = ["redis", "cert-manager", "cert-manager-csi", "postgres"].map(Into::into).into();
        assert_eq!(nearest("certmanager", &names)[0], "cert-manager");
        assert_eq!(nearest("cert", &names)[0], "cert-manager");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
