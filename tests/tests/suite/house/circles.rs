//! Which module of a crate names which, and the circles among them.
//!
//! Sources are read as words, without comments, texts and what is compiled for
//! tests. A path leads to the module that it names or, where that one only hands on
//! what another has, to the other. Modules of one parent may name each other in one
//! direction; a parent and what lies below it may name each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A module by the names that lead to it from the root of its crate.
type Name = Vec<String>;

/// The modules that each names, with the file and line of the first time.
type Edges = BTreeMap<Name, BTreeMap<Name, String>>;

/// A word or a sign of a source.
struct Word {
    text: String,
    line: usize,
}

/// One module, as it was read.
struct Module {
    file: String,
    /// Paths of `use`, and those that stand in the code, with their lines.
    paths: Vec<(Name, usize)>,
    /// What `use` calls something by a name of its own, and what that is.
    names: BTreeMap<String, Name>,
}

/// The circles among the modules of a crate, the shortest of each parent, each with the
/// lines that make it. `sources` has the text of each file by its path below `src/`.
pub(super) fn circles(sources: &BTreeMap<String, String>) -> Vec<String> {
    let modules = modules(sources);
    let edges = edges(&modules);
    let mut of_parent: BTreeMap<Name, Edges> = BTreeMap::new();
    for (from, to, place) in edges.iter().flat_map(|(from, to)| to.iter().map(move |(to, place)| (from, to, place))) {
        let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if shared < from.len() && shared < to.len() {
            let (one, other) = (from[..=shared].to_vec(), to[..=shared].to_vec());
            let siblings = of_parent.entry(from[..shared].to_vec()).or_default();
            siblings.entry(one).or_default().entry(other).or_insert_with(|| place.clone());
        }
    }
    of_parent.values().filter_map(shortest).collect()
}

/// The shortest circle, in words.
fn shortest(edges: &Edges) -> Option<String> {
    let circle = edges.keys().filter_map(|start| around(edges, start)).min_by_key(Vec::len)?;
    let following = circle.iter().skip(1).chain(circle.first());
    let lines = circle.iter().zip(following).map(|(from, to)| format!("\n  {} names {}", edges[from][to], shown(to)));
    let names: Vec<String> = circle.iter().chain(circle.first()).map(shown).collect();
    Some(names.join(" → ") + &lines.collect::<String>())
}

