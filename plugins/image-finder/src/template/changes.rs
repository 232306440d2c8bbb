//! What templates change of the values themselves: every later line sees it, and
//! which line is later only a rendering tells.

use std::collections::BTreeSet;

use super::parse::{Action, Expression, Kind, Piece, Term};
use super::{Helpers, Known, LINK_DEPTH, Links, within};
use crate::yaml::Node;

/// `set .Values.image "tag" …`, and all that does the same.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Which value; empty for all of them.
    path: String,
    /// Of whatever a helper is handed: of every value of that name.
    anywhere: bool,
    /// `merge` only gives what is not there.
    fills: bool,
    /// Values that are looped over or asked for around it.
    guards: BTreeSet<String>,
    command: Vec<Term>,
}

impl Change {
    /// Whether it happens with these values, and changes anything.
    pub(super) fn happens(&self, values: Option<&Node>) -> bool {
        let Some(values) = values else { return true };
        let is_off = |path: &String| values.at(path).map_or(Some(false), Node::is_truthy) == Some(false);
        let is_there = || values.at(&self.path).is_some_and(|node| !node.is_map() && node.is_truthy() == Some(true));
        !(self.guards.iter().any(is_off) || self.fills && is_there())
    }

    /// Whether it concerns a value, or what is below or above it. What these pieces
    /// fill in themselves they see.
    pub(super) fn concerns(&self, link: &str, pieces: &[Piece]) -> bool {
        let is_meant = if self.anywhere {
            link.split('.').any(|part| part == self.path)
        } else {
            is_at_or_below(link, &self.path) || is_at_or_below(&self.path, link)
        };
        is_meant && !(self.fills && pieces.iter().any(|piece| self.is_in(piece)))
    }

    fn is_in(&self, piece: &Piece) -> bool {
        let Kind::Action(Action::Show(value) | Action::Set { value, .. }) = &piece.kind else { return false };
        holds(value, &self.command, 0)
    }
}

fn holds(expression: &Expression, wanted: &[Term], depth: usize) -> bool {
    expression.0.iter().any(|command| {
        let is_within =
            |term: &Term| matches!(term, Term::Group(inner, _) if depth < LINK_DEPTH && holds(inner, wanted, depth + 1));
        command == wanted || command.iter().any(is_within)
    })
}

/// Whether the path of a value is `top` or below it.
fn is_at_or_below(path: &str, top: &str) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A block around: what its dot is made from, and what it asks for.
#[derive(Clone, Default)]
struct Around {
    dot: BTreeSet<String>,
    guards: BTreeSet<String>,
    is_helper: bool,
}

/// Finds the changes of one file.
pub(super) struct Finder<'h> {
    helpers: &'h Helpers,
    known: Known,
    around: Vec<Around>,
    /// Whether it is the condition of a block: what is filled in for it, only the
    /// block looks at.
    is_asked: bool,
    found: Vec<Change>,
}

impl<'h> Finder<'h> {
    pub(super) fn changes(helpers: &'h Helpers, pieces: &[Piece]) -> Vec<Change> {
        let mut finder = Self { helpers, known: Known::new(), around: Vec::new(), is_asked: false, found: Vec::new() };
        for piece in pieces {
            if let Kind::Action(action) = &piece.kind {
                finder.action(action);
            }
        }
        finder.found
    }

    fn action(&mut self, action: &Action) {
        let mut inner = self.around.last().cloned().unwrap_or_default();
        match action {
            Action::Show(value) => self.expression(value, 0),
            Action::Set { name, value, .. } => {
                self.expression(value, 0);
                let links = if is_fresh(value, 0) { BTreeSet::new() } else { self.links(value) };
                self.known.entry(name.clone()).or_default().extend(links);
            }
            Action::With(value) => {
                self.condition(value);
                inner.dot = self.links(value);
                self.guard(value, &mut inner);
                self.around.push(inner);
            }
            Action::Range(names, value) => {
                inner.dot = within(&self.links(value));
                self.guard(value, &mut inner);
                for name in names {
                    self.known.entry(name.clone()).or_default().extend(inner.dot.clone());
                }
                self.around.push(inner);
            }
            Action::If(value) => {
                self.condition(value);
                self.guard(value, &mut inner);
                self.around.push(inner);
            }
            Action::Define(_) => self.around.push(Around { is_helper: true, ..Around::default() }),
            Action::Else(_) => {
                self.around.pop();
                self.around.push(self.around.last().cloned().unwrap_or_default());
            }
            Action::End => drop(self.around.pop()),
            Action::Nothing => {}
        }
    }

