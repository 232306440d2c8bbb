//! versions.env: the pins, read from disk. The language itself is in
//! [`model::pins`].

use std::collections::BTreeMap;

use model::pins::{Pin, PinError, Pins};
use model::problem::{is_secret_name, redacted};

use crate::source::{Located, Source, refuse_all};
use crate::span::shown_value;
use base::error::{Error, Result};
use base::visible;

/// Bytes of a versions.env: it holds pins, not data.
const LIMIT: usize = 256 << 10;

/// config/versions.env.
#[derive(Clone, Debug, Default)]
pub struct VersionsEnv {
    pub pins: Pins,
    /// As messages name the file.
    pub shown: String,
}

impl VersionsEnv {
    /// # Errors
    /// `configuration` with line and column of every line that is not of the
    /// documented subset, and for credentials in a value.
    pub fn parse(source: &Source) -> Result<Self> {
        if source.text.len() > LIMIT {
            return Err(Error::configuration(format!("{} is longer than {} KiB", source.shown, LIMIT >> 10))
                .hint("it holds one KEY=\"value\" line for each pin, nothing else"));
        }
        let (pins, errors) = match Pins::parse(&source.text) {
            Ok(pins) => (pins, Vec::new()),
            Err(errors) => (Pins::parse(&without(&source.text, &errors)).unwrap_or_default(), errors),
        };
        let versions = Self { pins, shown: source.shown.clone() };
        let mut problems: Vec<Located> = errors.into_iter().map(|error| located(source, error)).collect();
        problems.extend(versions.unseen(source));
        problems.extend(versions.credentials());
        refuse_all(problems)?;
        Ok(versions)
    }

    fn unseen(&self, source: &Source) -> Vec<Located> {
        let lines: Vec<&str> = source.text.lines().collect();
        let unseen = |pin: &Pin| {
            visible::unseen_in(&pin.value)?;
            unseen_on(source, pin.line, lines.get(pin.line - 1)?)
        };
        self.pins.iter().filter_map(unseen).collect()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.pins.get(key)
    }

    /// Key and value of every pin, as a difference may show them.
    pub fn flat(&self) -> BTreeMap<String, String> {
        self.pins.iter().map(|pin| (pin.key.clone(), shown_value(&pin.key, &pin.value))).collect()
    }

    /// `config/versions.env:12:1` of a pin.
    pub fn place(&self, key: &str) -> String {
        match self.pins.get_pin(key) {
            Some(pin) => format!("{}:{}:{}", self.shown, pin.line, pin.column),
            None => self.shown.clone(),
        }
    }

    fn credentials(&self) -> Vec<Located> {
        let secret =
            |pin: &&Pin| redacted(&pin.value) != pin.value || (is_secret_name(&pin.key) && !pin.value.is_empty());
        let located = |pin: &Pin| Located {
            place: self.place(&pin.key),
            key: pin.key.clone(),
            message: "credentials in versions.env".into(),
            hint: "remove them: the configuration is meant to be committed, and credentials come from docker's \
                   config.json and git's own helpers"
                .into(),
        };
        self.pins.iter().filter(secret).map(located).collect()
    }
}

/// The text with the lines empty that are wrong: the others are looked at all
/// the same.
fn without(text: &str, errors: &[PinError]) -> String {
    let is_wrong = |index: usize| errors.iter().any(|error| error.line == index + 1);
    let lines = text.split('\n').enumerate().map(|(index, line)| if is_wrong(index) { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first thing on a line that nobody sees.
fn unseen_on(source: &Source, line: usize, text: &str) -> Option<Located> {
    let unseen = visible::unseen_in(text)?;
    Some(Located {
        place: format!("{}:{line}:{}", source.shown, unseen.behind + 1),
        key: String::new(),
        message: unseen.to_string(),
        hint: visible::REMOVE.to_owned(),
    })
}

/// A line that is wrong because of what nobody sees is told as that.
fn located(source: &Source, error: PinError) -> Located {
    let PinError { line, column, message, hint } = error;
    let text = source.text.lines().nth(line - 1).unwrap_or_default();
    if let Some(located) = unseen_on(source, line, text).filter(|_| text.chars().nth(column - 1).is_some_and(is_odd)) {
        return located;
    }
    Located { place: format!("{}:{line}:{column}", source.shown), key: String::new(), message, hint }
}

fn is_odd(c: char) -> bool {
    visible::unseen_in(c.encode_utf8(&mut [0; 4])).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    fn parse(text: &str) -> Result<VersionsEnv> {
        VersionsEnv::parse(&Source::of("config/versions.env".into(), text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn errors_name_file_line_and_column() {
        for (text, expected) in [
            ("A=1\nB", "config/versions.env:2:2: no `=` after `B`"),
            ("A=1\nA=2", "config/versions.env:2:1: `A` is set a second time; the first is in line 1"),
            ("\r\nA=$B", "config/versions.env:2:3: `$` in the value of `A`"),
            ("R=https://u:hunter2@h/", "config/versions.env:1:1: R: credentials"),
            ("GITHUB_TOKEN=abc", "config/versions.env:1:1: GITHUB_TOKEN: credentials"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.class(), Class::Configuration);
            assert!(error.message().starts_with(expected), "{}", error.message());
            assert!(error.hint_text().is_some() && !error.message().contains("hunter2"));
        }
        let error = parse("A\nB=x\u{ad}\nC\nD=1\nURL=https://u:p@h/\nD=2\n").unwrap_err();
        let mut places: Vec<&str> = error.items().iter().map(|item| item.item.as_str()).collect();
        places.sort_unstable();
        let expected = ["1:2", "2:4", "3:2", "5:1", "6:1"].map(|place| format!("config/versions.env:{place}"));
        assert_eq!(places, expected, "all that is wrong is told at once");
        let error = parse("A\nB=1\nC\n").unwrap_err();
        assert_eq!(
            error.items().iter().map(|item| item.item.as_str()).collect::<Vec<_>>(),
            ["config/versions.env:1:2", "config/versions.env:3:2"]
        );
        assert!(parse(&"#".repeat(LIMIT + 1)).is_err(), "the size is bounded");
    }

    #[test]
    fn what_nobody_sees_is_told_with_its_place() {
        for (text, place, name) in [
            ("A=1\nB=v1\u{200b}.2\n", "config/versions.env:2:5", "U+200B (zero width space)"),
            ("A=\"x\u{ad}y\"", "config/versions.env:1:5", "U+00AD (soft hyphen)"),
            ("A=1\n\u{feff}B=2", "config/versions.env:2:1", "U+FEFF (byte order mark)"),
            ("A\u{200b}B=2", "config/versions.env:1:2", "U+200B"),
            ("A=1\u{a0}", "config/versions.env:1:4", "U+00A0 (no-break space)"),
            ("A=\u{202e}1", "config/versions.env:1:3", "U+202E (direction of writing)"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().starts_with(place) && error.message().contains(name), "{}", error.message());
        }
        assert!(parse("# a\u{a0}remark\nA=1 # and\u{200b}another\n").is_ok(), "a remark is nobody's name");
    }

    #[test]
    fn places_of_pins_are_known() {
        let versions = parse("\u{feff}# pins\r\n  A='1'\r\n").unwrap();
        assert_eq!(versions.get("A"), Some("1"));
        assert_eq!(versions.place("A"), "config/versions.env:2:3");
    }
}
