//! The images that the templates of a chart tell, without rendering them.
//!
//! [`parse`] cuts a template into text and actions, [`lines`] reads each line as
//! YAML with holes where actions stand. The places that name an image ([`places`]:
//! `image: …` of every style, arguments and environment entries) are evaluated by
//! [`eval`] with the chart's values and helpers, and blocks that the values
//! switch off are passed over. What cannot be evaluated is told as it is
//! written, with the values that it mentions; so is what a template changes of the
//! values ([`changes`]), and whatever else mentions an image ([`mentions`]).

mod changes;
mod eval;
mod lines;
mod mentions;
mod parse;
mod places;
mod words;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use changes::{Change, Finder};
pub use eval::About;
use eval::{STEPS, Value, Variables, View, World, restore, truth};
use parse::{Action, Expression, Kind, Piece, Term};
use places::{LineContext, Written};

use crate::yaml::{Node, Value as Yaml};

/// Helpers that mention each other.
const LINK_DEPTH: usize = 12;
/// Pieces and values that are followed in one chart.
const LINKS: u64 = 20_000_000;
/// Items of a list or map that a loop is followed over.
const ITEMS: usize = 200;
/// Blocks in blocks within which a loop is followed.
const LOOP_DEPTH: usize = 8;
/// Stands for each item in the path of a value.
pub(crate) const EACH: &str = "*";
/// Of one file; what is set beyond that is not known.
const VARIABLES: usize = 500;

/// A file below `templates/`.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As [`Node::file`].
    pub file: u16,
    /// Its path; empty for a text among the values.
    pub path: &'a str,
    /// What it holds, or a part of that.
    pub text: &'a str,
    /// Where the text begins in the file, from 1.
    pub line: u32,
}

/// What `define` names, in a chart and all that lie in it: Helm knows one set.
#[derive(Clone, Debug, Default)]
pub struct Helpers {
    bodies: HashMap<String, Vec<Piece>>,
    /// Values that a template sets itself.
    changes: Vec<Change>,
    heeds_global_registry: bool,
    /// What following values through helpers has cost.
    spent: Cell<u64>,
}

impl Helpers {
    /// Adds those of a file. Of two of one name Helm takes the one that it reads
    /// last: add them in its order.
    pub fn add(&mut self, text: &str) {
        self.heeds_global_registry |= text.contains("imageRegistry");
        let pieces = parse::pieces(text);
        let mut at = 0;
        while let Some(piece) = pieces.get(at) {
            at += 1;
            if let Kind::Action(Action::Define(name)) = &piece.kind {
                let rest = &pieces[at..];
                let length = length_of_block(rest);
                let body = &rest[..length];
                if !is_empty(body) || !self.bodies.contains_key(name) {
                    self.bodies.insert(name.clone(), body.to_vec());
                }
                // None lies within another one.
                at += length;
            }
        }
        let changes = Finder::changes(self, &pieces);
        self.changes.extend(changes);
    }

    /// Counts work; false where it is more than charts need.
    fn spend(&self, work: usize) -> bool {
        self.spent.set(self.spent.get().saturating_add(work as u64));
        !self.is_exhausted()
    }

    /// Whether which values a line mentions is not known any more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.spent.get() > LINKS
    }

    /// Whether any of them looks at `global.imageRegistry`.
    pub(crate) fn heed_global_registry(&self) -> bool {
        self.heeds_global_registry
    }
}

/// Whether a body says nothing: such a one takes nobody's place.
fn is_empty(body: &[Piece]) -> bool {
    body.iter().all(|piece| match &piece.kind {
        Kind::Text(text) => text.trim().is_empty(),
        Kind::Action(action) => *action == Action::Nothing,
    })
}

