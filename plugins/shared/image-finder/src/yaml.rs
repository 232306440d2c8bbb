//! YAML as a tree whose nodes know their line.
//!
//! Read as Helm reads it, with the scanner that Go's is a port of: duplicate keys are
//! tolerated (the last one wins), anchors and merge keys work, every scalar keeps
//! its text. [`first`] is as strict as Helm is with a chart; [`documents`] goes on
//! over what Helm would refuse, as long as it can be scanned. Hostile input is
//! bounded: depth, and the number of nodes after aliases are expanded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use crate::events::{self, Event, Events, Style};
use crate::scalar::Scalar;

/// Nodes of one document, aliases expanded: a few hundred MB of YAML never
/// come to that, a bomb of aliases does at once.
const NODE_LIMIT: usize = 2_000_000;
const DEPTH_LIMIT: usize = 200;

/// A value and the line (from 1) where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line where it begins, from 1.
    pub line: u32,
    /// Which of several files that were laid over each other: whoever merges
    /// them counts. 0 where there is one.
    pub file: u16,
    /// What stands there.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The text, and whether it was written without quotes: `true` and `1`
    /// are something else than `"true"` and `"1"`.
    Scalar {
        /// Without its quotes, and with its escapes resolved.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A sequence, in the order of the file.
    List(Vec<Node>),
    /// In the order of the file, without duplicates.
    Map(Vec<(String, Node)>),
}

/// Where and why YAML could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// From 1.
    pub line: u32,
    /// What is wrong, as a fragment.
    pub message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for YamlError {}

impl Node {
    /// A map without entries.
    pub fn empty() -> Self {
        Self { line: 1, file: 0, value: Value::Map(Vec::new()) }
    }

    /// An entry of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The entry that a dotted path (`global.imageRegistry`) leads to.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a map; empty for anything else.
    pub fn entries(&self) -> &[(String, Node)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; empty for anything else.
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// Whether it is a map, even an empty one.
    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Whether both hold the same, wherever it is written.
    pub fn is_same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, node)| other.get(key).is_some_and(|other| node.is_same(other)))
            }
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b)),
            (a, b) => a == b,
        }
    }

    /// What Go makes of a scalar; none for lists and maps.
    pub fn scalar(&self) -> Option<Scalar> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(Scalar::plain(text)),
            Value::Scalar { text, plain: false } => Some(Scalar::Text(text.clone())),
            _ => None,
        }
    }

    /// A scalar's text, none for null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The text of the entry `key`, where it is a scalar and not empty.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text().filter(|text| !text.is_empty())
    }

    /// Whether it is nothing, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What Go takes for a truth value: `off` and `no` as well, and nothing in
    /// quotes.
    pub fn as_bool(&self) -> Option<bool> {
        match self.scalar() {
            Some(Scalar::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether an `if` of a template is met; none where the text is a template
    /// itself.
    pub fn is_truthy(&self) -> Option<bool> {
        match &self.value {
            Value::List(items) => Some(!items.is_empty()),
            Value::Map(entries) => Some(!entries.is_empty()),
            Value::Scalar { text, .. } if crate::naming::is_template(text) => None,
            Value::Scalar { .. } => Some(match self.scalar() {
                None | Some(Scalar::Null | Scalar::Bool(false) | Scalar::Int(0)) => false,
                Some(Scalar::Float(number)) => number != 0.0,
                Some(Scalar::Text(text)) => !text.is_empty(),
                Some(_) => true,
            }),
        }
    }

    /// Puts an entry into a map, in place of one of the same name.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Value::Map(entries) = &mut self.value {
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some((_, there)) => *there = node,
                None => entries.push((key.to_owned(), node)),
            }
        }
    }

    /// Says of the node and all in it which file they come from.
    pub fn mark(&mut self, file: u16) {
        self.file = file;
        match &mut self.value {
            Value::Scalar { .. } => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.mark(file)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.mark(file)),
        }
    }

    /// Lays `over` on top, as Helm does with values: maps are merged, null
    /// removes, anything else replaces.
    pub fn merge(&mut self, over: &Node) {
        let (Value::Map(entries), Value::Map(changes)) = (&mut self.value, &over.value) else {
            *self = over.clone();
            return;
        };
        for (key, change) in changes {
            let at = entries.iter().position(|(name, _)| name == key);
            match at {
                Some(at) if change.is_null() => drop(entries.remove(at)),
                Some(at) => entries[at].1.merge(change),
                None if change.is_null() => {}
                None => entries.push((key.clone(), change.clone())),
            }
        }
    }
}

