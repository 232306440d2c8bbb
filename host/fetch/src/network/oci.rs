//! Registries: manifests, blobs and tags, from the first place that has them.

use std::collections::BTreeSet;

use model::json;
use model::oci::LARGEST_MANIFEST;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::auth::Subject;
use super::blocking::blocking;
use super::failure::Failure;
use super::mirrors::{Endpoint, host_of, shown};
use super::pages::next_page;
use super::party::Party;
use super::restrict::Bounds;
use super::transfer::TransferRequest;
use super::transport::{Request, Tries};
use super::{Fetched, Network};
use crate::store::{Identity, Store};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::{Level, Progress};
use base::reference::Reference;
use entitlement::grants::{At, Restriction, SettingsAddress, host_address};

/// Bytes of a tag, by the distribution specification.
const LONGEST_TAG: usize = 128;

/// Everything that a reference may name, best first.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
/// Bytes of one page of tags.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;
const MOST_PAGES: usize = 1000;

/// Addresses in one descriptor that are asked.
const MOST_URLS: usize = 10;

/// A blob that may be had in several places.
#[derive(Clone, Copy, Debug)]
pub struct SharedBlob<'a> {
    /// Of the blob: what comes is checked against it.
    pub digest: Digest,
    /// In bytes; None where it is not known.
    pub size: Option<u64>,
    /// In the order in which they are asked.
    pub repositories: &'a [&'a Reference],
    /// Asked after them: the `urls` of its descriptor.
    pub urls: &'a [String],
}

