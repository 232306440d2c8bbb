//! What a configuration needs, as far as airgap.lock knows it, and what of it
//! is there already. No I/O: the store is asked through [`Held`].
//!
//! The plan of a build, the check of free space, `--locked`, `--offline` and
//! `gc` all look at the same list, so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::chart::provenance_of;
use model::definition::sources::IN_GIT;
use model::{Chart, Repository, ResolvedComponents, ResolvedFile};
use serde::Serialize;
use url::Url;

use crate::steps::images::distinct;
use base::digest::Digest;
use base::error::{Class, Error, ItemFailure};
use base::reference::Reference;
use config::airgap_lock::{AirgapLock, LockChange, LockedChart, LockedImage};
use config::core_plugins::CHARTS;
use config::local::is_local;
use config::lock_doubts::listed;
use config::pipeline::{HostStep, Runner, StepSpec};
use config::repository::is_commit;
use fetch::shared_lock::UNLOCK;

/// What kind of thing is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container image, for one platform.
    Image,
    /// A file of a URL.
    File,
    /// A Helm chart of a repository or a registry.
    Chart,
    /// A git repository.
    Repository,
    /// A skeleton package that the definition imports.
    Skeleton,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::File => "file",
            Self::Chart => "chart",
            Self::Repository => "repository",
            Self::Skeleton => "skeleton",
        })
    }
}

/// What a step fetches, by who does its work.
pub fn kind_of(spec: &StepSpec) -> Option<Kind> {
    match &spec.run {
        Runner::Host(HostStep::Images) => Some(Kind::Image),
        Runner::Host(HostStep::Files) => Some(Kind::File),
        Runner::Host(HostStep::Repos) => Some(Kind::Repository),
        Runner::Host(HostStep::Config) => None,
        Runner::Plugin(name) => (name == CHARTS).then_some(Kind::Chart),
    }
}

/// One image, file, chart or repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// What kind of thing it is.
    pub kind: Kind,
    /// As the user wrote it: a reference, a URL, a name.
    pub item: String,
    /// Its key in airgap.lock.
    #[serde(skip)]
    pub key: String,
    /// The registry or server that it comes from.
    pub origin: String,
    /// What it is asked for by: a reference, or a URL.
    #[serde(skip)]
    pub address: String,
    /// Whether airgap.lock holds it.
    pub is_locked: bool,
    /// Whether it is known what it is made of: by airgap.lock, or by the
    /// digest or commit that it is pinned at.
    pub is_resolved: bool,
    /// Why the entry of the lock does not answer the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// What it is made of; empty for a repository.
    pub parts: Vec<Part>,
    /// Requests beside one for each part: what resolves it, a checksum file.
    #[serde(skip)]
    pub requests: u64,
    /// Of a repository: whether its clone holds the commit.
    #[serde(skip)]
    pub has_clone: bool,
}

/// One blob of something that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Of its content.
    pub digest: Digest,
    /// Bytes, where they are known.
    pub size: Option<u64>,
    /// Whether the store holds it whole.
    pub is_held: bool,
    /// Bytes of an unfinished download of it.
    pub partial: u64,
}

/// What lies on the disk.
pub trait Held {
    /// Bytes of a blob that is there whole.
    fn blob(&self, digest: &Digest) -> Option<u64>;
    /// Bytes of an unfinished download.
    fn partial(&self, digest: &Digest) -> u64;
    /// Everything that an image is made of, with its bytes.
    fn image(&self, written: &str, locked: &LockedImage) -> Vec<(Digest, u64)>;
    /// What an image is that is pinned at a digest, where its manifests are
    /// there.
    fn pinned(&self, written: &str, architecture: &str) -> Option<LockedImage>;
    /// The provenance file of a chart in a registry, where the chart's manifest
    /// is there and names one.
    fn provenance(&self, manifest: &Digest) -> Option<(Digest, u64)>;
    /// What a skeleton is made of beside its manifest, where that is there.
    fn skeleton(&self, manifest: &Digest) -> Vec<(Digest, u64)>;
    /// Whether the clone of this name holds these objects.
    fn clone_holds(&self, repository: &str, objects: &[&str]) -> bool;
}

