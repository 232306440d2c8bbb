//! Which bytes run under which name: the core plugins, compiled into the
//! binary, and those that plugins.lock pins. Finding one needs no engine.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use super::limits::COMPONENT_BYTES;
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout;
use config::Project;
use config::limits::OwnLimits;
use config::pipeline::Runner;
use config::plugins_lock::{Pin, PluginsLock};
use config::source::{Source, refuse_all};
use disk::fs;
use entitlement::grants::{Grants, Rules};
use entitlement::{Asker, Entitlement};

/// A plugin that is part of the binary.
#[derive(Clone, Copy)]
pub struct Embedded {
    /// The name that a step of the pipeline runs it by.
    pub name: &'static str,
    /// The version of this program.
    pub version: &'static str,
    /// Of the component, computed when the binary was built.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: usize,
    /// The component, packed with zstd.
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

impl Embedded {
    /// What is run under its name where no pin takes its place.
    pub fn source(&self) -> PluginSource {
        PluginSource {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            digest: self.digest,
            bytes: Bytes::Embedded { packed: self.packed, size: self.size },
            grants: None,
            replaces_core: false,
            limits: OwnLimits::default(),
        }
    }
}

/// Exactly which code ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginIdentity {
    /// The name that a step of the pipeline runs it by.
    pub name: String,
    /// What it calls its version; the digest says which code it is.
    pub version: String,
    /// Of the component.
    pub digest: Digest,
    /// Whether it took the place of the core plugin of its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces_core: bool,
}

/// Verified bytes under a name, and what they may do.
#[derive(Clone)]
pub struct PluginSource {
    /// The name that a step of the pipeline runs it by.
    pub name: String,
    /// What it calls its version; the digest says which code it is.
    pub version: String,
    /// Of the component.
    pub digest: Digest,
    bytes: Bytes,
    /// None for a core plugin.
    grants: Option<Grants>,
    /// Whether it takes the place of the core plugin of its name.
    pub replaces_core: bool,
    /// Its own limits, which only lower those of the settings.
    pub limits: OwnLimits,
}

#[derive(Clone)]
enum Bytes {
    /// Packed: it is compiled once, and never looked at again.
    Embedded {
        packed: &'static [u8],
        size: usize,
    },
    Read(Arc<[u8]>),
}

