//! airgap.lock: what every reference resolved to, and when.
//!
//! It is a statement of what was seen: who asked, from where, in which build.
//! What the host's own steps saw stands in `images`, `files` and `repositories`;
//! what a plugin saw stands under its name in `core` or `plugins`, where nobody
//! else looks; and a chart says by which plugin it was resolved. Every entry
//! names the build that saw it, and one that names none is resolved again
//! ([`lock_doubts`](super::lock_doubts)). Older formats named fewer: of format 1
//! no file and no chart, in whose one list any plugin could write, and of
//! formats 1 and 2 no image and no repository. Into those two no plugin ever
//! wrote, so they are taken over as they are ([`EARLIER`]).
//!
//! The lock is loaded once, shared by the steps as the `SharedLock` of `fetch`,
//! and written back by the step's commit. What is in the lock wins over what a server says now; what
//! nothing names any more goes when a build ends well
//! ([`lock_names`](super::lock_names)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use model::Repository;
use model::chart::provenance_of;
use model::problem::{Problem, YamlPath};
use model::yaml_text::{flow_scalar, scalar};
use serde::{Deserialize, Serialize};

use crate::core_plugins::CHARTS;
use crate::source::Source;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::{Reference, manifest_address};
use base::timestamp::Stamp;
use entitlement::Asker;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 3;

/// What an image or repository names as its build that was seen by a version
/// whose locks did not say.
pub(crate) const EARLIER: &str = "earlier";

/// The first format whose images and repositories say in which build they were
/// seen.
const ALL_NAME_A_BUILD: u32 = 3;

/// The content of config/airgap.lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirgapLock {
    /// Of the file's format: 3, or less of a file that an older version wrote.
    pub format: u32,
    /// RFC 3339, UTC: when the build began that wrote the first entry, or the
    /// last `update` that changed one. The build's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Stamp>,
    /// By `<reference as written> <platform>`, the platform as
    /// `os/architecture[/variant]`: `nginx:1.27 linux/amd64`. See
    /// [`AirgapLock::image_key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, LockedImage>,
    /// By `<repo> <name> <version as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charts: BTreeMap<String, LockedChart>,
    /// By URL: what the step `files` fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, LockedFile>,
    /// By `<url> <ref as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<String, LockedRepository>,
    /// By core plugin and URL, or `oci://` and reference: what it fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub core: Sections,
    /// The same of the plugins that plugins.lock pins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: Sections,
}

/// What was fetched, by plugin and address.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, LockedFile>>;

impl Default for AirgapLock {
    fn default() -> Self {
        Self {
            format: FORMAT,
            resolved_at: None,
            images: BTreeMap::new(),
            charts: BTreeMap::new(),
            files: BTreeMap::new(),
            repositories: BTreeMap::new(),
            core: BTreeMap::new(),
            plugins: BTreeMap::new(),
        }
    }
}

/// What a reference to an image resolved to, for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Of the index that the reference named, where it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Of the manifest of the platform.
    pub manifest: Digest,
    /// Of the manifest, as the registry gave it: `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    /// The image's configuration.
    pub config: LockedBlob,
    /// The layers, the lowest first.
    #[serde(default)]
    pub layers: Vec<LockedBlob>,
    /// What the registry held about it, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<Vec<LockedReferrer>>,
    /// What names it, where components.yaml does not and `images.discover` adds it:
    /// `chart app 1.0.0: templates/pod.yaml:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_in: Option<String>,
    /// The build in which the registry gave this for the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// A manifest about an image: a signature, an attestation, an SBOM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedReferrer {
    /// Missing where the registry names it by its digest alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The media type of its manifest.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    /// Its configuration and layers.
    #[serde(default)]
    pub blobs: Vec<LockedBlob>,
}

