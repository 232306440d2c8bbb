//! Which entries of airgap.lock something names, and what becomes of the
//! others. No I/O.
//!
//! An entry stays while the components name it, for any architecture: one lock
//! serves the builds of all of them. With a chart stay its archive or, in a
//! registry, its manifest, and the provenance file beside it. What a pinned plugin
//! fetched stays while the plugin runs in the pipeline and plugins.lock grants it
//! the address: only that plugin knows what it asks for.

use std::collections::BTreeSet;

use model::ResolvedComponents;
use model::chart::provenance_of;

use super::airgap_lock::{AirgapLock, LockChange, LockedChart};
use super::catalog::ARCHITECTURES;
use crate::runners::Runners;
use entitlement::Asker;

/// The keys that a configuration names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As they are written.
    images: BTreeSet<String>,
    /// `linux/amd64`: what images may be locked for.
    platforms: BTreeSet<String>,
    charts: BTreeSet<String>,
    files: BTreeSet<String>,
    repositories: BTreeSet<String>,
    /// Who fetches, and what each may.
    runners: Runners,
}

impl Names {
    /// What is being built, what the configuration says for `others`, which are
    /// other architectures, and what the plugins that run may fetch.
    pub fn new(components: &ResolvedComponents, others: &[ResolvedComponents], runners: Runners) -> Self {
        let platforms = ARCHITECTURES.iter().copied().chain([components.architecture.as_str()]);
        let platforms = platforms.map(|architecture| format!("linux/{architecture}")).collect();
        let mut names = Self { runners, platforms, ..Self::default() };
        names.add(components);
        others.iter().for_each(|components| names.add(components));
        names
    }

    fn add(&mut self, components: &ResolvedComponents) {
        self.images.extend(components.images.iter().cloned());
        self.files.extend(components.files.iter().map(|file| file.url.clone()));
        self.repositories.extend(components.repositories.iter().map(AirgapLock::repository_key));
        let charts = components.charts.iter();
        self.charts.extend(charts.map(|chart| AirgapLock::chart_key(&chart.repo, &chart.name, &chart.version)));
    }

    /// The same with what the definition imports from registries.
    #[must_use]
    pub fn with_skeletons(mut self, urls: &[&str]) -> Self {
        self.files.extend(urls.iter().map(|url| (*url).to_owned()));
        self
    }

    fn names_image(&self, key: &str) -> bool {
        key.split_once(' ')
            .is_some_and(|(image, platform)| self.images.contains(image) && self.platforms.contains(platform))
    }

    /// Why nothing names an entry.
    fn why_unnamed(&self, LockChange { kind, by, .. }: &LockChange) -> String {
        match by {
            Some(by) if !self.runners.has(by) => format!("the {by} does not run here"),
            Some(by @ Asker::Pinned(_)) => format!("the {by} may not ask for this address"),
            _ => format!("nothing names this {kind} of airgap.lock any more"),
        }
    }
}

/// Addresses, each with who asked there.
#[derive(Clone, Debug, Default)]
pub struct Parts(BTreeSet<(String, Asker)>);

impl Parts {
    /// Whether an entry is about one of them. Format 1 had them all in one
    /// list, with no word of who asked.
    pub fn has(&self, LockChange { kind, key, by, .. }: &LockChange) -> bool {
        *kind == "file"
            && match by {
                Some(by) => self.0.contains(&(key.clone(), by.clone())),
                None => self.0.range((key.clone(), Asker::Host)..).next().is_some_and(|(at, _)| at == key),
            }
    }
}

impl AirgapLock {
    /// Drops what nothing names.
    pub fn prune(&mut self, names: &Names) {
        self.images.retain(|key, _| names.names_image(key));
        self.charts.retain(|key, _| names.charts.contains(key));
        self.repositories.retain(|key, _| names.repositories.contains(key));
        self.files.retain(|url, _| names.files.contains(url));
        let of_charts = self.parts_of_charts();
        self.retain_of_plugins(|asker, address, _| match asker {
            Asker::Pinned(_) => names.runners.covers(asker, address),
            // The configuration names what a core plugin asks for.
            Asker::Core(_) | Asker::Host => of_charts.0.contains(&(address.to_owned(), asker.clone())),
        });
    }

    /// Drops what plugins fetched that do not run here, or may not ask for it
    /// any more.
    pub fn prune_plugins(&mut self, runners: &Runners) {
        self.retain_of_plugins(|asker, address, _| runners.covers(asker, address));
        self.charts.retain(|_, chart| runners.has(&chart.asker()));
    }

    /// What [`AirgapLock::prune`] would drop, and why.
    pub fn unnamed(&self, names: &Names) -> Vec<LockChange> {
        let mut pruned = self.clone();
        pruned.prune(names);
        let gone = self.diff(&pruned).into_iter();
        gone.map(|entry| LockChange { why: Some(names.why_unnamed(&entry)), ..entry }).collect()
    }

