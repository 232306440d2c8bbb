//! Who asks in a project: the plugins of its pipeline, with what each was granted.

use std::collections::BTreeMap;

use entitlement::grants::Rules;
use entitlement::{Asker, Entitlement};

use super::Project;
use super::pipeline::{Pipeline, Runner};
use super::plugins_lock::PluginsLock;

/// Whoever runs under the name of a plugin.
pub fn asker_of(name: &str, pins: &PluginsLock) -> Asker {
    match pins.plugins.contains_key(name) {
        true => Asker::Pinned(name.to_owned()),
        false => Asker::Core(name.to_owned()),
    }
}

/// The plugins that run in a project, with what each was granted.
#[derive(Clone, Debug, Default)]
pub struct Runners(BTreeMap<Asker, Entitlement>);

impl Runners {
    /// Those of a project as it was loaded.
    pub fn of(project: &Project) -> Self {
        Self::new(&project.pipeline, &project.plugin_pins)
    }

    /// Those of the steps of `pipeline` that run a plugin: with the grants of its pin, or as a
    /// core plugin, which may ask for everything.
    pub fn new(pipeline: &Pipeline, pins: &PluginsLock) -> Self {
        let entitlement = |name: &String| {
            let asker = asker_of(name, pins);
            // A grant that is none was refused when the file was read.
            let rules = match pins.plugins.get(name) {
                Some(pin) => Rules::new(&pin.grants).ok()?,
                None => Rules::everything(),
            };
            Some((asker.clone(), Entitlement::new(asker, rules)))
        };
        let names = pipeline.steps.iter().filter_map(|step| match &step.run {
            Runner::Plugin(name) => Some(name),
            Runner::Host(_) => None,
        });
        Self(names.filter_map(entitlement).collect())
    }

    /// Whether `asker` runs: the host always does.
    pub fn has(&self, asker: &Asker) -> bool {
        asker.is_host() || self.0.contains_key(asker)
    }

    /// Everybody who runs, the host among them.
    pub fn askers(&self) -> impl Iterator<Item = &Asker> {
        std::iter::once(&Asker::Host).chain(self.0.keys())
    }

    /// Whether `asker` runs and may ask for this address.
    pub fn covers(&self, asker: &Asker, address: &str) -> bool {
        self.0.get(asker).is_some_and(|entitlement| entitlement.covers(address))
    }
}
