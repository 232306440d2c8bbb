//! Does a configuration fit the JSON Schema of its plugin? The keywords that
//! schemas of typed configurations are made of; what is not understood is left
//! to the plugin, which checks everything itself. A schema comes from a guest,
//! so the work is bounded.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

/// What may be looked at: places, choices, names. A schema that refers to
/// itself ends here, and so does one that names a large list again and again.
const BUDGET: usize = 1_000_000;
/// Places above one another that are looked into.
const DEPTH: u32 = 64;
/// Problems that are told, choices that a problem names, and bytes of its text:
/// what a schema holds never becomes text without a bound.
const TOLD: usize = 10;
const TEXT: usize = 1000;

/// What is wrong, each with its place below `root`. Keys of the outermost
/// object that `provided` names are not missed: somebody else fills them in.
pub(super) fn problems(schema: &Value, value: &Value, root: &str, provided: &[&str]) -> Vec<String> {
    let mut check = Check { schema, root, provided, budget: BUDGET, count: 0, found: Vec::new() };
    check.value(schema, value, root, 0);
    check.found
}

struct Check<'a> {
    schema: &'a Value,
    root: &'a str,
    provided: &'a [&'a str],
    budget: usize,
    /// Problems, told or not.
    count: usize,
    found: Vec<String>,
}

impl<'a> Check<'a> {
    /// Whether so much may still be looked at. What may not is left to the
    /// plugin.
    fn spend(&mut self, work: usize) -> bool {
        let left = self.budget.checked_sub(work);
        self.budget = left.unwrap_or(0);
        left.is_some()
    }

    /// Counts a problem, and makes its text where it will be told.
    fn problem(&mut self, text: impl FnOnce(&mut Text) -> fmt::Result) {
        self.count += 1;
        if self.found.len() < TOLD {
            let mut bounded = Text::default();
            // An error means that the text is full.
            let _ = text(&mut bounded);
            self.found.push(bounded.0);
        }
    }

    fn fits(&mut self, schema: &'a Value, value: &Value, place: &str, depth: u32) -> bool {
        let (count, told) = (self.count, self.found.len());
        self.value(schema, value, place, depth);
        let fits = self.count == count;
        self.count = count;
        self.found.truncate(told);
        fits
    }

    fn value(&mut self, schema: &'a Value, value: &Value, place: &str, depth: u32) {
        if depth >= DEPTH || !self.spend(1) {
            return;
        }
        let Value::Object(rules) = schema else { return };
        if let Some(target) = rules.get("$ref").and_then(Value::as_str) {
            return self.referred(target, value, place, depth);
        }
        if let Some(wanted) = rules.get("type").filter(|wanted| !self.has_type(wanted, value)) {
            return self.problem(|text| {
                write!(text, "`{place}` is {}, and ", kind_of(value))?;
                write_kinds(text, wanted)?;
                text.write_str(" is wanted")
            });
        }
        self.choices(rules, value, place);
        for all in list(rules, "allOf") {
            self.value(all, value, place, depth + 1);
        }
        self.forms(rules, value, place, depth);
        match (value, rules.get("items")) {
            (Value::Object(fields), _) => self.fields(rules, fields, place, depth),
            (Value::Array(items), Some(rule)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(rule, item, &format!("{place}[{index}]"), depth + 1);
                }
            }
            _ => {}
        }
    }

    /// A reference into the same schema; others are not understood.
    fn referred(&mut self, target: &str, value: &Value, place: &str, depth: u32) {
        let pointer = target.strip_prefix('#').filter(|pointer| self.spend(pointer.len()));
        if let Some(target) = pointer.and_then(|pointer| self.schema.pointer(pointer)) {
            self.value(target, value, place, depth + 1);
        }
    }

    /// `enum` and `const`.
    fn choices(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str) {
        let choices = rules.get("enum").and_then(Value::as_array);
        let only = rules.get("const");
        let count = choices.map_or(0, Vec::len) + usize::from(only.is_some());
        if count == 0 || !self.spend(count.saturating_mul(weight(value))) {
            return;
        }
        if let Some(choices) = choices.filter(|choices| !choices.contains(value)) {
            self.problem(|text| {
                write!(text, "`{place}` is {value}, and one of ")?;
                write_list(text, choices.iter().take(TOLD))?;
                text.write_str(" is wanted")
            });
        }
        if only.is_some_and(|only| only != value) {
            self.problem(|text| write!(text, "`{place}` is not what the plugin accepts"));
        }
    }

    /// `anyOf` and `oneOf`: one that fits is enough.
    fn forms(&mut self, rules: &'a Map<String, Value>, value: &Value, place: &str, depth: u32) {
        for key in ["anyOf", "oneOf"] {
            let mut forms = list(rules, key).peekable();
            if forms.peek().is_some() && !forms.any(|form| self.fits(form, value, place, depth + 1)) {
                self.problem(|text| write!(text, "`{place}` fits none of the forms that the plugin accepts"));
            }
        }
    }

    fn fields(&mut self, rules: &'a Map<String, Value>, fields: &Map<String, Value>, place: &str, depth: u32) {
        let known = rules.get("properties").and_then(Value::as_object);
        for (name, value) in fields {
            // Also of what no rule names: a schema may come here again and again.
            if !self.spend(1) {
                return;
            }
            let below = format!("{place}.{name}");
            match known.and_then(|known| known.get(name)).or_else(|| rules.get("additionalProperties")) {
                Some(Value::Bool(false)) => self.problem(|text| {
                    write!(text, "`{below}` is unknown; there is ")?;
                    match known.filter(|known| !known.is_empty()) {
                        Some(known) => write_list(text, known.keys()),
                        None => text.write_str("nothing"),
                    }
                }),
                Some(rule) => self.value(rule, value, &below, depth + 1),
                None => {}
            }
        }
        self.required(rules, fields, place);
    }

    fn required(&mut self, rules: &'a Map<String, Value>, fields: &Map<String, Value>, place: &str) {
        for name in list(rules, "required").filter_map(Value::as_str) {
            if !self.spend(1 + name.len() / 64) {
                return;
            }
            let is_provided = place == self.root && self.provided.contains(&name);
            if !fields.contains_key(name) && !is_provided {
                self.problem(|text| write!(text, "`{place}.{name}` is missing"));
            }
        }
    }

    fn has_type(&mut self, wanted: &Value, value: &Value) -> bool {
        match wanted {
            Value::Array(kinds) => !self.spend(kinds.len()) || kinds.iter().any(|kind| is_kind(kind, value)),
            one => is_kind(one, value),
        }
    }
}

