//! Which entries of airgap.lock an `update` forgets, and which steps resolve
//! them again. No I/O.

use std::collections::BTreeSet;

use model::chart::provenance_of;
use model::{Repository, ResolvedComponents};

use super::needs::{Kind, kind_of};
use base::error::{Class, Error, Result};
use config::Project;
use config::airgap_lock::{AirgapLock, ChartKey, FileKey, ImageKey, RepositoryKey};
use config::pipeline::{Pipeline, Runner, StepId, StepSpec};
use entitlement::Asker;

/// What an update works on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Keys of entries, or `*` for all.
    pub keys: Vec<String>,
    /// The steps that resolve them.
    pub steps: BTreeSet<StepId>,
}

/// Near names that an error lists.
const NEAR: usize = 5;

/// One thing that can be updated: what the user may call it, and its entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    kind: Kind,
    /// The short name; the key where there is none.
    name: String,
    key: String,
}

/// Finds what `names` mean: an exact name of a tool, chart or repository, or
/// any part of an entry's key (reference, URL).
///
/// # Errors
/// `usage` for a name that means nothing, with near ones.
pub fn select(project: &Project, names: &[String]) -> Result<Selection> {
    let mut selection = if names.is_empty() {
        let all = [Kind::Image, Kind::File, Kind::Repository, Kind::Chart].into();
        Selection { keys: vec!["*".to_owned()], steps: steps(&project.pipeline, &all) }
    } else {
        // Of what is not generated yet the lock knows nothing either.
        let is_known = project.components.is_some() || project.defined.is_some();
        let resolved = is_known.then(|| project.resolved()).transpose()?;
        let candidates = candidates(&project.lock, resolved.as_ref());
        choose(&candidates, names, &project.pipeline)?
    };
    selection.steps.extend(of_pinned(&project.pipeline, &project.lock, &selection.keys));
    Ok(selection)
}

/// The steps whose pinned plugins fetched what is forgotten.
fn of_pinned(pipeline: &Pipeline, lock: &AirgapLock, keys: &[String]) -> BTreeSet<StepId> {
    let mut forgotten = lock.clone();
    forgotten.forget(keys);
    let lost = lock.lacking_in(&forgotten);
    let askers: BTreeSet<Asker> = lost.of_plugins().map(|(asker, ..)| asker).collect();
    let lost_some = |spec: &&StepSpec| match &spec.run {
        Runner::Plugin(name) => askers.contains(&Asker::Pinned(name.clone())),
        Runner::Host(_) => false,
    };
    pipeline.steps.iter().filter(lost_some).map(|spec| spec.id.clone()).collect()
}

fn choose(candidates: &BTreeSet<Candidate>, names: &[String], pipeline: &Pipeline) -> Result<Selection> {
    let mut kinds = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for name in names {
        let exact = candidates.iter().filter(|candidate| candidate.name == *name);
        let mut found: Vec<&Candidate> = exact.collect();
        if found.is_empty() && !name.is_empty() {
            found = candidates.iter().filter(|candidate| candidate.key.contains(name.as_str())).collect();
        }
        if found.is_empty() {
            return Err(unknown(name, candidates));
        }
        // Of a chart its archive alone would come back as the lock has it.
        let of: BTreeSet<(Kind, &str)> = found.iter().map(|found| (found.kind, found.name.as_str())).collect();
        found = candidates.iter().filter(|candidate| of.contains(&(candidate.kind, &*candidate.name))).collect();
        kinds.extend(found.iter().map(|candidate| candidate.kind));
        keys.extend(found.iter().map(|candidate| candidate.key.clone()));
    }
    Ok(Selection { keys: keys.into_iter().collect(), steps: steps(pipeline, &kinds) })
}

