//! Everything in a YAML file that does not fit the shape that is wanted.
//!
//! serde ends at the first thing that does not fit. [`faults`] goes on: it
//! writes the file down again with one node on each line, so that the line of
//! an error says which node it is about, puts something in its place that may
//! fit, and reads again. What stands in place of something else is remembered,
//! for nothing that is said about it is worth telling.

use components::problem::{Segment, YamlPath};
use marked_yaml::Node;
use serde::de::DeserializeOwned;

use super::span::{Position, Spans, start_of};

/// Faults that are looked for: whoever has more has written another file.
const MOST_FAULTS: usize = 50;
/// Times that a file is read again, and bytes that are read in all.
const MOST_READINGS: usize = 400;
const MOST_BYTES: usize = 64 << 20;

/// What may fit where something did not, in the order in which it is tried: a
/// text, a number, a list, a mapping, a yes or no, a digest.
const STAND_INS: [&str; 6] =
    ["\"\"", "0", "[]", "{}", "false", "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\""];

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Position,
    /// In the words of serde, with its own path.
    pub(super) message: String,
}

/// What a file with faults says apart from them.
#[derive(Debug)]
pub(super) struct Readable<T> {
    pub(super) faults: Vec<Fault>,
    /// None where the rest does not fit either.
    pub(super) value: Option<T>,
    /// Where something stands in for what is in the file, or is left out.
    replaced: Vec<YamlPath>,
}

impl<T> Readable<T> {
    /// Whether something stands at `path`, above or below it, that is not what
    /// the file says.
    pub(super) fn is_replaced(&self, path: &YamlPath) -> bool {
        let related = |one: &[Segment], other: &[Segment]| one.iter().zip(other).all(|(one, other)| one == other);
        self.replaced.iter().any(|replaced| related(replaced.segments(), path.segments()))
    }
}

/// Looks for every fault of a file that has one.
pub(super) fn faults<T: DeserializeOwned>(spans: &Spans) -> Readable<T> {
    let mut file = File { root: Tree::of(spans.root()), stand_ins: Vec::new() };
    let mut found = Readable { faults: Vec::new(), value: None, replaced: Vec::new() };
    let mut bytes = 0;
    for _ in 0..MOST_READINGS {
        let (text, places) = file.written();
        bytes += text.len();
        if bytes > MOST_BYTES || found.faults.len() >= MOST_FAULTS {
            break;
        }
        let error = match serde_yaml::from_str::<T>(&text) {
            Ok(value) => {
                found.value = Some(value);
                break;
            }
            Err(error) => error,
        };
        let place = error.location().and_then(|at| places.get(at.line().saturating_sub(1)));
        let Some(path) = place.cloned() else { break };
        if !file.mend(&path, &message_of(&error), &mut found.faults) {
            break;
        }
    }
    found.replaced = file.stand_ins.iter().map(|stand_in| path_of(&stand_in.path)).collect();
    found
}

/// What serde says, without the place in our own text.
pub(super) fn message_of(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(at) => text.replacen(&format!(" at line {} column {}", at.line(), at.column()), "", 1),
        None => text,
    }
}

/// A file in the making of something readable.
struct File {
    root: Tree,
    stand_ins: Vec<StandIn>,
}

/// A place that holds something else than the file does.
struct StandIn {
    path: Vec<Segment>,
    /// What is still to be tried there, the last one first.
    left: Vec<String>,
}

/// A node, and where it is in the file.
struct Tree {
    at: Position,
    /// Of the key that it belongs to, where it has one.
    key_at: Position,
    content: Content,
}

enum Content {
    /// As it is written.
    Scalar(String),
    Mapping(Vec<(String, Tree)>),
    Sequence(Vec<Tree>),
}

impl File {
    fn written(&self) -> (String, Vec<Vec<Segment>>) {
        let mut lines = Lines::default();
        self.root.write(&mut Vec::new(), &mut lines);
        (lines.text, lines.places)
    }

    /// Does something about an error at `path`; whether it is worth reading on.
    fn mend(&mut self, path: &[Segment], message: &str, faults: &mut Vec<Fault>) -> bool {
        let Some(node) = self.root.get(path) else { return false };
        if let Some(field) = quoted_behind(message, "missing field `") {
            let missing: Vec<Segment> = path.iter().cloned().chain([Segment::Key(field)]).collect();
            if !self.knows(&missing) {
                faults.push(Fault { at: node.at, message: message.to_owned() });
            }
            return self.stand_in(missing, message) || self.leave_out(path);
        }
        if self.knows(path) {
            return self.try_next(path);
        }
        let is_unknown = message.contains("unknown field");
        let at = if is_unknown { node.key_at } else { node.at };
        faults.push(Fault { at, message: message.to_owned() });
        if is_unknown { self.leave_out(path) } else { self.stand_in(path.to_vec(), message) }
    }

