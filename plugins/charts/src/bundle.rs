//! The bundler: from charts in components.yaml to archives, values files and
//! charts.json.
//!
//! 1. What earlier attempts finished is taken from the checkpoints.
//! 2. [`resolve::all`] finds the address of every other chart.
//! 3. The archives are fetched together, each from the first address that has
//!    it, then the provenance files; local directories are packaged.
//! 4. Every archive is loaded before it counts ([`chart_loader::load()`]), must
//!    install something, and the images that it deploys with its values are
//!    noted.
//! 5. All that failed are reported together, each in a line.

use std::collections::{BTreeMap, BTreeSet};

use chart_loader::artifact::{self, Content};
use chart_loader::directory::Files;
use chart_loader::{Refusal, install};
use image_finder::Node;
use model::chart;
use model::definition::sources::export_of;
use model::line::in_one_line;
use model::rendered::{Searched, Unknown};
use model::{Chart, ChartArtifact, ChartEntry};
use sdk::fetch::{FetchErrorKind, Request};
use sdk::{Artifact, StepError};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::images;
use crate::local;
use crate::resolve::{self, ArchiveLocation, Located, WORK, named};
use model::version::{Constraint, Version, compare};

/// In front of the path of a folder that the step `repos` took out of a git
/// repository.
pub const EXPORTED: &str = "repos:";
/// Of one archive.
pub(crate) const ARCHIVE_LIMIT: u64 = 64 << 20;
const PROVENANCE_LIMIT: u64 = 1 << 20;
/// Of one values file.
const VALUES_LIMIT: u64 = 8 << 20;

/// What the step works on.
pub struct Job<'a> {
    /// The charts as components.yaml names them.
    pub charts: &'a [Chart],
    /// airgap.lock as it is now.
    pub lock: &'a Node,
}

impl Job<'_> {
    /// The folder of a chart whose name one of another repository has as well,
    /// with a slash; empty for the first of a name.
    fn place(&self, at: usize) -> String {
        let chart = &self.charts[at];
        let is_other = |other: &Chart| other.name == chart.name && other.repo != chart.repo;
        if self.charts[..at].iter().any(is_other) { format!("{at}/") } else { String::new() }
    }
}

/// A finished chart.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bundled {
    entry: ChartEntry,
    /// Images that only a rendering would tell.
    unresolved: Vec<Unknown>,
}

/// An archive that lies in the output.
struct Archive {
    artifact: Artifact,
    /// Of the chart, as resolved.
    version: String,
    url: String,
    provenance: Option<Artifact>,
}

/// Bundles every chart and returns the rows of charts.json, in the order of
/// components.yaml, with what the static search finds in each.
///
/// # Errors
/// One error that lists all charts that failed.
pub fn run(host: &dyn Host, job: &Job<'_>) -> Result<(Vec<ChartEntry>, Vec<Searched>), StepError> {
    let total = job.charts.len() as u64;
    let mut bundled: BTreeMap<usize, Bundled> = finished(host, job);
    let mut failures: Vec<(String, StepError)> = Vec::new();
    host.progress(bundled.len() as u64, total, "")?;
    let archives = archives(host, job, &bundled)?;
    for (at, archive) in archives {
        let chart = &job.charts[at];
        host.progress(bundled.len() as u64, total, &chart.name)?;
        match archive.and_then(|archive| complete(host, (at, &job.place(at)), chart, &archive)) {
            Ok(one) => drop(bundled.insert(at, one)),
            Err(StepError::Interrupted) => return Err(StepError::Interrupted),
            Err(error) => failures.push((named(chart), error)),
        }
    }
    // Those that are done count, whatever became of the others.
    host.progress(bundled.len() as u64, total, "")?;
    failures.extend(collisions(&bundled));
    if !failures.is_empty() {
        return Err(all_of(&failures, job.charts.len()));
    }
    for at in bundled.keys() {
        host.remove(&note(*at))?;
    }
    Ok(bundled.into_values().map(divided).unzip())
}

fn divided(Bundled { entry, unresolved }: Bundled) -> (ChartEntry, Searched) {
    let (name, version, images) = (entry.name.clone(), entry.version.clone(), entry.images.clone());
    (entry, Searched { name, version, images, unknown: unresolved })
}