/// One blob of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBlob {
    /// Of its bytes.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// What a chart of a repository resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedChart {
    /// The exact version that the version as written turned out to be.
    pub version: String,
    /// Where the archive lies: a URL, or `oci://` and the reference of the manifest.
    pub url: String,
    /// Of the archive, the `.tgz`.
    pub digest: Digest,
    /// The pinned plugin that resolved it; missing for the core plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Asker>,
    /// The build in which the host saw `url` give `digest` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

impl AirgapLock {
    /// The images that charts name and components.yaml does not, for one platform.
    pub fn found_images<'a>(&'a self, platform: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.images.iter().filter(|(_, image)| image.found_in.is_some());
        found.filter_map(move |(key, _)| key.split_once(' ').filter(|(_, of)| *of == platform).map(|(image, _)| image))
    }
}

impl LockedImage {
    /// What the reference itself named: the index, where it was one.
    pub fn root(&self) -> Digest {
        self.index.unwrap_or(self.manifest)
    }
}

impl LockedChart {
    /// The plugin that resolved it.
    pub fn asker(&self) -> Asker {
        self.by.clone().unwrap_or_else(|| Asker::Core(CHARTS.to_owned()))
    }

    /// Under which address the entry stands that bears it out: its archive's,
    /// or of one in a registry its manifest's.
    pub fn address(&self) -> String {
        let manifest = self.url.strip_prefix("oci://").and_then(|reference| Reference::parse(reference).ok());
        manifest.map_or_else(|| self.url.clone(), |reference| manifest_address(&reference))
    }
}

/// What a URL gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Of the content.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
    /// The checksum file of the configuration that named this digest when it
    /// was fetched. Without one the address alone was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The build in which the address gave this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// What a reference in a git repository resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// The full name of the commit: 40 hexadecimal digits, or 64 of a SHA-256 repository.
    pub commit: String,
    /// The full name of what the reference turned out to be:
    /// `refs/heads/main`, `refs/tags/v1.0.0`. Missing where it is a commit.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The tag object of an annotated tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The build in which the server named this commit, or gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

impl AirgapLock {
    /// Reads the lock; a missing file is an empty lock.
    ///
    /// # Errors
    /// `configuration`: not a lock, with its line, or of a newer format.
    pub fn load(path: &Path) -> Result<Self> {
        Source::read(path)?.map_or_else(|| Ok(Self::default()), |source| Self::parse(&source))
    }