/// Why Go's parser does not take a template; none where it does, or where that is
/// not certain.
pub fn fault(text: &str) -> Option<String> {
    // What a character in single quotes may hide, is not looked into.
    if text.split("{{").skip(1).any(|action| action.split("}}").next().is_some_and(|action| action.contains('\''))) {
        return None;
    }
    let pieces = parse::pieces(text);
    let mut open: Vec<u32> = Vec::new();
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    for (at, piece) in pieces.iter().enumerate() {
        let Kind::Action(action) = &piece.kind else { continue };
        match action {
            Action::If(_) | Action::With(_) | Action::Range(..) => open.push(piece.line),
            Action::Define(name) => {
                open.push(piece.line);
                let body = &pieces[at + 1..];
                if !is_empty(&body[..length_of_block(body)]) && !name.is_empty() && !defined.insert(name) {
                    return Some(format!("line {}: `{name}` is defined a second time", piece.line));
                }
            }
            Action::End if open.pop().is_none() => {
                return Some(format!("line {}: an `end` ends nothing", piece.line));
            }
            _ => {}
        }
    }
    open.last().map(|line| format!("line {line}: what begins here has no `end`"))
}

/// Whether a block has an `else` of its own.
fn own_else(body: &[Piece]) -> bool {
    let mut depth = 0_usize;
    body.iter().any(|piece| {
        match piece.kind {
            Kind::Action(Action::End) => depth = depth.saturating_sub(1),
            Kind::Action(Action::If(_) | Action::With(_) | Action::Range(..) | Action::Define(_)) => depth += 1,
            Kind::Action(Action::Else(_)) if depth == 0 => return true,
            _ => {}
        }
        false
    })
}

/// Of values each item: `a` becomes `a.*`.
fn within(links: &BTreeSet<String>) -> BTreeSet<String> {
    let item = |link: &String| if link.is_empty() { EACH.to_owned() } else { format!("{link}.{EACH}") };
    links.iter().map(item).collect()
}

/// Pieces before the `end` of a block that has begun.
fn length_of_block(pieces: &[Piece]) -> usize {
    let mut depth = 0_usize;
    for (at, piece) in pieces.iter().enumerate() {
        match piece.kind {
            Kind::Action(Action::End) if depth == 0 => return at,
            Kind::Action(Action::End) => depth -= 1,
            Kind::Action(Action::If(_) | Action::With(_) | Action::Range(..) | Action::Define(_)) => depth += 1,
            _ => {}
        }
    }
    pieces.len()
}

/// A place in a template that names an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Site {
    pub(crate) file: u16,
    pub(crate) line: u32,
    /// As it is written.
    pub(crate) written: String,
    /// What it is with these values; none where that is not known.
    pub(crate) text: Option<String>,
    /// No action is in it: the kubelet gets what is written.
    pub(crate) is_literal: bool,
    /// Whether it has to be an image: `image:`, and not an argument.
    pub(crate) is_sure: bool,
    /// Whether the reader sees less of it than Helm: it stands in a helper, or in
    /// a loop.
    pub(crate) is_apart: bool,
    /// The values that it mentions.
    pub(crate) links: BTreeSet<String>,
}

/// Every such place, in the order of the files.
pub(crate) fn sites(values: Option<&Node>, about: &About, helpers: &Helpers, sources: &[Source<'_>]) -> Vec<Site> {
    let mut world = World { values, about, helpers: &helpers.bodies, steps: STEPS, depth: 0 };
    let in_values: Vec<Change> = values.map(|values| changes_of_texts(values, helpers)).unwrap_or_default();
    let changes: Vec<&Change> =
        helpers.changes.iter().chain(&in_values).filter(|change| change.happens(values)).collect();
    let mut sites = Vec::new();
    for source in sources {
        let mut reader = Reader {
            source: *source,
            lines: source.text.lines().collect(),
            helpers,
            changes: &changes,
            values,
            frames: vec![Frame::outermost()],
            branches: 0,
            variables: Variables::new(),
            links: BTreeMap::new(),
            line: Line::default(),
            place: LineContext::default(),
            sites: Vec::new(),
        };
        reader.read(&parse::pieces(source.text), &mut world);
        sites.extend(reader.told());
    }
    sites
}

/// What the templates in values change, which some template hands to `tpl`.
fn changes_of_texts(values: &Node, helpers: &Helpers) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut left = vec![values];
    while let Some(node) = left.pop() {
        match &node.value {
            Yaml::Scalar { text, .. } if text.contains("{{") => {
                changes.extend(Finder::changes(helpers, &parse::pieces(text)));
            }
            Yaml::Scalar { .. } => {}
            Yaml::List(items) => left.extend(items),
            Yaml::Map(entries) => left.extend(entries.iter().map(|(_, node)| node)),
        }
    }
    changes
}