/// The first document; an empty text is an empty map.
///
/// # Errors
/// Where the text is not YAML, or more than the bounds allow.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let (mut documents, error) = documents(text);
    match error {
        Some(error) if documents.is_empty() => Err(error),
        _ if documents.is_empty() => Ok(Node::empty()),
        _ => Ok(documents.swap_remove(0)),
    }
}

/// The first document as Helm reads a file of a chart; null where there is none.
///
/// # Errors
/// Where Helm refuses the document, or it exceeds the bounds. What stands behind
/// it is not looked at.
pub fn first(text: &[u8]) -> Result<Node, YamlError> {
    let text = unicode(text)?;
    let mut reader = Reader::new(&text, true);
    let empty = Node { line: 1, file: 0, value: Value::Scalar { text: String::new(), plain: true } };
    reader.next().map(|document| document.unwrap_or(empty))
}

/// UTF-8 from what may be UTF-16 with a byte order mark.
fn unicode(text: &[u8]) -> Result<Cow<'_, [u8]>, YamlError> {
    let (mark, unit): (_, fn([u8; 2]) -> u16) = match text {
        [0xff, 0xfe, ..] => (2, u16::from_le_bytes),
        [0xfe, 0xff, ..] => (2, u16::from_be_bytes),
        _ => return Ok(Cow::Borrowed(text)),
    };
    let refused = || YamlError { line: 1, message: "malformed UTF-16".to_owned() };
    let (units, []) = text[mark..].as_chunks::<2>() else { return Err(refused()) };
    let units: Vec<u16> = units.iter().map(|bytes| unit(*bytes)).collect();
    String::from_utf16(&units).map(|text| Cow::Owned(text.into_bytes())).map_err(|_| refused())
}

/// Every document up to the end or the first error. Empty documents are left
/// out.
pub fn documents(text: &str) -> (Vec<Node>, Option<YamlError>) {
    let mut reader = Reader::new(text.as_bytes(), false);
    let mut documents = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(root)) => documents.extend(Some(root).filter(|root| !root.is_null())),
            Ok(None) => return (documents, None),
            Err(error) => return (documents, Some(error)),
        }
    }
}

/// What stands at the root of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Nothing was written.
    Empty,
    /// A text, a number, `null`.
    Scalar,
    /// A sequence.
    List,
    /// A mapping.
    Map,
}

/// The roots of all documents, which are not built: for a text that another
/// reader takes, whose time grows with the square of the depth.
///
/// # Errors
/// Where the text is not YAML, or nested deeper than the bounds allow.
pub fn roots(text: &str) -> Result<Vec<Root>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut events = Events::of(text.as_bytes());
    let (mut roots, mut depth) = (Vec::new(), 0);
    loop {
        let Event { line, kind, .. } =
            events.next().map_err(|events::Problem { line, message }| YamlError { line, message })?;
        let (root, deeper) = match kind {
            events::Kind::StreamEnd => return Ok(roots),
            events::Kind::ListEnd | events::Kind::MapEnd => {
                depth -= 1;
                continue;
            }
            events::Kind::ListStart { .. } => (Root::List, 1),
            events::Kind::MapStart { .. } => (Root::Map, 1),
            events::Kind::Scalar(scalar) if scalar == NOTHING => (Root::Empty, 0),
            events::Kind::Scalar(_) | events::Kind::Alias { .. } => (Root::Scalar, 0),
            events::Kind::DocumentStart { .. } | events::Kind::DocumentEnd | events::Kind::Other => continue,
        };
        if depth == 0 {
            roots.push(root);
        }
        depth += deeper;
        if depth > DEPTH_LIMIT {
            return Err(YamlError { line, message: format!("nested deeper than {DEPTH_LIMIT} levels") });
        }
    }
}

/// A scalar that nobody wrote.
const NOTHING: events::Scalar = events::Scalar { anchor: None, tag: None, text: String::new(), style: Style::Plain };

