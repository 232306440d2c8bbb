//! npm's packages: `package.json`.

use serde_json::{Value, json};

use crate::content::Why;
use crate::found::{Kind, Package};

/// Reads it. Without name and version it describes no installed package.
///
/// # Errors
/// Where it is no JSON.
pub fn read(text: &str) -> Result<Vec<Package>, Why> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let get = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (get("name"), get("version"));
    if name.is_empty() || version.is_empty() {
        return Ok(Vec::new());
    }
    let url = value.get("repository").map(|repository| text_of(repository, "url")).unwrap_or_default();
    let metadata = json!({
        "name": name, "version": version, "author": value.get("author").map(author).unwrap_or_default(),
        "homepage": get("homepage"), "description": get("description"), "url": url,
        "private": value.get("private").and_then(Value::as_bool).unwrap_or(false),
    });
    Ok(vec![Package::new(Kind::Npm, name, version, metadata).licensed(licenses(&value))])
}

fn text_of(value: &Value, key: &str) -> String {
    value.as_str().or_else(|| value.get(key)?.as_str()).unwrap_or_default().to_owned()
}

fn author(value: &Value) -> String {
    let (name, email) = (text_of(value, "name"), value.get("email").and_then(Value::as_str).unwrap_or_default());
    if email.is_empty() { name } else { format!("{name} <{email}>") }
}

fn licenses(value: &Value) -> Vec<String> {
    let several = value.get("licenses").and_then(Value::as_array).into_iter().flatten();
    value.get("license").into_iter().chain(several).map(|license| text_of(license, "type")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_needs_name_and_version() {
        let text = r#"{"name": "@scope/a", "version": "1.2.3", "license": {"type": "MIT"}, "author": {"name": "N", "email": "e"}, "repository": "r"}"#;
        let found = read(text).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("@scope/a", "1.2.3"));
        assert_eq!((found[0].licenses.as_slice(), found[0].text("author")), (["MIT".to_owned()].as_slice(), "N <e>"));
        for text in [r#"{"name": "a"}"#, r#"{"type": "module"}"#, "[]", r#"{"name": 1, "version": {}}"#] {
            assert!(read(text).unwrap().is_empty(), "{text}");
        }
        assert!(read("{").unwrap_err().contains("no JSON"));
    }
}
