//! What vouches for a finished package: a signature in it, and files beside it.
//!
//! [`package`] signs: zarf.yaml says that it is signed ([`definition`]), and the
//! bundle lies beside it in the archive ([`members`]), of which nothing else is written anew.
//! A build and the command `sign` do it with the same code, so they come to the
//! same bytes. [`beside`] are the files that lie next to a package, and
//! [`provenance`] is the statement among them that says how it was made.

pub mod beside;
pub mod definition;
pub mod members;
pub mod package;
pub mod provenance;
