//! The `files` step: kubernetes binaries and tools, checked and ready to run.
//!
//! For every file of the resolved components, several at a time:
//! 1. the digest that it must have: from airgap.lock and, when it has to be
//!    fetched, from its checksum file, which must agree ([`checksum`]);
//! 2. the download, into the store, and a look at what came ([`look`]);
//! 3. a link in the tree, `bin/<name>`, or what an archive holds under that
//!    name.
//!
//! A bad file does not stop the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::StreamExt;
use model::count::counted;
use model::problem::YamlPath;
use model::{FileEntry, FileKind, ResolvedFile};
use tokio::sync::Semaphore;
use url::Url;

use super::failures::{Failures, is_fatal};
use crate::state::journal::Journal;
use crate::steps::{Step, StepContext, at_once};
use archive::unpack::{Source, extract_one};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::leash::Leash;
use base::progress::{Progress, StepOutcome};
use base::text;
use config::airgap_lock::LockedFile;
use config::as_read::AsRead;
use config::components::name_problem;
use config::local::is_local;
use config::settings::SecuritySettings;
use disk::tree::{Artifact, TreeBuilder};
use entitlement::Granted;
use fetch::network::{Download, Network, cached_aside, remember};
use fetch::shared_lock::SharedLock;
use fetch::store::Store;
use futures_util::future::BoxFuture;

mod checksum;
mod look;
#[cfg(test)]
mod tests;

use checksum::Found;

/// Bytes of a checksum file.
const LARGEST_CHECKSUMS: u64 = 4 << 20;
/// Archives that are unpacked at the same time: each keeps a core busy.
const UNPACKERS: usize = 2;

/// The step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FilesStep;

impl Step for FilesStep {
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async move {
            let resolved = super::images::components(cx.inputs.get("manifests"))?;
            let settings = &cx.project.settings;
            let work = FilesRun {
                store: &cx.store,
                network: cx.network.as_deref(),
                lock: &cx.lock,
                output: &cx.output,
                journal: Some(&cx.journal),
                progress: &cx.progress,
                security: &settings.security,
                concurrency: settings.network.concurrency.max(1),
                unpackers: Semaphore::new(UNPACKERS),
                architecture: &resolved.architecture,
                local: cx.project.read.clone(),
            };
            work.run(&resolved.files).await
        })
    }
}

/// What one run of the step works with.
struct FilesRun<'a> {
    store: &'a Store,
    network: Option<&'a Network>,
    lock: &'a SharedLock,
    output: &'a TreeBuilder,
    journal: Option<&'a Journal>,
    progress: &'a Progress,
    security: &'a SecuritySettings,
    concurrency: usize,
    unpackers: Semaphore,
    /// Of the package.
    architecture: &'a str,
    /// Files of the project.
    local: AsRead,
}

