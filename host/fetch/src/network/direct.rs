//! Which hosts are reached without the proxy, by the rules of Go, which curl,
//! docker and helm share. No I/O.
//!
//! `*` is every host; `example.com` that host and those below it,
//! `.example.com` and `*.example.com` only those below; an address, a network
//! (`10.0.0.0/8`) that is written in the URL, for no name is looked up; and a
//! `:port` behind a host or address for that port alone. This machine itself
//! always is.

use std::net::IpAddr;

use url::{Host, Url};

/// The list of `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub struct Direct {
    everything: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    Network {
        first: IpAddr,
        bits: u32,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// `below` begins with a dot.
    Name {
        below: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Direct {
    /// Entries that mean nothing are passed over.
    pub(crate) fn parse(list: &str) -> Self {
        let entries = || list.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty());
        let everything = entries().any(|entry| entry == "*");
        Self { everything, rules: entries().filter_map(|entry| Rule::parse(&entry.to_ascii_lowercase())).collect() }
    }

    /// Whether the server of this URL is reached without the proxy.
    pub(crate) fn covers(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let address = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                return self.everything
                    || name == "localhost"
                    || self.rules.iter().any(|rule| rule.is_name(name, port));
            }
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical(),
            None => return false,
        };
        self.everything || address.is_loopback() || self.rules.iter().any(|rule| rule.is_address(address, port))
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if let Some((first, bits)) = entry.split_once('/') {
            let first: IpAddr = first.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(first))?;
            return Some(Self::Network { first, bits });
        }
        if let Ok(address) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Self::Address { address: address.to_canonical(), port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Self::Address { address: address.to_canonical(), port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let bare = host.trim_start_matches('.').trim_end_matches('.');
        let name = Host::parse(bare).ok()?.to_string();
        Some(Self::Name { below: format!(".{name}"), itself: !host.starts_with('.'), port })
    }

    fn is_name(&self, name: &str, asked: Option<u16>) -> bool {
        let Self::Name { below, itself, port } = self else { return false };
        let fits = name.ends_with(below.as_str()) || (*itself && name == &below[1..]);
        fits && (port.is_none() || *port == asked)
    }

    fn is_address(&self, found: IpAddr, asked: Option<u16>) -> bool {
        match self {
            Self::Network { first, bits } => width(*first) == width(found) && same_bits(*first, found, *bits),
            Self::Address { address, port } => *address == found && (port.is_none() || *port == asked),
            Self::Name { .. } => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_bits(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    bits == 0 || (number(one) ^ number(other)) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is what Go's `httpproxy` says of it.
    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        for (list, url, direct) in [
            ("*", "https://any.example/", true),
            ("a.example, *", "http://10.1.1.1/", true),
            ("*x", "https://any.example/", false),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://a.b.EXAMPLE.com./", true),
            ("Example.COM", "https://example.com:8443/", true),
            ("example.com", "https://notexample.com/", false),
            (".example.com", "https://a.example.com/", true),
            (".example.com", "https://example.com/", false),
            ("*.example.com", "https://a.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("r.example:5000", "http://r.example:5000/", true),
            ("r.example:5000", "http://r.example/", false),
            ("r.example:443", "https://r.example/", true),
            ("r.example:80", "http://r.example/", true),
            (".example:5000", "http://r.example:5000/", true),
            ("r.example:x", "http://r.example/", false),
            (":5000", "http://r.example:5000/", false),
            ("10.0.0.0/8", "http://10.2.3.4:81/", true),
            ("10.0.0.0/8", "http://11.2.3.4/", false),
            ("10.0.0.0/33,x", "http://10.2.3.4/", false),
            ("0.0.0.0/0", "http://10.2.3.4/", true),
            ("fd00::/8", "http://[fd12::1]:5000/", true),
            ("fd00::/8", "http://[fe12::1]/", false),
            ("10.0.0.1", "http://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "http://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "http://10.0.0.1/", false),
            ("fd12::1", "http://[fd12::1]:5000/", true),
            ("[fd12::1]:5000", "http://[fd12::1]:5000/", true),
            ("[fd12::1]:5000", "http://[fd12::1]/", false),
            ("10.0.0.0/8", "http://ten.example/", false),
            ("b\u{fc}cher.example", "https://b\u{fc}cher.example/", true),
            ("a.example b.example", "https://b.example/", true),
            ("", "http://localhost:5000/", true),
            ("", "http://127.9.9.9/", true),
            ("", "http://[::1]/", true),
            ("", "https://a.example/", false),
        ] {
            assert_eq!(Direct::parse(list).covers(&Url::parse(url).unwrap()), direct, "{list:?} {url}");
        }
    }
}