/// Text of a problem, full at [`TEXT`] bytes.
#[derive(Default)]
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = TEXT.saturating_sub(self.0.len());
        if more.len() <= room {
            self.0.push_str(more);
            return Ok(());
        }
        let end = more.floor_char_boundary(room);
        self.0.push_str(more.get(..end).unwrap_or_default());
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn write_list(text: &mut Text, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    for (index, item) in items.enumerate() {
        write!(text, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// How much there is to compare with a choice.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 1,
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| weight(value) + 1 + name.len() / 64).sum::<usize>() + 1
        }
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

fn list<'a>(rules: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    rules.get(key).and_then(Value::as_array).into_iter().flatten()
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

fn write_kinds(text: &mut Text, wanted: &Value) -> fmt::Result {
    match wanted {
        Value::Array(kinds) => {
            for (index, kind) in kinds.iter().enumerate() {
                write!(text, "{}{}", if index == 0 { "" } else { " or " }, Kind(kind))?;
            }
            Ok(())
        }
        one => write!(text, "{}", Kind(one)),
    }
}

/// The name of a type, for people.
struct Kind<'a>(&'a Value);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str().unwrap_or_default() {
            "object" => f.write_str("a mapping"),
            "array" => f.write_str("a list"),
            "integer" => f.write_str("an integer"),
            "null" => f.write_str("null"),
            kind => write!(f, "a {kind}"),
        }
    }
}

