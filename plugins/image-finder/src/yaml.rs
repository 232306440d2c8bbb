//! YAML as a tree whose nodes know their line.
//!
//! Read as Helm reads it: duplicate keys are tolerated (the last one wins),
//! anchors and merge keys work, every scalar keeps its text. Hostile input is
//! bounded: depth, and the number of nodes after aliases are expanded.

use std::collections::HashMap;
use std::fmt;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{ScanError, TScalarStyle};

/// Nodes of one document, aliases expanded: a few hundred MB of YAML never
/// come to that, a bomb of aliases does at once.
const NODE_LIMIT: usize = 2_000_000;
const DEPTH_LIMIT: usize = 200;

/// A value and the line (from 1) where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub line: u32,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The text, and whether it was written without quotes: `true` and `1`
    /// are something else than `"true"` and `"1"`.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file, without duplicates.
    Map(Vec<(String, Node)>),
}

/// Where and why YAML could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// From 1.
    pub line: u32,
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
        Self { line: 1, value: Value::Map(Vec::new()) }
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

    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
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

/// Every document up to the end or the first error. Empty documents are left
/// out.
pub fn documents(text: &str) -> (Vec<Node>, Option<YamlError>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut loader = Loader::default();
    let mut documents = Vec::new();
    loop {
        let (event, marker) = match parser.next_token() {
            Ok(token) => token,
            Err(error) => return (documents, Some(scan_error(&error))),
        };
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        match event {
            Event::StreamEnd => return (documents, None),
            Event::DocumentStart => loader = Loader::default(),
            Event::DocumentEnd => documents.extend(loader.root.take().filter(|root| !root.is_null())),
            event => {
                if let Err(message) = loader.enter(event, line) {
                    return (documents, Some(YamlError { line, message }));
                }
            }
        }
    }
}

fn scan_error(error: &ScanError) -> YamlError {
    YamlError { line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX), message: error.info().to_owned() }
}

/// Builds one document from events.
#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or map that is not complete.
struct Open {
    line: u32,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    /// The entries, and the key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

impl Loader {
    fn enter(&mut self, event: Event, line: u32) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == TScalarStyle::Plain;
                self.complete(Node { line, value: Value::Scalar { text, plain } }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Kind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(line, anchor, Kind::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias names an unknown anchor")?;
                self.nodes += size(&node);
                self.complete(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: u32, anchor: usize, kind: Kind) -> Result<(), String> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(format!("nested deeper than {DEPTH_LIMIT} levels"));
        }
        self.open.push(Open { line, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(entries, _) => Value::Map(settled(entries)),
        };
        self.complete(Node { line: open.line, value }, open.anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(format!("more than {NODE_LIMIT} nodes, aliases expanded"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(items)) => items.push(node),
            Some(Kind::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_text(node)),
            },
        }
        Ok(())
    }
}

/// A key that is no scalar is nothing that we look for.
fn key_text(node: Node) -> String {
    if let Value::Scalar { text, .. } = node.value { text } else { String::new() }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

/// Applies merge keys and keeps the last of duplicate keys.
fn settled(entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
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
            if let Value::Map(entries) = map.value {
                for (key, node) in entries {
                    put(key, node, false);
                }
            }
        }
    }
    settled
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
