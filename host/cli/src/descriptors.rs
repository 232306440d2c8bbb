//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any build needs; what a child does with each of them is its own.
const ENOUGH: u64 = 65_536;

/// Raises the limit to what the user may have. The usual one is for programs
/// that watch descriptors with `select`; downloads, archives and plugins need
/// more. Where it can not be raised it stays, and less is done at a time.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