/// A block that is open.
#[derive(Clone)]
struct Frame<'a> {
    /// Whether its present branch is taken; none where that is not known.
    takes: Option<bool>,
    /// Whether one was taken already.
    taken: Option<bool>,
    /// The same of all around it together.
    around: Option<bool>,
    view: View<'a>,
    links: BTreeSet<String>,
    /// What the blocks around made their dot of.
    made_of: Rc<Vec<Piece>>,
    is_apart: bool,
    /// What its present branch declared, and what the name meant before.
    declared: Vec<(String, Option<Value<'a>>)>,
    /// Which of all branches of the file it is.
    branch: u32,
}

impl Frame<'_> {
    /// Outside of every block.
    fn outermost() -> Self {
        let (takes, taken, around) = (Some(true), Some(true), Some(true));
        let view = View { dot: Value::Root, root: Value::Root };
        let (links, made_of, declared) = (BTreeSet::new(), Rc::default(), Vec::new());
        Self { takes, taken, around, view, links, made_of, is_apart: false, declared, branch: 0 }
    }

    /// Whether what stands here is printed.
    fn is_reached(&self) -> Option<bool> {
        match (self.around, self.takes) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

/// The pieces of one line, and what held where it began.
#[derive(Default)]
struct Line<'a> {
    number: u32,
    pieces: Vec<Piece>,
    is_off: bool,
    is_apart: bool,
    view: Option<View<'a>>,
    dot_links: BTreeSet<String>,
    /// As that of a frame.
    made_of: Rc<Vec<Piece>>,
    /// The branches that it stands in.
    branches: Vec<u32>,
}

