//! A line of a template as YAML: its keys, their values and the items of lists,
//! of block and flow style, whatever actions stand between.
//!
//! An action is one character of the line; what it prints is asked elsewhere.

use std::ops::Range;

use super::parse::{Action, Kind, Piece};

/// Where the characters that stand for actions begin: nobody's by Unicode.
const HOLES: u32 = 0xF_0000;
const LAST_HOLE: u32 = 0xF_FFFD;

/// A line whose actions are characters.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    pieces: Vec<Piece>,
}

/// A key with or without value, or an item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    /// How far in the key or item stands; what stands in braces is further in.
    pub(super) column: usize,
    /// Whether an item or a map begins with it.
    pub(super) begins: bool,
    /// The value stands below, as a text: `|`, `>-`.
    pub(super) is_block: bool,
    /// `: value` of a key that stands above.
    pub(super) answers: bool,
    /// The key stands behind a `?`, its value below.
    pub(super) asks: bool,
}

impl Line {
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let mut line = Self { text: String::new(), pieces: pieces.to_vec() };
        for (at, piece) in pieces.iter().enumerate() {
            match &piece.kind {
                Kind::Text(text) => line.text.extend(text.chars().map(|c| if is_hole(c) { '\u{fffd}' } else { c })),
                Kind::Action(_) => line.text.extend(hole(at)),
            }
        }
        line
    }

    fn piece(&self, c: char) -> Option<&Piece> {
        self.pieces.get(usize::try_from(u32::from(c).checked_sub(HOLES)?).ok()?)
    }

    /// Whether a character stands for an action that prints nothing by itself.
    fn is_silent(&self, c: char) -> bool {
        self.piece(c).is_some_and(|piece| !matches!(piece.kind, Kind::Action(Action::Show(_))))
    }

    /// Whether an action prints a part of the text.
    pub(super) fn shows(&self, range: &Range<usize>) -> bool {
        self.text[range.clone()].chars().any(|c| is_hole(c) && !self.is_silent(c))
    }

    /// The pieces of a part of the text.
    pub(super) fn cut(&self, range: &Range<usize>) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for c in self.text[range.clone()].chars() {
            match (self.piece(c).filter(|_| is_hole(c)), pieces.last_mut()) {
                (Some(action), _) => pieces.push(action.clone()),
                (None, Some(Piece { kind: Kind::Text(text), .. })) => text.push(c),
                (None, _) => pieces.push(Piece { line: 0, kind: Kind::Text(c.to_string()) }),
            }
        }
        pieces
    }

    /// The text alone, without the actions in it.
    pub(super) fn words(&self, range: &Range<usize>) -> String {
        self.text[range.clone()].chars().filter(|c| !is_hole(*c)).collect()
    }

    /// Whether nothing but white space and actions that print nothing is in it.
    pub(super) fn is_silence(&self) -> bool {
        self.text.chars().all(|c| c.is_whitespace() || self.is_silent(c))
    }

    pub(super) fn is_comment(&self) -> bool {
        let first = self.text.chars().find(|c| !c.is_whitespace() && !self.is_silent(*c));
        first == Some('#')
    }

    pub(super) fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let mut scanner = Scanner { line: self, at: 0, depth: 0, column: None, parts: Vec::new() };
        while scanner.part() {}
        scanner.parts
    }
}

fn hole(at: usize) -> Option<char> {
    let code = HOLES.checked_add(u32::try_from(at).ok()?).filter(|code| *code <= LAST_HOLE)?;
    char::from_u32(code)
}

pub(super) fn is_hole(c: char) -> bool {
    (HOLES..=LAST_HOLE).contains(&u32::from(c))
}

