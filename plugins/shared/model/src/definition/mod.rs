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
//! what was fetched. Nothing here does I/O.

mod alpha;
mod beta;
pub mod path;
mod refuse;
mod skeleton;
pub mod sources;
mod strict;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use crate::problem::{Segment, YamlPath, shown};
use crate::zarf::documents::Documents;
use crate::zarf::{self, Definition, KIND};

/// Definitions that one definition may read, each as often as it is imported.
const MOST_IMPORTS: usize = 1000;
/// Components over all of them.
const MOST_COMPONENTS: usize = 10_000;
/// Imports of imports.
const DEEPEST: usize = 32;

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
    /// What was chosen for it and nothing uses, each in a sentence.
    #[serde(skip)]
    pub unused: Vec<String>,
}

impl Composed {
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
    match composed {
        Ok(composed) if reader.refusals.is_empty() => Ok(reader.told(composed)),
        Ok(_) => Err(reader.refusals),
        Err(refusal) => {
            // What ended it comes last: the rest stands before it in the files.
            reader.refusals.push(*refusal);
            Err(reader.refusals)
        }
    }
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
    match reader.compose_alpha(&home, Value::Mapping(document)) {
        Ok((definition, schemas)) if reader.refusals.is_empty() => {
            let composed =
                Composed { file: file.to_owned(), definition, schemas, only_adds: true, ..Composed::default() };
            Ok(reader.told(composed))
        }
        Ok(_) => Err(reader.refusals),
        Err(refusal) => {
            reader.refusals.push(*refusal);
            Err(reader.refusals)
        }
    }
}

impl Composed {
    /// Puts components that stand by themselves behind those of a definition.
    ///
    /// # Errors
    /// Two of one name.
    pub fn extend(&mut self, others: Composed) -> Result<(), Vec<Refusal>> {
        let up: Vec<&str> = self.folder().split('/').filter(|part| !part.is_empty()).map(|_| "..").collect();
        let up = up.join("/");
        let Composed { definition, schemas, skeletons, unfetched, .. } = others;
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
        self.skeletons = alpha::once(std::mem::take(&mut self.skeletons).into_iter().chain(skeletons));
        self.unfetched = alpha::once(std::mem::take(&mut self.unfetched).into_iter().chain(unfetched));
        self.beta = None;
        Ok(())
    }
}

/// Boxed, for it is large and rare.
type Refused<T> = Result<T, Box<Refusal>>;

/// Reads definitions and notes what is wrong with them.
struct Reader<'a> {
    files: &'a mut dyn Files,
    choice: &'a Choice,
    refusals: Vec<Refusal>,
    read: usize,
    components: usize,
    skeletons: Vec<String>,
    unfetched: Vec<String>,
    /// Those of components, chosen or not.
    flavors: BTreeSet<String>,
    /// The names of package templates.
    templates: BTreeSet<String>,
}

/// Where a definition lies.
#[derive(Clone, Debug)]
struct Home {
    /// The file itself.
    file: String,
    /// The folder that its paths are relative to.
    folder: String,
}

impl Home {
    fn of(file: &str) -> Self {
        Self { file: file.to_owned(), folder: path::folder(file).to_owned() }
    }

    fn refusal(&self, message: impl Into<String>, hint: impl Into<String>) -> Box<Refusal> {
        self.at(&YamlPath::root(), "", message, hint)
    }

    fn at(
        &self,
        path: &YamlPath,
        component: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Box<Refusal> {
        Box::new(Refusal {
            file: self.file.clone(),
            path: path.clone(),
            component: component.to_owned(),
            message: message.into(),
            hint: hint.into(),
        })
    }
}

impl<'a> Reader<'a> {
    fn new(files: &'a mut dyn Files, choice: &'a Choice) -> Self {
        let (refusals, skeletons, unfetched) = (Vec::new(), Vec::new(), Vec::new());
        let (flavors, templates) = (BTreeSet::new(), BTreeSet::new());
        Self { files, choice, refusals, read: 0, components: 0, skeletons, unfetched, flavors, templates }
    }

    /// With what was learnt on the way.
    fn told(self, composed: Composed) -> Composed {
        let once = |urls: Vec<String>| alpha::once(urls.into_iter());
        let unused = self.unused(&composed);
        Composed { skeletons: once(self.skeletons), unfetched: once(self.unfetched), unused, ..composed }
    }

