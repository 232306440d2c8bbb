//! A chart directory of the project, packaged as `helm package` would, with
//! its `file://` dependencies inside.

use chart_loader::archive::{File, STREAM_LIMIT};
use chart_loader::directory::{self, Files, joined};
use chart_loader::{Chart, Dependency, Refusal, load, pack};
use model::version::{Constraint, Version};

const DEPTH_LIMIT: usize = 8;

/// Finds the local directory at a path relative to the project.
pub type Find<'a> = dyn Fn(&str) -> Option<Box<dyn Files + 'a>> + 'a;

/// Packages the chart at `location`.
///
/// # Errors
/// What is wrong with the chart or with a dependency.
pub fn package(location: &str, find: &Find<'_>) -> Result<Vec<u8>, Refusal> {
    let (chart, files) = gather(location, find, &[])?;
    pack::write(chart.name(), &files)
}

/// The chart and its files, dependencies included. `around` are the directories that
/// led to it, the outermost first.
fn gather(location: &str, find: &Find<'_>, around: &[&str]) -> Result<(Chart, Vec<File>), Refusal> {
    let place = |directory: &str| joined("", directory);
    if around.iter().any(|outer| place(outer) == place(location)) {
        let all = [around, &[location]].concat();
        let all: Vec<String> = all.into_iter().map(|directory| format!("`{}`", place(directory))).collect();
        let why = format!("its file dependencies go in a circle: {}", all.join(" → "));
        return Err(Refusal::new(why, "correct `dependencies` in the Chart.yaml of one of them"));
    }
    if around.len() > DEPTH_LIMIT {
        let why = format!("its file dependencies are nested deeper than {DEPTH_LIMIT} levels");
        return Err(Refusal::new(why, format!("correct `dependencies` in `{location}/Chart.yaml`")));
    }
    let gone = || gone(location, around.last().copied());
    let mut files = directory::files(&*find(location).ok_or_else(gone)?)?;
    let chart = load::from_files(&files, &mut { STREAM_LIMIT })?;
    for dependency in chart.dependencies() {
        if !chart.subcharts.iter().any(|subchart| subchart.name() == dependency.name) {
            vendor(location, dependency, find, around, &mut files)?;
        }
    }
    Ok((chart, files))
}

/// Why there is no directory, and what helps; `parent` is that of the chart that
/// names it, none where components.yaml does.
fn gone(location: &str, parent: Option<&str>) -> Refusal {
    match parent {
        None => Refusal::new(format!("the directory `{location}` is not there"), "correct `repo` in components.yaml"),
        Some(parent) if location.split('/').next() == Some("..") => Refusal::new(
            format!("the directory `{location}` is not in the folder that holds config/, and nothing else is read"),
            format!("move it there, or run `helm dependency build {parent}`, which packs it into `charts/`"),
        ),
        Some(parent) => Refusal::new(
            format!("the directory `{location}` is not there"),
            format!("correct the `repository` of the dependency in `{parent}/Chart.yaml`"),
        ),
    }
}

/// Puts a `file://` dependency into `charts/`.
fn vendor(
    location: &str,
    dependency: &Dependency,
    find: &Find<'_>,
    around: &[&str],
    files: &mut Vec<File>,
) -> Result<(), Refusal> {
    let Dependency { name, version, repository, .. } = dependency;
    let Some(path) = repository.strip_prefix("file://") else {
        let place = if repository.is_empty() { "no repository".to_owned() } else { format!("`{repository}`") };
        let why = format!("its dependency `{name}` ({place}) is not in `{location}/charts`");
        return Err(Refusal::new(why, format!("run `helm dependency build {location}`")));
    };
    let sibling = joined(location, path);
    let of_it = |refusal: Refusal| Refusal::new(format!("its dependency `{name}`: {refusal}"), refusal.hint.clone());
    let (found, inner) = gather(&sibling, find, &[around, &[location]].concat()).map_err(of_it)?;
    let actual = found.version();
    let fits = version.is_empty()
        || Constraint::parse(version).zip(Version::parse(actual)).is_some_and(|(wanted, actual)| wanted.fits(&actual));
    let mend =
        |why: String| Err(of_it(Refusal::new(why, format!("correct `dependencies` in `{location}/Chart.yaml`"))));
    if found.name() != name {
        return mend(format!("`{sibling}` is the chart `{}`", found.name()));
    }
    if !fits {
        return mend(format!("it wants version {version}, but `{sibling}` is {actual}"));
    }
    files.extend(inner.into_iter().map(|File { path, data }| File { path: format!("charts/{name}/{path}"), data }));
    Ok(())
}

