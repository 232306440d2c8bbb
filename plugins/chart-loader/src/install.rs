//! What loads and yet installs nothing, or cannot be installed where there is no
//! network: Helm refuses it late, and Zarf deploys it without a word.

use image_finder::scalar::Scalar;
use image_finder::{Node, Value as Yaml};
use serde_json::Value;

use crate::{Chart, Refusal, enabled, schema, shown};

/// Whether `helm install` goes on behind the loading, with these values: the chart's
/// with the user's laid over them. None where they are not known.
///
/// # Errors
/// What the chart is or lacks.
pub fn check(chart: &Chart, values: Option<Node>) -> Result<(), Refusal> {
    if chart.metadata.kind == "library" {
        let why = "its `Chart.yaml` says `type: library`: such a chart installs nothing, others use it";
        return Err(Refusal::new(why, "name the chart that depends on it instead"));
    }
    let missing: Vec<String> = missing(chart).collect();
    if !missing.is_empty() {
        let why = format!("its `Chart.yaml` lists dependencies that are not in its `charts/`: {}", missing.join(", "));
        let hint = "without them Helm refuses the chart, and Zarf installs nothing: unpack the chart, run `helm dependency build` in its folder, and give the folder as `repo`";
        return Err(Refusal::new(why, hint));
    }
    match values {
        Some(values) => fulfilled(chart, values),
        None => schemas(chart),
    }
}

/// A values.schema.json is read at installation, of every subchart that is switched
/// on too.
fn fulfilled(chart: &Chart, values: Node) -> Result<(), Refusal> {
    for one in enabled::of(chart, values)? {
        let within = |refusal: Refusal| {
            if one.place.is_empty() { refusal } else { refusal.within(one.place.trim_end_matches('/')) }
        };
        let schema = readable(one.chart).map_err(within)?;
        // What a subchart hands up is not followed here.
        let imports = chart.dependencies().any(crate::Dependency::imports_values);
        let why = schema.filter(|_| !imports).and_then(|schema| schema::unfulfilled(&schema, &json(&one.values)));
        if let Some(why) = why {
            let hint = "write values that fulfil it into a values file of the chart";
            let why = format!("its values do not fulfil its `values.schema.json`: {why}");
            return Err(within(Refusal::new(why, hint)));
        }
    }
    Ok(())
}

/// Values as Helm shows them to a schema.
fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::List(items) => items.iter().map(json).collect(),
        Yaml::Map(entries) => {
            entries.iter().map(|(key, node)| (key.clone(), json(node))).collect::<serde_json::Map<_, _>>().into()
        }
        Yaml::Scalar { .. } => match node.scalar() {
            None | Some(Scalar::Null) => Value::Null,
            Some(Scalar::Bool(value)) => value.into(),
            Some(Scalar::Int(number)) => number.into(),
            Some(Scalar::Unsigned(number)) => number.into(),
            Some(Scalar::Float(number)) => number.into(),
            Some(Scalar::Text(text)) => text.into(),
        },
    }
}

/// Helm goes by the names alone, whatever the conditions say.
fn missing(chart: &Chart) -> impl Iterator<Item = String> {
    let absent = chart.dependencies().filter(|wanted| !chart.subcharts.iter().any(|there| there.name() == wanted.name));
    absent.map(|wanted| {
        let from =
            if wanted.repository.is_empty() { String::new() } else { format!(" from {}", shown(&wanted.repository)) };
        format!("`{} {}`{from}", shown(&wanted.name), shown(&wanted.version))
    })
}

/// Which subchart is switched off, values decide that only the deployment knows:
/// those with a condition or tags are passed over.
fn schemas(chart: &Chart) -> Result<(), Refusal> {
    readable(chart)?;
    let is_sure =
        |name: &str| !chart.dependencies().any(|d| d.name == name && !(d.condition.is_empty() && d.tags.is_empty()));
    let mut subcharts = chart.subcharts.iter().filter(|chart| is_sure(chart.name()));
    subcharts
        .try_for_each(|chart| schemas(chart).map_err(|refusal| refusal.within(&format!("charts/{}", chart.name()))))
}

/// The schema of a chart, which has to be one.
fn readable(chart: &Chart) -> Result<Option<Value>, Refusal> {
    let refuse = |why: String| {
        let hint = "correct the schema in the chart, or leave it out and pack the chart anew";
        Err(Refusal::new(format!("its `values.schema.json` {why}"), hint))
    };
    let Some(bytes) = chart.schema.as_deref() else { return Ok(None) };
    let schema = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => return refuse(format!("is not JSON: {error}")),
        Ok(schema) => schema,
    };
    if !schema.is_object() && !schema.is_boolean() {
        return refuse("is neither an object nor `true`".to_owned());
    }
    if schema == Value::Bool(false) {
        return refuse("is `false`, which no values fulfil".to_owned());
    }
    if let Some(reference) = unresolved(&schema, &schema) {
        return refuse(format!(
            "refers to `{}`, which is not in it, and no network is there to fetch it",
            shown(reference)
        ));
    }
    match schema::malformed(&schema) {
        Some(why) => refuse(why),
        None => Ok(Some(schema)),
    }
}

/// A reference that leads out of the schema, or nowhere.
fn unresolved<'a>(part: &'a Value, root: &Value) -> Option<&'a str> {
    match part {
        Value::Object(entries) => entries.iter().find_map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("$ref", Some(reference)) if !resolves(reference, root) => Some(reference),
            ("$schema", Some(dialect)) if !is_built_in(dialect) => Some(dialect),
            _ => unresolved(value, root),
        }),
        Value::Array(items) => items.iter().find_map(|item| unresolved(item, root)),
        _ => None,
    }
}

fn resolves(reference: &str, root: &Value) -> bool {
    let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    if !document.is_empty() {
        return is_built_in(document) || names(root, document);
    }
    let pointer = fragment.starts_with('/') && !fragment.contains('%') && !names(root, "");
    !pointer || root.pointer(fragment).is_some()
}

/// The dialects of JSON Schema are part of Helm.
fn is_built_in(place: &str) -> bool {
    let rest = place.strip_prefix("https://").or_else(|| place.strip_prefix("http://"));
    rest.is_some_and(|rest| rest.starts_with("json-schema.org/"))
}

/// Whether a part of the schema has this identity, or one that ends so.
fn names(part: &Value, document: &str) -> bool {
    match part {
        Value::Object(entries) => entries.iter().any(|(key, value)| match value.as_str() {
            Some(id) if matches!(key.as_str(), "$id" | "id") => id.trim_end_matches('#').ends_with(document),
            _ => names(value, document),
        }),
        Value::Array(items) => items.iter().any(|item| names(item, document)),
        _ => false,
    }
}
