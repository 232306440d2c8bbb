//! The threads behind an archive: compress, hash, write.
//!
//! The caller fills segments of at most 2 MiB. A segment that is stored goes
//! straight to the sink; one that is compressed goes to the workers, and the
//! sink waits for it at its place. The sink hashes and writes everything in
//! order. Six segments exist at a time, so a slow disk holds up the caller and
//! memory stays the same whatever is archived.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::frames::{self, RAW_BLOCK, SEGMENT, Treatment};
use super::index::{List, Table};
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use disk::fs;

/// Segments in the making, in compression and on the way to the disk.
const SEGMENTS: usize = 6;
/// How often a caller that waits for a segment looks whether the sink lives.
const PULSE: Duration = Duration::from_secs(1);

/// Content that will become one frame.
struct Segment {
    buffer: Vec<u8>,
    treatment: Treatment,
    /// Bytes of content so far.
    filled: usize,
}

impl Segment {
    fn offset(&self) -> usize {
        match self.treatment {
            Treatment::Store => frames::raw_offset(self.filled),
            _ => self.filled,
        }
    }

    /// How many bytes may follow in one piece.
    fn room(&self) -> usize {
        match self.treatment {
            Treatment::Store if self.filled < SEGMENT => RAW_BLOCK - self.filled % RAW_BLOCK,
            treatment => treatment.capacity() - self.filled,
        }
    }

    /// The bytes as they go into the archive, for what is not compressed.
    fn sealed(&mut self) -> &[u8] {
        match self.treatment {
            Treatment::Store => {
                let length = frames::stored_length(self.filled);
                frames::seal_stored(&mut self.buffer[..length], self.filled);
                &self.buffer[..length]
            }
            _ => &self.buffer[..self.filled],
        }
    }
}

/// What the sink gets, in the order of the archive.
enum Item {
    Ready(Segment),
    /// A frame to come, and the bytes of its content.
    Compressed(Receiver<std::io::Result<Vec<u8>>>, usize),
    /// A frame of another archive, and the bytes of its content.
    Frame(Vec<u8>, usize),
    /// What lies in the file already: a frame and the bytes of its content, or
    /// some of a plain tar.
    Kept(Vec<u8>, Option<usize>),
    /// A frame without content, which the table does not list.
    List(Vec<u8>),
}

/// A segment for the workers.
struct Job {
    segment: Segment,
    level: i32,
    reply: SyncSender<std::io::Result<Vec<u8>>>,
}

/// The caller's end of the threads.
pub(super) struct Pipeline {
    path: PathBuf,
    current: Option<Segment>,
    free: Receiver<Vec<u8>>,
    allocated: usize,
    recycle: Sender<Vec<u8>>,
    items: Option<SyncSender<Item>>,
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    worker_count: usize,
    sink: Option<JoinHandle<Result<(Digest, u64)>>>,
    failed: Arc<AtomicBool>,
}

impl Pipeline {
    /// Starts the sink. Workers start with the first segment to compress.
    pub(super) fn new(file: File, path: &Path, worker_count: usize) -> Result<Self> {
        let (recycle, free) = mpsc::channel();
        let (items, received) = mpsc::sync_channel(SEGMENTS);
        let failed = Arc::new(AtomicBool::new(false));
        let sink = Sink {
            file,
            path: path.to_path_buf(),
            hasher: Hasher::new(),
            written: 0,
            table: Table::default(),
            recycle: recycle.clone(),
            failed: failed.clone(),
        };
        let sink = spawn("archive-sink", move || sink.run(&received))?;
        Ok(Self {
            path: path.to_path_buf(),
            current: None,
            free,
            allocated: 0,
            recycle,
            items: Some(items),
            jobs: None,
            workers: Vec::new(),
            worker_count: worker_count.max(1),
            sink: Some(sink),
            failed,
        })
    }

