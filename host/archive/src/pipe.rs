//! Bytes from one thread to another, in buffers that go round: memory stays the
//! same, however much passes.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

/// The end where bytes go in.
pub struct Feed {
    full: SyncSender<io::Result<Filled>>,
    empty: Receiver<Vec<u8>>,
    size: usize,
}

/// A buffer and how much of it counts.
struct Filled {
    buffer: Vec<u8>,
    length: usize,
}

impl Feed {
    /// One to fill; its length is that of all.
    pub fn buffer(&self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_else(|_| vec![0; self.size])
    }

    /// Passes on the first `length` bytes. False when nobody reads on.
    pub fn send(&self, buffer: Vec<u8>, length: usize) -> bool {
        self.full.send(Ok(Filled { buffer, length })).is_ok()
    }

    /// What whoever reads comes upon at the end.
    pub fn fail(&self, error: io::Error) {
        let _ = self.full.send(Err(error));
    }
}

/// The end where bytes come out.
pub struct Pipe {
    full: Receiver<io::Result<Filled>>,
    empty: Sender<Vec<u8>>,
    current: Filled,
    at: usize,
    taken: u64,
}

/// Both ends, with so many buffers of so many bytes between them.
pub fn pipe(size: usize, buffers: usize) -> (Feed, Pipe) {
    let (full, receive) = mpsc::sync_channel(buffers);
    let (empty, reuse) = mpsc::channel();
    let current = Filled { buffer: Vec::new(), length: 0 };
    (Feed { full, empty: reuse, size }, Pipe { full: receive, empty, current, at: 0, taken: 0 })
}

impl Pipe {
    /// Bytes of the buffers that came so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.length
            && let Ok(next) = self.full.recv()
        {
            let used = std::mem::replace(&mut self.current, next?);
            if !used.buffer.is_empty() {
                let _ = self.empty.send(used.buffer);
            }
            self.at = 0;
            self.taken += self.current.length as u64;
        }
        Ok(&self.current.buffer[self.at..self.current.length])
    }

    fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.current.length);
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// As much as fits, unless the input ends or fails; what was read before a
/// failure counts.
pub fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that nothing is lost between the ends, and that a failure comes
    /// behind what was read before it.
    #[test]
    fn everything_comes_out_in_order_and_the_error_last() {
        let (feed, mut pipe) = pipe(8, 2);
        let sender = std::thread::spawn(move || {
            let mut input = (0..100u8).collect::<Vec<u8>>();
            let mut rest = input.as_mut_slice() as &[u8];
            loop {
                let mut buffer = feed.buffer();
                let (length, result) = fill(&mut rest, &mut buffer);
                result.unwrap();
                if length == 0 {
                    return feed.fail(io::Error::other("over"));
                }
                assert!(feed.send(buffer, length));
            }
        });
        let mut out = Vec::new();
        let error = pipe.read_to_end(&mut out).unwrap_err();
        assert_eq!((out, error.to_string()), ((0..100).collect(), "over".to_owned()));
        assert_eq!(pipe.taken(), 100);
        sender.join().unwrap();
    }
}
