//! The files of a package that describe the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::path::Path;

use crate::verify::facts::{Blob, Facts, File, Member};
use crate::verify::{Problems, charts, facts, stream};
use archive::damage::damaged;
use archive::index::Indexed;
use archive::random::Archive;
use base::digest::Digest;
use base::error::{Error, Result};
use model::oci::{Descriptor, LARGEST_MANIFEST, Manifest};

/// Bytes of all the texts together.
const MOST: u64 = 256 << 20;

/// What was found, and whether the archive said itself where.
pub(super) struct Glance {
    pub(super) facts: Facts,
    pub(super) is_indexed: bool,
    /// Bytes of the tar.
    pub(super) unpacked: u64,
}

/// # Errors
/// `not-found`, `local`; `integrity` where the package is too damaged to be
/// looked at.
pub(super) fn glance(path: &Path) -> Result<Glance> {
    let source = stream::Source::open(path)?;
    if source.is_file
        && let Some(archive) = Archive::open(path)?.filter(|archive| archive.index().lists_components())
    {
        return glance_through(path, archive);
    }
    let mut problems = Problems::default();
    let (whole, content, _) = stream::read(source)?;
    let (facts, unpacked) = facts::collect(content, &mut problems);
    whole.finish()?;
    if !facts.complete {
        let why = problems.first().unwrap_or_default();
        return Err(Error::integrity(format!("`{}` cannot be read: {why}", path.display()))
            .hint("`opencenter-airgap verify` says what is wrong with it"));
    }
    Ok(Glance { facts, is_indexed: false, unpacked })
}

/// The same of an archive that is open.
pub(super) fn glance_through(path: &Path, archive: Archive) -> Result<Glance> {
    let unpacked = archive.index().unpacked();
    let facts = through_index(archive).map_err(|source| damaged(path, source))?;
    Ok(Glance { facts, is_indexed: true, unpacked })
}

fn through_index(archive: Archive) -> io::Result<Facts> {
    let entries: BTreeMap<String, Indexed> =
        archive.index().entries.iter().map(|entry| (entry.path.clone(), entry.clone())).collect();
    let mut walk = Walk { archive, entries, facts: Facts::default(), left: MOST };
    walk.members();
    walk.texts()?;
    walk.blobs()?;
    walk.charts()?;
    walk.facts.complete = true;
    Ok(walk.facts)
}

struct Walk {
    archive: Archive,
    entries: BTreeMap<String, Indexed>,
    facts: Facts,
    left: u64,
}

impl Walk {
    /// The content of an entry, whose digest is the one that the index says.
    fn content(&mut self, entry: &Indexed, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.archive.content(entry, limit.min(self.left))?;
        self.left -= bytes.len() as u64;
        if Digest::of(&bytes) == entry.digest {
            return Ok(bytes);
        }
        let path = entry.path.escape_debug();
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{path}` is not what the index says of it")))
    }

    fn members(&mut self) {
        let index = self.archive.index();
        for entry in &index.entries {
            self.facts.files.insert(entry.path.clone(), File { digest: entry.digest, size: entry.size, at: entry.at });
        }
        for (of, member) in &index.members {
            // An index does not say modes, and nobody asks here.
            let found = Member { size: member.size, at: member.at, mode: 0, digest: Some(member.digest) };
            let tar = self.facts.components.entry(index.entries[*of].path.clone()).or_default();
            tar.insert(member.path.clone(), found);
        }
    }

    fn texts(&mut self) -> io::Result<()> {
        for (path, limit) in facts::TEXTS {
            if let Some(entry) = self.entries.get(*path).cloned() {
                let bytes = self.content(&entry, *limit)?;
                self.facts.texts.insert((*path).to_owned(), bytes);
            }
        }
        Ok(())
    }

    /// Manifests and configurations of the images that the index of the layout
    /// names.
    fn blobs(&mut self) -> io::Result<()> {
        let index = self.facts.texts.get("images/index.json");
        let index: Manifest = index.and_then(|bytes| model::json::read(bytes).ok()).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut wanted: Vec<Descriptor> = index.into_manifests();
        while let Some(descriptor) = wanted.pop() {
            let hex = descriptor.hex().to_owned();
            let Some(entry) = self.entries.get(&format!("images/blobs/sha256/{hex}")).cloned() else { continue };
            if entry.size > LARGEST_MANIFEST || !seen.insert(hex.clone()) {
                continue;
            }
            let bytes = self.content(&entry, LARGEST_MANIFEST)?;
            if let Some(blob) = Blob::read(&bytes) {
                wanted.extend(blob.manifest.config.iter().chain(blob.manifest.manifests()).cloned());
                self.facts.blobs.insert(hex, blob);
            }
        }
        Ok(())
    }

    /// Charts say their version themselves.
    fn charts(&mut self) -> io::Result<()> {
        let of_components = |(_, member): &&(usize, Indexed)| charts::is_chart(&member.path);
        let all: Vec<Indexed> =
            self.archive.index().members.iter().filter(of_components).map(|(_, member)| member.clone()).collect();
        for chart in all {
            let read = charts::read(BufReader::new(self.archive.reader(&chart)?));
            self.facts.charts.insert(chart.path, read);
        }
        Ok(())
    }
}