/// Everything that the components name, in their order: images, files,
/// repositories, charts. Local charts need nothing.
pub fn needs(components: &ResolvedComponents, lock: &AirgapLock, held: &dyn Held) -> Vec<Need> {
    let images = distinct(&components.images);
    let images = images.into_iter().map(|image| image_need(image, &components.architecture, lock, held));
    let fetched = components.files.iter().filter(|file| !is_local(&file.url));
    let files = fetched.map(|file| file_need(file, lock, held));
    let repositories = components.repositories.iter().map(|repository| repository_need(repository, lock, held));
    let is_folder = |chart: &&Chart| is_local(&chart.repo) || chart.repo.starts_with(IN_GIT);
    let remote = components.charts.iter().filter(|chart| !is_folder(chart));
    let charts = remote.map(|chart| chart_need(chart, lock, held));
    images.chain(files).chain(repositories).chain(charts).collect()
}

/// What the definition imports from registries, by their URLs.
pub fn skeletons(urls: &[&str], lock: &AirgapLock, held: &dyn Held) -> Vec<Need> {
    urls.iter().map(|url| skeleton_need(url, lock, held)).collect()
}

fn skeleton_need(url: &str, lock: &AirgapLock, held: &dyn Held) -> Need {
    let locked = lock.files.get(url).filter(|locked| locked.build.is_some());
    let parts = locked.map(|locked| held.skeleton(&locked.sha256)).unwrap_or_default();
    let blobs = locked.map(|locked| (locked.sha256, locked.size)).into_iter().chain(parts);
    Need {
        kind: Kind::Skeleton,
        item: url.to_owned(),
        key: url.to_owned(),
        origin: host(url),
        address: url.to_owned(),
        is_locked: locked.is_some(),
        is_resolved: locked.is_some(),
        differs: None,
        parts: blobs.map(|(digest, size)| part(digest, Some(size), held)).collect(),
        // The index, the manifest in it, and the definition.
        requests: if locked.is_some() { 0 } else { 3 },
        has_clone: false,
    }
}

fn part(digest: Digest, size: Option<u64>, held: &dyn Held) -> Part {
    let there = held.blob(&digest);
    let partial = if there.is_some() { 0 } else { held.partial(&digest) };
    Part { digest, size: size.or(there), is_held: there.is_some(), partial }
}

fn image_need(image: &str, architecture: &str, lock: &AirgapLock, held: &dyn Held) -> Need {
    let key = AirgapLock::image_key(image, &format!("linux/{architecture}"));
    let locked = lock.images.get(&key);
    let known = locked.cloned().or_else(|| held.pinned(image, architecture));
    let parts = known.as_ref().map(|known| held.image(image, known)).unwrap_or_default();
    let reference = Reference::parse(image).ok();
    let differs = reference.as_ref().and_then(Reference::digest).zip(locked).and_then(|(pinned, locked)| {
        let is_it = locked.manifest == pinned || locked.index == Some(pinned);
        (!is_it)
            .then(|| format!("it is pinned at {pinned}, airgap.lock holds {}", locked.index.unwrap_or(locked.manifest)))
    });
    Need {
        kind: Kind::Image,
        item: image.to_owned(),
        key,
        origin: reference.map_or_else(String::new, |reference| reference.registry().to_owned()),
        address: image.to_owned(),
        is_locked: locked.is_some(),
        is_resolved: known.is_some(),
        differs,
        parts: parts.into_iter().map(|(digest, size)| part(digest, Some(size), held)).collect(),
        // The reference, and the manifest that its index chooses.
        requests: if known.is_some() { 0 } else { 2 },
        has_clone: false,
    }
}

fn file_need(file: &ResolvedFile, lock: &AirgapLock, held: &dyn Held) -> Need {
    let locked = lock.files.get(&file.url);
    Need {
        kind: Kind::File,
        item: file.url.clone(),
        key: file.url.clone(),
        origin: host(&file.url),
        address: file.url.clone(),
        is_locked: locked.is_some(),
        is_resolved: locked.is_some(),
        differs: None,
        parts: locked.map(|locked| part(locked.sha256, Some(locked.size), held)).into_iter().collect(),
        requests: u64::from(locked.is_none()) + u64::from(file.checksum_url.is_some()),
        has_clone: false,
    }
}

