//! The `git` command: found once, run with a known environment, stopped with
//! the build, its failures classified.
//!
//! Two kinds of calls. A *remote* call talks to a server: it keeps the user's
//! own configuration, because credential helpers, ssh settings and URL
//! rewrites live there, and gets proxies, certificate authorities and mirrors
//! from settings.yaml on top. A *local* call reads a clone and sees no
//! configuration but what it is given, so that the same commit gives the same
//! bytes on every machine. Neither runs hooks, asks questions on a terminal,
//! or speaks a protocol other than https, http, ssh and local files.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use url::Url;

use crate::network::Direct;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use config::settings::NetworkSettings;
use confine::wall;

/// Older ones lack options that are used here.
const OLDEST: (u32, u32) = (2, 30);
/// Variables that would point git at another repository, or make it talk.
/// `GIT_CONFIG_COUNT` and its family stay in remote calls: they are one way to
/// hand git a credential.
const FOREIGN_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CURL_VERBOSE",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_SETUP",
    "GIT_WORK_TREE",
];
/// Of git's standard error: enough for its last words.
const KEPT_LINES: usize = 12;
const LINE_LIMIT: usize = 300;
/// How long a git that was asked to stop may take to remove its lock files.
/// Less than a step has: what helps git must be gone before that.
pub const GRACE: Duration = Duration::from_millis(1000);

/// A git command that is new enough.
#[derive(Clone, Debug)]
pub struct Git {
    program: OsString,
    version: String,
    remote: RemoteOptions,
}

/// What settings.yaml says about reaching servers.
#[derive(Clone, Debug, Default)]
pub struct RemoteOptions {
    proxy: Option<String>,
    no_proxy: Option<String>,
    direct: Direct,
    /// One file with every trusted authority: git takes no second one.
    ca_bundle: Option<PathBuf>,
    /// Prefix and what stands in for it.
    mirrors: Vec<(String, String)>,
    /// Longest silence of a remote call.
    silence: Duration,
}

impl RemoteOptions {
    /// `direct` says which servers are reached without the proxy.
    pub fn new(settings: &NetworkSettings, direct: Direct) -> Self {
        Self {
            proxy: settings.proxy.clone(),
            no_proxy: settings.no_proxy.clone(),
            direct,
            ca_bundle: None,
            mirrors: settings.url_mirrors.iter().map(|(from, to)| (from.clone(), to.clone())).collect(),
            // A server that counts the objects of a large repository says
            // nothing for a while.
            silence: Duration::from_secs(settings.idle_timeout.max(15) * 4),
        }
    }

    /// How the server of a repository is reached: git's own reading of
    /// `NO_PROXY` knows no ports, so it is not asked.
    pub fn reach(&self, url: &str) -> Reach {
        let mirror =
            self.mirrors.iter().filter(|(from, _)| url.starts_with(from.as_str())).max_by_key(|(from, _)| from.len());
        let asked = mirror.map_or_else(|| url.to_owned(), |(from, to)| format!("{to}{}", &url[from.len()..]));
        match Url::parse(&asked) {
            Ok(url) if self.direct.covers(&url) => Reach::Direct,
            _ => Reach::Remote,
        }
    }

    /// As `key=value` for `git -c`.
    fn settings(&self, reach: Reach) -> Vec<String> {
        let mut settings = vec![
            "http.lowSpeedLimit=1".to_owned(),
            format!("http.lowSpeedTime={}", self.silence.as_secs()),
            "fetch.unpackLimit=1".to_owned(),
            "fetch.writeCommitGraph=false".to_owned(),
        ];
        match (reach, &self.proxy) {
            // An empty one is none, whatever the environment says.
            (Reach::Direct, _) => settings.push("http.proxy=".to_owned()),
            (_, Some(proxy)) => settings.push(format!("http.proxy={proxy}")),
            (_, None) => {}
        }
        settings.extend(self.ca_bundle.iter().map(|path| format!("http.sslCAInfo={}", path.display())));
        settings.extend(self.mirrors.iter().map(|(from, to)| format!("url.{to}.insteadOf={from}")));
        settings
    }
}

