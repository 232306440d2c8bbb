//! The user's files as they were read, once, when the configuration was loaded.
//!
//! The hash of a build says which version of each file it was made from. So a
//! plugin is handed that version and no other: a file of config/ from memory,
//! and of a local chart or values file what has the digest that was noted then
//! ([`Content`]). Whatever is saved in between is told as `changed`, whether
//! it is changed back or not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::local::{Content, LocalEntry};
use super::source::Source;
use super::{hash, written};
use crate::publish::Published;
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use base::layout::Layout;

/// The name of the base in messages; no hash holds it.
const COMPONENTS_BASE: &str = "config/components.base.yaml";

/// What was read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AsRead(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the name under which it is hashed: text and digest.
    files: BTreeMap<&'static str, (String, Option<Digest>)>,
    /// Local paths, as they are written, and those that they bring along.
    local: BTreeMap<String, Arc<Content>>,
    dependencies: BTreeMap<String, Vec<String>>,
    /// The composed definition of the project.
    definition: Option<String>,
}

/// What a plugin calls the composed definition of the project, and the step
/// `manifests` hands on.
pub const DEFINITION: &str = "definition.json";

impl AsRead {
    fn new(read: Read, local: Local) -> Self {
        let Read { files, definition } = read;
        Self(Arc::new(Inner { files, local: local.contents, dependencies: local.dependencies, definition }))
    }

    /// The files of config/ that plugins are handed: name and text.
    pub fn for_plugins(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = [hash::VERSIONS_ENV, hash::CATALOG, hash::COMPONENTS, COMPONENTS_BASE];
        let files = names.into_iter().filter_map(|name| {
            let (text, _) = self.0.files.get(name)?;
            Some((name.rsplit('/').next()?, text.as_str()))
        });
        files.chain(self.0.definition.as_deref().map(|text| (DEFINITION, text)))
    }

    /// Of the bytes of a file of config/; None where there was none.
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.0.files.get(name).and_then(|(_, digest)| *digest)
    }

    /// Bytes of its text.
    pub fn size(&self, name: &str) -> u64 {
        self.0.files.get(name).map_or(0, |(text, _)| text.len() as u64)
    }

    /// What a local path held.
    pub fn local(&self, written: &str) -> Option<&Arc<Content>> {
        self.0.local.get(written)
    }

    /// Where a local file lies that is still what it was when it was hashed.
    ///
    /// # Errors
    /// `changed` where it is not, `not-found` where nobody hashed it.
    pub fn local_file(&self, written: &str) -> Result<PathBuf> {
        let absent = || Error::new(Class::NotFound, format!("the configuration names no file `{written}`"));
        let content = self.local(written).ok_or_else(absent)?;
        let Some(LocalEntry::File { digest, .. }) = content.get("") else {
            return Err(Error::invalid(format!("`{written}` is a folder, and a file is needed")));
        };
        let failed = |source| Error::io("cannot read", content.root(), source);
        let mut file = File::open(content.root()).map_err(failed)?;
        let (mut hasher, mut piece) = (Hasher::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut piece).map_err(failed)? {
                0 => break,
                count => hasher.update(&piece[..count]),
            }
        }
        if hasher.finish() != *digest {
            return Err(no_longer(&format!("`{written}`")));
        }
        Ok(content.root().to_owned())
    }

    /// The local paths that one brings along.
    pub fn dependencies(&self, written: &str) -> Option<&[String]> {
        self.0.dependencies.get(written).map(Vec::as_slice)
    }

    /// What of config/ is not on the disk as it was read; airgap.lock apart,
    /// which a build writes itself.
    ///
    /// # Errors
    /// `local`.
    pub fn changed(&self, layout: &Layout) -> Result<Vec<&'static str>> {
        let mut changed = Vec::new();
        for name in NAMES.iter().copied().filter(|name| *name != hash::AIRGAP_LOCK) {
            let path = path_of(layout, name);
            let is_gone = self.digest(name).is_some() && !path.exists();
            if is_gone || !written::is_as_read(&path, self.digest(name))? {
                changed.push(name);
            }
        }
        Ok(changed)
    }

    /// The first file of config/ that `later` did not read as this did, where
    /// the step `manifests` has published some of them in between.
    pub fn differs_from(&self, later: &Self, published: &[Published]) -> Option<&'static str> {
        let expected = |name: &str| {
            let published = published.iter().find(|file| file.path == name).map(|file| file.digest);
            published.or_else(|| self.digest(name))
        };
        let names = NAMES.iter().copied().filter(|name| *name != hash::AIRGAP_LOCK);
        names.into_iter().find(|name| later.digest(name) != expected(name))
    }
}

/// Every file of config/ that is read.
const NAMES: &[&str] = &[
    hash::VERSIONS_ENV,
    hash::CATALOG,
    hash::COMPONENTS,
    COMPONENTS_BASE,
    hash::SETTINGS,
    hash::PIPELINE,
    hash::PLUGINS_LOCK,
    hash::AIRGAP_LOCK,
];

/// Where the file of a name lies, wherever config/ is.
fn path_of(layout: &Layout, name: &str) -> PathBuf {
    layout.published(name)
}

/// Local paths while they are read.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) contents: BTreeMap<String, Arc<Content>>,
    pub(super) dependencies: BTreeMap<String, Vec<String>>,
}

/// Files of config/ while they are read.
#[derive(Debug, Default)]
pub(super) struct Read {
    files: BTreeMap<&'static str, (String, Option<Digest>)>,
    definition: Option<String>,
}

impl Read {
    pub(super) fn note(&mut self, name: &'static str, source: &Source) {
        self.files.insert(name, (source.text.clone(), source.digest));
    }

    /// One that is compared and handed to nobody.
    pub(super) fn note_digest(&mut self, name: &'static str, source: &Source) {
        self.files.insert(name, (String::new(), source.digest));
    }

    pub(super) fn note_base(&mut self, source: &Source) {
        self.note(COMPONENTS_BASE, source);
    }

    pub(super) fn note_definition(&mut self, text: &str) {
        self.definition = Some(text.to_owned());
    }

    pub(super) fn with(self, local: Local) -> AsRead {
        AsRead::new(self, local)
    }
}

/// Why a step does not go on with a file that is another one now.
pub fn no_longer(what: &str) -> Error {
    Error::new(Class::Changed, format!("{what} changed while the build ran, and is not what the build began with"))
        .hint(
            "put it back and run the same command again, or begin again with what it is now: \
             `build --on-change restart`; nothing that was fetched is fetched twice",
        )
}
