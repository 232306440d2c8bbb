//! Entries of airgap.lock that nobody can vouch for. No I/O.
//!
//! An entry counts where it says in which build its address gave that. One
//! that does not is of an older version, whose list of files every plugin could
//! write into, or was written by hand; and a chart that another plugin resolved
//! than the one that runs now is that plugin's word. A build takes them for
//! missing and resolves them again, as if `update` had been asked to: what it
//! could not resolve keeps its entry. `--locked` refuses them.

use std::collections::BTreeMap;

use components::ResolvedComponents;

use super::airgap_lock::{AirgapLock, LockChange, Statement};
use crate::digest::Digest;
use crate::entitlement::{Asker, Runners};

/// Entries that a message names; of the others it says how many.
const SHOWN: usize = 5;

/// Why an entry is doubtful.
pub const DOUBT: &str = "airgap.lock does not say in which build, or for which of the plugins that run, it was seen";

impl AirgapLock {
    /// Takes out what nobody can vouch for.
    pub fn take_doubtful(&mut self, runners: &Runners) -> Self {
        let mut trusted = self.clone();
        trusted.charts.retain(|_, chart| chart.is_vouched() && runners.has(&chart.asker()));
        trusted.files.retain(|_, file| file.is_vouched());
        trusted.retain_of_plugins(|_, _, file| file.is_vouched());
        let doubtful = self.lacking_in(&trusted);
        *self = trusted;
        doubtful
    }

    /// Of what was taken out, what a build of these components resolves. What
    /// another architecture needs waits for a build of that one.
    #[must_use]
    pub fn concerning(mut self, components: &ResolvedComponents) -> Self {
        self.files.retain(|url, _| components.files.iter().any(|file| file.url == *url));
        let is_key = |key: &str| {
            let mut charts = components.charts.iter();
            charts.any(|chart| Self::chart_key(&chart.repo, &chart.name, &chart.version) == key)
        };
        self.charts.retain(|key, _| is_key(key));
        self
    }

    /// The digest that any entry gives for what lies at an address.
    pub(super) fn said_of(&self, address: &str) -> Option<Digest> {
        let of_plugins = || self.of_plugins().find(|(_, at, _)| *at == address).map(|(.., file)| file.sha256);
        let of_charts = || self.charts.values().find(|chart| chart.url == address).map(|chart| chart.digest);
        self.files.get(address).map(|file| file.sha256).or_else(of_plugins).or_else(of_charts)
    }

    /// Every entry.
    pub fn entries(&self) -> Vec<LockChange> {
        Self::default().diff(self)
    }

    /// Addresses that gave one asker something else than another, in words.
    pub fn contradictions(&self) -> Vec<String> {
        let mut said: BTreeMap<&str, (Asker, Digest)> =
            self.files.iter().map(|(address, file)| (address.as_str(), (Asker::Host, file.sha256))).collect();
        let mut found = Vec::new();
        for (asker, address, file) in self.of_plugins() {
            let (first, digest) = said.entry(address).or_insert_with(|| (asker.clone(), file.sha256));
            if *digest != file.sha256 {
                found.push(format!(
                    "{address} gave the {first} {digest} and the {asker} {}: one of them was served something else",
                    file.sha256
                ));
            }
        }
        found
    }
}

/// What a build says of the entries that it resolves again.
pub fn warning(doubted: &AirgapLock) -> Option<String> {
    let entries = doubted.entries();
    (!entries.is_empty()).then(|| {
        format!(
            "config/airgap.lock can not vouch for {} of its entries, which are resolved again: {}; {DOUBT}",
            entries.len(),
            listed(&entries)
        )
    })
}

