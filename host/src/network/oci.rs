//! Registries: manifests, blobs and tags, from the first place that has them.

use std::sync::PoisonError;

use reqwest::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::auth::Subject;
use super::failure::Failure;
use super::mirrors::Endpoint;
use super::restrict::Bounds;
use super::transfer::{Wanted, blocking};
use super::transport::{Request, Tries};
use super::{Fetched, Network};
use crate::digest::Digest;
use crate::error::{Class, Error, Result};
use crate::grants::{At, Place, Restriction, address};
use crate::progress::{Level, Progress};
use crate::reference::Reference;
use crate::store::{Identity, Store};

/// Bytes of a manifest or an index: more can be pushed to no registry.
pub const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// Everything that a reference may name, best first.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
/// Bytes of one page of tags.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;
const MOST_PAGES: usize = 1000;

/// A manifest or an index as it was served.
#[derive(Clone, Debug)]
pub struct ManifestBytes {
    pub bytes: Vec<u8>,
    /// Without parameters.
    pub media_type: String,
    pub digest: Digest,
}

impl Network {
    /// Fetches what a tag or digest points to. Nothing is stored.
    ///
    /// # Errors
    /// `not-found`, `auth`, `integrity`, `transient`, `rate-limited`, naming
    /// the registry and the reference.
    pub async fn manifest(&self, reference: &Reference, progress: &Progress) -> Result<ManifestBytes> {
        self.manifest_within(None, reference, progress).await
    }

