//! Images out of archives of the project: what `docker save` (25 and newer),
//! `podman save --format oci-archive` and other tools write as an OCI image layout
//! in a tar.
//!
//! An archive is unpacked beside the tree of the attempt. Its index.json says which
//! image has which name, as Zarf reads it; everything that an image leads to has to
//! be in the archive under its own digest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::oci::{DEEPEST, LARGEST_INDEX, LARGEST_MANIFEST, REFERENCE as NAME};
use model::problem::shown;
use model::zarf::alpha::ImageArchive;

use super::manifest::{Descriptor, Document, check_platform, packaged, select, tells_platform};
use super::resolve::LARGEST_CONFIG;
use archive::unpack::{Source, UnpackLimits, unpack};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::leash::Leash;
use base::reference::Reference;
use config::as_read::AsRead;
use disk::fs;
use disk::tree::TreeBuilder;

/// Files in one archive.
const MOST_FILES: u32 = 100_000;
/// Where docker and containerd note the name of an image.
const DOCKER_NAME: &str = "io.containerd.image.name";
const CONTAINERD_SOURCE: &str = "containerd.io/distribution.source.";
/// Images of an archive that a message lists.
const LISTED: usize = 20;

/// What archives hold.
#[derive(Debug, Default)]
pub(super) struct Archived {
    /// By the complete reference.
    pub(super) references: BTreeMap<String, Descriptor>,
    /// Where each blob lies, and its bytes.
    pub(super) blobs: BTreeMap<Digest, (PathBuf, u64)>,
}

/// What reading archives needs.
pub(super) struct Reading {
    pub(super) local: AsRead,
    pub(super) architecture: String,
    /// Where they are unpacked.
    pub(super) folder: PathBuf,
    /// Bytes that one may unpack to.
    pub(super) limit: u64,
    pub(super) leash: Leash,
}

impl Reading {
    /// # Errors
    /// The first archive that cannot be used, by its path and the image.
    pub(super) fn all(&self, archives: &[ImageArchive]) -> Result<Archived> {
        fs::remove_dir_all(&self.folder)?;
        let mut all = Archived::default();
        for (number, archive) in archives.iter().enumerate() {
            let named = |error: Error| error.context(format!("the images of `{}`", shown(&archive.path)));
            let unpacked = self.unpacked(number, &archive.path).map_err(named)?;
            for image in &archive.images {
                unpacked
                    .add(image, &self.architecture, &mut all)
                    .map_err(|error| named(error.context(format!("`{}`", shown(image)))))?;
            }
        }
        Ok(all)
    }

    fn unpacked(&self, number: usize, path: &str) -> Result<Unpacked> {
        let file = self.local.local_file(path)?;
        let folder = self.folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        let tree = TreeBuilder::new(folder);
        let source = Source { path: &file, shown: path, leash: &self.leash };
        unpack(source, &tree, UnpackLimits { total: self.limit, entries: MOST_FILES })?;
        let prefix = prefix(&tree);
        let index = format!("{prefix}index.json");
        if tree.get(&index).is_none() {
            let is_old = tree.get(&format!("{prefix}manifest.json")).is_some();
            let why = if is_old { "is in docker's own form" } else { "holds no index.json" };
            let hint = "it has to be an OCI image layout: save the images with docker 25 or newer, or turn the file into \
                        one: `skopeo copy docker-archive:x.tar oci-archive:y.tar:name:tag`";
            return Err(Error::invalid(format!("the archive {why}")).hint(hint));
        }
        let bytes = fs::read_optional(&tree.root().join(&index), LARGEST_INDEX)?.unwrap_or_default();
        match Document::parse(&bytes, None)? {
            Document::Index { manifests, .. } => {
                let named = manifests.into_iter().filter_map(|one| Some((name(&one)?, one))).collect();
                Ok(Unpacked { tree, prefix, named })
            }
            Document::Image { .. } => Err(Error::invalid("index.json of the archive is no index")),
        }
    }
}

/// The folder that everything of an archive lies in, where it is one; with a
/// slash.
fn prefix(tree: &TreeBuilder) -> String {
    let listing = tree.listing();
    let mut first = listing.artifacts.iter().map(|artifact| artifact.path.split_once('/').map(|(folder, _)| folder));
    let Some(Some(folder)) = first.next() else { return String::new() };
    if first.all(|other| other == Some(folder)) { format!("{folder}/") } else { String::new() }
}

/// An archive that lies on the disk.
struct Unpacked {
    tree: TreeBuilder,
    prefix: String,
    /// By the complete reference.
    named: Vec<(String, Descriptor)>,
}