struct Reader<'a, 'h> {
    source: Source<'h>,
    lines: Vec<&'h str>,
    helpers: &'h Helpers,
    /// Those that happen with these values.
    changes: &'h [&'h Change],
    values: Option<&'a Node>,
    frames: Vec<Frame<'a>>,
    variables: Variables<'a>,
    /// By variable the values that it was made from.
    links: BTreeMap<String, BTreeSet<String>>,
    line: Line<'a>,
    /// What the lines above say of the next one.
    place: LineContext,
    /// Counts branches.
    branches: u32,
    sites: Vec<Written>,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self, pieces: &[Piece], world: &mut World<'a>) {
        self.begin_line(1);
        self.pieces(pieces, world);
        self.end_line(world);
        self.end_document();
    }

    fn pieces(&mut self, pieces: &[Piece], world: &mut World<'a>) {
        let mut at = 0;
        while let Some(piece) = pieces.get(at) {
            at += 1;
            match &piece.kind {
                Kind::Text(text) => self.text(text, piece.line, world),
                Kind::Action(Action::Range(names, list)) if self.frames.len() < LOOP_DEPTH => {
                    let rest = &pieces[at..];
                    let body = &rest[..length_of_block(rest)];
                    if let Some(items) = self.items(body, list, world) {
                        self.each(names, list, &items, body, world);
                        at += body.len() + 1;
                        continue;
                    }
                    self.line.pieces.push(piece.clone());
                    self.unknown_items(names, list, world);
                }
                Kind::Action(action) => {
                    self.line.pieces.push(piece.clone());
                    self.action(action, world);
                }
            }
        }
    }

    /// What a loop goes over, where that is known and worth a look.
    fn items(&self, body: &[Piece], list: &Expression, world: &mut World<'a>) -> Option<Vec<(String, &'a Node)>> {
        let Value::Node(node) = world.value_of(list, &self.frame().view, &self.variables) else { return None };
        let is_set = self.is_changed(&self.links_of(list), &[&[shown(list)]]);
        let count = node.items().len() + node.entries().len();
        let has_else = body.iter().any(|piece| matches!(piece.kind, Kind::Action(Action::Else(_))));
        let is_small = (1..=ITEMS).contains(&count) && world.spend(count.saturating_mul(body.len()));
        if is_set || has_else && own_else(body) || !is_small || self.frame().is_reached() == Some(false) {
            return None;
        }
        let numbered = node.items().iter().enumerate().map(|(at, item)| (at.to_string(), item));
        Some(numbered.chain(node.entries().iter().map(|(key, item)| (key.clone(), item))).collect())
    }

    fn each(
        &mut self,
        names: &[String],
        list: &Expression,
        items: &[(String, &'a Node)],
        body: &[Piece],
        world: &mut World<'a>,
    ) {
        let links = within(&self.links_of(list));
        for (key, item) in items {
            let frame = self.open(Some(true));
            (frame.view.dot, frame.links) = (Value::Node(item), links.clone());
            let key = Value::Text(key.clone());
            self.name_item(names, key, Value::Node(item), &links);
            self.pieces(body, world);
            let _ = self.close();
        }
    }

    /// Of what goes over a list that is not known, nobody says how often.
    fn unknown_items(&mut self, names: &[String], list: &Expression, world: &mut World<'a>) {
        let links = within(&self.links_of(list));
        let takes = self.truth_of(list, world).filter(|takes| !takes);
        let frame = self.open(takes);
        (frame.view.dot, frame.links, frame.is_apart) = (Value::Unknown, links.clone(), true);
        self.name_item(names, Value::Unknown, Value::Unknown, &links);
    }

    fn name_item(&mut self, names: &[String], key: Value<'a>, item: Value<'a>, links: &BTreeSet<String>) {
        let named = match names {
            [name] => vec![(name, item)],
            [first, second] => vec![(first, key), (second, item)],
            _ => Vec::new(),
        };
        for (name, value) in named {
            let before = self.variables.insert(name.clone(), value);
            if let Some(frame) = self.frames.last_mut() {
                frame.declared.push((name.clone(), before));
            }
            self.links.entry(name.clone()).or_default().extend(links.iter().cloned());
        }
    }

    fn text(&mut self, text: &str, number: u32, world: &mut World<'a>) {
        let mut number = number;
        for (at, part) in text.split('\n').enumerate() {
            if at > 0 {
                self.end_line(world);
                number += 1;
                self.begin_line(number);
            }
            if !part.is_empty() {
                self.line.pieces.push(Piece { line: number, kind: Kind::Text(part.to_owned()) });
            }
        }
    }

    fn begin_line(&mut self, number: u32) {
        let frame = self.frame();
        self.line = Line {
            number,
            pieces: Vec::new(),
            is_off: frame.is_reached() == Some(false),
            is_apart: frame.is_apart,
            view: Some(frame.view),
            dot_links: frame.links,
            made_of: frame.made_of,
            branches: self.frames.iter().map(|frame| frame.branch).collect(),
        };
    }

    fn frame(&self) -> Frame<'a> {
        self.frames.last().cloned().unwrap_or_else(Frame::outermost)
    }

    /// Whether a template changes one of the values; not where these pieces are
    /// that template.
    fn is_changed(&self, links: &BTreeSet<String>, seen: &[&[Piece]]) -> bool {
        links.iter().any(|link| self.changes.iter().any(|change| change.concerns(link, self.values, seen)))
    }

    fn links_of(&self, expression: &Expression) -> BTreeSet<String> {
        let mut links = Links::new(self.helpers);
        links.expression(expression, &self.links, &self.frame().links);
        links.found
    }

    fn action(&mut self, action: &Action, world: &mut World<'a>) {
        match action {
            Action::Set { name, value, declares } => self.set(name, value, *declares, world),
            Action::Show(_) | Action::Nothing => {}
            Action::If(condition) => {
                let takes = self.truth_of(condition, world);
                self.open(takes);
            }
            Action::With(value) => {
                let (dot, links) = (world.value_of(value, &self.frame().view, &self.variables), self.links_of(value));
                let takes = self.truth_of(value, world);
                let frame = self.open(takes);
                (frame.view.dot, frame.links) = (dot, links);
                Rc::make_mut(&mut frame.made_of).push(shown(value));
            }
            Action::Range(names, list) => self.unknown_items(names, list, world),
            Action::Define(_) => {
                let frame = self.open(Some(true));
                frame.view = View { dot: Value::Unknown, root: Value::Unknown };
                (frame.links, frame.is_apart) = (BTreeSet::new(), true);
            }
            Action::Else(condition) => self.turn(condition.as_ref(), world),
            Action::End => drop(self.close()),
        }
    }

    fn open(&mut self, takes: Option<bool>) -> &mut Frame<'a> {
        let outer = self.frame();
        let around = outer.is_reached();
        self.branches += 1;
        self.frames.push(Frame { takes, taken: takes, around, declared: Vec::new(), branch: self.branches, ..outer });
        let at = self.frames.len() - 1;
        &mut self.frames[at]
    }

    /// Ends a branch.
    fn close(&mut self) -> Option<Frame<'a>> {
        let frame = if self.frames.len() > 1 { self.frames.pop() } else { None };
        frame.map(|mut frame| {
            restore(&mut self.variables, frame.declared.drain(..));
            frame
        })
    }

    fn truth_of(&self, condition: &Expression, world: &mut World<'a>) -> Option<bool> {
        let is_set = self.is_changed(&self.links_of(condition), &[&[shown(condition)]]);
        let value = world.value_of(condition, &self.frame().view, &self.variables);
        truth(&value).filter(|_| !is_set)
    }

    /// `else` and `else if`.
    fn turn(&mut self, condition: Option<&Expression>, world: &mut World<'a>) {
        let Some(frame) = self.close() else { return };
        let met = condition.map_or(Some(true), |condition| self.truth_of(condition, world));
        let takes = match (frame.taken, met) {
            (Some(true), _) | (_, Some(false)) => Some(false),
            (Some(false), met) => met,
            (None, _) => None,
        };
        let taken = match (frame.taken, takes) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        // The dot is again what it was around the block.
        let Frame { view, links, made_of, .. } = self.frame();
        self.branches += 1;
        self.frames.push(Frame { takes, taken, view, links, made_of, branch: self.branches, ..frame });
    }

    fn set(&mut self, name: &str, value: &Expression, declares: bool, world: &mut World<'a>) {
        let frame = self.frame();
        if frame.is_reached() == Some(false) || self.variables.len() >= VARIABLES {
            return;
        }
        let links = self.links_of(value);
        let value = match frame.is_reached() {
            Some(_) => world.value_of(value, &frame.view, &self.variables),
            None => Value::Unknown,
        };
        let before = self.variables.insert(name.to_owned(), value);
        if let Some(frame) = self.frames.last_mut().filter(|_| declares) {
            frame.declared.push((name.to_owned(), before));
        }
        self.links.entry(name.to_owned()).or_default().extend(links);
    }
}