fn chart_need(chart: &Chart, lock: &AirgapLock, held: &dyn Held) -> Need {
    let key = AirgapLock::chart_key(&chart.repo, &chart.name, &chart.version);
    let locked = lock.charts.get(&key);
    let of_plugin = |locked: &LockedChart, address: &str| lock.file(&locked.asker(), address).cloned();
    let archive = |locked: &LockedChart| {
        let file = of_plugin(locked, &locked.address()).filter(|file| file.sha256 == locked.digest);
        part(locked.digest, file.map(|file| file.size), held)
    };
    let beside = |locked: &LockedChart| match of_plugin(locked, &locked.address())
        .filter(|_| locked.url.starts_with("oci://"))
    {
        Some(manifest) => {
            let provenance = held.provenance(&manifest.sha256);
            std::iter::once((manifest.sha256, manifest.size)).chain(provenance).collect()
        }
        None => {
            let file = of_plugin(locked, &provenance_of(&locked.url));
            file.map(|file| (file.sha256, file.size)).into_iter().collect::<Vec<_>>()
        }
    };
    let beside =
        locked.map(beside).unwrap_or_default().into_iter().map(|(digest, size)| part(digest, Some(size), held));
    Need {
        kind: Kind::Chart,
        item: format!("{} {} ({})", chart.name, chart.version, chart.repo),
        key,
        origin: host(&chart.repo),
        address: chart.repo.clone(),
        is_locked: locked.is_some(),
        is_resolved: locked.is_some(),
        differs: None,
        parts: locked.map(archive).into_iter().chain(beside).collect(),
        // The index or the tags, and the archive.
        requests: if locked.is_some() { 0 } else { 2 },
        has_clone: false,
    }
}

fn repository_need(repository: &Repository, lock: &AirgapLock, held: &dyn Held) -> Need {
    let commit = repository.commit.as_deref().filter(|commit| !commit.is_empty() && *commit != "HEAD");
    let reference = repository.reference.as_deref().filter(|reference| !reference.is_empty());
    let named = if reference.is_none() { commit } else { reference.filter(|reference| is_commit(reference)) };
    let key = AirgapLock::repository_key(repository);
    let locked = lock.repositories.get(&key);
    let differs = named.or(commit).zip(locked).and_then(|(pinned, locked)| {
        let differs = pinned != locked.commit;
        differs.then(|| format!("it is pinned at {pinned}, airgap.lock holds {}", locked.commit))
    });
    let of_lock = || locked.map(|locked| std::iter::once(&*locked.commit).chain(locked.tag.as_deref()).collect());
    let objects: Option<Vec<&str>> = named.map(|commit| vec![commit]).or_else(of_lock);
    Need {
        kind: Kind::Repository,
        item: format!("{} ({})", repository.name, repository.url),
        key,
        origin: host(&repository.url),
        address: repository.url.clone(),
        is_locked: locked.is_some(),
        is_resolved: objects.is_some(),
        differs,
        parts: Vec::new(),
        requests: 1,
        has_clone: objects.is_some_and(|objects| held.clone_holds(&repository.name, &objects)),
    }
}

/// The server of a URL, with its port where it has one.
fn host(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else { return String::new() };
    match (parsed.host_str(), parsed.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "local".to_owned(),
    }
}

impl Need {
    /// Whether a build without a network could use it.
    pub(crate) fn is_available(&self) -> bool {
        let there = match self.kind {
            Kind::Repository => self.has_clone,
            _ => self.parts.iter().all(|part| part.is_held),
        };
        self.is_resolved && self.differs.is_none() && there
    }

    /// Whether this entry, which nobody can vouch for, is all that airgap.lock
    /// says of it.
    fn is_doubted_as(&self, entry: &LockChange) -> bool {
        entry.by.is_none() && entry.kind == self.kind.to_string() && entry.key == self.key
    }

    /// Whether airgap.lock answers for it.
    fn is_answered(&self) -> bool {
        self.is_locked && self.differs.is_none()
    }
}

/// What is needed, added up. A blob that several need counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Blobs that the store lacks.
    pub missing: u64,
    /// Bytes of those, without what is there of them; of those whose size is
    /// known.
    pub bytes_to_fetch: u64,
    /// Bytes of everything that goes into the package, as far as known.
    pub bytes_needed: u64,
    /// Things of which airgap.lock does not know the size: what is not
    /// resolved yet, and repositories that are not cloned.
    pub unknown: u64,
}