    /// # Errors
    /// As [`AirgapLock::load`].
    pub fn parse(source: &Source) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        if let Ok(Format { format }) = serde_yaml::from_str(&source.text)
            && format > FORMAT
        {
            let message = format!("{}: format {format} is newer than {FORMAT}, which this version reads", source.shown);
            return Err(Error::configuration(message).hint("use the newer version of opencenter-airgap that wrote it"));
        }
        if source.text.trim().is_empty() {
            return Ok(Self::default());
        }
        let hint = "a build writes this file: resolve a merge conflict in it, restore it from version control, or delete \
                    it, and the next build locks what is there then";
        let (mut lock, _) = source.checked(Some(hint), Self::problems)?;
        if lock.format < ALL_NAME_A_BUILD {
            lock.take_over_what_steps_saw();
        }
        // Of a lock in memory the entries tell what they are worth.
        lock.format = FORMAT;
        Ok(lock)
    }

    /// The host's steps alone wrote into `images` and `repositories`.
    fn take_over_what_steps_saw(&mut self) {
        let images = self.images.values_mut().map(|image| &mut image.build);
        let repositories = self.repositories.values_mut().map(|repository| &mut repository.build);
        for build in images.chain(repositories).filter(|build| build.is_none()) {
            *build = Some(EARLIER.to_owned());
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let root = YamlPath::root();
        if self.format == 0 {
            problems.push(Problem::new(
                &root.key("format"),
                "format 0 does not exist",
                format!("write format: {FORMAT}"),
            ));
        }
        for (key, repository) in &self.repositories {
            if !matches!(repository.commit.len(), 40 | 64) || !repository.commit.bytes().all(|c| c.is_ascii_hexdigit())
            {
                let message = format!("`{}` is not a full commit", model::problem::shown(&repository.commit));
                let at = root.key("repositories").key(key).key("commit");
                problems.push(Problem::new(&at, message, "restore the line from version control, or remove the entry"));
            }
        }
        problems
    }

    /// The key of an image: `nginx:1.27 linux/amd64`.
    pub fn image_key(reference: &str, platform: &str) -> String {
        format!("{reference} {platform}")
    }

    /// The key of a chart: `https://charts.jetstack.io cert-manager v1.16.2`.
    pub fn chart_key(repo: &str, name: &str, version: &str) -> String {
        format!("{repo} {name} {version}")
    }

    /// The key of a repository: its URL and the ref as written, the commit
    /// where it has none, else `HEAD`.
    pub fn repository_key(repository: &Repository) -> String {
        let reference = repository.reference.as_deref().filter(|reference| !reference.is_empty());
        let commit = repository.commit.as_deref().filter(|commit| !commit.is_empty() && *commit != "HEAD");
        format!("{} {}", repository.url, reference.or(commit).unwrap_or("HEAD"))
    }

    /// What one asker fetched, by address.
    pub fn files_of(&self, asker: &Asker) -> Option<&BTreeMap<String, LockedFile>> {
        match asker {
            Asker::Host => Some(&self.files),
            Asker::Core(name) => self.core.get(name),
            Asker::Pinned(name) => self.plugins.get(name),
        }
    }

    /// What an address gave to this asker. What it gave to others is nothing
    /// to go by.
    pub fn file(&self, asker: &Asker, address: &str) -> Option<&LockedFile> {
        self.files_of(asker)?.get(address)
    }

    /// Everything that plugins fetched: who, from where, what.
    pub fn of_plugins(&self) -> impl Iterator<Item = (Asker, &str, &LockedFile)> {
        let core = self.core.iter().map(|(name, files)| (Asker::Core(name.clone()), files));
        let pinned = self.plugins.iter().map(|(name, files)| (Asker::Pinned(name.clone()), files));
        core.chain(pinned)
            .flat_map(|(asker, files)| files.iter().map(move |(address, file)| (asker.clone(), address.as_str(), file)))
    }

    /// A lock with one file in it.
    pub fn of_file(asker: &Asker, address: &str, file: LockedFile) -> Self {
        let mut lock = Self::default();
        let files = match asker {
            Asker::Host => &mut lock.files,
            Asker::Core(name) => lock.core.entry(name.clone()).or_default(),
            Asker::Pinned(name) => lock.plugins.entry(name.clone()).or_default(),
        };
        files.insert(address.to_owned(), file);
        lock
    }

    /// What `update` calls what lies at a URL: the name of the chart that it
    /// belongs to, else the URL itself.
    pub fn name_of(&self, url: &str) -> String {
        let belongs = |chart: &LockedChart| chart.url == url || provenance_of(&chart.url) == url;
        let key = self.charts.iter().find(|(_, chart)| belongs(chart)).map(|(key, _)| key.as_str());
        key.and_then(|key| key.split(' ').nth(1)).unwrap_or(url).to_owned()
    }

    /// The file's text: sorted, one line per fact, the same for equal locks.
    pub fn to_text(&self) -> String {
        let mut text = String::from(HEADER);
        text.push_str(&format!("format: {}\n", self.format));
        if let Some(time) = self.resolved_at {
            text.push_str(&format!("resolved_at: {}\n", model::yaml_text::quoted(&time.to_string())));
        }
        section(&mut text, "images", &self.images, image_text);
        section(&mut text, "charts", &self.charts, |chart, text| {
            text.push_str(&format!("    version: {}\n", scalar(&chart.version)));
            text.push_str(&format!("    url: {}\n", scalar(&chart.url)));
            text.push_str(&format!("    digest: {}\n", chart.digest));
            if let Some(by) = &chart.by {
                text.push_str(&format!("    by: {by}\n"));
            }
            build_text(chart.build.as_deref(), "    ", text);
        });
        section(&mut text, "files", &self.files, |file, text| file_text(file, "    ", text));
        section(&mut text, "repositories", &self.repositories, |repository, text| {
            text.push_str(&format!("    commit: {}\n", model::yaml_text::quoted(&repository.commit)));
            if let Some(reference) = &repository.reference {
                text.push_str(&format!("    ref: {}\n", scalar(reference)));
            }
            if let Some(tag) = &repository.tag {
                text.push_str(&format!("    tag: {}\n", model::yaml_text::quoted(tag)));
            }
            build_text(repository.build.as_deref(), "    ", text);
        });
        sections(&mut text, "core", &self.core);
        sections(&mut text, "plugins", &self.plugins);
        text
    }

    /// What is different in `new`.
    pub fn diff(&self, new: &Self) -> Vec<LockChange> {
        let mut changes = Vec::new();
        let image = |image: &LockedImage| image.root().to_string();
        let chart = |chart: &LockedChart| match &chart.by {
            Some(by) => format!("{} {} by {by}", chart.version, chart.digest),
            None => format!("{} {}", chart.version, chart.digest),
        };
        let file = |file: &LockedFile| file.sha256.to_string();
        let repository = |repository: &LockedRepository| repository.commit.clone();
        compare("image", None, &self.images, &new.images, &mut changes, image);
        compare("chart", None, &self.charts, &new.charts, &mut changes, chart);
        compare("file", None, &self.files, &new.files, &mut changes, file);
        compare("repository", None, &self.repositories, &new.repositories, &mut changes, repository);
        for asker in self.plugins_with(new) {
            let [before, after] = [self, new].map(|lock| lock.files_of(&asker).cloned().unwrap_or_default());
            compare("file", Some(&asker), &before, &after, &mut changes, file);
        }
        changes
    }

    /// Whoever fetched something, here or in `other`.
    fn plugins_with(&self, other: &Self) -> BTreeSet<Asker> {
        let core = self.core.keys().chain(other.core.keys()).cloned().map(Asker::Core);
        let pinned = self.plugins.keys().chain(other.plugins.keys()).cloned().map(Asker::Pinned);
        core.chain(pinned).collect()
    }
}

