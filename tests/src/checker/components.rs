//! The component tars: for everything that zarf.yaml lists there is a file at
//! exactly the place where the deployment looks for it, and there is nothing
//! else. Charts are opened as Helm opens them.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::definition::{Package, list, strings, text};
use super::tarball::{self, Kind, Member};
use super::{Files, Findings, checksums, entries, repositories};

pub(super) fn check(files: &Files<'_>, package: &Package, findings: &mut Findings) {
    let mut known = BTreeSet::new();
    for component in package.components() {
        let name = text(component, "name");
        let path = format!("components/{name}.tar");
        let expected = expected(component, findings);
        match files.get(path.as_str()) {
            None if expected.is_empty() => {}
            None => findings.add("component", format!("`{path}` is missing and should hold {} items", expected.len())),
            Some(_) if expected.is_empty() => {
                findings.add("component", format!("`{path}` is there, and component `{name}` has no content"));
            }
            Some(tar) => check_tar(&path, tar, component, &expected, findings),
        }
        known.insert(path);
    }
    for path in files.keys().filter(|path| path.starts_with("components/") && !known.contains(**path)) {
        findings.add("component", format!("`{path}` belongs to no component"));
    }
}

/// Something that must lie in a component tar.
struct Expected {
    path: String,
    /// May be a folder with anything in it.
    tree: bool,
    /// Lowercase hexadecimal sha256.
    sha256: Option<String>,
}

fn expected(component: &Value, findings: &mut Findings) -> Vec<Expected> {
    let name = text(component, "name");
    let mut all = Vec::new();
    let mut add = |path: String, tree: bool| {
        all.push(Expected { path: format!("{name}/{path}"), tree, sha256: None });
    };
    for chart in list(component, "charts") {
        let (chart_name, version) = (text(chart, "name"), text(chart, "version"));
        let stem = if version.is_empty() { chart_name.to_owned() } else { format!("{chart_name}-{version}") };
        add(format!("charts/{stem}.tgz"), false);
        for index in 0..list(chart, "valuesFiles").len() + list(chart, "templatedValuesFiles").len() {
            add(format!("values/{stem}-{index}"), false);
        }
    }
    for manifest in list(component, "manifests") {
        for index in 0..list(manifest, "files").len() {
            add(format!("manifests/{}-{index}.yaml", text(manifest, "name")), false);
        }
        for index in 0..list(manifest, "kustomizations").len() {
            add(format!("manifests/kustomization-{}-{index}.yaml", text(manifest, "name")), false);
        }
    }
    for (index, injection) in list(component, "dataInjections").iter().enumerate() {
        let target = injection.get("target").map_or("", |target| text(target, "path"));
        add(format!("data/{index}/{}", base(target)), true);
    }
    for url in strings(component, "repos") {
        match repository_folder(url) {
            Some(folder) => add(format!("repos/{folder}"), true),
            None => findings.add("repository", format!("`{url}` is not a repository URL")),
        }
    }
    for (index, file) in list(component, "files").iter().enumerate() {
        let sha256 = Some(text(file, "shasum").to_owned()).filter(|sum| !sum.is_empty());
        let path = format!("{name}/files/{index}/{}", base(text(file, "target")));
        all.push(Expected { path, tree: sha256.is_none(), sha256 });
    }
    all
}

fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn check_tar(path: &str, tar: &[u8], component: &Value, expected: &[Expected], findings: &mut Findings) {
    let members = match tarball::read(tar) {
        Ok(members) => members,
        Err(why) => return findings.add("component", format!("`{path}` {why}")),
    };
    entries::check(path, &members, findings);
    for Expected { path: wanted, tree, sha256 } in expected {
        let inside = format!("{wanted}/");
        let file = members.iter().find(|member| member.kind == Kind::File && member.path == *wanted);
        let folder = *tree && members.iter().any(|member| member.path.starts_with(&inside));
        match (file, sha256) {
            (None, _) if !folder => findings.add("component", format!("`{wanted}` is missing in `{path}`")),
            (Some(member), Some(sha256)) if checksums::sha256(member.content) != *sha256 => {
                findings.add("shasum", format!("`{wanted}` in `{path}` differs from its shasum {sha256}"));
            }
            _ => {}
        }
    }
    check_nothing_else(path, &members, expected, findings);
    check_executables(path, &members, component, findings);
    check_charts(&members, component, findings);
    for Expected { path: wanted, .. } in expected.iter().filter(|expected| expected.path.contains("/repos/")) {
        repositories::check(wanted, &members, findings);
    }
}

