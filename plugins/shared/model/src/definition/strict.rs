//! What Zarf's schema asks of a definition and its types here do not: that nothing
//! is empty, and that a text is one. Each with its place.

use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use crate::problem::{Segment, YamlPath, shown};

/// Places that are tried to find the one that an error is about.
const MOST_TRIED: usize = 1000;
/// Problems that are told of one document.
const MOST: usize = 20;
/// Begins the name of a field that means nothing to Zarf.
const EXTENSION: &str = "x-";

/// A document as a type, with the document that it is: whole numbers may be
/// written as `3.0`.
///
/// # Errors
/// The place of what does not fit, and why.
pub(super) fn typed<T: DeserializeOwned>(document: &Value) -> Result<(T, Value), (YamlPath, String)> {
    let error = match serde_yaml::from_value::<T>(document.clone()) {
        Ok(typed) => return Ok((typed, document.clone())),
        Err(error) => error.to_string(),
    };
    let mut whole = document.clone();
    make_whole(&mut whole);
    if let Ok(typed) = serde_yaml::from_value::<T>(whole.clone()) {
        return Ok((typed, whole));
    }
    let at = place_of::<T>(document, &error).unwrap_or_default();
    Err((at, error))
}

fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e9);
            if let Some(float) = float {
                *value = Value::Number((float as i64).into());
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(make_whole),
        Value::Mapping(fields) => fields.iter_mut().for_each(|(_, value)| make_whole(value)),
        _ => {}
    }
}

/// Where the value is that an error is about, the innermost first: without it, and all like it that
/// were tried before, there is another error or none.
fn place_of<T: DeserializeOwned>(document: &Value, error: &str) -> Option<YamlPath> {
    let mut places = Vec::new();
    each(document, &YamlPath::root(), &mut |path, value| {
        if named(value).is_some_and(|named| error.contains(&named)) {
            places.push(path.clone());
        }
    });
    let mut left = document.clone();
    places.into_iter().rev().take(MOST_TRIED).find(|path| {
        remove(&mut left, path.segments());
        serde_yaml::from_value::<T>(left.clone()).err().is_none_or(|other| other.to_string() != error)
    })
}

/// How serde calls a value that it did not want.
fn named(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "unit value".to_owned(),
        Value::Bool(value) => format!("boolean `{value}`"),
        Value::Number(number) if number.is_f64() => format!("floating point `{}", number.as_f64()?),
        Value::Number(number) => format!("integer `{number}`"),
        Value::String(text) => format!("string {text:?}"),
        Value::Sequence(_) => "type: sequence".to_owned(),
        Value::Mapping(_) => "type: map".to_owned(),
        Value::Tagged(_) => return None,
    })
}

fn remove(value: &mut Value, path: &[Segment]) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = value;
    for segment in above {
        let next = match segment {
            Segment::Key(key) => at.get_mut(key.as_str()),
            Segment::Index(index) => at.get_mut(*index),
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (last, at) {
        (Segment::Key(key), Value::Mapping(fields)) => drop(fields.remove(key.as_str())),
        // The others keep their places.
        (Segment::Index(index), Value::Sequence(items)) => {
            if let Some(item) = items.get_mut(*index) {
                *item = match item {
                    Value::Mapping(_) => Value::String(String::new()),
                    _ => Value::Mapping(Mapping::new()),
                };
            }
        }
        _ => {}
    }
}

fn each(value: &Value, path: &YamlPath, visit: &mut dyn FnMut(&YamlPath, &Value)) {
    visit(path, value);
    match value {
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(index, item)| each(item, &path.index(index), visit));
        }
        Value::Mapping(fields) => {
            let named = fields.iter().filter_map(|(key, value)| Some((key.as_str()?, value)));
            named
                .filter(|(key, _)| !key.starts_with(EXTENSION))
                .for_each(|(key, value)| each(value, &path.key(key), visit));
        }
        _ => {}
    }
}

/// What is empty, and variables and constants whose fields are no texts.
pub(super) fn problems(document: &Value) -> Vec<(YamlPath, String)> {
    let mut found = Vec::new();
    each(document, &YamlPath::root(), &mut |path, value| {
        let is_root = path.segments().is_empty();
        if value.is_null() && !is_root && found.len() < MOST {
            found.push((path.clone(), format!("`{path}` is empty, and Zarf wants a value there")));
        }
    });
    if document.get("apiVersion").and_then(Value::as_str) == Some("") {
        found.push((
            YamlPath::root().key("apiVersion"),
            "`apiVersion` is empty, and Zarf wants a version there".to_owned(),
        ));
    }
    for list in ["variables", "constants"] {
        let rows = document.get(list).and_then(Value::as_sequence).into_iter().flatten().enumerate();
        for (index, row) in rows {
            let at = YamlPath::root().key(list).index(index);
            for key in ["name", "default", "value", "description", "pattern", "type"] {
                let Some(value) = row.get(key).filter(|value| !value.is_string() && !value.is_null()) else { continue };
                let written = serde_yaml::to_string(value).unwrap_or_default();
                let at = at.key(key);
                let message = format!("`{at}` is `{}`, and no text: write it in quotes", shown(written.trim()));
                found.push((at, message));
            }
        }
    }
    found
}
