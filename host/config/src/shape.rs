//! Everything in a YAML file that does not fit the shape that is wanted.
//!
//! serde ends at the first thing that does not fit. [`faults`] goes on: it
//! writes the file down again with one node on each line, so that the line of
//! an error says which node it is about, puts something in its place that may
//! fit, and reads again. What stands in place of something else is remembered,
//! for nothing that is said about it is worth telling. What a type of ours
//! refuses is told of the mapping that it is in: which entry that is shows once
//! one is left out.

use marked_yaml::Node;
use model::problem::{Segment, YamlPath};
use serde::de::DeserializeOwned;

use super::span::{Position, Spans, start_of};

/// Faults that are looked for: whoever has more has written another file.
const MOST_FAULTS: usize = 50;
/// Entries of a mapping of which each is left out to see what changes.
const MOST_ENTRIES: usize = 64;
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
    pub(super) path: YamlPath,
    /// In the words of serde.
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
    let mut file = File { root: Tree::of(spans.root()), stand_ins: Vec::new(), gone: Vec::new() };
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
        let Some(place) = place.cloned() else { break };
        let message = message_of(&error);
        let refused = |text: &str| serde_yaml::from_str::<T>(text).err().map(|error| message_of(&error));
        let path = file.culprit(&place, &message, &mut bytes, &refused);
        if !file.mend(&path, &message, &mut found.faults) {
            break;
        }
    }
    found.replaced = file.stand_ins.iter().map(|stand_in| path_of(&stand_in.path)).chain(file.gone).collect();
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
    /// What was left out.
    gone: Vec<YamlPath>,
}

/// A place that holds something else than the file does.
struct StandIn {
    path: Vec<Segment>,
    /// What is still to be tried there, the last one first.
    left: Vec<String>,
    /// Whether an error has told what is accepted.
    is_told: bool,
}

impl StandIn {
    /// What is accepted is often told: that comes first.
    fn next(&mut self, message: &str) -> Option<String> {
        let told = message.split_once(", expected ").map_or("", |(_, expected)| expected);
        let told: Vec<String> = told.split('`').skip(1).step_by(2).map(|word| format!("{word:?}")).collect();
        if !self.is_told && !told.is_empty() {
            self.is_told = true;
            self.left.extend(told);
        }
        self.left.pop()
    }
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
    /// With the number that each has in the file.
    Sequence(Vec<(usize, Tree)>),
}

impl File {
    fn written(&self) -> (String, Vec<Vec<Segment>>) {
        let mut lines = Lines::default();
        self.root.write(&mut Vec::new(), &mut lines);
        (lines.text, lines.places)
    }

    /// The entry that an error at a mapping is about: the one without which
    /// something else is said.
    fn culprit(
        &mut self,
        path: &[Segment],
        message: &str,
        bytes: &mut usize,
        refused: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Segment> {
        let is_of_mapping =
            ["unknown field", "missing field", "invalid type"].iter().any(|word| message.contains(word));
        let entries = match self.root.get(path).map(|node| &node.content) {
            Some(Content::Mapping(entries)) if !is_of_mapping && entries.len() <= MOST_ENTRIES => entries,
            _ => return path.to_vec(),
        };
        for name in entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let entry: Vec<Segment> = path.iter().cloned().chain([Segment::Key(name)]).collect();
            let Some(left_out) = self.root.take(&entry) else { continue };
            let (text, _) = self.written();
            *bytes += text.len();
            let says = refused(&text);
            self.root.give_back(&entry, left_out);
            if says.as_deref() != Some(message) {
                return entry;
            }
        }
        path.to_vec()
    }

    /// Does something about an error at `path`; whether it is worth reading on.
    fn mend(&mut self, path: &[Segment], message: &str, faults: &mut Vec<Fault>) -> bool {
        // Of what stands in for something nothing is told.
        if let Some(known) = (0..=path.len()).map(|length| &path[..length]).find(|above| self.knows(above)) {
            let known = known.to_vec();
            return self.try_next(&known, message);
        }
        let Some(node) = self.root.get(path) else { return false };
        let is_unknown = message.contains("unknown field");
        let missing = quoted_behind(message, "missing field `").map(Segment::Key);
        let missing = missing.map(|field| path.iter().cloned().chain([field]).collect::<Vec<_>>());
        // What was left out before is not missing in the file, and what does not
        // fit for want of it did.
        let is_ours = match &missing {
            Some(missing) => self.knows(missing),
            None => !is_unknown && self.gone.iter().any(|gone| gone.segments().starts_with(path)),
        };
        if !is_ours {
            let at = if is_unknown { node.key_at } else { node.at };
            let own = self.root.without_path(path, message).to_owned();
            // The message names the key itself.
            let of = if is_unknown { &path[..path.len().saturating_sub(1)] } else { path };
            faults.push(Fault { at, path: path_of(of), message: own });
        }
        match missing {
            Some(missing) => self.stand_in(missing, message) || self.leave_out(path),
            None if is_unknown => self.leave_out(path),
            None => self.stand_in(path.to_vec(), message),
        }
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
            let left = STAND_INS.iter().rev().map(|text| (*text).to_owned()).collect();
            self.stand_ins.push(StandIn { path: path.clone(), left, is_told: false });
        }
        self.try_next(&path, message)
    }

    /// The next thing that may fit. Where nothing does the place is left out,
    /// and where it may not be, what it is a part of.
    fn try_next(&mut self, path: &[Segment], message: &str) -> bool {
        let known = self.stand_ins.iter_mut().find(|stand_in| stand_in.path == path);
        match known.and_then(|stand_in| stand_in.next(message)) {
            Some(text) => self.root.put(path, text),
            None if self.root.get(path).is_some() => self.leave_out(path),
            None => false,
        }
    }

    /// Leaves a node out. Where one of a list is gone, what is said of the
    /// others is said of other numbers.
    fn leave_out(&mut self, path: &[Segment]) -> bool {
        let gone = match path.split_last() {
            Some((Segment::Index(_), list)) => list,
            _ => path,
        };
        self.gone.push(path_of(gone));
        self.root.take(path).is_some()
    }
}

