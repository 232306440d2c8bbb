//! The charts that are met, packed for the plugin that renders them: each with its
//! own values, and once more for each HelmRelease of Flux that deploys it. A release
//! whose chart lies in a repository is rendered where the last build has that chart
//! ([`Packaged`]).
//!
//! Written are `charts/<n>.tgz`, `values/<n>-<i>.yaml`, and two lists in the same
//! order: render.json, and places.json with what each is.

use std::collections::BTreeMap;

use image_finder::scalar::Scalar;
use image_finder::yaml::{self, Node, Value};
use model::rendered::{ChartToRender, TO_RENDER, ToRender};
use model::version::{Constraint, Version};
use sdk::{Sink, StepError, Tree, formats};
use serde::{Deserialize, Serialize};

use crate::flux::Flux;
use crate::kustomize::{Replaced, post_rendered};
use crate::report;

/// In the tree with the charts: what each row of render.json is, a list of [`Occurrence`].
pub const PLACES: &str = "places.json";
/// Charts, and HelmReleases, that are rendered.
const MOST: usize = 2000;

/// Where a rendered chart was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The folder or archive of the chart, as it is shown.
    pub chart: String,
    /// `file:line` of the HelmRelease that deploys it; None of the chart by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether it is a chart of the last build, and no file that was named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_packaged: bool,
    /// The images that the release replaces in what its chart renders to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
}

/// A chart that was met.
#[derive(Clone)]
struct Met {
    name: String,
    version: String,
    /// In the output.
    path: String,
}

/// Gathers charts and releases.
#[derive(Default)]
pub struct Gathered {
    /// By place.
    charts: BTreeMap<String, Met>,
    flux: Flux,
    releases: Vec<Release>,
    /// By kind, namespace and name: what `valuesFrom` refers to.
    values: BTreeMap<(String, String, String), Node>,
}

/// The charts of the last build.
pub struct Packaged<'a> {
    tree: &'a Tree,
    charts: Vec<formats::Chart>,
}

impl<'a> Packaged<'a> {
    /// # Errors
    /// A list that can not be read.
    pub fn read(tree: &'a Tree) -> Result<Self, StepError> {
        Ok(Self { tree, charts: tree.read_json(formats::CHARTS)? })
    }

    /// The one that a release would get, were it installed with this package.
    fn find(&self, wanted: &report::Chart) -> Option<&formats::Chart> {
        let of = |chart: &&formats::Chart| chart.name == wanted.name && is_same_repository(&chart.repo, &wanted.repo);
        let constraint = Constraint::parse(&wanted.version);
        let fits = |chart: &&formats::Chart| {
            let version = Version::parse(&chart.version);
            wanted.version == chart.version
                || constraint.as_ref().zip(version).is_some_and(|(wanted, is)| wanted.fits(&is))
        };
        let mut same = self.charts.iter().filter(of);
        same.clone().find(|chart| chart.requested == wanted.version).or_else(|| same.find(fits))
    }
}

