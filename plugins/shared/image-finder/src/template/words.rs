//! Words of a template: whole references, the texts of actions, options.

use std::ops::Range;

use model::image::ImageName;

use super::LINK_DEPTH;
use super::lines::is_hole;
use super::parse::{Action, Expression, Kind, Piece, Term};
use crate::naming::has_tag;

pub(super) fn is_whole(text: &str) -> bool {
    has_tag(text) && !text.contains("://") && ImageName::parse(text).is_ok()
}

/// The texts of an action that may be printed.
pub(super) fn texts(piece: &Piece) -> Vec<String> {
    let mut texts = Vec::new();
    if let Kind::Action(Action::Show(value) | Action::Set { value, .. }) = &piece.kind {
        texts_of(value, 0, &mut texts);
    }
    texts
}

fn texts_of(expression: &Expression, depth: usize, texts: &mut Vec<String>) {
    // What ends the rendering is not printed.
    let fails = |command: &Vec<Term>| matches!(command.first(), Some(Term::Word(word)) if word == "fail");
    if expression.0.iter().any(fails) {
        return;
    }
    for command in &expression.0 {
        let is_required = matches!(command.first(), Some(Term::Word(word)) if word == "required");
        for term in command.iter().skip(if is_required { 2 } else { 0 }) {
            match term {
                Term::Text(text) => texts.push(text.clone()),
                Term::Group(inner, _) if depth < LINK_DEPTH => texts_of(inner, depth + 1, texts),
                _ => {}
            }
        }
    }
}

/// The next word that begins with `-`, where one may begin.
pub(super) fn flag(text: &str, from: usize) -> Option<Range<usize>> {
    let mut before = text[..from].chars().next_back().unwrap_or(' ');
    for (at, c) in text[from..].char_indices() {
        let may_begin = before.is_whitespace() || matches!(before, '"' | '\'' | '[' | ',' | '(' | '=' | '`');
        if c == '-' && may_begin {
            let rest = &text[from + at..];
            let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.') || is_hole(c);
            let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
            if end > 1 {
                return Some(from + at..from + at + end);
            }
        }
        before = c;
    }
    None
}