    pub(super) fn write(&mut self, treatment: Treatment, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let space = self.space(treatment, bytes.len())?;
            let length = space.len();
            space.copy_from_slice(&bytes[..length]);
            self.advance(length);
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Room for the next bytes: at least one and at most `wanted`, which is
    /// more than none. What is filled is told to [`Pipeline::advance`].
    pub(super) fn space(&mut self, treatment: Treatment, wanted: usize) -> Result<&mut [u8]> {
        let segment = match self.current.take() {
            Some(segment) if segment.treatment == treatment && segment.room() > 0 => segment,
            other => {
                self.current = other;
                self.cut()?;
                Segment { buffer: self.buffer()?, treatment, filled: 0 }
            }
        };
        let (offset, room) = (segment.offset(), segment.room());
        let segment = self.current.insert(segment);
        Ok(&mut segment.buffer[offset..offset + room.min(wanted)])
    }

    pub(super) fn advance(&mut self, length: usize) {
        if let Some(segment) = &mut self.current {
            segment.filled += length;
        }
    }

    /// Takes over a frame as it is, with so many bytes of content.
    pub(super) fn frame(&mut self, frame: Vec<u8>, content: usize) -> Result<()> {
        self.cut()?;
        self.send(Item::Frame(frame, content))
    }

    /// Counts in what lies in the file already.
    pub(super) fn keep(&mut self, bytes: Vec<u8>, content: Option<usize>) -> Result<()> {
        self.send(Item::Kept(bytes, content))
    }

    /// Waits until everything is on the disk, with the index of what is
    /// compressed behind it: `list` makes its first part. Gives digest and size.
    pub(super) fn finish(mut self, list: Option<List>) -> Result<(Digest, u64)> {
        self.cut()?;
        if let Some(list) = list {
            let frame = list.frame().map_err(|source| Error::io("cannot index", &self.path, source))?;
            self.send(Item::List(frame))?;
        }
        self.close()
    }

    /// Hands the current segment on.
    fn cut(&mut self) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(self.failure());
        }
        let Some(segment) = self.current.take().filter(|segment| segment.filled > 0) else { return Ok(()) };
        let item = match segment.treatment.level() {
            None => Item::Ready(segment),
            Some(level) => {
                let (reply, answer) = mpsc::sync_channel(1);
                let content = segment.filled;
                self.submit(Job { segment, level, reply })?;
                Item::Compressed(answer, content)
            }
        };
        self.send(item)
    }

    fn send(&mut self, item: Item) -> Result<()> {
        let sent = self.items.as_ref().is_some_and(|items| items.send(item).is_ok());
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    fn submit(&mut self, job: Job) -> Result<()> {
        if self.jobs.is_none() {
            self.start_workers()?;
        }
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Error::local("the compression threads of the archive ended early")) }
    }

    fn start_workers(&mut self) -> Result<()> {
        let (jobs, received) = mpsc::channel();
        let received = Arc::new(Mutex::new(received));
        for _ in 0..self.worker_count {
            let (received, recycle) = (received.clone(), self.recycle.clone());
            self.workers.push(spawn("archive-zstd", move || compress_jobs(&received, &recycle))?);
        }
        self.jobs = Some(jobs);
        Ok(())
    }

    /// An empty buffer, as soon as there is one.
    fn buffer(&mut self) -> Result<Vec<u8>> {
        if let Ok(buffer) = self.free.try_recv() {
            return Ok(buffer);
        }
        if self.allocated < SEGMENTS {
            self.allocated += 1;
            return Ok(vec![0; frames::stored_length(SEGMENT)]);
        }
        loop {
            match self.free.recv_timeout(PULSE) {
                Ok(buffer) => return Ok(buffer),
                Err(RecvTimeoutError::Timeout) if self.sink.as_ref().is_some_and(|sink| !sink.is_finished()) => {}
                Err(_) => return Err(self.failure()),
            }
        }
    }

    /// Why the sink stopped.
    fn failure(&mut self) -> Error {
        match self.close() {
            Err(error) => error,
            Ok(_) => Error::local(format!("writing `{}` ended early", self.path.display())),
        }
    }

    /// Ends the threads and waits for them.
    fn close(&mut self) -> Result<(Digest, u64)> {
        self.jobs = None;
        self.items = None;
        let ended = self.sink.take().map(JoinHandle::join);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        match ended {
            Some(Ok(result)) => result,
            _ => Err(Error::local(format!("writing `{}` ended early", self.path.display()))),
        }
    }
}

impl Drop for Pipeline {
    /// No thread writes after this.
    fn drop(&mut self) {
        if self.sink.is_some() {
            let _ = self.close();
        }
    }
}

/// Hashes and writes, in order.
struct Sink {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    written: u64,
    table: Table,
    recycle: Sender<Vec<u8>>,
    failed: Arc<AtomicBool>,
}

impl Sink {
    /// After a failure the rest is received and dropped, so that the caller is
    /// never left waiting for a buffer.
    fn run(mut self, items: &Receiver<Item>) -> Result<(Digest, u64)> {
        let mut result = Ok(());
        for item in items {
            if result.is_ok() {
                result = self.take(item);
                self.failed.store(result.is_err(), Ordering::Relaxed);
            } else if let Item::Ready(segment) = item {
                let _ = self.recycle.send(segment.buffer);
            }
        }
        result?;
        fs::sync(&self.file, &self.path)?;
        fs::checkpoint("archive-finished");
        Ok((self.hasher.finish(), self.written))
    }

    fn take(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Ready(mut segment) => {
                let content = segment.filled;
                let sealed = segment.sealed();
                let written = self.listed(sealed.len(), content).and_then(|()| self.put(sealed));
                let _ = self.recycle.send(segment.buffer);
                written
            }
            Item::Frame(frame, content) => {
                self.listed(frame.len(), content)?;
                self.put(&frame)
            }
            Item::Kept(bytes, content) => {
                content.map_or(Ok(()), |content| self.listed(bytes.len(), content))?;
                self.hasher.update(&bytes);
                self.written += bytes.len() as u64;
                Ok(())
            }
            Item::List(frame) => {
                self.put(&frame)?;
                let table = self.table.frame().map_err(|source| Error::io("cannot index", &self.path, source))?;
                self.put(&table)
            }
            Item::Compressed(answer, content) => {
                let frame =
                    answer.recv().map_err(|_| Error::local("a compression thread of the archive ended early"))?;
                let frame = frame.map_err(|source| Error::io("cannot compress for", &self.path, source))?;
                self.listed(frame.len(), content)?;
                self.put(&frame)
            }
        }
    }

    fn listed(&mut self, compressed: usize, content: usize) -> Result<()> {
        self.table.add(compressed, content).map_err(|source| Error::io("cannot index", &self.path, source))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| Error::io("cannot write", &self.path, source))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// A worker: takes jobs until there are none.
fn compress_jobs(jobs: &Mutex<Receiver<Job>>, recycle: &Sender<Vec<u8>>) {
    let mut compressor = frames::compressor();
    loop {
        let Ok(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv() else { return };
        let Job { segment, level, reply } = job;
        let frame = match &mut compressor {
            Ok(compressor) => frames::compress(compressor, &segment.buffer[..segment.filled], level),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        };
        let _ = recycle.send(segment.buffer);
        let _ = reply.send(frame);
    }
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(|source| Error::local(format!("cannot start the thread `{name}`")).caused_by(source))
}
