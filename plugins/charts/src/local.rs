//! A chart directory of the project, packaged as `helm package` would, with
//! its `file://` dependencies inside.

use std::collections::BTreeMap;

use image_finder::yaml::{self, Node};

use crate::archive::{self, Dependency, dependency};
use crate::ignore::Rules;
use components::version::{Constraint, Version};

/// Of all files of a chart directory.
const TOTAL_LIMIT: u64 = 64 << 20;
const DEPTH_LIMIT: usize = 8;

/// A local directory that the host handed in.
pub trait Files {
    /// Every entry, sorted by path.
    ///
    /// # Errors
    /// A fragment.
    fn list(&self) -> Result<Vec<File>, String>;

    /// A whole file.
    ///
    /// # Errors
    /// A fragment.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String>;
}

/// An entry that is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative, `/`-separated.
    pub path: String,
    pub size: u64,
    /// Where a symlink points.
    pub link: Option<String>,
}

/// Finds the local directory at a path relative to the project.
pub type Find<'a> = dyn Fn(&str) -> Option<Box<dyn Files + 'a>> + 'a;

/// Packages the chart at `location`.
///
/// # Errors
/// A fragment that names the file or dependency.
pub fn package(location: &str, find: &Find<'_>) -> Result<Vec<u8>, String> {
    let (name, files) = gather(location, find, 0)?;
    archive::write(&name, &files)
}

/// The chart's name and its files, dependencies included.
fn gather(location: &str, find: &Find<'_>, depth: usize) -> Result<(String, BTreeMap<String, Vec<u8>>), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("its file dependencies are nested deeper than {DEPTH_LIMIT} levels, or go in a circle"));
    }
    let tree = find(location).ok_or_else(|| format!("the directory `{location}` is not there"))?;
    let mut files = read_all(&*tree)?;
    let about = files.get("Chart.yaml").ok_or_else(|| format!("`{location}` has no Chart.yaml"))?;
    let about = parsed("Chart.yaml", about)?;
    let name = about.text_of("name").ok_or_else(|| format!("`{location}/Chart.yaml` has no name"))?.to_owned();
    let old = files.get("requirements.yaml").map(|bytes| parsed("requirements.yaml", bytes)).transpose()?;
    let listed = about.get("dependencies").or_else(|| old.as_ref()?.get("dependencies"));
    let dependencies: Vec<_> = listed.map_or(&[][..], Node::items).iter().filter_map(dependency).collect();
    for dependency in dependencies {
        if !is_vendored(&dependency.name, &files) {
            vendor(location, &dependency, find, depth, &mut files)?;
        }
    }
    Ok((name, files))
}

fn parsed(name: &str, bytes: &[u8]) -> Result<Node, String> {
    let text = str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    yaml::parse(text).map_err(|error| format!("{name} is not YAML: {error}"))
}

/// `charts/<name>/` or `charts/<name>-<version>.tgz`.
fn is_vendored(name: &str, files: &BTreeMap<String, Vec<u8>>) -> bool {
    files.keys().any(|path| {
        let inner = path.strip_prefix("charts/").and_then(|path| path.strip_prefix(name));
        inner.is_some_and(|rest| {
            let version = rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".tgz"));
            rest.starts_with('/') || version.is_some_and(|version| Version::parse(version).is_some())
        })
    })
}

/// Puts a `file://` dependency into `charts/`.
fn vendor(
    location: &str,
    dependency: &Dependency,
    find: &Find<'_>,
    depth: usize,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), String> {
    let Dependency { name, version, repository, .. } = dependency;
    let Some(path) = repository.strip_prefix("file://") else {
        let place = if repository.is_empty() { "no repository".to_owned() } else { format!("`{repository}`") };
        return Err(format!(
            "its dependency `{name}` ({place}) is not in `{location}/charts`: run `helm dependency build {location}`"
        ));
    };
    let sibling = joined(location, path);
    let (found, inner) = gather(&sibling, find, depth + 1).map_err(|why| format!("its dependency `{name}`: {why}"))?;
    if found != *name {
        return Err(format!("its dependency `{name}`: `{sibling}` is the chart `{found}`"));
    }
    let about = inner.get("Chart.yaml").map(|bytes| parsed("Chart.yaml", bytes)).transpose()?;
    let actual = about.as_ref().and_then(|about| about.text_of("version")).unwrap_or_default();
    let fits = version.is_empty()
        || Constraint::parse(version).zip(Version::parse(actual)).is_some_and(|(wanted, actual)| wanted.fits(&actual));
    if !fits {
        return Err(format!("its dependency `{name}` wants version {version}, but `{sibling}` is {actual}"));
    }
    files.extend(inner.into_iter().map(|(path, content)| (format!("charts/{name}/{path}"), content)));
    Ok(())
}

/// Everything that `.helmignore` leaves.
fn read_all(tree: &dyn Files) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let listed = tree.list()?;
    let rules = match listed.iter().find(|file| file.path == ".helmignore") {
        Some(file) => tree.read(&file.path, 1 << 20)?,
        None => Vec::new(),
    };
    let rules = Rules::parse(&String::from_utf8_lossy(&rules)).map_err(|why| format!(".helmignore, {why}"))?;
    let mut files = BTreeMap::new();
    let mut total = 0;
    for file in listed.iter().filter(|file| !rules.excludes_file(&file.path)) {
        let source = followed(file, &listed)?;
        total += source.size;
        if total > TOTAL_LIMIT {
            return Err(format!("it holds more than {} MiB; exclude files with .helmignore", TOTAL_LIMIT >> 20));
        }
        files.insert(file.path.clone(), tree.read(&source.path, TOTAL_LIMIT)?);
    }
    Ok(files)
}