    /// As Zarf tells it of the flavor, and of what is set.
    fn unused(&self, composed: &Composed) -> Vec<String> {
        let Choice { flavor, set, .. } = self.choice;
        // What is not there yet may use it; a section of components.yaml need not.
        if composed.only_adds || !self.unfetched.is_empty() {
            return Vec::new();
        }
        let listed = |names: &BTreeSet<String>| match names.len() {
            0 => "it has none".to_owned(),
            _ => format!("it has `{}`", names.iter().map(|name| shown(name)).collect::<Vec<_>>().join("`, `")),
        };
        let file = &composed.file;
        let used = composed.definition.components.iter().any(|component| component.only.flavor == *flavor);
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

    /// One more definition is read.
    fn reads(&mut self, home: &Home) -> Refused<()> {
        self.read += 1;
        if self.read > MOST_IMPORTS {
            let message = format!("more than {MOST_IMPORTS} definitions would be read");
            return Err(home.refusal(message, "import each component once, and not through so many others"));
        }
        Ok(())
    }

    /// The text of a file that is there.
    fn text(&mut self, home: &Home) -> Refused<String> {
        self.reads(home)?;
        match self.files.look(&home.file) {
            Ok(Found::Text(text)) => Ok(text),
            Ok(Found::Directory) => {
                Err(home
                    .refusal("is a directory", "name the file: `definition: path/zarf.yaml` in config/settings.yaml"))
            }
            Ok(Found::Nothing) => Err(home.refusal(
                "is not there",
                "the path is relative to the folder that holds config/: correct `definition` in config/settings.yaml",
            )),
            Err(why) => Err(home.refusal(why, "check that it is a readable file of the project")),
        }
    }

    fn documents(&mut self, home: &Home) -> Refused<Documents> {
        let text = self.text(home)?;
        self.parsed(home, &text)
    }

    fn parsed(&mut self, home: &Home, text: &str) -> Refused<Documents> {
        if text.starts_with('\u{feff}') {
            return Err(
                home.refusal("begins with a byte order mark, with which Zarf takes no definition", "save it without")
            );
        }
        let documents = Documents::parse(text).map_err(|why| home.refusal(why, "correct the file"))?;
        if let Some(version) = documents.unknown.first() {
            let message = format!("holds a document of `{}`, which this version does not know", shown(version));
            return Err(home.refusal(message, "remove that document"));
        }
        Ok(documents)
    }

    /// A document in its typed form. What that does not hold would be lost, and
    /// is refused: Zarf does the same.
    fn typed<T: DeserializeOwned + Serialize>(&mut self, home: &Home, document: &Value) -> Refused<T> {
        let hint = "correct it: `zarf dev lint` tells the same";
        let (typed, document): (T, _) = strict::typed(document).map_err(|(path, error)| {
            let component = component_at(document, &path);
            home.at(&path, &component, format!("is no package definition: {error}"), hint)
        })?;
        let document = &document;
        let written = serde_yaml::to_value(&typed).map_err(|error| home.refusal(error.to_string(), hint))?;
        let mut unknown: Vec<YamlPath> =
            zarf::left_over(document, &written).iter().map(|path| known_as_far(path, &written)).collect();
        unknown.dedup();
        for (path, message) in strict::problems(document) {
            let component = component_at(document, &path);
            self.refusals.push(*home.at(&path, &component, message, hint));
        }
        for path in unknown {
            let component = component_at(document, &path);
            let message = format!("`{path}` is no field that this version knows");
            self.refusals.push(*home.at(&path, &component, message, "correct the spelling, or remove the line"));
        }
        Ok(typed)
    }

    /// # Errors
    /// A package that is not of the plain kind, or for another architecture.
    fn architecture(&self, home: &Home, kind: &str, named: &str) -> Refused<String> {
        let at = |key: &str| YamlPath::root().key(key);
        if kind != KIND {
            let message = format!("it is of the kind `{}`", shown(kind));
            return Err(home.at(&at("kind"), "", message, format!("only `{KIND}` can be built")));
        }
        let Choice { architecture, is_pinned, .. } = self.choice;
        if *is_pinned && !named.is_empty() && named != architecture {
            let message = format!("it is for `{}`, and this build for `{architecture}`", shown(named));
            let hint = "set TARGET_ARCH in config/versions.env, or `package.architecture` in config/settings.yaml, to \
                        the architecture of the definition";
            return Err(home.at(&at("metadata").key("architecture"), "", message, hint));
        }
        Ok(if named.is_empty() { architecture.clone() } else { named.to_owned() })
    }

    fn count(&mut self, home: &Home, components: usize) -> Refused<()> {
        self.components += components;
        if self.components > MOST_COMPONENTS {
            let message = format!("more than {MOST_COMPONENTS} components would be read");
            return Err(home.refusal(message, "import fewer of them"));
        }
        Ok(())
    }
}

/// A place down to the first field that the typed form lacks.
fn known_as_far(path: &YamlPath, typed: &Value) -> YamlPath {
    let mut at = Some(typed);
    let mut known = YamlPath::root();
    for segment in path.segments() {
        let (next, key) = match segment {
            Segment::Key(key) => (at.and_then(|at| at.get(key.as_str())), known.key(key)),
            Segment::Index(index) => (at.and_then(|at| at.get(*index)), known.index(*index)),
        };
        (known, at) = (key, next);
        if at.is_none() {
            break;
        }
    }
    known
}

/// The name of the component that a place lies in.
fn component_at(document: &Value, path: &YamlPath) -> String {
    let component = match path.segments() {
        [Segment::Key(list), Segment::Index(index), ..] if list == "components" => {
            document.get("components").and_then(|components| components.get(*index))
        }
        _ => None,
    };
    component.and_then(|component| component.get("name")).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
