//! The places of a template that name an image: keys of block and flow style,
//! their values on the same line or the next, arguments, environment entries.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lines::{self, Part, is_hole};
use super::parse::{Kind, Piece};
use super::words::{flag, is_whole, texts};
use super::{Line, Links, Reader, Site, World, unquoted};
use crate::command::{self, Command, Named};
use crate::naming::{ends_in_image, has_tag, is_flag_of_image, is_list_of_images, names_an_image};

/// A site, and in which document and branches it stands.
pub(super) struct Written {
    site: Site,
    document: u32,
    branches: Vec<u32>,
}

impl Written {
    /// What it is may be seen, and where it ends up is not known.
    pub(super) fn doubt(&mut self) {
        self.site.text = None;
        self.site.is_sure = true;
    }

    /// The same of an image that a command names.
    fn doubt_image(&mut self, image: &str) {
        self.doubt();
        if !image.contains(is_hole) {
            image.clone_into(&mut self.site.written);
        }
    }
}

/// What the lines above say of the next one.
#[derive(Default)]
pub(super) struct LineContext {
    document: u32,
    /// Documents that deploy no image, and the branches in which they say so:
    /// the pods of `helm test`, definitions of resources.
    apart: Vec<(u32, Vec<u32>)>,
    /// The keys around, each with its column.
    keys: Vec<(usize, String)>,
    /// `name` and `value` of one entry, in any order.
    name: Option<String>,
    value: Option<Written>,
    /// The key behind a `?`.
    asked: Option<String>,
    waits: Option<Waiting>,
    /// The item above is `--image`, and the next one its value.
    flag: bool,
    /// A command that may go on in the next line, which is one more item of the list
    /// in this column, or follows a `\`.
    command: Option<(Command, Option<usize>)>,
}

/// A key whose value stands below.
struct Waiting {
    column: usize,
    is_block: bool,
    /// How many branches it stands in.
    depth: usize,
    /// Of an environment entry.
    is_entry: bool,
    /// `repository` and its like of a map, in the order of a reference.
    parts: [Option<Written>; 4],
}

const NOTHING: [Option<Written>; 4] = [const { None }; 4];

/// A line, and which parts of it have an answer.
pub(super) struct Looked<'l, 'a> {
    pub(super) line: &'l Line<'a>,
    pub(super) text: lines::Line,
    pub(super) answered: Vec<Range<usize>>,
}