    /// A value by itself that has to be there.
    fn guard(&self, value: &Expression, inner: &mut Around) {
        if let [command] = value.0.as_slice()
            && let [Term::Dot(_) | Term::Variable(..)] = command.as_slice()
        {
            inner.guards.extend(Some(self.links(value)).filter(|links| links.len() == 1).into_iter().flatten());
            inner.guards.retain(|path| !path.contains('*') && !path.is_empty());
        }
    }

    fn links(&self, value: &Expression) -> BTreeSet<String> {
        let mut links = Links::new(self.helpers);
        let dot = self.around.last().map(|around| around.dot.clone()).unwrap_or_default();
        links.expression(value, &self.known, &dot);
        links.found
    }

    fn condition(&mut self, value: &Expression) {
        self.is_asked = true;
        self.expression(value, 0);
        self.is_asked = false;
    }

    fn is_helper(&self) -> bool {
        self.around.first().is_some_and(|around| around.is_helper)
    }

    fn expression(&mut self, expression: &Expression, depth: usize) {
        for command in &expression.0 {
            for term in command {
                if let Term::Group(inner, _) = term
                    && depth < LINK_DEPTH
                {
                    self.expression(inner, depth + 1);
                }
            }
            self.command(command);
        }
    }

    fn command(&mut self, command: &[Term]) {
        let [Term::Word(name), first, rest @ ..] = command else { return };
        let fills = matches!(name.as_str(), "merge" | "mustMerge");
        let is_merge = fills || matches!(name.as_str(), "mergeOverwrite" | "mustMergeOverwrite");
        if !is_merge && !matches!(name.as_str(), "set" | "unset") {
            return;
        }
        let keys = if is_merge { keys_of_dicts(rest) } else { rest.first().and_then(text_of).map(|key| vec![key]) };
        // `set . "Values" …`: all of them.
        if is_root(first) && keys.as_ref().is_some_and(|keys| keys.iter().any(|key| key == "Values")) {
            self.note(String::new(), fills, command);
        }
        if is_fresh_term(first, 0) || fills && self.is_asked {
            return;
        }
        let links = self.links(&Expression(vec![vec![first.clone()]]));
        if links.is_empty() && !fills && matches!(first, Term::Dot(_)) && self.is_helper() {
            keys.iter().flatten().for_each(|key| self.note(key.clone(), false, command));
            let unknown = self.found.len() - keys.as_ref().map_or(0, Vec::len);
            self.found[unknown..].iter_mut().for_each(|change| change.anywhere = true);
        }
        for link in links {
            match &keys {
                Some(keys) => keys.iter().for_each(|key| self.note(joined(&link, key), fills, command)),
                None => self.note(link, fills, command),
            }
        }
    }

    fn note(&mut self, path: String, fills: bool, command: &[Term]) {
        let guards = self.around.last().map(|around| around.guards.clone()).unwrap_or_default();
        self.found.push(Change { path, anywhere: false, fills, guards, command: command.to_vec() });
    }
}

/// Whether an expression makes something new: changing that changes no value.
fn is_fresh(expression: &Expression, depth: usize) -> bool {
    let Some([Term::Word(name), rest @ ..]) = expression.0.last().map(Vec::as_slice) else { return false };
    match name.as_str() {
        "merge" | "mustMerge" | "mergeOverwrite" | "mustMergeOverwrite" => {
            rest.first().is_some_and(|first| is_fresh_term(first, depth))
        }
        "dict" | "list" | "deepCopy" | "mustDeepCopy" | "fromYaml" | "fromJson" | "omit" | "pick" | "include"
        | "printf" | "toYaml" => true,
        _ => false,
    }
}

fn is_fresh_term(term: &Term, depth: usize) -> bool {
    matches!(term, Term::Group(inner, fields) if fields.is_empty() && depth < LINK_DEPTH && is_fresh(inner, depth + 1))
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn is_root(term: &Term) -> bool {
    match term {
        Term::Dot(fields) => fields.is_empty(),
        Term::Variable(name, fields) => name.is_empty() && fields.is_empty(),
        _ => false,
    }
}

fn text_of(term: &Term) -> Option<String> {
    if let Term::Text(text) = term { Some(text.clone()) } else { None }
}

/// The keys of `(dict "a" … "b" …)`; none where another map is merged as well.
fn keys_of_dicts(terms: &[Term]) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    for term in terms {
        let Term::Group(Expression(commands), _) = term else { return None };
        let [command] = commands.as_slice() else { return None };
        let [Term::Word(name), entries @ ..] = command.as_slice() else { return None };
        if name != "dict" {
            return None;
        }
        keys.extend(entries.iter().step_by(2).map(text_of).collect::<Option<Vec<_>>>()?);
    }
    Some(keys)
}
