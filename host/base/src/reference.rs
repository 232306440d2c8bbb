//! Image references, complete and with a digest that is one. They are read by
//! [`ImageName`], as the guests read them.
//!
//! `nginx` is `docker.io/library/nginx:latest`; `quay.io/a/b@sha256:…` keeps
//! its digest and gets no tag.

use std::fmt;

use model::image::ImageName;

use crate::digest::Digest;
use crate::error::{Error, Result};

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
        let read = ImageName::parse(text).map_err(|bad| Error::invalid(bad.message).hint(bad.hint))?;
        let ImageName { registry, repository, tag, digest } = read;
        let digest = digest.map(|digest| digest.parse()).transpose();
        let digest =
            digest.map_err(|_| Error::invalid(format!("`{}/{}` has a digest that is none", registry, repository)))?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag,
        };
        Ok(Self { registry, repository, tag, digest })
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

    /// The tag; None beside a digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the reference is pinned to; None where it is not.
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

    /// The same repository at a tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
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

/// Under which address a receipt and the lock know a manifest.
pub fn manifest_address(reference: &Reference) -> String {
    format!("oci://{}", reference.normalized())
}

/// Under which address a receipt knows a blob: its repository.
pub fn blob_address(reference: &Reference) -> String {
    format!("oci-blob://{}", reference.name())
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
    fn a_typo_is_an_error_with_what_helps() {
        let error = Reference::parse("quay.io/Org/app").unwrap_err();
        assert_eq!(error.class(), crate::error::Class::InvalidInput);
        assert!(error.message().contains("quay.io/Org/app") && error.hint_text().is_some(), "{error}");
        let error = Reference::parse("user:secret@quay.io/a").unwrap_err();
        assert!(!error.message().contains("secret"), "{error}");
    }

    proptest::proptest! {
        /// What we read is what the reference implementation reads. Theirs takes a
        /// port 0, which nobody listens at.
        #[test]
        fn agrees_with_the_oci_client(text in r"([a-zA-Z0-9.-]{1,8}(:[1-9][0-9]{0,3})?/)?[a-z0-9_.-]{1,6}(/[a-z0-9_.-]{1,6})?(:[A-Za-z0-9_.-]{0,5})?(@sha256:f{64})?") {
            let ours = Reference::parse(&text).ok().map(|reference| reference.normalized());
            let theirs = text.parse::<oci_client::Reference>().ok().map(|reference| reference.whole());
            let (first, _) = text.split_once('/').unwrap_or(("", ""));
            // Theirs takes `Upper/x` for a repository, which no registry can have.
            let upper = first.bytes().any(|b| b.is_ascii_uppercase());
            // Theirs takes `a_b.c/x` for a path without a registry; ours for a host that is none.
            let underscore = first.contains('_') && first.contains('.');
            if !upper && !underscore {
                proptest::prop_assert_eq!(ours, theirs);
            }
        }
    }
}
