//! Values, and what filters, methods and tests make of them.

use std::cmp::Ordering;

use image_finder::{self as finder, Node};

/// What an expression comes to.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Of a variable that nobody set.
    Missing,
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// A list.
    List(Vec<Value<'a>>),
    /// A map or list of the files, its own templates not resolved yet.
    Node(&'a Node),
    /// A key of a map with its value, as `dict2items` makes them.
    Pair(&'a str, &'a Node),
}

impl<'a> Value<'a> {
    /// As it is printed into a text; none for what is none.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Flag(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
            _ => None,
        }
    }

    /// None for what is missing: a guess would name an image that nobody
    /// deploys.
    pub fn truth(&self) -> Option<bool> {
        Some(match self {
            Value::Missing => return None,
            Value::Text(text) => !text.is_empty(),
            Value::Number(number) => *number != 0,
            Value::Flag(flag) => *flag,
            Value::List(items) => !items.is_empty(),
            Value::Node(node) => !node.entries().is_empty() || !node.items().is_empty(),
            Value::Pair(..) => true,
        })
    }

    fn is_same(&self, other: &Value<'_>) -> Option<bool> {
        Some(match (self, other) {
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Flag(a), Value::Flag(b)) => a == b,
            (
                Value::Text(_) | Value::Number(_) | Value::Flag(_),
                Value::Text(_) | Value::Number(_) | Value::Flag(_),
            ) => false,
            _ => return None,
        })
    }

    /// The keys of a map, the items of a list.
    fn items(self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::List(items) => Some(items),
            Value::Node(node) => match &node.value {
                finder::Value::Map(entries) => Some(entries.iter().map(|(key, _)| Value::Text(key.clone())).collect()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// `left operator right`, but for `and` and `or`.
pub fn binary<'a>(left: Value<'a>, operator: &str, right: Value<'a>) -> Option<Value<'a>> {
    let ordered = |fits: fn(Ordering) -> bool| match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => Some(Value::Flag(fits(a.cmp(b)))),
        (Value::Text(a), Value::Text(b)) => Some(Value::Flag(fits(a.cmp(b)))),
        _ => None,
    };
    match operator {
        "==" => left.is_same(&right).map(Value::Flag),
        "!=" => left.is_same(&right).map(|same| Value::Flag(!same)),
        "<" => ordered(Ordering::is_lt),
        "<=" => ordered(Ordering::is_le),
        ">" => ordered(Ordering::is_gt),
        ">=" => ordered(Ordering::is_ge),
        "in" => contains(right, &left).map(Value::Flag),
        "not in" => contains(right, &left).map(|inside| Value::Flag(!inside)),
        "~" => Some(Value::Text(left.text()? + &right.text()?)),
        "+" => match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.checked_add(b).map(Value::Number),
            (Value::Text(a), Value::Text(b)) => Some(Value::Text(a + &b)),
            _ => None,
        },
        "-" => match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.checked_sub(b).map(Value::Number),
            _ => None,
        },
        _ => None,
    }
}

fn contains(all: Value<'_>, one: &Value<'_>) -> Option<bool> {
    if let (Value::Text(all), Value::Text(one)) = (&all, one) {
        return Some(all.contains(one.as_str()));
    }
    Some(all.items()?.iter().any(|item| item.is_same(one) == Some(true)))
}

/// `value | name(arguments)`; none for a filter that is not known.
pub fn apply<'a>(name: &str, value: Value<'a>, arguments: &[Value<'a>]) -> Option<Value<'a>> {
    if matches!(name, "default" | "d") {
        let or_empty = arguments.get(1).and_then(Value::truth).unwrap_or(false);
        let is_there = value.truth().is_some_and(|truth| truth || !or_empty);
        return if is_there { Some(value) } else { arguments.first().cloned() };
    }
    let argument = |at: usize| arguments.get(at).and_then(Value::text);
    let text = |change: fn(&str) -> String| value.text().map(|text| Value::Text(change(&text)));
    match name {
        "lower" => text(str::to_lowercase),
        "upper" => text(str::to_uppercase),
        "trim" => text(|text| text.trim().to_owned()),
        "string" => text(str::to_owned),
        "replace" => Some(Value::Text(value.text()?.replace(&argument(0)?, &argument(1)?))),
        "int" => Some(Value::Number(value.text()?.parse().ok()?)),
        "bool" => Some(Value::Flag(matches!(value.text()?.to_lowercase().as_str(), "true" | "yes" | "on" | "1"))),
        "split" => {
            let parts: Vec<Value<'a>> = match argument(0) {
                Some(separator) => value.text()?.split(&separator).map(|part| Value::Text(part.to_owned())).collect(),
                None => value.text()?.split_whitespace().map(|part| Value::Text(part.to_owned())).collect(),
            };
            Some(Value::List(parts))
        }
        "join" => {
            let parts: Option<Vec<String>> = value.items()?.iter().map(Value::text).collect();
            Some(Value::Text(parts?.join(&argument(0).unwrap_or_default())))
        }
        "dict2items" => {
            let Value::Node(node) = value else { return None };
            Some(Value::List(node.entries().iter().map(|(key, node)| Value::Pair(key, node)).collect()))
        }
        "keys" | "list" => value.items().map(Value::List),
        "first" => value.items()?.into_iter().next(),
        "last" => value.items()?.into_iter().next_back(),
        "select" => chosen(value, arguments, true),
        "reject" => chosen(value, arguments, false),
        _ => None,
    }
}

/// `select('version', '1.2', '<')`: the items that pass a test.
fn chosen<'a>(value: Value<'a>, arguments: &[Value<'a>], wanted: bool) -> Option<Value<'a>> {
    let (name, arguments) = arguments.split_first()?;
    let name = name.text()?;
    let mut chosen = Vec::new();
    for item in value.items()? {
        if test(&name, &item, arguments)? == wanted {
            chosen.push(item);
        }
    }
    Some(Value::List(chosen))
}

/// `value is name(arguments)`; none for a test that is not known.
pub fn test(name: &str, value: &Value<'_>, arguments: &[Value<'_>]) -> Option<bool> {
    match name {
        "defined" => Some(!matches!(value, Value::Missing)),
        "undefined" => Some(matches!(value, Value::Missing)),
        "version" | "version_compare" => {
            let order = compare_versions(&value.text()?, &arguments.first()?.text()?)?;
            match arguments.get(1).map_or(Some("==".to_owned()), Value::text)?.as_str() {
                "==" | "=" | "eq" => Some(order.is_eq()),
                "!=" | "<>" | "ne" => Some(order.is_ne()),
                "<" | "lt" => Some(order.is_lt()),
                "<=" | "le" => Some(order.is_le()),
                ">" | "gt" => Some(order.is_gt()),
                ">=" | "ge" => Some(order.is_ge()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// As Ansible compares by default: numbers as numbers, words as words, and
/// what has more parts is newer. None where a number meets a word.
fn compare_versions(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parts(one), parts(other));
    for (a, b) in one.iter().zip(&other) {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Err(_), Err(_)) => a.cmp(b),
            _ => return None,
        };
        if order.is_ne() {
            return Some(order);
        }
    }
    Some(one.len().cmp(&other.len()))
}

/// Runs of digits and runs of letters.
fn parts(version: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for run in version.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let other = |c: char| c.is_ascii_digit() != first.is_ascii_digit();
            let (part, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
            parts.push(part);
            rest = after;
        }
    }
    parts
}
