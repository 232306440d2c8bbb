//! stdout and stderr of a guest: beginning and end are kept, the middle is
//! counted. The stream never closes, because guests panic when printing fails;
//! a flood stops the call.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::stop::Stop;

/// What one call printed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Console(Arc<Mutex<Kept>>);

struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Of head and tail each.
    half: usize,
    /// Bytes printed in all.
    printed: u64,
    flood: u64,
}

impl Console {
    /// Keeps `kept` bytes and stops the call beyond `flood`.
    pub(super) fn new(kept: usize, flood: u64) -> Self {
        let half = kept / 2;
        Self(Arc::new(Mutex::new(Kept { head: Vec::new(), tail: VecDeque::new(), half, printed: 0, flood })))
    }

    /// False beyond the flood mark.
    fn print(&self, bytes: &[u8]) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.printed += bytes.len() as u64;
        let room = kept.half - kept.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        kept.head.extend_from_slice(head);
        let rest = &rest[rest.len() - rest.len().min(kept.half)..];
        let over = (kept.tail.len() + rest.len()).saturating_sub(kept.half);
        kept.tail.drain(..over);
        kept.tail.extend(rest);
        kept.printed <= kept.flood
    }

    /// What was kept, with a line that says how much is missing.
    pub(super) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = kept.printed - kept.head.len() as u64 - kept.tail.len() as u64;
        let (front, back) = kept.tail.as_slices();
        let mut bytes = kept.head.clone();
        if missing > 0 {
            bytes.extend_from_slice(format!("\n… {missing} bytes …\n").as_bytes());
        }
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(back);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last `count` lines that say something.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .take(count)
            .map(str::to_owned)
            .collect();
        lines.reverse();
        lines
    }
}

impl IsTerminal for Console {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Console {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Console {
    async fn ready(&mut self) {}
}

/// What a guest may print at once.
const PERMIT: usize = 64 * 1024;

impl OutputStream for Console {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.print(&bytes) { Ok(()) } else { Err(StreamError::Trap(Stop::ConsoleFlood.into())) }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Console {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_tail_are_kept_and_the_middle_is_counted() {
        let console = Console::new(8, 1000);
        assert!(console.print(b"abcd"));
        assert_eq!(console.text(), "abcd");
        assert!(console.print(b"0123456789"));
        assert!(console.print(b"xy"));
        assert_eq!(console.text(), "abcd\n… 8 bytes …\n89xy");
    }

    #[test]
    fn a_flood_is_told_apart_from_much() {
        let console = Console::new(10, 20);
        assert!(console.print(&[b'x'; 20]));
        assert!(!console.print(b"x"));
    }

    #[test]
    fn the_last_lines_skip_empty_ones() {
        let console = Console::new(1000, 1000);
        console.print(b"one\ntwo\n\nthree\n");
        assert_eq!(console.last_lines(2), ["two", "three"]);
    }
}
