//! The index of an HTTP chart repository.
//!
//! Such an index may have 20 MB and describe hundreds of charts in thousands
//! of versions; one chart is wanted. [`read`] goes through the text once,
//! line by line, keeps the lines of the wanted chart and the names of the
//! others, and parses only what it kept. JSON, which is YAML too, streams
//! through serde_json. What is written in a way that lines do not tell (flow
//! style at the top, anchors across charts) is read again and parsed whole, up
//! to a bound.

use std::fmt;
use std::io::{self, BufRead, Read};

use image_finder::yaml::{self, Node};
use model::problem::shown;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Of the whole index.
const INDEX_LIMIT: u64 = 256 << 20;
/// Of the lines of one chart.
const BLOCK_LIMIT: usize = 32 << 20;
/// Of an index that has to be parsed whole.
const WHOLE_LIMIT: usize = 16 << 20;
/// Names of other charts that are kept, to suggest one.
const NAMES_LIMIT: usize = 100_000;

/// One row of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartVersion {
    /// As the index writes it.
    pub version: String,
    /// Absolute, or relative to the repository.
    pub urls: Vec<String>,
    /// SHA-256 of the archive, where the index has one.
    pub digest: Option<String>,
}

/// What the index says about one chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every version that it lists, in its order.
    Chart(Vec<ChartVersion>),
    /// The names that are there instead.
    NoSuchChart(Vec<String>),
}

/// Reads an index for the chart `name`; `open` opens it from the start.
///
/// # Errors
/// Where the text is no index, or larger than the bounds; a fragment.
pub fn read<R: Read>(open: impl Fn() -> Result<R, String>, name: &str) -> Result<Answer, String> {
    let opened = || Ok::<_, String>(io::BufReader::with_capacity(64 << 10, open()?.take(INDEX_LIMIT)));
    let mut source = opened()?;
    if first_byte(&mut source)? == Some(b'{') {
        return read_json(source, name);
    }
    match scan(&mut source, name)? {
        Scan::Chart(block) => match yaml::parse(&block) {
            Ok(root) => Ok(Answer::Chart(entries_of(root.get(name)))),
            // Its lines may lean on those of another chart.
            Err(error) => {
                read_whole(opened()?, name).map_err(|_| format!("the entry `{name}` of the index is not YAML: {error}"))
            }
        },
        Scan::Names(names) => Ok(Answer::NoSuchChart(names)),
        Scan::Whole => read_whole(opened()?, name),
    }
}

fn first_byte(source: &mut impl BufRead) -> Result<Option<u8>, String> {
    loop {
        let buffer = source.fill_buf().map_err(|error| error.to_string())?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || [0xef, 0xbb, 0xbf].contains(byte);
        let skipped = buffer.iter().take_while(|byte| is_space(byte)).count();
        // Leading space means nothing before a brace; before YAML there is
        // none.
        match buffer.get(skipped) {
            Some(byte) => {
                let byte = *byte;
                if byte == b'{' {
                    source.consume(skipped);
                }
                return Ok(Some(byte));
            }
            None => source.consume(skipped),
        }
    }
}

enum Scan {
    /// The lines of the chart, beginning with its key.
    Chart(String),
    Names(Vec<String>),
    /// The lines do not tell.
    Whole,
}

/// Where the scan is.
#[derive(PartialEq, Eq)]
enum At {
    /// Before `entries:`.
    Head,
    /// Below `entries:`, whose children are indented by this.
    Entries(Option<usize>),
    /// After the entries.
    Tail,
}

