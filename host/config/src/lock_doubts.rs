//! Entries of airgap.lock that nobody can vouch for. No I/O.
//!
//! An entry counts where it says in which build its address gave that. One
//! that does not is of an older version, whose list of files every plugin could
//! write into, or was written by hand. A chart counts where the plugin that
//! resolved it runs, and an entry of that plugin bears it out: its archive, or
//! the manifest that names it. A [`Witness`] may know what an entry does not
//! say; then it counts for whoever was seen. A build takes the others for
//! missing and resolves them again, as if `update` had been asked to: what it
//! could not resolve keeps its entry. `--locked` refuses them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use model::{Chart, ResolvedComponents};

use super::airgap_lock::{AirgapLock, LockChange, LockedChart, LockedFile, Statement};
use crate::runners::Runners;
use base::digest::Digest;
use base::reference::Reference;
use entitlement::Asker;

/// Entries that a message names; of the others it says how many.
const SHOWN: usize = 5;

/// Why an entry is doubtful that names no build.
pub const NO_BUILD: &str = "airgap.lock does not say in which build it was seen";

/// Who saw what addresses gave, whatever the lock says.
pub trait Witness {
    /// The build in which this address gave this asker these bytes, and how
    /// many they are.
    fn saw(&self, asker: &Asker, address: &str, digest: &Digest) -> Option<(String, u64)>;

    /// Whether a manifest names a layer; None where nobody has the manifest.
    fn names_layer(&self, manifest: &Digest, layer: &Digest) -> Option<bool>;
}

/// Saw nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Witness for Nobody {
    fn saw(&self, _: &Asker, _: &str, _: &Digest) -> Option<(String, u64)> {
        None
    }

    fn names_layer(&self, _: &Digest, _: &Digest) -> Option<bool> {
        None
    }
}

impl AirgapLock {
    /// Takes out what nobody can vouch for.
    pub fn take_doubtful(&mut self, runners: &Runners, witness: &dyn Witness) -> Self {
        self.hear(runners, witness);
        let mut trusted = self.clone();
        trusted.images.retain(|_, image| image.is_vouched());
        trusted.repositories.retain(|_, repository| repository.is_vouched());
        trusted.files.retain(|_, file| file.is_vouched());
        trusted.retain_of_plugins(|_, _, file| file.is_vouched());
        let mut charts = std::mem::take(&mut trusted.charts);
        charts.retain(|_, chart| runners.has(&chart.asker()) && trusted.doubt_of(chart, witness).is_none());
        trusted.charts = charts;
        let doubtful = self.lacking_in(&trusted);
        *self = trusted;
        doubtful
    }

    /// Gives its build to what was seen. What stands in the one list of format
    /// 1 may be anybody's. A chart counts with its archive where its version is
    /// no constraint: which version one led to, no archive says.
    fn hear(&mut self, runners: &Runners, witness: &dyn Witness) {
        let in_list = self.files.iter().map(|(address, file)| (None, address.clone(), file.clone()));
        let of_plugins = self.of_plugins().map(|(asker, at, file)| (Some(asker), at.to_owned(), file.clone()));
        let unsaid: Vec<(Option<Asker>, String, LockedFile)> =
            in_list.chain(of_plugins).filter(|(.., file)| !file.is_vouched()).collect();
        let mut heard = BTreeSet::new();
        for (owner, address, file) in unsaid {
            let saw = |asker: &Asker| {
                let (build, size) = witness.saw(asker, &address, &file.sha256)?;
                Some((asker.clone(), LockedFile { size, build: Some(build), ..file.clone() }))
            };
            let askers: Vec<&Asker> = owner.as_ref().map_or_else(|| runners.askers().collect(), |owner| vec![owner]);
            let seen: Vec<(Asker, LockedFile)> = askers.into_iter().filter_map(saw).collect();
            if !seen.is_empty() && owner.is_none() {
                self.files.remove(&address);
            }
            for (asker, file) in seen {
                heard.insert((asker.clone(), address.clone()));
                self.absorb(&Self::of_file(&asker, &address, file));
            }
        }
        let builds: BTreeMap<String, String> = self
            .charts
            .iter()
            .filter(|(key, chart)| !chart.is_vouched() && is_exact(key, chart))
            .filter(|(_, chart)| heard.contains(&(chart.asker(), chart.address())))
            .filter_map(|(key, chart)| Some((key.clone(), self.bearer(chart)?.build.clone()?)))
            .collect();
        for (key, build) in builds {
            self.charts.entry(key).and_modify(|chart| chart.build = Some(build));
        }
    }

