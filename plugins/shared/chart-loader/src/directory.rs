//! The files of a chart's folder, by the rules of Helm's `LoadDir`: what
//! `.helmignore` leaves, with symlinks followed.
//!
//! Links may lead to files and folders of the chart alone: what lies outside was
//! not handed in.

use crate::archive::{CHART_LIMIT, FILE_LIMIT, File, without_mark};
use crate::ignore::Rules;
use crate::{Refusal, shown};

/// Links behind links, and folders in linked folders.
const DEPTH_LIMIT: usize = 8;
/// Of a folder with all that its links lead to.
const FILE_COUNT: usize = 100_000;

/// A local directory that the host handed in.
pub trait Files {
    /// Every entry, sorted by path.
    ///
    /// # Errors
    /// A fragment.
    fn list(&self) -> Result<Vec<ListedFile>, String>;

    /// A whole file.
    ///
    /// # Errors
    /// A fragment.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String>;
}

/// An entry that is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Relative, `/`-separated.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Where a symlink points.
    pub link: Option<String>,
}

/// Every file that `.helmignore` leaves, without byte order marks.
///
/// # Errors
/// What Helm's loader refuses, links that lead out, and what cannot be read.
pub fn files(tree: &dyn Files) -> Result<Vec<File>, Refusal> {
    let listed = tree.list().map_err(Refusal::content)?;
    let rules = rules(tree, &listed)?;
    let mut sources = Vec::new();
    for file in listed.iter().filter(|file| !rules.excludes_file(&file.path)) {
        follow(&file.path, file, &listed, &rules, 0, &mut sources)?;
    }
    let mut left = CHART_LIMIT;
    let mut files = Vec::new();
    for (path, source) in sources {
        if source.size > FILE_LIMIT {
            return Err(excluded(format!(
                "its `{}` has {} bytes, and Helm 3 takes no file above 5 MiB",
                shown(&path),
                source.size
            )));
        }
        left = left.checked_sub(source.size).ok_or_else(|| excluded("it holds more than Helm's 100 MiB".to_owned()))?;
        let read = tree.read(&source.path, FILE_LIMIT);
        let mut data = read.map_err(|why| Refusal::content(format!("its `{}`: {why}", shown(&path))))?;
        without_mark(&mut data);
        files.push(File { path, data });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn excluded(why: String) -> Refusal {
    Refusal::new(why, "exclude what does not belong into the chart with .helmignore")
}

fn rules(tree: &dyn Files, listed: &[ListedFile]) -> Result<Rules, Refusal> {
    let text = match listed.iter().find(|file| file.path == ".helmignore") {
        Some(file) => {
            let mut found = Vec::new();
            follow(&file.path, file, listed, &Rules::default(), 0, &mut found)?;
            let source = found.first().map_or(file, |(_, source)| source);
            tree.read(&source.path, 1 << 20).map_err(Refusal::content)?
        }
        None => Vec::new(),
    };
    let refuse = |why: String| Refusal::new(format!("its `.helmignore`, {why}"), "correct the pattern");
    Rules::parse(&String::from_utf8_lossy(&text)).map_err(refuse)
}

/// What lies at `path`: the file itself, or what its link leads to. A link to a
/// folder brings everything in it.
fn follow<'a>(
    path: &str,
    file: &'a ListedFile,
    listed: &'a [ListedFile],
    rules: &Rules,
    depth: usize,
    found: &mut Vec<(String, &'a ListedFile)>,
) -> Result<(), Refusal> {
    let refuse =
        |why: String| Err(Refusal::new(why, "replace the link by what it leads to, or exclude it with .helmignore"));
    let Some(target) = &file.link else {
        found.push((path.to_owned(), file));
        return if found.len() > FILE_COUNT {
            refuse(format!("it holds more than {FILE_COUNT} files"))
        } else {
            Ok(())
        };
    };
    if depth > DEPTH_LIMIT {
        return refuse(format!("the symlink `{}` goes in a circle", shown(path)));
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let goal = joined(folder, target);
    let inside = |other: &ListedFile| other.path.strip_prefix(&goal).is_some_and(|rest| rest.starts_with('/'));
    let whole = goal.is_empty() || goal.starts_with(['/', '.']) && goal.split('/').next() == Some("..");
    if let Some(next) = listed.iter().find(|other| other.path == goal && !target.starts_with('/')) {
        return follow(path, next, listed, rules, depth + 1, found);
    }
    if whole || target.starts_with('/') || !listed.iter().any(inside) {
        return refuse(format!(
            "the symlink `{}` points to `{}`, which is no file of the chart",
            shown(path),
            shown(target)
        ));
    }
    for other in listed.iter().filter(|other| inside(other)) {
        let below = format!("{path}{}", &other.path[goal.len()..]);
        if !rules.excludes_file(&below) {
            follow(&below, other, listed, rules, depth + 1, found)?;
        }
    }
    Ok(())
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Memory(BTreeMap<&'static str, &'static str>);

    impl Files for Memory {
        fn list(&self) -> Result<Vec<ListedFile>, String> {
            let entry = |(path, text): (&&str, &&str)| ListedFile {
                path: (*path).to_owned(),
                size: text.len() as u64,
                link: text.strip_prefix("link:").map(str::to_owned),
            };
            Ok(self.0.iter().map(entry).collect())
        }

        fn read(&self, path: &str, _: u64) -> Result<Vec<u8>, String> {
            self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| "gone".to_owned())
        }
    }

    fn read(entries: &[(&'static str, &'static str)]) -> Result<Vec<(String, String)>, Refusal> {
        let files = files(&Memory(entries.iter().copied().collect()))?;
        Ok(files.into_iter().map(|file| (file.path, String::from_utf8(file.data).unwrap())).collect())
    }

    fn paths(entries: &[(&'static str, &'static str)]) -> Vec<String> {
        read(entries).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn links_lead_to_files_and_folders_of_the_chart() {
        let found = read(&[
            ("Chart.yaml", "\u{feff}name: x\n"),
            ("common/a.tpl", "a"),
            ("common/deep/b.tpl", "b"),
            ("templates", "link:common"),
            ("values.yaml", "link:./common/../common/a.tpl"),
        ]);
        let expected = [
            ("Chart.yaml", "name: x\n"),
            ("common/a.tpl", "a"),
            ("common/deep/b.tpl", "b"),
            ("templates/a.tpl", "a"),
            ("templates/deep/b.tpl", "b"),
            ("values.yaml", "a"),
        ];
        assert_eq!(found.unwrap(), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        for (target, word) in [
            ("link:../x", "no file of the chart"),
            ("link:/etc/passwd", "no file of the chart"),
            ("link:.", "circle"),
            ("link:l", "circle"),
        ] {
            let refusal = read(&[("Chart.yaml", ""), ("l", target)]).unwrap_err();
            assert!(refusal.why.contains(word) || refusal.why.contains("no file"), "{target}: {refusal}");
        }
    }

    #[test]
    fn what_is_ignored_is_not_looked_at() {
        let entries =
            [("Chart.yaml", ""), (".helmignore", "*.bak\nci/\n"), ("x.bak", "link:/etc"), ("ci/x", ""), ("y", "")];
        assert_eq!(paths(&entries), [".helmignore", "Chart.yaml", "y"]);
        assert!(read(&[(".helmignore", "a/**/b")]).unwrap_err().why.contains("line 1"));
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
