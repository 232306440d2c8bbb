//! From files to a chart with its subcharts, by the rules of Helm's `LoadFiles`.

use std::collections::BTreeMap;
use std::io::BufRead;

use image_finder::{Node, yaml};

use crate::archive::{self, File, STREAM_LIMIT};
use crate::decode::{Anything, Decode};
use crate::metadata::{self, Dependency, Lock, Metadata};
use crate::{Refusal, shown};

/// Charts in charts in charts. Ours: Helm goes on until its stack ends.
pub const DEPTH_LIMIT: usize = 16;

/// A chart as far as it matters here: what it is and what it deploys.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Validated: no row of its dependencies is empty.
    pub metadata: Metadata,
    /// Of values.yaml; its documents are merged, as Helm 4 does.
    pub values: Node,
    /// The first document alone, as Helm 3 reads it, where that is something else.
    pub first_values: Option<Node>,
    /// values.schema.json.
    pub schema: Option<Vec<u8>>,
    /// What lies in `templates/`.
    pub templates: Vec<File>,
    /// What else lies in it and its templates may read, where they read files.
    pub files: Vec<File>,
    /// What lies in `charts/`.
    pub subcharts: Vec<Chart>,
}

impl Chart {
    /// As its Chart.yaml says it.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// As its Chart.yaml says it.
    pub fn version(&self) -> &str {
        &self.metadata.version
    }

    /// Its values with others laid over them, in order.
    pub fn values_with<'a>(&self, overrides: impl IntoIterator<Item = &'a Node>) -> Node {
        let mut values = self.values.clone();
        overrides.into_iter().for_each(|over| values.merge(over));
        values
    }

    /// The rows of `dependencies`, without those that are null.
    pub fn dependencies(&self) -> impl Iterator<Item = &Dependency> {
        self.metadata.dependencies.iter().flatten()
    }
}

/// Loads a `.tgz`.
///
/// # Errors
/// Why Helm refuses it, or which bound it exceeds.
pub fn load(content: impl BufRead) -> Result<Chart, Refusal> {
    let mut room = STREAM_LIMIT;
    let files = archive::files(content, &mut room, &is_needed)?;
    from_files(&files, &mut room)
}

/// The chart of files whose paths are below its folder.
///
/// # Errors
/// As [`load`]; packed subcharts may unpack to `room`.
pub fn from_files(files: &[File], room: &mut u64) -> Result<Chart, Refusal> {
    assemble(&files.iter().map(|file| (file.path.as_str(), file.data.as_slice())).collect::<Vec<_>>(), room, 0)
}

/// Whether the content of a file decides about the chart: descriptions and
/// templates at any depth, and packed subcharts.
pub fn is_needed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_description = matches!(
        name,
        "Chart.yaml" | "Chart.lock" | "values.yaml" | "values.schema.json" | "requirements.yaml" | "requirements.lock"
    );
    let is_template = path.starts_with(TEMPLATES) || path.contains("/templates/");
    is_description || is_template || (path.starts_with("charts/") && name.ends_with(".tgz")) || is_text(name)
}

/// Whether a template may make a resource of a file: not of pictures and what
/// people read.
fn is_text(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let others = [".md", ".png", ".svg", ".jpg", ".gif", ".ico", ".tgz", ".gz", ".zip", ".prov", ".lock"];
    !others.iter().any(|end| name.ends_with(end)) && !name.starts_with("license") && !name.starts_with("readme")
}

const TEMPLATES: &str = "templates/";

/// Paths and content, in the order of the archive.
type Files<'a> = [(&'a str, &'a [u8])];

fn assemble(files: &Files<'_>, room: &mut u64, depth: usize) -> Result<Chart, Refusal> {
    if depth > DEPTH_LIMIT {
        return Err(Refusal::content(format!("its subcharts are nested deeper than {DEPTH_LIMIT} levels")));
    }
    let (mut defaults, mut first_values) = (Node::empty(), None);
    let mut schema = None;
    for (path, data) in files {
        match *path {
            "values.yaml" => {
                (defaults, first_values) =
                    readings(data).map_err(|why| Refusal::content(format!("its `values.yaml` {why}")))?;
            }
            "values.schema.json" => schema = Some(data.to_vec()),
            "Chart.lock" | "requirements.lock" => metadata::read(path, data, &mut Lock::default())?,
            _ => {}
        }
    }
    let metadata = description(files)?;
    metadata.validate()?;
    let subcharts = subcharts(files, room, depth + 1)?;
    let of_templates = files.iter().filter(|(path, _)| path.starts_with(TEMPLATES));
    let file = |(path, data): &(&str, &[u8])| File { path: (*path).to_owned(), data: data.to_vec() };
    let templates: Vec<File> = of_templates.map(file).collect();
    let reads_files = templates.iter().any(|file| file.data.windows(6).any(|word| word == b".Files"));
    let others = files.iter().filter(|(path, _)| reads_files && is_other(path));
    let files = others.map(file).collect();
    Ok(Chart { metadata, values: defaults, first_values, schema, templates, files, subcharts })
}

/// What is neither a template nor a part of the chart by itself.
fn is_other(path: &str) -> bool {
    let is_part = path.starts_with(TEMPLATES) || path.starts_with("charts/") || path.starts_with("crds/");
    let name = path.rsplit('/').next().unwrap_or(path);
    !is_part
        && is_text(name)
        && !matches!(path, "Chart.yaml" | "values.yaml" | "values.schema.json" | "requirements.yaml")
}