/// One document after the other.
struct Reader<'a> {
    text: &'a [u8],
    events: Events<'a>,
    /// Refuse what Helm refuses.
    strict: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], strict: bool) -> Self {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        Self { text, events: Events::of(text), strict }
    }

    fn next(&mut self) -> Result<Option<Node>, YamlError> {
        let mut loader = Loader { strict: self.strict, ..Loader::default() };
        loop {
            let event = self.events.next().map_err(|events::Problem { line, message }| YamlError { line, message })?;
            let line = event.line;
            if let Some(why) = self.strict.then(|| self.refused_by_go(&event)).flatten() {
                return Err(YamlError { line, message: why.to_owned() });
            }
            match event.kind {
                events::Kind::StreamEnd => return Ok(None),
                events::Kind::DocumentEnd => return Ok(loader.root.take()),
                kind => loader.enter(kind, line).map_err(|message| YamlError { line, message })?,
            }
        }
    }
}

impl Reader<'_> {
    /// Go's scanner is a port of an older one.
    fn refused_by_go(&self, event: &Event) -> Option<&'static str> {
        let scalar = match &event.kind {
            events::Kind::Scalar(scalar) => scalar,
            events::Kind::DocumentStart { version: Some(version) } if *version != (1, 1) => {
                return Some("found an incompatible YAML document: `%YAML` has to say 1.1");
            }
            _ => return None,
        };
        let written = self.text.get(event.span.clone()).unwrap_or_default();
        if scalar.style == Style::DoubleQuoted && has_escaped_slash(written) {
            return Some("found unknown escape character");
        }
        let is_tag_alone = scalar.tag.is_some() && scalar.style == Style::Plain && scalar.text.is_empty();
        if is_tag_alone && ends_with_tag(written) && self.text.get(event.span.end) == Some(&b',') {
            return Some("did not find expected whitespace or line break behind a tag");
        }
        None
    }
}

/// Go's scanner knows all escapes of this one but `\/`.
fn has_escaped_slash(written: &[u8]) -> bool {
    let mut written = written.iter();
    while let Some(byte) = written.next() {
        if *byte == b'\\' && written.next() == Some(&b'/') {
            return true;
        }
    }
    false
}

/// Whether the tag is the last of a node's properties.
fn ends_with_tag(written: &[u8]) -> bool {
    let last = written.rsplit(|byte| byte.is_ascii_whitespace()).next();
    last.is_some_and(|word| word.starts_with(b"!"))
}

/// Builds one document from events.
#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<String, Node>,
    nodes: usize,
    /// Of the nodes those that came by an alias.
    aliased: usize,
    strict: bool,
}

/// A list or map that is not complete.
struct Open {
    line: u32,
    anchor: Option<String>,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    /// The entries, and the key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

impl Loader {
    fn enter(&mut self, event: events::Kind, line: u32) -> Result<(), String> {
        match event {
            events::Kind::Scalar(events::Scalar { anchor, tag, text, style }) => {
                let plain = match tag {
                    None => style == Style::Plain,
                    Some(tag) => self.tagged(&tag, &text)?,
                };
                // The text of a block begins below its `|`.
                let line = line.saturating_add(u32::from(style == Style::Block));
                self.complete(Node { line, file: 0, value: Value::Scalar { text, plain } }, anchor)
            }
            events::Kind::ListStart { anchor } => self.begin(line, anchor, Kind::List(Vec::new())),
            events::Kind::MapStart { anchor } => self.begin(line, anchor, Kind::Map(Vec::new(), None)),
            events::Kind::ListEnd | events::Kind::MapEnd => self.end(),
            events::Kind::Alias { anchor } => self.alias(&anchor),
            _ => Ok(()),
        }
    }

    /// Whether the text of a tagged scalar counts as written without quotes.
    fn tagged(&self, tag: &str, text: &str) -> Result<bool, String> {
        let found = Scalar::plain(text);
        let fits = match tag.strip_prefix("tag:yaml.org,2002:") {
            Some("null") => found == Scalar::Null,
            Some("bool") => matches!(found, Scalar::Bool(_)),
            Some("int") => matches!(found, Scalar::Int(_) | Scalar::Unsigned(_)),
            Some("float") => matches!(found, Scalar::Float(_) | Scalar::Int(_)),
            Some("binary") if self.strict && !is_base64(text) => {
                return Err("a `!!binary` that is no base64".to_owned());
            }
            Some("timestamp") if self.strict && !is_date(text) => return Err("a `!!timestamp` that is none".to_owned()),
            _ => return Ok(false),
        };
        if fits || !self.strict { Ok(fits) } else { Err(format!("`{}` is not what its tag says", text.escape_debug())) }
    }

