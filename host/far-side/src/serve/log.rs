//! What happened, a line for each answer: told when its last byte is gone, or
//! the client is.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

/// An answer that was given.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// The address that asked.
    pub client: IpAddr,
    /// The HTTP method: `GET`.
    pub method: String,
    /// With the query, as it came.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Of the body, as many as left.
    pub bytes: u64,
    /// Milliseconds from the request to the last byte of the answer.
    pub duration_ms: u64,
    /// What the client calls itself, cut off where it is long; empty where it says nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// Why the answer is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Who is told of requests.
pub trait Watch: Send + Sync {
    /// An answer is gone, or the client is.
    fn answered(&self, request: &Request);
}

/// Sums of a run.
#[derive(Debug, Default)]
pub struct Totals {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Totals {
    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that left.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A line in the making, told when it is dropped.
pub(super) struct LogLine {
    request: Request,
    begun: Instant,
    /// Bytes that are to leave.
    length: u64,
    watch: Arc<dyn Watch>,
    totals: Arc<Totals>,
}

impl LogLine {
    pub(super) fn new(request: Request, watch: &Arc<dyn Watch>, totals: &Arc<Totals>) -> Self {
        Self { request, begun: Instant::now(), length: 0, watch: watch.clone(), totals: totals.clone() }
    }

    /// What is going to be answered.
    pub(super) fn answers(&mut self, status: u16, length: u64) {
        self.request.status = status;
        self.length = length;
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.request.bytes += bytes;
    }

    pub(super) fn broke(&mut self, error: &io::Error) {
        self.request.failure = Some(error.to_string());
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let request = &mut self.request;
        request.duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if request.failure.is_none() && request.bytes < self.length {
            request.failure = Some("the client went away".to_owned());
        }
        self.totals.requests.fetch_add(1, Ordering::Relaxed);
        self.totals.bytes.fetch_add(request.bytes, Ordering::Relaxed);
        self.watch.answered(request);
    }
}