fn key(at: usize, chart: &Chart) -> String {
    format!("{at} {}", chart.lock_key())
}

/// Where the row of a finished chart waits for the others.
fn note(at: usize) -> String {
    format!("{WORK}/entry-{at}.json")
}

fn finished(host: &dyn Host, job: &Job<'_>) -> BTreeMap<usize, Bundled> {
    let done: BTreeSet<String> = host.done().into_iter().collect();
    let marked = job.charts.iter().enumerate().filter(|(at, chart)| done.contains(&key(*at, chart)));
    let read = marked.filter_map(|(at, _)| {
        let bytes = host.read(&note(at), VALUES_LIMIT).ok()?;
        Some((at, serde_json::from_slice(&bytes).ok()?))
    });
    read.collect()
}

type Archives = BTreeMap<usize, Result<Archive, StepError>>;

/// The archives of all charts that are not finished.
fn archives(host: &dyn Host, job: &Job<'_>, done: &BTreeMap<usize, Bundled>) -> Result<Archives, StepError> {
    let open: Vec<(usize, &Chart)> = job.charts.iter().enumerate().filter(|(at, _)| !done.contains_key(at)).collect();
    let (local, remote): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, chart)| resolve::is_folder(&chart.repo));
    let mut archives = Archives::new();
    for (at, chart) in local {
        archives.insert(at, packaged(host, &job.place(at), chart));
    }
    let mut located = Vec::new();
    for (at, result) in resolve::all(host, &remote, job.lock)? {
        match result.and_then(|located| checked(&job.charts[at], located)) {
            Ok(one) => located.push((at, one)),
            Err(error) => drop(archives.insert(at, Err(error))),
        }
    }
    fetch_archives(host, job, &located, &mut archives)?;
    fetch_provenance(host, job, &located, &mut archives)?;
    Ok(archives)
}

/// Names and versions become file names.
fn checked(chart: &Chart, located: Located) -> Result<Located, StepError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if chart.name.chars().all(plain) && located.version.chars().all(plain) {
        return Ok(located);
    }
    Err(StepError::invalid_input("name", format!("{}: name or version cannot be a file name", named(chart))))
}

fn path_of(place: &str, name: &str, version: &str) -> String {
    format!("charts/{place}{name}-{version}.tgz")
}

/// In rounds: whoever failed at one address goes to its next.
fn fetch_archives(
    host: &dyn Host,
    job: &Job<'_>,
    located: &[(usize, Located)],
    archives: &mut Archives,
) -> Result<(), StepError> {
    let mut round = 0;
    loop {
        let open: Vec<&(usize, Located)> = located
            .iter()
            .filter(|(at, one)| !matches!(archives.get(at), Some(Ok(_))) && round < one.places.len())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let request = |(at, one): &&(usize, Located)| {
            let chart = &job.charts[*at];
            let path = path_of(&job.place(*at), &chart.name, &one.version);
            let mut request = request(&one.places[round], path, named(chart)).limit(ARCHIVE_LIMIT);
            request.sha256.clone_from(&one.digest);
            request
        };
        let requests: Vec<Request> = open.iter().map(request).collect();
        for ((at, one), result) in open.into_iter().zip(host.fetch(&requests)?) {
            let url = one.places[round].shown().to_owned();
            let archive = match result {
                Ok(artifact) => Ok(Archive { artifact, version: one.version.clone(), url, provenance: None }),
                Err(error) => Err(StepError::from(error).context(url)),
            };
            archives.insert(*at, archive);
        }
        round += 1;
    }
}

fn request(place: &ArchiveLocation, path: String, label: String) -> Request {
    match place {
        ArchiveLocation::Url(url) => Request::url(url, path, label),
        ArchiveLocation::Blob { reference, .. } => Request::oci_blob(reference, path, label),
    }
}

