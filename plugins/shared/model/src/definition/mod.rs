//! The definition that an author wrote as a source: zarf.yaml with all that it
//! imports, composed as `zarf package create` composes it.
//!
//! [`compose()`] reads the file and what it imports through [`Files`], keeps the
//! components of the architecture and flavor that are asked for, merges each
//! with what it imports ([`alpha`] and [`beta`] are Zarf's rules for either
//! form; [`skeleton`] for what comes from a registry), and fills in package
//! templates ([`template`]). What a build cannot do
//! is refused where it stands ([`refuse`]). [`sources`] says what of the result
//! has to be fetched, as resolved components, and finds each source again among
//! what was fetched. The `reader` asks for files, and notes what is wrong.
//! Nothing here does I/O.

mod address;
mod alpha;
mod beta;
mod import;
mod merge;
pub mod path;
mod reader;
mod refuse;
mod skeleton;
pub mod sources;
mod strict;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use crate::problem::{YamlPath, shown};
use crate::zarf::{self, Definition, KIND};
use reader::{Home, Learnt, Reader, Refused};

/// What decides about a definition besides its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Of a definition that names none: `amd64`.
    pub architecture: String,
    /// Whether a definition must not name another one.
    pub is_pinned: bool,
    /// Components of this flavor are taken; empty for none.
    pub flavor: String,
    /// Values of package templates, by name: `###ZARF_PKG_TMPL_<NAME>###`.
    pub set: BTreeMap<String, String>,
}

/// What lies at a path of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// The text of a file.
    Text(String),
}

/// The project's files.
pub trait Files {
    /// What lies at `path`, relative to the folder that holds config/, in its
    /// plain spelling (`packages/web/zarf.yaml`).
    ///
    /// # Errors
    /// Why it cannot be read.
    fn look(&mut self, path: &str) -> Result<Found, String>;

    /// The skeleton package at `url` (`oci://registry/repository:tag`), which a
    /// component imports; None where it is not fetched yet.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn skeleton(&mut self, url: &str) -> Result<Option<Skeleton>, String>;
}

/// What was fetched of a skeleton package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Its zarf.yaml.
    pub text: String,
    /// The folder that holds one folder for each component with files, relative
    /// to the one that holds config/.
    pub folder: String,
}

/// Why a definition is not taken, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file, as [`Files`] knows it.
    pub file: String,
    /// In that file; the root where it is about all of it.
    pub path: YamlPath,
    /// The name of the component that it is about; empty for none.
    pub component: String,
    /// A lowercase fragment that names what was found.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A definition whose imports, flavors and templates are resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composed {
    /// Where it lies, relative to the folder that holds config/: `zarf.yaml`.
    pub file: String,
    /// The flavor that was asked for; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flavor: String,
    /// The result as v1alpha1 says it. Local sources are relative to the folder
    /// of `file`.
    pub definition: Definition,
    /// The same as its author would see it, where that is v1beta1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<zarf::beta::Definition>,
    /// Whether it only adds to a package that the settings name: it is the
    /// section `components` of components.yaml.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_adds: bool,
    /// Schemas of values that imported definitions name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<String>,
    /// Which of its [local paths](sources::local) are folders; whoever looks at
    /// them fills it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// The URLs of the skeletons that it imports, each once.
    #[serde(skip)]
    pub skeletons: Vec<String>,
    /// Those of them that are not fetched yet: what they would add is missing.
    #[serde(skip)]
    pub unfetched: Vec<String>,
    /// Those of components, chosen or not.
    #[serde(skip)]
    pub flavors: BTreeSet<String>,
    /// The names of package templates.
    #[serde(skip)]
    pub templates: BTreeSet<String>,
    /// What was [chosen for it and nothing uses](Composed::unused); whoever has all of it
    /// fills it in.
    #[serde(skip)]
    pub unused: Vec<String>,
}

impl Composed {
    /// With what was learnt on the way.
    fn told(self, learnt: Learnt) -> Self {
        let Learnt { skeletons, unfetched, flavors, templates } = learnt;
        let once = |urls: Vec<String>| merge::once(urls.into_iter());
        Self { skeletons: once(skeletons), unfetched: once(unfetched), flavors, templates, ..self }
    }

