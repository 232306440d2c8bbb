//! A chart as a whole: what it deploys follows from its values, its templates and
//! the charts in it together, as in a build.

use chart_loader::{Chart, images};

use crate::scanner::Scanner;

/// Whether a file is part of what is read of the chart in `folder`. Others beside
/// it are files like any other: values for a special occasion, manifests.
pub fn reads(folder: &str, path: &str) -> bool {
    let below = path.strip_prefix(folder);
    below.is_some_and(|path| path == "values.yaml" || path.starts_with("templates/") || path.starts_with("charts/"))
}

/// The outermost folders with a Chart.yaml, each empty or with a `/` at its end.
pub fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let folder =
        |path: &'a str| path.strip_suffix("Chart.yaml").filter(|folder| folder.is_empty() || folder.ends_with('/'));
    let mut folders: Vec<&str> = paths.filter_map(folder).collect();
    // A shorter one comes first, and has what is below it.
    folders.sort_unstable();
    let mut outer: Vec<&str> = Vec::new();
    for folder in folders {
        if !outer.last().is_some_and(|last| folder.starts_with(last)) {
            outer.push(folder);
        }
    }
    outer
}

/// What the chart deploys with its own values.
pub fn scan(shown: &str, chart: &Chart, scanner: &mut Scanner) {
    match images::of(chart, &[]) {
        Ok(images) => scanner.chart_images(shown, images),
        Err(refusal) => scanner.skip(shown, &refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_charts_are_found() {
        let paths = ["a/Chart.yaml", "a/charts/b/Chart.yaml", "ab/Chart.yaml", "c/NotChart.yaml", "d/e/Chart.yaml"];
        assert_eq!(folders(paths.into_iter()), ["a/", "ab/", "d/e/"]);
        assert_eq!(folders(["Chart.yaml", "x/Chart.yaml"].into_iter()), [""]);
        assert!(
            reads("a/", "a/charts/b/values.yaml")
                && !reads("a/", "a/values-prod.yaml")
                && !reads("a/", "b/values.yaml")
        );
    }
}
