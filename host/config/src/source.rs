//! A file of the configuration: read whole, bounded, as text, and able to
//! point at its own lines.

use std::path::Path;

use model::problem::{Problem, YamlPath};
use serde::de::DeserializeOwned;

use crate::hash::file_digest;
use crate::shape;
use crate::shape::Fault;
use crate::span::{Position, Refusal, Spans};
use base::digest::Digest;
use base::error::{Class, Error, ItemFailure, Result};
use base::{layout, text};
use disk::fs;

/// Bytes of one configuration file. The longest one lists components; ten
/// thousand images take about 1 MiB.
const LIMIT: u64 = 16 << 20;
/// Bytes of a file of another shape in which every fault is looked for.
const LARGEST_SEARCHED: usize = 1 << 20;

/// What some editors write in front of a text.
pub(crate) const MARK: &str = "\u{feff}";

/// The text of one file, and its name as messages show it.
#[derive(Clone, Debug)]
pub struct Source {
    /// `config/components.yaml`, relative to the current directory.
    pub shown: String,
    /// Without a byte order mark.
    pub text: String,
    /// Of the file's bytes; None of a file that is not there.
    pub digest: Option<Digest>,
    /// Whether a byte order mark stood in front of the text.
    pub(crate) has_mark: bool,
}

impl Source {
    /// None where the file is missing.
    ///
    /// # Errors
    /// `configuration` where it is too long or not UTF-8.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let shown = layout::shown(path);
        if let Some(kind) = fs::no_file(path) {
            return Err(Error::configuration(format!("{shown} is {kind}, where a file was expected")).hint(
                "move it away and put the file there; `opencenter-airgap init` writes the files that are missing",
            ));
        }
        let bytes = fs::read_optional(path, LIMIT).map_err(|error| match error.class() {
            Class::InvalidInput => Error::configuration(format!("{shown} is longer than {} MiB", LIMIT >> 20))
                .hint("a configuration file that long is a mistake: look at what wrote it"),
            _ => error.with_class(Class::Configuration).hint("check that it is a readable file"),
        })?;
        bytes.map(|bytes| Self::of(shown, bytes)).transpose()
    }

    /// A file that is not there yet, or that nobody wrote.
    pub fn empty(shown: String) -> Self {
        Self { shown, text: String::new(), digest: None, has_mark: false }
    }

    /// # Errors
    /// `configuration` where the file is missing, too long or not UTF-8.
    pub(crate) fn read_required(path: &Path) -> Result<Self> {
        Self::read(path)?.ok_or_else(|| Self::missing(path))
    }

    /// That a file is not there which has to be.
    pub(crate) fn missing(path: &Path) -> Error {
        Error::configuration(format!("{} is missing", layout::shown(path))).hint(
            "run the command in the folder that holds config/, or name it with `--config-dir`; where there is none \
             yet, `opencenter-airgap init` writes it",
        )
    }

    /// # Errors
    /// `configuration` where the bytes are not UTF-8, with line and column.
    pub fn of(shown: String, bytes: Vec<u8>) -> Result<Self> {
        let digest = Some(Digest::of(&bytes));
        let bytes = if text::is_utf16(&bytes) { text::of(&bytes).into_bytes() } else { bytes };
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Error::configuration(format!("{shown}:{line}:{column}: a byte that is not UTF-8"))
                .hint("save the file as UTF-8 text")
        })?;
        let plain = text.strip_prefix(MARK).map(str::to_owned);
        Ok(Self { shown, digest, has_mark: plain.is_some(), text: plain.unwrap_or(text) })
    }

    /// What the configuration hash holds of this file.
    pub(crate) fn hashed_as(&self, name: &str) -> Digest {
        file_digest(name, self.text.as_bytes())
    }

    /// Reads the text as YAML of the shape `T`: unknown and repeated keys,
    /// anchors, tags, credentials and what nobody sees are refused.
    ///
    /// # Errors
    /// `configuration` with file, line and column of everything that is wrong.
    pub fn yaml<T: DeserializeOwned>(&self) -> Result<(T, Spans)> {
        self.checked(None, |_| Vec::new())
    }

    /// The same for a shape of which more has to be right: `check` says what is
    /// not, and it is told together with what does not fit the shape. `hint` is
    /// what to do about that, where it is not to correct the line.
    ///
    /// # Errors
    /// As [`Self::yaml`].
    pub fn checked<T: DeserializeOwned>(
        &self,
        hint: Option<&str>,
        check: impl FnOnce(&T) -> Vec<Problem>,
    ) -> Result<(T, Spans)> {
        let blank = self.text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let text = if blank { "{}" } else { self.text.as_str() };
        let value = match serde_yaml::from_str(text) {
            Ok(value) => value,
            Err(error) => return Err(self.unfit(&error, hint, check)),
        };
        let spans = Spans::parse(text).map_err(|refusal| self.refusal(refusal))?;
        self.refuse(&spans, &of_text(&spans, || check(&value)))?;
        Ok((value, spans))
    }

    /// Everything that is wrong with a file of another shape, where that can be
    /// told: a file that is no YAML ends where it ceases to be one.
    fn unfit<T: DeserializeOwned>(
        &self,
        error: &serde_yaml::Error,
        hint: Option<&str>,
        check: impl FnOnce(&T) -> Vec<Problem>,
    ) -> Error {
        let first = self.yaml_error(error);
        let first = hint.map_or_else(|| first.clone(), |hint| first.clone().hint(hint));
        // serde bounds how deep it is, which the other parser does not.
        let is_yaml = self.text.len() <= LARGEST_SEARCHED
            && serde_yaml::from_str::<serde_yaml::Value>(&self.text).is_ok_and(|value| value.is_mapping());
        let Some(spans) = is_yaml.then(|| Spans::parse(&self.text).ok()).flatten() else { return first };
        let readable = shape::faults::<T>(&spans);
        let faults = readable.faults.iter().map(|fault| (fault.at, self.fault(fault, hint)));
        let mut located: Vec<(Position, Located)> = faults.collect();
        let checked = || {
            let checked = readable.value.as_ref().map(check).unwrap_or_default();
            checked.into_iter().filter(|problem| !readable.is_replaced(&problem.path)).collect()
        };
        let problems = of_text(&spans, checked);
        located.extend(problems.iter().map(|problem| (spans.position(&problem.path), self.locate(&spans, problem))));
        // A key that is misspelt is missing as well: what stands there comes first.
        located.sort_by_key(|(at, located)| (located.message.starts_with("missing field"), *at));
        let located: Vec<Located> = located.into_iter().map(|(_, located)| located).collect();
        if located.len() < 2 { first } else { refuse_all(located).err().unwrap_or(first) }
    }

    fn fault(&self, fault: &Fault, hint: Option<&str>) -> Located {
        let message = model::problem::redacted(&in_plain_words(&fault.message));
        let hint = hint.unwrap_or_else(|| self.hint_for(&fault.message)).to_owned();
        Located { place: self.place(fault.at), key: fault.path.to_string(), message, hint }
    }

    fn refusal(&self, refusal: Refusal) -> Error {
        let at = refusal.at.map(|at| format!("{at}: ")).unwrap_or_default();
        Error::configuration(format!("{}:{at}{}", self.shown, refusal.message)).hint(refusal.hint)
    }

    fn yaml_error(&self, error: &serde_yaml::Error) -> Error {
        let text = error.to_string();
        let message = shape::message_of(error);
        // serde places a repeated key at the mapping, the other parser at the
        // key; short lines bound how deep it has to go.
        if text.contains("duplicate field")
            && self.text.lines().all(|line| line.len() < 500)
            && let Err(refusal) = Spans::parse(&self.text)
        {
            return self.refusal(refusal);
        }
        let at = match error.location() {
            Some(at) => format!("{}:{}: ", at.line(), at.column()),
            None => self.second_document().map(|line| format!("{line}:1: ")).unwrap_or_default(),
        };
        if message.contains("more than one document") {
            return Error::configuration(format!("{}:{at}a second YAML document begins", self.shown))
                .hint("a configuration file is one document: remove the `---`");
        }
        let hint = self.hint_for(&message);
        Error::configuration(format!("{}:{at}{}", self.shown, model::problem::redacted(&in_plain_words(&message))))
            .hint(hint)
    }

    fn hint_for(&self, message: &str) -> &'static str {
        let wrong_type = message.contains("invalid type") && message.contains("expected a string");
        if wrong_type {
            "put the value into quotes: YAML reads it as a number or another type without them"
        } else if message.contains("cannot start any token") && self.text.contains('\t') {
            "indent with spaces: YAML takes no tabs there"
        } else if message.contains("unknown field") {
            "correct the spelling or remove the line; docs/configuration.md lists every field"
        } else if message.contains("missing field") {
            "add the field; docs/configuration.md lists every field"
        } else {
            "correct the file; docs/configuration.md shows its shape"
        }
    }

    /// The line of the `---` between two documents.
    fn second_document(&self) -> Option<usize> {
        let is_content = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
        let mut lines = self.text.lines().enumerate().skip_while(|(_, line)| !is_content(line)).skip(1);
        lines.find(|(_, line)| line.starts_with("---")).map(|(index, _)| index + 1)
    }

    /// Turns problems into one error that names the first with its place and
    /// lists them all.
    ///
    /// # Errors
    /// Where there is a problem.
    pub fn refuse(&self, spans: &Spans, problems: &[Problem]) -> Result<()> {
        let located: Vec<Located> = problems.iter().map(|problem| self.locate(spans, problem)).collect();
        refuse_all(located)
    }

    /// The problem with the line and column of its place in this file.
    pub fn locate(&self, spans: &Spans, problem: &Problem) -> Located {
        Located {
            place: self.place(spans.position(&problem.path)),
            key: problem.path.to_string(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }

    /// `config/settings.yaml:3:5`.
    pub fn place(&self, position: Position) -> String {
        format!("{}:{position}", self.shown)
    }

    /// `config/settings.yaml:3:5` of a place in the file.
    pub fn place_of(&self, spans: &Spans, path: &YamlPath) -> String {
        self.place(spans.position(path))
    }
}

/// What is wrong with the words of a file, and then with what they mean: that
/// repeats them, so it is not asked while there are credentials among them.
fn of_text(spans: &Spans, check: impl FnOnce() -> Vec<Problem>) -> Vec<Problem> {
    let mut problems = spans.credentials();
    let has_credentials = !problems.is_empty();
    problems.extend(spans.unseen());
    if !has_credentials {
        problems.extend(check());
    }
    problems
}

/// A problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// `config/components.yaml:12:5`.
    pub place: String,
    /// `images.additional[3]`; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// # Errors
/// Where the list is not empty: the first problem in full, and all of them as
/// the error's items.
pub fn refuse_all(problems: Vec<Located>) -> Result<()> {
    let Some(first) = problems.first() else { return Ok(()) };
    let key = if first.key.is_empty() { String::new() } else { format!("{}: ", first.key) };
    let more = match problems.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more problem)".to_owned(),
        more => format!(" (and {more} more problems)"),
    };
    let error = Error::configuration(format!("{}: {key}{}{more}", first.place, first.message)).hint(first.hint.clone());
    if problems.len() == 1 {
        return Err(error);
    }
    let item = |problem: Located| ItemFailure {
        item: problem.place,
        origin: problem.key,
        class: Class::Configuration,
        status: None,
        code: None,
        message: problem.message,
        hint: Some(problem.hint),
    };
    Err(error.with_items(problems.into_iter().map(item).collect()))
}

