//! What the definition imports from registries, brought before a build begins:
//! nobody knows what is to be built without.
//!
//! [`fetch`] asks for each skeleton package that is not there, as airgap.lock says
//! or for the first time, lays it into build/imports, and reads the configuration
//! again, until nothing is lacking. What it saw goes into the lock with the first
//! commit of the build ([`Options::found`]). Where the store holds a skeleton no
//! network is used.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use model::count::counted;
use tokio_util::sync::CancellationToken;

use crate::orchestrator::needs::{self, Useless};
use crate::orchestrator::preview::OnDisk;
use crate::orchestrator::session::{OnChange, Options};
use crate::state::{BuildState, ExclusiveState};
use ::fetch::network::{Network, NetworkEnvironment};
use ::fetch::skeleton::{self, LARGEST_FILES, Parts};
use ::fetch::store::Store;
use archive::unpack::{Source, UnpackLimits, unpack};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::Layout;
use base::leash::Leash;
use base::progress::{Level, Observer, Progress};
use config::airgap_lock::{AirgapLock, LockedFile};
use config::{Project, imports};
use disk::fs;
use disk::tree::TreeBuilder;
use entitlement::Asker;

/// Files and folders of one skeleton.
const ENTRIES: u32 = 40_000;
/// Imports of what was imported.
const DEEPEST: usize = 32;
/// What its progress is told as.
const STEP: &str = "imports";

/// What it takes to ask for them.
pub struct Surroundings {
    /// Who shows what happens.
    pub observer: Arc<dyn Observer>,
    /// Cancelled when the user asks to stop.
    pub cancel: CancellationToken,
    /// Proxies and credentials.
    pub network: NetworkEnvironment,
    /// The clock.
    pub now: Timestamp,
}

/// Whether [`fetch`] has anything to do.
pub fn are_lacking(project: &Project, options: &Options) -> bool {
    !project.unfetched().is_empty() || !asked_again(project, options).is_empty()
}

/// Brings every skeleton that the project's definition imports and that is not
/// there, and with an update those that are asked for again. Gives the project with
/// them.
///
/// # Errors
/// `changed` with `--locked`, `not-found` with `--offline`, those of
/// [`skeleton::fetch`], `invalid-input` for an archive that reaches out of its
/// folder; whatever is wrong with the configuration then.
pub async fn fetch(project: Project, options: &mut Options, surroundings: &Surroundings) -> Result<Project> {
    if !are_lacking(&project, options) {
        return Ok(project);
    }
    let again = asked_again(&project, options);
    let Surroundings { observer, cancel, now, .. } = surroundings;
    let layout = project.layout.clone();
    let _held = ExclusiveState::take(&layout, if options.refresh.is_some() { "update" } else { "build" }, *now)?;
    let progress = Progress::new(STEP, observer.clone(), cancel.clone());
    let build = BuildState::new(&project.pipeline, *now).build_id;
    let mut importer = Importer { store: Store::open(layout.store())?, network: None, surroundings, progress, build };
    let mut project = project;
    for url in again {
        importer.moved(&project, &url, options).await?;
    }
    for _ in 0..DEEPEST {
        let mut choices = project.choices.clone();
        choices.seen = seen(&options.found);
        project = Project::load_with(layout.clone(), choices)?;
        if project.unfetched().is_empty() {
            return Ok(project);
        }
        importer.refuse(&project, options)?;
        for url in project.unfetched().to_vec() {
            importer.bring(&project, &url, options).await?;
        }
    }
    Err(Error::invalid(format!(
        "{} lead to others without end",
        counted(project.unfetched().len(), "import", "imports")
    ))
    .hint("let one of the definitions not import the other"))
}

/// The skeletons that an update asks for again.
fn asked_again(project: &Project, options: &Options) -> Vec<String> {
    let keys = options.refresh.as_deref().unwrap_or_default();
    let is_meant = |url: &&str| keys.iter().any(|key| key == "*" || key == url);
    project.skeletons().into_iter().filter(is_meant).map(str::to_owned).collect()
}

fn seen(found: &AirgapLock) -> BTreeMap<String, Digest> {
    found.files.iter().map(|(url, file)| (url.as_str().to_owned(), file.sha256)).collect()
}

struct Importer<'a> {
    store: Store,
    network: Option<Network>,
    surroundings: &'a Surroundings,
    progress: Progress,
    build: String,
}

