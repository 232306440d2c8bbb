//! JSON that servers and other programs wrote, read as Go reads it.
//!
//! Go leaves a field alone that is `null`, so registries, token services and
//! docker write one where others leave the field out. Here a `null` in an
//! object is what is not there, for every reader and at every depth, and one in
//! place of an object one without fields; a byte
//! order mark is passed over. What stands there twice in different ways is
//! refused: two programs would read two things.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Value};

/// Values of one document: two bytes of text make one, and each takes some ten
/// times as many.
const MOST_VALUES: usize = 500_000;

/// # Errors
/// What is no JSON, of another shape, too large, or says one thing twice.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let left = Cell::new(MOST_VALUES);
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { left: &left }.deserialize(&mut source)?;
    source.end()?;
    if value.is_null() {
        // For Go this is an object without fields, or no list.
        return T::deserialize(Value::Null).or_else(|_| T::deserialize(Value::Object(Map::new())));
    }
    T::deserialize(value)
}

/// Reads a value without the nulls in its objects.
#[derive(Clone, Copy)]
struct Reader<'a> {
    left: &'a Cell<usize>,
}

impl Reader<'_> {
    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom(format!("more than {MOST_VALUES} values")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        self.count()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self)?;
            if value.is_null() {
                continue;
            }
            match all.get(&key) {
                Some(other) if *other != value => {
                    let shown: String = key.chars().take(100).flat_map(char::escape_debug).collect();
                    return Err(A::Error::custom(format!("duplicate field `{shown}`")));
                }
                _ => all.insert(key, value),
            };
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Page {
        tags: Vec<String>,
        size: u64,
        inner: Option<Box<Page>>,
    }

    #[test]
    fn a_null_is_what_is_not_there() {
        let page = |text: &str| read::<Page>(text.as_bytes());
        for nothing in [r"{}", r#"{"tags":null}"#, r#"{"size":null,"inner":null,"else":null}"#, "\u{feff}{}"] {
            assert_eq!(page(nothing).unwrap(), Page::default(), "{nothing}");
        }
        let inner = page(r#"{"inner":{"tags":["a"],"size":null}}"#).unwrap().inner.unwrap();
        assert_eq!((inner.tags, inner.size), (vec!["a".to_owned()], 0));
        // In a list it stands for something.
        assert!(page(r#"{"tags":["a",null]}"#).is_err());
        assert!(read::<Option<Page>>(b"null").unwrap().is_none());
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_never_ends_is_refused() {
        let page = |text: &str| read::<Page>(text.as_bytes());
        assert!(page(r#"{"size":1,"size":2}"#).unwrap_err().to_string().contains("duplicate field `size`"));
        assert_eq!(page(r#"{"size":1,"size":1}"#).unwrap().size, 1);
        for bad in ["", "{", "{} x", "<html>", &"[".repeat(10_000), &format!("[{}0]", "0,".repeat(MOST_VALUES))] {
            assert!(page(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }
}