    /// What was fetched for the charts: archives, or manifests, and the
    /// provenance files beside them.
    pub fn parts_of_charts(&self) -> Parts {
        let parts = |chart: &LockedChart| [chart.address(), provenance_of(&chart.url)].map(|url| (url, chart.asker()));
        Parts(self.charts.values().flat_map(parts).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::ComponentManifest;

    use super::*;
    use crate::airgap_lock::{LockedBlob, LockedChart, LockedFile, LockedImage, LockedRepository};
    use crate::pipeline::Pipeline;
    use crate::plugins_lock::PluginsLock;
    use crate::source::Source;
    use base::digest::Digest;

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
            referrers: None,
            found_in: None,
            build: Some("1".into()),
        };
        let chart = |url: &str| LockedChart {
            version: "1.0.0".into(),
            url: url.into(),
            digest,
            by: None,
            build: Some("1".into()),
        };
        let repository =
            LockedRepository { commit: "0".repeat(40), reference: None, tag: None, build: Some("1".into()) };
        AirgapLock {
            images: images.iter().map(|key| ((*key).to_owned(), image.clone())).collect(),
            charts: charts.iter().map(|(key, url)| ((*key).to_owned(), chart(url))).collect(),
            files: files.iter().map(|key| ((*key).to_owned(), file())).collect(),
            repositories: repositories.iter().map(|key| ((*key).to_owned(), repository.clone())).collect(),
            ..AirgapLock::default()
        }
    }

    fn file() -> LockedFile {
        LockedFile { sha256: Digest::of(b"x"), size: 1, checksum: None, build: Some("1".into()) }
    }

    /// With what a plugin fetched.
    fn and(mut lock: AirgapLock, asker: &Asker, addresses: &[&str]) -> AirgapLock {
        addresses.iter().for_each(|address| lock.absorb(&AirgapLock::of_file(asker, address, file())));
        lock
    }

    fn names(runners: Runners) -> Names {
        let manifest = manifest();
        let components = manifest.resolve(&model::Package::default(), "amd64").unwrap();
        let others = ARCHITECTURES.map(|other| manifest.resolve(&model::Package::default(), other).unwrap());
        Names::new(&components, &others, runners)
    }

    #[test]
    fn what_something_names_stays_for_every_architecture_and_the_rest_goes() {
        let kept = lock(
            &["nginx:1.27 linux/amd64", "nginx:1.27 linux/arm64"],
            &[("https://charts.example web ^1", "https://cdn.example/web-1.tgz?sig=a")],
            &["https://get.example/helm-amd64", "https://get.example/helm-arm64"],
            &["https://git.example/base.git main"],
        );
        let charts = Asker::Core("charts".into());
        let beside = ["https://cdn.example/web-1.tgz?sig=a", "https://cdn.example/web-1.tgz.prov?sig=a"];
        let kept = and(kept, &charts, &beside);
        let stale = lock(
            &["nginx:1.26 linux/amd64", "nginx:1.27 linux/s390x", "nginx:1.27@sha256:00 linux/amd64"],
            &[("https://charts.example web ^0", "https://cdn.example/web-0.tgz")],
            &["https://get.example/helm-s390x", "https://cdn.example/web-1.tgz?sig=a"],
            &["https://git.example/base.git v1"],
        );
        let stale = and(stale, &charts, &["https://cdn.example/web-0.tgz", "https://charts.example/index.yaml"]);
        let stale = and(stale, &Asker::Pinned("charts".into()), &beside);
        let mut both = kept.clone();
        both.absorb(&stale);
        let names = names(Runners::new(&Pipeline::built_in(), &PluginsLock::default()));
        let unnamed: Vec<String> = both.unnamed(&names).iter().map(|change| change.key.clone()).collect();
        let of_plugins: Vec<String> = stale.of_plugins().map(|(_, address, _)| address.to_owned()).collect();
        let expected: Vec<&String> = stale
            .images
            .keys()
            .chain(stale.charts.keys())
            .chain(stale.files.keys())
            .chain(stale.repositories.keys())
            .chain(&of_plugins)
            .collect();
        assert_eq!(unnamed.iter().collect::<Vec<_>>(), expected);
        both.prune(&names);
        assert_eq!(both, kept);
        assert!(kept.unnamed(&names).is_empty());
    }

    #[test]
    fn what_a_plugin_fetched_stays_as_long_as_it_runs_and_may() {
        let text = format!(
            "format: 1\nplugins:\n  licences:\n    path: p.wasm\n    sha256: {}\n    grants:\n      fetch: ['https://sbom.example/db/', registry.example/team/]\n",
            Digest::of(b"p").hex()
        );
        let source = Source::of("plugins.lock".into(), text.into_bytes()).unwrap();
        let pins = PluginsLock::parse(&source, Path::new("/")).unwrap();
        let step = "steps:\n  - {id: licences, name: n, run: {plugin: licences}, on_failure: roll-back}\n";
        let pipeline = Pipeline::parse(&Source::of("pipeline.yaml".into(), step.into()).unwrap()).unwrap();
        let granted = ["https://sbom.example/db/1", "oci://registry.example/team/db:1"];
        let others = ["https://sbom.example/other", "oci://registry.example/else/db:1", "no address"];
        let licences = Asker::Pinned("licences".into());
        let whole = and(lock(&[], &[], &granted, &[]), &licences, &[&granted[..], &others[..]].concat());
        let whole = and(whole, &Asker::Core("licences".into()), &granted);
        let mut pruned = whole.clone();
        pruned.prune(&names(Runners::new(&pipeline, &pins)));
        assert_eq!(pruned.plugins["licences"].keys().collect::<Vec<_>>(), granted.iter().collect::<Vec<_>>());
        assert!(pruned.files.is_empty() && pruned.core.is_empty(), "the grant is that of the plugin alone");
        let mut collected = whole.clone();
        collected.prune_plugins(&Runners::new(&pipeline, &pins));
        assert_eq!((collected.plugins, collected.files), (pruned.plugins, whole.files.clone()));
        for runners in [Runners::new(&Pipeline::built_in(), &pins), Runners::new(&pipeline, &PluginsLock::default())] {
            let mut gone = whole.clone();
            gone.prune(&names(runners));
            assert!(gone.plugins.is_empty(), "it is pinned, or in the pipeline, and not both");
        }
    }
}