impl FilesRun<'_> {
    async fn run(&self, files: &[ResolvedFile]) -> Result<StepOutcome> {
        let total = files.len();
        self.progress.items(0, Some(total as u64), "files", "");
        if let Some(journal) = self.journal {
            journal.total(total as u64, "files")?;
        }
        let mut failures = Failures::default();
        let mut entries = BTreeMap::new();
        let bad = badly_named(files);
        let one = |(at, file)| -> BoxFuture<'_, (usize, Result<FileEntry>)> {
            let refused = bad.get(&at).cloned();
            Box::pin(async move {
                let result = match refused {
                    Some(error) => Err(error),
                    None => self.one(file).await,
                };
                (at, result)
            })
        };
        let mut done = at_once(files.iter().enumerate(), self.concurrency, one);
        let mut fatal: Option<Error> = None;
        while let Some((at, result)) = done.next().await {
            let file = &files[at];
            match result {
                Ok(entry) => {
                    self.journal.map_or(Ok(()), |journal| journal.done(&file.name, entry.size))?;
                    entries.insert(at, entry);
                    self.progress.items(entries.len() as u64, Some(total as u64), "files", &file.name);
                }
                Err(error) if is_fatal(&error) => drop(fatal.get_or_insert(error)),
                Err(error) => failures.add(&file.name, &origin(&file.url), error, self.journal, self.progress)?,
            }
            if matches!(&fatal, Some(error) if error.class() == Class::DiskFull) {
                break;
            }
        }
        if let Some(error) = fatal {
            return Err(failures.ended_by(error));
        }
        if !failures.is_empty() {
            return Err(failures.into_error(total, "files"));
        }
        let entries: Vec<FileEntry> = entries.into_values().collect();
        let text = serde_json::to_vec_pretty(&entries)
            .map_err(|source| Error::invalid("files.json can not be written").caused_by(source))?;
        self.output.write("files.json", &text, false)?;
        Ok(StepOutcome { summary: counted(total, "file", "files"), items: total as u64, unit: "files".to_owned() })
    }

    async fn one(&self, file: &ResolvedFile) -> Result<FileEntry> {
        self.progress.check()?;
        let path = format!("bin/{}", file.name);
        if is_local(&file.url) {
            let artifact = self.extract(file, self.local.local_file(&file.url)?, &path).await?;
            return Ok(entry(file, path, &artifact, None));
        }
        let digest = self.fetch(file).await?;
        let artifact = if file.extract {
            self.extract(file, self.store.path(&digest), &path).await?
        } else {
            self.store.link(&digest, self.output, &path, true)?
        };
        let checksum = self.lock.lock().files.get(&file.url).and_then(|entry| entry.checksum.clone());
        Ok(entry(file, path, &artifact, checksum))
    }

    /// Gets the file into the store.
    async fn fetch(&self, file: &ResolvedFile) -> Result<Digest> {
        let mut download =
            Download { name: Some(file.name.clone()), ..Download::of(Granted::to_host(file.url.clone()), label(file)) };
        let locked = self.lock.lock().files.get(&file.url).cloned();
        let is_vouched = locked.as_ref().is_some_and(|locked| self.is_vouched(file, locked));
        if is_vouched && let Some(there) = cached_aside(self.store, &download, self.lock).await? {
            self.progress.expects(there.size());
            self.progress.reused(there.size());
            return self.looked_at(file, there.digest());
        }
        if locked.is_none() {
            self.lock.may_resolve("this file")?;
        }
        let network = self.network.ok_or_else(|| missing_offline(file, locked.is_some() && !is_vouched))?;
        if let Some(written) = written(file)? {
            download.expected = Some(written);
            let fetched = network.download(self.store, &download, self.lock, self.progress).await;
            let fetched = fetched.map_err(|error| match error.class() {
                Class::Integrity if file.kind == FileKind::Definition => {
                    error.context(format!("{} is not what the definition says", file.url))
                }
                Class::Integrity => error.context(format!("{} is not what `sha256` of settings.yaml says", file.url)),
                _ => error,
            })?;
            return self.looked_at(file, fetched.digest());
        }
        match &file.checksum_url {
            // What was locked stays, whatever is published now.
            Some(url) => {
                // Another tool of this address may have another checksum file.
                download.checksum = locked.and_then(|locked| locked.checksum).or_else(|| Some(url.clone()));
                let digest = self.checked(network, file, url, download).await?;
                self.looked_at(file, digest)
            }
            None if is_vouched => {
                let seen = network.download(self.store, &download, self.lock, self.progress).await?;
                self.looked_at(file, seen.digest())
            }
            None if self.security.require_checksums => {
                Err(Error::invalid(format!("no checksum is known for {}", file.url))
                    .hint("give it a `checksum_url` in components.yaml, or set `security.require_checksums: false`"))
            }
            None => self.first_seen(network, file, download).await,
        }
    }

    /// Whether what the lock says was seen under all that is said of the file
    /// now: another tool of the same address, or an earlier configuration, may
    /// have asked for less.
    fn is_vouched(&self, file: &ResolvedFile, locked: &LockedFile) -> bool {
        if let Some(written) = &file.sha256 {
            return written.parse::<Digest>().is_ok_and(|written| written == locked.sha256);
        }
        match &file.checksum_url {
            Some(url) => locked.checksum.as_ref() == Some(url),
            None => locked.checksum.is_some() || !self.security.require_checksums,
        }
    }

    /// Refuses what can not be the file that is wanted.
    fn looked_at(&self, file: &ResolvedFile, digest: Digest) -> Result<Digest> {
        let wanted = look::ExpectedFile {
            name: &file.name,
            is_source: file.extract,
            origin: &file.url,
            architecture: self.architecture,
            is_vouched: file.checksum_url.is_some() || file.sha256.is_some(),
        };
        if let Some(odd) = look::at(&self.store.path(&digest), wanted)? {
            self.progress.warn(&odd);
        }
        Ok(digest)
    }

    /// Nobody knows what the file must be: what comes first counts from then
    /// on, unless it is plainly something else.
    async fn first_seen(&self, network: &Network, file: &ResolvedFile, mut download: Download) -> Result<Digest> {
        // Into the lock comes only what was looked at.
        download.mutable = true;
        let seen = network.download(self.store, &download, self.lock, self.progress).await?;
        let (url, label) = (download.from.at(), &download.label);
        self.looked_at(file, seen.digest())?;
        let is_as_before = remember(self.lock, &seen, self.progress)?;
        if !is_as_before {
            self.progress.warn(&format!(
                "{label}: no checksum of {url} is known; what came, {}, is what airgap.lock holds from now on",
                seen.digest()
            ));
        }
        Ok(seen.digest())
    }

    async fn checked(
        &self,
        network: &Network,
        file: &ResolvedFile,
        url: &str,
        mut download: Download,
    ) -> Result<Digest> {
        let found = self.checksum(network, file, url).await?;
        download.expected = Some(found.digest);
        let fetched = network.download(self.store, &download, self.lock, self.progress).await;
        let fetched = fetched.map_err(|error| match found.other_name(&decoded_path(&file.url)) {
            Some(other) if error.class() == Class::Integrity => {
                error.hint(format!("the checksum in {url} is that of `{other}`: correct `checksum_url`"))
            }
            _ if error.class() == Class::Integrity => error.context(format!("{} is not what {url} says", file.url)),
            _ => error,
        })?;
        Ok(fetched.digest())
    }

    async fn checksum(&self, network: &Network, file: &ResolvedFile, url: &str) -> Result<Found> {
        let download = Download {
            limit: Some(LARGEST_CHECKSUMS),
            mutable: true,
            ..Download::of(Granted::to_host(url.to_owned()), format!("the checksum of {}", label(file)))
        };
        let fetched = network.download(self.store, &download, self.lock, self.progress).await?;
        let bytes = self.store.read(&fetched.digest(), LARGEST_CHECKSUMS)?.unwrap_or_default();
        checksum::find(&text::of(&bytes), &decoded_path(&file.url))
            .map_err(|error| error.context(format!("{url} can not be used for {}", file.name)))
    }

    /// Takes the named binary out of the archive.
    async fn extract(&self, file: &ResolvedFile, source: PathBuf, path: &str) -> Result<Artifact> {
        let _turn = self.unpackers.acquire().await.map_err(|_| Error::interrupted())?;
        self.progress.check()?;
        let into = self.output.prepare(path)?;
        let (member, name) = (file.binary.clone(), file.name.clone());
        let limit = self.security.largest_unpacked_gib.saturating_mul(1 << 30);
        let (architecture, url) = (self.architecture.to_owned(), file.url.clone());
        let leash = Leash::new(self.progress.cancellation().clone());
        let work = move || {
            disk::fs::remove_file(&into)?;
            let shown = source.display().to_string();
            let source = Source { path: &source, shown: &shown, leash: &leash };
            let extracted = extract_one(source, member.as_deref(), &name, &into, limit)?;
            // What its publisher packed may be any text, but no other system's.
            let origin = format!("`{name}` in {url}");
            let wanted = look::ExpectedFile {
                name: &name,
                is_source: false,
                origin: &origin,
                architecture: &architecture,
                is_vouched: true,
            };
            look::at(&into, wanted).inspect_err(|_| drop(disk::fs::remove_file(&into)))?;
            disk::fs::set_mode(&into, 0o755)?;
            Ok(extracted)
        };
        let (digest, size) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::local("the thread that unpacks failed").caused_by(error))?
            .map_err(|error: Error| error.context(format!("cannot extract {} from {}", file.name, file.url)))?;
        let artifact = Artifact { path: path.to_owned(), digest, size, executable: true };
        self.output.record(artifact.clone());
        Ok(artifact)
    }
}

