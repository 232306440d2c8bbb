//! Registries, written to: what is there is asked for first, blobs are mounted
//! or sent in chunks, manifests come last.
//!
//! Mirrors are for reading: the registry itself is written to. An upload that
//! breaks is begun anew, by the rules by which a download is.

use std::io;

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc::Receiver;
use url::Url;

use super::Network;
use super::auth::Subject;
use super::failure::Failure;
use super::mirrors::{Endpoint, shown};
use super::oci::ACCEPTED;
use super::restrict::Bounds;
use super::transport::{Answer, Request, Tries, Upload};
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::Progress;
use base::reference::Reference;

/// Bytes that are sent at a time: some registries take no smaller ones.
const CHUNK: usize = 8 << 20;

/// The content of a blob, from its beginning.
pub type Pieces = Receiver<io::Result<Bytes>>;

/// A blob to be sent.
pub struct Outgoing<'a> {
    /// Of the blob.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Opens it anew.
    pub open: &'a (dyn Fn() -> Pieces + Sync),
}

impl Network {
    /// Whether a repository has a blob.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
    pub async fn holds_blob(&self, repository: &Reference, digest: Digest, progress: &Progress) -> Result<bool> {
        let door = self.door(repository)?;
        let what = format!("the blob {digest} of {}", repository.name());
        let request = door.request(Method::HEAD, &format!("blobs/{digest}"))?;
        match self.knock(&door, request, &[200], &what, progress).await {
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
        let mut request = door.request(Method::HEAD, &format!("manifests/{}", reference.locator()))?;
        request.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        match self.knock(&door, request, &[200], &what, progress).await {
            Ok(answer) => Ok(answer.header("docker-content-digest").and_then(|digest| digest.parse().ok())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
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
        let door = self.door(repository)?;
        let what = format!("taking over the blob {digest} into {}", repository.name());
        let request =
            door.request(Method::POST, &format!("blobs/uploads/?mount={digest}&from={}", from.repository()))?;
        // 202 has begun an upload, which the registry forgets.
        match self.knock(&door, request, &[201, 202], &what, progress).await {
            Ok(answer) => Ok(answer.status() == 201),
            Err(error) if matches!(error.status(), Some(400 | 404 | 405)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a blob.
    ///
    /// # Errors
    /// As for [`Network::manifest`]; `integrity` where it cannot be read.
    pub async fn send_blob(&self, repository: &Reference, blob: &Outgoing<'_>, progress: &Progress) -> Result<()> {
        let door = self.door(repository)?;
        let what = format!("sending the blob {} into {}", blob.digest, repository.name());
        let begin = door.request(Method::POST, "blobs/uploads/")?;
        let mut tries = Tries::default();
        loop {
            match self.send_blob_once(&door, &begin, blob, &what, progress).await {
                Ok(()) => return Ok(()),
                Err(failure) => tries.next(failure, &begin, &self.transport, progress).await?,
            }
        }
    }

    async fn send_blob_once(
        &self,
        door: &Door,
        begin: &Request,
        blob: &Outgoing<'_>,
        what: &str,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let answer = self.knock_once(door, begin, &[202], what, progress).await?;
        let mut place = door.location(&answer)?;
        drop(answer);
        let (mut pieces, mut chunk, mut at) = ((blob.open)(), BytesMut::new(), 0);
        while let Some(piece) = pieces.recv().await {
            chunk.extend_from_slice(&piece.map_err(unreadable)?);
            let is_last = at + chunk.len() as u64 == blob.size;
            if chunk.len() >= CHUNK && !is_last {
                let (sent, start) = (chunk.split().freeze(), at);
                at += sent.len() as u64;
                let request = door.chunk(place, sent, start);
                let answer = self.knock_once(door, &request, &[202, 204], what, progress).await?;
                place = door.location(&answer)?;
            }
        }
        if at + chunk.len() as u64 != blob.size {
            return Err(Error::integrity(format!("{what}: the package ends early")).into());
        }
        let mut request = door.upload(Method::PUT, place, chunk.freeze());
        request.url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        self.knock_once(door, &request, &[201, 204], what, progress).await?;
        Ok(())
    }

    /// Sends a manifest, whose blobs are there, by its tag or its digest.
    ///
    /// # Errors
    /// As for [`Network::manifest`].
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
        let mut request = door.upload(Method::PUT, url, bytes);
        if let Ok(media_type) = HeaderValue::from_str(media_type) {
            request.headers.insert(CONTENT_TYPE, media_type);
        }
        self.knock(&door, request, &[201, 202], &what, progress).await.map(drop)
    }

    fn door(&self, repository: &Reference) -> Result<Door> {
        let endpoint = self.transport.places.endpoints(repository).into_iter().rfind(|endpoint| !endpoint.is_mirror);
        let endpoint = endpoint.ok_or_else(|| {
            Error::configuration(format!("`{}` is only ever read through mirrors", repository.registry()))
        })?;
        let scope = format!("repository:{}:pull,push", endpoint.repository);
        Ok(Door { endpoint, scope })
    }

    /// Asks, and asks again.
    async fn knock(
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

    async fn knock_once(
        &self,
        door: &Door,
        request: &Request,
        expected: &[u16],
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let subject =
            Subject { host: &door.endpoint.host, scope: &door.scope, credentials: true, bounds: &Bounds::None };
        let answer = self.send(request.clone(), subject, what, progress).await?;
        match expected.contains(&answer.status()) {
            true => Ok(answer),
            false => Err(self.refusal(answer, subject, what).await),
        }
    }
}

/// A repository that is written to.
struct Door {
    endpoint: Endpoint,
    scope: String,
}

impl Door {
    fn request(&self, method: Method, path: &str) -> Result<Request> {
        Ok(self.upload(method, self.endpoint.url(path)?, Bytes::new()))
    }

    fn upload(&self, method: Method, url: Url, body: Bytes) -> Request {
        let mut request = Request { upload: Some(Upload { method, body }), ..Request::get(url) };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request
    }

    fn chunk(&self, url: Url, body: Bytes, at: u64) -> Request {
        let range = format!("{at}-{}", at + body.len() as u64 - 1);
        let mut request = self.upload(Method::PATCH, url, body);
        if let Ok(range) = HeaderValue::from_str(&range) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        request
    }

    /// Where an upload goes on. Credentials go to no other server.
    fn location(&self, answer: &Answer) -> Result<Url> {
        let name = &self.endpoint.name;
        let told = answer.header("location").and_then(|location| answer.url.join(location).ok());
        let url = told.ok_or_else(|| Error::invalid(format!("{name} does not say where an upload goes on")))?;
        if url.origin() == answer.url.origin() {
            return Ok(url);
        }
        Err(Error::invalid(format!("{name} wants uploads at {}, which is another server", shown(&url)))
            .hint("push to that one, or have the registry told by which address it is reached"))
    }
}

fn unreadable(source: io::Error) -> Failure {
    Error::integrity("the package is damaged").caused_by(source).hint("`opencenter-airgap verify` says where").into()
}
