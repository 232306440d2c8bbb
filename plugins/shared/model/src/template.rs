//! Templates: `{{NAME}}` with optional filters, `{{NAME|bare}}`.
//!
//! The catalog's templates know the variables of versions.env (upper case);
//! the component manifest's know `{{version}}` and `{{arch}}` (lower case),
//! which the catalog passes through.

use crate::problem::shown;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, filters: Vec<&'a str>, source: &'a str },
}

/// Replaces every variable by `lookup(name)`; where that returns
/// [`Value::Keep`] the placeholder stays as written.
///
/// # Errors
/// An unknown variable or filter, braces without their partner.
pub fn expand(template: &str, lookup: impl Fn(&str) -> Value) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable { name, filters, source } => match lookup(name) {
                Value::Keep => out.push_str(source),
                Value::Unknown(why) => return Err(why),
                Value::Is(value) => out.push_str(&apply(value, &filters)?),
            },
        }
    }
    Ok(out)
}

/// The variables that a template names; none of a broken one.
pub fn variables(template: &str) -> Vec<&str> {
    let names = pieces(template).unwrap_or_default().into_iter().filter_map(|piece| match piece {
        Piece::Variable { name, .. } => Some(name),
        Piece::Text(_) => None,
    });
    names.collect()
}

/// What a variable stands for.
pub enum Value {
    /// This text.
    Is(String),
    /// Someone else's: leave `{{name}}` in place.
    Keep,
    /// Why there is none.
    Unknown(String),
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            pieces.push(Piece::Text(&rest[..open]));
        }
        let after = &rest[open + 2..];
        let close = after.find("}}").ok_or_else(|| format!("`{}` has a `{{{{` without `}}}}`", shown(template)))?;
        let mut parts = after[..close].split('|').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if !crate::condition::is_name(name) {
            return Err(format!("`{{{{{}}}}}` is not the name of a variable", shown(&after[..close])));
        }
        let source = &rest[open..open + 2 + close + 2];
        pieces.push(Piece::Variable { name, filters: parts.collect(), source });
        rest = &after[close + 2..];
    }
    if rest.contains("}}") {
        return Err(format!("`{}` has a `}}}}` without `{{{{`", shown(template)));
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn apply(mut value: String, filters: &[&str]) -> Result<String, String> {
    for filter in filters {
        value = match *filter {
            "bare" => value.strip_prefix('v').map(str::to_owned).unwrap_or(value),
            "v" if value.starts_with('v') => value,
            "v" => format!("v{value}"),
            "minor" => value.splitn(3, '.').take(2).collect::<Vec<_>>().join("."),
            other => {
                return Err(format!(
                    "unknown filter `{}`: there are `bare` (without a leading v), `v` (with one) and `minor` (up to the second number)",
                    shown(other)
                ));
            }
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Value {
        match name {
            "V" => Value::Is("v1.34.3".into()),
            "N" => Value::Is("2.1".into()),
            "arch" => Value::Keep,
            other => Value::Unknown(format!("no {other}")),
        }
    }

    #[test]
    fn variables_filters_and_foreign_placeholders() {
        for (template, expected) in [
            ("", ""),
            ("a", "a"),
            ("{{V}}", "v1.34.3"),
            ("x-{{ V | bare }}-{{V|minor}}.{{N|v}}", "x-1.34.3-v1.34.v2.1"),
            ("{{V|bare|minor}}", "1.34"),
            ("{{arch}}/{{ arch }}", "{{arch}}/{{ arch }}"),
            ("{a} }", "{a} }"),
        ] {
            assert_eq!(expand(template, lookup).unwrap(), expected);
        }
    }

    #[test]
    fn broken_templates_say_what_is_wrong() {
        for (template, word) in [
            ("{{V", "without"),
            ("V}}", "without"),
            ("{{}}", "name"),
            ("{{X}}", "no X"),
            ("{{V|up}}", "unknown filter"),
        ] {
            assert!(expand(template, lookup).unwrap_err().contains(word), "{template}");
        }
    }
}