/// A manifest or an index as it was served.
#[derive(Clone, Debug)]
pub struct ManifestBytes {
    /// Exactly as they came.
    pub bytes: Vec<u8>,
    /// Without parameters.
    pub media_type: String,
    /// Of the bytes.
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
    pub(crate) async fn manifest_within(
        &self,
        reach: Option<&Restriction>,
        reference: &Reference,
        progress: &Progress,
    ) -> Result<ManifestBytes> {
        let what = format!("the manifest of {reference}");
        let mut trail = Trail::default();
        let party = Party::of(reach);
        for (index, endpoint) in self.endpoints(&party, reference) {
            match self.manifest_at(&endpoint, reach, reference, &what, progress).await {
                Ok(manifest) => {
                    self.remember(&party, reference, index);
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
        self.blob_from(None, &key, repository, digest, size, None, store, progress).await
    }

    /// Fetches a blob that several repositories should have, and then the
    /// addresses that its descriptor names: each is asked, by its own rules,
    /// before anything fails.
    ///
    /// # Errors
    /// As for [`Network::blob`], with who was asked.
    pub async fn blob_of_any(&self, blob: &SharedBlob<'_>, store: &Store, progress: &Progress) -> Result<Fetched> {
        let key = blob.digest.hex();
        let _claim = store.claim(&key).await;
        if let Some(size) = held(store, blob.digest, blob.size).await? {
            progress.reused(size);
            return Ok(Fetched { digest: blob.digest, size });
        }
        let urls = &blob.urls[..blob.urls.len().min(MOST_URLS)];
        let places: Vec<(&Reference, usize, Endpoint)> = blob
            .repositories
            .iter()
            .flat_map(|repository| {
                self.endpoints(&Party::Host, repository).into_iter().map(move |(at, place)| (*repository, at, place))
            })
            .collect();
        let total = places.len() + urls.len();
        let is_shared = blob.repositories.len() + urls.len() > 1;
        let mut trail = Trail::default();
        for (number, (repository, index, mut endpoint)) in places.into_iter().enumerate() {
            endpoint.has_alternative = number + 1 < total;
            let what = format!("the blob {} of {}", blob.digest, repository.name());
            match self.blob_at(&endpoint, None, &key, &blob.digest, blob.size, None, &what, store, progress).await {
                Ok(fetched) => {
                    self.remember(&Party::Host, repository, index);
                    return Ok(fetched);
                }
                Err(error) if is_shared => {
                    let name = format!("{}/{}", endpoint.host, endpoint.repository);
                    trail.pass(name, true, error, progress)?;
                }
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        for (number, url) in urls.iter().enumerate() {
            let has_alternative = number + 1 < urls.len();
            match self.blob_elsewhere(blob, url, has_alternative, store, progress).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => trail.pass(without_query(url), true, error, progress)?,
            }
        }
        Err(trail.end(&format!("the blob {}", blob.digest)))
    }

    /// From an address in a descriptor: without credentials, for who wrote the
    /// image chose it.
    async fn blob_elsewhere(
        &self,
        blob: &SharedBlob<'_>,
        written: &str,
        has_alternative: bool,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let named = || format!("the address of the blob {} in its manifest", blob.digest);
        let read = host_address(written, None).map_err(|why| Error::invalid(format!("{} {why}", named())))?;
        let url = self.transport.places.locate(read.as_str()).map_err(|error| error.context(named()))?;
        if url.scheme() == "http" && url == read && !self.transport.places.may_be_plain(&url) {
            return Err(Error::invalid(format!("{} is not encrypted: {}", named(), shown(&url)))
                .hint("list that host under `network.plain_http_hosts` if it is fine"));
        }
        let (host, source) = (host_of(&url), shown(&url));
        let what = format!("the blob {} at {source}", blob.digest);
        let wanted = TransferRequest {
            key: blob.digest.hex(),
            identity: Identity::blob(blob.digest, blob.size),
            expected: Some(blob.digest),
            size: blob.size,
            locked: None,
            limit: self.largest,
            is_counted: true,
            what: &what,
            source: &source,
            subject: Subject { host: &host, scope: "", credentials: false, bounds: &Bounds::None },
            request: Request { has_alternative, ..Request::get(url) },
        };
        self.transfer(&wanted, store, progress).await
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
        limit: Option<u64>,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let what = format!("the blob {digest} of {}", repository.name());
        let mut trail = Trail::default();
        let party = Party::of(reach);
        for (index, endpoint) in self.endpoints(&party, repository) {
            match self.blob_at(&endpoint, reach, key, digest, size, limit, &what, store, progress).await {
                Ok(fetched) => {
                    self.remember(&party, repository, index);
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
    pub(crate) async fn list_tags_within(
        &self,
        reach: Option<&Restriction>,
        repository: &Reference,
        limit: usize,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        let what = format!("the tags of {}", repository.name());
        let mut trail = Trail::default();
        for (_, endpoint) in self.endpoints(&Party::of(reach), repository) {
            match self.tags_at(&endpoint, reach, limit, &what, progress).await {
                Ok(tags) => return Ok(tags),
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        Err(trail.end(&what))
    }

    /// The places of a repository with their number; the one that had it goes
    /// first, and what stands before it is not asked again.
    pub(super) fn endpoints(&self, party: &Party, reference: &Reference) -> Vec<(usize, Endpoint)> {
        let first = self.found_at.get(party, &reference.name()).unwrap_or_default();
        self.transport.places.endpoints(reference).into_iter().enumerate().skip(first).collect()
    }

    fn remember(&self, party: &Party, reference: &Reference, index: usize) {
        if index > 0 {
            self.found_at.set(party, &reference.name(), index);
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
        let subject = subject(endpoint, &scope, &request.bounds);
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
        limit: Option<u64>,
        what: &str,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let scope = scope(endpoint);
        let request = get(endpoint, reach, &format!("blobs/{digest}"))?;
        let bounds = request.bounds.clone();
        let wanted = TransferRequest {
            key: key.to_owned(),
            identity: Identity::blob(*digest, size),
            expected: Some(*digest),
            size,
            locked: None,
            limit: limit.map_or(self.largest, |limit| limit.min(self.largest)),
            is_counted: true,
            what,
            source: &endpoint.name,
            subject: subject(endpoint, &scope, &bounds),
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
        let mut url = endpoint.url(&format!("tags/list?n={}", limit.clamp(1, 1000)))?;
        let mut pages = BTreeSet::from([url.to_string()]);
        let endless = |how: &str| Error::invalid(format!("{} lists {what} without end: {how}", endpoint.name));
        loop {
            let (page, next) = self.tag_page(endpoint, reach, url, what, progress).await?;
            // What is longer is no tag, and nothing can be had by it.
            tags.extend(page.into_iter().filter(|tag| tag.len() <= LONGEST_TAG));
            match next {
                Some(next) if tags.len() < limit => url = next,
                _ => break,
            }
            if !pages.insert(url.to_string()) {
                return Err(endless("a page names one before it as the next"));
            }
            if pages.len() > MOST_PAGES {
                return Err(endless(&format!("there are more than {MOST_PAGES} pages")));
            }
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
            #[serde(default)]
            tags: Vec<String>,
        }
        let scope = scope(endpoint);
        let request = within(endpoint, reach, url);
        let subject = subject(endpoint, &scope, &request.bounds);
        let mut tries = Tries::default();
        loop {
            let failure = match self.send(request.clone(), subject, what, progress).await {
                Ok(mut answer) if answer.status() == 200 => match answer.unpacked(LARGEST_PAGE, what, progress).await {
                    Ok(body) => {
                        let page: Page = json::read(&body)
                            .map_err(|_| Error::invalid(format!("{} sent {what} in an unknown form", endpoint.name)))?;
                        return Ok((page.tags, next_page(answer.headers(), &request.url, what)?));
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

/// An address for people: what may carry a signature is left out.
fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect()
}

pub(super) fn scope(endpoint: &Endpoint) -> String {
    format!("repository:{}:pull", endpoint.repository)
}

pub(super) fn subject<'a>(endpoint: &'a Endpoint, scope: &'a str, bounds: &'a Bounds) -> Subject<'a> {
    Subject { host: &endpoint.host, scope, credentials: bounds.credentials(), bounds }
}

pub(super) fn get(endpoint: &Endpoint, reach: Option<&Restriction>, path: &str) -> Result<Request> {
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
    let place = endpoint.url("").ok().map(|url| SettingsAddress { what: At::Below(url), by_name });
    Some(reach.with_place(place))
}

/// Bytes of a blob that the store holds whole.
async fn held(store: &Store, digest: Digest, size: Option<u64>) -> Result<Option<u64>> {
    let store = store.clone();
    blocking(move || store.whole(&digest, size)).await
}

/// The places that could not help.
#[derive(Debug, Default)]
pub(super) struct Trail {
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
    pub(super) fn follow(&mut self, endpoint: &Endpoint, error: Error, progress: &Progress) -> Result<()> {
        self.pass(endpoint.name.clone(), endpoint.is_mirror, error, progress)
    }

    /// The same for any place. `is_mirror`: what it lacks another may have.
    fn pass(&mut self, name: String, is_mirror: bool, error: Error, progress: &Progress) -> Result<()> {
        if matches!(error.class(), Class::Interrupted | Class::DiskFull | Class::Configuration) {
            return Err(error);
        }
        progress.log(Level::Debug, &format!("{name}: {}", error.one_line()));
        self.passed.push(Passed { name, is_mirror, error });
        Ok(())
    }

    /// The error of the place that decides; the others' are told as well.
    pub(super) fn end(mut self, what: &str) -> Error {
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