fn shown(expression: &Expression) -> Piece {
    Piece { line: 0, kind: Kind::Action(Action::Show(expression.clone())) }
}

pub(crate) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix(['"', '\'']).unwrap_or(text);
    text.strip_suffix(['"', '\'']).unwrap_or(text).trim()
}

/// Which values an expression mentions, those of its helpers included.
struct Links<'h> {
    helpers: &'h Helpers,
    seen: BTreeSet<String>,
    depth: usize,
    found: BTreeSet<String>,
}

type Known = BTreeMap<String, BTreeSet<String>>;

impl<'h> Links<'h> {
    fn new(helpers: &'h Helpers) -> Self {
        Self { helpers, seen: BTreeSet::new(), depth: 0, found: BTreeSet::new() }
    }

    fn pieces(&mut self, pieces: &[Piece], known: &Known, dot: &BTreeSet<String>) {
        for piece in pieces {
            if !self.helpers.spend(1) {
                return;
            }
            if let Kind::Action(
                Action::Show(value)
                | Action::Set { value, .. }
                | Action::If(value)
                | Action::With(value)
                | Action::Range(_, value)
                | Action::Else(Some(value)),
            ) = &piece.kind
            {
                self.expression(value, known, dot);
            }
        }
    }

    fn expression(&mut self, expression: &Expression, known: &Known, dot: &BTreeSet<String>) {
        for command in &expression.0 {
            if let [Term::Word(word), Term::Text(name), ..] = command.as_slice()
                && matches!(word.as_str(), "include" | "template")
            {
                self.helper(name);
            }
            match looked_up(command) {
                Some((base, keys)) if expression.0.len() == 1 => self.lookup(base, keys, known, dot),
                _ => command.iter().for_each(|term| self.term(term, known, dot)),
            }
        }
    }

