//! A chart as an OCI artifact, as `helm push` makes it: a configuration with
//! what Chart.yaml says, a layer that is the archive as it is, and another with
//! the provenance file where there is one. The same chart gives the same bytes.

use model::image::{ImageName, is_registry};
use model::media_type::{CHART_ARCHIVE, CHART_CONFIG, CHART_PROVENANCE, OCI_MANIFEST};
use serde_json::{Map, Value, json};

use crate::archive::{STREAM_LIMIT, files};

/// What Helm keeps of Chart.yaml: texts, and everything else.
const TEXTS: [&str; 12] = [
    "name",
    "home",
    "version",
    "description",
    "icon",
    "apiVersion",
    "condition",
    "tags",
    "appVersion",
    "kubeVersion",
    "type",
    "engine",
];
const OTHERS: [&str; 6] = ["sources", "keywords", "maintainers", "deprecated", "annotations", "dependencies"];

/// Below which a registry has charts that came from none.
pub const FOLDER: &str = "charts";

/// A content that the manifest names.
#[derive(Clone, Debug)]
pub struct Content {
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Chart.yaml of an archive, as far as Helm keeps it.
///
/// # Errors
/// A fragment that continues the name of the chart.
pub fn metadata(archive: &[u8]) -> Result<Map<String, Value>, String> {
    let mut room = STREAM_LIMIT;
    let files = files(archive, &mut room, &|path| path == "Chart.yaml").map_err(|refusal| refusal.why)?;
    let file = files.iter().find(|file| file.path == "Chart.yaml").ok_or("it has no Chart.yaml")?;
    let all: Map<String, Value> =
        serde_yaml::from_slice(&file.data).map_err(|error| format!("its Chart.yaml cannot be read: {error}"))?;
    let mut kept = Map::new();
    for (key, value) in all {
        match value {
            Value::Null => {}
            Value::String(_) if TEXTS.contains(&key.as_str()) => drop(kept.insert(key, value)),
            Value::Number(_) | Value::Bool(_) if TEXTS.contains(&key.as_str()) => {
                kept.insert(key, Value::String(value.to_string()));
            }
            _ if OTHERS.contains(&key.as_str()) => drop(kept.insert(key, value)),
            _ => {}
        }
    }
    match ["name", "version"].into_iter().find(|key| !kept.contains_key(*key)) {
        Some(key) => Err(format!("its Chart.yaml has no {key}")),
        None => Ok(kept),
    }
}

/// The configuration.
pub fn config(metadata: &Map<String, Value>) -> Vec<u8> {
    Value::Object(metadata.clone()).to_string().into_bytes()
}

/// The manifest.
pub fn manifest(
    metadata: &Map<String, Value>,
    config: &Content,
    archive: &Content,
    provenance: Option<&Content>,
) -> Vec<u8> {
    let blob = |media_type: &str, content: &Content| json!({ "mediaType": media_type, "digest": content.digest, "size": content.size });
    let mut layers = vec![blob(CHART_ARCHIVE, archive)];
    layers.extend(provenance.map(|provenance| blob(CHART_PROVENANCE, provenance)));
    let mut annotations = Map::new();
    for (annotation, key) in [("title", "name"), ("version", "version"), ("description", "description")] {
        if let Some(text) = metadata.get(key) {
            annotations.insert(format!("org.opencontainers.image.{annotation}"), text.clone());
        }
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(CHART_CONFIG, config),
        "layers": layers,
        "annotations": annotations,
    });
    manifest.to_string().into_bytes()
}

/// Tags cannot hold the `+` of build metadata.
pub fn tag(version: &str) -> String {
    version.replace('+', "_")
}

/// The name of a chart that came from a registry, without its tag: whether or
/// not its address ends in its name.
pub fn name_in_registry(address: &str, name: &str) -> String {
    let path = address.trim_start_matches("oci://").trim_end_matches('/');
    if path.ends_with(&format!("/{name}")) { path.to_owned() } else { format!("{path}/{name}") }
}

/// What a chart of `repo` is called as an artifact: as it is called in the
/// registry that it came from, else `charts/<name>` below the host of its
/// repository, or below `localhost` where it has none. None where no registry
/// takes such a name.
pub fn reference(repo: &str, name: &str, version: &str) -> Option<String> {
    let path = match repo.split_once("://") {
        Some(("oci", rest)) => name_in_registry(rest, name),
        Some((_, rest)) => {
            let host = rest.split(['/', '?', '#']).next().filter(|host| is_registry(host) && host.contains(['.', ':']));
            format!("{}/{FOLDER}/{name}", host.unwrap_or(LOCAL))
        }
        None => format!("{LOCAL}/{FOLDER}/{name}"),
    };
    let reference = format!("{path}:{}", tag(version));
    ImageName::parse(&reference).is_ok_and(|parsed| parsed.to_string() == reference).then_some(reference)
}

const LOCAL: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_called_as_in_its_registry_or_below_the_host_of_its_repository() {
        for (repo, version, expected) in [
            ("https://charts.jetstack.io", "v1.0", Some("charts.jetstack.io/charts/web:v1.0")),
            ("https://h.test:8443/a/b/?x=1", "1", Some("h.test:8443/charts/web:1")),
            ("https://intranet/charts", "1", Some("localhost/charts/web:1")),
            ("./charts/web", "1.0.0+build", Some("localhost/charts/web:1.0.0_build")),
            ("oci://r.test/team/charts/", "1", Some("r.test/team/charts/web:1")),
            ("oci://r.test/team/web", "1", Some("r.test/team/web:1")),
            ("oci://r.test/Team", "1", None),
        ] {
            assert_eq!(reference(repo, "web", version).as_deref(), expected, "{repo}");
        }
        assert_eq!(reference("https://h.test", "Web", "1"), None);
    }
}
