//! `fetch`: downloads by the network and the store.

use std::sync::Arc;
use std::time::Instant;

use components::problem::redacted;
use futures_util::{StreamExt, stream};
use wasmtime::component::Resource;

use super::Answer;
use super::outputs::wit;
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::grants::Rules;
use crate::network::{self, Download, Fetched, Network};
use crate::plugin::attempt::Attempt;
use crate::plugin::bindings::OutputSink;
use crate::plugin::bindings::fetch::{FetchError, FetchErrorKind, Host, Request, Source};
use crate::plugin::bindings::types::Artifact as WitArtifact;
use crate::plugin::call::{Call, Work};
use crate::plugin::ledger::Ledger;
use crate::plugin::limits::{FAILURE_MESSAGE, REQUESTS, TAGS, UNIT};
use crate::plugin::stop::{Refusal, Stop};
use crate::plugin::text;
use crate::progress::Level;
use crate::reference::Reference;
use crate::tree::Artifact;

/// Requests under way at the same time; the network has its own, lower
/// number of connections.
const CONCURRENT: usize = 64;

impl Host for Call {
    async fn fetch_all(
        &mut self,
        requests: Vec<Request>,
        _: Resource<OutputSink>,
    ) -> Answer<Vec<std::result::Result<WitArtifact, FetchError>>> {
        if requests.len() > REQUESTS {
            return Err(Refusal::invalid("too-many", format!("more than {REQUESTS} requests at once")));
        }
        let started = Instant::now();
        let asked = self.requests();
        let fetcher = Fetcher::of(self.work("fetch.fetch-all")?);
        let jobs = requests.into_iter().map(|request| {
            let fetcher = fetcher.clone();
            async move { fetcher.fetch(request).await }
        });
        let results: Vec<Outcome<Artifact>> = stream::iter(jobs).buffered(CONCURRENT).collect().await;
        self.fetched(started, self.requests() != asked).map_err(Refusal::Stop)?;
        self.note_waits(results.iter().filter_map(|result| result.as_ref().err()));
        results.into_iter().map(answer).collect()
    }

    async fn list_tags(
        &mut self,
        repository: String,
        limit: u32,
    ) -> wasmtime::Result<std::result::Result<Vec<String>, FetchError>> {
        let started = Instant::now();
        let fetcher = Fetcher::of(self.work("fetch.list-tags").map_err(Refusal::into_error)?);
        let result = fetcher.tags(&repository, limit.min(TAGS)).await;
        self.fetched(started, true)?;
        self.note_waits(result.as_ref().err());
        answer_with(result, |tags| tags).map_err(Refusal::into_error)
    }
}

impl Call {
    /// How many requests this step has sent.
    fn requests(&self) -> u64 {
        self.progress.counters().read().requests
    }

    fn note_waits<'a>(&mut self, failures: impl IntoIterator<Item = &'a Failed>) {
        let latest = failures.into_iter().filter_map(|failed| failed.error.until()).max();
        if let Some(work) = &mut self.work {
            work.come_back = work.come_back.max(latest);
        }
    }
}

/// What a fetch needs of the call, for many at a time.
#[derive(Clone)]
struct Fetcher {
    cx: Attempt,
    rules: Rules,
    ledger: Arc<Ledger>,
}

impl Fetcher {
    fn of(work: &Work) -> Self {
        Self { cx: work.cx.clone(), rules: work.rules.clone(), ledger: work.ledger.clone() }
    }

    /// One request, into the store and from there into the output tree.
    async fn fetch(&self, request: Request) -> Outcome<Artifact> {
        let Request { source, path, sha256, limit, label, mutable } = request;
        self.ledger.charge(&path, 0)?;
        let label = text::line(&label, 4 * UNIT);
        let expected = sha256.map(|text| parse_digest(&text)).transpose()?;
        let wanted = Wanted { expected, limit, label, mutable };
        let fetched = match source {
            Source::Url(url) => self.url(url, wanted).await,
            Source::OciBlob(reference) => self.blob(&reference, wanted).await,
            Source::OciManifest(reference) => self.manifest(&reference, wanted).await,
        };
        let linked = fetched.and_then(|fetched| {
            self.cx.output.forget(&path);
            Ok(self.cx.store.link(&fetched.digest, &self.cx.output, &path, false)?)
        });
        if linked.is_err() {
            self.ledger.release(&path);
        }
        linked
    }

