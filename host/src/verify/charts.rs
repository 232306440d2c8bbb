//! Charts of component tars: Helm must be able to load each of them.

use std::io::{self, BufRead, BufReader, Read};

use components::zarf::Chart;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use crate::archive::reader::{EntryKind, TarReader};

/// Helm unpacks no chart beyond this (`MaxDecompressedChartSize` of its loader).
const LARGEST: u64 = 100 << 20;
/// Bytes of a Chart.yaml.
const LARGEST_DESCRIPTION: u64 = 1 << 20;

/// Chart.yaml, as far as the deployment needs it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Description {
    api_version: String,
    name: String,
    version: serde_yaml::Value,
}

/// Whether this member of a component tar is a chart.
pub(super) fn is_chart(path: &str) -> bool {
    path.split('/').nth(1) == Some("charts") && path.ends_with(".tgz")
}

/// Reads the archive of a chart; what is wrong with it continues the name of
/// the file.
pub(super) fn read(content: impl BufRead) -> Result<Description, String> {
    let unreadable = |error: io::Error| format!("is no chart that Helm could read: {error}");
    let unpacked = Bounded { inner: MultiGzDecoder::new(content), left: LARGEST };
    let mut archive = TarReader::new(BufReader::new(unpacked));
    let mut description = None;
    while let Some(header) = archive.next_entry().map_err(unreadable)? {
        let path = header.path.trim_start_matches("./");
        if header.path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("holds `{}`, which leads out of the chart", header.path.escape_debug()));
        }
        if header.kind == EntryKind::File && path.split('/').collect::<Vec<_>>()[1..] == ["Chart.yaml"] {
            let mut text = Vec::new();
            archive.by_ref().take(LARGEST_DESCRIPTION).read_to_end(&mut text).map_err(unreadable)?;
            description = Some(text);
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let text = description.ok_or("has no Chart.yaml in its folder")?;
    serde_yaml::from_slice(&text).map_err(|error| format!("has a Chart.yaml that cannot be read: {error}"))
}

/// Fails where more comes than Helm takes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let too_much = || io::Error::other(format!("it unpacks to more than {} MiB", LARGEST >> 20));
        self.left = self.left.checked_sub(read as u64).ok_or_else(too_much)?;
        Ok(read)
    }
}

/// What is wrong with a chart that could be read.
pub(super) fn check(description: &Description, chart: &Chart) -> Option<String> {
    if description.name.is_empty() || !matches!(description.api_version.as_str(), "v1" | "v2") {
        return Some("has a Chart.yaml without a name or an apiVersion".to_owned());
    }
    let version = match &description.version {
        serde_yaml::Value::String(version) => version.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim().to_owned(),
    };
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    (plain(&version) != plain(&chart.version))
        .then(|| format!("holds the version `{}`, and zarf.yaml says `{}`", version.escape_debug(), chart.version))
}