/// What is wrong with several files, told as one.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Vec<(String, Error)>);

impl Refusals {
    /// What was read of the file `shown`; none where it is refused, which is
    /// kept.
    pub(crate) fn take<T>(&mut self, shown: &str, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.0.push((shown.to_owned(), error))).ok()
    }

    /// The same of a file that need not be there, with its text.
    pub(crate) fn optional<T>(&mut self, path: &Path, parse: impl FnOnce(&Source) -> Result<T>) -> Option<(Source, T)> {
        let shown = layout::shown(path);
        let source = self.take(&shown, Source::read(path))??;
        let value = self.take(&shown, parse(&source))?;
        Some((source, value))
    }

    /// # Errors
    /// Where something was refused: as it was where that is one error, and all
    /// the problems of all files otherwise.
    pub(crate) fn told(mut self) -> Result<()> {
        if self.0.len() < 2 {
            return self.0.pop().map_or(Ok(()), |(_, error)| Err(error));
        }
        refuse_all(self.0.iter().flat_map(|(shown, error)| located(shown, error)).collect())
    }
}

/// The problems that an error about a file tells.
fn located(shown: &str, error: &Error) -> Vec<Located> {
    if error.items().is_empty() {
        return vec![whole(shown, error)];
    }
    let of_item = |item: &ItemFailure| Located {
        place: item.item.clone(),
        key: item.origin.clone(),
        message: item.message.clone(),
        hint: item.hint.clone().unwrap_or_default(),
    };
    error.items().iter().map(of_item).collect()
}