/// The shortest way from a module back to it.
fn around(edges: &Edges, start: &Name) -> Option<Vec<Name>> {
    let mut before: BTreeMap<&Name, &Name> = BTreeMap::new();
    let mut left = VecDeque::from([start]);
    while let Some(at) = left.pop_front() {
        for to in edges.get(at).into_iter().flat_map(BTreeMap::keys) {
            if to == start {
                let back = std::iter::successors(Some(at), |at| before.get(at).copied());
                let mut way: Vec<Name> = back.cloned().collect();
                way.reverse();
                return Some(way);
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = before.entry(to) {
                entry.insert(at);
                left.push_back(to);
            }
        }
    }
    None
}

fn shown(name: &Name) -> String {
    name.join("::")
}

fn modules(sources: &BTreeMap<String, String>) -> BTreeMap<Name, Module> {
    let names: BTreeMap<Name, &String> = sources.keys().map(|file| (name_of(file), file)).collect();
    let known: BTreeSet<Name> = names.keys().cloned().collect();
    let read = |(name, file): (Name, &String)| {
        let module = module(&name, file, &sources[file], &known);
        (name, module)
    };
    names.into_iter().map(read).collect()
}

fn name_of(file: &str) -> Name {
    let mut parts: Name = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

fn module(name: &Name, file: &str, text: &str, known: &BTreeSet<Name>) -> Module {
    let words = without_tests(words(text));
    let mut module = Module { file: file.to_owned(), paths: Vec::new(), names: BTreeMap::new() };
    let (mut at, mut in_code) = (0, Vec::new());
    while at < words.len() {
        if words[at].text == "use" {
            let end = words[at..].iter().position(|word| word.text == ";").map_or(words.len(), |found| at + found);
            for (path, called, line) in used(&words[at + 1..end]) {
                let Some(path) = absolute(name, path, &BTreeMap::new(), known) else { continue };
                module.names.insert(called, path.clone());
                module.paths.push((path, line));
            }
            at = end;
            continue;
        }
        let (path, end) = path_at(&words, at);
        if path.len() > 1 {
            in_code.push((path, words[at].line));
        }
        at = end.max(at + 1);
    }
    for (path, line) in in_code {
        module.paths.extend(absolute(name, path, &module.names, known).map(|path| (path, line)));
    }
    module
}

/// What a path names from the root of the crate on; None of another crate.
fn absolute(of: &Name, path: Name, names: &BTreeMap<String, Name>, known: &BTreeSet<Name>) -> Option<Name> {
    let above = path.iter().take_while(|part| *part == "super").count();
    let first = path.first()?.as_str();
    let (base, rest) = match first {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (of.clone(), &path[1..]),
        "super" => (of[..of.len().saturating_sub(above)].to_vec(), &path[above..]),
        _ if known.contains(&[of.as_slice(), &[first.to_owned()]].concat()) => (of.clone(), &path[..]),
        _ => (names.get(first)?.clone(), &path[1..]),
    };
    Some([base.as_slice(), rest].concat())
}

fn edges(modules: &BTreeMap<Name, Module>) -> Edges {
    let mut edges = Edges::new();
    for (name, module) in modules {
        for (path, line) in &module.paths {
            let to = home(modules, path, 0);
            if to != *name {
                let place = || format!("{}:{line}", module.file);
                edges.entry(name.clone()).or_default().entry(to).or_insert_with(place);
            }
        }
    }
    edges
}

/// The module where lies what a path names.
fn home(modules: &BTreeMap<Name, Module>, path: &Name, handed_on: usize) -> Name {
    let at = (0..=path.len()).rev().find(|at| modules.contains_key(&path[..*at])).unwrap_or_default();
    let from = path.get(at).and_then(|name| modules.get(&path[..at])?.names.get(name));
    match from {
        // A name that is handed on in a circle does not compile.
        Some(from) if from != path && handed_on < 8 => {
            home(modules, &[from.as_slice(), &path[at + 1..]].concat(), handed_on + 1)
        }
        _ => path[..at].to_vec(),
    }
}

/// The paths of a `use`, what each is called, and its line.
fn used(words: &[Word]) -> Vec<(Name, String, usize)> {
    let Some(open) = words.iter().position(|word| word.text == "{") else {
        let line = words.first().map_or(0, |word| word.line);
        let end = words.iter().position(|word| word.text == "as").unwrap_or(words.len());
        let path: Name = words[..end].iter().filter(|word| word.text != ":").map(|word| word.text.clone()).collect();
        let called = words.last().map(|word| word.text.clone()).unwrap_or_default();
        return if path.is_empty() { Vec::new() } else { vec![(path, called, line)] };
    };
    let before: Name = words[..open].iter().filter(|word| word.text != ":").map(|word| word.text.clone()).collect();
    let (mut found, mut depth, mut from) = (Vec::new(), 0, open + 1);
    for at in open + 1..words.len() {
        match words[at].text.as_str() {
            "{" => depth += 1,
            "}" if depth > 0 => depth -= 1,
            "," | "}" if depth == 0 => {
                found.extend(used(&words[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    let whole = |(path, called, line): (Name, String, usize)| {
        let is_self = path.first().is_some_and(|first| first == "self");
        let called = if called == "self" { before.last().cloned().unwrap_or_default() } else { called };
        ([before.as_slice(), &path[usize::from(is_self)..]].concat(), called, line)
    };
    found.into_iter().map(whole).collect()
}

/// The path that begins at a word, and where it ends.
fn path_at(words: &[Word], at: usize) -> (Name, usize) {
    let (mut path, mut end) = (Name::new(), at);
    while words.get(end).is_some_and(|word| is_name(&word.text)) {
        path.push(words[end].text.clone());
        end += 1;
        let is_on = words.get(end).zip(words.get(end + 1)).is_some_and(|(one, two)| one.text == ":" && two.text == ":");
        if !is_on {
            break;
        }
        end += 2;
    }
    (path, end)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Without the items that only tests compile.
fn without_tests(words: Vec<Word>) -> Vec<Word> {
    let (mut kept, mut at) = (Vec::new(), 0);
    let mut words: Vec<Option<Word>> = words.into_iter().map(Some).collect();
    let text = |words: &[Option<Word>], at: usize| {
        words.get(at).and_then(Option::as_ref).map_or(String::new(), |word| word.text.clone())
    };
    while at < words.len() {
        if text(&words, at) == "#" && text(&words, at + 1) == "[" && text(&words, at + 2) == "cfg" {
            let end = (at..words.len()).find(|at| text(&words, *at) == "]").unwrap_or(words.len());
            let has = |word: &str| (at..end).any(|at| text(&words, at) == word);
            if has("test") && !has("not") {
                at = item_end(end + 1, |at| text(&words, at), words.len());
                continue;
            }
        }
        kept.extend(words[at].take());
        at += 1;
    }
    kept
}

/// Behind the item, variant or field that begins at `at`.
fn item_end(mut at: usize, text: impl Fn(usize) -> String, count: usize) -> usize {
    let is_item = matches!(
        text(at).as_str(),
        "#" | "pub"
            | "mod"
            | "use"
            | "fn"
            | "async"
            | "const"
            | "static"
            | "struct"
            | "enum"
            | "impl"
            | "type"
            | "trait"
    );
    let mut depth = 0_usize;
    while at < count {
        match text(at).as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" if depth > 0 => depth -= 1,
            "}" if depth > 1 => depth -= 1,
            "}" if depth == 1 => return at + 1,
            ")" | "]" | "}" => return at,
            ";" if depth == 0 => return at + 1,
            "," if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Words and signs, without comments, texts, characters and lifetimes.
fn words(text: &str) -> Vec<Word> {
    let chars: Vec<char> = text.chars().collect();
    let (mut words, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => until(&chars, at, "\n"),
            ('/', Some('*')) => until(&chars, at + 2, "*/") + 2,
            ('r', Some('"' | '#')) if raw_end(&chars, at).is_some() => raw_end(&chars, at).unwrap_or(at),
            ('"', _) => text_end(&chars, at),
            ('\'', _) => quote_end(&chars, at),
            (c, _) if c.is_alphanumeric() || c == '_' => {
                let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let is_raw = matches!(&chars[at..at + length], ['b', 'r']) && raw_end(&chars, at + 1).is_some();
                if !is_raw {
                    words.push(Word { text: chars[at..at + length].iter().collect(), line });
                }
                if is_raw { raw_end(&chars, at + 1).unwrap_or(at + length) } else { at + length }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    words.push(Word { text: c.to_string(), line });
                }
                at + 1
            }
        };
        line += chars[at..end.min(chars.len())].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    words
}

/// Where `mark` stands, from `at` on.
fn until(chars: &[char], at: usize, mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    (at..chars.len()).find(|at| chars[*at..].starts_with(&mark)).unwrap_or(chars.len())
}

/// Behind `r"…"` or `r#"…"#`.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars.get(at + 1..)?.iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    (chars.get(open) == Some(&'"')).then(|| until(chars, open + 1, &format!("\"{}", "#".repeat(hashes))) + 1 + hashes)
}

fn text_end(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    end + 1
}

/// Behind a character, or behind the `'` of a lifetime and its name.
fn quote_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => until(chars, at + 3, "'") + 1,
        (_, Some('\'')) => at + 3,
        _ => at + 1 + chars[at + 1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count(),
    }
}

/// What the reader must see, and what it must not.
#[test]
fn a_planted_circle_is_told_with_both_lines() {
    let found = |files: &[(&str, &str)]| {
        let sources = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        circles(&sources)
    };
    let plain =
        [("lib.rs", "mod a;\nmod b;\n"), ("a.rs", "use super::b::B;\n"), ("b.rs", "\n\nfn f() { crate::a::g() }\n")];
    assert_eq!(found(&plain), ["a → b → a\n  a.rs:1 names b\n  b.rs:3 names a"]);
    for (a, b) in [
        // In a list of several lines, and below a name that stands for a module.
        ("use crate::{\n    c::C,\n    b::{self, B as D},\n};\n", "use crate::a;\nfn f() { a::g() }\n"),
        // By what the parent hands on.
        ("use super::B;\n", "use crate::a::deeper::A;\n"),
        ("fn f(b: &'static crate::b::B, c: char) -> bool { c == '\"' }\n", "use super::a;\n"),
        ("#[cfg(test)]\nuse x::y;\nuse crate::b;\n", "const A: &str = r#\"\"\"#;\nuse crate::a;\n"),
    ] {
        let files = [("lib.rs", "mod a;\nmod b;\npub use b::B;\n"), ("a.rs", a), ("b.rs", b), ("c.rs", "")];
        let found = found(&files);
        assert_eq!(found.len(), 1, "{a}{b}");
        assert!(found[0].contains("a.rs:") && found[0].contains("b.rs:"), "{found:?}");
    }
    for (a, b) in [
        ("use super::b;\n", "// crate::a\n/* crate::a */ const A: &str = \"crate::a\\\" crate::a\";\n"),
        ("use super::b;\n", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}\nfn f() { std::a::g(); other::a::b() }\n"),
        ("use super::b;\n", "enum B {\n    #[cfg(test)]\n    Here(crate::a::A),\n}\n#[cfg(test)]\nuse crate::a;\n"),
    ] {
        assert_eq!(found(&[("lib.rs", ""), ("a.rs", a), ("b.rs", b)]), [""; 0], "{b}");
    }
    let deep = [
        ("lib.rs", ""),
        ("x/mod.rs", "mod a;\nmod b;\nuse a::f;\n"),
        ("x/a.rs", "use super::b::c::g;\n"),
        ("x/b/c.rs", "use crate::x::f;\n"),
    ];
    assert_eq!(found(&deep), ["x::a → x::b → x::a\n  x/a.rs:1 names x::b\n  x/b/c.rs:1 names x::a"]);
}