impl Total {
    /// The sum over `needs`, each blob once.
    pub fn of<'a>(needs: impl IntoIterator<Item = &'a Need>) -> Self {
        let mut total = Self::default();
        let mut seen = BTreeSet::new();
        for need in needs {
            let is_unknown = match need.kind {
                Kind::Repository => !need.has_clone,
                _ => !need.is_resolved,
            };
            total.unknown += u64::from(is_unknown);
            for part in need.parts.iter().filter(|part| seen.insert(part.digest)) {
                total.add(part);
            }
        }
        total
    }

    fn add(&mut self, part: &Part) {
        let size = part.size.unwrap_or(0);
        self.unknown += u64::from(part.size.is_none());
        self.bytes_needed = self.bytes_needed.saturating_add(size);
        if !part.is_held {
            self.missing += 1;
            self.bytes_to_fetch = self.bytes_to_fetch.saturating_add(size.saturating_sub(part.partial));
        }
    }
}

/// Requests that one registry or server will get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// At the least: tokens, redirects and repetitions come on top.
    pub known: u64,
    /// Things whose requests can only be counted once they are resolved.
    pub unresolved: u64,
}

/// Requests by who is `asked` for something. A blob that several images of a
/// registry share is asked for once.
pub fn requests<'a>(
    needs: impl IntoIterator<Item = &'a Need>,
    asked: impl Fn(&Need) -> String,
) -> BTreeMap<String, Requests> {
    let mut by_origin: BTreeMap<String, Requests> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for need in needs.into_iter().filter(|need| !need.is_available()) {
        let requests = by_origin.entry(asked(need)).or_default();
        let missing = need.parts.iter().filter(|part| !part.is_held && seen.insert(part.digest)).count();
        requests.known += missing as u64 + need.requests;
        requests.unresolved += u64::from(!need.is_resolved || need.kind == Kind::Repository);
    }
    by_origin.retain(|_, requests| *requests != Requests::default());
    by_origin
}

/// Entries of airgap.lock that are of no use.
#[derive(Clone, Debug, Default)]
pub struct Useless {
    /// What nothing names.
    pub unnamed: Vec<LockChange>,
    /// What nobody can vouch for.
    pub doubted: Vec<LockChange>,
}

impl Useless {
    /// The entry that nobody can vouch for and that is all there is of it.
    fn doubt_of(&self, need: &Need) -> Option<&LockChange> {
        self.doubted.iter().find(|entry| need.is_doubted_as(entry))
    }

    /// What is doubted and named: what nothing names goes anyway.
    fn doubted(&self) -> impl Iterator<Item = &LockChange> {
        self.doubted.iter().filter(|entry| !self.unnamed.iter().any(|unnamed| unnamed.is_of(entry)))
    }
}

/// Refuses what a build would change in airgap.lock, all of it at once: what
/// the lock does not hold, or contradicts, and what it holds for nobody, or
/// without saying who saw it.
pub fn drift(needs: &[Need], useless: &Useless) -> Option<Error> {
    let row = |need: &Need| {
        let message = match (&need.differs, useless.doubt_of(need)) {
            (Some(why), _) => why.clone(),
            (None, Some(doubt)) => doubt.why.clone().unwrap_or_default(),
            (None, None) => format!("airgap.lock does not hold this {}", need.kind),
        };
        Error::new(Class::Changed, message).into_item(&need.item, &need.origin)
    };
    let entry_row = |entry: &LockChange| {
        Error::new(Class::Changed, entry.why.clone().unwrap_or_default()).into_item(&entry.key, "")
    };
    let unnamed = useless.unnamed.iter().map(entry_row);
    let is_told = |entry: &&LockChange| needs.iter().any(|need| need.is_doubted_as(entry));
    let doubted = useless.doubted().filter(|entry| !is_told(entry)).map(entry_row);
    let rows = needs.iter().filter(|need| !need.is_answered()).map(row);
    let items: Vec<ItemFailure> = rows.chain(unnamed).chain(doubted).collect();
    (!items.is_empty()).then(|| {
        let message = format!("config/airgap.lock is not what the configuration names: {} differ", items.len());
        Error::new(Class::Changed, message).with_items(items).hint(UNLOCK)
    })
}

