//! What templates change of the values themselves: every later line sees it, and
//! which line is later only a rendering tells.

use std::collections::BTreeSet;

use super::parse::{Action, Expression, Kind, Piece, Term};
use super::{EACH, Helpers, Known, LINK_DEPTH, Links, within};
use crate::yaml::{Node, Value};

/// Stands for whatever a helper is handed, in the path of a value.
const HANDED: &str = "?";
/// Words that references are made of: what a helper gives a map of one may be read.
const PARTS: [&str; 10] =
    ["image", "registry", "repository", "repo", "name", "tag", "version", "digest", "sha", "appVersion"];

/// `set .Values.image "tag" …`, and all that does the same.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Which value; empty for all of them.
    path: String,
    /// Of whatever a helper is handed: of every value of that name, or, where it
    /// is empty, of any.
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
        let is_there = || values.at(&self.path).is_some_and(is_given);
        !(self.guards.iter().any(is_off) || self.fills && is_there())
    }

    /// Whether it concerns a value, or what is below or above it. What these pieces
    /// fill in themselves they see.
    pub(super) fn concerns(&self, link: &str, values: Option<&Node>, seen: &[&[Piece]]) -> bool {
        let node = || values.and_then(|values| values.at(link));
        let is_meant = match self.anywhere {
            true => self.path.is_empty() || link.split('.').any(|part| part == self.path) || self.is_within(node()),
            false => is_at_or_below(link, &self.path) || is_at_or_below(&self.path, link),
        };
        let is_seen = || seen.iter().copied().flatten().any(|piece| self.is_in(piece));
        is_meant && !(self.fills && (node().is_some_and(is_given) || is_seen()))
    }

    /// Whether a map has, or may be given, what the change names.
    fn is_within(&self, node: Option<&Node>) -> bool {
        let Some(node) = node.filter(|node| node.is_map()) else { return false };
        PARTS.contains(&self.path.as_str()) || has_key(node, &self.path)
    }

    fn is_in(&self, piece: &Piece) -> bool {
        let Kind::Action(Action::Show(value) | Action::Set { value, .. }) = &piece.kind else { return false };
        holds(value, &self.command, 0)
    }
}

/// A value that `merge` leaves as it is.
fn is_given(node: &Node) -> bool {
    !node.is_map() && node.is_truthy() == Some(true)
}

fn holds(expression: &Expression, wanted: &[Term], depth: usize) -> bool {
    expression.0.iter().any(|command| {
        let is_within =
            |term: &Term| matches!(term, Term::Group(inner, _) if depth < LINK_DEPTH && holds(inner, wanted, depth + 1));
        command == wanted || command.iter().any(is_within)
    })
}

/// Whether the path of a value is `top` or below it, or may be: an item may be any.
fn is_at_or_below(path: &str, top: &str) -> bool {
    let mut parts = path.split('.');
    let is_one =
        |wanted: &str, part: Option<&str>| part.is_some_and(|part| [wanted, EACH].contains(&part) || wanted == EACH);
    top.is_empty() || top.split('.').all(|wanted| is_one(wanted, parts.next()))
}

fn has_key(node: &Node, key: &str) -> bool {
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        if let Value::Map(entries) = &node.value {
            if entries.iter().any(|(name, _)| name == key) {
                return true;
            }
            left.extend(entries.iter().map(|(_, node)| node));
        }
    }
    false
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
    found: Vec<Change>,
}

