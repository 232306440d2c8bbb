//! Registries, written to: what is there is asked for first, blobs are mounted
//! or sent (`upload`), manifests come last.
//!
//! Mirrors are for reading: the registry itself is written to. What goes there
//! goes through the same `transport` as all else, with its limits, patience,
//! certificates, proxy and credentials; the client of `oci-client`, whose
//! references everybody here speaks, would bring its own of each, sends its
//! token wherever an upload goes on, and begins a blob that broke off anew.

use bytes::Bytes;
use model::oci::LARGEST_MANIFEST;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use url::Url;

use super::Network;
use super::auth::Subject;
use super::failure::Failure;
use super::mirrors::{Endpoint, host_of, shown};
use super::oci::ACCEPTED;
use super::outflow::Outflow;
use super::referrers::lacks_api;
use super::restrict::Bounds;
use super::transport::{Answer, Request, Tries, Upload, same_origin};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use entitlement::grants::host_address;

impl Network {
    /// Whether a repository has a blob.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
    pub async fn holds_blob(&self, repository: &Reference, digest: Digest, progress: &Progress) -> Result<bool> {
        self.holds(&self.door(repository)?, digest, progress).await
    }

    pub(super) async fn holds(&self, door: &Door, digest: Digest, progress: &Progress) -> Result<bool> {
        let what = format!("the blob {digest} of {}", door.name());
        let request = door.request(Method::HEAD, &format!("blobs/{digest}"))?;
        match self.knock(door, request, &[200], &what, progress).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a tag or a digest is there; None where it is not.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
    pub async fn held_manifest(&self, reference: &Reference, progress: &Progress) -> Result<Option<Digest>> {
        let door = self.door(reference)?;
        let what = format!("the manifest of {reference}");
        let ask = |method| {
            let mut request = door.request(method, &format!("manifests/{}", reference.locator()))?;
            request.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
            Ok::<_, Error>(request)
        };
        let answer = match self.knock(&door, ask(Method::HEAD)?, &[200], &what, progress).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(digest) = told_digest(&answer) {
            return Ok(Some(digest));
        }
        drop(answer);
        // Not every registry tells it.
        let mut answer = self.knock(&door, ask(Method::GET)?, &[200], &what, progress).await?;
        let body = answer.body(usize::try_from(LARGEST_MANIFEST).unwrap_or(usize::MAX), progress).await;
        Ok(body.ok().map(|bytes| Digest::of(&bytes)))
    }

    /// Has a repository take over a blob of another one of its registry. False
    /// where it does not.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
    pub async fn mount_blob(
        &self,
        repository: &Reference,
        digest: Digest,
        from: &Reference,
        progress: &Progress,
    ) -> Result<bool> {
        let mut door = self.door(repository)?;
        let what = format!("taking over the blob {digest} into {}", repository.name());
        let request =
            door.request(Method::POST, &format!("blobs/uploads/?mount={digest}&from={}", from.repository()))?;
        // A token is of repositories: this one needs both.
        door.scope.push_str(&format!(" repository:{}:pull", from.repository()));
        // 202 has begun an upload, which the registry forgets.
        match self.knock(&door, request, &[201, 202], &what, progress).await {
            Ok(answer) => Ok(answer.status() == 201),
            Err(error) if matches!(error.status(), Some(400 | 401 | 403 | 404 | 405 | 501)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a repository of the registry lists what is about a manifest.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
    pub async fn lists_referrers(&self, repository: &Reference, digest: Digest, progress: &Progress) -> Result<bool> {
        let door = self.door(repository)?;
        let what = format!("what is about {digest} in {}", repository.name());
        let request = Request::get(door.endpoint.url(&format!("referrers/{digest}"))?);
        match self.knock(&door, request, &[200], &what, progress).await {
            Ok(_) => Ok(true),
            Err(error) if lacks_api(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a manifest, whose blobs are there, by its tag or its digest.
    ///
    /// # Errors
    /// As for [`Network::manifest`]; `invalid-input` where the registry
    /// made something else of it.
    pub async fn send_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<()> {
        let door = self.door(reference)?;
        let what = format!("sending the manifest of {reference}");
        let url = door.endpoint.url(&format!("manifests/{}", reference.locator()))?;
        let digest = Digest::of(&bytes);
        let mut request = door.upload(Method::PUT, url, bytes);
        if let Ok(media_type) = HeaderValue::from_str(media_type) {
            request.headers.insert(CONTENT_TYPE, media_type);
        }
        let answer = self.knock(&door, request, &[200, 201, 202], &what, progress).await?;
        same(digest, &answer, &format!("the manifest of {reference}"), door.name())
    }

    pub(super) fn door(&self, repository: &Reference) -> Result<Door> {
        let endpoint = self.transport.places.endpoints(repository).into_iter().rfind(|endpoint| !endpoint.is_mirror);
        let endpoint = endpoint.ok_or_else(|| {
            Error::configuration(format!("`{}` is only ever read through mirrors", repository.registry()))
        })?;
        let scope = format!("repository:{}:pull,push", endpoint.repository);
        Ok(Door { endpoint, scope })
    }

    /// Asks, and asks again.
    pub(super) async fn knock(
        &self,
        door: &Door,
        request: Request,
        expected: &[u16],
        what: &str,
        progress: &Progress,
    ) -> Result<Answer> {
        let mut tries = Tries::default();
        loop {
            match self.knock_once(door, &request, expected, what, progress).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.next(failure, &request, &self.transport, progress).await?,
            }
        }
    }

    /// Who the registry is gets to know who we are; where it sends us, nobody.
    pub(super) async fn knock_once(
        &self,
        door: &Door,
        request: &Request,
        expected: &[u16],
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let host = host_of(&request.url);
        let subject = match door.is_behind(&request.url) {
            true => Subject { host: &door.endpoint.host, scope: &door.scope, credentials: true, bounds: &Bounds::None },
            false => Subject { host: &host, scope: "", credentials: false, bounds: &Bounds::None },
        };
        let answer = self.send(request.clone(), subject, what, progress).await?;
        match expected.contains(&answer.status()) {
            true => Ok(answer),
            false => Err(self.refusal(answer, subject, what).await),
        }
    }
}

fn told_digest(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest").and_then(|digest| digest.parse().ok())
}

/// What a registry says that it was given must be what was sent.
pub(super) fn same(sent: Digest, answer: &Answer, what: &str, registry: &str) -> Result<()> {
    match told_digest(answer).filter(|told| *told != sent) {
        None => Ok(()),
        Some(told) => Err(Error::invalid(format!("{registry} made {told} of {what}, which is {sent}"))
            .hint("a registry that changes what it is given, or a proxy before it, is of no use: nothing can be found there by its digest")),
    }
}

/// A repository that is written to.
pub(super) struct Door {
    endpoint: Endpoint,
    scope: String,
}

impl Door {
    /// Of the registry.
    pub(super) fn name(&self) -> &str {
        &self.endpoint.name
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<Request> {
        Ok(self.upload(method, self.endpoint.url(path)?, Bytes::new()))
    }

    pub(super) fn upload(&self, method: Method, url: Url, body: Bytes) -> Request {
        self.flow(method, url, Outflow::Held(body))
    }

    pub(super) fn flow(&self, method: Method, url: Url, body: Outflow) -> Request {
        let mut request = Request { upload: Some(Upload { method, body }), ..Request::get(url) };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request
    }

    pub(super) fn chunk(&self, url: Url, body: Bytes, at: u64) -> Request {
        let range = format!("{at}-{}", at + (body.len() as u64).saturating_sub(1));
        let mut request = self.upload(Method::PATCH, url, body);
        if let Ok(range) = HeaderValue::from_str(&range) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        request
    }

    /// Whether an address is of the registry itself.
    pub(super) fn is_behind(&self, url: &Url) -> bool {
        let is_weaker = url.scheme() == "http" && self.endpoint.base.starts_with("https:");
        host_of(url) == self.endpoint.host && !is_weaker
    }

    /// Where an upload goes on; None where the answer does not say. Another
    /// server than the one that was asked, like a storage behind the registry, is
    /// told nothing of who we are, and is never one without TLS behind one with.
    pub(super) fn location(&self, answer: &Answer) -> Result<Option<Url>> {
        let Some(told) = answer.header("location") else { return Ok(None) };
        let name = self.name();
        let url = host_address(told, Some(&answer.url))
            .map_err(|why| Error::invalid(format!("{name} wants an upload to go on at an address that {why}")))?;
        match onward(&answer.url, url) {
            Ok(url) => Ok(Some(url)),
            Err(url) => Err(Error::new(Class::InvalidInput, format!("{name} wants uploads at {}, which is not encrypted", shown(&url)))
                .hint("have the registry told by which address it is reached (of docker-registry: `http.host`, or `X-Forwarded-Proto` of the proxy)")),
        }
    }
}

/// Where an upload really goes on: a registry behind a proxy that ends TLS may
/// know of itself by http alone.
fn onward(asked: &Url, mut told: Url) -> Result<Url, Url> {
    let is_safe = told.scheme() == "https" || asked.scheme() == "http";
    if is_safe || same_origin(asked, &told) {
        return Ok(told);
    }
    let is_itself = told.host_str() == asked.host_str() && (told.port().is_none() || told.port() == asked.port());
    if is_itself && told.set_scheme("https").is_ok() && told.set_port(asked.port()).is_ok() {
        return Ok(told);
    }
    Err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_where_nobody_else_can_read_it() {
        for (asked, told, goes_on) in [
            (
                "https://r.test/v2/a/blobs/uploads/",
                "https://r.test/v2/x?_state=1",
                Some("https://r.test/v2/x?_state=1"),
            ),
            ("https://r.test:8443/v2/", "http://r.test/v2/x", Some("https://r.test:8443/v2/x")),
            ("https://r.test:5000/v2/", "http://r.test:5000/v2/x", Some("https://r.test:5000/v2/x")),
            ("https://r.test/v2/", "http://r.test:5000/v2/x", None),
            ("https://r.test/v2/", "http://other.test/v2/x", None),
            ("https://r.test/v2/", "https://storage.test/x?sig=1", Some("https://storage.test/x?sig=1")),
            ("http://r.test:5000/v2/", "http://r.test:5001/x", Some("http://r.test:5001/x")),
            ("http://r.test/v2/", "https://r.test/x", Some("https://r.test/x")),
        ] {
            let found = onward(&Url::parse(asked).unwrap(), Url::parse(told).unwrap());
            assert_eq!(found.ok().as_ref().map(Url::as_str), goes_on, "{asked} {told}");
        }
    }
}