/// Provenance files are carried when there; whoever wants to check them can.
fn fetch_provenance(
    host: &dyn Host,
    job: &Job<'_>,
    located: &[(usize, Located)],
    archives: &mut Archives,
) -> Result<(), StepError> {
    let mut wanted = Vec::new();
    for (at, one) in located {
        let Some(Ok(archive)) = archives.get(at) else { continue };
        if let Some(place) = provenance_of(one, archive) {
            let path = format!("{}.prov", archive.artifact.path);
            let label = format!("provenance of {}", named(&job.charts[*at]));
            wanted.push((*at, one.is_locked, request(&place, path, label).limit(PROVENANCE_LIMIT)));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let requests: Vec<Request> = wanted.iter().map(|(.., request)| request.clone()).collect();
    for ((at, is_locked, request), result) in wanted.into_iter().zip(host.fetch(&requests)?) {
        match (result, archives.get_mut(&at)) {
            (Ok(artifact), Some(Ok(archive))) => archive.provenance = Some(artifact),
            // Without it the package would not be the same.
            (Err(error), Some(archive)) if is_locked => *archive = Err(StepError::from(error).context(request.label)),
            // Most charts have none, and some servers say so with a 403.
            (Err(error), _)
                if matches!(error.kind, FetchErrorKind::NotFound | FetchErrorKind::Auth | FetchErrorKind::Offline) => {}
            (Err(error), _) => host.warn(&format!("{} is left out: {}", request.label, error.message)),
            _ => {}
        }
    }
    Ok(())
}

/// Known, or looked for beside the archive: not for a locked chart, which goes
/// without what was not there when it was locked.
fn provenance_of(located: &Located, archive: &Archive) -> Option<ArchiveLocation> {
    let looked_for = !located.is_locked && !archive.url.starts_with("oci://");
    located.provenance.clone().or_else(|| looked_for.then(|| ArchiveLocation::Url(chart::provenance_of(&archive.url))))
}

/// A directory of the project as an archive.
fn packaged(host: &dyn Host, place: &str, chart: &Chart) -> Result<Archive, StepError> {
    let refuse = |why: String| StepError::invalid_input("local-chart", why).context(named(chart));
    let refused = |Refusal { why, hint }| refuse(why).hint(hint);
    let find = |path: &str| host.local(path);
    let folder = export_of(&chart.repo).map_or_else(|| chart.repo.clone(), |folder| format!("{EXPORTED}{folder}"));
    let bytes = local::package(&folder, &find).map_err(refused)?;
    let about = chart_loader::load(&*bytes).map_err(refused)?;
    let actual = about.version();
    let version = Version::parse(actual).ok_or_else(|| refuse(format!("its version `{actual}` is no version")))?;
    // A definition need not name the version of a local chart.
    let wanted = Some(&chart.version).filter(|wanted| !wanted.is_empty()).map(|wanted| Constraint::parse(wanted));
    if chart.version != actual && wanted.is_some_and(|wanted| !wanted.is_some_and(|wanted| wanted.fits(&version))) {
        return Err(refuse(format!("`{}` is version {actual}", chart.repo))
            .hint("correct `version` of the chart in components.yaml"));
    }
    let artifact = host.write(&path_of(place, &chart.name, actual), &bytes)?;
    Ok(Archive { artifact, version: actual.to_owned(), url: chart.repo.clone(), provenance: None })
}

/// Loads the archive, adds the values files, and marks the chart as done.
fn complete(
    host: &dyn Host,
    (at, place): (usize, &str),
    chart: &Chart,
    archive: &Archive,
) -> Result<Bundled, StepError> {
    let path = &archive.artifact.path;
    let about = match loaded(chart, archive, &host.read(path, ARCHIVE_LIMIT)?) {
        Ok(about) => about,
        Err(Refusal { why, hint }) => {
            host.remove(path)?;
            return Err(StepError::invalid_input("bad-chart", format!("{}: {why}", archive.url)).hint(hint));
        }
    };
    let mut values = Vec::new();
    let (mut overrides, mut firsts, mut has_others) = (Vec::new(), Vec::new(), false);
    for (i, file) in chart.values.iter().enumerate() {
        let (bytes, node, first) = values_file(host, file)?;
        let path = format!("values/{place}{}-{}-{i}", chart.name, archive.version);
        host.write(&path, &bytes)?;
        values.push(path);
        has_others |= first.is_some();
        firsts.push((file.clone(), first.unwrap_or_else(|| node.clone())));
        overrides.push((file.clone(), node));
    }
    let refuse =
        |Refusal { why, hint }| StepError::invalid_input("bad-chart", format!("{}: {why}", archive.url)).hint(hint);
    let merged = about.values_with(overrides.iter().map(|(_, node)| node));
    install::check(&about, Some(merged)).map_err(refuse)?;
    let mut found = chart_loader::images::of(&about, &overrides).map_err(refuse)?;
    if has_others {
        found = chart_loader::images::agreed(found, chart_loader::images::of(&about, &firsts).map_err(refuse)?);
    }
    let (images, unresolved) = images::divided(found);
    let artifact = if chart.deploy { None } else { Some(artifact(host, chart, archive)?) };
    let entry = ChartEntry {
        name: chart.name.clone(),
        version: archive.version.clone(),
        requested: chart.version.clone(),
        repo: chart.repo.clone(),
        url: archive.url.clone(),
        namespace: chart.namespace.clone().unwrap_or_else(|| chart.name.clone()),
        path: path.clone(),
        sha256: archive.artifact.digest.trim_start_matches("sha256:").to_owned(),
        provenance: archive.provenance.as_ref().map(|artifact| artifact.path.clone()),
        values,
        images,
        artifact,
    };
    let mut paths = vec![path.clone(), note(at)];
    paths.extend(entry.artifact.iter().flat_map(|made| [made.manifest.clone(), made.config.clone()]));
    paths.extend(entry.provenance.iter().cloned().chain(entry.values.iter().cloned()));
    let bundled = Bundled { entry, unresolved };
    host.write(&note(at), &serde_json::to_vec(&bundled)?)?;
    host.mark(&key(at, chart), &paths)?;
    Ok(bundled)
}

/// What a chart that is not installed is in a registry: its manifest and its
/// configuration.
fn artifact(host: &dyn Host, chart: &Chart, archive: &Archive) -> Result<ChartArtifact, StepError> {
    let refuse = |why: String| StepError::invalid_input("artifact", why).context(named(chart));
    let reference = artifact::reference(&chart.repo, &chart.name, &archive.version).ok_or_else(|| {
        refuse("no registry takes its name, so that it cannot be carried as an artifact".to_owned())
            .hint("use a copy of the chart with a name in lowercase, or remove `deploy: false`")
    })?;
    let metadata = artifact::metadata(&host.read(&archive.artifact.path, ARCHIVE_LIMIT)?).map_err(refuse)?;
    let content = |artifact: &Artifact| Content { digest: artifact.digest.clone(), size: artifact.size };
    let stem = format!("artifacts/{}-{}", chart.name, archive.version);
    let config = host.write(&format!("{stem}.config.json"), &artifact::config(&metadata))?;
    let manifest = artifact::manifest(
        &metadata,
        &content(&config),
        &content(&archive.artifact),
        archive.provenance.as_ref().map(content).as_ref(),
    );
    let manifest = host.write(&format!("{stem}.manifest.json"), &manifest)?;
    Ok(ChartArtifact { reference, manifest: manifest.path, config: config.path })
}

/// The chart in an archive, which must be the one that was asked for, and
/// install something.
fn loaded(chart: &Chart, archive: &Archive, bytes: &[u8]) -> Result<chart_loader::Chart, Refusal> {
    let about = chart_loader::load(bytes)?;
    let other = |why: String| Err(Refusal::new(why, "correct the chart in components.yaml"));
    // Of a definition, which calls a folder's chart as it likes.
    let is_named = !chart.version.is_empty();
    if is_named && about.name() != chart.name {
        return other(format!("the archive holds the chart `{}`, not `{}`", about.name(), chart.name));
    }
    let same = match (Version::parse(about.version()), Version::parse(&archive.version)) {
        (Some(a), Some(b)) => compare(&a, &b).is_eq(),
        _ => about.version() == archive.version,
    };
    if !same {
        return other(format!("the archive holds version {}, not {}", about.version(), archive.version));
    }
    install::check(&about, None)?;
    Ok(about)
}

/// A values file of the project, which must be what helm takes; and its first
/// document, where another Helm reads that alone.
pub(crate) fn values_file(host: &dyn Host, path: &str) -> Result<(Vec<u8>, Node, Option<Node>), StepError> {
    let refuse = |why: String| StepError::invalid_input("values", format!("the values file `{path}` {why}"));
    let tree = host.local(path).ok_or_else(|| refuse("is not there".to_owned()))?;
    let name = file_name(&*tree, path).map_err(|why| refuse(format!("cannot be read: {why}")))?;
    let name = name.ok_or_else(|| refuse("is not a file".to_owned()))?;
    let bytes = tree.read(&name, VALUES_LIMIT).map_err(|why| refuse(format!("cannot be read: {why}")))?;
    let mend = "write `key: value` lines, as helm wants them";
    let read = chart_loader::load::readings(&bytes).map_err(|why| refuse(why).hint(mend))?;
    let (later, first) = chart_loader::load::readings(&filled_in_later(&bytes)).unwrap_or(read);
    Ok((bytes, later, first))
}

/// Zarf replaces its variables at the deployment. Without quotes they are comments
/// until then, which would read as if nothing stood there.
fn filled_in_later(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("###ZARF_");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("###") {
            Some((name, rest)) if !name.contains(char::is_whitespace) => shown.extend(["$(ZARF_", name, ")", rest]),
            _ => shown.extend(["###ZARF_", part]),
        }
    }
    shown.into_bytes()
}

/// The host hands a single file in as a tree that holds it alone.
pub(crate) fn file_name(tree: &dyn Files, path: &str) -> Result<Option<String>, String> {
    let listed = tree.list()?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let named = listed.iter().find(|file| file.path == name).or_else(|| listed.first().filter(|_| listed.len() == 1));
    Ok(named.map(|file| file.path.clone()))
}

/// Two charts of one name and version would share their files.
fn collisions(bundled: &BTreeMap<usize, Bundled>) -> Vec<(String, StepError)> {
    let mut seen: BTreeMap<&str, &ChartEntry> = BTreeMap::new();
    let mut collisions = Vec::new();
    for Bundled { entry, .. } in bundled.values() {
        if let Some(other) = seen.insert(&entry.path, entry) {
            let message = format!("it is listed twice, from {} and from {}", other.repo, entry.repo);
            collisions.push((
                format!("chart {} {}", entry.name, entry.version),
                StepError::invalid_input("duplicate", message),
            ));
        }
    }
    collisions
}

/// One error for all that failed: it may be repeated only if each of them may.
fn all_of(failures: &[(String, StepError)], total: usize) -> StepError {
    let transient = failures.iter().all(|(_, error)| matches!(error, StepError::Transient(_)));
    let decisive = failures.iter().find(|(_, error)| !matches!(error, StepError::Transient(_))).or(failures.first());
    let failure = decisive.and_then(|(_, error)| error.failure()).cloned();
    let message = match failures {
        [(chart, error)] => format!("1 of {total} charts failed: {chart}: {}", why(chart, error)),
        _ => {
            let rows = failures.iter().map(|(chart, error)| row(chart, error));
            format!("{} of {total} charts failed\n{}", failures.len(), rows.collect::<Vec<_>>().join("\n"))
        }
    };
    let code = failure.as_ref().map_or("charts", |failure| &failure.code).to_owned();
    let error = match decisive.map(|(_, error)| error) {
        _ if transient => StepError::transient(&code, message),
        Some(StepError::InvalidInput(_)) => StepError::invalid_input(&code, message),
        Some(StepError::MissingInput(_)) => StepError::missing_input(&code, message),
        Some(StepError::Denied(_)) => StepError::denied(&code, message),
        _ => StepError::other(&code, message),
    };
    let own = failure.and_then(|failure| failure.hint).filter(|_| failures.len() == 1 || transient);
    match own {
        Some(hint) => error.hint(hint),
        None if transient => error,
        None => error.hint(MEND),
    }
}

const MEND: &str = "correct the chart in components.yaml, or what lies there; the charts that did not fail are kept";

/// What failed and why, and below it what helps, as the host reads it.
fn row(chart: &str, error: &StepError) -> String {
    let row = format!("{chart}: {}", why(chart, error));
    match error.failure().and_then(|failure| failure.hint.as_deref()) {
        Some(hint) => format!("{row}\n  {}", in_one_line(hint)),
        None => row,
    }
}

/// Without the chart, which is named already.
fn why(chart: &str, error: &StepError) -> String {
    let Some(failure) = error.failure() else { return "interrupted".to_owned() };
    let why = failure.message.strip_prefix(chart).unwrap_or(&failure.message);
    in_one_line(why.trim_start_matches([':', ' ']))
}

#[cfg(test)]
mod tests;
