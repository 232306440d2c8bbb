//! What a guest with granted prefixes may reach: those prefixes, redirects
//! included, and no address of the inside unless its host was granted by name.
//!
//! [`Bounds`] look at the URL of each hop and say which addresses it may
//! connect to: its [`Reach`], which `names` applies to what the host's name
//! turns out to be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::mirrors::shown;
use crate::error::{Class, Error, Result};

/// The reach of one guest. Hosts may begin with `*.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// `https://charts.example.com/stable/`.
    pub prefixes: Vec<String>,
    /// Whether the host's credentials may be attached.
    pub credentials: bool,
    /// Whether the host that is asked for is granted by its name, not by a
    /// `*.`.
    pub by_name: bool,
    /// One place more, as a prefix: where the settings send what is asked for.
    pub place: Option<Place>,
}

/// A place that was not granted itself: a grant covers what was asked for, and
/// the settings say where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub prefix: String,
    /// Whether it may have a private address: the user's own mirrors may.
    pub by_name: bool,
}

impl Restriction {
    /// None when nothing grants `url`; whether a grant names its host
    /// literally.
    pub(super) fn grant_for(&self, url: &Url) -> Option<bool> {
        let place = self.place.iter().filter_map(|place| Some(matches(&place.prefix, url)? && place.by_name));
        let matching = self.prefixes.iter().filter_map(|prefix| matches(prefix, url)).chain(place);
        matching.reduce(|one, other| one || other)
    }
}

/// Where the hops of one request may lead.
#[derive(Clone, Debug, Default)]
pub(super) enum Bounds {
    /// Nobody's guest asks.
    #[default]
    None,
    /// Below what a guest was granted.
    Granted(Restriction),
    /// The token service of a registry that a guest may ask: anywhere outside,
    /// or the registry's own host and as far as that may be.
    TokenService { registry: String, reach: Reach },
}

impl Bounds {
    pub(super) fn of(restriction: Option<Restriction>) -> Self {
        restriction.map_or(Bounds::None, Bounds::Granted)
    }

    /// Whether the host's credentials may be attached.
    pub(super) fn credentials(&self) -> bool {
        !matches!(self, Bounds::Granted(Restriction { credentials: false, .. }))
    }

    /// Checks one hop, and says which addresses its name may lead to.
    ///
    /// # Errors
    /// `plugin` when it was not granted.
    pub(super) fn reach(&self, url: &Url) -> Result<Reach> {
        let reach = match self {
            Bounds::None => Reach::Everywhere,
            Bounds::Granted(restriction) => match restriction.grant_for(url) {
                Some(true) => Reach::Named,
                Some(false) => Reach::Outside,
                None => return Err(refused(&shown(url), "is not below a granted prefix")),
            },
            Bounds::TokenService { registry, reach } if url.host_str() == Some(registry) => *reach,
            Bounds::TokenService { .. } => Reach::Outside,
        };
        let objection = literal(url).and_then(|address| reach.objection(address));
        objection.map_or(Ok(reach), |Refused(why)| Err(refused(&shown(url), why)))
    }
}

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    #[default]
    Everywhere,
    /// For a host that was granted by name: never link-local and reserved
    /// ones.
    Named,
    /// No private ones either.
    Outside,
}

/// Why an address is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its name {0}")]
pub(super) struct Refused(pub(super) &'static str);

impl Reach {
    pub(super) fn objection(self, address: IpAddr) -> Option<Refused> {
        if self == Reach::Everywhere {
            return None;
        }
        if is_never_reached(address) {
            return Some(Refused("leads to a link-local or reserved address"));
        }
        let inside = self == Reach::Outside && is_private(address);
        inside.then_some(Refused("leads to a private address, and its host is not granted by name"))
    }
}

/// `what` is out of a guest's reach.
pub(super) fn refused(what: &str, why: &str) -> Error {
    Error::new(Class::Plugin, format!("{what} {why}"))
        .hint("grant the plugin a prefix in config/plugins.lock if it is meant to fetch from there")
}

/// Some(literal) when `url` lies below `prefix`.
fn matches(prefix: &str, url: &Url) -> Option<bool> {
    let prefix = Url::parse(prefix).ok()?;
    let (granted, asked) = (prefix.host_str()?, url.host_str()?);
    let literal = match granted.strip_prefix("*.") {
        Some(domain) => {
            asked.strip_suffix(domain)?.strip_suffix('.')?;
            false
        }
        None if granted == asked => true,
        None => return None,
    };
    let same = prefix.scheme() == url.scheme() && prefix.port_or_known_default() == url.port_or_known_default();
    let rest = url.path().strip_prefix(prefix.path())?;
    let below = prefix.path().ends_with('/') || rest.is_empty() || rest.starts_with('/');
    (same && below).then_some(literal)
}

/// The address that is written in the URL itself, which nobody looks up.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// An IPv4 address inside an IPv6 one counts as what it is: mapped, translated
/// (64:ff9b::/96), 6to4 (2002::/16).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let join = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (v6.to_ipv4_mapped(), v6.segments()) {
        (Some(v4), _) => IpAddr::V4(v4),
        (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]) => join(high, low),
        _ => address,
    }
}

