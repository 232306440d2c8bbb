//! versions.env: the pins, read from disk. The language itself is in
//! [`components::pins`].

use std::collections::BTreeMap;

use components::pins::{PinError, Pins};
use components::problem::{is_secret_name, redacted};

use crate::config::source::{Located, Source, refuse_all};
use crate::config::span::shown_value;
use crate::error::{Error, Result};

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
        let pins = match Pins::parse(&source.text) {
            Ok(pins) => pins,
            Err(errors) => {
                refuse_all(errors.into_iter().map(|error| located(source, error)).collect())?;
                Pins::default()
            }
        };
        let versions = Self { pins, shown: source.shown.clone() };
        refuse_all(versions.credentials())?;
        Ok(versions)
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
        let secret = |pin: &&components::pins::Pin| {
            redacted(&pin.value) != pin.value || (is_secret_name(&pin.key) && !pin.value.is_empty())
        };
        let located = |pin: &components::pins::Pin| Located {
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

fn located(source: &Source, error: PinError) -> Located {
    let PinError { line, column, message, hint } = error;
    Located { place: format!("{}:{line}:{column}", source.shown), key: String::new(), message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

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
        let error = parse("A\nB=1\nC\n").unwrap_err();
        assert_eq!(
            error.items().iter().map(|item| item.item.as_str()).collect::<Vec<_>>(),
            ["config/versions.env:1:2", "config/versions.env:3:2"]
        );
        assert!(parse(&"#".repeat(LIMIT + 1)).is_err(), "the size is bounded");
    }

    #[test]
    fn places_of_pins_are_known() {
        let versions = parse("\u{feff}# pins\r\n  A='1'\r\n").unwrap();
        assert_eq!(versions.get("A"), Some("1"));
        assert_eq!(versions.place("A"), "config/versions.env:2:3");
    }
}
