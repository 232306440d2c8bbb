//! `scan`: lists the images that files name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use model::count::counted;
use model::rendered::{Found as How, TO_RENDER, ToRender};
use serde::{Deserialize, Serialize};

use super::environment::Variables;
use super::signals::Attended;
use super::table;
use super::ui::Ui;
use super::wall::{self, Runs};
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::Layout;
use config::Project;
use config::core_plugins::{CHARTS, RENDER};
use config::named::LocalTree;
use config::settings::Discover;
use disk::fs;
use disk::tree::Tree;
use engine::orchestrator::aside::{Aside, Made};
use engine::orchestrator::outputs::tree_of;

/// The plugin that reads, and what it writes.
const PLUGIN: &str = "scan";
const REPORT: &str = "scan.json";
const REPORT_LIMIT: u64 = 256 << 20;
/// In the tree of the step `charts`.
const CHARTS_LIST: &str = "charts.json";

/// List the images that Helm charts, values, Flux resources, Kubernetes
/// manifests and Kubespray's defaults name
///
/// What only a running template could tell is listed as a warning.
#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// Files and folders to read
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Add what components.yaml lacks to its images.auto_discover
    #[arg(long)]
    write: bool,
}

/// What the plugin writes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Found {
    images: Vec<FoundImage>,
    unresolved: Vec<Unresolved>,
    charts: Vec<FoundChart>,
    packed: Vec<PackedChart>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundImage {
    image: String,
    file: String,
    line: u64,
    /// How it was found in a chart that was rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<How>,
    /// `file:line` of the HelmRelease with whose values the chart names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<String>,
}

impl FoundImage {
    fn row(&self) -> Vec<String> {
        let place = if self.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, self.line) };
        let how = match (self.found, &self.release) {
            (Some(How::Rendered), Some(release)) => format!("rendered for {release}"),
            (Some(How::Rendered), None) => "rendered".to_owned(),
            (Some(How::NamedOnly), _) => "named, not rendered".to_owned(),
            _ => String::new(),
        };
        vec![self.image.clone(), place, how]
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Unresolved {
    text: String,
    file: String,
    line: u64,
    /// Continues "it is not known: ".
    #[serde(default)]
    why: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundChart {
    name: String,
    repo: String,
    version: String,
    file: String,
    line: u64,
}

/// A packed chart that was read.
#[derive(Debug, Serialize, Deserialize)]
struct PackedChart {
    file: String,
    name: String,
    version: String,
    sha256: String,
}

#[derive(Serialize)]
struct Scanned<'a> {
    event: &'static str,
    #[serde(flatten)]
    found: &'a Found,
    /// What was added to components.yaml.
    written: &'a [String],
}

pub(super) fn run(args: &ScanArgs, layout: Layout, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let is_configured = layout.versions_env().exists();
    let project = if is_configured { Project::load(layout)? } else { Project::unconfigured(layout)? };
    if args.write && !is_configured {
        return Err(Error::configuration("there is no configuration to write to")
            .hint("run `opencenter-airgap init` first, or leave out --write"));
    }
    let chosen = args.paths.iter().map(|path| LocalTree::chosen(path, &project.layout));
    let local: Vec<LocalTree> = chosen.collect::<Result<_>>()?;
    let is_pinned = project.plugin_pins.pin(RENDER).is_some();
    let wall = wall::raise(&project, Runs::One(if is_pinned { RENDER } else { PLUGIN }), ui, variables)?;
    // The first threads: they stand behind the wall.
    let attended = Attended::begin(ui)?;
    attended.gracefully(ui);
    let aside = Aside {
        project: &project,
        cache_dir: variables.cache_dir.clone(),
        temporary: &variables.temporary,
        observer: ui.observer(),
        wall,
        cancel: attended.cancellation(),
    };
    let made = scanned(&aside, &project, &local)?;
    let bytes = fs::read_optional(&made.tree.path_of(REPORT), REPORT_LIMIT)?.unwrap_or_default();
    let mut found: Found = serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Class::Plugin, format!("the plugin `{PLUGIN}` wrote no `{REPORT}` that can be read"))
            .caused_by(error)
    })?;
    let gaps: Vec<String> = local.iter().flat_map(LocalTree::gaps).collect();
    gaps.iter().for_each(|gap| ui.note(&format!("warning: {gap}")));
    found.warnings.extend(gaps.iter().cloned());
    let written = if args.write { write(&project, &found)? } else { Vec::new() };
    show(&found, &written, args.write.then_some(&project), ui);
    ui.data(&Scanned { event: "scanned", found: &found, written: &written });
    if gaps.is_empty() {
        return Ok(ExitCode::Done);
    }
    let places = counted(gaps.len(), "place", "places");
    Err(Error::local(format!("{places} could not be listed: what lies there is not in the list of images"))
        .hint("mend the permissions, or name what is to be read without those places"))
}

