//! catalog.yaml: what versions.env must set, and the check that the pins make
//! sound components.
//!
//! Everything that the pins turn into is checked here, before the first step
//! runs, so that a typo in a template or a pin is named with its line.

use model::catalog::{Catalog, Generation, Required};
use model::condition::is_name;
use model::problem::{Problem, YamlPath, shown};
use model::template;
use regex::Regex;

use crate::source::{Located, Source, refuse_all};
use crate::span::Spans;
use crate::versions_env::VersionsEnv;
use base::error::Result;

/// Architectures that a package can be made for.
pub(crate) const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The catalog and where its lines are.
#[derive(Clone, Debug)]
pub(crate) struct CatalogFile {
    pub catalog: Catalog,
    pub source: Source,
    pub spans: Spans,
}

impl CatalogFile {
    /// # Errors
    /// `configuration`: not a catalog, or requirements that make no sense.
    pub(crate) fn parse(source: Source) -> Result<Self> {
        let (catalog, spans) = source.checked(None, requirement_problems)?;
        Ok(Self { catalog, source, spans })
    }

    /// Checks the pins against what the catalog requires.
    ///
    /// # Errors
    /// `configuration`, listing every variable that is missing, empty or has
    /// a value that is not accepted.
    pub(crate) fn check_pins(&self, versions: &VersionsEnv) -> Result<()> {
        let mut problems = Vec::new();
        let mut is_architecture_told = false;
        for (index, required) in self.catalog.required.iter().enumerate() {
            if required.when.as_ref().is_none_or(|when| when.holds(&versions.pins)) {
                let by = self.source.place_of(&self.spans, &YamlPath::root().key("required").index(index).key("name"));
                let problem = pin_problem(required, versions, &by);
                is_architecture_told |= problem.is_some() && required.name == "TARGET_ARCH";
                problems.extend(problem);
            }
        }
        if !is_architecture_told {
            problems.extend(architecture_problem(versions));
        }
        refuse_all(problems)
    }

    /// What the pins ask for.
    ///
    /// # Errors
    /// `configuration` with the line of every template that cannot be
    /// expanded.
    pub(crate) fn generate(&self, versions: &VersionsEnv) -> Result<Generation> {
        self.catalog.generate(&versions.pins).map_err(|problems| {
            let located = problems.iter().map(|problem| self.source.locate(&self.spans, problem)).collect();
            refuse_all(located).err().unwrap_or_else(|| base::error::Error::configuration("the catalog is not sound"))
        })
    }

    /// A problem of the generated manifest, placed at the template that made
    /// it, with the pins that are in it: one of them may be the mistake.
    pub(crate) fn locate(&self, generation: &Generation, versions: &VersionsEnv, problem: &Problem) -> Located {
        let template = generation.origin(&problem.path);
        let names = template::variables(self.spans.text(&template).unwrap_or_default());
        let pin = |name: &str| Some(format!("{name} is `{}` in {}", shown(versions.get(name)?), versions.place(name)));
        let pins: Vec<String> = names.into_iter().filter_map(pin).collect();
        let at = Problem { path: template.clone(), ..problem.clone() };
        let mut located = self.source.locate(&self.spans, &at);
        if !pins.is_empty() {
            located.message = format!("{}; {}", located.message, pins.join(", "));
        }
        located
    }
}

fn requirement_problems(catalog: &Catalog) -> Vec<Problem> {
    let mut problems = Vec::new();
    let section = YamlPath::root().key("required");
    for (index, required) in catalog.required.iter().enumerate() {
        let path = section.index(index);
        if !is_name(&required.name) {
            problems.push(Problem::new(
                &path.key("name"),
                format!("`{}` is not the name of a variable", shown(&required.name)),
                "letters, digits and `_`, no digit first",
            ));
        }
        let same = |other: &Required| other.name == required.name && other.when == required.when;
        if catalog.required[..index].iter().any(same) {
            problems.push(Problem::new(
                &path.key("name"),
                format!("`{}` is required a second time", shown(&required.name)),
                "remove one of the two entries",
            ));
        }
        if let Some(Err(error)) = required.pattern.as_deref().map(anchored) {
            let message = error.to_string();
            let message = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            problems.push(Problem::new(
                &path.key("pattern"),
                format!("`pattern` is not a regular expression: {}", shown(message)),
                "correct it; single quotes keep its backslashes, for example '^v\\d+\\.\\d+\\.\\d+$'",
            ));
        }
    }
    problems
}

fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build()
}

fn pin_problem(required: &Required, versions: &VersionsEnv, by: &str) -> Option<Located> {
    let name = &required.name;
    let why = required.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    let example = required.example.as_ref().map(|text| format!("\"{text}\"")).unwrap_or_else(|| "\"…\"".to_owned());
    let problem = |message: String, hint: String| {
        Some(Located { place: versions.place(name), key: String::new(), message, hint })
    };
    let set = format!("add the line {name}={example} to versions.env");
    match versions.get(name) {
        None => problem(format!("{name} is missing{why}; {by} requires it"), set),
        Some("") => problem(format!("{name} is empty{why}; {by} requires it"), format!("write {name}={example}")),
        Some(value) if !required.allowed.is_empty() && !required.allowed.iter().any(|allowed| allowed == value) => {
            problem(
                format!("{name} is `{}`, which is not one of the accepted values", shown(value)),
                format!("use one of: {} (see {by})", required.allowed.join(", ")),
            )
        }
        Some(value) => {
            let pattern = required.pattern.as_deref()?;
            let fits = anchored(pattern).is_ok_and(|pattern| pattern.is_match(value));
            if fits {
                return None;
            }
            let like = required.example.as_ref().map(|text| format!("write it like {text}; ")).unwrap_or_default();
            problem(
                format!("{name} is `{}`, which does not match `{}`", shown(value), shown(pattern)),
                format!("{like}the pattern is in {by}"),
            )
        }
    }
}

