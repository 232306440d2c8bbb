//! Adding to components.yaml in place: text in, text out.
//!
//! The entry goes behind the last one of its list, written the way the list
//! is written; every other byte stays. Afterwards the text is read again, and
//! only handed back when it says exactly what it said before plus the
//! addition.

use marked_yaml::Node;
use model::image::normalized;
use model::problem::{Problem, YamlPath, shown};
use model::yaml_text::{flow_scalar, scalar};
use model::{Chart, ComponentManifest, Image, Repository, Tool};

use crate::components::problems;
use crate::source::Source;
use crate::span::Spans;
use crate::written;
use base::error::{Error, Result};
use base::layout;
use base::layout::Layout;

/// What `opencenter-airgap add` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// To `images.additional`.
    Image(String),
    /// To `charts`.
    Chart(Chart),
    /// To `tools`.
    Tool(Tool),
    /// To `repositories`.
    Repository(Repository),
}

/// Adds images that were found to `images.auto_discover` of a project, and
/// returns those that were new.
///
/// # Errors
/// As [`merge_discovered`]; `local` where the file cannot be written.
pub fn merge_discovered_into_project(layout: &Layout, images: &[String]) -> Result<Vec<String>> {
    let mut added = Vec::new();
    change(layout, |source| {
        let (text, new) = merge_discovered(source, images)?;
        added = new;
        Ok((!added.is_empty()).then_some(text))
    })?;
    Ok(added)
}

fn change(layout: &Layout, edit: impl FnOnce(&Source) -> Result<Option<String>>) -> Result<()> {
    let path = layout.components();
    let source = Source::read(&path)?.unwrap_or_else(|| Source::empty(layout::shown(&path)));
    match edit(&source)? {
        Some(text) => written::replace(layout, &path, source.digest, text.as_bytes()),
        None => Ok(()),
    }
}

/// The text with the addition in it.
///
/// # Errors
/// `configuration`: the text is not sound, lists the same thing already, or
/// the addition itself is not sound.
pub fn add(source: &Source, addition: &Addition) -> Result<String> {
    let (before, spans) = parse(source)?;
    let mut after = before.clone();
    let (list, path) = match addition {
        Addition::Image(image) => {
            after.images.additional.push(Image { image: image.clone() });
            (&["images", "additional"][..], after_last(&["images", "additional"], before.images.additional.len()))
        }
        Addition::Chart(chart) => {
            after.charts.push(chart.clone());
            (&["charts"][..], after_last(&["charts"], before.charts.len()))
        }
        Addition::Tool(tool) => {
            after.tools.push(tool.clone());
            (&["tools"][..], after_last(&["tools"], before.tools.len()))
        }
        Addition::Repository(repository) => {
            after.repositories.push(repository.clone());
            (&["repositories"][..], after_last(&["repositories"], before.repositories.len()))
        }
    };
    refuse_known(source, &spans, &before, addition)?;
    refuse_unsound(&after, &path)?;
    insert(source, &spans, list, &[entry_of(addition)], &after)
}

/// The text with the images that neither list names yet in
/// `images.auto_discover`, and those images.
///
/// # Errors
/// `configuration`: the text is not sound, or what was found is no image.
pub(crate) fn merge_discovered(source: &Source, images: &[String]) -> Result<(String, Vec<String>)> {
    let (before, spans) = parse(source)?;
    let mut known: Vec<String> = before.images.iter().map(|image| normalized(&image.image)).collect();
    let mut after = before.clone();
    let mut added = Vec::new();
    for image in images {
        let complete = normalized(image);
        if known.contains(&complete) {
            continue;
        }
        let path = after_last(&["images", "auto_discover"], after.images.auto_discover.len());
        after.images.auto_discover.push(Image { image: image.clone() });
        refuse_unsound(&after, &path)?;
        known.push(complete);
        added.push(image.clone());
    }
    if added.is_empty() {
        return Ok((source.text.clone(), added));
    }
    let entries: Vec<ListItem> = added.iter().map(|image| ListItem::image(image)).collect();
    let text = insert(source, &spans, &["images", "auto_discover"], &entries, &after)?;
    Ok((text, added))
}

fn parse(source: &Source) -> Result<(ComponentManifest, Spans)> {
    let (manifest, spans) = source.yaml::<ComponentManifest>()?;
    source.refuse(&spans, &problems(&manifest))?;
    Ok((manifest, spans))
}

fn after_last(list: &[&str], length: usize) -> YamlPath {
    list.iter().fold(YamlPath::root(), |path, key| path.key(key)).index(length)
}