    /// `index .Values "image"` is `.Values.image`; of a key that is no text it may be
    /// any.
    fn lookup(&mut self, base: &Term, keys: &[Term], known: &Known, dot: &BTreeSet<String>) {
        let fields: Vec<String> =
            keys.iter().map(|key| if let Term::Text(text) = key { text.clone() } else { EACH.to_owned() }).collect();
        let outer = std::mem::take(&mut self.found);
        self.term(base, known, dot);
        let base = std::mem::replace(&mut self.found, outer);
        self.extend(&base, &fields);
        keys.iter().for_each(|key| self.term(key, known, dot));
    }

    fn helper(&mut self, name: &str) {
        let helpers = self.helpers;
        if self.depth < LINK_DEPTH
            && self.seen.insert(name.to_owned())
            && let Some(body) = helpers.bodies.get(name)
        {
            self.depth += 1;
            self.pieces(body, &Known::new(), &BTreeSet::new());
            self.depth -= 1;
        }
    }

    fn term(&mut self, term: &Term, known: &Known, dot: &BTreeSet<String>) {
        match term {
            Term::Text(_) | Term::Word(_) => {}
            Term::Dot(fields) => self.path(fields, Some(dot)),
            Term::Variable(name, fields) => self.path(fields, known.get(name)),
            Term::Group(inner, fields) => {
                if self.depth >= LINK_DEPTH {
                    return;
                }
                self.depth += 1;
                let outer = std::mem::take(&mut self.found);
                self.expression(inner, known, dot);
                let inner = std::mem::replace(&mut self.found, outer);
                self.depth -= 1;
                self.extend(&inner, fields);
            }
        }
    }

    fn path(&mut self, fields: &[String], base: Option<&BTreeSet<String>>) {
        match (fields.iter().position(|field| field == "Values"), base) {
            (Some(at), _) => drop(self.found.insert(fields[at + 1..].join("."))),
            (None, Some(base)) => self.extend(base, fields),
            (None, None) => {}
        }
    }

    /// Of one value its field; of several all of them.
    fn extend(&mut self, base: &BTreeSet<String>, fields: &[String]) {
        if !self.helpers.spend(base.len()) {
            return;
        }
        match base.first().filter(|_| base.len() == 1 && !fields.is_empty()) {
            Some(only) if only.is_empty() => drop(self.found.insert(fields.join("."))),
            Some(only) => drop(self.found.insert(format!("{only}.{}", fields.join(".")))),
            None => self.found.extend(base.iter().cloned()),
        }
    }
}