fn check_nothing_else(path: &str, members: &[Member<'_>], expected: &[Expected], findings: &mut Findings) {
    for member in members.iter().filter(|member| member.kind == Kind::File) {
        let wanted = expected.iter().any(|Expected { path, tree, .. }| {
            let vouches = path.ends_with(".tgz") && member.path == format!("{path}.prov");
            member.path == *path || vouches || (*tree && member.path.starts_with(&format!("{path}/")))
        });
        if !wanted {
            findings.add("component", format!("`{}` in `{path}` is in no list of zarf.yaml", member.path));
        }
    }
}

/// The deployment keeps the stored mode.
fn check_executables(path: &str, members: &[Member<'_>], component: &Value, findings: &mut Findings) {
    for (index, file) in list(component, "files").iter().enumerate() {
        let wanted = format!("{}/files/{index}/{}", text(component, "name"), base(text(file, "target")));
        let executable = file.get("executable") == Some(&Value::Bool(true));
        let found = members.iter().find(|member| member.kind == Kind::File && member.path == wanted);
        if executable && found.is_some_and(|member| member.mode & 0o100 == 0) {
            findings.add("mode", format!("`{wanted}` in `{path}` is not executable"));
        }
    }
}

/// The deployment hands each archive to Helm's loader.
fn check_charts(members: &[Member<'_>], component: &Value, findings: &mut Findings) {
    for chart in list(component, "charts") {
        let (name, version) = (text(chart, "name"), text(chart, "version"));
        let stem = if version.is_empty() { name.to_owned() } else { format!("{name}-{version}") };
        let path = format!("{}/charts/{stem}.tgz", text(component, "name"));
        let Some(archive) = members.iter().find(|member| member.kind == Kind::File && member.path == path) else {
            continue;
        };
        match chart_description(archive.content) {
            Err(why) => findings.add("chart", format!("`{path}` {why}")),
            Ok(description) => {
                let of = |key: &str| text(&description, key).to_owned();
                if of("name").is_empty() || !matches!(of("apiVersion").as_str(), "v1" | "v2") {
                    findings.add("chart", format!("`{path}` has a Chart.yaml without a name or an apiVersion"));
                }
                let plain = |version: &str| version.trim_start_matches('v').to_owned();
                if !version.is_empty() && plain(&of("version")) != plain(version) {
                    findings.add("chart", format!("`{path}` holds version `{}`", of("version")));
                }
            }
        }
    }
}

/// Chart.yaml of a chart's archive: in its one folder, whose name is free.
fn chart_description(archive: &[u8]) -> Result<Value, String> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(archive));
    let bad = |error: std::io::Error| format!("is not an archive that can be read: {error}");
    let mut description = None;
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.display().to_string();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).map_err(bad)?;
        match path.trim_start_matches("./").split('/').collect::<Vec<_>>()[..] {
            [_, "Chart.yaml"] => description = Some(content),
            [_, ..] if path.starts_with('/') || path.split('/').any(|part| part == "..") => {
                return Err(format!("holds `{path}`, which leads out of it"));
            }
            _ => {}
        }
    }
    let description = description.ok_or("has no Chart.yaml in its folder")?;
    serde_yaml::from_slice(&description).map_err(|error| format!("has a Chart.yaml that is no YAML: {error}"))
}

/// `<name>-<crc32>`: the name without `.git`, and the CRC-32 of the URL.
pub(super) fn repository_folder(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let path = match path.rfind('@') {
        Some(at) => &path[..at],
        None => path,
    };
    let name = path.rsplit('/').next()?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let mut crc = flate2::Crc::new();
    crc.update(url.as_bytes());
    (!name.is_empty()).then(|| format!("{name}-{}", crc.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_repositories_are_those_of_zarf() {
        for (url, folder) in [
            ("https://github.com/zarf-dev/zarf.git", "zarf-3457133088"),
            ("https://github.com/zarf-dev/zarf.git@refs/tags/v0.16.0", "zarf-2360044954"),
            ("ssh://ghcr.io/stefanprodan/podinfo@6.0.0", "podinfo-1350532569"),
        ] {
            assert_eq!(repository_folder(url).as_deref(), Some(folder));
        }
    }
}
