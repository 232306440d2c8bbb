//! Local paths that the configuration names: chart directories and values
//! files. They are relative to the folder that holds config/, and stay in it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::ComponentManifest;
use model::problem::{Problem, YamlPath, shown};

use super::hidden::Hidden;
use super::skeleton_path;
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use base::layout::Layout;
use disk::tree::DEPTH;

/// Files in one local directory.
const FILES: usize = 50_000;
/// Charts that one local chart takes in.
const CHARTS: usize = 100;
/// Bytes of a Chart.yaml.
const CHART_BYTES: u64 = 1 << 20;
/// Links that one path leads through, as in Linux.
const LINKS: usize = 40;
/// Bytes of a local file that are read at a time.
const PIECE: usize = 1 << 20;

/// Whether a chart's `repo` is a local directory.
pub fn is_local(repo: &str) -> bool {
    repo == "." || repo == ".." || repo.starts_with("./") || repo.starts_with("../") || repo.starts_with('/')
}

/// What is wrong with a local path.
pub fn problem(written: &str, path: &YamlPath) -> Option<Problem> {
    let problem = |why: &str, hint: &str| Some(Problem::new(path, format!("`{}` {why}", shown(written)), hint));
    if written.contains("://") {
        return problem("is a URL; only local files are taken here", "download it and name the local file");
    }
    if written.starts_with('/') {
        return problem(
            "is absolute",
            "write it relative to the folder that holds config/, so that it is the same everywhere",
        );
    }
    if written.contains('\\') || written.chars().any(char::is_control) {
        return problem("contains a backslash or a control character", "separate folders by `/`");
    }
    if written.split('/').any(|part| part == "..") {
        return problem(
            "leaves the project",
            "copy it into the folder that holds config/, so that it can be committed with it",
        );
    }
    if written.trim_matches(['.', '/']).is_empty() {
        return problem("names no file", "write a path such as ./charts/name");
    }
    None
}

/// Where a written path lies: below the folder that holds config/. A leading
/// `config/` means the configuration folder, whatever it is called, and
/// [`skeleton_path::AT`] that of the skeletons.
pub fn resolve(layout: &Layout, root: &Path, written: &str) -> PathBuf {
    if let Some(below) = skeleton_path::below(written) {
        return layout.imports().join(below);
    }
    let relative = written.trim_start_matches("./");
    match relative.strip_prefix("config/") {
        Some(inside) => layout.config.join(inside),
        None => root.join(relative),
    }
}

/// Every local path of a manifest, with its place, in the order of the file.
pub fn paths(manifest: &ComponentManifest) -> Vec<(YamlPath, String)> {
    let mut paths: Vec<(YamlPath, String)> = Vec::new();
    for (index, chart) in manifest.charts.iter().enumerate() {
        let place = YamlPath::root().key("charts").index(index);
        if is_local(&chart.repo) {
            paths.push((place.key("repo"), chart.repo.clone()));
        }
        let values = chart.values.iter().enumerate();
        paths.extend(values.map(|(number, file)| (place.key("values").index(number), file.clone())));
    }
    paths
}

