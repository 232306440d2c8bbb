//! What a scan found.

use image_finder::Doubt;
use model::rendered::Found;
use serde::Serialize;

/// An image and where it is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Image {
    /// Its reference, as it is written.
    pub image: String,
    /// The path of the file that names it.
    pub file: String,
    /// From 1; 0 where it is not known.
    pub line: u32,
    /// How it was found in a chart that was rendered; None elsewhere: it is written
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// `file:line` of the HelmRelease with whose values the chart names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A text that is an image, nobody knows which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unresolved {
    /// As it is written, as far as that is told.
    pub text: String,
    /// The path of the file that it stands in.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// Continues "it is not known: ".
    pub why: String,
}

/// A chart that a HelmRelease deploys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Chart {
    /// As its repository calls it.
    pub name: String,
    /// Of the HelmRepository or OCIRepository; empty where it was not found.
    pub repo: String,
    /// A version or constraint; `*` where none is written.
    pub version: String,
    /// The path of the file with the HelmRelease.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// A packed chart that was read. Its file need not say which one it is: those in
/// a Zarf package do not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Packed {
    /// The path of the archive.
    pub file: String,
    /// As its Chart.yaml says it.
    pub name: String,
    /// As its Chart.yaml says it.
    pub version: String,
    /// Of the archive, 64 hexadecimal digits.
    pub sha256: String,
}

/// Everything, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Images that are known.
    pub images: Vec<Image>,
    /// Images that are not.
    pub unresolved: Vec<Unresolved>,
    /// Charts that are named.
    pub charts: Vec<Chart>,
    /// Charts that were read out of archives.
    pub packed: Vec<Packed>,
    /// Files that could not be read, and why.
    pub warnings: Vec<String>,
}

impl Report {
    /// Enters an image.
    pub fn image(&mut self, image: &str, file: &str, line: u32) {
        self.found(image, file, line, None, None);
    }

    /// Enters an image of a chart.
    pub fn found(&mut self, image: &str, file: &str, line: u32, found: Option<Found>, release: Option<&str>) {
        let (image, file, release) = (image.to_owned(), file.to_owned(), release.map(str::to_owned));
        self.images.push(Image { image, file, line, found, release });
    }

    /// Enters a text that is an image, nobody knows which.
    pub fn unresolved(&mut self, text: &str, file: &str, line: u32, why: &Doubt) {
        let (text, file, why) = (text.to_owned(), file.to_owned(), why.to_string());
        self.unresolved.push(Unresolved { text, file, line, why });
    }

    /// In a fixed order, each once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.images.sort();
        // A release that says the same as the chart by itself says nothing new.
        self.images.dedup_by(|one, first| {
            (&one.image, &one.file, one.line, one.found) == (&first.image, &first.file, first.line, first.found)
        });
        self.unresolved.sort();
        self.unresolved.dedup();
        self.charts.sort();
        self.charts.dedup();
        self.packed.sort();
        self.packed.dedup();
        self
    }
}
