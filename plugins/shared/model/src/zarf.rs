//! zarf.yaml as typed data and as text, and the few rules about names, times
//! and repositories that go with it.
//!
//! A definition is one thing with two forms. The types of [`alpha`] are the
//! form `zarf.dev/v1alpha1`, and what the rest of the program works on; those of
//! [`beta`] are the form `zarf.dev/v1beta1`. [`convert`] makes one of the other
//! as Zarf does, and says what the other form cannot hold. [`documents`] reads
//! a file that may hold both, [`differences`] tells whether they say the same, and
//! [`text`] writes one.

pub mod alpha;
pub mod beta;
pub mod convert;
mod differences;
pub mod documents;
pub mod text;

use jiff::Timestamp;

pub use alpha::{
    Action, ActionSet, Actions, Build, Chart, Component, DataInjection, Definition, File, Manifest, Metadata, Only,
};
pub use differences::differences;
pub use text::to_text;

/// `apiVersion` of a document that [`alpha`] reads.
pub const API_VERSION: &str = "zarf.dev/v1alpha1";
/// `apiVersion` of a document that [`beta`] reads.
pub const BETA_VERSION: &str = "zarf.dev/v1beta1";
/// `kind` of a package that is not that of `zarf init`.
pub const KIND: &str = "ZarfPackageConfig";
/// The Zarf release whose package format this is.
pub const FORMAT_VERSION: &str = "v0.84.0";

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

/// A chart's name as a component's: lowercase letters, digits and dashes.
pub fn component_of(chart: &str) -> String {
    let name: String =
        chart.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "chart".to_owned() } else { name.to_owned() }
}

/// A chart's name as a release's, which starts with a letter.
pub fn release_of(chart: &str) -> String {
    if is_release_name(chart) {
        return chart.to_owned();
    }
    let name = component_of(chart);
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("chart-{name}") }
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

/// Whether a file is called as a package is, and not as what lies beside one.
pub fn is_package_file(name: &str) -> bool {
    let is_archive = name.ends_with(".tar.zst") || name.ends_with(".tar");
    name.starts_with("zarf-package-") && is_archive && !name.ends_with(".spdx.tar")
}

/// A repository of a component, taken apart as Zarf does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUrl<'a> {
    /// Without `.git`.
    pub name: &'a str,
    /// What stands behind the `@`; None where there is none.
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

    /// The folder of a repository in a component: `<name>-<crc32>`, the CRC-32
    /// (IEEE) of the whole URL in decimal. None where Zarf cannot name it.
    pub fn folder(url: &str) -> Option<String> {
        RepositoryUrl::parse(url).map(|parsed| format!("{}-{}", parsed.name, crc32fast::hash(url.as_bytes())))
    }
}

/// Seconds since 1970 as `Fri, 21 Aug 2026 19:22:26 +0000`; what no calendar
/// has a date for counts as 1970.
pub fn rfc1123(epoch: u64) -> String {
    time(epoch).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Seconds since 1970 as `2026-08-21T19:22:26Z`, likewise.
pub fn rfc3339(epoch: u64) -> String {
    time(epoch).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn time(epoch: u64) -> Timestamp {
    i64::try_from(epoch).ok().and_then(|epoch| Timestamp::from_second(epoch).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(rfc1123(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc1123(1_787_340_146), "Fri, 21 Aug 2026 19:22:26 +0000");
        assert_eq!(rfc3339(1_709_164_800), "2024-02-29T00:00:00Z");
        assert_eq!(rfc3339(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn what_lies_beside_a_package_is_none() {
        for name in ["zarf-package-a-amd64-1.0.tar.zst", "zarf-package-a-amd64.tar"] {
            assert!(is_package_file(name), "{name}");
            for beside in [".sha256", ".manifest.json", ".intoto.json", ".spdx.json", ".spdx.tar"] {
                assert!(!is_package_file(&format!("{name}{beside}")), "{name}{beside}");
            }
        }
        assert!(!is_package_file("other.tar"));
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
        assert_eq!(RepositoryUrl::folder("https://github.com/zarf-dev/zarf.git").unwrap(), "zarf-3457133088");
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
