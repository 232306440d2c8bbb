//! On what the content of a package rests, as the list beside it says: what
//! rests on first sight alone is what nobody but its server ever vouched for.

use serde::Serialize;

use super::artifact_manifest::{ArtifactManifest, Item};

/// How the list calls it.
const FIRST_SIGHT: &str = "first-sight";
/// Characters of a name that is shown.
const SHOWN: usize = 300;

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// Contents of which the list says on what they rest.
    pub known: usize,
    /// Those that rest on first sight alone.
    pub first_sight: Vec<Content>,
}

/// One image, chart, file or repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// `image`, `chart`, `file` or `repository`.
    pub kind: &'static str,
    /// The reference, or the address.
    pub name: String,
}

impl Weighed {
    /// None for a list of a version that did not say.
    pub(super) fn of(manifest: &ArtifactManifest) -> Option<Self> {
        let item = |item: &Item| item.source.clone().unwrap_or_else(|| item.path.clone());
        let images = manifest.images.iter().map(|image| ("image", image.reference.clone(), &image.evidence));
        let charts = manifest.charts.iter().map(|chart| ("chart", item(chart), &chart.evidence));
        let files = manifest.files.iter().map(|file| ("file", item(file), &file.evidence));
        let repositories =
            manifest.repositories.iter().map(|entry| ("repository", entry.source.clone(), &entry.evidence));
        let mut weighed = Self { known: 0, first_sight: Vec::new() };
        for (kind, name, evidence) in images.chain(charts).chain(files).chain(repositories) {
            weighed.known += usize::from(evidence.is_some());
            if evidence.as_deref() == Some(FIRST_SIGHT) {
                let name = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
                weighed.first_sight.push(Content { kind, name });
            }
        }
        (weighed.known > 0).then_some(weighed)
    }

    /// One line, and with `verbose` one more for each.
    pub(super) fn lines(&self, verbose: bool) -> Vec<String> {
        let count = self.first_sight.len();
        let more = match (count, verbose) {
            (0, _) => "",
            (_, true) => ":",
            (_, false) => " (--verbose names them)",
        };
        let known = self.known;
        let mut lines = vec![format!(
            "{count} of {known} rest on nothing but what their address gave when it was first asked{more}"
        )];
        if verbose {
            lines.extend(self.first_sight.iter().map(|Content { kind, name }| format!("  {kind} {name}")));
        }
        lines
    }
}
