//! Where everything lies on disk. Every path of a project is a method here.

use std::path::{Path, PathBuf};

/// The three folders of a project.
#[derive(Clone, Debug)]
pub struct Layout {
    pub config: PathBuf,
    pub build: PathBuf,
    pub dist: PathBuf,
}

/// Names directly under build/ that are ours, so no git repository may be
/// called like them.
pub const RESERVED: &[&str] =
    &["state.json", "state.lock", "CACHEDIR.TAG", "store", "steps", "staging", "metrics.json", "resolved.jsonl"];

impl Layout {
    pub fn new(config: impl Into<PathBuf>, build: impl Into<PathBuf>, dist: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), build: build.into(), dist: dist.into() }
    }

    pub fn versions_env(&self) -> PathBuf {
        self.config.join("versions.env")
    }
    pub fn catalog(&self) -> PathBuf {
        self.config.join("catalog.yaml")
    }
    pub fn components(&self) -> PathBuf {
        self.config.join("components.yaml")
    }
    pub fn components_base(&self) -> PathBuf {
        self.config.join("components.base.yaml")
    }
    pub fn settings(&self) -> PathBuf {
        self.config.join("settings.yaml")
    }
    pub fn airgap_lock(&self) -> PathBuf {
        self.config.join("airgap.lock")
    }
    pub fn pipeline(&self) -> PathBuf {
        self.config.join("pipeline.yaml")
    }
    pub fn plugins_lock(&self) -> PathBuf {
        self.config.join("plugins.lock")
    }

    pub fn state(&self) -> PathBuf {
        self.build.join("state.json")
    }
    pub fn state_lock(&self) -> PathBuf {
        self.build.join("state.lock")
    }
    /// The marker of a folder that `clean` may wipe.
    pub fn marker(&self) -> PathBuf {
        self.build.join("CACHEDIR.TAG")
    }
    pub fn metrics(&self) -> PathBuf {
        self.build.join("metrics.json")
    }
    pub fn store(&self) -> PathBuf {
        self.build.join("store")
    }
    pub fn steps(&self) -> PathBuf {
        self.build.join("steps")
    }
    /// The committed tree of a step.
    pub fn step(&self, id: &str) -> PathBuf {
        self.steps().join(id)
    }
    /// The list of the artifacts in the committed tree of a step.
    pub fn step_listing(&self, id: &str) -> PathBuf {
        self.steps().join(format!("{id}.json"))
    }
    /// What was resolved since airgap.lock was last written.
    pub fn resolved(&self) -> PathBuf {
        self.build.join("resolved.jsonl")
    }
    pub fn staging(&self) -> PathBuf {
        self.build.join("staging")
    }
    /// The open transaction of a step.
    pub fn transaction(&self, id: &str) -> PathBuf {
        self.staging().join(id)
    }
    /// The clone of a git repository.
    pub fn clone_of(&self, repository: &str) -> PathBuf {
        self.build.join(repository)
    }
}

/// A path as the user would type it: relative to the current directory where
/// that is shorter.
pub fn shown(path: &Path) -> String {
    let relative = std::env::current_dir().ok().and_then(|cwd| path.strip_prefix(&cwd).ok().map(Path::to_path_buf));
    relative.unwrap_or_else(|| path.to_path_buf()).display().to_string()
}
