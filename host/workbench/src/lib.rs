//! What somebody who writes a plugin gets from the binary alone: a project to
//! begin with, and components out of what a language's own tools build.
//!
//! [`project`] has the files of a new project: the contract, the formats of the
//! input trees, the SDK, and a small step. [`componentize()`] makes a component of a
//! core module, for languages whose tools end there. No I/O: whoever calls reads
//! and writes.

mod componentize;
pub mod project;

pub use componentize::componentize;