impl<'h> Finder<'h> {
    pub(super) fn changes(helpers: &'h Helpers, pieces: &[Piece]) -> Vec<Change> {
        let mut finder = Self { helpers, known: Known::new(), around: Vec::new(), found: Vec::new() };
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
                let links = self.aliases(value);
                self.known.entry(name.clone()).or_default().extend(links);
            }
            Action::With(value) => {
                self.expression(value, 0);
                inner.dot = self.aliases(value);
                self.guard(value, &mut inner);
                self.around.push(inner);
            }
            Action::Range(names, value) => {
                self.expression(value, 0);
                inner.dot = self.items(value);
                self.guard(value, &mut inner);
                for name in names {
                    self.known.entry(name.clone()).or_default().extend(inner.dot.clone());
                }
                self.around.push(inner);
            }
            Action::If(value) => {
                self.expression(value, 0);
                self.guard(value, &mut inner);
                self.around.push(inner);
            }
            Action::Define(_) => {
                let dot = BTreeSet::from([HANDED.to_owned()]);
                self.known.insert(String::new(), dot.clone());
                self.around.push(Around { dot, is_helper: true, ..Around::default() });
            }
            Action::Else(condition) => {
                self.around.pop();
                let mut inner = self.around.last().cloned().unwrap_or_default();
                if let Some(value) = condition {
                    self.expression(value, 0);
                    self.guard(value, &mut inner);
                    // Of an `else with`; an `else if` leaves the dot.
                    inner.dot.extend(self.aliases(value));
                }
                self.around.push(inner);
            }
            Action::End => {
                if self.around.pop().is_some_and(|around| around.is_helper) && !self.is_helper() {
                    self.known.remove("");
                }
            }
            Action::Nothing => {}
        }
    }

    /// The values that a value may be, and not a copy of.
    fn aliases(&self, value: &Expression) -> BTreeSet<String> {
        let links = self.links(value);
        match value.0.as_slice() {
            _ if is_fresh(value, 0) => BTreeSet::new(),
            [command] if is_path(command) => links,
            _ => &within(&links) | &links,
        }
    }

    /// What a loop over it goes over.
    fn items(&self, list: &Expression) -> BTreeSet<String> {
        let links = self.links(list);
        match list.0.as_slice() {
            [command] if is_path(command) => within(&links),
            _ => &within(&links) | &links,
        }
    }

    /// A value by itself that has to be there.
    fn guard(&self, value: &Expression, inner: &mut Around) {
        if let [command] = value.0.as_slice()
            && let [Term::Dot(_) | Term::Variable(..)] = command.as_slice()
        {
            inner.guards.extend(Some(self.links(value)).filter(|links| links.len() == 1).into_iter().flatten());
            inner.guards.retain(|path| !path.contains(['*', '?']) && !path.is_empty());
        }
    }

    fn links(&self, value: &Expression) -> BTreeSet<String> {
        let mut links = Links::new(self.helpers);
        let dot = self.around.last().map(|around| around.dot.clone()).unwrap_or_default();
        links.expression(value, &self.known, &dot);
        links.found
    }

    fn is_helper(&self) -> bool {
        self.around.first().is_some_and(|around| around.is_helper)
    }

    fn expression(&mut self, expression: &Expression, depth: usize) {
        for (at, command) in expression.0.iter().enumerate() {
            for term in command {
                if let Term::Group(inner, _) = term
                    && depth < LINK_DEPTH
                {
                    self.expression(inner, depth + 1);
                }
            }
            self.command(command, at > 0);
        }
    }

    /// `piped` where what stands before a `|` is one more argument.
    fn command(&mut self, command: &[Term], piped: bool) {
        let [Term::Word(name), first, rest @ ..] = command else { return };
        let fills = matches!(name.as_str(), "merge" | "mustMerge");
        let is_merge = fills || matches!(name.as_str(), "mergeOverwrite" | "mustMergeOverwrite");
        if !is_merge && !matches!(name.as_str(), "set" | "unset") {
            return;
        }
        let keys = match is_merge {
            true => keys_of_dicts(rest).filter(|_| !piped),
            false => rest.first().and_then(text_of).map(|key| vec![key]),
        };
        // `set . "Values" …`: all of them.
        if is_root(first) && keys.as_ref().is_some_and(|keys| keys.iter().any(|key| key == "Values")) {
            self.note("", None, fills, command);
        }
        for link in self.aliases(&Expression(vec![vec![first.clone()]])) {
            match &keys {
                Some(keys) => keys.iter().for_each(|key| self.note(&link, Some(key), fills, command)),
                None => self.note(&link, None, fills, command),
            }
        }
    }

    fn note(&mut self, link: &str, key: Option<&str>, fills: bool, command: &[Term]) {
        let path = key.map_or_else(|| link.to_owned(), |key| joined(link, key));
        let guards = self.around.last().map(|around| around.guards.clone()).unwrap_or_default();
        let anywhere = path.split('.').any(|part| part == HANDED);
        // Of what a helper is handed nothing but the last name is known.
        let path = if anywhere { key.unwrap_or_default().to_owned() } else { path };
        self.found.push(Change { path, anywhere, fills, guards, command: command.to_vec() });
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

/// A value by its path alone, `index` and `get` included.
fn is_path(command: &[Term]) -> bool {
    match command {
        [Term::Dot(_) | Term::Variable(..)] => true,
        [Term::Group(Expression(inner), _)] => matches!(inner.as_slice(), [command] if is_path(command)),
        [Term::Word(word), ..] => matches!(word.as_str(), "index" | "get" | "dig"),
        _ => false,
    }
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
