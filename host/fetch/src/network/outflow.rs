//! The body of a request that sends something: held in memory, or read anew for
//! each try. It leaves in small pieces, so that whoever waits for the answer sees
//! whether the server still takes any.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::Body;
use tokio::sync::mpsc::Receiver;

/// Bytes that leave at a time.
const PIECE: usize = 64 << 10;

/// The content of something that is sent, in its order.
pub type Pieces = Receiver<io::Result<Bytes>>;

/// Opens something that is sent, from a byte of it on.
pub type Opened = Arc<dyn Fn(u64) -> Pieces + Send + Sync>;

#[derive(Clone)]
pub(super) enum Outflow {
    Held(Bytes),
    Read { open: Opened, size: u64 },
}

/// How much of a body has left, and what kept the rest from it.
#[derive(Default)]
pub(super) struct Pulse {
    left: AtomicU64,
    broken: Mutex<Option<io::Error>>,
}

impl Outflow {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Read { size, .. } => *size,
        }
    }

    /// Whether it goes as it is.
    pub(super) fn is_small(&self) -> bool {
        matches!(self, Self::Held(bytes) if bytes.len() <= PIECE)
    }

    pub(super) fn body(&self, pulse: &Arc<Pulse>) -> Body {
        let pulse = pulse.clone();
        match self {
            Self::Held(bytes) if self.is_small() => bytes.clone().into(),
            Self::Held(bytes) => {
                let bytes = bytes.clone();
                let starts = (0..bytes.len()).step_by(PIECE);
                let pieces = starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE))));
                Body::wrap_stream(stream::iter(pieces).map(move |piece| pulse.count(piece)))
            }
            Self::Read { open, .. } => {
                let mut pieces = open(0);
                let flow = stream::poll_fn(move |context| pieces.poll_recv(context));
                Body::wrap_stream(flow.map(move |piece| pulse.count(piece)))
            }
        }
    }
}

impl Pulse {
    fn count(&self, piece: io::Result<Bytes>) -> io::Result<Bytes> {
        match piece {
            Ok(bytes) => {
                self.left.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(error) => {
                *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    /// Waits for an answer; None where for `patience` neither it came nor
    /// anything left.
    pub(super) async fn answered<F: Future>(&self, patience: Duration, sending: F) -> Option<F::Output> {
        let mut sending = pin!(sending);
        loop {
            let before = self.left.load(Ordering::Relaxed);
            match tokio::time::timeout(patience, sending.as_mut()).await {
                Ok(output) => return Some(output),
                Err(_) if self.left.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }

    /// Why what was to be sent could not be read.
    pub(super) fn broken(&self) -> Option<io::Error> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow line is no silence.
    #[tokio::test]
    async fn who_still_takes_something_is_waited_for() {
        let (pulse, patience) = (Pulse::default(), Duration::from_millis(400));
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                pulse.count(Ok(Bytes::from_static(b"piece"))).unwrap();
            }
            "answered"
        };
        assert_eq!(pulse.answered(patience, slow).await, Some("answered"));
        assert_eq!(pulse.answered(patience, std::future::pending::<()>()).await, None);
        assert!(pulse.count(Err(io::Error::other("damaged"))).is_err());
        assert_eq!(pulse.broken().unwrap().to_string(), "damaged");
    }
}