    /// What was chosen and nothing uses, each in a sentence: as Zarf tells it of the
    /// flavor, and of what is set. Nothing where something is not fetched yet, which may
    /// use it, and where there is no definition.
    pub fn unused(&self, choice: &Choice) -> Vec<String> {
        if self.only_adds || self.file.is_empty() || !self.unfetched.is_empty() {
            return Vec::new();
        }
        let Choice { flavor, set, .. } = choice;
        let listed = |names: &BTreeSet<String>| match names.len() {
            0 => "it has none".to_owned(),
            _ => format!("it has `{}`", names.iter().map(|name| shown(name)).collect::<Vec<_>>().join("`, `")),
        };
        let file = &self.file;
        let used = self.definition.components.iter().any(|component| component.only.flavor == *flavor);
        let flavor = (!flavor.is_empty() && !used).then(|| {
            format!("no component of `{file}` is of the flavor `{}`: {}", shown(flavor), listed(&self.flavors))
        });
        let idle = set.keys().filter(|name| !self.templates.contains(*name));
        let set = idle.map(|name| {
            let (name, others) = (shown(name), listed(&self.templates));
            format!("no package template of `{file}` is called `{name}`, which is set: {others}")
        });
        flavor.into_iter().chain(set).collect()
    }

    /// The folder of the definition, relative to the one that holds config/;
    /// empty where it is that one.
    pub fn folder(&self) -> &str {
        path::folder(&self.file)
    }

    /// As `zarf dev inspect definition` shows it.
    ///
    /// # Errors
    /// What cannot be written as YAML.
    pub fn text(&self) -> Result<String, serde_yaml::Error> {
        match &self.beta {
            Some(beta) => zarf::to_text(beta),
            None => zarf::to_text(&self.definition),
        }
    }
}

/// Composes the definition at `file`.
///
/// # Errors
/// Everything that was refused, at least one thing.
pub fn compose(file: &str, choice: &Choice, files: &mut dyn Files) -> Result<Composed, Vec<Refusal>> {
    let mut reader = Reader::new(files, choice);
    let composed = reader.compose(file);
    let (composed, learnt) = reader.finished(composed)?;
    Ok(composed.told(learnt))
}

/// Composes components that stand by themselves in `file`, whose paths are
/// relative to the folder that holds config/.
///
/// # Errors
/// Everything that was refused, at least one thing.
pub fn compose_components(
    file: &str,
    components: &[Value],
    choice: &Choice,
    files: &mut dyn Files,
) -> Result<Composed, Vec<Refusal>> {
    let home = Home { file: file.to_owned(), folder: String::new() };
    let metadata = Mapping::from_iter([("name".into(), "components".into())]);
    let document = Mapping::from_iter([
        ("kind".into(), KIND.into()),
        ("metadata".into(), Value::Mapping(metadata)),
        ("components".into(), Value::Sequence(components.to_vec())),
    ]);
    let mut reader = Reader::new(files, choice);
    let composed = reader.compose_alpha(&home, Value::Mapping(document));
    let ((definition, schemas), learnt) = reader.finished(composed)?;
    let composed = Composed { file: file.to_owned(), definition, schemas, only_adds: true, ..Composed::default() };
    Ok(composed.told(learnt))
}

impl Composed {
    /// Puts components that stand by themselves behind those of a definition.
    ///
    /// # Errors
    /// Two of one name.
    pub fn extend(&mut self, others: Composed) -> Result<(), Vec<Refusal>> {
        let up: Vec<&str> = self.folder().split('/').filter(|part| !part.is_empty()).map(|_| "..").collect();
        let up = up.join("/");
        let Composed { definition, schemas, skeletons, unfetched, flavors, templates, .. } = others;
        for component in definition.components {
            if self.definition.components.iter().any(|known| known.name == component.name) {
                return Err(vec![Refusal {
                    file: others.file,
                    path: YamlPath::root().key("components"),
                    component: component.name.clone(),
                    message: format!("`{}` has a component of this name as well", self.file),
                    hint: "rename it".to_owned(),
                }]);
            }
            self.definition.components.push(alpha::moved(component, &up));
        }
        self.definition.variables.extend(definition.variables);
        self.definition.constants.extend(definition.constants);
        self.schemas.extend(schemas);
        self.flavors.extend(flavors);
        self.templates.extend(templates);
        self.skeletons = merge::once(std::mem::take(&mut self.skeletons).into_iter().chain(skeletons));
        self.unfetched = merge::once(std::mem::take(&mut self.unfetched).into_iter().chain(unfetched));
        self.beta = None;
        Ok(())
    }
}

impl Reader<'_> {
    fn compose(&mut self, file: &str) -> Refused<Composed> {
        let home = Home::of(file);
        let documents = self.documents(&home)?;
        let Choice { flavor, .. } = self.choice;
        let composed = |definition, beta, schemas| Composed {
            file: file.to_owned(),
            flavor: flavor.clone(),
            definition,
            beta,
            schemas,
            ..Composed::default()
        };
        if let Some(document) = documents.beta {
            let (definition, beta, schemas) = self.compose_beta(&home, document)?;
            return Ok(composed(definition, Some(beta), schemas));
        }
        let document = documents.alpha.unwrap_or_default();
        let (definition, schemas) = self.compose_alpha(&home, document)?;
        Ok(composed(definition, None, schemas))
    }
}

#[cfg(test)]
mod tests;
