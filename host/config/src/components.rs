//! components.yaml: strict loading, and everything that can be known to be
//! wrong before anything is fetched.

use std::collections::BTreeMap;

use model::image::ImageName;
use model::problem::{Problem, YamlPath, shown};
use model::version::{Constraint, Version};
use model::{Chart, ComponentManifest, Package, Repository};

use crate::local;
use crate::repository;
use crate::source::Source;
use crate::span::Spans;
use crate::web::url_problem;
use base::error::Result;
use base::layout;
use disk::tree;

/// What files and charts may be fetched from.
pub(crate) const WEB: [&str; 2] = ["https", "http"];
/// Characters of a chart's name: Zarf makes resource names out of it.
const CHART_NAME: usize = 40;

/// components.yaml and where its lines are.
#[derive(Clone, Debug)]
pub struct ComponentsFile {
    /// What the file says.
    pub manifest: ComponentManifest,
    /// Its text.
    pub source: Source,
    /// Which line and column each key and item has.
    pub spans: Spans,
}

impl ComponentsFile {
    /// # Errors
    /// `configuration` with file, line and column of every problem.
    pub fn parse(source: Source) -> Result<Self> {
        let (manifest, spans) = source.checked(None, problems)?;
        Ok(Self { manifest, source, spans })
    }
}

/// Everything that is wrong with a manifest, in the order of its sections.
pub fn problems(manifest: &ComponentManifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    files(manifest, &mut problems);
    repositories(&manifest.repositories, &mut problems);
    images(manifest, &mut problems);
    charts(&manifest.charts, &mut problems);
    problems
}

/// Binaries and tools, with their templates expanded: which architecture does
/// not matter for what is checked here.
fn files(manifest: &ComponentManifest, problems: &mut Vec<Problem>) {
    let binaries = YamlPath::root().key("kubernetes").key("binaries");
    let tools = YamlPath::root().key("tools");
    let mut paths = Vec::new();
    if let Some(kubernetes) = &manifest.kubernetes {
        text(&kubernetes.version, &YamlPath::root().key("kubernetes").key("version"), problems);
        paths.extend((0..kubernetes.binaries.len()).map(|index| binaries.index(index)));
    }
    for (index, tool) in manifest.tools.iter().enumerate() {
        let path = tools.index(index);
        text(&tool.version, &path.key("version"), problems);
        if tool.binary.is_some() && !tool.extract {
            problems.push(Problem::new(
                &path.key("binary"),
                format!(
                    "`binary` of the tool `{}` names a path in an archive, but `extract` is not set",
                    shown(&tool.name)
                ),
                "add `extract: true`, or remove `binary`",
            ));
        }
        paths.push(path);
    }
    let resolved = match manifest.resolve(&Package::default(), "amd64") {
        Ok(resolved) => resolved,
        Err(found) => return problems.extend(found),
    };
    for (file, path) in resolved.files.iter().zip(paths) {
        problems.extend(name_problem(&file.name, "a file", &path.key("name")));
        problems.extend(url_problem(&file.url, &WEB, &path.key("url")));
        let checksum = file.checksum_url.as_deref();
        problems.extend(checksum.and_then(|url| url_problem(url, &WEB, &path.key("checksum_url"))));
        if let Some(binary) = &file.binary
            && let Err(error) = tree::check_path(binary)
        {
            problems.push(Problem::new(&path.key("binary"), error.message(), hint_of(&error)));
        }
    }
}

/// A name that becomes a file or a folder: one path component that Zarf takes.
pub fn name_problem(text: &str, what: &str, path: &YamlPath) -> Option<Problem> {
    let refuse = |why: &str, hint: &str| {
        Some(Problem::new(path, format!("`{}` is no name for {what}: {why}", shown(text)), hint))
    };
    if text.contains('/') {
        refuse("it contains a `/`", "use letters, digits, `.`, `_` and `-`")
    } else if let Err(error) = tree::check_path(text) {
        refuse(error.message(), &hint_of(&error))
    } else if text.starts_with(['-', '.']) {
        refuse("it begins with a dash or a dot", "begin with a letter or a digit")
    } else {
        None
    }
}

