//! A project of its own for each test, and the real binary run in it.
//!
//! [`Project::new`] makes an empty folder with its own home; the environment
//! of the binary is cleared but for what a test sets. [`Project::run`] waits
//! for the end and returns a [`Run`]; [`Project::start`] returns the
//! [`Running`] process, to be killed or signalled.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::package::Package;

/// No command of a test takes longer, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The release that the stand-ins claim to be.
pub const KUBERNETES: &str = "v1.34.3";

/// A folder with config/, and everything around it.
pub struct Project {
    root: PathBuf,
    /// Removed with the project.
    _temporary: Option<TempDir>,
    environment: Vec<(String, String)>,
    settings: Value,
    components: Value,
}

impl Project {
    /// A valid configuration that packages nothing yet.
    pub fn new() -> Self {
        let project = Self::bare();
        project.write("config/versions.env", VERSIONS_ENV);
        project.write("config/catalog.yaml", EMPTY_CATALOG);
        // What waits for a server that fails waits shortly.
        project.with_settings(|settings| settings["retries"] = json!({ "backoff": 0.05 }))
    }

    /// An empty folder with a home.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("airgap-").tempdir().expect("a temporary folder");
        Self::at(folder.path().to_owned(), Some(folder))
    }

    /// A project in a folder that stays; what lies there is removed.
    ///
    /// # Errors
    /// When the folder can not be emptied.
    pub fn in_folder(folder: &Path) -> std::io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        Ok(Self::at(folder.to_owned(), None))
    }

    fn at(root: PathBuf, temporary: Option<TempDir>) -> Self {
        let project = Self {
            root,
            _temporary: temporary,
            environment: Vec::new(),
            settings: json!({ "package": { "name": "platform", "version": "1.0.0" } }),
            components: json!({}),
        };
        std::fs::create_dir_all(project.home()).expect("a new folder");
        project
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A path in the project's folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a new folder");
        std::fs::write(&path, content).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    }

    pub fn remove(&self, relative: &str) {
        let path = self.path(relative);
        std::fs::remove_file(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    }

    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
    }

    pub fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    /// The whole of config/: name and content of each file, sorted.
    pub fn config_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.path("config"), &mut files);
        files.sort();
        files
    }

    /// Whether a file of config/, build/ or dist/ contains `text` as it is.
    pub fn holds(&self, text: &str) -> bool {
        let mut files = Vec::new();
        ["config", "build", "dist"].iter().for_each(|folder| collect(&self.path(folder), &mut files));
        files.iter().any(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Sets a variable for every command that follows.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Changes settings.yaml.
    #[must_use]
    pub fn with_settings(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.settings);
        self.save();
        self
    }

    /// Reaches a registry over plain http, as loopback needs.
    #[must_use]
    pub fn with_registry(self, host: &str) -> Self {
        let host = host.to_owned();
        self.with_settings(|settings| settings["registries"][host]["plain_http"] = json!(true))
    }

    /// Reaches a server with files over plain http.
    #[must_use]
    pub fn with_file_server(self, host: &str) -> Self {
        let host = json!(host);
        self.with_settings(|settings| {
            let hosts = &mut settings["network"]["plain_http_hosts"];
            match hosts.as_array_mut() {
                Some(hosts) => hosts.push(host),
                None => *hosts = json!([host]),
            }
        })
    }

    #[must_use]
    pub fn with_image(self, reference: impl Into<String>) -> Self {
        self.with_component("images/additional", json!({ "image": reference.into() }))
    }

    /// A tool that is a plain file.
    #[must_use]
    pub fn with_tool(self, name: &str, url: &str, checksum_url: Option<&str>) -> Self {
        let tool = json!({ "name": name, "version": "1.0.0", "url": url, "checksum_url": checksum_url });
        self.with_component("tools", tool)
    }

    /// A tool that lies in an archive.
    #[must_use]
    pub fn with_archive(self, name: &str, url: &str, binary: Option<&str>) -> Self {
        let tool = json!({ "name": name, "version": "1.0.0", "url": url, "extract": true, "binary": binary });
        self.with_component("tools", tool)
    }

    #[must_use]
    pub fn with_chart(self, chart: Value) -> Self {
        self.with_component("charts", chart)
    }

    #[must_use]
    pub fn with_repository(self, repository: Value) -> Self {
        self.with_component("repositories", repository)
    }

    /// Appends to a list of components.yaml; `list` is a path of keys.
    #[must_use]
    pub fn with_component(mut self, list: &str, item: Value) -> Self {
        let place = list.split('/').fold(&mut self.components, |value, key| &mut value[key]);
        match place.as_array_mut() {
            Some(items) => items.push(item),
            None => *place = json!([item]),
        }
        self.save();
        self
    }

    fn save(&self) {
        self.write("config/settings.yaml", yaml(&self.settings));
        if self.components.as_object().is_some_and(|sections| !sections.is_empty()) {
            self.write("config/components.yaml", yaml(&self.components));
        }
    }

    /// The binary with a cleared environment, in the project's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(binary(), arguments)
    }

    /// The same with another build of the binary.
    pub fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_CACHE_HOME", shared_cache())
            .env("TMPDIR", std::env::temp_dir())
            .env("LANG", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    #[must_use = "call success() or code()"]
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).finish()
    }

    /// `build` that has to succeed, with a package that Zarf would accept.
    #[track_caller]
    pub fn build(&self) -> Run {
        let run = self.run(&["build"]).success();
        for package in self.packages() {
            Package::open(&package);
        }
        run
    }

    /// Starts the binary and returns at once.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::spawn(&mut self.command(arguments), self.root())
    }

    /// The one package in dist/.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn package(&self) -> PathBuf {
        let mut packages = self.packages();
        assert_eq!(packages.len(), 1, "one package in dist/: {packages:?}");
        packages.remove(0)
    }

    /// Every package in dist/.
    pub fn packages(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("dist")).into_iter().flatten();
        entries
            .map(|entry| entry.expect("dist/ can be read").path())
            .filter(|path| path.to_string_lossy().ends_with(".tar.zst"))
            .collect()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.read("build/state.json")).expect("state.json is JSON")
    }

    /// The row of a step in state.json.
    pub fn step(&self, id: &str) -> Value {
        let state = self.state();
        let steps = state["steps"].as_array().expect("steps is a list");
        steps.iter().find(|step| step["id"] == id).unwrap_or_else(|| panic!("no step {id} in {state:#}")).clone()
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

fn collect(folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.to_string_lossy().into_owned(), std::fs::read(&path).expect("a readable file")));
        }
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).expect("a value is YAML")
}

