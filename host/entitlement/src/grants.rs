//! What a plugin may fetch, decided without I/O: for the address that it asks
//! for, and by the same function for every address that one leads to.
//!
//! [`Grants`] is what stands in plugins.lock. [`Rules`] are the same, taken
//! apart into [`Prefix`]es once: a core plugin may fetch what it asks, because
//! the configuration and verified indexes name it; a pinned plugin what lies
//! below a granted prefix. A [`Restriction`] goes along with each request into
//! `network`, which asks it at every hop and looks at the addresses behind a
//! name.
//!
//! Nothing is compared as text that could be read in two ways: [`address()`]
//! refuses what is not written as it is read, `unclear` what another server
//! may read otherwise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use base::error::{Class, Error, Result};

pub mod address;
mod prefix;

pub use address::{address, host_address};
use address::{is_host, unclear, web_address};
use prefix::Prefix;

/// What the user lets one plugin do. Nothing, unless it stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// `https://host[:port]/path/` and `registry[:port]/repository/`; a host
    /// may begin with `*.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<String>,
    /// `host[:port]` to which the user's credentials may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// `/in` (read-only), `/out` and `/work` as directories.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub directories: bool,
}

impl Grants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What either of them grants, each thing once.
    #[must_use]
    pub fn with(mut self, more: Self) -> Self {
        let add = |all: &mut Vec<String>, more: Vec<String>| {
            for one in more {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        };
        add(&mut self.fetch, more.fetch);
        add(&mut self.credentials, more.credentials);
        self.directories |= more.directories;
        self
    }
}

/// What one plugin may reach.
#[derive(Clone, Debug)]
pub struct Rules(Option<Arc<Granted>>);

