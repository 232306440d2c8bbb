//! Under which terms a plugin is pinned: what it may do, its limits, and who must
//! have signed it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::signer;
use base::error::Result;
use config::Project;
use config::limits::OwnLimits;
use entitlement::grants::Grants;
use signing::PublicKey;

/// Under which a plugin is pinned.
#[derive(Clone, Debug, Args)]
pub(super) struct Terms {
    /// Let it download below https://host/path/ or registry/repository/; may
    /// be repeated
    #[arg(long, value_name = "PREFIX")]
    grant_fetch: Vec<String>,
    /// Let your credentials for host[:port] go there; may be repeated
    #[arg(long, value_name = "HOST")]
    grant_credentials: Vec<String>,
    /// Let it have its inputs and outputs as directories
    #[arg(long)]
    grant_directories: bool,
    /// Take a version that wants more than the one before without granting it
    #[arg(long)]
    pub(super) keep_grants: bool,
    /// A limit of its own, below that of settings.yaml, as memory_mib=64; may be
    /// repeated
    #[arg(long, value_name = "KEY=NUMBER")]
    limit: Vec<String>,
    /// The public key that must have signed it, checked offline
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Terms {
    pub(super) fn grants(&self) -> Grants {
        Grants {
            fetch: self.grant_fetch.clone(),
            credentials: self.grant_credentials.clone(),
            directories: self.grant_directories,
        }
    }

    /// Those that a pin has, and those of the command line.
    ///
    /// # Errors
    /// `usage` for what is none.
    pub(super) fn limits(&self, before: OwnLimits) -> Result<OwnLimits> {
        self.limit.iter().try_fold(before, |limits, written| limits.with(written))
    }

    /// The keys that may have signed it; none where nobody has to.
    pub(super) fn keys(&self, project: &Project) -> Result<Vec<PublicKey>> {
        keys(self.key.as_deref(), project)
    }

    /// Whether it grants anything.
    pub(super) fn is_plain(&self) -> bool {
        self.grants().is_empty() && self.limit.is_empty()
    }
}

/// The keys that may have signed a plugin: the one in this file, else those of the
/// settings; none where nobody has to.
///
/// # Errors
/// Those of reading them.
pub(super) fn keys(file: Option<&Path>, project: &Project) -> Result<Vec<PublicKey>> {
    match file {
        Some(key) => Ok(vec![signer::public(key)?]),
        None => project.settings.security.keys(&project.layout.config),
    }
}