    fn knows(&self, path: &[Segment]) -> bool {
        self.stand_ins.iter().any(|stand_in| stand_in.path == path)
    }

    /// Puts the first thing there that may fit; false where all were tried.
    fn stand_in(&mut self, path: Vec<Segment>, message: &str) -> bool {
        if path.is_empty() {
            return false;
        }
        if !self.knows(&path) {
            // What is accepted is often told.
            let told = message.split_once(", expected ").map_or("", |(_, expected)| expected);
            let told = told.split('`').skip(1).step_by(2).map(|word| format!("{word:?}"));
            let mut left: Vec<String> = told.chain(STAND_INS.map(str::to_owned)).collect();
            left.reverse();
            self.stand_ins.push(StandIn { path: path.clone(), left });
        }
        self.try_next(&path)
    }

    /// The next thing that may fit. Where nothing does the place is left out,
    /// and where it may not be, what it is a part of.
    fn try_next(&mut self, path: &[Segment]) -> bool {
        let known = self.stand_ins.iter_mut().find(|stand_in| stand_in.path == path);
        match known.and_then(|stand_in| stand_in.left.pop()) {
            Some(text) => self.root.put(path, text),
            None if self.root.get(path).is_some() => self.leave_out(path),
            None => false,
        }
    }

    /// Leaves a node out. One of a list leaves a gap that all others would fall
    /// into, so the list goes.
    fn leave_out(&mut self, path: &[Segment]) -> bool {
        let keyed = path.iter().rposition(|segment| matches!(segment, Segment::Key(_))).map_or(0, |at| at + 1);
        let path = &path[..keyed];
        if !self.knows(path) {
            self.stand_ins.push(StandIn { path: path.to_vec(), left: Vec::new() });
        }
        self.root.remove(path)
    }
}

impl Tree {
    fn of(node: &Node) -> Self {
        let at = start_of(node);
        let content = match node {
            Node::Scalar(scalar) => Content::Scalar(literal(scalar.as_str(), scalar.may_coerce())),
            Node::Sequence(items) => Content::Sequence(items.iter().map(Self::of).collect()),
            Node::Mapping(entries) => Content::Mapping(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let key_at = key.span().start().map_or(at, Position::from);
                        (key.as_str().to_owned(), Self { key_at, ..Self::of(value) })
                    })
                    .collect(),
            ),
        };
        Self { at, key_at: at, content }
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match (segment, &self.content) {
            (Segment::Key(key), Content::Mapping(entries)) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            (Segment::Index(index), Content::Sequence(items)) => items.get(*index),
            _ => None,
        }
    }

    fn child_mut(&mut self, segment: &Segment) -> Option<&mut Self> {
        match (segment, &mut self.content) {
            (Segment::Key(key), Content::Mapping(entries)) => {
                entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            (Segment::Index(index), Content::Sequence(items)) => items.get_mut(*index),
            _ => None,
        }
    }

    fn get(&self, path: &[Segment]) -> Option<&Self> {
        path.iter().try_fold(self, |node, segment| node.child(segment))
    }

    fn parent_of<'a>(&mut self, path: &'a [Segment]) -> Option<(&mut Self, &'a Segment)> {
        let (last, above) = path.split_last()?;
        let parent = above.iter().try_fold(self, |node, segment| node.child_mut(segment))?;
        Some((parent, last))
    }

    /// Writes another text in place of a node, or adds it to its mapping.
    fn put(&mut self, path: &[Segment], text: String) -> bool {
        let Some((parent, last)) = self.parent_of(path) else { return false };
        let at = parent.at;
        if let Some(node) = parent.child_mut(last) {
            node.content = Content::Scalar(text);
            return true;
        }
        let (Segment::Key(key), Content::Mapping(entries)) = (last, &mut parent.content) else { return false };
        entries.push((key.clone(), Self { at, key_at: at, content: Content::Scalar(text) }));
        true
    }

    fn remove(&mut self, path: &[Segment]) -> bool {
        let Some((parent, Segment::Key(key))) = self.parent_of(path) else { return false };
        let Content::Mapping(entries) = &mut parent.content else { return false };
        let before = entries.len();
        entries.retain(|(name, _)| name != key);
        entries.len() < before
    }

    fn write(&self, path: &mut Vec<Segment>, lines: &mut Lines) {
        match &self.content {
            Content::Scalar(text) => lines.add(text, path),
            Content::Mapping(entries) => {
                lines.add("{", path);
                for (key, value) in entries {
                    path.push(Segment::Key(key.clone()));
                    lines.add(&format!("{}:", literal(key, false)), path);
                    value.write(path, lines);
                    lines.add(",", path);
                    path.pop();
                }
                lines.add("}", path);
            }
            Content::Sequence(items) => {
                lines.add("[", path);
                for (index, item) in items.iter().enumerate() {
                    path.push(Segment::Index(index));
                    item.write(path, lines);
                    lines.add(",", path);
                    path.pop();
                }
                lines.add("]", path);
            }
        }
    }
}