/// What `index`, `get` and `dig` look into, and the keys.
fn looked_up(command: &[Term]) -> Option<(&Term, &[Term])> {
    match command {
        [Term::Word(word), base, keys @ ..] if matches!(word.as_str(), "index" | "get") => Some((base, keys)),
        [Term::Word(word), keys @ .., _, base] if word == "dig" => Some((base, keys)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn found(values: &str, template: &str) -> Vec<(Option<String>, String)> {
        let about = About { name: "app".into(), version: "1.0.0".into(), app_version: "2.0.0".into(), imports: false };
        let mut helpers = Helpers::default();
        helpers.add(template);
        let values = parse(values).unwrap();
        let source = Source { file: 1, path: "templates/x.yaml", text: template, line: 1 };
        let sites = sites(Some(&values), &about, &helpers, &[source]);
        sites.into_iter().map(|site| (site.text, site.links.into_iter().collect::<Vec<_>>().join(" "))).collect()
    }

    #[test]
    fn lines_are_evaluated_as_far_as_values_and_helpers_say_it() {
        let values = "image: {registry: quay.io, repository: org/app, tag: \"\"}\nside: {image: org/side, tag: 1.10}\nfull: \"org/x:{{ .Values.image.registry }}\"\noff: false\nlist: [{image: a}]\n";
        let bitnami = "{{- define \"images.image\" -}}\n{{- $registry := default .imageRoot.registry ((.global).imageRegistry) -}}\n{{- $separator := \":\" -}}\n{{- $termination := .imageRoot.tag | toString -}}\n{{- if not .imageRoot.tag }}\n  {{- if .chart }}\n    {{- $termination = .chart.AppVersion | toString -}}\n  {{- end -}}\n{{- end -}}\n{{- if $registry }}\n  {{- printf \"%s/%s%s%s\" $registry .imageRoot.repository $separator $termination -}}\n{{- else -}}\n  {{- printf \"%s%s%s\" .imageRoot.repository $separator $termination -}}\n{{- end -}}\n{{- end -}}\n";
        let table: &[(&str, Option<&str>)] = &[
            ("image: busybox:1", Some("busybox:1")),
            ("- image: 'busybox:1' # tools", Some("busybox:1")),
            (
                "\"image\": \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"",
                Some("org/app:2.0.0"),
            ),
            (
                "image: {{ printf \"%s/%s:v%s\" .Values.image.registry .Values.image.repository .Chart.AppVersion | quote }}",
                Some("quay.io/org/app:v2.0.0"),
            ),
            ("image: {{ .Values.missing | default \"org/y:3\" }}", Some("org/y:3")),
            ("image: {{ tpl .Values.full . }}", Some("org/x:quay.io")),
            ("image: {{ .Values.full }}", None),
            ("image: {{ .Values.side.image }}:{{ .Values.side.tag }}", None),
            ("image: {{ .Values.image.repository }}:{{ .Release.Name }}", None),
            ("image: {{ if .Values.off }}a{{ else }}b{{ end }}:1", Some("b:1")),
            (
                "image: {{ include \"images.image\" (dict \"imageRoot\" .Values.image \"global\" .Values.global \"chart\" .Chart) }}",
                Some("quay.io/org/app:2.0.0"),
            ),
            ("- --side-image={{ .Values.side.image }}:7", Some("org/side:7")),
            (
                "{{ with .Values.image }}\nimage: {{ .repository }}:{{ .tag | default $.Chart.AppVersion }}\n{{ end }}",
                Some("org/app:2.0.0"),
            ),
            ("{{ $x := .Values.side.image }}\nimage: {{ $x }}:5", Some("org/side:5")),
            ("{{ if .Release.IsInstall }}{{ $x = \"a\" }}{{ end }}\nimage: {{ $x }}:5", None),
            ("{{ range .Values.list }}\nimage: {{ .image }}:6\n{{ end }}", Some("a:6")),
            (
                "{{ range $k, $v := (dict) }}\nimage: {{ $k }}/{{ $.Release.Name }}\n{{ end }}\nimage: {{ .Release.Name }}",
                None,
            ),
            ("- name: X_IMAGE\n  value: \"{{ .Values.side.image }}:1\"", Some("org/side:1")),
        ];
        for (line, expected) in table {
            let sites = found(values, &format!("{bitnami}{line}\n"));
            assert_eq!(sites.len(), 1, "{line}: {sites:?}");
            assert_eq!(sites[0].0.as_deref(), *expected, "{line}");
        }
    }

    #[test]
    fn what_is_switched_off_or_a_test_is_not_there() {
        for template in [
            "{{ if .Values.off }}\nimage: a/b:1\n{{ end }}",
            "{{ if not .Values.on }}\nimage: a/b:1\n{{ else if .Values.off }}\nimage: a/c:1\n{{ end }}",
            "{{ if and .Values.on .Values.off }}\nimage: a/b:1\n{{ end }}",
            "{{ range .Values.none }}\nimage: a/b:1\n{{ end }}",
            "metadata:\n  annotations:\n    \"helm.sh/hook\": test\nspec:\n  image: busybox\n",
            "{{/*\nimage: a/b:1\n*/}}\n# image: a/b:1\nimagePullPolicy: x\nimage:\n",
        ] {
            assert_eq!(found("off: no\non: yes\nnone: []\n", template), [], "{template}");
        }
        assert_eq!(
            found("", "{{ if .Release.IsUpgrade }}\nimage: a/b:1\n{{ else }}\nimage: a/c:1\n{{ end }}").len(),
            2
        );
    }

    #[test]
    fn the_values_that_a_line_mentions_are_told() {
        let helper = "{{ define \"x\" }}{{ .Values.a.image }}{{ .Release.Name }}{{ end }}\n";
        for (line, links) in [
            ("image: {{ include \"x\" . }}", "a.image"),
            (
                "image: {{ .Release.Name }}{{ (.Values.global).registry }}/{{ $.Values.b.repo }}",
                "b.repo global.registry",
            ),
            ("{{ with .Values.c }}\nimage: {{ .d }}{{ $.Release.Name }}\n{{ end }}", "c.d"),
            ("{{ $v := .Values.e }}\nimage: {{ $v.f }}{{ .Release.Name }}", "e.f"),
        ] {
            let sites = found("c: {d: x}\n", &format!("{helper}{line}\n"));
            assert_eq!(sites, [(None, links.to_owned())], "{line}");
        }
    }

    #[test]
    fn values_that_a_template_sets_are_not_known() {
        let template = "{{ $_ := set .Values.image \"tag\" \"9\" }}\nimage: org/app:{{ .Values.image.tag }}\n";
        assert_eq!(found("image: {tag: \"1\"}\n", template), [(None, "image.tag".to_owned())]);
    }

    /// Nothing that Go's parser takes is a fault.
    #[test]
    fn only_what_no_parser_takes_is_a_fault() {
        for text in [
            "{{if(.x)}}{{else if .y}}{{else}}{{end -}}",
            "{{/* {{ if }} */}}{{ \"{{ end }}\" }}{{ `{{ if }}` }}",
            "{{ range .l }}{{ break }}{{ continue }}{{ else }}{{ end }}",
            "{{ define \"a\" }}x{{ end }}{{ define \"a\" }} {{/* c */}} {{ end }}",
            "{{ with .a }}{{ else with .b }}{{ end }}{{ block \"b\" . }}{{ end }}",
            "{{ endpoint }}{{ .end }}{{ ifx }}",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
        for (text, why) in [
            ("a\n{{ if .x }}", "line 2: what begins here has no `end`"),
            ("{{ end }}", "line 1: an `end` ends nothing"),
            ("{{ define \"a\" }}x{{ end }}\n{{ define \"a\" }}y{{ end }}", "line 2: `a` is defined a second time"),
        ] {
            assert_eq!(fault(text).as_deref(), Some(why), "{text}");
        }
    }

    #[test]
    fn a_helper_that_calls_itself_ends() {
        let template =
            "{{ define \"x\" }}{{ include \"x\" . }}{{ include \"x\" . }}{{ end }}\nimage: {{ include \"x\" . }}\n";
        assert_eq!(found("", template).len(), 1);
        let text = "{{ if .Values.a }}".repeat(10_000);
        assert_eq!(found("a: 1\n", &format!("{text}\nimage: a:1\n")).len(), 1);
    }
}