    async fn url(&self, url: String, wanted: Wanted) -> Outcome<Fetched> {
        let shown = || text::line(&redacted(&url), 200);
        let parsed = self.rules.read(&url).map_err(|why| Error::invalid(format!("`{}` {why}", shown())))?;
        self.rules.url(&parsed)?;
        self.check_url(&url, &wanted)?;
        let host = parsed.host_str().unwrap_or_default();
        let host = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let download = Download {
            url,
            expected: wanted.expected,
            limit: wanted.limit,
            label: wanted.label,
            name: None,
            mutable: wanted.mutable,
            restriction: self.rules.restriction(&host),
        };
        let Attempt { store, lock, progress, .. } = &self.cx;
        match &self.cx.network {
            Some(network) => Ok(network.download(store, &download, lock, progress).await?),
            None => network::cached(store, &download, lock)?.ok_or_else(|| offline(&download.label)),
        }
        // What the store holds already was not counted on its way.
        .and_then(|fetched| too_large(&download.label, download.limit, fetched.size).map(|()| fetched))
    }

    async fn blob(&self, reference: &str, wanted: Wanted) -> Outcome<Fetched> {
        let reference = Reference::parse(reference)?;
        let digest = reference.digest().ok_or_else(|| {
            Error::invalid(format!("`{reference}` names no blob: write `registry/repository@sha256:…`"))
        })?;
        self.rules.repository(reference.registry(), reference.repository())?;
        check_expected(&wanted, digest)?;
        if let Some(size) = self.held(digest).await? {
            check_limit(&wanted, size)?;
            self.cx.progress.reused(size);
            return Ok(Fetched { digest, size });
        }
        let reach = self.rules.restriction(reference.registry());
        let network = self.network(&wanted.label)?;
        let fetched =
            network.blob_within(reach.as_ref(), &reference, &digest, None, &self.cx.store, &self.cx.progress).await?;
        check_limit(&wanted, fetched.size)?;
        Ok(fetched)
    }

    /// Bytes of a blob that the store holds whole.
    async fn held(&self, digest: Digest) -> Outcome<Option<u64>> {
        let store = self.cx.store.clone();
        Ok(blocking(move || store.whole(&digest, None)).await?)
    }

    /// A tag is locked at first sight like a file: under `oci://<reference>`.
    async fn manifest(&self, reference: &str, wanted: Wanted) -> Outcome<Fetched> {
        let reference = Reference::parse(reference)?;
        self.rules.repository(reference.registry(), reference.repository())?;
        let key = format!("oci://{}", reference.normalized());
        let locked = if wanted.mutable { None } else { self.cx.lock.lock().files.get(&key).map(|file| file.sha256) };
        let known = reference.digest().or(wanted.expected).or(locked);
        if let Some(digest) = known
            && let Some(size) = self.held(digest).await?
        {
            check_expected(&wanted, digest)?;
            check_limit(&wanted, size)?;
            self.cx.progress.reused(size);
            return Ok(Fetched { digest, size });
        }
        if known.is_none() {
            self.may_ask(&wanted.label)?;
        }
        let asked = known.map_or_else(|| reference.clone(), |digest| reference.at(digest));
        let reach = self.rules.restriction(reference.registry());
        let manifest = self.network(&wanted.label)?.manifest_within(reach.as_ref(), &asked, &self.cx.progress).await?;
        let size = manifest.bytes.len() as u64;
        check_limit(&wanted, size)?;
        check_expected(&wanted, manifest.digest)?;
        let store = self.cx.store.clone();
        let digest = blocking(move || store.insert_bytes(&manifest.bytes)).await?;
        if !wanted.mutable && reference.digest().is_none() && locked.is_none() {
            network::enter(&self.cx.lock, &key, Fetched { digest, size })?;
        }
        Ok(Fetched { digest, size })
    }