impl Unpacked {
    fn add(&self, image: &str, architecture: &str, all: &mut Archived) -> Result<()> {
        let wanted = Reference::parse(image)?;
        let complete = wanted.normalized();
        let found = self.named.iter().find(|(name, _)| *name == complete).ok_or_else(|| {
            let there: Vec<&str> = self.named.iter().map(|(name, _)| name.as_str()).take(LISTED).collect();
            let there = if there.is_empty() { "no name at all".to_owned() } else { there.join(", ") };
            Error::new(Class::NotFound, format!("the archive does not hold it: its index.json has {there}"))
                .hint("write the name as the archive has it, or save the image by that name")
        })?;
        let root = &found.1;
        if let Some(pinned) = wanted.digest().filter(|pinned| *pinned != root.digest) {
            return Err(Error::invalid(format!("it is pinned at {pinned}, and the archive holds {}", root.digest)));
        }
        let is_pinned = wanted.digest().is_some();
        let (descriptor, document) = match self.document(root)? {
            Document::Index { manifests, .. } if !is_pinned => {
                let chosen = select(&manifests, architecture)?.clone();
                let document = self.document(&chosen)?;
                (chosen, document)
            }
            document => (root.clone(), document),
        };
        self.follow(&descriptor, document, (!is_pinned).then_some(architecture), 0, all)?;
        let descriptor = Descriptor { annotations: BTreeMap::new(), ..descriptor };
        all.references.insert(complete, descriptor);
        Ok(())
    }

    /// Everything that a manifest or index leads to; what is for one
    /// architecture has to be for that one.
    fn follow(
        &self,
        descriptor: &Descriptor,
        document: Document,
        architecture: Option<&str>,
        depth: usize,
        all: &mut Archived,
    ) -> Result<()> {
        self.blob(descriptor, all)?;
        match document {
            Document::Index { manifests, .. } => manifests.iter().try_for_each(|one| {
                if depth == DEEPEST {
                    return Err(Error::invalid("its indexes are nested too deeply"));
                }
                // What is named once more leads to the same.
                if all.blobs.contains_key(&one.digest) {
                    return Ok(());
                }
                self.follow(one, self.document(one)?, None, depth + 1, all)
            }),
            Document::Image { config, layers, .. } => {
                if let Some(architecture) = architecture.filter(|_| tells_platform(&config)) {
                    check_platform(&self.read(&config, LARGEST_CONFIG)?, architecture)?;
                }
                self.blob(&config, all)?;
                packaged(&layers, descriptor.is_for_windows()).try_for_each(|layer| self.blob(layer, all))
            }
        }
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        Document::parse(&self.read(descriptor, LARGEST_MANIFEST)?, Some(&descriptor.media_type))
    }

    fn read(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let (path, _) = self.place(descriptor)?;
        Ok(fs::read_optional(&path, limit)?.unwrap_or_default())
    }

    fn blob(&self, descriptor: &Descriptor, all: &mut Archived) -> Result<()> {
        all.blobs.insert(descriptor.digest, self.place(descriptor)?);
        Ok(())
    }

    /// Where a content lies that is what its name says.
    fn place(&self, descriptor: &Descriptor) -> Result<(PathBuf, u64)> {
        let path = format!("{}blobs/sha256/{}", self.prefix, descriptor.digest.hex());
        let artifact = self.tree.get(&path).ok_or_else(|| {
            Error::new(Class::NotFound, format!("the archive lacks {} of it", descriptor.digest))
                .hint("save the whole image: the archive was cut, or holds layers of it alone")
        })?;
        if artifact.digest != descriptor.digest || artifact.size != descriptor.size {
            return Err(Error::new(Class::Integrity, format!("`{path}` of the archive is not what its name says")));
        }
        Ok((self.tree.root().join(&path), artifact.size))
    }
}

/// The complete reference of an image of an archive, as Zarf tells it.
fn name(descriptor: &Descriptor) -> Option<String> {
    let annotations = &descriptor.annotations;
    let text = |key: &str| annotations.get(key).filter(|text| !text.is_empty()).cloned();
    let of_containerd = || {
        annotations.iter().find_map(|(key, repository)| {
            let registry = key.strip_prefix(CONTAINERD_SOURCE).filter(|registry| !registry.is_empty())?;
            (!repository.is_empty()).then(|| format!("{registry}/{repository}@{}", descriptor.digest))
        })
    };
    let name = text(DOCKER_NAME).or_else(of_containerd).or_else(|| text(NAME))?;
    Some(Reference::parse(&name).ok()?.normalized())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_zarf_reads() {
        let named = |annotations: &[(&str, &str)]| {
            let mut descriptor = Descriptor::new("m", Digest::of(b"x"), 1);
            descriptor.annotations =
                annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            name(&descriptor)
        };
        let pinned = format!("docker.io/library/web@{}", Digest::of(b"x"));
        for (annotations, expected) in [
            (&[(NAME, "web:1")][..], Some("docker.io/library/web:1")),
            (&[(NAME, "1"), (DOCKER_NAME, "docker.io/library/web:1")][..], Some("docker.io/library/web:1")),
            (&[(NAME, "1"), ("containerd.io/distribution.source.docker.io", "library/web")][..], Some(pinned.as_str())),
            (&[][..], None),
        ] {
            assert_eq!(named(annotations).as_deref(), expected, "{annotations:?}");
        }
    }
}
