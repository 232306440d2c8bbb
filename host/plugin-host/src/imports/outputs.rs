//! `outputs`: writing, linking and reading back the output tree.

use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::Answer;
use crate::bindings::OutputSink;
use crate::bindings::Refusal;
use crate::bindings::outputs::{Host, HostSink};
use crate::bindings::types::Artifact as WitArtifact;
use crate::call::{Call, RunScope};
use crate::input::{InputTree, Located, hash_file};
use crate::stream::{FileWriter, Writing};
use base::error::{Class, Error, Result};
use base::leash::Leash;
use disk::fs;
use disk::tree::{Artifact, TreeBuilder, check_path};

impl Host for Call {}

impl HostSink for Call {
    async fn write(
        &mut self,
        _: Resource<OutputSink>,
        path: String,
        content: Vec<u8>,
        executable: bool,
    ) -> Answer<WitArtifact> {
        let work = self.work("sink.write")?;
        work.ledger.charge(&path, content.len() as u64)?;
        let output = work.cx.output.clone();
        let artifact = self.blocking("sink.write", move |_| output.write(&path, &content, executable)).await?;
        Ok(wit(artifact))
    }

    async fn create(
        &mut self,
        _: Resource<OutputSink>,
        path: String,
        executable: bool,
    ) -> Answer<Resource<DynOutputStream>> {
        let started = Instant::now();
        let (slot, time) = (self.open_files.take()?, self.time_of_host());
        let work = self.work("sink.create")?;
        work.writers.retain(FileWriter::is_owed);
        let writing = Writing { output: work.cx.output.clone(), ledger: work.ledger.clone(), time };
        let writer = FileWriter::create(writing, slot, &path, executable)?;
        work.writers.push(writer.clone());
        let stream: DynOutputStream = Box::new(writer);
        let stream = self.table.push(stream)?;
        self.worked(started).map_err(Refusal::Stop)?;
        Ok(stream)
    }

    async fn link(
        &mut self,
        _: Resource<OutputSink>,
        source: Resource<InputTree>,
        source_path: String,
        path: String,
    ) -> Answer<WitArtifact> {
        let tree = self.table.get(&source)?;
        let (located, tree) = (tree.locate(&source_path)?, tree.clone());
        let work = self.work("sink.link")?;
        work.ledger.charge(&path, if tree.is_kept() { 0 } else { located.size })?;
        let (output, ledger) = (work.cx.output.clone(), work.ledger.clone());
        let artifact = self
            .blocking("sink.link", move |leash| {
                if !tree.is_ours() {
                    return copy(&located, &path, &output, leash);
                }
                let artifact = link(&located, &path, &output, leash)?;
                let more = if tree.is_kept() { fs::multiplied(&located.path, &output.root().join(&path)) } else { 0 };
                ledger.grow(&path, more)?;
                Ok(artifact)
            })
            .await?;
        Ok(wit(artifact))
    }

    async fn read(&mut self, _: Resource<OutputSink>, path: String, limit: u64) -> Answer<Vec<u8>> {
        let located = written(self.work("sink.read")?, &path)?;
        self.read_located(path, located, limit).await
    }

    async fn open(&mut self, _: Resource<OutputSink>, path: String) -> Answer<Resource<DynInputStream>> {
        let located = written(self.work("sink.open")?, &path)?;
        self.open_located(&located)
    }

    async fn remove(&mut self, _: Resource<OutputSink>, path: String) -> Answer<()> {
        check_path(&path)?;
        let started = Instant::now();
        let work = self.work("sink.remove")?;
        work.ledger.check_idle(&path)?;
        if work.cx.output.get(&path).is_some() {
            work.cx.output.discard(&path)?;
            work.ledger.release(&path);
        }
        self.worked(started).map_err(Refusal::Stop)
    }

    async fn drop(&mut self, sink: Resource<OutputSink>) -> wasmtime::Result<()> {
        self.table.delete(sink)?;
        Ok(())
    }
}

/// What this attempt has put at `path`.
fn written(work: &RunScope, path: &str) -> Result<Located> {
    let absent = || Error::new(Class::NotFound, format!("nothing was written to `{}`", path.escape_debug()));
    let artifact = work.cx.output.get(path).ok_or_else(absent)?;
    Ok(Located::made(work.cx.output.root().join(&artifact.path), &artifact))
}

/// A second name: what it is a name of changes no more.
fn link(located: &Located, path: &str, output: &TreeBuilder, leash: &Leash) -> Result<Artifact> {
    let (digest, size) = match located.digest {
        Some(digest) => (digest, located.size),
        None => hash_file(&located.path, leash)?,
    };
    output.link(&located.path, digest, size, path, located.executable)
}

/// The user may edit the original: the output must not change with it.
fn copy(located: &Located, path: &str, output: &TreeBuilder, leash: &Leash) -> Result<Artifact> {
    let target = output.prepare(path)?;
    fs::remove_file(&target)?;
    copy_bytes(&located.path, &target, leash)?;
    fs::set_mode(&target, if located.executable { 0o755 } else { 0o644 })?;
    let (digest, size) = hash_file(&target, leash)?;
    let artifact = Artifact { path: path.to_owned(), digest, size, executable: located.executable };
    output.record(artifact.clone());
    Ok(artifact)
}

fn copy_bytes(from: &Path, to: &Path, leash: &Leash) -> Result<()> {
    let mut source = std::fs::File::open(from).map_err(|error| Error::io("cannot read", from, error))?;
    let mut target = fs::create(to)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        leash.check()?;
        let count = source.read(&mut buffer).map_err(|error| Error::io("cannot read", from, error))?;
        if count == 0 {
            return fs::sync(&target, to);
        }
        fs::write_all(&mut target, to, &buffer[..count])?;
    }
}

pub(super) fn wit(artifact: Artifact) -> WitArtifact {
    let Artifact { path, digest, size, executable } = artifact;
    WitArtifact { path, digest: digest.to_string(), size, executable }
}
