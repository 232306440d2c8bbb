//! May this plugin fetch that? Decisions without I/O.
//!
//! A core plugin may fetch what it asks: the configuration and verified
//! indexes name it. A pinned plugin may fetch what lies below a granted
//! prefix. The network asks again for every redirect, and looks at the
//! addresses behind a name.

use std::sync::Arc;

use url::Url;

use crate::config::plugins_lock::Grants;
use crate::error::{Class, Error, Result};
use crate::network::Restriction;

/// What one plugin may reach.
#[derive(Clone, Debug)]
pub struct Rules(Option<Arc<Granted>>);

#[derive(Debug)]
struct Granted {
    prefixes: Vec<Prefix>,
    credentials: Vec<String>,
}

/// A granted prefix, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefix {
    /// `https` or `http`; None for a registry, which is reached either way.
    scheme: Option<String>,
    /// Lowercase, with `*.` in front where any subdomain is meant.
    host: String,
    /// None is the scheme's default.
    port: Option<u16>,
    /// Ends with `/`, begins with one.
    path: String,
}

impl Rules {
    /// For a plugin that is compiled into the binary.
    pub fn everything() -> Self {
        Self(None)
    }

    /// Whether nothing is refused.
    pub fn is_core(&self) -> bool {
        self.0.is_none()
    }

    /// For a pinned plugin.
    ///
    /// # Errors
    /// `configuration` where a grant is not a prefix.
    pub fn new(grants: &Grants) -> Result<Self> {
        let prefixes = grants.fetch.iter().map(|text| Prefix::parse(text)).collect::<Result<_>>()?;
        let credentials = grants.credentials.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self(Some(Arc::new(Granted { prefixes, credentials }))))
    }

    /// Whether a URL may be fetched. Asked for what the plugin names and for
    /// every redirect on the way.
    ///
    /// # Errors
    /// `plugin`, with the grant that would allow it.
    pub fn url(&self, url: &Url) -> Result<()> {
        let Some(granted) = &self.0 else { return Ok(()) };
        if granted.prefixes.iter().any(|prefix| prefix.covers_url(url)) {
            return Ok(());
        }
        let parent = url.path().rsplit_once('/').map_or("/", |(parent, _)| parent);
        let origin = url.origin().ascii_serialization();
        Err(refusal(format!("`{}` is not below a granted prefix", shown(url)))
            .hint(format!("grant it in config/plugins.lock: `fetch: [{origin}{parent}/]`")))
    }

    /// Whether `repository` of `registry` (`host[:port]`) may be asked.
    ///
    /// # Errors
    /// `plugin`, with the grant that would allow it.
    pub fn repository(&self, registry: &str, repository: &str) -> Result<()> {
        let Some(granted) = &self.0 else { return Ok(()) };
        if granted.prefixes.iter().any(|prefix| prefix.covers_repository(registry, repository)) {
            return Ok(());
        }
        Err(refusal(format!("`{registry}/{repository}` is not below a granted prefix"))
            .hint(format!("grant it in config/plugins.lock: `fetch: [{registry}/{repository}/]`")))
    }

    /// What the network has to hold a request to `host[:port]` to, redirects
    /// and addresses included; None for a core plugin.
    pub fn restriction(&self, host: &str) -> Option<Restriction> {
        let granted = self.0.as_ref()?;
        Some(Restriction {
            prefixes: granted.prefixes.iter().flat_map(Prefix::urls).collect(),
            credentials: granted.credentials.contains(&host.to_ascii_lowercase()),
            by_name: granted.prefixes.iter().any(|prefix| prefix.names(host)),
            place: None,
        })
    }

    /// Whether everything below a prefix, as a plugin wants it, is granted.
    pub fn covers(&self, wanted: &str) -> bool {
        let Some(granted) = &self.0 else { return true };
        Prefix::parse(wanted).is_ok_and(|wanted| granted.prefixes.iter().any(|prefix| prefix.covers(&wanted)))
    }
}

fn refusal(message: String) -> Error {
    Error::new(Class::Plugin, message)
}

/// Without what may be secret: user, password, query, fragment.
fn shown(url: &Url) -> String {
    let text: String = url.path().chars().take(200).collect();
    format!("{}{text}", url.origin().ascii_serialization())
}

impl Prefix {
    fn parse(text: &str) -> Result<Self> {
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
        let host = host.to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if name.is_empty() || !name.chars().all(plain) || (name != host && !name.contains('.')) {
            return Err(bad("does not name a host"));
        }
        if path.split('/').any(|part| part == "." || part == "..") || path.contains(['%', '*', '\\']) {
            return Err(bad("has a path that is not plain"));
        }
        let path = format!("/{}/", path.trim_matches('/')).replace("//", "/");
        Ok(Self { scheme, host, port, path })
    }

    /// As the network compares them; a registry is reached either way.
    fn urls(&self) -> Vec<String> {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.scheme {
            Some(scheme) => vec![format!("{scheme}://{host}{port}{}", self.path)],
            None => ["https", "http"].iter().map(|scheme| format!("{scheme}://{host}{port}/v2{}", self.path)).collect(),
        }
    }

