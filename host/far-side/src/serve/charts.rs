//! Helm charts, as OCI artifacts and as a repository with an index.yaml.
//!
//! An artifact is made as `helm push` makes it ([`chart_loader::artifact`]), or
//! carried as one. It is the same in every run.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chart_loader::artifact;
pub(super) use chart_loader::artifact::FOLDER;
use hyper::StatusCode;
use model::media_type::OCI_MANIFEST;
use model::version::{Version, compare};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Asked};
use super::content::{Content, Source};
use super::html;
use super::images::{Images, Manifest};
use super::path::encoded;
use super::shelf::Shelf;
use crate::inspect::contents::ChartRow;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;

const GZIP: &str = "application/gzip";
const YAML: &str = "application/yaml";

/// Bytes of an archive: Helm reads no larger one.
const LARGEST_CHART: u64 = 100 << 20;

#[derive(Default)]
pub(super) struct Charts {
    /// By name and version.
    all: BTreeMap<String, BTreeMap<String, Chart>>,
    index: OnceLock<Bytes>,
}

struct Chart {
    package: String,
    archive: Arc<Content>,
    provenance: Option<Arc<Content>>,
    /// Chart.yaml as Helm's JSON has it.
    metadata: Map<String, Value>,
    values: Vec<Arc<Content>>,
    /// When the package was built.
    created: String,
    has_artifact: bool,
}

/// A chart as registries have it.
pub(super) enum Artifact {
    /// An archive of a component.
    Made(Made),
    /// It is in the package, and gets the name that charts have.
    Carried { name: String, tag: String, digest: Digest },
}

pub(super) struct Made {
    /// Of its repository: `charts/web`.
    name: String,
    tag: String,
    /// Where it came from, where that is a registry.
    origin: Option<Reference>,
    manifest: Bytes,
    config: Bytes,
    layers: Vec<Arc<Content>>,
}

impl Artifact {
    pub(super) fn put_into(self, images: &mut Images, package: &str) -> Result<()> {
        match self {
            Self::Made(made) => made.put_into(images, package),
            Self::Carried { name, tag, digest } => images.add_named(&name, Some(&tag), digest, package),
        }
    }
}

impl Made {
    fn put_into(self, images: &mut Images, package: &str) -> Result<()> {
        let digest = Digest::of(&self.manifest);
        images.add_named(&self.name, Some(&self.tag), digest, package)?;
        if let Some(origin) = &self.origin {
            images.add(origin, digest, package)?;
        }
        images.add_blob(Digest::of(&self.config), Source::Made(self.config));
        for layer in self.layers {
            images.add_blob(layer.digest(), Source::Carried(layer));
        }
        images.add_blob(digest, Source::Made(self.manifest.clone()));
        let source = Source::Made(self.manifest);
        images.add_manifest(digest, Manifest { is_chart: true, media_type: OCI_MANIFEST.to_owned(), source });
        Ok(())
    }
}

impl Charts {
    /// Gives them as artifacts.
    ///
    /// # Errors
    /// `integrity` where one cannot be read; `invalid-input` where two packages
    /// have different ones of one version.
    pub(super) fn add(&mut self, shelf: &Shelf, notes: &mut Vec<String>) -> Result<Vec<Artifact>> {
        let mut artifacts = Vec::new();
        for row in &shelf.contents.charts {
            let Some(archive) = shelf.member(&row.component, &row.path) else { continue };
            let mut chart = Chart::read(shelf, row, archive)?;
            let versions = self.all.entry(chart.text("name")).or_default();
            match versions.get(&chart.text("version")) {
                // Of others, whose artifacts may be anything.
                Some(_) if row.artifact.is_some() => {}
                Some(known) if known.archive.digest() != chart.archive.digest() => {
                    let (name, version) = (chart.text("name"), chart.text("version"));
                    let message = format!(
                        "the chart `{name}` {version} is {} in `{}` and {} in `{}`",
                        known.archive.digest(),
                        known.package,
                        chart.archive.digest(),
                        chart.package
                    );
                    return Err(Error::invalid(message).hint("serve one of the two packages"));
                }
                Some(_) => {}
                None => {
                    let artifact = chart.artifact(row);
                    chart.has_artifact = artifact.is_some();
                    match artifact {
                        Some(artifact) => artifacts.push(artifact),
                        None => notes.push(format!(
                            "the chart `{}` {} has a name that no registry takes: it is in /charts/index.yaml alone",
                            chart.text("name"),
                            chart.text("version")
                        )),
                    }
                    versions.insert(chart.text("version"), chart);
                }
            }
        }
        Ok(artifacts)
    }