impl Tree {
    fn of(node: &Node) -> Self {
        let at = start_of(node);
        let content = match node {
            Node::Scalar(scalar) => Content::Scalar(literal(scalar.as_str(), scalar.may_coerce())),
            Node::Sequence(items) => Content::Sequence(items.iter().map(Self::of).enumerate().collect()),
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
            (Segment::Index(index), Content::Sequence(items)) => {
                items.iter().find(|(number, _)| number == index).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    fn child_mut(&mut self, segment: &Segment) -> Option<&mut Self> {
        match (segment, &mut self.content) {
            (Segment::Key(key), Content::Mapping(entries)) => {
                entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            (Segment::Index(index), Content::Sequence(items)) => {
                items.iter_mut().find(|(number, _)| number == index).map(|(_, node)| node)
            }
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

    /// Takes a node out, with its place among the others.
    fn take(&mut self, path: &[Segment]) -> Option<(usize, Self)> {
        let (parent, last) = self.parent_of(path)?;
        match (last, &mut parent.content) {
            (Segment::Key(key), Content::Mapping(entries)) => {
                let at = entries.iter().position(|(name, _)| name == key)?;
                Some((at, entries.remove(at).1))
            }
            (Segment::Index(index), Content::Sequence(items)) => {
                let at = items.iter().position(|(number, _)| number == index)?;
                Some((at, items.remove(at).1))
            }
            _ => None,
        }
    }

    fn give_back(&mut self, path: &[Segment], (at, node): (usize, Self)) {
        if let Some((Self { content: Content::Mapping(entries), .. }, Segment::Key(key))) = self.parent_of(path) {
            entries.insert(at, (key.clone(), node));
        }
    }

    /// A message without the path that serde puts in front of it: its numbers
    /// are those of what is left of a list.
    fn without_path<'a>(&self, path: &[Segment], message: &'a str) -> &'a str {
        let named = (0..=path.len()).rev().map(|length| format!("{}: ", path_of(&self.counted(&path[..length]))));
        named.filter(|path| path != ": ").find_map(|path| message.strip_prefix(&path)).unwrap_or(message)
    }

    /// A path with numbers as they are now.
    fn counted(&self, path: &[Segment]) -> Vec<Segment> {
        let mut node = Some(self);
        let mut counted = Vec::new();
        for segment in path {
            let now = match (segment, node.map(|node| &node.content)) {
                (Segment::Index(index), Some(Content::Sequence(items))) => {
                    Segment::Index(items.iter().position(|(number, _)| number == index).unwrap_or(*index))
                }
                _ => segment.clone(),
            };
            counted.push(now);
            node = node.and_then(|node| node.child(segment));
        }
        counted
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
                for (index, item) in items {
                    path.push(Segment::Index(*index));
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
    use base::digest::Digest;

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
        let told = readable.faults.iter();
        let told = told.map(|fault| (fault.at.to_string(), format!("{}: {}", fault.path, fault.message))).collect();
        (told, readable)
    }

    #[test]
    fn everything_that_does_not_fit_is_found_at_its_place() {
        let text = "number: many\nsurprise: 1\nlist:\n  - name: [a]\n    kind: three\n    digest: x\n    flag: maybe\n  \
                    - kind: one\n    what: 2\n  - 7\nmap:\n  a.b: {name: a, kind: two}\nagain: {}\n";
        let (told, readable) = found(text);
        let words = [
            ("1:9", "number: invalid type"),
            ("2:1", "unknown field `surprise`"),
            ("4:11", "list[0].name: invalid type"),
            ("5:11", "unknown variant `three`"),
            ("6:13", "list[0].digest: `x` is not a SHA-256 digest"),
            ("7:11", "list[0].flag: invalid type"),
            ("9:5", "unknown field `what`"),
            ("8:5", "missing field `name`"),
            ("8:5", "list[1]: missing field `digest`"),
            ("10:5", "list[2]: invalid type"),
            ("12:8", "map.a.b: missing field `digest`"),
            ("13:1", "unknown field `again`"),
        ];
        for (place, word) in words {
            assert!(
                told.iter().any(|(at, message)| at == place && message.contains(word)),
                "{place} {word}: {told:#?}"
            );
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
        let value = readable.value.as_ref().unwrap();
        let second = &value.list[1];
        assert_eq!((second.name.as_str(), second.digest, second.flag), ("b", sound, false));
        assert!(matches!(second.kind, Kind::Two) && value.map.is_empty() && value.number == 0);
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