    /// Why a chart is doubtful, whoever runs. What it was resolved by is told
    /// by the entry that bears it out.
    pub fn doubt_of(&self, chart: &LockedChart, witness: &dyn Witness) -> Option<String> {
        if !chart.is_vouched() {
            return Some(NO_BUILD.to_owned());
        }
        let pinned = || Reference::parse(chart.url.strip_prefix("oci://")?).ok()?.digest();
        let is_borne_out = match (chart.url.starts_with("oci://"), self.bearer(chart)) {
            (false, bearer) => bearer.is_some_and(|file| file.sha256 == chart.digest),
            (true, bearer) => bearer
                .map(|file| file.sha256)
                .or_else(pinned)
                .is_some_and(|manifest| witness.names_layer(&manifest, &chart.digest) != Some(false)),
        };
        (!is_borne_out).then(|| format!("airgap.lock does not say that its address gave this to the {}", chart.asker()))
    }

    /// What the plugin that resolved a chart was given by the chart's address.
    fn bearer(&self, chart: &LockedChart) -> Option<&LockedFile> {
        self.file(&chart.asker(), &chart.address()).filter(|file| file.is_vouched())
    }

    /// Of what was taken out, what a build of these components resolves. What
    /// another architecture needs waits for a build of that one.
    #[must_use]
    pub fn concerning(mut self, components: &ResolvedComponents) -> Self {
        let platform = format!("linux/{}", components.architecture);
        let image_keys = components.images.iter().map(|image| Self::image_key(image, &platform));
        let images: BTreeSet<String> = image_keys.collect();
        let repositories: BTreeSet<String> = components.repositories.iter().map(Self::repository_key).collect();
        let chart_key = |chart: &Chart| Self::chart_key(&chart.repo, &chart.name, &chart.version);
        let charts: BTreeSet<String> = components.charts.iter().map(chart_key).collect();
        self.images.retain(|key, _| images.contains(key));
        self.repositories.retain(|key, _| repositories.contains(key));
        self.files.retain(|url, _| components.files.iter().any(|file| file.url == *url));
        self.charts.retain(|key, _| charts.contains(key));
        self
    }

    /// The entries, of which this holds what was taken out of `trusted`, with
    /// the reason of each. What was fetched for one of the charts is not told
    /// beside it.
    pub fn told(&self, trusted: &Self, runners: &Runners) -> Vec<LockChange> {
        let parts = self.parts_of_charts();
        let mut entries = self.entries();
        entries.retain(|entry| !parts.has(entry));
        for entry in &mut entries {
            let chart = self.charts.get(&entry.key).filter(|_| entry.kind == "chart");
            entry.why = match chart {
                Some(chart) if !runners.has(&chart.asker()) => {
                    Some(format!("the {} resolved it, which does not run here", chart.asker()))
                }
                Some(chart) => trusted.doubt_of(chart, &Nobody),
                None => None,
            }
            .or_else(|| Some(NO_BUILD.to_owned()));
        }
        entries
    }

    /// The digest that any entry gives for what lies at an address.
    pub fn said_of(&self, address: &str) -> Option<Digest> {
        let of_plugins = || self.of_plugins().find(|(_, at, _)| *at == address).map(|(.., file)| file.sha256);
        let of_charts = || self.charts.values().find(|chart| chart.url == address).map(|chart| chart.digest);
        self.files.get(address).map(|file| file.sha256).or_else(of_plugins).or_else(of_charts)
    }

