//! Where a pinned plugin came from: an address that can be asked again.

use std::fmt;

use model::problem::{YamlPath, redacted};
use url::Url;

use crate::web::url_problem;
use base::error::{Error, Result};
use base::reference::Reference;

/// Before the reference of a component in a registry.
const OCI: &str = "oci://";

/// `https://…` or `oci://registry/repository:tag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file of a server.
    Url(Url),
    /// A component in a registry.
    Registry(Reference),
}

impl PinSource {
    /// Whether this is an address, and no file.
    pub fn is_address(text: &str) -> bool {
        text.contains("://")
    }

    /// What the address calls it: the last part, without an ending.
    pub fn called(&self) -> String {
        let path = match self {
            Self::Url(url) => url.path(),
            Self::Registry(reference) => reference.repository(),
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".wasm").unwrap_or(last).to_owned()
    }

    /// Reads an address. It is written down in a file that is committed, so it
    /// holds no credentials.
    ///
    /// # Errors
    /// `configuration` for what is no such address.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(reference) = text.strip_prefix(OCI) {
            if redacted(text) != text {
                return Err(Error::configuration("credentials in the reference of a plugin")
                    .hint("remove them: registries take theirs from docker's config.json"));
            }
            let reference = Reference::parse(reference).map_err(|error| {
                error
                    .with_class(base::error::Class::Configuration)
                    .hint("write `oci://registry.example.com/team/plugin:1.0.0`, or `@sha256:…` in place of the tag")
            })?;
            return Ok(Self::Registry(reference));
        }
        if let Some(problem) = url_problem(text, &["https", "http"], &YamlPath::root()) {
            return Err(Error::configuration(problem.message)
                .hint(format!("{}; a plugin comes from a file, `https://…` or `oci://…`", problem.hint)));
        }
        let url = Url::parse(text).map_err(|error| Error::configuration("this is not a URL").caused_by(error))?;
        if url.fragment().is_some() {
            return Err(Error::configuration(format!("`{url}` has a `#`, which no server is told"))
                .hint("leave out what begins with `#`"));
        }
        Ok(Self::Url(url))
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Registry(reference) => write!(f, "{OCI}{reference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, shown) in [
            ("https://h.example/a/x.wasm?v=1", "https://h.example/a/x.wasm?v=1"),
            ("https://h.example/x", "https://h.example/x"),
            ("oci://r.example:5000/team/x:1.0", "oci://r.example:5000/team/x:1.0"),
        ] {
            assert!(PinSource::is_address(text));
            let source = PinSource::parse(text).unwrap();
            assert_eq!((source.to_string().as_str(), source.called().as_str()), (shown, "x"));
            assert_eq!(PinSource::parse(&source.to_string()).unwrap(), source);
        }
        assert!(!PinSource::is_address("plugins/x.wasm"));
        for (text, said) in [
            ("ftp://h.example/x", "scheme `ftp`"),
            ("file:///etc/passwd", "scheme `file`"),
            ("https://u:hunter2@h.example/x", "credentials"),
            ("https://h.example/x?token=hunter2", "credentials"),
            ("https://h.example/x#y", "has a `#`"),
            ("oci://u:hunter2@r.example/x:1", "credentials"),
            ("oci://", ""),
            ("oci://r.example/../x:1", ""),
            ("https://h.example/a b", "white space"),
        ] {
            let error = PinSource::parse(text).unwrap_err();
            assert!(error.message().contains(said) && !error.message().contains("hunter2"), "{text}: {error}");
            assert!(error.hint_text().is_some(), "{text}: {error:?}");
        }
    }
}
