//! `scan`: lists the images that files name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use model::count::counted;
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
use config::named::LocalTree;
use disk::fs;
use engine::orchestrator::aside::Aside;

/// The plugin that reads, and what it writes.
const PLUGIN: &str = "scan";
const REPORT: &str = "scan.json";
const REPORT_LIMIT: u64 = 256 << 20;

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
    let wall = wall::raise(&project, Runs::One(PLUGIN), ui, variables)?;
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
    let made = aside.run(PLUGIN, PLUGIN, serde_json::json!({}), local.clone())?;
    let bytes = fs::read_optional(&made.tree.path_of(REPORT), REPORT_LIMIT)?.unwrap_or_default();
    let mut found: Found = serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Class::Plugin, format!("the plugin `{PLUGIN}` wrote no `{REPORT}` that can be read"))
            .caused_by(error)
    })?;
    let gaps: Vec<String> = local.iter().flat_map(LocalTree::gaps).collect();
    gaps.iter().for_each(|gap| ui.note(&format!("warning: {gap}")));
    found.warnings.extend(gaps.iter().cloned());
    let written = if args.write { write(&project, &found)? } else { Vec::new() };
    show(&found, &written, args.write, ui);
    ui.data(&Scanned { event: "scanned", found: &found, written: &written });
    if gaps.is_empty() {
        return Ok(ExitCode::Done);
    }
    let places = counted(gaps.len(), "place", "places");
    Err(Error::local(format!("{places} could not be listed: what lies there is not in the list of images"))
        .hint("mend the permissions, or name what is to be read without those places"))
}

fn write(project: &Project, found: &Found) -> Result<Vec<String>> {
    let images: BTreeSet<&str> = found.images.iter().map(|image| image.image.as_str()).collect();
    super::add::discovered(project, &images)
}

fn show(found: &Found, written: &[String], writes: bool, ui: &Ui) {
    let mut rows: Vec<Vec<String>> =
        found.images.iter().map(|image| vec![image.image.clone(), format!("{}:{}", image.file, image.line)]).collect();
    rows.extend(found.charts.iter().map(|chart| {
        let named = format!("chart {} {} of {}", chart.name, chart.version, chart.repo);
        vec![named, format!("{}:{}", chart.file, chart.line)]
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
    if writes {
        for image in written {
            ui.say(&format!("added {image}"));
        }
        let count = written.len();
        ui.say(&format!("{count} added to images.auto_discover, the others are in components.yaml already"));
    }
}