/// One problem, whose message begins with its place: `shown:3:5: what`, or
/// `shown: what`.
fn whole(shown: &str, error: &Error) -> Located {
    let line = error.one_line();
    let rest = line.strip_prefix(shown).unwrap_or(&line);
    let (position, message) =
        rest.split_once(": ").filter(|(at, _)| is_position(at)).unwrap_or(("", rest.trim_start()));
    let hint = error.hint_text().unwrap_or_default().to_owned();
    Located { place: format!("{shown}{position}"), key: String::new(), message: message.to_owned(), hint }
}

/// `:3:5`, or nothing.
fn is_position(text: &str) -> bool {
    text.bytes().all(|c| c == b':' || c.is_ascii_digit())
}

/// What serde found and expected, in the words of YAML and not of a program.
fn in_plain_words(message: &str) -> String {
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let is_number = |word: &str| {
        let bits = word.strip_prefix(['u', 'i', 'f']).unwrap_or_default();
        bits == "size" || (!bits.is_empty() && bits.bytes().all(|c| c.is_ascii_digit()))
    };
    let expected = match expected {
        "a map" => "a mapping",
        "a sequence" => "a list",
        text if text.starts_with("struct ") => "a mapping",
        text if is_number(text) => "a number that fits",
        text => text,
    };
    let mut found = found.trim_end_matches(" as u128").trim_end_matches(" as i128").to_owned();
    for (word, plain) in [("unit value", "nothing"), ("sequence", "a list"), ("map", "a mapping")] {
        if let Some(before) = found.strip_suffix(word).filter(|before| before.ends_with(": ")) {
            found = format!("{before}{plain}");
        }
    }
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of("config/x.yaml".into(), text.as_bytes().to_vec()).unwrap()
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(default)]
        text: String,
        #[serde(default)]
        map: std::collections::BTreeMap<String, u32>,
    }

    #[test]
    fn every_refusal_names_file_line_and_column() {
        for (text, place, word) in [
            ("text: a\nzzz: 1\n", "config/x.yaml:2:1: ", "unknown field `zzz`"),
            ("text: [1.30]\n", "config/x.yaml:1:7: ", "expected a string"),
            ("text: a\ntext: b\n", "config/x.yaml:2:1: ", "`text` a second time"),
            ("map:\n  a: 1\n  b: 2\n  a: 3\n", "config/x.yaml:4:3: ", "`a` a second time"),
            ("map:\n\ta: 1\n", "config/x.yaml:2:1: ", "cannot start any token"),
            ("map: {a: -1}\n", "config/x.yaml:1:10: ", "expected a number"),
            ("map: {a: 99999999999999999999}\n", "config/x.yaml:1:10: ", "integer `99999999999999999999`, expected"),
            ("map: [a]\n", "config/x.yaml:1:6: ", "a list, expected a mapping"),
            ("# a\n---\ntext: a\n---\ntext: b\n", "config/x.yaml:4:1: ", "second YAML document"),
            ("- a\n", "config/x.yaml:1:1: ", "a list, expected a mapping"),
            ("map: [a\n", "config/x.yaml:1:", ""),
            ("text: \"a\n", "config/x.yaml:2:1: ", "unexpected end"),
            ("text: &a b\n", "config/x.yaml:1:", "anchor"),
            ("text: https://u:hunter2@h/\n", "config/x.yaml:1:7: ", "credentials"),
            ("- a\n", "config/x.yaml:1:1: ", "invalid type"),
        ] {
            let error = source(text).yaml::<Shape>().unwrap_err();
            assert_eq!(error.class(), Class::Configuration, "{text}");
            assert!(
                error.message().starts_with(place) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
            assert!(!error.message().contains("hunter2"), "{}", error.message());
            assert!(error.hint_text().is_some(), "{text}");
        }
    }

    #[test]
    fn blank_files_and_byte_order_marks_are_fine() {
        for text in ["", "# only a comment\n", "\u{feff}text: ''\r\n", "---\n{}\n"] {
            let (shape, _) = source(text).yaml::<Shape>().unwrap();
            assert_eq!(shape.text, "", "{text:?}");
        }
        let utf16: Vec<u8> = "\u{feff}text: \u{e4}\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let (shape, _) = Source::of("x".into(), utf16).unwrap().yaml::<Shape>().unwrap();
        assert_eq!(shape.text, "\u{e4}");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_at_their_place() {
        let error = Source::of("f".into(), b"a\nb\xff".to_vec()).unwrap_err();
        assert!(error.message().starts_with("f:2:2: "), "{}", error.message());
    }

    #[test]
    fn problems_of_several_files_are_told_at_once() {
        let mut refusals = Refusals::default();
        let taken = refusals.take("config/x.yaml", source("text: a\nzzz: 1\n").yaml::<Shape>());
        assert!(taken.is_none());
        let mut two = source("text: {}\nmap: {a: -1}\n");
        two.shown = "config/y.yaml".into();
        refusals.take("config/y.yaml", two.yaml::<Shape>());
        refusals.take("config/z", Err::<(), _>(Error::configuration("config/z is missing").hint("write it")));
        refusals.take("config/z", Err::<(), _>(Error::configuration("config/z: K: is empty")));
        let error = refusals.told().unwrap_err();
        assert!(error.message().starts_with("config/x.yaml:2:1: unknown field `zzz`"), "{}", error.message());
        assert!(error.message().ends_with("(and 4 more problems)"), "{}", error.message());
        let rows: Vec<_> = error.items().iter().map(|row| (row.item.as_str(), row.message.as_str())).collect();
        assert_eq!((rows[1].0, rows[2].0), ("config/y.yaml:1:7", "config/y.yaml:2:10"));
        assert_eq!(rows[3..], [("config/z", "is missing"), ("config/z", "K: is empty")]);

        let mut one = Refusals::default();
        one.take("config/x.yaml", source("- a\n").yaml::<Shape>());
        assert!(one.told().unwrap_err().items().is_empty(), "one problem needs no list");
        Refusals::default().told().unwrap();
    }

    #[test]
    fn all_problems_are_listed_and_the_first_is_named() {
        let source = source("map: {}\ntext: a\n");
        let (_, spans) = source.yaml::<Shape>().unwrap();
        let at = |key: &str| Problem::new(&YamlPath::root().key(key), "is wrong", "mend it");
        let error = source.refuse(&spans, &[at("text"), at("map"), at("absent")]).unwrap_err();
        assert_eq!(error.message(), "config/x.yaml:2:7: text: is wrong (and 2 more problems)");
        assert_eq!(error.items().len(), 3);
        assert_eq!(error.items()[2].item, "config/x.yaml:1:1", "what is absent is placed at what lacks it");
    }
}