fn hint_of(error: &base::error::Error) -> String {
    error.hint_text().unwrap_or("use letters, digits, `.`, `_` and `-`").to_owned()
}

/// A text that must say something.
fn text(text: &str, path: &YamlPath, problems: &mut Vec<Problem>) {
    if text.trim().is_empty() {
        problems.push(Problem::new(path, "is empty", "write a value"));
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        problems.push(Problem::new(path, format!("`{}` contains white space", shown(text)), "remove it"));
    }
}

/// Refuses the second of two names that are the same, in any case.
fn unique(text: &str, what: &str, path: &YamlPath, seen: &mut BTreeMap<String, YamlPath>, problems: &mut Vec<Problem>) {
    if let Some(first) = seen.get(&text.to_lowercase()) {
        problems.push(Problem::new(
            path,
            format!("a second {what} is called `{}`; the first is {first}", shown(text)),
            "rename or remove one of them",
        ));
    } else {
        seen.insert(text.to_lowercase(), path.clone());
    }
}

fn repositories(repositories: &[Repository], problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for (index, repository) in repositories.iter().enumerate() {
        let path = YamlPath::root().key("repositories").index(index);
        let at = path.key("name");
        problems.extend(name_problem(&repository.name, "a repository", &at));
        unique(&repository.name, "repository", &at, &mut seen, problems);
        if layout::RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&repository.name)) {
            problems.push(Problem::new(
                &at,
                format!(
                    "a repository cannot be called `{}`: build/ keeps something of its own there",
                    shown(&repository.name)
                ),
                "give the repository another name; it need not be the one in its URL",
            ));
        }
        problems.extend(repository::problems(repository, &path));
    }
}

fn images(manifest: &ComponentManifest, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<String, (YamlPath, &str)> = BTreeMap::new();
    let lists = [("auto_discover", &manifest.images.auto_discover), ("additional", &manifest.images.additional)];
    for (key, list) in lists {
        for (index, image) in list.iter().enumerate() {
            let path = YamlPath::root().key("images").key(key).index(index);
            let parsed = match ImageName::parse(&image.image) {
                Ok(parsed) => parsed,
                Err(bad) => {
                    problems.push(Problem::new(&path, bad.message, bad.hint));
                    continue;
                }
            };
            match seen.get(&parsed.to_string()) {
                None => drop(seen.insert(parsed.to_string(), (path, &image.image))),
                Some((first, spelling)) => problems.push(Problem::new(
                    &path,
                    format!(
                        "the image `{}` is listed a second time; the first is {first} (`{}`), and both mean {parsed}",
                        shown(&image.image),
                        shown(spelling)
                    ),
                    "remove one of the two",
                )),
            }
        }
    }
}

fn charts(charts: &[Chart], problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for (index, chart) in charts.iter().enumerate() {
        let path = YamlPath::root().key("charts").index(index);
        let at = path.key("name");
        problems.extend(name_problem(&chart.name, "a chart", &at));
        unique(&chart.name, "chart", &at, &mut seen, problems);
        if chart.name.chars().count() > CHART_NAME {
            problems.push(Problem::new(
                &at,
                format!(
                    "the chart name `{}` is longer than {CHART_NAME} characters, which Zarf refuses",
                    shown(&chart.name)
                ),
                "use a shorter name",
            ));
        }
        chart_version(&chart.version, &path.key("version"), problems);
        problems.extend(chart_source(&chart.repo, &path.key("repo")));
        if let Some(namespace) = chart.namespace.as_deref().filter(|namespace| !is_namespace(namespace)) {
            problems.push(Problem::new(
                &path.key("namespace"),
                format!("`{}` is not the name of a namespace", shown(namespace)),
                "use at most 63 lowercase letters, digits and dashes",
            ));
        }
        for (number, values) in chart.values.iter().enumerate() {
            problems.extend(local::problem(values, &path.key("values").index(number)));
        }
    }
}

