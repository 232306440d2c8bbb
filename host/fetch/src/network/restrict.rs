//! What a guest with granted prefixes may reach: those prefixes, redirects
//! included, and no address of the inside unless its host was granted by name.
//!
//! [`Bounds`] look at the URL of each hop and say which addresses it may
//! connect to: its [`Reach`], which `names` applies to what the host's name
//! turns out to be. What is granted `grants` decides, what an address is
//! `addresses`.

use std::net::IpAddr;

use url::{Host, Url};

use super::addresses::{Kind, kind};
use super::mirrors::shown;
use super::party::Party;
use base::error::{Class, Error, Result};
use entitlement::grants::{Granting, Restriction};

/// Where the hops of one request may lead.
#[derive(Clone, Debug, Default)]
pub(super) enum Bounds {
    /// Nobody's guest asks.
    #[default]
    None,
    /// Below what a guest was granted.
    Granted(Restriction),
    /// The token service of a registry that a guest may ask, which the registry
    /// names: the registry's own origin and as far as that may be, what the
    /// guest was granted, and otherwise what is encrypted and outside.
    TokenService { registry: Url, reach: Reach, guest: Restriction },
}

impl Bounds {
    pub(super) fn of(restriction: Option<Restriction>) -> Self {
        restriction.map_or(Bounds::None, Bounds::Granted)
    }

    /// Those of the token service that `registry` names, which these lead to.
    ///
    /// # Errors
    /// `plugin` when the registry itself was not granted.
    pub(super) fn of_token_service(&self, registry: &Url) -> Result<Self> {
        Ok(match self {
            Bounds::Granted(guest) => {
                Bounds::TokenService { registry: registry.clone(), reach: self.reach(registry)?, guest: guest.clone() }
            }
            other => other.clone(),
        })
    }

    /// Who asks.
    pub(super) fn party(&self) -> Party {
        match self {
            Bounds::None => Party::Host,
            Bounds::Granted(guest) | Bounds::TokenService { guest, .. } => Party::of(Some(guest)),
        }
    }

    /// Whether the host's credentials may be attached.
    pub(super) fn credentials(&self) -> bool {
        !matches!(self, Bounds::Granted(Restriction { credentials: false, .. }))
    }

    /// Whether a guest asks, so that every address counts as it is written.
    pub(super) fn is_of_guest(&self) -> bool {
        !matches!(self, Bounds::None)
    }