/// An entry, and whether it says the same as another one. When it was seen
/// again is no difference; that it was seen at all is one, and so is that a
/// checksum says the same.
pub trait Statement: Clone {
    /// Whether what is said is equal, whoever saw it when.
    fn agrees_with(&self, other: &Self) -> bool;

    /// The build in which it was seen.
    fn build(&self) -> Option<&str>;

    /// What said the same beside the address.
    fn checksum(&self) -> Option<&str> {
        None
    }

    /// Whether it says in which build it was seen.
    fn is_vouched(&self) -> bool {
        self.build().is_some()
    }

    /// Whether `other` tells something new that is no other statement.
    fn is_news(&self, _other: &Self) -> bool {
        false
    }

    /// Whether nothing is new about `other`.
    fn settles(&self, other: &Self) -> bool {
        self.agrees_with(other)
            && !self.is_news(other)
            && (self.is_vouched() || !other.is_vouched())
            && (self.checksum().is_some() || other.checksum().is_none())
    }
}

impl Statement for LockedImage {
    fn agrees_with(&self, other: &Self) -> bool {
        let Self { index, manifest, media_type, size, config, layers, referrers, found_in: _, build: _ } = self;
        let image = (index, manifest, media_type, size, config, layers);
        image == (&other.index, &other.manifest, &other.media_type, &other.size, &other.config, &other.layers)
            && *referrers == other.referrers
    }

