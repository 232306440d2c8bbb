//! What a step may make visible outside build/. No I/O.
//!
//! Whoever writes into config/ decides what the next build does, and whoever
//! writes the package decides what is deployed. So config/ takes two files of
//! the step that runs the plugin `manifest`, and nothing else; in dist/ the
//! package and what describes it belong to the step that runs the plugin
//! `package`. These names are the core plugins', or those of what plugins.lock
//! lets take their place. Under any other name any step may publish into dist/,
//! one step each name.
//!
//! [`problems`] says what is known when the pipeline is read, [`selected`] and
//! [`Names`] the rest, before a commit begins.

use std::collections::BTreeMap;

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use super::core_plugins::{MANIFEST, PACKAGE};
use super::step::{Publish, StepSpec, Target};
use base::digest::Digest;
use base::error::{Error, Result};
use disk::tree;

/// A file outside build/ that a commit published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `dist/x` or `config/x` in state.json, wherever those folders lie; in what a build reports
    /// the path of the file itself.
    pub path: String,
    /// Of the content.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// How it looked when it was last known to be that: as long as it looks so,
    /// nobody has written into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
}

/// What the plugin `manifest` publishes into config/.
const CONFIGURATION: [&str; 2] = ["components.yaml", "components.base.yaml"];

/// How the names of the package begin.
const PACKAGE_FILES: &str = "zarf-package-";
/// The list of what the package that was built last holds.
pub const PACKAGE_LIST: &str = "artifact-manifest.json";

/// How a package was made: the host's own word, behind the name of the package.
pub const PROVENANCE: &str = ".intoto.json";

/// Everything that is wrong with what the steps publish, as far as their
/// declarations tell.
pub fn problems(steps: &[StepSpec]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<(Target, String), String> = BTreeMap::new();
    for step in steps {
        let section = step.place().key("publish");
        for (index, publish) in step.publish.iter().enumerate() {
            let at = section.index(index).key("from");
            let problem = refused(step, publish, &at);
            let is_refused = problem.is_some();
            problems.extend(problem);
            if is_refused || publish.from.starts_with('*') {
                continue;
            }
            let name = name_of(&publish.from);
            let other = names.insert((publish.to, folded(name)), format!("the step `{}`", shown(&step.id)));
            problems.extend(other.map(|other| collision(&at, name, &other)));
        }
    }
    problems
}

fn refused(step: &StepSpec, publish: &Publish, at: &YamlPath) -> Option<Problem> {
    // A leading `*` stands for the beginning of a name.
    let path = publish.from.strip_prefix('*').map_or_else(|| publish.from.clone(), |end| format!("x{end}"));
    if let Err(error) = tree::check_path(&path) {
        let hint = "name a file of the step's tree, or `*` and the end of a name";
        return Some(Problem::new(at, error.message(), hint));
    }
    let name = name_of(&publish.from);
    if publish.to == Target::Config {
        let is_own = step.runs(MANIFEST) && CONFIGURATION.contains(&publish.from.as_str());
        return (!is_own).then(|| {
            Problem::new(
                at,
                format!("`{}` is not published into config/, which decides about the next build", shown(&publish.from)),
                format!("only {} of the plugin `{MANIFEST}` are: write `to: dist`", CONFIGURATION.join(" and ")),
            )
        });
    }
    let end = name.strip_prefix('*').unwrap_or(name);
    if name.starts_with('.') || !end.chars().all(is_plain) || name.starts_with(['-', '+']) {
        let message = format!("`{}` is no name to be published: {PLAIN}", shown(name));
        return Some(Problem::new(at, message, "give the file another name"));
    }
    let is_foreign = is_of_package(name) && !step.runs(PACKAGE);
    is_foreign.then(|| {
        Problem::new(
            at,
            format!("`{}` is a name of the package, which only the plugin `{PACKAGE}` makes", shown(name)),
            "publish it under another name",
        )
    })
}

