//! Keeps a tag and a comma apart for the scanner.
//!
//! libyaml-safer 0.3 panics where a tag is followed by a comma in a flow
//! collection (`[!a, b]`); Go's scanner, which Helm uses, refuses it. So every
//! comma that may stand so is replaced by a letter that the text does not hold:
//! behind a tag the scanner refuses it as Go does, in a scalar it is put back.
//! Where the comma ends a plain scalar of a flow collection (`[a !b, c]`) it
//! has to stay one, which only the scanner can tell: it is asked, comma by
//! comma.

use std::borrow::Cow;
use std::collections::HashSet;

use libyaml_safer::{EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

/// Commas that are asked for one by one: each costs a pass over the text.
const ASKED_LIMIT: usize = 16;

/// A text that is safe to scan.
pub(crate) struct Shielded<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    /// What stands for a comma.
    letter: Option<char>,
}

impl<'a> Shielded<'a> {
    /// # Errors
    /// Says what the text has too much of.
    pub(crate) fn new(text: &'a [u8]) -> Result<Self, String> {
        let mut commas = commas_behind_tags(text);
        if commas.is_empty() {
            return Ok(Self { text: Cow::Borrowed(text), letter: None });
        }
        let letter = absent_letter(text).ok_or("every letter of two bytes is in it")?;
        for _ in 0..=ASKED_LIMIT {
            let shielded = replace(text, &commas, letter);
            let Some(at) = plain_flow_scalar_with(&shielded, letter) else {
                return Ok(Self { text: Cow::Owned(shielded), letter: Some(letter) });
            };
            // Each comma before it became one byte longer.
            let nth = commas.iter().enumerate().position(|(nth, comma)| comma + nth == at);
            commas.remove(nth.ok_or("a comma behind a tag is lost")?);
        }
        Err(format!("more than {ASKED_LIMIT} texts with ` !…,` in flow collections: put them in quotes"))
    }

    /// A scalar as it was written.
    pub(crate) fn restore(&self, scalar: String) -> String {
        match self.letter {
            Some(letter) if scalar.contains(letter) => scalar.replace(letter, ","),
            _ => scalar,
        }
    }
}

/// Offsets of the commas that follow what may be a tag: `!`, where a token may
/// begin, and letters of a tag.
fn commas_behind_tags(bytes: &[u8]) -> Vec<usize> {
    let begins = |at: usize| at == 0 || !is_of_tag(bytes[at - 1]) || matches!(bytes[at - 1], b':' | b'?');
    let mut commas = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'!') {
        let start = at + found;
        let end = bytes[start..].iter().position(|byte| !is_of_tag(*byte)).map_or(bytes.len(), |length| start + length);
        if begins(start) && bytes.get(end) == Some(&b',') {
            commas.push(end);
        }
        at = end;
    }
    commas
}

/// Whether the scanner takes a byte as part of a tag; `<` and `>` enclose one.
fn is_of_tag(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-;/?:@&=+$.%!~*'()<>".contains(&byte)
}

/// A letter of two bytes, so that lengths hardly change, that the text lacks.
fn absent_letter(text: &[u8]) -> Option<char> {
    let pairs: HashSet<&[u8]> = text.windows(2).filter(|pair| !pair[0].is_ascii()).collect();
    ('\u{a1}'..='\u{7ff}').find(|letter| !pairs.contains(letter.encode_utf8(&mut [0; 2]).as_bytes()))
}

fn replace(text: &[u8], commas: &[usize], letter: char) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len() + commas.len());
    let mut from = 0;
    for &comma in commas {
        replaced.extend_from_slice(&text[from..comma]);
        replaced.extend_from_slice(letter.encode_utf8(&mut [0; 2]).as_bytes());
        from = comma + 1;
    }
    replaced.extend_from_slice(&text[from..]);
    replaced
}

/// The offset of the first `letter` within a plain scalar of a flow collection.
fn plain_flow_scalar_with(text: &[u8], letter: char) -> Option<usize> {
    let mut parser = Parser::new();
    parser.set_input(text);
    let mut flow = 0_usize;
    while let Ok(event) = parser.parse() {
        match event.data {
            EventData::StreamEnd => return None,
            EventData::SequenceStart { style: SequenceStyle::Flow, .. }
            | EventData::MappingStart { style: MappingStyle::Flow, .. } => flow += 1,
            // All that is within a flow collection is one.
            EventData::SequenceEnd | EventData::MappingEnd => flow = flow.saturating_sub(1),
            EventData::Scalar { style: ScalarStyle::Plain, value, .. } if flow > 0 && value.contains(letter) => {
                let start = usize::try_from(event.start_mark.index).ok()?;
                let mut bytes = [0; 2];
                let letter = letter.encode_utf8(&mut bytes).as_bytes();
                return text.get(start..)?.windows(2).position(|pair| pair == letter).map(|found| start + found);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::yaml::{documents, first};

    fn items(text: &str) -> Vec<String> {
        let root = first(text.as_bytes()).unwrap();
        root.items().iter().map(|item| item.text().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_tag_before_a_comma_is_refused_as_go_does() {
        for text in
            ["[!a, b]", "{x: !!str, y: 1}", "[&a !b, *a]", "- [1,\n  !<tag:x>, 2]", "\u{feff}[!, a]", "[!a!b, c]"]
        {
            let error = first(text.as_bytes()).unwrap_err();
            assert_eq!(error.message, "did not find expected whitespace or line break", "{text}");
            assert!(documents(text).1.is_some(), "{text}");
        }
    }

    #[test]
    fn other_commas_stay_what_they_are() {
        assert_eq!(items("[a !b, c]"), ["a !b", "c"]);
        assert_eq!(items("[\"x !b, c\", ' !d, e', f !g, h]"), ["x !b, c", " !d, e", "f !g", "h"]);
        assert_eq!(
            items("- on !important, of\n- !!str a, b\n- |\n  !x, y\n"),
            ["on !important, of", "a, b", "!x, y\n"]
        );
        assert_eq!(items("# !a, b\n[c, d] # !e, f\n"), ["c", "d"]);
    }

    #[test]
    fn too_many_are_refused_and_not_tried_without_end() {
        let text = format!("[{}]", "a !b, ".repeat(100_000));
        assert!(first(text.as_bytes()).unwrap_err().message.contains("put them in quotes"));
    }
}
