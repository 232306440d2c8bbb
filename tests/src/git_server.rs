//! Git repositories, made with the real `git` and served over http by
//! `git http-backend` behind a [server](crate::http) that can fail.

use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::http::{Request, Response, Server};
use crate::tools;

/// A repository with a work tree; commits have fixed authors and times.
pub struct GitRepository {
    folder: PathBuf,
    commits: std::cell::Cell<u64>,
}

impl GitRepository {
    /// An empty repository with the branch `main`.
    pub fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a new folder");
        let repository = Self { folder: folder.to_owned(), commits: std::cell::Cell::new(0) };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `file://…`
    pub fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// Runs git in the repository and returns what it printed, trimmed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let number = self.commits.get();
        let date = format!("{} +0000", 1_700_000_000 + number * 60);
        let mut command = git();
        command
            .current_dir(&self.folder)
            .args(arguments)
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date);
        tools::run(&mut command).trim().to_owned()
    }

    /// Commits one file; returns the commit.
    pub fn commit(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        let file = self.folder.join(path);
        std::fs::create_dir_all(file.parent().expect("a file lies in a folder")).expect("a new folder");
        std::fs::write(&file, content).expect("a file in the work tree");
        self.commits.set(self.commits.get() + 1);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", &format!("change {path}")]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A tag at the newest commit.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
    }

    /// A branch from the newest commit, checked out.
    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }
}

/// git that reads nobody's configuration.
pub fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Tests")
        .env("GIT_AUTHOR_EMAIL", "tests@example.com")
        .env("GIT_COMMITTER_NAME", "Tests")
        .env("GIT_COMMITTER_EMAIL", "tests@example.com");
    command
}

/// `git http-backend` over a folder of repositories; a [`Server`] by
/// dereference.
pub struct GitServer {
    server: Server,
    root: TempDir,
}

impl Deref for GitServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl GitServer {
    /// None where git is not installed.
    pub fn start() -> Option<Self> {
        tools::require("git")?;
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().to_owned();
        let server = Server::start(move |request: &Request| backend(&folder, request));
        Some(Self { server, root })
    }

    /// Lets in [`tools::USER`] with [`tools::PASSWORD`]; None where git is not
    /// installed.
    pub fn start_closed() -> Option<Self> {
        tools::require("git")?;
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().to_owned();
        let server = Server::start(move |request: &Request| {
            request.refusal(tools::USER, tools::PASSWORD).unwrap_or_else(|| backend(&folder, request))
        });
        Some(Self { server, root })
    }

    /// Takes whatever is pushed, into repositories that a first push makes, as
    /// Gitea does; None where git is not installed.
    pub fn start_receiving() -> Option<Self> {
        tools::require("git")?;
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().to_owned();
        let server = Server::start(move |request: &Request| {
            request.refusal(tools::USER, tools::PASSWORD).unwrap_or_else(|| receive(&folder, request))
        });
        Some(Self { server, root })
    }

    /// The folders of what was pushed, each `user/name`.
    pub fn received(&self) -> Vec<PathBuf> {
        let below = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).expect("a readable folder");
            entries.map(|entry| entry.expect("a readable folder").path()).collect()
        };
        below(self.root.path()).iter().flat_map(|user| below(user)).collect()
    }

    /// A new repository, served at `/name.git`.
    pub fn create(&self, name: &str) -> GitRepository {
        GitRepository::create(&self.root.path().join(name))
    }

    /// The URL of a repository as a user would write it.
    pub fn clone_url(&self, name: &str) -> String {
        self.url(&format!("/{name}.git"))
    }
}

/// The same, where a push to what is not there makes it.
fn receive(root: &Path, request: &Request) -> Response {
    let path = crate::http::decode(request.path_alone());
    let Some((name, _)) = path.split_once(".git/").filter(|_| !path.contains("..")) else {
        return Response::new(404, "Not found.");
    };
    let folder = root.join(name.trim_matches('/')).join(".git");
    if !folder.exists() {
        if !request.query.contains("git-receive-pack") {
            return Response::new(404, "Not found.");
        }
        std::fs::create_dir_all(&folder).expect("a new folder");
        tools::run(git().args(["init", "--quiet", "--bare"]).arg(&folder));
        tools::run(git().arg("-C").arg(&folder).args(["config", "http.receivepack", "true"]));
    }
    backend(root, request)
}

/// Runs the CGI program for one request.
fn backend(root: &Path, request: &Request) -> Response {
    let mut command = git();
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", crate::http::decode(request.path_alone()).replacen(".git/", "/.git/", 1))
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or(""))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // The temporary folder may belong to another user than git expects.
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    for (header, variable) in [("content-encoding", "HTTP_CONTENT_ENCODING"), ("git-protocol", "GIT_PROTOCOL")] {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    let mut child = command.spawn().expect("git runs");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let body = request.body.clone();
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(&body);
    });
    let output = child.wait_with_output().expect("git ends");
    let _ = writing.join();
    response_of(&output.stdout)
}

/// A CGI program's output as a response.
fn response_of(output: &[u8]) -> Response {
    let Some(end) = output.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Response::new(500, "git http-backend answered nothing");
    };
    let mut response = Response::new(200, output[end + 4..].to_vec());
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("status") => {
                response.status = value.split_whitespace().next().and_then(|code| code.parse().ok()).unwrap_or(500);
            }
            Some((name, value)) => response = response.with(name.trim(), value.trim()),
            None => {}
        }
    }
    response
}