/// Everything that the lock holds or the components name.
fn candidates(lock: &AirgapLock, resolved: Option<&ResolvedComponents>) -> BTreeSet<Candidate> {
    let mut candidates = BTreeSet::new();
    let mut add = |kind: Kind, name: &str, key: String| {
        candidates.insert(Candidate { kind, name: name.to_owned(), key });
    };
    if let Some(resolved) = resolved {
        named(resolved, lock, &mut add);
    }
    for key in lock.images.keys() {
        add(Kind::Image, key.reference(), key.to_string());
    }
    for key in lock.charts.keys() {
        add(Kind::Chart, key.name(), key.to_string());
    }
    for key in lock.repositories.keys() {
        add(Kind::Repository, key.url(), key.to_string());
    }
    let of_files: BTreeSet<String> = candidates
        .iter()
        .filter(|candidate| candidate.kind == Kind::File)
        .map(|candidate| candidate.key.clone())
        .collect();
    // What no binary or tool names was fetched for a chart.
    let of_plugins = lock.of_plugins().map(|(_, address, _)| address);
    for key in lock.files.keys().map(FileKey::as_str).chain(of_plugins).filter(|key| !of_files.contains(*key)) {
        candidates.insert(Candidate { kind: Kind::Chart, name: key.to_owned(), key: key.to_owned() });
    }
    candidates
}

/// What the configuration names, by the names that it gives.
fn named(resolved: &ResolvedComponents, lock: &AirgapLock, add: &mut impl FnMut(Kind, &str, String)) {
    let architecture = &resolved.architecture;
    for image in &resolved.images {
        add(Kind::Image, image, ImageKey::of(image, architecture).to_string());
    }
    for file in &resolved.files {
        add(Kind::File, &file.name, file.url.clone());
        if let Some(checksum) = &file.checksum_url {
            add(Kind::File, &file.name, checksum.clone());
        }
    }
    for chart in &resolved.charts {
        let key = ChartKey::of(chart);
        if let Some(locked) = lock.charts.get(&key) {
            add(Kind::Chart, &chart.name, locked.url.clone());
            add(Kind::Chart, &chart.name, provenance_of(&locked.url));
        }
        add(Kind::Chart, &chart.name, key.to_string());
    }
    for Repository { name, url, reference, .. } in &resolved.repositories {
        let own = |key: &&RepositoryKey| {
            key.url() == url && reference.as_ref().is_none_or(|reference| key.reference() == reference)
        };
        match lock.repositories.keys().find(own) {
            Some(key) => add(Kind::Repository, name, key.to_string()),
            None => add(Kind::Repository, name, format!("{url} ")),
        }
    }
}

/// The steps of the pipeline that fetch these kinds.
fn steps(pipeline: &Pipeline, kinds: &BTreeSet<Kind>) -> BTreeSet<StepId> {
    let fetches = |spec: &&StepSpec| kind_of(spec).is_some_and(|kind| kinds.contains(&kind));
    pipeline.steps.iter().filter(fetches).map(|spec| spec.id.clone()).collect()
}

fn unknown(name: &str, candidates: &BTreeSet<Candidate>) -> Error {
    let mut near: Vec<(usize, &str)> = candidates
        .iter()
        .map(|candidate| candidate.name.as_str())
        .map(|known| (distance(name, short(known)).min(distance(name, known)), known))
        .collect();
    near.sort_unstable();
    near.dedup();
    let near: Vec<String> = near.iter().take(NEAR).map(|(_, known)| format!("`{known}`")).collect();
    let error = Error::new(Class::Usage, format!("nothing in airgap.lock or components.yaml is called `{name}`"));
    if near.is_empty() {
        error.hint("run `opencenter-airgap build` first: nothing is resolved yet")
    } else {
        error.hint(format!("near names are {}; any part of a reference or URL will do", near.join(", ")))
    }
}

/// The last part of a reference or URL without tag: what people remember.
fn short(name: &str) -> &str {
    let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    last.split([':', '@']).next().unwrap_or(last)
}

