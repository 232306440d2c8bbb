//! Deterministic archives.
