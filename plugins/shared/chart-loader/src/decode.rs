//! YAML into fields, as Go's `sigs.k8s.io/yaml` does for Helm: keys match
//! whatever their case, unknown keys are skipped, null changes nothing, numbers
//! and truth values become texts where a text is wanted, and nothing else is
//! converted.

use std::collections::BTreeMap;

use image_finder::scalar::Scalar;
use image_finder::{Node, Value};

use crate::shown;

/// A field that can be filled.
pub(crate) trait Decode {
    /// Fills the field from a node; `at` names its place.
    ///
    /// # Errors
    /// A fragment: the place, what was found and what Helm wants.
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String>;
}

/// A mapping with known keys.
pub(crate) trait Fields {
    /// The field of a key, which is in lower case.
    fn field(&mut self, key: &str) -> Option<&mut dyn Decode>;
}

impl<T: Fields> Decode for T {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        let Value::Map(entries) = &node.value else {
            return if node.is_null() { Ok(()) } else { Err(wanted(node, at, "a mapping")) };
        };
        // Go decodes them sorted: of `Name` and `name`, the last one wins.
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, node) in entries {
            let place = if at.is_empty() { shown(key) } else { format!("{at}.{}", shown(key)) };
            match self.field(&folded(key)) {
                Some(field) => field.decode(node, &place)?,
                None => Anything.decode(node, &place)?,
            }
        }
        Ok(())
    }
}

/// Go's folding of a key: also two letters beyond ASCII are equal to ASCII ones.
fn folded(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c == 'ſ' {
                's'
            } else if c == '\u{212a}' {
                'k'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

impl Decode for String {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match node.scalar() {
            None => return Err(wanted(node, at, "a text")),
            Some(Scalar::Null) => {}
            Some(scalar) => *self = scalar.to_text(),
        }
        Ok(())
    }
}

impl Decode for bool {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match node.scalar() {
            Some(Scalar::Null) => Ok(()),
            Some(Scalar::Bool(value)) => {
                *self = value;
                Ok(())
            }
            _ => Err(wanted(node, at, "`true` or `false` without quotes")),
        }
    }
}

/// A pointer: null is none.
impl<T: Decode + Default> Decode for Option<T> {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        if node.is_null() {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().decode(node, at)
    }
}

/// What is already there is filled again, as Go does: requirements.yaml over
/// Chart.yaml changes the dependencies one by one.
impl<T: Decode + Default> Decode for Vec<T> {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match &node.value {
            Value::List(items) => {
                self.resize_with(items.len(), T::default);
                let fields = self.iter_mut().zip(items).enumerate();
                fields.into_iter().try_for_each(|(i, (field, item))| field.decode(item, &format!("{at}[{i}]")))
            }
            _ if node.is_null() => {
                self.clear();
                Ok(())
            }
            _ => Err(wanted(node, at, "a list")),
        }
    }
}

impl Decode for BTreeMap<String, String> {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match &node.value {
            Value::Map(entries) => entries.iter().try_for_each(|(key, node)| {
                let mut text = String::new();
                text.decode(node, &format!("{at}.{}", shown(key)))?;
                self.insert(key.clone(), text);
                Ok(())
            }),
            _ if node.is_null() => {
                self.clear();
                Ok(())
            }
            _ => Err(wanted(node, at, "a mapping")),
        }
    }
}

/// Any value that JSON can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anything;

impl Decode for Anything {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match &node.value {
            Value::List(items) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(i, item)| self.decode(item, &format!("{at}[{i}]")))
            }
            Value::Map(entries) => {
                let place = |key: &str| if at.is_empty() { shown(key) } else { format!("{at}.{}", shown(key)) };
                entries.iter().try_for_each(|(key, node)| self.decode(node, &place(key)))
            }
            Value::Scalar { text, .. } => match node.scalar() {
                Some(Scalar::Float(number)) if !number.is_finite() => {
                    Err(format!("`{at}` is `{}`, a number that Helm cannot hold: put it in quotes", shown(text)))
                }
                _ => Ok(()),
            },
        }
    }
}

/// A moment by RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment;

impl Decode for Moment {
    fn decode(&mut self, node: &Node, at: &str) -> Result<(), String> {
        match (node.scalar(), &node.value) {
            (Some(Scalar::Null), _) => Ok(()),
            (Some(Scalar::Text(text)), _) if is_moment(text.as_bytes()) => Ok(()),
            _ => Err(wanted(node, at, "a time like `2024-01-31T10:00:00Z`")),
        }
    }
}

/// Go's layout `2006-01-02T15:04:05Z07:00`, which lets an hour have one digit
/// and a fraction begin with a comma.
fn is_moment(text: &[u8]) -> bool {
    let parts = || {
        let (year, rest) = digits(text, 4)?;
        let (month, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
        let (day, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
        let rest = rest.strip_prefix(b"T")?;
        let (hour, rest) = digits(rest, 2).or_else(|| digits(rest, 1))?;
        let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
        let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
        let is_time = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
        Some((is_time && hour < 24 && minute < 60 && second < 60, rest))
    };
    parts().is_some_and(|(is_time, rest)| is_time && is_zone(after_fraction(rest)))
}

fn after_fraction(text: &[u8]) -> &[u8] {
    match text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) {
        Some(rest) if rest.first().is_some_and(u8::is_ascii_digit) => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            &rest[end..]
        }
        _ => text,
    }
}

fn is_zone(text: &[u8]) -> bool {
    let offset = || {
        let (hour, rest) = digits(text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-"))?, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
        Some(hour <= 24 && minute <= 60 && rest.is_empty())
    };
    text == b"Z" || offset().unwrap_or(false)
}

fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_at_checked(count)?;
    let is_number = head.iter().all(u8::is_ascii_digit);
    is_number.then(|| (head.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')), rest))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What stands there and what should.
fn wanted(node: &Node, at: &str, what: &str) -> String {
    let found = match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Scalar { .. } if node.is_null() => "empty".to_owned(),
        Value::Scalar { text, .. } => format!("`{}`", shown(text)),
    };
    let place = if at.is_empty() { "it".to_owned() } else { format!("`{at}`") };
    format!("line {}: {place} is {found}, and Helm wants {what}", node.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_go_takes() {
        for good in ["2024-02-29T00:00:00Z", "2024-01-31T10:00:00.123456789+02:00", "2024-01-31T9:00:00,5-07:30"] {
            assert!(is_moment(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "2024-01-31",
            "2023-02-29T00:00:00Z",
            "2024-01-31 10:00:00Z",
            "2024-01-31T10:00:00",
            "2024-13-01T00:00:00Z",
        ] {
            assert!(!is_moment(bad.as_bytes()), "{bad}");
        }
    }
}