#[derive(Debug)]
struct Granted {
    prefixes: Arc<[Prefix]>,
    credentials: Vec<String>,
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
    /// `configuration` where a grant is not a prefix, or names no host.
    pub fn new(grants: &Grants) -> Result<Self> {
        let prefixes = grants.fetch.iter().map(|text| Prefix::parse(text)).collect::<Result<_>>()?;
        if let Some(host) = grants.credentials.iter().find(|host| !is_host(host)) {
            return Err(Error::configuration(format!(
                "the grant of credentials for `{}` names no host",
                host.escape_default()
            ))
            .hint("write `registry.example.com`, with `:` and the port where it has one"));
        }
        let credentials = grants.credentials.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self(Some(Arc::new(Granted { prefixes, credentials }))))
    }

    /// Reads a URL that the plugin names: a core plugin repeats what users and
    /// indexes write, in whatever spelling.
    ///
    /// # Errors
    /// Why it is none, to be put behind it.
    pub fn read(&self, text: &str) -> Result<Url, &'static str> {
        if self.is_core() { web_address(text, None) } else { address(text, None) }
    }

    /// Whether a URL may be fetched.
    ///
    /// # Errors
    /// `plugin`, with the grant that would allow it.
    pub fn url(&self, url: &Url) -> Result<()> {
        let Some(granted) = &self.0 else { return Ok(()) };
        let Err(why) = grant(&granted.prefixes, url) else { return Ok(()) };
        let error = refusal(format!("`{}` {why}", shown(url)));
        if unclear(url).is_some() {
            return Err(
                error.hint("a server may take it for another address than it seems to be: ask for the plain one")
            );
        }
        let parent = url.path().rsplit_once('/').map_or("/", |(parent, _)| parent);
        let origin = url.origin().ascii_serialization();
        Err(error.hint(format!("grant it in config/plugins.lock: `fetch: [{origin}{parent}/]`")))
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
        Err(refusal(format!("`{registry}/{repository}` {NOT_BELOW}"))
            .hint(format!("grant it in config/plugins.lock: `fetch: [{registry}/{repository}/]`")))
    }

    /// What the network has to hold a request to `host[:port]` to, redirects
    /// and addresses included; None for a core plugin.
    /// `who` is the plugin's name.
    pub fn restriction(&self, host: &str, who: &str) -> Option<Restriction> {
        let granted = self.0.as_ref()?;
        Some(Restriction {
            who: who.into(),
            prefixes: granted.prefixes.clone(),
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

const NOT_BELOW: &str = "is not below a granted prefix";

fn refusal(message: String) -> Error {
    Error::new(Class::Plugin, message)
}

/// Without what may be secret: user, password, query, fragment.
fn shown(url: &Url) -> String {
    let text: String = url.path().chars().take(200).collect();
    format!("{}{text}", url.origin().ascii_serialization())
}

/// The reach of one request.
#[derive(Clone, Debug)]
pub struct Restriction {
    /// The plugin: what servers say to it is said to nobody else.
    who: Arc<str>,
    prefixes: Arc<[Prefix]>,
    /// Whether the host's credentials may be attached.
    pub credentials: bool,
    /// Whether the host that is asked for is granted by its name, not by a
    /// `*.`.
    pub by_name: bool,
    /// One place more: where the settings send what is asked for.
    place: Option<SettingsAddress>,
}

/// A place that was not granted itself: a grant covers what was asked for, and
/// the settings say where that is.
#[derive(Clone, Debug)]
pub struct SettingsAddress {
    /// Which addresses are this place.
    pub what: At,
    /// Whether it may have a private address: the user's own mirrors may.
    pub by_name: bool,
}

/// What of a place may be asked for.
#[derive(Clone, Debug)]
pub enum At {
    /// This address, whatever its query.
    Exactly(Url),
    /// What lies below a path that ends with `/`.
    Below(Url),
}

/// How a grant names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granting {
    /// Literally.
    Named,
    /// By a `*.`, or not at all.
    Pattern,
}

impl Restriction {
    /// The asker, as refusals name it.
    pub fn who(&self) -> &Arc<str> {
        &self.who
    }

    /// The same with the place to which the settings send what is asked for.
    #[must_use]
    pub fn with_place(&self, place: Option<SettingsAddress>) -> Self {
        Self { place, ..self.clone() }
    }

    /// Whether `url` may be asked for: what the plugin names, and where that
    /// leads.
    ///
    /// # Errors
    /// Why not, to be put behind the address.
    pub fn grant_for(&self, url: &Url) -> Result<Granting, &'static str> {
        let of_prefixes = grant(&self.prefixes, url);
        let of_place = self.place.as_ref().filter(|place| place.what.covers(url)).map(|place| match place.by_name {
            true => Granting::Named,
            false => Granting::Pattern,
        });
        match (of_prefixes, of_place) {
            (Ok(one), Some(other)) => Ok(one.min(other)),
            (Err(_), Some(other)) => Ok(other),
            (granted, None) => granted,
        }
    }

    #[cfg(test)]
    fn below(prefixes: &[&str]) -> Self {
        let prefixes = prefixes.iter().map(|text| Prefix::parse(text).unwrap()).collect();
        Self { who: "sbom".into(), prefixes, credentials: false, by_name: false, place: None }
    }
}

impl At {
    fn covers(&self, url: &Url) -> bool {
        match self {
            Self::Exactly(place) => place.origin() == url.origin() && place.path() == url.path(),
            Self::Below(place) => {
                place.origin() == url.origin() && unclear(url).is_none() && url.path().starts_with(place.path())
            }
        }
    }
}

/// The one matcher.
fn grant(prefixes: &[Prefix], url: &Url) -> Result<Granting, &'static str> {
    if let Some(why) = unclear(url) {
        return Err(why);
    }
    prefixes.iter().filter(|prefix| prefix.covers_url(url)).map(Prefix::granting).min().ok_or(NOT_BELOW)
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

    /// The plugin's own address and a redirect are one question.
    #[test]
    fn what_may_not_be_asked_for_may_not_be_led_to() {
        let rules = rules(&["https://example.com/charts/", "https://*.cdn.example/a/", "registry.example.com/team/"]);
        let restriction = rules.restriction("example.com", "sbom").unwrap();
        for (url, expected) in [
            ("https://example.com/charts/index.yaml", Some(Granting::Named)),
            ("https://example.com/charts/v1.2%2B3/%C3%A4.tgz?x=%2f..;", Some(Granting::Named)),
            ("https://eu.cdn.example/a/b", Some(Granting::Pattern)),
            ("https://registry.example.com/v2/team/app/blobs/sha256:00", Some(Granting::Named)),
            ("http://registry.example.com/v2/team/app/blobs/uploads/?mount=sha256:00", Some(Granting::Named)),
            ("https://registry.example.com/team/app", None),
            ("https://registry.example.com/v2/teams/app", None),
            ("https://registry.example.com:444/v2/team/app", None),
            ("https://example.com/charts/..%2fsecret", None),
            ("https://example.com/charts/a//b", None),
            ("https://user@example.com/charts/a", None),
            ("https://example.com./charts/a", None),
            ("https://..cdn.example/a/b", None),
            ("ftp://example.com/charts/a", None),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(restriction.grant_for(&url).ok(), expected, "{url}");
            assert_eq!(rules.url(&url).is_ok(), expected.is_some(), "{url}");
        }
    }

    #[test]
    fn a_place_is_one_address_or_what_lies_below_one() {
        let url = |text: &str| Url::parse(text).unwrap();
        let granted = Restriction::below(&["https://*.example.com/"]);
        let with = |what: At| granted.with_place(Some(SettingsAddress { what, by_name: true }));
        let exactly = with(At::Exactly(url("http://127.0.0.1:1/m/a%25b?v=1")));
        assert_eq!(exactly.grant_for(&url("http://127.0.0.1:1/m/a%25b?v=2")), Ok(Granting::Named));
        assert!(exactly.grant_for(&url("http://127.0.0.1:1/m/a%25b/c")).is_err());
        let below = with(At::Below(url("http://127.0.0.1:1/v2/a/")));
        assert_eq!(below.grant_for(&url("http://127.0.0.1:1/v2/a/manifests/1")), Ok(Granting::Named));
        for bad in ["http://127.0.0.1:1/v2/b/", "http://127.0.0.1:2/v2/a/x", "http://127.0.0.1:1/v2/a/..%2fb"] {
            assert!(below.grant_for(&url(bad)).is_err(), "{bad}");
        }
        assert_eq!(below.grant_for(&url("https://x.example.com/y")), Ok(Granting::Pattern));
    }

    #[test]
    fn grants_add_up() {
        let grants = |fetch: &[&str], directories| Grants {
            fetch: fetch.iter().map(|text| (*text).to_owned()).collect(),
            credentials: vec!["r.example".into()],
            directories,
        };
        let both = grants(&["a/", "b/"], true).with(grants(&["b/", "c/"], false));
        assert_eq!(both, grants(&["a/", "b/", "c/"], true));
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
            "https://x/a//b/",
            "https://x/a;b/",
            "https://x/\u{e4}/",
            "https://x/a\\b/",
            "https://x./",
            "https://a..x/",
            "https://ex%61mple.com/",
            "https://b\u{fc}cher.example/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://*.0.0.1/",
            "https://*.x./",
            "https://*.*.x.example/",
            "x:port/",
            "x:+80/",
            "[::1/",
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
        assert!(rules.restriction("registry.example.com", "sbom").unwrap().by_name);
        assert!(!rules.restriction("other.example.com", "sbom").unwrap().by_name);
    }

    #[test]
    fn credentials_are_granted_to_hosts() {
        for (host, good) in [
            ("registry.example.com", true),
            ("localhost:5000", true),
            ("[::1]:5000", true),
            ("", false),
            ("https://registry.example.com", false),
            ("registry.example.com/team", false),
            ("*.example.com", false),
            ("user@registry.example.com", false),
            ("registry.example.com.", false),
        ] {
            let grants = Grants { credentials: vec![host.into()], ..Grants::default() };
            assert_eq!(Rules::new(&grants).is_ok(), good, "{host}");
        }
    }

    #[test]
    fn credentials_go_only_where_granted() {
        let grants = Grants {
            fetch: vec!["https://example.com/a".into(), "registry.example.com/team".into()],
            credentials: vec!["Registry.example.com".into()],
            ..Grants::default()
        };
        let rules = Rules::new(&grants).unwrap();
        let restriction = rules.restriction("registry.example.com", "sbom").unwrap();
        assert!(restriction.credentials);
        assert!(!rules.restriction("registry.example.com:5000", "sbom").unwrap().credentials);
        assert!(Rules::everything().restriction("anywhere", "sbom").is_none());
    }
}
