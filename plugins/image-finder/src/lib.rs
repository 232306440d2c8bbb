//! Finds the container images that YAML names: chart values in their many
//! spellings, kubernetes manifests, custom resources.
//!
//! [`yaml`] reads any YAML into nodes that know their line, within bounds and
//! without failing on what Helm accepts; [`scalar`] is what Go makes of a scalar.
//! [`values`] walks the nodes. Both are
//! used by the plugins `charts` and `scan` and by the reader of charts; nothing here does I/O.

mod events;
pub mod scalar;
pub mod values;
pub mod yaml;

pub use values::{Defaults, Found, find};
pub use yaml::{Node, Value, YamlError};
