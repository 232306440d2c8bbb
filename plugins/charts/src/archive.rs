//! Chart archives: loading one within bounds, and writing one that is the
//! same bytes every time.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use components::problem::shown;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use image_finder::yaml::{self, Node};

/// Of all files of an archive; Helm itself stops at 100 MiB.
const UNPACKED_LIMIT: u64 = 256 << 20;
const ENTRY_LIMIT: usize = 50_000;
/// Of Chart.yaml and values.yaml; Helm's limit of one file.
const FILE_LIMIT: u64 = 5 << 20;
/// Of a packed subchart.
const SUBCHART_LIMIT: u64 = 32 << 20;
/// Charts in charts in charts.
const DEPTH_LIMIT: usize = 8;

/// A chart as far as it matters here: what it is and what it deploys.
#[derive(Clone, Debug)]
pub struct Chart {
    pub name: String,
    pub version: String,
    pub app_version: Option<String>,
    pub values: Node,
    pub dependencies: Vec<Dependency>,
    /// What lies in `charts/`.
    pub subcharts: Vec<Chart>,
}

/// A row of `dependencies` in Chart.yaml (or requirements.yaml).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub version: String,
    pub repository: String,
    /// Under which name its values lie.
    pub alias: Option<String>,
    /// Paths in the values; the first that is there decides.
    pub conditions: Vec<String>,
    pub tags: Vec<String>,
}

/// Loads a `.tgz`.
///
/// # Errors
/// A fragment that says why this is no chart.
pub fn load(bytes: &[u8]) -> Result<Chart, String> {
    load_nested(bytes, 0)
}

fn load_nested(bytes: &[u8], depth: usize) -> Result<Chart, String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("its subcharts are nested deeper than {DEPTH_LIMIT} levels"));
    }
    let files = unpack(bytes)?;
    let files = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    assemble(&files, depth)
}

/// The files that say something, by their path below the archive's folder.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("it is no gzipped tar archive: {error}");
    // One byte more than allowed tells a bomb from a large chart.
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes).take(UNPACKED_LIMIT + 1));
    let (mut files, mut entries, mut total) = (BTreeMap::new(), 0, 0u64);
    for entry in archive.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries += 1;
        total += entry.size();
        if entries > ENTRY_LIMIT || total > UNPACKED_LIMIT {
            return Err(format!("it unpacks to more than {ENTRY_LIMIT} files or {} MiB", UNPACKED_LIMIT >> 20));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).replace('\\', "/");
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("it holds the path `{}`, which leads out", shown(&path)));
        }
        let Some((_, inner)) = path.trim_start_matches("./").split_once('/') else { continue };
        let Some(limit) = wanted(inner).filter(|_| entry.header().entry_type().is_file()) else { continue };
        if entry.size() > limit {
            return Err(format!("its `{}` is larger than {} MiB", shown(inner), limit >> 20));
        }
        let mut content = Vec::new();
        entry.take(limit).read_to_end(&mut content).map_err(unreadable)?;
        files.insert(inner.to_owned(), content);
    }
    Ok(files)
}

/// How much of a file is read, if it is read at all: the descriptions of the
/// chart and its subcharts.
fn wanted(path: &str) -> Option<u64> {
    let mut rest = path;
    while let Some(inner) = rest.strip_prefix("charts/") {
        match inner.split_once('/') {
            Some((_, below)) => rest = below,
            None => return inner.ends_with(".tgz").then_some(SUBCHART_LIMIT),
        }
    }
    matches!(rest, "Chart.yaml" | "values.yaml" | "requirements.yaml").then_some(FILE_LIMIT)
}

/// The chart whose files have these paths.
fn assemble(files: &BTreeMap<&str, &[u8]>, depth: usize) -> Result<Chart, String> {
    let about = document(files, "Chart.yaml")?.ok_or("it has no Chart.yaml")?;
    let text = |key: &str| about.text_of(key).map(str::to_owned);
    let name = text("name").ok_or("its Chart.yaml has no name")?;
    let version = text("version").ok_or("its Chart.yaml has no version")?;
    let values = document(files, "values.yaml")?.unwrap_or_else(Node::empty);
    let old = document(files, "requirements.yaml")?;
    let listed = about.get("dependencies").or_else(|| old.as_ref()?.get("dependencies"));
    let dependencies = listed.map_or(&[][..], Node::items).iter().filter_map(dependency).collect();
    let subcharts = subcharts(files, depth)?;
    Ok(Chart { name, version, app_version: text("appVersion"), values, dependencies, subcharts })
}

fn document(files: &BTreeMap<&str, &[u8]>, name: &str) -> Result<Option<Node>, String> {
    let Some(bytes) = files.get(name) else { return Ok(None) };
    let text = str::from_utf8(bytes).map_err(|_| format!("its {name} is not UTF-8"))?;
    yaml::parse(text).map(Some).map_err(|error| format!("its {name} is not YAML: {error}"))
}