/// The directories that the local chart at `written` takes in by `file://`
/// dependencies, and those that they take in, as if they were written in the
/// manifest too. What leaves the project, or the skeleton that the chart is of, or
/// is not there is left out: whoever packages the chart names it.
///
/// # Errors
/// `local` where a description cannot be read.
pub fn dependencies(layout: &Layout, root: &Path, written: &str) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut open = vec![written.to_owned()];
    while let Some(chart) = open.pop() {
        for repository in repositories(&resolve(layout, root, &chart))? {
            let Some(path) = repository.strip_prefix("file://") else { continue };
            let Some(path) = joined(&chart, path).filter(|path| resolve(layout, root, path).is_dir()) else { continue };
            if skeleton_path::skeleton_of(&path) != skeleton_path::skeleton_of(written) {
                continue;
            }
            if path != written && !found.contains(&path) && found.len() < CHARTS {
                found.push(path.clone());
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `repository` of every dependency in Chart.yaml and, for old charts,
/// requirements.yaml.
fn repositories(chart: &Path) -> Result<Vec<String>> {
    let mut repositories = Vec::new();
    for name in ["Chart.yaml", "requirements.yaml"] {
        let path = chart.join(name);
        let Some(bytes) = path.is_file().then(|| disk::fs::read_optional(&path, CHART_BYTES)).transpose()?.flatten()
        else {
            continue;
        };
        let description: serde_yaml::Value = serde_yaml::from_slice(&bytes).unwrap_or_default();
        let rows = description.get("dependencies").and_then(|rows| rows.as_sequence()).into_iter().flatten();
        repositories.extend(rows.filter_map(|row| Some(row.get("repository")?.as_str()?.to_owned())));
    }
    Ok(repositories)
}

/// `path` seen from the folder `from`; none where it leaves the project.
fn joined(from: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| format!("./{}", parts.join("/")))
}

/// What a local path held when it was read: every name with what it was.
#[derive(Clone, Debug)]
pub struct Content {
    /// Where it lies; canonical, where it is in the project.
    root: PathBuf,
    /// By path below the root; the root itself is the empty path.
    entries: BTreeMap<String, LocalEntry>,
    digest: Digest,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalEntry {
    /// A regular file.
    File {
        /// Of its content.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory, whatever is in it.
    Directory,
    /// A symbolic link inside the tree.
    Link {
        /// What it points to, as it is written in the link.
        target: String,
    },
}

impl Content {
    /// Reads everything that a written path leads to; what is hidden from
    /// whoever is handed it counts for nothing. Where the path itself is a link,
    /// what it leads to counts, as it does for the step that reads it; of a link
    /// inside a chart the target's name counts, because the target is in the
    /// chart as well or is not read at all.
    ///
    /// # Errors
    /// `local` where something cannot be read, `configuration` where it is too
    /// much or has a name that is not UTF-8.
    pub fn read(layout: &Layout, root: &Path, written: &str) -> Result<Self> {
        let path = resolve(layout, root, written);
        Self::of(followed(layout, root, path), &Hidden::of(layout))
    }

    pub(crate) fn of(root: PathBuf, hidden: &Hidden) -> Result<Self> {
        let mut hasher = Hasher::new();
        let mut entries = BTreeMap::new();
        add(&root, hidden, &mut hasher, &mut entries)?;
        Ok(Self { root, entries, digest: hasher.finish() })
    }

    /// Over names, kinds, lengths and content, in the order of the names.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where it lies on disk: the path that was read.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is one file.
    pub fn is_file(&self) -> bool {
        matches!(self.get(""), Some(LocalEntry::File { .. }))
    }

    /// The entry at a path below the root, `/` between its parts; the root itself is the empty
    /// path.
    pub fn get(&self, path: &str) -> Option<&LocalEntry> {
        self.entries.get(path)
    }

    /// Everything below the root, in the order of the names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &LocalEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry)).filter(|(path, _)| !path.is_empty())
    }

    /// The path of what `path` leads to by way of links; None where it leads to
    /// nothing that is in here.
    pub fn followed(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => drop(at.pop()?),
                _ => at.push(name),
            }
            let Some(LocalEntry::Link { target }) = self.get(&at.join("/")) else { continue };
            links += 1;
            if links > LINKS || target.starts_with('/') {
                return None;
            }
            at.pop();
            left.extend(target.split('/').rev().map(str::to_owned));
        }
        let found = at.join("/");
        self.entries.contains_key(&found).then_some(found)
    }
}

/// Where `path` leads to, as long as that is in the project: the rest is
/// refused by who reads it.
fn followed(layout: &Layout, root: &Path, path: PathBuf) -> PathBuf {
    let Ok(found) = path.canonicalize() else { return path };
    let is_inside = |folder: &Path| folder.canonicalize().is_ok_and(|folder| found.starts_with(folder));
    if is_inside(root) || is_inside(&layout.config) { found } else { path }
}

/// Everything at and below `path`, parents first and in the order of names;
/// what is still to come waits in a list.
fn add(path: &Path, hidden: &Hidden, hasher: &mut Hasher, entries: &mut BTreeMap<String, LocalEntry>) -> Result<()> {
    let mut pending = vec![(path.to_owned(), String::new())];
    while let Some((path, name)) = pending.pop() {
        check_size(&path, &name, entries.len() + 1)?;
        let kind = std::fs::symlink_metadata(&path).map_err(|source| Error::io("cannot read", &path, source))?;
        let entry = if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(|source| Error::io("cannot read", &path, source))?;
            part(hasher, b'l', &name, target.as_os_str().as_encoded_bytes());
            LocalEntry::Link { target: target.to_string_lossy().into_owned() }
        } else if kind.is_dir() {
            part(hasher, b'd', &name, b"");
            let below = children(&path)?.into_iter().rev().map(|child| (path.join(&child), child));
            let shown = below.filter(|(path, child)| !hidden.hides_entry(child, path));
            pending.extend(shown.map(|(path, child)| (path, format!("{name}/{child}"))));
            LocalEntry::Directory
        } else {
            let executable = kind.permissions().mode() & 0o100 != 0;
            let (digest, size) = add_file(&path, &name, hasher)?;
            LocalEntry::File { digest, size, executable }
        };
        entries.insert(name.trim_start_matches('/').to_owned(), entry);
    }
    Ok(())
}

