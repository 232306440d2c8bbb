//! Whether values fulfil a values.schema.json, as Helm says.
//!
//! Helm validates with a library of Go whose author wrote `boon` as well: the
//! same dialects, the same defaults. Two things only the deployment knows, and
//! they refuse nothing here: what Helm makes of null, in which its releases
//! differ, and what Zarf fills in.

use boon::{CompileError, Compiler, Draft, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use crate::shown;

/// As Helm calls it.
const PLACE: &str = "file:///values.schema.json";
/// References that are followed: a schema with more is no honest one, and each
/// may lead to the next.
const REFERENCES: usize = 2_000;

/// A schema that is one.
pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

/// Nothing is fetched.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, _: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err("nothing is fetched".into())
    }
}

impl Schema {
    /// Reads a schema; without `$schema` it is one of 2020-12.
    ///
    /// # Errors
    /// Why it is none, as it continues its name.
    pub(crate) fn read(schema: Value) -> Result<Self, String> {
        if references(&schema) > REFERENCES {
            return Err(format!("has more than {REFERENCES} references"));
        }
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.use_loader(Box::new(Nowhere));
        compiler.add_resource(PLACE, schema).map_err(|error| no_schema(&error))?;
        let index = compiler.compile(PLACE, &mut schemas).map_err(|error| no_schema(&error))?;
        Ok(Self { schemas, index })
    }

    /// Why these values do not fulfil it; none where they do, and where only the
    /// deployment knows.
    pub(crate) fn unfulfilled(&self, values: &Value) -> Option<String> {
        let error = self.schemas.validate(values, self.index).err()?;
        Failure { values, is_settled: is_settled(values) }.certain(&error)
    }
}

fn references(part: &Value) -> usize {
    match part {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, part)| usize::from(key.ends_with("Ref") || key == "$ref") + references(part))
            .sum(),
        Value::Array(items) => items.iter().map(references).sum(),
        _ => 0,
    }
}

fn no_schema(error: &CompileError) -> String {
    let elsewhere =
        |place: &str| format!("refers to `{}`, which is not in it, and no network is there to fetch it", shown(place));
    match error {
        CompileError::LoadUrlError { url, .. } | CompileError::UnsupportedUrlScheme { url } => elsewhere(url),
        CompileError::JsonPointerNotFound(place) => elsewhere(place),
        CompileError::AnchorNotFound { reference, .. } => elsewhere(reference),
        CompileError::InvalidRegex { regex, .. } => {
            format!("has the pattern `{}`, which is no regular expression to Go", shown(regex))
        }
        CompileError::ValidationError { src, .. } => format!("is no schema: {}", told(deepest(src))),
        error => format!("is no schema: {}", shown(&error.to_string())),
    }
}

/// The first cause that has none.
fn deepest<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    error.causes.first().map_or(error, deepest)
}

fn told(error: &ValidationError<'_, '_>) -> String {
    let place = error.instance_location.to_string();
    let place = if place.is_empty() { "/" } else { &place };
    format!("`{}`: {}", shown(place), shown(&error.kind.to_string()))
}

/// What does not fit, and whether that is certain.
struct Failure<'a> {
    values: &'a Value,
    /// Whether all of the values is known.
    is_settled: bool,
}

impl Failure<'_> {
    /// The first certain cause.
    fn certain(&self, error: &ValidationError<'_, '_>) -> Option<String> {
        // Which branch of a condition counts may hang on what nobody knows.
        if !self.is_settled && ["/then", "/else"].iter().any(|branch| error.schema_url.contains(branch)) {
            return None;
        }
        let here = self.values.pointer(&error.instance_location.to_string()).unwrap_or(&Value::Null);
        let is_certain = match &error.kind {
            ErrorKind::Group | ErrorKind::Schema { .. } | ErrorKind::Reference { .. } | ErrorKind::AllOf => {
                return error.causes.iter().find_map(|cause| self.certain(cause));
            }
            // Each branch has to fail for certain.
            ErrorKind::AnyOf | ErrorKind::OneOf(None) => error.causes.iter().all(|cause| self.certain(cause).is_some()),
            ErrorKind::Required { .. } | ErrorKind::AdditionalProperties { .. } | ErrorKind::RefCycle { .. } => true,
            ErrorKind::OneOf(Some(_))
            | ErrorKind::Not
            | ErrorKind::Const { .. }
            | ErrorKind::Enum { .. }
            | ErrorKind::UniqueItems { .. }
            | ErrorKind::Contains
            | ErrorKind::MinContains { .. }
            | ErrorKind::MaxContains { .. } => is_settled(here),
            _ => is_known(here),
        };
        is_certain.then(|| told(error))
    }
}

fn is_known(value: &Value) -> bool {
    !value.is_null() && value.as_str().is_none_or(|text| !text.contains("$(ZARF_") && !text.contains("###ZARF_"))
}

/// The same of all that is in it.
fn is_settled(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_settled),
        Value::Array(items) => items.iter().all(is_settled),
        value => is_known(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unfulfilled(schema: &Value, values: &Value) -> Option<String> {
        Schema::read(schema.clone()).map_err(|why| panic!("{why}")).ok()?.unfulfilled(values)
    }

    fn malformed(schema: &Value) -> Option<String> {
        Schema::read(schema.clone()).err()
    }

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
            // A format is a remark in this dialect.
            (json!({"a": 2, "h": "vx", "i": "x", "j": {"x": "y"}}), None),
            (json!({"a": 2, "h": "x"}), Some("'x' does not match pattern '^v'")),
            (json!({"a": 2, "j": {"y": 1}}), Some("`/j`: additionalProperties 'y'")),
            (json!({"a": 2, "h": "$(ZARF_VAR_H)", "j": {"x": null}}), None),
            (json!({"a": null}), None),
            (json!({"a": "$(ZARF_VAR_A)"}), None),
            (json!({"a": 2, "h": 1}), Some("/h")),
            (json!({}), Some("missing properties 'a'")),
            (json!({"a": 1}), Some("`/a`: must be >=2")),
            (json!({"a": 6}), Some("`/a`: must be <=5")),
            (json!({"a": "2"}), Some("want integer, but got string")),
            (json!({"a": 2, "b": "y"}), Some("value must be one of")),
            (json!({"a": 2, "c": {"x": 1}}), Some("`/c/x`")),
            (json!({"a": 2, "d": 1}), Some("oneOf failed")),
            (json!({"a": 2, "e": 1}), Some("`/e`: false schema")),
            (json!({"a": 2, "f": "x"}), Some("not failed")),
            (json!({"a": 2, "g": []}), Some("minimum 1 items required")),
            (json!({"a": 2, "g": [1]}), Some("`/g/0`")),
            (json!({"a": 2, "z": 1}), Some("additionalProperties 'z' not allowed")),
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
            (json!({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": true}), false),
            (
                json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": true}),
                true,
            ),
            (json!({"$schema": "http://json-schema.org/draft-03/schema#"}), false),
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
        assert!(unfulfilled(&schema, &json!({})).is_some_and(|why| why.contains("reference cycle")));
        let many: Vec<Value> = (0..3_000).map(|_| json!({"$ref": "#/$defs/a"})).collect();
        assert!(
            malformed(&json!({"$defs": {"a": true}, "allOf": many})).is_some_and(|why| why.contains("2000 references"))
        );
    }
}
