//! The core plugin `charts`: bundles Helm charts.
//!
//! [`bundle::run`] tells the story. This file only converts: the host's
//! handles become a [`host::Host`], and the lists are written: charts.json, what
//! the search found, and what is to be rendered, which [`deployed`] completes where
//! the project has a definition.

use std::io::Read;

use chart_loader::directory::{Files, ListedFile, joined};
use deployed::Rows;
use image_finder::{Node, yaml};
use model::count::counted;
use model::rendered::{ChartToRender, SEARCHED, TO_RENDER, ToRender};
use model::{ChartEntry, FileKind, RESOLVED, ResolvedComponents, zarf};
use sdk::fetch::{FetchError, Request};
use sdk::{Artifact, Context, EntryKind, Inputs, JsonSchema, Sink, Step, StepError, Summary, Tree};
use serde::Deserialize;

pub mod bundle;
pub mod deployed;
pub mod host;
pub mod images;
pub mod index;
pub mod local;
pub mod oci;
pub mod resolve;
pub mod url;

/// In the tree of `manifests`: the composed definition of the project.
const DEFINITION: &str = "definition.json";

/// What the step accepts: nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {}

/// The step.
pub struct Charts;

impl Step for Charts {
    type Configuration = Configuration;
    const NAME: &'static str = "charts";
    const SUMMARY: &'static str = "Bundles Helm charts from HTTP repositories, OCI registries and local directories";

    fn run(_: &Context, _: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let components: ResolvedComponents = inputs.get("manifests")?.read_json(RESOLVED)?;
        let lock = lock(inputs)?;
        let job = bundle::Job { charts: &components.charts, lock: &lock };
        let guest = Guest { inputs, output };
        let (entries, searched) = bundle::run(&guest, &job)?;
        let ToRender { kube_version, charts } = to_render(&components, &entries);
        let mut rows = Rows { charts: &components.charts, entries: &entries, to_render: charts, searched };
        let manifests = inputs.get("manifests")?;
        if manifests.exists(DEFINITION)? {
            deployed::complete(&guest, &manifests.read_json(DEFINITION)?, &mut rows)?;
        }
        let Rows { to_render: charts, searched, .. } = rows;
        output.write_json("charts.json", &entries)?;
        output.write_json(SEARCHED, &searched)?;
        output.write_json(TO_RENDER, &ToRender { kube_version, charts })?;
        let message = counted(entries.len(), "chart", "charts");
        Ok(Summary::new(entries.len() as u64, "charts").message(message))
    }
}

sdk::export_step!(Charts);

/// Each chart as it will be installed, on the Kubernetes that the package brings.
fn to_render(components: &ResolvedComponents, entries: &[ChartEntry]) -> ToRender {
    let kubernetes = components.files.iter().find(|file| file.kind == FileKind::Kubernetes);
    let chart = |entry: &ChartEntry| {
        let release = zarf::release_of(&entry.name);
        ChartToRender {
            name: entry.name.clone(),
            version: entry.version.clone(),
            namespace: if entry.namespace.is_empty() { release.clone() } else { entry.namespace.clone() },
            release,
            path: entry.path.clone(),
            values: entry.values.clone(),
        }
    };
    ToRender { kube_version: kubernetes.map(|file| file.version.clone()), charts: entries.iter().map(chart).collect() }
}

/// airgap.lock as it lies in config/; empty where there is none yet.
fn lock(inputs: &Inputs) -> Result<Node, StepError> {
    let Some(config) = inputs.find("config") else { return Ok(Node::empty()) };
    let Some(text) = config.read_text_optional("airgap.lock")? else { return Ok(Node::empty()) };
    yaml::parse(&text).map_err(|error| StepError::invalid_input("yaml", format!("airgap.lock: {error}")))
}

/// The host behind its handles.
struct Guest<'a> {
    inputs: &'a Inputs,
    output: &'a Sink,
}

impl host::Host for Guest<'_> {
    fn fetch(&self, requests: &[Request]) -> Result<Vec<Result<Artifact, FetchError>>, StepError> {
        sdk::fetch::all(requests, self.output)
    }

    fn tags(&self, repository: &str, limit: u32) -> Result<Vec<String>, FetchError> {
        sdk::fetch::tags(repository, limit)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StepError> {
        self.output.read(path, limit)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, StepError> {
        Ok(Box::new(self.output.reader(path)?))
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<Artifact, StepError> {
        self.output.write(path, content, false)
    }

    fn remove(&self, path: &str) -> Result<(), StepError> {
        self.output.remove(path)
    }

    fn local(&self, path: &str) -> Option<Box<dyn Files + '_>> {
        if let Some(path) = path.strip_prefix(bundle::EXPORTED) {
            let tree = self.inputs.find("repos")?;
            let has_any = tree.entries(path).is_ok_and(|entries| !entries.is_empty());
            return has_any.then(|| Box::new(Directory { tree, below: format!("{path}/") }) as Box<dyn Files>);
        }
        // The host names a tree as components.yaml writes the path.
        let wanted = joined("", path);
        let named = |name: &&str| name.strip_prefix("local:").is_some_and(|name| joined("", name) == wanted);
        let tree = self.inputs.find(self.inputs.names().find(named)?)?;
        Some(Box::new(Directory { tree, below: String::new() }))
    }

    fn done(&self) -> Vec<String> {
        sdk::checkpoint::done()
    }

    fn mark(&self, key: &str, paths: &[String]) -> Result<(), StepError> {
        sdk::checkpoint::mark(key, paths)
    }

    fn info(&self, message: &str) {
        sdk::log::info(message);
    }

    fn warn(&self, message: &str) {
        sdk::log::warn(message);
    }

    fn progress(&self, done: u64, total: u64, message: &str) -> Result<(), StepError> {
        sdk::progress(done, Some(total), "charts", message)
    }
}

/// A tree of the host as a directory, or what lies below a folder of it.
struct Directory<'a> {
    tree: &'a Tree,
    /// With a slash at the end; empty for all of it.
    below: String,
}

impl Files for Directory<'_> {
    fn list(&self) -> Result<Vec<ListedFile>, String> {
        let entries = self.tree.entries(self.below.trim_end_matches('/')).map_err(|error| text(&error))?;
        let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Directory);
        let inside = |path: &str| path.strip_prefix(&self.below).unwrap_or(path).to_owned();
        Ok(files.map(|entry| ListedFile { path: inside(&entry.path), size: entry.size, link: entry.target }).collect())
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String> {
        self.tree.read(&format!("{}{path}", self.below), limit).map_err(|error| text(&error))
    }
}

fn text(error: &StepError) -> String {
    error.failure().map_or_else(|| "interrupted".to_owned(), |failure| failure.message.clone())
}
