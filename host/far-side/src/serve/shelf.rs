//! One opened package: where everything is in it, and its small files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::content::Content;
use crate::inspect;
use crate::inspect::Contents;
use crate::inspect::contents::BLOBS;
use archive::damage::damaged;
use archive::index::Indexed;
use archive::pieces::Buffers;
use archive::random::Archive;
use archive::survey;
use archive::survey::{Found, Opened};
use base::error::{Error, Result};
use base::progress::text;

/// Bytes of checksums.txt.
const LARGEST_LIST: u64 = 64 << 20;

/// One package, and where everything is in it.
pub(super) struct Shelf {
    /// As it was given.
    pub(super) name: String,
    pub(super) contents: Contents,
    pub(super) entries: HashMap<String, Arc<Content>>,
    /// By path of the tar that they lie in.
    pub(super) members: HashMap<String, BTreeMap<String, Arc<Content>>>,
}

impl Shelf {
    pub(super) fn open(
        path: &Path,
        spool: Option<&Path>,
        buffers: &Arc<Buffers>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let Opened { pieces, index, found, .. } = survey::open(path, spool, buffers)?;
        notes.extend(told(path, found, index.unpacked()));
        let contents = inspect::read_through(path, Archive::of(&pieces, &index))?;
        let content = |entry: &Indexed| (entry.path.clone(), Arc::new(Content::new(&pieces, buffers, entry.clone())));
        let mut members: HashMap<String, BTreeMap<String, Arc<Content>>> = HashMap::new();
        for (of, member) in &index.members {
            let (path, member) = content(member);
            members.entry(index.entries[*of].path.clone()).or_default().insert(path, member);
        }
        let entries = index.entries.iter().map(content).collect();
        let shelf = Self { name: path.display().to_string(), contents, entries, members };
        if found != Found::Indexed {
            shelf.compare()?;
        }
        Ok(shelf)
    }

    /// Compares what was hashed on the way with the list that the package has of
    /// its files.
    fn compare(&self) -> Result<()> {
        let Some(list) = self.entries.get("checksums.txt") else { return Ok(()) };
        let list = self.bytes(list, LARGEST_LIST)?;
        for line in String::from_utf8_lossy(&list).lines() {
            let Some((claimed, path)) = line.split_once(' ') else { continue };
            let Some(found) = self.entries.get(path.trim()) else { continue };
            if found.digest().hex() != claimed {
                let message = format!("`{}` is damaged: `{}` is not what checksums.txt says", self.name, found.path());
                return Err(Error::integrity(message).hint("`opencenter-airgap verify` says what is wrong with it"));
            }
        }
        Ok(())
    }

    /// A file in the tar of a component, or a blob of an image that it names.
    pub(super) fn member(&self, component: &str, path: &str) -> Option<&Arc<Content>> {
        if path.starts_with(BLOBS) {
            return self.entries.get(path);
        }
        self.members.get(&format!("components/{component}.tar"))?.get(path)
    }

    /// The files below a folder in the tar of a component.
    pub(super) fn below<'a>(
        &'a self,
        component: &str,
        folder: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Content>)> + use<'a> {
        let prefix = format!("{folder}/");
        let members = self.members.get(&format!("components/{component}.tar"));
        let from = members.into_iter().flat_map({
            let prefix = prefix.clone();
            move |members| members.range(prefix.clone()..)
        });
        from.map_while(move |(path, content)| Some((path.strip_prefix(&prefix)?, content)))
    }

    /// A document that goes along with the package.
    pub(super) fn document(&self, name: &str) -> Option<&Arc<Content>> {
        self.members.get("documentation.tar")?.get(name)
    }

    /// When it was built, as the index of a chart repository says times.
    pub(super) fn created(&self) -> String {
        let built = jiff::fmt::rfc2822::parse(&self.contents.built.timestamp);
        built.map_or(jiff::Timestamp::UNIX_EPOCH, |built| built.timestamp()).to_string()
    }

    /// The first bytes of a file, which are not compared with its digest.
    pub(super) fn beginning(&self, content: &Content, length: u64) -> Result<Vec<u8>> {
        content.beginning(length).map_err(|source| damaged(Path::new(&self.name), source))
    }

    /// The whole of a small file.
    pub(super) fn bytes(&self, content: &Content, limit: u64) -> Result<Vec<u8>> {
        content.bytes(limit).map_err(|source| {
            damaged(Path::new(&self.name), source).context(format!("cannot read `{}`", content.path()))
        })
    }

    pub(super) fn read_json<T: DeserializeOwned>(&self, content: &Content, limit: u64) -> Result<T> {
        let bytes = self.bytes(content, limit)?;
        model::json::read(&bytes).map_err(|error| {
            let path = content.path().escape_debug();
            Error::invalid(format!("`{path}` in `{}` cannot be read: {error}", self.name))
        })
    }
}

/// What there is to say about how a package was opened.
fn told(path: &Path, found: Found, unpacked: u64) -> Option<String> {
    let path = path.display();
    match found {
        Found::Indexed => None,
        Found::Walked => Some(format!("`{path}` does not say where everything is in it: it was walked through once")),
        Found::Spooled => {
            let size = text::bytes(unpacked);
            Some(format!("`{path}` is one stream: it was unpacked, {size}, into a file that goes with this process"))
        }
    }
}
