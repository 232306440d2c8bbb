//! Times as they are written down.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time as state.json, the lock and the logs write it: RFC 3339 in UTC, to
/// the second. What lies behind the full second is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(Timestamp);

impl Stamp {
    /// Since 1970; negative before.
    pub fn seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Self {
        Self(Timestamp::from_second(time.as_second()).unwrap_or(time))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").fmt(f)
    }
}

impl FromStr for Stamp {
    type Err = String;

    /// Any form of RFC 3339, with or without parts of a second.
    fn from_str(text: &str) -> Result<Self, String> {
        let time = text.parse::<Timestamp>();
        time.map(Self::from)
            .map_err(|_| format!("`{}` is not a time, such as 2026-01-31T12:00:00Z", model::problem::shown(text)))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Parses where the text stands, so that an error has its line.
struct Text;

impl Visitor<'_> for Text {
    type Value = Stamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Stamp, E> {
        text.parse().map_err(E::custom)
    }
}

/// The text of a [`Stamp`].
pub fn rfc3339(time: Timestamp) -> String {
    Stamp::from(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_to_the_second_and_read_in_any_form() {
        for (text, written) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T13:00:00.75+01:00", "2026-01-31T12:00:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(text.parse::<Stamp>().unwrap().to_string(), written);
        }
        assert!("yesterday".parse::<Stamp>().unwrap_err().contains("`yesterday` is not a time"));
    }
}