fn entry(file: &ResolvedFile, path: String, artifact: &Artifact, checksum: Option<String>) -> FileEntry {
    FileEntry {
        kind: file.kind,
        name: file.name.clone(),
        version: file.version.clone(),
        url: file.url.clone(),
        path,
        sha256: artifact.digest.hex(),
        size: artifact.size,
        checksum,
    }
}

/// As messages call it.
fn label(file: &ResolvedFile) -> String {
    format!("{} {}", file.name, file.version).trim_end().to_owned()
}

/// The digest that the configuration has for it.
fn written(file: &ResolvedFile) -> Result<Option<Digest>> {
    let parsed = file.sha256.as_deref().map(str::parse).transpose();
    parsed.map_err(|error| Error::invalid(format!("the SHA-256 of {} is none", label(file))).caused_by(error))
}

fn missing_offline(file: &ResolvedFile, is_unvouched: bool) -> Error {
    let why = match (&file.checksum_url, is_unvouched) {
        (Some(url), true) => format!("{url} was not asked yet whether {} is right", file.url),
        (None, true) => format!("no checksum is known for {}", file.url),
        (_, false) => format!("{} is not in the store", file.url),
    };
    Error::new(Class::NotFound, why).hint("run once without --offline")
}

/// Names that can not be file names, or that two files claim.
fn badly_named(files: &[ResolvedFile]) -> BTreeMap<usize, Error> {
    let mut bad = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (at, file) in files.iter().enumerate() {
        if let Some(problem) = name_problem(&file.name, "a file", &YamlPath::root()) {
            bad.insert(at, Error::invalid(problem.message).hint(problem.hint));
        } else if !seen.insert(&file.name) {
            let error = Error::invalid(format!("two files are called `{}`", file.name));
            bad.insert(at, error.hint("rename one of them in components.yaml"));
        }
    }
    bad
}

/// The path of a URL, decoded.
fn decoded_path(url: &str) -> String {
    let path = Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned());
    let mut rest = path.as_str();
    let mut name = Vec::new();
    while let Some((before, after)) = rest.split_once('%') {
        name.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                name.push(byte);
                rest = &after[2..];
            }
            None => {
                name.push(b'%');
                rest = after;
            }
        }
    }
    name.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&name).into_owned()
}

/// The host of a URL, with its port where it is not the usual one.
fn origin(url: &str) -> String {
    let host = |url: Url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    };
    Url::parse(url).ok().and_then(host).unwrap_or_else(|| "components.yaml".to_owned())
}
