//! Helm charts and the index of a chart repository.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;

use crate::digest::sha256;
use crate::images;

/// The archive of a chart: `files` are paths below the chart's folder, beside
/// its Chart.yaml.
pub fn chart(name: &str, version: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: \"{version}\"\n");
    let mut all = vec![(format!("{name}/Chart.yaml"), metadata.into_bytes())];
    all.extend(files.iter().map(|(path, text)| (format!("{name}/{path}"), text.as_bytes().to_vec())));
    let entries: Vec<(&str, &[u8])> = all.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    gzip(&images::tar_of(&entries))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// The index.yaml of a repository with these charts: name, version, URL (may
/// be relative) and archive.
pub fn index(charts: &[(&str, &str, &str, &[u8])]) -> String {
    let mut text = String::from("apiVersion: v1\nentries:\n");
    let mut names: Vec<&str> = charts.iter().map(|(name, ..)| *name).collect();
    names.dedup();
    for name in names {
        text.push_str(&format!("  {name}:\n"));
        for (_, version, url, archive) in charts.iter().filter(|(other, ..)| *other == name) {
            text.push_str(&format!(
                "  - apiVersion: v2\n    appVersion: \"{version}\"\n    created: \"2024-01-01T00:00:00Z\"\n    \
                 digest: {}\n    name: {name}\n    urls:\n    - {url}\n    version: {version}\n",
                sha256(archive)
            ));
        }
    }
    text.push_str("generated: \"2024-01-01T00:00:00Z\"\n");
    text
}

/// The folder of charts that are written to the patterns of the most used public ones:
/// a file for each, and rendered.list, which says what the real `helm template` renders.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/charts")
}

/// The charts of the corpus: by their name the files of each, path and text.
///
/// # Panics
/// When a file is not as `-- path --` and the text below it.
pub fn corpus() -> BTreeMap<String, Vec<(String, String)>> {
    let mut charts = BTreeMap::new();
    for file in std::fs::read_dir(corpus_folder()).expect("the corpus is there") {
        let path = file.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let Some(name) = name.strip_suffix(".txt") else { continue };
        let text = std::fs::read_to_string(&path).expect("a text");
        let parts = text.split("-- ").filter(|part| part.contains(" --\n"));
        let file = |part: &str| {
            let (file, text) = part.split_once(" --\n").expect("it has one");
            (file.to_owned(), text.to_owned())
        };
        charts.insert(name.to_owned(), parts.map(file).collect());
    }
    charts
}

/// What the real `helm template` renders of the corpus with its defaults: rows of
/// `<chart> <image>`, without what only a test starts.
///
/// # Panics
/// When the list is not there.
pub fn corpus_images() -> Vec<String> {
    let text = std::fs::read_to_string(corpus_folder().join("rendered.list")).expect("the list is there");
    text.lines().map(str::to_owned).collect()
}