impl<'a> Reader<'a, '_> {
    /// Every site of what is deployed.
    pub(super) fn told(self) -> impl Iterator<Item = Site> {
        let LineContext { apart, .. } = self.place;
        let is_apart = move |written: &Written| {
            apart.iter().any(|(document, at)| *document == written.document && written.branches.starts_with(at))
        };
        self.sites.into_iter().filter(move |written| !is_apart(written)).map(|written| written.site)
    }

    pub(super) fn end_document(&mut self) {
        self.end_wait();
        let LineContext { document, apart, .. } = std::mem::take(&mut self.place);
        self.place = LineContext { document: document.saturating_add(1), apart, ..LineContext::default() };
    }

    pub(super) fn end_line(&mut self, world: &mut World<'a>) {
        let line = std::mem::take(&mut self.line);
        if line.is_off {
            return;
        }
        let mut looked = Looked { line: &line, text: lines::Line::of(&line.pieces), answered: Vec::new() };
        if looked.text.text.starts_with("---") {
            self.end_document();
        }
        if looked.text.is_comment() {
            return;
        }
        let before = self.sites.len();
        if !looked.text.is_silence() {
            let was_flag = std::mem::take(&mut self.place.flag);
            if !self.awaited(&mut looked, world) {
                for part in looked.text.parts() {
                    self.part(&mut looked, &part, was_flag, world);
                }
            }
            self.end_flow(&looked.text);
            self.arguments(&mut looked, world);
            self.command(&mut looked, world);
            self.mentions(&mut looked, world);
        }
        if self.sites.len() == before {
            self.literals(&line);
        }
    }

    /// The value of a key that stands above. False where the line is something else.
    fn awaited(&mut self, looked: &mut Looked<'_, 'a>, world: &mut World<'a>) -> bool {
        let text = &looked.text;
        let first = text.text.trim_start().chars().next();
        let Some(waiting) = &self.place.waits else { return false };
        if text.indent() <= waiting.column && !first.is_some_and(is_hole) {
            self.end_wait();
            return false;
        }
        let is_map = !waiting.is_block && text.parts().first().is_some_and(|part| part.key.is_some());
        if is_map || first == Some('{') || waiting.parts.iter().any(Option::is_some) {
            return false;
        }
        // In a branch of its own, another one may have another value.
        let is_all = looked.line.branches.len() <= waiting.depth;
        let is_sure = !waiting.is_entry;
        let start = text.indent();
        let end = text.text.find(" #").filter(|end| *end > start).unwrap_or(text.text.len());
        let value = start..end.max(start);
        looked.answered.push(value.clone());
        let site = self.site(looked, &value, is_sure, None, world);
        if is_all {
            self.place.waits = None;
        }
        self.sites.extend(site);
        true
    }

    /// A map of an image ends: it is what its parts come to.
    fn end_wait(&mut self) {
        let Some(Waiting { parts, .. }) = self.place.waits.take() else { return };
        let [registry, repository, tag, digest] = parts;
        let Some(mut whole) = repository else { return };
        let mut text = whole.site.text.take();
        let mut add = |part: Option<Written>, before: bool, mark: &str| {
            let Some(part) = part else { return };
            whole.site.links.extend(part.site.links);
            whole.site.is_literal &= part.site.is_literal;
            text = match (text.take(), part.site.text) {
                (Some(text), Some(part)) if before => Some(format!("{part}{mark}{text}")),
                (Some(text), Some(part)) => Some(format!("{text}{mark}{part}")),
                _ => None,
            };
        };
        add(registry, true, "/");
        add(tag, false, ":");
        add(digest, false, "@");
        whole.site.text = text;
        // What a container gets without tag the kubelet completes, of a map nobody knows.
        whole.site.is_literal = false;
        self.sites.push(whole);
    }

    /// What began in braces of this line is over with them.
    fn end_flow(&mut self, text: &lines::Line) {
        let Some(base) = text.parts().first().map(|part| part.column) else { return };
        if text.text.trim_end().ends_with(['}', ']']) {
            self.place.keys.retain(|(column, _)| *column <= base);
            if self.place.waits.as_ref().is_some_and(|waiting| waiting.column >= base) {
                self.end_wait();
            }
        }
    }

    fn part(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, was_flag: bool, world: &mut World<'a>) {
        if part.answers {
            if let Some(key) = self.place.asked.take() {
                self.entry(looked, part, &key, world);
            }
            return;
        }
        // What an action prints by itself it puts where it wants to.
        let is_shown = |range: &Range<usize>| looked.text.text[range.clone()].starts_with(is_hole);
        if part.key.is_none() && !part.begins && part.value.as_ref().is_some_and(is_shown) {
            return;
        }
        self.place.keys.retain(|(column, _)| *column < part.column);
        if self.place.waits.as_ref().is_some_and(|waiting| waiting.column >= part.column) {
            self.end_wait();
        }
        if part.begins {
            (self.place.name, self.place.value) = (None, None);
        }
        let Some(range) = &part.key else {
            self.item(looked, part, was_flag, world);
            return;
        };
        let key = match looked.text.shows(range) {
            false => Some(looked.text.words(range)),
            true => self.evaluated(looked, range, world),
        };
        let Some(key) = key.map(|key| unquoted(&key).to_owned()) else {
            self.under_any_key(looked, part, world);
            return;
        };
        if part.asks {
            self.place.asked = Some(key);
            return;
        }
        self.entry(looked, part, &key, world);
        self.place.keys.push((part.column, key));
    }

    /// `key: value`.
    fn entry(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, key: &str, world: &mut World<'a>) {
        let parent = self.place.keys.last().map(|(_, key)| key.clone()).unwrap_or_default();
        let is_of_image = names_an_image(&parent) && self.place.waits.as_ref().is_some_and(|waiting| !waiting.is_entry);
        if is_of_image && self.part_of_image(looked, part, key, world) {
            return;
        }
        match key {
            "helm.sh/hook" => self.hook(looked, part),
            "kind" if part.column == 0 && self.literal(looked, part) == "CustomResourceDefinition" => {
                self.place.apart.push((self.place.document, looked.line.branches.clone()));
            }
            "name" => self.named(looked, part, world),
            "value" => self.valued(looked, part, world),
            _ if names_an_image(key) => {
                looked.answered.extend(part.key.clone());
                match &part.value {
                    Some(value) => {
                        looked.answered.push(value.clone());
                        let site = self.site(looked, value, true, Some(key), world);
                        self.sites.extend(site);
                    }
                    None => self.wait(looked, part, false),
                }
            }
            _ if is_list_of_images(&parent) => self.one_of_images(looked, part, world),
            _ => {}
        }
    }

    fn wait(&mut self, looked: &Looked<'_, 'a>, part: &Part, is_entry: bool) {
        self.end_wait();
        let (column, is_block, depth) = (part.column, part.is_block, looked.line.branches.len());
        self.place.waits = Some(Waiting { column, is_block, depth, is_entry, parts: NOTHING });
    }

    /// `repository`, `tag` and their like below `image`; false where the key is
    /// none of them.
    fn part_of_image(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, key: &str, world: &mut World<'a>) -> bool {
        let at = match key {
            "reference" => None,
            "registry" => Some(0),
            "repository" | "repo" | "name" | "image" => Some(1),
            "tag" | "version" => Some(2),
            "digest" | "sha" => Some(3),
            // The schema of one.
            "type" | "description" | "properties" | "$ref" => {
                self.place.waits = None;
                return true;
            }
            _ => return false,
        };
        let Some(value) = &part.value else {
            if let Some(at) = at.filter(|_| self.place.waits.is_some()) {
                let below = self.below(looked);
                if let Some(waiting) = &mut self.place.waits {
                    waiting.parts[at] = Some(below);
                }
                return true;
            }
            return false;
        };
        looked.answered.extend(part.key.clone());
        looked.answered.push(value.clone());
        let Some(site) = self.site(looked, value, true, Some(key), world) else { return true };
        match (at, &mut self.place.waits) {
            (Some(at), Some(waiting)) => waiting.parts[at] = Some(site),
            _ => {
                self.place.waits = None;
                self.sites.push(site);
            }
        }
        true
    }

    /// A part of an image that stands in the lines below its key, which are not read.
    fn below(&self, looked: &Looked<'_, 'a>) -> Written {
        let number = looked.line.number;
        let written = self.lines.get(number as usize).map_or("", |line| line.trim()).to_owned();
        let site = Site {
            file: self.source.file,
            line: number,
            written,
            text: None,
            is_literal: false,
            is_sure: true,
            is_apart: looked.line.is_apart,
            links: BTreeSet::new(),
        };
        self.at(looked.line, site)
    }

    /// Pods that `helm test` alone starts say so in every branch that has them.
    fn hook(&mut self, looked: &Looked<'_, 'a>, part: &Part) {
        let keys: Vec<&str> = self.place.keys.iter().map(|(_, key)| key.as_str()).collect();
        let value = self.literal(looked, part);
        let mut hooks = value.split(',').map(str::trim);
        let is_test = |hook: &str| matches!(hook, "test" | "test-success" | "test-failure");
        if keys == ["metadata", "annotations"] && hooks.all(is_test) {
            self.place.apart.push((self.place.document, looked.line.branches.clone()));
        }
    }

    /// The value where no action is in it, else nothing.
    fn literal(&self, looked: &Looked<'_, 'a>, part: &Part) -> String {
        let range = part.value.as_ref().filter(|range| !looked.text.text[(*range).clone()].contains(is_hole));
        range.map(|range| unquoted(&looked.text.text[range.clone()]).to_owned()).unwrap_or_default()
    }

    fn named(&mut self, looked: &Looked<'_, 'a>, part: &Part, world: &mut World<'a>) {
        let Some(range) = &part.value else { return };
        let name = self.evaluated(looked, range, world).unwrap_or_else(|| looked.text.words(range));
        if let Some(value) = self.place.value.take().filter(|_| is_of_image(&name)) {
            self.sites.push(value);
        }
        self.place.name = Some(unquoted(&name).to_owned());
    }

    fn valued(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, world: &mut World<'a>) {
        let is_meant = self.place.name.as_deref().map(is_of_image);
        if is_meant == Some(false) {
            return;
        }
        let Some(value) = &part.value else {
            if is_meant == Some(true) {
                self.wait(looked, part, true);
            }
            return;
        };
        let site = self.site(looked, value, false, Some("value"), world);
        match is_meant {
            Some(_) => {
                looked.answered.push(value.clone());
                self.sites.extend(site);
            }
            None => self.place.value = site,
        }
    }

    /// An item of a list.
    fn item(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, was_flag: bool, world: &mut World<'a>) {
        let Some(value) = &part.value else { return };
        let text = unquoted(&looked.text.text[value.clone()]).to_owned();
        let is_of_images = self.place.keys.last().is_some_and(|(_, key)| is_list_of_images(key));
        if was_flag && !text.starts_with('-') {
            looked.answered.push(value.clone());
            let site = self.site(looked, value, false, None, world);
            self.sites.extend(site);
        } else if is_of_images {
            self.one_of_images(looked, part, world);
        } else if text.starts_with(is_hole) && says_option(&looked.text.cut(value)) {
            match self.evaluated(looked, value, world) {
                Some(text) => {
                    let pieces = [Piece { line: looked.line.number, kind: Kind::Text(text) }];
                    let mut inner = Looked { line: looked.line, text: lines::Line::of(&pieces), answered: Vec::new() };
                    self.arguments(&mut inner, world);
                }
                None => {
                    let site = self.site(looked, value, false, None, world);
                    self.sites.extend(site);
                }
            }
        }
    }

    /// What a list or map of images holds: other things as well.
    fn one_of_images(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, world: &mut World<'a>) {
        let Some(value) = &part.value else { return };
        let text = self.evaluated(looked, value, world);
        if text.is_some_and(|text| has_tag(&text) && text.contains('/')) {
            looked.answered.push(value.clone());
            let site = self.site(looked, value, false, None, world);
            self.sites.extend(site);
        }
    }

    /// The key may be `image` or anything else: a whole reference below it is told.
    fn under_any_key(&mut self, looked: &mut Looked<'_, 'a>, part: &Part, world: &mut World<'a>) {
        let Some(value) = &part.value else { return };
        let Some(mut written) = self.site(looked, value, false, None, world) else { return };
        let text = written.site.text.take();
        let key = part.key.as_ref().map(|range| looked.text.words(range)).unwrap_or_default();
        let is_near = "image".ends_with(key.trim_matches(['"', '\''])) && key.len() > 2;
        let is_whole = |text: &str| has_tag(text) && model::image::ImageName::parse(text).is_ok();
        if text.is_some_and(|text| is_whole(&text) && (text.contains('/') || is_near)) {
            self.sites.push(written);
        }
    }

    /// Options like `--sidecar-image=x:1`, wherever they stand in the line.
    fn arguments(&mut self, looked: &mut Looked<'_, 'a>, world: &mut World<'a>) {
        let mut at = 0;
        while let Some(flag) = flag(&looked.text.text, at) {
            at = flag.end;
            let name = match looked.text.shows(&flag) {
                false => looked.text.words(&flag),
                true => self.evaluated(looked, &flag, world).unwrap_or_else(|| looked.text.words(&flag)),
            };
            if !is_flag_of_image(&name) || is_setting(&name) || looked.answered.iter().any(|r| r.contains(&flag.start))
            {
                continue;
            }
            let values = values_of(&looked.text.text, flag.end);
            looked.answered.push(flag.start..values.last().map_or(flag.end, |last| last.end));
            if values.is_empty() {
                let rest = looked.text.text[flag.end..].trim_matches(['"', '\'', ' ', ',', '\t', '\r']);
                self.place.flag = rest.is_empty();
            }
            for value in values {
                at = at.max(value.end);
                let site = self.site(looked, &value, false, Some(&name), world);
                self.sites.extend(site.map(|site| as_argument(site, &name)));
            }
        }
    }

    /// Commands of shells, in one line or in several, and lists of their words.
    fn command(&mut self, looked: &mut Looked<'_, 'a>, world: &mut World<'a>) {
        let parts = looked.text.parts();
        let item = parts.first().filter(|part| part.begins && part.key.is_none()).map(|part| part.column);
        let is_item = item.is_some() && looked.text.text.trim_start().starts_with('-');
        let mut command = match self.place.command.take() {
            Some((command, None)) => command,
            Some((command, column)) if is_item && column == item => command,
            _ => Command::default(),
        };
        let text = looked.text.text.clone();
        for (at, word) in command::words(&text) {
            let named = command.word(word);
            let start =
                at + if let Some(Named::Set(start)) = named { start } else { word.find("://").map_or(0, |at| at + 3) };
            let value = start..at + word.len();
            if named.is_none() || looked.answered.iter().any(|range| range.contains(&start)) {
                continue;
            }
            let image = &text[value.clone()];
            let is_set = matches!(named, Some(Named::Set(_)));
            // `80:80` is none.
            let is_name = image.contains('/') || named == Some(Named::First) && image.contains(char::is_alphabetic);
            let is_whole = is_whole(image) && is_name;
            if is_set || is_whole || looked.text.shows(&value) && has_tag(image) {
                looked.answered.push(value.clone());
                let site = self.site(looked, &value, true, None, world).map(|mut site| {
                    if !is_set {
                        site.doubt_image(image);
                    }
                    site
                });
                self.sites.extend(site);
            }
        }
        let goes_on = text.trim_end().ends_with('\\');
        self.place.command = (goes_on || is_item).then_some((command, item.filter(|_| !goes_on)));
    }

    fn evaluated(&self, looked: &Looked<'_, 'a>, range: &Range<usize>, world: &mut World<'a>) -> Option<String> {
        let pieces = looked.text.cut(range);
        if self.is_set(looked.line, &pieces) || turns(&pieces) {
            return None;
        }
        let text = looked.line.view.as_ref().and_then(|view| world.text(&pieces, view, &self.variables));
        text.map(|text| unquoted(&text).to_owned())
    }

    /// Whether a template changes what these pieces of a line mention. What the dot
    /// is made of is seen in it, and nowhere else.
    fn is_set(&self, line: &Line<'a>, pieces: &[Piece]) -> bool {
        let links = |dot: &BTreeSet<String>| {
            let mut links = Links::new(self.helpers);
            links.pieces(pieces, &self.links, dot);
            links.found
        };
        let all = links(&line.dot_links);
        let is_changed = self.is_changed(&all, &[pieces]);
        if !is_changed || line.made_of.is_empty() {
            return is_changed;
        }
        self.is_changed(&all, &[pieces, &line.made_of]) || self.is_changed(&links(&BTreeSet::new()), &[pieces])
    }

    /// What stands there as a site; none where it is nothing at all.
    pub(super) fn site(
        &self,
        looked: &Looked<'_, 'a>,
        range: &Range<usize>,
        is_sure: bool,
        key: Option<&str>,
        world: &mut World<'a>,
    ) -> Option<Written> {
        let value = looked.text.cut(range);
        let mut links = Links::new(self.helpers);
        links.pieces(&value, &self.links, &looked.line.dot_links);
        let is_literal = value.iter().all(|piece| matches!(piece.kind, Kind::Text(_)));
        let text = self.evaluated(looked, range, world);
        if text.as_ref().is_some_and(|text| text.is_empty() || self.is_seen(text)) {
            return None;
        }
        let text = text.map(|text| text.trim_end_matches([',', '}', ']', ' ']).to_owned());
        let written = self.written(looked.line.number, key);
        Some(self.at(
            looked.line,
            Site {
                file: self.source.file,
                line: looked.line.number,
                written,
                text,
                is_literal,
                is_sure,
                is_apart: looked.line.is_apart,
                links: links.found,
            },
        ))
    }

    pub(super) fn at(&self, line: &Line<'a>, mut site: Site) -> Written {
        site.line = site.line.saturating_add(self.source.line.saturating_sub(1));
        Written { site, document: self.place.document, branches: line.branches.clone() }
    }

    /// `*anchor` of a value that an image has and is told by itself.
    fn is_seen(&self, text: &str) -> bool {
        let anchor = text.strip_prefix('*').map(|name| format!("&{name}"));
        let has_both = |anchor: &String| {
            let mut words = self.lines.iter().filter(|line| line.to_ascii_lowercase().contains("image"));
            words.any(|line| line.split_whitespace().any(|word| word == anchor))
        };
        anchor.as_ref().is_some_and(has_both)
    }

    /// The value as it stands in the file.
    fn written(&self, number: u32, key: Option<&str>) -> String {
        let line = self.lines.get(number.saturating_sub(1) as usize).map_or("", |line| line.trim());
        let line = line.trim_start_matches("- ");
        let behind =
            key.and_then(|key| line.split_once(key)).map(|(_, rest)| rest.trim_start_matches(['"', '\'', ' ']));
        let behind = behind.and_then(|rest| rest.strip_prefix([':', '=']));
        let value = behind.or_else(|| Some(line.split_once(": ")?.1)).unwrap_or(line);
        let value = unquoted(value.trim());
        match value.char_indices().nth(200) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value.to_owned(),
        }
    }
}

