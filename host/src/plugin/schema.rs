//! Does a configuration fit the JSON Schema of its plugin? The keywords that
//! schemas of typed configurations are made of; what is not understood is left
//! to the plugin, which checks everything itself. A schema comes from a guest,
//! so the work is bounded.

use serde_json::{Map, Value};

/// Places that are looked at. A schema that refers to itself ends here.
const STEPS: u32 = 20_000;
/// Problems that are told.
const TOLD: usize = 10;

/// What is wrong, each with its place below `root`. Keys of the outermost
/// object that `provided` names are not missed: somebody else fills them in.
pub(super) fn problems(schema: &Value, value: &Value, root: &str, provided: &[&str]) -> Vec<String> {
    let mut check = Check { schema, root, provided, steps: STEPS };
    let mut found = check.value(schema, value, root, 0);
    found.truncate(TOLD);
    found
}

struct Check<'a> {
    schema: &'a Value,
    root: &'a str,
    provided: &'a [&'a str],
    steps: u32,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, value: &Value, place: &str, depth: u32) -> Vec<String> {
        let Some(left) = self.steps.checked_sub(1).filter(|_| depth < 64) else { return Vec::new() };
        self.steps = left;
        let Value::Object(rules) = schema else { return Vec::new() };
        if let Some(target) = rules.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
            return target.map_or_else(Vec::new, |target| self.value(target, value, place, depth + 1));
        }
        let mut found = Vec::new();
        if let Some(wanted) = rules.get("type").filter(|wanted| !has_type(wanted, value)) {
            let kind = kind_of(value);
            return vec![format!("`{place}` is {kind}, and {} is wanted", named(wanted))];
        }
        if let Some(choices) = rules.get("enum").and_then(Value::as_array).filter(|choices| !choices.contains(value)) {
            let choices: Vec<String> = choices.iter().take(TOLD).map(ToString::to_string).collect();
            found.push(format!("`{place}` is {value}, and one of {} is wanted", choices.join(", ")));
        }
        if rules.get("const").is_some_and(|only| only != value) {
            found.push(format!("`{place}` is not what the plugin accepts"));
        }
        for all in list(rules, "allOf") {
            found.extend(self.value(all, value, place, depth + 1));
        }
        for key in ["anyOf", "oneOf"] {
            let mut choices = list(rules, key).peekable();
            if choices.peek().is_some() && !choices.any(|one| self.value(one, value, place, depth + 1).is_empty()) {
                found.push(format!("`{place}` fits none of the forms that the plugin accepts"));
            }
        }
        match value {
            Value::Object(fields) => found.extend(self.fields(rules, fields, place, depth)),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(rule) = rules.get("items") {
                        found.extend(self.value(rule, item, &format!("{place}[{index}]"), depth + 1));
                    }
                }
            }
            _ => {}
        }
        found
    }

    fn fields(
        &mut self,
        rules: &'a Map<String, Value>,
        fields: &Map<String, Value>,
        place: &str,
        depth: u32,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let known = rules.get("properties").and_then(Value::as_object);
        for (name, value) in fields {
            let below = format!("{place}.{name}");
            match known.and_then(|known| known.get(name)).or_else(|| rules.get("additionalProperties")) {
                Some(Value::Bool(false)) => {
                    let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                    found.push(format!("`{below}` is unknown; there is {known}"));
                }
                Some(rule) => found.extend(self.value(rule, value, &below, depth + 1)),
                None => {}
            }
        }
        for name in list(rules, "required").filter_map(Value::as_str) {
            let is_provided = place == self.root && self.provided.contains(&name);
            if !fields.contains_key(name) && !is_provided {
                found.push(format!("`{place}.{name}` is missing"));
            }
        }
        found
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

fn named(wanted: &Value) -> String {
    match wanted {
        Value::Array(kinds) => kinds.iter().map(named).collect::<Vec<_>>().join(" or "),
        other => match other.as_str().unwrap_or_default() {
            "object" => "a mapping".to_owned(),
            "array" => "a list".to_owned(),
            "integer" => "an integer".to_owned(),
            "null" => "null".to_owned(),
            kind => format!("a {kind}"),
        },
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(kinds) => kinds.iter().any(|kind| has_type(kind, value)),
        Value::String(kind) => match kind.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => true,
        },
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
}
