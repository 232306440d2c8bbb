//! The value of an expression, as far as values, appVersion and the helpers of
//! a chart say it. Whatever is not known stays unknown: nothing is guessed.

use std::collections::HashMap;

use super::parse::{Action, Expression, Kind, Piece, Term};
use crate::naming::is_template;
use crate::scalar::Scalar;
use crate::yaml::{Node, Value as Yaml};

/// Helpers in helpers.
const DEPTH_LIMIT: usize = 24;
const NESTED_LIMIT: usize = 100;
/// Pieces and terms that one chart may cost: a thousand times what charts need.
pub(super) const STEPS: u64 = 2_000_000;

/// What a chart says of itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// `.Chart.Name`.
    pub name: String,
    /// `.Chart.Version`.
    pub version: String,
    /// Empty where it says none.
    pub app_version: String,
    /// Whether charts in it hand values up to it: what is not among its values may
    /// be there all the same.
    pub imports: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Unknown,
    Nil,
    Bool(bool),
    Text(String),
    Node(&'a Node),
    Dict(Vec<(String, Value<'a>)>),
    /// What a template begins with: `.Values`, `.Chart` and the others.
    Root,
    Chart,
}

pub(super) type Variables<'a> = HashMap<String, Value<'a>>;

/// What expressions are looked up in.
pub(super) struct World<'a> {
    /// None where nothing is known of them.
    pub(super) values: Option<&'a Node>,
    pub(super) about: &'a About,
    pub(super) helpers: &'a HashMap<String, Vec<Piece>>,
    pub(super) steps: u64,
    /// Expressions in expressions, through helpers.
    pub(super) depth: usize,
}

/// Why [`World::run`] came back.
enum Stop<'p> {
    End,
    Else(Option<&'p Expression>),
}

impl<'a> World<'a> {
    /// Whether so much may still be looked at.
    pub(super) fn spend(&mut self, work: usize) -> bool {
        let left = self.steps.checked_sub(work as u64);
        self.steps = left.unwrap_or(0);
        left.is_some()
    }

    /// What these pieces print; none where a part of it is unknown.
    pub(super) fn text(&mut self, pieces: &[Piece], view: &View<'a>, variables: &Variables<'a>) -> Option<String> {
        self.printed(pieces, Scope::new(view, variables, 0))
    }

    /// What a helper or a text with a template prints, of whatever it is handed.
    fn called(&mut self, pieces: &[Piece], dot: &Value<'a>, depth: usize) -> Value<'a> {
        let view = View { dot: dot.clone(), root: dot.clone() };
        let text = self.printed(pieces, Scope::new(&view, &Variables::new(), depth + 1));
        text.map_or(Value::Unknown, Value::Text)
    }

    fn printed(&mut self, pieces: &[Piece], mut scope: Scope<'a>) -> Option<String> {
        let mut text = String::new();
        let mut at = 0;
        while at < pieces.len() {
            // An `end` of what began before the pieces.
            self.run(pieces, &mut at, &mut scope, true, &mut text)?;
        }
        Some(text.split(['\n', '\r']).map(str::trim).collect())
    }

    fn run<'p>(
        &mut self,
        pieces: &'p [Piece],
        at: &mut usize,
        scope: &mut Scope<'a>,
        active: bool,
        text: &mut String,
    ) -> Option<Stop<'p>> {
        while let Some(piece) = pieces.get(*at) {
            self.steps = self.steps.checked_sub(1)?;
            *at += 1;
            let action = match &piece.kind {
                Kind::Text(piece) if active => {
                    text.push_str(piece);
                    continue;
                }
                Kind::Text(_) => continue,
                Kind::Action(action) => action,
            };
            match action {
                Action::Show(shown) if active => {
                    let value = self.value(shown, scope);
                    text.push_str(&shown_text(&value)?);
                }
                Action::Set { name, value, declares } if active => {
                    let value = self.value(value, scope);
                    let before = scope.variables.insert(name.clone(), value);
                    if *declares {
                        scope.declared.push((name.clone(), before));
                    }
                }
                Action::Show(_) | Action::Set { .. } | Action::Nothing => {}
                Action::If(_) | Action::With(_) | Action::Range(..) | Action::Define(_) => {
                    self.block(action, pieces, at, scope, active, text)?;
                }
                Action::Else(condition) => return Some(Stop::Else(condition.as_ref())),
                Action::End => return Some(Stop::End),
            }
        }
        Some(Stop::End)
    }

    fn block(
        &mut self,
        opening: &Action,
        pieces: &[Piece],
        at: &mut usize,
        scope: &mut Scope<'a>,
        active: bool,
        text: &mut String,
    ) -> Option<()> {
        scope.depth += 1;
        if scope.depth > DEPTH_LIMIT {
            return None;
        }
        let outer = scope.dot.clone();
        let mut condition = match opening {
            Action::If(expression) | Action::With(expression) | Action::Range(_, expression) if active => {
                let value = self.value(expression, scope);
                let met = truth(&value)?;
                if met && matches!(opening, Action::Range(..)) {
                    return None;
                }
                if met && matches!(opening, Action::With(_)) {
                    scope.dot = value;
                }
                met
            }
            _ => false,
        };
        let mut done = !active || matches!(opening, Action::Define(_));
        loop {
            let takes = condition && !done;
            let declared = scope.declared.len();
            let stop = self.run(pieces, at, scope, takes, text)?;
            scope.dot.clone_from(&outer);
            scope.forget(declared);
            done |= takes;
            match stop {
                Stop::End => break,
                Stop::Else(None) => condition = true,
                Stop::Else(Some(_)) if done => {}
                Stop::Else(Some(other)) => {
                    let value = self.value(other, scope);
                    condition = truth(&value)?;
                }
            }
        }
        scope.depth -= 1;
        Some(())
    }

    pub(super) fn value_of(
        &mut self,
        expression: &Expression,
        view: &View<'a>,
        variables: &Variables<'a>,
    ) -> Value<'a> {
        self.value(expression, &Scope::new(view, variables, 0))
    }

    fn value(&mut self, expression: &Expression, scope: &Scope<'a>) -> Value<'a> {
        if self.depth >= NESTED_LIMIT {
            return Value::Unknown;
        }
        self.depth += 1;
        let value = self.piped(expression, scope);
        self.depth -= 1;
        value
    }

    fn piped(&mut self, expression: &Expression, scope: &Scope<'a>) -> Value<'a> {
        let mut piped: Option<Value<'a>> = None;
        for command in &expression.0 {
            let Some(left) = self.steps.checked_sub(1) else { return Value::Unknown };
            self.steps = left;
            let (first, rest) = match command.split_first() {
                Some(split) => split,
                None => return Value::Unknown,
            };
            let mut arguments: Vec<Value<'a>> = rest.iter().map(|term| self.term(term, scope)).collect();
            arguments.extend(piped.take());
            piped = Some(match first {
                Term::Word(name) if arguments.is_empty() => literal(name),
                Term::Word(name) => self.call(name, arguments, scope),
                term if arguments.is_empty() => self.term(term, scope),
                _ => Value::Unknown,
            });
        }
        piped.unwrap_or(Value::Unknown)
    }

    fn term(&mut self, term: &Term, scope: &Scope<'a>) -> Value<'a> {
        match term {
            Term::Text(text) => Value::Text(text.clone()),
            Term::Word(word) => literal(word),
            Term::Dot(fields) => self.fields(scope.dot.clone(), fields),
            Term::Variable(name, fields) if name.is_empty() => self.fields(scope.root.clone(), fields),
            Term::Variable(name, fields) => {
                let value = scope.variables.get(name).cloned().unwrap_or(Value::Unknown);
                self.fields(value, fields)
            }
            Term::Group(inner, fields) => {
                let value = self.value(inner, scope);
                self.fields(value, fields)
            }
        }
    }

    fn fields(&self, value: Value<'a>, fields: &[String]) -> Value<'a> {
        fields.iter().fold(value, |value, name| self.field(&value, name))
    }

    fn field(&self, value: &Value<'a>, name: &str) -> Value<'a> {
        let node = |node: Option<&'a Node>| match node {
            None if self.about.imports => Value::Unknown,
            None => Value::Nil,
            Some(node) if node.is_null() => Value::Nil,
            Some(node) => Value::Node(node),
        };
        match (value, name) {
            // Whatever a helper was handed: what is called so is the root's.
            (Value::Root | Value::Unknown, "Values") => self.values.map_or(Value::Unknown, Value::Node),
            (Value::Root | Value::Unknown, "Chart") => Value::Chart,
            (Value::Chart, "AppVersion") => Value::Text(self.about.app_version.clone()),
            (Value::Chart, "Version") => Value::Text(self.about.version.clone()),
            (Value::Chart, "Name") => Value::Text(self.about.name.clone()),
            (Value::Node(map), _) if map.is_map() => node(map.get(name)),
            (Value::Dict(entries), _) => {
                entries.iter().find(|(key, _)| key == name).map_or(Value::Nil, |(_, value)| value.clone())
            }
            (Value::Nil, _) => Value::Nil,
            _ => Value::Unknown,
        }
    }

    fn call(&mut self, name: &str, mut arguments: Vec<Value<'a>>, scope: &Scope<'a>) -> Value<'a> {
        match name {
            "default" => match <[Value<'a>; 2]>::try_from(arguments) {
                Ok([other, value]) => chosen(&value, value.clone(), other),
                Err(_) => Value::Unknown,
            },
            "coalesce" | "or" => first(arguments, true),
            "and" => first(arguments, false),
            "ternary" => match <[Value<'a>; 3]>::try_from(arguments) {
                Ok([met, not, condition]) => chosen(&condition, met, not),
                Err(_) => Value::Unknown,
            },
            "required" => match arguments.pop() {
                Some(value) if truth(&value) == Some(true) => value,
                _ => Value::Unknown,
            },
            "dict" => dict(arguments),
            "merge" | "mustMerge" => arguments.into_iter().reduce(merged).unwrap_or(Value::Unknown),
            "index" | "get" => {
                let mut arguments = arguments.into_iter();
                let value = arguments.next().unwrap_or(Value::Unknown);
                arguments.fold(value, |value, key| match shown_text(&key) {
                    Some(key) => self.field(&value, &key),
                    None => Value::Unknown,
                })
            }
            "hasKey" => match (arguments.first(), arguments.get(1).and_then(shown_text)) {
                (Some(Value::Node(map)), Some(key)) if map.is_map() => Value::Bool(map.get(&key).is_some()),
                (Some(Value::Dict(entries)), Some(key)) => Value::Bool(entries.iter().any(|(name, _)| *name == key)),
                _ => Value::Unknown,
            },
            "not" | "empty" => arguments.first().and_then(truth).map_or(Value::Unknown, |met| Value::Bool(!met)),
            "include" | "template" => self.include(&arguments, scope),
            "tpl" => self.tpl(&arguments, scope),
            _ => text_function(name, &arguments).unwrap_or(Value::Unknown),
        }
    }

    fn include(&mut self, arguments: &[Value<'a>], scope: &Scope<'a>) -> Value<'a> {
        let helpers = self.helpers;
        let body = arguments.first().and_then(shown_text).and_then(|name| helpers.get(&name));
        let Some(body) = body.filter(|_| scope.depth < DEPTH_LIMIT) else { return Value::Unknown };
        self.called(body, arguments.get(1).unwrap_or(&Value::Nil), scope.depth)
    }

    /// A template within a value.
    fn tpl(&mut self, arguments: &[Value<'a>], scope: &Scope<'a>) -> Value<'a> {
        let (Some(value), Some(dot)) = (arguments.first(), arguments.get(1)) else { return Value::Unknown };
        match value {
            Value::Node(Node { value: Yaml::Scalar { text, .. }, .. }) if is_template(text) => {
                if scope.depth >= DEPTH_LIMIT {
                    return Value::Unknown;
                }
                self.called(&super::parse::pieces(text), dot, scope.depth)
            }
            _ => shown_text(value).map_or(Value::Unknown, Value::Text),
        }
    }
}

/// What a template sees as `.` and as `$`.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    pub(super) dot: Value<'a>,
    pub(super) root: Value<'a>,
}

struct Scope<'a> {
    dot: Value<'a>,
    root: Value<'a>,
    variables: Variables<'a>,
    /// What was declared, and what the name meant before.
    declared: Vec<(String, Option<Value<'a>>)>,
    depth: usize,
}

impl<'a> Scope<'a> {
    fn new(view: &View<'a>, variables: &Variables<'a>, depth: usize) -> Self {
        let View { dot, root } = view.clone();
        Self { dot, root, variables: variables.clone(), declared: Vec::new(), depth }
    }

    /// Ends a block, and with it what was declared there.
    fn forget(&mut self, known: usize) {
        restore(&mut self.variables, self.declared.drain(known..));
    }
}

/// Gives names back what they meant before they were declared.
pub(super) fn restore<'a>(
    variables: &mut Variables<'a>,
    declared: impl DoubleEndedIterator<Item = (String, Option<Value<'a>>)>,
) {
    for (name, before) in declared.rev() {
        match before {
            Some(before) => variables.insert(name, before),
            None => variables.remove(&name),
        };
    }
}

fn literal(word: &str) -> Value<'static> {
    match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "nil" => Value::Nil,
        "dict" => Value::Dict(Vec::new()),
        _ if word.bytes().all(|byte| byte.is_ascii_digit()) => Value::Text(word.to_owned()),
        _ => Value::Unknown,
    }
}

