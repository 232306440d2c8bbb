//! What a registry holds about an image: the list of the referrers API, or the
//! index under the tag that stands in for it at registries without one, and
//! what cosign puts under tags of its own.

use std::collections::BTreeSet;

use model::json;
use reqwest::header::{ACCEPT, HeaderValue};

use super::Network;
use super::mirrors::Endpoint;
use super::oci::{Trail, get, scope, subject};
use super::pages::next_page;
use super::transport::{Request, Tries};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;
use model::media_type::OCI_INDEX;
use model::oci::{LARGEST_MANIFEST, Manifest};

/// Manifests about one image that are looked at, and pages of their list.
const MOST: usize = 200;
const MOST_PAGES: usize = 20;
/// Manifests about one image in all, whatever they are found by.
const MOST_ASIDE: usize = 500;
/// What cosign puts behind the digest that it is about.
const ENDINGS: [&str; 3] = ["sig", "att", "sbom"];

/// A manifest about an image.
#[derive(Clone, Debug)]
pub struct Aside {
    /// The tag that leads there, or the digest where none does.
    pub reference: Reference,
    /// Of the manifest.
    pub digest: Digest,
}

impl Network {
    /// The manifests about what has one of these digests in a repository: those
    /// under the tags that cosign gives them (`sha256-<digits>.sig`, `.att`,
    /// `.sbom`), and what [`Network::referrers`] lists. Each once.
    ///
    /// # Errors
    /// As for [`Network::referrers`].
    pub async fn aside(&self, repository: &Reference, about: &[Digest], progress: &Progress) -> Result<Vec<Aside>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for subject in about {
            for ending in ENDINGS {
                let tagged = repository.tagged(&format!("sha256-{}.{ending}", subject.hex()));
                match self.manifest(&tagged, progress).await {
                    Ok(manifest) => {
                        seen.insert(manifest.digest);
                        found.push(Aside { reference: tagged, digest: manifest.digest });
                    }
                    Err(error) if error.status() == Some(404) => {}
                    Err(error) => return Err(error),
                }
            }
            for digest in self.referrers(repository, *subject, progress).await? {
                if seen.insert(digest) {
                    found.push(Aside { reference: repository.at(digest), digest });
                }
            }
            if found.len() > MOST_ASIDE {
                return Err(Error::invalid(format!(
                    "the registry holds more than {MOST_ASIDE} manifests about the image"
                )));
            }
        }
        Ok(found)
    }

    /// The digests of the manifests that say of themselves that they are about
    /// `digest`, in the order of the registry. Empty where the registry has
    /// neither the API nor the tag.
    ///
    /// # Errors
    /// As for [`Network::manifest`]; `invalid-input` where there are more than
    /// anybody looks at.
    pub async fn referrers(&self, repository: &Reference, digest: Digest, progress: &Progress) -> Result<Vec<Digest>> {
        let what = format!("what {} holds about {digest}", repository.name());
        let mut trail = Trail::default();
        for (_, endpoint) in self.endpoints(&super::party::Party::Host, repository) {
            match self.referrers_at(&endpoint, digest, &what, progress).await {
                Ok(found) => return Ok(found),
                Err(error) if lacks_api(&error) => match self.by_tag(repository, digest, progress).await {
                    Ok(found) => return Ok(found),
                    Err(error) => trail.follow(&endpoint, error, progress)?,
                },
                Err(error) => trail.follow(&endpoint, error, progress)?,
            }
        }
        Err(trail.end(&what))
    }

    async fn referrers_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        what: &str,
        progress: &Progress,
    ) -> Result<Vec<Digest>> {
        let mut request = get(endpoint, None, &format!("referrers/{digest}"))?;
        request.headers.insert(ACCEPT, HeaderValue::from_static(OCI_INDEX));
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let (page, next) = self.referrers_page(endpoint, &request, what, progress).await?;
            found.extend(page);
            if found.len() > MOST {
                break;
            }
            match next {
                Some(url) => request.url = url,
                None => return Ok(found),
            }
        }
        Err(Error::invalid(format!("{} lists more than {MOST} manifests: {what}", endpoint.name)))
    }

    async fn referrers_page(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        what: &str,
        progress: &Progress,
    ) -> Result<(Vec<Digest>, Option<url::Url>)> {
        let scope = scope(endpoint);
        let subject = subject(endpoint, &scope, &request.bounds);
        let limit = usize::try_from(LARGEST_MANIFEST).unwrap_or(usize::MAX);
        let mut tries = Tries::default();
        loop {
            let failure = match self.send(request.clone(), subject, what, progress).await {
                Ok(mut answer) if answer.status() == 200 => match answer.unpacked(limit, what, progress).await {
                    Ok(body) => {
                        return Ok((
                            digests(&body, &endpoint.name, what)?,
                            next_page(answer.headers(), &request.url, what)?,
                        ));
                    }
                    Err(failure) => failure,
                },
                Ok(answer) => self.refusal(answer, subject, what).await,
                Err(failure) => failure,
            };
            tries.next(failure, request, &self.transport, progress).await?;
        }
    }

    /// The index under the tag `sha256-<digits>`.
    async fn by_tag(&self, repository: &Reference, digest: Digest, progress: &Progress) -> Result<Vec<Digest>> {
        let tagged = repository.tagged(&format!("sha256-{}", digest.hex()));
        match self.manifest(&tagged, progress).await {
            Ok(index) => digests(&index.bytes, repository.registry(), "the index of referrers"),
            Err(error) if error.status() == Some(404) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a registry said that it has nothing of the kind.
pub(super) fn lacks_api(error: &Error) -> bool {
    match error.status() {
        Some(404) => error.class() == Class::NotFound,
        Some(status) => matches!(status, 400 | 405 | 406 | 501),
        None => false,
    }
}

fn digests(body: &[u8], name: &str, what: &str) -> Result<Vec<Digest>> {
    let index: Manifest<Digest> =
        json::read(body).map_err(|_| Error::invalid(format!("{name} sent {what} in an unknown form")))?;
    if index.manifests().len() > MOST {
        return Err(Error::invalid(format!("{name} lists more than {MOST} manifests: {what}")));
    }
    Ok(index.manifests().iter().map(|entry| entry.digest).collect())
}
