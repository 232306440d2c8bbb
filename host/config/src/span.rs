//! Line and column of every place in a YAML file, and its content as flat
//! text: `tools[helm].version` is `3.19.2`.

use std::collections::BTreeMap;
use std::fmt;

use marked_yaml::{LoadError, LoaderOptions, Marker, Node};
use model::image::ImageName;
use model::problem::{Problem, Segment, YamlPath, is_secret_name, redacted};

use crate::web::without_ssh_user;
use base::visible;

/// Both start at 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<&Marker> for Position {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.column() }
    }
}

/// Why a file that is YAML is still refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub at: Option<Position>,
    pub message: String,
    pub hint: &'static str,
}

/// A parsed YAML file with the place of every node.
#[derive(Clone, Debug)]
pub struct Spans {
    root: Node,
}

/// Below these keys stands what is nobody's name.
const FREE: [&str; 2] = ["description", "configuration"];

/// Characters of a value that a difference shows.
const VALUE_LIMIT: usize = 200;

impl Spans {
    /// Parses what serde has accepted already, which bounds the nesting.
    ///
    /// # Errors
    /// Repeated keys, anchors and tags.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let options = LoaderOptions::default().error_on_duplicate_keys(true);
        marked_yaml::parse_yaml_with_options(0, text, options).map(|root| Self { root }).map_err(refusal)
    }

    /// The root of the tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Where `path` lies; what is absent is placed at the nearest thing that
    /// is there.
    pub fn position(&self, path: &YamlPath) -> Position {
        let mut node = &self.root;
        for segment in path.segments() {
            match child(node, segment) {
                Some(next) => node = next,
                None => break,
            }
        }
        start_of(node)
    }

    /// The text at `path`, where one stands exactly there.
    pub fn text(&self, path: &YamlPath) -> Option<&str> {
        let mut node = &self.root;
        for segment in path.segments() {
            node = child(node, segment)?;
        }
        node.as_scalar().map(|scalar| scalar.as_str())
    }

    /// Every text in the file that holds a password.
    pub fn credentials(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        walk(&self.root, &YamlPath::root(), &mut |path, text| {
            let text = without_ssh_user(text);
            if redacted(&text) != text {
                problems.push(Problem::new(
                    path,
                    "credentials in a URL",
                    "remove them: registries take theirs from docker's config.json, git and files from git's and the \
                     system's own helpers",
                ));
            }
        });
        problems
    }

    /// Every key and value that holds what nobody sees: it was pasted along, and
    /// what it is part of is not what it looks like. A description may, for it
    /// is writing, and so may what a plugin is handed as it is.
    pub fn unseen(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        walk(&self.root, &YamlPath::root(), &mut |path, text| {
            let is_free = |segment: &Segment| matches!(segment, Segment::Key(key) if FREE.contains(&key.as_str()));
            if let Some(unseen) = visible::unseen_in(text).filter(|_| !path.segments().iter().any(is_free)) {
                problems.push(Problem::new(path, unseen.to_string(), visible::REMOVE));
            }
        });
        problems
    }

    /// Every scalar by its place. List entries are named by what identifies
    /// them, so that an insertion changes one entry and not all that follow.
    /// Values are cut, secrets are left out.
    pub fn flat(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        flatten(&self.root, String::new(), &mut values);
        values
    }
}

fn child<'a>(node: &'a Node, segment: &Segment) -> Option<&'a Node> {
    match (segment, node) {
        (Segment::Key(key), Node::Mapping(mapping)) => mapping.get_node(key),
        (Segment::Index(index), Node::Sequence(sequence)) => sequence.get_node(*index),
        _ => None,
    }
}

/// A block mapping begins at its first key, wherever the parser noticed it.
pub(super) fn start_of(node: &Node) -> Position {
    let own = node.span().start();
    let first_key = node.as_mapping().and_then(|mapping| mapping.keys().next()).and_then(|key| key.span().start());
    let start = own.into_iter().chain(first_key).min_by_key(|marker| marker.character());
    start.map_or(Position { line: 1, column: 1 }, Position::from)
}

fn refusal(error: LoadError) -> Refusal {
    let at = |marker: &Marker| Some(Position::from(marker));
    match &error {
        LoadError::DuplicateKey(inner) => Refusal {
            at: inner.key.span().start().map(Position::from),
            message: format!("the key `{}` a second time", model::problem::shown(inner.key.as_str())),
            hint: "keep one of the two",
        },
        LoadError::UnexpectedAnchor(marker) => Refusal {
            at: at(marker),
            message: "an anchor".into(),
            hint: "anchors and aliases are not supported here: write the value out",
        },
        LoadError::UnexpectedTag(marker) => {
            Refusal { at: at(marker), message: "a YAML tag".into(), hint: "write the value without the `!` tag" }
        }
        LoadError::TopLevelMustBeMapping(marker)
        | LoadError::TopLevelMustBeSequence(marker)
        | LoadError::MappingKeyMustBeScalar(marker) => Refusal {
            at: at(marker),
            message: "a mapping with plain keys was expected".into(),
            hint: "write `key: value` lines",
        },
        LoadError::ScanError(marker, _) => {
            let text = error.to_string();
            let own_place = format!("{}: ", Position::from(marker));
            let message = text.strip_prefix(&own_place).unwrap_or(&text).to_owned();
            Refusal { at: at(marker), message, hint: "correct the YAML syntax" }
        }
    }
}

