//! What the charts resolved to, from charts.json into airgap.lock.
//!
//! A plugin resolves the charts and the host keeps the lock. charts.json is
//! the output of a plugin, so each row is believed only as far as the tree
//! bears it out.

use components::ChartEntry;

use crate::config::airgap_lock::{AirgapLock, LockedChart};
use crate::config::shared_lock::SharedLock;
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::fs;
use crate::tree::TreeBuilder;

const LIST: &str = "charts.json";
const LIST_LIMIT: u64 = 64 << 20;

/// Enters every chart that came from a repository or registry.
///
/// # Errors
/// `plugin` where charts.json does not describe the tree it lies in; `changed`
/// with `--locked` and a chart that resolved to something else.
pub(super) fn record(output: &TreeBuilder, lock: &SharedLock) -> Result<()> {
    if output.get(LIST).is_none() {
        return Ok(());
    }
    let bytes = fs::read_optional(&output.root().join(LIST), LIST_LIMIT)?.unwrap_or_default();
    let rows: Vec<ChartEntry> = serde_json::from_slice(&bytes)
        .map_err(|source| Error::new(Class::Plugin, "cannot read the plugin's charts.json").caused_by(source))?;
    let mut found = AirgapLock::default();
    for row in rows.iter().filter(|row| row.url.contains("://")) {
        let digest = row.sha256.parse::<Digest>().ok();
        let artifact = output.get(&row.path).filter(|artifact| Some(artifact.digest) == digest);
        let artifact = artifact.ok_or_else(|| {
            let name: String = row.name.chars().take(100).flat_map(char::escape_default).collect();
            Error::new(
                Class::Plugin,
                format!("charts.json lists the chart `{name}` with a digest that its archive does not have"),
            )
        })?;
        let key = AirgapLock::chart_key(&row.repo, &row.name, &row.requested);
        let chart = LockedChart { version: row.version.clone(), url: row.url.clone(), digest: artifact.digest };
        found.charts.insert(key, chart);
    }
    lock.enter(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(repo: &str, url: &str, content: &[u8]) -> ChartEntry {
        ChartEntry {
            name: "app".into(),
            version: "1.2.0".into(),
            requested: "^1".into(),
            repo: repo.into(),
            url: url.into(),
            namespace: "app".into(),
            path: "charts/app-1.2.0.tgz".into(),
            sha256: Digest::of(content).hex(),
            provenance: None,
            values: Vec::new(),
            images: Vec::new(),
        }
    }

    #[test]
    fn charts_are_locked_once_and_only_as_the_tree_bears_out() {
        let root = tempfile::tempdir().unwrap();
        let output = TreeBuilder::new(root.path().to_owned());
        let lock = SharedLock::default();
        record(&output, &lock).unwrap();
        output.write("charts/app-1.2.0.tgz", b"archive", false).unwrap();
        let rows = [row("https://h", "https://h/app.tgz", b"archive"), row("./app", "./app", b"other")];
        output.write(LIST, &serde_json::to_vec(&rows).unwrap(), false).unwrap();
        record(&output, &lock).unwrap();
        let charts = lock.lock().charts.clone();
        assert_eq!(charts.len(), 1, "a local directory is not locked");
        assert_eq!(charts["https://h app ^1"].digest, Digest::of(b"archive"));
        output.write(LIST, &serde_json::to_vec(&[row("https://h", "https://h/a", b"lie")]).unwrap(), false).unwrap();
        assert_eq!(record(&output, &lock).unwrap_err().class(), Class::Plugin);
    }
}
