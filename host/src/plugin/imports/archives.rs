//! `archives`: unpacking and packing, done by the host.

use wasmtime::component::Resource;

use super::Answer;
use super::outputs::wit;
use crate::archive::unpack::{UnpackLimits, unpack};
use crate::archive::writer::{self, ArchiveWriter, Entry};
use crate::error::Result;
use crate::plugin::archive_handle::ArchiveHandle;
use crate::plugin::bindings::OutputSink;
use crate::plugin::bindings::archives::{Added, Compression, Content, Host, HostArchive, Limits, Member};
use crate::plugin::bindings::types::Artifact as WitArtifact;
use crate::plugin::call::Call;
use crate::plugin::input::InputTree;
use crate::plugin::stop::Refusal;
use crate::transaction::UNPACKED;
use crate::tree::{Artifact, Tree, TreeBuilder};

impl Host for Call {
    async fn unpack(
        &mut self,
        source: Resource<InputTree>,
        path: String,
        limits: Limits,
    ) -> Answer<Resource<InputTree>> {
        let located = self.table.get(&source)?.locate(&path)?;
        let work = self.work("archives.unpack")?;
        work.unpacked += 1;
        let root = work.staging.join(UNPACKED).join(work.unpacked.to_string());
        let largest = work.cx.largest_unpacked;
        let limits = UnpackLimits { total: limits.total.min(largest), entries: limits.entries };
        let unpacked = self
            .blocking("archives.unpack", move || {
                let builder = TreeBuilder::new(root.clone());
                let result = unpack(&located.path, &builder, limits);
                // Owns the directory from here on, so that a failure leaves
                // nothing behind.
                let tree = InputTree::unpacked(Tree { root, listing: builder.listing().into() });
                result.map_err(|error| error.context(format!("`{}` can not be unpacked", path.escape_debug())))?;
                Ok(tree)
            })
            .await
            .map_err(as_unsafe)?;
        Ok(self.table.push(unpacked)?)
    }
}

impl HostArchive for Call {
    async fn new(
        &mut self,
        _: Resource<OutputSink>,
        path: String,
        compression: Compression,
    ) -> wasmtime::Result<Resource<ArchiveHandle>> {
        let work = match self.work("archives.archive") {
            Ok(work) => work,
            Err(refusal) => return Err(refusal.into_error()),
        };
        let compression = match compression {
            Compression::None => writer::Compression::None,
            Compression::Zstd => writer::Compression::Zstd,
        };
        let progress = work.cx.progress.clone();
        let writer = work.ledger.charge(&path, 0).and_then(|()| work.cx.output.prepare(&path)).and_then(|full| {
            work.cx.output.forget(&path);
            crate::fs::remove_file(&full)?;
            Ok(ArchiveWriter::create(full, compression)?.watched_by(progress))
        });
        Ok(self.table.push(ArchiveHandle::new(path, writer))?)
    }

    async fn add(
        &mut self,
        archive: Resource<ArchiveHandle>,
        trees: Vec<Resource<InputTree>>,
        members: Vec<Member>,
    ) -> Answer<Vec<Added>> {
        let entries = self.entries_of(&trees, members)?;
        let job = self.table.get(&archive)?.job(move |writer| {
            entries.into_iter().map(|entry| writer.add(entry).map(added)).collect::<Result<Vec<_>>>()
        });
        self.blocking("archive.add", job).await
    }

    async fn add_tree(
        &mut self,
        archive: Resource<ArchiveHandle>,
        source: Resource<InputTree>,
        prefix: String,
    ) -> Answer<Vec<Added>> {
        let tree = self.table.get(&source)?.clone();
        let job = self.table.get(&archive)?.job(move |writer| {
            let entries = tree_entries(&tree, &prefix)?;
            entries.into_iter().map(|entry| writer.add(entry).map(added)).collect::<Result<Vec<_>>>()
        });
        self.blocking("archive.add-tree", job).await
    }

    async fn add_nested(
        &mut self,
        archive: Resource<ArchiveHandle>,
        path: String,
        mode: u32,
        trees: Vec<Resource<InputTree>>,
        members: Vec<Member>,
    ) -> Answer<Added> {
        let entries = self.entries_of(&trees, members)?;
        let job = self.table.get(&archive)?.job(move |writer| writer.add_nested(&path, mode, entries).map(added));
        self.blocking("archive.add-nested", job).await
    }

    async fn finish(&mut self, archive: Resource<ArchiveHandle>) -> Answer<WitArtifact> {
        let handle = self.table.get(&archive)?;
        let (writer, path) = (handle.take()?, handle.path.clone());
        let (digest, size) = self.blocking("archive.finish", move || writer.finish()).await?;
        let artifact = Artifact { path, digest, size, executable: false };
        self.work("archive.finish")?.cx.output.record(artifact.clone());
        Ok(wit(artifact))
    }

    async fn drop(&mut self, archive: Resource<ArchiveHandle>) -> wasmtime::Result<()> {
        let handle = self.table.delete(archive)?;
        if let (Ok(_unfinished), Some(work)) = (handle.take(), &self.work) {
            work.ledger.release(&handle.path);
        }
        Ok(())
    }
}

impl Call {
    /// Members with the files that they mean.
    fn entries_of(&self, trees: &[Resource<InputTree>], members: Vec<Member>) -> Answer<Vec<Entry>> {
        let trees: Vec<&InputTree> =
            trees.iter().map(|tree| self.table.get(tree)).collect::<std::result::Result<_, _>>()?;
        members.into_iter().map(|member| entry_of(&trees, member)).collect()
    }
}

fn entry_of(trees: &[&InputTree], member: Member) -> Answer<Entry> {
    let Member { path, mode, content } = member;
    Ok(match content {
        Content::Bytes(bytes) => Entry::bytes(path, mode, bytes),
        Content::Directory => Entry::directory(path, mode),
        Content::File((index, source)) => {
            let tree = usize::try_from(index).ok().and_then(|index| trees.get(index));
            let tree = tree.ok_or_else(|| {
                Refusal::invalid(
                    "tree-index",
                    format!("member `{}` names tree {index} of {}", path.escape_debug(), trees.len()),
                )
            })?;
            let located = tree.locate(&source)?;
            Entry::file(path, mode, located.path, located.size, located.digest)
        }
    })
}

/// Everything of a tree, below `prefix` in the archive.
fn tree_entries(tree: &InputTree, prefix: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tree.entries("")? {
        if entry.kind != crate::plugin::bindings::trees::EntryKind::File {
            continue;
        }
        let located = tree.locate(&entry.path)?;
        let path = if prefix.is_empty() { entry.path } else { format!("{prefix}/{}", entry.path) };
        let mode = if located.executable { 0o755 } else { 0o644 };
        entries.push(Entry::file(path, mode, located.path, located.size, located.digest));
    }
    Ok(entries)
}

fn added(added: writer::Added) -> Added {
    Added { path: added.path, sha256: added.digest.hex(), size: added.size }
}

/// An archive that can not be unpacked safely has a code of its own.
fn as_unsafe(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Step(crate::plugin::bindings::types::StepError::InvalidInput(failure)) => {
            Refusal::invalid("unsafe-archive", failure.message)
        }
        other => other,
    }
}
