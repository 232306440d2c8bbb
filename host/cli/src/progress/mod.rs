//! What a build tells, shown: on a terminal, in lines, or as JSON.

pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod terminal;
