//! Whether values fulfil a values.schema.json, as far as it can be told for sure.
//!
//! Helm validates at the deployment, with the values that it has then. What it
//! refuses with certainty is refused here: a schema that is none, and values that a
//! keyword of the common ones forbids. Where a keyword is not known here (a regular
//! expression, a format, what is left unevaluated), the verdict is open, and an
//! open verdict refuses nothing.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Places that may be looked at: a schema that refers to itself ends here.
const BUDGET: u32 = 200_000;
/// Places above one another.
const DEPTH: u32 = 64;
/// Bytes of a place in a message.
const PLACE: usize = 200;

/// What a place of the values is to a part of the schema.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Fits,
    Open,
    /// Where it is, and why not.
    Fails(String),
}

impl Verdict {
    fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// Both of two.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Fails(_) => self,
            Self::Fits => other(),
            Self::Open => match other() {
                Self::Fits => Self::Open,
                other => other,
            },
        }
    }
}

/// Why these values do not fulfil the schema; none where they do, and where nobody
/// knows.
pub fn unfulfilled(schema: &Value, values: &Value) -> Option<String> {
    let mut check = Check { root: schema, budget: BUDGET };
    match check.value(schema, values, "", 0) {
        Verdict::Fails(why) => Some(why),
        Verdict::Fits | Verdict::Open => None,
    }
}

/// Why it is no schema, by what its dialect asks of it. Without `$schema` that is
/// the one of 2020-12.
pub fn malformed(schema: &Value) -> Option<String> {
    let dialect = schema.get("$schema").and_then(Value::as_str);
    if dialect.is_some_and(|dialect| dialect.contains("draft-03")) {
        return None;
    }
    let is_present = dialect.is_none_or(|dialect| dialect.contains("2020-12"));
    Shapes { is_present, budget: BUDGET }.problem(schema, "", 0)
}

const KINDS: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// Whose value is a schema, a list of them, or a map of them.
const ONE: [&str; 8] =
    ["additionalProperties", "contains", "else", "if", "not", "propertyNames", "then", "additionalItems"];
const SEVERAL: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const NAMED: [&str; 4] = ["$defs", "definitions", "patternProperties", "properties"];
const TEXTS: [&str; 8] = ["$anchor", "$comment", "$id", "$ref", "description", "format", "pattern", "title"];
const COUNTS: [&str; 6] = ["maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"];
/// Of the present dialect alone.
const FLAGS: [&str; 3] = ["deprecated", "readOnly", "writeOnly"];

/// The shapes of keywords.
struct Shapes {
    is_present: bool,
    budget: u32,
}

impl Shapes {
    fn problem(&mut self, schema: &Value, place: &str, depth: u32) -> Option<String> {
        self.budget = self.budget.checked_sub(1)?;
        if depth > DEPTH {
            return None;
        }
        let rules = match schema {
            Value::Bool(_) => return None,
            Value::Object(rules) => rules,
            other => return Some(format!("has {} at `{}`, where a schema belongs", kind_of(other), shown(place))),
        };
        if let Some((key, wanted)) = self.misshapen(rules) {
            return Some(format!("has a `{key}` at `{}` that is not {wanted}", shown(at(place))));
        }
        let patterns = rules.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let mut patterns = patterns.map(String::as_str).chain(rules.get("pattern").and_then(Value::as_str));
        if let Some(pattern) = patterns.find(|pattern| is_broken(pattern)) {
            return Some(format!("has the pattern `{}`, which is no regular expression to Go", shown(pattern)));
        }
        let below = |key: &str| format!("{place}/{key}");
        let items = rules.get("items").filter(|items| !items.is_array()).map(|items| (below("items"), items));
        let one = ONE.iter().filter_map(|key| Some((below(key), rules.get(*key)?)));
        let listed = SEVERAL.iter().filter_map(|key| Some((key, rules.get(*key)?.as_array()?)));
        let several = listed.flat_map(|(key, list)| list.iter().map(move |part| (below(key), part)));
        let maps = NAMED.iter().filter_map(|key| Some((key, rules.get(*key)?.as_object()?)));
        let named =
            maps.flat_map(|(key, map)| map.iter().map(move |(name, part)| (format!("{place}/{key}/{name}"), part)));
        let mut parts = items.into_iter().chain(one).chain(several).chain(named);
        parts.find_map(|(place, part)| self.problem(part, &place, depth + 1))
    }