/// The host needs the architecture whatever the catalog requires.
fn architecture_problem(versions: &VersionsEnv) -> Option<Located> {
    let problem = |message: String| {
        Some(Located {
            place: versions.place("TARGET_ARCH"),
            key: String::new(),
            message,
            hint: "write TARGET_ARCH=\"amd64\" or TARGET_ARCH=\"arm64\"".into(),
        })
    };
    match versions.get("TARGET_ARCH") {
        None => problem("TARGET_ARCH is missing: every build is for one architecture".into()),
        Some(value) if ARCHITECTURES.contains(&value) => None,
        Some(value) => problem(format!("TARGET_ARCH is `{}`; packages are made for amd64 and arm64", shown(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = "required:\n  - {name: K, description: the release, pattern: 'v\\d+', example: v1}\n  - name: C\n    when: CNI == calico\n  - {name: CNI, allowed: [calico, none]}\nimages:\n  - image: 'r.io/A:{{K}}'\n";

    fn catalog(text: &str) -> Result<CatalogFile> {
        CatalogFile::parse(Source::of("config/catalog.yaml".into(), text.as_bytes().to_vec()).unwrap())
    }

    fn versions(text: &str) -> VersionsEnv {
        VersionsEnv::parse(&Source::of("config/versions.env".into(), text.as_bytes().to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn pins_are_checked_against_the_requirements() {
        let catalog = catalog(CATALOG).unwrap();
        let good = "K=v1\nCNI=none\nTARGET_ARCH=arm64\n";
        assert!(catalog.check_pins(&versions(good)).is_ok());
        for (text, place, word) in [
            (
                "CNI=none\nTARGET_ARCH=amd64",
                "config/versions.env: ",
                "K is missing (the release); config/catalog.yaml:2:12 requires it",
            ),
            ("K=\nCNI=none\nTARGET_ARCH=amd64", "config/versions.env:1:1: ", "K is empty"),
            ("CNI=none\nK=1v1\nTARGET_ARCH=amd64", "config/versions.env:2:1: ", "does not match"),
            ("K=v1\nCNI=calcio\nTARGET_ARCH=amd64", "config/versions.env:2:1: ", "not one of"),
            ("K=v1\nCNI=calico\nTARGET_ARCH=amd64", "config/versions.env: ", "C is missing"),
            ("K=v1\nCNI=none", "config/versions.env: ", "TARGET_ARCH is missing"),
            ("K=v1\nCNI=none\nTARGET_ARCH=x86_64", "config/versions.env:3:1: ", "TARGET_ARCH is `x86_64`"),
        ] {
            let error = catalog.check_pins(&versions(text)).unwrap_err();
            assert!(
                error.message().starts_with(place) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn every_missing_pin_is_listed() {
        let error = catalog(CATALOG).unwrap().check_pins(&versions("")).unwrap_err();
        assert_eq!(error.items().len(), 3, "{:?}", error.items());
    }

    #[test]
    fn an_architecture_that_is_required_is_told_once() {
        let catalog = catalog("required:\n  - {name: TARGET_ARCH, allowed: [amd64, arm64]}\n").unwrap();
        for text in ["", "TARGET_ARCH=x86"] {
            let error = catalog.check_pins(&versions(text)).unwrap_err();
            assert!(error.items().is_empty() && error.message().contains("TARGET_ARCH"), "{:?}", error.items());
        }
    }

    #[test]
    fn a_pin_that_spoils_its_template_is_named_with_its_line() {
        let catalog = catalog(CATALOG).unwrap();
        let versions = versions("CNI=none\nK=a:b\n");
        let generation = catalog.generate(&versions).unwrap();
        let image = YamlPath::root().key("images").key("auto_discover").index(0);
        let located = catalog.locate(&generation, &versions, &Problem::new(&image, "is bad", "mend it"));
        assert_eq!((located.key.as_str(), located.place.as_str()), ("images[0].image", "config/catalog.yaml:7:12"));
        assert_eq!(located.message, "is bad; K is `a:b` in config/versions.env:2:1");
    }

    #[test]
    fn bad_requirements_are_refused_at_their_line() {
        for (text, place, word) in [
            ("required:\n  - {name: 1K}\n", "config/catalog.yaml:2:12: ", "not the name"),
            ("required:\n  - {name: K}\n  - {name: K}\n", "config/catalog.yaml:3:12: ", "second time"),
            ("required:\n  - {name: K, pattern: '('}\n", "config/catalog.yaml:2:24: ", "regular expression"),
            ("required:\n  - {name: K, when: 'A ='}\n", "config/catalog.yaml:2:", "single `=`"),
            ("tools:\n  - {name: a, versoin: b}\n", "config/catalog.yaml:2:", "unknown field `versoin`"),
        ] {
            let error = catalog(text).unwrap_err();
            assert!(
                error.message().starts_with(place) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
        }
    }

    #[test]
    fn a_template_without_its_pin_is_named_with_its_line() {
        let error = catalog(CATALOG).unwrap().generate(&versions("")).unwrap_err();
        assert!(
            error.message().starts_with("config/catalog.yaml:7:12: images[0].image: `{{K}}`"),
            "{}",
            error.message()
        );
    }
}
