//! The step `manifests`: pins and catalog become components.yaml.
//!
//! [`mod@regenerate`] is the whole of it without the host: it expands the catalog
//! ([`model::catalog`]), [merges](merge) the generation into what lies
//! there, writes the text around the [comments] that people wrote, and
//! resolves the result for the later steps. [`defined`] adds what a zarf.yaml of
//! the project names. This file reads the inputs and writes the outputs.

pub mod comments;
pub mod defined;
pub mod images;
pub mod merge;
pub mod mode;
pub mod note;
pub mod place;
pub mod regenerate;
pub mod write;

use model::RESOLVED;
use model::count::counted;
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary, log};
use serde::Deserialize;

use crate::mode::Mode;
use crate::regenerate::{Files, Refused, Regenerated, Request, regenerate, unpinned};

/// What the host tells every step; there is nothing to configure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// Name and version of the package, from settings.yaml.
    package: serde_json::Value,
    /// `amd64` or `arm64`.
    architecture: String,
    /// Let the pins win over what was edited by hand.
    #[serde(default)]
    force_regenerate: bool,
}

struct Manifest;

impl Step for Manifest {
    type Configuration = Configuration;
    const NAME: &'static str = "manifest";
    const SUMMARY: &'static str = "Generates components.yaml from the pins and merges what was edited by hand";

    fn run(cx: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let config = inputs.get("config")?;
        let components = config.read_text_optional("components.yaml")?;
        let base = config.read_text_optional("components.base.yaml")?;
        let defined = defined::read(config)?;
        let request = Request {
            package: serde_json::from_value(configuration.package)?,
            architecture: configuration.architecture,
            mode: if configuration.force_regenerate { Mode::Force } else { Mode::KeepEdits },
            tool: format!("opencenter-airgap {}", cx.host_version),
        };
        let is_pinned = defined.is_none() || config.exists("versions.env")?;
        let regenerated = if is_pinned {
            let (versions, catalog) = (config.read_text("versions.env")?, config.read_text("catalog.yaml")?);
            let (components, base) = (components.as_deref(), base.as_deref());
            regenerate(&Files { versions: &versions, catalog: &catalog, components, base }, &request)
        } else {
            unpinned(components.as_deref(), &request)
        };
        let mut regenerated = regenerated.map_err(refused)?;
        if let Some(defined) = &defined {
            defined::add(&mut regenerated.resolved, defined, output)?;
        }
        tell(&regenerated);
        write(&regenerated, output)
    }
}

fn write(regenerated: &Regenerated, output: &Sink) -> Result<Summary, StepError> {
    if let Some(text) = &regenerated.components {
        output.write_text("components.yaml", text)?;
    }
    if let Some(text) = &regenerated.base {
        output.write_text("components.base.yaml", text)?;
    }
    let resolved = &regenerated.resolved;
    output.write_json(RESOLVED, resolved)?;
    let count = resolved.images.len() + resolved.files.len() + resolved.charts.len() + resolved.repositories.len();
    let message = format!(
        "{}, {}, {}, {}{}",
        counted(resolved.images.len(), "image", "images"),
        counted(resolved.files.len(), "file", "files"),
        counted(resolved.charts.len(), "chart", "charts"),
        counted(resolved.repositories.len(), "repository", "repositories"),
        if regenerated.components.is_some() { "; components.yaml written" } else { "" }
    );
    Ok(Summary::new(count as u64, "components").message(message))
}

fn tell(regenerated: &Regenerated) {
    if regenerated.base_is_missing {
        log::warn(
            "components.base.yaml is missing, so everything in components.yaml counts as added by hand; commit both \
             files together",
        );
    }
    for (is_warning, text) in note::told(&regenerated.notes) {
        if is_warning { log::warn(text) } else { log::info(text) }
    }
}

fn refused(refused: Refused) -> StepError {
    StepError::invalid_input("configuration", format!("{}: {}", refused.file, refused.message)).hint(refused.hint)
}

sdk::export_step!(Manifest);