/// Compiled plugins are shared by all tests: compiling them is not what most
/// of them are about.
fn shared_cache() -> PathBuf {
    target_folder().join("test-cache")
}

/// `target/release` or `target/dist`, from where this program runs.
pub fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it lies");
    let folder = program.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder.parent().expect("deps lies in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}

/// The binary of the same profile as this program.
///
/// # Panics
/// When it was not built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = target_folder().join("opencenter-airgap");
        assert!(path.is_file(), "{} is not there: run `make programs` first", path.display());
        warn_when_old(&path);
        path
    })
}

/// `cargo test` for this crate alone does not rebuild the binary.
fn warn_when_old(binary: &Path) {
    let built = std::fs::metadata(binary).and_then(|data| data.modified()).ok();
    let sources = std::fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    let newer = sources
        .split_whitespace()
        .skip(1)
        .find(|source| std::fs::metadata(source.trim_end_matches('\\')).and_then(|data| data.modified()).ok() > built);
    if let Some(source) = newer {
        eprintln!("warning: {} is older than {source}: run `make build`", binary.display());
    }
}

/// A process of the binary that was started.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    started: Instant,
    root: PathBuf,
    command: String,
}

impl Running {
    pub fn spawn(command: &mut Command, root: &Path) -> Self {
        let started = Instant::now();
        let shown = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
        let shown = std::iter::once("opencenter-airgap".to_owned()).chain(shown).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"));
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Self { child, stdout, stderr, started, root: root.to_owned(), command: shown }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// SIGKILL: nothing of the process runs on.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.finish_within(LIMIT);
    }