    /// The first keyword of another shape, and which it should have.
    fn misshapen(&self, rules: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
        let is_count = |value: &Value| value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0);
        let is_kind = |kind: &Value| kind.as_str().is_some_and(|kind| KINDS.contains(&kind));
        let is_distinct = |list: &Vec<Value>| list.iter().enumerate().all(|(at, one)| !list[..at].contains(one));
        let are_texts = |value: &Value| {
            value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string) && list.len() < 1000 && is_distinct(list))
        };
        let is_type = |value: &Value| match value {
            Value::Array(kinds) => {
                !kinds.is_empty() && kinds.len() <= KINDS.len() && kinds.iter().all(is_kind) && is_distinct(kinds)
            }
            kind => is_kind(kind),
        };
        let wrong = |keys: &[&'static str], fits: &dyn Fn(&Value) -> bool| {
            keys.iter().copied().find(|key| rules.get(*key).is_some_and(|value| !fits(value)))
        };
        let found = |key: Option<&'static str>, wanted: &'static str| key.map(|key| (key, wanted));
        found(wrong(&["type"], &is_type), "one of JSON's types")
            .or_else(|| found(wrong(&TEXTS, &Value::is_string), "a text"))
            .or_else(|| found(wrong(&COUNTS, &is_count), "a count"))
            .or_else(|| found(wrong(&["maximum", "minimum"], &Value::is_number), "a number"))
            .or_else(|| {
                found(wrong(&["multipleOf"], &|value| value.as_f64().is_some_and(|number| number > 0.0)), "above 0")
            })
            .or_else(|| found(wrong(&["required"], &are_texts), "a list of different texts"))
            .or_else(|| found(wrong(&["enum"], &Value::is_array), "a list"))
            .or_else(|| {
                found(
                    wrong(&SEVERAL, &|value| value.as_array().is_some_and(|list| !list.is_empty())),
                    "a list of schemas",
                )
            })
            .or_else(|| found(wrong(&NAMED, &Value::is_object), "a mapping"))
            .or_else(|| found(wrong(&["uniqueItems"], &Value::is_boolean), "`true` or `false`"))
            .or_else(|| {
                let of_present = found(wrong(&FLAGS, &Value::is_boolean), "`true` or `false`")
                    .or_else(|| found(wrong(&["exclusiveMaximum", "exclusiveMinimum"], &Value::is_number), "a number"))
                    .or_else(|| found(wrong(&["examples"], &Value::is_array), "a list"))
                    .or_else(|| found(wrong(&["items"], &|value| !value.is_array()), "a schema"));
                of_present.filter(|_| self.is_present)
            })
    }
}

fn at(place: &str) -> &str {
    if place.is_empty() { "/" } else { place }
}

/// A class or group without its end, a repetition of nothing, or a look around,
/// which Go has not.
fn is_broken(pattern: &str) -> bool {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| pattern.contains(look));
    looks_around && !pattern.contains(['\\', '[']) || pattern.starts_with(['*', '+', '?']) || is_unclosed(pattern)
}

fn is_unclosed(pattern: &str) -> bool {
    let (mut groups, mut class) = (0_i32, false);
    let mut since_class = 0;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        since_class += 1;
        match c {
            '\\' if chars.next().is_none() => return true,
            '\\' => {}
            '[' if !class => (class, since_class) = (true, 0),
            // Right behind its beginning it is a letter like any other.
            '^' if class && since_class == 1 => since_class = 0,
            ']' if class && since_class > 1 => class = false,
            '(' if !class => groups += 1,
            ')' if !class => groups -= 1,
            _ => {}
        }
        if groups < 0 {
            return true;
        }
    }
    class || groups != 0
}

struct Check<'a> {
    root: &'a Value,
    budget: u32,
}

impl<'a> Check<'a> {
    /// Of null the two Helms disagree, and what is filled in at the deployment nobody
    /// knows.
    fn value(&mut self, schema: &'a Value, value: &Value, place: &str, depth: u32) -> Verdict {
        let is_settled = match value {
            Value::Null => false,
            Value::String(text) => !text.contains("$(ZARF_"),
            _ => true,
        };
        match self.settled(schema, value, place, depth) {
            Verdict::Fails(_) if !is_settled => Verdict::Open,
            verdict => verdict,
        }
    }