fn walk(node: &Node, path: &YamlPath, visit: &mut impl FnMut(&YamlPath, &str)) {
    match node {
        Node::Scalar(scalar) => visit(path, scalar.as_str()),
        Node::Mapping(mapping) => {
            for (key, value) in mapping.iter() {
                visit(path, key.as_str());
                walk(value, &path.key(key.as_str()), visit);
            }
        }
        Node::Sequence(sequence) => {
            for (index, value) in sequence.iter().enumerate() {
                walk(value, &path.index(index), visit);
            }
        }
    }
}

fn flatten(node: &Node, path: String, values: &mut BTreeMap<String, String>) {
    match node {
        Node::Scalar(scalar) => {
            let mut free = path.clone();
            let mut number = 1;
            while values.contains_key(&free) {
                number += 1;
                free = format!("{path}#{number}");
            }
            values.insert(free, shown_value(&path, scalar.as_str()));
        }
        Node::Mapping(mapping) => {
            for (key, value) in mapping.iter() {
                let separator = if path.is_empty() { "" } else { "." };
                flatten(value, format!("{path}{separator}{}", key.as_str()), values);
            }
        }
        Node::Sequence(sequence) => {
            for (index, item) in sequence.iter().enumerate() {
                flatten_item(item, &path, index, values);
            }
        }
    }
}

/// An image is a value under the name of its repository, whichever way it is
/// written; a mapping with a name or an id is known by it.
fn flatten_item(item: &Node, path: &str, index: usize, values: &mut BTreeMap<String, String>) {
    let field = |name: &str| item.as_mapping()?.get_scalar(name);
    let image = field("image").or_else(|| item.as_scalar().filter(|_| path.starts_with("images")));
    if let Some(image) = image
        && let Ok(name) = ImageName::parse(image.as_str())
    {
        return flatten(&Node::Scalar(image.clone()), format!("{path}[{}]", name.name()), values);
    }
    match field("name").or_else(|| field("id")) {
        Some(name) => flatten(item, format!("{path}[{}]", name.as_str()), values),
        None => flatten(item, format!("{path}[{index}]"), values),
    }
}

/// A value as state and messages may hold it.
pub(crate) fn shown_value(key: &str, value: &str) -> String {
    if is_secret_name(key) {
        return "***".to_owned();
    }
    let mut shown: String = redacted(value).chars().take(VALUE_LIMIT).collect();
    if value.chars().count() > VALUE_LIMIT {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "images:\n  additional:\n    - nginx:1\n    - image: quay.io/é:1\ntools:\n  - {name: helm, version: 3}\n";

    #[test]
    fn places_are_found_and_absent_ones_are_near() {
        let spans = Spans::parse(TEXT).unwrap();
        let additional = YamlPath::root().key("images").key("additional");
        for (path, expected) in [
            (additional.index(0), "3:7"),
            (additional.index(1).key("image"), "4:14"),
            (YamlPath::root().key("tools").index(0).key("version"), "6:27"),
            (YamlPath::root().key("tools").index(0).key("url"), "6:5"),
            (YamlPath::root().key("nothing"), "1:1"),
        ] {
            assert_eq!(spans.position(&path).to_string(), expected, "{path}");
        }
    }

    #[test]
    fn flat_values_are_named_by_what_identifies_them() {
        let text = "images: {additional: [nginx:1, nginx:2, {image: 'quay.io/a:1'}]}\ntools: [{name: helm, version: 3}]\n\
                    registries: {a.b: {token: hunter2}}\nlist: [x]\n";
        let flat = Spans::parse(text).unwrap().flat();
        let shown: Vec<String> = flat.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            shown,
            [
                "images.additional[docker.io/library/nginx]=nginx:1",
                "images.additional[docker.io/library/nginx]#2=nginx:2",
                "images.additional[quay.io/a]=quay.io/a:1",
                "list[0]=x",
                "registries.a.b.token=***",
                "tools[helm].name=helm",
                "tools[helm].version=3",
            ]
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown_value("k", &"x".repeat(300)).chars().count(), VALUE_LIMIT + 1);
    }
}