/// Names the line that has it already.
fn refuse_known(source: &Source, spans: &Spans, before: &ComponentManifest, addition: &Addition) -> Result<()> {
    let by_name = |section: &str, names: Vec<&String>, name: &str| {
        let found = names.iter().position(|known| known.eq_ignore_ascii_case(name));
        found.map(|index| after_last(&[section], index))
    };
    let (what, found) = match addition {
        Addition::Image(image) => {
            let place = |key: &str, list: &[Image]| {
                let same = |known: &Image| normalized(&known.image) == normalized(image);
                list.iter().position(same).map(|index| after_last(&["images", key], index))
            };
            let found = place("auto_discover", &before.images.auto_discover)
                .or_else(|| place("additional", &before.images.additional));
            (format!("the image {}", normalized(image)), found)
        }
        Addition::Chart(Chart { name, .. }) => {
            let names = before.charts.iter().map(|chart| &chart.name).collect();
            (format!("a chart called `{}`", shown(name)), by_name("charts", names, name))
        }
        Addition::Tool(Tool { name, .. }) => {
            let names = before.tools.iter().map(|tool| &tool.name).collect();
            (format!("a tool called `{}`", shown(name)), by_name("tools", names, name))
        }
        Addition::Repository(Repository { name, .. }) => {
            let names = before.repositories.iter().map(|repository| &repository.name).collect();
            (format!("a repository called `{}`", shown(name)), by_name("repositories", names, name))
        }
    };
    let Some(path) = found else { return Ok(()) };
    let place = source.place_of(spans, &path);
    Err(Error::configuration(format!("{place}: {what} is listed already")).hint("edit that entry to change it"))
}

/// What is wrong with the addition itself: everything else was sound before.
fn refuse_unsound(after: &ComponentManifest, path: &YamlPath) -> Result<()> {
    let found = problems(after);
    let own = found.iter().find(|problem| problem.path.segments().starts_with(path.segments())).or(found.first());
    let Some(Problem { path: at, message, hint }) = own else { return Ok(()) };
    let field = at.segments().get(path.segments().len()).map(|field| match field {
        model::problem::Segment::Key(key) => format!("{key}: "),
        model::problem::Segment::Index(_) => String::new(),
    });
    Err(Error::configuration(format!("{}{message}", field.unwrap_or_default())).hint(hint.clone()))
}

