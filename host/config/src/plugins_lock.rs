//! plugins.lock: which plugins beside the core ones may run, byte for byte,
//! and what each of them may do.
//!
//! ```yaml
//! format: 1
//! plugins:
//!   licences:
//!     path: plugins/licences.wasm        # relative to the folder that holds config/
//!     sha256: 4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865
//!     version: 1.2.0                 # for people; the digest decides
//!     source: oci://registry.example.com/team/licences:1.2.0   # who `plugin update` asks
//!     manifest: sha256:4355…         # of the component in that registry
//!     signature: {key: …, content: …, …}   # what `plugin add --key` found to hold
//!     limits:                        # below those of settings.yaml
//!       memory_mib: 64
//!     grants:
//!       fetch:                       # URL or registry prefixes
//!         - https://example.com/licences/
//!         - registry.example.com/team/
//!       credentials:                 # hosts that may see the user's credentials
//!         - registry.example.com
//!       directories: false           # /in, /out and /work as directories
//! ```
//!
//! A pin with the name of a core plugin takes its place, and decides what that
//! one decides. So it needs `replace_core: true`, which nothing else may have. A
//! missing file means no pins. A signature that stands here holds, or the file is
//! refused; whether it is by somebody who is trusted is another question, which
//! `security.plugin_keys` of the settings answers. A plugin grants itself nothing: `plugin add` and
//! `plugin inspect` show what it wants, what stands here counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use crate::core_plugins::{CORE, core};
use crate::limits::OwnLimits;
use crate::pin_signature::PinSignature;
use crate::pin_source::PinSource;
use crate::source::Source;
use base::digest::Digest;
use base::error::{Error, Result};
use disk::tree;
use entitlement::grants::{Grants, Rules};
use signing::PublicKey;

/// Of the file's format.
pub const FORMAT: u32 = 1;

/// config/plugins.lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginsLock {
    /// Of the file's format.
    pub format: u32,
    /// By plugin name, as `plugin:` of a step names it.
    #[serde(default)]
    pub plugins: BTreeMap<String, Pin>,
    /// What `path` of a pin is relative to.
    #[serde(skip)]
    root: PathBuf,
    /// The keys one of which must have signed every plugin; None where none has
    /// to.
    #[serde(skip)]
    required: Option<Vec<PublicKey>>,
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
    /// The address that it came from; missing where that was a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of the manifest that named it in a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Who signed it, with all that it takes to check that again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<PinSignature>,
    /// Its own limits, below those of settings.yaml.
    #[serde(default, skip_serializing_if = "OwnLimits::is_empty")]
    pub limits: OwnLimits,
    /// Whether it takes the place of the core plugin of its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace_core: bool,
    /// What the plugin may do. Nothing where it is missing.
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
}

impl PluginsLock {
    /// Parses and checks the file. `root` is the folder that holds config/.
    ///
    /// # Errors
    /// `configuration` with file, line and column.
    pub fn parse(source: &Source, root: &Path) -> Result<Self> {
        let (mut lock, _) = source.checked(None, Self::problems)?;
        lock.root = root.to_owned();
        Ok(lock)
    }

    fn problems(lock: &Self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if lock.format != FORMAT {
            let message = format!("format {} is not one that this version reads, which is {FORMAT}", lock.format);
            let hint = "use the version of opencenter-airgap that wrote the file, or write it anew";
            problems.push(Problem::new(&YamlPath::root().key("format"), message, hint));
        }
        for (name, pin) in &lock.plugins {
            let place = YamlPath::root().key("plugins").key(name);
            let checks = [
                (check_name(name), &place),
                (check_replacement(name, pin.replace_core), &place),
                (check_place(&pin.path), &place.key("path")),
                (
                    pin.source.as_deref().map_or(Ok(()), |source| PinSource::parse(source).map(drop)),
                    &place.key("source"),
                ),
                (check_signature(pin), &place.key("signature")),
                (Rules::new(&pin.grants).map(drop), &place.key("grants")),
            ];
            problems.extend(checks.into_iter().filter_map(|(result, place)| {
                let error = result.err()?;
                Some(Problem::new(place, error.message(), error.hint_text().unwrap_or_default()))
            }));
            problems.extend(OwnLimits::ALL.into_iter().filter_map(|limit| {
                let (message, hint) = limit.misfit(pin.limits.get(limit)?)?;
                Some(Problem::new(&place.key("limits").key(limit.key()), message, hint))
            }));
        }
        problems
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
        let block = Self {
            format: FORMAT,
            plugins: [(name.to_owned(), pin.clone())].into(),
            root: root.to_owned(),
            required: None,
        };
        lock.plugins.insert(name.to_owned(), pin);
        let text = lock.to_text();
        let Some(source) = source else { return Self::parse_text(&text, root).map(|_| text) };
        let entry = block.to_text();
        let entry = entry.split_once("plugins:\n").map_or("", |(_, entry)| entry);
        let appended = format!("{}\n{entry}", source.text.trim_end());
        let says_the_same = Self::parse_text(&appended, root).is_ok_and(|found| found == lock);
        Ok(if says_the_same { appended } else { Self::parse_text(&text, root).map(|_| text)? })
    }