    fn settled(&mut self, schema: &'a Value, value: &Value, place: &str, depth: u32) -> Verdict {
        match self.budget.checked_sub(1) {
            Some(left) if depth <= DEPTH => self.budget = left,
            _ => return Verdict::Open,
        }
        let rules = match schema {
            Value::Bool(true) => return Verdict::Fits,
            Value::Bool(false) => return fails(place, "it may not be there"),
            Value::Object(rules) => rules,
            _ => return Verdict::Open,
        };
        if let Some(reference) = rules.get("$ref") {
            // Whether its neighbours count depends on the dialect.
            let referred = self.referred(reference, value, place, depth);
            return if rules.len() > 1 { referred.and(|| Verdict::Open) } else { referred };
        }
        let known = self.known(rules, value, place, depth);
        if rules.keys().all(|key| is_known(key)) { known } else { known.and(|| Verdict::Open) }
    }

    fn referred(&mut self, reference: &Value, value: &Value, place: &str, depth: u32) -> Verdict {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).filter(|text| !text.contains('%'));
        // An identity within it changes what a reference is relative to.
        let has_identity = self.root.get("$id").or_else(|| self.root.get("id")).is_some();
        match pointer.filter(|_| !has_identity).and_then(|pointer| self.root.pointer(pointer)) {
            Some(target) => self.value(target, value, place, depth + 1),
            None => Verdict::Open,
        }
    }

    fn known(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) -> Verdict {
        of_kind(rules, value, place)
            .and(|| chosen(rules, value, place))
            .and(|| bounded(rules, value, place))
            .and(|| self.combined(rules, value, place, depth))
            .and(|| match value {
                Value::Object(fields) => self.fields(rules, fields, place, depth),
                Value::Array(items) => self.items(rules, items, place, depth),
                _ => Verdict::Fits,
            })
    }

    fn combined(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) -> Verdict {
        let mut all = Verdict::Fits;
        for part in list(rules, "allOf") {
            all = all.and(|| self.value(part, value, place, depth + 1));
        }
        all.and(|| self.any(rules, value, place, depth))
            .and(|| self.one(rules, value, place, depth))
            .and(|| match rules.get("not").map(|part| self.value(part, value, place, depth + 1)) {
                None | Some(Verdict::Fails(_)) => Verdict::Fits,
                Some(Verdict::Open) => Verdict::Open,
                Some(Verdict::Fits) => fails(place, "it is what `not` excludes"),
            })
            .and(|| self.conditional(rules, value, place, depth))
    }

    fn verdicts(
        &mut self,
        rules: &'a Map<String, Value>,
        key: &str,
        value: &Value,
        place: &str,
        depth: u32,
    ) -> Vec<Verdict> {
        list(rules, key).map(|part| self.value(part, value, place, depth + 1)).collect()
    }

    fn any(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) -> Verdict {
        let verdicts = self.verdicts(rules, "anyOf", value, place, depth);
        if verdicts.is_empty() || verdicts.contains(&Verdict::Fits) {
            Verdict::Fits
        } else if verdicts.iter().any(Verdict::is_open) {
            Verdict::Open
        } else {
            fails(place, "it fits none of `anyOf`")
        }
    }

    fn one(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) -> Verdict {
        let verdicts = self.verdicts(rules, "oneOf", value, place, depth);
        let fitting = verdicts.iter().filter(|verdict| **verdict == Verdict::Fits).count();
        match fitting {
            _ if verdicts.is_empty() => Verdict::Fits,
            2.. => fails(place, "it fits more than one of `oneOf`"),
            _ if verdicts.iter().any(Verdict::is_open) => Verdict::Open,
            1 => Verdict::Fits,
            0 => fails(place, "it fits none of `oneOf`"),
        }
    }

    fn conditional(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) -> Verdict {
        let Some(condition) = rules.get("if") else { return Verdict::Fits };
        let branch = match self.value(condition, value, place, depth + 1) {
            Verdict::Open => return Verdict::Open,
            Verdict::Fits => "then",
            Verdict::Fails(_) => "else",
        };
        rules.get(branch).map_or(Verdict::Fits, |part| self.value(part, value, place, depth + 1))
    }

    fn fields(
        &mut self,
        rules: &'a Map<String, Value>,
        fields: &Map<String, Value>,
        place: &str,
        depth: u32,
    ) -> Verdict {
        for name in list(rules, "required").filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return fails(place, &format!("`{}` is missing", shown(name)));
            }
        }
        let known = rules.get("properties").and_then(Value::as_object);
        let has_patterns = rules.get("patternProperties").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
        let mut verdict = Verdict::Fits;
        for (name, value) in fields {
            let own = known.and_then(|known| known.get(name));
            let rule = own.or_else(|| rules.get("additionalProperties").filter(|_| !has_patterns));
            let below = format!("{place}/{name}");
            verdict = verdict.and(|| match rule {
                Some(Value::Bool(false)) if own.is_none() => fails(&below, "the schema knows no such value"),
                Some(rule) => self.value(rule, value, &below, depth + 1),
                None => Verdict::Fits,
            });
        }
        if has_patterns { verdict.and(|| Verdict::Open) } else { verdict }
    }

    fn items(&mut self, rules: &'a Map<String, Value>, items: &[Value], place: &str, depth: u32) -> Verdict {
        let Some(rule) = rules.get("items") else { return Verdict::Fits };
        // A list of schemas means different things in different dialects.
        if rule.is_array() || rules.contains_key("prefixItems") {
            return Verdict::Open;
        }
        let mut verdict = Verdict::Fits;
        for (at, item) in items.iter().enumerate() {
            verdict = verdict.and(|| self.value(rule, item, &format!("{place}/{at}"), depth + 1));
        }
        verdict
    }
}

