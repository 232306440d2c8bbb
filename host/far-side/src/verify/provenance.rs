//! The statement beside a package that says how it was made.

use std::path::Path;

use serde::Serialize;

use super::Problems;
use super::signature::{Signature, State};
use base::digest::Digest;
use base::error::Result;
use disk::fs;
use seal::beside;
use seal::provenance::{Held, Provenance, of};
use signing::PublicKey;
use signing::bundle::LARGEST_BUNDLE;

/// What such a statement says.
#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// Of the statement itself.
    pub signature: Signature,
    /// Whether it is about this very file, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<bool>,
    /// SHA-256 over the configuration that the package was built from.
    pub configuration: Digest,
    /// The program that built it: `opencenter-airgap 0.1.0`.
    pub builder: String,
    /// RFC 3339, UTC: the build's clock.
    pub clock: String,
    /// In the order of the pipeline.
    pub steps: Vec<seal::provenance::StepRow>,
    /// How many materials it names.
    pub materials: usize,
    /// What it is about, where that is another digest.
    #[serde(skip)]
    pub(crate) about: Option<String>,
}

impl Statement {
    /// For people, on one line.
    pub fn line(&self) -> String {
        let signed = match self.signature.state {
            State::Unsigned => "not signed".to_owned(),
            State::Unchecked => format!("signed {}", self.signature),
            State::Holds => format!("signature {}", self.signature),
            State::Fails => "its signature does not hold".to_owned(),
        };
        let about = if self.matches == Some(false) { "about another archive; " } else { "" };
        let Self { builder, steps, materials, clock, .. } = self;
        format!("{about}{signed}; {builder}, {} steps, {materials} materials, {clock}", steps.len())
    }
}

/// Reads the statement beside the package, whoever signed it; None where there
/// is none.
///
/// # Errors
/// `local`; `invalid-input` for what is no such statement.
pub(crate) fn beside(package: &Path, digest: Option<&Digest>) -> Result<Option<(Held, Statement)>> {
    let Some(bytes) = fs::read_optional(&beside::path_of(package, beside::PROVENANCE), LARGEST_BUNDLE)? else {
        return Ok(None);
    };
    let held = Held::parse(&bytes)?;
    let statement = held.statement()?;
    let provenance = of(&statement)?;
    let signature = match &held {
        Held::Unsigned(_) => Signature::default(),
        Held::Signed(bundle) => Signature { state: State::Unchecked, by: Some(bundle.signer().to_string()) },
    };
    let about = statement.subject.first().and_then(|subject| subject.digest.get("sha256").cloned());
    let matches = digest.map(|digest| statement.is_about(digest));
    Ok(Some((held, shown(provenance, signature, matches, about))))
}

fn shown(provenance: Provenance, signature: Signature, matches: Option<bool>, about: Option<String>) -> Statement {
    let Provenance { build_definition, run_details } = provenance;
    let version =
        run_details.builder.version.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
    Statement {
        signature,
        matches,
        configuration: build_definition.external_parameters.configuration,
        builder: version.join(", "),
        clock: build_definition.internal_parameters.clock,
        steps: build_definition.internal_parameters.steps,
        materials: build_definition.resolved_dependencies.len(),
        about,
    }
}

/// Reads and checks the statement beside the package. Whether one about another
/// archive is wrong the caller knows.
pub(super) fn check(
    package: &Path,
    digest: &Digest,
    key: Option<&PublicKey>,
    problems: &mut Problems,
) -> Result<Option<Statement>> {
    let name = beside::path_of(package, beside::PROVENANCE);
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (held, mut statement) = match beside(package, Some(digest)) {
        Ok(None) => return Ok(None),
        Ok(Some(found)) => found,
        Err(error) if error.class() == base::error::Class::InvalidInput => {
            problems.add("provenance", format!("{name} cannot be read: {}", error.one_line()));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let (Held::Signed(bundle), Some(key)) = (&held, key) {
        statement.signature = match bundle.verify_statement(key) {
            Ok(_) => Signature { state: State::Holds, by: Some(format!("the key {}", key.hint())) },
            Err(error) => {
                problems.add("provenance", format!("{name}: {}", error.one_line()));
                Signature { state: State::Fails, by: None }
            }
        };
    }
    Ok(Some(statement))
}
