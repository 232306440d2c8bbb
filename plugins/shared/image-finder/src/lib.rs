//! Finds the container images that YAML names: chart values in their many
//! spellings, kubernetes manifests, custom resources, and what the templates of a
//! chart make of its values.
//!
//! [`yaml`] reads any YAML into nodes that know their line, within bounds and
//! without failing on what Helm accepts; [`scalar`] is what Go makes of a scalar.
//! [`values`] walks the nodes, [`template`] reads templates without rendering
//! them, [`command`] knows commands of shells, and [`chart`] brings all together. What is not known for sure is told as
//! such. All of it is
//! used by the plugins `charts` and `scan` and by the reader of charts; nothing here does I/O.

pub mod chart;
mod command;
mod events;
mod naming;
pub mod rendered;
pub mod scalar;
pub mod template;
mod values;
pub mod yaml;

pub use chart::in_document as find;
pub use values::{Doubt, Found};
pub use yaml::{Node, Value, YamlError};
