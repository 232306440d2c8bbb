//! plugins.lock: pins and grants of third-party plugins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::source::Source;
use crate::error::Result;

/// config/plugins.lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsLock {
    pub format: u32,
    pub plugins: BTreeMap<String, serde_json::Value>,
}

impl PluginsLock {
    /// # Errors
    /// `configuration` with file, line and column.
    pub fn parse(source: &Source) -> Result<Self> {
        source.yaml().map(|(lock, _)| lock)
    }
}