    fn is_news(&self, other: &Self) -> bool {
        other.found_in.is_some() && self.found_in != other.found_in
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedRepository {
    fn agrees_with(&self, other: &Self) -> bool {
        let Self { commit, reference, tag, build: _ } = self;
        (commit, reference, tag) == (&other.commit, &other.reference, &other.tag)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedChart {
    fn agrees_with(&self, other: &Self) -> bool {
        (&self.version, &self.url, self.digest, &self.by) == (&other.version, &other.url, other.digest, &other.by)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }
}

impl Statement for LockedFile {
    fn agrees_with(&self, other: &Self) -> bool {
        (self.sha256, self.size) == (other.sha256, other.size)
    }

    fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }

    fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }
}

const HEADER: &str = "\
# What every reference of components.yaml resolved to, and when. Written by
# `opencenter-airgap build` at first sight and by `opencenter-airgap update`
# ever after. Commit it: the same lock gives the same package.
";

fn section<T>(text: &mut String, name: &str, entries: &BTreeMap<String, T>, body: impl Fn(&T, &mut String)) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("\n{name}:\n"));
    for (key, entry) in entries {
        key_text(key, "  ", text);
        body(entry, text);
    }
}

/// What plugins fetched, one level deeper.
fn sections(text: &mut String, name: &str, sections: &Sections) {
    section(text, name, sections, |files, text| {
        for (address, file) in files {
            key_text(address, "    ", text);
            file_text(file, "      ", text);
        }
    });
}

fn key_text(key: &str, indent: &str, text: &mut String) {
    let key = scalar(key);
    // YAML keys beyond 1,024 characters need the long form.
    if key.len() > 1000 {
        text.push_str(&format!("{indent}? {key}\n{indent}:\n"));
    } else {
        text.push_str(&format!("{indent}{key}:\n"));
    }
}

fn file_text(file: &LockedFile, indent: &str, text: &mut String) {
    text.push_str(&format!("{indent}sha256: {}\n{indent}size: {}\n", file.sha256, file.size));
    if let Some(checksum) = &file.checksum {
        text.push_str(&format!("{indent}checksum: {}\n", scalar(checksum)));
    }
    build_text(file.build.as_deref(), indent, text);
}

fn build_text(build: Option<&str>, indent: &str, text: &mut String) {
    if let Some(build) = build {
        text.push_str(&format!("{indent}build: {}\n", model::yaml_text::quoted(build)));
    }
}

fn image_text(image: &LockedImage, text: &mut String) {
    if let Some(index) = &image.index {
        text.push_str(&format!("    index: {index}\n"));
    }
    text.push_str(&format!("    manifest: {}\n", image.manifest));
    text.push_str(&format!("    media_type: {}\n", scalar(&image.media_type)));
    text.push_str(&format!("    size: {}\n", image.size));
    text.push_str(&format!("    config: {}\n", blob(&image.config)));
    if !image.layers.is_empty() {
        text.push_str("    layers:\n");
    }
    for layer in &image.layers {
        text.push_str(&format!("      - {}\n", blob(layer)));
    }
    referrers_text(image.referrers.as_deref(), text);
    if let Some(found_in) = &image.found_in {
        text.push_str(&format!("    found_in: {}\n", scalar(found_in)));
    }
    build_text(image.build.as_deref(), "    ", text);
}

fn referrers_text(referrers: Option<&[LockedReferrer]>, text: &mut String) {
    let Some(referrers) = referrers else { return };
    text.push_str(if referrers.is_empty() { "    referrers: []\n" } else { "    referrers:\n" });
    for LockedReferrer { tag, manifest, media_type, size, blobs } in referrers {
        text.push_str(&format!("      - manifest: {manifest}\n"));
        if let Some(tag) = tag {
            text.push_str(&format!("        tag: {}\n", scalar(tag)));
        }
        text.push_str(&format!("        media_type: {}\n", scalar(media_type)));
        text.push_str(&format!("        size: {size}\n"));
        text.push_str(if blobs.is_empty() { "        blobs: []\n" } else { "        blobs:\n" });
        blobs.iter().for_each(|one| text.push_str(&format!("          - {}\n", blob(one))));
    }
}

fn blob(blob: &LockedBlob) -> String {
    format!("{{digest: {}, size: {}}}", flow_scalar(&blob.digest.to_string()), blob.size)
}

