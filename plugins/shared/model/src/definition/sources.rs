//! What a composed definition is made of, as resolved components, and where each
//! source is found again among them.
//!
//! [`add_to`] adds what the components lack: what a definition and
//! components.yaml both name is one thing. Whoever writes the definition of the
//! package asks the same functions ([`file`], [`chart`], [`repository`]) which
//! of the components a source is.

use std::collections::BTreeSet;

use super::path::{is_url, joined, of_project};
use super::{Composed, Refusal};
use crate::image::normalized;
use crate::problem::{YamlPath, shown};
use crate::zarf::alpha::{self, Component};
use crate::zarf::{RepositoryUrl, base_name};
use crate::{Chart, Export, FileKind, Repository, ResolvedComponents, ResolvedFile};

/// Begins the `repo` of a chart that lies in a git repository.
pub const IN_GIT: &str = "git+";

/// A source that is fetched as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSource<'a> {
    /// Without the checksum that may stand behind it.
    pub url: &'a str,
    /// 64 hexadecimal digits, where the definition says them.
    pub sha256: Option<&'a str>,
    /// The path in the archive that `url` gives.
    pub extract: Option<&'a str>,
}

impl<'a> FileSource<'a> {
    /// A URL as Zarf reads it: behind the last `@` may stand a SHA-256.
    pub fn of_url(source: &'a str) -> Self {
        let is_sum = |sum: &&str| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        match source.rsplit_once('@').filter(|(_, sum)| is_sum(sum)) {
            Some((url, sum)) => Self { url, sha256: Some(sum), extract: None },
            None => Self { url: source, sha256: None, extract: None },
        }
    }

    /// A file of a component, which may name its checksum apart.
    pub fn of_file(file: &'a alpha::File) -> Self {
        let wanted = Self::of_url(&file.source);
        let extract = Some(file.extract_path.as_str()).filter(|path| !path.is_empty());
        // Of an archive `shasum` is that of what is taken out.
        let written = Some(file.shasum.as_str()).filter(|sum| !sum.is_empty() && extract.is_none());
        Self { sha256: wanted.sha256.or(written), extract, ..wanted }
    }
}

/// The file that a source is.
pub fn file<'a>(components: &'a ResolvedComponents, wanted: FileSource<'_>) -> Option<&'a ResolvedFile> {
    let fits = |file: &&ResolvedFile| {
        let same = match wanted.extract {
            None => !file.extract,
            Some(path) => file.extract && file.binary.as_deref() == Some(path),
        };
        same && file.url == wanted.url
    };
    components.files.iter().filter(|file| file.kind != FileKind::Carry).find(fits)
}

/// Repository, name and version of a chart.
pub type ChartKey = (String, String, String);

/// Repository, name and version of a chart; None for a packed one that lies in
/// the project.
///
/// # Errors
/// Why its path cannot be used, and what helps.
pub fn chart(folder: &str, chart: &alpha::Chart) -> Result<Option<ChartKey>, (String, &'static str)> {
    let alpha::Chart { name, version, url, repo_name, git_path, local_path, .. } = chart;
    let called = if repo_name.is_empty() { name } else { repo_name };
    if !local_path.is_empty() {
        if is_packed(local_path) {
            return Ok(None);
        }
        let path =
            of_project(folder, local_path).map_err(|(why, hint)| (format!("`{}` {why}", shown(local_path)), hint))?;
        return Ok(Some((path, name.clone(), String::new())));
    }
    if let Some((repository, reference)) = git_url(url) {
        let reference = reference.unwrap_or(version);
        let repo = format!("{IN_GIT}{repository}@{reference}#{}", git_folder(git_path)?);
        return Ok(Some((repo, name.clone(), String::new())));
    }
    if let Some(whole) = url.strip_prefix("oci://") {
        let (repository, last) = whole.trim_end_matches('/').rsplit_once('/').unwrap_or((whole, called));
        return Ok(Some((format!("oci://{repository}"), last.to_owned(), version.clone())));
    }
    Ok(Some((url.clone(), called.clone(), version.clone())))
}

/// Whether `localPath` is an archive.
pub fn is_packed(path: &str) -> bool {
    path.ends_with(".tgz") || path.ends_with(".tar.gz")
}