    /// Names and versions.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows().map(|(name, version, _)| (name, version))
    }

    /// Those that are artifacts as well: what a registry takes for a name is
    /// safe in a command.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows().filter(|(.., chart)| chart.has_artifact).map(|(name, version, _)| (name, version))
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &str, &Chart)> {
        let of = |(name, versions)| {
            let versions: &BTreeMap<String, Chart> = versions;
            let name: &String = name;
            versions.iter().map(move |(version, chart)| (name.as_str(), version.as_str(), chart))
        };
        self.all.iter().flat_map(of)
    }

    /// The answer to what is asked below `/charts/`. Addresses in the index are
    /// relative to it, or begin with `base`.
    pub(super) fn answer(&self, parts: &[&str], asked: &Asked<'_>, base: Option<&str>) -> Answer {
        match parts {
            [""] => Answer::html(html::folder("/charts", &self.names(base))),
            ["index.yaml"] => Answer::new(StatusCode::OK, YAML, self.index(base)),
            ["values", name] => self.file(asked, YAML, |chart| chart.values_named(name)),
            [name] if name.ends_with(".prov") => self.file(asked, "text/plain", |chart| {
                chart.provenance.as_ref().filter(|_| format!("{}.prov", chart.file_name()) == *name)
            }),
            [name] => self.file(asked, GZIP, |chart| Some(&chart.archive).filter(|_| chart.file_name() == *name)),
            _ => Answer::text(StatusCode::NOT_FOUND, "no package has this chart"),
        }
    }

    fn file<'a>(
        &'a self,
        asked: &Asked<'_>,
        media_type: &str,
        of: impl Fn(&'a Chart) -> Option<&'a Arc<Content>>,
    ) -> Answer {
        let found = self.all.values().flat_map(BTreeMap::values).find_map(of);
        match found {
            Some(content) => {
                Answer::content(asked, &Source::Carried(content.clone()), media_type, Some(content.digest()))
            }
            None => Answer::text(StatusCode::NOT_FOUND, "no package has this chart"),
        }
    }

    fn names(&self, base: Option<&str>) -> BTreeMap<String, Option<u64>> {
        let charts = || self.all.values().flat_map(BTreeMap::values);
        let archives = charts().map(|chart| (chart.file_name(), Some(chart.archive.size())));
        let values = charts()
            .flat_map(Chart::values_names)
            .map(|(name, content)| (format!("values/{name}"), Some(content.size())));
        archives.chain(values).chain([("index.yaml".to_owned(), Some(self.index(base).len() as u64))]).collect()
    }

    /// index.yaml, written once: a process has one base.
    fn index(&self, base: Option<&str>) -> Bytes {
        self.index.get_or_init(|| self.written(base).into()).clone()
    }

    /// The newest version of a chart first.
    fn written(&self, base: Option<&str>) -> String {
        let mut entries = Map::new();
        for (name, versions) in &self.all {
            let mut versions: Vec<&Chart> = versions.values().collect();
            versions.sort_by(|one, other| newest_first(&one.text("version"), &other.text("version")));
            entries.insert(name.clone(), versions.into_iter().map(|chart| chart.row(base)).collect());
        }
        let generated = self.all.values().flat_map(BTreeMap::values).map(|chart| chart.created.as_str()).max();
        let index = json!({ "apiVersion": "v1", "entries": entries, "generated": generated.unwrap_or_default() });
        serde_yaml::to_string(&index).unwrap_or_default()
    }
}

