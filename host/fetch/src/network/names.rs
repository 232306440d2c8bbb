//! Names to addresses, where a guest asks.
//!
//! Whoever owns a name decides what it means, and may say one thing to a check
//! and another to the connection a moment later. So there is one lookup, that
//! of the connection, and what it finds out of [`Reach`] is not connected to.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::restrict::{Reach, Refused};

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a name.
#[derive(Clone)]
pub(super) struct Lookup(Arc<dyn Fn(String) -> Looking + Send + Sync>);

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup")
    }
}

impl Lookup {
    /// As the operating system does.
    pub(super) fn system() -> Self {
        Self(Arc::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        }))
    }

    #[cfg(test)]
    pub(super) fn with(find: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |name| {
            let found = find(&name);
            Box::pin(async move { Ok(found) })
        }))
    }

    pub(super) async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name.to_owned()).await
    }
}

/// Gives a client only addresses that it may connect to.
pub(super) struct Names {
    pub(super) lookup: Lookup,
    pub(super) reach: Reach,
    /// Hosts of proxies, which the user chose: they may be anywhere.
    pub(super) proxies: Vec<String>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        let reach = if is_proxy { Reach::Everywhere } else { self.reach };
        let lookup = self.lookup.clone();
        Box::pin(async move {
            let allowed = allowed(lookup.find(name.as_str()).await?, reach)?;
            // The port is the URL's.
            let addresses = allowed.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// Those within reach; why not, where none is.
fn allowed(found: Vec<IpAddr>, reach: Reach) -> Result<Vec<IpAddr>, Refused> {
    let objection = found.iter().find_map(|address| reach.objection(*address));
    let allowed: Vec<IpAddr> = found.into_iter().filter(|address| reach.objection(*address).is_none()).collect();
    objection.filter(|_| allowed.is_empty()).map_or(Ok(allowed), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_within_reach_is_left() {
        let of = |addresses: &[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mixed = of(&["10.0.0.1", "1.1.1.1", "169.254.169.254"]);
        assert_eq!(allowed(mixed.clone(), Reach::Everywhere), Ok(mixed.clone()));
        assert_eq!(allowed(mixed.clone(), Reach::Named), Ok(of(&["10.0.0.1", "1.1.1.1"])));
        assert_eq!(allowed(mixed, Reach::Outside), Ok(of(&["1.1.1.1"])));
        assert!(allowed(of(&["127.0.0.1"]), Reach::Outside).is_err());
        assert_eq!(allowed(Vec::new(), Reach::Outside), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_proxy_may_be_inside() {
        let lookup = Lookup::with(|_| vec![IpAddr::from([127, 0, 0, 1])]);
        let names = Names { lookup, reach: Reach::Outside, proxies: vec!["proxy.example".into()] };
        let find = |name: &str| names.resolve(name.parse().unwrap());
        assert_eq!(find("proxy.example").await.unwrap().count(), 1);
        assert!(find("other.example").await.is_err_and(|error| error.is::<Refused>()));
    }
}
