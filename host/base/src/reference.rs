//! Image references, read and normalised as Docker, containerd and Zarf do.
//!
//! `nginx` is `docker.io/library/nginx:latest`; `quay.io/a/b@sha256:…` keeps
//! its digest and gets no tag. The parser is written by hand, so that a typo
//! is answered with what is wrong about it.

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

const DOCKER_HUB: &str = "docker.io";
/// Bytes of a repository name, a limit of the distribution specification.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// A complete reference: registry, repository, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference as people write it; a leading `oci://` is dropped.
    ///
    /// # Errors
    /// `invalid-input`, naming the reference and what is wrong about it.
    pub fn parse(text: &str) -> Result<Self> {
        read(text).map_err(|why| {
            let shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
            Error::invalid(format!("`{shown}` is not an image reference: {why}"))
                .hint("write it as `registry/repository:tag` or `registry/repository@sha256:…`")
        })
    }

    /// The complete form: `docker.io/library/nginx:1.27`.
    pub fn normalized(&self) -> String {
        self.to_string()
    }

    /// `docker.io`, `registry.example.com:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository at a digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What a registry is asked for: the digest where there is one.
    pub fn locator(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn read(text: &str) -> Result<Reference, String> {
    let text = text.strip_prefix("oci://").unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.contains("://") {
        return Err("it must not begin with a scheme".into());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(read_digest(digest)?)),
        None => (text, None),
    };
    let (name, tag) = split_tag(rest)?;
    let (registry, repository) = split_registry(name);
    check_registry(&registry)?;
    check_repository(&repository)?;
    let tag = match (tag, &digest) {
        (None, None) => Some("latest".to_owned()),
        (tag, _) => tag,
    };
    Ok(Reference { registry, repository, tag, digest })
}

fn read_digest(text: &str) -> Result<Digest, String> {
    if !text.starts_with("sha256:") {
        return Err("the digest must be `sha256:` and 64 hexadecimal digits".into());
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the digest must be written in lowercase".into());
    }
    text.parse().map_err(|_| "the digest must be `sha256:` and 64 hexadecimal digits".into())
}

/// A colon after the last slash separates the tag; one before it, the port.
fn split_tag(text: &str) -> Result<(&str, Option<String>), String> {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let Some(colon) = text[last..].find(':') else { return Ok((text, None)) };
    let (name, tag) = (&text[..last + colon], &text[last + colon + 1..]);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits =
        tag.len() <= LONGEST_TAG && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    if !fits {
        return Err("the tag must be letters, digits, `_`, `.` and `-`, at most 128 of them".into());
    }
    Ok((name, Some(tag.to_owned())))
}

/// What stands before the first slash is a registry when it looks like a host.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { DOCKER_HUB } else { first }, rest)
        }
        _ => (DOCKER_HUB, name),
    };
    if registry == DOCKER_HUB && !repository.contains('/') {
        (registry.to_owned(), format!("library/{repository}"))
    } else {
        (registry.to_owned(), repository.to_owned())
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(v6) => {
            let (address, port) = v6.split_once(']').ok_or("the registry's address lacks a `]`")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("the registry's address is not IPv6".into());
            }
            (None, port)
        }
        None => match registry.split_once(':') {
            Some((host, _)) => (Some(host), &registry[host.len()..]),
            None => (Some(registry), ""),
        },
    };
    if !port.is_empty() && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none() {
        return Err("the registry's port is not a number".into());
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match host {
        Some(host) if !host.split('.').all(label) => Err(format!("`{host}` is not a host name")),
        _ => Ok(()),
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.len() > LONGEST_NAME {
        return Err(format!("the repository is longer than {LONGEST_NAME} bytes"));
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository must be lowercase".into());
    }
    for component in repository.split('/') {
        check_component(component)?;
    }
    Ok(())
}

/// Runs of lowercase letters and digits, joined by `.`, `_`, `__` or dashes.
fn check_component(component: &str) -> Result<(), String> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if component.is_empty() {
        return Err("the repository has an empty part".into());
    }
    let separators = component.split(alphanumeric).filter(|separator| !separator.is_empty());
    let joined = |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    let ends = component.starts_with(alphanumeric) && component.ends_with(alphanumeric);
    if !ends || !separators.into_iter().all(joined) {
        return Err(format!(
            "`{}` must be lowercase letters and digits, joined by `.`, `_`, `__` or `-`",
            component.escape_debug()
        ));
    }
    Ok(())
}

