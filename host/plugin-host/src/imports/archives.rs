//! `archives`: unpacking and packing, done by the host.

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;

use super::Answer;
use super::outputs::wit;
use crate::archive_handle::{Archive, ArchiveHandle};
use crate::bindings::OutputSink;
use crate::bindings::Refusal;
use crate::bindings::archives::{Added, Compression, Content as WitContent, Host, HostArchive, Limits, Member};
use crate::bindings::types::{Artifact as WitArtifact, Failure, StepError};
use crate::call::Call;
use crate::input::{self, InputTree};
use crate::limits::{ENTRY_BYTES, OPEN_ARCHIVES, PACKED_FILES};
use archive::unpack::{Source, TOO_LARGE, UnpackLimits, unpack};
use archive::{ArchiveWriter, Content, NewMember};
use base::error::{Class, Error, Result};
use base::layout::UNPACKED;
use base::leash::Leash;
use disk::tree::{Artifact, Tree, TreeBuilder};

impl Host for Call {
    async fn unpack(
        &mut self,
        source: Resource<InputTree>,
        path: String,
        limits: Limits,
    ) -> Answer<Resource<InputTree>> {
        let located = self.table.get(&source)?.locate(&path)?;
        let time = self.time_of_host();
        let work = self.work("archives.unpack")?;
        work.unpacked += 1;
        let root = work.staging.join(UNPACKED).join(work.unpacked.to_string());
        let room = work.room.clone();
        let (limits, hint) = room.limits(UnpackLimits { total: limits.total, entries: limits.entries });
        let unpacked = self
            .blocking("archives.unpack", move |leash| {
                let builder = TreeBuilder::new(root.clone());
                let shown = path.escape_debug().to_string();
                let source = Source { path: &located.path, shown: &shown, leash };
                let result = unpack(source, &builder, limits);
                // Owns the directory from here on, so that a failure leaves
                // nothing behind.
                let takes = *result.as_ref().unwrap_or(&limits);
                let tree = InputTree::unpacked(Tree { root, listing: builder.listing().into() }, &room, takes, time);
                result.map_err(|error| error.context(format!("`{shown}` can not be unpacked"))).map_err(|error| {
                    match hint {
                        Some(hint) if error.code() == Some(TOO_LARGE) => error.hint(hint),
                        _ => error,
                    }
                })?;
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
            Compression::None => archive::Compression::None,
            Compression::Zstd => archive::Compression::Zstd,
        };
        let slot = work.archives.clone().try_acquire_owned().map_err(|_| {
            Error::new(Class::Plugin, format!("more than {OPEN_ARCHIVES} archives would be written at the same time"))
                .hint("finish one archive before the next is begun")
        });
        let create = |slot: OwnedSemaphorePermit| {
            let full = work.cx.output.prepare(&path)?;
            work.cx.output.forget(&path);
            disk::fs::remove_file(&full)?;
            Ok(Archive {
                writer: ArchiveWriter::create(full, compression)?.watched_by(work.cx.progress.clone()),
                _slot: slot,
            })
        };
        let writer = slot.and_then(|slot| {
            work.ledger.begin(&path)?;
            create(slot).inspect_err(|_: &Error| work.ledger.release(&path))
        });
        Ok(self.table.push(ArchiveHandle::new(path, writer))?)
    }

    async fn add(
        &mut self,
        archive: Resource<ArchiveHandle>,
        trees: Vec<Resource<InputTree>>,
        members: Vec<Member>,
    ) -> Answer<Vec<Added>> {
        let entries = self.entries_of("archive.add", &trees, members).await?;
        self.add_entries("archive.add", &archive, entries).await
    }

    async fn add_tree(
        &mut self,
        archive: Resource<ArchiveHandle>,
        source: Resource<InputTree>,
        prefix: String,
    ) -> Answer<Vec<Added>> {
        let tree = self.table.get(&source)?.clone();
        let entries = self.blocking("archive.add-tree", move |leash| tree_entries(&tree, &prefix, leash)).await?;
        self.add_entries("archive.add-tree", &archive, entries).await
    }

    async fn add_nested(
        &mut self,
        archive: Resource<ArchiveHandle>,
        path: String,
        mode: u32,
        trees: Vec<Resource<InputTree>>,
        members: Vec<Member>,
    ) -> Answer<Added> {
        let entries = self.entries_of("archive.add-nested", &trees, members).await?;
        self.charge(&archive, &entries)?;
        let handle = self.table.get(&archive)?;
        let job =
            handle.job(move |writer, leash| writer.leashed(leash.clone()).add_nested(&path, mode, entries).map(added));
        self.blocking("archive.add-nested", job).await
    }

    async fn finish(&mut self, archive: Resource<ArchiveHandle>) -> Answer<WitArtifact> {
        let handle = self.table.get(&archive)?;
        let (archive, path) = (handle.take()?, handle.path.clone());
        let finished = self.blocking("archive.finish", move |_| archive.writer.finish()).await;
        let work = self.work("archive.finish")?;
        let (digest, size) = finished.inspect_err(|_| work.ledger.release(&path))?;
        work.ledger.end(&path);
        let artifact = Artifact { path, digest, size, executable: false };
        work.cx.output.record(artifact.clone());
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
    async fn entries_of(
        &mut self,
        function: &'static str,
        trees: &[Resource<InputTree>],
        members: Vec<Member>,
    ) -> Answer<Vec<NewMember>> {
        let trees: Vec<InputTree> =
            trees.iter().map(|tree| self.table.get(tree).cloned()).collect::<std::result::Result<_, _>>()?;
        let find = move |leash: &Leash| {
            let found = |member| leash.check().and_then(|()| entry_of(&trees, member));
            members.into_iter().map(found).collect::<Result<Vec<_>>>()
        };
        self.blocking(function, find).await
    }

    async fn add_entries(
        &mut self,
        function: &'static str,
        archive: &Resource<ArchiveHandle>,
        entries: Vec<NewMember>,
    ) -> Answer<Vec<Added>> {
        self.charge(archive, &entries)?;
        let job = self.table.get(archive)?.job(move |writer, leash| {
            let writer = writer.leashed(leash.clone());
            entries.into_iter().map(|entry| writer.add(entry).map(added)).collect::<Result<Vec<_>>>()
        });
        self.blocking(function, job).await
    }

    /// What a pinned plugin packs counts as its output, but for the first time
    /// that a file goes in: that much lies on the disk already, and it is what
    /// packing is for. What it unpacked goes again, so that counts each time.
    /// Core plugins pack what the configuration names.
    fn charge(&mut self, archive: &Resource<ArchiveHandle>, entries: &[NewMember]) -> Answer<()> {
        let path = self.table.get(archive)?.path.clone();
        let work = self.work("archive.add")?;
        if work.is_core {
            return Ok(());
        }
        let unpacked = work.staging.join(UNPACKED);
        let mut bytes = 0u64;
        for entry in entries {
            bytes += ENTRY_BYTES;
            match &entry.content {
                Content::Bytes(content) => bytes += content.len() as u64,
                Content::File { path, size, .. }
                    if path.starts_with(&unpacked)
                        || work.packed.len() >= PACKED_FILES
                        || !work.packed.insert(path.clone()) =>
                {
                    bytes += size;
                }
                Content::File { .. } | Content::Directory => {}
            }
        }
        Ok(work.ledger.grow(&path, bytes)?)
    }
}

fn entry_of(trees: &[InputTree], member: Member) -> Result<NewMember> {
    let Member { path, mode, content } = member;
    Ok(match content {
        WitContent::Bytes(bytes) => NewMember::bytes(path, mode, bytes),
        WitContent::Directory => NewMember::directory(path, mode),
        WitContent::File((index, source)) => {
            let tree = usize::try_from(index).ok().and_then(|index| trees.get(index));
            let tree = tree.ok_or_else(|| {
                Error::invalid(format!("member `{}` names tree {index} of {}", path.escape_debug(), trees.len()))
            })?;
            let located = tree.locate(&source)?;
            NewMember::file(path, mode, located.path, located.size, located.digest)
        }
    })
}

/// Everything of a tree, below `prefix` in the archive.
fn tree_entries(tree: &InputTree, prefix: &str, leash: &Leash) -> Result<Vec<NewMember>> {
    let mut entries = Vec::new();
    for entry in tree.entries("", leash)? {
        leash.check()?;
        if entry.kind != input::EntryKind::File {
            continue;
        }
        let located = tree.locate(&entry.path)?;
        let path = if prefix.is_empty() { entry.path } else { format!("{prefix}/{}", entry.path) };
        let mode = if located.executable { 0o755 } else { 0o644 };
        entries.push(NewMember::file(path, mode, located.path, located.size, located.digest));
    }
    Ok(entries)
}

fn added(added: archive::Added) -> Added {
    Added { path: added.path, sha256: added.digest.hex(), size: added.size }
}

/// An archive that can not be unpacked safely has a code of its own.
fn as_unsafe(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Step(StepError::InvalidInput(failure)) => {
            let code = if failure.code == TOO_LARGE { failure.code } else { "unsafe-archive".to_owned() };
            Refusal::Step(StepError::InvalidInput(Failure { code, ..failure }))
        }
        other => other,
    }
}
