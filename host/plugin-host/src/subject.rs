//! Whose call it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use base::digest::Digest;

/// Whose call it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subject {
    /// None for `describe`.
    pub(super) step: Option<String>,
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) digest: Digest,
    /// Whether it is a part of this program.
    pub(super) is_core: bool,
}

impl fmt::Display for Subject {
    /// `plugin sbom 1.2.0 (sha256:4355a46b19d3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.digest.hex();
        write!(f, "plugin {} {} (sha256:{})", self.plugin, self.version, hex.get(..12).unwrap_or(&hex))?;
        if let Some(step) = &self.step {
            write!(f, " in step {step}")?;
        }
        Ok(())
    }
}
