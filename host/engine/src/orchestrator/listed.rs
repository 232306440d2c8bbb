//! What a build is of: the components that the configuration names, as a step or the
//! configuration in memory resolved them, with the images that are found in charts.

use std::collections::BTreeSet;

use config::resolved::resolved;
use model::{RESOLVED, ResolvedComponents};

use super::MANIFESTS;
use super::outputs::tree_of;
use crate::steps::discovered;
use base::error::{Class, Error, Result};
use base::layout::shown;
use config::Project;
use config::airgap_lock::AirgapLock;
use config::core_plugins::DISCOVER;
use config::settings::Discover;
use disk::tree::Tree;

/// The resolved components in the tree of the step that publishes them.
///
/// # Errors
/// `state` where they are missing or damaged.
pub(crate) fn components_of(tree: &Tree) -> Result<ResolvedComponents> {
    let damaged = || {
        Error::new(Class::State, format!("`{}` is missing or damaged", shown(&tree.path_of(RESOLVED))))
            .hint(format!("run `opencenter-airgap build --step {MANIFESTS}` to make it again"))
    };
    resolved(tree).map_err(|error| damaged().caused_by(error))?.ok_or_else(damaged)
}

/// The components with the images that are found in charts, where those are added:
/// as the step that finds them found them, where it `is_done`, else as the lock
/// knows them from another build.
///
/// # Errors
/// `state`, `invalid-input` where the list of that step is missing or damaged.
pub(crate) fn with_found(
    project: &Project,
    mut components: ResolvedComponents,
    lock: &AirgapLock,
    is_done: impl Fn(&str) -> bool,
) -> Result<ResolvedComponents> {
    if project.settings.images.discover != Discover::Add {
        return Ok(components);
    }
    let finder = project.pipeline.steps.iter().find(|step| step.runs(DISCOVER)).map(|step| step.id.as_str());
    match finder.filter(|id| is_done(id)) {
        Some(id) => components.images.extend(discovered::added(Some(&tree_of(&project.layout, id)?))?.into_keys()),
        None => add_locked(project, &mut components, lock),
    }
    Ok(components)
}

fn add_locked(project: &Project, components: &mut ResolvedComponents, lock: &AirgapLock) {
    let platform = format!("linux/{}", project.architecture());
    let named: BTreeSet<String> = components.images.iter().cloned().collect();
    components.images.extend(lock.found_images(&platform).filter(|image| !named.contains(*image)).map(str::to_owned));
}

/// What the configuration names as it is now, and what the lock says was found in
/// charts.
///
/// # Errors
/// `configuration`.
pub(crate) fn in_memory(project: &Project) -> Result<ResolvedComponents> {
    with_found(project, project.resolved()?, &project.lock, |_| false)
}
