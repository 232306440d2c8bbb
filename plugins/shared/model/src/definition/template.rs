//! Package templates: texts that stand for what is only known when a package is
//! created.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::Choice;

/// In front of the name of a package template.
const PACKAGE: &str = "###ZARF_PKG_TMPL_";
/// The same before Zarf renamed it.
const DEPRECATED: &str = "###ZARF_PKG_VAR_";
const ARCHITECTURE: &str = "###ZARF_PKG_ARCH###";
const COMPONENT: &str = "###ZARF_COMPONENT_NAME###";
const END: &str = "###";

/// Whether a text holds a package template.
pub(super) fn is_in(text: &str) -> bool {
    text.contains(PACKAGE) || text.contains(DEPRECATED)
}

/// The names of package templates.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// All that there are.
    pub(super) all: BTreeSet<String>,
    /// Those without a value.
    pub(super) missing: BTreeSet<String>,
}

/// Fills in a whole definition.
pub(super) fn fill(document: &mut Value, architecture: &str, choice: &Choice) -> Names {
    let mut filler = Filler { architecture, choice, names: Names::default() };
    let Value::Mapping(mapping) = document else { return filler.names };
    for (key, value) in mapping.iter_mut() {
        match value {
            Value::Sequence(components) if key.as_str() == Some("components") => {
                for component in components {
                    let name = component.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                    filler.value(component, Some(&name));
                }
            }
            value => filler.value(value, None),
        }
    }
    filler.names
}

struct Filler<'a> {
    architecture: &'a str,
    choice: &'a Choice,
    names: Names,
}

impl Filler<'_> {
    fn value(&mut self, value: &mut Value, component: Option<&str>) {
        match value {
            Value::String(text) if text.contains(END) => *text = self.filled(text, component),
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.value(item, component)),
            Value::Mapping(mapping) => mapping.iter_mut().for_each(|(_, value)| self.value(value, component)),
            _ => {}
        }
    }

    /// From left to right; what was filled in is not looked at again.
    fn filled(&mut self, text: &str, component: Option<&str>) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(END) {
            done.push_str(&rest[..at]);
            rest = &rest[at..];
            let (value, length) = self.one(rest, component).unwrap_or((END[..1].to_owned(), 1));
            done.push_str(&value);
            rest = &rest[length..];
        }
        done + rest
    }

    /// The value of the template that `text` begins with, and its bytes there.
    fn one(&mut self, text: &str, component: Option<&str>) -> Option<(String, usize)> {
        if text.starts_with(ARCHITECTURE) {
            return Some((self.architecture.to_owned(), ARCHITECTURE.len()));
        }
        if let Some(component) = component.filter(|_| text.starts_with(COMPONENT)) {
            return Some((component.to_owned(), COMPONENT.len()));
        }
        let prefix = [PACKAGE, DEPRECATED].into_iter().find(|prefix| text.starts_with(prefix))?;
        let named = &text[prefix.len()..];
        let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let name = &named[..named.find(|c| !is_plain(c)).unwrap_or(named.len())];
        if name.is_empty() || !named[name.len()..].starts_with(END) {
            return None;
        }
        let length = prefix.len() + name.len() + END.len();
        self.names.all.insert(name.to_owned());
        let Some(value) = self.choice.set.get(name) else {
            self.names.missing.insert(name.to_owned());
            return Some((text[..length].to_owned(), length));
        };
        Some((value.clone(), length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_once_and_what_is_missing_is_named() {
        let text = "metadata: {description: 'a ###ZARF_PKG_TMPL_A### ###ZARF_PKG_VAR_B###', version: '###ZARF_COMPONENT_NAME###'}\n\
                    components: [{name: web, images: ['x:###ZARF_PKG_ARCH###', '####ZARF_PKG_TMPL_A###', '###ZARF_VAR_X###', \
                    '###ZARF_PKG_TMPL_C###-###ZARF_COMPONENT_NAME###', '###ZARF_PKG_TMPL_a###']}]";
        let mut document: Value = serde_yaml::from_str(text).unwrap();
        let set = [("A", "###ZARF_PKG_ARCH###"), ("B", "\"b\": c")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let names = fill(&mut document, "arm64", &Choice { set, ..Choice::default() });
        assert_eq!(names.missing.into_iter().collect::<Vec<_>>(), ["C"]);
        assert_eq!(names.all.into_iter().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!(document["metadata"]["description"], "a ###ZARF_PKG_ARCH### \"b\": c");
        assert_eq!(document["metadata"]["version"], COMPONENT, "no component is there");
        let images: Vec<&str> =
            document["components"][0]["images"].as_sequence().unwrap().iter().filter_map(Value::as_str).collect();
        let expected = [
            "x:arm64",
            "####ZARF_PKG_ARCH###",
            "###ZARF_VAR_X###",
            "###ZARF_PKG_TMPL_C###-web",
            "###ZARF_PKG_TMPL_a###",
        ];
        assert_eq!(images, expected);
    }
}
