//! What charts render to, and the images that are found in it: what the steps
//! `charts`, `render` and `discover` hand on.

use serde::{Deserialize, Serialize};

/// In the tree of `charts`: what is to be rendered, [`ToRender`].
pub const TO_RENDER: &str = "render.json";
/// In the tree of `charts`: what the static search finds, a list of [`Searched`].
pub const SEARCHED: &str = "searched.json";
/// In the tree of `render`: what became of each chart, a list of [`Rendered`].
pub const RENDERED: &str = "rendered.json";
/// In the tree of `discover`: [`Discovered`].
pub const DISCOVERED: &str = "discovered.json";

/// What the step `render` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToRender {
    /// Of the cluster, `1.31.4`; the one that Helm assumes where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_version: Option<String>,
    /// In their order.
    pub charts: Vec<ChartToRender>,
}

/// A chart and what it is rendered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartToRender {
    /// Of the chart.
    pub name: String,
    /// Of the chart.
    pub version: String,
    /// What the release is called.
    pub release: String,
    /// Where it is installed.
    pub namespace: String,
    /// The packed chart, in the same tree.
    pub path: String,
    /// Values files in the same tree, in their order.
    pub values: Vec<String>,
}

/// What became of a chart that was to be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// Of the chart.
    pub name: String,
    /// Of the chart.
    pub version: String,
    /// Where its documents lie, a list of [`Document`]; None where it could not be
    /// rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it could not be rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Why a chart could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// As Helm says it, in one line.
    pub message: String,
    /// The template that is the reason, where one is: `app/templates/pod.yaml`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// Of the template, from 1; 0 where it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
}

impl Problem {
    /// The place, as far as it is known, and the message, in one line.
    pub fn told(&self) -> String {
        match (self.template.as_str(), self.line) {
            ("", _) => self.message.clone(),
            (template, 0) => format!("{template}: {}", self.message),
            (template, line) => format!("{template}:{line}: {}", self.message),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(line: &u32) -> bool {
    *line == 0
}

/// A resource as Helm sends it to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The template that writes it: `app/charts/db/templates/pod.yaml`.
    pub template: String,
    /// The YAML.
    pub text: String,
    /// For each line of the text the line of the template; 0 where it is not known.
    pub lines: Vec<u32>,
    /// When it is sent, where it is a hook: `pre-install`, `test`.
    #[serde(default)]
    pub hooks: Vec<String>,
}

impl Document {
    /// Whether `helm test` alone sends it.
    pub fn is_test(&self) -> bool {
        !self.hooks.is_empty() && self.hooks.iter().all(|hook| hook.starts_with("test"))
    }
}

/// An image that nobody knows for sure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// As far as it is written.
    pub text: String,
    /// `templates/pod.yaml:12`.
    pub place: String,
    /// Continues "it is not known: ".
    pub why: String,
}

/// What the static search finds in one chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Of the chart.
    pub name: String,
    /// Of the chart.
    pub version: String,
    /// References.
    pub images: Vec<String>,
    /// What may be one.
    pub unknown: Vec<Unknown>,
}

/// How an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// What the chart renders to names it.
    Rendered,
    /// The chart could not be rendered, and its values or templates name it.
    Searched,
    /// Its values or templates name it, and what it renders to does not: an operator
    /// may, or what is switched off.
    NamedOnly,
}

/// What is known about the images of the charts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// Chart by chart.
    pub images: Vec<DiscoveredImage>,
    /// What is one, nobody knows which.
    pub unknown: Vec<UnknownOfChart>,
    /// The charts that could not be rendered.
    pub problems: Vec<Rendered>,
}

/// An image of a chart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiscoveredImage {
    /// As it is written.
    pub image: String,
    /// Name and version of the chart: `cert-manager 1.16.2`.
    pub chart: String,
    /// `cert-manager/templates/deployment.yaml:62`; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// How it was found.
    pub found: Found,
    /// Whether only `helm test` starts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_test: bool,
    /// Whether the components name it.
    pub is_packaged: bool,
    /// Whether it goes into the package because of this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_added: bool,
}

/// An image of a chart that nobody knows for sure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownOfChart {
    /// Name and version of the chart.
    pub chart: String,
    /// What is known of it.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Discovered {
    /// The images that go into the package, each once with the place that names it
    /// first: `chart app 1.0.0: app/templates/pod.yaml:12`.
    pub fn added(&self) -> Vec<(String, String)> {
        let mut added: Vec<(String, String)> = Vec::new();
        for one in self.images.iter().filter(|one| one.is_added) {
            if !added.iter().any(|(image, _)| *image == one.image) {
                added.push((one.image.clone(), one.origin()));
            }
        }
        added
    }
}

impl DiscoveredImage {
    /// Which chart names it, and where.
    pub fn origin(&self) -> String {
        match self.place.as_str() {
            "" => format!("chart {}", self.chart),
            place => format!("chart {}: {place}", self.chart),
        }
    }
}