    /// Sends a signal by name: `INT`, `TERM`.
    pub fn signal(&self, name: &str) {
        crate::tools::run(Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()));
    }

    /// Waits for the end.
    #[must_use = "call success() or code()"]
    pub fn finish(self) -> Run {
        self.finish_within(LIMIT)
    }

    /// # Panics
    /// When the process runs longer than `limit`; it is killed then.
    #[must_use = "call success() or code()"]
    pub fn finish_within(mut self, limit: Duration) -> Run {
        let deadline = Instant::now() + limit;
        let (status, in_time) = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break (status, true);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                break (self.child.wait().expect("a killed child ends"), false);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            let bytes = reader.map(|reader| reader.join().expect("reading a pipe")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let run = Run {
            command: self.command,
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            status,
            time: self.started.elapsed(),
            root: self.root,
        };
        assert!(in_time, "still running after {limit:?}:\n{run}");
        run
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A command that has ended. Shown with everything it printed.
#[derive(Clone, Debug)]
pub struct Run {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
    pub time: Duration,
    root: PathBuf,
}

impl Run {
    /// # Panics
    /// Unless the exit code is 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// # Panics
    /// Unless the exit code is `wanted`.
    #[track_caller]
    pub fn code(self, wanted: i32) -> Self {
        assert_eq!(self.status.code(), Some(wanted), "exit code {wanted} expected of\n{self}");
        self
    }

    /// # Panics
    /// Unless stderr contains every one of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` expected on stderr of\n{self}");
        }
        self
    }

    /// # Panics
    /// Unless stdout contains every one of `parts`.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "`{part}` expected on stdout of\n{self}");
        }
        self
    }

    /// # Panics
    /// When stdout or stderr contains `part`.
    #[track_caller]
    pub fn never_says(self, part: &str) -> Self {
        assert!(!self.stdout.contains(part) && !self.stderr.contains(part), "`{part}` not expected from\n{self}");
        self
    }

    /// What a command came to: the one JSON value on stdout. Before it there may
    /// be lines of the log, as one that says that a plugin is compiled, which is
    /// there with a cold cache alone.
    ///
    /// # Panics
    /// When it is anything else.
    #[track_caller]
    pub fn json(&self) -> Value {
        if let Ok(value) = serde_json::from_str(&self.stdout) {
            return value;
        }
        let mut lines = self.json_lines();
        let last = lines.pop().unwrap_or_else(|| panic!("JSON expected of\n{self}"));
        assert!(lines.iter().all(|line| line["event"] == "log"), "one JSON value expected of\n{self}");
        last
    }

    /// stdout as one JSON value per line.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|err| panic!("JSON expected ({err}): {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.to_string_lossy();
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "{}", self.stdout.replace(&*root, "$ROOT"))?;
        writeln!(f, "--- stderr\n{}", self.stderr.replace(&*root, "$ROOT"))?;
        write!(f, "[{} after {:.2} s]", self.status, self.time.as_secs_f64())
    }
}

/// Every pin that the product requires.
pub const VERSIONS_ENV: &str = r#"# What the platform is made of.
KUBERNETES_VERSION="v1.34.3"
KUBESPRAY_VERSION="v2.29.0"
KUBESPRAY_COMMIT_SHA="HEAD"
UBUNTU_VERSION="24.04"
CONTAINER_RUNTIME="containerd"
CONTAINERD_VERSION="2.1.5"
RUNC_VERSION="1.3.4"
CNI_VERSION="1.8.0"
CNI_PLUGIN="calico"
CALICO_VERSION="v3.31.3"
TARGET_ARCH="amd64"
"#;

/// Pins become nothing: what a test packages it adds to components.yaml.
pub const EMPTY_CATALOG: &str =
    "required:\n  - name: KUBERNETES_VERSION\n  - name: TARGET_ARCH\n    allowed: [amd64, arm64]\n";
