//! Which entries of airgap.lock something names, and what becomes of the
//! others. No I/O.
//!
//! An entry stays while the components name it, for any architecture: one lock
//! serves the builds of all of them. With a chart stay its archive or, in a
//! registry, its manifest, and the provenance file beside it; and whatever lies below a prefix that
//! plugins.lock grants: only that plugin knows what it asks for.

use std::collections::BTreeSet;

use components::{ComponentManifest, Package, ResolvedComponents};
use url::Url;

use super::airgap_lock::{AirgapLock, LockChange};
use super::catalog::ARCHITECTURES;
use super::plugins_lock::PluginsLock;
use crate::grants::Rules;
use crate::reference::Reference;

/// The keys that a configuration names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As they are written.
    images: BTreeSet<String>,
    charts: BTreeSet<String>,
    files: BTreeSet<String>,
    repositories: BTreeSet<String>,
    /// What pinned plugins may fetch.
    granted: Vec<Rules>,
}

impl Names {
    /// What is being built, what components.yaml says for other
    /// architectures, and what the pinned plugins may fetch.
    pub fn new(components: &ResolvedComponents, manifest: Option<&ComponentManifest>, plugins: &PluginsLock) -> Self {
        let mut names = Self::default();
        names.add(components);
        let resolve = |manifest: &ComponentManifest, architecture| manifest.resolve(&Package::default(), architecture);
        for architecture in ARCHITECTURES {
            if let Some(Ok(components)) = manifest.map(|manifest| resolve(manifest, architecture)) {
                names.add(&components);
            }
        }
        // A grant that is none was refused when the file was read.
        names.granted = plugins.plugins.values().filter_map(|pin| Rules::new(&pin.grants).ok()).collect();
        names
    }

    fn add(&mut self, components: &ResolvedComponents) {
        self.images.extend(components.images.iter().cloned());
        self.files.extend(components.files.iter().map(|file| file.url.clone()));
        self.repositories.extend(components.repositories.iter().map(AirgapLock::repository_key));
        let charts = components.charts.iter();
        self.charts.extend(charts.map(|chart| AirgapLock::chart_key(&chart.repo, &chart.name, &chart.version)));
    }

    fn names_image(&self, key: &str) -> bool {
        key.split(' ').next().is_some_and(|image| self.images.contains(image))
    }

    /// Whether a plugin may have asked for this file: a URL, or the manifest
    /// behind `oci://registry/repository:tag`.
    fn is_granted(&self, key: &str) -> bool {
        if let Some(reference) = key.strip_prefix("oci://") {
            let Ok(reference) = Reference::parse(reference) else { return false };
            let allows = |rules: &Rules| rules.repository(reference.registry(), reference.repository()).is_ok();
            return self.granted.iter().any(allows);
        }
        Url::parse(key).is_ok_and(|url| self.granted.iter().any(|rules| rules.url(&url).is_ok()))
    }
}

/// The provenance file that lies beside the archive of a chart.
pub fn provenance_of(archive: &str) -> String {
    match archive.split_once('?') {
        Some((path, query)) => format!("{path}.prov?{query}"),
        None => format!("{archive}.prov"),
    }
}

impl AirgapLock {
    /// Drops what nothing names.
    pub fn prune(&mut self, names: &Names) {
        self.images.retain(|key, _| names.names_image(key));
        self.charts.retain(|key, _| names.charts.contains(key));
        self.repositories.retain(|key, _| names.repositories.contains(key));
        let of_charts: BTreeSet<String> =
            self.charts.values().flat_map(|chart| [chart.url.clone(), provenance_of(&chart.url)]).collect();
        let stays = |url: &String| names.files.contains(url) || of_charts.contains(url) || names.is_granted(url);
        self.files.retain(|url, _| stays(url));
    }

