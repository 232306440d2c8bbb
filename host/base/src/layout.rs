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
pub const RESERVED: &[&str] = &[
    "state.json",
    "state.json.damaged",
    "state.lock",
    "CACHEDIR.TAG",
    "store",
    "steps",
    "staging",
    "metrics.json",
    "resolved.jsonl",
    "known-lock.yaml",
];

/// Names in the folder of an attempt: where archives are unpacked for a plugin,
/// and what it is given as directories.
pub const UNPACKED: &str = "unpacked";
pub const DIRECTORIES: &str = "directories";

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
    /// Where a state that nobody can read is put aside.
    pub fn damaged_state(&self) -> PathBuf {
        self.build.join("state.json.damaged")
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
    /// airgap.lock as the recorded build knows it.
    pub fn known_lock(&self) -> PathBuf {
        self.build.join("known-lock.yaml")
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

impl Layout {
    /// How the state calls a file outside build/: `dist/x` or `config/x`,
    /// wherever those folders are in this run.
    pub fn published_name(&self, path: &Path) -> String {
        let below = |folder: &Path, name: &str| {
            path.strip_prefix(folder).ok().map(|rest| Path::new(name).join(rest).display().to_string())
        };
        below(&self.dist, DIST).or_else(|| below(&self.config, CONFIG)).unwrap_or_else(|| path.display().to_string())
    }

    /// Where the file of a [`published_name`](Self::published_name) lies.
    pub fn published(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        match (path.strip_prefix(DIST), path.strip_prefix(CONFIG)) {
            (Ok(rest), _) => self.dist.join(rest),
            (_, Ok(rest)) => self.config.join(rest),
            _ => path.to_owned(),
        }
    }
}

const DIST: &str = "dist";
const CONFIG: &str = "config";

/// A path as the user would type it: relative to the current directory where
/// that is shorter.
pub fn shown(path: &Path) -> String {
    let relative = std::env::current_dir().ok().and_then(|cwd| path.strip_prefix(&cwd).ok().map(Path::to_path_buf));
    let shown = relative.unwrap_or_else(|| path.to_path_buf()).display().to_string();
    if shown.is_empty() { ".".to_owned() } else { shown }
}