fn chart_version(version: &str, path: &YamlPath, problems: &mut Vec<Problem>) {
    if version.trim().is_empty() || version.contains(char::is_control) {
        return text(version, path, problems);
    }
    if Version::parse(version).is_none() && Constraint::parse(version).is_none() {
        let message = format!("`{}` is neither a version nor a constraint", shown(version));
        problems.push(Problem::new(path, message, "write it as helm reads it: `1.2.3`, `^1.2`, `>=1.0 <2.0`"));
    }
}

pub(crate) fn chart_source(repo: &str, path: &YamlPath) -> Option<Problem> {
    if local::is_local(repo) {
        return local::problem(repo, path);
    }
    if repo.contains("://") {
        return url_problem(repo, &["https", "http", "oci"], path);
    }
    Some(Problem::new(
        path,
        format!("`{}` is neither a URL nor a local path", shown(repo)),
        "write https://… for a chart repository, oci://… for a registry, or ./charts/name for a local chart",
    ))
}

fn is_namespace(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    fn parse(text: &str) -> Result<ComponentsFile> {
        ComponentsFile::parse(Source::of("config/components.yaml".into(), text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_sound_manifest_passes() {
        let text = r#"
_generated: {source: versions.env, versions_sha256: a, catalog_sha256: b, tool: t}
kubernetes:
  version: v1.34.3
  binaries: [{name: kubectl, url: "https://dl.k8s.io/{{version}}/{{arch}}/kubectl"}]
tools:
  - {name: helm, version: "3.1", url: "https://get.helm.sh/x", extract: true, binary: "linux-{{arch}}/helm"}
repositories:
  - {name: kubespray, url: "https://github.com/a/b", ref: release-2.28, commit: HEAD}
  - {name: mine, url: "ssh://git@git.example.com:2222/team/mine.git", ref: main}
  - {name: local, url: "file:///srv/git/local.git"}
images:
  auto_discover: [{image: "nginx:1.27"}, "nginx:1.26"]
  additional:
charts:
  - {name: x, repo: "oci://r.io/charts", version: ">=1.0.0 <2.0.0", namespace: a-b, values: config/values/x.yaml}
  - {name: y, repo: ./charts/y, version: 0.1.0}
"#;
        assert_eq!(parse(text).unwrap().manifest.charts.len(), 2);
        assert!(parse("").is_ok(), "every section is optional");
        let bare = parse("tools: [{name: a, version: 1.30, url: 'https://h/a'}]").unwrap();
        assert_eq!(bare.manifest.tools[0].version, "1.30", "a version without quotes stays as it is written");
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let long = "c".repeat(41);
        let cases: Vec<(String, &str, &str)> = vec![
            ("imagez:\n  additional: []\n".into(), "1:1", "unknown field `imagez`"),
            ("images:\n  additional:\n    - {image: a, tag: b}\n".into(), "3:", "unknown field `tag`"),
            ("images:\n  additional:\n    - ngnix::1\n".into(), "3:7", "`ngnix::1`"),
            ("images:\n  auto_discover: [nginx:1]\n  additional:\n    - docker.io/library/nginx:1\n".into(), "4:7", "listed a second time; the first is images.auto_discover[0] (`nginx:1`)"),
            ("images:\n  additional:\n    - u:hunter2@r.io/x\n".into(), "3:7", "no digest follows"),
            ("tools:\n  - {name: a, version: '1', url: 'https://h/a'}\n  - {name: a, version: '2', url: 'https://h/b'}\n".into(), "3:12", "second file is called `a`"),
            ("tools:\n  - {name: a/b, version: '1', url: 'https://h/a'}\n".into(), "2:12", "contains a `/`"),
            ("tools:\n  - {name: aux.exe, version: '1', url: 'https://h/a'}\n".into(), "2:12", "Windows device name"),
            ("tools:\n  - {name: 'a b', version: '1', url: 'https://h/a'}\n".into(), "2:12", "a space"),
            ("tools:\n  - {name: a, version: '1', url: 'ftp://h/a'}\n".into(), "2:34", "scheme `ftp`"),
            ("tools:\n  - {name: a, version: '1', url: 'https://u:hunter2@h/a'}\n".into(), "2:34", "credentials"),
            ("tools:\n  - {name: a, version: '1', url: 'https://h/{{X}}'}\n".into(), "2:34", "`{{X}}`"),
            ("tools:\n  - {name: a, version: '1', url: 'https://h/a', binary: b}\n".into(), "2:57", "`extract` is not set"),
            ("tools:\n  - {name: a, version: '1', url: 'https://h/a', extract: true, binary: ../b}\n".into(), "2:72", "`..`"),
            ("tools:\n  - {name: a, version: '1', url: 'https://h/a', extract: maybe}\n".into(), "2:", "expected a boolean"),
            ("tools:\n  - {name: a, url: 'https://h/a'}\n".into(), "2:5", "missing field `version`"),
            ("kubernetes: {version: '', binaries: []}\n".into(), "1:23", "is empty"),
            ("repositories:\n  - {name: store, url: 'https://h/a'}\n".into(), "2:12", "build/ keeps something"),
            ("repositories:\n  - {name: a, url: 'https://h/a'}\n  - {name: A, url: 'https://h/b'}\n".into(), "3:12", "second repository"),
            ("repositories:\n  - {name: a, url: 'git@github.com:a/b.git'}\n".into(), "2:20", "not a URL"),
            ("repositories:\n  - {name: a, url: 'ext::sh -c x'}\n".into(), "2:20", "white space"),
            ("repositories:\n  - {name: a, url: 'ext::sh%20-c%20x'}\n".into(), "2:20", "scheme `ext`"),
            ("repositories:\n  - {name: a, url: '--upload-pack=x'}\n".into(), "2:20", "not a URL"),
            ("repositories:\n  - {name: a, url: 'ssh://-oProxyCommand=x/a'}\n".into(), "2:20", "option of ssh"),
            ("repositories:\n  - {name: a, url: 'ssh://git@-oProxyCommand=x/a'}\n".into(), "2:20", "option of ssh"),
            ("repositories:\n  - {name: a, url: 'ssh://git:hunter2@h/a'}\n".into(), "2:20", "credentials"),
            ("repositories:\n  - {name: a, url: 'file://a/b'}\n".into(), "2:20", "not absolute"),
            ("repositories:\n  - {name: a, url: 'https://h/a', ref: --upload-pack=x}\n".into(), "2:40", "not the name of a branch"),
            ("repositories:\n  - {name: a, url: 'https://h/a', commit: abc123}\n".into(), "2:43", "not a full commit"),
            ("charts:\n  - {name: c, repo: 'https://h', version: '1'}\n  - {name: c, repo: 'https://h', version: '2'}\n".into(), "3:12", "second chart"),
            (format!("charts:\n  - {{name: {long}, repo: 'https://h', version: '1'}}\n"), "2:12", "longer than 40"),
            ("charts:\n  - {name: c, repo: charts/c, version: '1'}\n".into(), "2:21", "neither a URL nor a local path"),
            ("charts:\n  - {name: c, repo: ./../c, version: '1'}\n".into(), "2:21", "leaves the project"),
            ("charts:\n  - {name: c, repo: 'oci://u:hunter2@h', version: '1'}\n".into(), "2:21", "credentials"),
            ("charts:\n  - {name: c, repo: 'https://h', version: ''}\n".into(), "2:43", "is empty"),
            ("charts:\n  - {name: c, repo: 'https://h', version: '>>1'}\n".into(), "2:43", "neither a version nor a constraint"),
            ("charts:\n  - {name: c, repo: 'https://h', version: 'the newest'}\n".into(), "2:43", "neither a version"),
            ("charts:\n  - {name: c, repo: 'https://h', version: '1', namespace: A_b}\n".into(), "2:59", "namespace"),
            ("charts:\n  - {name: c, repo: 'https://h', version: '1', values: [/etc/passwd]}\n".into(), "2:57", "absolute"),
        ];
        for (text, place, word) in cases {
            let error = parse(&text).unwrap_err();
            let expected = format!("config/components.yaml:{place}");
            assert_eq!(error.class(), Class::Configuration);
            assert!(
                error.message().starts_with(&expected) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
            assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "{text}");
            assert!(!error.message().contains("hunter2"), "{}", error.message());
        }
    }
}
