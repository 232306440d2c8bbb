//! Files as `wasi:io` streams.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::host_time::HostTime;
use super::ledger::Ledger;
use super::open_files::Slot;
use super::stop::Stop;
use base::digest::Hasher;
use base::error::{Error, Result};
use disk::fs;
use disk::tree::{Artifact, TreeBuilder};

/// Bytes that pass at once.
const CHUNK: usize = 1 << 20;

/// A file that is read front to back.
pub(super) struct FileReader {
    pub(super) file: File,
    /// What errors call it.
    pub(super) path: PathBuf,
    pub(super) time: HostTime,
    pub(super) _slot: Arc<Slot>,
}

fn ends_the_call(error: Error) -> StreamError {
    StreamError::Trap(Stop::Host(error).into())
}

#[async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {}
}

impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let started = Instant::now();
        let mut buffer = vec![0; size.min(CHUNK)];
        let read = self.file.read(&mut buffer);
        self.time.worked(started).map_err(|stop| StreamError::Trap(stop.into()))?;
        match read {
            Ok(0) => Err(StreamError::Closed),
            Ok(count) => {
                buffer.truncate(count);
                Ok(buffer.into())
            }
            Err(error) => Err(ends_the_call(Error::io("cannot read", &self.path, error))),
        }
    }
}

/// A file of the output that is being written. The guest holds one half, the
/// call the other, so that a file that the guest forgot to close is completed
/// when the step returns well, and removed when it does not.
#[derive(Clone)]
pub(super) struct FileWriter(Arc<Mutex<State>>);

struct State {
    open: Option<Open>,
    /// What went wrong after the guest had stopped listening.
    late: Option<Error>,
}

struct Open {
    file: File,
    behind: fs::Behind,
    full: PathBuf,
    path: String,
    executable: bool,
    hasher: Hasher,
    size: u64,
    writing: Writing,
    _slot: Arc<Slot>,
}

/// What every file of an output is written with.
#[derive(Clone)]
pub(super) struct Writing {
    pub(super) output: TreeBuilder,
    pub(super) ledger: Arc<Ledger>,
    pub(super) time: HostTime,
}

impl FileWriter {
    /// Replaces what lies at `path`. The slot is given back when the file is
    /// complete.
    pub(super) fn create(writing: Writing, slot: Arc<Slot>, path: &str, executable: bool) -> Result<Self> {
        let Writing { output, ledger, .. } = &writing;
        ledger.begin(path)?;
        let opened = || {
            output.forget(path);
            let full = output.prepare(path)?;
            // Another name of the same bytes must not be written through.
            fs::remove_file(&full)?;
            Ok((fs::create(&full)?, full))
        };
        let (file, full) = opened().inspect_err(|_: &Error| ledger.release(path))?;
        let hasher = Hasher::new();
        let path = path.to_owned();
        let behind = fs::Behind::default();
        let open = Open { file, behind, full, path, executable, hasher, size: 0, writing, _slot: slot };
        Ok(Self(Arc::new(Mutex::new(State { open: Some(open), late: None }))))
    }

    /// Whether the call still has to hear how it ends: it is open, or was closed
    /// and failed then, which nobody was told.
    pub(super) fn is_owed(&self) -> bool {
        let state = self.lock();
        state.open.is_some() || state.late.is_some()
    }

    /// Completes the file, or says what went wrong when it was completed.
    pub(super) fn finish(&self) -> Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.late.take() {
            return Err(error);
        }
        state.open.take().map_or(Ok(()), Open::finish)
    }

    /// Removes the file.
    pub(super) fn discard(&self) {
        if let Some(open) = self.lock().open.take() {
            let _ = fs::remove_file(&open.full);
            open.writing.ledger.release(&open.path);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let started = Instant::now();
        self.writing.ledger.grow(&self.path, bytes.len() as u64)?;
        self.behind.write_all(&mut self.file, &self.full, bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.writing.time.spend(started.elapsed());
        self.writing.time.check()
    }

    fn finish(self) -> Result<()> {
        let started = Instant::now();
        fs::sync(&self.file, &self.full)?;
        if self.executable {
            fs::set_mode(&self.full, 0o755)?;
        }
        let Self { path, executable, size, writing, .. } = self;
        writing.ledger.end(&path);
        writing.output.record(Artifact { path, digest: self.hasher.finish(), size, executable });
        writing.time.spend(started.elapsed());
        Ok(())
    }
}

#[async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for FileWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut state = self.lock();
        let open = state.open.as_mut().ok_or(StreamError::Closed)?;
        // A full disk, a used up limit: nothing that the guest could mend, and
        // in its own words the class would be lost.
        open.write(&bytes).map_err(ends_the_call)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }

    /// The guest dropped its handle.
    async fn cancel(&mut self) {
        let mut state = self.lock();
        if let Some(open) = state.open.take()
            && let Err(error) = open.finish()
        {
            state.late = Some(error);
        }
    }
}