/// A git repository that a chart comes from, and its reference.
fn git_url(url: &str) -> Option<(&str, Option<&str>)> {
    let (repository, reference) = match url.rsplit_once('@') {
        Some((repository, reference)) if repository.contains("://") && !reference.contains(':') => {
            (repository, Some(reference))
        }
        _ => (url, None),
    };
    repository.ends_with(".git").then_some((repository, reference))
}

/// A folder of a repository in its plain spelling.
fn git_folder(path: &str) -> Result<String, (String, &'static str)> {
    let plain = joined("", path);
    if plain == ".." || plain.starts_with("../") || path.contains(['\\', '#']) || path.chars().any(char::is_control) {
        return Err((
            format!("`gitPath: {}` leads out of the repository", shown(path)),
            "write the folder of the chart",
        ));
    }
    Ok(if plain == "." { String::new() } else { plain })
}

/// The repository, as zarf.yaml writes it, and the folder of a chart that lies
/// in git; by the `repo` of the chart.
pub fn in_git(repo: &str) -> Option<(&str, &str)> {
    repo.strip_prefix(IN_GIT)?.rsplit_once('#')
}

/// The folder of a chart that lies in git, in the tree of the step `repos`.
pub fn export_of(repo: &str) -> Option<String> {
    let (repository, path) = in_git(repo)?;
    let folder = RepositoryUrl::folder(repository)?;
    Some(format!("exports/{folder}/{path}").trim_end_matches('/').to_owned())
}

/// Whether a chart is the one of this repository, name and version. Of one of a
/// folder the folder tells alone.
pub fn same_chart(known: (&str, &str, &str), (repo, name, version): (&str, &str, &str)) -> bool {
    let is_folder = repo.starts_with("./") || repo.starts_with(IN_GIT);
    known.0 == repo && known.2 == version && (is_folder || known.1 == name)
}

/// URL and reference of a repository of a component.
pub fn repository(written: &str) -> Option<(String, Option<String>)> {
    let parsed = RepositoryUrl::parse(written)?;
    match parsed.reference {
        None => Some((written.to_owned(), None)),
        Some(reference) => {
            let url = written.strip_suffix(reference)?.strip_suffix('@')?;
            Some((url.to_owned(), Some(reference.to_owned())))
        }
    }
}

/// The component that a repository is, by its URL and reference.
pub fn same_repository(known: &Repository, url: &str, reference: Option<&str>) -> bool {
    let commit = known.commit.as_deref().filter(|commit| *commit != "HEAD");
    known.url == url && known.reference.as_deref().or(commit) == reference
}

/// Every path of the project that a definition names, as components.yaml writes
/// it, each once.
pub fn local(composed: &Composed) -> Vec<String> {
    let folder = composed.folder();
    let all = places(composed).into_iter().filter(|(_, _, source)| !is_url(source));
    super::merge::once(all.filter_map(|(_, _, source)| of_project(folder, &source).ok()))
}

/// What a definition adds to the components of a build: images, files, charts,
/// repositories, local paths.
///
/// # Errors
/// Sources that cannot be fetched or read.
pub fn add_to(components: &mut ResolvedComponents, composed: &Composed) -> Result<(), Vec<Refusal>> {
    let mut adder = Adder { components, composed, refusals: Vec::new() };
    for component in &composed.definition.components {
        adder.component(component);
    }
    for (component, field, source) in places(composed) {
        adder.source(&component, field, &source);
    }
    let Adder { refusals, .. } = adder;
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Every source that is a path, or a URL where one may stand, with its
/// component and what it is.
fn places(composed: &Composed) -> Vec<(String, &'static str, String)> {
    let mut found = Vec::new();
    let definition = &composed.definition;
    for component in &definition.components {
        let mut add = |field, source: &String| found.push((component.name.clone(), field, source.clone()));
        for file in &component.files {
            add("files", &file.source);
        }
        for chart in &component.charts {
            if !chart.local_path.is_empty() {
                add("charts", &chart.local_path);
            }
            chart.values_files.iter().chain(&chart.templated_values_files).for_each(|file| add("valuesFiles", file));
        }
        component.manifests.iter().flat_map(|manifest| &manifest.files).for_each(|file| add("manifests", file));
        component.image_archives.iter().for_each(|archive| add("imageArchives", &archive.path));
    }
    let schema = Some(&definition.values.schema).filter(|schema| !schema.is_empty());
    for file in definition.values.files.iter().chain(schema).chain(&composed.schemas) {
        found.push((String::new(), "values", file.clone()));
    }
    for document in definition.documentation.values() {
        found.push((String::new(), "documentation", document.clone()));
    }
    found
}

struct Adder<'a> {
    components: &'a mut ResolvedComponents,
    composed: &'a Composed,
    refusals: Vec<Refusal>,
}

