//! What the package lacks, in words: a package without an image that a chart
//! deploys fails in the field.

use std::collections::BTreeSet;

use model::image::{ImageName, normalized};
use model::line::in_one_line;
use model::rendered::{Discovered, DiscoveredImage, Found, Rendered, UnknownOfChart};
use sdk::StepError;

/// Warns of every image that is lacking or not known, and of every chart that could
/// not be rendered; with `is_strict` they are an error, a row each.
///
/// # Errors
/// `invalid-input` where something is lacking, and it is strict.
pub fn tell(found: &Discovered, packaged: &[String], is_strict: bool) -> Result<(), StepError> {
    let (rows, notes) = rows(found, packaged);
    notes.iter().for_each(sdk::log::info);
    if rows.is_empty() {
        return Ok(());
    }
    if !is_strict {
        rows.iter().for_each(|(row, hint)| sdk::log::warn(in_one_line(&format!("{row}; {hint}"))));
        return Ok(());
    }
    let lacking = found.images.iter().filter(|one| is_lacking(one)).count();
    let rows: Vec<String> = rows.iter().map(|(row, hint)| format!("{}\n  {hint}", in_one_line(row))).collect();
    let message = format!(
        "images of charts that are not in the package: {lacking}, that are not known: {}, charts that cannot be \
         rendered: {}\n{}",
        found.unknown.len(),
        found.problems.len(),
        rows.join("\n")
    );
    Err(StepError::invalid_input("images-missing", message)
        .hint("`--strict-images` wants every image known and packaged"))
}

type Rows = Vec<(String, &'static str)>;

/// What is told, each with what helps; and what is only noted.
fn rows(found: &Discovered, packaged: &[String]) -> (Rows, Vec<String>) {
    let packaged: BTreeSet<String> = packaged.iter().map(|image| normalized(image)).collect();
    let mut rows: Rows = found.problems.iter().map(|chart| (problem(chart), PROBLEM)).collect();
    for one in found.images.iter().filter(|one| is_lacking(one)) {
        let place = if one.place.is_empty() { String::new() } else { format!(" ({})", one.place) };
        rows.push((format!("chart {}: deploys {}{place}, which the package lacks", one.chart, one.image), LACKING));
    }
    for UnknownOfChart { chart, unknown } in &found.unknown {
        let near = near(&unknown.text, &packaged).map(|near| format!(" (the package holds {near})"));
        let (text, place, why) = (&unknown.text, &unknown.place, &unknown.why);
        let row = format!("chart {chart}: {place}: `{text}` is not known: {why}{}", near.unwrap_or_default());
        rows.push((row, UNKNOWN));
    }
    let named = found.images.iter().filter(|one| one.found == Found::NamedOnly && !one.is_packaged);
    let note = |one: &DiscoveredImage| {
        format!(
            "chart {}: its values or templates name {}, and nothing that it renders to does: an operator may pull it",
            one.chart, one.image
        )
    };
    (rows, named.map(note).collect())
}

fn is_lacking(one: &DiscoveredImage) -> bool {
    one.found != Found::NamedOnly && !one.is_packaged && !one.is_added && !one.is_test
}

fn problem(chart: &Rendered) -> String {
    let Rendered { name, version, problem, .. } = chart;
    let Some(problem) = problem else { return format!("chart {name} {version}: cannot be rendered") };
    format!("chart {name} {version}: cannot be rendered: {}", problem.told())
}

/// The image of the same repository that is packaged, which may or may not be the
/// one that runs.
fn near<'a>(text: &str, packaged: &'a BTreeSet<String>) -> Option<&'a String> {
    let repository = |image: &str| ImageName::parse(image).map(|name| name.name()).ok();
    let name = repository(text).or_else(|| repository(text.rsplit_once(':')?.0))?;
    packaged.iter().find(|image| repository(image).as_ref() == Some(&name))
}

const LACKING: &str = "add it to `images.additional` in components.yaml, let `images.discover: add` in settings.yaml do \
                       so, or switch it off in a values file of the chart";
const UNKNOWN: &str = "write the whole reference, its tag in quotes, into a values file of the chart; where the chart has no value for it, look which image it is, package it, and build without `--strict-images`";
const PROBLEM: &str = "Helm refuses it as well: write the values that it wants into a values file of the chart; until \
                       then its images are those that the static search finds";
