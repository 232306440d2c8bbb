//! What steps besides those of the product put into the package: documents,
//! and files that are deployed.

use std::collections::{BTreeMap, BTreeSet};

use model::zarf::{self, Component, File};
use sdk::{Entry, EntryKind, Inputs, JsonSchema, StepError, Tree};
use serde::{Deserialize, Serialize};

use crate::Configuration;
use crate::problem::Problem;

/// As the host tells of it: what pipeline.yaml says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
pub struct Contribution {
    /// The step that makes it.
    pub step: String,
    /// A path in its tree.
    pub from: String,
    /// Where in the package it goes.
    pub into: PackagePart,
    /// Where a file is deployed to.
    #[serde(default)]
    pub target: Option<String>,
    /// Where that is written: `config/pipeline.yaml:12:9`.
    #[serde(default)]
    pub at: String,
}

/// Where in the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(crate = "sdk::schemars")]
pub enum PackagePart {
    /// Among the documents that Zarf shows of a package.
    Documentation,
    /// In a component, which deploys it.
    Files,
}

/// What was found of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributed {
    /// What pipeline.yaml says of it.
    pub what: Contribution,
    /// A folder, with all that lies in it.
    pub is_folder: bool,
    /// A file that may be executed.
    pub executable: bool,
    /// 64 hexadecimal digits; empty for a folder.
    pub sha256: String,
}

/// Looks for everything that is contributed in the trees of the steps.
///
/// # Errors
/// `missing-input` where a step did not make it, with the place in
/// pipeline.yaml.
pub fn find(contributions: &[Contribution], inputs: &Inputs) -> Result<Vec<Contributed>, StepError> {
    contributions.iter().map(|what| found(what, inputs.get(&what.step)?)).collect()
}

fn found(what: &Contribution, tree: &Tree) -> Result<Contributed, StepError> {
    let Contribution { step, from, at, into, .. } = what;
    let inside = format!("{from}/");
    let is_there = |entry: &Entry| entry.path == *from || entry.path.starts_with(&inside);
    let Some(entry) = tree.entries(from)?.into_iter().find(is_there) else {
        let message = format!("{at}: the step `{step}` made no `{from}`, which is to go into the package");
        return Err(StepError::missing_input("not-contributed", message)
            .hint("correct `from`, or find out why the step did not make it"));
    };
    let is_folder = entry.path != *from || entry.kind == EntryKind::Directory;
    if is_folder && *into == PackagePart::Documentation {
        let message = format!("{at}: `{from}` of the step `{step}` is a folder, and documents are files");
        return Err(StepError::invalid_input("document", message).hint("name each file, or write `into: files`"));
    }
    let digest = entry.digest.filter(|_| !is_folder).unwrap_or_default();
    Ok(Contributed {
        what: what.clone(),
        is_folder,
        executable: entry.executable && !is_folder,
        sha256: digest.trim_start_matches("sha256:").to_owned(),
    })
}

impl Contributed {
    fn source(&self) -> String {
        format!("../{}/{}", self.what.step, self.what.from)
    }

    fn name(&self) -> &str {
        zarf::base_name(&self.what.from)
    }

    fn file(&self, configuration: &Configuration) -> File {
        let folder = configuration.files_directory.trim_end_matches('/');
        File {
            source: self.source(),
            shasum: self.sha256.clone(),
            target: self.what.target.clone().unwrap_or_else(|| format!("{folder}/{}", self.name())),
            executable: self.executable,
            ..File::default()
        }
    }
}

/// One component for the files of each step, in the order in which they are
/// told; its name is the step's.
pub fn components(contributed: &[Contributed], configuration: &Configuration) -> Vec<Component> {
    let mut components: Vec<(&str, Component)> = Vec::new();
    for one in contributed.iter().filter(|one| one.what.into == PackagePart::Files) {
        let step = one.what.step.as_str();
        if !components.iter().any(|(of, _)| *of == step) {
            let component = Component {
                name: step.replace('_', "-"),
                description: format!("Files of the step {step}"),
                required: Some(true),
                ..Component::default()
            };
            components.push((step, component));
        }
        let own = components.iter_mut().find(|(of, _)| *of == step);
        own.into_iter().for_each(|(_, component)| component.files.push(one.file(configuration)));
    }
    components.into_iter().map(|(_, component)| component).collect()
}

/// Puts documents beside those that are there.
///
/// # Errors
/// Where the package has a document of that name.
pub fn add_documents(contributed: &[Contributed], documents: &mut BTreeMap<String, String>) -> Result<(), Problem> {
    for one in contributed.iter().filter(|one| one.what.into == PackagePart::Documentation) {
        let (name, at) = (one.name(), &one.what.at);
        if let Some((there, source)) = documents.iter().find(|(there, _)| there.eq_ignore_ascii_case(name)) {
            return Err(Problem::new(
                "same-document",
                format!(
                    "{at}: the step `{}` contributes the document `{name}`, and the package has `{there}`, from `{source}`",
                    one.what.step
                ),
                "let the step give its file another name",
            ));
        }
        documents.insert(name.to_owned(), one.source());
    }
    Ok(())
}