fn check_size(path: &Path, name: &str, count: usize) -> Result<()> {
    if count > FILES {
        return Err(Error::configuration(format!("`{}` holds more than {FILES} files", path.display()))
            .hint("name the chart's own directory, not a folder above it"));
    }
    if name.matches('/').count() > DEPTH {
        return Err(Error::configuration(format!("`{}` is nested more than {DEPTH} deep", path.display()))
            .hint("name the chart's own directory, not a folder above it"));
    }
    Ok(())
}

fn children(path: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::io("cannot read", path, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.into_string().map_err(|name| {
            Error::configuration(format!("`{}` holds the name {name:?}, which is not UTF-8", path.display()))
                .hint("rename or remove the file: a package names its files in UTF-8")
        })?);
    }
    names.sort();
    Ok(names)
}

/// A file of any size: what it has is read piece by piece.
fn add_file(path: &Path, name: &str, hasher: &mut Hasher) -> Result<(Digest, u64)> {
    let failed = |source| Error::io("cannot read", path, source);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    head(hasher, b'f', name, size);
    let (mut own, mut read) = (Hasher::new(), 0);
    let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE).max(1))];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        read += count as u64;
        own.update(&piece[..count]);
        hasher.update(&piece[..count]);
    }
    if read != size {
        return Err(
            Error::local(format!("`{}` was written while it was read", path.display())).hint("run the command again")
        );
    }
    Ok((own.finish(), size))
}

/// What stands in front of a content: its kind, its name, and their lengths.
fn head(hasher: &mut Hasher, kind: u8, name: &str, size: u64) {
    hasher.update(&[kind]);
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&size.to_le_bytes());
}

