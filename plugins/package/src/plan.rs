//! Decides what lies where in the package: which file of which tree becomes
//! which member of which component tar.
//!
//! The names are Zarf's: `<component>/charts/<name>-<version>.tgz`,
//! `<component>/values/<name>-<version>-<i>`, `<component>/manifests/<name>-<i>.yaml`,
//! `<component>/files/<i>/<base>`, `<component>/data/<i>/<base>` and
//! `<component>/repos/<repository>-<crc32>/`. Modes are those that Zarf gives
//! them, so that the same inputs give the same checksums.

use std::collections::BTreeMap;

use model::zarf::{self, Chart, Component, RepositoryUrl};
use sdk::StepError;

use crate::definition::Package;
use crate::images::{self, Image};
use crate::parts::{Member, Source, Tar, file};
use crate::refusal::refuse;
use crate::sources::{Found, Sources, locate};
use crate::{extras, lists, record};

/// What the package will hold, besides checksums.txt and zarf.yaml.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Nested tars: components, documents.
    pub tars: Vec<Tar>,
    /// Files of their own: images, values.
    pub loose: Vec<Member>,
    /// Each image that the definition names, once; charts that are carried as
    /// artifacts among them.
    pub images: Vec<Image>,
    /// What was pulled and is not packaged, because no component names it.
    pub unnamed: Vec<String>,
    /// What the components hold, for the record.
    pub charts: Vec<record::Chart>,
    /// As `charts`.
    pub files: Vec<record::File>,
    /// As `charts`.
    pub repositories: Vec<record::Repository>,
}

/// A file of the package, or of a component tar.
const FILE: u32 = 0o644;
/// Zarf's modes for `files`.
const PRIVATE: u32 = 0o600;
const EXECUTABLE: u32 = 0o700;

/// Plans the package. Sources without `../` lie in the tree `home`, where the
/// definition lies.
///
/// # Errors
/// `missing-input` for what no step delivered, `invalid-input` for what cannot
/// be packaged; the message names component and file.
pub fn plan(package: &Package, home: &str, sources: &dyn Sources) -> Result<Plan, StepError> {
    let mut plan = Plan::default();
    for (component, authored) in package.definition.components.iter().zip(&package.authored.components) {
        let planner = Planner { component, authored, provenance: &package.provenance, home, sources };
        planner.add_to(&mut plan).map_err(|error| error.context(format!("component `{}`", component.name)))?;
    }
    plan.images = images::collect(&package.definition, sources)?;
    if !plan.images.is_empty() {
        let (members, unnamed) = images::members(&plan.images, sources)?;
        plan.loose.extend(members);
        plan.unnamed = unnamed;
        plan.charts.extend(plan.images.iter().filter_map(record::Chart::carried));
    }
    let more = extras::extras(package, home, sources)?;
    plan.loose.extend(more.loose);
    plan.tars.extend(more.documents);
    check_paths(&plan)?;
    Ok(plan)
}

/// Zarf fails at deploy time on names that its extractor refuses: they are
/// named now.
fn check_paths(plan: &Plan) -> Result<(), StepError> {
    let nested = plan.tars.iter().flat_map(|tar| tar.members.iter().map(|member| (tar.path.as_str(), member)));
    let loose = plan.loose.iter().map(|member| ("the package", member));
    for (place, member) in nested.chain(loose) {
        if let Some(why) = zarf::path_problem(&member.path) {
            let path = member.path.escape_debug();
            return Err(refuse("file-name", format!("`{path}` in {place} {why}: Zarf would refuse it when deploying"))
                .hint("rename the file at its source, or leave it out of the package"));
        }
    }
    Ok(())
}

fn is_local_archive(chart: &Chart) -> bool {
    chart.local_path.ends_with(".tgz") || chart.local_path.ends_with(".tar.gz")
}

/// Whether Zarf finds the chart packed: an archive, or what a repository
/// serves. A folder and what lies in git it packs with Helm.
fn is_archive(chart: &Chart) -> bool {
    let in_git = !chart.git_path.is_empty() || chart.url.ends_with(".git") || chart.url.contains(".git@");
    is_local_archive(chart) || (chart.local_path.is_empty() && !in_git)
}

