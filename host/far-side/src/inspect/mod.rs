//! What is in a package, told without unpacking or checking it.
//!
//! [`glance`] gathers the few files that describe the others: through the index
//! of the archive where it has one, in one pass over all of it where it has
//! none. [`contents`] makes one list of that for people and for programs, and
//! [`difference`] compares two of them, or one with an airgap.lock as [`locked`]
//! has it. [`sboms`] takes the SBOMs out. What is told is what the package says;
//! whether it is true, [`verify`](crate::verify) finds out.

pub mod contents;
pub mod difference;
mod glance;
pub mod locked;
pub(crate) mod names;
pub mod sboms;

pub use contents::{Contents, read, read_through};
