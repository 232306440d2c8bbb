//! Credentials as `docker login` leaves them: config.json, credential helpers,
//! identity tokens.
//!
//! Each host is looked up once per build, however many requests wait for it and
//! whether or not it succeeds: a helper may open a browser. Errors say where credentials came from and never
//! what they are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use model::json;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;

use base::error::{Class, Error, Result};
use disk::fs;

/// Bytes of config.json.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// Bytes that a helper may print.
const LARGEST_ANSWER: u64 = 256 * 1024;
/// A helper may ask a person.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// The key of Docker Hub in every docker configuration.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// Exchanged for an access token.
    Identity(String),
    /// Used as it is.
    Bearer(String),
}

/// Credentials for one host.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) secret: Secret,
    /// `/home/u/.docker/config.json`, or a helper's name.
    pub(super) origin: String,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials from {}", self.origin)
    }
}

/// What came of looking for a host's credentials, be it an error.
type LookedUp = Arc<OnceCell<Result<Option<Found>>>>;

/// The credentials of the user who runs the build.
#[derive(Debug)]
pub(super) struct Credentials {
    file: Option<PathBuf>,
    /// Where helpers are looked for instead of in PATH.
    helpers: Option<PathBuf>,
    config: OnceCell<DockerConfig>,
    hosts: Mutex<HashMap<String, LookedUp>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, AuthConfig>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthConfig {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfig")
    }
}

impl Credentials {
    /// `file` is config.json, or the folder that holds it.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file, helpers: None, config: OnceCell::new(), hosts: Mutex::default() }
    }

    #[cfg(test)]
    pub(super) fn with_search_path(file: Option<PathBuf>, helpers: PathBuf) -> Self {
        Self { helpers: Some(helpers), ..Self::new(file) }
    }

    /// Credentials for a host as it is reached (`registry-1.docker.io`,
    /// `registry.example.com:5000`); None for an anonymous visit.
    ///
    /// # Errors
    /// `auth` when config.json or a helper that it names is unusable.
    pub(super) async fn find(&self, host: &str) -> Result<Option<Found>> {
        let cell = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.entry(host.to_owned()).or_default().clone()
        };
        cell.get_or_init(|| self.look_up(host)).await.clone()
    }

    async fn look_up(&self, host: &str) -> Result<Option<Found>> {
        let Some(file) = self.path() else { return Ok(None) };
        let config = self.config.get_or_try_init(|| async { read(&file) }).await?;
        match config.source(host) {
            CredentialSource::Nowhere => Ok(None),
            CredentialSource::InFile(entry) => entry
                .secret(&file)
                .map(|secret| secret.map(|secret| Found { secret, origin: format!("`{}`", file.display()) })),
            CredentialSource::Helper { name, key } => ask(name, &key, &file, self.helpers.as_deref()).await,
        }
    }

    fn path(&self) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        Some(if file.is_dir() { file.join("config.json") } else { file.clone() })
    }
}

/// Where the configuration says that a host's credentials are.
#[derive(Debug)]
enum CredentialSource<'a> {
    Nowhere,
    InFile(&'a AuthConfig),
    Helper { name: &'a str, key: String },
}

impl DockerConfig {
    /// As docker does: the host's own helper, then the store for all, then
    /// what is written in the file.
    fn source(&self, host: &str) -> CredentialSource<'_> {
        let keys = keys(host);
        let key = if is_hub(host) { HUB_KEY.to_owned() } else { host.to_owned() };
        for candidate in &keys {
            if let Some(name) = self.helpers.get(candidate).filter(|name| !name.is_empty()) {
                return CredentialSource::Helper { name, key };
            }
        }
        let entry = self.auths.iter().find(|(written, _)| keys.contains(&normal(written))).map(|(_, entry)| entry);
        match (&self.store, entry) {
            (_, Some(entry)) if entry.is_filled() => CredentialSource::InFile(entry),
            (Some(name), _) if !name.is_empty() => CredentialSource::Helper { name, key },
            _ => CredentialSource::Nowhere,
        }
    }
}

impl AuthConfig {
    fn is_filled(&self) -> bool {
        let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        [&self.auth, &self.username, &self.identitytoken, &self.registrytoken].into_iter().any(filled)
    }

    fn secret(&self, file: &Path) -> Result<Option<Secret>> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Secret::Identity(token)));
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Some(Secret::Bearer(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let (user, password) = decode(&auth).ok_or_else(|| {
                Error::new(Class::Auth, format!("an `auth` in `{}` is not base64 of `user:password`", file.display()))
                    .hint("run `docker login` again")
            })?;
            return Ok(password_or_token(user, password));
        }
        Ok(filled(&self.username).and_then(|user| password_or_token(user, self.password.clone().unwrap_or_default())))
    }
}

