//! The core plugin `discover`: which images the charts deploy, and which of them
//! the package lacks.
//!
//! What a chart renders to is the truth ([`image_finder::rendered`]); of one that
//! can not be rendered counts what the static search of the step `charts` finds.
//! [`compare`](compare::compare) decides; this file reads the trees, tells what is
//! lacking, and writes discovered.json.

use model::ResolvedComponents;
use model::count::counted;
use model::rendered::{DISCOVERED, RENDERED, Rendered, SEARCHED, Searched};
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary, Tree};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub mod compare;
pub mod tell;

use compare::{Chart, compare};

/// What becomes of images that the package lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "sdk::schemars")]
pub enum Discover {
    /// Nothing: the step is not to run.
    Off,
    /// They are told.
    #[default]
    Report,
    /// They go into the package.
    Add,
}

/// What the step accepts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {
    /// Make an image that a chart deploys and the package lacks an error.
    strict_images: bool,
    /// What becomes of images that a chart deploys and components.yaml lacks.
    discover: Discover,
}

/// The step.
pub struct DiscoverImages;

impl Step for DiscoverImages {
    type Configuration = Configuration;
    const NAME: &'static str = "discover";
    const SUMMARY: &'static str = "Finds the images that charts deploy in what they render to";

    fn run(_: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let components: ResolvedComponents = inputs.get("manifests")?.read_json(model::RESOLVED)?;
        let charts = charts(inputs)?;
        let archived = components.image_archives.iter().flat_map(|archive| archive.images.iter().cloned());
        let packaged: Vec<String> = components.images.iter().cloned().chain(archived).collect();
        let found = compare(&charts, &packaged, configuration.discover == Discover::Add);
        tell::tell(&found, &packaged, configuration.strict_images)?;
        output.write_json(DISCOVERED, &found)?;
        let added = found.added().len();
        let count = found.images.len();
        let mut message = counted(count, "image", "images");
        for (number, what) in [(added, "added"), (tell::lacking(&found).count(), "lacking")] {
            if number > 0 {
                message.push_str(&format!(", {number} {what}"));
            }
        }
        Ok(Summary::new(count as u64, "images").message(message))
    }
}

sdk::export_step!(DiscoverImages);

/// Every chart with what is known of it. A chart of which nothing was rendered or
/// searched, because a step is missing, is none.
fn charts(inputs: &Inputs) -> Result<Vec<Chart>, StepError> {
    let rendered: Vec<Rendered> = list(inputs.find("render"), RENDERED)?;
    let searched: Vec<Searched> = list(inputs.find("charts"), SEARCHED)?;
    let of = |searched: Searched| {
        let row = rendered.iter().find(|row| (&row.name, &row.version) == (&searched.name, &searched.version));
        let documents = match row.and_then(|row| row.path.as_deref()) {
            Some(path) => Some(inputs.get("render")?.read_json(path)?),
            None => None,
        };
        Ok(Chart { searched, documents, problem: row.and_then(|row| row.problem.clone()) })
    };
    searched.into_iter().map(of).collect()
}

fn list<T: DeserializeOwned>(tree: Option<&Tree>, path: &str) -> Result<Vec<T>, StepError> {
    match tree {
        Some(tree) if tree.exists(path)? => tree.read_json(path),
        _ => Ok(Vec::new()),
    }
}
