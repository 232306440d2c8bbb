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
//! ([`lock_names`](super::lock_names)). `keys` is what an entry stands under, `entries`
//! what it says, `text` how the file is written, `difference` what moved.

use std::collections::BTreeMap;
use std::path::Path;

use model::chart::provenance_of;
use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use crate::source::Source;
use base::error::{Error, Result};
use base::timestamp::Stamp;
use entitlement::Asker;

pub use difference::LockChange;
pub use entries::{LockedBlob, LockedChart, LockedFile, LockedImage, LockedReferrer, LockedRepository, Statement};
pub use keys::{ChartKey, FileKey, ImageKey, RepositoryKey};

mod difference;
mod entries;
pub(crate) mod keys;
mod text;

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
    /// `os/architecture[/variant]`: `nginx:1.27 linux/amd64`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ImageKey, LockedImage>,
    /// By `<repo> <name> <version as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charts: BTreeMap<ChartKey, LockedChart>,
    /// By URL: what the step `files` fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<FileKey, LockedFile>,
    /// By `<url> <ref as written>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<RepositoryKey, LockedRepository>,
    /// By core plugin and URL, or `oci://` and reference: what it fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub core: Sections,
    /// The same of the plugins that plugins.lock pins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: Sections,
}

/// What was fetched, by plugin and address.
pub(crate) type Sections = BTreeMap<String, BTreeMap<FileKey, LockedFile>>;

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
                let at = root.key("repositories").key(key.as_str()).key("commit");
                problems.push(Problem::new(&at, message, "restore the line from version control, or remove the entry"));
            }
        }
        problems
    }

    /// The images that charts name and components.yaml does not, for nodes of one
    /// architecture.
    pub fn found_images<'a>(&'a self, architecture: &'a str) -> impl Iterator<Item = &'a str> {
        let platform = keys::platform(architecture);
        let found =
            self.images.iter().filter(move |(key, image)| image.found_in.is_some() && key.platform() == platform);
        found.map(|(key, _)| key.reference())
    }

    /// What one asker fetched, by address.
    pub fn files_of(&self, asker: &Asker) -> Option<&BTreeMap<FileKey, LockedFile>> {
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
        files.insert(FileKey::of(address), file);
        lock
    }

    /// What `update` calls what lies at a URL: the name of the chart that it
    /// belongs to, else the URL itself.
    pub fn name_of(&self, url: &str) -> String {
        let belongs = |chart: &LockedChart| chart.url == url || provenance_of(&chart.url) == url;
        self.charts.iter().find(|(_, chart)| belongs(chart)).map_or(url, |(key, _)| key.name()).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::text::HEADER;
    use super::*;
    use base::digest::Digest;
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
        let of = |address: &str| [(FileKey::of(address), file("db", 3))].into();
        AirgapLock {
            resolved_at: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            images: [
                (ImageKey::of("nginx:1.27", "amd64"), image),
                (ImageKey::new("x@sha256:00", "linux/arm64/v8"), bare),
            ]
            .into(),
            charts: [(ChartKey::new("https://h", "c", ">=1.0.0, <2"), chart)].into(),
            files: [
                (FileKey::of("https://h/a?b=c#d"), file("f", 0)),
                (FileKey::of(&format!("https://h/{}", "x".repeat(2000))), file("g", u64::MAX)),
            ]
            .into(),
            repositories: [(RepositoryKey::new("https://h/r.git", "main"), locked_repository())].into(),
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
        new.files.insert(
            FileKey::of("https://h/new"),
            LockedFile { sha256: digest("n"), size: 1, checksum: None, build: None },
        );
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
