//! A Go template as pieces: text, and actions with their expressions. What is
//! not understood is a word that nobody knows, never an error.

/// Parentheses in parentheses; more is not understood.
const DEPTH_LIMIT: usize = 32;

/// A part of a template, and the line (from 1) where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) line: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    Action(Action),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Show(Expression),
    /// `$name := …`, which ends with its block, and `$name = …`.
    Set {
        name: String,
        value: Expression,
        declares: bool,
    },
    If(Expression),
    With(Expression),
    /// With the variables that each item gets: the key and the item, or the item.
    Range(Vec<String>, Expression),
    /// `else`, with the condition of an `else if` or `else with`.
    Else(Option<Expression>),
    Define(String),
    End,
    /// A comment.
    Nothing,
}

/// Commands joined by `|`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expression(pub(super) Vec<Vec<Term>>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Text(String),
    /// A function, `true`, a number.
    Word(String),
    /// `$name` and what follows it: `$` alone is the root.
    Variable(String, Vec<String>),
    /// Fields of the dot, which may be none.
    Dot(Vec<String>),
    /// In parentheses, and the fields that are taken of it.
    Group(Expression, Vec<String>),
}

impl Expression {
    fn unknown() -> Self {
        Self(vec![vec![Term::Word("?".to_owned())]])
    }
}

pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, action) = (&rest[..at], &rest[at + 2..]);
        let end = end_of(action);
        let inner = &action[..end];
        // `{{-` takes the white space before it, and the line with it.
        let shown = if inner.starts_with("- ") || inner.starts_with("-\n") { trimmed_end(before) } else { before };
        push_text(&mut pieces, shown, line);
        line += count_lines(before);
        pieces.push(Piece { line, kind: Kind::Action(action_of(inner)) });
        line += count_lines(inner);
        rest = action.get(end + 2..).unwrap_or("");
    }
    push_text(&mut pieces, rest, line);
    pieces
}

/// White space within a line says nothing here; line breaks stay, since lines
/// are what is searched.
fn trimmed_end(text: &str) -> &str {
    text.trim_end_matches([' ', '\t'])
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, line: u32) {
    if !text.is_empty() {
        pieces.push(Piece { line, kind: Kind::Text(text.to_owned()) });
    }
}

fn count_lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

/// Where `}}` ends an action: not within a text of it or a comment.
fn end_of(action: &str) -> usize {
    let inner = action.trim_start_matches(['-', ' ', '\n', '\r', '\t']);
    if inner.starts_with("/*") {
        let at = action.find("*/").unwrap_or(0);
        return action[at..].find("}}").map_or(action.len(), |end| at + end);
    }
    let bytes = action.as_bytes();
    let mut at = 0;
    let mut quote = None;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return at,
            _ => {}
        }
        at += 1;
    }
    action.len()
}

fn action_of(inner: &str) -> Action {
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner).trim();
    if inner.starts_with("/*") {
        return Action::Nothing;
    }
    // `if(…)` and `range$i, …` are as good.
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (word, rest) = (&inner[..end], inner[end..].trim());
    match word {
        "if" => Action::If(expression(rest)),
        "with" => Action::With(expression(after_assignment(rest))),
        "range" => Action::Range(names(rest), expression(after_assignment(rest))),
        "else" => {
            let condition = rest.strip_prefix("if").or_else(|| rest.strip_prefix("with"));
            Action::Else(condition.map(expression))
        }
        "end" => Action::End,
        "define" | "block" => Action::Define(first_text(rest).unwrap_or_default()),
        _ => match assignment(inner) {
            Some((name, value, declares)) => Action::Set { name, value: expression(value), declares },
            None => Action::Show(expression(inner)),
        },
    }
}

fn first_text(text: &str) -> Option<String> {
    match expression(text).0.into_iter().flatten().next() {
        Some(Term::Text(text)) => Some(text),
        _ => None,
    }
}

