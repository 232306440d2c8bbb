//! `security`: what is refused, and how the host confines itself.

use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use super::check::{file, public_key, range, refused};
use base::error::Result;
use signing::PublicKey;

/// What is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecuritySettings {
    /// GiB of one downloaded file or layer.
    pub largest_download_gib: u64,
    /// GiB that one archive may unpack to.
    pub largest_unpacked_gib: u64,
    /// Refuse files for which no checksum is known.
    pub require_checksums: bool,
    /// Refuse plugins that none of `plugin_keys` has signed.
    pub require_signed_plugins: bool,
    /// Public keys that plugins are signed with, relative to config/.
    pub plugin_keys: Vec<PathBuf>,
    /// Whether the host confines itself before third-party plugins run.
    pub second_wall: SecondWall,
    /// Folders that stay writable behind the wall, besides those of the build:
    /// absolute, or below `~/`.
    pub writable: Vec<PathBuf>,
    /// TCP ports that may be connected to behind the wall, besides those that
    /// the configuration names.
    pub ports: Vec<u16>,
}

/// When the second wall stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondWall {
    /// Where the kernel can; a warning where it can not.
    #[default]
    Auto,
    /// No third-party plugin without it.
    Require,
    /// No wall, whatever the kernel can.
    Off,
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self {
            largest_download_gib: 64,
            largest_unpacked_gib: 16,
            require_checksums: false,
            require_signed_plugins: false,
            plugin_keys: Vec::new(),
            second_wall: SecondWall::default(),
            writable: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl SecuritySettings {
    /// The keys that plugins are signed with.
    ///
    /// # Errors
    /// `configuration` for what is no key any more.
    pub fn keys(&self, config: &Path) -> Result<Vec<PublicKey>> {
        self.plugin_keys.iter().map(|key| public_key(&config.join(key))).collect()
    }

    fn key_problems(&self, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) {
        for (index, key) in self.plugin_keys.iter().enumerate() {
            let at = path.key("plugin_keys").index(index);
            if file(key, config, &at, problems) {
                refused(public_key(&config.join(key)).map(drop), &at, problems);
            }
        }
        if self.require_signed_plugins && self.plugin_keys.is_empty() {
            let message = "no key is named that could have signed a plugin";
            let hint = "list the public keys that you trust under `plugin_keys`";
            problems.push(Problem::new(&path.key("require_signed_plugins"), message, hint));
        }
    }

    /// What of it decides about the content of a package.
    pub(super) fn content(&self) -> serde_json::Value {
        serde_json::json!({
            "largest_download_gib": self.largest_download_gib,
            "largest_unpacked_gib": self.largest_unpacked_gib,
            "require_checksums": self.require_checksums,
        })
    }

    pub(super) fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("security");
        self.key_problems(config, &path, problems);
        range(self.largest_download_gib, 1, 1 << 20, "GiB", &path.key("largest_download_gib"), problems);
        range(self.largest_unpacked_gib, 1, 1 << 20, "GiB", &path.key("largest_unpacked_gib"), problems);
        for (index, folder) in self.writable.iter().enumerate() {
            if !(folder.is_absolute() || folder.starts_with("~")) || folder == Path::new("/") {
                problems.push(Problem::new(
                    &path.key("writable").index(index),
                    format!("`{}` is no folder that can be left open", shown(&folder.to_string_lossy())),
                    "write an absolute path, or one that begins with `~/`",
                ));
            }
        }
        for (index, port) in self.ports.iter().enumerate() {
            range(*port, 1, u16::MAX, "", &path.key("ports").index(index), problems);
        }
    }
}