impl Importer<'_> {
    /// All that `--locked` and `--offline` do not let be asked for, at once.
    fn refuse(&self, project: &Project, options: &Options) -> Result<()> {
        let mut lock = project.lock.clone();
        lock.absorb(&options.found);
        let held = OnDisk { store: &self.store, layout: &project.layout };
        let unfetched: Vec<&str> = project.unfetched().iter().map(String::as_str).collect();
        let needed = needs::skeletons(&unfetched, &lock, &held);
        let useless = Useless::default();
        let drift = options.locked.then(|| needs::drift(&needed, &useless)).flatten();
        let missing = || options.offline.then(|| needs::missing_offline(&needed, &useless)).flatten();
        drift.or_else(missing).map_or(Ok(()), Err)
    }

    /// What a skeleton is now, where it is not what airgap.lock says.
    async fn moved(&mut self, project: &Project, url: &str, options: &mut Options) -> Result<()> {
        let locked = locked(project, options, url);
        let now = self.ask(project, (url, None), options).await?;
        if locked != Some(now) {
            // What is to be built is another thing now.
            options.on_change = OnChange::Restart;
        } else {
            options.found.files.remove(url);
        }
        Ok(())
    }

    async fn bring(&mut self, project: &Project, url: &str, options: &mut Options) -> Result<()> {
        let locked = locked(project, options, url);
        let held = locked.map(|locked| skeleton::held(&self.store, &locked)).transpose()?.flatten();
        let (manifest, parts) = match (locked, held) {
            (Some(locked), Some(parts)) => (locked, parts),
            _ => {
                let manifest = self.ask(project, (url, locked), options).await?;
                let parts = Parts::held(&self.store, &manifest);
                (manifest, parts.ok_or_else(|| Error::local(format!("{url} is not in the store any more")))?)
            }
        };
        self.progress.check()?;
        let (layout, store, at) = (project.layout.clone(), self.store.clone(), url.to_owned());
        let leash = Leash::new(self.surroundings.cancel.clone());
        let work = move || unpacked(&layout, &store, (&at, &manifest, &parts), &leash);
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|error| Error::local("unpacking ended early").caused_by(error))?
    }

    /// Asks the registry, and enters what it says.
    async fn ask(
        &mut self,
        project: &Project,
        (url, locked): (&str, Option<Digest>),
        options: &mut Options,
    ) -> Result<Digest> {
        let Surroundings { network, .. } = self.surroundings;
        if self.network.is_none() {
            self.network = Some(Network::new(&project.settings, &project.layout.config, network.clone())?);
        }
        let Some(network) = &self.network else { return Err(Error::local("there is no network")) };
        let asked = skeleton::fetch(network, &self.store, (url, locked), &self.build, &self.progress);
        let found = asked.await.map_err(|error| error.context(format!("the import {url}")))?;
        let (digest, size) = (found.seen.digest(), found.seen.size());
        self.progress.log(Level::Info, &format!("the definition imports {url}: {digest}"));
        if locked.is_none() {
            let file = LockedFile { sha256: digest, size, checksum: None, build: Some(self.build.clone()) };
            options.found.absorb(&AirgapLock::of_file(&Asker::Host, url, file));
        }
        Ok(digest)
    }
}

/// The manifest that is known to be meant.
fn locked(project: &Project, options: &Options, url: &str) -> Option<Digest> {
    let of_lock = || project.lock.files.get(url).filter(|file| file.build.is_some());
    options.found.files.get(url).or_else(of_lock).map(|file| file.sha256)
}

/// Lays a skeleton into build/imports: first beside its place, so that it is whole
/// where it lies there.
fn unpacked(
    layout: &Layout,
    store: &Store,
    (url, manifest, parts): (&str, &Digest, &Parts),
    leash: &Leash,
) -> Result<()> {
    let folder = imports::folder(layout, manifest);
    imports::remove(&folder)?;
    let temporary = fs::temporary_beside(&folder);
    fs::remove_dir_all(&temporary)?;
    fs::create_dir_all_durable(&temporary)?;
    let definition = store.read(&parts.definition.0, parts.definition.1)?;
    let definition = definition.ok_or_else(|| Error::local(format!("{url} is not in the store any more")))?;
    fs::write_new(&temporary.join(imports::DEFINITION), &definition)?;
    let mut left = UnpackLimits { total: LARGEST_FILES, entries: ENTRIES };
    for (name, (digest, _)) in &parts.components {
        let took = component(
            &temporary,
            name,
            Source { path: &store.path(digest), shown: &format!("components/{name}.tar of {url}"), leash },
            left,
        )?;
        left = UnpackLimits { total: left.total - took.total, entries: left.entries - took.entries };
    }
    fs::sync_below(&temporary)?;
    fs::rename(&temporary, &folder)?;
    fs::sync_parent(&folder)?;
    imports::seal(&folder)
}

/// The files of one component, without the folder that all of them lie in.
fn component(skeleton: &Path, name: &str, archive: Source<'_>, left: UnpackLimits) -> Result<UnpackLimits> {
    let shown = archive.shown.to_owned();
    let whole = skeleton.join(format!(".{name}"));
    fs::create_dir_all(&whole)?;
    let tree = TreeBuilder::new(whole.clone());
    let took = unpack(archive, &tree, left)?;
    let listing = tree.listing();
    let mut tops: Vec<&str> =
        listing.artifacts.iter().map(|artifact| artifact.path.split('/').next().unwrap_or_default()).collect();
    tops.dedup();
    match (tops.as_slice(), listing.artifacts.iter().all(|artifact| artifact.path.contains('/'))) {
        ([], _) => {}
        ([top], true) => fs::rename(&whole.join(top), &skeleton.join(name))?,
        _ => {
            let message = format!("{shown} does not hold one folder");
            return Err(Error::new(Class::InvalidInput, message).hint("publish the skeleton again, with Zarf"));
        }
    }
    fs::remove_dir_all(&whole)?;
    Ok(took)
}