    /// The text of the file without the pin of a name. It is written anew.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn without_pin(source: &Source, root: &Path, name: &str) -> Result<String> {
        let mut lock = Self::parse(source, root)?;
        lock.plugins.remove(name);
        Ok(lock.to_text())
    }

    fn parse_text(text: &str, root: &Path) -> Result<Self> {
        Self::parse(&Source::of("config/plugins.lock".into(), text.as_bytes().to_vec())?, root)
    }

    /// The names of the core plugins that pins replace.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().filter(|(_, pin)| pin.replace_core).map(|(name, _)| name.as_str())
    }

    /// Every plugin that is found here must be signed by one of these keys.
    pub fn require(&mut self, keys: Vec<PublicKey>) {
        self.required = Some(keys);
    }

    /// Whether a pin may run, as far as signatures go. That its signature holds
    /// was checked when the file was read.
    ///
    /// # Errors
    /// `configuration` where it must be signed and is not, or by somebody else.
    pub fn check_signer(&self, name: &str) -> Result<()> {
        let (Some(keys), Some(pin)) = (&self.required, self.plugins.get(name)) else { return Ok(()) };
        let wanted = "`security.require_signed_plugins` in config/settings.yaml wants the signature of a key in \
                      `security.plugin_keys`";
        let hint = || {
            let from = pin.source.clone().unwrap_or_else(|| pin.path.display().to_string());
            format!(
                "pin it with its signature: `opencenter-airgap plugin add {from} --name {name} --replace --key FILE`"
            )
        };
        let Some(signature) = &pin.signature else {
            return Err(Error::configuration(format!("the plugin `{name}` is not signed, and {wanted}")).hint(hint()));
        };
        match signature.key().is_ok_and(|key| keys.contains(&key)) {
            true => Ok(()),
            false => {
                let by = signature.signer();
                Err(Error::configuration(format!("the plugin `{name}` is signed by the key {by}, and {wanted}"))
                    .hint(hint()))
            }
        }
    }

    /// The pin of a name, and where its component lies.
    pub fn pin(&self, name: &str) -> Option<(&Pin, PathBuf)> {
        let pin = self.plugins.get(name)?;
        Some((pin, self.root.join(&pin.path)))
    }
}

/// Whether a pin of this name may stand there.
fn check_replacement(name: &str, replace_core: bool) -> Result<()> {
    match (core(name), replace_core) {
        (Some(decides), false) => {
            Err(Error::configuration(format!("this pin would replace the core plugin `{name}`, and decide {decides}"))
                .hint(format!(
                    "if that is meant, write `replace_core: true` below `{name}:`; give the pin another name otherwise"
                )))
        }
        (None, true) => Err(Error::configuration(format!("there is no core plugin `{name}` that could be replaced"))
            .hint("remove `replace_core`")),
        _ => Ok(()),
    }
}

/// A component lies in the project: it is carried with it, and `plugin update`
/// writes there.
fn check_place(path: &Path) -> Result<()> {
    let written = path.to_str().unwrap_or_default();
    tree::check_path(written).map_err(|error| {
        Error::configuration(format!("`{}` is no place for a component: {}", written.escape_debug(), error.message()))
            .hint("write a path below the folder that holds config/, for example `plugins/name.wasm`")
    })
}

