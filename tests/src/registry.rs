//! A container registry in memory that fails on demand.
//!
//! It serves the pull side of the distribution API: manifests, blobs with
//! ranges, tags. [`Options`] make it ask for credentials or tokens, send blobs
//! through URLs on another port that expire, or count down a rate limit; the
//! [server](crate::http) under it adds faults and keeps the log.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::http::{self, Content, Request, Response, Server};
use crate::images::{Blob, Image, Index};

/// Who may pull.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    #[default]
    Anonymous,
    /// User and password with every request.
    Basic(String, String),
    Token(TokenAuth),
}

/// Tokens from the registry's own `/token`.
#[derive(Clone, Debug, Default)]
pub struct TokenAuth {
    /// Without, anonymous tokens are given out.
    pub credentials: Option<(String, String)>,
    /// A refresh token that is accepted instead of a password.
    pub identity_token: Option<String>,
    /// How long a token works; for ever where missing.
    pub lifetime: Option<Duration>,
    /// For how many requests a token works.
    pub uses: Option<u64>,
    /// What `expires_in` says; left out where missing.
    pub claimed_seconds: Option<u64>,
}

/// Blobs come from another port, by URLs that stop working.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    pub lifetime: Option<Duration>,
    pub uses: Option<u64>,
}

/// Manifests in a window, shown in headers as Docker Hub does.
#[derive(Clone, Debug)]
pub struct RateLimit {
    pub manifests: u64,
    pub window_seconds: u64,
    /// Answer 429 with this `Retry-After` once the limit is used up.
    pub refuse: Option<String>,
}

/// How the registry behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub auth: Auth,
    pub redirects: Option<Redirects>,
    pub rate_limit: Option<RateLimit>,
    /// Blobs are served whole, and `Accept-Ranges` is missing.
    pub no_ranges: bool,
}

#[derive(Debug, Default)]
struct Repository {
    manifests: BTreeMap<String, (String, Content)>,
    tags: BTreeMap<String, String>,
    blobs: BTreeMap<String, Content>,
}

#[derive(Debug)]
struct Grant {
    scope: String,
    since: Instant,
    uses: u64,
}

#[derive(Debug, Default)]
struct Data {
    repositories: BTreeMap<String, Repository>,
    tokens: BTreeMap<String, Grant>,
    signatures: BTreeMap<String, Grant>,
    counter: u64,
    manifests_served: u64,
}

struct Inner {
    options: Options,
    /// `127.0.0.1:port`, set once the port is known.
    host: Mutex<String>,
    storage_host: Mutex<String>,
    data: Mutex<Data>,
}

/// A running registry; a [`Server`] by dereference.
pub struct Registry {
    server: Server,
    storage: Option<Server>,
    inner: Arc<Inner>,
}

impl Deref for Registry {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Registry {
    /// Open to everyone.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::start_on("127.0.0.1:0", options)
    }

    pub fn start_on(address: &str, options: Options) -> Self {
        let inner =
            Arc::new(Inner { options, host: Mutex::default(), storage_host: Mutex::default(), data: Mutex::default() });
        let answering = inner.clone();
        let server = Server::start_on(address, move |request: &Request| answering.answer(request));
        *locked(&inner.host) = server.host();
        let storage = inner.options.redirects.is_some().then(|| {
            let answering = inner.clone();
            Server::start(move |request: &Request| answering.answer_storage(request))
        });
        if let Some(storage) = &storage {
            *locked(&inner.storage_host) = storage.host();
        }
        Self { server, storage, inner }
    }

    /// The server that blobs are redirected to.
    ///
    /// # Panics
    /// Without [`Options::redirects`].
    pub fn storage(&self) -> &Server {
        self.storage.as_ref().expect("the registry was started without redirects")
    }

