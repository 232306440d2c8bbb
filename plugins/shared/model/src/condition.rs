//! The conditions of the catalog: `when: CNI_PLUGIN == calico`.
//!
//! A condition is one or more clauses joined by `and`. A clause is
//! `NAME == value`, `NAME != value`, `NAME in [a, b]`, `NAME not in [a, b]`,
//! `NAME` (set and not empty) or `not NAME`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pins::Pins;
use crate::problem::shown;

/// Every clause must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    clauses: Vec<Clause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    name: String,
    /// `!=`, `not in`, `not NAME`.
    negated: bool,
    /// None: the variable is set.
    values: Option<Vec<String>>,
}

impl Condition {
    /// # Errors
    /// A text that says what was expected where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut clauses = Vec::new();
        for clause in words.split(|word| word == "and") {
            clauses.push(clause_of(clause).ok_or_else(|| {
                format!("`{}` is not a condition: write NAME, not NAME, NAME == value, NAME != value or NAME in [a, b], joined by `and`", shown(text))
            })?);
        }
        Ok(Self { clauses })
    }

    /// Whether all of its clauses hold for these pins. A variable that no line sets is as good
    /// as one that is set to nothing.
    pub fn holds(&self, pins: &Pins) -> bool {
        self.clauses.iter().all(|clause| {
            let holds = match &clause.values {
                None => pins.is_set(&clause.name),
                Some(values) => {
                    let value = pins.get(&clause.name).unwrap_or_default();
                    values.iter().any(|candidate| candidate == value)
                }
            };
            holds != clause.negated
        })
    }

    /// The variables that decide.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clauses.iter().map(|clause| clause.name.as_str())
    }
}

/// Splits into names, values, operators and brackets; quotes group.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, length) = match first {
            '[' | ']' | ',' => (first.to_string(), 1),
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or_else(|| format!("`{}` has no closing quote", shown(text)))?;
                (format!("\"{}", &rest[1..=end]), end + 2)
            }
            '=' | '!' => {
                if !rest[1..].starts_with('=') {
                    return Err(format!("`{}` has a single `{first}`: write `==` or `!=`", shown(text)));
                }
                (rest[..2].to_owned(), 2)
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | ',' | '=' | '!' | '"' | '\''))
                    .unwrap_or(rest.len());
                (rest[..end].to_owned(), end)
            }
        };
        words.push(word);
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

fn clause_of(words: &[String]) -> Option<Clause> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, negated, values) = match words.as_slice() {
        ["not", name] => (name, true, None),
        [name] => (name, false, None),
        [name, "==", value] => (name, false, Some(vec![value_of(value)?])),
        [name, "!=", value] => (name, true, Some(vec![value_of(value)?])),
        [name, "in", "[", list @ .., "]"] => (name, false, Some(list_of(list)?)),
        [name, "not", "in", "[", list @ .., "]"] => (name, true, Some(list_of(list)?)),
        _ => return None,
    };
    is_name(name).then(|| Clause { name: (*name).to_owned(), negated, values })
}

fn list_of(words: &[&str]) -> Option<Vec<String>> {
    if words.is_empty() {
        return None;
    }
    words.split(|word| *word == ",").map(|item| if let [value] = item { value_of(value) } else { None }).collect()
}

fn value_of(word: &str) -> Option<String> {
    match word.strip_prefix('"') {
        Some(quoted) => Some(quoted.to_owned()),
        None => (!matches!(word, "[" | "]" | "," | "==" | "!=" | "and" | "in" | "not")).then(|| word.to_owned()),
    }
}

/// The name of a variable: letters, digits and `_`, no digit first.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        && !matches!(text, "and" | "in" | "not")
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, Clause { name, negated, values }) in self.clauses.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            match (values.as_deref(), negated) {
                (None, false) => write!(f, "{name}")?,
                (None, true) => write!(f, "not {name}")?,
                (Some([one]), false) => write!(f, "{name} == \"{one}\"")?,
                (Some([one]), true) => write!(f, "{name} != \"{one}\"")?,
                (Some(many), negated) => {
                    let quoted: Vec<String> = many.iter().map(|value| format!("\"{value}\"")).collect();
                    write!(f, "{name} {}in [{}]", if *negated { "not " } else { "" }, quoted.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_decide_by_the_pins() {
        let pins: Pins = [("CNI", "calico"), ("ARCH", "amd64"), ("EMPTY", ""), ("S", "a b")].into_iter().collect();
        for (text, expected) in [
            ("CNI == calico", true),
            ("CNI==calico", true),
            ("CNI != calico", false),
            ("CNI in [calico, cilium]", true),
            ("CNI not in [calico, cilium]", false),
            ("CNI in ['none']", false),
            ("CNI", true),
            ("EMPTY", false),
            ("not EMPTY", true),
            ("MISSING", false),
            ("MISSING == x", false),
            ("MISSING != x", true),
            ("S == \"a b\"", true),
            ("CNI == calico and ARCH == arm64", false),
            ("CNI == calico and ARCH in [amd64] and not MISSING", true),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.holds(&pins), expected, "{text}");
            assert_eq!(Condition::parse(&condition.to_string()).unwrap(), condition, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "A =",
            "A = b",
            "A == ",
            "A in b",
            "A in []",
            "A in [a b]",
            "A == b c",
            "and",
            "A and",
            "1A",
            "A == 'x",
            "not A == b",
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