/// Under which address a receipt and the lock know a manifest.
pub fn manifest_address(reference: &Reference) -> String {
    format!("oci://{}", reference.normalized())
}

/// Under which address a receipt knows a blob: its repository.
pub fn blob_address(reference: &Reference) -> String {
    format!("oci-blob://{}", reference.name())
}

/// Whether layers of this type may not be passed on: registries need not have
/// them, and their descriptors say where they are.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn short_names_become_complete() {
        for (written, complete) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b"),
            ("test:5000", "docker.io/library/test:5000"),
            ("test.com:5000/repo", "test.com:5000/repo:latest"),
            ("oci://quay.io/a/b:c", "quay.io/a/b:c"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("a__b/c--d/e.f", "docker.io/a__b/c--d/e.f:latest"),
        ] {
            assert_eq!(Reference::parse(written).unwrap().normalized(), complete, "{written}");
        }
    }

    #[test]
    fn digests_stay_and_bring_no_tag() {
        let pinned = Reference::parse(&format!("busybox@sha256:{HEX}")).unwrap();
        assert_eq!(pinned.normalized(), format!("docker.io/library/busybox@sha256:{HEX}"));
        assert_eq!((pinned.tag(), pinned.locator()), (None, format!("sha256:{HEX}")));
        let both = Reference::parse(&format!("busybox:1@sha256:{HEX}")).unwrap();
        assert_eq!(both.normalized(), format!("docker.io/library/busybox:1@sha256:{HEX}"));
        assert_eq!(both.at(both.digest().unwrap()).tag(), None);
    }

    #[test]
    fn typos_are_named() {
        for (written, why) in [
            ("", "empty"),
            ("Nginx", "lowercase"),
            ("nginx:", "tag"),
            ("nginx:a b", "tag"),
            ("nginx@sha256:12", "digest"),
            ("nginx@sha512:12", "digest"),
            (&format!("nginx@sha256:{}", HEX.to_uppercase()), "lowercase"),
            ("https://quay.io/a", "scheme"),
            ("quay.io/a//b", "empty part"),
            ("quay.io/", "empty part"),
            ("quay.io:x/a", "port"),
            ("-bad.io/a", "host name"),
            ("a._b", "joined"),
            ("a___b", "joined"),
            ("../x", "host name"),
            (&format!("a/{}", "b".repeat(256)), "longer"),
        ] {
            let error = Reference::parse(written).unwrap_err();
            assert!(error.message().contains(why), "{written}: {error}");
        }
    }

    proptest::proptest! {
        /// What we read is what the reference implementation reads.
        #[test]
        fn agrees_with_the_oci_client(text in r"([a-zA-Z0-9.-]{1,8}(:[0-9]{1,4})?/)?[a-z0-9_.-]{1,6}(/[a-z0-9_.-]{1,6})?(:[A-Za-z0-9_.-]{0,5})?(@sha256:f{64})?") {
            let ours = Reference::parse(&text).ok().map(|reference| reference.normalized());
            let theirs = text.parse::<oci_client::Reference>().ok().map(|reference| reference.whole());
            // Theirs takes `Upper/x` for a repository and refuses it; ours, like newer Docker, for a host.
            let (first, _) = text.split_once('/').unwrap_or(("", ""));
            let upper = first.bytes().any(|b| b.is_ascii_uppercase());
            // Theirs takes `a_b.c/x` for a path without a registry; ours for a host that is none.
            let underscore = first.contains('_') && first.contains('.');
            if !upper && !underscore {
                proptest::prop_assert_eq!(ours, theirs);
            }
        }
    }
}
