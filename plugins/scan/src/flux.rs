//! Flux: what a HelmRelease deploys, and from where.

use std::collections::BTreeMap;

use image_finder::Node;

use crate::report::Chart;

/// Sources and releases seen so far; they refer to each other across files.
#[derive(Clone, Debug, Default)]
pub struct Flux {
    /// By kind, namespace and name.
    sources: BTreeMap<(String, String, String), Source>,
    releases: Vec<Release>,
}

#[derive(Clone, Debug)]
struct Source {
    url: String,
    /// Of an OCIRepository: its tag or range.
    version: Option<String>,
}

#[derive(Clone, Debug)]
struct Release {
    /// None for an OCIRepository, which is the chart itself.
    chart: Option<String>,
    version: Option<String>,
    source: (String, String, String),
    file: String,
    line: u32,
}

impl Flux {
    /// Takes up a resource of Flux; anything else is left alone. Returns which of
    /// [`Flux::charts`] a HelmRelease deploys.
    pub fn resource(&mut self, kind: &str, root: &Node, file: &str) -> Option<usize> {
        let text = |path: &str| root.at(path).and_then(Node::text).map(str::to_owned);
        let namespace = text("metadata.namespace").unwrap_or_default();
        match kind {
            "HelmRepository" | "OCIRepository" => {
                let url = text("spec.url")?;
                let version = text("spec.ref.semver").or(text("spec.ref.tag"));
                let key = (kind.to_owned(), namespace, text("metadata.name").unwrap_or_default());
                self.sources.insert(key, Source { url, version });
                None
            }
            "HelmRelease" => self.release(root, &namespace, file),
            _ => None,
        }
    }

    fn release(&mut self, root: &Node, namespace: &str, file: &str) -> Option<usize> {
        let spec = root.at("spec.chart.spec");
        let reference = spec.and_then(|spec| spec.get("sourceRef")).or_else(|| root.at("spec.chartRef"));
        let reference = reference?;
        let part = |key: &str, default: &str| reference.text_of(key).unwrap_or(default).to_owned();
        self.releases.push(Release {
            chart: spec.and_then(|spec| spec.text_of("chart")).map(str::to_owned),
            version: spec.and_then(|spec| spec.text_of("version")).map(str::to_owned),
            source: (part("kind", "HelmRepository"), part("namespace", namespace), part("name", "")),
            file: file.to_owned(),
            line: spec.unwrap_or(reference).line,
        });
        Some(self.releases.len() - 1)
    }

    /// The charts of all releases.
    pub fn charts(self) -> Vec<Chart> {
        let Self { sources, releases } = self;
        let chart = |release: Release| {
            let source = sources.get(&release.source);
            let url = source.map(|source| source.url.clone()).unwrap_or_default();
            let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let name = release
                .chart
                .unwrap_or_else(|| if last.is_empty() { release.source.2.clone() } else { last.to_owned() });
            // An OCIRepository is the chart; components.yaml names the folder.
            let repo = match release.source.0.as_str() {
                "OCIRepository" => {
                    url.trim_end_matches('/').strip_suffix(&format!("/{name}")).unwrap_or(&url).to_owned()
                }
                _ => url,
            };
            let version = release.version.or_else(|| source.and_then(|source| source.version.clone()));
            Chart {
                name,
                repo,
                version: version.unwrap_or_else(|| "*".to_owned()),
                file: release.file,
                line: release.line,
            }
        };
        releases.into_iter().map(chart).collect()
    }
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::documents;

    use super::*;

    #[test]
    fn releases_find_their_sources_across_files() {
        let mut flux = Flux::default();
        let releases = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: app, namespace: apps}\nspec:\n  chart:\n    spec:\n      chart: cert-manager\n      version: 1.16.x\n      sourceRef: {kind: HelmRepository, name: jetstack, namespace: flux-system}\n---\nkind: HelmRelease\nmetadata: {name: podinfo, namespace: apps}\nspec:\n  chartRef: {kind: OCIRepository, name: podinfo}\n---\nkind: HelmRelease\nmetadata: {name: lost}\nspec: {chart: {spec: {chart: lost, sourceRef: {name: nowhere}}}}\n";
        let sources = "kind: HelmRepository\nmetadata: {name: jetstack, namespace: flux-system}\nspec: {url: \"https://charts.jetstack.io\"}\n---\nkind: OCIRepository\nmetadata: {name: podinfo, namespace: apps}\nspec: {url: \"oci://ghcr.io/stefanprodan/charts/podinfo\", ref: {semver: \">=6\"}}\n";
        for (file, text) in [("releases.yaml", releases), ("sources.yaml", sources)] {
            for document in documents(text).0 {
                flux.resource(document.text_of("kind").unwrap(), &document, file);
            }
        }
        let charts = flux.charts();
        let row = |chart: &Chart| (chart.name.clone(), chart.repo.clone(), chart.version.clone());
        let expected = [
            ("cert-manager", "https://charts.jetstack.io", "1.16.x"),
            ("podinfo", "oci://ghcr.io/stefanprodan/charts", ">=6"),
            ("lost", "", "*"),
        ];
        let expected = expected.map(|(name, repo, version)| (name.to_owned(), repo.to_owned(), version.to_owned()));
        assert_eq!(charts.iter().map(row).collect::<Vec<_>>(), expected);
        assert_eq!((charts[0].file.as_str(), charts[0].line), ("releases.yaml", 7));
    }
}