/// Keywords that are checked, and those that say nothing about values.
fn is_known(key: &str) -> bool {
    matches!(
        key,
        "type"
            | "enum"
            | "const"
            | "minimum"
            | "maximum"
            | "minLength"
            | "maxLength"
            | "minItems"
            | "maxItems"
            | "minProperties"
            | "maxProperties"
            | "allOf"
            | "anyOf"
            | "oneOf"
            | "not"
            | "if"
            | "then"
            | "else"
            | "required"
            | "properties"
            | "patternProperties"
            | "additionalProperties"
            | "items"
            | "prefixItems"
            | "$schema"
            | "$id"
            | "$comment"
            | "$defs"
            | "definitions"
            | "title"
            | "description"
            | "default"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
    )
}

fn of_kind(rules: &Map<String, Value>, value: &Value, place: &str) -> Verdict {
    let fits = |kind: &Value| match kind.as_str() {
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => true,
    };
    let (is_met, wanted) = match rules.get("type") {
        None => return Verdict::Fits,
        Some(Value::Array(kinds)) => (kinds.iter().any(fits), kinds.iter().filter_map(Value::as_str).collect()),
        Some(kind) => (fits(kind), kind.as_str().into_iter().collect::<Vec<_>>()),
    };
    if is_met { Verdict::Fits } else { fails(place, &format!("it is {}, not {}", kind_of(value), wanted.join(" or "))) }
}

fn chosen(rules: &Map<String, Value>, value: &Value, place: &str) -> Verdict {
    let choices = rules.get("enum").and_then(Value::as_array);
    if choices.is_some_and(|choices| !choices.iter().any(|choice| is_equal(choice, value))) {
        return fails(place, "it is none of the choices in `enum`");
    }
    match rules.get("const") {
        Some(only) if !is_equal(only, value) => fails(place, "it is not what `const` says"),
        _ => Verdict::Fits,
    }
}

/// Numbers are equal by what they are, not by how they are written.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_equal(a, b)))
        }
        _ => a == b,
    }
}

fn bounded(rules: &Map<String, Value>, value: &Value, place: &str) -> Verdict {
    let (size, low, high) = match value {
        Value::Number(number) => (number.as_f64(), "minimum", "maximum"),
        Value::String(text) => (Some(text.chars().count() as f64), "minLength", "maxLength"),
        Value::Array(items) => (Some(items.len() as f64), "minItems", "maxItems"),
        Value::Object(fields) => (Some(fields.len() as f64), "minProperties", "maxProperties"),
        _ => return Verdict::Fits,
    };
    let Some(size) = size else { return Verdict::Open };
    let limit = |key: &str| rules.get(key).and_then(Value::as_f64);
    if let Some(low) = limit(low).filter(|low| size < *low) {
        return fails(place, &format!("it is {size}, and {low} is the least"));
    }
    match limit(high).filter(|high| size > *high) {
        Some(high) => fails(place, &format!("it is {size}, and {high} is the most")),
        None => Verdict::Fits,
    }
}

fn list<'a>(rules: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    rules.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn fails(place: &str, why: &str) -> Verdict {
    let mut text = format!("`{}`: ", shown(at(place)));
    let _ = text.write_str(why);
    Verdict::Fails(text)
}

