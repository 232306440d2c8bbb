//! Verified blobs by digest, and unfinished ones with their journals.

/// build/store.
#[derive(Debug)]
pub struct Store;
