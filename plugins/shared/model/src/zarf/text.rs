//! A definition as text.
//!
//! Every string is written in double quotes: Zarf reads an unquoted number as a
//! number first, and `1.10` would come back as `1.1`.

use serde::Serialize;
use serde_yaml::Value;

use crate::yaml_text::quoted;

/// The value as block-style YAML with every string in double quotes.
///
/// # Errors
/// A value that cannot be YAML: a mapping whose keys are not strings.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    let value = serde_yaml::to_value(value)?;
    let mut text = String::new();
    block(&value, 0, &mut text)?;
    Ok(text)
}

fn block(value: &Value, indent: usize, text: &mut String) -> Result<(), serde_yaml::Error> {
    match value {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (key, value) in mapping {
                let Value::String(key) = key else {
                    return Err(serde::ser::Error::custom("a key of the definition is not a string"));
                };
                text.push_str(&" ".repeat(indent));
                text.push_str(&key_text(key));
                text.push(':');
                if is_block(value) {
                    text.push('\n');
                    block(value, indent + 2, text)?;
                } else {
                    text.push(' ');
                    block(value, 0, text)?;
                }
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                let start = text.len();
                block(item, if is_block(item) { indent + 2 } else { 0 }, text)?;
                // The dash takes the place of the first line's indentation.
                let first = if is_block(item) { start + indent + 2 } else { start };
                text.replace_range(start..first, &format!("{}- ", " ".repeat(indent)));
            }
        }
        scalar => {
            text.push_str(&scalar_text(scalar)?);
            text.push('\n');
        }
    }
    Ok(())
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Mapping(mapping) => !mapping.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar_text(value: &Value) -> Result<String, serde_yaml::Error> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Sequence(_) => "[]".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Tagged(_) => return Err(serde::ser::Error::custom("the definition holds a YAML tag")),
    })
}

/// Plain for the names of the schema, quoted for anything else.
fn key_text(key: &str) -> String {
    let word = !matches!(
        key.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    if word && plain { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_the_same_value_with_every_string_quoted() {
        let source = "a: x\nempty: []\nnone: {}\nn: 1\nb: true\nnothing: null\nlist:\n- one\n- k: v\n  l:\n  - [1, [2]]\n  - {}\n\
                      'odd key': 'line\n\n  two'\nyes: '1.10'\n";
        let value: Value = serde_yaml::from_str(source).unwrap();
        let text = to_text(&value).unwrap();
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(text.contains("a: \"x\"\n") && text.contains("\"yes\": \"1.10\"\n"), "{text}");
        assert!(text.contains("list:\n  - \"one\"\n  - k: \"v\"\n    l:\n"), "{text}");
        assert!(text.contains("\n\"n\": 1\n"), "{text}");
    }
}