fn listed(entries: &[LockChange]) -> String {
    let mut names: Vec<String> = entries.iter().take(SHOWN).map(LockChange::entry).collect();
    if entries.len() > SHOWN {
        names.push(format!("and {} more", entries.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::airgap_lock::{CHARTS, LockedChart, LockedFile};
    use super::*;
    use crate::config::pipeline::Pipeline;
    use crate::config::plugins_lock::PluginsLock;

    fn file(text: &str, build: Option<&str>) -> LockedFile {
        LockedFile { sha256: Digest::of(text.as_bytes()), size: 1, build: build.map(str::to_owned) }
    }

    fn chart(by: Option<&str>, build: Option<&str>) -> LockedChart {
        LockedChart {
            version: "1.0.0".into(),
            url: "https://h/c.tgz".into(),
            digest: Digest::of(b"c"),
            by: by.map(|name| Asker::Pinned(name.to_owned())),
            build: build.map(str::to_owned),
        }
    }

    fn lock() -> AirgapLock {
        let mut lock = AirgapLock::of_file(&Asker::Core(CHARTS.into()), "https://h/c.tgz", file("c", Some("1")));
        lock.absorb(&AirgapLock::of_file(&Asker::Pinned("sbom".into()), "https://h/db", file("db", None)));
        lock.files.insert("https://h/old".into(), file("old", None));
        lock.files.insert("https://h/new".into(), file("new", Some("1")));
        lock.charts.insert("r old 1".into(), chart(None, None));
        lock.charts.insert("r core 1".into(), chart(None, Some("1")));
        lock.charts.insert("r pinned 1".into(), chart(Some(CHARTS), Some("1")));
        lock
    }

    #[test]
    fn what_names_no_build_or_another_plugin_is_taken_out() {
        let mut lock = lock();
        let whole = lock.clone();
        let runners = Runners::new(&Pipeline::built_in(), &PluginsLock::default());
        let doubted = lock.take_doubtful(&runners);
        let names: Vec<String> = doubted.entries().iter().map(LockChange::entry).collect();
        let expected =
            ["chart r old 1", "chart r pinned 1", "file https://h/old", "file https://h/db of the plugin sbom"];
        assert_eq!(names, expected);
        assert_eq!(lock.take_doubtful(&runners), AirgapLock::default());
        assert_eq!(doubted.said_of("https://h/old"), Some(Digest::of(b"old")));
        let text = warning(&doubted).unwrap();
        assert!(text.contains("4 of its entries") && text.contains("https://h/old"), "{text}");
        assert_eq!(warning(&AirgapLock::default()), None);

        // Of an architecture that is not built nothing is said.
        let components: ResolvedComponents = serde_json::from_value(serde_json::json!({
            "architecture": "amd64", "package": { "name": "p", "version": "1" }, "repositories": [], "images": [],
            "files": [{ "kind": "tool", "name": "x", "version": "4", "url": "https://h/old" }],
            "charts": [{ "name": "pinned", "repo": "r", "version": "1" }],
        }))
        .unwrap();
        let names: Vec<String> =
            doubted.clone().concerning(&components).entries().iter().map(LockChange::entry).collect();
        assert_eq!(names, ["chart r pinned 1", "file https://h/old", "file https://h/db of the plugin sbom"]);

        // What was not resolved again keeps its entry, what was gets its build.
        let mut merged = whole.clone();
        merged.absorb(&lock);
        assert_eq!(merged, whole);
        lock.files.insert("https://h/old".into(), file("old", Some("2")));
        merged.absorb(&lock);
        assert_eq!(merged.files["https://h/old"].build.as_deref(), Some("2"));
        assert!(whole.diff(&merged).is_empty(), "the same bytes are no difference");
        lock.files.insert("https://h/old".into(), file("old", Some("3")));
        merged.absorb(&lock);
        assert_eq!(merged.files["https://h/old"].build.as_deref(), Some("2"), "nothing is new");
    }

    #[test]
    fn two_askers_that_were_told_different_things_are_named() {
        let mut lock = lock();
        assert!(lock.contradictions().is_empty());
        lock.absorb(&AirgapLock::of_file(&Asker::Pinned("x".into()), "https://h/new", file("evil", Some("1"))));
        let found = lock.contradictions();
        assert!(found.len() == 1 && found[0].contains("https://h/new gave the host"), "{found:?}");
        assert!(found[0].contains("the plugin x"), "{found:?}");
    }
}