/// Chart.yaml, and requirements.yaml over it.
fn description(files: &Files<'_>) -> Result<Metadata, Refusal> {
    if !files.iter().any(|(path, _)| *path == "Chart.yaml") {
        let hint = "give the chart one, or move what is no chart out of `charts/`";
        return Err(Refusal::new("it has no `Chart.yaml`", hint));
    }
    let mut metadata = Metadata::default();
    for name in ["Chart.yaml", "requirements.yaml"] {
        for (_, data) in files.iter().filter(|(path, _)| *path == name) {
            metadata::read(name, data, &mut metadata)?;
        }
    }
    Ok(metadata)
}

/// Values as Helm reads them. Helm 3 reads the first document, Helm 4 all of
/// them, one over the other: they must be right for both, and Helm 4 deploys.
///
/// # Errors
/// A fragment that continues the name of the file.
pub fn values(data: &[u8]) -> Result<Node, String> {
    readings(data).map(|(values, _)| values)
}

/// The same, and the first document where Helm 3 reads another thing.
///
/// # Errors
/// As [`values`].
pub fn readings(data: &[u8]) -> Result<(Node, Option<Node>), String> {
    let first = mapping(data)?;
    let chunks = chunks(data)?;
    // UTF-16 is cut to pieces that are none.
    if chunks.len() < 2 && str::from_utf8(data).is_ok() {
        return Ok((first, None));
    }
    let mut merged = Node::empty();
    for chunk in chunks {
        merged.merge(&mapping(&chunk).map_err(|why| format!("{why}. {}", cut(data)))?);
    }
    let is_other = !merged.is_same(&first);
    Ok((merged, is_other.then_some(first)))
}

/// Why Helm 4 refuses what Helm 3 takes.
fn cut(data: &[u8]) -> &'static str {
    match data {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "Helm 3 takes it, but Helm 4, with which Zarf deploys, reads no UTF-16: save it as UTF-8"
        }
        _ if has_directive(data) => {
            "Helm 3 takes it, but Helm 4, with which Zarf deploys, cuts at `---` what belongs to the directive above: leave the line with `%` out"
        }
        _ => "Helm 4, with which Zarf deploys, reads every document of it by itself",
    }
}

/// Whether one stands before the first document.
fn has_directive(data: &[u8]) -> bool {
    data.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"---")).any(|line| line.starts_with(b"%"))
}

fn mapping(data: &[u8]) -> Result<Node, String> {
    let node = yaml::first(data).map_err(|error| format!("is not YAML: {error}"))?;
    if node.is_null() {
        return Ok(Node::empty());
    }
    if !node.is_map() {
        return Err("is not a mapping: Helm wants `key: value` lines".to_owned());
    }
    Anything.decode(&node, "").map_err(|why| format!("is not what Helm reads: {why}"))?;
    Ok(node)
}

/// The documents as Helm 4 cuts them: at lines of `---`, which may carry a
/// comment and nothing else.
fn chunks(data: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"---") {
            let rest = rest.trim_ascii();
            if !rest.is_empty() && rest[0] != b'#' {
                return Err(format!("has a line `---{}`, which Helm 4 refuses", shown(&String::from_utf8_lossy(rest))));
            }
            if !chunk.is_empty() {
                chunks.push(std::mem::take(&mut chunk));
                continue;
            }
        }
        chunk.extend_from_slice(line);
    }
    if !chunk.is_empty() {
        if !chunk.ends_with(b"\n") {
            chunk.push(b'\n');
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Everything in `charts/` is a chart: a folder or a `.tgz`. Only names with `_`
/// or `.` in front and provenance files are passed over.
fn subcharts(files: &Files<'_>, room: &mut u64, depth: usize) -> Result<Vec<Chart>, Refusal> {
    let mut places: BTreeMap<&str, Vec<(&str, &[u8])>> = BTreeMap::new();
    for (path, data) in files {
        if let Some(below) = path.strip_prefix("charts/").filter(|below| !is_provenance(below)) {
            places.entry(below.split('/').next().unwrap_or(below)).or_default().push((below, data));
        }
    }
    let charts = places.into_iter().filter(|(name, _)| !name.starts_with(['_', '.'])).map(|(name, files)| {
        subchart(name, &files, room, depth).map_err(|refusal| refusal.within(&format!("charts/{name}")))
    });
    charts.collect()
}

fn is_provenance(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.ends_with(".prov"))
}

fn subchart(name: &str, files: &Files<'_>, room: &mut u64, depth: usize) -> Result<Chart, Refusal> {
    if !name.ends_with(".tgz") {
        let inner: Vec<_> = files.iter().filter_map(|(path, data)| Some((path.split_once('/')?.1, *data))).collect();
        return assemble(&inner, room, depth);
    }
    match files.first() {
        Some((path, data)) if *path == name => {
            let files = archive::files(*data, room, &is_needed)?;
            let files: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.data.as_slice())).collect();
            assemble(&files, room, depth)
        }
        _ => Err(Refusal::content("it is a folder with the name of an archive")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helm_4_cuts_apart_is_refused_with_the_reason() {
        for (data, said) in [
            (&b"%YAML 1.1\n---\na: 1\n"[..], "leave the line with `%` out"),
            (b"%TAG ! tag:x,2000:\n---\na: 1\n", "leave the line with `%` out"),
            (b"# x\n%YAML 1.1\n---\na: 1\n", "leave the line with `%` out"),
            (b"a: 1\n---\n%YAML 1.1\n---\na: 1\n", "every document"),
            (b"\xff\xfea\0:\0 \x001\0", "save it as UTF-8"),
        ] {
            let why = values(data).unwrap_err();
            assert!(why.contains("Helm 4") && why.contains(said), "{why}");
        }
        assert!(readings(b"a: 1\n---\na: 1\n").unwrap().1.is_none());
    }
}
