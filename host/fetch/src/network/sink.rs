//! Where the pieces of a body go: into memory, or to a thread that writes and
//! hashes, so that a slow disk blocks no other download.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::blocking::panicked;
use super::buffer::Buffer;
use crate::store::Partial;
use base::error::Result;

/// Pieces that wait for the writing thread.
const WAITING_PIECES: usize = 1;

/// Takes what comes while a body is read.
pub(super) enum Sink {
    Small(Vec<u8>),
    Large { orders: mpsc::Sender<Order>, thread: JoinHandle<Result<Box<Partial>>> },
}

/// What the writing thread is told.
pub(super) enum Order {
    Write(Bytes),
    Sync,
    /// The body is whole: what follows is the commit, which syncs anyway.
    End,
}

impl Sink {
    pub(super) fn new(buffer: Buffer) -> Self {
        match buffer {
            Buffer::Small(bytes) => Sink::Small(bytes),
            Buffer::Large(partial) => {
                let (orders, receiver) = mpsc::channel(WAITING_PIECES);
                Sink::Large { orders, thread: tokio::task::spawn_blocking(move || obey(partial, receiver)) }
            }
        }
    }

    /// False when the writing thread failed; `close` says why.
    pub(super) async fn write(&mut self, piece: Bytes) -> bool {
        match self {
            Sink::Small(bytes) => {
                bytes.extend_from_slice(&piece);
                true
            }
            Sink::Large { orders, .. } => orders.send(Order::Write(piece)).await.is_ok(),
        }
    }

    pub(super) async fn sync(&mut self) {
        if let Sink::Large { orders, .. } = self {
            let _ = orders.send(Order::Sync).await;
        }
    }

    pub(super) async fn close(self, whole: bool) -> Result<Buffer> {
        match self {
            Sink::Small(bytes) => Ok(Buffer::Small(bytes)),
            Sink::Large { orders, thread } => {
                if whole {
                    let _ = orders.send(Order::End).await;
                }
                drop(orders);
                thread.await.map_err(panicked)?.map(Buffer::Large)
            }
        }
    }
}

/// The writing thread. When the orders stop without an end, what came is made
/// durable: the next try, in this process or another, goes on behind it.
fn obey(mut partial: Box<Partial>, mut orders: mpsc::Receiver<Order>) -> Result<Box<Partial>> {
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Write(piece) => partial.write(&piece)?,
            Order::Sync => partial.checkpoint()?,
            Order::End => return Ok(partial),
        }
    }
    partial.checkpoint()?;
    Ok(partial)
}
