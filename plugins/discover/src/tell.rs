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
    let kinds = kinds(found, packaged);
    named_only(found).iter().for_each(sdk::log::info);
    if kinds.iter().all(|kind| kind.rows.is_empty()) {
        return Ok(());
    }
    if !is_strict {
        kinds.iter().flat_map(warnings).for_each(sdk::log::warn);
        return Ok(());
    }
    let rows: Vec<String> = kinds.iter().flat_map(items).collect();
    let message = format!(
        "images of charts that are not in the package: {}, that are not known: {}, charts that cannot be \
         rendered: {}\n{}",
        lacking(found).count(),
        found.unknown.len(),
        found.problems.len(),
        rows.join("\n")
    );
    Err(StepError::invalid_input("images-missing", message)
        .hint("`--strict-images` wants every image known and packaged"))
}

/// What is told, and what helps against all of it.
struct Kind {
    /// Of which chart, and what.
    rows: Vec<(String, String)>,
    /// What they are together.
    what: &'static str,
    hint: &'static str,
}

/// Rows of one kind that are told one by one, where they are warnings.
const SCREEN: usize = 30;

/// Each in a line, and what helps once. Of very many, a line for each chart.
fn warnings(kind: &Kind) -> Vec<String> {
    let Kind { rows, what, hint } = kind;
    let line = |(chart, row): &(String, String)| in_one_line(&format!("chart {chart}: {row}"));
    match rows.as_slice() {
        [] => Vec::new(),
        [row] => vec![format!("{}; {hint}", line(row))],
        rows => {
            let mut lines: Vec<String> = if rows.len() <= SCREEN {
                rows.iter().map(line).collect()
            } else {
                rows.chunk_by(|one, next| one.0 == next.0).map(|of| folded(&line(&of[0]), of.len() - 1)).collect()
            };
            let list = if rows.len() <= SCREEN { "" } else { ", which build/steps/discover/discovered.json lists" };
            lines.push(format!("{} {what}{list}: {hint}", rows.len()));
            lines
        }
    }
}

fn folded(first: &str, others: usize) -> String {
    if others == 0 { first.to_owned() } else { format!("{first}, and {others} more") }
}

/// The same as the rows of an error.
fn items(kind: &Kind) -> Vec<String> {
    let mut lines: Vec<String> =
        kind.rows.iter().map(|(chart, row)| in_one_line(&format!("chart {chart}: {row}"))).collect();
    if let Some(last) = lines.last_mut() {
        last.push_str(&format!("\n  {}", kind.hint));
    }
    lines
}

fn kinds(found: &Discovered, packaged: &[String]) -> [Kind; 3] {
    let packaged: BTreeSet<String> = packaged.iter().map(|image| normalized(image)).collect();
    let problems = found.problems.iter().map(problem).collect();
    let lacking = lacking(found).map(|one| {
        let place = if one.place.is_empty() { String::new() } else { format!(" ({})", one.place) };
        (one.chart.clone(), format!("deploys {}{place}, which the package lacks", one.image))
    });
    let unknown = found.unknown.iter().map(|UnknownOfChart { chart, unknown }| {
        let near = near(&unknown.text, &packaged).map(|near| format!(" (the package holds {near})"));
        let (text, place, why) = (&unknown.text, &unknown.place, &unknown.why);
        (chart.clone(), format!("{place}: `{text}` is not known: {why}{}", near.unwrap_or_default()))
    });
    [
        Kind { rows: problems, what: "charts can not be rendered", hint: PROBLEM },
        Kind { rows: lacking.collect(), what: "images that charts deploy are lacking", hint: LACKING },
        Kind { rows: unknown.collect(), what: "images of charts are not known", hint: UNKNOWN },
    ]
}

/// What is only noted.
fn named_only(found: &Discovered) -> Vec<String> {
    let named = found.images.iter().filter(|one| one.found == Found::NamedOnly && !one.is_packaged);
    let note = |one: &DiscoveredImage| {
        format!(
            "chart {}: its values or templates name {}, and nothing that it renders to does: an operator may pull it",
            one.chart, one.image
        )
    };
    named.map(note).collect()
}

/// The images that the package lacks.
pub fn lacking(found: &Discovered) -> impl Iterator<Item = &DiscoveredImage> {
    found.images.iter().filter(|one| is_lacking(one))
}

fn is_lacking(one: &DiscoveredImage) -> bool {
    one.found != Found::NamedOnly && !one.is_packaged && !one.is_added && !one.is_test
}

fn problem(chart: &Rendered) -> (String, String) {
    let Rendered { name, version, problem, .. } = chart;
    let why = problem.as_ref().map(|problem| format!(": {}", problem.told()));
    (format!("{name} {version}"), format!("cannot be rendered{}", why.unwrap_or_default()))
}

/// The image of the same repository that is packaged, which may or may not be the
/// one that runs.
fn near<'a>(text: &str, packaged: &'a BTreeSet<String>) -> Option<&'a String> {
    let repository = |image: &str| ImageName::parse(image).map(|name| name.name()).ok();
    let name = repository(text).or_else(|| repository(text.rsplit_once(':')?.0))?;
    packaged.iter().find(|image| repository(image).as_ref() == Some(&name))
}

const LACKING: &str = "add what is lacking to `images.additional` in components.yaml, let `images.discover: add` in \
                       settings.yaml do so, or switch it off in a values file of the chart";
const UNKNOWN: &str = "write the whole reference, its tag in quotes, into a values file of the chart; where the chart has no value for it, look which image it is, package it, and build without `--strict-images`";
const PROBLEM: &str = "Helm refuses it as well: write the values that it wants into a values file of the chart; until \
                       then its images are those that the static search finds";

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(charts: usize, images: usize) -> Kind {
        let row = |at: usize| (format!("c{} 1.0.0", at / images), format!("deploys a/b:{at}"));
        Kind { rows: (0..charts * images).map(row).collect(), what: "images are lacking", hint: "add them" }
    }

    /// Guards that a screen of warnings can be read: what helps is said once, and very many
    /// are a line for each chart.
    #[test]
    fn what_helps_is_said_once_and_very_many_are_folded() {
        assert_eq!(warnings(&kind(0, 1)), Vec::<String>::new());
        assert_eq!(warnings(&kind(1, 1)), ["chart c0 1.0.0: deploys a/b:0; add them"]);
        assert_eq!(
            warnings(&kind(1, 2)),
            ["chart c0 1.0.0: deploys a/b:0", "chart c0 1.0.0: deploys a/b:1", "2 images are lacking: add them"]
        );
        let many = warnings(&kind(50, 10));
        assert_eq!(many.len(), 51);
        assert_eq!(many[1], "chart c1 1.0.0: deploys a/b:10, and 9 more");
        assert!(many[50].starts_with("500 images are lacking, which build/steps/discover/discovered.json lists: "));
        assert_eq!(items(&kind(2, 1)), ["chart c0 1.0.0: deploys a/b:0", "chart c1 1.0.0: deploys a/b:1\n  add them"]);
    }
}
