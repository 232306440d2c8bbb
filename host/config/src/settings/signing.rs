//! `signing`: the key that packages are signed with.

use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use super::check::file;

/// With which key packages are signed. Without one they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningSettings {
    /// A private key as `keygen` and cosign write it, relative to config/.
    pub key: Option<PathBuf>,
    /// A file whose first line is the key's password, relative to config/; the
    /// environment's COSIGN_PASSWORD where missing.
    pub password_file: Option<PathBuf>,
}

impl SigningSettings {
    pub(super) fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("signing");
        for (name, named) in [("key", &self.key), ("password_file", &self.password_file)] {
            if let Some(named) = named {
                file(named, config, &path.key(name), problems);
            }
        }
        if self.password_file.is_some() && self.key.is_none() {
            let message = "there is no `key` that this would be the password of";
            problems.push(Problem::new(&path.key("password_file"), message, "name the `key`, or remove the line"));
        }
    }
}
