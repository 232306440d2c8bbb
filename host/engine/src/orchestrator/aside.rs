//! A plugin run beside any build: its output goes into a folder that vanishes.
//! It gets no network, holds no lock and records nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::ResolvedComponents;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::MANIFESTS;
use super::facts::made_with;
use super::listed::{components_of, in_memory};
use base::error::{Error, Result};
use base::progress::{Observer, Progress};
use config::Project;
use config::named::LocalTree;
use config::pipeline::Runner;
use confine::wall::Wall;
use disk::fs;
use disk::tree::{Tree, TreeBuilder};
use plugin_host::{Attempt, Runtime, RuntimeOptions, catalog};

/// Where such a run happens.
pub struct Aside<'a> {
    /// The project, for its settings, plugins and layout.
    pub project: &'a Project,
    /// Where compiled plugins are kept.
    pub cache_dir: Option<PathBuf>,
    /// The folder for temporary files.
    pub temporary: &'a Path,
    /// Who shows what happens.
    pub observer: Arc<dyn Observer>,
    /// How this process is confined.
    pub wall: Wall,
    /// Ends it early.
    pub cancel: CancellationToken,
}

/// What such a run made; gone when dropped.
#[derive(Debug)]
pub struct Made {
    /// What the plugin wrote.
    pub tree: Tree,
    _folder: tempfile::TempDir,
}

impl Aside<'_> {
    /// Runs the plugin `name` as `step`, with local paths as its inputs.
    ///
    /// # Errors
    /// Whatever the plugin fails with; `local` where there is no room for it.
    pub fn run(&self, step: &str, name: &str, configuration: Value, local: Vec<LocalTree>) -> Result<Made> {
        self.run_with(step, name, configuration, local, &[])
    }

    /// The same, with further trees as inputs: what other such runs made, or a build.
    ///
    /// # Errors
    /// As [`Aside::run`].
    pub fn run_with(
        &self,
        step: &str,
        name: &str,
        configuration: Value,
        local: Vec<LocalTree>,
        trees: &[(&str, &Tree)],
    ) -> Result<Made> {
        let folder = fs::scratch(self.temporary)?;
        let output = TreeBuilder::new(folder.path().join("tree"));
        fs::create_dir_all(output.root())?;
        let progress = Progress::new(step, self.observer.clone(), self.cancel.clone());
        let trees = trees.iter().map(|(id, tree)| ((*id).to_owned(), (*tree).clone())).collect();
        let attempt =
            Attempt { local, trees, ..Attempt::aside(step, self.project, configuration, output.clone(), progress)? };
        let source = catalog::find(name, &self.project.plugin_pins)?;
        let runtime = Arc::new(Runtime::new(RuntimeOptions {
            cache_dir: self.cache_dir.clone(),
            settings: self.project.settings.plugins.clone(),
            wall: self.wall,
            ..RuntimeOptions::default()
        }));
        let executor = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|source| Error::local("cannot start the runtime").caused_by(source))?;
        executor.block_on(runtime.run(&source, &attempt))?;
        let tree = Tree { root: output.root().to_path_buf(), listing: output.listing().into() };
        Ok(Made { tree, _folder: folder })
    }

    /// What the step `manifests` would resolve now.
    ///
    /// # Errors
    /// Whatever that step would fail with.
    pub fn components(&self, force_regenerate: bool) -> Result<ResolvedComponents> {
        let Some(spec) = self.project.pipeline.step(MANIFESTS) else { return in_memory(self.project) };
        let Runner::Plugin(name) = &spec.run else { return in_memory(self.project) };
        let plugin = catalog::find(name, &self.project.plugin_pins)?.identity();
        let mut configuration = made_with(self.project, spec, &plugin, false);
        configuration["force_regenerate"] = force_regenerate.into();
        components_of(&self.run(MANIFESTS, name, configuration, Vec::new())?.tree)
    }
}
