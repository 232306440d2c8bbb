//! What the charts resolved to, from charts.json into airgap.lock.
//!
//! A plugin resolves the charts and the host keeps the lock. charts.json is
//! the output of a plugin, so each row is believed only as far as the tree
//! bears it out, and entered only as the desk saw its address give it.

use model::ChartEntry;
use model::definition::sources::IN_GIT;

use base::digest::Digest;
use base::error::{Class, Error, Result};
use config::airgap_lock::ChartKey;
use disk::fs;
use disk::tree::TreeBuilder;
use fetch::desk::{Desk, Resolved};

const LIST: &str = "charts.json";
const LIST_LIMIT: u64 = 64 << 20;

/// Enters every chart that came from a repository or registry.
///
/// # Errors
/// `plugin` where charts.json does not describe the tree it lies in, or names
/// what the host never saw; `changed` with `--locked` and a chart that resolved
/// to something else.
pub(super) fn record(output: &TreeBuilder, desk: &Desk) -> Result<()> {
    if output.get(LIST).is_none() {
        return Ok(());
    }
    let bytes = fs::read_optional(&output.root().join(LIST), LIST_LIMIT)?.unwrap_or_default();
    let rows: Vec<ChartEntry> = serde_json::from_slice(&bytes)
        .map_err(|source| Error::new(Class::Plugin, "cannot read the plugin's charts.json").caused_by(source))?;
    // One that lies in git is what its repository is locked to.
    let remote = rows.iter().filter(|row| row.url.contains("://") && !row.repo.starts_with(IN_GIT));
    desk.enter_charts(remote.map(|row| resolved(row, output)).collect::<Result<_>>()?)
}

fn resolved(row: &ChartEntry, output: &TreeBuilder) -> Result<Resolved> {
    let digest = row.sha256.parse::<Digest>().ok();
    let artifact = output.get(&row.path).filter(|artifact| Some(artifact.digest) == digest);
    let artifact = artifact.ok_or_else(|| {
        let name: String = row.name.chars().take(100).flat_map(char::escape_default).collect();
        let message = format!("charts.json lists the chart `{name}` with a digest that its archive does not have");
        Error::new(Class::Plugin, message)
    })?;
    Ok(Resolved {
        key: ChartKey::new(&row.repo, &row.name, &row.requested),
        version: row.version.clone(),
        url: row.url.clone(),
        digest: artifact.digest,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::steps::test_support::edited;
    use config::airgap_lock::{AirgapLock, FileKey, LockedFile};
    use entitlement::grants::Rules;
    use entitlement::{Asker, Entitlement};
    use fetch::desk::Means;
    use fetch::shared_lock::SharedLock;
    use fetch::store::Store;
    use fetch::store::receipts::Receipt;

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
            artifact: None,
        }
    }

    struct Lab {
        _root: tempfile::TempDir,
        output: TreeBuilder,
        store: Arc<Store>,
        lock: SharedLock,
    }

    impl Lab {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let output = TreeBuilder::new(root.path().join("tree"));
            output.write("charts/app-1.2.0.tgz", b"archive", false).unwrap();
            let store = Arc::new(Store::open(root.path().join("store")).unwrap());
            Self { _root: root, output, store, lock: SharedLock::default() }
        }

        fn record(&self, rows: &[ChartEntry]) -> Result<()> {
            self.output.write(LIST, &serde_json::to_vec(rows).unwrap(), false).unwrap();
            let means = Means::new(self.store.clone(), None, self.lock.clone());
            let desk = means.desk(Entitlement::new(core(), Rules::everything()));
            record(&self.output, &desk)
        }

        fn gave(&self, asker: &Asker, address: &str, content: &[u8]) {
            let digest = self.store.insert_bytes(content).unwrap();
            let (asker, address) = (asker.clone(), address.to_owned());
            self.store
                .note(&Receipt { asker, address, digest, build: "1".into(), size: None, credentials: false })
                .unwrap();
        }
    }

    fn core() -> Asker {
        Asker::Core("charts".into())
    }

    #[test]
    fn charts_are_locked_once_and_only_as_the_tree_bears_out() {
        let lab = Lab::new();
        lab.gave(&core(), "https://h/app.tgz", b"archive");
        let rows = [row("https://h", "https://h/app.tgz", b"archive"), row("./app", "./app", b"other")];
        lab.record(&rows).unwrap();
        let charts = lab.lock.lock().charts.clone();
        assert_eq!(charts.len(), 1, "a local directory is not locked");
        assert_eq!(charts["https://h app ^1"].digest, Digest::of(b"archive"));
        lab.gave(&core(), "https://h/a", b"lie");
        assert_eq!(lab.record(&[row("https://h", "https://h/a", b"lie")]).unwrap_err().class(), Class::Plugin);
    }

    /// What a plugin says of an address is nothing to go by.
    #[test]
    fn a_chart_is_locked_only_where_its_address_gave_it_to_that_plugin() {
        let lab = Lab::new();
        let rows = [row("https://h", "https://h/app.tgz", b"archive")];
        lab.gave(&Asker::Pinned("charts".into()), "https://h/app.tgz", b"archive");
        lab.gave(&core(), "https://h/other.tgz", b"archive");
        lab.gave(&core(), "https://h/app.tgz", b"another archive");
        let error = lab.record(&rows).unwrap_err();
        assert_eq!(error.class(), Class::Plugin);
        assert!(error.message().contains("https://h/app.tgz"), "{error}");
        assert!(lab.lock.lock().charts.is_empty());
        lab.gave(&core(), "https://h/app.tgz", b"archive");
        lab.record(&rows).unwrap();
    }

    #[test]
    fn a_chart_of_a_registry_is_what_its_manifest_names() {
        let mut lab = Lab::new();
        let url = "oci://r.example/org/app:1.2.0";
        let rows = [row("oci://r.example/org", url, b"archive")];
        assert!(lab.record(&rows).is_err(), "its manifest was not seen");
        let lock_manifest = |lab: &mut Lab, text: &str| {
            let sha256 = lab.store.insert_bytes(text.as_bytes()).unwrap();
            let file = LockedFile { sha256, size: text.len() as u64, checksum: None, build: Some("1".into()) };
            let of_charts =
                |lock: &mut AirgapLock| lock.core.entry("charts".into()).or_default().insert(FileKey::of(url), file);
            lab.lock = edited(&lab.lock, |lock| drop(of_charts(lock)));
        };
        lock_manifest(&mut lab, &format!(r#"{{"layers":[{{"digest":"{}"}}]}}"#, Digest::of(b"other")));
        assert!(lab.record(&rows).is_err(), "its manifest names another layer");
        lock_manifest(&mut lab, &format!(r#"{{"layers":[{{"digest":"{}"}}]}}"#, Digest::of(b"archive")));
        lab.record(&rows).unwrap();
        assert_eq!(lab.lock.lock().charts["oci://r.example/org app ^1"].url, url);
    }
}