/// One list entry, ready to be written in either style.
struct ListItem {
    fields: Vec<(&'static str, String)>,
    flags: Vec<(&'static str, bool)>,
    lists: Vec<(&'static str, Vec<String>)>,
}

impl ListItem {
    fn image(reference: &str) -> Self {
        Self { fields: vec![("image", reference.to_owned())], flags: Vec::new(), lists: Vec::new() }
    }

    /// The lines of a block entry, the dash included.
    fn block(&self, plain: bool) -> Vec<String> {
        if plain && let [("image", reference)] = self.fields.as_slice() {
            return vec![format!("- {}", scalar(reference))];
        }
        let mut lines: Vec<String> =
            self.fields.iter().map(|(key, value)| format!("{key}: {}", scalar(value))).collect();
        lines.extend(self.flags.iter().map(|(key, flag)| format!("{key}: {flag}")));
        for (key, list) in &self.lists {
            lines.push(format!("{key}:"));
            lines.extend(list.iter().map(|item| format!("  - {}", scalar(item))));
        }
        let dashed =
            |(index, line): (usize, String)| if index == 0 { format!("- {line}") } else { format!("  {line}") };
        lines.into_iter().enumerate().map(dashed).collect()
    }

    /// Inside `[...]`.
    fn flow(&self, plain: bool) -> String {
        if plain && let [("image", reference)] = self.fields.as_slice() {
            return flow_scalar(reference);
        }
        let mut parts: Vec<String> =
            self.fields.iter().map(|(key, value)| format!("{key}: {}", flow_scalar(value))).collect();
        parts.extend(self.flags.iter().map(|(key, flag)| format!("{key}: {flag}")));
        for (key, list) in &self.lists {
            let items: Vec<String> = list.iter().map(|item| flow_scalar(item)).collect();
            parts.push(format!("{key}: [{}]", items.join(", ")));
        }
        format!("{{{}}}", parts.join(", "))
    }
}

fn entry_of(addition: &Addition) -> ListItem {
    let mut entry = ListItem { fields: Vec::new(), flags: Vec::new(), lists: Vec::new() };
    let mut field = |key: &'static str, value: Option<&String>| {
        entry.fields.extend(value.map(|value| (key, value.clone())));
    };
    match addition {
        Addition::Image(image) => return ListItem::image(image),
        Addition::Chart(chart) => {
            field("name", Some(&chart.name));
            field("repo", Some(&chart.repo));
            field("version", Some(&chart.version));
            field("namespace", chart.namespace.as_ref());
            match chart.values.as_slice() {
                [] => {}
                [one] => field("values", Some(one)),
                many => entry.lists.push(("values", many.to_vec())),
            }
        }
        Addition::Tool(tool) => {
            field("name", Some(&tool.name));
            field("version", Some(&tool.version));
            field("url", Some(&tool.url));
            field("checksum_url", tool.checksum_url.as_ref());
            field("binary", tool.binary.as_ref());
            if tool.extract {
                entry.flags.push(("extract", true));
            }
        }
        Addition::Repository(repository) => {
            field("name", Some(&repository.name));
            field("url", Some(&repository.url));
            field("ref", repository.reference.as_ref());
            field("commit", repository.commit.as_ref());
        }
    }
    entry
}

/// Inserts and proves that the result says what it should.
fn insert(
    source: &Source,
    spans: &Spans,
    list: &[&str],
    entries: &[ListItem],
    after: &ComponentManifest,
) -> Result<String> {
    let text = Text::of(&source.text).insert(spans, list, entries);
    let read = Source { text: text.clone(), ..source.clone() }.yaml::<ComponentManifest>();
    match read {
        Ok((manifest, _)) if manifest == *after => Ok(text),
        _ => {
            let lines: Vec<String> = entries.iter().flat_map(|entry| entry.block(false)).collect();
            Err(Error::configuration(format!("{} is written in a way that cannot be added to in place", source.shown))
                .hint(format!(
                    "add this under `{}` by hand: {}",
                    list.join("."),
                    lines.join(" ").trim_start_matches("- ")
                )))
        }
    }
}

/// The lines of the file, each with its line end.
struct Text<'a> {
    lines: Vec<&'a str>,
    /// Of the whole file, as the first line has it.
    newline: &'static str,
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        let newline = if text.lines().next().is_some() && text.contains("\r\n") { "\r\n" } else { "\n" };
        Self { lines: text.split_inclusive('\n').collect(), newline }
    }

    fn insert(&self, spans: &Spans, list: &[&str], entries: &[ListItem]) -> String {
        let mut node = spans.root();
        for (depth, key) in list.iter().enumerate() {
            let Some(mapping) = node.as_mapping() else { break };
            let Some((found, value)) = mapping.iter().find(|(found, _)| found.as_str() == *key) else {
                return self.add_keys(node, depth, &list[depth..], entries);
            };
            let is_last = depth + 1 == list.len();
            match value {
                Node::Sequence(items) if is_last && !items.is_empty() => return self.add_items(value, entries),
                Node::Mapping(inner) if !is_last && !inner.is_empty() => node = value,
                _ => {
                    let at = found.span().start().map_or((1, 1), |start| (start.line(), start.column()));
                    return self.fill(at, &list[depth + 1..], entries);
                }
            }
        }
        self.unchanged()
    }

    /// Behind the last entry of a list that has some.
    fn add_items(&self, list: &Node, entries: &[ListItem]) -> String {
        let Some(items) = list.as_sequence() else { return self.unchanged() };
        let plain = items.last().is_some_and(|item| item.as_scalar().is_some());
        if let Some(close) = self.flow_end(list, '[', ']') {
            let written: Vec<String> = entries.iter().map(|entry| entry.flow(plain)).collect();
            return self.added_to_flow(close, &written.join(", "));
        }
        let Some(start) = items.last().and_then(start_line) else { return self.unchanged() };
        let Some(dash) = (0..start).rev().find(|line| self.content(*line).starts_with('-')) else {
            return self.unchanged();
        };
        let indent = self.indent(dash);
        let lines = entries.iter().flat_map(|entry| entry.block(plain)).map(|line| (indent, line)).collect();
        self.with_lines(self.end_of_block(dash, indent), lines)
    }

