//! What the host hands to the plugin of a step beside the trees that it needs.
//!
//! The plugins of the binary are handed what they look at and nothing more. The key
//! of a step is made of the same list (`orchestrator::facts`): a step reads nothing
//! that is not in its key, and what it is not handed does not make it run again.

use super::catalog::PluginSource;
use crate::catalog::PluginIdentity;
use config::core_plugins::{CHARTS, DISCOVER, MANIFEST, PACKAGE, RENDER, SBOM, SCAN, ZARF_YAML};

/// What one plugin is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Which of what the host tells; None for all of it.
    fields: Option<&'static [&'static str]>,
    /// The build's clock. Without it all clocks stand at 1970.
    pub clock: bool,
    /// versions.env, catalog.yaml and the component manifest, which the
    /// configuration hash watches.
    pub config: bool,
    /// What airgap.lock says of the plugin's own charts and files, which no other
    /// step changes.
    pub own_lock: bool,
    /// What it says of images and repositories as well.
    pub whole_lock: bool,
}

impl Handed {
    /// Nobody knows what a third-party plugin looks at.
    const EVERYTHING: Self = Self { fields: None, clock: true, config: true, own_lock: true, whole_lock: true };
    const NOTHING: Self = Self { fields: Some(&[]), clock: false, config: false, own_lock: false, whole_lock: false };

    /// What is handed to a plugin; `is_core` where it is one of the binary's.
    pub fn to(plugin: &PluginIdentity, is_core: bool) -> Self {
        let of = |fields| Self { fields: Some(fields), ..Self::NOTHING };
        match plugin.name.as_str() {
            _ if !is_core => Self::EVERYTHING,
            MANIFEST => Self { config: true, ..of(&["package", "architecture", "force_regenerate"]) },
            CHARTS => Self { own_lock: true, ..Self::NOTHING },
            RENDER => of(&["api_versions"]),
            DISCOVER => of(&["strict_images", "discover"]),
            PACKAGE => Self { clock: true, ..of(&["architecture", "format", "plugins", "contributions"]) },
            ZARF_YAML => of(&["contributions"]),
            SBOM => Self { clock: true, ..of(&["package", "architecture", "plugins", "sbom"]) },
            SCAN => Self::NOTHING,
            _ => Self::EVERYTHING,
        }
    }

    /// The same of a plugin whose bytes are there.
    pub fn to_source(source: &PluginSource) -> Self {
        Self::to(&source.identity(), source.is_core())
    }

    /// Whether the host tells this of the run.
    pub fn field(&self, name: &str) -> bool {
        self.fields.is_none_or(|fields| fields.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;

    fn plugin(name: &str) -> PluginIdentity {
        PluginIdentity { name: name.into(), version: "1".into(), digest: Digest::of(b""), replaces_core: false }
    }

    /// A core plugin that is not in the list is handed everything: its key is
    /// larger than it need be, never too small.
    #[test]
    fn third_party_plugins_are_handed_everything() {
        for (name, is_core) in [("charts", false), ("licences", false), ("new", true)] {
            assert_eq!(Handed::to(&plugin(name), is_core), Handed::EVERYTHING, "{name}");
        }
        let charts = Handed::to(&plugin("charts"), true);
        assert!(charts.own_lock && !charts.field("package") && !charts.clock && !charts.whole_lock);
        assert!(!Handed::to(&plugin("zarf-yaml"), true).field("strict_images"));
    }
}
