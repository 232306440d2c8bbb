//! Charts of component tars: Helm must be able to load and install each of them.

use std::io::BufRead;

use chart_loader::{Refusal, install};
use model::zarf::Chart;

/// What Chart.yaml says, as far as zarf.yaml says it too.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) version: String,
}

impl Description {
    /// Whether this is its version: `v1.0.0` and `1.0.0` are the same one.
    pub(crate) fn is_version(&self, version: &str) -> bool {
        self.version.trim_start_matches('v') == version.trim_start_matches('v')
    }
}

/// Whether this member of a component tar is a chart.
pub(crate) fn is_chart(path: &str) -> bool {
    path.split('/').nth(1) == Some("charts") && path.ends_with(".tgz")
}

/// Reads the archive of a chart; what is wrong with it continues the name of
/// the file.
pub(crate) fn read(content: impl BufRead) -> Result<Description, String> {
    let refused = |Refusal { why, .. }| format!("is no chart that Helm could install: {why}");
    let chart = chart_loader::load(content).map_err(refused)?;
    install::check(&chart, None).map_err(refused)?;
    Ok(Description { version: chart.version().to_owned() })
}

/// What is wrong with a chart that could be read. One without a version in
/// zarf.yaml is whatever lies there.
pub(super) fn check(description: &Description, chart: &Chart) -> Option<String> {
    if chart.version.is_empty() {
        return None;
    }
    let found = description.version.escape_debug();
    (!description.is_version(&chart.version))
        .then(|| format!("holds the version `{found}`, and zarf.yaml says `{}`", chart.version))
}