fn shown(text: &str) -> String {
    crate::shown(&text.chars().take(PLACE).collect::<String>())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_certain_is_refused_and_nothing_else() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "integer", "minimum": 2, "maximum": 5},
                "b": {"enum": ["x", 1]},
                "c": {"$ref": "#/definitions/c"},
                "d": {"oneOf": [{"type": "string"}, {"type": "null"}]},
                "e": {"if": {"const": 1}, "then": false},
                "f": {"not": {"type": "string"}},
                "g": {"items": {"type": "string"}, "minItems": 1},
                "h": {"type": "string", "pattern": "^v"},
                "i": {"anyOf": [{"format": "uri"}, {"type": "integer"}]},
                "j": {"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false},
            },
            "additionalProperties": false,
            "definitions": {"c": {"type": "object", "additionalProperties": {"type": "boolean"}}},
        });
        for (values, why) in [
            (json!({"a": 2, "b": 1.0, "c": {"x": true}, "d": null, "e": 2, "f": 1, "g": ["x"]}), None),
            (json!({"a": 2.0}), None),
            // A regular expression, a format: nobody knows.
            (json!({"a": 2, "h": "x", "i": "x", "j": {"y": 1}}), None),
            (json!({"a": null}), None),
            (json!({"a": "$(ZARF_VAR_A)"}), None),
            (json!({"a": 2, "h": 1}), Some("/h")),
            (json!({}), Some("`a` is missing")),
            (json!({"a": 1}), Some("2 is the least")),
            (json!({"a": 6}), Some("5 is the most")),
            (json!({"a": "2"}), Some("a string, not integer")),
            (json!({"a": 2, "b": "y"}), Some("enum")),
            (json!({"a": 2, "c": {"x": 1}}), Some("`/c/x`")),
            (json!({"a": 2, "d": 1}), Some("none of `oneOf`")),
            (json!({"a": 2, "e": 1}), Some("may not be there")),
            (json!({"a": 2, "f": "x"}), Some("`not`")),
            (json!({"a": 2, "g": []}), Some("1 is the least")),
            (json!({"a": 2, "g": [1]}), Some("`/g/0`")),
            (json!({"a": 2, "z": 1}), Some("`/z`: the schema knows no such value")),
        ] {
            let found = unfulfilled(&schema, &values);
            match why {
                Some(why) => assert!(found.as_ref().is_some_and(|text| text.contains(why)), "{values}: {found:?}"),
                None => assert_eq!(found, None, "{values}"),
            }
        }
    }

    /// Recorded from Helm.
    #[test]
    fn a_schema_must_be_one() {
        for (schema, is_one) in [
            (json!({"type": "objekt"}), false),
            (json!({"properties": {"a": {"type": ["string", "nil"]}}}), false),
            (json!({"properties": {"a": []}}), false),
            (json!({"pattern": "["}), false),
            (json!({"pattern": "(a|b"}), false),
            (json!({"pattern": "a)"}), false),
            (json!({"pattern": "[]a](x)[^]]\\("}), true),
            (json!({"properties": {"type": {"type": "string"}}, "default": {"type": 1}}), true),
            (json!({"items": [{"type": "string"}]}), false),
            (json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}), true),
            (json!({"title": 1}), false),
            (json!({"minimum": "1"}), false),
            (json!({"minLength": -1}), false),
            (json!({"minLength": 1.0}), true),
            (json!({"minLength": 1.5}), false),
            (json!({"required": "v"}), false),
            (json!({"required": ["v", "v"]}), false),
            (json!({"required": []}), true),
            (json!({"enum": 1}), false),
            (json!({"enum": [1, 1]}), true),
            (json!({"allOf": []}), false),
            (json!({"properties": null}), false),
            (json!({"patternProperties": {"[": {}}}), false),
            (json!({"type": ["string", "string"]}), false),
            (json!({"multipleOf": 0}), false),
            (json!({"examples": 1}), false),
            (json!({"exclusiveMinimum": true}), false),
            (json!({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": true}), true),
            (json!({"unknown": {"type": "x"}}), true),
            (json!({"pattern": "(?=a)"}), false),
            (json!({"pattern": "*a"}), false),
            (json!(true), true),
        ] {
            assert_eq!(malformed(&schema).is_none(), is_one, "{schema}: {:?}", malformed(&schema));
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert_eq!(unfulfilled(&schema, &json!({})), None);
    }
}