    /// Every entry that names no build.
    pub fn entries_without_a_build(&self) -> Vec<LockChange> {
        let mut unsaid = self.clone();
        unsaid.images.retain(|_, image| !image.is_vouched());
        unsaid.repositories.retain(|_, repository| !repository.is_vouched());
        unsaid.files.retain(|_, file| !file.is_vouched());
        unsaid.charts.retain(|_, chart| !chart.is_vouched());
        unsaid.retain_of_plugins(|_, _, file| !file.is_vouched());
        unsaid.entries()
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

/// Whether the configuration names this very version.
fn is_exact(key: &str, chart: &LockedChart) -> bool {
    let bare = |version: &str| version.trim_start_matches('v').to_owned();
    key.rsplit(' ').next().is_some_and(|wanted| bare(wanted) == bare(&chart.version))
}

/// What a step says where an entry that could not be vouched for said
/// something else.
pub fn contradicted(address: &str, now: &dyn Display, before: &dyn Display) -> String {
    format!(
        "{address} gave {now}; config/airgap.lock said {before}, and could not vouch for it: what the server gives \
         counts now"
    )
}

/// What a build says of the entries that it resolves again.
pub fn warning(doubted: &[LockChange]) -> Option<String> {
    let first = doubted.first()?;
    let reason = |entry: &LockChange| entry.why.clone().unwrap_or_default();
    let is_one = doubted.iter().all(|entry| entry.why == first.why);
    let named =
        |entry: &LockChange| if is_one { entry.entry() } else { format!("{} ({})", entry.entry(), reason(entry)) };
    let because = if is_one { format!("; {}", reason(first)) } else { String::new() };
    Some(format!(
        "config/airgap.lock can not vouch for {} of its entries, which are resolved again: {}{because}",
        doubted.len(),
        listed(doubted.iter().map(named))
    ))
}

/// The first of some, and how many more there are.
pub fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let rest = names.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = names.take(SHOWN).collect();
    if rest > 0 {
        shown.push(format!("and {rest} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::airgap_lock::{LockedChart, LockedFile};
    use super::*;
    use crate::core_plugins::CHARTS;
    use crate::pipeline::Pipeline;
    use crate::plugins_lock::PluginsLock;

    fn file(text: &str, build: Option<&str>) -> LockedFile {
        LockedFile { sha256: Digest::of(text.as_bytes()), size: 1, checksum: None, build: build.map(str::to_owned) }
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
        let doubted = lock.take_doubtful(&runners, &Nobody);
        let names: Vec<String> = doubted.entries().iter().map(LockChange::entry).collect();
        let expected =
            ["chart r old 1", "chart r pinned 1", "file https://h/old", "file https://h/db of the plugin sbom"];
        assert_eq!(names, expected);
        assert_eq!(lock.take_doubtful(&runners, &Nobody), AirgapLock::default());
        assert_eq!(doubted.said_of("https://h/old"), Some(Digest::of(b"old")));
        let text = warning(&doubted.told(&lock, &runners)).unwrap();
        assert!(text.contains("4 of its entries") && text.contains("https://h/old"), "{text}");
        assert!(text.contains("chart r pinned 1 (the plugin charts resolved it, which does not run here)"), "{text}");
        assert_eq!(warning(&[]), None);

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

    /// A digest that its own section does not bear out was written by hand.
    #[test]
    fn a_chart_counts_as_far_as_its_asker_bears_it_out() {
        let runners = Runners::new(&Pipeline::built_in(), &PluginsLock::default());
        let lock = |change: &dyn Fn(&mut AirgapLock)| {
            let mut lock = AirgapLock::of_file(&Asker::Core(CHARTS.into()), "https://h/c.tgz", file("c", Some("1")));
            lock.charts.insert("r c 1".into(), chart(None, Some("1")));
            change(&mut lock);
            let doubted = lock.take_doubtful(&runners, &Nobody);
            doubted.told(&lock, &runners).iter().map(|entry| entry.why.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(lock(&|_| ()), Vec::<String>::new());
        let bears = "airgap.lock does not say that its address gave this to the core plugin charts";
        let url = |lock: &mut AirgapLock| lock.charts.values_mut().for_each(|chart| chart.url.push('x'));
        let digest = |lock: &mut AirgapLock| {
            lock.charts.values_mut().for_each(|chart| chart.digest = Digest::of(b"planted"));
        };
        let section = |lock: &mut AirgapLock| {
            lock.plugins = std::mem::take(&mut lock.core);
        };
        for change in [&url as &dyn Fn(&mut AirgapLock), &digest, &section] {
            assert_eq!(lock(change), [bears]);
        }
        // What is doubted with its archive is one thing.
        let both = |lock: &mut AirgapLock| {
            lock.core.values_mut().flat_map(|files| files.values_mut()).for_each(|file| file.build = None);
            lock.charts.values_mut().for_each(|chart| chart.build = None);
        };
        assert_eq!(lock(&both), [NO_BUILD]);
    }

    /// What a manifest names, for one that is there.
    struct Manifest(Digest, Digest);

    impl Witness for Manifest {
        fn saw(&self, _: &Asker, _: &str, _: &Digest) -> Option<(String, u64)> {
            None
        }

        fn names_layer(&self, manifest: &Digest, layer: &Digest) -> Option<bool> {
            (*manifest == self.0).then_some(*layer == self.1)
        }
    }

    #[test]
    fn a_chart_of_a_registry_is_borne_out_by_its_manifest() {
        let asker = Asker::Core(CHARTS.into());
        let mut lock = AirgapLock::of_file(&asker, "oci://docker.io/o/c:1", file("manifest", Some("1")));
        let mut chart = chart(None, Some("1"));
        for url in ["oci://docker.io/o/c:1", "oci://index.docker.io/o/c:1"] {
            chart.url = url.to_owned();
            assert_eq!(lock.doubt_of(&chart, &Nobody), None, "{url}");
            let names = |layer: &[u8]| Manifest(Digest::of(b"manifest"), Digest::of(layer));
            assert_eq!(lock.doubt_of(&chart, &names(b"c")), None, "{url}");
            assert!(lock.doubt_of(&chart, &names(b"another layer")).is_some(), "{url}");
        }
        lock.core.clear();
        assert!(lock.doubt_of(&chart, &Nobody).is_some());
        chart.url = format!("oci://docker.io/o/c@{}", Digest::of(b"manifest"));
        assert_eq!(lock.doubt_of(&chart, &Nobody), None, "the address names it");
    }

    /// Whoever saw it, at which address.
    struct Saw(Vec<(Asker, &'static str, Digest)>);

    impl Witness for Saw {
        fn saw(&self, asker: &Asker, address: &str, digest: &Digest) -> Option<(String, u64)> {
            self.0.contains(&(asker.clone(), address, *digest)).then(|| ("seen".to_owned(), 7))
        }

        fn names_layer(&self, _: &Digest, _: &Digest) -> Option<bool> {
            None
        }
    }

    #[test]
    fn what_was_seen_by_its_asker_at_its_address_counts_without_a_build() {
        let runners = Runners::new(&Pipeline::built_in(), &PluginsLock::default());
        let (host, charts) = (Asker::Host, Asker::Core(CHARTS.into()));
        let mut old = AirgapLock::default();
        for (url, text) in [("https://h/tool", "tool"), ("https://h/c.tgz", "c"), ("https://h/planted", "planted")] {
            old.files.insert(url.into(), file(text, None));
        }
        old.charts.insert("r c 1.0.0".into(), chart(None, None));
        old.charts.insert("r c ^1".into(), chart(None, None));
        let all = Saw(vec![
            (host.clone(), "https://h/tool", Digest::of(b"tool")),
            (charts.clone(), "https://h/c.tgz", Digest::of(b"c")),
            (Asker::Pinned("evil".into()), "https://h/planted", Digest::of(b"planted")),
            (host, "https://h/planted", Digest::of(b"the real one")),
        ]);
        let mut lock = old.clone();
        let doubted = lock.take_doubtful(&runners, &all);
        assert_eq!(lock.files["https://h/tool"].build.as_deref(), Some("seen"));
        assert_eq!(lock.file(&charts, "https://h/c.tgz").unwrap().build.as_deref(), Some("seen"));
        assert_eq!(lock.charts["r c 1.0.0"].build.as_deref(), Some("seen"));
        let names: Vec<String> = doubted.entries().iter().map(LockChange::entry).collect();
        assert_eq!(names, ["chart r c ^1", "file https://h/planted"]);
        // Another asker's receipt is none.
        let other = Saw(vec![(Asker::Host, "https://h/c.tgz", Digest::of(b"c"))]);
        let mut lock = old;
        assert!(lock.take_doubtful(&runners, &other).charts.contains_key("r c 1.0.0"));
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