/// `$name := value`, and whether it is no `=`.
fn assignment(text: &str) -> Option<(String, &str, bool)> {
    let name = text.strip_prefix('$')?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let rest = name[end..].trim_start();
    let name = name[..end].to_owned();
    match rest.strip_prefix(":=") {
        Some(value) => Some((name, value, true)),
        None => Some((name, rest.strip_prefix('=')?, false)),
    }
}

/// `$i` and `$x` of `range $i, $x := list`.
fn names(text: &str) -> Vec<String> {
    let names = text.split_once(":=").filter(|_| text.starts_with('$')).map_or("", |(names, _)| names);
    let names = names.split(',').map(|name| name.trim().trim_start_matches('$').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// What `range $i, $x := list` and `with $x := value` go over.
fn after_assignment(text: &str) -> &str {
    if text.starts_with('$') { text.split_once(":=").map_or(text, |(_, value)| value) } else { text }
}

fn expression(text: &str) -> Expression {
    let tokens = tokens(text);
    let mut at = 0;
    let read = group(&tokens, &mut at, 0);
    if at < tokens.len() { Expression::unknown() } else { read }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    /// With the fields behind it: `(…).a.b`.
    Close(Vec<String>),
    Bar,
    Term(Term),
}

fn group(tokens: &[Token], at: &mut usize, depth: usize) -> Expression {
    if depth > DEPTH_LIMIT {
        *at = tokens.len();
        return Expression::unknown();
    }
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        let term = match token {
            Token::Bar => {
                commands.push(Vec::new());
                continue;
            }
            Token::Close(_) if depth == 0 => return Expression::unknown(),
            Token::Close(_) => {
                *at -= 1;
                break;
            }
            Token::Open => {
                let inner = group(tokens, at, depth + 1);
                let Some(Token::Close(fields)) = tokens.get(*at) else { return Expression::unknown() };
                *at += 1;
                Term::Group(inner, fields.clone())
            }
            Token::Term(term) => term.clone(),
        };
        if let Some(command) = commands.last_mut() {
            command.push(term);
        }
    }
    Expression(commands)
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => {
                let length = word_length(&rest[1..]);
                (Token::Close(fields(&rest[1..=length])), 1 + length)
            }
            '|' => (Token::Bar, 1),
            '"' | '`' => {
                let (text, length) = quoted(rest, first);
                (Token::Term(Term::Text(text)), length)
            }
            _ => {
                let length = word_length(rest).max(first.len_utf8());
                (Token::Term(word(&rest[..length])), length)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '|' | '"' | '`')).unwrap_or(text.len())
}

fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut inner = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return (inner, at + 1),
            '\\' if quote == '"' => inner.extend(chars.next().map(|(_, c)| c)),
            _ => inner.push(c),
        }
    }
    (inner, text.len())
}

fn word(text: &str) -> Term {
    if let Some(name) = text.strip_prefix('$') {
        let (name, rest) = name.split_once('.').unwrap_or((name, ""));
        return Term::Variable(name.to_owned(), fields(rest));
    }
    if text.starts_with('.') { Term::Dot(fields(text)) } else { Term::Word(text.to_owned()) }
}

fn fields(text: &str) -> Vec<String> {
    text.split('.').filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lines_and_actions() {
        let found = pieces("a: 1\nb: {{- /* }} */}}\n{{ if .Values.x }}\nc: {{ \"}}\" | quote }}\n{{- end }}");
        let lines: Vec<u32> = found.iter().map(|piece| piece.line).collect();
        assert_eq!(lines, [1, 2, 2, 3, 3, 4, 4, 5], "{found:#?}");
        assert!(matches!(&found[5].kind, Kind::Action(Action::Show(shown)) if shown.0.len() == 2));
        assert!(matches!(found[7].kind, Kind::Action(Action::End)));
    }

    #[test]
    fn what_is_odd_is_unknown_and_does_not_end_the_program() {
        for text in
            ["{{", "{{ ( }}", "{{ ) }}", "{{ \"x }}", "{{ $ }}", "{{ $x := }}", "{{ .a..b }}", "{{-}}", "{{ é }}"]
        {
            assert!(!pieces(text).is_empty(), "{text}");
        }
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(pieces(&deep).len(), 1);
    }
}
