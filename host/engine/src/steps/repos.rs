//! The `repos` step: git repositories at their pinned commit.
//!
//! For every repository of the resolved components, several at a time:
//! 1. [`Source::new`] checks URL, ref and commit, and names the folder as
//!    Zarf does;
//! 2. the pin comes from components.yaml, else airgap.lock, else the server
//!    ([`pin::resolve`]), and goes into airgap.lock;
//! 3. a clone that holds the pin is left alone, otherwise [`RepositoryClone::fetch`]
//!    fetches what is missing;
//! 4. [`RepositoryClone::check`] refuses submodules and LFS;
//! 5. [`pack::canonical`] makes the pack, [`pack::emit`] the tree.
//!
//! A clone that is not sound, or turns out to be damaged, is made anew from what
//! it holds ([`soundness`]). A bad repository
//! does not stop the others. Without a network only the clones answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use model::Export;
use model::count::counted;
use model::{Repository, RepositoryEntry};

use self::clone::RepositoryClone;
use self::pin::Pin;
use self::source::Source;
use super::failures::{Failures, is_fatal};
use crate::state::journal::Journal;
use crate::steps::{Step, StepContext, at_once, not_here};
use base::error::{Class, Error, Result};
use base::layout::RESERVED;
use base::progress::{Level, Progress, StepOutcome};
use config::settings::{NetworkSettings, RetrySettings};
use disk::fs;
use disk::tree::TreeBuilder;
use fetch::git::{Git, RemoteOptions};
use fetch::network::Direct;
use fetch::shared_lock::SharedLock;
use futures_util::future::BoxFuture;

mod clone;
mod export;
mod pack;
mod pin;
mod soundness;
mod source;

/// Repositories at the same time: packing keeps a core busy, fetching waits.
const CONCURRENCY: usize = 3;
/// Where distributions keep the authorities that programs trust.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const BUNDLE_LIMIT: u64 = 16 << 20;
const PACKED_REFS_LIMIT: u64 = 64 << 20;

/// The step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReposStep;

impl Step for ReposStep {
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async move {
            let components = super::images::components(cx.inputs.get("manifests"))?;
            let settings = &cx.project.settings;
            let work = ReposRun {
                build: &cx.project.layout.build,
                online: cx.network.is_some(),
                network: &settings.network,
                direct: cx.network.as_ref().map(|network| network.direct().clone()).unwrap_or_default(),
                authorities: authorities(&settings.network, &cx.project.layout.config, &cx.output)?,
                retries: &settings.retries,
                lock: &cx.lock,
                output: &cx.output,
                journal: Some(&cx.journal),
                progress: &cx.progress,
                exports: components.exports,
            };
            work.run(&components.repositories).await
        })
    }
}

/// The system's authorities and those of the settings in one file: git takes
/// one and then trusts nothing else. It lies beside the tree of the attempt and
/// goes with it. None where the settings name none.
fn authorities(settings: &NetworkSettings, config: &Path, output: &TreeBuilder) -> Result<Option<PathBuf>> {
    if settings.ca_files.is_empty() {
        return Ok(None);
    }
    let system = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned);
    let own = settings.ca_files.iter().map(|path| config.join(path));
    let mut bundle = Vec::new();
    for path in system.into_iter().chain(own) {
        let bytes = fs::read_optional(&path, BUNDLE_LIMIT)?
            .ok_or_else(|| Error::configuration(format!("`{}` of network.ca_files is missing", path.display())))?;
        bundle.extend_from_slice(&bytes);
        bundle.push(b'\n');
    }
    let path = absolute(&output.root().with_file_name("authorities.pem"))?;
    fs::write_atomic(&path, &bundle)?;
    Ok(Some(path))
}

/// What one run of the step works with.
struct ReposRun<'a> {
    /// build/, where the clones lie.
    build: &'a Path,
    online: bool,
    network: &'a NetworkSettings,
    direct: Direct,
    authorities: Option<PathBuf>,
    retries: &'a RetrySettings,
    lock: &'a SharedLock,
    output: &'a TreeBuilder,
    journal: Option<&'a Journal>,
    progress: &'a Progress,
    /// Folders that charts are packed from.
    exports: Vec<Export>,
}

/// A repository that is in the tree.
struct Packaged {
    entry: RepositoryEntry,
    bytes: u64,
    fetched: bool,
}