/// A signature holds for what is pinned beside it, or it says nothing.
fn check_signature(pin: &Pin) -> Result<()> {
    let Some(signature) = &pin.signature else { return Ok(()) };
    let of_manifest = signature.manifest.as_ref().map(|manifest| Digest::of(manifest.as_bytes()));
    let verified = match (pin.manifest, of_manifest) {
        (Some(pinned), Some(signed)) if pinned != signed => Err(Error::integrity(format!(
            "the manifest that is signed has the digest {signed}, and `manifest` says {pinned}"
        ))),
        _ => signature.key().and_then(|key| signature.verify(&key, &pin.sha256)),
    };
    verified.map_err(|error| {
        Error::configuration(format!("the signature is not one of the component that is pinned: {}", error.message()))
            .hint("restore the pin as `plugin add --key` wrote it, or remove `signature` and pin the plugin again")
    })
}

/// Names appear in file names, logs and on the command line.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('-') {
        return Err(Error::configuration(format!("`{}` is not a plugin name", name.escape_default()))
            .hint("use up to 64 lowercase letters, digits and `-`"));
    }
    match CORE.iter().find(|(core, _)| *core != name && looks(core) == looks(name)) {
        None => Ok(()),
        Some((core, _)) => Err(Error::configuration(format!("`{name}` looks like the core plugin `{core}`"))
            .hint("give it a name that nobody takes for another")),
    }
}

