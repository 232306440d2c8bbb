//! The body of an answer on its way out. A thread that may block reads, checks
//! and gives one piece after the other; the connection takes them.
//!
//! What is damaged ends the body before its length is reached: the connection is
//! then cut, and no client takes what it has for the whole.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::content::{Content, Sink, Source};
use super::log::LogLine;
use archive::pieces::{Held, Piece};

/// What hyper sends.
pub(super) struct Body {
    inner: Inner,
    left: u64,
    /// Written down when the body is gone.
    entry: LogLine,
}

enum Inner {
    Whole(Bytes),
    Flow { first: Option<Bytes>, rest: Receiver<io::Result<Bytes>> },
}

impl Body {
    /// Bytes that are there.
    pub(super) fn whole(bytes: Bytes, entry: LogLine) -> Self {
        Self { left: bytes.len() as u64, inner: Inner::Whole(bytes), entry }
    }

    /// A part of a source, whose first piece was read.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged; gives the entry back.
    pub(super) async fn of(source: &Source, part: Range<u64>, entry: LogLine) -> Result<Self, (io::Error, LogLine)> {
        let left = part.end - part.start;
        let content = match source {
            Source::Made(bytes) => {
                let range =
                    usize::try_from(part.start).unwrap_or_default()..usize::try_from(part.end).unwrap_or_default();
                return Ok(Self::whole(bytes.slice(range), entry));
            }
            Source::Carried(content) => content.clone(),
        };
        if left == 0 {
            return Ok(Self::whole(Bytes::new(), entry));
        }
        let mut rest = pump(content, part);
        match rest.recv().await {
            Some(Ok(piece)) => Ok(Self { inner: Inner::Flow { first: Some(piece), rest }, left, entry }),
            Some(Err(error)) => Err((error, entry)),
            None => Err((io::Error::other("reading it ended early"), entry)),
        }
    }
}

/// Reads on a thread of its own, one piece ahead.
fn pump(content: Arc<Content>, part: Range<u64>) -> Receiver<io::Result<Bytes>> {
    let (sender, receiver) = channel(1);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = content.send(part, &mut Feed(&sender)) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

impl Source {
    /// Everything from a byte on.
    pub(super) fn stream(&self, from: u64) -> Receiver<io::Result<Bytes>> {
        match self {
            Self::Made(bytes) => {
                let (sender, receiver) = channel(1);
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                drop(sender.try_send(Ok(bytes.slice(from..))));
                receiver
            }
            Self::Carried(content) => pump(content.clone(), from.min(content.size())..content.size()),
        }
    }
}

struct Feed<'a>(&'a Sender<io::Result<Bytes>>);

impl Sink for Feed<'_> {
    /// Nothing is read as long as there is no room for it.
    fn has_room(&mut self, held: &mut Held) -> bool {
        match self.0.try_reserve() {
            Ok(_) => true,
            Err(TrySendError::Closed(())) => false,
            Err(TrySendError::Full(())) => {
                held.release();
                Handle::current().block_on(self.0.reserve()).is_ok()
            }
        }
    }

    fn take(&mut self, piece: Piece) -> bool {
        self.0.blocking_send(Ok(Bytes::from_owner(piece))).is_ok()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let next = match &mut self.inner {
            Inner::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Inner::Flow { first, rest } => match first.take() {
                Some(first) => Some(Ok(first)),
                None => match rest.poll_recv(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(piece) => piece,
                },
            },
        };
        let next = next.unwrap_or_else(|| Err(io::Error::other("reading it ended early")));
        match &next {
            Ok(bytes) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                self.entry.sent(bytes.len() as u64);
            }
            Err(error) => {
                self.entry.broke(error);
                self.left = 0;
            }
        }
        Poll::Ready(Some(next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