    fn begin(&mut self, line: u32, anchor: Option<String>, kind: Kind) -> Result<(), String> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(format!("nested deeper than {DEPTH_LIMIT} levels"));
        }
        // Until it is complete, its name is nobody's: it cannot hold itself.
        if let Some(anchor) = &anchor {
            self.anchors.remove(anchor);
        }
        self.open.push(Open { line, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(entries, _) => Value::Map(settled(entries, self.strict)?),
        };
        self.complete(Node { line: open.line, file: 0, value }, open.anchor)
    }

    fn alias(&mut self, anchor: &str) -> Result<(), String> {
        let node = self.anchors.get(anchor).cloned().ok_or("an alias names an unknown anchor")?;
        let size = size(&node);
        self.nodes += size;
        self.aliased += size;
        // Go's guard against bombs, which also hits a file that is nothing but aliases.
        if self.strict && self.nodes > 1000 && self.aliased * 100 > self.nodes * 99 {
            return Err("nearly all of it comes by aliases".to_owned());
        }
        self.complete(node, None)
    }

    fn complete(&mut self, node: Node, anchor: Option<String>) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(format!("more than {NODE_LIMIT} nodes, aliases expanded"));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(items)) => items.push(node),
            Some(Kind::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_text(node, self.strict)?),
            },
        }
        Ok(())
    }
}

fn is_base64(text: &str) -> bool {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len().is_multiple_of(4)
        && text.len() - end <= 2
        && text[..end].iter().all(is_digit)
        && text[end..].iter().all(|byte| *byte == b'=')
}

/// Whether a text begins as a date does.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let year = parts.next().is_some_and(|year| year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()));
    let begins = |part: Option<&str>| part.is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    year && begins(parts.next()) && begins(parts.next())
}

/// A key that is no text is nothing that we look for. Helm makes a text of
/// numbers and truth values, and refuses the rest.
fn key_text(node: Node, strict: bool) -> Result<String, String> {
    match node.scalar() {
        Some(Scalar::Null | Scalar::Unsigned(_)) | None if strict => Err("a key that is no text".to_owned()),
        Some(Scalar::Float(number)) if strict && !number.is_finite() => Ok(if number.is_nan() {
            ".nan"
        } else if number > 0.0 {
            ".inf"
        } else {
            "-.inf"
        }
        .to_owned()),
        Some(scalar) if strict => Ok(scalar.to_text()),
        _ => Ok(if let Value::Scalar { text, .. } = node.value { text } else { String::new() }),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + size(node)).sum::<usize>(),
    }
}