/// Refuses what a build without a network would lack, all of it at once.
pub(crate) fn missing_offline(needs: &[Need], useless: &Useless) -> Option<Error> {
    let missing = needs.iter().filter(|need| !need.is_available());
    let (doubted, missing): (Vec<&Need>, Vec<&Need>) =
        missing.partition(|need| !need.is_resolved && useless.doubt_of(need).is_some());
    let rows = missing.iter().map(|need| missing_row(need));
    let items: Vec<ItemFailure> = rows.chain(doubted_row(&doubted, useless)).collect();
    let count = missing.len() + doubted.len();
    (!items.is_empty()).then(|| {
        Error::new(Class::NotFound, format!("--offline: {count} of what the package needs is not there"))
            .with_items(items)
            .hint(match doubted.len() {
                0 => "run the build once without --offline, or bring build/store and the clones over from where it ran",
                _ => {
                    "run the build once without --offline: it fetches these again, compares them with what \
                     config/airgap.lock says, and enters them with the build that saw them; commit the lock that it \
                     leaves, and --offline needs no network from then on"
                }
            })
    })
}

/// One cause, whatever the number of entries.
fn doubted_row(doubted: &[&Need], useless: &Useless) -> Option<ItemFailure> {
    let first = useless.doubt_of(doubted.first()?)?;
    let names = listed(doubted.iter().map(|need| need.item.clone()));
    let message = format!(
        "it can not vouch for {} of its entries ({names}): {}",
        doubted.len(),
        first.why.clone().unwrap_or_default()
    );
    Some(Error::new(Class::NotFound, message).into_item("config/airgap.lock", ""))
}

fn missing_row(need: &Need) -> ItemFailure {
    let lacking = need.parts.iter().filter(|part| !part.is_held).count();
    let message = match (need.kind, need.is_resolved, &need.differs) {
        (_, true, Some(why)) => why.clone(),
        (Kind::Repository, true, None) => "build/ has no clone of it that holds its commit".to_owned(),
        (Kind::Image, true, None) => format!("{lacking} of its {} blobs are not in the store", need.parts.len()),
        (_, true, None) => "it is not in the store".to_owned(),
        (Kind::Image, false, _) if need.item.contains('@') => "its manifest is not in the store".to_owned(),
        (_, false, _) => "airgap.lock does not say what it is".to_owned(),
    };
    Error::new(Class::NotFound, message).into_item(&need.item, &need.origin)
}

#[cfg(test)]
mod tests {
    use model::FileKind;

    use super::*;
    use config::airgap_lock::{LockedBlob, LockedChart, LockedFile};

    #[derive(Default)]
    struct Disk {
        blobs: BTreeMap<Digest, u64>,
        partials: BTreeMap<Digest, u64>,
        clones: BTreeSet<String>,
        /// Pinned images whose manifests are there.
        pinned: BTreeMap<String, LockedImage>,
    }

    impl Held for Disk {
        fn blob(&self, digest: &Digest) -> Option<u64> {
            self.blobs.get(digest).copied()
        }
        fn partial(&self, digest: &Digest) -> u64 {
            self.partials.get(digest).copied().unwrap_or(0)
        }
        fn skeleton(&self, _: &Digest) -> Vec<(Digest, u64)> {
            vec![(digest("zarf.yaml"), 9)]
        }
        fn image(&self, _: &str, locked: &LockedImage) -> Vec<(Digest, u64)> {
            let blobs = std::iter::once(&locked.config).chain(&locked.layers);
            let blobs = blobs.map(|blob| (blob.digest, blob.size));
            std::iter::once((locked.manifest, locked.size)).chain(blobs).collect()
        }
        fn pinned(&self, written: &str, _: &str) -> Option<LockedImage> {
            self.pinned.get(written).cloned()
        }
        fn provenance(&self, manifest: &Digest) -> Option<(Digest, u64)> {
            self.blobs.contains_key(manifest).then(|| (digest("prov"), 3))
        }
        fn clone_holds(&self, repository: &str, objects: &[&str]) -> bool {
            objects.iter().all(|object| self.clones.contains(&format!("{repository} {object}")))
        }
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn image(manifest: &str, layers: &[(&str, u64)]) -> LockedImage {
        let blob = |(text, size): &(&str, u64)| LockedBlob { digest: digest(text), size: *size };
        LockedImage {
            index: Some(digest("index")),
            manifest: digest(manifest),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size: 10,
            config: blob(&("config", 5)),
            layers: layers.iter().map(blob).collect(),
            referrers: None,
            found_in: None,
            build: None,
        }
    }