/// One difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockChange {
    /// `image`, `chart`, `file` or `repository`.
    pub kind: &'static str,
    /// The key of the entry in its section of airgap.lock.
    pub key: String,
    /// The plugin under whose name the entry stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Asker>,
    /// What it resolved to; None where it was not there.
    pub old: Option<String>,
    /// What it resolves to now; None where it is gone.
    pub new: Option<String>,
    /// Of an entry that is doubted or unnamed: for what reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl LockChange {
    /// `file https://…`, and by which plugin where it stands under one.
    pub fn entry(&self) -> String {
        let Self { kind, key, by, .. } = self;
        by.as_ref().map_or_else(|| format!("{kind} {key}"), |by| format!("{kind} {key} of the {by}"))
    }

    /// Whether both are about the same entry.
    pub fn is_of(&self, other: &Self) -> bool {
        (self.kind, &self.key, &self.by) == (other.kind, &other.key, &other.by)
    }
}

impl fmt::Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, new, .. } = self;
        let entry = self.entry();
        match (old, new) {
            (Some(old), Some(new)) if old == new => write!(f, "~ {entry}: {new}, its parts differ"),
            (Some(old), Some(new)) => write!(f, "~ {entry}: {old} → {new}"),
            (None, Some(new)) => write!(f, "+ {entry}: {new}"),
            (Some(old), None) => write!(f, "- {entry}: {old}"),
            (None, None) => write!(f, "  {entry}"),
        }
    }
}