/// Charts that are met are rendered, and what they render to is read with the rest.
fn scanned(aside: &Aside<'_>, project: &Project, local: &[LocalTree]) -> Result<Made> {
    let none = || serde_json::json!({});
    if project.settings.images.discover == Discover::Off {
        return aside.run(PLUGIN, PLUGIN, none(), local.to_vec());
    }
    let packaged = packaged(project);
    let packaged: Vec<(&str, &Tree)> = packaged.iter().map(|tree| ("packaged", tree)).collect();
    let gather = serde_json::json!({ "gather": true });
    let gathered = aside.run_with(PLUGIN, PLUGIN, gather, local.to_vec(), &packaged)?;
    let bytes = fs::read_optional(&gathered.tree.path_of(TO_RENDER), REPORT_LIMIT)?.unwrap_or_default();
    if serde_json::from_slice::<ToRender>(&bytes).is_ok_and(|list| list.charts.is_empty()) {
        return aside.run(PLUGIN, PLUGIN, none(), local.to_vec());
    }
    let versions = serde_json::json!({ "api_versions": project.settings.images.api_versions });
    let rendered = aside.run_with(RENDER, RENDER, versions, Vec::new(), &[("charts", &gathered.tree)])?;
    let made = [("gathered", &gathered.tree), ("render", &rendered.tree)];
    aside.run_with(PLUGIN, PLUGIN, none(), local.to_vec(), &made)
}

/// The charts that the last build has: HelmReleases may deploy them.
fn packaged(project: &Project) -> Option<Tree> {
    let step = project.pipeline.steps.iter().find(|step| step.runs(CHARTS))?;
    let tree = tree_of(&project.layout, &step.id).ok()?;
    tree.listing.get(CHARTS_LIST).is_some().then_some(tree)
}

fn write(project: &Project, found: &Found) -> Result<Vec<String>> {
    // What a chart only names may be switched off: it is listed, and nothing more.
    let deployed = found.images.iter().filter(|image| image.found != Some(How::NamedOnly));
    let images: BTreeSet<&str> = deployed.map(|image| image.image.as_str()).collect();
    super::add::discovered(project, &images)
}

/// A chart of a repository that components.yaml does not have.
fn is_offered(chart: &FoundChart, project: &Project) -> bool {
    let known = project.components.iter().flat_map(|components| &components.charts);
    let is_there = known.clone().any(|known| known.name == chart.name && known.repo == chart.repo);
    let is_plain = |text: &str| !text.contains(['\'', ' ', '\n']);
    chart.repo.contains("://") && !is_there && [&chart.name, &chart.repo].iter().all(|text| is_plain(text))
}

fn show(found: &Found, written: &[String], writes: Option<&Project>, ui: &Ui) {
    let mut rows: Vec<Vec<String>> = found.images.iter().map(FoundImage::row).collect();
    rows.extend(found.charts.iter().map(|chart| {
        // One that lies in a folder has no repository of charts.
        let of = if chart.repo.is_empty() { String::new() } else { format!(" of {}", chart.repo) };
        let named = format!("chart {} {}{of}", chart.name, chart.version);
        vec![named, format!("{}:{}", chart.file, chart.line), String::new()]
    }));
    if rows.is_empty() {
        ui.say("no images found");
    } else {
        ui.say_all(table::render(&rows, usize::MAX));
    }
    for PackedChart { file, name, version, sha256 } in found.packed.iter().filter(|_| ui.verbose) {
        ui.note(&format!("read {file}: the chart {name} {version}, sha256:{sha256}"));
    }
    for unresolved in &found.unresolved {
        let Unresolved { text, file, line, why } = unresolved;
        ui.note(&format!("warning: {file}:{line}: `{text}` is not known: {why}"));
    }
    if let Some(project) = writes {
        for image in written {
            ui.say(&format!("added {image}"));
        }
        let count = written.len();
        ui.say(&format!("{count} added to images.auto_discover, the others are in components.yaml already"));
        for chart in found.charts.iter().filter(|chart| is_offered(chart, project)) {
            let FoundChart { name, repo, version, file, line } = chart;
            ui.say(&format!("{file}:{line} deploys the chart {name}; to package it:"));
            ui.say(&format!("  opencenter-airgap add chart {name} --repo {repo} --version '{version}'"));
        }
    }
}
