//! Component tars: what zarf.yaml lists lies where the deployment looks for
//! it, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use model::zarf::{self, Component, RepositoryUrl};

use super::facts::{Facts, Member};
use super::package::Package;
use super::{Problems, charts};

pub(super) fn check(facts: &mut Facts, package: &Package, problems: &mut Problems) {
    let mut known = BTreeSet::new();
    for component in package.components() {
        let tar = format!("components/{}.tar", component.name);
        let wanted = wanted(component, problems);
        check_contents(facts, component, problems);
        match facts.components.get(&tar) {
            Some(members) => check_members(&tar, members, &wanted, problems),
            None if wanted.is_empty() => {}
            None if facts.complete => problems.add_for("missing", &tar, "is not in the package"),
            None => {}
        }
        known.insert(tar);
    }
    for tar in facts.components.keys().filter(|tar| !known.contains(*tar)) {
        problems.add_for("component", tar, "belongs to no component of zarf.yaml");
    }
}

/// What is inside of the charts and repositories that are there.
fn check_contents(facts: &mut Facts, component: &Component, problems: &mut Problems) {
    for chart in &component.charts {
        let path = format!("{}/charts/{}.tgz", component.name, chart.stem());
        let wrong = match facts.charts.get(&path) {
            Some(Ok(description)) => charts::check(description, chart),
            Some(Err(why)) => Some(why.clone()),
            None => None,
        };
        wrong.into_iter().for_each(|why| problems.add_for("chart", &path, why));
    }
    let members = facts.components.get(&format!("components/{}.tar", component.name));
    for folder in component.repos.iter().filter_map(|url| RepositoryUrl::folder(url)) {
        let path = format!("{}/repos/{folder}", component.name);
        if members.is_some_and(|members| below(members, &path).next().is_some()) {
            let repository = facts.repositories.entry(path.clone()).or_default();
            repository.check().iter().for_each(|why| problems.add_for("repository", &path, why));
        }
    }
}

/// Something that a component tar must hold.
struct ExpectedMember {
    path: String,
    /// A folder will do.
    folder: bool,
    sha256: String,
    executable: bool,
}

fn wanted(component: &Component, problems: &mut Problems) -> Vec<ExpectedMember> {
    let mut all = Vec::new();
    let mut add = |path: String, folder: bool| {
        let path = format!("{}/{path}", component.name);
        all.push(ExpectedMember { path, folder, sha256: String::new(), executable: false });
    };
    for chart in &component.charts {
        let stem = chart.stem();
        add(format!("charts/{stem}.tgz"), false);
        for index in 0..chart.values_files.len() + chart.templated_values_files.len() {
            add(format!("values/{stem}-{index}"), false);
        }
    }
    for manifest in &component.manifests {
        (0..manifest.files.len()).for_each(|index| add(format!("manifests/{}-{index}.yaml", manifest.name), false));
        (0..manifest.kustomizations.len())
            .for_each(|index| add(format!("manifests/kustomization-{}-{index}.yaml", manifest.name), false));
    }
    for (index, injection) in component.data_injections.iter().enumerate() {
        add(format!("data/{index}/{}", zarf::base_name(&injection.target.path)), true);
    }
    for url in &component.repos {
        match RepositoryUrl::folder(url) {
            Some(folder) => add(format!("repos/{folder}"), true),
            None => problems.add_for("definition", "zarf.yaml", format!("names `{url}`, which is no repository URL")),
        }
    }
    for (index, file) in component.files.iter().enumerate() {
        all.push(ExpectedMember {
            path: format!("{}/files/{index}/{}", component.name, zarf::base_name(&file.target)),
            folder: true,
            sha256: comparable(&file.shasum).to_owned(),
            executable: file.executable,
        });
    }
    all
}

/// The digits of a SHA-256. Others are not compared: every file is, with
/// checksums.txt.
fn comparable(checksum: &str) -> &str {
    match checksum.split_once(':') {
        Some(("sha256", hex)) => hex,
        Some(_) => "",
        None => checksum,
    }
}

fn check_members(tar: &str, members: &BTreeMap<String, Member>, wanted: &[ExpectedMember], problems: &mut Problems) {
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for item in wanted {
        let ExpectedMember { path, folder, sha256, executable } = item;
        let is_folder = *folder && below(members, path).next().is_some();
        match members.get(path) {
            None if is_folder => drop(folders.insert(path.as_str())),
            None => problems.add_for("missing", path, format!("is not in `{tar}`")),
            Some(member) => {
                files.insert(path.as_str());
                check_file(tar, path, member, sha256, *executable, problems);
            }
        }
    }
    let in_folder = |path: &str| path.match_indices('/').any(|(at, _)| folders.contains(&path[..at]));
    // What vouches for a chart may lie beside it.
    let vouches = |path: &str| path.strip_suffix(".prov").is_some_and(|of| of.ends_with(".tgz") && files.contains(of));
    let is_known = |path: &str| files.contains(path) || in_folder(path) || vouches(path);
    for path in members.keys().filter(|path| !is_known(path)) {
        problems.add_for("extra-file", path, format!("is in `{tar}` and in no list of zarf.yaml"));
    }
}

fn check_file(tar: &str, path: &str, member: &Member, sha256: &str, executable: bool, problems: &mut Problems) {
    if let (false, Some(digest)) = (sha256.is_empty(), member.digest)
        && digest.hex() != sha256
    {
        problems.add_for(
            "shasum",
            path,
            format!("in `{tar}` has the sha256 {}, zarf.yaml says {sha256}", digest.hex()),
        );
    }
    if executable && member.mode & 0o100 == 0 {
        problems.add_for("mode", path, format!("in `{tar}` is not executable"));
    }
}

/// The members below a folder.
pub(crate) fn below<'a>(
    members: &'a BTreeMap<String, Member>,
    folder: &str,
) -> impl Iterator<Item = (&'a String, &'a Member)> + use<'a> {
    let start = format!("{folder}/");
    let from = members.range(start.clone()..);
    from.take_while(move |(path, _)| path.starts_with(&start))
}
