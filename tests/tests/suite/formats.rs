//! Guards the formats of the trees that other people's steps read: what a build
//! writes fits the JSON Schemas that they were built against, and holds no field
//! that those do not know.

use airgap_tests::platform::Platform;
use serde_json::Value;

use crate::carry;

/// What does not fit, by where it stands. The schemas use no more than this.
fn misfits(value: &Value, schema: &Value, root: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").expect("a definition of the same file");
        return misfits(value, &root["$defs"][name], root, place, found);
    }
    if let Some(kinds) = schema["oneOf"].as_array() {
        let known = kinds.iter().any(|kind| kind["const"] == *value);
        if !known {
            found.push(format!("{place} is {value}, which the schema does not know"));
        }
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let own = if value.is_null() { either.last() } else { either.first() };
        misfits(value, own.expect("an optional type"), root, place, found);
        return;
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is not known here"),
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        found.push(format!("{place} is no {kinds:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{place}.{name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => found.push(format!("{place}.{name} is in no schema")),
            (Value::Null, other) => misfits(value, other, root, &format!("{place}.{name}"), found),
            (own, _) => misfits(value, own, root, &format!("{place}.{name}"), found),
        }
    }
    for (at, value) in value.as_array().into_iter().flatten().enumerate() {
        misfits(value, &schema["items"], root, &format!("{place}[{at}]"), found);
    }
}

/// Those that have a value somewhere, so that nothing is held to its schema by not
/// being written.
fn is_written(value: &Value, name: &str) -> bool {
    value.get(name).is_some()
        || value.as_object().is_some_and(|map| map.values().any(|value| is_written(value, name)))
        || value.as_array().is_some_and(|list| list.iter().any(|value| is_written(value, name)))
}

#[test]
fn what_a_build_writes_fits_its_schema() {
    let platform = Platform::smaller(16);
    let project = carry::project(&platform);
    project.build();
    let resolved: Value =
        serde_json::from_str(&project.read("build/steps/manifests/components.resolved.json")).unwrap();
    let charts: Value = serde_json::from_str(&project.read("build/steps/charts/charts.json")).unwrap();
    for name in ["sha256", "checksum_url", "deploy", "carry", "extract", "namespace", "values"] {
        assert!(is_written(&resolved, name), "{name}");
    }
    assert!(is_written(&charts, "artifact"));
    for (file, schema) in [
        ("manifests/components.resolved.json", "components.resolved"),
        ("files/files.json", "files"),
        ("charts/charts.json", "charts"),
        ("render/rendered.json", "rendered"),
        ("discover/discovered.json", "discovered"),
        ("repos/repos.json", "repos"),
        ("images/index.json", "images.index"),
    ] {
        let path = format!("{}/../plugins/shared/sdk/formats/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let written: Value = serde_json::from_str(&project.read(&format!("build/steps/{file}"))).unwrap();
        let is_empty = written.as_array().is_some_and(Vec::is_empty);
        assert!(!is_empty, "{file} says nothing");
        let mut found = Vec::new();
        misfits(&written, &schema, &schema, file, &mut found);
        // The index is OCI's, which has fields of its own.
        found.retain(|misfit| !(file.starts_with("images/") && misfit.ends_with("is in no schema")));
        assert_eq!(found, Vec::<String>::new());
    }
}