/// What a template prints of a value.
pub(super) fn shown_text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Nil => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Node(node) => node_text(node),
        Value::Unknown | Value::Dict(_) | Value::Root | Value::Chart => None,
    }
}

/// A number that is printed in another way than it is written is left to whoever
/// wrote it: put into quotes, it is what it seems.
fn node_text(node: &Node) -> Option<String> {
    let Yaml::Scalar { text, .. } = &node.value else { return None };
    let printed = node.scalar()?.printed()?;
    // What a line break does, the place says where it is printed.
    let same = printed == *text && !text.contains('\n') || matches!(node.scalar(), Some(Scalar::Bool(_)));
    (same && !is_template(text)).then_some(printed)
}

pub(super) fn truth(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Unknown => None,
        Value::Nil => Some(false),
        Value::Bool(value) => Some(*value),
        Value::Text(text) => Some(!text.is_empty()),
        Value::Node(node) => node.is_truthy(),
        Value::Dict(entries) => Some(!entries.is_empty()),
        Value::Root | Value::Chart => Some(true),
    }
}

fn chosen<'a>(condition: &Value<'a>, met: Value<'a>, not: Value<'a>) -> Value<'a> {
    match truth(condition) {
        Some(true) => met,
        Some(false) => not,
        None => Value::Unknown,
    }
}

