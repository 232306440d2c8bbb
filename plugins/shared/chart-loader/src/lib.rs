//! Helm charts, read exactly as Helm reads them: what Helm loads is loaded,
//! what it refuses is refused, and the refusal names the member, what was found
//! and what to do. `build`, `verify` and `scan` share this one reading.
//!
//! Two Helms count. People try a chart with Helm 3; Zarf deploys it with the
//! Helm 4 that is built into it. A chart loads where both load it.
//!
//! 1. [`gzip`] unpacks the members of a gzip stream and [`tar`] the members of
//!    the archive, no further than Go's readers do: damage that Go never gets to
//!    see is none.
//! 2. [`archive`] bounds the sizes and cleans the names: the files of a chart.
//! 3. [`directory`] gathers the files of a folder, by the rules of [`ignore`],
//!    and [`pack`] makes an archive of them.
//! 4. [`mod@load`] makes a [`Chart`] of files, with its subcharts; [`decode`] fills
//!    the fields of [`metadata`] as Go's JSON decoder does, and validates them.
//! 5. [`install`] tells what loads and yet installs nothing, [`schema`] whether
//!    values fulfil what a chart asks of them.
//! 6. [`enabled`] tells which of the charts in a chart are switched on, with which
//!    values, and [`images`] what they deploy.
//! 7. [`artifact`] tells what a chart is in a registry.
//!
//! Hostile input is bounded where Helm is not: see [`archive::STREAM_LIMIT`] and
//! [`load::DEPTH_LIMIT`]. Sparse tar members, which no tool writes into a chart,
//! are refused. Nothing here does I/O of its own.

pub mod archive;
pub mod artifact;
mod decode;
pub mod directory;
mod enabled;
mod gzip;
mod ignore;
pub mod images;
pub mod install;
pub mod load;
mod metadata;
pub mod pack;
mod schema;
mod tar;

use std::fmt;

pub use load::{Chart, load};
pub use metadata::{Dependency, Metadata};

/// Why a chart is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Continues "the chart: ", names the member and what was found.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// What helps against damage and against whatever an author wrote wrong.
const REPACK: &str = "fetch the chart again, or pack it anew with `helm package`";
const MEND: &str = "correct the file in the chart, or name a version of the chart in which it is correct";

impl Refusal {
    /// Of the archive as a whole.
    pub(crate) fn archive(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: REPACK.to_owned() }
    }

    /// Of what stands in a file.
    pub(crate) fn content(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: MEND.to_owned() }
    }

    /// With its own advice.
    pub fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: hint.into() }
    }

    /// The same of a chart inside of another.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { why: format!("`{}` in it: {}", shown(place), self.why), hint: self.hint }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A text from outside, fit for a message: one line, not endless.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    // Quotes show themselves.
    let show = |c: char| if matches!(c, '\'' | '"') { c.to_string() } else { c.escape_debug().to_string() };
    let escaped: String = text.chars().map(show).collect();
    match escaped.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}
