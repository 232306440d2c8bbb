//! plugins.lock: which plugins beside the core ones may run, byte for byte,
//! and what each of them may do.
//!
//! ```yaml
//! format: 1
//! plugins:
//!   sbom:
//!     path: plugins/sbom.wasm        # relative to the folder that holds config/
//!     sha256: 4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865
//!     version: 1.2.0                 # for people; the digest decides
//!     grants:
//!       fetch:                       # URL or registry prefixes
//!         - https://example.com/sboms/
//!         - registry.example.com/team/
//!       credentials:                 # hosts that may see the user's credentials
//!         - registry.example.com
//!       directories: false           # /in, /out and /work as directories
//! ```
//!
//! A pin with the name of a core plugin replaces it. A missing file means no
//! pins. A plugin grants itself nothing: `plugin add` and `plugin inspect` show
//! what it wants, what stands here counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use components::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use crate::config::source::Source;
use crate::config::span::Spans;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::plugin::grants::Rules;

/// Of the file's format.
pub const FORMAT: u32 = 1;

/// config/plugins.lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginsLock {
    pub format: u32,
    /// By plugin name, as `plugin:` of a step names it.
    #[serde(default)]
    pub plugins: BTreeMap<String, Pin>,
    /// What `path` of a pin is relative to.
    #[serde(skip)]
    root: PathBuf,
}

/// One pinned plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The component, relative to the folder that holds config/.
    pub path: PathBuf,
    /// Of the component's bytes.
    pub sha256: Digest,
    /// What the plugin calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
}

/// What the user lets one plugin do. Nothing, unless it stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// `https://host[:port]/path/` and `registry[:port]/repository/`; a host
    /// may begin with `*.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<String>,
    /// `host[:port]` to which the user's credentials may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// `/in` (read-only), `/out` and `/work` as directories.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub directories: bool,
}

impl Grants {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PluginsLock {
    /// Parses and checks the file. `root` is the folder that holds config/.
    ///
    /// # Errors
    /// `configuration` with file, line and column.
    pub fn parse(source: &Source, root: &Path) -> Result<Self> {
        let (mut lock, spans): (Self, Spans) = source.yaml()?;
        let mut problems = Vec::new();
        if lock.format != FORMAT {
            let message = format!("format {} is not one that this version reads, which is {FORMAT}", lock.format);
            let hint = "use the version of opencenter-airgap that wrote the file, or write it anew";
            problems.push(Problem::new(&YamlPath::root().key("format"), message, hint));
        }
        for (name, pin) in &lock.plugins {
            let place = YamlPath::root().key("plugins").key(name);
            let checks = [(check_name(name), &place), (Rules::new(&pin.grants).map(drop), &place.key("grants"))];
            problems.extend(checks.into_iter().filter_map(|(result, place)| {
                let error = result.err()?;
                Some(Problem::new(place, error.message(), error.hint_text().unwrap_or_default()))
            }));
        }
        source.refuse(&spans, &problems)?;
        lock.root = root.to_owned();
        Ok(lock)
    }

    /// The file's text: sorted, one way to write each thing.
    pub fn to_text(&self) -> String {
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// The text of the file with one pin more, or with a pin in place of the
    /// one of its name. A new pin is appended, so that comments stay; where that
    /// would not say the same, the file is written anew.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with_pin(source: Option<&Source>, root: &Path, name: &str, pin: Pin) -> Result<String> {
        let mut lock = match source {
            Some(source) => Self::parse(source, root)?,
            None => Self { format: FORMAT, root: root.to_owned(), ..Self::default() },
        };
        let block = Self { format: FORMAT, plugins: [(name.to_owned(), pin.clone())].into(), root: root.to_owned() };
        lock.plugins.insert(name.to_owned(), pin);
        let text = lock.to_text();
        let Some(source) = source else { return Self::parse_text(&text, root).map(|_| text) };
        let entry = block.to_text();
        let entry = entry.split_once("plugins:\n").map_or("", |(_, entry)| entry);
        let appended = format!("{}\n{entry}", source.text.trim_end());
        let says_the_same = Self::parse_text(&appended, root).is_ok_and(|found| found == lock);
        Ok(if says_the_same { appended } else { Self::parse_text(&text, root).map(|_| text)? })
    }

