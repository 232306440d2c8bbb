//! Downloads, done by the host: several at a time, resumed, retried, verified.
//!
//! ```no_run
//! # fn step(output: &sdk::Sink) -> Result<(), sdk::StepError> {
//! use sdk::fetch::{self, Request};
//! let wanted = [Request::url("https://example.com/a.tgz", "charts/a.tgz", "chart a").limit(1 << 20)];
//! for result in fetch::all(&wanted, output)? {
//!     let artifact = result?;
//!     sdk::log::info(format!("{} has {} bytes", artifact.path, artifact.size));
//! }
//! # Ok(()) }
//! ```

pub use crate::bindings::opencenter::airgap::fetch::{FetchError, FetchErrorKind, Request, Source};
use crate::bindings::opencenter::airgap::fetch::{fetch_all, list_tags};
use crate::{Artifact, Sink, StepError};

impl Request {
    fn new(source: Source, path: impl Into<String>, label: impl Into<String>) -> Self {
        Self { source, path: path.into(), sha256: None, limit: None, label: label.into(), mutable: false }
    }

    /// `path` is where it goes in the output tree, `label` the user's name for
    /// it ("chart cert-manager").
    pub fn url(url: impl Into<String>, path: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Source::Url(url.into()), path, label)
    }

    /// `reference` is `registry/repository@sha256:…`.
    pub fn oci_blob(reference: impl Into<String>, path: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Source::OciBlob(reference.into()), path, label)
    }

    /// The manifest behind a tag or digest, as the registry serves it.
    pub fn oci_manifest(reference: impl Into<String>, path: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Source::OciManifest(reference.into()), path, label)
    }

    /// 64 hexadecimal digits, with or without `sha256:`.
    #[must_use]
    pub fn sha256(mut self, digest: impl Into<String>) -> Self {
        self.sha256 = Some(digest.into());
        self
    }

    /// Bytes; more is refused.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// The content may change under the same address: never locked.
    #[must_use]
    pub fn mutable(mut self) -> Self {
        self.mutable = true;
        self
    }
}

/// Fetches everything and returns one result per request, in the same order.
///
/// # Errors
/// [`StepError::Interrupted`] when the step is being stopped.
pub fn all(requests: &[Request], output: &Sink) -> Result<Vec<Result<Artifact, FetchError>>, StepError> {
    fetch_all(requests, output)
}

/// Fetches one thing.
///
/// # Errors
/// Why it could not be fetched.
pub fn one(request: Request, output: &Sink) -> Result<Artifact, StepError> {
    let mut results = fetch_all(&[request], output)?;
    match results.pop() {
        Some(result) => Ok(result?),
        None => Err(StepError::other("fetch", "the host gave no answer to a request")),
    }
}

/// The tags of `registry/repository`, at most `limit`.
///
/// # Errors
/// Why the registry did not list them.
pub fn tags(repository: &str, limit: u32) -> Result<Vec<String>, FetchError> {
    list_tags(repository, limit)
}
