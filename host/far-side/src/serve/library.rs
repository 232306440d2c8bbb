//! Everything that several packages hold, by the names under which it is served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Receiver;
use url::Url;

use model::media_type::CHART_CONFIG;
use model::oci::{self, Descriptor, LARGEST_INDEX, LARGEST_MANIFEST};

use super::charts::{self, Charts};
use super::content::{Content, Source};
use super::files::Files;
use super::images::{Images, Manifest, Referrer};
use super::repositories::{Repositories, Repository};
use crate::inspect;
use crate::inspect::Contents;
use crate::inspect::contents::BLOBS;
use archive::index::Indexed;
use archive::pieces::Buffers;
use archive::random::{Archive, damaged};
use archive::survey;
use archive::survey::{Found, Opened};
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::text;
use base::reference::Reference;

/// Bytes of checksums.txt.
const LARGEST_LIST: u64 = 64 << 20;
/// Frames that are unpacked at a time: each takes 4 MiB.
const MOST_SLOTS: usize = 6;

/// All that is served.
#[derive(Default)]
pub struct Library {
    pub(super) packages: Vec<Contents>,
    pub(super) images: Images,
    pub(super) charts: Charts,
    pub(super) files: Files,
    pub(super) repositories: Repositories,
    /// What the user should know of it.
    pub notes: Vec<String>,
}

/// One package, and where everything is in it.
pub(super) struct Shelf {
    /// As it was given.
    pub(super) name: String,
    pub(super) contents: Contents,
    entries: HashMap<String, Arc<Content>>,
    /// By path of the tar that they lie in.
    members: HashMap<String, BTreeMap<String, Arc<Content>>>,
}

impl Library {
    /// Opens packages. Nothing of them is unpacked, but for one that is a single
    /// stream, into `spool`.
    ///
    /// # Errors
    /// `usage`, `local`; `integrity` where one is damaged; `invalid-input`
    /// where one is no package, or contradicts another.
    pub fn open(packages: &[impl AsRef<Path>], spool: Option<&Path>) -> Result<Self> {
        let slots = std::thread::available_parallelism().map_or(2, usize::from).min(MOST_SLOTS);
        let buffers = Buffers::new(slots);
        let mut library = Self::default();
        for path in packages {
            let shelf = Shelf::open(path.as_ref(), spool, &buffers, &mut library.notes)?;
            library.add(shelf)?;
        }
        Ok(library)
    }

    fn add(&mut self, shelf: Shelf) -> Result<()> {
        self.add_images(&shelf)?;
        let made = self.charts.add(&shelf, &mut self.notes)?;
        made.into_iter().try_for_each(|artifact| artifact.put_into(&mut self.images, &shelf.name))?;
        self.files.add(&shelf, &mut self.notes)?;
        self.repositories.add(&shelf, &mut self.notes)?;
        self.packages.push(shelf.contents);
        Ok(())
    }

    fn add_images(&mut self, shelf: &Shelf) -> Result<()> {
        for (path, content) in &shelf.entries {
            let Some(hex) = path.strip_prefix("images/blobs/sha256/") else { continue };
            if content.digest().hex() != *hex {
                let message = format!("`{}` is damaged: `{}` has another digest", shelf.name, path.escape_debug());
                return Err(Error::integrity(message).hint("`opencenter-airgap verify` says what is wrong with it"));
            }
            self.images.add_blob(content.digest(), Source::Carried(content.clone()));
        }
        let mut wanted = match shelf.entries.get("images/index.json") {
            Some(index) => shelf.read_json::<oci::Manifest<Digest>>(index, LARGEST_INDEX)?.into_manifests(),
            None => Vec::new(),
        };
        for descriptor in &wanted {
            let Some(name) = descriptor.reference() else { continue };
            let unusual = |error: Error| error.context(format!("`{}` names an image that is none", shelf.name));
            let reference = Reference::parse(name).map_err(unusual)?;
            self.images.add(&reference, descriptor.digest, &shelf.name)?;
        }
        let mut seen = BTreeSet::new();
        while let Some(descriptor) = wanted.pop() {
            if seen.insert(descriptor.digest) {
                wanted.extend(self.add_manifest(shelf, &descriptor)?);
            }
        }
        Ok(())
    }

    /// Gives the manifests that this one names.
    fn add_manifest(&mut self, shelf: &Shelf, descriptor: &Descriptor<Digest>) -> Result<Vec<Descriptor<Digest>>> {
        let Descriptor { digest, media_type, .. } = descriptor;
        let Some(content) = shelf.entries.get(&format!("images/blobs/sha256/{}", digest.hex())) else {
            // An index may name platforms that are not carried.
            return Ok(Vec::new());
        };
        let mut document: oci::Manifest<Digest> = shelf.read_json(content, LARGEST_MANIFEST)?;
        let source = Source::Carried(content.clone());
        let is_chart = document.config.as_ref().is_some_and(|config| config.media_type == CHART_CONFIG);
        if let Some(subject) = &document.subject {
            let config_type = document.config.as_ref().map(|config| config.media_type.clone());
            let artifact_type = document.artifact_type.take().or(config_type);
            self.images.add_referrer(
                subject.digest,
                Referrer {
                    media_type: media_type.clone(),
                    digest: *digest,
                    size: source.size(),
                    artifact_type,
                    annotations: std::mem::take(&mut document.annotations),
                },
            );
        }
        self.images.add_manifest(*digest, Manifest { is_chart, media_type: media_type.clone(), source });
        Ok(document.into_manifests())
    }
}

