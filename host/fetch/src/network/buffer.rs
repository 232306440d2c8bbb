//! What is there of a body.

use crate::store::{Identity, Partial};

/// What is there so far.
#[derive(Debug)]
pub(super) enum Buffer {
    Small(Vec<u8>),
    Large(Box<Partial>),
}

impl Buffer {
    pub(super) fn written(&self) -> u64 {
        match self {
            Buffer::Small(bytes) => bytes.len() as u64,
            Buffer::Large(partial) => partial.written(),
        }
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Buffer::Small(_) => None,
            Buffer::Large(partial) => Some(partial.identity()),
        }
    }
}