fn scan(source: &mut impl BufRead, name: &str) -> Result<Scan, String> {
    let mut line = Vec::new();
    let mut at = At::Head;
    let mut names = Vec::new();
    let mut block = String::new();
    let mut inside = false;
    while next_line(source, &mut line)? {
        let text = str::from_utf8(&line).map_err(|_| "the index is not UTF-8".to_owned())?;
        let content = text.trim_start_matches(' ');
        let indent = text.len() - content.len();
        let blank = content.trim().is_empty() || (content.starts_with('#') && !inside);
        if at == At::Head {
            let key = key_of(text.trim_start_matches('\u{feff}')).filter(|_| indent == 0 && !blank);
            let Some(("entries", value)) = key else { continue };
            if !(value.is_empty() || value.starts_with('#')) {
                return Ok(Scan::Whole);
            }
            at = At::Entries(None);
            continue;
        }
        let At::Entries(children) = &mut at else { continue };
        if blank {
            if inside {
                block.push('\n');
            }
            continue;
        }
        if indent == 0 && !content.starts_with('-') {
            at = At::Tail;
            inside = false;
            continue;
        }
        let children = *children.get_or_insert(indent);
        // At the depth of the names, a dash continues the list of the name
        // above it.
        if indent <= children && !content.starts_with("- ") && content.trim_end() != "-" {
            let (key, _) =
                key_of(content).ok_or_else(|| format!("the index has an unreadable line: `{}`", shown(text)))?;
            inside = key == name;
            if !inside && names.len() < NAMES_LIMIT {
                names.push(key.to_owned());
            }
        }
        if inside {
            if block.len() + text.len() > BLOCK_LIMIT {
                return Err(format!("the entry `{name}` of the index is larger than {} MiB", BLOCK_LIMIT >> 20));
            }
            block.push_str(text);
            block.push('\n');
        }
    }
    match at {
        At::Head => Err("it has no `entries`, so it is no index of a chart repository".to_owned()),
        _ if block.trim().is_empty() => Ok(Scan::Names(names)),
        _ => Ok(Scan::Chart(block)),
    }
}

fn read_whole(source: impl Read, name: &str) -> Result<Answer, String> {
    let mut text = String::new();
    source.take(WHOLE_LIMIT as u64 + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() > WHOLE_LIMIT {
        return Err(format!("it is written in flow style and larger than {} MiB", WHOLE_LIMIT >> 20));
    }
    let root = yaml::parse(&text).map_err(|error| format!("it is not YAML: {error}"))?;
    let entries = root.get("entries").map_or(&[][..], Node::entries);
    Ok(match entries.iter().find(|(key, _)| key == name) {
        Some((_, entry)) => Answer::Chart(entries_of(Some(entry))),
        None => Answer::NoSuchChart(entries.iter().map(|(key, _)| key.clone()).collect()),
    })
}

/// False at the end. The line break is removed; a line has a bound.
fn next_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    let limit = BLOCK_LIMIT as u64;
    let read = source.by_ref().take(limit).read_until(b'\n', line).map_err(|error| error.to_string())?;
    if read as u64 == limit {
        return Err(format!("a line of the index is longer than {} MiB", BLOCK_LIMIT >> 20));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(read > 0)
}

/// The key of `name: value`, `"name": value` or `'name': value`, and the value.
fn key_of(content: &str) -> Option<(&str, &str)> {
    let quote = content.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (key, rest) = match quote {
        Some(quote) => content[1..].split_once(quote)?,
        None => {
            let end = content.find(": ").or_else(|| content.trim_end().strip_suffix(':').map(str::len))?;
            (&content[..end], &content[end..])
        }
    };
    Some((key.trim(), rest.trim_start().strip_prefix(':')?.trim()))
}

fn entries_of(list: Option<&Node>) -> Vec<ChartVersion> {
    let items = list.map_or(&[][..], Node::items);
    items
        .iter()
        .filter_map(|item| {
            let urls = item.get("urls").map_or(&[][..], Node::items);
            Some(ChartVersion {
                version: item.text_of("version")?.to_owned(),
                urls: urls.iter().filter_map(Node::text).map(str::to_owned).collect(),
                digest: item.text_of("digest").map(str::to_owned),
            })
        })
        .collect()
}

/// Streams through JSON and keeps only the wanted chart.
fn read_json(source: impl Read, name: &str) -> Result<Answer, String> {
    let mut deserializer = serde_json::Deserializer::from_reader(source);
    let mut wanted = ChartQuery { name, answer: None, names: Vec::new() };
    deserializer.deserialize_map(Top(&mut wanted)).map_err(|error| format!("it is not JSON: {error}"))?;
    match wanted.answer {
        Some(value) => Ok(Answer::Chart(json_entries(&value))),
        None => Ok(Answer::NoSuchChart(wanted.names)),
    }
}

fn json_entries(value: &Value) -> Vec<ChartVersion> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .filter_map(|item| {
            let urls = item.get("urls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Some(ChartVersion {
                version: text(item.get("version"))?,
                urls: urls.iter().filter_map(|url| text(Some(url))).collect(),
                digest: text(item.get("digest")).filter(|digest| !digest.is_empty()),
            })
        })
        .collect()
}