    /// The same for a guest, where `reach` says what it may reach besides the
    /// repository itself, which the caller has checked.
    ///
    /// # Errors
    /// As for [`Network::manifest`], and `plugin`.
    pub async fn manifest_within(
        &self,
        reach: Option<&Restriction>,
        reference: &Reference,
        progress: &Progress,
    ) -> Result<ManifestBytes> {
        let what = format!("the manifest of {reference}");
        let mut trail = Trail::default();
        for (index, endpoint) in self.endpoints(reference) {
            match self.manifest_at(&endpoint, reach, reference, &what, progress).await {
                Ok(manifest) => {
                    self.remember(reference, index);
                    return Ok(manifest);
                }
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        Err(trail.end(&what))
    }

    /// Fetches a blob of a repository into the store, unless it is there. One
    /// there of another `size` is looked into, and fetched again if damaged.
    ///
    /// # Errors
    /// As for [`Network::manifest`], and `disk-full`.
    pub async fn blob(
        &self,
        repository: &Reference,
        digest: &Digest,
        size: Option<u64>,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let key = digest.hex();
        let _claim = store.claim(&key).await;
        if let Some(size) = held(store, *digest, size).await? {
            progress.reused(size);
            return Ok(Fetched { digest: *digest, size });
        }
        self.blob_from(None, &key, repository, digest, size, store, progress).await
    }

    /// Fetches a blob, whatever the store holds, going on with the unfinished
    /// download of `key`, on which the caller has the claim. `reach` as for
    /// [`Network::manifest_within`].
    #[expect(clippy::too_many_arguments, reason = "one request, described in full")]
    pub(super) async fn blob_from(
        &self,
        reach: Option<&Restriction>,
        key: &str,
        repository: &Reference,
        digest: &Digest,
        size: Option<u64>,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let what = format!("the blob {digest} of {}", repository.name());
        let mut trail = Trail::default();
        for (index, endpoint) in self.endpoints(repository) {
            match self.blob_at(&endpoint, reach, key, digest, size, &what, store, progress).await {
                Ok(fetched) => {
                    self.remember(repository, index);
                    return Ok(fetched);
                }
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        Err(trail.end(&what))
    }

    /// The tags of a repository, at most `limit`, in the registry's order.
    pub async fn list_tags(&self, repository: &Reference, limit: usize, progress: &Progress) -> Result<Vec<String>> {
        self.list_tags_within(None, repository, limit, progress).await
    }

    /// The same for a guest: see [`Network::manifest_within`].
    ///
    /// # Errors
    /// As for [`Network::manifest`], and `plugin`.
    pub async fn list_tags_within(
        &self,
        reach: Option<&Restriction>,
        repository: &Reference,
        limit: usize,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        let what = format!("the tags of {}", repository.name());
        let mut trail = Trail::default();
        for (_, endpoint) in self.endpoints(repository) {
            match self.tags_at(&endpoint, reach, limit, &what, progress).await {
                Ok(tags) => return Ok(tags),
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        Err(trail.end(&what))
    }

    /// The places of a repository with their number; the one that had it goes
    /// first, and what stands before it is not asked again.
    fn endpoints(&self, reference: &Reference) -> Vec<(usize, Endpoint)> {
        let found_at = self.found_at.lock().unwrap_or_else(PoisonError::into_inner);
        let first = found_at.get(&reference.name()).copied().unwrap_or_default();
        self.transport.places.endpoints(reference).into_iter().enumerate().skip(first).collect()
    }

    fn remember(&self, reference: &Reference, index: usize) {
        if index > 0 {
            self.found_at.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.name(), index);
        }
    }

    async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        reach: Option<&Restriction>,
        reference: &Reference,
        what: &str,
        progress: &Progress,
    ) -> Result<ManifestBytes> {
        let mut request = get(endpoint, reach, &format!("manifests/{}", reference.locator()))?;
        request.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let mut tries = Tries::default();
        let mut differed = false;
        loop {
            let failure = match self.manifest_once(&request, endpoint, reference, what, progress).await {
                Ok(manifest) => return Ok(manifest),
                Err(failure) => failure,
            };
            // Wrong bytes get one more chance, not five.
            if failure.error.class() == Class::Integrity && std::mem::replace(&mut differed, true) {
                return Err(failure.error);
            }
            tries.next(failure, &request, &self.transport, progress).await?;
        }
    }

    async fn manifest_once(
        &self,
        request: &Request,
        endpoint: &Endpoint,
        reference: &Reference,
        what: &str,
        progress: &Progress,
    ) -> Result<ManifestBytes, Failure> {
        let scope = scope(endpoint);
        let subject = subject(endpoint, &scope, request)?;
        let mut answer = self.send(request.clone(), subject, what, progress).await?;
        if answer.status() != 200 {
            return Err(self.refusal(answer, subject, what).await);
        }
        answer.refuse_encoding(what)?;
        let limit = usize::try_from(LARGEST_MANIFEST).unwrap_or(usize::MAX);
        let bytes = answer.body(limit, progress).await?;
        if let Some(page) = no_json(&bytes) {
            return Err(page_instead(&endpoint.name, what, answer.header("content-type"), &page).into());
        }
        let digest = Digest::of(&bytes);
        let announced = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
        for expected in [reference.digest(), announced].into_iter().flatten() {
            if expected != digest {
                let message = format!("{} sent {what} with the digest {digest} instead of {expected}", endpoint.name);
                return Err(Failure::broken(Error::integrity(message)));
            }
        }
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        Ok(ManifestBytes { bytes, media_type, digest })
    }

    #[expect(clippy::too_many_arguments, reason = "one request, described in full")]
    async fn blob_at(
        &self,
        endpoint: &Endpoint,
        reach: Option<&Restriction>,
        key: &str,
        digest: &Digest,
        size: Option<u64>,
        what: &str,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let scope = scope(endpoint);
        let request = get(endpoint, reach, &format!("blobs/{digest}"))?;
        let wanted = Wanted {
            key: key.to_owned(),
            identity: Identity::blob(*digest, size),
            expected: Some(*digest),
            size,
            locked: None,
            limit: self.largest,
            is_counted: true,
            what,
            source: &endpoint.name,
            subject: subject(endpoint, &scope, &request)?,
            request,
        };
        self.transfer(&wanted, store, progress).await
    }

    async fn tags_at(
        &self,
        endpoint: &Endpoint,
        reach: Option<&Restriction>,
        limit: usize,
        what: &str,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        let mut tags: Vec<String> = Vec::new();
        let mut next = Some(endpoint.url(&format!("tags/list?n={}", limit.clamp(1, 1000)))?);
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take().filter(|_| tags.len() < limit) else { break };
            let (page, following) = self.tag_page(endpoint, reach, url, what, progress).await?;
            tags.extend(page);
            next = following;
        }
        tags.truncate(limit);
        Ok(tags)
    }

    async fn tag_page(
        &self,
        endpoint: &Endpoint,
        reach: Option<&Restriction>,
        url: Url,
        what: &str,
        progress: &Progress,
    ) -> Result<(Vec<String>, Option<Url>)> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let scope = scope(endpoint);
        let request = within(endpoint, reach, url);
        let subject = subject(endpoint, &scope, &request)?;
        let mut tries = Tries::default();
        loop {
            let failure = match self.send(request.clone(), subject, what, progress).await {
                Ok(mut answer) if answer.status() == 200 => match answer.body(LARGEST_PAGE, progress).await {
                    Ok(body) => {
                        let page: Page = serde_json::from_slice(&body)
                            .map_err(|_| Error::invalid(format!("{} sent {what} in an unknown form", endpoint.name)))?;
                        let next = answer.header("link").and_then(|link| next_page(link, &request.url));
                        return Ok((page.tags.unwrap_or_default(), next));
                    }
                    Err(failure) => failure,
                },
                Ok(answer) => self.refusal(answer, subject, what).await,
                Err(failure) => failure,
            };
            tries.next(failure, &request, &self.transport, progress).await?;
        }
    }
}

/// The first words of what is no manifest at all; None of what may be one.
fn no_json(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_json = words.first().is_some_and(|word| word.starts_with('{'));
    let shown = || words.join(" ").chars().filter(|c| !c.is_control()).take(60).collect();
    (!is_json).then(shown)
}

fn page_instead(place: &str, what: &str, media_type: Option<&str>, words: &str) -> Error {
    let came = match (words, media_type) {
        ("", _) => "nothing".to_owned(),
        (_, Some(media_type)) => format!("{media_type} that begins with `{words}`"),
        (_, None) => format!("what begins with `{words}`"),
    };
    Error::invalid(format!("{place} sent {came} instead of {what}")).hint(
        "a login page or a proxy may have answered instead of a registry: check the host in the reference, and \
         `network.proxy`",
    )
}

fn scope(endpoint: &Endpoint) -> String {
    format!("repository:{}:pull", endpoint.repository)
}

fn subject<'a>(endpoint: &'a Endpoint, scope: &'a str, request: &Request) -> Result<Subject<'a>> {
    let reach = request.bounds.reach(&request.url)?;
    Ok(Subject { host: &endpoint.host, scope, credentials: request.bounds.credentials(), reach })
}

fn get(endpoint: &Endpoint, reach: Option<&Restriction>, path: &str) -> Result<Request> {
    Ok(within(endpoint, reach, endpoint.url(path)?))
}

fn within(endpoint: &Endpoint, reach: Option<&Restriction>, url: Url) -> Request {
    let bounds = Bounds::of(widened(endpoint, reach));
    Request { bounds, has_alternative: endpoint.has_alternative, ..Request::get(url) }
}

/// The place itself may be asked: the caller has checked the repository, and
/// mirrors are the user's own. What it redirects to must be granted. The
/// registry may be an address of the inside only where its name was granted.
fn widened(endpoint: &Endpoint, reach: Option<&Restriction>) -> Option<Restriction> {
    let reach = reach?;
    let by_name = endpoint.is_mirror || reach.by_name;
    let place = endpoint.url("").ok().map(|url| Place { what: At::Below(url), by_name });
    Some(reach.with_place(place))
}

/// `</v2/x/tags/list?last=b>; rel="next"`, on the same host.
fn next_page(link: &str, from: &Url) -> Option<Url> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then_some(())?;
    let next = address(target, Some(from)).ok()?;
    (next.origin() == from.origin()).then_some(next)
}

/// Bytes of a blob that the store holds whole.
async fn held(store: &Store, digest: Digest, size: Option<u64>) -> Result<Option<u64>> {
    let store = store.clone();
    blocking(move || store.whole(&digest, size)).await
}

/// The places that could not help.
#[derive(Debug, Default)]
struct Trail {
    passed: Vec<Passed>,
}

/// A place, and why it could not help.
#[derive(Debug)]
struct Passed {
    name: String,
    is_mirror: bool,
    error: Error,
}

impl Trail {
    /// Goes on to the next place, unless no place could help.
    fn follow(&mut self, endpoint: &Endpoint, error: Error, progress: &Progress) -> Result<()> {
        if matches!(error.class(), Class::Interrupted | Class::DiskFull | Class::Configuration) {
            return Err(error);
        }
        progress.log(Level::Debug, &format!("{}: {}", endpoint.name, error.one_line()));
        self.passed.push(Passed { name: endpoint.name.clone(), is_mirror: endpoint.is_mirror, error });
        Ok(())
    }

