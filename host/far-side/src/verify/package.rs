//! What zarf.yaml says of its package, once it was read.

use std::collections::BTreeMap;

use model::zarf::documents::Documents;
use model::zarf::{Component, Definition};

/// A definition with what its build added: the document that the newest Zarf
/// takes, as v1alpha1 says it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) definition: Definition,
    /// Which documents zarf.yaml holds.
    pub(crate) forms: Forms,
    /// How the files of its charts are named.
    pub(crate) naming: Naming,
    /// What `documentation` names, in either.
    pub(crate) documentation: BTreeMap<String, String>,
    /// Versions of documents that only a newer Zarf knows, and takes then.
    pub(crate) unknown: Vec<String>,
}

impl Package {
    pub(crate) fn architecture(&self) -> &str {
        &self.definition.metadata.architecture
    }

    pub(crate) fn components(&self) -> &[Component] {
        &self.definition.components
    }

    /// Whether the package is signed and this file belongs to the signature.
    pub(crate) fn vouches_with(&self, path: &str) -> bool {
        let build = &self.definition.build;
        build.signed == Some(true) && build.provenance_files.iter().any(|file| file == path)
    }

    /// Whether a Zarf older than `version` is kept from deploying.
    pub(crate) fn requires(&self, version: &str) -> bool {
        self.definition.build.version_requirements.iter().any(|requirement| requirement.version == version)
    }
}

/// Which documents a zarf.yaml holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forms {
    pub(super) alpha: bool,
    pub(super) beta: bool,
    pub(super) alpha_first: bool,
}

impl Forms {
    pub(super) fn of(documents: &Documents) -> Self {
        let Documents { alpha, beta, alpha_first, .. } = documents;
        Self { alpha: alpha.is_some(), beta: beta.is_some(), alpha_first: *alpha_first }
    }

    /// Where the document that counts has the digest of checksums.txt.
    pub(super) fn aggregate_field(self) -> &'static str {
        if self.beta { "build.aggregateChecksum" } else { "metadata.aggregateChecksum" }
    }
}

/// How the files of charts are named for which v1beta1 has a version: by it
/// until Zarf 0.85, and never since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// A file that has the version in its name.
    pub(super) with_version: Option<String>,
    /// A file that lacks it.
    pub(super) without: bool,
}