/// Files that would lie where others do.
///
/// # Errors
/// A place that is taken, or that lies below a file.
pub fn check_targets(
    contributed: &[Contributed],
    components: &[Component],
    configuration: &Configuration,
) -> Result<(), Problem> {
    let folders: BTreeSet<String> = contributed.iter().filter(|one| one.is_folder).map(Contributed::source).collect();
    for one in contributed.iter().filter(|one| one.what.into == PackagePart::Files) {
        let file = one.file(configuration);
        let others = components.iter().flat_map(|component| component.files.iter().map(move |file| (component, file)));
        for (component, other) in others.filter(|(_, other)| other.source != file.source) {
            let is_file = |file: &File| !folders.contains(&file.source);
            let collides = file.target == other.target
                || (is_file(other) && is_below(&file.target, &other.target))
                || (is_file(&file) && is_below(&other.target, &file.target));
            if collides {
                return Err(Problem::new(
                    "same-target",
                    format!(
                        "{}: `{}` of the step `{}` would be deployed to `{}`, and `{}` of the component `{}` is deployed \
                         to `{}`",
                        one.what.at,
                        one.what.from,
                        one.what.step,
                        file.target,
                        other.source,
                        component.name,
                        other.target
                    ),
                    "give it another `target`",
                ));
            }
        }
    }
    Ok(())
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(step: &str, from: &str, into: PackagePart, target: Option<&str>) -> Contributed {
        Contributed {
            what: Contribution {
                step: step.into(),
                from: from.into(),
                into,
                target: target.map(str::to_owned),
                at: "config/pipeline.yaml:3:9".into(),
            },
            is_folder: false,
            executable: true,
            sha256: "00".repeat(32),
        }
    }

    #[test]
    fn files_become_a_component_of_their_step() {
        let contributed = [
            one("my_step", "a/motd", PackagePart::Files, Some("/etc/motd")),
            one("other", "b", PackagePart::Files, None),
            one("my_step", "c", PackagePart::Files, None),
        ];
        let components = components(&contributed, &Configuration::default());
        let places: Vec<(&str, Vec<(&str, &str)>)> = components
            .iter()
            .map(|component| {
                let files = component.files.iter().map(|file| (file.source.as_str(), file.target.as_str())).collect();
                (component.name.as_str(), files)
            })
            .collect();
        assert_eq!(
            places,
            [
                ("my-step", vec![("../my_step/a/motd", "/etc/motd"), ("../my_step/c", "/opt/opencenter/files/c")]),
                ("other", vec![("../other/b", "/opt/opencenter/files/b")]),
            ]
        );
        assert!(components[0].files[0].executable && components[0].files[0].shasum.starts_with("00"));
    }

    #[test]
    fn what_is_in_the_way_is_told_with_its_place() {
        let core = Component {
            name: "tools".into(),
            files: vec![File {
                source: "../files/bin/helm".into(),
                target: "/usr/local/bin/helm".into(),
                ..File::default()
            }],
            ..Component::default()
        };
        let check = |target: &str, is_folder: bool| {
            let contributed = [Contributed { is_folder, ..one("s", "x", PackagePart::Files, Some(target)) }];
            let mut all = vec![core.clone()];
            all.extend(components(&contributed, &Configuration::default()));
            check_targets(&contributed, &all, &Configuration::default())
        };
        for (target, is_folder) in
            [("/usr/local/bin/helm", false), ("/usr/local/bin/helm/x", false), ("/usr/local/bin", false)]
        {
            let problem = check(target, is_folder).unwrap_err();
            assert!(
                problem.message.starts_with("config/pipeline.yaml:3:9: `x` of the step `s`"),
                "{}",
                problem.message
            );
            assert!(problem.message.contains("`tools`"), "{}", problem.message);
        }
        assert_eq!((check("/usr/local/bin", true), check("/usr/local/bin/helm2", false)), (Ok(()), Ok(())));

        let mut documents = BTreeMap::from([("a.tgz.prov".to_owned(), "../charts/charts/a.tgz.prov".to_owned())]);
        add_documents(&[one("s", "d/notes.md", PackagePart::Documentation, None)], &mut documents).unwrap();
        assert_eq!(documents["notes.md"], "../s/d/notes.md");
        let problem =
            add_documents(&[one("s", "A.tgz.prov", PackagePart::Documentation, None)], &mut documents).unwrap_err();
        assert!(problem.message.contains("`../charts/charts/a.tgz.prov`"), "{}", problem.message);
    }
}