/// One name with its content, both preceded by their lengths.
fn part(hasher: &mut Hasher, kind: u8, name: &str, content: &[u8]) {
    head(hasher, kind, name, content.len() as u64);
    hasher.update(content);
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay links")]
mod tests {
    use super::*;

    fn layout(project: &Path) -> Layout {
        Layout::new(project.join("config"), project.join("build"), project.join("dist"))
    }

    fn digest(layout: &Layout, root: &Path, written: &str) -> Digest {
        Content::read(layout, root, written).unwrap().digest()
    }

    #[test]
    fn what_was_read_is_known_by_name() {
        let project = tempfile::tempdir().unwrap();
        let at = |name: &str| project.path().join("chart").join(name);
        disk::fs::create_dir_all(&at("t/u")).unwrap();
        disk::fs::write_new(&at("a"), b"1").unwrap();
        disk::fs::write_new(&at("t/run"), b"22").unwrap();
        disk::fs::set_mode(&at("t/run"), 0o755).unwrap();
        for (name, target) in [
            ("in", "t/run"),
            ("t/up", "../a"),
            ("way", "t"),
            ("twice", "way/up"),
            ("out", "../../secret"),
            ("absolute", "/etc/hosts"),
            ("loop", "loop"),
        ] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        let content = Content::read(&layout(project.path()), project.path(), "./chart").unwrap();
        assert!(!content.is_file() && content.get("t") == Some(&LocalEntry::Directory));
        let run = LocalEntry::File { digest: Digest::of(b"22"), size: 2, executable: true };
        assert_eq!(content.get("t/run"), Some(&run));
        for (path, found) in [
            ("a", Some("a")),
            ("in", Some("t/run")),
            ("way/run", Some("t/run")),
            ("t/up", Some("a")),
            ("twice", Some("a")),
            ("out", None),
            ("absolute", None),
            ("loop", None),
            ("gone", None),
        ] {
            assert_eq!(content.followed(path).as_deref(), found, "{path}");
        }
        let file = Content::read(&layout(project.path()), project.path(), "./chart/a").unwrap();
        assert!(file.is_file() && file.entries().count() == 0);
    }

    #[test]
    fn paths_stay_in_the_project() {
        let place = YamlPath::root();
        for good in ["./charts/x", "config/values/x.yaml", "a"] {
            assert_eq!(problem(good, &place), None, "{good}");
        }
        for bad in ["/etc/passwd", "../x", "a/../../x", "./", ".", "", "a\\b", "https://h/x"] {
            assert!(problem(bad, &place).is_some(), "{bad}");
        }
        let layout = Layout::new("/p/conf", "/p/build", "/p/dist");
        assert_eq!(resolve(&layout, Path::new("/p"), "config/values/x"), Path::new("/p/conf/values/x"));
        assert_eq!(resolve(&layout, Path::new("/p"), "./charts/x"), Path::new("/p/charts/x"));
    }

    #[test]
    fn charts_bring_the_directories_that_they_depend_on() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        for (name, dependencies) in [
            (
                "app",
                "[{repository: 'file://../common'}, {repository: 'https://h'}, {repository: 'file://../../../etc'}]",
            ),
            (
                "common",
                "[{repository: 'file://./inner/'}, {repository: 'file://../app'}, {repository: 'file://../gone'}]",
            ),
            ("common/inner", "[]"),
            ("broken", "["),
        ] {
            let chart = folder.path().join("charts").join(name);
            disk::fs::create_dir_all(&chart).unwrap();
            disk::fs::write_new(&chart.join("Chart.yaml"), format!("dependencies: {dependencies}\n").as_bytes())
                .unwrap();
        }
        let of = |written: &str| dependencies(&layout, folder.path(), written).unwrap();
        assert_eq!(of("./charts/app"), ["./charts/common", "./charts/common/inner"]);
        assert_eq!(of("./charts/broken"), Vec::<String>::new());
        assert_eq!(of("./charts/gone"), Vec::<String>::new());
    }

    #[test]
    fn the_digest_covers_names_and_content() {
        let project = tempfile::tempdir().unwrap();
        let at = |name: &str| project.path().join("chart").join(name);
        let digest = || digest(&layout(project.path()), project.path(), "./chart");
        disk::fs::create_dir_all(&at("t")).unwrap();
        disk::fs::write_new(&at("a"), b"1").unwrap();
        let mut seen = vec![digest()];
        for (name, content) in [("a", "12"), ("b", ""), ("t/c", "2")] {
            disk::fs::write_new(&at(name), content.as_bytes()).unwrap();
            seen.push(digest());
        }
        disk::fs::rename(&at("b"), &at("e")).unwrap();
        seen.push(digest());
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
        assert_eq!(digest(), *seen.last().unwrap());
    }

    /// A build folder inside of a chart would change the configuration with
    /// every step.
    #[test]
    fn what_is_hidden_does_not_count() {
        let project = tempfile::tempdir().unwrap();
        let layout = Layout::new(project.path().join("config"), project.path().join("chart/out"), "dist");
        disk::fs::create_dir_all(&project.path().join("chart/out")).unwrap();
        disk::fs::create_dir_all(&project.path().join("chart/.git")).unwrap();
        let digest = || digest(&layout, project.path(), "./chart");
        let before = digest();
        for (name, counts) in [("chart/out/state.json", false), ("chart/.git/HEAD", false), ("chart/.x", true)] {
            disk::fs::write_new(&project.path().join(name), b"x").unwrap();
            assert_eq!(digest() != before, counts, "{name}");
        }
    }

    /// A package would hold what a link led to when it was built first.
    #[test]
    fn the_digest_follows_a_written_path_that_is_a_link() {
        let project = tempfile::tempdir().unwrap();
        let at = |name: &str| project.path().join(name);
        let digest = |written: &str| digest(&layout(project.path()), project.path(), written);
        disk::fs::create_dir_all(&at("config")).unwrap();
        disk::fs::create_dir_all(&at("shared/chart")).unwrap();
        std::os::unix::fs::symlink("../shared/values.yaml", at("config/values.yaml")).unwrap();
        std::os::unix::fs::symlink("shared/chart", at("chart")).unwrap();
        let write = |text: &[u8]| {
            disk::fs::write_new(&at("shared/values.yaml"), text).unwrap();
            disk::fs::write_new(&at("shared/chart/Chart.yaml"), text).unwrap();
        };
        let both = || ["./config/values.yaml", "./chart"].map(digest);
        write(b"a: 1");
        let before = both();
        write(b"a: 2");
        let after = both();
        assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    }
}
