//! zarf.yaml (`zarf.dev/v1alpha1`) as typed data and as text, and the few
//! rules about names, times and repositories that go with it.
//!
//! The types are the part of the schema that decides what lies in a package;
//! readers ignore the rest, writers that must keep it work on the YAML value.
//! Every string is written in double quotes: Zarf reads an unquoted number as
//! a number first, and `1.10` would come back as `1.1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::yaml_text::quoted;

pub const API_VERSION: &str = "zarf.dev/v1alpha1";
pub const KIND: &str = "ZarfPackageConfig";
/// The Zarf release whose package format this is.
pub const FORMAT_VERSION: &str = "v0.84.0";

/// A package definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default)]
    pub components: Vec<Component>,
    /// Documents that go along, by name; nothing is deployed from them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documentation: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncompressed: bool,
}

/// What is deployed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Manifest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_injections: Vec<DataInjection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_archives: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<String>,
}

/// Where a component applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flavor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<OnlyCluster>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlyCluster {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kustomizations: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub local_path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templated_values_files: Vec<String>,
}

impl Chart {
    /// The name of the chart's file in a package, without `.tgz`.
    pub fn stem(&self) -> String {
        if self.version.is_empty() { self.name.clone() } else { format!("{}-{}", self.name, self.version) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    pub source: String,
    /// 64 lowercase hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shasum: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extract_path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataInjection {
    pub source: String,
    pub target: DataTarget,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataTarget {
    pub path: String,
}

/// The last component of a target, as Go's `filepath.Base` gives it.
pub fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// `^[a-z0-9][a-z0-9-]*$`: what Zarf accepts as the name of a package.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-')
}

/// A DNS-1035 label: what Helm accepts as the name of a release.
pub fn is_release_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Why Zarf's extractor would refuse a path of an archive, or a reader of
/// checksums.txt would trip over it; None for a path that is fine.
pub fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.starts_with('/') {
        return Some("is empty or absolute");
    }
    path.split('/').find_map(|component| match component {
        "" | "." | ".." => Some("has an empty, `.` or `..` part"),
        part if part.contains(['\\', ':', ' ']) || part.chars().any(char::is_control) => {
            Some("holds a backslash, a colon, a space or a control character")
        }
        part if part.ends_with('.') => Some("has a part that ends in a dot"),
        part if is_device_name(part) => Some("has a part that is a Windows device name"),
        part if part.len() > 255 => Some("has a part longer than 255 bytes"),
        _ => None,
    })
}

/// CON, PRN, AUX, NUL, COM0-9 and LPT0-9 in any case, with any extension.
fn is_device_name(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || port.is_some_and(|port| port.len() == 1 && port.starts_with(|c: char| c.is_ascii_digit()))
}

/// The name of the package's file.
pub fn package_file_name(metadata: &Metadata) -> String {
    let Metadata { name, architecture, version, .. } = metadata;
    let version = if version.is_empty() { String::new() } else { format!("-{version}") };
    let extension = if metadata.uncompressed { "tar" } else { "tar.zst" };
    format!("zarf-package-{name}-{architecture}{version}.{extension}")
}

/// A repository of a component, taken apart as Zarf does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUrl<'a> {
    /// Without `.git`.
    pub name: &'a str,
    pub reference: Option<&'a str>,
}

impl<'a> RepositoryUrl<'a> {
    /// `scheme://host/path/name[.git][@ref]`; None for anything else.
    pub fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_lowercase()) {
            return None;
        }
        // The first slash behind which everything fits ends the host's part.
        rest.match_indices('/').filter(|(at, _)| *at > 0).find_map(|(at, _)| Self::tail(&rest[at + 1..]))
    }

    fn tail(text: &'a str) -> Option<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let (name, reference) = match text.split_once('@') {
            Some((name, reference)) => (name, Some(reference.strip_prefix('+').unwrap_or(reference))),
            None => (text, None),
        };
        let name = name.strip_suffix(".git").filter(|name| !name.is_empty()).unwrap_or(name);
        let fits = !name.is_empty()
            && name.chars().all(word)
            && reference.is_none_or(|r| !r.is_empty() && r.chars().all(|c| word(c) || matches!(c, '/' | '+')));
        fits.then_some(Self { name, reference })
    }

    /// The folder of the repository in a component: `<name>-<crc32>`, where
    /// `crc` is the CRC-32 (IEEE) of the whole URL.
    pub fn folder(&self, crc: u32) -> String {
        format!("{}-{crc}", self.name)
    }
}

