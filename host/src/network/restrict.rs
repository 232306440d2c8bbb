//! What a guest with granted prefixes may reach: those prefixes, redirects
//! included, and no address of the inside unless its host was granted by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::mirrors::{host_of, shown};
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
    /// Checks one hop, its address included.
    ///
    /// # Errors
    /// `plugin` when it was not granted.
    pub(super) async fn check(&self, url: &Url) -> Result<()> {
        let literal = self.grant_for(url).ok_or_else(|| refused(url, "is not below a granted prefix"))?;
        check_addresses(url, literal).await
    }

    /// None when nothing grants `url`; whether a grant names its host
    /// literally.
    pub(super) fn grant_for(&self, url: &Url) -> Option<bool> {
        let place = self.place.iter().filter_map(|place| Some(matches(&place.prefix, url)? && place.by_name));
        let matching = self.prefixes.iter().filter_map(|prefix| matches(prefix, url)).chain(place);
        matching.reduce(|one, other| one || other)
    }
}

/// Link-local and reserved addresses are never reached for a guest, private ones only when
/// the host was granted by name.
pub(super) async fn check_addresses(url: &Url, by_name: bool) -> Result<()> {
    for address in addresses(url).await {
        if is_never_reached(address) {
            return Err(refused(url, "leads to a link-local or reserved address"));
        }
        if is_private(address) && !by_name {
            return Err(refused(url, "leads to a private address, and its host is not granted by name"));
        }
    }
    Ok(())
}

fn refused(url: &Url, why: &str) -> Error {
    Error::new(Class::Plugin, format!("{} {why}", shown(url)))
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

/// The addresses behind a URL. A name that can not be looked up has none: then
/// a proxy looks it up, or the request fails anyway.
async fn addresses(url: &Url) -> Vec<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain(_)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            let host = host_of(url);
            let name = host.strip_suffix(&format!(":{port}")).unwrap_or(&host).to_owned();
            match tokio::net::lookup_host((name, port)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            }
        }
        None => Vec::new(),
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
    #[tokio::test]
    async fn a_place_has_a_private_address_only_by_name() {
        let url = Url::parse("http://127.0.0.1:5000/v2/a/manifests/1").unwrap();
        let reach = |by_name: bool| {
            let place = Place { prefix: "http://127.0.0.1:5000/v2/a/".to_owned(), by_name };
            Restriction { place: Some(place), ..restriction(&["https://*.example.com/v2/"]) }
        };
        assert!(reach(true).check(&url).await.is_ok());
        let error = reach(false).check(&url).await.unwrap_err();
        assert!(error.message().contains("not granted by name"), "{error}");
        assert!(reach(true).check(&Url::parse("http://127.0.0.1:5000/v2/b").unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn the_inside_needs_a_grant_by_name() {
        let check = async |prefix: &str, url: &str| restriction(&[prefix]).check(&Url::parse(url).unwrap()).await;
        assert!(check("http://127.0.0.1:1/", "http://127.0.0.1:1/x").await.is_ok());
        assert!(check("http://169.254.169.254/", "http://169.254.169.254/latest").await.is_err());
        assert!(check("http://[fe80::1]/", "http://[fe80::1]/x").await.is_err());
        assert!(check("http://[::ffff:169.254.1.1]/", "http://[::ffff:169.254.1.1]/x").await.is_err());
        assert!(check("http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b::a9fe:a9fe]/x").await.is_err());
        assert!(check("http://224.0.0.1/", "http://224.0.0.1/x").await.is_err());
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