    /// What [`AirgapLock::prune`] would drop.
    pub fn unnamed(&self, names: &Names) -> Vec<LockChange> {
        let mut pruned = self.clone();
        pruned.prune(names);
        self.diff(&pruned)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::airgap_lock::{LockedBlob, LockedChart, LockedFile, LockedImage, LockedRepository};
    use crate::config::source::Source;
    use crate::digest::Digest;

    fn manifest() -> ComponentManifest {
        serde_json::from_value(serde_json::json!({
            "tools": [{ "name": "helm", "version": "3", "url": "https://get.example/helm-{{arch}}" }],
            "repositories": [{ "name": "base", "url": "https://git.example/base.git", "ref": "main" }],
            "images": { "additional": ["nginx:1.27"] },
            "charts": [{ "name": "web", "repo": "https://charts.example", "version": "^1" }],
        }))
        .unwrap()
    }

    fn lock(images: &[&str], charts: &[(&str, &str)], files: &[&str], repositories: &[&str]) -> AirgapLock {
        let digest = Digest::of(b"x");
        let image = LockedImage {
            index: None,
            manifest: digest,
            media_type: "m".into(),
            size: 1,
            config: LockedBlob { digest, size: 1 },
            layers: Vec::new(),
        };
        let chart = |url: &str| LockedChart { version: "1.0.0".into(), url: url.into(), digest };
        let repository = LockedRepository { commit: "0".repeat(40), reference: None, tag: None };
        AirgapLock {
            images: images.iter().map(|key| ((*key).to_owned(), image.clone())).collect(),
            charts: charts.iter().map(|(key, url)| ((*key).to_owned(), chart(url))).collect(),
            files: files.iter().map(|key| ((*key).to_owned(), LockedFile { sha256: digest, size: 1 })).collect(),
            repositories: repositories.iter().map(|key| ((*key).to_owned(), repository.clone())).collect(),
            ..AirgapLock::default()
        }
    }

    fn names(plugins: &PluginsLock) -> Names {
        let manifest = manifest();
        let components = manifest.resolve(&Package::default(), "amd64").unwrap();
        Names::new(&components, Some(&manifest), plugins)
    }

    #[test]
    fn what_something_names_stays_for_every_architecture_and_the_rest_goes() {
        let kept = lock(
            &["nginx:1.27 linux/amd64", "nginx:1.27 linux/arm64"],
            &[("https://charts.example web ^1", "https://cdn.example/web-1.tgz?sig=a")],
            &[
                "https://get.example/helm-amd64",
                "https://get.example/helm-arm64",
                "https://cdn.example/web-1.tgz?sig=a",
                "https://cdn.example/web-1.tgz.prov?sig=a",
            ],
            &["https://git.example/base.git main"],
        );
        let stale = lock(
            &["nginx:1.26 linux/amd64", "nginx:1.27@sha256:00 linux/amd64"],
            &[("https://charts.example web ^0", "https://cdn.example/web-0.tgz")],
            &["https://get.example/helm-s390x", "https://cdn.example/web-0.tgz", "https://charts.example/index.yaml"],
            &["https://git.example/base.git v1"],
        );
        let mut both = kept.clone();
        both.absorb(&stale);
        let names = names(&PluginsLock::default());
        let unnamed: Vec<String> = both.unnamed(&names).iter().map(|change| change.key.clone()).collect();
        let expected: Vec<&String> = stale
            .images
            .keys()
            .chain(stale.charts.keys())
            .chain(stale.files.keys())
            .chain(stale.repositories.keys())
            .collect();
        assert_eq!(unnamed.iter().collect::<Vec<_>>(), expected);
        both.prune(&names);
        assert_eq!(both, kept);
        assert!(kept.unnamed(&names).is_empty());
    }

    #[test]
    fn what_a_plugin_may_fetch_stays_as_long_as_it_may() {
        let text = format!(
            "format: 1\nplugins:\n  sbom:\n    path: p.wasm\n    sha256: {}\n    grants:\n      fetch: ['https://sbom.example/db/', registry.example/team/]\n",
            Digest::of(b"p").hex()
        );
        let source = Source::of("plugins.lock".into(), text.into_bytes()).unwrap();
        let plugins = PluginsLock::parse(&source, Path::new("/")).unwrap();
        let granted = ["https://sbom.example/db/1", "oci://registry.example/team/db:1"];
        let others = ["https://sbom.example/other", "oci://registry.example/else/db:1", "no address"];
        let mut lock = lock(&[], &[], &[&granted[..], &others[..]].concat(), &[]);
        lock.prune(&names(&plugins));
        assert_eq!(lock.files.keys().collect::<Vec<_>>(), granted.iter().collect::<Vec<_>>());
        lock.prune(&names(&PluginsLock::default()));
        assert!(lock.files.is_empty());
    }

    /// As the charts plugin names it.
    #[test]
    fn a_provenance_file_lies_beside_its_archive() {
        assert_eq!(provenance_of("https://h/a.tgz"), "https://h/a.tgz.prov");
        assert_eq!(provenance_of("https://h/a.tgz?x=1?y"), "https://h/a.tgz.prov?x=1?y");
    }
}
