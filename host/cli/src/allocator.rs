//! What the C library does with memory that was freed.

/// Buffers from this size on are given back to the system when they are freed.
/// Left to itself glibc raises its threshold to the size of each larger buffer
/// that was freed, up to 32 MiB, and keeps what every thread has freed since: a
/// build has tens of MiB of those.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;

/// Has large buffers given back. Before anything is allocated.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the parameters of the allocator have no safe way in")]
pub(super) fn give_back() {
    // SAFETY: no other thread is there yet. Where it is refused memory is kept,
    // as it would be without.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other C libraries do it by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