    /// `127.0.0.1:port/name`
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Stores an image under `repository:tag`, or by digest alone under
    /// `repository`.
    pub fn push(&self, name: &str, image: &Image) {
        let (repository, tag) = split(name);
        self.push_parts(repository, image);
        self.push_manifest(repository, tag, &image.manifest);
    }

    /// Stores an index with all its images and attestations.
    pub fn push_index(&self, name: &str, index: &Index) {
        let (repository, tag) = split(name);
        for image in index.images.iter().chain(&index.attestations) {
            self.push_parts(repository, image);
            self.push_manifest(repository, None, &image.manifest);
        }
        self.push_manifest(repository, tag, &index.manifest);
    }

    fn push_parts(&self, repository: &str, image: &Image) {
        for blob in image.blobs() {
            self.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
        }
    }

    pub fn push_blob(&self, repository: &str, digest: &str, content: Content) {
        let mut data = locked(&self.inner.data);
        data.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest.to_owned(), content);
    }

    pub fn push_manifest(&self, repository: &str, tag: Option<&str>, manifest: &Blob) {
        let mut data = locked(&self.inner.data);
        let repository = data.repositories.entry(repository.to_owned()).or_default();
        let content = Content::Memory(manifest.bytes.clone());
        repository.manifests.insert(manifest.digest.clone(), (manifest.media_type.clone(), content));
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), manifest.digest.clone());
        }
    }

    /// Forgets `repository:tag`; what it pointed to stays.
    pub fn untag(&self, name: &str) {
        let (repository, tag) = split(name);
        if let Some(repository) = locked(&self.inner.data).repositories.get_mut(repository) {
            repository.tags.remove(tag.unwrap_or("latest"));
        }
    }

    /// No token that was given out works any more.
    pub fn expire_tokens(&self) {
        locked(&self.inner.data).tokens.clear();
    }

    /// No URL that was given out works any more.
    pub fn expire_redirects(&self) {
        locked(&self.inner.data).signatures.clear();
    }
}

/// `repository:tag` or `repository`.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer in the registry's own words.
fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({ "errors": [{ "code": code, "message": message, "detail": null }] }))
}

impl Inner {
    fn answer(&self, request: &Request) -> Response {
        if request.path == "/token" {
            return self.token(request);
        }
        let Some(rest) = request.path.strip_prefix("/v2/") else { return Response::new(404, "404 page not found\n") };
        let route = ["/manifests/", "/blobs/", "/tags/"]
            .into_iter()
            .find_map(|kind| rest.rfind(kind).map(|at| (&rest[..at], kind, &rest[at + kind.len()..])));
        let repository = route.map_or("", |(repository, ..)| repository);
        if let Some(refused) = self.refuse(request, repository) {
            return refused;
        }
        match route {
            None if rest.is_empty() => Response::json(200, &json!({})),
            None => Response::new(404, "404 page not found\n"),
            Some((_, "/manifests/", reference)) => self.manifest(request, repository, reference),
            Some((_, "/blobs/", digest)) => self.blob(repository, digest),
            Some(_) => self.tags(request, repository),
        }
    }

