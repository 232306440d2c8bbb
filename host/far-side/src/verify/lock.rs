//! A package beside the lock that it was built with: everything that came from
//! an address must be what airgap.lock says that this address gave, and who saw
//! it must be said there.
//!
//! What the package holds of each address its artifact-manifest.json tells,
//! which is compared with the package itself before.

use super::Problems;
use super::artifact_manifest::{ArtifactManifest, Image, Item, Repository};
use config::airgap_lock::{AirgapLock, LockChange, Statement};
use config::lock_doubts::{NO_BUILD, Nobody, listed};

/// Endings of what is packaged as what lies in it: its own digest the package
/// does not have.
const ARCHIVES: &[&str] = &[".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".zip"];

/// The rule of every finding.
const RULE: &str = "lock";

/// Compares what a package is made of with the lock.
pub(super) fn check(
    manifest: &ArtifactManifest,
    lock: &AirgapLock,
    problems: &mut Problems,
    remarks: &mut Vec<String>,
) {
    let charts = manifest.charts.iter().filter_map(|chart| chart_problem(chart, lock));
    let files = manifest.files.iter().filter_map(|file| file_problem(file, lock));
    let images = manifest.images.iter().filter_map(|image| image_problem(image, lock));
    let repositories = manifest.repositories.iter().filter_map(|repository| repository_problem(repository, lock));
    charts.chain(files).chain(images).chain(repositories).for_each(|message| problems.add(RULE, message));
    let unpacked = manifest.files.iter().filter(|file| file.source.as_deref().is_some_and(is_archive)).count();
    if unpacked > 0 {
        remarks
            .push(format!("{unpacked} files were taken out of archives: the lock says of which, not what is in them"));
    }
    remarks.extend(lock.contradictions());
    let unsaid = lock.entries_without_a_build();
    if !unsaid.is_empty() {
        let names = listed(unsaid.iter().map(LockChange::entry));
        remarks
            .push(format!("the lock does not say in which build {} of its entries were seen: {names}", unsaid.len()));
    }
}

/// Whether an address is one of an archive, of which a package has what lies in
/// it.
pub(crate) fn is_archive(source: &str) -> bool {
    let path = source.split(['?', '#']).next().unwrap_or_default();
    ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

fn chart_problem(chart: &Item, lock: &AirgapLock) -> Option<String> {
    let url = chart.source.as_deref().filter(|source| source.contains("://"))?;
    let mut entries = lock.charts.values().filter(|entry| entry.url == url).peekable();
    if entries.peek().is_none() {
        return Some(unknown("chart", url));
    }
    let of_it = entries.find(|entry| chart.sha256.as_deref() == Some(&entry.digest.hex()));
    let Some(entry) = of_it else { return Some(differs("chart", url)) };
    lock.doubt_of(entry, &Nobody).map(|why| format!("of the chart `{}`: {why}", url.escape_debug()))
}

fn file_problem(file: &Item, lock: &AirgapLock) -> Option<String> {
    let url = file.source.as_deref()?;
    let Some(entry) = lock.files.get(url) else { return Some(unknown("file", url)) };
    if !is_archive(url) && file.sha256.as_deref() != Some(&entry.sha256.hex()) {
        return Some(differs("file", url));
    }
    doubted("file", url, entry)
}

fn image_problem(image: &Image, lock: &AirgapLock) -> Option<String> {
    let source = image.source.as_deref()?;
    let of_it = |key: &str| key.strip_prefix(source).is_some_and(|rest| rest.starts_with(' '));
    let mut entries = lock.images.iter().filter(|(key, _)| of_it(key)).peekable();
    if entries.peek().is_none() {
        return Some(unknown("image", source));
    }
    let is_it = |digest: &base::digest::Digest| digest.to_string() == image.digest;
    let found = entries.find(|(_, entry)| is_it(&entry.manifest) || entry.index.as_ref().is_some_and(is_it));
    found.map_or_else(|| Some(differs("image", source)), |(_, entry)| doubted("image", source, entry))
}

fn repository_problem(repository: &Repository, lock: &AirgapLock) -> Option<String> {
    let (commit, source) = (repository.commit.as_deref()?, repository.source.as_str());
    let of_it = |key: &str| {
        let rest = key.split(' ').next().and_then(|url| source.strip_prefix(url));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
    };
    let mut entries = lock.repositories.iter().filter(|(key, _)| of_it(key)).peekable();
    if entries.peek().is_none() {
        return Some(unknown("repository", source));
    }
    let found = entries.find(|(_, entry)| entry.commit == commit);
    found.map_or_else(|| Some(differs("repository", source)), |(_, entry)| doubted("repository", source, entry))
}

fn unknown(kind: &str, address: &str) -> String {
    format!("airgap.lock says nothing of the {kind} `{}`", address.escape_debug())
}

fn differs(kind: &str, address: &str) -> String {
    format!("the {kind} `{}` is not what airgap.lock says", address.escape_debug())
}

fn doubted(kind: &str, address: &str, entry: &impl Statement) -> Option<String> {
    (!entry.is_vouched()).then(|| format!("of the {kind} `{}`: {NO_BUILD}", address.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;
    use config::airgap_lock::{LockedChart, LockedFile, LockedImage, LockedRepository};
    use config::core_plugins::CHARTS;

    fn manifest() -> ArtifactManifest {
        let item = |source: &str, content: &str| {
            serde_json::json!({ "component": "c", "path": "p", "size": 1, "source": source,
                "sha256": Digest::of(content.as_bytes()).hex() })
        };
        serde_json::from_value(serde_json::json!({
            "format": 1, "package": { "file": "p", "sha256": "x", "size": 1 },
            "charts": [item("https://h/c.tgz", "chart"), item("./local", "local")],
            "files": [item("https://h/yq", "yq"), item("https://h/helm.tar.gz", "taken out of it")],
            "images": [{ "reference": "docker.io/library/nginx:1", "source": "nginx:1", "digest": Digest::of(b"i").to_string() }],
            "repositories": [{ "source": "https://h/r.git@v1", "commit": "0".repeat(40), "component": "c", "path": "p", "files": 1, "size": 1 }],
        }))
        .unwrap()
    }

    fn lock() -> AirgapLock {
        let build = Some("1".to_owned());
        let file = |text: &str| LockedFile {
            sha256: Digest::of(text.as_bytes()),
            size: 1,
            checksum: None,
            build: build.clone(),
        };
        let mut lock = AirgapLock::default();
        lock.files.insert("https://h/yq".into(), file("yq"));
        lock.files.insert("https://h/helm.tar.gz".into(), file("the archive"));
        let (url, digest) = ("https://h/c.tgz".to_owned(), Digest::of(b"chart"));
        lock.core.entry(CHARTS.into()).or_default().insert(url.clone(), file("chart"));
        lock.charts
            .insert("r c 1".into(), LockedChart { version: "1".into(), url, digest, by: None, build: build.clone() });
        let image = serde_json::json!({ "manifest": Digest::of(b"i"), "media_type": "m", "size": 1,
            "config": { "digest": Digest::of(b"c"), "size": 1 } });
        let image: LockedImage = serde_json::from_value(image).unwrap();
        lock.images.insert("nginx:1 linux/amd64".into(), LockedImage { build: build.clone(), ..image });
        let repository = LockedRepository { commit: "0".repeat(40), reference: None, tag: None, build };
        lock.repositories.insert("https://h/r.git v1".into(), repository);
        lock
    }

    fn found(lock: &AirgapLock) -> Vec<String> {
        let (mut problems, mut remarks) = (Problems::default(), Vec::new());
        check(&manifest(), lock, &mut problems, &mut remarks);
        problems.listed.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn what_is_planted_foreign_or_unfetched_is_found() {
        assert_eq!(found(&lock()), Vec::<String>::new());
        let changed = |change: fn(&mut AirgapLock)| {
            let mut lock = lock();
            change(&mut lock);
            found(&lock).join("; ")
        };
        for (change, says) in [
            (
                (|lock| lock.files.get_mut("https://h/yq").unwrap().sha256 = Digest::of(b"planted"))
                    as fn(&mut AirgapLock),
                "the file `https://h/yq` is not what",
            ),
            (|lock| drop(lock.files.remove("https://h/yq")), "says nothing of the file `https://h/yq`"),
            (|lock| drop(lock.files.remove("https://h/helm.tar.gz")), "says nothing of the file"),
            (|lock| lock.files.get_mut("https://h/yq").unwrap().build = None, "does not say in which build"),
            (|lock| lock.charts.values_mut().for_each(|chart| chart.build = None), "of the chart `https://h/c.tgz`"),
            (|lock| lock.charts.values_mut().for_each(|chart| chart.url.push('x')), "says nothing of the chart"),
            (|lock| lock.charts.values_mut().for_each(|chart| chart.digest = Digest::of(b"x")), "is not what"),
            (|lock| lock.core.clear(), "does not say that its address gave this to the core plugin charts"),
            (|lock| lock.images.clear(), "says nothing of the image `nginx:1`"),
            (|lock| lock.images.values_mut().for_each(|image| image.manifest = Digest::of(b"x")), "is not what"),
            (
                |lock| lock.images.values_mut().for_each(|image| image.build = None),
                "of the image `nginx:1`: airgap.lock",
            ),
            (
                |lock| lock.repositories.values_mut().for_each(|entry| entry.build = None),
                "of the repository `https://h/r.git@v1`",
            ),
            (|lock| lock.repositories.values_mut().for_each(|entry| entry.commit = "1".repeat(40)), "is not what"),
            // The same commit of another repository is another thing.
            (
                |lock| {
                    let entry = lock.repositories.pop_first().unwrap().1;
                    lock.repositories.insert("https://h/other.git v1".into(), entry);
                },
                "says nothing of the repository",
            ),
        ] {
            assert!(changed(change).contains(says), "{says}: {}", changed(change));
        }
    }
}