/// Settings of every call: nothing runs by itself, nothing that the user's
/// machine prefers reaches the bytes of a pack.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.commitGraph=false",
    "core.bigFileThreshold=512m",
    "core.compression=6",
    "pack.compression=6",
    "pack.packSizeLimit=0",
    "pack.allowPackReuse=false",
    "pack.writeReverseIndex=false",
    "pack.useSparse=false",
    "pack.windowMemory=0",
    "pack.deltaCacheSize=128m",
    "pack.deltaCacheLimit=1000",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "credential.interactive=false",
    "advice.detachedHead=false",
];

/// Whether a call talks to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To one that is reached as the environment and the settings say.
    Remote,
    /// To one that is reached without the proxy.
    Direct,
    /// To none: it reads a clone.
    Local,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum Failure {
    /// The build is being stopped.
    Stopped,
    /// Nothing came for this long.
    Silent(Duration),
    /// git could not be started.
    Start(std::io::Error),
    /// There is no host of this name.
    Nameless(String),
    /// The second wall lets no connection to this address.
    Walled(String),
    /// git said no; its last lines, without secrets.
    Refused {
        /// Its exit code; None where a signal ended it.
        code: Option<i32>,
        /// What it wrote on standard error last.
        lines: Vec<String>,
    },
}

impl Git {
    /// Looks for a git that is new enough.
    ///
    /// # Errors
    /// `local` where there is none.
    pub async fn find(remote: RemoteOptions, progress: &Progress) -> Result<Self> {
        Self::with_program("git".into(), remote, progress).await
    }

    async fn with_program(program: OsString, remote: RemoteOptions, progress: &Progress) -> Result<Self> {
        let git = Self { program, version: String::new(), remote };
        let hint = "install git 2.30 or newer (`apt-get install git`) and run the same command again";
        let text = match git.collect(progress, Reach::Local, None, &["--version"], 4096).await {
            Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
            Err(Failure::Stopped) => return Err(Error::interrupted()),
            Err(Failure::Start(error)) => {
                return Err(Error::local("cannot run `git`, which repositories need").caused_by(error).hint(hint));
            }
            Err(_) => return Err(Error::local("`git --version` fails").hint(hint)),
        };
        let version = text.strip_prefix("git version ").unwrap_or(&text).to_owned();
        if version_of(&version).is_none_or(|version| version < OLDEST) {
            return Err(Error::local(format!("git {version} is too old for repositories")).hint(hint));
        }
        Ok(Self { version, ..git })
    }

    /// The same git, which trusts the authorities in `bundle` and no others.
    #[must_use]
    pub fn trusting(&self, bundle: PathBuf) -> Self {
        let remote = RemoteOptions { ca_bundle: Some(bundle), ..self.remote.clone() };
        Self { remote, ..self.clone() }
    }

    /// How the server of a repository is reached.
    pub fn reach(&self, url: &str) -> Reach {
        self.remote.reach(url)
    }