/// What a hasty reader takes a name for.
fn looks(name: &str) -> String {
    let alike = [("rn", "m"), ("vv", "w"), ("-", ""), ("0", "o"), ("1", "l"), ("5", "s"), ("2", "z"), ("i", "l")];
    let mut seen = alike.iter().fold(name.to_owned(), |name, (one, other)| name.replace(one, other));
    // One more or one less at the end is overlooked.
    seen.truncate(seen.trim_end_matches('s').len());
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;

    const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn parse(text: &str) -> Result<PluginsLock> {
        let source = Source::of("plugins.lock".into(), text.as_bytes().to_vec())?;
        PluginsLock::parse(&source, Path::new("/project"))
    }

    #[test]
    fn a_lock_survives_being_written_and_read() {
        let text = format!(
            "format: 1\nplugins:\n  licences:\n    path: plugins/licences.wasm\n    sha256: {HEX}\n    grants:\n      fetch: ['https://example.com/a/']\n"
        );
        let lock = parse(&text).unwrap();
        let (pin, path) = lock.pin("licences").unwrap();
        assert_eq!((pin.sha256.hex().as_str(), path), (HEX, PathBuf::from("/project/plugins/licences.wasm")));
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let error =
            parse(&format!("format: 1\nplugins:\n  licences:\n    path: x\n    sha256: {HEX}\n    grant: {{}}\n"));
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
            (format!("format: 1\nplugins:\n  package:\n    path: x\n    sha256: {HEX}\n"), "core plugin `package`"),
            (
                format!("format: 1\nplugins:\n  a:\n    path: x\n    sha256: {HEX}\n    replace_core: true\n"),
                "no core plugin `a`",
            ),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.one_line().contains(says), "{}", error.one_line());
        }
    }

    #[test]
    fn a_core_plugin_is_replaced_only_where_that_is_written() {
        let pin =
            |more: &str| parse(&format!("format: 1\nplugins:\n  charts:\n    path: x\n    sha256: {HEX}\n{more}"));
        let error = pin("").unwrap_err();
        assert!(error.message().starts_with("plugins.lock:4:"), "{error}");
        assert!(error.hint_text().unwrap().contains("`replace_core: true` below `charts:`"), "{error:?}");
        assert!(pin("    replace_core: false\n").is_err());
        let lock = pin("    replace_core: true\n").unwrap();
        assert_eq!(lock.replaced().collect::<Vec<_>>(), ["charts"]);
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
    }

    #[test]
    fn what_a_pin_says_beside_its_digest_is_checked_with_its_line() {
        let pin = |more: &str| parse(&format!("format: 1\nplugins:\n  a:\n    path: x\n    sha256: {HEX}\n{more}"));
        let lock = pin("    source: oci://r.example/team/a:1\n    limits: {memory_mib: 64}\n").unwrap();
        assert_eq!(lock.plugins["a"].limits.memory_mib, Some(64));
        assert_eq!(parse(&lock.to_text()).unwrap(), lock);
        for (more, place, says) in [
            ("    source: ftp://r.example/a\n", "plugins.lock:6:", "scheme `ftp`"),
            ("    source: oci://r.example/../a\n", "plugins.lock:6:", ""),
            ("    limits: {memory_mib: 0}\n", "plugins.lock:6:", "0 is out of range"),
            ("    limits: {requests: 1}\n", "plugins.lock:6:", "unknown field `requests`"),
            ("    signature: {key: x, media_type: y, content: z}\n", "plugins.lock:6:", "no key"),
        ] {
            let error = pin(more).unwrap_err();
            assert!(error.message().starts_with(place) && error.message().contains(says), "{more}: {error}");
            assert!(error.hint_text().is_some(), "{error:?}");
        }
        for path in ["../x", "/etc/passwd", "a/../../x", "a/./b", "''"] {
            let error = parse(&format!("format: 1\nplugins:\n  a:\n    path: {path}\n    sha256: {HEX}\n"));
            let error = error.unwrap_err();
            assert!(error.message().starts_with("plugins.lock:4:") && error.message().contains("no place"), "{error}");
        }
        let twice = format!("    path: x\n    sha256: {HEX}\n");
        let error = parse(&format!("format: 1\nplugins:\n  a:\n{twice}  a:\n{twice}")).unwrap_err();
        assert!(error.message().starts_with("plugins.lock:6:") && error.message().contains("`a`"), "{error}");
    }

    /// A lock is written by whoever can write it: a signature in it is believed
    /// as far as it holds for the digest beside it.
    #[test]
    fn a_signature_holds_for_the_component_that_is_pinned() {
        let key = signing::PrivateKey::generate().unwrap();
        let component = Digest::of(b"component");
        let bundle = signing::Bundle::of_message(&key, &component).unwrap().to_json().unwrap();
        let signature = PinSignature::of_component(&[key.public()], &component, &bundle).unwrap();
        let pin = |sha256| Pin {
            path: "plugins/a.wasm".into(),
            sha256,
            version: None,
            source: None,
            manifest: None,
            signature: Some(signature.clone()),
            limits: OwnLimits::default(),
            replace_core: false,
            grants: Grants::default(),
        };
        let written = |sha256| PluginsLock::with_pin(None, Path::new("/p"), "a", pin(sha256));
        let mut lock = parse(&written(component).unwrap()).unwrap();
        assert_eq!(lock.plugins["a"].signature, Some(signature.clone()));
        lock.check_signer("a").unwrap();
        lock.require(vec![signing::PrivateKey::generate().unwrap().public()]);
        assert!(lock.check_signer("a").unwrap_err().message().contains(&key.public().hint()));
        lock.require(vec![key.public()]);
        lock.check_signer("a").unwrap();
        let error = written(Digest::of(b"another")).unwrap_err();
        assert!(error.message().contains("is not one of the component that is pinned"), "{error}");
        assert!(error.message().contains("plugins.a.signature"), "{error}");
        let mut unsigned = parse(&format!("format: 1\nplugins:\n  a:\n    path: x\n    sha256: {HEX}\n")).unwrap();
        unsigned.require(vec![key.public()]);
        assert!(unsigned.check_signer("a").unwrap_err().message().contains("is not signed"));
    }

    #[test]
    fn no_name_looks_like_that_of_a_core_plugin() {
        for good in ["licences", "charts", "package", "image-charts", "packager", "scanner", "zarf"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "ch\u{430}rts",
            "Charts",
            "chart",
            "chart5",
            "charts-",
            "-charts",
            "charts\u{200b}",
            "pack-age",
            "packages",
            "zarfyaml",
            "zarf-yam1",
            "rnanifest",
            "manlfest",
            "5can",
            "scan5",
            "",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_new_pin_is_appended_and_an_old_one_replaced() {
        let root = Path::new("/p");
        let pin = |path: &str, fetch: &[&str]| Pin {
            path: path.into(),
            sha256: Digest::of(path.as_bytes()),
            version: Some("1.0.0".into()),
            source: None,
            manifest: None,
            signature: None,
            limits: OwnLimits::default(),
            replace_core: false,
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
