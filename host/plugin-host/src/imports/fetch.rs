//! `fetch`: downloads, asked for at the call's desk.

use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use wasmtime::component::Resource;

use super::Answer;
use super::outputs::wit;
use crate::attempt::Asked;
use crate::bindings::OutputSink;
use crate::bindings::Refusal;
use crate::bindings::fetch::{FetchError, FetchErrorKind, Host, Request, Source};
use crate::bindings::types::Artifact as WitArtifact;
use crate::call::{Call, RunScope};
use crate::drift::Drift;
use crate::ledger::Ledger;
use crate::limits::{FAILURE_MESSAGE, REQUESTS, TAGS, UNIT};
use crate::stop::Stop;
use crate::text;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::{Level, Progress};
use disk::tree::{Artifact, TreeBuilder};
use fetch::desk;
use fetch::desk::{Desk, Refused};
use fetch::network::NO_CREDENTIALS;

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
        self.within_allowance().map_err(Refusal::Stop)?;
        self.note_waits(results.iter().filter_map(|result| result.as_ref().err()));
        let hints = self.hints();
        results.into_iter().map(|result| answer_with(result, &hints, wit)).collect()
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
        self.within_allowance()?;
        self.note_waits(result.as_ref().err());
        answer_with(result, &self.hints(), |tags| tags).map_err(Refusal::into_error)
    }
}

impl Call {
    /// How many requests this step has sent.
    fn requests(&self) -> u64 {
        self.progress.counters().read().requests
    }

    /// What a guest is refused for want of a grant it may handle; with more
    /// than it may take of the network the call ends.
    fn within_allowance(&mut self) -> std::result::Result<(), Stop> {
        self.work.as_ref().map_or(Ok(()), |work| work.cx.progress.may_go_on()).map_err(Stop::Host)
    }

    fn hints(&self) -> Hints {
        let is_core = self.work.as_ref().is_some_and(|work| work.is_core);
        Hints { is_core, progress: self.progress.clone() }
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
    desk: Desk,
    output: TreeBuilder,
    progress: Progress,
    drift: Drift,
    ledger: Arc<Ledger>,
    asked: Asked,
}

impl Fetcher {
    fn of(work: &RunScope) -> Self {
        Self {
            desk: work.desk.clone(),
            output: work.cx.output.clone(),
            progress: work.cx.progress.clone(),
            drift: work.cx.drift.clone(),
            ledger: work.ledger.clone(),
            asked: work.cx.asked.clone(),
        }
    }

    /// One request, over the desk and from there into the output tree.
    async fn fetch(&self, request: Request) -> Outcome<Artifact> {
        let Request { source, path, sha256, limit, label, mutable } = request;
        let reserved = self.ledger.reserve(&path)?;
        let label = text::line(&label, 4 * UNIT);
        let expected = sha256.map(|text| parse_digest(&text)).transpose()?;
        let wanted = desk::Request { expected, limit, label, mutable };
        let (Source::Url(address) | Source::OciBlob(address) | Source::OciManifest(address)) = &source;
        self.asked.note(address);
        let seen = match source {
            Source::Url(url) => self.desk.url(&url, wanted, &self.progress).await,
            Source::OciBlob(reference) => self.desk.blob(&reference, wanted, &self.progress).await,
            Source::OciManifest(reference) => self.desk.manifest(&reference, wanted, &self.progress).await,
        };
        let seen = seen.map_err(|refused| self.failed(refused))?;
        self.output.forget(&path);
        let linked = self.desk.link(&seen, &self.output, &path).and_then(|(artifact, multiplied)| {
            // The host's own copy counts for nobody; more of them do.
            reserved.fill(multiplied)?;
            Ok(artifact)
        });
        if linked.is_err() {
            self.output.discard(&path)?;
            self.ledger.release(&path);
        }
        Ok(linked?)
    }

    async fn tags(&self, repository: &str, limit: u32) -> Outcome<Vec<String>> {
        self.asked.note(repository);
        let tags = self.desk.tags(repository, limit, &self.progress).await;
        tags.map_err(|refused| self.failed(refused))
    }

    fn failed(&self, refused: Refused) -> Failed {
        match refused {
            Refused::Offline(error) => Failed { kind: Some(FetchErrorKind::Offline), error },
            Refused::Frozen(what, error) => {
                self.drift.note(&what);
                Failed { kind: Some(FetchErrorKind::Offline), error }
            }
            Refused::TooLarge(error) => Failed { kind: Some(FetchErrorKind::TooLarge), error },
            Refused::Failed(error) => error.into(),
        }
    }
}

fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|error| Error::invalid("the digest of a request is none").caused_by(error))
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

/// What helps is the user's: it may name where credentials and proxies are
/// set. A core plugin hands it on to them; to a pinned one only what is about
/// its grants and its request is told, and the host says the rest.
struct Hints {
    is_core: bool,
    progress: Progress,
}

impl Hints {
    fn of(&self, kind: FetchErrorKind, error: &Error) -> Option<String> {
        let hint = error.hint_text()?;
        if error.code() == Some(NO_CREDENTIALS) {
            // Whatever the guest makes of it, the user is to know.
            self.progress.warn(hint);
            return Some(hint.to_owned());
        }
        let is_its_own = matches!(kind, FetchErrorKind::Denied | FetchErrorKind::Offline | FetchErrorKind::TooLarge);
        if self.is_core || is_its_own {
            return Some(hint.to_owned());
        }
        self.progress.log(Level::Info, &format!("{}: {hint}", error.one_line()));
        None
    }
}

/// What a guest may handle; the end of the call otherwise.
fn answer_with<T, U>(
    result: Outcome<T>,
    hints: &Hints,
    into: impl FnOnce(T) -> U,
) -> Answer<std::result::Result<U, FetchError>> {
    match result {
        Ok(value) => Ok(Ok(into(value))),
        Err(Failed { kind: Some(kind), error }) => {
            let message = text::line(&error.one_line(), FAILURE_MESSAGE);
            Ok(Err(FetchError { kind, message, hint: hints.of(kind, &error) }))
        }
        Err(Failed { kind: None, error }) => Err(Refusal::Stop(Stop::Host(error))),
    }
}
