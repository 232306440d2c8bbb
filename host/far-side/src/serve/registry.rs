//! The distribution API, as far as it reads: `/v2/` and what lies below.

use hyper::StatusCode;
use hyper::header::{HeaderName, LINK};
use serde_json::json;

use super::answer::{Answer, Asked};
use super::content::Source;
use super::images::{Images, Manifest, NoTag, Repository};
use super::path::{encoded, parameter};
use base::digest::Digest;
use model::media_type::OCI_INDEX;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// What every answer of a registry says.
pub(super) const API_VERSION: (HeaderName, &str) =
    (HeaderName::from_static("docker-distribution-api-version"), "registry/2.0");
/// Bytes of the name of a repository.
const LONGEST_NAME: usize = 255;
/// Names or tags in one answer, however many are asked for.
const LONGEST_LIST: usize = 10_000;

/// The answer to what is asked below `/v2/`.
pub(super) fn answer(images: &Images, parts: &[&str], asked: &Asked<'_>) -> Answer {
    let (name, api) = API_VERSION;
    match parts {
        [] | [""] => Answer::json(&json!({})),
        ["_catalog"] => catalog(images, asked),
        [name @ .., "manifests", reference] => {
            with_repository(images, name, asked, |repository| manifest(images, &repository, reference, asked))
        }
        [name @ .., "blobs", digest] => with_repository(images, name, asked, |_| blob(images, digest, asked)),
        [name @ .., "tags", "list"] => {
            with_repository(images, name, asked, |repository| tags(&name.join("/"), &repository, asked))
        }
        [name @ .., "referrers", digest] => with_repository(images, name, asked, |_| referrers(images, digest, asked)),
        _ => Answer::error(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing of this kind in a registry"),
    }
    .with(name, api)
}

fn with_repository(
    images: &Images,
    name: &[&str],
    asked: &Asked<'_>,
    answer: impl FnOnce(Repository<'_>) -> Answer,
) -> Answer {
    let name = name.join("/");
    if !is_name(&name) {
        let message =
            "the name of a repository has lowercase letters, digits, `.`, `_`, `-` and `/`, at most 255 bytes";
        return Answer::error(StatusCode::BAD_REQUEST, "NAME_INVALID", message);
    }
    let namespace = parameter(asked.query, "ns");
    match images.repository(&name, namespace.as_deref()) {
        Some(repository) => answer(repository),
        None => {
            let of = namespace.filter(|of| !of.is_empty()).map(|of| format!(" of `{of}`")).unwrap_or_default();
            Answer::error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &format!("no package has a repository `{name}`{of}"))
        }
    }
}

/// As the specification has it; a registry before the first slash may have its
/// port.
fn is_name(name: &str) -> bool {
    let fits = |part: &str, more: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(is_plain) && part.ends_with(is_plain) && part.chars().all(|c| is_plain(c) || more.contains(c))
    };
    let mut parts = name.split('/');
    let first = parts.next().unwrap_or_default();
    name.len() <= LONGEST_NAME && fits(first, "._-:") && parts.all(|part| fits(part, "._-"))
}

fn manifest(images: &Images, repository: &Repository<'_>, reference: &str, asked: &Asked<'_>) -> Answer {
    let unknown = |message: String| Answer::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &message);
    let digest = match reference.contains(':') {
        true => match digest_of(reference) {
            Ok(digest) => digest,
            Err(refused) => return *refused,
        },
        false => match repository.tag(reference) {
            Ok(digest) => digest,
            Err(NoTag::Unknown) => return unknown(format!("no package has the tag `{}`", reference.escape_debug())),
            Err(NoTag::Ambiguous(names)) => {
                let names = names.join("` and `");
                return unknown(format!("the tag `{reference}` is another image in `{names}`: ask by the full name"));
            }
        },
    };
    match images.manifest(digest) {
        Some(Manifest { media_type, source, .. }) => {
            Answer::content(asked, source, media_type, Some(digest)).with(CONTENT_DIGEST, &digest.to_string())
        }
        None => unknown(format!("no package has the manifest {digest}")),
    }
}

fn blob(images: &Images, digest: &str, asked: &Asked<'_>) -> Answer {
    let digest = match digest_of(digest) {
        Ok(digest) => digest,
        Err(refused) => return *refused,
    };
    let source: Option<&Source> = images.blob(digest);
    match source {
        Some(source) => Answer::content(asked, source, "application/octet-stream", Some(digest))
            .with(CONTENT_DIGEST, &digest.to_string()),
        None => Answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", &format!("no package has the blob {digest}")),
    }
}

/// Other algorithms than SHA-256 are not wrong, and nothing here has them.
fn digest_of(text: &str) -> Result<Digest, Box<Answer>> {
    let invalid = || {
        let message = "a digest is `sha256:` and 64 lowercase hexadecimal digits";
        Box::new(Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message))
    };
    if text.starts_with("sha512:") {
        let unknown = Answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "packages have SHA-256 digests alone");
        return Err(Box::new(unknown));
    }
    let is_proper = text.starts_with("sha256:") && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    text.parse().ok().filter(|_| is_proper).ok_or_else(invalid)
}

fn tags(name: &str, repository: &Repository<'_>, asked: &Asked<'_>) -> Answer {
    let all: Vec<String> = repository.tags().into_iter().map(str::to_owned).collect();
    paged(&format!("/v2/{name}/tags/list"), all, asked, |tags| json!({ "name": name, "tags": tags }))
}

fn catalog(images: &Images, asked: &Asked<'_>) -> Answer {
    paged("/v2/_catalog", images.names(), asked, |names| json!({ "repositories": names }))
}

/// A part of a sorted list, and in `Link` where the next one is.
fn paged(
    place: &str,
    mut all: Vec<String>,
    asked: &Asked<'_>,
    of: impl FnOnce(&[String]) -> serde_json::Value,
) -> Answer {
    if let Some(last) = parameter(asked.query, "last") {
        all.retain(|name| *name > last);
    }
    let number = parameter(asked.query, "n").map(|number| number.parse::<usize>());
    let Ok(number) = number.transpose() else {
        return Answer::error(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", "`n` is not a number");
    };
    let number = number.unwrap_or(LONGEST_LIST).min(LONGEST_LIST);
    let has_more = number < all.len();
    all.truncate(number);
    let answer = Answer::json(&of(&all));
    match all.last().filter(|_| has_more) {
        Some(last) => {
            let namespace = parameter(asked.query, "ns").map(|of| format!("&ns={}", encoded(&of))).unwrap_or_default();
            let next = format!("<{place}?n={number}&last={}{namespace}>; rel=\"next\"", encoded(last));
            answer.with(LINK, &next)
        }
        None => answer,
    }
}

fn referrers(images: &Images, digest: &str, asked: &Asked<'_>) -> Answer {
    let digest = match digest_of(digest) {
        Ok(digest) => digest,
        Err(refused) => return *refused,
    };
    let wanted = parameter(asked.query, "artifactType");
    let fits = |of: &Option<String>| wanted.is_none() || *of == wanted;
    let found: Vec<_> =
        images.referrers(digest).iter().filter(|referrer| fits(&referrer.artifact_type)).cloned().collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found });
    let answer = Answer::new(StatusCode::OK, OCI_INDEX, index.to_string());
    if wanted.is_some() { answer.with(FILTERS_APPLIED, "artifactType") } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for good in ["a", "library/nginx", "docker.io/library/nginx", "r.test:5000/a__b/c--d", "r.test_5000/a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a/", "/a", "a//b", "a/B", "a/b:c", "-a", "a-", "a/é", &"a".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
