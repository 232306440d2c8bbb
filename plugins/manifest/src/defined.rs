//! A zarf.yaml of the project as a source: what it names becomes components.
//!
//! The host reads it with all that it imports and hands over the composed
//! definition, which goes on to whoever writes the one of the package.

use model::ResolvedComponents;
use model::definition::{Composed, Refusal, sources};
use sdk::{Sink, StepError, Tree};

/// The composed definition: in the folder of the configuration, and in the tree
/// of this step.
pub const DEFINITION: &str = "definition.json";
/// The same as its author would see it, for people.
pub const TEXT: &str = "definition.yaml";

/// None where the project has none.
///
/// # Errors
/// What is no composed definition.
pub fn read(config: &Tree) -> Result<Option<Composed>, StepError> {
    if config.exists(DEFINITION)? { config.read_json(DEFINITION).map(Some) } else { Ok(None) }
}

/// Adds its sources to the components, and hands it on.
///
/// # Errors
/// Sources that cannot be fetched or read.
pub fn add(components: &mut ResolvedComponents, composed: &Composed, output: &Sink) -> Result<(), StepError> {
    sources::add_to(components, composed).map_err(|refusals| refused(&refusals))?;
    output.write_json(DEFINITION, composed)?;
    output.write_text(TEXT, &composed.text()?)?;
    Ok(())
}

/// The host has told them all with their lines, before anything ran.
fn refused(refusals: &[Refusal]) -> StepError {
    let messages: Vec<String> =
        refusals.iter().map(|one| format!("component `{}`: {}", one.component, one.message)).collect();
    let hint = refusals.first().map(|one| one.hint.clone()).unwrap_or_default();
    StepError::invalid_input("definition", messages.join("; ")).hint(hint)
}
