//! Deterministic archives, written and read.
//!
//! [`writer`] takes entries front to back and gives back the digest of each
//! and of the whole, in one pass: it reads and hashes entries, [`ustar`]
//! renders their headers byte for byte as Go's `archive/tar` (hence Zarf)
//! does, [`walk`] puts the members of a nested tar into Go's order, and
//! [`pipeline`] compresses ([`frames`]), hashes and writes on threads of its
//! own; an [`index`] at the end says where everything is. [`random`] reads a
//! little of an archive by it, [`pieces`] is for many who read much, and [`survey`]
//! opens for them what has none. [`amend`] gives a finished archive another end.
//! [`unpack`]
//! reads archives that came from outside with the bounded parser of [`reader`],
//! through what [`guard`] lets by, and trusts nothing; [`layer`] reads the layer of
//! an image as it lies there. Threads hand bytes on through a [`pipe`].

pub mod amend;
pub mod damage;
mod entry;
mod frames;
mod guard;
pub mod index;
pub mod layer;
pub mod pieces;
pub mod pipe;
mod pipeline;
pub mod random;
pub mod reader;
pub mod survey;
pub mod unpack;
pub mod ustar;
mod walk;
mod writer;

pub use entry::{Content, NewMember};
pub use writer::{Added, ArchiveWriter, Compression};
