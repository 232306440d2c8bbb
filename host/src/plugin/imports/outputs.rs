//! `outputs`: writing, linking and reading back the output tree.

use std::io::Read as _;
use std::path::Path;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::Answer;
use crate::error::{Class, Error, Result};
use crate::fs;
use crate::plugin::bindings::OutputSink;
use crate::plugin::bindings::outputs::{Host, HostSink};
use crate::plugin::bindings::types::Artifact as WitArtifact;
use crate::plugin::call::{Call, Work};
use crate::plugin::input::{InputTree, Located, hash_file};
use crate::plugin::limits::OPEN_STREAMS;
use crate::plugin::stop::Refusal;
use crate::plugin::stream::FileWriter;
use crate::tree::{Artifact, TreeBuilder, check_path};

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
        let artifact = self.blocking("sink.write", move || output.write(&path, &content, executable)).await?;
        Ok(wit(artifact))
    }

    async fn create(
        &mut self,
        _: Resource<OutputSink>,
        path: String,
        executable: bool,
    ) -> Answer<Resource<DynOutputStream>> {
        let work = self.work("sink.create")?;
        work.writers.retain(FileWriter::is_open);
        if work.writers.len() >= OPEN_STREAMS {
            let message = format!("more than {OPEN_STREAMS} output files are open at the same time");
            return Err(Refusal::denied("open-streams", message));
        }
        let writer = FileWriter::create(work.cx.output.clone(), work.ledger.clone(), &path, executable)?;
        work.writers.push(writer.clone());
        let stream: DynOutputStream = Box::new(writer);
        Ok(self.table.push(stream)?)
    }

    async fn link(
        &mut self,
        _: Resource<OutputSink>,
        source: Resource<InputTree>,
        source_path: String,
        path: String,
    ) -> Answer<WitArtifact> {
        let tree = self.table.get(&source)?;
        let (located, ours) = (tree.locate(&source_path)?, tree.is_ours());
        let work = self.work("sink.link")?;
        work.ledger.charge(&path, if ours { 0 } else { located.size })?;
        let output = work.cx.output.clone();
        let artifact =
            self.blocking("sink.link", move || {
                if ours { link(&located, &path, &output) } else { copy(&located, &path, &output) }
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
        let work = self.work("sink.remove")?;
        work.ledger.check_idle(&path)?;
        if work.cx.output.get(&path).is_some() {
            work.cx.output.discard(&path)?;
            work.ledger.release(&path);
        }
        Ok(())
    }

    async fn drop(&mut self, sink: Resource<OutputSink>) -> wasmtime::Result<()> {
        self.table.delete(sink)?;
        Ok(())
    }
}

/// What this attempt has put at `path`.
fn written(work: &Work, path: &str) -> Result<Located> {
    let absent = || Error::new(Class::NotFound, format!("nothing was written to `{}`", path.escape_debug()));
    let artifact = work.cx.output.get(path).ok_or_else(absent)?;
    Ok(Located {
        path: work.cx.output.root().join(&artifact.path),
        size: artifact.size,
        executable: artifact.executable,
        digest: Some(artifact.digest),
    })
}

fn link(located: &Located, path: &str, output: &TreeBuilder) -> Result<Artifact> {
    let (digest, size) = match located.digest {
        Some(digest) => (digest, located.size),
        None => hash_file(&located.path)?,
    };
    output.link(&located.path, digest, size, path, located.executable)
}

/// The user may edit the original: the output must not change with it.
fn copy(located: &Located, path: &str, output: &TreeBuilder) -> Result<Artifact> {
    let target = output.prepare(path)?;
    fs::remove_file(&target)?;
    copy_bytes(&located.path, &target)?;
    fs::set_mode(&target, if located.executable { 0o755 } else { 0o644 })?;
    let (digest, size) = hash_file(&target)?;
    let artifact = Artifact { path: path.to_owned(), digest, size, executable: located.executable };
    output.record(artifact.clone());
    Ok(artifact)
}

fn copy_bytes(from: &Path, to: &Path) -> Result<()> {
    let mut source = std::fs::File::open(from).map_err(|error| Error::io("cannot read", from, error))?;
    let mut target = fs::create(to)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
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