impl PluginSource {
    /// Bytes that are pinned, or that are looked at before they are pinned.
    ///
    /// # Errors
    /// `configuration` where the grants are none.
    pub fn new(name: &str, version: &str, bytes: Vec<u8>, grants: Grants) -> Result<Self> {
        Rules::new(&grants)?;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            digest: Digest::of(&bytes),
            bytes: Bytes::Read(bytes.into()),
            grants: Some(grants),
            replaces_core: false,
            limits: OwnLimits::default(),
        })
    }

    /// What plugins.lock pins, with what it says of it, once these are known to
    /// be its bytes.
    fn of_pin(name: &str, pin: &Pin, bytes: Vec<u8>) -> Result<Self> {
        let source = Self::new(name, version_of(pin), bytes, pin.grants.clone())?;
        Ok(Self { replaces_core: pin.replace_core, limits: pin.limits, ..source })
    }

    /// The same bytes with other grants.
    ///
    /// # Errors
    /// `configuration` where the grants are none.
    pub fn granted(self, grants: Grants) -> Result<Self> {
        Rules::new(&grants)?;
        Ok(Self { grants: Some(grants), ..self })
    }

    /// The component.
    ///
    /// # Errors
    /// `local` where this program is damaged, which holds the core plugins packed.
    pub fn component(&self) -> Result<Cow<'_, [u8]>> {
        match &self.bytes {
            Bytes::Embedded { packed, size } => unpack(packed, *size).map(Cow::Owned).map_err(|error| {
                Error::local(format!("the core plugin {} can not be unpacked", self.name)).caused_by(error)
            }),
            Bytes::Read(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// Whether it is part of the binary.
    pub fn is_core(&self) -> bool {
        self.grants.is_none()
    }

    /// Which code it is, as the state records it.
    pub fn identity(&self) -> PluginIdentity {
        PluginIdentity {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
            replaces_core: self.replaces_core,
        }
    }

    /// What the user granted; None for a core plugin.
    pub fn grants(&self) -> Option<&Grants> {
        self.grants.as_ref()
    }

    /// Who it is when it asks, and what it may ask for.
    ///
    /// # Errors
    /// `configuration` where a grant is none.
    pub fn entitlement(&self) -> Result<Entitlement> {
        let asker = match self.is_core() {
            true => Asker::Core(self.name.clone()),
            false => Asker::Pinned(self.name.clone()),
        };
        Ok(Entitlement::new(asker, self.rules()?))
    }

    pub(crate) fn rules(&self) -> Result<Rules> {
        self.grants.as_ref().map_or_else(|| Ok(Rules::everything()), Rules::new)
    }

    pub(super) fn wants_directories(&self) -> bool {
        self.grants.as_ref().is_some_and(|grants| grants.directories)
    }
}

fn unpack(packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(packed, size)
}

impl fmt::Debug for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSource")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// The plugin of a name: a pin, else the core plugin.
///
/// # Errors
/// `configuration` for an unknown name, and for a pin whose file is missing, is
/// not what was pinned, or is not signed by whom it must be.
pub fn find(name: &str, pins: &PluginsLock) -> Result<PluginSource> {
    if let Some((pin, path)) = pins.pin(name) {
        return pinned(name, pin, &path, pins);
    }
    if let Some(embedded) = EMBEDDED.iter().find(|embedded| embedded.name == name) {
        return Ok(embedded.source());
    }
    let mut known: Vec<&str> = EMBEDDED.iter().map(|embedded| embedded.name).collect();
    known.extend(pins.plugins.keys().map(String::as_str));
    Err(Error::configuration(format!("there is no plugin `{}`; there are: {}", name.escape_debug(), known.join(", ")))
        .hint("correct the name in config/pipeline.yaml, or pin the plugin in config/plugins.lock"))
}

/// Whether every plugin of the pipeline is there, before anything is written.
///
/// # Errors
/// `configuration` with the line of every name and every pin that leads
/// nowhere.
pub fn check(project: &Project) -> Result<()> {
    let mut problems = Vec::new();
    for step in &project.pipeline.steps {
        let Runner::Plugin(name) = &step.run else { continue };
        let Err(error) = find(name, &project.plugin_pins) else { continue };
        let (file, path) = if project.plugin_pins.pin(name).is_some() {
            let key = if project.plugin_pins.check_signer(name).is_err() { "sha256" } else { "path" };
            (project.layout.plugins_lock(), YamlPath::root().key("plugins").key(name).key(key))
        } else {
            (project.layout.pipeline(), step.place().key("run").key("plugin"))
        };
        // A built-in pipeline names what is built in.
        let Some(source) = Source::read(&file)? else { return Err(error) };
        let (_, spans) = source.yaml::<serde_yaml::Value>()?;
        let hint = error.hint_text().unwrap_or_default().to_owned();
        problems.push(source.locate(&spans, &Problem::new(&path, error.one_line(), hint)));
    }
    refuse_all(problems)
}

fn pinned(name: &str, pin: &Pin, path: &Path, pins: &PluginsLock) -> Result<PluginSource> {
    pins.check_signer(name)?;
    let shown = layout::shown(path);
    let bytes = fs::read_optional(path, COMPONENT_BYTES)
        .map_err(|error| error.context(format!("plugin `{name}` can not be read")))?
        .ok_or_else(|| missing(name, &shown))?;
    check_digest(name, &shown, pin, &bytes)?;
    PluginSource::of_pin(name, pin, bytes)
}

fn version_of(pin: &Pin) -> &str {
    pin.version.as_deref().unwrap_or("unknown")
}

/// Which code a name stands for, read from no file: what is there is compared
/// with it before it runs.
pub fn identity(name: &str, pins: &PluginsLock) -> Option<PluginIdentity> {
    let of_pin = |(pin, _): (&Pin, _)| PluginIdentity {
        name: name.to_owned(),
        version: version_of(pin).to_owned(),
        digest: pin.sha256,
        replaces_core: pin.replace_core,
    };
    let embedded = || EMBEDDED.iter().find(|embedded| embedded.name == name).map(|core| core.source().identity());
    pins.pin(name).map(of_pin).or_else(embedded)
}

fn missing(name: &str, shown: &str) -> Error {
    Error::configuration(format!("plugin `{name}` is pinned in config/plugins.lock, but there is no file {shown}"))
        .hint("`path` of a pin is relative to the folder that holds config/")
}

fn check_digest(name: &str, shown: &str, pin: &Pin, bytes: &[u8]) -> Result<()> {
    let found = Digest::of(bytes);
    if found == pin.sha256 {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "plugin `{name}`: {shown} has {found}, and config/plugins.lock pins {}",
        pin.sha256
    ))
    .hint(match &pin.source {
        Some(source) => format!(
            "bring back the file that was pinned, or fetch it from {source}: `opencenter-airgap plugin update {name}`"
        ),
        None => "bring back the file that was pinned; if the new one is meant, check it and pin it with \
                 `opencenter-airgap plugin add --replace`"
            .to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use base::error::Class;
    use config::core_plugins;

    fn lock(root: &Path, name: &str, digest: Digest) -> PluginsLock {
        let replaces = if core_plugins::core(name).is_some() { "    replace_core: true\n" } else { "" };
        let text =
            format!("format: 1\nplugins:\n  {name}:\n    path: p.wasm\n    sha256: {}\n{replaces}", digest.hex());
        let source = Source::of("plugins.lock".into(), text.into_bytes()).unwrap();
        PluginsLock::parse(&source, root).unwrap()
    }

    #[test]
    fn the_core_plugins_carry_the_digest_of_their_bytes() {
        let names: Vec<&str> = EMBEDDED.iter().map(|core| core.name).collect();
        assert_eq!(names, core_plugins::CORE.map(|(name, _)| name), "config knows what is replaced");
        for embedded in EMBEDDED {
            let source = embedded.source();
            assert_eq!(embedded.digest, Digest::of(&source.component().unwrap()), "{}", embedded.name);
            assert!(embedded.source().is_core());
        }
    }

    #[test]
    fn a_pin_replaces_a_core_plugin_and_must_match() {
        let root = tempfile::tempdir().unwrap();
        fs::write_new(&root.path().join("p.wasm"), b"mine").unwrap();
        let source = find("charts", &lock(root.path(), "charts", Digest::of(b"mine"))).unwrap();
        assert_eq!((&*source.component().unwrap(), source.is_core()), (b"mine".as_slice(), false));
        assert!(source.identity().replaces_core);
        assert_eq!(identity("charts", &lock(root.path(), "charts", Digest::of(b"mine"))), Some(source.identity()));
        assert_eq!(identity("charts", &PluginsLock::default()).unwrap().digest, EMBEDDED[1].digest);

        let error = find("charts", &lock(root.path(), "charts", Digest::of(b"other"))).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        for digest in [Digest::of(b"mine"), Digest::of(b"other")] {
            assert!(error.message().contains(&digest.to_string()), "{error}");
        }
    }

    #[test]
    fn unknown_and_missing_plugins_are_named() {
        let root = tempfile::tempdir().unwrap();
        let error = find("nope", &PluginsLock::default()).unwrap_err();
        assert!(error.message().contains("`nope`") && error.message().contains("charts"), "{error}");
        let error = find("sbom", &lock(root.path(), "sbom", Digest::of(b""))).unwrap_err();
        assert!(error.message().contains("p.wasm"), "{error}");
    }
}