/// The first that is (or is not) true, else the last.
fn first(arguments: Vec<Value<'_>>, wanted: bool) -> Value<'_> {
    let mut last = Value::Nil;
    for argument in arguments {
        match truth(&argument) {
            None => return Value::Unknown,
            Some(met) if met == wanted => return argument,
            Some(_) => last = argument,
        }
    }
    last
}

fn dict(arguments: Vec<Value<'_>>) -> Value<'_> {
    let mut entries = Vec::new();
    let mut arguments = arguments.into_iter();
    while let (Some(key), Some(value)) = (arguments.next(), arguments.next()) {
        match shown_text(&key) {
            Some(key) => entries.push((key, value)),
            None => return Value::Unknown,
        }
    }
    Value::Dict(entries)
}

/// What the first lacks comes from the second.
fn merged<'a>(over: Value<'a>, under: Value<'a>) -> Value<'a> {
    let (Some(mut entries), Some(more)) = (entries(&over), entries(&under)) else { return Value::Unknown };
    for (key, value) in more {
        match entries.iter_mut().find(|(name, _)| *name == key) {
            None => entries.push((key, value)),
            Some((_, own)) => match truth(own) {
                Some(true) if matches!(own, Value::Node(node) if node.is_map()) => *own = merged(own.clone(), value),
                Some(true) => {}
                Some(false) => *own = value,
                None => *own = Value::Unknown,
            },
        }
    }
    Value::Dict(entries)
}

fn entries<'a>(value: &Value<'a>) -> Option<Vec<(String, Value<'a>)>> {
    match value {
        Value::Nil => Some(Vec::new()),
        Value::Dict(entries) => Some(entries.clone()),
        Value::Node(map) if map.is_map() => {
            Some(map.entries().iter().map(|(key, node)| (key.clone(), Value::Node(node))).collect())
        }
        _ => None,
    }
}

/// Functions of texts alone; none where one of them is unknown.
fn text_function<'a>(name: &str, arguments: &[Value<'a>]) -> Option<Value<'a>> {
    // Of what is not there each function makes something else.
    if arguments.iter().any(|argument| matches!(argument, Value::Nil)) && name != "quote" {
        return None;
    }
    let texts: Vec<String> = arguments.iter().map(shown_text).collect::<Option<_>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let text = |text: String| Some(Value::Text(text));
    match (name, texts.as_slice()) {
        ("quote", [one]) => text(format!("\"{one}\"")),
        ("squote", [one]) => text(format!("'{one}'")),
        ("toString", [one]) => text((*one).to_owned()),
        ("trim", [one]) => text(one.trim().to_owned()),
        ("lower", [one]) => text(one.to_lowercase()),
        ("upper", [one]) => text(one.to_uppercase()),
        ("trimPrefix", [prefix, one]) => text(one.strip_prefix(prefix).unwrap_or(one).to_owned()),
        ("trimSuffix", [suffix, one]) => text(one.strip_suffix(suffix).unwrap_or(one).to_owned()),
        ("trimAll", [cut, one]) => text(one.trim_matches(|c| cut.contains(c)).to_owned()),
        ("replace", [old, new, one]) => text(one.replace(old, new)),
        ("eq", [one, others @ ..]) if !others.is_empty() => Some(Value::Bool(others.contains(one))),
        ("ne", [one, other]) => Some(Value::Bool(one != other)),
        ("contains", [part, one]) => Some(Value::Bool(one.contains(part))),
        ("hasPrefix", [prefix, one]) => Some(Value::Bool(one.starts_with(prefix))),
        ("hasSuffix", [suffix, one]) => Some(Value::Bool(one.ends_with(suffix))),
        ("print", _) if arguments.iter().all(is_text) => text(texts.concat()),
        ("printf", [format, rest @ ..]) if arguments.iter().all(is_text) => text(formatted(format, rest)?),
        _ => None,
    }
}

/// Go formats numbers and what is not there in ways of its own.
fn is_text(value: &Value<'_>) -> bool {
    match value {
        Value::Text(_) => true,
        Value::Node(node) => matches!(node.scalar(), Some(Scalar::Text(_))),
        _ => false,
    }
}

/// `%s` and `%v` with texts.
fn formatted(format: &str, arguments: &[&str]) -> Option<String> {
    let mut arguments = arguments.iter();
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('s' | 'v')) => text.push_str(arguments.next()?),
            ('%', Some('%')) => text.push('%'),
            ('%', _) => return None,
            _ => text.push(c),
        }
    }
    arguments.next().is_none().then_some(text)
}