/// An image or a chart by one of its names.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// Empty below `charts/`.
    pub registry: String,
    /// `library/nginx`, `charts/web`.
    pub path: String,
    /// None of what is pinned to its digest.
    pub tag: Option<String>,
    /// Of its manifest or index.
    pub digest: Digest,
    /// Whether it is a chart, served as an OCI artifact.
    pub is_chart: bool,
}

impl Carried {
    /// The complete spelling.
    pub(crate) fn name(&self) -> String {
        let Self { registry, path, tag, digest, .. } = self;
        let name = if registry.is_empty() { path.clone() } else { format!("{registry}/{path}") };
        tag.as_ref().map_or_else(|| format!("{name}@{digest}"), |tag| format!("{name}:{tag}"))
    }
}

/// A file of a package that is sent on.
#[derive(Clone)]
pub(crate) struct Blob(pub(super) Source);

impl Blob {
    #[cfg(test)]
    pub(crate) fn made(bytes: Vec<u8>) -> Self {
        Self(Source::Made(bytes.into()))
    }

    /// Bytes of its content.
    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    /// Its content from a byte on, verified as it is read. To be called in a
    /// runtime.
    pub(crate) fn stream(&self, from: u64) -> Receiver<io::Result<Bytes>> {
        self.0.stream(from)
    }

    /// A small part of it.
    ///
    /// # Errors
    /// `integrity` where it is damaged.
    pub(crate) fn part(&self, part: Range<u64>) -> Result<Vec<u8>> {
        match &self.0 {
            Source::Made(bytes) => {
                let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes[at(part.start)..at(part.end)].to_vec())
            }
            Source::Carried(content) => content
                .part(part)
                .map_err(|source| Error::integrity(format!("`{}` is damaged", content.path())).caused_by(source)),
        }
    }
}

/// For those who send it on.
impl Library {
    /// All images and charts; what has two names is there twice.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        let carried = |name: &str, tag: Option<&str>, digest: Digest| {
            let is_chart = self.images.manifest(digest).is_some_and(|manifest| manifest.is_chart);
            // No registry is called like the folder of charts: it would need a
            // dot or a port.
            let named = name.split_once('/').filter(|(registry, _)| *registry != charts::FOLDER);
            let (registry, path) = named.unwrap_or(("", name));
            let (registry, path) = (registry.to_owned(), path.to_owned());
            Carried { registry, path, tag: tag.map(str::to_owned), digest, is_chart }
        };
        let tags = self.images.tags().map(|(name, tag, digest)| carried(name, Some(tag), digest));
        tags.chain(self.images.pinned().map(|(name, digest)| carried(name, None, digest))).collect()
    }

    /// Media type and bytes of a manifest.
    ///
    /// # Errors
    /// `integrity` where it is damaged.
    pub(crate) fn manifest(&self, digest: Digest) -> Result<Option<(String, Vec<u8>)>> {
        let Some(Manifest { media_type, source, .. }) = self.images.manifest(digest) else { return Ok(None) };
        let bytes = match source {
            Source::Made(bytes) => bytes.to_vec(),
            Source::Carried(content) => content
                .bytes(LARGEST_MANIFEST)
                .map_err(|source| Error::integrity(format!("the manifest {digest} is damaged")).caused_by(source))?,
        };
        Ok(Some((media_type.clone(), bytes)))
    }

    /// Whether it is carried.
    pub(crate) fn has_manifest(&self, digest: Digest) -> bool {
        self.images.manifest(digest).is_some()
    }

    /// The blob with this digest; None where no package has it.
    pub(crate) fn blob(&self, digest: Digest) -> Option<Blob> {
        self.images.blob(digest).cloned().map(Blob)
    }

    /// Manifests that are about another one.
    pub(crate) fn referring_to(&self, digest: Digest) -> &[Referrer] {
        self.images.referrers(digest)
    }

    /// All repositories; one of several references is there for each.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.repositories.all()
    }
}

impl Shelf {
    fn open(path: &Path, spool: Option<&Path>, buffers: &Arc<Buffers>, notes: &mut Vec<String>) -> Result<Self> {
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

    fn read_json<T: DeserializeOwned>(&self, content: &Content, limit: u64) -> Result<T> {
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

/// Host and path of an address, as the folders of a mirror are called: no port,
/// no query, and nothing that leaves the folder.
pub(super) fn mirrored(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let host = match url.port() {
        None => url.host_str()?.to_owned(),
        Some(port) => format!("{}_{port}", url.host_str()?),
    };
    let parts = url.path().split('/').filter(|part| !part.is_empty()).map(super::path::decoded);
    let parts = parts.collect::<Option<Vec<String>>>()?;
    (!parts.is_empty()).then(|| format!("{host}/{}", parts.join("/")))
}