/// Seconds since 1970 as `Fri, 21 Aug 2026 19:22:26 +0000`.
pub fn rfc1123(epoch: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = date(epoch / 86_400);
    let weekday = DAYS[(epoch / 86_400 % 7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {month} {year:04} {} +0000", time(epoch))
}

/// Seconds since 1970 as `2026-08-21T19:22:26Z`.
pub fn rfc3339(epoch: u64) -> String {
    let (year, month, day) = date(epoch / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time(epoch))
}

fn time(epoch: u64) -> String {
    format!("{:02}:{:02}:{:02}", epoch / 3600 % 24, epoch / 60 % 60, epoch % 60)
}

/// Year, month and day of a day since 1970, by the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from March of year 0, so that the leap day ends a year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The value as block-style YAML with every string in double quotes.
///
/// # Errors
/// A value that cannot be YAML: a mapping whose keys are not strings.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    let value = serde_yaml::to_value(value)?;
    let mut text = String::new();
    block(&value, 0, &mut text)?;
    Ok(text)
}

fn block(value: &Value, indent: usize, text: &mut String) -> Result<(), serde_yaml::Error> {
    match value {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (key, value) in mapping {
                let Value::String(key) = key else {
                    return Err(serde::ser::Error::custom("a key of the definition is not a string"));
                };
                text.push_str(&" ".repeat(indent));
                text.push_str(&key_text(key));
                text.push(':');
                if is_block(value) {
                    text.push('\n');
                    block(value, indent + 2, text)?;
                } else {
                    text.push(' ');
                    block(value, 0, text)?;
                }
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                let start = text.len();
                block(item, if is_block(item) { indent + 2 } else { 0 }, text)?;
                // The dash takes the place of the first line's indentation.
                let first = if is_block(item) { start + indent + 2 } else { start };
                text.replace_range(start..first, &format!("{}- ", " ".repeat(indent)));
            }
        }
        scalar => {
            text.push_str(&scalar_text(scalar)?);
            text.push('\n');
        }
    }
    Ok(())
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Mapping(mapping) => !mapping.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar_text(value: &Value) -> Result<String, serde_yaml::Error> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Sequence(_) => "[]".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Tagged(_) => return Err(serde::ser::Error::custom("the definition holds a YAML tag")),
    })
}

/// Plain for the names of the schema, quoted for anything else.
fn key_text(key: &str) -> String {
    let word = !matches!(
        key.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    if word && plain { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_the_same_value_with_every_string_quoted() {
        let source = "a: x\nempty: []\nnone: {}\nn: 1\nb: true\nnothing: null\nlist:\n- one\n- k: v\n  l:\n  - [1, [2]]\n  - {}\n\
                      'odd key': 'line\n\n  two'\nyes: '1.10'\n";
        let value: Value = serde_yaml::from_str(source).unwrap();
        let text = to_text(&value).unwrap();
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(text.contains("a: \"x\"\n") && text.contains("\"yes\": \"1.10\"\n"), "{text}");
        assert!(text.contains("list:\n  - \"one\"\n  - k: \"v\"\n    l:\n"), "{text}");
        assert!(text.contains("\n\"n\": 1\n"), "{text}");
    }

    #[test]
    fn a_definition_reads_what_it_wrote_and_ignores_what_it_does_not_know() {
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1.10', authors: me}\ncomponents:\n\
                    - name: a\n  required: true\n  actions: {onDeploy: {}}\n  charts: [{name: c, version: '1.0', localPath: x}]\n";
        let definition: Definition = serde_yaml::from_str(text).unwrap();
        assert_eq!(definition.metadata.version, "1.10");
        assert_eq!(definition.components[0].charts[0].stem(), "c-1.0");
        let again: Definition = serde_yaml::from_str(&to_text(&definition).unwrap()).unwrap();
        assert_eq!(again, definition);
    }

    #[test]
    fn duplicate_keys_are_refused() {
        let twice = "kind: x\nmetadata: {name: x}\nmetadata: {name: y}\n";
        assert!(serde_yaml::from_str::<Value>(twice).is_err());
        assert!(serde_yaml::from_str::<Definition>(twice).is_err());
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(rfc1123(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc1123(1_787_340_146), "Fri, 21 Aug 2026 19:22:26 +0000");
        assert_eq!(rfc3339(1_709_164_800), "2024-02-29T00:00:00Z");
        assert_eq!(rfc3339(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn repositories_are_taken_apart_as_zarf_does() {
        for (url, name, reference) in [
            ("https://github.com/zarf-dev/zarf.git", "zarf", None),
            ("https://github.com/zarf-dev/zarf.git@refs/tags/v0.16.0", "zarf", Some("refs/tags/v0.16.0")),
            ("ssh://ghcr.io/stefanprodan/podinfo@6.0.0", "podinfo", Some("6.0.0")),
            ("ssh://git@example.com/a/b.c", "b.c", None),
            ("https://example.com:8443/x/y@+main", "y", Some("main")),
        ] {
            assert_eq!(RepositoryUrl::parse(url), Some(RepositoryUrl { name, reference }), "{url}");
        }
        for bad in ["github.com/a/b", "https://host", "https://host/a b", "https://host/a@"] {
            assert_eq!(RepositoryUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_that_zarf_would_refuse_are_known() {
        for good in ["a", "web/files/0/tool", "..a/b", "com10", ".git/HEAD"] {
            assert_eq!(path_problem(good), None, "{good}");
        }
        for bad in ["", "/a", "a//b", "../a", "a b", "a:b", "a\\b", "a.", "src/aux.c", "Com1", "a/nul"] {
            assert!(path_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn names_are_those_that_zarf_and_helm_accept() {
        assert!(is_name("a-1") && is_name("0a") && !is_name("-a") && !is_name("A") && !is_name(""));
        assert!(is_release_name("a-1") && !is_release_name("1a") && !is_release_name("a-") && !is_release_name(""));
        assert_eq!(base_name("/usr/local/bin/"), "bin");
        assert_eq!(base_name("###ZARF_TEMP###/x"), "x");
        let metadata =
            Metadata { name: "p".into(), version: "1".into(), architecture: "amd64".into(), ..Metadata::default() };
        assert_eq!(package_file_name(&metadata), "zarf-package-p-amd64-1.tar.zst");
    }
}
