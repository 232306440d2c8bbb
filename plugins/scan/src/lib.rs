//! The core plugin `scan`: lists the images that a tree of files names.
//!
//! Every tree `local:<path>` is read file by file through a
//! [`scanner::Scanner`], which knows Helm charts, Flux resources, kubernetes
//! manifests and the role defaults of kubespray. Packed charts are read as Helm
//! reads them. What cannot be read is a warning, never a failure.
//!
//! It runs twice where there are charts: the first pass packs them for the plugin
//! that renders ([`gather`]), the second reads what they render to.
//!
//! Written are `images.json` (image, file and line of each) and `scan.json`
//! (the same, and what could not be resolved, the charts, the warnings).

use std::io::Read as _;

use sdk::{Context, EntryKind, Inputs, JsonSchema, Sink, Step, StepError, Summary, Tree};
use serde::Deserialize;

pub mod archive;
pub mod chart;
pub mod flux;
pub mod gather;
pub mod jinja;
pub mod kubespray;
pub mod kustomize;
pub mod renderings;
pub mod report;
pub mod scanner;
pub mod tree;

use gather::{Gathered, Packaged};
use renderings::Renderings;
use scanner::Scanner;

/// Of one file; no manifest that people write comes near.
const FILE_LIMIT: u64 = 8 << 20;

/// The tree with the charts of the last build, where there is one.
const PACKAGED: &str = "packaged";
/// Bytes of a packed chart.
const ARCHIVE_LIMIT: u64 = 64 << 20;

/// What the step accepts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {
    /// Only pack the charts that are met, to be rendered.
    gather: bool,
}

/// The step.
pub struct Scan;

impl Step for Scan {
    type Configuration = Configuration;
    const NAME: &'static str = "scan";
    const SUMMARY: &'static str = "Lists the images that charts, manifests, Flux resources and kubespray name";

    fn run(_: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        if configuration.gather {
            return gathered(inputs, output);
        }
        let mut scanner = Scanner::knowing(Renderings::read(inputs)?);
        for name in inputs.names() {
            if let (Some(path), Some(tree)) = (name.strip_prefix("local:"), inputs.find(name)) {
                read(tree, path, &mut scanner)?;
            }
        }
        let report = scanner.finish();
        for warning in &report.warnings {
            sdk::log::warn(warning);
        }
        output.write_json("images.json", &report.images)?;
        output.write_json("scan.json", &report)?;
        Ok(Summary::new(report.images.len() as u64, "images"))
    }
}

sdk::export_step!(Scan);

fn gathered(inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
    let mut gathered = Gathered::default();
    for name in inputs.names() {
        if let (Some(path), Some(tree)) = (name.strip_prefix("local:"), inputs.find(name)) {
            gather_tree(tree, path, &mut gathered, output)?;
        }
    }
    let packaged = inputs.find(PACKAGED).map(Packaged::read).transpose()?;
    Ok(Summary::new(gathered.write(packaged.as_ref(), output)?, "charts"))
}

/// What can not be read is told by the second pass.
fn gather_tree(tree: &Tree, root: &str, gathered: &mut Gathered, output: &Sink) -> Result<(), StepError> {
    let entries = tree.entries("")?;
    let single = entries.len() == 1 && root.ends_with(&entries[0].path);
    let shown = shown(root, single);
    let charts = tree::packed(tree, &entries, &shown, gathered, output)?;
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        let is_read = charts.iter().any(|folder| chart::reads(folder, &entry.path));
        if is_read || scanner::is_hidden(&entry.path) {
            continue;
        }
        let is_archive = archive::is_archive(&entry.path);
        if is_archive || single && is_packed(tree, &entry.path) {
            if let Ok(bytes) = tree.read(&entry.path, ARCHIVE_LIMIT)
                && let Ok(chart) = chart_loader::load(&*bytes)
            {
                gathered.chart(&shown(&entry.path), (chart.name(), chart.version()), &bytes, output)?;
            }
        } else if (single || scanner::is_wanted(&entry.path)) && entry.size <= FILE_LIMIT {
            let text = tree.read(&entry.path, FILE_LIMIT).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            text.iter().for_each(|text| gathered.resources(&shown(&entry.path), text));
        }
    }
    Ok(())
}

/// How a path of a tree is shown; of a single file as it was named.
fn shown(root: &str, single: bool) -> impl Fn(&str) -> String {
    move |path| if single { root.to_owned() } else { format!("{}/{path}", root.trim_end_matches('/')) }
}

/// Why one file could not be read; the others still can.
fn why(error: &StepError) -> String {
    error.failure().map_or_else(|| "it can not be read".to_owned(), |failure| failure.message.clone())
}

/// Whether a file is a packed chart by what it begins with.
fn is_packed(tree: &Tree, path: &str) -> bool {
    let mut start = [0; 2];
    tree.reader(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && archive::begins(&start))
}

fn read(tree: &Tree, root: &str, scanner: &mut Scanner) -> Result<(), StepError> {
    let entries = tree.entries("")?;
    let single = entries.len() == 1 && root.ends_with(&entries[0].path);
    let shown = shown(root, single);
    let total = entries.len() as u64;
    let charts = tree::charts(tree, &entries, &shown, scanner);
    for (at, entry) in entries.iter().enumerate() {
        let shown = shown(&entry.path);
        let is_archive = archive::is_archive(&entry.path);
        let is_read = charts.iter().any(|folder| chart::reads(folder, &entry.path));
        // Who names a file wants it read, whatever it is called.
        let is_wanted = single || is_archive || scanner::is_wanted(&entry.path);
        if entry.kind != EntryKind::File || is_read || !is_wanted {
            continue;
        }
        sdk::progress(at as u64, Some(total), "files", &entry.path)?;
        if is_archive || single && is_packed(tree, &entry.path) {
            match tree.read(&entry.path, ARCHIVE_LIMIT) {
                Ok(bytes) => archive::scan(&shown, &bytes, scanner),
                Err(error) => scanner.skip(&shown, &why(&error)),
            }
            continue;
        }
        if entry.size > FILE_LIMIT {
            scanner.skip(&shown, &format!("larger than {} MiB", FILE_LIMIT >> 20));
            continue;
        }
        match tree.read(&entry.path, FILE_LIMIT).map(String::from_utf8) {
            Ok(Ok(text)) => scanner.file(&shown, &text),
            Ok(Err(_)) => scanner.skip(&shown, "not UTF-8"),
            Err(error) => scanner.skip(&shown, &why(&error)),
        }
    }
    Ok(())
}
