//! Other people's programs, as tests/interop/build.sh builds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use airgap_tests::project;
use tempfile::TempDir;

/// No command takes longer, on the slowest machine.
const LIMIT: &str = "600";

/// Where a program was built.
///
/// # Panics
/// Where it was not: nothing is skipped here.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not there: run `make interop`", path.display());
    path
}

fn folder() -> PathBuf {
    project::target_folder().parent().expect("target/ has profiles").join("interop/bin")
}

/// A program with a home of its own, and nothing else in its environment.
pub(crate) struct Program {
    path: PathBuf,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn find(name: &str) -> Self {
        let home = tempfile::Builder::new().prefix("interop-").tempdir().expect("a temporary folder");
        Self { path: built(name), home, environment: Vec::new() }
    }

    #[must_use]
    pub(crate) fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A new folder below its home.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = tempfile::tempdir_in(self.home.path()).expect("a temporary folder");
        folder.keep()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .arg(LIMIT)
            .arg(&self.path)
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end: whether it succeeded, its stdout, and all it said.
    fn ran(&self, arguments: &[&str]) -> (bool, String, String) {
        let name = self.path.file_name().expect("a file has a name").to_string_lossy();
        let output = self.command(arguments).output().unwrap_or_else(|err| panic!("cannot run {name}: {err}"));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let all = format!("$ {name} {}\n{stdout}\n--- stderr\n{stderr}[{}]", arguments.join(" "), output.status);
        (output.status.success(), stdout, all)
    }

    /// What it prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (succeeded, stdout, all) = self.ran(arguments);
        assert!(succeeded, "{all}");
        stdout
    }

    /// What it says when it fails.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let (succeeded, _, all) = self.ran(arguments);
        assert!(!succeeded, "a refusal is expected of\n{all}");
        all
    }

    /// Whether it succeeds, and what it prints then, or all it said.
    pub(crate) fn tried(&self, arguments: &[&str]) -> (bool, String) {
        let (succeeded, stdout, all) = self.ran(arguments);
        (succeeded, if succeeded { stdout } else { all })
    }

    /// What it says, whatever comes of it.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        self.ran(arguments).2
    }
}

/// A release of Zarf.
pub(crate) struct Zarf {
    pub(crate) version: String,
    program: Program,
}

impl std::ops::Deref for Zarf {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Zarf {
    pub(crate) fn is_built(version: &str) -> bool {
        folder().join(format!("zarf-{version}")).is_file()
    }

    pub(crate) fn of(version: &str) -> Self {
        Self { version: version.to_owned(), program: Program::find(&format!("zarf-{version}")) }
    }

    /// Whether it is this release or a newer one.
    pub(crate) fn is_from(&self, version: &str) -> bool {
        numbers(&self.version) >= numbers(version)
    }

    /// Whether it has a command.
    pub(crate) fn has(&self, command: &[&str]) -> bool {
        let help = self.says(&[command, &["--help"]].concat());
        help.contains(&format!("zarf {}", command.join(" ")))
    }

    #[must_use]
    pub(crate) fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.program = self.program.with_env(name, value);
        self
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap_or_default()).collect()
}

/// A path as an argument.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
