//! The words of an expression, up to the `}}` that ends it.

/// More words than any variable needs; whoever writes more is not resolved.
const TOKEN_LIMIT: usize = 500;

/// Longer ones first: `<=` is not `<` and `=`.
const SIGNS: &[&str] = &["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", "|", ".", ",", ":", "+", "-", "~"];

/// A word of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name, or a word such as `if` and `in`.
    Name(String),
    /// In quotes, or a number with a point in it.
    Text(String),
    /// A whole number.
    Number(i64),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Reads what stands behind `{{`: the tokens, and what follows the `}}`. None
/// where the text holds something else than the words we know.
pub fn read(text: &str) -> Option<(Vec<Token>, &str)> {
    // `{{-` and `-}}` only remove white space.
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let mut tokens = Vec::new();
    while tokens.len() < TOKEN_LIMIT {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}").or_else(|| rest.strip_prefix("-}}")) {
            return Some((tokens, after));
        }
        let (token, after) = next(rest)?;
        tokens.push(token);
        rest = after;
    }
    None
}

fn next(text: &str) -> Option<(Token, &str)> {
    let first = text.chars().next()?;
    if matches!(first, '\'' | '"') {
        let (inner, after) = text[1..].split_once(first)?;
        // Escapes only matter to patterns, which are not resolved anyway.
        return (!inner.contains('\\')).then(|| (Token::Text(inner.to_owned()), after));
    }
    if first.is_ascii_digit() {
        return number(text);
    }
    if first.is_alphabetic() || first == '_' {
        let (name, after) = split_while(text, |c| c.is_alphanumeric() || c == '_');
        return Some((Token::Name(name.to_owned()), after));
    }
    let sign = SIGNS.iter().find(|sign| text.starts_with(**sign))?;
    Some((Token::Sign(sign), &text[sign.len()..]))
}

fn number(text: &str) -> Option<(Token, &str)> {
    let (digits, after) = split_while(text, |c| c.is_ascii_digit());
    let fraction = after.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match fraction {
        None => Some((Token::Number(digits.parse().ok()?), after)),
        Some(rest) => {
            let (decimals, after) = split_while(rest, |c| c.is_ascii_digit());
            Some((Token::Text(format!("{digits}.{decimals}")), after))
        }
    }
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}