impl ReposRun<'_> {
    async fn run(&self, repositories: &[Repository]) -> Result<StepOutcome> {
        let total = repositories.len() as u64;
        if let Some(journal) = self.journal {
            journal.total(total, "repositories")?;
        }
        let mut packaged = BTreeMap::new();
        let mut failures = Failures::default();
        if total > 0 {
            let git = Git::find(RemoteOptions::new(self.network, self.direct.clone()), self.progress).await?;
            let git = self.authorities.clone().map_or_else(|| git.clone(), |bundle| git.trusting(bundle));
            self.progress.items(0, Some(total), "repositories", "");
            let one = |(at, repository)| -> BoxFuture<'_, (usize, Result<Packaged>)> {
                Box::pin(self.indexed(&git, at, repository))
            };
            let mut done = at_once(repositories.iter().enumerate(), CONCURRENCY, one);
            while let Some((at, result)) = done.next().await {
                let repository = &repositories[at];
                match result {
                    Ok(one) => {
                        self.done(&repository.name, one.bytes)?;
                        packaged.insert(at, one);
                        self.progress.items(packaged.len() as u64, Some(total), "repositories", &repository.name);
                    }
                    Err(error) if is_fatal(&error) => return Err(failures.ended_by(error)),
                    Err(error) => {
                        failures.add(&repository.name, &origin(repository), error, self.journal, self.progress)?;
                    }
                }
            }
        }
        if !failures.is_empty() {
            return Err(failures.into_error(repositories.len(), "repositories"));
        }
        refuse_duplicates(&packaged)?;
        let fetched = packaged.values().filter(|one| one.fetched).count();
        let entries: Vec<_> = packaged.into_values().map(|one| one.entry).collect();
        let text = serde_json::to_vec_pretty(&entries)
            .map_err(|source| Error::invalid("cannot write repos.json").caused_by(source))?;
        self.output.write("repos.json", &text, false)?;
        let summary = format!("{}, {fetched} fetched", counted(repositories.len(), "repository", "repositories"));
        Ok(StepOutcome { summary, items: total, unit: "repositories".to_owned() })
    }

    fn done(&self, name: &str, bytes: u64) -> Result<()> {
        self.journal.map_or(Ok(()), |journal| journal.done(name, bytes))
    }

    async fn indexed(&self, git: &Git, at: usize, repository: &Repository) -> (usize, Result<Packaged>) {
        (at, self.one(git, repository).await)
    }

    async fn one(&self, git: &Git, repository: &Repository) -> Result<Packaged> {
        self.progress.check()?;
        let source = Source::new(repository)?;
        if RESERVED.contains(&source.name.as_str()) {
            return Err(Error::configuration(format!("the repository name `{}` is reserved in build/", source.name))
                .hint("choose another name in components.yaml"));
        }
        let clone = RepositoryClone {
            git,
            directory: absolute(&self.build.join(&source.name))?,
            source: &source,
            retries: self.retries,
            progress: self.progress,
        };
        match self.attempt(&clone).await {
            Err(error) if error.class() == Class::Integrity => {
                let shown = clone.directory.display();
                self.progress.warn(&format!("the clone `{shown}` is damaged and is made anew: {error}"));
                soundness::renew(&clone).await?;
                self.attempt(&clone).await
            }
            other => other,
        }
    }

    async fn attempt(&self, clone: &RepositoryClone<'_>) -> Result<Packaged> {
        let source = clone.source;
        let locked = self.lock.lock().repositories.get(&source.lock_key).cloned();
        let known = pin::known(source, locked.as_ref());
        if known.is_none() {
            self.lock.may_resolve("this repository")?;
        }
        if !self.online && (known.is_none() || !clone.directory.exists()) {
            return Err(unreachable_offline(source));
        }
        soundness::prepare(clone).await?;
        let (pin, fetched) = self.obtain(clone, known).await?;
        clone.check(&pin).await?;
        let files = pack::canonical(clone, &pin).await?;
        pack::emit(clone, &pin, &files, self.output)?;
        for export in self.exports.iter().filter(|export| export.repository == source.name) {
            export::folder(clone, &pin, &export.path, self.output).await?;
        }
        clone.clear_leftovers()?;
        let bytes = files.iter().map(|file| file.size).sum();
        if !fetched {
            self.progress.reused(bytes);
        }
        let other = self.lock.enter_repository(source.lock_key.clone(), pin.to_locked())?;
        other.iter().for_each(|told| self.progress.warn(told));
        let entry = RepositoryEntry {
            name: source.name.clone(),
            url: source.url.clone(),
            zarf_reference: source.zarf_reference.clone(),
            commit: pin.commit,
            path: source.folder.clone(),
            is_pinned: source.commit.is_some() || source.named_commit().is_some(),
        };
        Ok(Packaged { entry, bytes, fetched })
    }

    /// The pin, with its objects in the clone, and whether they were fetched.
    async fn obtain(&self, clone: &RepositoryClone<'_>, known: Option<Pin>) -> Result<(Pin, bool)> {
        let pin = match known {
            Some(pin) => {
                self.warn_where_moved(clone, &pin).await?;
                pin
            }
            None => pin::resolve(clone.source, &clone.ask(self.retries.requests).await?)?,
        };
        if clone.holds(&pin).await? {
            return Ok((pin, false));
        }
        if !self.online {
            return Err(unreachable_offline(clone.source));
        }
        clone.fetch(&pin).await?;
        Ok((pin, true))
    }

    /// A reference that moved keeps the lock. A server that does not answer
    /// is no failure here: nothing is needed from it yet, and it is not asked
    /// again.
    async fn warn_where_moved(&self, clone: &RepositoryClone<'_>, pin: &Pin) -> Result<()> {
        let source = clone.source;
        if !self.online || source.commit.is_some() || pin.reference.is_none() {
            return Ok(());
        }
        let now = match clone.ask(1).await {
            Ok(advertised) => pin::resolve(source, &advertised),
            Err(error) => Err(error),
        };
        let reference = source.reference.as_deref().unwrap_or("HEAD");
        match now {
            Err(error) if error.class() == Class::Interrupted => return Err(error),
            Err(error) => self.progress.log(Level::Info, &format!("cannot tell whether `{reference}` moved: {error}")),
            Ok(now) if now.commit != pin.commit || now.tag != pin.tag => self.progress.warn(&format!(
                "`{reference}` of repository `{}` is now at {}; airgap.lock keeps {} (`opencenter-airgap update {}` takes the new one)",
                source.name, &now.commit[..12], pin.commit, source.name
            )),
            Ok(_) => {}
        }
        Ok(())
    }
}

