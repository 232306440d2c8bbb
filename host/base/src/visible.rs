//! Text from outside as a person may read it: nothing in it can move the
//! cursor, turn the direction of writing, forge a line, or stand there unseen.
//!
//! What has no look of its own is shown as its escape (`\u{202e}`), not dropped:
//! that somebody put it there is worth knowing. [`line()`] and [`json`] are applied
//! where text leaves the process, in `cli` and `progress`, so that nothing has
//! to be remembered before.

use std::fmt::{self, Write as _};

/// The first and the last of each run of characters without a look of their
/// own: controls (Cc), what may be ignored (Default_Ignorable_Code_Point of
/// DerivedCoreProperties.txt), separators of lines and paragraphs (Zl, Zp),
/// private use (Co), noncharacters, and the controls and blanks that are in
/// none of these. Unicode 17.0.
const UNSEEN: &[(char, char)] = &[
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),        // soft hyphen
    ('\u{34f}', '\u{34f}'),      // grapheme joiner
    ('\u{61c}', '\u{61c}'),      // Arabic letter mark
    ('\u{115f}', '\u{1160}'),    // Hangul fillers
    ('\u{17b4}', '\u{17b5}'),    // Khmer inherent vowels
    ('\u{180b}', '\u{180f}'),    // Mongolian selectors and vowel separator
    ('\u{200b}', '\u{200f}'),    // zero width, marks of direction
    ('\u{2028}', '\u{202e}'),    // line, paragraph, embeddings and overrides
    ('\u{2060}', '\u{206f}'),    // word joiner, invisible operators, isolates
    ('\u{2800}', '\u{2800}'),    // empty Braille pattern
    ('\u{3164}', '\u{3164}'),    // Hangul filler
    ('\u{e000}', '\u{f8ff}'),    // private use
    ('\u{fdd0}', '\u{fdef}'),    // noncharacters
    ('\u{fe00}', '\u{fe0f}'),    // variation selectors
    ('\u{feff}', '\u{feff}'),    // byte order mark
    ('\u{ffa0}', '\u{ffa0}'),    // half-width Hangul filler
    ('\u{fff0}', '\u{fffb}'),    // unassigned, interlinear annotation
    ('\u{fffe}', '\u{ffff}'),    // noncharacters
    ('\u{13430}', '\u{1343f}'),  // Egyptian joiners
    ('\u{1bca0}', '\u{1bca3}'),  // shorthand controls
    ('\u{1d159}', '\u{1d159}'),  // null note head
    ('\u{1d173}', '\u{1d17a}'),  // musical controls
    ('\u{e0000}', '\u{10ffff}'), // tags, more selectors, private use
];

/// Whether a character has no look of its own.
pub fn is_unseen(c: char) -> bool {
    let at = UNSEEN.partition_point(|(_, last)| *last < c);
    UNSEEN.get(at).is_some_and(|(first, _)| *first <= c) || u32::from(c) & 0xfffe == 0xfffe
}

/// On one line.
pub fn line(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    pieces(text, false).for_each(|piece| piece.push_to(&mut seen));
    seen
}

/// A serialised line of JSON; its strings are what they were.
pub fn json(line: &str) -> String {
    if !line.chars().any(is_unseen) {
        return line.to_owned();
    }
    let mut seen = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unseen(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| {
                let _ = write!(seen, "\\u{unit:04x}");
            });
        } else {
            seen.push(c);
        }
    }
    seen
}

/// One character of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Shown as it is.
    Seen(char),
    /// Shown as its escape.
    Unseen(char),
}

impl Piece {
    /// Appends it as it is shown.
    pub fn push_to(self, text: &mut String) {
        match self {
            Self::Seen(c) => text.push(c),
            Self::Unseen(c) => {
                let _ = write!(text, "{}", c.escape_unicode());
            }
        }
    }
}

/// The characters of a text; breaks of lines are blanks unless they are kept.
/// The selector that says how a sign is drawn is part of the sign.
pub fn pieces(text: &str, keep_breaks: bool) -> impl Iterator<Item = Piece> {
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    std::iter::from_fn(move || {
        let mut c = characters.next()?;
        if c == '\r' && characters.peek() == Some(&'\n') {
            c = characters.next()?;
        }
        let is_of_sign = matches!(c, '\u{fe0e}' | '\u{fe0f}') && !before.is_ascii() && !is_unseen(before);
        before = c;
        Some(match c {
            '\n' if keep_breaks => Piece::Seen(c),
            '\n' | '\t' => Piece::Seen(' '),
            '\r' if !keep_breaks => Piece::Seen(' '),
            c if is_unseen(c) && !is_of_sign => Piece::Unseen(c),
            c => Piece::Seen(c),
        })
    })
}