/// Helm follows symlinks; here they may not lead out of the chart.
fn followed<'a>(file: &'a File, listed: &'a [File]) -> Result<&'a File, String> {
    let mut at = file;
    for _ in 0..DEPTH_LIMIT {
        let Some(target) = &at.link else { return Ok(at) };
        let folder = at.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = joined(folder, target);
        let next = listed.iter().find(|file| file.path == path && !target.starts_with('/'));
        at = next.ok_or_else(|| {
            format!("the symlink `{}` points to `{target}`, which is no file of the chart", file.path)
        })?;
    }
    Err(format!("the symlink `{}` goes in a circle", file.path))
}

/// `path` from `folder`, with `.` and `..` resolved as far as they go.
pub fn joined(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') || folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let root = if whole.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A directory in memory.
    #[derive(Clone, Default)]
    pub struct Memory(pub BTreeMap<String, String>);

    impl Memory {
        pub fn of(files: &[(&str, &str)]) -> Self {
            Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
        }
    }

    impl Files for Memory {
        fn list(&self) -> Result<Vec<File>, String> {
            let file = |(path, text): (&String, &String)| File {
                path: path.clone(),
                size: text.len() as u64,
                link: text.strip_prefix("link:").map(str::to_owned),
            };
            Ok(self.0.iter().map(file).collect())
        }

        fn read(&self, path: &str, _: u64) -> Result<Vec<u8>, String> {
            self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| "gone".to_owned())
        }
    }

    fn run(trees: &[(&str, Memory)]) -> Result<Vec<u8>, String> {
        let find = |path: &str| -> Option<Box<dyn Files>> {
            let tree = trees.iter().find(|(name, _)| *name == path)?.1.clone();
            Some(Box::new(tree))
        };
        package("charts/app", &find)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    const COMMON: &[(&str, &str)] = &[("Chart.yaml", "name: common\nversion: 1.2.0\n"), ("templates/_x.tpl", "x")];

    #[test]
    fn ignored_files_stay_out_and_dependencies_come_in() {
        let app = Memory::of(&[
            (
                "Chart.yaml",
                "name: app\nversion: 1.0.0\ndependencies:\n- {name: common, version: ^1.0, repository: \"file://../common\"}\n",
            ),
            ("values.yaml", "a: 1\n"),
            (".helmignore", "# ours\nci/\n*.bak\n.git/\n"),
            ("ci/test.yaml", "x"),
            ("templates/a.yaml", "x"),
            ("templates/a.yaml.bak", "x"),
            ("files/link.yaml", "link:../values.yaml"),
        ]);
        let bytes = run(&[("charts/app", app.clone()), ("charts/common", Memory::of(COMMON))]).unwrap();
        assert_eq!(
            names(&bytes),
            [
                "app/.helmignore",
                "app/Chart.yaml",
                "app/charts/common/Chart.yaml",
                "app/charts/common/templates/_x.tpl",
                "app/files/link.yaml",
                "app/templates/a.yaml",
                "app/values.yaml",
            ]
        );
        assert_eq!(archive::load(&bytes).unwrap().subcharts[0].name, "common");
        assert_eq!(bytes, run(&[("charts/app", app), ("charts/common", Memory::of(COMMON))]).unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        let app = |dependency: &str| {
            Memory::of(&[("Chart.yaml", &format!("name: app\nversion: 1.0.0\ndependencies: [{dependency}]\n"))])
        };
        let file = "{name: common, version: ^2, repository: \"file://../common\"}";
        let common = ("charts/common", Memory::of(COMMON));
        assert!(run(&[("charts/app", app(file))]).unwrap_err().contains("`charts/common` is not there"));
        assert!(run(&[("charts/app", app(file)), common]).unwrap_err().contains("is 1.2.0"));
        let remote = "{name: redis, version: ^2, repository: \"https://h\"}";
        assert!(run(&[("charts/app", app(remote))]).unwrap_err().contains("helm dependency build"));
        let vendored = Memory::of(&[
            ("Chart.yaml", &format!("name: app\nversion: 1.0.0\ndependencies: [{remote}]\n")),
            ("charts/redis-2.0.1.tgz", "packed"),
        ]);
        assert!(run(&[("charts/app", vendored)]).is_ok());
        let circle = "{name: app, version: 1, repository: \"file://../app\"}";
        assert!(run(&[("charts/app", app(circle))]).unwrap_err().contains("circle"));
        let out = Memory::of(&[("Chart.yaml", "name: app\nversion: 1.0.0\n"), ("x", "link:../../etc/passwd")]);
        assert!(run(&[("charts/app", out)]).unwrap_err().contains("no file of the chart"));
        assert!(run(&[]).is_err());
    }

    #[test]
    fn paths_are_joined() {
        for (folder, path, expected) in [
            ("charts/app", "../common", "charts/common"),
            ("./charts/app/", "./x", "charts/app/x"),
            ("app", "../../x", "../x"),
            ("app", "/srv/x", "/srv/x"),
            ("/srv/app", "../x", "/srv/x"),
        ] {
            assert_eq!(joined(folder, path), expected);
        }
    }
}