fn compare<T: Statement>(
    kind: &'static str,
    by: Option<&Asker>,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    changes: &mut Vec<LockChange>,
    shown: impl Fn(&T) -> String,
) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before.zip(after).is_none_or(|(before, after)| !before.agrees_with(after)) {
            let (old, new) = (before.map(&shown), after.map(&shown));
            changes.push(LockChange { kind, key: key.clone(), by: by.cloned(), old, new, why: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn locked_repository() -> LockedRepository {
        LockedRepository {
            commit: "0".repeat(40),
            reference: Some("refs/tags/v1".into()),
            tag: Some("1".repeat(40)),
            build: Some("20260131T120000Z-00ab12".into()),
        }
    }

    fn lock() -> AirgapLock {
        let blob = |text: &str| LockedBlob { digest: digest(text), size: text.len() as u64 };
        let image = LockedImage {
            index: Some(digest("index")),
            manifest: digest("manifest"),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size: 400,
            config: blob("config"),
            layers: vec![blob("a"), blob("bb")],
            referrers: Some(vec![LockedReferrer {
                tag: Some("sha256-00.sig".into()),
                manifest: digest("signature"),
                media_type: "m".into(),
                size: 7,
                blobs: vec![blob("a"), blob("bb")],
            }]),
            found_in: Some("chart c 1.10: templates/pod.yaml:3".into()),
            build: Some("20260131T120000Z-00ab12".into()),
        };
        let bare = LockedImage { index: None, layers: Vec::new(), referrers: Some(Vec::new()), ..image.clone() };
        let chart = LockedChart {
            version: "1.10".into(),
            url: "https://h/c-1.10.tgz".into(),
            digest: digest("chart"),
            by: None,
            build: Some("20260131T120000Z-00ab12".into()),
        };
        let file = |text: &str, size| LockedFile {
            sha256: digest(text),
            size,
            checksum: None,
            build: Some("20260131T120000Z-00ab12".into()),
        };
        let of = |address: &str| [(address.to_owned(), file("db", 3))].into();
        AirgapLock {
            resolved_at: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            images: [("nginx:1.27 linux/amd64".into(), image), ("x@sha256:00 linux/arm64/v8".into(), bare)].into(),
            charts: [("https://h c >=1.0.0, <2".into(), chart)].into(),
            files: [
                ("https://h/a?b=c#d".into(), file("f", 0)),
                (format!("https://h/{}", "x".repeat(2000)), file("g", u64::MAX)),
            ]
            .into(),
            repositories: [("https://h/r.git main".into(), locked_repository())].into(),
            core: [("charts".into(), of("https://h/c-1.10.tgz"))].into(),
            plugins: [("sbom".into(), of(&format!("oci://h/{}:1", "y".repeat(2000))))].into(),
            ..AirgapLock::default()
        }
    }

    fn parse(text: &str) -> Result<AirgapLock> {
        AirgapLock::parse(&Source::of("config/airgap.lock".into(), text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_text_comes_back_as_the_same_lock() {
        let lock = lock();
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
        assert_eq!(parse(&AirgapLock::default().to_text()).unwrap(), AirgapLock::default());
        assert_eq!(parse("").unwrap(), AirgapLock::default());
    }

    #[test]
    fn the_text_reads_well_in_review() {
        let fetched = |section: &str, plugin: &str| {
            format!(
                "\n{section}:\n  {plugin}:\n    https://h/c-1.10.tgz:\n      sha256: {}\n      size: 3\n      build: \"20260131T120000Z-00ab12\"\n",
                digest("db")
            )
        };
        let mut lock = lock();
        lock.files.clear();
        lock.images.remove("x@sha256:00 linux/arm64/v8");
        lock.plugins = [("sbom".into(), lock.core["charts"].clone())].into();
        lock.charts.values_mut().for_each(|chart| chart.by = Some(Asker::Pinned("charts".into())));
        let text = lock.to_text();
        let body = text.strip_prefix(HEADER).unwrap();
        let expected = format!(
            "format: 3\nresolved_at: \"2026-01-31T12:00:00Z\"\n\nimages:\n  nginx:1.27 linux/amd64:\n    index: {}\n    manifest: {}\n    \
             media_type: application/vnd.oci.image.manifest.v1+json\n    size: 400\n    config: {{digest: {}, size: 6}}\n    layers:\n      \
             - {{digest: {}, size: 1}}\n      - {{digest: {}, size: 2}}\n    referrers:\n      - manifest: {}\n        tag: sha256-00.sig\n        \
             media_type: m\n        size: 7\n        blobs:\n          - {{digest: {}, size: 1}}\n          - {{digest: {}, size: 2}}\n    \
             found_in: \"chart c 1.10: templates/pod.yaml:3\"\n    build: \"20260131T120000Z-00ab12\"\n\ncharts:\n  \"https://h c >=1.0.0, <2\":\n    version: \"1.10\"\n    \
             url: https://h/c-1.10.tgz\n    digest: {}\n    by: plugin charts\n    build: \"20260131T120000Z-00ab12\"\n\nrepositories:\n  https://h/r.git main:\n    commit: \"{}\"\n    ref: refs/tags/v1\n    tag: \"{}\"\n    build: \"20260131T120000Z-00ab12\"\n{}{}",
            digest("index"),
            digest("manifest"),
            digest("config"),
            digest("a"),
            digest("bb"),
            digest("signature"),
            digest("a"),
            digest("bb"),
            digest("chart"),
            "0".repeat(40),
            "1".repeat(40),
            fetched("core", "charts"),
            fetched("plugins", "sbom"),
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn what_is_not_a_lock_is_refused_with_its_line() {
        for (text, start, word) in [
            ("format: 4\nfuture: {}\n", "config/airgap.lock", "newer"),
            ("format: 1\nimagez: {}\n", "config/airgap.lock:2:1", "unknown field"),
            ("images: {}\n", "config/airgap.lock:1:1", "missing field `format`"),
            ("format: 1\nfiles:\n  a: {sha256: zz, size: 1}\n", "config/airgap.lock:3:", "not a SHA-256"),
            ("format: 2\nresolved_at: yesterday\n", "config/airgap.lock:2:14", "not a time"),
            ("format: 1\nfiles:\n  a: {sha256: x, size: 1}\n<<<<<<< HEAD\n", "config/airgap.lock:", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.class(), Class::Configuration);
            assert!(
                error.message().starts_with(start) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
        }
    }

    /// Entries of an older version are read, and none of them names a build.
    #[test]
    fn format_1_is_read_as_it_is() {
        let text = format!(
            "format: 1\ncharts:\n  \"r c 1\": {{version: 1.0.0, url: \"https://h/c\", digest: {0}}}\nfiles:\n  https://h/a: {{sha256: {0}, size: 1}}\n",
            digest("a")
        );
        let lock = parse(&text).unwrap();
        assert!(!lock.files["https://h/a"].is_vouched() && !lock.charts["r c 1"].is_vouched());
        assert!(lock.to_text().contains("format: 3\n") && !lock.to_text().contains("build:"));
    }

    /// No plugin ever wrote an image or a repository: what an older version
    /// says of them is taken over. In a lock of today each names its build.
    #[test]
    fn images_and_repositories_of_older_locks_are_taken_over() {
        let whole = lock();
        let bare = whole.to_text().replace("    build: \"20260131T120000Z-00ab12\"\n", "");
        for format in ["format: 1\n", "format: 2\n"] {
            let old = parse(&bare.replace("format: 3\n", format)).unwrap();
            let images = old.images.values().map(|image| image.build());
            let builds: Vec<_> = images.chain(old.repositories.values().map(|repository| repository.build())).collect();
            assert_eq!(builds, [Some(EARLIER); 3], "{format}");
            assert!(!old.files.values().any(Statement::is_vouched));
            assert!(whole.diff(&old).is_empty() && parse(&old.to_text()).unwrap() == old, "{format}");
        }
        let planted = parse(&bare).unwrap();
        assert!(planted.images.values().all(|image| !image.is_vouched()));
        assert!(planted.repositories.values().all(|repository| !repository.is_vouched()));
    }

    #[test]
    fn a_checksum_that_says_the_same_is_worth_an_entry() {
        let file = |checksum: Option<&str>| LockedFile {
            sha256: digest("f"),
            size: 1,
            checksum: checksum.map(str::to_owned),
            build: Some("1".into()),
        };
        let (bare, checked) = (file(None), file(Some("https://h/f.sha256")));
        assert!(bare.agrees_with(&checked) && !bare.settles(&checked) && checked.settles(&bare));
        let lock = AirgapLock::of_file(&Asker::Host, "https://h/f", checked);
        assert!(lock.to_text().contains("    checksum: https://h/f.sha256\n"), "{}", lock.to_text());
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
    }

    /// What one asker was told is nothing to another one.
    #[test]
    fn an_address_says_something_to_each_asker_alone() {
        let lock = lock();
        let url = "https://h/c-1.10.tgz";
        assert!(lock.file(&Asker::Core("charts".into()), url).is_some());
        for other in [Asker::Host, Asker::Pinned("charts".into()), Asker::Core("scan".into())] {
            assert_eq!(lock.file(&other, url), None, "{other}");
        }
        assert_eq!(lock.of_plugins().count(), 2);
    }

    #[test]
    fn a_missing_lock_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(AirgapLock::load(&folder.path().join("airgap.lock")).unwrap(), AirgapLock::default());
    }

    #[test]
    fn a_difference_names_what_moved() {
        let (old, mut new) = (lock(), lock());
        new.repositories.clear();
        new.files
            .insert("https://h/new".into(), LockedFile { sha256: digest("n"), size: 1, checksum: None, build: None });
        new.images.get_mut("nginx:1.27 linux/amd64").unwrap().index = Some(digest("other"));
        let shown: Vec<String> = old.diff(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                format!("~ image nginx:1.27 linux/amd64: {} → {}", digest("index"), digest("other")),
                format!("+ file https://h/new: {}", digest("n")),
                format!("- repository https://h/r.git main: {}", "0".repeat(40)),
            ]
        );
        assert!(old.diff(&old).is_empty());
    }
}
