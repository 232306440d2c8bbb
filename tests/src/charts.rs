//! Helm charts and the index of a chart repository.

use std::io::Write as _;

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