    fn file(name: &str, url: &str) -> ResolvedFile {
        ResolvedFile {
            kind: FileKind::Tool,
            name: name.into(),
            version: "1".into(),
            url: url.into(),
            checksum_url: None,
            sha256: None,
            extract: false,
            binary: None,
        }
    }

    fn chart(repo: &str) -> Chart {
        let (name, version) = ("web".into(), "~1.0".into());
        Chart { name, repo: repo.into(), version, namespace: None, values: Vec::new(), deploy: true }
    }

    /// Two images that share a layer, a file, a remote and a local chart, a
    /// repository.
    fn components() -> ResolvedComponents {
        ResolvedComponents {
            architecture: "amd64".into(),
            images: vec!["nginx:1.27".into(), "quay.io/a/b:2".into()],
            files: vec![file("yq", "https://files.example/yq")],
            repositories: vec![Repository {
                name: "base".into(),
                url: "https://git.example/base.git".into(),
                reference: Some("v1".into()),
                commit: None,
            }],
            charts: vec![chart("https://charts.example:8443/x"), chart("./charts/web")],
            ..ResolvedComponents::default()
        }
    }

    fn lock() -> AirgapLock {
        let url = "https://charts.example:8443/x/web-1.0.3.tgz".to_owned();
        let of_charts =
            [(url.clone(), LockedFile { sha256: digest("chart"), size: 7, checksum: None, build: None })].into();
        AirgapLock {
            images: [
                ("nginx:1.27 linux/amd64".into(), image("m1", &[("base", 100), ("one", 50)])),
                ("quay.io/a/b:2 linux/amd64".into(), image("m2", &[("base", 100), ("two", 70)])),
            ]
            .into(),
            files: [(
                "https://files.example/yq".into(),
                LockedFile { sha256: digest("yq"), size: 30, checksum: None, build: None },
            )]
            .into(),
            core: [("charts".into(), of_charts)].into(),
            charts: [(
                "https://charts.example:8443/x web ~1.0".into(),
                LockedChart { version: "1.0.3".into(), url, digest: digest("chart"), by: None, build: None },
            )]
            .into(),
            ..AirgapLock::default()
        }
    }

    #[test]
    fn blobs_count_once_and_what_is_there_is_not_fetched() {
        let mut disk = Disk::default();
        disk.blobs.insert(digest("one"), 50);
        disk.partials.insert(digest("two"), 20);
        let all = needs(&components(), &lock(), &disk);
        assert_eq!(all.len(), 5, "the local chart needs nothing");
        let total = Total::of(&all);
        // m1, m2, config, base, two, yq, the chart.
        assert_eq!(total.missing, 7);
        assert_eq!(total.bytes_to_fetch, 10 + 10 + 5 + 100 + 50 + 30 + 7);
        assert_eq!(total.bytes_needed, 10 + 10 + 5 + 100 + 50 + 70 + 30 + 7);
        assert_eq!(total.unknown, 1, "the repository");
    }

    #[test]
    fn requests_go_to_where_the_blobs_are() {
        let all = needs(&components(), &lock(), &Disk::default());
        let requests = requests(&all, |need| need.origin.clone());
        let known: Vec<(&str, u64, u64)> =
            requests.iter().map(|(origin, requests)| (origin.as_str(), requests.known, requests.unresolved)).collect();
        // The shared layer and config are asked for at the first registry.
        let expected = [
            ("charts.example:8443", 1, 0),
            ("docker.io", 4, 0),
            ("files.example", 1, 0),
            ("git.example", 1, 1),
            ("quay.io", 2, 0),
        ];
        assert_eq!(known, expected);
    }

