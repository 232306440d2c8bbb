//! The comments of a components.yaml: collected from the text that lies there,
//! so that they can be written again around the same entries.
//!
//! Kept are the block at the beginning, comments above a section, an entry or
//! a field, comments behind the first line of an entry, and the block at the
//! end. Entries are found by their order, which is that of the parsed
//! manifest.

use std::collections::BTreeMap;

use model::ComponentManifest;
use model::image::normalized;

/// What a comment belongs to: section (`images.additional`), entry (by name,
/// empty for the section itself) and field (empty for the entry itself).
type CommentKey = (String, String, String);

/// The comments of a file, and what each belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    /// The lines at the beginning of the file, `#` included.
    pub header: Vec<String>,
    above: BTreeMap<CommentKey, Vec<String>>,
    behind: BTreeMap<CommentKey, String>,
    /// The lines at the end of the file.
    pub trailer: Vec<String>,
    sections: Vec<String>,
    /// The lines of the section `components`, as they are.
    components: Vec<String>,
}

impl Comments {
    /// The comment lines above a place.
    pub fn above(&self, section: &str, entry: &str, field: &str) -> &[String] {
        self.above.get(&(section.to_owned(), entry.to_owned(), field.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The comment behind the first line of an entry.
    pub fn behind(&self, section: &str, entry: &str) -> Option<&str> {
        self.behind.get(&(section.to_owned(), entry.to_owned(), String::new())).map(String::as_str)
    }

    /// Whether the text had that section.
    pub fn has(&self, section: &str) -> bool {
        self.sections.iter().any(|known| known == section)
    }

    /// The lines of the section `components`, which nothing but their author
    /// changes.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// Collects the comments of a text that was parsed as `manifest`.
    pub fn collect(text: &str, manifest: &ComponentManifest) -> Self {
        let mut collector = Collector { manifest, comments: Self::default(), ..Collector::new(manifest) };
        for line in text.trim_start_matches('\u{feff}').lines() {
            collector.line(line);
        }
        collector.finish()
    }
}

/// What an entry is called in a [`CommentKey`]: its name, or the repository of an
/// image, so that a comment outlives a new tag.
pub fn entry_names(manifest: &ComponentManifest, section: &str) -> Vec<String> {
    let names = |list: &[model::Image]| list.iter().map(|image| image_name(&image.image)).collect();
    match section {
        "kubernetes.binaries" => manifest
            .kubernetes
            .as_ref()
            .map(|kubernetes| kubernetes.binaries.iter().map(|binary| binary.name.clone()).collect())
            .unwrap_or_default(),
        "tools" => manifest.tools.iter().map(|tool| tool.name.clone()).collect(),
        "repositories" => manifest.repositories.iter().map(|repository| repository.name.clone()).collect(),
        "charts" => manifest.charts.iter().map(|chart| chart.name.clone()).collect(),
        "images.auto_discover" => names(&manifest.images.auto_discover),
        "images.additional" => names(&manifest.images.additional),
        _ => Vec::new(),
    }
}

/// The repository of an image.
pub fn image_name(reference: &str) -> String {
    model::image::ImageName::parse(reference).map_or_else(|_| normalized(reference), |name| name.name())
}

struct Collector<'a> {
    manifest: &'a ComponentManifest,
    comments: Comments,
    pending: Vec<String>,
    /// The header is complete at the first blank line or key.
    in_header: bool,
    section: String,
    /// Columns at which the section's entries begin, once known.
    indent: Option<usize>,
    names: Vec<String>,
    /// Entries of the section that were seen.
    seen: usize,
}

impl<'a> Collector<'a> {
    fn new(manifest: &'a ComponentManifest) -> Self {
        Self {
            manifest,
            comments: Comments::default(),
            pending: Vec::new(),
            in_header: true,
            section: String::new(),
            indent: None,
            names: Vec::new(),
            seen: 0,
        }
    }

    fn line(&mut self, line: &str) {
        let content = line.trim();
        if self.section == "components" && !is_key(line) {
            self.comments.components.push(line.to_owned());
            return;
        }
        if content.is_empty() {
            self.end_header();
            return;
        }
        if content.starts_with('#') {
            self.pending.push(content.to_owned());
            return;
        }
        if content == "---" {
            return;
        }
        self.end_header();
        let indent = line.len() - line.trim_start().len();
        if content.starts_with("- ") && self.indent.is_none_or(|known| known == indent) && !self.names.is_empty() {
            self.indent = Some(indent);
            self.entry(content);
        } else if indent == 0 || self.is_subsection(content) {
            self.key(content, indent);
        } else {
            self.field(content);
        }
    }

    fn end_header(&mut self) {
        if self.in_header {
            self.in_header = false;
            self.comments.header = std::mem::take(&mut self.pending);
        }
    }

    fn is_subsection(&self, content: &str) -> bool {
        let key = key_of(content);
        match self.section.split('.').next() {
            Some("kubernetes") => key == "binaries",
            Some("images") => key == "auto_discover" || key == "additional",
            _ => false,
        }
    }

    fn key(&mut self, content: &str, indent: usize) {
        let key = key_of(content);
        self.section = match self.section.split('.').next() {
            Some(parent) if indent > 0 => format!("{parent}.{key}"),
            _ => key.to_owned(),
        };
        self.comments.sections.push(self.section.clone());
        self.names = entry_names(self.manifest, &self.section);
        self.indent = None;
        self.seen = 0;
        self.keep_above(String::new(), String::new());
    }

    fn entry(&mut self, content: &str) {
        let name = self.names.get(self.seen).cloned().unwrap_or_default();
        self.seen += 1;
        if let Some(comment) = comment_behind(content) {
            self.comments.behind.insert((self.section.clone(), name.clone(), String::new()), comment.to_owned());
        }
        self.keep_above(name, String::new());
    }

    fn field(&mut self, content: &str) {
        let name = self.seen.checked_sub(1).and_then(|last| self.names.get(last)).cloned().unwrap_or_default();
        self.keep_above(name, key_of(content).to_owned());
    }

    fn keep_above(&mut self, entry: String, field: String) {
        if !self.pending.is_empty() {
            let place = (self.section.clone(), entry, field);
            self.comments.above.entry(place).or_default().append(&mut self.pending);
        }
    }

    fn finish(mut self) -> Comments {
        self.end_header();
        while self.comments.components.last().is_some_and(|line| line.trim().is_empty()) {
            self.comments.components.pop();
        }
        self.comments.trailer = self.pending;
        self.comments
    }
}

/// Whether a line begins a section.
fn is_key(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"' | '\''))
}

fn key_of(content: &str) -> &str {
    content.split(':').next().unwrap_or_default().trim_matches(['"', '\''])
}

/// The comment at the end of a line, outside of quotes.
fn comment_behind(content: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in content.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return Some(content[at..].trim_end()),
            None if (c == '"' || c == '\'') && (before.is_whitespace() || "[{,:".contains(before)) => quote = Some(c),
            None => {}
        }
        before = c;
    }
    None
}