/// What to do about a character that nobody sees.
pub const REMOVE: &str = "remove it, or type the text anew: it was pasted along, and nobody sees it";

/// The first character of a text that looks like nothing, or like a blank that
/// it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The character itself.
    pub character: char,
    /// How many characters stand before it.
    pub behind: usize,
}

/// Breaks of lines and tabs are what they look like.
pub fn unseen_in(text: &str) -> Option<Unseen> {
    let is_odd_blank = |c: char| c.is_whitespace() && !matches!(c, ' ' | '\n' | '\r' | '\t');
    let unseen = |piece: Piece| match piece {
        Piece::Unseen(c) if !matches!(c, '\n' | '\r' | '\t') => Some(c),
        Piece::Seen(c) if is_odd_blank(c) => Some(c),
        _ => None,
    };
    let character = pieces(text, true).find_map(unseen)?;
    let behind = text.chars().take_while(|c| *c != character).count();
    Some(Unseen { character, behind })
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.character {
            '\u{a0}' => " (no-break space)",
            '\u{ad}' => " (soft hyphen)",
            '\u{200b}' => " (zero width space)",
            '\u{200c}' | '\u{200d}' => " (zero width joiner)",
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => " (direction of writing)",
            '\u{2060}' => " (word joiner)",
            '\u{feff}' => " (byte order mark)",
            _ => "",
        };
        write!(f, "the invisible character U+{:04X}{name} behind {} characters", u32::from(self.character), self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_in_a_name_is_told() {
        for (text, character, behind) in [
            ("quay.io\u{200b}/a", '\u{200b}', 7),
            ("a\u{ad}b", '\u{ad}', 1),
            ("v1\u{a0}", '\u{a0}', 2),
            ("\u{feff}x", '\u{feff}', 0),
            ("\u{202e}x", '\u{202e}', 0),
            ("é\u{3000}x", '\u{3000}', 1),
        ] {
            assert_eq!(unseen_in(text), Some(Unseen { character, behind }), "{text:?}");
        }
        for text in ["nginx:1.27", "größer", "two\nlines\tand\r\nmore", "日本", "a ❤\u{fe0f} b"] {
            assert_eq!(unseen_in(text), None, "{text:?}");
        }
        assert_eq!(
            unseen_in("ab\u{200b}").unwrap().to_string(),
            "the invisible character U+200B (zero width space) behind 2 characters"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_shown_as_its_escape() {
        for (text, shown) in [
            ("a\n\u{1b}[31mb\tc", "a \\u{1b}[31mb c"),
            ("a\r\nb\rc", "a b c"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("x\u{202e}fdp.exe", "x\\u{202e}fdp.exe"),
            ("a\u{200b}b\u{feff}c\u{ad}d", "a\\u{200b}b\\u{feff}c\\u{ad}d"),
            ("\u{e0041}\u{e007f}", "\\u{e0041}\\u{e007f}"),
            ("ä ö 漢 \u{a0}e\u{301} …", "ä ö 漢 \u{a0}e\u{301} …"),
            ("⚠\u{fe0f} a\u{fe0f} ⚠\u{fe0f}\u{fe0f}", "⚠\u{fe0f} a\\u{fe0f} ⚠\u{fe0f}\\u{fe0f}"),
        ] {
            assert_eq!(line(text), shown);
            assert_eq!(line(shown), shown, "once is enough");
        }
    }

    #[test]
    fn the_kinds_of_unseen_characters_are_known() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert!(!c.is_control() || is_unseen(c), "{c:?}");
        }
        for c in
            "\u{61c}\u{180e}\u{115f}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{2060}\u{2064}\u{2066}\
                  \u{2069}\u{3164}\u{fff9}\u{fffb}\u{34f}\u{e000}\u{e0001}\u{e0100}\u{e01ef}\u{1fffe}\u{10ffff}\u{2800}"
                .chars()
        {
            assert!(is_unseen(c), "{c:?}");
        }
        for c in "a \u{a0}\u{e9}\u{301}\u{3000}\u{4e00}\u{ac00}\u{1f600}✓✗…\u{fffd}\u{fffc}".chars() {
            assert!(!is_unseen(c), "{c:?}");
        }
        assert!(UNSEEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn json_says_what_it_said() {
        let value = serde_json::json!({ "a\u{202e}": "b\u{9b}\u{e0041}\u{7f}\n\u{1b}\"\\ ä" });
        let shown = json(&value.to_string());
        assert!(!shown.chars().any(is_unseen), "{shown}");
        assert!(shown.contains("\\udb40\\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