    fn covers_host(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        match self.host.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
            None => host == self.host,
        }
    }

    /// Whether this is `host[:port]` itself and no pattern.
    fn names(&self, host: &str) -> bool {
        split_port(host).is_some_and(|(host, _)| self.host.eq_ignore_ascii_case(host))
    }

    fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && (self.host == other.host || self.covers_host(&other.host))
            && self.port == other.port
            && other.path.starts_with(&self.path)
    }

    fn covers_url(&self, url: &Url) -> bool {
        let Some(scheme) = &self.scheme else { return false };
        let default = if scheme == "https" { 443 } else { 80 };
        url.scheme() == scheme
            && url.host_str().is_some_and(|host| self.covers_host(host))
            && url.port_or_known_default() == Some(self.port.unwrap_or(default))
            && !encodes_a_separator(url.path())
            && url.path().starts_with(&self.path)
    }

    fn covers_repository(&self, registry: &str, repository: &str) -> bool {
        let Some((host, port)) = split_port(registry) else { return false };
        self.scheme.is_none()
            && self.covers_host(host)
            && self.port == port
            && format!("/{repository}/").starts_with(&self.path)
    }
}

/// `%2e`, `%2f` and `%5c` mean to some servers what they do not mean to us.
fn encodes_a_separator(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["%2e", "%2f", "%5c"].iter().any(|encoded| path.contains(encoded))
}

/// `host:port`, `host`, `[::1]:port`, `[::1]`.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(fetch: &[&str]) -> Rules {
        let grants = Grants { fetch: fetch.iter().map(|text| (*text).to_owned()).collect(), ..Grants::default() };
        Rules::new(&grants).unwrap()
    }

    #[test]
    fn a_url_must_lie_below_a_prefix_of_the_same_origin() {
        let rules = rules(&["https://example.com/charts/", "https://*.cdn.example/", "http://files.local:8080/a"]);
        for good in [
            "https://example.com/charts/a.tgz",
            "https://EXAMPLE.com:443/charts/x/y",
            "https://eu.cdn.example/anything",
            "http://files.local:8080/a/b",
        ] {
            assert!(rules.url(&Url::parse(good).unwrap()).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/charts/a",
            "https://example.com/chartsx/a",
            "https://example.com/charts",
            "https://example.com/charts/../secret",
            "https://example.com/charts/%2e%2e/secret",
            "https://example.com/charts/..%2fsecret",
            "https://example.com:8443/charts/a",
            "https://example.com.evil/charts/a",
            "https://cdn.example/a",
            "https://xcdn.example/a",
            "http://files.local:8080/ab",
        ] {
            assert!(rules.url(&Url::parse(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_must_lie_below_a_registry_prefix() {
        let rules = rules(&["registry.example.com/team/", "localhost:5000"]);
        assert!(rules.repository("registry.example.com", "team/app").is_ok());
        assert!(rules.repository("registry.example.com", "team").is_ok());
        assert!(rules.repository("localhost:5000", "any/thing").is_ok());
        assert!(rules.repository("registry.example.com", "teams/app").is_err());
        assert!(rules.repository("registry.example.com:5000", "team/app").is_err());
        assert!(rules.url(&Url::parse("https://registry.example.com/team/x").unwrap()).is_err());
    }

    #[test]
    fn what_is_not_a_prefix_is_refused() {
        for bad in [
            "",
            "ftp://x/",
            "https://",
            "https://user@x/",
            "https://x/?a",
            "*.",
            "https://*.com/",
            "https://x/../",
            "https://x/%2e/",
            "x:port/",
        ] {
            let grants = Grants { fetch: vec![bad.to_owned()], ..Grants::default() };
            assert!(Rules::new(&grants).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wanted_prefix_is_granted_by_itself_and_by_a_wider_one() {
        let rules = rules(&["https://example.com/charts/", "https://*.cdn.example/", "registry.example.com"]);
        for covered in [
            "https://example.com/charts",
            "https://example.com/charts/stable/",
            "https://eu.cdn.example/",
            "https://*.cdn.example/x",
            "registry.example.com/team/",
        ] {
            assert!(rules.covers(covered), "{covered}");
        }
        for open in
            ["https://example.com/", "http://example.com/charts/", "registry.example.com:5000/team/", "nonsense:x"]
        {
            assert!(!rules.covers(open), "{open}");
        }
        assert!(Rules::everything().covers("https://anything/"));
    }

    #[test]
    fn a_pattern_does_not_name_its_hosts() {
        let rules = rules(&["*.example.com/team/", "registry.example.com/team/"]);
        assert!(rules.restriction("registry.example.com").unwrap().by_name);
        assert!(!rules.restriction("other.example.com").unwrap().by_name);
    }

    #[test]
    fn credentials_go_only_where_granted() {
        let grants = Grants {
            fetch: vec!["https://example.com/a".into(), "registry.example.com/team".into()],
            credentials: vec!["Registry.example.com".into()],
            ..Grants::default()
        };
        let rules = Rules::new(&grants).unwrap();
        let restriction = rules.restriction("registry.example.com").unwrap();
        assert!(restriction.credentials);
        assert_eq!(
            restriction.prefixes,
            ["https://example.com/a/", "https://registry.example.com/v2/team/", "http://registry.example.com/v2/team/"]
        );
        assert!(!rules.restriction("registry.example.com:5000").unwrap().credentials);
        assert!(Rules::everything().restriction("anywhere").is_none());
    }
}
