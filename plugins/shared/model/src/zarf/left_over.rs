//! What a document says and its typed form does not hold.

use serde_yaml::Value;

use crate::problem::YamlPath;

/// The places of `document` that `typed` lacks. Extensions (`x-…`) are the
/// author's own, and what says the default says nothing.
pub fn left_over(document: &Value, typed: &Value) -> Vec<YamlPath> {
    let mut places = Vec::new();
    look(document, Some(typed), &YamlPath::root(), &mut places);
    places
}

fn look(value: &Value, typed: Option<&Value>, place: &YamlPath, places: &mut Vec<YamlPath>) {
    match (value, typed) {
        (Value::Mapping(mapping), _) => {
            for (key, value) in mapping {
                let key = key.as_str().unwrap_or_default();
                if !key.starts_with("x-") {
                    look(value, typed.and_then(|typed| typed.get(key)), &place.key(key), places);
                }
            }
        }
        (Value::Sequence(items), _) => {
            for (index, item) in items.iter().enumerate() {
                look(item, typed.and_then(|typed| typed.get(index)), &place.index(index), places);
            }
        }
        (value, None) if !is_default(value) => places.push(place.clone()),
        _ => {}
    }
}

/// What the typed form leaves out.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// A place with the items of lists by their names, as people know them:
/// `components.web.charts.podinfo.version`.
pub fn named_place(document: &Value, place: &YamlPath) -> String {
    use crate::problem::Segment;
    let mut at = Some(document);
    let parts = place.segments().iter().map(|segment| match segment {
        Segment::Key(key) => {
            at = at.and_then(|at| at.get(key.as_str()));
            key.clone()
        }
        Segment::Index(index) => {
            at = at.and_then(|at| at.get(*index));
            let name = at.and_then(|at| at.get("name")).and_then(Value::as_str);
            name.map_or_else(|| index.to_string(), str::to_owned)
        }
    });
    parts.collect::<Vec<_>>().join(".")
}