/// How many characters have to be changed, added or removed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(200).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.chars().take(200).enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, right) in other.iter().enumerate() {
            let replaced = corner + usize::from(left != *right);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use model::{ComponentManifest, Package};

    use super::*;
    use base::digest::Digest;
    use config::airgap_lock::{LockedChart, LockedFile};

    fn manifest() -> ComponentManifest {
        serde_json::from_value(serde_json::json!({
            "tools": [
                { "name": "helm", "version": "3", "url": "https://get.example/helm-{{arch}}", "checksum_url": "https://get.example/SUMS" },
                { "name": "yq", "version": "4", "url": "https://get.example/yq" },
            ],
            "repositories": [{ "name": "base", "url": "https://git.example/gitops.git", "ref": "main" }],
            "images": { "additional": ["nginx:1.27", "quay.io/helm/tiller:2"] },
            "charts": [{ "name": "web", "repo": "https://charts.example", "version": "~1" }],
        }))
        .unwrap()
    }

    fn all() -> BTreeSet<Candidate> {
        let mut lock = AirgapLock::default();
        lock.files.insert(
            FileKey::of("https://charts.example/web-1.tgz"),
            LockedFile { sha256: Digest::of(b"x"), size: 1, checksum: None, build: None },
        );
        candidates(&lock, Some(&manifest().resolve(&Package::default(), "amd64").unwrap()))
    }

    fn ids(ids: &[&str]) -> BTreeSet<StepId> {
        ids.iter().filter_map(|id| StepId::parse(id)).collect()
    }

    fn chosen(names: &[&str]) -> Result<Selection> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&all(), &names, &Pipeline::built_in())
    }

    #[test]
    fn an_exact_name_means_that_thing_and_nothing_else() {
        let helm = chosen(&["helm"]).unwrap();
        assert_eq!(helm.keys, ["https://get.example/SUMS", "https://get.example/helm-amd64"]);
        assert_eq!(helm.steps, ids(&["files"]));
        assert_eq!(chosen(&["web"]).unwrap().steps, ids(&["charts"]));
        assert_eq!(chosen(&["base"]).unwrap().keys, ["https://git.example/gitops.git "]);
        assert_eq!(chosen(&["base"]).unwrap().steps, ids(&["repos"]));
    }

    #[test]
    fn a_part_means_everything_that_contains_it() {
        let found = chosen(&["nginx", "get.example/y"]).unwrap();
        assert_eq!(found.keys, ["https://get.example/yq", "nginx:1.27 linux/amd64"]);
        assert_eq!(found.steps, ids(&["images", "files"]));
        assert_eq!(chosen(&["charts.example"]).unwrap().steps, ids(&["charts"]));
    }

    /// The archive alone would come back as the chart's own entry has it.
    #[test]
    fn a_part_of_a_charts_address_means_the_whole_chart() {
        let mut lock = AirgapLock::default();
        let (key, url) = (ChartKey::new("https://charts.example", "web", "~1"), "https://cdn.example/web-1.tgz");
        let chart =
            LockedChart { version: "1.0.0".into(), url: url.into(), digest: Digest::of(b"x"), by: None, build: None };
        lock.charts.insert(key.clone(), chart);
        let file = LockedFile { sha256: Digest::of(b"x"), size: 1, checksum: None, build: None };
        lock.core.entry("charts".into()).or_default().insert(FileKey::of(url), file);
        let all = candidates(&lock, Some(&manifest().resolve(&Package::default(), "amd64").unwrap()));
        let found = choose(&all, &["cdn.example".to_owned()], &Pipeline::built_in()).unwrap();
        assert_eq!(found.keys, [url, &format!("{url}.prov"), key.as_str()].map(str::to_owned));
    }

    #[test]
    fn an_unknown_name_lists_near_ones() {
        let error = chosen(&["ngnix"]).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.message().contains("`ngnix`"));
        assert!(error.hint_text().unwrap().contains("`nginx:1.27`"), "{:?}", error.hint_text());
        assert!(chosen(&[""]).is_err());
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(short("docker.io/library/nginx:1.27@sha256:00"), "nginx");
        assert_eq!(short("https://h/x/"), "x");
    }

    /// What a pinned plugin fetched is asked for again by its own step.
    #[test]
    fn a_pinned_plugin_that_fetched_runs_again() {
        let mut pipeline = Pipeline::built_in();
        for name in ["apt", "policy"] {
            pipeline.steps.push(StepSpec::new(name, Runner::Plugin(name.to_owned())));
        }
        let file = LockedFile { sha256: Digest::of(b""), size: 0, checksum: None, build: None };
        let lock =
            AirgapLock::of_file(&Asker::Pinned("apt".to_owned()), "https://m.example/dists/noble/InRelease", file);
        let steps = |key: &str| of_pinned(&pipeline, &lock, &[key.to_owned()]);
        assert_eq!([steps("*"), steps("InRelease"), steps("helm")], [ids(&["apt"]), ids(&["apt"]), ids(&[])]);
    }
}