    /// Checks one hop, and says which addresses its name may lead to.
    ///
    /// # Errors
    /// `plugin` when it was not granted.
    pub(super) fn reach(&self, url: &Url) -> Result<Reach> {
        let reach = match self {
            Bounds::None => Reach::Everywhere,
            Bounds::Granted(restriction) => match restriction.grant_for(url) {
                Ok(Granting::Named) => Reach::Named,
                Ok(Granting::Pattern) => Reach::Outside,
                Err(why) => return Err(refused(&shown(url), why)),
            },
            Bounds::TokenService { registry, reach, .. } if url.origin() == registry.origin() => *reach,
            Bounds::TokenService { guest, .. } => match guest.grant_for(url) {
                Ok(Granting::Named) => Reach::Named,
                Ok(Granting::Pattern) => Reach::Outside,
                Err(_) if url.scheme() == "https" => Reach::Outside,
                Err(_) => return Err(refused(&shown(url), "is a token service that is neither granted nor encrypted")),
            },
        };
        let objection = literal(url).and_then(|address| reach.objection(address));
        objection.map_or(Ok(reach), |refusal| Err(refusal.told(&shown(url))))
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
#[error("its name {why}")]
pub(super) struct Refused {
    why: &'static str,
    hint: &'static str,
}

impl Refused {
    /// `what` is what was asked for.
    pub(super) fn told(self, what: &str) -> Error {
        Error::new(Class::Plugin, format!("{what} {}", self.why)).hint(self.hint)
    }
}

impl Reach {
    pub(super) fn objection(self, address: IpAddr) -> Option<Refused> {
        match (self, kind(address)) {
            (Reach::Everywhere, _) | (_, Kind::Global) | (Reach::Named, Kind::Private) => None,
            (Reach::Outside, Kind::Private) => {
                Some(Refused { why: "leads to a private address, and its host is not granted by name", hint: GRANT })
            }
            (_, Kind::Reserved) => Some(Refused {
                why: "leads to a link-local or reserved address",
                hint: "no grant gives a plugin such an address: let it ask a host that has another one",
            }),
        }
    }
}

const GRANT: &str = "grant the plugin a prefix in config/plugins.lock if it is meant to fetch from there";

/// `what` is out of a guest's reach.
pub(super) fn refused(what: &str, why: &str) -> Error {
    Error::new(Class::Plugin, format!("{what} {why}")).hint(GRANT)
}

/// The address that is written in the URL itself, which nobody looks up.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::test_support::below;
    use entitlement::grants::{At, SettingsAddress};

    /// `*.example.com` may be pointed at the inside by whoever holds a name
    /// there.
    #[test]
    fn a_place_has_a_private_address_only_by_name() {
        let reach = |by_name: bool, url: &str| {
            let what = At::Below(Url::parse("http://127.0.0.1:5000/v2/a/").unwrap());
            let place = Some(SettingsAddress { what, by_name });
            let restriction = below(&["https://*.example.com/v2/"]).with_place(place);
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
        let asked = |prefix: &str, url: &str| {
            let restriction = below(&[prefix]);
            Bounds::Granted(restriction).reach(&Url::parse(url).unwrap())
        };
        let reach = |prefix: &str, url: &str| asked(prefix, url).ok();
        assert_eq!(reach("http://127.0.0.1:1/", "http://127.0.0.1:1/x"), Some(Reach::Named));
        assert_eq!(reach("http://a.example/", "http://a.example/x"), Some(Reach::Named));
        assert_eq!(reach("http://*.x.example/", "http://a.x.example/x"), Some(Reach::Outside));
        for never in [
            "http://169.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://224.0.0.1/",
            "http://0.0.0.0/",
            "http://192.0.0.192/",
        ] {
            // A hint to grant it would send people in a circle.
            let error = asked(never, &format!("{never}latest")).unwrap_err();
            assert!(
                error.to_string().contains("reserved") && !format!("{:?}", error.hint_text()).contains("plugins.lock"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_token_service_is_granted_or_encrypted_and_outside_or_with_its_registry() {
        let reach = |grants: &[&str], url: &str| {
            let bounds = Bounds::Granted(below(grants));
            let registry = Url::parse("https://10.0.0.1:444/v2/a/manifests/1").unwrap();
            bounds.of_token_service(&registry).unwrap().reach(&Url::parse(url).unwrap()).ok()
        };
        let registry = "10.0.0.1:444";
        assert_eq!(reach(&[registry], "https://10.0.0.1:444/token"), Some(Reach::Named));
        assert_eq!(reach(&[registry], "https://auth.example/token"), Some(Reach::Outside));
        for elsewhere in ["https://10.0.0.1:445/token", "http://10.0.0.1:444/token", "https://10.0.0.2/token"] {
            assert_eq!(reach(&[registry], elsewhere), None, "{elsewhere}");
        }
        assert_eq!(reach(&[registry], "http://auth.example/token"), None);
        let granted = [registry, "https://10.0.0.2/token/", "https://*.inside.example/"];
        assert_eq!(reach(&granted, "https://10.0.0.2/token/x"), Some(Reach::Named));
        assert_eq!(reach(&granted, "https://10.0.0.2/other"), None);
        assert_eq!(reach(&granted, "https://a.inside.example/token"), Some(Reach::Outside));
        let bounds = Bounds::Granted(below(&[registry]));
        assert!(bounds.of_token_service(&Url::parse("https://10.0.0.3/v2/").unwrap()).is_err());
        assert_eq!(Bounds::None.reach(&Url::parse("http://10.0.0.2/").unwrap()).unwrap(), Reach::Everywhere);
    }
}