/// Applies merge keys and keeps the last of duplicate keys.
fn settled(entries: Vec<(String, Node)>, strict: bool) -> Result<Vec<(String, Node)>, String> {
    let mut settled: Vec<(String, Node)> = Vec::with_capacity(entries.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    let (merges, own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key == "<<");
    let mut put = |key: String, node: Node, replaces: bool| match places.get(&key) {
        Some(&at) if replaces => settled[at].1 = node,
        Some(_) => {}
        None => {
            places.insert(key.clone(), settled.len());
            settled.push((key, node));
        }
    };
    for (key, node) in own {
        put(key, node, true);
    }
    for (_, node) in merges {
        let maps = match node.value {
            Value::List(maps) => maps,
            _ => vec![node],
        };
        for map in maps {
            match map.value {
                Value::Map(entries) => entries.into_iter().for_each(|(key, node)| put(key, node, false)),
                _ if strict => return Err("`<<` merges something that is no mapping".to_owned()),
                _ => {}
            }
        }
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_anchors_merges_and_duplicates() {
        let text = "base: &base\n  tag: v1\n  registry: quay.io\na:\n  <<: *base\n  tag: v2\na2: *base\nx: 1\nx: 2\n";
        let root = parse(text).unwrap();
        assert_eq!(root.at("a.tag").unwrap().text(), Some("v2"));
        assert_eq!(root.at("a.tag").unwrap().line, 6);
        assert_eq!(root.at("a.registry").unwrap().text(), Some("quay.io"));
        assert_eq!(root.at("a2.tag").unwrap().text(), Some("v1"));
        assert_eq!(root.text_of("x"), Some("2"));
    }

    #[test]
    fn the_roots_of_documents_are_told_apart_within_the_bounds() {
        let found = roots("\u{feff}a: [1, {b: c}]\n---\n---\n~\n---\n- a\n---\n''\n---\n# end\n").unwrap();
        assert_eq!(found, [Root::Map, Root::Empty, Root::Scalar, Root::List, Root::Scalar, Root::Empty]);
        assert_eq!(roots("").unwrap(), []);
        assert_eq!(roots("a: 1\nb: ]\n").unwrap_err().line, 2);
        let begun = std::time::Instant::now();
        for open in ["[", "{a: ", "- "] {
            let error = roots(&open.repeat(500_000)).unwrap_err();
            assert!(error.message.contains("nested deeper"), "{error}");
        }
        assert!(begun.elapsed().as_secs() < 30, "the depth costs time");
    }

    #[test]
    fn values_merge_as_helm_merges_them() {
        let mut base = parse("a: {b: 1, c: 2}\nl: [1, 2]\ngone: {x: 1}\n").unwrap();
        base.merge(&parse("a: {c: 3, d: 4}\nl: [9]\ngone: null\nnew: yes\n").unwrap());
        let expected = parse("a: {b: 1, c: 3, d: 4}\nl: [9]\nnew: yes\n").unwrap();
        for key in ["a.b", "a.c", "a.d", "new"] {
            assert_eq!(base.at(key).unwrap().text(), expected.at(key).unwrap().text(), "{key}");
        }
        assert_eq!(base.get("l").unwrap().items().len(), 1);
        assert!(base.get("gone").is_none());
    }

    /// Offsets of the scanner are bytes, not letters.
    #[test]
    fn an_escaped_slash_is_found_behind_letters_of_several_bytes() {
        assert!(first("é: \"ü\"\nx: \"a\\/b\"\n".as_bytes()).is_err());
        assert!(first("é: \"ü\\/\"\n".as_bytes()).is_err());
        assert!(first("\u{feff}é: \"ü/\"\nx: 'a\\/b'\ny: \"a\\\\/b\"\n".as_bytes()).is_ok());
    }

    #[test]
    fn another_version_of_yaml_is_refused_as_go_does() {
        for text in ["%YAML 1.2\n---\na: 1\n", "%YAML 2.0\n---\na: 1\n", "# x\n%YAML 1.0\n--- {a: 1}\n"] {
            assert!(first(text.as_bytes()).is_err(), "{text}");
        }
        assert!(first(b"%YAML 1.1\n---\na: 1\n").is_ok() && first(b"%TAG ! tag:x,2000:\n---\na: 1\n").is_ok());
    }

    #[test]
    fn a_tag_before_a_comma_is_refused_as_go_does() {
        for text in ["[!a, b]", "{x: !!str, y: 1}", "[&a !b, *a]", "- [1,\n  !<tag:x>, 2]", "\u{feff}[!, a]"] {
            assert!(first(text.as_bytes()).is_err(), "{text}");
            assert!(documents(text).1.is_none(), "{text}");
        }
        for text in ["[a !b, c]", "[!a &b, c]", "[\"x !b, c\", !a x, b]", "[!a , b]", "[!a\n, b]", "# !a,\n[b]"] {
            assert!(first(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_cut_is_read_or_refused() {
        let whole = "a: \"x\\n\\x41\\u00e9\"\nb: |2-\n    y\nc: >+\n  z\n\nd: 'it''s'\n%TAG ! !\n--- !t &n [*n, {? a : b}] # é\n...\n";
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            documents(&whole[..end]);
            let _ = first(&whole.as_bytes()[..end]);
        }
        assert_eq!(parse("a: |\n  x").unwrap().text_of("a"), Some("x"));
        assert!(first(b"a: \"x\\").is_err());
        assert!(first(b"a: \xff").is_err());
    }

    #[test]
    fn many_documents_up_to_the_first_error() {
        let (read, error) = documents("a: 1\n---\n# nothing\n---\nb: 2\n---\nc: [1\n");
        assert_eq!(read.len(), 2);
        assert!(error.unwrap().line >= 6);
        assert_eq!(parse("").unwrap(), Node::empty());
        assert!(parse("a: b: c").is_err());
    }

    /// Nine lines that expand to a billion nodes.
    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let last = level - 1;
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
        }
        assert!(documents(&text).1.unwrap().message.contains("nodes"));
        assert!(documents(&"[".repeat(500)).1.is_some());
    }
}