fn is_kind(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => {
            value.is_u64() || value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> String {
        problems(schema, value, "configuration", &["package"]).join("; ")
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "count": {"type": ["integer", "null"]},
                "level": {"enum": ["low", "high"]},
                "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
            },
            "required": ["name", "package"],
            "additionalProperties": false,
            "$defs": {"Row": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}},
        });
        assert_eq!(told(&schema, &json!({"name": "a", "count": null, "level": "low", "rows": [{"id": 1}]})), "");
        for (value, expected) in [
            (
                json!({"nmae": "a"}),
                "`configuration.nmae` is unknown; there is count, level, name, rows; `configuration.name` is missing",
            ),
            (json!({"name": 1}), "`configuration.name` is a number, and a string is wanted"),
            (json!({"name": "a", "count": "x"}), "`configuration.count` is a string, and an integer or null is wanted"),
            (
                json!({"name": "a", "level": "up"}),
                "`configuration.level` is \"up\", and one of \"low\", \"high\" is wanted",
            ),
            (json!({"name": "a", "rows": [{}]}), "`configuration.rows[0].id` is missing"),
        ] {
            assert_eq!(told(&schema, &value), expected);
        }
    }

    #[test]
    fn forms_are_tried_and_what_is_not_understood_passes() {
        let schema = json!({"anyOf": [{"type": "string"}, {"type": "object", "required": ["a"]}]});
        assert_eq!(told(&schema, &json!("x")), "");
        assert_eq!(told(&schema, &json!({"a": 1})), "");
        assert!(told(&schema, &json!(1)).contains("none of the forms"));
        assert_eq!(told(&json!({"pattern": "x", "type": "colour", "$ref": "https://elsewhere"}), &json!(1)), "");
        assert_eq!(told(&json!(true), &json!(1)), "");
    }

    /// A schema is text from a guest: it may be built to never end.
    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema =
            json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"});
        assert_eq!(told(&schema, &json!({})), "");
    }

    /// Numbers of the attack that took 4.9 GB: each problem was made of the
    /// whole list.
    #[test]
    fn a_large_list_that_is_named_again_and_again_stays_cheap() {
        let choices: Vec<String> = (0..7).map(|n| format!("{n}{}", "x".repeat(100_000))).collect();
        let names: Vec<String> = (0..9_990).map(|n| format!("p{n}")).collect();
        let properties: Map<String, Value> =
            names.iter().map(|name| (name.clone(), json!({"$ref": "#/$defs/e"}))).collect();
        let schema = json!({"$defs": {"e": {"enum": choices}}, "properties": properties});
        let value = Value::Object(names.iter().map(|name| (name.clone(), json!(1))).collect());
        let started = std::time::Instant::now();
        let found = problems(&schema, &value, "configuration", &[]);
        assert_eq!(found.len(), TOLD);
        assert!(found.iter().all(|problem| problem.len() <= TEXT + '…'.len_utf8()), "{found:?}");
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    /// The same kind, otherwise: names, kinds, requirements and forms without
    /// end.
    #[test]
    fn whatever_a_schema_repeats_its_check_ends_soon() {
        let many = |n: usize| (0..n).map(|n| json!(format!("{n}{}", "y".repeat(20)))).collect::<Vec<_>>();
        let reference = json!({"$ref": "#/$defs/a"});
        let often = vec![reference; 10_000];
        for (rules, value) in [
            (json!({"enum": many(10_000)}), json!({"deep": [[1, 2], many(5_000)]})),
            (json!({"type": many(10_000)}), json!({})),
            (json!({"required": many(10_000)}), json!({})),
            (json!({"additionalProperties": false, "properties": {"z".repeat(200_000): {}}}), json!({"b": 1, "c": 2})),
            (json!({"anyOf": [{"enum": many(10_000)}, {"type": "null"}]}), json!("x".repeat(10_000))),
            (json!({"$ref": format!("#/{}", "q/".repeat(50_000))}), json!(1)),
        ] {
            let schema = json!({"allOf": often, "$defs": {"a": rules}});
            let started = std::time::Instant::now();
            let found = problems(&schema, &value, "configuration", &[]);
            assert!(found.len() <= TOLD && found.iter().all(|problem| problem.len() < TEXT + 4));
            assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
        }
    }

    /// Each form looks at the whole configuration, and names none of it.
    #[test]
    fn a_schema_that_doubles_over_a_large_configuration_ends_soon() {
        let name = |number: usize| format!("d{number}");
        let next = |number: usize| json!({"$ref": format!("#/$defs/{}", name(number + 1))});
        let doubles =
            |number: usize| json!({"anyOf": [next(number), next(number)], "allOf": [next(number), next(number)]});
        let definitions: Map<String, Value> = (0..60).map(|number| (name(number), doubles(number))).collect();
        let schema = json!({"$defs": definitions, "$ref": "#/$defs/d0"});
        let value: Map<String, Value> = (0..3_000).map(|number| (name(number), json!(1))).collect();
        let started = std::time::Instant::now();
        problems(&schema, &Value::Object(value), "configuration", &[]);
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn forms_that_do_not_fit_leave_no_problem_of_their_own() {
        let schema = json!({"anyOf": [{"required": ["a"]}, {"type": "object"}], "required": ["b"]});
        assert_eq!(told(&schema, &json!({})), "`configuration.b` is missing");
        // Beyond the number that is told as well.
        let schema = json!({
            "required": (0..TOLD).map(|n| n.to_string()).collect::<Vec<_>>(),
            "properties": {"x": {"anyOf": [{"type": "null"}]}},
        });
        let found = problems(&schema, &json!({"x": 1}), "configuration", &[]);
        assert_eq!(found.len(), TOLD);
        assert!(found[0].contains("configuration.x") && found[0].contains("none of the forms"), "{found:?}");
    }
}
