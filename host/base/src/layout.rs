//! Where everything lies on disk. Every path of a project is a method here.

use std::path::{Path, PathBuf};

/// The three folders of a project.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What the user writes: config/.
    pub config: PathBuf,
    /// Everything that a build keeps between two runs: build/.
    pub build: PathBuf,
    /// What comes out: dist/.
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
    "imports",
];

/// Names in the folder of an attempt: where archives are unpacked for a plugin,
/// and what it is given as directories.
pub const UNPACKED: &str = "unpacked";
/// The folder, in that of an attempt, of what its plugin is given as directories.
pub const DIRECTORIES: &str = "directories";

impl Layout {
    /// The layout with these three folders, wherever they are.
    pub fn new(config: impl Into<PathBuf>, build: impl Into<PathBuf>, dist: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), build: build.into(), dist: dist.into() }
    }

    /// The pins.
    pub fn versions_env(&self) -> PathBuf {
        self.config.join("versions.env")
    }
    /// The catalog: what each pin stands for.
    pub fn catalog(&self) -> PathBuf {
        self.config.join("catalog.yaml")
    }
    /// The component manifest.
    pub fn components(&self) -> PathBuf {
        self.config.join("components.yaml")
    }
    /// The component manifest as it was generated last: what the next generation tells the
    /// user's edits by.
    pub fn components_base(&self) -> PathBuf {
        self.config.join("components.base.yaml")
    }
    /// The settings.
    pub fn settings(&self) -> PathBuf {
        self.config.join("settings.yaml")
    }
    /// What every reference resolved to.
    pub fn airgap_lock(&self) -> PathBuf {
        self.config.join("airgap.lock")
    }
    /// The steps, where they are not the built-in ones.
    pub fn pipeline(&self) -> PathBuf {
        self.config.join("pipeline.yaml")
    }
    /// The pinned plugins.
    pub fn plugins_lock(&self) -> PathBuf {
        self.config.join("plugins.lock")
    }

    /// Which steps are done.
    pub fn state(&self) -> PathBuf {
        self.build.join("state.json")
    }
    /// Where a state that nobody can read is put aside.
    pub fn damaged_state(&self) -> PathBuf {
        self.build.join("state.json.damaged")
    }
    /// What the process that builds holds locked.
    pub fn state_lock(&self) -> PathBuf {
        self.build.join("state.lock")
    }
    /// The marker of a folder that `clean` may wipe.
    pub fn marker(&self) -> PathBuf {
        self.build.join("CACHEDIR.TAG")
    }
    /// Times, counts and sizes of the last build that did something.
    pub fn metrics(&self) -> PathBuf {
        self.build.join("metrics.json")
    }
    /// airgap.lock as the recorded build knows it.
    pub fn known_lock(&self) -> PathBuf {
        self.build.join("known-lock.yaml")
    }
    /// The verified blobs and the unfinished ones.
    pub fn store(&self) -> PathBuf {
        self.build.join("store")
    }
    /// The skeleton packages that definitions import from registries, unpacked.
    pub fn imports(&self) -> PathBuf {
        self.build.join("imports")
    }
    /// The committed trees of all steps, each with its listing beside it.
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
    /// The open transactions of all steps.
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