    #[test]
    fn drift_names_everything_that_the_lock_lacks_or_that_differs() {
        let mut components = components();
        components.images.push("new:1".into());
        components.images.push(format!("nginx@{}", digest("else")));
        let mut lock = lock();
        lock.images.insert(format!("nginx@{} linux/amd64", digest("else")), image("m1", &[]));
        let error = drift(&needs(&components, &lock, &Disk::default()), &Useless::default()).unwrap();
        let named: Vec<&str> = error.items().iter().map(|item| item.item.as_str()).collect();
        assert_eq!(named.len(), 3, "{named:?}");
        assert_eq!(named[0], "new:1");
        assert!(named[1].starts_with("nginx@sha256:") && error.items()[1].message.contains("pinned at"));
        assert_eq!(named[2], "base (https://git.example/base.git)");
        assert_eq!(error.class(), Class::Changed);
        components.images.truncate(2);
        components.repositories.clear();
        assert!(drift(&needs(&components, &lock, &Disk::default()), &Useless::default()).is_none());
    }

    #[test]
    fn a_pinned_commit_that_the_lock_contradicts_is_drift() {
        let mut components = components();
        components.images.clear();
        components.repositories[0].commit = Some("a".repeat(40));
        let mut lock = lock();
        let entry = |commit: String| serde_json::from_value(serde_json::json!({ "commit": commit })).unwrap();
        lock.repositories.insert("https://git.example/base.git v1".into(), entry("b".repeat(40)));
        assert_eq!(drift(&needs(&components, &lock, &Disk::default()), &Useless::default()).unwrap().items().len(), 1);
        lock.repositories.insert("https://git.example/base.git v1".into(), entry("a".repeat(40)));
        assert!(drift(&needs(&components, &lock, &Disk::default()), &Useless::default()).is_none());
    }

    #[test]
    fn entries_that_nobody_vouches_for_are_drift_each_told_once() {
        let mut lock = lock();
        let doubted = AirgapLock { files: std::mem::take(&mut lock.files), ..AirgapLock::default() };
        let why = |entry| LockChange { why: Some("nobody saw it".into()), ..entry };
        let mut doubted: Vec<LockChange> = doubted.entries().into_iter().map(why).collect();
        doubted.push(LockChange { by: Some(entitlement::Asker::Pinned("x".into())), ..doubted[0].clone() });
        let mut components = components();
        components.repositories.clear();
        let all = needs(&components, &lock, &Disk::default());
        let useless = Useless { doubted, ..Useless::default() };
        let error = drift(&all, &useless).unwrap();
        let rows: Vec<_> = error.items().iter().map(|row| (row.item.as_str(), row.message.as_str())).collect();
        assert_eq!(rows, [("https://files.example/yq", "nobody saw it"); 2]);

        // What nothing names goes: that is the row of it.
        let unnamed = vec![LockChange { why: Some("unnamed".into()), ..useless.doubted[1].clone() }];
        let error = drift(&all, &Useless { unnamed, ..useless.clone() }).unwrap();
        let messages: Vec<&str> = error.items().iter().map(|row| row.message.as_str()).collect();
        assert_eq!(messages, ["nobody saw it", "unnamed"]);
    }

    /// One build with a network mends all of it.
    #[test]
    fn offline_tells_what_nobody_vouches_for_in_one_row() {
        let mut components = components();
        let more = (0..20).map(|number| file("yq", &format!("https://files.example/{number}")));
        components.files.extend(more);
        components.images.clear();
        components.charts.clear();
        let doubted: Vec<LockChange> = components
            .files
            .iter()
            .map(|file| LockChange {
                kind: "file",
                key: file.url.clone(),
                by: None,
                old: None,
                new: Some("x".into()),
                why: Some("nobody saw it".into()),
            })
            .collect();
        let all = needs(&components, &AirgapLock::default(), &Disk::default());
        let error = missing_offline(&all, &Useless { doubted, ..Useless::default() }).unwrap();
        let items: Vec<&str> = error.items().iter().map(|row| row.item.as_str()).collect();
        assert_eq!(items, ["base (https://git.example/base.git)", "config/airgap.lock"]);
        let row = &error.items()[1].message;
        assert!(
            row.contains("21 of its entries") && row.contains("and 16 more") && row.contains("nobody saw"),
            "{row}"
        );
        assert!(error.message().contains("22 of what") && error.hint_text().unwrap().contains("once without"));
    }

    #[test]
    fn entries_that_nothing_names_are_drift_too() {
        let entry = LockChange {
            kind: "image",
            key: "old:1 linux/amd64".into(),
            by: None,
            old: Some("x".into()),
            new: None,
            why: Some("nothing names this image any more".into()),
        };
        let error = drift(&[], &Useless { unnamed: vec![entry.clone()], ..Useless::default() }).unwrap();
        assert_eq!((error.class(), error.items()[0].item.as_str()), (Class::Changed, "old:1 linux/amd64"));
        assert!(error.items()[0].message.contains("nothing names this image"), "{error:?}");
    }