    /// `keys` below a mapping that lacks the first of them.
    fn add_keys(&self, mapping: &Node, depth: usize, keys: &[&str], entries: &[ListItem]) -> String {
        if depth == 0 {
            let blank = self.lines.last().is_some_and(|line| !line.trim().is_empty());
            let mut lines = if blank { vec![(0, String::new())] } else { Vec::new() };
            lines.extend(nested(0, keys, entries));
            return self.with_lines(self.lines.len(), lines);
        }
        if let Some(close) = self.flow_end(mapping, '{', '}') {
            let written: Vec<String> = entries.iter().map(|entry| entry.flow(false)).collect();
            return self.added_to_flow(close, &format!("{}: [{}]", keys.join(": {"), written.join(", ")));
        }
        let first = mapping.as_mapping().and_then(|mapping| mapping.keys().next()).and_then(|key| key.span().start());
        let Some(first) = first else { return self.unchanged() };
        let indent = first.column() - 1;
        let end = self.end_of_block(first.line() - 1, indent.saturating_sub(1));
        self.with_lines(end, nested(indent, keys, entries))
    }

    /// Below a key that has nothing, `null`, `[]` or `{}` as its value.
    fn fill(&self, (line, column): (usize, usize), keys: &[&str], entries: &[ListItem]) -> String {
        let index = line - 1;
        let Some(text) = self.lines.get(index) else { return self.unchanged() };
        let body = text.trim_end_matches(['\n', '\r']);
        let key_at: usize = body.chars().take(column - 1).map(char::len_utf8).sum();
        let Some(colon) = body[key_at..].find(':').map(|found| key_at + found + 1) else { return self.unchanged() };
        let (value, comment) = match body[colon..].find(" #") {
            Some(at) => body[colon..].split_at(at),
            None => (&body[colon..], ""),
        };
        let compact: String = value.chars().filter(|c| !c.is_whitespace()).collect();
        if !matches!(compact.as_str(), "" | "[]" | "{}" | "~" | "null" | "Null" | "NULL") {
            return self.unchanged();
        }
        let indent = self.indent(index) + 2;
        let mut lines = vec![format!("{}{comment}{}", &body[..colon], self.newline)];
        let added: Vec<(usize, String)> = nested(indent, keys, entries);
        lines.extend(added.into_iter().map(|(indent, line)| format!("{}{line}{}", " ".repeat(indent), self.newline)));
        let mut out = self.lines[..index].concat();
        out.push_str(&lines.concat());
        out.push_str(&self.lines[index + 1..].concat());
        out
    }

    /// The character index of the closing bracket of a flow-style node.
    fn flow_end(&self, node: &Node, open: char, close: char) -> Option<usize> {
        let all: Vec<char> = self.lines.concat().chars().collect();
        let start = node.span().start()?.character();
        let end = node.span().end()?.character();
        (all.get(start) == Some(&open)).then_some(())?;
        [end, end.checked_sub(1)?].into_iter().find(|at| all.get(*at) == Some(&close))
    }

    /// Puts text in front of a closing bracket.
    fn added_to_flow(&self, close: usize, written: &str) -> String {
        let all: Vec<char> = self.lines.concat().chars().collect();
        let before: String = all[..close].iter().collect();
        let after: String = all[close..].iter().collect();
        let kept = before.trim_end();
        let (separator, gap) =
            if kept.ends_with(',') { (" ", &before[kept.len()..]) } else { (", ", &before[kept.len()..]) };
        format!("{kept}{separator}{written}{gap}{after}")
    }

    /// The line behind the last one that belongs to the block which begins in
    /// `start`: deeper than `indent`, blank lines and comments at its end left
    /// out.
    fn end_of_block(&self, start: usize, indent: usize) -> usize {
        let mut end = start + 1;
        for line in start + 1..self.lines.len() {
            let content = self.content(line);
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if self.indent(line) <= indent {
                break;
            }
            end = line + 1;
        }
        end
    }

    fn content(&self, line: usize) -> &str {
        self.lines[line].trim()
    }

    fn indent(&self, line: usize) -> usize {
        let text = self.lines[line];
        text.len() - text.trim_start_matches(' ').len()
    }

    /// The text with lines put in front of line `at`.
    fn with_lines(&self, at: usize, lines: Vec<(usize, String)>) -> String {
        let mut out = self.lines[..at].concat();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(self.newline);
        }
        for (indent, line) in lines {
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent));
            }
            out.push_str(&line);
            out.push_str(self.newline);
        }
        out.push_str(&self.lines[at..].concat());
        out
    }

    /// Where the place cannot be found: the check afterwards says so.
    fn unchanged(&self) -> String {
        self.lines.concat()
    }
}