/// Its tests, and charts in memory for those of others.
#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use chart_loader::directory::ListedFile;

    use super::*;

    /// An archive of these files.
    pub fn packed(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), data: text.as_bytes().to_vec() };
        pack::write(name, &files.iter().map(file).collect::<Vec<_>>()).unwrap()
    }

    /// A directory in memory.
    #[derive(Clone, Default)]
    pub struct Memory(pub BTreeMap<String, String>);

    impl Memory {
        /// These files, by path and text. `link:` begins the text of a symlink.
        pub fn of(files: &[(&str, &str)]) -> Self {
            Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
        }
    }

    impl Files for Memory {
        fn list(&self) -> Result<Vec<ListedFile>, String> {
            let file = |(path, text): (&String, &String)| ListedFile {
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

    fn run(trees: &[(&str, Memory)]) -> Result<Vec<u8>, Refusal> {
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
        assert_eq!(chart_loader::load(&*bytes).unwrap().subcharts[0].name(), "common");
        assert_eq!(bytes, run(&[("charts/app", app), ("charts/common", Memory::of(COMMON))]).unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        let app = |dependency: &str| {
            Memory::of(&[("Chart.yaml", &format!("name: app\nversion: 1.0.0\ndependencies: [{dependency}]\n"))])
        };
        let file = "{name: common, version: ^2, repository: \"file://../common\"}";
        let common = ("charts/common", Memory::of(COMMON));
        assert!(run(&[("charts/app", app(file))]).unwrap_err().why.contains("`charts/common` is not there"));
        assert!(run(&[("charts/app", app(file)), common]).unwrap_err().why.contains("is 1.2.0"));
        let remote = "{name: redis, version: ^2, repository: \"https://h\"}";
        assert!(run(&[("charts/app", app(remote))]).unwrap_err().hint.contains("helm dependency build"));
        let vendored = Memory::of(&[
            ("Chart.yaml", &format!("name: app\nversion: 1.0.0\ndependencies: [{remote}]\n")),
            ("charts/redis/Chart.yaml", "name: redis\nversion: 2.0.1\n"),
        ]);
        assert!(run(&[("charts/app", vendored)]).is_ok());
        let circle = "{name: app, version: 1, repository: \"file://../app\"}";
        let why = run(&[("charts/app", app(circle))]).unwrap_err().why;
        assert_eq!(why, "its dependency `app`: its file dependencies go in a circle: `charts/app` → `charts/app`");
        // What helps names the chart that says it, however deep that lies.
        let inner = |repository: &str| {
            let text =
                format!("name: common\nversion: 2.0.0\ndependencies: [{{name: x, repository: \"{repository}\"}}]\n");
            ("charts/common", Memory::of(&[("Chart.yaml", &text)]))
        };
        for (repository, hint) in [
            ("https://h", "run `helm dependency build charts/common`"),
            ("file://../x", "correct the `repository` of the dependency in `charts/common/Chart.yaml`"),
            ("file://../../../x", "run `helm dependency build charts/common`"),
        ] {
            let refusal = run(&[("charts/app", app(file)), inner(repository)]).unwrap_err();
            assert!(refusal.hint.contains(hint), "{refusal:?}");
        }
        let out = Memory::of(&[("Chart.yaml", "name: app\nversion: 1.0.0\n"), ("x", "link:../../etc/passwd")]);
        assert!(run(&[("charts/app", out)]).unwrap_err().why.contains("no file of the chart"));
        assert!(run(&[]).is_err());
    }
}
