//! One granted prefix, and what it covers: URLs, repositories, other prefixes.

use url::{Host, Url};

use super::Granting;
use super::address::{borrowed, plain_host, split_port};
use base::error::{Error, Result};

/// A granted prefix, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// `https` or `http`; None for a registry, which is reached either way.
    scheme: Option<String>,
    host: Host,
    /// Whether the subdomains of the host are meant, and not itself.
    is_pattern: bool,
    /// None is the scheme's default.
    port: Option<u16>,
    /// Begins and ends with `/`.
    path: String,
}

impl Prefix {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::configuration(format!("the grant `{}` {why}", text.escape_default()))
                .hint("write `https://host/path/` for downloads, `registry.example.com/team/` for a registry")
        };
        if text.contains(['?', '#', '@']) {
            return Err(bad("has a user, a query or a fragment"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
            Some(_) => return Err(bad("is neither http nor https")),
            None => (None, text),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(authority).ok_or_else(|| bad("has a port that is not a number"))?;
        let (host, is_pattern) = host.strip_prefix("*.").map_or((host, false), |parent| (parent, true));
        let host = plain_host(host).ok_or_else(|| bad("does not name a host"))?;
        if is_pattern && !matches!(&host, Host::Domain(parent) if parent.contains('.')) {
            return Err(bad("does not name a host"));
        }
        let path = path.trim_matches('/');
        let path = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        if !path.chars().all(is_plain) || path.contains("//") || path.split('/').any(|part| matches!(part, "." | ".."))
        {
            return Err(bad("has a path that is not plain"));
        }
        Ok(Self { scheme, host, is_pattern, port, path })
    }

    pub(super) fn granting(&self) -> Granting {
        if self.is_pattern { Granting::Pattern } else { Granting::Named }
    }

    fn covers_host(&self, host: &Host<&str>) -> bool {
        match (&self.host, host) {
            (Host::Domain(parent), Host::Domain(name)) if self.is_pattern => {
                name.strip_suffix(parent.as_str()).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
            (own, host) => !self.is_pattern && own == host,
        }
    }

    /// Whether this is `host[:port]` itself and no pattern.
    pub(super) fn names(&self, host: &str) -> bool {
        let host = split_port(host).and_then(|(host, _)| plain_host(host));
        !self.is_pattern && host.as_ref() == Some(&self.host)
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        let host = borrowed(&other.host);
        let is_host_covered = match other.is_pattern {
            true => self.is_pattern && (self.host == other.host || self.covers_host(&host)),
            false => self.covers_host(&host),
        };
        is_host_covered
            && self.scheme == other.scheme
            && self.port() == other.port()
            && other.path.starts_with(&self.path)
    }

    /// The port that is meant; None where that is the scheme's default and the
    /// scheme is open.
    fn port(&self) -> Option<u16> {
        let default = self.scheme.as_deref().map(|scheme| if scheme == "https" { 443 } else { 80 });
        self.port.or(default)
    }

    /// A registry is asked below `/v2/`, by http or https.
    pub(super) fn covers_url(&self, url: &Url) -> bool {
        let path = match &self.scheme {
            Some(scheme) => (url.scheme() == scheme).then_some(url.path()),
            None => url.path().strip_prefix("/v2").filter(|_| matches!(url.scheme(), "http" | "https")),
        };
        let is_port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        is_port
            && path.is_some_and(|path| path.starts_with(&self.path))
            && url.host().is_some_and(|host| self.covers_host(&host))
    }

    pub(super) fn covers_repository(&self, registry: &str, repository: &str) -> bool {
        let Some((host, port)) = split_port(registry) else { return false };
        self.scheme.is_none()
            && plain_host(host).is_some_and(|host| self.covers_host(&borrowed(&host)))
            && self.port == port
            && format!("/{repository}/").starts_with(&self.path)
    }
}

/// What a URL keeps as it is, and every server reads alike.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~!$&'()+,=:@".contains(c)
}
