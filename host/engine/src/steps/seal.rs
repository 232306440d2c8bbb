//! What vouches for the package that a step has made: its signature, where the
//! settings name a key, and the statement how it was made.
//!
//! The plugin that makes the package holds no key: the host signs what it made,
//! with the code of the command `sign`, and says the new digest in the files
//! beside it.

use std::path::Path;
use std::sync::Arc;

use super::{StepContext, discovered, images};
use base::error::{Class, Error, Result};
use base::leash::Leash;
use config::Project;
use config::airgap_lock::AirgapLock;
use config::core_plugins::DISCOVER;
use config::lock_names::Names;
use config::pin_signature::PinSignature;
use config::pipeline::{Runner, StepSpec};
use config::plugins_lock::Pin;
use config::runners::Runners;
use disk::fs;
use disk::tree::{Artifact, TreeBuilder};
use model::zarf::is_package_file;
use plugin_host::catalog;
use seal::beside::{self, Whole};
use seal::package::Placing;
use seal::provenance::{self, Made, StepRow};
use signing::PrivateKey;

/// Bytes of the list of a package.
const LARGEST_LIST: u64 = 64 << 20;
/// The step whose tree says what the package is made of.
const MANIFESTS: &str = "manifests";

/// Signs the packages among the outputs of a step, and says of each how it was
/// made.
///
/// # Errors
/// `configuration` where the settings name a key and there is none to sign
/// with; as [`seal::package::sign`].
pub(super) async fn seal(spec: &StepSpec, cx: &StepContext) -> Result<()> {
    let is_package = |artifact: &Artifact| is_package_file(&artifact.path);
    let packages: Vec<Artifact> = cx.output.listing().artifacts.into_iter().filter(is_package).collect();
    if cx.project.settings.signing.key.is_some() && cx.signer.is_none() {
        return Err(Error::configuration("`signing.key` names a key, and this command has none to sign with"));
    }
    let lock = named(cx)?;
    let (cx, spec) = (cx.clone(), spec.clone());
    let work = move || packages.iter().try_for_each(|package| seal_one(package, &spec, &cx, &lock));
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|source| Error::local("signing the package ended early").caused_by(source))?
}

/// What the lock holds for what the configuration names.
fn named(cx: &StepContext) -> Result<AirgapLock> {
    let mut lock = cx.lock.lock().clone();
    if cx.inputs.contains_key(MANIFESTS) {
        let mut components = images::components(cx.inputs.get(MANIFESTS))?;
        components.images.extend(discovered::added(cx.inputs.get(DISCOVER))?.into_keys());
        let names = Names::new(&components, &cx.project.of_architectures(), Runners::of(&cx.project));
        lock.prune(&names.with_skeletons(&cx.project.skeletons()));
    }
    Ok(lock)
}

fn seal_one(package: &Artifact, spec: &StepSpec, cx: &StepContext, lock: &AirgapLock) -> Result<()> {
    let name = &package.path;
    let path = format!("{name}{}", beside::PROVENANCE);
    if cx.output.get(&path).is_some() {
        let message = format!("the step `{}` made `{path}`, which the host writes", spec.id);
        return Err(Error::new(Class::Plugin, message).hint("give the file another name"));
    }
    let whole = match &cx.signer {
        None => (package.digest, package.size),
        Some(key) => sign(package, key, cx)?,
    };
    let project = &cx.project;
    let made = Made {
        package: provenance::Package {
            name: project.settings.package.name.clone(),
            version: project.settings.package.version.clone(),
            architecture: project.architecture().to_owned(),
        },
        version: env!("CARGO_PKG_VERSION"),
        epoch: cx.epoch,
        configuration: &project.hashes,
        steps: steps(project),
        lock,
    };
    let statement = provenance::statement(name, &whole.0, made)?;
    let key = cx.signer.as_deref();
    cx.output.write(&path, &provenance::file(&statement, key)?, false)?;
    Ok(())
}

/// Puts the signed package into the place of the other, and says so beside it.
fn sign(package: &Artifact, key: &Arc<PrivateKey>, cx: &StepContext) -> Result<Whole> {
    let Artifact { path: name, digest, size, .. } = package;
    let (output, root) = (&cx.output, cx.output.root());
    let leash = Leash::new(cx.progress.cancellation().clone());
    cx.progress.working("signing");
    let signed = seal::package::sign(&root.join(name), *digest, key, Placing::InPlace, leash)?;
    output.record(Artifact { digest: signed.0, size: signed.1, ..package.clone() });
    let checksum = format!("{name}{}", beside::CHECKSUM);
    if output.get(&checksum).is_some() {
        output.write(&checksum, beside::checksum(name, &signed.0).as_bytes(), false)?;
    }
    for list in [format!("{name}{}", beside::LIST), beside::LAST_LIST.to_owned()] {
        renew(output, root, &list, (*digest, *size), signed)?;
    }
    Ok(signed)
}

/// A list about the package says its new digest.
fn renew(output: &TreeBuilder, root: &Path, list: &str, before: Whole, after: Whole) -> Result<()> {
    if output.get(list).is_none() {
        return Ok(());
    }
    let Some(bytes) = fs::read_optional(&root.join(list), LARGEST_LIST)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    match beside::list_of(&text, before, after).map_err(|error| error.context(format!("`{list}`")))? {
        Some(text) => output.write(list, text.as_bytes(), false).map(drop),
        None => Ok(()),
    }
}

/// Every step of the pipeline, with the code that does it.
fn steps(project: &Project) -> Vec<StepRow> {
    project.pipeline.steps.iter().map(|step| row(step, project)).collect()
}

fn row(step: &StepSpec, project: &Project) -> StepRow {
    let program = concat!("opencenter-airgap ", env!("CARGO_PKG_VERSION"));
    let of_host = |name: &str| StepRow {
        id: step.id.clone(),
        runner: "host".to_owned(),
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: None,
        source: Some(program.to_owned()),
        signer: None,
        replaces_core: false,
    };
    let name = match &step.run {
        Runner::Host(step) => return of_host(step.as_str()),
        Runner::Plugin(name) => name,
    };
    let Some(found) = catalog::identity(name, &project.plugin_pins) else { return of_host(name) };
    let pin = project.plugin_pins.pin(name);
    StepRow {
        runner: if pin.is_some() { "plugin" } else { "core plugin" }.to_owned(),
        name: found.name,
        version: found.version,
        digest: Some(found.digest),
        source: Some(pin.as_ref().map_or_else(|| program.to_owned(), |(pin, _)| came_from(pin))),
        signer: pin.and_then(|(pin, _)| pin.signature.as_ref().map(PinSignature::signer)),
        replaces_core: found.replaces_core,
        ..of_host(name)
    }
}

/// Where a component came from: its address, or the file that was pinned.
fn came_from(pin: &Pin) -> String {
    pin.source.clone().unwrap_or_else(|| format!("file:{}", pin.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::pipeline::Pipeline;

    #[test]
    fn every_step_names_its_code() {
        let layout = base::layout::Layout::new("/c", "/b", "/d");
        let project = Project { pipeline: Pipeline::built_in(), ..Project::unconfigured(layout).unwrap() };
        let rows = steps(&project);
        assert_eq!(rows.len(), project.pipeline.steps.len());
        let row = |id: &str| rows.iter().find(|row| row.id == id).unwrap();
        assert_eq!((row("images").runner.as_str(), row("images").digest), ("host", None));
        let package = row("package");
        assert_eq!(package.runner, "core plugin");
        assert_eq!(package.digest, catalog::identity("package", &project.plugin_pins).map(|found| found.digest));
    }
}
