//! What may be pinned: bytes out of a file or from an address, with the signature
//! that was asked for, and what they say about themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::inside;
use super::{executor, missing, runtime, told};
use crate::environment::Variables;
use crate::signals::Attended;
use crate::ui::Ui;
use crate::wall::{self, Runs};
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::shown;
use base::progress::Progress;
use config::Project;
use config::pin_signature::{self, PinSignature};
use config::pin_source::PinSource;
use disk::fs;
use entitlement::grants::Grants;
use fetch::component::{self, BUNDLES, Component, ComponentRequest};
use fetch::network::Network;
use fetch::store::Store;
use plugin_host::catalog::PluginSource;
use plugin_host::limits::COMPONENT_BYTES;
use plugin_host::{Description, Runtime, contract_of};
use signing::PublicKey;

/// Bytes that may be pinned, and how they came.
pub(super) struct Candidate {
    pub(super) bytes: Vec<u8>,
    /// What it is called until it says its own name.
    pub(super) called: String,
    /// Where they lie already, relative to the folder that holds config/.
    pub(super) lies: Option<PathBuf>,
    pub(super) source: Option<PinSource>,
    pub(super) manifest: Option<Digest>,
    pub(super) signature: Option<PinSignature>,
}

/// A runtime behind the wall, for looking at what others wrote.
pub(super) struct Bench {
    pub(super) runtime: Arc<Runtime>,
    pub(super) executor: tokio::runtime::Runtime,
    pub(super) progress: Progress,
    _attended: Attended,
}

impl Bench {
    /// Raises the wall, so it is the first thing that happens. What is written
    /// and whom it connects to is left open.
    ///
    /// # Errors
    /// As [`wall::raise`].
    pub(super) fn set_up(
        project: &Project,
        folder: &Path,
        addresses: &str,
        ui: &Ui,
        variables: &Variables,
    ) -> Result<Self> {
        let wall = wall::raise_beside(project, Runs::Unknown, Some(folder), addresses, ui, variables)?;
        let attended = Attended::begin(ui)?;
        attended.gracefully(ui);
        let progress = told(ui, attended.cancellation());
        Ok(Self { runtime: runtime(project, wall, variables), executor: executor()?, progress, _attended: attended })
    }

    /// # Errors
    /// `plugin` for what is no step.
    pub(super) fn describe(&self, source: &PluginSource) -> Result<Description> {
        self.executor.block_on(self.runtime.describe(source, &self.progress))
    }

    /// Asks an address.
    ///
    /// # Errors
    /// As [`component::fetch`].
    pub(super) fn fetch(
        &self,
        project: &Project,
        source: &PinSource,
        keys: &[PublicKey],
        expected: Option<Digest>,
        variables: &Variables,
    ) -> Result<Candidate> {
        let scratch = fs::scratch(&variables.temporary)?;
        let store = Store::open(scratch.path().join("store"))?;
        let network = Network::new(&project.settings, &project.layout.config, variables.network.clone())?;
        let wanted = ComponentRequest { source, keys, expected, limit: COMPONENT_BYTES };
        let found = self.executor.block_on(component::fetch(&network, &store, wanted, &self.progress))?;
        let Component { bytes, manifest, signature } = found;
        let called = source.called();
        Ok(Candidate { bytes, called, lies: None, source: Some(source.clone()), manifest, signature })
    }
}

/// A component that lies in plugins/ stays there; every other one is copied.
///
/// # Errors
/// `configuration` where there is no file; `integrity` where it is not what was
/// expected, or not signed by one of the keys.
pub(super) fn from_file(
    project: &Project,
    file: &Path,
    keys: &[PublicKey],
    expected: Option<Digest>,
) -> Result<Candidate> {
    let bytes = fs::read_optional(file, COMPONENT_BYTES)?.ok_or_else(|| missing(file))?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(Error::integrity(format!("`{}` has {digest}, and {expected} was asked for", shown(file)))
            .hint("get the file again, or ask its author which one it is"));
    }
    let signature = if keys.is_empty() { None } else { Some(bundle_beside(file, &digest, keys)?) };
    let called = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Candidate { bytes, called, lies: inside(&project.root, file)?, source: None, manifest: None, signature })
}

fn bundle_beside(file: &Path, digest: &Digest, keys: &[PublicKey]) -> Result<PinSignature> {
    for ending in BUNDLES {
        let mut beside = file.as_os_str().to_owned();
        beside.push(ending);
        let beside = PathBuf::from(beside);
        if let Some(bundle) = fs::read_optional(&beside, pin_signature::LARGEST)? {
            return PinSignature::of_component(keys, digest, &bundle)
                .map_err(|error| error.context(format!("`{}`", shown(&beside))));
        }
    }
    let [first, second] = BUNDLES.map(|ending| format!("`{}{ending}`", shown(file)));
    Err(Error::integrity(format!("the plugin is not signed: there is neither {first} nor {second}")).hint(format!(
        "its author makes one: `cosign sign-blob --bundle {}{} …`",
        shown(file),
        BUNDLES[0]
    )))
}

/// A candidate, and what it says about itself.
pub(super) struct LookedAt {
    pub(super) source: PluginSource,
    pub(super) description: Description,
    pub(super) contract: Option<String>,
}

/// # Errors
/// `plugin` for what is no step.
pub(super) fn look(bench: &Bench, candidate: &Candidate) -> Result<LookedAt> {
    let source = PluginSource::new(&candidate.called, "unknown", candidate.bytes.clone(), Grants::default())?;
    let description = bench.describe(&source).map_err(|error| match &candidate.source {
        Some(address) => error.context(format!("what {address} gave is not used")),
        None => error,
    })?;
    Ok(LookedAt { contract: contract_of(&source.component()?), source, description })
}