    async fn tags(&self, repository: &str, limit: u32) -> Outcome<Vec<String>> {
        let reference = Reference::parse(repository)?;
        self.rules.repository(reference.registry(), reference.repository())?;
        let reach = self.rules.restriction(reference.registry());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let what = format!("the tags of {}", reference.name());
        self.may_ask(&what)?;
        let tags = self.network(&what)?.list_tags_within(reach.as_ref(), &reference, limit, &self.cx.progress).await?;
        self.cx.progress.log(Level::Debug, &format!("{}: {} tags", reference.name(), tags.len()));
        Ok(tags)
    }

    /// With `--locked` a URL gives only what is known already. A digest says
    /// what comes, however often the content changes.
    fn check_url(&self, url: &str, wanted: &Wanted) -> Outcome<()> {
        let in_lock = || !wanted.mutable && self.cx.lock.lock().files.contains_key(url);
        let is_known = wanted.expected.is_some() || in_lock();
        if is_known { Ok(()) } else { self.may_ask(&wanted.label) }
    }

    /// With `--locked` nobody is asked what something is now.
    fn may_ask(&self, what: &str) -> Outcome<()> {
        self.cx.lock.may_resolve(what).map_err(|error| {
            self.cx.drift.note(what);
            Failed { kind: Some(FetchErrorKind::Offline), error }
        })
    }

    fn network(&self, what: &str) -> Outcome<&Network> {
        self.cx.network.as_deref().ok_or_else(|| offline(what))
    }
}

/// Work on the disk, beside the threads that serve the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Error::local("a thread of the host ended badly").caused_by(error))?
}

/// What is asked for, without where.
struct Wanted {
    expected: Option<Digest>,
    limit: Option<u64>,
    label: String,
    mutable: bool,
}

fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|error| Error::invalid("the digest of a request is none").caused_by(error))
}

fn check_expected(wanted: &Wanted, found: Digest) -> Result<()> {
    match wanted.expected {
        Some(expected) if expected != found => {
            Err(Error::integrity(format!("{} has {found} instead of {expected}", wanted.label)))
        }
        _ => Ok(()),
    }
}

fn check_limit(wanted: &Wanted, size: u64) -> Outcome<()> {
    too_large(&wanted.label, wanted.limit, size)
}

fn too_large(label: &str, limit: Option<u64>, size: u64) -> Outcome<()> {
    match limit {
        Some(limit) if size > limit => {
            let message = format!("{label} has {size} bytes, and at most {limit} are wanted");
            Err(Failed { kind: Some(FetchErrorKind::TooLarge), error: Error::invalid(message) })
        }
        _ => Ok(()),
    }
}

fn offline(what: &str) -> Failed {
    let error = Error::local(format!("{what} is not in the store, and the build is offline"))
        .hint("run the build once without `--offline`");
    Failed { kind: Some(FetchErrorKind::Offline), error }
}

/// Why a request failed; the class says the kind where nobody knows better.
struct Failed {
    kind: Option<FetchErrorKind>,
    error: Error,
}

type Outcome<T> = std::result::Result<T, Failed>;

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let kind = match error.class() {
            Class::Plugin => Some(FetchErrorKind::Denied),
            Class::NotFound => Some(FetchErrorKind::NotFound),
            Class::Auth => Some(FetchErrorKind::Auth),
            Class::Transient | Class::RateLimited => Some(FetchErrorKind::Transient),
            Class::Integrity => Some(FetchErrorKind::Integrity),
            Class::InvalidInput => Some(FetchErrorKind::Other),
            _ => None,
        };
        Self { kind, error }
    }
}

fn answer(result: Outcome<Artifact>) -> Answer<std::result::Result<WitArtifact, FetchError>> {
    answer_with(result, wit)
}

/// What a guest may handle; the end of the call otherwise.
fn answer_with<T, U>(result: Outcome<T>, into: impl FnOnce(T) -> U) -> Answer<std::result::Result<U, FetchError>> {
    match result {
        Ok(value) => Ok(Ok(into(value))),
        Err(Failed { kind: Some(kind), error }) => {
            let message = text::line(&error.one_line(), FAILURE_MESSAGE);
            Ok(Err(FetchError { kind, message, hint: error.hint_text().map(str::to_owned) }))
        }
        Err(Failed { kind: None, error }) => Err(Refusal::Stop(Stop::Host(error))),
    }
}