/// A row of `dependencies`; one without a name is not usable.
pub fn dependency(node: &Node) -> Option<Dependency> {
    let text = |key: &str| node.text_of(key).unwrap_or_default().to_owned();
    Some(Dependency {
        name: node.text_of("name")?.to_owned(),
        version: text("version"),
        repository: text("repository"),
        alias: node.text_of("alias").map(str::to_owned),
        conditions: text("condition").split(',').map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect(),
        tags: node.get("tags").map_or(&[][..], Node::items).iter().filter_map(Node::text).map(str::to_owned).collect(),
    })
}

fn subcharts(files: &BTreeMap<&str, &[u8]>, depth: usize) -> Result<Vec<Chart>, String> {
    let mut folders: BTreeMap<&str, BTreeMap<&str, &[u8]>> = BTreeMap::new();
    let mut charts = Vec::new();
    for (path, content) in files {
        let Some(inner) = path.strip_prefix("charts/") else { continue };
        match inner.split_once('/') {
            Some((folder, below)) => drop(folders.entry(folder).or_default().insert(below, content)),
            None => charts.push(load_nested(content, depth + 1).map_err(|why| format!("`{path}` in it: {why}"))?),
        }
    }
    for (folder, files) in folders {
        // A folder without a description is no chart, and Helm skips it too.
        if files.contains_key("Chart.yaml") {
            charts.push(assemble(&files, depth + 1).map_err(|why| format!("`charts/{folder}` in it: {why}"))?);
        }
    }
    Ok(charts)
}

/// Writes a chart archive: files sorted by path below `name/`, no owner, no
/// time, fixed compression.
///
/// # Errors
/// A fragment; only a path that no archive can hold.
pub fn write(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let added = archive.append_data(&mut header, format!("{name}/{path}"), content.as_slice());
        added.map_err(|error| format!("`{path}` cannot lie in an archive: {error}"))?;
    }
    let finish = || -> std::io::Result<Vec<u8>> {
        let mut gzip = archive.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    };
    finish().map_err(|error| error.to_string())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An archive of these files, as tests need them.
    pub fn packed(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        write(name, &files).unwrap()
    }

    #[test]
    fn a_chart_with_subcharts_is_loaded() {
        let inner = packed("redis", &[("Chart.yaml", "name: redis\nversion: 2.0.0\nappVersion: \"7\"\n")]);
        let mut files = BTreeMap::new();
        for (path, text) in [
            (
                "Chart.yaml",
                "apiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: v3\ndependencies:\n- name: redis\n  version: 2.x\n  repository: https://h\n  alias: cache\n  condition: cache.enabled, global.cache\n  tags: [db]\n",
            ),
            ("values.yaml", "image: {repository: a/b}\n"),
            ("charts/common/Chart.yaml", "name: common\nversion: 0.1.0\ntype: library\n"),
            ("charts/common/values.yaml", ""),
            ("charts/README.md", "x"),
            ("templates/deploy.yaml", "{{ not yaml"),
        ] {
            files.insert(path.to_owned(), text.as_bytes().to_vec());
        }
        files.insert("charts/redis-2.0.0.tgz".to_owned(), inner);
        let chart = load(&write("app", &files).unwrap()).unwrap();
        assert_eq!(
            (chart.name.as_str(), chart.version.as_str(), chart.app_version.as_deref()),
            ("app", "1.0.0", Some("v3"))
        );
        assert_eq!(chart.subcharts.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["redis", "common"]);
        let dependency = &chart.dependencies[0];
        assert_eq!((dependency.alias.as_deref(), dependency.conditions.len()), (Some("cache"), 2));
    }

    #[test]
    fn what_is_no_chart_is_named() {
        let cases: [(Vec<u8>, &str); 5] = [
            (b"<html>".to_vec(), "gzipped tar"),
            (packed("x", &[("values.yaml", "a: 1")]), "no Chart.yaml"),
            (packed("x", &[("Chart.yaml", "version: 1.0.0\n")]), "no name"),
            (packed("x", &[("Chart.yaml", "a: [")]), "not YAML"),
            (packed("x", &[("Chart.yaml", "name: x\nversion: 1"), ("charts/y.tgz", "junk")]), "charts/y.tgz"),
        ];
        for (bytes, word) in cases {
            let error = load(&bytes).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    /// A gigabyte of zeros is a megabyte packed.
    #[test]
    fn a_bomb_is_refused_within_bounds() {
        let gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        let mut header = tar::Header::new_ustar();
        header.set_size(UNPACKED_LIMIT + 1);
        header.set_mode(0o644);
        archive.append_data(&mut header, "x/big", std::io::repeat(0).take(UNPACKED_LIMIT + 1)).unwrap();
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        assert!(load(&bytes).unwrap_err().contains("MiB"));
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let one = packed("x", &[("b", "2"), ("a", "1")]);
        assert_eq!(one, packed("x", &[("a", "1"), ("b", "2")]));
        assert_eq!(one[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    }
}