fn is_never_reached(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80 || v6.is_multicast(),
    }
}

fn is_private(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            let this_network = v4.octets()[0] == 0;
            v4.is_private() || v4.is_loopback() || v4 == Ipv4Addr::BROADCAST || shared || this_network
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6 == Ipv6Addr::UNSPECIFIED || v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restriction(prefixes: &[&str]) -> Restriction {
        Restriction { prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(), ..Restriction::default() }
    }

    #[test]
    fn only_what_lies_below_a_prefix_is_granted() {
        let granted = restriction(&["https://a.example/charts/", "https://*.cdn.example/", "http://h.example:81/x"]);
        for (url, expected) in [
            ("https://a.example/charts/index.yaml", Some(true)),
            ("https://a.example/charts/../secret", None),
            ("https://a.example/charts/%2e%2e/secret", None),
            ("https://a.example/chartsx", None),
            ("http://a.example/charts/x", None),
            ("https://a.example:444/charts/x", None),
            ("https://a.example.evil/charts/x", None),
            ("https://x.cdn.example/y", Some(false)),
            ("https://cdn.example/y", None),
            ("https://evilcdn.example/y", None),
            ("http://h.example:81/x", Some(true)),
            ("http://h.example:81/x/y", Some(true)),
            ("http://h.example:81/xy", None),
        ] {
            assert_eq!(granted.grant_for(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    /// `*.example.com` may be pointed at the inside by whoever holds a name
    /// there.
    #[test]
    fn a_place_has_a_private_address_only_by_name() {
        let reach = |by_name: bool, url: &str| {
            let place = Place { prefix: "http://127.0.0.1:5000/v2/a/".to_owned(), by_name };
            let restriction = Restriction { place: Some(place), ..restriction(&["https://*.example.com/v2/"]) };
            Bounds::Granted(restriction).reach(&Url::parse(url).unwrap())
        };
        let url = "http://127.0.0.1:5000/v2/a/manifests/1";
        assert_eq!(reach(true, url).unwrap(), Reach::Named);
        let error = reach(false, url).unwrap_err();
        assert!(error.message().contains("not granted by name"), "{error}");
        assert!(reach(true, "http://127.0.0.1:5000/v2/b").is_err());
    }

    #[test]
    fn the_inside_needs_a_grant_by_name() {
        let reach = |prefix: &str, url: &str| {
            let restriction = restriction(&[prefix]);
            Bounds::Granted(restriction).reach(&Url::parse(url).unwrap()).ok()
        };
        assert_eq!(reach("http://127.0.0.1:1/", "http://127.0.0.1:1/x"), Some(Reach::Named));
        assert_eq!(reach("http://a.example/", "http://a.example/x"), Some(Reach::Named));
        assert_eq!(reach("http://*.example/", "http://a.example/x"), Some(Reach::Outside));
        for never in [
            "http://169.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://224.0.0.1/",
        ] {
            assert_eq!(reach(never, &format!("{never}latest")), None, "{never}");
        }
    }

    #[test]
    fn a_token_service_is_outside_or_with_its_registry() {
        let reach = |reach: Reach, url: &str| {
            let bounds = Bounds::TokenService { registry: "10.0.0.1".into(), reach };
            bounds.reach(&Url::parse(url).unwrap()).ok()
        };
        assert_eq!(reach(Reach::Named, "https://10.0.0.1:444/token"), Some(Reach::Named));
        assert_eq!(reach(Reach::Outside, "https://10.0.0.1:444/token"), None);
        assert_eq!(reach(Reach::Named, "https://auth.example/token"), Some(Reach::Outside));
        assert_eq!(reach(Reach::Named, "https://10.0.0.2/token"), None);
        assert_eq!(Bounds::None.reach(&Url::parse("http://10.0.0.2/").unwrap()).unwrap(), Reach::Everywhere);
    }

    #[test]
    fn private_addresses_are_known() {
        for private in
            ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