impl Chart {
    fn read(shelf: &Shelf, row: &ChartRow, archive: &Arc<Content>) -> Result<Self> {
        let bytes = shelf.bytes(archive, LARGEST_CHART)?;
        let metadata = artifact::metadata(&bytes).map_err(|why| {
            let message = format!("the chart `{}` in `{}`: {why}", row.path.escape_debug(), shelf.name);
            Error::invalid(message).hint("`opencenter-airgap verify` says what is wrong with the package")
        })?;
        let stem = model::zarf::base_name(&row.path).trim_end_matches(".tgz").to_owned();
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let beside = shelf.member(&row.component, &format!("{}.prov", row.path));
        let provenance = beside.or_else(|| shelf.document(&format!("{}-{}.tgz.prov", text("name"), text("version"))));
        let values = |at: usize| shelf.member(&row.component, &format!("{}/values/{stem}-{at}", row.component));
        Ok(Self {
            package: shelf.name.clone(),
            archive: archive.clone(),
            provenance: provenance.cloned(),
            values: (0..).map_while(values).cloned().collect(),
            created: shelf.created(),
            metadata,
            has_artifact: false,
        })
    }

    fn text(&self, key: &str) -> String {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.text("name"), self.text("version"))
    }

    fn values_names(&self) -> impl Iterator<Item = (String, &Arc<Content>)> {
        let stem = self.file_name().trim_end_matches(".tgz").to_owned();
        self.values.iter().enumerate().map(move |(at, content)| (format!("{stem}-{at}.yaml"), content))
    }

    fn values_named(&self, name: &str) -> Option<&Arc<Content>> {
        self.values_names().find(|(known, _)| known == name).map(|(_, content)| content)
    }

    /// A row of index.yaml.
    fn row(&self, base: Option<&str>) -> Value {
        let mut row = self.metadata.clone();
        let name = encoded(&self.file_name());
        let url = base.map_or_else(|| name.clone(), |base| format!("{}/charts/{name}", base.trim_end_matches('/')));
        row.insert("urls".to_owned(), json!([url]));
        row.insert("digest".to_owned(), json!(self.archive.digest().hex()));
        row.insert("created".to_owned(), json!(self.created));
        Value::Object(row)
    }

    /// None where no registry takes its name or its version.
    fn artifact(&self, row: &ChartRow) -> Option<Artifact> {
        let tag = artifact::tag(&self.text("version"));
        let (name, source) = (self.text("name"), row.source.as_deref().unwrap_or_default());
        Reference::parse(&format!("localhost/{FOLDER}/{name}:{tag}")).ok()?;
        if let Some(manifest) = &row.manifest {
            let digest = manifest.parse().ok()?;
            return Some(Artifact::Carried { name: format!("{FOLDER}/{name}"), tag, digest });
        }
        let origin = source.starts_with("oci://").then(|| from_registry(source, &name, &tag)).flatten();
        let config = artifact::config(&self.metadata);
        let of = |content: &Content| artifact::Content { digest: content.digest().to_string(), size: content.size() };
        let of_config = artifact::Content { digest: Digest::of(&config).to_string(), size: config.len() as u64 };
        let provenance = self.provenance.as_ref().map(|provenance| of(provenance));
        let manifest = artifact::manifest(&self.metadata, &of_config, &of(&self.archive), provenance.as_ref());
        let (config, manifest) = (Bytes::from(config), Bytes::from(manifest));
        let layers = [&self.archive].into_iter().chain(&self.provenance).cloned().collect();
        Some(Artifact::Made(Made { name: format!("{FOLDER}/{name}"), tag, origin, manifest, config, layers }))
    }
}

/// The name of a chart that came from a registry.
fn from_registry(source: &str, name: &str, tag: &str) -> Option<Reference> {
    let known = Reference::parse(source).ok()?;
    Reference::parse(&format!("{}:{tag}", artifact::name_in_registry(&known.name(), name))).ok()
}

/// By Helm's rules, and what is no version behind the others.
fn newest_first(one: &str, other: &str) -> Ordering {
    match (Version::parse(one), Version::parse(other)) {
        (Some(one), Some(other)) => compare(&other, &one),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => other.cmp(one),
    }
}
