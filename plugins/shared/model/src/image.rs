//! Image references: completed as docker, containerd and Zarf do it, and checked
//! so that a typo is named before anything is fetched.
//!
//! The host pulls and Zarf deploys by the complete spelling, so there is one
//! reader for host and guests: a leading `oci://` is dropped, and only
//! `index.docker.io` is another word for `docker.io`. `Org/app` is a typo here:
//! newer Docker takes `Org` for a host, oci-client for part of a repository, and
//! neither is there.

use std::fmt;

use crate::problem::{redacted, shown};

const DOCKER_HUB: &str = "docker.io";

/// A reference in its parts. `nginx` is `docker.io` `library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// The host, with its port where one is written: `quay.io`.
    pub registry: String,
    /// The path in the registry: `library/nginx`.
    pub repository: String,
    /// None where none is written; without a digest either, that means `latest`.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImage {
    /// A fragment that names the reference and what is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl ImageName {
    /// # Errors
    /// Anything that no registry could serve: an empty or upper-case
    /// repository, a second tag, a digest of the wrong length, a URL.
    pub fn parse(text: &str) -> Result<Self, BadImage> {
        let refuse = |why: &str, hint: &str| {
            Err(BadImage { message: format!("`{}` {why}", shown(&redacted(text))), hint: hint.to_owned() })
        };
        if text.is_empty() {
            return Err(BadImage {
                message: "an image reference is empty".into(),
                hint: "write registry/repository:tag, for example `registry.k8s.io/pause:3.10.1`".into(),
            });
        }
        let text = text.strip_prefix("oci://").unwrap_or(text);
        if text.contains("://") {
            return refuse("is a URL, not an image reference", "leave out the scheme: registry/repository:tag");
        }
        if text.len() > 512 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refuse("contains white space or is too long for an image reference", "remove the spaces");
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) if digest.starts_with("sha256:") => (name, Some(digest)),
            Some((name, _)) if name.contains(':') || !text.contains("@sha") => {
                return Err(BadImage {
                    message: "an image reference has an `@` that no digest follows".into(),
                    hint:
                        "write repository@sha256:…; credentials belong into docker's config.json, not into references"
                            .into(),
                });
            }
            Some(_) => return refuse("has a digest of an unknown kind", "only sha256 digests are supported"),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex = &digest["sha256:".len()..];
            if hex.len() != 64 || !hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
                return refuse(
                    "has a digest that is not 64 lowercase hexadecimal digits",
                    "copy the whole digest: sha256: and 64 digits",
                );
            }
        }
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            let why = if tag.is_empty() { "ends in a colon without a tag" } else { "has an invalid tag" };
            return refuse(
                why,
                "a tag is 1 to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two",
            );
        }
        let (registry, repository) = split_registry(name);
        if !is_registry(&registry) {
            return refuse("has an invalid registry name", "write host[:port]/repository:tag");
        }
        if let Some(why) = repository_problem(&repository) {
            return refuse(why, "a repository is lowercase letters and digits, separated by `.`, `_`, `-` or `/`");
        }
        Ok(Self { registry, repository, tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
    }

    /// Registry and repository: what stays the same when a tag changes.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

/// The complete spelling: `docker.io/library/nginx:1.27`, `:latest` where
/// neither tag nor digest was given.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (None, None) => f.write_str(":latest"),
            (tag, digest) => {
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@{digest}")?;
                }
                Ok(())
            }
        }
    }
}

/// The complete spelling, or the text itself where it is not a reference.
pub fn normalized(text: &str) -> String {
    ImageName::parse(text).map_or_else(|_| text.to_owned(), |name| name.to_string())
}

/// What stands before the first slash is a registry where it looks like a host.
fn split_registry(name: &str) -> (String, String) {
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (if first == "index.docker.io" { DOCKER_HUB } else { first }, rest),
        _ => (DOCKER_HUB, name),
    };
    let repository = if registry == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    (registry.to_owned(), repository)
}

fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    first && tag.len() <= 128 && bytes.all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
}

/// `host`, `host:port`, `[::1]:5000`.
pub fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                })
        }
    };
    port_fits && host_fits
}

fn repository_problem(repository: &str) -> Option<&'static str> {
    if repository.len() > 255 {
        return Some("has a repository longer than 255 characters");
    }
    for part in repository.split('/') {
        if part.is_empty() {
            return Some("has an empty part in its repository");
        }
        if part.bytes().any(|c| c.is_ascii_uppercase()) {
            return Some("has capital letters in its repository");
        }
        if part.contains(':') {
            return Some("has a second colon");
        }
        if !part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')) {
            return Some("has a character that no repository may have");
        }
        let ends = |c: char| !c.is_ascii_alphanumeric();
        if part.starts_with(ends) || part.ends_with(ends) || !separators_fit(part) {
            return Some("has a separator where none may be in its repository");
        }
    }
    None
}

/// One `.`, one or two `_`, or any number of `-` between letters and digits.
fn separators_fit(part: &str) -> bool {
    part.split(|c: char| c.is_ascii_alphanumeric())
        .filter(|run| !run.is_empty())
        .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|c| c == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_as_docker_does() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".into()),
            ("index.docker.io/nginx:1.27", "docker.io/library/nginx:1.27".into()),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7".into()),
            ("registry-1.docker.io/org/x:1", "registry-1.docker.io/org/x:1".into()),
            ("oci://quay.io/a/b:1", "quay.io/a/b:1".into()),
            ("localhost/x:1", "localhost/x:1".into()),
            ("127.0.0.1:5000/a/b__c:v1", "127.0.0.1:5000/a/b__c:v1".into()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".into()),
            ("quay.io/a/b--c.d:X_1", "quay.io/a/b--c.d:X_1".into()),
            (&format!("nginx@{digest}"), format!("docker.io/library/nginx@{digest}")),
            (&format!("a.b/c:1@{digest}"), format!("a.b/c:1@{digest}")),
        ] {
            assert_eq!(ImageName::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_typo_is_named() {
        for (text, word) in [
            ("", "empty"),
            ("nginx:", "colon without a tag"),
            ("nginx::1.27", "colon"),
            ("nginx:1.27:latest", "second colon"),
            ("NGINX:1", "capital letters"),
            ("Org/app:1", "capital letters"),
            ("nginx :1", "white space"),
            ("https://docker.io/nginx", "URL"),
            ("registry.k8s.io//pause:3", "empty part"),
            ("registry.k8s.io/", "empty part"),
            ("nginx@sha256:abc", "64"),
            ("nginx@md5:abc", "no digest follows"),
            ("quay.io/a..b:1", "separator"),
            ("quay.io/-a:1", "separator"),
            ("quay.io/a$b:1", "character"),
            ("nginx:-1", "invalid tag"),
            ("host:99999/x:1", "registry"),
            ("a_b.c/x", "registry"),
        ] {
            let error = ImageName::parse(text).unwrap_err();
            assert!(error.message.contains(word), "{text}: {}", error.message);
        }
    }

    #[test]
    fn credentials_in_a_reference_are_refused_and_not_shown() {
        let error = ImageName::parse("user:hunter2@registry.example.com/app:1").unwrap_err();
        assert!(!error.message.contains("hunter2"), "{}", error.message);
        assert!(error.hint.contains("config.json"));
    }
}
