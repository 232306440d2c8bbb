//! Everything that several packages hold, by the names under which it is served.

use std::collections::BTreeSet;
use std::path::Path;

use model::media_type::CHART_CONFIG;
use model::oci::{self, Descriptor, LARGEST_INDEX, LARGEST_MANIFEST};

use super::blob::Blob;
use super::charts::{self, Charts};
use super::content::Source;
use super::files::Files;
use super::images::{Images, Manifest, Referrer};
use super::repositories::{Repositories, Repository};
use super::shelf::Shelf;
use crate::inspect::Contents;
use archive::pieces::Buffers;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;

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
