//! What the charts that were met render to, from the trees of an earlier pass and of
//! the plugin that renders.

use std::collections::{BTreeMap, BTreeSet};

use image_finder::Doubt;
use image_finder::rendered;
use model::image::{ImageName, normalized};
use model::rendered::{Document, Problem, RENDERED, Rendered};
use sdk::{Inputs, StepError};

use crate::gather::{Occurrence, PLACES};
use crate::kustomize::Replaced;

/// By the place of a chart.
#[derive(Default)]
pub struct Renderings {
    all: BTreeMap<String, Vec<Rendering>>,
    packaged: BTreeSet<String>,
}

/// A chart with one set of values.
pub struct Rendering {
    /// The HelmRelease that it is for; None of the chart by itself.
    pub release: Option<String>,
    /// Why it could not be rendered.
    pub problem: Option<String>,
    /// What is found in it.
    pub images: Vec<Found>,
}

/// An image of a rendering.
pub struct Found {
    /// As it is written, or what the release puts in its place.
    pub image: String,
    /// Within the chart: `templates/pod.yaml`.
    pub template: String,
    /// From 1; 0 where it is not known.
    pub line: u32,
    /// Why it is not known; none where it is.
    pub doubt: Option<Doubt>,
}

impl Renderings {
    /// None where nothing was rendered.
    ///
    /// # Errors
    /// Lists that can not be read.
    pub fn read(inputs: &Inputs) -> Result<Self, StepError> {
        let (Some(gathered), Some(tree)) = (inputs.find("gathered"), inputs.find("render")) else {
            return Ok(Self::default());
        };
        let places: Vec<Occurrence> = gathered.read_json(PLACES)?;
        let rows: Vec<Rendered> = tree.read_json(RENDERED)?;
        let mut all = Self::default();
        for (place, row) in places.into_iter().zip(rows) {
            let documents: Vec<Document> = match &row.path {
                Some(path) => tree.read_json(path)?,
                None => Vec::new(),
            };
            if place.is_packaged {
                all.packaged.insert(place.chart.clone());
            }
            let (chart, rendering) = (place.chart.clone(), Rendering::of(place, row, &documents));
            all.all.entry(chart).or_default().push(rendering);
        }
        Ok(all)
    }

    /// Of the chart that was met at a place.
    pub fn of(&self, chart: &str) -> &[Rendering] {
        self.all.get(chart).map_or(&[], Vec::as_slice)
    }

    /// The charts that no file names: they are those of the last build, which releases
    /// deploy.
    pub fn packaged(&self) -> BTreeSet<String> {
        self.packaged.clone()
    }
}

impl Rendering {
    fn of(place: Occurrence, row: Rendered, documents: &[Document]) -> Self {
        let below = |template: &str| template.split_once('/').map_or(template, |(_, below)| below).to_owned();
        let found = documents.iter().filter(|document| !document.is_test()).flat_map(|document| {
            rendered::images(document).into_iter().map(|image| Found {
                image: replaced(image.image, &place.replaced),
                template: below(&document.template),
                line: image.line,
                doubt: image.doubt,
            })
        });
        let images = found.collect();
        let problem = row.problem.map(|problem| Problem { template: below(&problem.template), ..problem }.told());
        Self { release: place.release, problem, images }
    }

    /// Whether it says which images there are: a chart that renders to nothing with
    /// its own values says nothing.
    pub fn tells(&self) -> bool {
        self.problem.is_none() && !self.images.is_empty()
    }

    /// The complete spellings of what is known.
    pub fn known(&self) -> impl Iterator<Item = String> {
        self.images.iter().filter(|found| found.doubt.is_none()).map(|found| normalized(&found.image))
    }
}

/// What kustomize makes of an image.
fn replaced(image: String, rules: &[Replaced]) -> String {
    let Ok(name) = ImageName::parse(&image) else { return image };
    let written = image.split('@').next().unwrap_or(&image);
    let base = match written.rsplit_once(':') {
        Some((base, tag)) if !tag.contains('/') => base,
        _ => written,
    };
    let Some(rule) = rules.iter().find(|rule| rule.name == base || rule.name == name.name()) else { return image };
    let new = rule.new_name.as_deref().unwrap_or(base);
    match (&rule.digest, &rule.new_tag) {
        (Some(digest), _) => format!("{new}@{digest}"),
        (None, Some(tag)) => format!("{new}:{tag}"),
        (None, None) => format!("{new}{}", &image[base.len()..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_replaces_images() {
        let rule = |name: &str, new: Option<&str>, tag: Option<&str>, digest: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Replaced { name: name.into(), new_name: own(new), new_tag: own(tag), digest: own(digest) }
        };
        let rules = [
            rule("org/a", Some("r.test:5000/a"), None, None),
            rule("docker.io/library/nginx", None, Some("2"), None),
            rule("org/c", None, None, Some("sha256:00")),
        ];
        for (image, expected) in [
            ("org/a:1", "r.test:5000/a:1"),
            ("nginx:1", "nginx:2"),
            ("org/c:1", "org/c@sha256:00"),
            ("org/d:1", "org/d:1"),
        ] {
            assert_eq!(replaced(image.to_owned(), &rules), expected);
        }
    }
}
