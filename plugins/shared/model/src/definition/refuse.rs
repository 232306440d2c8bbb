//! What a definition may say and no build here does: what would have to run, be
//! rendered or be taken out of a daemon. Each has another way.

use crate::problem::{YamlPath, shown};
use crate::zarf::{alpha, beta};

/// What is refused of a component: the place in it, what was found, what to do.
pub(super) type Found = (YamlPath, String, &'static str);

const ON_CREATE: &str = "nothing is executed while packaging: let a step of config/pipeline.yaml make what they make \
                         (docs/add-a-step.md), and name its files";
const KUSTOMIZE: &str = "render them before (`kubectl kustomize DIR > web.yaml`) and list the result under `files`, or \
                         let a step of config/pipeline.yaml do it (docs/add-a-step.md)";
const DATA: &str = "v1beta1 and Zarf 1.0 have none: put the data into an image, or copy it by an action";
const SCRIPTS: &str = "write them as `actions.onDeploy`, which replaced them";
const DAEMON: &str = "push it to a registry, or save it (`docker save`) and list the file under `imageArchives`";

fn at(keys: &[&str]) -> YamlPath {
    keys.iter().fold(YamlPath::root(), |path, key| path.key(key))
}

/// Of a component in v1alpha1.
pub(super) fn of_alpha(component: &alpha::Component) -> Vec<Found> {
    let mut found = Vec::new();
    let on_create = &component.actions.on_create;
    let counts = [&on_create.before, &on_create.after, &on_create.on_success, &on_create.on_failure].map(Vec::len);
    if counts.iter().sum::<usize>() > 0 {
        found.push((at(&["actions", "onCreate"]), "it has `onCreate` actions".to_owned(), ON_CREATE));
    }
    if component.scripts.as_ref().is_some_and(|scripts| !scripts.is_null()) {
        found.push((at(&["scripts"]), "it has `scripts`".to_owned(), SCRIPTS));
    }
    if !component.data_injections.is_empty() {
        found.push((at(&["dataInjections"]), "it has `dataInjections`".to_owned(), DATA));
    }
    for (index, manifest) in component.manifests.iter().enumerate() {
        if !manifest.kustomizations.is_empty() {
            let message = format!("the manifest `{}` has kustomizations", shown(&manifest.name));
            found.push((at(&["manifests"]).index(index).key("kustomizations"), message, KUSTOMIZE));
        }
    }
    found
}

/// Of a component in v1beta1.
pub(super) fn of_beta(component: &beta::Component) -> Vec<Found> {
    let mut found = Vec::new();
    let on_create = &component.actions.on_create;
    let counts = [&on_create.before, &on_create.on_success, &on_create.on_failure].map(Vec::len);
    if counts.iter().sum::<usize>() > 0 {
        found.push((at(&["actions", "onCreate"]), "it has `onCreate` actions".to_owned(), ON_CREATE));
    }
    for (index, manifest) in component.manifests.iter().enumerate() {
        if manifest.kustomize.as_ref().is_some_and(|kustomize| !kustomize.files.is_empty()) {
            let message = format!("the manifest `{}` has `kustomize`", shown(&manifest.name));
            found.push((at(&["manifests"]).index(index).key("kustomize"), message, KUSTOMIZE));
        }
    }
    for (index, image) in component.images.iter().enumerate() {
        if !matches!(image.source.as_str(), "" | "registry") {
            let message = format!("the image `{}` comes from a daemon", shown(&image.name));
            found.push((at(&["images"]).index(index), message, DAEMON));
        }
    }
    found
}