    /// As git tells it: `2.47.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs git and returns what it wrote to standard output, at most `limit`
    /// bytes of it.
    pub async fn collect(
        &self,
        progress: &Progress,
        reach: Reach,
        directory: Option<&Path>,
        arguments: &[&str],
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut output = Vec::new();
        let mut sink = |bytes: &[u8]| {
            let room = limit.saturating_sub(output.len());
            output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        self.stream(progress, reach, directory, arguments, &[], &mut sink).await?;
        Ok(output)
    }

    /// Runs git with `input` on its standard input and hands what it writes
    /// to `sink`. `directory` is the repository.
    pub async fn stream(
        &self,
        progress: &Progress,
        reach: Reach,
        directory: Option<&Path>,
        arguments: &[&str],
        input: &[u8],
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), Failure> {
        let mut child = self.command(reach, directory, arguments).spawn().map_err(Failure::Start)?;
        let silence = (reach != Reach::Local).then_some(self.remote.silence);
        let mut listener = Listener::new(progress);
        let ended = tokio::select! {
            ended = attend(&mut child, input, sink, &mut listener, silence) => ended,
            () = progress.cancellation().cancelled() => Err(Failure::Stopped),
        };
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Refused { code: status.code(), lines: listener.last_words() }),
            Err(failure) => {
                stop(&mut child).await;
                Err(failure)
            }
        }
    }

    fn command(&self, reach: Reach, directory: Option<&Path>, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C").env("LANGUAGE", "").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file");
        match reach {
            Reach::Remote | Reach::Direct => self.remote_environment(&mut command),
            Reach::Local => local_environment(&mut command),
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if reach != Reach::Local {
            for setting in self.remote.settings(reach) {
                command.args(["-c", &setting]);
            }
        }
        if let Some(directory) = directory {
            // Named outright, so that git looks for no other repository.
            command.arg("--git-dir=.").current_dir(directory);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: git starts helpers, and all are stopped at once.
        command.kill_on_drop(true).process_group(0);
        command
    }

    fn remote_environment(&self, command: &mut Command) {
        // ssh asks on the terminal by itself; an asking program either is
        // there or the call fails at once.
        command.env("SSH_ASKPASS_REQUIRE", "force");
        if let Some(hosts) = &self.remote.no_proxy {
            command.env("NO_PROXY", hosts).env("no_proxy", hosts);
        }
    }
}

fn local_environment(command: &mut Command) {
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("GIT_CONFIG_COUNT");
    command.env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent");
}

/// Feeds, reads and waits until git has ended.
async fn attend(
    child: &mut Child,
    input: &[u8],
    sink: &mut (dyn FnMut(&[u8]) + Send),
    listener: &mut Listener<'_>,
    silence: Option<Duration>,
) -> Result<std::process::ExitStatus, Failure> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A git that stops reading says why on standard error.
            let _ = stdin.write_all(input).await;
        }
        Ok(())
    };
    let output = async {
        match stdout {
            Some(stdout) => drain(stdout, None, sink).await,
            None => Ok(()),
        }
    };
    let errors = async {
        match stderr {
            Some(stderr) => drain(stderr, silence, &mut |bytes| listener.hear(bytes)).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(feed, output, errors)?;
    child.wait().await.map_err(Failure::Start)
}

async fn drain(
    mut stream: impl AsyncRead + Unpin,
    silence: Option<Duration>,
    sink: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), Failure> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = stream.read(&mut buffer);
        let read = match silence {
            Some(limit) => tokio::time::timeout(limit, read).await.map_err(|_| Failure::Silent(limit))?,
            None => read.await,
        };
        match read {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => sink(&buffer[..count]),
        }
    }
}

/// Asks the whole group to end, so that git removes its lock files, then
/// insists: what helps git may not listen.
async fn stop(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let ended = tokio::time::timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    if ended.is_err() {
        let _ = child.wait().await;
    }
}

/// Reads standard error: progress goes to the counters, the rest is kept for
/// the message.
struct Listener<'a> {
    progress: &'a Progress,
    line: Vec<u8>,
    kept: VecDeque<String>,
    received: u64,
}

