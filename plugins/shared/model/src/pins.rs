//! versions.env: the documented subset of what a shell would read.
//!
//! `KEY=value` lines; values bare or in single or double quotes; `#` comments;
//! an optional `export`. Nothing is expanded, so a `$` is an error rather than
//! a surprise.

use std::fmt;

/// One `KEY=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What stands before the `=`.
    pub key: String,
    /// What stands behind it, without its quotes.
    pub value: String,
    /// Of the key, starting at 1.
    pub line: usize,
    /// Of the key, in characters, starting at 1.
    pub column: usize,
}

/// The pins in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    pins: Vec<Pin>,
}

/// A line that is not of the subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinError {
    /// The line, starting at 1.
    pub line: usize,
    /// The character in the line at which it goes wrong, starting at 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl Pins {
    /// Reads the text of a versions.env. A byte order mark and Windows line
    /// ends are fine.
    ///
    /// # Errors
    /// Every line that is not of the subset, or repeats a key; never none.
    pub fn parse(text: &str) -> Result<Self, Vec<PinError>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut pins = Self::default();
        let mut errors = Vec::new();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let pin = Cursor { line, at: 0, number: index + 1 }.pin();
            errors.extend(pin.and_then(|pin| pin.map_or(Ok(()), |pin| pins.add(pin))).err());
        }
        if errors.is_empty() { Ok(pins) } else { Err(errors) }
    }

    fn add(&mut self, pin: Pin) -> Result<(), PinError> {
        if let Some(first) = self.get_pin(&pin.key) {
            return Err(PinError {
                line: pin.line,
                column: pin.column,
                message: format!("`{}` is set a second time; the first is in line {}", pin.key, first.line),
                hint: "keep one of the two lines".into(),
            });
        }
        self.pins.push(pin);
        Ok(())
    }

    /// The line that sets `key`; None where none does.
    pub fn get_pin(&self, key: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.key == key)
    }

    /// What `key` is set to, which may be nothing at all; None where no line sets it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_pin(key).map(|pin| pin.value.as_str())
    }

    /// Whether the key is there with a value that is not empty.
    pub fn is_set(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_empty())
    }

    /// The lines in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.iter()
    }
}

/// For tests and callers that have pairs already.
impl<'a> FromIterator<(&'a str, &'a str)> for Pins {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let pin = |(index, (key, value)): (usize, (&str, &str))| Pin {
            key: key.to_owned(),
            value: value.to_owned(),
            line: index + 1,
            column: 1,
        };
        Self { pins: pairs.into_iter().enumerate().map(pin).collect() }
    }
}

/// One line, and how far it is read.
struct Cursor<'a> {
    line: &'a str,
    /// In bytes.
    at: usize,
    number: usize,
}

