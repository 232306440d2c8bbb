//! Other people's programs: found, or loudly missed.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tempfile::TempDir;

use crate::images::{self, Image};
use crate::tls;

/// Where a program lies, or None after saying `SKIPPED`.
///
/// # Panics
/// Under `CI=true`, where nothing may be skipped.
pub fn require(program: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file()));
    if found.is_none() {
        skipped(&format!("{program} is not installed (`make tools` installs it where it may)"));
    }
    found
}

/// Says loudly that a test does not run, and why.
///
/// # Panics
/// Under `CI=true`, where nothing may be skipped.
pub fn skipped(why: &str) {
    // Straight to the terminal: the test harness swallows what a passing test
    // prints.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "SKIPPED: {why}");
}

/// Runs a program to its end and returns its stdout.
///
/// # Panics
/// When it fails, with all it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// A port on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The user that a closed [`DockerRegistry`] lets in.
pub const USER: &str = "builder";
pub const PASSWORD: &str = "correct horse";

/// What `docker login` writes for [`USER`].
pub fn docker_config(host: &str, password: &str) -> String {
    let auth = BASE64.encode(format!("{USER}:{password}"));
    json!({ "auths": { host: { "auth": auth } } }).to_string()
}

/// bcrypt of [`PASSWORD`], in htpasswd's format.
pub const HTPASSWD: &str = "builder:$2y$05$airgapairgapairgapairecwmlJSKiUeBaXHTJ5RBSvl/yUSVJxCK\n";

/// A running `docker-registry`, killed on drop.
pub struct DockerRegistry {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl DockerRegistry {
    /// Open to everyone; None where it is not installed.
    pub fn start() -> Option<Self> {
        Self::launch("")
    }

    /// Lets in [`USER`] with [`PASSWORD`].
    pub fn start_closed() -> Option<Self> {
        Self::launch("auth:\n  htpasswd:\n    realm: tests\n    path: FOLDER/htpasswd\n")
    }

    /// The same by TLS, with a certificate of [`AUTHORITY`](crate::tls::AUTHORITY).
    pub fn start_closed_with_tls() -> Option<Self> {
        let auth = "auth:\n  htpasswd:\n    realm: tests\n    path: FOLDER/htpasswd\n";
        Self::launch(&format!("  tls:\n    certificate: FOLDER/server.pem\n    key: FOLDER/server.key\n{auth}"))
    }

    fn launch(auth: &str) -> Option<Self> {
        let program = require("docker-registry")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files: [(&str, &[u8]); 3] =
            [("htpasswd", HTPASSWD.as_bytes()), ("server.pem", tls::CERTIFICATE), ("server.key", tls::KEY)];
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a new file");
        }
        // Another process may take a free port before the registry does.
        for _ in 0..10 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            if let Some(child) = serve(&program, folder.path(), address, auth) {
                return Some(Self { child, address, folder });
            }
        }
        panic!("docker-registry does not start; its log:\n{}", log_of(folder.path()));
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The lines of its access log so far.
    pub fn log(&self) -> String {
        log_of(self.folder.path())
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn serve(program: &Path, folder: &Path, address: SocketAddr, auth: &str) -> Option<Child> {
    let config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}/data\n  delete:\n    enabled: true\n\
         http:\n  addr: {address}\n  secret: loopback\n  relativeurls: true\n{}",
        folder.display(),
        auth.replace("FOLDER", &folder.display().to_string())
    );
    let path = folder.join("config.yml");
    std::fs::write(&path, config).expect("a new file");
    let log = std::fs::File::create(folder.join("log")).expect("a new file");
    let mut child = Command::new(program)
        .arg("serve")
        .arg(&path)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|err| panic!("cannot start {}: {err}", program.display()));
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if child.try_wait().ok().flatten().is_some() {
            return None;
        }
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Copies images with skopeo.
pub struct Skopeo(PathBuf);

impl Skopeo {
    /// None where it is not installed.
    pub fn find() -> Option<Self> {
        require("skopeo").map(Self)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--insecure-policy");
        command
    }

    /// Copies `from` to `to`, both with their transport (`docker://…`,
    /// `oci:folder:name`), without a check of certificates.
    pub fn copy(&self, arguments: &[&str], from: &str, to: &str) {
        let mut command = self.command();
        command.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        run(command.args(arguments).args([from, to]));
    }

    /// Pushes an image as it is.
    pub fn push(&self, arguments: &[&str], image: &Image, to: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        images::write_dir(folder.path(), image);
        self.copy(arguments, &format!("dir:{}", folder.path().display()), &format!("docker://{to}"));
    }

    /// The raw manifest of an image.
    pub fn raw_manifest(&self, image: &str) -> String {
        run(self.command().args(["inspect", "--tls-verify=false", "--raw", image]))
    }
}