fn is_same_repository(one: &str, other: &str) -> bool {
    !one.is_empty() && one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Where a HelmRelease has its chart from.
enum Origin {
    /// A folder of the same repository.
    Folder(String),
    /// A repository of charts: which of [`Flux::charts`].
    Repository(usize),
}

/// A HelmRelease.
struct Release {
    place: String,
    chart: Origin,
    name: String,
    namespace: String,
    /// Of the resource itself.
    own_namespace: String,
    root: Node,
}

impl Gathered {
    /// Takes a chart.
    ///
    /// # Errors
    /// Those of writing.
    pub fn chart(&mut self, place: &str, about: (&str, &str), packed: &[u8], output: &Sink) -> Result<(), StepError> {
        if self.charts.len() >= MOST {
            return Ok(());
        }
        let path = format!("charts/{}.tgz", self.charts.len());
        output.write(&path, packed, false)?;
        let (name, version) = (about.0.to_owned(), about.1.to_owned());
        self.charts.insert(place.to_owned(), Met { name, version, path });
        Ok(())
    }

    /// Takes a file of resources.
    pub fn resources(&mut self, file: &str, text: &str) {
        if !["HelmRelease", "HelmRepository", "OCIRepository", "ConfigMap", "Secret"]
            .iter()
            .any(|kind| text.contains(kind))
        {
            return;
        }
        for root in yaml::documents(text).0 {
            self.resource(file, root);
        }
    }

    fn resource(&mut self, file: &str, root: Node) {
        let text = |path: &str| root.at(path).and_then(Node::text).map(str::to_owned);
        let own_namespace = text("metadata.namespace").unwrap_or_default();
        let name = text("metadata.name").unwrap_or_default();
        let wanted = root.text_of("kind").and_then(|kind| self.flux.resource(kind, &root, file));
        match root.text_of("kind") {
            Some(kind @ ("ConfigMap" | "Secret")) => {
                self.values.insert((kind.to_owned(), own_namespace, name), root);
            }
            Some("HelmRelease") => {
                let spec = root.at("spec.chart.spec");
                let source = spec.and_then(|spec| spec.at("sourceRef.kind")).and_then(Node::text);
                let chart = spec.and_then(|spec| spec.text_of("chart")).map(str::to_owned);
                let chart = match (source, chart, wanted) {
                    (Some("GitRepository" | "Bucket"), Some(chart), _) => Origin::Folder(chart),
                    (_, _, Some(wanted)) => Origin::Repository(wanted),
                    _ => return,
                };
                let target = text("spec.targetNamespace");
                let prefixed = target.as_ref().map_or_else(|| name.clone(), |target| format!("{target}-{name}"));
                let line = root.at("metadata.name").map_or(root.line, |node| node.line);
                self.releases.push(Release {
                    place: format!("{file}:{line}"),
                    chart,
                    name: text("spec.releaseName").unwrap_or(prefixed),
                    namespace: target.unwrap_or_else(|| own_namespace.clone()),
                    own_namespace,
                    root,
                });
            }
            _ => {}
        }
    }

    /// Writes the lists. Returns how many there are to render.
    ///
    /// # Errors
    /// Those of writing, and of reading a packaged chart.
    pub fn write(mut self, packaged: Option<&Packaged<'_>>, output: &Sink) -> Result<u64, StepError> {
        let (mut list, mut places) = (ToRender::default(), Vec::new());
        for (place, met) in &self.charts {
            list.charts.push(to_render(met, &model::zarf::release_of(&met.name), "default", Vec::new()));
            places.push(Occurrence { chart: place.clone(), release: None, is_packaged: false, replaced: Vec::new() });
        }
        let wanted = std::mem::take(&mut self.flux).charts();
        let mut copied = BTreeMap::new();
        for release in self.releases.iter().take(MOST) {
            let found = match &release.chart {
                Origin::Folder(chart) => self.met_at(chart),
                Origin::Repository(at) => match packaged.zip(wanted.get(*at)) {
                    Some((packaged, wanted)) => copy(packaged, wanted, &mut copied, output)?,
                    None => None,
                },
            };
            let Some((place, met)) = found else { continue };
            let mut values = Vec::new();
            for (i, text) in self.values_of(release).into_iter().enumerate() {
                let path = format!("values/{}-{i}.yaml", places.len());
                output.write(&path, text.as_bytes(), false)?;
                values.push(path);
            }
            list.charts.push(to_render(&met, &release.name, &release.namespace, values));
            let replaced = post_rendered(&release.root).map(|(replaced, _)| replaced).collect();
            let is_packaged = matches!(release.chart, Origin::Repository(_));
            places.push(Occurrence { chart: place, release: Some(release.place.clone()), is_packaged, replaced });
        }
        output.write_json(TO_RENDER, &list)?;
        output.write_json(PLACES, &places)?;
        Ok(places.len() as u64)
    }

    fn met_at(&self, chart: &str) -> Option<(String, Met)> {
        let found = self.charts.iter().find(|(place, _)| lies_at(place, chart));
        found.map(|(place, met)| (place.clone(), met.clone()))
    }

    /// Values files in their order: what `valuesFrom` names, then its own.
    fn values_of(&self, release: &Release) -> Vec<String> {
        let listed = release.root.at("spec.valuesFrom").map_or(&[][..], Node::items);
        let named = listed.iter().filter_map(|from| {
            let part = |key: &str| from.text_of(key).unwrap_or_default().to_owned();
            let resource = self.values.get(&(part("kind"), release.own_namespace.clone(), part("name")))?;
            let key = from.text_of("valuesKey").unwrap_or("values.yaml");
            // `data` of a Secret is base64.
            let data = if resource.text_of("kind") == Some("Secret") { "stringData" } else { "data" };
            let text = resource.get(data)?.text_of(key)?;
            match from.text_of("targetPath") {
                Some(path) => Some(at_path(path, text)),
                None => Some(text.to_owned()),
            }
        });
        named.chain(release.root.at("spec.values").map(json)).collect()
    }
}

/// The packaged chart that a release wants, copied once, and what it is called.
fn copy(
    packaged: &Packaged<'_>,
    wanted: &report::Chart,
    copied: &mut BTreeMap<String, Met>,
    output: &Sink,
) -> Result<Option<(String, Met)>, StepError> {
    let Some(chart) = packaged.find(wanted) else { return Ok(None) };
    let place = chart.path.rsplit('/').next().unwrap_or(&chart.path).to_owned();
    if let Some(met) = copied.get(&chart.path) {
        return Ok(Some((place, met.clone())));
    }
    let path = format!("charts/packaged-{}.tgz", copied.len());
    output.link(packaged.tree, &chart.path, &path)?;
    let met = Met { name: chart.name.clone(), version: chart.version.clone(), path };
    copied.insert(chart.path.clone(), met.clone());
    Ok(Some((place, met)))
}

fn to_render(met: &Met, release: &str, namespace: &str, values: Vec<String>) -> ChartToRender {
    ChartToRender {
        name: met.name.clone(),
        version: met.version.clone(),
        release: release.to_owned(),
        namespace: namespace.to_owned(),
        path: met.path.clone(),
        values,
    }
}

/// Whether the path of a chart in its repository is the end of where it was met.
fn lies_at(place: &str, chart: &str) -> bool {
    let wanted = chart_loader::directory::joined("", chart);
    !wanted.is_empty() && (place == wanted || place.ends_with(&format!("/{wanted}")))
}

/// `a.b` and a text as values.
fn at_path(path: &str, text: &str) -> String {
    let value = serde_json::Value::from(text).to_string();
    path.split('.').rev().fold(value, |inner, key| format!("{{{}: {inner}}}", serde_json::Value::from(key)))
}

/// A node in one line, which YAML reads as what it was.
fn json(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => match node.scalar() {
            Some(Scalar::Text(text)) => serde_json::Value::from(text).to_string(),
            Some(Scalar::Null) | None => "null".to_owned(),
            Some(Scalar::Bool(is)) => is.to_string(),
            Some(_) => text.clone(),
        },
        Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry =
                |(key, node): &(String, Node)| format!("{}: {}", serde_json::Value::from(key.as_str()), json(node));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_what_they_were() {
        let text = "a: 1.10\nb: \"1.10\"\nc: yes\nd: 'x: y'\ne: [null, {f: g}]\nh: 0x10\n";
        let node = yaml::parse(text).unwrap();
        assert!(yaml::parse(&json(&node)).unwrap().at("b").unwrap().is_same(node.at("b").unwrap()));
        assert_eq!(
            json(&node),
            "{\"a\": 1.10, \"b\": \"1.10\", \"c\": true, \"d\": \"x: y\", \"e\": [null, {\"f\": \"g\"}], \"h\": 0x10}"
        );
        assert_eq!(at_path("a.b", "x"), "{\"a\": {\"b\": \"x\"}}");
    }

    #[test]
    fn a_release_has_the_values_of_its_own_tree() {
        let mut gathered = Gathered::default();
        let release = "kind: HelmRelease\nmetadata: {name: web, namespace: apps}\nspec:\n  chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: r}}}\n  targetNamespace: prod\n  valuesFrom:\n  - {kind: ConfigMap, name: v}\n  - {kind: Secret, name: s, valuesKey: tag, targetPath: image.tag}\n  - {kind: ConfigMap, name: gone, optional: true}\n  values: {replicas: 2}\n";
        gathered.resources("r.yaml", release);
        gathered.resources("v.yaml", "kind: ConfigMap\nmetadata: {name: v, namespace: apps}\ndata:\n  values.yaml: |\n    a: b\n---\nkind: Secret\nmetadata: {name: s, namespace: apps}\nstringData: {tag: \"7\"}\n");
        let release = &gathered.releases[0];
        assert_eq!(gathered.values_of(release), ["a: b\n", "{\"image\": {\"tag\": \"7\"}}", "{\"replicas\": 2}"]);
        assert_eq!((release.name.as_str(), release.namespace.as_str()), ("prod-web", "prod"));
        assert!(lies_at("repo/charts/web", "./charts/web") && !lies_at("repo/charts/web2", "charts/web"));
    }
}