/// Whether an `else` of what began before them is among the pieces: which side is
/// printed, they do not say.
fn turns(pieces: &[Piece]) -> bool {
    super::own_else(pieces)
}

fn is_of_image(name: &str) -> bool {
    name.to_ascii_uppercase().contains("IMAGE")
}

/// `--image-pull-policy` and its like.
fn is_setting(flag: &str) -> bool {
    let flag = flag.to_ascii_lowercase();
    ["pull", "secret", "policy", "gc-", "credential"].iter().any(|word| flag.contains(word))
}

/// `--sidecar-image-repository=ex.com/side` has a tag elsewhere, which nobody knows.
fn as_argument(mut written: Written, flag: &str) -> Written {
    let text = written.site.text.as_deref().unwrap_or_default();
    if ends_in_image(flag) && text.contains('/') && !text.contains("://") && !has_tag(text) {
        (written.site.is_sure, written.site.is_literal) = (true, false);
    }
    written
}

/// Whether a text of the actions is an option that names an image.
fn says_option(pieces: &[Piece]) -> bool {
    let texts = pieces.iter().flat_map(texts);
    let flags = texts.filter_map(|text| flag(&text, 0).map(|range| text[range].to_owned()));
    flags.into_iter().any(|flag| is_flag_of_image(&flag) && !is_setting(&flag))
}

/// The values of an option that ends here: `=x:1,y:2`, or the next word.
fn values_of(text: &str, end: usize) -> Vec<Range<usize>> {
    let rest = &text[end..];
    let start = match rest.strip_prefix('=') {
        Some(_) => end + 1,
        None => end + rest.len() - rest.trim_start_matches(['"', '\'', ',', ' ', '\t']).len(),
    };
    let value = text[start..].trim_start_matches(['"', '\'']);
    let start = text.len() - value.len();
    let length =
        value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ']' | '}' | ')' | ';' | '\\'));
    let value = &value[..length.unwrap_or(value.len())];
    if start == end || value.is_empty() || value.starts_with(['-', '#']) {
        return Vec::new();
    }
    let mut at = start;
    let ranges = value.split(',').map(|one| {
        let range = at..at + one.len();
        at += one.len() + 1;
        range
    });
    ranges.filter(|range| !range.is_empty()).collect()
}