impl Cursor<'_> {
    fn pin(mut self) -> Result<Option<Pin>, PinError> {
        if let Some(at) = self.line.find(|c: char| c.is_control() && c != '\t') {
            self.at = at;
            return Err(self.error("a control character", "save the file as plain UTF-8 text"));
        }
        self.skip_blanks();
        if self.rest().is_empty() || self.rest().starts_with('#') {
            return Ok(None);
        }
        self.skip_export();
        let column = self.column();
        let key = self.key()?;
        let value = self.value(&key)?;
        Ok(Some(Pin { key, value, line: self.number, column }))
    }

    fn rest(&self) -> &str {
        &self.line[self.at..]
    }

    fn column(&self) -> usize {
        self.line[..self.at].chars().count() + 1
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn skip_export(&mut self) {
        if let Some(rest) = self.rest().strip_prefix("export")
            && rest.starts_with([' ', '\t'])
        {
            self.at += "export".len();
            self.skip_blanks();
        }
    }

    fn key(&mut self) -> Result<String, PinError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("a name was expected", "write KEY=\"value\"; a name is letters, digits and `_`"));
        }
        self.at += end;
        let rest = self.rest();
        if rest.starts_with('=') {
            self.at += 1;
            return Ok(key);
        }
        let blanks = rest.trim_start_matches([' ', '\t']);
        let (message, hint) = if blanks.starts_with('=') {
            (format!("white space between `{key}` and `=`"), format!("write {key}=\"value\" without it"))
        } else if rest.starts_with(':') {
            (format!("`:` after `{key}` where `=` was expected"), format!("write {key}=\"value\""))
        } else if let Some(found) = blanks.chars().next() {
            (format!("`{found}` after `{key}` where `=` was expected"), format!("write {key}=\"value\""))
        } else {
            (format!("no `=` after `{key}`"), format!("write {key}=\"value\", or put a `#` in front of the line"))
        };
        Err(self.error(&message, &hint))
    }

    fn value(&mut self, key: &str) -> Result<String, PinError> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(key, quote),
            Some('“' | '”' | '‘' | '’' | '„') => {
                Err(self.error("a typographic quote", "use the plain quotes \" or '"))
            }
            _ => self.bare(key),
        }
    }

    fn quoted(&mut self, key: &str, quote: char) -> Result<String, PinError> {
        let opening = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                self.at = opening;
                return Err(self.error(
                    &format!("the value of `{key}` has no closing {quote}"),
                    "a value ends on the line where it begins",
                ));
            };
            if c == quote {
                self.at += 1;
                break;
            }
            self.refuse_expansion(key, c)?;
            if c == '\\' && quote == '"' {
                value.push(self.escape()?);
                continue;
            }
            value.push(c);
            self.at += c.len_utf8();
        }
        self.end_of_line(key)?;
        Ok(value)
    }

    fn escape(&mut self) -> Result<char, PinError> {
        match self.rest()[1..].chars().next() {
            Some(c @ ('"' | '\\')) => {
                self.at += 2;
                Ok(c)
            }
            _ => Err(self.error(
                "a backslash that escapes neither `\"` nor `\\`",
                "write \\\\ for a backslash, or use single quotes",
            )),
        }
    }

    fn bare(&mut self, key: &str) -> Result<String, PinError> {
        let mut value = String::new();
        while let Some(c) = self.rest().chars().next() {
            if c == ' ' || c == '\t' {
                break;
            }
            if matches!(c, '"' | '\'' | '\\') {
                return Err(
                    self.error(&format!("`{c}` inside the bare value of `{key}`"), "put the whole value into quotes")
                );
            }
            self.refuse_expansion(key, c)?;
            value.push(c);
            self.at += c.len_utf8();
        }
        self.end_of_line(key)?;
        Ok(value)
    }

    fn refuse_expansion(&self, key: &str, c: char) -> Result<(), PinError> {
        match c {
            '$' | '`' => Err(self.error(
                &format!("`{c}` in the value of `{key}`: variables and commands are not expanded"),
                "write the value itself",
            )),
            _ => Ok(()),
        }
    }

    /// Only white space and a comment may follow a value.
    fn end_of_line(&mut self, key: &str) -> Result<(), PinError> {
        self.skip_blanks();
        if self.rest().is_empty() || self.rest().starts_with('#') {
            return Ok(());
        }
        Err(self.error(&format!("more text after the value of `{key}`"), "put a value with spaces into quotes"))
    }

    fn error(&self, message: &str, hint: &str) -> PinError {
        PinError { line: self.number, column: self.column(), message: message.to_owned(), hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> String {
        Pins::parse(line).unwrap_or_else(|errors| panic!("{line}: {errors:?}")).get("K").unwrap().to_owned()
    }

    #[test]
    fn the_documented_spellings_are_read() {
        for (line, expected) in [
            ("K=v1.34.3", "v1.34.3"),
            ("K=\"v1.34.3\"", "v1.34.3"),
            ("K='a b'", "a b"),
            ("  export\tK=1 # why", "1"),
            ("K=a#b", "a#b"),
            ("K=", ""),
            ("K=   # empty", ""),
            ("K=\"\"# directly", ""),
            ("K=\"a \\\"b\\\" \\\\ # c\"", "a \"b\" \\ # c"),
            ("K='a\\b'", "a\\b"),
            ("K=http://x/?a=b", "http://x/?a=b"),
            ("K=ü", "ü"),
            ("\u{feff}K=1", "1"),
            ("# c\r\n\r\nK=1\r\n", "1"),
        ] {
            assert_eq!(one(line), expected, "{line}");
        }
    }

    #[test]
    fn every_bad_line_is_named() {
        let errors = Pins::parse("A=1\nB\nA=2\nC='\nD=1\n").unwrap_err();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn everything_else_is_refused_at_its_place() {
        for (text, line, column, word) in [
            ("K", 1, 2, "no `=`"),
            ("\n K = 1", 2, 3, "white space"),
            ("K: 1", 1, 2, "`:`"),
            ("K-E=1", 1, 2, "`-`"),
            ("=1", 1, 1, "name"),
            ("1K=1", 1, 1, "name"),
            ("K=a b", 1, 5, "more text"),
            ("K= b", 1, 4, "more text"),
            ("K=\"a", 1, 3, "closing"),
            ("K='a\n'", 1, 3, "closing"),
            ("K=\"a\" b", 1, 7, "more text"),
            ("K=\"ü$A\"", 1, 5, "not expanded"),
            ("K='$A'", 1, 4, "not expanded"),
            ("K=`id`", 1, 3, "not expanded"),
            ("K=\"\\n\"", 1, 4, "backslash"),
            ("K=a\"b", 1, 4, "bare value"),
            ("K=“a”", 1, 3, "typographic"),
            ("A=1\nK=1\nK=2", 3, 1, "line 2"),
            ("K=\u{0}", 1, 3, "control"),
            ("exportK 1", 1, 8, "`1`"),
        ] {
            let error = &Pins::parse(text).unwrap_err()[0];
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
            assert!(error.message.contains(word), "{text:?}: {error}");
        }
    }
}