struct Scanner<'l> {
    line: &'l Line,
    at: usize,
    /// Braces and brackets that are open.
    depth: usize,
    /// Of the first key or item.
    column: Option<usize>,
    parts: Vec<Part>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.line.text[self.at..]
    }

    fn first(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.first().filter(|c| c.is_whitespace() || self.line.is_silent(*c)) {
            self.at += c.len_utf8();
        }
    }

    fn skip_white(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Reads one key with its value, or one item. False behind the last.
    fn part(&mut self) -> bool {
        let Some(mut part) = self.opening() else { return false };
        if !part.answers {
            let base = *self.column.get_or_insert(self.at);
            part.column = if self.depth == 0 { self.at } else { base + self.depth };
        }
        let token = self.token(true);
        self.key_or_value(token, &mut part);
        self.parts.push(part);
        self.skip_blanks();
        self.depth > 0 || self.first().is_some_and(|c| matches!(c, ',' | '}' | ']' | '{' | '['))
    }

    /// What stands before a key or an item; none where there is none.
    fn opening(&mut self) -> Option<Part> {
        let mut part = Part::default();
        loop {
            self.skip_blanks();
            let rest = self.rest();
            let second = rest.chars().nth(1);
            let is_alone = second.is_none_or(|c| c.is_whitespace() || is_hole(c));
            match rest.chars().next()? {
                '#' if self.at == 0 || self.line.text[..self.at].ends_with(char::is_whitespace) => return None,
                '-' if is_alone => part.begins = true,
                '?' if is_alone => part.asks = true,
                ':' if is_alone && self.depth == 0 => part.answers = true,
                '{' | '[' => (self.depth, part.begins) = (self.depth + 1, true),
                '}' | ']' => (self.depth, part.begins) = (self.depth.saturating_sub(1), false),
                ',' => {}
                '!' | '&' => {
                    self.at += rest.find(char::is_whitespace)?;
                    continue;
                }
                _ => return Some(part),
            }
            self.at += 1;
        }
    }

    fn key_or_value(&mut self, token: Range<usize>, part: &mut Part) {
        if part.asks {
            part.key = Some(token);
            return;
        }
        if !self.takes_colon(&token) {
            part.is_block = self.is_block(&token);
            part.value = Some(token).filter(|token| !token.is_empty() && !part.is_block);
            return;
        }
        part.key = Some(token);
        self.skip_white();
        while let Some(end) = self.properties() {
            self.at = end;
            self.skip_white();
        }
        match self.first() {
            None | Some('{' | '[' | '}' | ']' | ',') => {}
            Some('#') if self.line.text[..self.at].ends_with(char::is_whitespace) => self.at = self.line.text.len(),
            Some(_) => {
                let value = self.token(false);
                part.is_block = self.is_block(&value);
                part.value = Some(value).filter(|value| !value.is_empty() && !part.is_block);
            }
        }
    }

    /// A tag or an anchor before a value, and where it ends.
    fn properties(&self) -> Option<usize> {
        let rest = self.rest();
        let is_one = rest.starts_with(['!', '&']);
        is_one.then(|| self.at + rest.find(char::is_whitespace).unwrap_or(rest.len()))
    }

    fn is_block(&self, token: &Range<usize>) -> bool {
        let text = &self.line.text[token.clone()];
        text.starts_with(['|', '>'])
            && text[1..].chars().all(|c| matches!(c, '+' | '-' | '0'..='9') || self.line.is_silent(c))
    }

    /// Whether a `:` makes a key of it; goes behind it.
    fn takes_colon(&mut self, token: &Range<usize>) -> bool {
        let is_quoted = self.line.text[token.clone()].starts_with(['"', '\'']);
        let behind = &self.line.text[self.at..];
        let blanks = behind.len() - behind.trim_start_matches([' ', '\t']).len();
        let Some(value) = behind[blanks..].strip_prefix(':') else { return false };
        let next = value.chars().next();
        let is_key = next.is_none_or(|c| c.is_whitespace() || is_quoted || is_hole(c) || self.depth > 0);
        if is_key {
            self.at += blanks + 1;
        }
        is_key
    }

    /// A quoted or a plain text. A key ends before its `:`.
    fn token(&mut self, may_be_key: bool) -> Range<usize> {
        let start = self.at;
        let quote = self.first().filter(|c| matches!(c, '"' | '\''));
        let end = match quote.and_then(|quote| quoted(self.rest(), quote)) {
            Some(length) => start + length,
            None => start + self.plain(may_be_key),
        };
        self.at = end;
        let text = &self.line.text[start..end];
        start..start + text.trim_end().len()
    }

    fn plain(&self, may_be_key: bool) -> usize {
        let rest = self.rest();
        let mut before = ' ';
        for (at, c) in rest.char_indices() {
            let next = rest[at + c.len_utf8()..].chars().next();
            let ends = match c {
                '#' => before.is_whitespace() && at > 0,
                ',' | '}' | ']' => self.depth > 0,
                ':' if may_be_key => {
                    next.is_none_or(char::is_whitespace)
                        || next.is_some_and(is_hole) && crate::naming::names_an_image(&rest[..at])
                }
                _ => false,
            };
            if ends {
                return at;
            }
            before = c;
        }
        rest.len()
    }
}

/// The length of a text in quotes; none where it does not end here, or goes on
/// behind the quotes.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, c)| *c == '\'') => drop(chars.next()),
            _ if c == quote => {
                let goes_on = chars.peek().is_some_and(|(_, c)| is_hole(*c) || c.is_alphanumeric());
                return (!goes_on).then_some(at + 1);
            }
            _ => {}
        }
    }
    None
}