    fn parse_text(text: &str, root: &Path) -> Result<Self> {
        Self::parse(&Source::of("config/plugins.lock".into(), text.as_bytes().to_vec())?, root)
    }

    /// The pin of a name, and where its component lies.
    pub fn pin(&self, name: &str) -> Option<(&Pin, PathBuf)> {
        let pin = self.plugins.get(name)?;
        Some((pin, self.root.join(&pin.path)))
    }
}

/// Names appear in file names, logs and on the command line.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('-') {
        return Err(Error::configuration(format!("`{}` is not a plugin name", name.escape_default()))
            .hint("use up to 64 lowercase letters, digits and `-`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn parse(text: &str) -> Result<PluginsLock> {
        let source = Source::of("plugins.lock".into(), text.as_bytes().to_vec())?;
        PluginsLock::parse(&source, Path::new("/project"))
    }

    #[test]
    fn a_lock_survives_being_written_and_read() {
        let text = format!(
            "format: 1\nplugins:\n  sbom:\n    path: plugins/sbom.wasm\n    sha256: {HEX}\n    grants:\n      fetch: ['https://example.com/a/']\n"
        );
        let lock = parse(&text).unwrap();
        let (pin, path) = lock.pin("sbom").unwrap();
        assert_eq!((pin.sha256.hex().as_str(), path), (HEX, PathBuf::from("/project/plugins/sbom.wasm")));
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let error = parse(&format!("format: 1\nplugins:\n  sbom:\n    path: x\n    sha256: {HEX}\n    grant: {{}}\n"));
        let error = error.unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.message().starts_with("plugins.lock:6:"), "{error}");
        assert!(error.message().contains("unknown field `grant`"), "{error}");
        for (bad, says) in [
            ("format: 2\n".to_owned(), "format 2"),
            (format!("format: 1\nplugins:\n  Bad_Name:\n    path: x\n    sha256: {HEX}\n"), "Bad_Name"),
            ("format: 1\nplugins:\n  a:\n    path: x\n    sha256: abc\n".to_owned(), "is not a SHA-256"),
            (
                format!(
                    "format: 1\nplugins:\n  a:\n    path: x\n    sha256: {HEX}\n    grants: {{fetch: ['ftp://x/']}}\n"
                ),
                "plugins.lock:6:",
            ),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.one_line().contains(says), "{}", error.one_line());
        }
    }

    #[test]
    fn a_new_pin_is_appended_and_an_old_one_replaced() {
        let root = Path::new("/p");
        let pin = |path: &str, fetch: &[&str]| Pin {
            path: path.into(),
            sha256: Digest::of(path.as_bytes()),
            version: Some("1.0.0".into()),
            grants: Grants { fetch: fetch.iter().map(|&prefix| prefix.to_owned()).collect(), ..Grants::default() },
        };
        let source = |text: &str| Source::of("config/plugins.lock".into(), text.as_bytes().to_vec()).unwrap();
        let first = PluginsLock::with_pin(None, root, "one", pin("a.wasm", &[])).unwrap();
        let commented = format!("# ours\n{first}");
        let both =
            PluginsLock::with_pin(Some(&source(&commented)), root, "two", pin("b.wasm", &["https://h/"])).unwrap();
        assert!(both.starts_with(&commented), "{both}");
        let replaced = PluginsLock::with_pin(Some(&source(&both)), root, "one", pin("c.wasm", &[])).unwrap();
        let lock = PluginsLock::parse(&source(&replaced), root).unwrap();
        assert_eq!(lock.plugins["one"].path, Path::new("c.wasm"));
        assert_eq!(lock.plugins["two"].grants.fetch, ["https://h/"]);
        let error = PluginsLock::with_pin(None, root, "one", pin("a.wasm", &["nonsense://"])).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
    }
}