fn collision(at: &YamlPath, name: &str, other: &str) -> Problem {
    Problem::new(
        at,
        format!("{other} publishes a file of the name `{}` already", shown(name)),
        "give one of them another name, also where names differ in their case only",
    )
}

/// Whether a step makes the package: the core plugin, or what takes its place.
pub fn makes_package(step: &StepSpec) -> bool {
    step.runs(PACKAGE)
}

/// People and shells handle what lies in dist/: no letter that looks like
/// another, nothing that a command takes for an option.
pub(super) const PLAIN: &str =
    "it may have letters and digits of ASCII, `.`, `_`, `+` and `-`, the last two not first, nor a dot";

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-')
}

pub(super) fn has_plain_name(name: &str) -> bool {
    name.chars().all(is_plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a name in dist/ is that of a package, its checksum or its list.
fn is_of_package(name: &str) -> bool {
    let name = folded(name);
    name == PACKAGE_LIST || name.starts_with(PACKAGE_FILES)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// As a file system compares names that takes no notice of their case.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// One file that a step publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// In the step's tree.
    pub path: String,
    /// The folder that it goes into.
    pub to: Target,
    /// Its name there.
    pub name: String,
}

/// Which of the files of its tree a step publishes, each once. A `*` stands for
/// plain names alone, and for none of the package's, unless the step makes it.
/// With a package goes what the host says of it.
pub fn selected<'a>(step: &StepSpec, paths: impl Iterator<Item = &'a str> + Clone) -> Vec<Selected> {
    let mut selected = Vec::new();
    let is_published = step.publish.iter().any(|publish| publish.to == Target::Dist);
    let of_host = Publish { from: format!("*{PROVENANCE}"), to: Target::Dist };
    let of_host = (is_published && makes_package(step)).then_some(of_host);
    for Publish { from, to } in step.publish.iter().chain(&of_host) {
        for path in paths.clone().filter(|path| matches(step, from, path)) {
            let file = Selected { path: path.to_owned(), to: *to, name: name_of(path).to_owned() };
            if !selected.contains(&file) {
                selected.push(file);
            }
        }
    }
    selected
}

fn matches(step: &StepSpec, from: &str, path: &str) -> bool {
    let Some(ending) = from.strip_prefix('*') else { return from == path };
    let is_meant = path.ends_with(ending) && has_plain_name(path);
    is_meant && (step.runs(PACKAGE) || !is_of_package(path))
}

/// Who has published what, under names that a file system may take for one.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Of paths, each with the step that has published it.
    pub fn of<'a>(published: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Self(published.map(|(path, step)| (folded(path), step.to_owned())).collect())
    }

    /// Enters `path`, which is `dist/<name>` or `config/<name>`.
    ///
    /// # Errors
    /// `invalid-input` where another step, or another file of this one, has the
    /// name.
    pub fn enter(&mut self, path: &str, step: &str) -> Result<()> {
        match self.0.insert(folded(path), step.to_owned()) {
            None => Ok(()),
            Some(other) => Err(Error::invalid(format!(
                "the step `{step}` would publish `{path}`, a name under which the step `{other}` publishes another file"
            ))
            .hint("give one of them another name in `publish` of config/pipeline.yaml, also where names differ in their case only")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Pipeline, Runner};

    fn step(id: &str, plugin: &str, publish: &[(&str, Target)]) -> StepSpec {
        let publish = publish.iter().map(|(from, to)| Publish { from: (*from).to_owned(), to: *to }).collect();
        StepSpec { publish, ..StepSpec::new(id, Runner::Plugin(plugin.to_owned())) }
    }

    #[test]
    fn config_and_the_package_belong_to_their_makers() {
        use Target::{Config, Dist};
        for (plugin, from, to, says) in [
            ("manifest", "components.yaml", Config, ""),
            ("manifest", "components.base.yaml", Config, ""),
            ("manifest", "components.resolved.json", Config, "not published into config/"),
            ("manifest", "*", Config, "not published into config/"),
            ("manifest", "*.yaml", Config, "not published into config/"),
            ("manifest", "x/components.yaml", Config, "not published into config/"),
            ("manifest", "Components.yaml", Config, "not published into config/"),
            ("manifest", "plugins.lock", Config, "not published into config/"),
            ("manifests", "components.yaml", Config, "not published into config/"),
            ("sbom", "components.yaml", Config, "not published into config/"),
            ("sbom", "settings.yaml", Config, "not published into config/"),
            ("sbom", "sbom.json", Dist, ""),
            ("sbom", "*.json", Dist, ""),
            ("sbom", "*", Dist, ""),
            ("sbom", "versions.env", Dist, ""),
            ("sbom", "artifact-manifest.json", Dist, "name of the package"),
            ("sbom", "x/Artifact-Manifest.JSON", Dist, "name of the package"),
            ("sbom", "zarf-package-x-amd64-1.tar.zst", Dist, "name of the package"),
            ("sbom", "ZARF-package-x.sha256", Dist, "name of the package"),
            ("sbom", ".hidden", Dist, "no name to be published"),
            ("sbom", "x/.sbom.json.other.tmp", Dist, "no name to be published"),
            ("sbom", "--checkpoint-action=exec", Dist, "no name to be published"),
            ("sbom", "zarf\u{2010}package-x.tar.zst", Dist, "no name to be published"),
            ("sbom", "*\u{e4}", Dist, "no name to be published"),
            ("sbom", "../x", Dist, "`..`"),
            ("package", "artifact-manifest.json", Dist, ""),
            ("package", "*.tar.zst", Dist, ""),
            ("package", "artifact-manifest.json", Config, "not published into config/"),
        ] {
            let problems = problems(&[step("s", plugin, &[(from, to)])]);
            match says {
                "" => assert_eq!(problems, [], "{plugin} {from}"),
                says => assert!(problems[0].message.contains(says), "{plugin} {from}: {problems:?}"),
            }
        }
        assert_eq!(problems(&Pipeline::built_in().steps), []);
    }

    #[test]
    fn one_name_has_one_publisher() {
        use Target::Dist;
        for (first, second) in [("a.txt", "a.txt"), ("a.txt", "x/a.txt"), ("a.txt", "A.TXT")] {
            for steps in [
                vec![step("one", "p", &[(first, Dist), (second, Dist)])],
                vec![step("one", "p", &[(first, Dist)]), step("two", "q", &[("b", Dist), (second, Dist)])],
            ] {
                let problems = problems(&steps);
                assert!(problems[0].message.contains("the step `one` publishes"), "{first} {second}: {problems:?}");
                assert_eq!(problems.len(), 1);
            }
        }
    }

    #[test]
    fn a_star_stands_for_nothing_of_the_host_s_own() {
        let paths = [
            "a.json",
            ".hidden.json",
            "artifact-manifest.json",
            "Zarf-Package-x.json",
            "x/b.json",
            "zarf-package-x.tar",
            "-x.json",
            "+x.json",
            "zarf\u{2011}package-x.json",
            "\u{ff5a}arf-package-x.json",
            "a=b.json",
        ];
        let of = |plugin: &str, from: &str| {
            let step = step("s", plugin, &[(from, Target::Dist), ("a.json", Target::Dist)]);
            selected(&step, paths.into_iter()).into_iter().map(|file| file.name).collect::<Vec<_>>()
        };
        assert_eq!(of("sbom", "*"), ["a.json"]);
        assert_eq!(of("sbom", "*.json"), ["a.json"]);
        assert_eq!(of("sbom", "x/b.json"), ["b.json", "a.json"]);
        assert_eq!(of("package", "*.json"), ["a.json", "artifact-manifest.json", "Zarf-Package-x.json"]);
    }

    #[test]
    fn names_that_differ_in_case_are_one() {
        let mut names = Names::default();
        names.enter("dist/a.txt", "one").unwrap();
        names.enter("config/a.txt", "one").unwrap();
        let error = names.enter("dist/A.txt", "two").unwrap_err();
        assert!(error.message().contains("`dist/A.txt`") && error.message().contains("the step `one`"), "{error}");
    }
}