impl<'a> Listener<'a> {
    fn new(progress: &'a Progress) -> Self {
        Self { progress, line: Vec::new(), kept: VecDeque::new(), received: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => self.end_line(),
                // What is beyond a reasonable line is not worth keeping.
                _ if self.line.len() < 4 * LINE_LIMIT => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if let Some(received) = received_bytes(&line) {
            self.progress.fetched(received.saturating_sub(self.received));
            self.received = self.received.max(received);
        } else if !is_progress(&line) {
            let line = sanitised(&line);
            if !line.is_empty() {
                self.kept.push_back(line);
            }
            if self.kept.len() > KEPT_LINES {
                self.kept.pop_front();
            }
        }
    }

    fn last_words(mut self) -> Vec<String> {
        self.end_line();
        self.kept.into()
    }
}

/// Whether git counts something rather than saying something.
fn is_progress(line: &str) -> bool {
    let line = line.strip_prefix("remote: ").unwrap_or(line);
    ["Counting objects", "Compressing objects", "Enumerating objects", "Receiving objects", "Resolving deltas"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.starts_with("Total ")
}

/// The bytes in `Receiving objects:  45% (450/1000), 1.20 MiB | 2.3 MiB/s`.
fn received_bytes(line: &str) -> Option<u64> {
    let amount = line.strip_prefix("Receiving objects:")?.split(", ").nth(1)?.split(" | ").next()?;
    let (number, unit) = amount.trim().split_once(' ')?;
    let factor = match unit.trim_end_matches(", done.") {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of bytes for display")]
    Some((number.parse::<f64>().ok()? * factor).max(0.0) as u64)
}

/// A line that is safe to show: no control characters, not too long, no
/// password in a URL.
fn sanitised(line: &str) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control()).take(LINE_LIMIT).collect();
    without_credentials(clean.trim())
}

/// `https://user:secret@host/x` becomes `https://***@host/x`.
fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c == '/' || c == '\'' || c.is_whitespace()).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) => {
                shown.push_str("***");
                &after[user..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

/// `2.47.3` or `2.39.5 (Apple Git-154)`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Failure {
    /// As an error about the repository `name` at `url`.
    pub fn into_error(self, doing: &str, name: &str, url: &str) -> Error {
        let what = format!("cannot {doing} repository `{name}` ({url})");
        match self {
            Failure::Stopped => Error::interrupted(),
            Failure::Silent(limit) => Error::transient(format!("{what}: nothing came for {} s", limit.as_secs()))
                .hint("run the same command again; `network.idle_timeout` in settings.yaml sets a longer limit"),
            Failure::Start(error) => Error::local(format!("{what}: `git` does not run")).caused_by(error),
            Failure::Nameless(host) => {
                Error::new(Class::NotFound, format!("{what}: there is no host of the name `{host}`"))
                    .hint("check `url` in components.yaml, and `network.proxy` where only a proxy knows the name")
            }
            Failure::Walled(address) => wall::not_let_through(&address).context(what),
            Failure::Refused { code, lines } => {
                let class = classify(&lines);
                let said = match lines.len() {
                    0 => {
                        format!("git ended with {}", code.map_or("a signal".to_owned(), |code| format!("code {code}")))
                    }
                    count => lines[count.saturating_sub(4)..].join(" / "),
                };
                let error = Error::new(class, format!("{what}: {said}"));
                match hint(class, &lines) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }

    /// The class of the error that this becomes.
    pub fn class(&self) -> Class {
        match self {
            Failure::Stopped => Class::Interrupted,
            Failure::Silent(_) => Class::Transient,
            Failure::Start(_) | Failure::Walled(_) => Class::Local,
            Failure::Nameless(_) => Class::NotFound,
            Failure::Refused { lines, .. } => classify(lines),
        }
    }

    /// git says the same of a host that does not exist and of a name server
    /// that does not answer, and of a server that is down and of a port that the
    /// second wall closes: asked here, they are told apart.
    #[must_use]
    pub async fn told_apart(self) -> Self {
        let Failure::Refused { lines, .. } = &self else { return self };
        let mut unreached = lines.iter().filter_map(|line| unreached(line));
        if let Some((host, port)) = unreached.find(|(_, port)| wall::closes(*port)) {
            return Failure::Walled(format!("{host}:{port}"));
        }
        let Some(host) = lines.iter().find_map(|line| unresolved(line)) else { return self };
        if crate::network::has_no_address(host).await { Failure::Nameless(host.to_owned()) } else { self }
    }

    /// Whether the server does not hand out commits by their number.
    pub fn wants_advertised_refs(&self) -> bool {
        let Failure::Refused { lines, .. } = self else { return false };
        let words = ["unadvertised object", "not our ref", "no such remote ref", "couldn't find remote ref"];
        lines.iter().any(|line| words.iter().any(|word| line.contains(word)))
    }
}

/// What git's words mean, the first match counts. git translates nothing
/// under `LC_ALL=C`, and these texts are older than the oldest git accepted.
const MEANINGS: &[(Class, &[&str])] = &[
    (Class::DiskFull, &["No space left on device", "Disk quota exceeded"]),
    (
        Class::Auth,
        &[
            "Authentication failed",
            "could not read Username",
            "unable to get password from user",
            "could not read Password",
            "unable to get password from user",
            "terminal prompts disabled",
            "Permission denied (publickey",
            "Host key verification failed",
            "Invalid username or",
            "Access denied",
            "HTTP Basic: Access denied",
            "returned error: 401",
            "returned error: 403",
            "Permission to ",
        ],
    ),
    (
        Class::Local,
        &[
            "certificate",
            "SSL peer certificate",
            "unable to get local issuer",
            "dubious ownership",
            "transport '",
            "Permission denied",
            "Read-only file system",
            "insufficient permission",
            "unable to find remote helper",
        ],
    ),
    (
        Class::NotFound,
        &[
            "Repository not found",
            "repository not found",
            "' not found",
            "does not appear to be a git repository",
            "does not exist",
            "returned error: 404",
            "returned error: 410",
            "couldn't find remote ref",
            "not our ref",
            "No such file or directory",
            "not valid: is this a git repository",
        ],
    ),
    (Class::InvalidInput, &["shallow", "unsupported object format", "mismatched algorithms"]),
    (
        Class::Transient,
        &[
            "Could not resolve",
            "timed out",
            "Connection refused",
            "Connection reset",
            "Connection closed",
            "early EOF",
            "unexpected disconnect",
            "RPC failed",
            "hung up unexpectedly",
            "returned error: 5",
            "returned error: 429",
            "returned error: 408",
            "transfer closed",
            "Operation too slow",
            "Empty reply",
            "SSL_ERROR",
            "gnutls_handshake",
            "Failed to connect",
            "Couldn't connect",
            "unreachable",
            "kex_exchange_identification",
            "cannot lock ref",
            "Unable to create",
            "Temporary failure",
            "pack is corrupt",
            "index-pack failed",
            "bad pack header",
        ],
    ),
    (
        Class::Integrity,
        &[
            "corrupt",
            "bad object",
            "missing blob",
            "missing tree",
            "unable to read",
            "Could not read",
            "inflate",
            "mismatch",
            "not a valid object",
            "does not match index",
            "bad tree object",
        ],
    ),
];

/// The host that curl or ssh found no address for:
/// `Could not resolve host: git.example`,
/// `Could not resolve hostname git.example: …`.
fn unresolved(line: &str) -> Option<&str> {
    let rest = line.split_once("Could not resolve host")?.1;
    let rest = rest.strip_prefix("name").unwrap_or(rest).trim_start_matches([':', ' ']);
    let host = rest.split([' ', ':', '\'', ')', '(', ';']).next().unwrap_or_default();
    (!host.is_empty()).then_some(host)
}

/// The address that curl or ssh got no connection to:
/// `Failed to connect to git.example port 8443 after 0 ms: …`,
/// `connect to host git.example port 2222: …`.
fn unreached(line: &str) -> Option<(&str, u16)> {
    let rest = line.split_once("onnect to ")?.1;
    let (host, rest) = rest.strip_prefix("host ").unwrap_or(rest).split_once(" port ")?;
    let port = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    (!host.is_empty() && !host.contains(' ')).then_some((host, port))
}

fn classify(lines: &[String]) -> Class {
    let meaning =
        MEANINGS.iter().find(|(_, words)| lines.iter().any(|line| words.iter().any(|word| line.contains(word))));
    meaning.map_or(Class::Local, |(class, _)| *class)
}

fn hint(class: Class, lines: &[String]) -> Option<&'static str> {
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    Some(match class {
        Class::Auth if said("Host key verification failed") => {
            "connect once by hand (`ssh <host>`) so that ssh knows the host's key"
        }
        Class::Auth => {
            "give git the credentials (`git credential approve`, a credential helper, an ssh key); \
             some servers answer like this when the repository does not exist"
        }
        Class::NotFound => "check `url` and `ref` in components.yaml; `git ls-remote <url>` lists what is there",
        Class::Local if said("certificate") => {
            "add the server's certificate authority to `network.ca_files` in settings.yaml"
        }
        Class::Local if said("transport '") => "use an https, http, ssh or file URL",
        Class::Transient => "run the same command again; what was fetched is kept",
        Class::DiskFull => "free some space and run the same command again: finished work is kept",
        Class::InvalidInput if said("shallow") => "give the URL of a complete repository; this one lacks its history",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_host_without_an_address_is_read_from_gits_words() {
        for (line, host) in [
            (
                "fatal: unable to access 'https://git.example/x/': Could not resolve host: git.example",
                Some("git.example"),
            ),
            ("ssh: Could not resolve hostname git.example: Name or service not known", Some("git.example")),
            ("Could not resolve host: git.example (Timeout while contacting DNS servers)", Some("git.example")),
            ("Could not resolve proxy: proxy.example", None),
            ("Connection refused", None),
        ] {
            assert_eq!(unresolved(line), host, "{line}");
        }
        let error = Failure::Nameless("git.example".into()).into_error("ask", "x", "https://git.example/x");
        assert!(error.class() == Class::NotFound && error.message().contains("no host of the name `git.example`"));
    }

    #[test]
    fn one_list_says_which_servers_are_reached_without_the_proxy() {
        let mut settings = NetworkSettings { proxy: Some("http://proxy.example:3128".into()), ..Default::default() };
        settings.url_mirrors.insert("https://far.example/".into(), "https://near.example:8443/far/".into());
        let options = RemoteOptions::new(&settings, Direct::parse("near.example:8443,.below.example"));
        for (url, reach) in [
            ("https://near.example:8443/x.git", Reach::Direct),
            ("https://near.example/x.git", Reach::Remote),
            ("https://far.example/x.git", Reach::Direct),
            ("https://git.below.example/x.git", Reach::Direct),
            ("https://below.example/x.git", Reach::Remote),
            ("http://127.0.0.1:3000/x.git", Reach::Direct),
            ("ssh://git@other.example/x.git", Reach::Remote),
        ] {
            assert_eq!(options.reach(url), reach, "{url}");
        }
        assert!(options.settings(Reach::Direct).contains(&"http.proxy=".to_owned()));
        assert!(options.settings(Reach::Remote).contains(&"http.proxy=http://proxy.example:3128".to_owned()));
    }

    #[test]
    fn the_address_without_a_connection_is_read_from_gits_words() {
        for (line, address) in [
            (
                "fatal: unable to access 'http://h:81/x/': Failed to connect to h port 81 after 0 ms: Couldn't connect to server",
                Some(("h", 81)),
            ),
            ("fatal: unable to access 'http://[::1]:81/': Failed to connect to ::1 port 81: x", Some(("::1", 81))),
            ("ssh: connect to host git.example port 2222: Permission denied", Some(("git.example", 2222))),
            ("Failed to connect to h port 70000", None),
            ("remote: could not connect to the database port 5432", None),
            ("Could not resolve host: h", None),
        ] {
            assert_eq!(unreached(line), address, "{line}");
        }
        let error = Failure::Walled("h:81".into()).into_error("ask", "x", "https://git.example/x");
        assert_eq!(error.class(), Class::Local);
        assert!(error.message().contains("repository `x`") && error.one_line().contains("lets no connection to h:81"));
        assert!(error.hint_text().unwrap().contains("`security.ports`"));
    }

    #[test]
    fn git_s_words_become_classes() {
        let table = [
            ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", Class::Auth),
            ("fatal: unable to get password from user", Class::Auth),
            ("fatal: Authentication failed for 'http://127.0.0.1:1/x.git/'", Class::Auth),
            ("fatal: unable to get password from user", Class::Auth),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", Class::Auth),
            ("fatal: unable to access 'https://h/x/': The requested URL returned error: 403", Class::Auth),
            ("fatal: repository 'http://127.0.0.1:1/no.git/' not found", Class::NotFound),
            ("fatal: '/no' does not appear to be a git repository\nfatal: Could not read from remote", Class::NotFound),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", Class::Transient),
            ("fatal: unable to access 'http://h/': Failed to connect to h port 1", Class::Transient),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 503", Class::Transient),
            ("error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: early EOF", Class::Transient),
            ("fatal: unable to access 'https://h/': SSL certificate problem: unable to get local", Class::Local),
            ("fatal: server certificate verification failed. CAfile: none", Class::Local),
            ("fatal: transport 'ext' not allowed", Class::Local),
            ("fatal: write error: No space left on device", Class::DiskFull),
            ("error: inflate: data stream error (incorrect header check)", Class::Integrity),
            ("fatal: bad object 1234", Class::Integrity),
            ("something new", Class::Local),
        ];
        for (text, class) in table {
            assert_eq!(classify(&lines(text)), class, "{text}");
        }
    }

    #[test]
    fn passwords_and_control_characters_are_not_shown() {
        let shown = sanitised("\u{1b}[31mfatal: unable to access 'https://me:s3cret@host/x.git/': no\u{7}");
        assert_eq!(shown, "[31mfatal: unable to access 'https://***@host/x.git/': no");
        assert_eq!(without_credentials("a b://c@d ssh://e f"), "a b://***@d ssh://e f");
        assert_eq!(without_credentials("https://host/a@b"), "https://host/a@b");
    }

    #[test]
    fn progress_is_counted_and_not_quoted() {
        let progress = Progress::silent("repos");
        let mut listener = Listener::new(&progress);
        listener.hear(b"remote: Counting objects: 100% (3/3), done.\r\nReceiving objects:  45% (450/1000), 1.50 KiB");
        listener.hear(b" | 2 KiB/s\rReceiving objects: 100% (1000/1000), 2.00 KiB | 2 KiB/s, done.\n");
        listener.hear(b"fatal: early EOF");
        assert_eq!(listener.last_words(), ["fatal: early EOF"]);
        assert_eq!(progress.counters().read().bytes_fetched, 2048);
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version_of("2.47.3"), Some((2, 47)));
        assert_eq!(version_of("2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version_of("unknown"), None);
    }

    #[tokio::test]
    async fn a_missing_git_is_named_with_the_remedy() {
        let progress = Progress::silent("repos");
        let error = Git::with_program("no-such-git".into(), RemoteOptions::default(), &progress).await.unwrap_err();
        assert_eq!(error.class(), Class::Local);
        assert!(error.hint_text().unwrap().contains("install git"));
    }

    /// git itself ends; what it started does not care.
    #[tokio::test]
    async fn a_helper_that_does_not_listen_is_stopped_with_git() {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", "(trap '' TERM; sleep 60) & trap 'exit 1' TERM; echo $!; wait"]);
        command.process_group(0).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
        tokio::io::AsyncBufReadExt::read_line(&mut out, &mut said).await.unwrap();
        let group = child.id().unwrap();
        stop(&mut child).await;
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", said.trim())).unwrap_or_default();
        let is_gone = || state().is_empty() || state().contains(") Z ");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(std::time::Instant::now() < deadline, "{said} of the group {group} lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
