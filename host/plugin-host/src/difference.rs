//! What another version of a plugin changes, for whoever decides whether it
//! takes the place of the one that is pinned. No I/O.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::description::{Description, Want};
use super::text;

/// Changes of a schema that are listed one by one.
const MOST: usize = 40;
/// Bytes of a value that are shown.
const SHOWN: usize = 60;

/// One thing that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `name`, `version`, `contract`, `wants` or `schema`.
    pub what: &'static str,
    /// Which key of the schema; empty of the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// None where it is new.
    pub before: Option<String>,
    /// None where it is gone.
    pub after: Option<String>,
}

impl Change {
    fn of(what: &'static str, before: Option<String>, after: Option<String>) -> Self {
        Self { what, key: String::new(), before, after }
    }
}

impl std::fmt::Display for Change {
    /// `wants: + fetch: https://example.com/`, `version: 1.0.0 → 1.1.0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, key, before, after } = self;
        write!(f, "{what}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{before} → {after}"),
            (None, after) => write!(f, "+ {}", after.as_deref().unwrap_or_default()),
            (Some(before), None) => write!(f, "- {before}"),
        }
    }
}

/// What a plugin says about itself, and the contract that it speaks.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its own words.
    pub description: &'a Description,
    /// `1.1.0`; None where its name does not tell.
    pub contract: Option<&'a str>,
}

/// Everything that differs, the gravest first.
pub fn changes(before: Said<'_>, after: Said<'_>) -> Vec<Change> {
    let (old, new) = (before.description, after.description);
    let owned = |text: &str| Some(text.to_owned());
    let mut changes = Vec::new();
    let contract = (before.contract.map(str::to_owned), after.contract.map(str::to_owned));
    for (what, before, after) in [
        ("name", owned(&old.name), owned(&new.name)),
        ("version", owned(&old.version), owned(&new.version)),
        ("contract", contract.0, contract.1),
    ] {
        if before != after {
            changes.push(Change::of(what, before, after));
        }
    }
    changes.extend(new.wants.iter().filter(|want| !old.wants.contains(want)).map(|want| wants(None, Some(want))));
    changes.extend(old.wants.iter().filter(|want| !new.wants.contains(want)).map(|want| wants(Some(want), None)));
    changes.extend(schema(&old.configuration_schema, &new.configuration_schema));
    changes
}

fn wants(before: Option<&Want>, after: Option<&Want>) -> Change {
    Change::of("wants", before.map(Want::to_string), after.map(Want::to_string))
}

fn schema(before: &Value, after: &Value) -> Vec<Change> {
    let (old, new) = (flat(before), flat(after));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes: Vec<Change> = keys
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change {
            what: "schema",
            key: text::line(key, 200),
            before: old.get(key).cloned(),
            after: new.get(key).cloned(),
        })
        .collect();
    if changes.len() > MOST {
        let more = changes.len() - MOST;
        changes.truncate(MOST);
        changes.push(Change::of("schema", None, Some(format!("and {more} more keys are not what they were"))));
    }
    changes
}

/// Each scalar by its place. What is in a list has no place there, for the order
/// of a schema's lists says nothing.
fn flat(schema: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten(schema, "", &mut found);
    found
}

fn flatten(value: &Value, at: &str, found: &mut BTreeMap<String, String>) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(value, &below(name), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| match item {
            Value::Object(_) | Value::Array(_) => flatten(item, &format!("{at}[{index}]"), found),
            scalar => {
                found.insert(format!("{at}[{}]", shown(scalar)), "listed".to_owned());
            }
        }),
        scalar => {
            found.insert(at.to_owned(), shown(scalar));
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text::line(&text, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description(version: &str, wants: &[&str], schema: Value) -> Description {
        Description {
            name: "x".into(),
            version: version.into(),
            summary: String::new(),
            configuration_schema: schema,
            wants: wants.iter().map(|&prefix| Want::Fetch(prefix.into())).collect(),
        }
    }

    fn told(before: &Description, after: &Description) -> Vec<String> {
        let said = |description| Said { description, contract: Some("1.1.0") };
        changes(said(before), said(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_is_a_line_each() {
        let old = description(
            "1",
            &["https://a/", "https://b/"],
            json!({"required": ["one", "two"], "properties": {"one": {"type": "string"}, "gone": {"type": "null"}}}),
        );
        let new = description(
            "2",
            &["https://b/", "https://c/"],
            json!({"required": ["two"], "properties": {"one": {"type": "array"}}}),
        );
        assert_eq!(told(&old, &old), [""; 0]);
        assert_eq!(
            told(&old, &new),
            [
                "version: 1 → 2",
                "wants: + fetch: https://c/",
                "wants: - fetch: https://a/",
                "schema: properties.gone.type: - null",
                "schema: properties.one.type: string → array",
                "schema: required[one]: - listed",
            ]
        );
        let contract = |contract| Said { description: &old, contract };
        let changed = changes(contract(Some("1.0.0")), contract(None));
        assert_eq!((changed[0].what, &changed[0].after), ("contract", &None));
    }

    #[test]
    fn a_long_schema_is_not_a_long_screen() {
        let many: serde_json::Map<String, Value> =
            (0..100).map(|n| (format!("k\u{1b}{n}"), json!("v".repeat(999)))).collect();
        let told = told(&description("1", &[], json!({})), &description("1", &[], Value::Object(many)));
        assert_eq!(told.len(), MOST + 1);
        assert!(told.iter().all(|line| line.len() < 200 && !line.contains('\u{1b}')), "{told:?}");
        assert!(told[MOST].contains("60 more"), "{}", told[MOST]);
    }
}
