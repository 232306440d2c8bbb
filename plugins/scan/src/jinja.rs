//! Enough of Jinja to resolve the variables that name images: `{{ name }}`,
//! `name['key']`, `name.key`, texts, and the filters `default`, `lower`,
//! `upper`, `trim` and `string`. Everything else stays unresolved, because a
//! guess would name an image that nobody deploys.

use std::collections::BTreeMap;

use image_finder::Node;

/// Variables that stand for one another.
const DEPTH_LIMIT: usize = 20;

/// Variables by name.
pub type Variables = BTreeMap<String, Node>;

/// The text with its templates resolved; none where that is not simple.
pub fn resolve(text: &str, variables: &Variables) -> Option<String> {
    text_at(text, variables, 0)
}

fn text_at(text: &str, variables: &Variables, depth: usize) -> Option<String> {
    if depth > DEPTH_LIMIT || text.contains("{%") || text.contains("{#") {
        return None;
    }
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}")?;
        resolved.push_str(before);
        resolved.push_str(&expression_at(expression.trim_matches('-').trim(), variables, depth)?);
        rest = after;
    }
    resolved.push_str(rest);
    Some(resolved)
}

/// `term | filter | filter`.
fn expression_at(expression: &str, variables: &Variables, depth: usize) -> Option<String> {
    let mut parts = split_outside_quotes(expression, '|').into_iter();
    let mut value = term(parts.next()?.trim(), variables, depth);
    for filter in parts {
        let filter = filter.trim();
        let (name, argument) = match filter.split_once('(') {
            Some((name, argument)) => (name.trim(), Some(argument.trim().strip_suffix(')')?)),
            None => (filter, None),
        };
        value = match (name, argument) {
            ("default" | "d", Some(argument)) => {
                let mut arguments = split_outside_quotes(argument, ',').into_iter();
                let fallback = arguments.next()?;
                let also_empty = arguments.next().is_some_and(|flag| flag.trim() == "true");
                match value {
                    Some(value) if !(also_empty && value.is_empty()) => Some(value),
                    _ => term(fallback.trim(), variables, depth),
                }
            }
            ("lower", None) => value.map(|value| value.to_lowercase()),
            ("upper", None) => value.map(|value| value.to_uppercase()),
            ("trim", None) => value.map(|value| value.trim().to_owned()),
            ("string", None) => value,
            _ => return None,
        };
    }
    value
}

/// A quoted text, a number, or a variable with its keys.
fn term(term: &str, variables: &Variables, depth: usize) -> Option<String> {
    let quoted = |quote: char| term.strip_prefix(quote)?.strip_suffix(quote).filter(|text| !text.contains(quote));
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Some(text.to_owned());
    }
    if !term.is_empty() && term.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Some(term.to_owned());
    }
    let end = term.find(['[', '.']).unwrap_or(term.len());
    let mut node = variables.get(&term[..end])?;
    let mut rest = &term[end..];
    while !rest.is_empty() {
        let key;
        (key, rest) = if let Some(inner) = rest.strip_prefix('[') {
            let (key, rest) = inner.split_once(']')?;
            (self::term(key.trim(), variables, depth + 1)?, rest)
        } else {
            let inner = rest.strip_prefix('.')?;
            let end = inner.find(['[', '.']).unwrap_or(inner.len());
            (inner[..end].to_owned(), &inner[end..])
        };
        node = node.get(&key)?;
    }
    text_at(node.text()?, variables, depth + 1)
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == separator => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            None => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::parse;

    use super::*;

    #[test]
    fn simple_expressions_resolve_and_others_do_not() {
        let text = "repo: quay.io\nversion: 1.2.3\ntag: \"v{{ version }}\"\nempty: \"\"\nmap: {v1: {x: deep}}\nkey: v1\na: \"{{ b }}\"\nb: \"{{ a }}\"\n";
        let variables: Variables = parse(text).unwrap().entries().iter().cloned().collect();
        let table = [
            ("{{ repo }}/x:{{ tag }}", Some("quay.io/x:v1.2.3")),
            ("{{repo|lower}}", Some("quay.io")),
            ("{{ arch | default('amd64') }}", Some("amd64")),
            ("{{ arch | default(other) | default(\"x|y\") }}", Some("x|y")),
            ("{{ empty | default('z', true) }}", Some("z")),
            ("{{ map[key].x }}", Some("deep")),
            ("{{ map['v1']['x'] }}", Some("deep")),
            ("plain", Some("plain")),
            ("{{ arch }}", None),
            ("{{ a }}", None),
            ("{{ 'a' if b else 'c' }}", None),
            ("{% if x %}y{% endif %}", None),
            ("{{ repo | regex_replace('a', 'b') }}", None),
            ("{{ open", None),
        ];
        for (text, expected) in table {
            assert_eq!(resolve(text, &variables).as_deref(), expected, "{text}");
        }
    }
}
