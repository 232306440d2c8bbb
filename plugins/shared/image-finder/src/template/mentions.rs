//! The second look: whatever of a line mentions an image and has no answer is
//! told, understood or not.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lines::is_hole;
use super::parse::{Action, Expression, Kind, Piece, Term};
use super::places::Looked;
use super::words::{flag, is_whole, texts};
use super::{LINK_DEPTH, Line, Reader, Site, World};
use crate::naming::{is_flag_of_image, names_an_image};

impl<'a> Reader<'a, '_> {
    /// A word that ends in `image` with `:` or `=` behind it, in whatever text.
    pub(super) fn mentions(&mut self, looked: &mut Looked<'_, 'a>, world: &mut World<'a>) {
        for (word, value) in mentioned(&looked.text.text) {
            if looked.answered.iter().any(|range| range.contains(&word.start)) {
                continue;
            }
            let text = &looked.text.text[value.clone()];
            let is_open = looked.text.shows(&value) && !text.contains("://");
            let is_whole = is_whole(text);
            if (is_open || is_whole)
                && let Some(mut written) = self.site(looked, &value, false, Some(&looked.text.text[word]), world)
            {
                written.doubt();
                self.sites.push(written);
            }
        }
    }

    /// Texts of actions: a whole reference, and what makes a line of an image.
    /// Nobody knows where they end up.
    pub(super) fn literals(&mut self, line: &Line<'a>) {
        let prints_maps = line.pieces.iter().any(prints_maps);
        for text in line.pieces.iter().flat_map(texts) {
            let is_reference = text.contains('/') && is_whole(&text);
            let is_line = mentioned(&text).into_iter().any(|(_, value)| {
                let value = &text[value];
                value.contains('%') || is_whole(value)
            });
            let is_option = flag(&text, 0).is_some_and(|flag| {
                let behind = text[flag.end..].strip_prefix('=').unwrap_or_default();
                is_flag_of_image(&text[flag]) && (behind.contains('%') || is_whole(behind))
            });
            let is_key = prints_maps && names_an_image(&text);
            if is_reference || is_line || is_option || is_key {
                let site = Site {
                    file: self.source.file,
                    line: line.number,
                    written: text,
                    text: None,
                    is_literal: false,
                    is_sure: true,
                    is_apart: line.is_apart,
                    links: BTreeSet::new(),
                };
                let written = self.at(line, site);
                self.sites.push(written);
            }
        }
    }
}

/// `dict "image" … | toYaml`: the texts may be keys.
fn prints_maps(piece: &Piece) -> bool {
    let Kind::Action(Action::Show(value)) = &piece.kind else { return false };
    let is = |word: &Term, names: &[&str]| matches!(word, Term::Word(word) if names.contains(&word.as_str()));
    let mut words = Vec::new();
    words_of(value, 0, &mut words);
    words.iter().any(|word| is(word, &["toYaml", "toJson"])) && words.iter().any(|word| is(word, &["dict"]))
}

fn words_of<'e>(expression: &'e Expression, depth: usize, words: &mut Vec<&'e Term>) {
    for term in expression.0.iter().flatten() {
        match term {
            Term::Word(_) => words.push(term),
            Term::Group(inner, _) if depth < LINK_DEPTH => words_of(inner, depth + 1, words),
            _ => {}
        }
    }
}

/// Words that end in `image` and have a value: where both stand.
fn mentioned(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let lower = text.to_ascii_lowercase();
    let found = lower.match_indices("image").filter_map(|(at, image)| {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let start = lower[..at].trim_end_matches(is_of_word).len();
        let behind = &lower[at + image.len()..];
        let end = lower.len() - behind.trim_start_matches(is_of_word).len();
        let is_hole_before = lower[..start].ends_with(is_hole);
        if !names_an_image(&lower[start..end]) || is_hole_before && start == at && lower[start..].starts_with("images")
        {
            return None;
        }
        let rest = text[end..].trim_start_matches(['"', '\'', '\\', ' ']).strip_prefix([':', '='])?;
        let rest = rest.trim_start_matches([' ', '"', '\'', '\\', '`', '\t']);
        let from = text.len() - rest.len();
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | ']' | '}' | ')' | '\\'));
        let value = from..from + length.unwrap_or(rest.len());
        (!value.is_empty()).then_some((start..end, value))
    });
    found.collect()
}