    /// The error of the place that decides; the others' are told as well.
    fn end(mut self, what: &str) -> Error {
        let Some(decisive) = self.decisive() else {
            return Error::configuration(format!("no place is left to fetch {what} from"));
        };
        let Passed { error, .. } = self.passed.remove(decisive);
        if self.passed.is_empty() {
            return error;
        }
        let others: Vec<String> =
            self.passed.iter().map(|passed| format!("{}: {}", passed.name, passed.error.one_line())).collect();
        error.context(format!("no place had {what} ({})", others.join("; ")))
    }

    /// The last place decides, which is the registry itself unless only
    /// mirrors are asked. What the registry says it lacks is nowhere; in every
    /// other case a mirror may have it that just could not be asked.
    fn decisive(&self) -> Option<usize> {
        let may_recover = |passed: &Passed| passed.error.class().may_recover();
        let last = self.passed.len().checked_sub(1)?;
        let decides = |last: &Passed| may_recover(last) || (!last.is_mirror && is_lacking(&last.error));
        let of_mirror = || self.passed.iter().position(may_recover);
        if decides(&self.passed[last]) { Some(last) } else { of_mirror().or(Some(last)) }
    }
}

/// Whether a server said so, and not that it has no address.
fn is_lacking(error: &Error) -> bool {
    error.class() == Class::NotFound && error.status().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_tags_stay_on_their_host() {
        let from = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        let next = |link: &str| next_page(link, &from).map(|url| url.to_string());
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#).as_deref(),
            Some("https://r.example/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next(r#"<https://evil.example/x>; rel="next""#), None);
        assert_eq!(next("nonsense"), None);
    }

    #[test]
    fn what_came_instead_of_a_manifest_is_told() {
        assert_eq!(no_json(b" \n{\"schemaVersion\": 2}"), None);
        let told = |bytes: &[u8], media_type| {
            let page = no_json(bytes).unwrap();
            page_instead("r.example", "the manifest of a:b", media_type, &page).message().to_owned()
        };
        assert_eq!(told(b"", None), "r.example sent nothing instead of the manifest of a:b");
        let page = told(b"<html>\n<title>Sign in", Some("text/html"));
        assert!(page.contains("text/html that begins with `<html> <title>Sign in`"), "{page}");
    }

    #[test]
    fn the_error_after_mirrors_tells_of_all_and_may_recover_where_one_may() {
        let missing = || Error::new(Class::NotFound, "not there").with_status(404);
        let limited = || Error::new(Class::RateLimited, "slow down").with_status(429);
        let down = || Error::transient("down").with_status(503);
        let unauthorized = || Error::new(Class::Auth, "who?").with_status(401);
        let nameless = || Error::new(Class::NotFound, "no such host");
        for (mirror, last, last_is_mirror, status) in [
            (down(), missing(), false, 404),
            (down(), missing(), true, 503),
            (down(), nameless(), false, 503),
            (down(), unauthorized(), false, 503),
            (missing(), limited(), false, 429),
            (down(), limited(), false, 429),
            (unauthorized(), missing(), false, 404),
        ] {
            let told = [mirror.message().to_owned(), last.message().to_owned()];
            let passed = |name: &str, is_mirror, error| Passed { name: name.into(), is_mirror, error };
            let mut trail =
                Trail { passed: vec![passed("m.example", true, mirror), passed("r.example", last_is_mirror, last)] };
            let progress = Progress::silent("images");
            let endpoint = Endpoint {
                base: String::new(),
                host: String::new(),
                repository: String::new(),
                name: String::new(),
                is_mirror: false,
                has_alternative: false,
            };
            assert!(trail.follow(&endpoint, Error::interrupted(), &progress).is_err());
            let error = trail.end("the manifest of a:b");
            assert_eq!(error.status(), Some(status));
            assert!(told.iter().all(|message| error.one_line().contains(message)), "{error:?}");
        }
    }
}