struct Planner<'a> {
    component: &'a Component,
    /// The same as it was written.
    authored: &'a Component,
    /// See [`Package::provenance`].
    provenance: &'a BTreeMap<String, String>,
    home: &'a str,
    sources: &'a dyn Sources,
}

impl Planner<'_> {
    fn add_to(&self, plan: &mut Plan) -> Result<(), StepError> {
        let mut members = Vec::new();
        self.charts(&mut members, plan)?;
        self.manifests(&mut members)?;
        self.files(&mut members, plan)?;
        self.data(&mut members)?;
        self.repositories(&mut members, plan)?;
        if !members.is_empty() {
            plan.tars.push(Tar { path: format!("components/{}.tar", self.component.name), members });
        }
        Ok(())
    }

    /// A path inside the component's tar.
    fn inside(&self, rest: &str) -> String {
        format!("{}/{rest}", self.component.name)
    }

    fn charts(&self, members: &mut Vec<Member>, plan: &mut Plan) -> Result<(), StepError> {
        if let Some(first) = self.authored.charts.first() {
            // Where Zarf packs a folder, Helm makes this one before Zarf does.
            let mode = if is_archive(first) { EXECUTABLE } else { 0o755 };
            members.push(Member { path: self.inside("charts"), mode, source: Source::Directory });
        }
        for (chart, authored) in self.component.charts.iter().zip(&self.authored.charts) {
            let (tree, found) = self.chart_archive(authored)?;
            let stem = chart.stem();
            plan.charts.push(record::Chart::of(self.component, authored, &stem, &tree, &found));
            members.push(file(self.inside(&format!("charts/{stem}.tgz")), FILE, &tree, &found));
            if let Some(source) = self.provenance.get(&self.inside(&chart.name)) {
                let (tree, found) = self.file(source, "provenance file")?;
                members.push(file(self.inside(&format!("charts/{stem}.tgz.prov")), FILE, &tree, &found));
            }
            let values = chart.values_files.iter().chain(&chart.templated_values_files);
            for (index, source) in values.enumerate() {
                let (tree, found) = self.file(source, "values file")?;
                members.push(file(self.inside(&format!("values/{stem}-{index}")), FILE, &tree, &found));
            }
        }
        Ok(())
    }

    /// The chart itself where `localPath` names an archive, else what the
    /// charts step made of it.
    fn chart_archive(&self, chart: &Chart) -> Result<(String, Found), StepError> {
        if is_local_archive(chart) {
            return self.file(&chart.local_path, "chart");
        }
        let path = format!("charts/{}.tgz", chart.stem());
        if self.sources.has("charts")
            && let Some(found) = self.sources.find("charts", &path)?
            && !found.directory
        {
            return Ok(("charts".to_owned(), found));
        }
        Err(StepError::missing_input(
            "chart",
            format!(
                "chart `{}` {} was not bundled: there is no `{path}` in the tree of the step charts",
                chart.name, chart.version
            ),
        )
        .hint("name the chart in config/components.yaml with the same name and version, or let localPath be a .tgz"))
    }

    fn manifests(&self, members: &mut Vec<Member>) -> Result<(), StepError> {
        for manifest in &self.component.manifests {
            for (index, source) in manifest.files.iter().enumerate() {
                let (tree, found) = self.file(source, "manifest")?;
                members.push(file(
                    self.inside(&format!("manifests/{}-{index}.yaml", manifest.name)),
                    FILE,
                    &tree,
                    &found,
                ));
            }
        }
        Ok(())
    }

    fn files(&self, members: &mut Vec<Member>, plan: &mut Plan) -> Result<(), StepError> {
        for (index, wanted) in self.component.files.iter().enumerate() {
            let (tree, found) = self.locate_file(&wanted.source)?;
            let base = zarf::base_name(&wanted.target);
            let path = self.inside(&format!("files/{index}/{base}"));
            if found.directory {
                members.extend(self.directory(&path, EXECUTABLE, &tree, &found)?);
                let below = self.sources.below(&tree, &found.path)?;
                plan.files.extend(
                    below.iter().map(|file| record::File::below(self.component, index, &tree, &found.path, file)),
                );
                continue;
            }
            if let (false, Some(sha256)) = (wanted.shasum.is_empty(), &found.sha256)
                && *sha256 != wanted.shasum
            {
                let message = format!("`{}` has the sha256 {sha256} and shasum says {}", wanted.source, wanted.shasum);
                return Err(refuse("shasum", message).hint("correct `shasum`, or find out who changed the file"));
            }
            let mode = if wanted.executable { EXECUTABLE } else { PRIVATE };
            plan.files.push(record::File::of(self.component, index, &tree, &found));
            members.push(file(path, mode, &tree, &found));
        }
        Ok(())
    }

    fn data(&self, members: &mut Vec<Member>) -> Result<(), StepError> {
        for (index, injection) in self.component.data_injections.iter().enumerate() {
            let (tree, found) = self.locate(&injection.source)?;
            let path = self.inside(&format!("data/{index}/{}", zarf::base_name(&injection.target.path)));
            if found.directory {
                members.extend(self.directory(&path, EXECUTABLE, &tree, &found)?);
            } else {
                members.push(file(path, FILE, &tree, &found));
            }
        }
        Ok(())
    }

    /// A whole directory of a tree, as `path`.
    fn directory(&self, path: &str, mode: u32, tree: &str, found: &Found) -> Result<Vec<Member>, StepError> {
        let mut members = vec![Member { path: path.to_owned(), mode, source: Source::Directory }];
        for below in self.sources.below(tree, &found.path)? {
            let rest = below.path.strip_prefix(&found.path).unwrap_or(&below.path).trim_start_matches('/');
            let mode = if below.executable { 0o755 } else { FILE };
            members.push(file(format!("{path}/{rest}"), mode, tree, &below));
        }
        Ok(members)
    }

    fn repositories(&self, members: &mut Vec<Member>, plan: &mut Plan) -> Result<(), StepError> {
        for url in &self.component.repos {
            let folder = RepositoryUrl::folder(url).ok_or_else(|| {
                refuse("repository", format!("`{url}` is not a repository URL that Zarf understands"))
                    .hint("write scheme://host/path/name.git@ref")
            })?;
            let files = if self.sources.has("repos") { self.sources.below("repos", &folder)? } else { Vec::new() };
            if files.is_empty() {
                let message =
                    format!("repository `{url}` was not cloned: there is no `{folder}` in the tree of the step repos");
                return Err(StepError::missing_input("repository", message)
                    .hint("name the repository in config/components.yaml with the same URL and ref"));
            }
            plan.repositories.push(record::Repository::of(self.component, url, &folder, &files));
            for found in &files {
                let mode = if found.executable { 0o755 } else { FILE };
                members.push(file(self.inside(&format!("repos/{}", found.path)), mode, "repos", found));
            }
        }
        Ok(())
    }

    /// A file that may be named by its URL, where the files step fetched it.
    fn locate_file(&self, source: &str) -> Result<(String, Found), StepError> {
        if source.contains("://") && self.sources.has("files") {
            let list = lists::files(self.sources)?;
            if let Some(entry) = list.iter().find(|entry| entry.url == source) {
                return self.locate(&format!("../files/{}", entry.path));
            }
        }
        self.locate(source)
    }

    fn file(&self, source: &str, what: &str) -> Result<(String, Found), StepError> {
        let (tree, found) = self.locate(source)?;
        if found.directory {
            return Err(refuse("directory", format!("the {what} `{source}` is a directory")));
        }
        Ok((tree, found))
    }

    fn locate(&self, source: &str) -> Result<(String, Found), StepError> {
        locate(self.sources, self.home, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::read;
    use crate::sources::memory::{Memory, sha256};

    fn planned(components: &str, sources: &Memory) -> Result<Plan, StepError> {
        let text = format!("kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n{components}");
        plan(&read(&text, Some("amd64")).unwrap(), "zarf_gen", sources)
    }

    fn message(error: StepError) -> String {
        error.failure().unwrap().message.clone()
    }

    #[test]
    fn every_kind_of_content_gets_zarfs_name_and_mode() {
        let url = "https://github.com/zarf-dev/zarf.git@refs/tags/v0.16.0";
        let sources = Memory::default()
            .with("zarf_gen", "m.yaml", "m")
            .with("files", "bin/tool", "t")
            .with("files", "data/a/b", "b")
            .with("charts", "charts/c-1.0.tgz", "c")
            .with("charts", "values/c-1.0-0", "v")
            .with("repos", "zarf-2360044954/.git/HEAD", "ref: refs/heads/x\n");
        let components = format!(
            "- name: w\n  manifests: [{{name: m, files: [m.yaml]}}]\n  repos: ['{url}']\n\
             \x20 charts: [{{name: c, version: '1.0', url: 'https://x', namespace: n, valuesFiles: [../charts/values/c-1.0-0]}}]\n\
             \x20 files: [{{source: ../files/bin/tool, target: /usr/bin/tool, executable: true, shasum: {}}}, {{source: ../files/data, target: /srv/}}]\n- name: empty\n",
            sha256(b"t")
        );
        let plan = planned(&components, &sources).unwrap();
        assert_eq!(plan.tars.len(), 1, "a component without content has no tar");
        let found: Vec<(&str, u32)> =
            plan.tars[0].members.iter().map(|member| (member.path.as_str(), member.mode)).collect();
        let expected = [
            ("w/charts", 0o700),
            ("w/charts/c-1.0.tgz", 0o644),
            ("w/values/c-1.0-0", 0o644),
            ("w/manifests/m-0.yaml", 0o644),
            ("w/files/0/tool", 0o700),
            ("w/files/1/srv", 0o700),
            ("w/files/1/srv/a/b", 0o644),
            ("w/repos/zarf-2360044954/.git/HEAD", 0o644),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let sources = Memory::default().with("files", "bin/tool", "t").with("repos", "aux-1/x", "");
        for (component, word) in [
            ("files: [{source: ../files/bin/other, target: /x}]", "bin/other"),
            ("files: [{source: ../../etc/passwd, target: /x}]", "leads out"),
            ("files: [{source: /etc/passwd, target: /x}]", "leads out"),
            ("files: [{source: 'https://x/y', target: /x}]", "not fetched"),
            ("files: [{source: ../files/bin/tool, target: /x, shasum: '00'}]", "shasum says 00"),
            ("files: [{source: ../files/bin/tool, target: /srv/aux.c}]", "aux.c"),
            ("charts: [{name: c, version: '1', url: x, namespace: n}]", "charts/c-1.tgz"),
            ("repos: ['https://x/y/z']", "was not cloned"),
            ("images: [nginx]", "docker.io/library/nginx:latest"),
            ("manifests: [{name: m, files: ['https://x/y.yaml']}]", "not fetched"),
        ] {
            let found = message(planned(&format!("- name: w\n  {component}\n"), &sources).unwrap_err());
            assert!(found.contains(word), "{component}: {found}");
        }
    }

    /// As Zarf 0.75 and 0.84 lay them out, or checksums.txt is not theirs.
    #[test]
    fn the_folder_of_charts_has_the_mode_that_its_first_chart_gives_it() {
        let sources = Memory::default().with("charts", "charts/c-1.tgz", "c");
        for (source, mode) in [
            ("localPath: ../charts/charts/c-1.tgz", 0o700),
            ("url: 'https://x', repoName: c", 0o700),
            ("url: 'oci://x/c'", 0o700),
            ("localPath: ../../charts/c", 0o755),
            ("url: 'https://x/y.git', gitPath: c", 0o755),
            ("url: 'https://x/y.git@v1'", 0o755),
        ] {
            let text = format!("- name: w\n  charts: [{{name: c, version: '1', namespace: n, {source}}}]\n");
            assert_eq!(planned(&text, &sources).unwrap().tars[0].members[0].mode, mode, "{source}");
        }
    }

    #[test]
    fn a_file_may_be_named_by_the_url_it_was_fetched_from() {
        let list = r#"[{"kind":"tool","name":"tool","version":"1","url":"https://x/tool","path":"bin/tool","sha256":"","size":1}]"#;
        let sources = Memory::default().with("files", "bin/tool", "t").with("files", "files.json", list);
        let plan = planned("- name: w\n  files: [{source: 'https://x/tool', target: /x}]\n", &sources).unwrap();
        assert_eq!(plan.tars[0].members[0].path, "w/files/0/x");
    }
}