/// A text whose lines each belong to a node.
#[derive(Default)]
struct Lines {
    text: String,
    places: Vec<Vec<Segment>>,
}

impl Lines {
    fn add(&mut self, line: &str, path: &[Segment]) {
        // Nothing at the first column can be taken for the end of a document.
        self.text.push(' ');
        self.text.push_str(line);
        self.text.push('\n');
        self.places.push(path.to_vec());
    }
}

/// A scalar on one line that means what it meant: what stood there without
/// quotes may be a number.
fn literal(text: &str, is_plain: bool) -> String {
    let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '~');
    match is_plain {
        true if text.is_empty() => "null".to_owned(),
        true if text.chars().all(may_stand) => text.to_owned(),
        // JSON is YAML.
        _ => serde_json::to_string(text).unwrap_or_default(),
    }
}

fn quoted_behind(message: &str, start: &str) -> Option<String> {
    let (_, rest) = message.split_once(start)?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

fn path_of(segments: &[Segment]) -> YamlPath {
    segments.iter().fold(YamlPath::root(), |path, segment| match segment {
        Segment::Key(key) => path.key(key),
        Segment::Index(index) => path.index(*index),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::digest::Digest;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        number: u32,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        map: BTreeMap<String, Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
        kind: Kind,
        digest: Digest,
        #[serde(default)]
        flag: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    fn found(text: &str) -> (Vec<(String, String)>, Readable<Outer>) {
        let readable = faults::<Outer>(&Spans::parse(text).unwrap());
        let told = readable.faults.iter().map(|fault| (fault.at.to_string(), fault.message.clone())).collect();
        (told, readable)
    }

    #[test]
    fn everything_that_does_not_fit_is_found_at_its_place() {
        let text = "number: many\nsurprise: 1\nlist:\n  - name: 1.30\n    kind: three\n    digest: x\n    flag: maybe\n  \
                    - kind: one\n    what: 2\n  - 7\nmap:\n  a.b: {name: a, kind: two}\nagain: {}\n";
        let (told, readable) = found(text);
        let words = [
            ("1:9", "number: invalid type"),
            ("2:1", "unknown field `surprise`"),
            ("4:11", "list[0].name: invalid type"),
            ("5:11", "unknown variant `three`"),
            ("6:13", "list[0].digest"),
            ("7:11", "list[0].flag: invalid type"),
            ("9:5", "unknown field `what`"),
            ("8:5", "missing field `name`"),
            ("8:5", "missing field `digest`"),
            ("10:5", "list[2]: invalid type"),
            ("12:8", "missing field `digest`"),
            ("13:1", "unknown field `again`"),
        ];
        for (place, word) in words {
            assert!(told.iter().any(|(at, message)| at == place && message.contains(word)), "{place} {word}: {told:#?}");
        }
        assert_eq!(told.len(), words.len(), "{told:#?}");
        let list = YamlPath::root().key("list");
        assert!(readable.is_replaced(&list.index(0).key("name")) && readable.is_replaced(&list.index(0)));
    }

    #[test]
    fn what_is_right_is_read_beside_what_is_not() {
        let sound = Digest::of(b"x");
        let (told, readable) = found(&format!(
            "list:\n  - {{name: [a], kind: one, digest: '{sound}'}}\n  - {{name: b, kind: two, digest: '{sound}'}}\n"
        ));
        assert_eq!(told.len(), 1);
        let second = &readable.value.as_ref().unwrap().list[1];
        assert_eq!((second.name.as_str(), second.digest), ("b", sound));
        assert!(!readable.is_replaced(&YamlPath::root().key("list").index(1).key("name")));
    }

    #[test]
    fn texts_that_look_like_something_else_stay_what_they_are() {
        for (text, plain, expected) in [
            ("1.30", true, "1.30"),
            ("1.30", false, "\"1.30\""),
            ("", true, "null"),
            ("a: b # c", true, "\"a: b # c\""),
            ("--- x", true, "\"--- x\""),
            ("two\nlines", false, "\"two\\nlines\""),
        ] {
            assert_eq!(literal(text, plain), expected);
        }
    }

    /// The work is bounded, whatever the file.
    #[test]
    fn a_file_of_nothing_but_faults_ends() {
        let text: String = (0..2000).map(|n| format!("unknown{n}: [{n}]\n")).collect();
        assert_eq!(found(&text).0.len(), MOST_FAULTS);
    }
}
