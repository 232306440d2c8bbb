//! Reads definitions for both forms, counts what is read, and notes what is wrong.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::{Choice, Files, Found, Refusal, path, strict};
use crate::problem::{Segment, YamlPath, shown};
use crate::zarf::documents::Documents;
use crate::zarf::{self, KIND};

/// Definitions that one definition may read, each as often as it is imported.
pub(super) const MOST_IMPORTS: usize = 1000;
/// Components over all of them.
const MOST_COMPONENTS: usize = 10_000;
/// Imports of imports.
pub(super) const DEEPEST: usize = 32;

/// Boxed, for it is large and rare.
pub(super) type Refused<T> = Result<T, Box<Refusal>>;

/// Reads definitions and notes what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) files: &'a mut dyn Files,
    pub(super) choice: &'a Choice,
    pub(super) refusals: Vec<Refusal>,
    pub(super) learnt: Learnt,
    read: usize,
    components: usize,
}

/// What is learnt while definitions are read.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// The URLs of the skeletons that components import.
    pub(super) skeletons: Vec<String>,
    /// Those of them that are not fetched yet.
    pub(super) unfetched: Vec<String>,
    /// Those of components, chosen or not.
    pub(super) flavors: BTreeSet<String>,
    /// The names of package templates.
    pub(super) templates: BTreeSet<String>,
}

impl Learnt {
    /// That of a component, which may have none.
    pub(super) fn flavor(&mut self, flavor: &str) {
        if !flavor.is_empty() {
            self.flavors.insert(flavor.to_owned());
        }
    }
}

/// Where a definition lies.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// The file itself.
    pub(super) file: String,
    /// The folder that its paths are relative to.
    pub(super) folder: String,
}

impl Home {
    pub(super) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), folder: path::folder(file).to_owned() }
    }

    pub(super) fn refusal(&self, message: impl Into<String>, hint: impl Into<String>) -> Box<Refusal> {
        self.at(&YamlPath::root(), "", message, hint)
    }

    pub(super) fn at(
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
    pub(super) fn new(files: &'a mut dyn Files, choice: &'a Choice) -> Self {
        Self { files, choice, refusals: Vec::new(), learnt: Learnt::default(), read: 0, components: 0 }
    }

    /// What was composed, and what was learnt, unless anything was refused
    /// on the way. What ended it comes last: the rest stands before it in the files.
    pub(super) fn finished<T>(mut self, composed: Refused<T>) -> Result<(T, Learnt), Vec<Refusal>> {
        match composed {
            Ok(composed) if self.refusals.is_empty() => Ok((composed, self.learnt)),
            Ok(_) => Err(self.refusals),
            Err(refusal) => {
                self.refusals.push(*refusal);
                Err(self.refusals)
            }
        }
    }
}

impl Reader<'_> {
    /// One more definition is read.
    pub(super) fn reads(&mut self, home: &Home) -> Refused<()> {
        self.read += 1;
        if self.read > MOST_IMPORTS {
            let message = format!("more than {MOST_IMPORTS} definitions would be read");
            return Err(home.refusal(message, "import each component once, and not through so many others"));
        }
        Ok(())
    }

    /// The text of a file that is there.
    pub(super) fn text(&mut self, home: &Home) -> Refused<String> {
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

    pub(super) fn documents(&mut self, home: &Home) -> Refused<Documents> {
        let text = self.text(home)?;
        self.parsed(home, &text)
    }

    pub(super) fn parsed(&mut self, home: &Home, text: &str) -> Refused<Documents> {
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
    pub(super) fn typed<T: DeserializeOwned + Serialize>(&mut self, home: &Home, document: &Value) -> Refused<T> {
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
    pub(super) fn architecture(&self, home: &Home, kind: &str, named: &str) -> Refused<String> {
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

    pub(super) fn count(&mut self, home: &Home, components: usize) -> Refused<()> {
        self.components += components;
        if self.components > MOST_COMPONENTS {
            let message = format!("more than {MOST_COMPONENTS} components would be read");
            return Err(home.refusal(message, "import fewer of them"));
        }
        Ok(())
    }

    /// Whether a component is taken that is for this architecture and flavor,
    /// either of which may be empty.
    pub(super) fn fits(&self, architecture: &str, flavor: &str, built: &str) -> bool {
        let fits = |wanted: &str, asked: &str| wanted.is_empty() || wanted == asked;
        fits(architecture, built) && fits(flavor, &self.choice.flavor)
    }

    /// Notes names that two components have.
    ///
    /// # Errors
    /// No component at all: `chooser` is the field that chooses them.
    pub(super) fn check_names<'a>(
        &mut self,
        home: &Home,
        names: impl Iterator<Item = &'a str>,
        architecture: &str,
        chooser: &str,
    ) -> Refused<()> {
        let mut names = names.peekable();
        if names.peek().is_none() {
            let message = format!("no component is for {}", self.target(architecture));
            let hint = format!("choose another flavor or architecture, or correct `{chooser}` of the components");
            return Err(home.at(&YamlPath::root().key("components"), "", message, hint));
        }
        self.unique(home, names);
        Ok(())
    }

    /// What a component must be for, in words.
    pub(super) fn target(&self, architecture: &str) -> String {
        match self.choice.flavor.as_str() {
            "" => format!("`{architecture}` without a flavor"),
            flavor => format!("`{architecture}` and the flavor `{}`", shown(flavor)),
        }
    }

    fn unique<'a>(&mut self, home: &Home, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names.filter(|name| !seen.insert((*name).to_owned())) {
            let message = format!("two components are called `{}`", shown(name));
            let path = YamlPath::root().key("components");
            self.refusals.push(*home.at(&path, name, message, "rename one of them, or choose by `only`"));
        }
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
