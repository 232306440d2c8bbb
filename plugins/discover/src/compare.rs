//! What is known about the images of the charts, and which of them the package
//! holds. No I/O.

use std::collections::BTreeSet;

use image_finder::rendered;
use model::image::normalized;
use model::rendered::{
    Discovered, DiscoveredImage, Document, Found, Problem, Rendered, Searched, Unknown, UnknownOfChart,
};

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What the static search finds.
    pub searched: Searched,
    /// What it renders to; None where it could not be rendered.
    pub documents: Option<Vec<Document>>,
    /// Why it could not.
    pub problem: Option<Problem>,
}

/// Compares what the charts deploy with the images of the components. `adds`: what
/// rendering found goes into the package; what only a test starts does not.
pub fn compare(charts: &[Chart], packaged: &[String], adds: bool) -> Discovered {
    let packaged: BTreeSet<String> = packaged.iter().map(|image| normalized(image)).collect();
    let mut found = Discovered::default();
    for chart in charts {
        of_chart(chart, &mut found);
    }
    for one in &mut found.images {
        one.is_packaged = packaged.contains(&normalized(&one.image));
        one.is_added = adds && !one.is_packaged && !one.is_test && one.found == Found::Rendered;
    }
    found
}

fn of_chart(chart: &Chart, found: &mut Discovered) {
    let Searched { name, version, images, unknown } = &chart.searched;
    let chart_name = format!("{name} {version}");
    let row = |image: &str, place: String, how: Found, is_test: bool| DiscoveredImage {
        image: image.to_owned(),
        chart: chart_name.clone(),
        place,
        found: how,
        is_test,
        is_packaged: false,
        is_added: false,
    };
    let unknown_of = |unknown: Unknown| UnknownOfChart { chart: chart_name.clone(), unknown };
    let Some(documents) = &chart.documents else {
        if let Some(problem) = &chart.problem {
            let (name, version, problem) = (name.clone(), version.clone(), Some(problem.clone()));
            found.problems.push(Rendered { name, version, path: None, problem });
        }
        found.images.extend(images.iter().map(|image| row(image, String::new(), Found::Searched, false)));
        found.unknown.extend(unknown.iter().cloned().map(unknown_of));
        return;
    };
    let mut seen = BTreeSet::new();
    for document in in_order(documents) {
        for image in rendered::images(document) {
            let place = place(name, &document.template, image.line);
            match image.doubt {
                None if seen.insert(normalized(&image.image)) => {
                    found.images.push(row(&image.image, place, Found::Rendered, document.is_test()));
                }
                None => {}
                // `helm test` is nobody's deployment.
                Some(_) if document.is_test() => {}
                Some(doubt) => {
                    found.unknown.push(unknown_of(Unknown { text: image.image, place, why: doubt.to_string() }));
                }
            }
        }
    }
    // A chart that renders to no image at all says nothing about those that it names.
    let is_silent = seen.is_empty();
    let how = if is_silent { Found::Searched } else { Found::NamedOnly };
    let named = images.iter().filter(|image| seen.insert(normalized(image)));
    found.images.extend(named.map(|image| row(image, String::new(), how, false)));
    found.unknown.extend(unknown.iter().filter(|_| is_silent).cloned().map(unknown_of));
}

/// Tests last: an image that something else starts as well is no image of a test.
fn in_order(documents: &[Document]) -> impl Iterator<Item = &Document> {
    let (tests, others): (Vec<_>, Vec<_>) = documents.iter().partition(|document| document.is_test());
    others.into_iter().chain(tests)
}

/// `templates/pod.yaml:12`, of a chart in the chart `charts/db/templates/pod.yaml:12`.
fn place(chart: &str, template: &str, line: u32) -> String {
    let below = template.strip_prefix(chart).and_then(|rest| rest.strip_prefix('/')).unwrap_or(template);
    if line == 0 { below.to_owned() } else { format!("{below}:{line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(template: &str, image: &str, hooks: &[&str]) -> Document {
        Document {
            template: format!("app/templates/{template}"),
            text: format!("kind: Pod\nspec:\n  containers:\n  - image: {image}\n"),
            lines: vec![1, 2, 3, 7, 8],
            hooks: hooks.iter().map(|hook| (*hook).to_owned()).collect(),
        }
    }

    fn chart(documents: Option<Vec<Document>>, images: &[&str]) -> Chart {
        let problem = Problem { message: "no".into(), template: "app/templates/x.yaml".into(), line: 3 };
        Chart {
            searched: Searched {
                name: "app".into(),
                version: "1.0".into(),
                images: images.iter().map(|image| (*image).to_owned()).collect(),
                unknown: vec![Unknown { text: "a/u".into(), place: "values.yaml:1".into(), why: "w".into() }],
            },
            problem: documents.is_none().then_some(problem),
            documents,
        }
    }

    fn rows(found: &Discovered) -> Vec<String> {
        let row = |one: &DiscoveredImage| {
            let marks = [(one.is_test, " test"), (one.is_packaged, " packaged"), (one.is_added, " added")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            format!("{} {:?} {}{marks}", one.image, one.found, one.place)
        };
        found.images.iter().map(row).collect()
    }

    #[test]
    fn what_is_rendered_is_the_truth_and_what_is_named_beside_it_is_told_apart() {
        let documents = vec![
            document("test.yaml", "a/both:1", &["test"]),
            document("test.yaml", "a/test:1", &["test-success"]),
            document("job.yaml", "a/both:1", &["pre-install", "test"]),
            document("pod.yaml", "a/in:1", &[]),
        ];
        let charts = [chart(Some(documents), &["docker.io/a/in:1", "a/operand:2"])];
        let packaged = ["docker.io/a/in:1".to_owned()];
        let found = compare(&charts, &packaged, true);
        assert_eq!(
            rows(&found),
            [
                "a/both:1 Rendered templates/job.yaml:7 added",
                "a/in:1 Rendered templates/pod.yaml:7 packaged",
                "a/test:1 Rendered templates/test.yaml:7 test",
                "a/operand:2 NamedOnly "
            ]
        );
        assert!(found.unknown.is_empty() && found.problems.is_empty(), "rendering knows");
        let expected = [("a/both:1".to_owned(), "chart app 1.0: templates/job.yaml:7".to_owned())];
        assert_eq!(found.added(), expected);
        assert!(compare(&charts, &packaged, false).added().is_empty());
    }

    #[test]
    fn a_chart_that_renders_to_no_image_says_nothing() {
        let found = compare(&[chart(Some(Vec::new()), &["a/in:1"])], &[], true);
        assert_eq!(rows(&found), ["a/in:1 Searched "]);
        assert!(found.problems.is_empty() && found.unknown.len() == 1);
    }

    #[test]
    fn of_a_chart_that_can_not_be_rendered_counts_what_the_search_finds() {
        let found = compare(&[chart(None, &["a/in:1"])], &[], true);
        assert_eq!(rows(&found), ["a/in:1 Searched "]);
        assert_eq!((found.unknown.len(), found.problems[0].problem.as_ref().unwrap().line), (1, 3));
        assert!(found.added().is_empty(), "only what is certain is added");
    }
}