    /// Nothing is left to ask about them, but the lock does not hold them.
    #[test]
    fn what_is_pinned_to_what_is_there_can_be_built_but_is_not_locked() {
        let mut components = components();
        let pinned = format!("nginx@{}", digest("m1"));
        components.images = vec![pinned.clone()];
        components.files.clear();
        components.charts.clear();
        let (commit, other) = ("a".repeat(40), "b".repeat(40));
        components.repositories[0] = Repository {
            name: "base".into(),
            url: "https://git.example/base.git".into(),
            reference: None,
            commit: Some(commit.clone()),
        };
        let mut disk = Disk::default();
        disk.pinned.insert(pinned, image("m1", &[("one", 50)]));
        for (text, size) in [("m1", 10), ("config", 5), ("one", 50)] {
            disk.blobs.insert(digest(text), size);
        }
        disk.clones.insert(format!("base {commit}"));
        let lock = AirgapLock::default();
        let all = needs(&components, &lock, &disk);
        assert!(missing_offline(&all, &Useless::default()).is_none(), "{all:#?}");
        assert_eq!(drift(&all, &Useless::default()).unwrap().items().len(), 2);
        assert_eq!(Total::of(&all).unknown, 0);

        disk.blobs.remove(&digest("one"));
        disk.clones = [format!("base {other}")].into();
        let missing = missing_offline(&needs(&components, &lock, &disk), &Useless::default()).unwrap();
        let messages: Vec<&str> = missing.items().iter().map(|item| item.message.as_str()).collect();
        let expected = ["1 of its 3 blobs are not in the store", "build/ has no clone of it that holds its commit"];
        assert_eq!(messages, expected);
    }

    /// The package holds it, so a build without it would be another one.
    #[test]
    fn a_locked_provenance_file_is_needed_with_its_chart() {
        let mut lock = lock();
        let provenance = "https://charts.example:8443/x/web-1.0.3.tgz.prov".to_owned();
        lock.core
            .entry("charts".into())
            .or_default()
            .insert(provenance, LockedFile { sha256: digest("prov"), size: 3, checksum: None, build: None });
        let mut disk = Disk::default();
        disk.blobs.insert(digest("chart"), 7);
        let all = needs(&components(), &lock, &disk);
        let chart = all.iter().find(|need| need.kind == Kind::Chart).unwrap();
        assert_eq!(chart.parts.len(), 2);
        assert!(!chart.is_available() && chart.is_answered());

        // Of one in a registry the manifest says so.
        let url = "oci://charts.example:8443/x/web:1.0.3".to_owned();
        lock.core
            .entry("charts".into())
            .or_default()
            .insert(url.clone(), LockedFile { sha256: digest("manifest"), size: 9, checksum: None, build: None });
        lock.charts.values_mut().for_each(|chart| chart.url.clone_from(&url));
        let parts = |disk: &Disk| {
            let all = needs(&components(), &lock, disk);
            all.iter().find(|need| need.kind == Kind::Chart).unwrap().parts.clone()
        };
        assert_eq!(parts(&disk).iter().map(|part| part.is_held).collect::<Vec<_>>(), [true, false]);
        disk.blobs.insert(digest("manifest"), 9);
        assert_eq!(parts(&disk).iter().map(|part| part.is_held).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn offline_misses_what_is_neither_stored_nor_cloned() {
        let mut disk = Disk::default();
        for (text, size) in [("m1", 10), ("config", 5), ("base", 100), ("one", 50), ("yq", 30), ("chart", 7)] {
            disk.blobs.insert(digest(text), size);
        }
        let error = missing_offline(&needs(&components(), &lock(), &disk), &Useless::default()).unwrap();
        let named: Vec<(&str, &str)> =
            error.items().iter().map(|item| (item.item.as_str(), item.message.as_str())).collect();
        let expected = [
            ("quay.io/a/b:2", "2 of its 4 blobs are not in the store"),
            ("base (https://git.example/base.git)", "airgap.lock does not say what it is"),
        ];
        assert_eq!(named, expected);
    }
}