/// Helpers and old clients mark an identity token with this user name. Where
/// both are empty there is nobody: docker goes on without credentials then.
fn password_or_token(user: String, password: String) -> Option<Secret> {
    match (user.as_str(), password.as_str()) {
        ("", "") => None,
        ("<token>", _) => Some(Secret::Identity(password)),
        _ => Some(Secret::Password { user, password }),
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let auth = auth.trim();
    let bytes = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth.trim_end_matches('='))).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn is_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// The names under which a host may be written.
fn keys(host: &str) -> Vec<String> {
    if is_hub(host) {
        let names = [HUB_KEY, "index.docker.io", "docker.io", "registry-1.docker.io"];
        return names.iter().map(|&name| name.to_owned()).collect();
    }
    vec![host.to_owned()]
}

/// `https://host/v2/` and `host` mean the same.
fn normal(written: &str) -> String {
    let bare = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://")).unwrap_or(written);
    bare.split('/').next().unwrap_or_default().to_owned()
}

fn read(file: &Path) -> Result<DockerConfig> {
    let unusable = |error: Error| {
        error
            .with_class(Class::Auth)
            .hint("repair the file or run `docker login` again; DOCKER_CONFIG can name another folder")
    };
    let Some(bytes) = fs::read_optional(file, LARGEST_FILE).map_err(unusable)? else {
        return Ok(DockerConfig::default());
    };
    // As docker does with an empty file.
    if base::text::of(&bytes).trim().is_empty() {
        return Ok(DockerConfig::default());
    }
    json::read(&bytes).map_err(|error| {
        // The text of a JSON error may quote the file: only its place is told.
        let place = if error.line() > 0 { format!(":{}:{}", error.line(), error.column()) } else { String::new() };
        unusable(Error::local(format!("`{}{place}` is not valid JSON for docker", file.display())))
    })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-<name> get`.
async fn ask(name: &str, key: &str, file: &Path, folder: Option<&Path>) -> Result<Option<Found>> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
        return Err(Error::new(
            Class::Auth,
            format!("`{}` names a credential helper with a strange name", file.display()),
        ));
    }
    let program = format!("docker-credential-{name}");
    let failed = |why: &str| {
        Error::new(Class::Auth, format!("the credential helper `{program}` {why}")).hint(format!(
            "`{}` names it for {key}: repair it, or remove it there for anonymous access",
            file.display()
        ))
    };
    let (succeeded, answer) = match tokio::time::timeout(
        HELPER_TIME,
        run(&folder.map_or_else(|| PathBuf::from(&program), |folder| folder.join(&program)), key),
    )
    .await
    {
        Err(_) => return Err(failed("did not answer within 60 s")),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(failed("is not installed")),
        Ok(Err(error)) => return Err(failed("can not be run").caused_by(error)),
        Ok(Ok(result)) => result,
    };
    if !succeeded {
        // The helpers' own way of saying that there is nothing.
        let nothing = String::from_utf8_lossy(&answer).contains("credentials not found");
        return if nothing { Ok(None) } else { Err(failed("failed")) };
    }
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let answer: HelperAnswer = json::read(&answer).map_err(|_| failed("answered something else than JSON"))?;
    let secret = password_or_token(answer.username, answer.secret);
    Ok(secret.map(|secret| Found { secret, origin: format!("the credential helper `{program}`") }))
}

async fn run(program: &Path, key: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input is no reason to fail.
        let _ = stdin.write_all(key.as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LARGEST_ANSWER).read_to_end(&mut answer).await?;
    }
    Ok((child.wait().await?.success(), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Secret {
        Secret::Password { user: user.into(), password: password.into() }
    }

    async fn find(config: &str, host: &str) -> Result<Option<Found>> {
        let folder = tempfile::tempdir().unwrap();
        fs::write_new(&folder.path().join("config.json"), config.as_bytes()).unwrap();
        Credentials::new(Some(folder.path().to_owned())).find(host).await
    }

    #[tokio::test]
    async fn every_way_to_write_a_host_is_found() {
        let auth = STANDARD.encode("me:pa:ss");
        let config = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "https://r.example/v2/": {{"username": "u", "password": "p"}},
                "r.example:5000": {{"identitytoken": "it", "auth": "{auth}"}},
                "t.example": {{"registrytoken": "rt"}},
                "empty.example": {{}}
            }}, "HttpHeaders": {{}}, "currentContext": "x"}}"#
        );
        for (host, secret) in [
            ("registry-1.docker.io", Some(password("me", "pa:ss"))),
            ("r.example", Some(password("u", "p"))),
            ("r.example:5000", Some(Secret::Identity("it".into()))),
            ("t.example", Some(Secret::Bearer("rt".into()))),
            ("empty.example", None),
            ("other.example", None),
        ] {
            let found = find(&config, host).await.unwrap();
            assert!(found.map(|found| found.secret) == secret, "{host}");
        }
    }

    /// What docker and its helpers leave behind after `docker logout`.
    #[tokio::test]
    async fn what_is_null_or_empty_means_anonymous() {
        for config in [
            "",
            " \n",
            "\u{feff}{}",
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
            r#"{"auths":{"a":null},"credsStore":""}"#,
            r#"{"auths":{"a":{"auth":null,"identitytoken":null}},"credHelpers":{"a":null}}"#,
            r#"{"auths":{"a":{"auth":"","username":"","password":""}},"credHelpers":{"a":""}}"#,
            r#"{"auths":{"a":{"auth":"Og=="}}}"#,
            r#"{"auths":{"a":{"identitytoken":""},"b":null},"HttpHeaders":null}"#,
        ] {
            assert!(find(config, "a").await.unwrap().is_none(), "{config}");
        }
        let beside = r#"{"auths":{"x":null,"a":{"auth":"bWU6cGE=","identitytoken":null}},"credsStore":null}"#;
        assert!(find(beside, "a").await.unwrap().is_some_and(|found| found.secret == password("me", "pa")));
    }

    #[tokio::test]
    async fn a_helper_that_says_nothing_means_anonymous() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        fs::write_new(&config, br#"{"credsStore":"mute"}"#).unwrap();
        let helper = folder.path().join("docker-credential-mute");
        for answer in ["", r#"{"ServerURL":"","Username":"","Secret":""}"#, r#"{"Username":null,"Secret":null}"#, "{}"]
        {
            fs::write_atomic(&helper, format!("#!/bin/sh\ncat > /dev/null\necho '{answer}'\n").as_bytes()).unwrap();
            fs::set_mode(&helper, 0o755).unwrap();
            let credentials = Credentials::with_search_path(Some(config.clone()), folder.path().to_owned());
            assert!(credentials.find("a").await.unwrap().is_none(), "{answer}");
        }
    }

    #[tokio::test]
    async fn no_file_means_anonymous_and_a_broken_one_is_named_without_its_content() {
        assert!(Credentials::new(None).find("a").await.unwrap().is_none());
        assert!(Credentials::new(Some("/nowhere/config.json".into())).find("a").await.unwrap().is_none());
        for broken in [r#"{"auths": {"a": {"auth": "c2VjcmV0"}}}"#, r#"{"auths": {"a": "c2VjcmV0"}}"#, "{"] {
            let error = find(broken, "a").await.unwrap_err();
            assert_eq!(error.class(), Class::Auth);
            let text = format!("{error:?}");
            assert!(text.contains("config.json") && !text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_or_oddly_named_is_named() {
        let error = find(r#"{"credsStore": "opencenter-no-such"}"#, "a").await.unwrap_err();
        assert!(error.message().contains("docker-credential-opencenter-no-such` is not installed"), "{error}");
        let error = find(r#"{"credHelpers": {"a": "../../bin/sh"}}"#, "a").await.unwrap_err();
        assert!(error.message().contains("strange name"), "{error}");
        // Another host's helper is not asked.
        assert!(find(r#"{"credHelpers": {"b": "opencenter-no-such"}}"#, "a").await.unwrap().is_none());
    }

    #[test]
    fn the_file_wins_over_the_store_only_where_it_has_something() {
        let config = |text: &str| serde_json::from_str::<DockerConfig>(text).unwrap();
        let with_store =
            config(r#"{"auths": {"a": {}, "b": {"auth": "eA=="}}, "credsStore": "pass", "credHelpers": {"c": "ecr"}}"#);
        assert!(matches!(with_store.source("a"), CredentialSource::Helper { name: "pass", .. }));
        assert!(matches!(with_store.source("b"), CredentialSource::InFile(_)));
        assert!(matches!(with_store.source("c"), CredentialSource::Helper { name: "ecr", .. }));
        assert!(
            matches!(with_store.source("registry-1.docker.io"), CredentialSource::Helper { key, .. } if key == HUB_KEY)
        );
    }
}
