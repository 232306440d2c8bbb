//! The configuration of a project, loaded and checked as a whole.

use std::path::PathBuf;

use crate::error::Result;
use crate::layout::Layout;

pub mod airgap_lock;
pub mod pipeline;
pub mod settings;

/// Everything under config/, parsed and checked.
#[derive(Debug)]
pub struct Project {
    pub layout: Layout,
    /// The folder that holds config/: local charts and values files are
    /// relative to it.
    pub root: PathBuf,
    pub settings: settings::Settings,
    pub pipeline: pipeline::Pipeline,
}

impl Project {
    /// Reads and checks the whole configuration; changes nothing.
    pub fn load(_layout: Layout) -> Result<Self> {
        Err(crate::error::Error::configuration("not there yet"))
    }
}
