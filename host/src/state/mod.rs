//! The state of a build.
pub mod journal;
