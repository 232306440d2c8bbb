//! The clock of a guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime_wasi::HostMonotonicClock;

/// Time that only the guest moves: a microsecond by looking, any span by
/// sleeping.
#[derive(Clone, Debug, Default)]
pub(super) struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    pub(super) fn look(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }

    pub(super) fn sleep_until(&self, when: u64) {
        self.0.fetch_max(when, Ordering::Relaxed);
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.look()
    }
}
