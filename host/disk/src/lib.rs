//! The disk: the only place that changes it ([`fs`]), and [`tree`]s of files
//! with a listing that readers believe.

pub mod fs;
pub mod tree;