struct ChartQuery<'a> {
    name: &'a str,
    answer: Option<Value>,
    names: Vec<String>,
}

/// The document: only `entries` counts.
struct Top<'a, 'b>(&'a mut ChartQuery<'b>);

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index of a chart repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "entries" {
                map.next_value_seed(Entries(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The value of `entries`.
struct Entries<'a, 'b>(&'a mut ChartQuery<'b>);

impl<'de> serde::de::DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("charts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0.name {
                self.0.answer = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                if self.0.names.len() < NAMES_LIMIT {
                    self.0.names.push(key);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: &str, urls: &[&str], digest: Option<&str>) -> ChartVersion {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        ChartVersion { version: version.into(), urls, digest: digest.map(Into::into) }
    }

    fn read_text(text: &str, name: &str) -> Result<Answer, String> {
        read(|| Ok(text.as_bytes()), name)
    }

    fn chart(text: &str, name: &str) -> Vec<ChartVersion> {
        match read_text(text, name).unwrap() {
            Answer::Chart(entries) => entries,
            Answer::NoSuchChart(names) => panic!("no {name}, but {names:?}"),
        }
    }

    /// As `helm repo index` and chart-releaser write it.
    const HELM: &str = r#"apiVersion: v1
entries:
  alpha:
  - apiVersion: v2
    appVersion: 1.16.0
    created: "2024-05-01T10:00:00.000000000Z"
    description: |
      A chart with a description of many lines:

        beta:
      - not an entry
    digest: 1111111111111111111111111111111111111111111111111111111111111111
    name: alpha
    urls:
    - https://github.com/org/repo/releases/download/alpha-1.1.0/alpha-1.1.0.tgz
    version: 1.1.0
  - apiVersion: v2
    description: "quoted, and
      continued: on the next line"
    name: alpha
    urls:
    - charts/alpha-1.0.0.tgz
    version: 1.0.0
  beta:
  - annotations:
      artifacthub.io/changes: |
        - kind: added
          description: something
      artifacthub.io/images: |
        - name: x
          image: quay.io/x:1
    name: beta
    urls: [beta-2.0.0.tgz, "https://mirror.example/beta-2.0.0.tgz"]
    version: "2.0.0"
generated: "2024-05-01T10:00:00Z"
"#;

    #[test]
    fn the_style_of_helm() {
        let alpha = chart(HELM, "alpha");
        let url = "https://github.com/org/repo/releases/download/alpha-1.1.0/alpha-1.1.0.tgz";
        assert_eq!(
            alpha,
            [entry("1.1.0", &[url], Some(&"1".repeat(64))), entry("1.0.0", &["charts/alpha-1.0.0.tgz"], None)]
        );
        assert_eq!(
            chart(HELM, "beta"),
            [entry("2.0.0", &["beta-2.0.0.tgz", "https://mirror.example/beta-2.0.0.tgz"], None)]
        );
    }

    #[test]
    fn other_styles_say_the_same() {
        let expected = [entry("1.0.0", &["a.tgz"], Some("d"))];
        for text in [
            "---\n# made by hand\napiVersion: v1\nentries:\n    \"a\":\n        - version: 1.0.0\n          urls:\n              - a.tgz\n          digest: d\n    b:\n        - version: 2.0.0\n",
            "entries:\r\n  'a':\r\n  - version: 1.0.0\r\n    urls:\r\n    - a.tgz\r\n    digest: d\r\n",
            "\u{feff}entries:\n\n  # comment\n  b: []\n  a:   # comment\n  -\n    version: 1.0.0\n\n    urls: [a.tgz]\n    digest: d\ngenerated: now\n",
            "entries: {a: [{version: 1.0.0, urls: [a.tgz], digest: d}], b: []}\n",
            "entries:\n  b: [{version: 2}]\n  a: [{version: 1.0.0, urls: [a.tgz], digest: d}]\n",
            "  {\"apiVersion\": \"v1\", \"entries\": {\"b\": [], \"a\": [{\"version\": \"1.0.0\", \"urls\": [\"a.tgz\"], \"digest\": \"d\"}]}}",
            "generated: x\nentries:\n a:\n - version: 1.0.0\n   urls: [a.tgz]\n   digest: d\n",
            "\"apiVersion\": v1\n\"entries\":\n  \"a\":\n  - version: 1.0.0\n    urls: [a.tgz]\n    digest: d\n",
            "'entries': # all\n  a:\n  - {version: 1.0.0, urls: [a.tgz], digest: d}\n",
            "entries:\n  b:\n  - &first\n    version: 1.0.0\n    urls: &urls [a.tgz]\n    digest: d\n  a:\n  - {version: 1.0.0, urls: *urls, digest: d}\n",
            "entries:\n  b: &b\n  - {version: 1.0.0, urls: [a.tgz], digest: d}\n  a: *b\n",
            "common: &common {urls: [a.tgz], digest: d}\nentries:\n  a:\n  - <<: *common\n    version: 1.0.0\n",
        ] {
            assert_eq!(chart(text, "a"), expected, "{text}");
        }
    }

    #[test]
    fn a_chart_that_is_not_there_lists_what_is() {
        let names = vec!["alpha".to_owned(), "beta".to_owned()];
        assert_eq!(read_text(HELM, "gamma"), Ok(Answer::NoSuchChart(names.clone())));
        let json = "{\"entries\": {\"alpha\": [], \"beta\": []}}";
        assert_eq!(read_text(json, "gamma"), Ok(Answer::NoSuchChart(names)));
    }

    #[test]
    fn what_is_no_index_is_named() {
        for (text, word) in [
            ("<html><body>Sign in</body></html>", "no `entries`"),
            ("", "no `entries`"),
            ("{\"entries\": [", "JSON"),
            ("entries:\n  a:\n  - version: [\n", "not YAML"),
        ] {
            assert!(read_text(text, "a").unwrap_err().contains(word), "{text}");
        }
    }

    /// 20 MB of other charts cost a scan, not a parse.
    #[test]
    fn a_large_index_is_read_line_by_line() {
        let mut text = "apiVersion: v1\nentries:\n".to_owned();
        while text.len() < 20 << 20 {
            let at = text.len();
            text.push_str(&format!("  chart-{at}:\n"));
            for version in 0..50 {
                text.push_str(&format!(
                    "  - name: chart-{at}\n    version: 1.{version}.0\n    description: \"words and more words\"\n    urls:\n    - https://h/c-{version}.tgz\n"
                ));
            }
        }
        text.push_str("  wanted:\n  - version: 9.9.9\n    urls: [w.tgz]\n");
        assert_eq!(chart(&text, "wanted"), [entry("9.9.9", &["w.tgz"], None)]);
    }
}