/// Whether a clone holds all of these objects, told from its files: git names
/// what was fetched completely `refs/pins/<object>`.
pub(crate) fn holds(clone: &Path, objects: &[&str]) -> bool {
    let packed = fs::read_optional(&clone.join("packed-refs"), PACKED_REFS_LIMIT).ok().flatten().unwrap_or_default();
    let packed = String::from_utf8_lossy(&packed);
    let is_packed = |object: &str| packed.lines().any(|line| line == format!("{object} refs/pins/{object}"));
    let says =
        |object: &str| fs::read_optional(&clone.join("refs/pins").join(object), PACKED_REFS_LIMIT).ok().flatten();
    let is_loose = |object: &str| says(object).is_some_and(|said| said.trim_ascii() == object.as_bytes());
    let is_there = |object: &&str| is_loose(object) || is_packed(object);
    clone.join("HEAD").is_file() && objects.iter().all(is_there)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::io("cannot resolve", path, source))
}

fn unreachable_offline(source: &Source) -> Error {
    let wanted = source.reference.as_deref().or(source.commit.as_deref()).unwrap_or("HEAD");
    not_here(format!("repository `{}` ({}) at {wanted} is not in build/", source.name, source.url))
}

/// Two names for one repository would share a folder in the package.
fn refuse_duplicates(packaged: &BTreeMap<usize, Packaged>) -> Result<()> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for one in packaged.values() {
        if let Some(other) = seen.insert(&one.entry.path, &one.entry.name) {
            return Err(Error::invalid(format!(
                "the repositories `{other}` and `{}` are both {}",
                one.entry.name, one.entry.zarf_reference
            ))
            .hint("remove one of them from components.yaml"));
        }
    }
    Ok(())
}

/// The server, for the table of failures.
fn origin(repository: &Repository) -> String {
    Source::new(repository).map_or_else(|_| "components.yaml".to_owned(), |source| source.origin())
}

#[cfg(test)]
mod tests;