    fn manifest(&self, request: &Request, repository: &str, reference: &str) -> Response {
        let mut data = locked(&self.data);
        let Some(found) = data.repositories.get(repository) else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let digest = found.tags.get(reference).map_or(reference, String::as_str).to_owned();
        let Some((media_type, content)) = found.manifests.get(&digest).cloned() else {
            return refusal(404, "MANIFEST_UNKNOWN", &format!("manifest unknown to {repository}: {reference}"));
        };
        let accepted: Vec<&str> =
            request.headers.iter().filter(|(name, _)| name == "accept").map(|(_, value)| value.as_str()).collect();
        if !accepted.is_empty() && !accepted.iter().any(|value| value.contains(&media_type) || value.contains("*/*")) {
            return refusal(404, "MANIFEST_UNKNOWN", &format!("Accept does not name {media_type}"));
        }
        let mut response = Response { status: 200, headers: Vec::new(), content, ranges: false }
            .with("content-type", media_type)
            .with("docker-content-digest", digest);
        if let Some(limit) = &self.options.rate_limit {
            let counted = request.method == "GET";
            data.manifests_served += u64::from(counted);
            let left = limit.manifests.saturating_sub(data.manifests_served);
            if let Some(retry_after) = &limit.refuse
                && data.manifests_served > limit.manifests
            {
                response = refusal(429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.")
                    .with("retry-after", retry_after);
            }
            response = response
                .with("ratelimit-limit", format!("{};w={}", limit.manifests, limit.window_seconds))
                .with("ratelimit-remaining", format!("{left};w={}", limit.window_seconds));
        }
        response
    }

    fn blob(&self, repository: &str, digest: &str) -> Response {
        let mut data = locked(&self.data);
        let found = data.repositories.get(repository).and_then(|repository| repository.blobs.get(digest)).cloned();
        let Some(content) = found else { return refusal(404, "BLOB_UNKNOWN", "blob unknown to registry") };
        if self.options.redirects.is_some() {
            data.counter += 1;
            let signature = format!("{:016x}", data.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let url = format!("http://{}/{repository}/{digest}?signature={signature}", locked(&self.storage_host));
            data.signatures.insert(signature, Grant { scope: digest.to_owned(), since: Instant::now(), uses: 0 });
            return Response::new(307, "").with("location", url);
        }
        self.blob_response(content, digest)
    }

    fn blob_response(&self, content: Content, digest: &str) -> Response {
        Response { status: 200, headers: Vec::new(), content, ranges: !self.options.no_ranges }
            .with("content-type", "application/octet-stream")
            .with("docker-content-digest", digest)
            .with("etag", format!("\"{digest}\""))
    }

    fn answer_storage(&self, request: &Request) -> Response {
        let denied = || {
            Response::new(
                403,
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            )
            .with("content-type", "application/xml")
        };
        let mut data = locked(&self.data);
        let redirects = self.options.redirects.clone().unwrap_or_default();
        let signature = request.parameters("signature").next().unwrap_or_default();
        let Some(grant) = data.signatures.get_mut(&signature) else { return denied() };
        grant.uses += 1;
        if !still_good(grant, redirects.lifetime, redirects.uses) || request.header("authorization").is_some() {
            return denied();
        }
        let digest = grant.scope.clone();
        let repository = request.path.trim_matches('/').strip_suffix(&digest).map_or("", |path| path.trim_matches('/'));
        match data.repositories.get(repository).and_then(|repository| repository.blobs.get(&digest)).cloned() {
            Some(content) => self.blob_response(content, &digest),
            None => denied(),
        }
    }

    fn tags(&self, request: &Request, repository: &str) -> Response {
        let data = locked(&self.data);
        let Some(found) = data.repositories.get(repository) else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let last = request.parameters("last").next();
        let size = request.parameters("n").next().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let mut names = found.tags.keys().filter(|tag| last.as_ref().is_none_or(|last| *tag > last));
        let page: Vec<&String> = names.by_ref().take(size).collect();
        let response = Response::json(200, &json!({ "name": repository, "tags": page }));
        match (names.next(), page.last()) {
            (Some(_), Some(last)) => {
                response.with("link", format!("</v2/{repository}/tags/list?n={size}&last={last}>; rel=\"next\""))
            }
            _ => response,
        }
    }

    /// The refusal of a request without the right credentials.
    fn refuse(&self, request: &Request, repository: &str) -> Option<Response> {
        let unauthorized = |challenge: String| {
            refusal(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", challenge)
        };
        match &self.options.auth {
            Auth::Anonymous => None,
            Auth::Basic(user, password) => {
                let right = basic(request).is_some_and(|given| given == (user.clone(), password.clone()));
                (!right).then(|| unauthorized("Basic realm=\"registry\"".to_owned()))
            }
            Auth::Token(options) => {
                let wanted = format!("repository:{repository}:pull");
                let given = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
                let mut data = locked(&self.data);
                let good = given.and_then(|token| data.tokens.get_mut(token)).is_some_and(|grant| {
                    grant.uses += 1;
                    (repository.is_empty() || grant.scope.split(' ').any(|scope| scope == wanted))
                        && still_good(grant, options.lifetime, options.uses)
                });
                let host = locked(&self.host);
                let scope = if repository.is_empty() { String::new() } else { format!(",scope=\"{wanted}\"") };
                (!good).then(|| unauthorized(format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"{scope}")))
            }
        }
    }

    fn token(&self, request: &Request) -> Response {
        let Auth::Token(options) = &self.options.auth else { return Response::new(404, "") };
        let form: BTreeMap<String, String> = http::parameters(&String::from_utf8_lossy(&request.body)).collect();
        let by_password = options.credentials.as_ref().is_some_and(|right| {
            let from_form = form.get("username").cloned().zip(form.get("password").cloned());
            basic(request).or(from_form).as_ref() == Some(right)
        });
        let by_identity =
            options.identity_token.is_some() && form.get("refresh_token") == options.identity_token.as_ref();
        let closed = options.credentials.is_some() || options.identity_token.is_some();
        if closed && !by_password && !by_identity {
            return refusal(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let scope = match form.get("scope") {
            Some(scope) => scope.clone(),
            None => request.parameters("scope").collect::<Vec<_>>().join(" "),
        };
        let mut data = locked(&self.data);
        data.counter += 1;
        let token = format!("opaque-token-{}", data.counter);
        data.tokens.insert(token.clone(), Grant { scope, since: Instant::now(), uses: 0 });
        let mut body = json!({ "token": token, "access_token": token });
        if let Some(seconds) = options.claimed_seconds {
            body["expires_in"] = json!(seconds);
        }
        Response::json(200, &body)
    }
}

fn still_good(grant: &Grant, lifetime: Option<Duration>, uses: Option<u64>) -> bool {
    lifetime.is_none_or(|lifetime| grant.since.elapsed() < lifetime) && uses.is_none_or(|uses| grant.uses <= uses)
}

fn basic(request: &Request) -> Option<(String, String)> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, On};
    use crate::images::{self, layer};
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// One request on a connection of its own: status, head, body.
    fn get(server: &Server, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(server.host()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, head, answer[end..].to_vec())
    }

    fn with_image(options: Options) -> (Registry, Image, String) {
        let registry = Registry::with(options);
        let image = Image::new(1, &[layer(1, 10_000)]);
        registry.push("team/app:1", &image);
        let blob = format!("/v2/team/app/blobs/{}", image.layers[0].digest);
        (registry, image, blob)
    }

    #[test]
    fn manifests_are_served_byte_for_byte_by_tag_and_by_digest() {
        let (registry, image, _) = with_image(Options::default());
        for reference in ["1", image.digest()] {
            let (status, head, body) = get(&registry, &format!("/v2/team/app/manifests/{reference}"), "");
            assert_eq!((status, &body[..]), (200, &image.manifest.bytes[..]));
            assert!(head.contains(images::OCI_MANIFEST) && head.contains(image.digest()), "{head}");
        }
        assert_eq!(get(&registry, "/v2/team/app/manifests/2", "").0, 404);
    }

    #[test]
    fn a_range_is_a_206_with_its_place_and_a_range_behind_the_end_a_416() {
        let (registry, image, blob) = with_image(Options::default());
        let bytes = &image.layers[0].bytes;
        let (status, head, body) = get(&registry, &blob, "range: bytes=100-\r\n");
        assert_eq!((status, &body[..]), (206, &bytes[100..]));
        let place = format!("content-range: bytes 100-{}/{}\r\n", bytes.len() - 1, bytes.len());
        assert!(head.contains(&place), "{head}");
        assert_eq!(get(&registry, &blob, "range: bytes=100-\r\nif-range: \"other\"\r\n").0, 200);
        let (status, head, _) = get(&registry, &blob, &format!("range: bytes={}-\r\n", bytes.len()));
        assert_eq!(status, 416);
        assert!(head.contains(&format!("content-range: bytes */{}", bytes.len())), "{head}");
        let log = registry.log();
        assert_eq!((log[0].status, log[0].sent, log[0].range), (206, bytes.len() as u64 - 100, Some((100, None))));
    }

    #[test]
    fn faults_change_the_answers_they_are_about_and_no_others() {
        let (registry, image, blob) = with_image(Options::default());
        let size = image.layers[0].size();
        let cut = registry.fault(On::get("/blobs/").once(), Fault::Cut { after: 1000 });
        registry.fault(On::get("/blobs/").after(1).once(), Fault::Damage { at: 5 });
        registry.fault(On::get("/blobs/").after(2).once(), Fault::too_many(Some("7")));
        registry.fault(On::get("/blobs/").with_range().once(), Fault::RangeFrom(10));
        registry.fault(On::get("/blobs/").with_range().after(1).once(), Fault::NoContentRange);
        registry.fault(On::get("/blobs/").with_range().after(2).once(), Fault::Reset { after: 10 });
        assert_eq!(get(&registry, &blob, "").2.len(), 1000);
        assert_eq!(cut.count(), 1);
        let damaged = get(&registry, &blob, "").2;
        assert_eq!((damaged.len() as u64, damaged[5]), (size, image.layers[0].bytes[5] ^ 0xff));
        let (status, head, _) = get(&registry, &blob, "");
        assert_eq!((status, head.contains("retry-after: 7")), (429, true));
        assert!(get(&registry, &blob, "range: bytes=100-\r\n").1.contains("content-range: bytes 10-"));
        assert!(!get(&registry, &blob, "range: bytes=100-\r\n").1.contains("content-range"));
        assert!(get(&registry, &blob, "range: bytes=100-\r\n").2.len() <= 10);
        assert_eq!(get(&registry, &blob, "").2.len() as u64, size);
    }

    #[test]
    fn tokens_are_for_a_scope_and_for_so_many_requests() {
        let auth = Auth::Token(TokenAuth { uses: Some(1), ..TokenAuth::default() });
        let (registry, _, blob) = with_image(Options { auth, ..Options::default() });
        let (status, head, _) = get(&registry, &blob, "");
        assert_eq!(status, 401);
        assert!(head.contains("scope=\"repository:team/app:pull\""), "{head}");
        let token = |scope: &str| {
            let body = get(&registry, &format!("/token?scope={scope}"), "").2;
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            format!("authorization: Bearer {}\r\n", value["token"].as_str().unwrap())
        };
        assert_eq!(get(&registry, &blob, &token("repository:other:pull")).0, 401);
        let right = token("repository:team/app:pull");
        assert_eq!(get(&registry, &blob, &right).0, 200);
        assert_eq!(get(&registry, &blob, &right).0, 401);
    }

    #[test]
    fn redirects_lead_to_another_port_until_they_expire() {
        let redirects = Some(Redirects { uses: Some(1), ..Redirects::default() });
        let (registry, image, blob) = with_image(Options { redirects, ..Options::default() });
        let (status, head, _) = get(&registry, &blob, "");
        let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        let path = location.strip_prefix(&registry.storage().url("")).unwrap();
        assert_eq!(status, 307);
        assert_eq!(get(registry.storage(), path, "").2, image.layers[0].bytes[..]);
        assert_eq!(get(registry.storage(), path, "").0, 403);
    }

    #[test]
    fn images_are_the_same_for_the_same_seed() {
        assert_eq!(Image::small(3, 500).digest(), Image::small(3, 500).digest());
        assert_ne!(Image::small(3, 500).digest(), Image::small(4, 500).digest());
    }
}