/// The line of a node's beginning, counted from 0, plus one.
fn start_line(node: &Node) -> Option<usize> {
    let first_key = node.as_mapping().and_then(|mapping| mapping.keys().next()).and_then(|key| key.span().start());
    first_key.or(node.span().start()).map(|start| start.line())
}

/// `keys` one below the other, and the entries below the last.
fn nested(indent: usize, keys: &[&str], entries: &[ListItem]) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> =
        keys.iter().enumerate().map(|(depth, key)| (indent + 2 * depth, format!("{key}:"))).collect();
    let below = indent + 2 * keys.len();
    lines.extend(entries.iter().flat_map(|entry| entry.block(false)).map(|line| (below, line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    fn source(text: &str) -> Source {
        Source::of("config/components.yaml".into(), text.as_bytes().to_vec()).unwrap()
    }

    fn image(reference: &str) -> Addition {
        Addition::Image(reference.into())
    }

    fn tool() -> Addition {
        Addition::Tool(Tool {
            name: "t".into(),
            version: "1.10".into(),
            url: "https://h/{{version}}".into(),
            checksum_url: None,
            extract: true,
            binary: Some("bin/t".into()),
            carry: false,
        })
    }

    #[test]
    fn images_go_behind_the_last_one_and_nothing_else_moves() {
        for (before, after) in [
            ("", "images:\n  additional:\n    - image: n:1\n"),
            ("# only a comment", "# only a comment\n\nimages:\n  additional:\n    - image: n:1\n"),
            ("charts: []\n\n", "charts: []\n\nimages:\n  additional:\n    - image: n:1\n"),
            ("images:\n", "images:\n  additional:\n    - image: n:1\n"),
            ("images: # mine\ncharts:\n", "images: # mine\n  additional:\n    - image: n:1\ncharts:\n"),
            ("images: {}\n", "images:\n  additional:\n    - image: n:1\n"),
            ("images:\n  additional:\n", "images:\n  additional:\n    - image: n:1\n"),
            ("images:\n  additional: []  # none yet\n", "images:\n  additional: # none yet\n    - image: n:1\n"),
            ("images:\n  additional: null\n", "images:\n  additional:\n    - image: n:1\n"),
            ("images:\n  additional:\n    - a:1\n", "images:\n  additional:\n    - a:1\n    - n:1\n"),
            (
                "images:\n  additional:\n    - image: a:1",
                "images:\n  additional:\n    - image: a:1\n    - image: n:1\n",
            ),
            (
                "images:\n  additional:\n  - a:1   # why\n  # the end\n\ncharts: []\n",
                "images:\n  additional:\n  - a:1   # why\n  - n:1\n  # the end\n\ncharts: []\n",
            ),
            (
                "images:\n    additional:\n        -\n          image: a:1\n    auto_discover:\n",
                "images:\n    additional:\n        -\n          image: a:1\n        - image: n:1\n    auto_discover:\n",
            ),
            (
                "images:\n  auto_discover:\n    - a:1\n# end\n",
                "images:\n  auto_discover:\n    - a:1\n  additional:\n    - image: n:1\n# end\n",
            ),
            ("images:\n  additional: [a:1, 'b:1']\n", "images:\n  additional: [a:1, 'b:1', n:1]\n"),
            ("images:\n  additional: [\n    a:1,\n  ]\n", "images:\n  additional: [\n    a:1, n:1\n  ]\n"),
            ("images: {additional: [{image: a:1}]}\n", "images: {additional: [{image: a:1}, {image: n:1}]}\n"),
            ("images: {auto_discover: [a:1]}\n", "images: {auto_discover: [a:1], additional: [{image: n:1}]}\n"),
            (
                "images:\r\n  additional:\r\n    - é:1\r\n".replace('é', "a").as_str(),
                "images:\r\n  additional:\r\n    - a:1\r\n    - n:1\r\n",
            ),
            ("# é ü\nimages:\n  additional: [a:1] # ö\n", "# é ü\nimages:\n  additional: [a:1, n:1] # ö\n"),
        ] {
            let text =
                add(&source(before), &image("n:1")).unwrap_or_else(|error| panic!("{before:?}: {}", error.message()));
            assert_eq!(text, after, "{before:?}");
        }
    }

    #[test]
    fn entries_with_fields_keep_the_indentation_of_the_list() {
        let expected = "  - name: t\n    version: \"1.10\"\n    url: https://h/{{version}}\n    binary: bin/t\n    extract: true\n";
        assert_eq!(add(&source(""), &tool()).unwrap(), format!("tools:\n{expected}"));
        let before = "tools:\n# above\n- name: a\n  version: v1\n  # inside\n  url: https://h/a\n\nimages: {}\n";
        let unindented: String = expected.lines().map(|line| format!("{}\n", &line[2..])).collect();
        assert_eq!(
            add(&source(before), &tool()).unwrap(),
            format!(
                "tools:\n# above\n- name: a\n  version: v1\n  # inside\n  url: https://h/a\n{unindented}\nimages: {{}}\n"
            )
        );
        let chart = Addition::Chart(Chart {
            name: "c".into(),
            repo: "https://h".into(),
            version: "1.0".into(),
            namespace: Some("n".into()),
            values: vec!["a.yaml".into(), "b.yaml".into()],
            deploy: true,
        });
        let text = add(&source("charts: []\n"), &chart).unwrap();
        assert!(text.ends_with("    values:\n      - a.yaml\n      - b.yaml\n"), "{text}");
        let repository = Addition::Repository(Repository {
            name: "r".into(),
            url: "https://h/r".into(),
            reference: Some("v1".into()),
            commit: None,
        });
        assert_eq!(
            add(&source(""), &repository).unwrap(),
            "repositories:\n  - name: r\n    url: https://h/r\n    ref: v1\n"
        );
    }

    #[test]
    fn what_is_listed_already_is_refused_with_its_line() {
        let text = "images:\n  auto_discover:\n    - nginx:1\ntools: [{name: t, version: '1', url: 'https://h/t'}]\n";
        for (addition, start) in [
            (
                image("docker.io/library/nginx:1"),
                "config/components.yaml:3:7: the image docker.io/library/nginx:1 is listed already",
            ),
            (tool(), "config/components.yaml:4:9: a tool called `t` is listed already"),
        ] {
            let error = add(&source(text), &addition).unwrap_err();
            assert_eq!(error.class(), Class::Configuration);
            assert!(error.message().starts_with(start), "{}", error.message());
        }
        assert!(add(&source(text), &image("nginx:2")).is_ok(), "another tag is another image");
    }

    #[test]
    fn unsound_additions_and_unsound_files_are_refused() {
        for (text, addition, word) in [
            ("", image("ngnix::1"), "ngnix::1"),
            ("", image("u:hunter2@h/x"), "no digest follows"),
            ("zzz: 1\n", image("n:1"), "config/components.yaml:1:1: unknown field"),
            (
                "kubernetes: {version: v1, binaries: [{name: t, url: 'https://h/t'}]}\n",
                tool(),
                "second file is called `t`",
            ),
        ] {
            let error = add(&source(text), &addition).unwrap_err();
            assert!(error.message().contains(word) && !error.message().contains("hunter2"), "{}", error.message());
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn a_style_that_cannot_be_added_to_is_said_so() {
        let error = add(&source("{images: {additional: []}}\n"), &image("n:1")).unwrap_err();
        assert!(error.message().contains("cannot be added to in place"), "{}", error.message());
        assert!(error.hint_text().unwrap().contains("images.additional"));
    }

    #[test]
    fn discovered_images_join_the_other_list_once() {
        let text = "images:\n  auto_discover:\n    - a:1\n  additional:\n    - b:1\n";
        let found: Vec<String> = ["docker.io/library/a:1", "c:1", "b:1", "c:1", "d:1"].map(str::to_owned).into();
        let (merged, added) = merge_discovered(&source(text), &found).unwrap();
        assert_eq!(added, ["c:1", "d:1"]);
        assert_eq!(merged, "images:\n  auto_discover:\n    - a:1\n    - c:1\n    - d:1\n  additional:\n    - b:1\n");
        let (same, none) = merge_discovered(&source(&merged), &found).unwrap();
        assert!(same == merged && none.is_empty());
    }

    #[test]
    fn a_project_without_components_gets_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), folder.path().join("build"), folder.path().join("dist"));
        assert_eq!(merge_discovered_into_project(&layout, &["n:1".into(), "m:1".into()]).unwrap(), ["n:1", "m:1"]);
        let text = std::fs::read_to_string(layout.components()).unwrap();
        assert_eq!(text, "images:\n  auto_discover:\n    - image: n:1\n    - image: m:1\n");
        let before = std::fs::metadata(layout.components()).unwrap().modified().unwrap();
        merge_discovered_into_project(&layout, &["n:1".into()]).unwrap();
        assert_eq!(
            std::fs::metadata(layout.components()).unwrap().modified().unwrap(),
            before,
            "nothing new, nothing written"
        );
    }
}