impl Adder<'_> {
    fn refuse(&mut self, component: &str, message: String, hint: &str) {
        self.refusals.push(Refusal {
            file: self.composed.file.clone(),
            path: YamlPath::root(),
            component: component.to_owned(),
            message,
            hint: hint.to_owned(),
        });
    }

    fn component(&mut self, component: &Component) {
        let Component { name, images, files, repos, charts, image_archives, .. } = component;
        images.iter().for_each(|image| self.image(image));
        for (index, file) in files.iter().enumerate().filter(|(_, file)| is_url(&file.source)) {
            let target = base_name(&file.target);
            self.file(&format!("{name}-{index}-{target}"), FileSource::of_file(file));
        }
        for (index, file) in files.iter().enumerate() {
            if !is_url(&file.source) && !file.extract_path.is_empty() {
                // What is wrong with the path is told where it is looked at.
                let Ok(path) = of_project(self.composed.folder(), &file.source) else { continue };
                let wanted = FileSource { url: &path, sha256: None, extract: Some(&file.extract_path) };
                self.file(&format!("{name}-{index}-{}", base_name(&file.target)), wanted);
            }
        }
        image_archives.iter().for_each(|archive| self.archive(name, archive));
        repos.iter().for_each(|url| self.repository(name, url));
        charts.iter().for_each(|chart| self.chart(name, chart));
    }

    fn image(&mut self, image: &str) {
        let image = image.strip_prefix("oci://").unwrap_or(image);
        let complete = normalized(image);
        if !self.components.images.iter().any(|known| normalized(known) == complete) {
            self.components.images.push(image.to_owned());
        }
    }

    fn file(&mut self, name: &str, wanted: FileSource<'_>) {
        if file(self.components, wanted).is_some() {
            return;
        }
        let taken: BTreeSet<&str> = self.components.files.iter().map(|file| file.name.as_str()).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let name = name.trim_end_matches('.').to_owned();
        let free = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        let name = free.into_iter().find(|name| !taken.contains(name.as_str())).unwrap_or(name);
        self.components.files.push(ResolvedFile {
            kind: FileKind::Definition,
            name,
            version: String::new(),
            url: wanted.url.to_owned(),
            checksum_url: None,
            sha256: wanted.sha256.map(str::to_owned),
            extract: wanted.extract.is_some(),
            binary: wanted.extract.map(str::to_owned),
        });
    }

    fn repository(&mut self, component: &str, written: &str) {
        let Some((url, reference)) = repository(written) else {
            let message = format!("`{}` is not a repository URL that Zarf understands", shown(written));
            return self.refuse(component, message, "write scheme://host/path/name.git@ref");
        };
        if self.components.repositories.iter().any(|known| same_repository(known, &url, reference.as_deref())) {
            return;
        }
        let name = RepositoryUrl::folder(written).unwrap_or_default();
        self.components.repositories.push(Repository { name, url, reference, commit: None });
    }

    fn chart(&mut self, component: &str, written: &alpha::Chart) {
        let (repo, name, version) = match chart(self.composed.folder(), written) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err((message, hint)) => return self.refuse(component, message, hint),
        };
        let is_it = |known: &Chart| same_chart((&known.repo, &known.name, &known.version), (&repo, &name, &version));
        if self.components.charts.iter().any(is_it) {
            return;
        }
        if let Some((repository, path)) = in_git(&repo) {
            self.export(component, repository, path);
        }
        // Both would be one file. The name of a folder's chart is nobody's key.
        let is_taken = |name: &str| self.components.charts.iter().any(|known| known.name == name);
        let is_folder = version.is_empty();
        let others = (2..).map(|number| format!("{name}-{number}"));
        let name = match is_folder && is_taken(&name) {
            true => others.into_iter().find(|name| !is_taken(name)).unwrap_or_default(),
            false => name,
        };
        let folder = self.composed.folder();
        let values = written.values_files.iter().filter(|file| !is_url(file));
        self.components.charts.push(Chart {
            name,
            repo,
            version,
            namespace: Some(written.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            values: values.filter_map(|file| of_project(folder, file).ok()).collect(),
            deploy: true,
        });
    }

    /// The repository of a chart, and the folder in it.
    fn export(&mut self, component: &str, written: &str, path: &str) {
        let before = self.components.repositories.len();
        self.repository(component, written);
        let Some((url, reference)) = repository(written) else { return };
        let is_it = |known: &&Repository| same_repository(known, &url, reference.as_deref());
        let Some(known) = self.components.repositories.iter().find(is_it) else { return };
        let is_alone = self.components.repositories.len() > before
            || self.components.exports.iter().any(|export| export.repository == known.name && export.is_alone);
        let repository = known.name.clone();
        self.components.exports.push(Export { repository, path: path.to_owned(), is_alone });
    }

    fn archive(&mut self, component: &str, archive: &alpha::ImageArchive) {
        if archive.images.is_empty() {
            let message = format!("`{}` of `imageArchives` names no images", shown(&archive.path));
            return self.refuse(component, message, "list those that are taken from it under `images`");
        }
        // What is wrong with the path is told where it is looked at.
        let Ok(path) = of_project(self.composed.folder(), &archive.path) else { return };
        let archive = alpha::ImageArchive { path, images: archive.images.clone() };
        if !self.components.image_archives.contains(&archive) {
            self.components.image_archives.push(archive);
        }
    }

    /// A local path, or the URL of a manifest or values file.
    fn source(&mut self, component: &str, field: &str, source: &str) {
        if is_url(source) {
            match field {
                // They are files of their own kind.
                "files" => {}
                "manifests" | "valuesFiles" => {
                    let name = format!("{component}-{}", base_name(FileSource::of_url(source).url));
                    self.file(&name, FileSource::of_url(source));
                }
                _ => {
                    let message = format!("`{}` of `{field}` is a URL", shown(source));
                    self.refuse(component, message, "download it and name the local file");
                }
            }
            return;
        }
        match of_project(self.composed.folder(), source) {
            Ok(path) if self.components.local.contains(&path) => {}
            Ok(path) => self.components.local.push(path),
            Err((why, hint)) => self.refuse(component, format!("`{}` of `{field}` {why}", shown(source)), hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(components: &str) -> Composed {
        let text = format!("kind: ZarfPackageConfig\nmetadata: {{name: x}}\ncomponents:\n{components}");
        let definition = serde_yaml::from_str(&text).unwrap();
        Composed { file: "packages/x/zarf.yaml".into(), definition, ..Composed::default() }
    }

    const ALL: &str = "- name: a\n  images: ['oci://nginx:1', docker.io/library/nginx:1, r.io/b@sha256:00]\n\
        \x20 repos: ['https://h/a/b.git@v1', 'https://h/a/b.git']\n\
        \x20 files: [{source: 'https://h/t', target: /usr/bin/t, shasum: '11'}, {source: 'https://h/t.tgz', target: '###ZARF_TEMP###/u v', extractPath: d/u},\n\
        \x20   {source: f, target: /f}, {source: 'https://h/t', target: /usr/bin/t2}]\n\
        \x20 charts: [{name: c, url: 'https://h', version: '1', repoName: d, namespace: n, valuesFiles: [v.yaml, 'https://h/v.yaml']}, {name: o, url: 'oci://h/x/y', version: '2'},\n\
        \x20   {name: l, localPath: ../charts/l}, {name: p, localPath: p.tgz}]\n\
        \x20 manifests: [{name: m, files: [m.yaml, 'https://h/m.yaml@0000000000000000000000000000000000000000000000000000000000000000']}]\n";

    #[test]
    fn what_a_definition_names_becomes_components_once() {
        let composed = composed(ALL);
        let mut components = ResolvedComponents { images: vec!["nginx:1".into()], ..ResolvedComponents::default() };
        add_to(&mut components, &composed).unwrap();
        assert_eq!(components.images, ["nginx:1", "r.io/b@sha256:00"]);
        let files: Vec<_> = components
            .files
            .iter()
            .map(|file| (file.name.as_str(), file.sha256.as_deref(), file.binary.as_deref()))
            .collect();
        let zeros = "0".repeat(64);
        let expected = [
            ("a-0-t", Some("11"), None),
            ("a-1-u_v", None, Some("d/u")),
            ("a-v.yaml", None, None),
            ("a-m.yaml", Some(zeros.as_str()), None),
        ];
        assert_eq!(files, expected);
        let charts: Vec<String> = components.charts.iter().map(Chart::lock_key).collect();
        assert_eq!(charts, ["https://h d 1", "oci://h/x y 2", "./packages/charts/l l "]);
        assert_eq!(components.charts[0].values, ["./packages/x/v.yaml"]);
        let repositories: Vec<_> =
            components.repositories.iter().map(|one| (one.url.as_str(), one.reference.as_deref())).collect();
        assert_eq!(repositories, [("https://h/a/b.git", Some("v1")), ("https://h/a/b.git", None)]);
        let local = [
            "./packages/x/f",
            "./packages/charts/l",
            "./packages/x/v.yaml",
            "./packages/x/p.tgz",
            "./packages/x/m.yaml",
        ];
        assert_eq!(components.local.iter().collect::<BTreeSet<_>>(), local.map(str::to_owned).iter().collect());
        let again = components.clone();
        add_to(&mut components, &composed).unwrap();
        assert_eq!(components, again);
    }

    #[test]
    fn charts_in_git_bring_their_repository() {
        let text = "- name: a\n  repos: ['https://h/x/b.git@v1']\n\
            \x20 charts: [{name: c, url: 'https://h/x/a.git', version: '1.0', gitPath: charts/c/}, {name: c, url: 'https://h/x/a.git@v2', version: '1.0'},\n\
            \x20   {name: d, url: 'https://h/x/b.git', version: v1, gitPath: ./d}]\n";
        let mut components = ResolvedComponents::default();
        add_to(&mut components, &composed(text)).unwrap();
        let charts: Vec<(&str, &str)> =
            components.charts.iter().map(|chart| (chart.repo.as_str(), chart.name.as_str())).collect();
        let expected = [
            ("git+https://h/x/a.git@1.0#charts/c", "c"),
            ("git+https://h/x/a.git@v2#", "c-2"),
            ("git+https://h/x/b.git@v1#d", "d"),
        ];
        assert_eq!(charts, expected);
        let alone: Vec<(&str, bool)> =
            components.exports.iter().map(|export| (export.path.as_str(), export.is_alone)).collect();
        assert_eq!(alone, [("charts/c", true), ("", true), ("d", false)]);
        assert_eq!(components.repositories.len(), 3);
        let folder = RepositoryUrl::folder("https://h/x/a.git@1.0").unwrap();
        assert_eq!(export_of(charts[0].0), Some(format!("exports/{folder}/charts/c")));
    }

    #[test]
    fn sources_that_cannot_be_used_are_named() {
        for (component, word) in [
            ("files: [{source: ../../../x, target: /x}]", "`../../../x` of `files` leaves"),
            ("files: [{source: /etc/passwd, target: /x}]", "is absolute"),
            ("imageArchives: [{path: a.tar}]", "names no images"),
            ("repos: ['git@h:a/b']", "not a repository URL"),
            ("charts: [{name: c, url: 'https://h/a.git', version: '1', gitPath: ../c}]", "out of the repository"),
            ("charts: [{name: c, localPath: ../../../c}]", "leaves"),
        ] {
            let refused = add_to(&mut ResolvedComponents::default(), &composed(&format!("- name: a\n  {component}\n")))
                .unwrap_err();
            assert!(refused[0].message.contains(word) && refused[0].component == "a", "{component}: {refused:?}");
        }
    }
}
