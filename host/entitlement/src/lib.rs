//! Who may have what.
//!
//! A plugin is served by the host's store, its network and its lock, which hold
//! what others fetched as well. So whoever asks has a name, the [`Asker`], and
//! what it may be given is decided here, from the user's configuration and the
//! grants alone. A digest is never a right, and what a plugin says is never a
//! right.
//!
//! 1. [`Entitlement`] decides which addresses an asker may ask for. The answer
//!    is a [`Granted`] address: nobody else makes one for a plugin.
//! 2. The `Desk` of `fetch` is all that a plugin's call holds of network, store
//!    and lock. It asks the entitlement first, every time, and hands out a
//!    `Seen`: what that asker was given from that address. The store links only
//!    what was seen, and the lock holds only that.
//! 3. The `NamedPaths` of `config` decide which local files a plugin may read:
//!    those that the user's configuration names, as the host read it.
//!
//! The `Runners` of `config` are who asks in a project: the plugins of its
//! pipeline.

use std::fmt;
use std::str::FromStr;

use model::problem::redacted;
use serde::{Deserialize, Serialize};

use crate::grants::{Restriction, Rules, address};
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;

pub mod grants;

/// Whoever asks the host for something. A core plugin and a pinned one of the
/// same name are two: they run other bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Asker {
    /// A step of the host itself: it asks for what the configuration names.
    Host,
    /// A plugin that is part of the binary, by its name.
    Core(String),
    /// A plugin that plugins.lock pins, by its name there.
    Pinned(String),
}

impl Asker {
    /// Whether the digests that it names are the configuration's and not its
    /// own: of a checksum file, an index, an image.
    pub fn is_host(&self) -> bool {
        *self == Self::Host
    }

    /// Under which name the bytes of an unfinished download lie. Those of a
    /// plugin are its own: it completes nobody else's, whatever digest it
    /// names.
    fn partial_key(&self, address: &str, digest: Option<Digest>) -> String {
        match (self, digest) {
            (Self::Host, Some(digest)) => digest.hex(),
            (Self::Host, None) => format!("url-{}", Digest::of(address.as_bytes()).hex()),
            (plugin, digest) => {
                let digest = digest.map(|digest| digest.hex()).unwrap_or_default();
                format!("asked-{}", Digest::of(format!("{plugin}\n{address}\n{digest}").as_bytes()).hex())
            }
        }
    }

    fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned(_))
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Core(name) => write!(f, "core plugin {name}"),
            Self::Pinned(name) => write!(f, "plugin {name}"),
        }
    }
}

impl From<Asker> for String {
    fn from(asker: Asker) -> Self {
        asker.to_string()
    }
}

impl FromStr for Asker {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("core plugin "), text.strip_prefix("plugin ")) {
            ("host", ..) => Ok(Self::Host),
            (_, Some(name), _) => Ok(Self::Core(name.to_owned())),
            (_, _, Some(name)) => Ok(Self::Pinned(name.to_owned())),
            _ => Err(Error::invalid(format!("`{}` is no plugin: write `plugin <name>`", text.escape_debug()))),
        }
    }
}

impl TryFrom<String> for Asker {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// An address that one asker may ask for: a URL, or a reference into a
/// registry.
#[derive(Clone, Debug)]
pub struct Granted<P> {
    asker: Asker,
    at: P,
    /// What the way there is held to; None where nothing is refused.
    reach: Option<Restriction>,
}

impl<P> Granted<P> {
    /// What a step of the host asks for: the configuration names it.
    pub fn to_host(at: P) -> Self {
        Self { asker: Asker::Host, at, reach: None }
    }

    /// Who may ask.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The address.
    pub fn at(&self) -> &P {
        &self.at
    }

    /// Whether the user's credentials may go there.
    pub fn credentials(&self) -> bool {
        self.reach.as_ref().is_none_or(|reach| reach.credentials)
    }

    /// Whether only what this asker itself was given may be given to it again,
    /// whatever airgap.lock says.
    pub fn needs_receipt(&self) -> bool {
        self.asker.is_pinned()
    }

    /// Under which name the bytes of an unfinished download lie, as
    /// [`Asker::partial_key`]: what the user's credentials opened is not
    /// completed without them.
    pub fn partial_key(&self, address: &str, digest: Option<Digest>) -> String {
        match self.asker.is_pinned() {
            true if self.credentials() => self.asker.partial_key(&format!("{address}\nwith credentials"), digest),
            true => self.asker.partial_key(&format!("{address}\nwithout credentials"), digest),
            false => self.asker.partial_key(address, digest),
        }
    }

    /// How far a request may lead; None for a step of the host, which is not bounded.
    pub fn reach(&self) -> Option<&Restriction> {
        self.reach.as_ref()
    }
}

/// One asker and what it was granted.
#[derive(Clone, Debug)]
pub struct Entitlement {
    asker: Asker,
    rules: Rules,
}

impl Entitlement {
    /// What `asker` may ask for by `rules`.
    pub fn new(asker: Asker, rules: Rules) -> Self {
        Self { asker, rules }
    }

    /// Who asks.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Whether a URL may be asked for.
    ///
    /// # Errors
    /// `invalid-input` where it is no address of the web or holds credentials;
    /// `plugin` where it is not granted.
    pub fn url(&self, url: &str) -> Result<Granted<String>> {
        if url.len() > address::LONGEST {
            let (length, most) = (url.len(), address::LONGEST >> 10);
            return Err(Error::invalid(format!(
                "an address of {length} bytes is longer than {most} KiB, the most there is"
            )));
        }
        let shown = || redacted(url).chars().take(200).flat_map(char::escape_debug).collect::<String>();
        let refused = |why| Error::invalid(format!("`{}` {why}", shown()));
        let parsed = self.rules.read(url).map_err(refused)?;
        self.rules.url(&parsed)?;
        let host = parsed.host_str().unwrap_or_default();
        let host = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(self.granted(address::written(url), &host))
    }

    /// Whether what a reference names may be asked for: a manifest, a blob,
    /// the tags of its repository.
    ///
    /// # Errors
    /// `invalid-input` where it is no reference; `plugin` where it is not
    /// granted.
    pub fn reference(&self, reference: &str) -> Result<Granted<Reference>> {
        let reference = Reference::parse(reference)?;
        self.rules.repository(reference.registry(), reference.repository())?;
        let registry = reference.registry().to_owned();
        Ok(self.granted(reference, &registry))
    }

    /// Whether an entry of the lock may be this asker's: its address is one
    /// that it may ask for.
    pub fn covers(&self, address: &str) -> bool {
        match address.strip_prefix("oci://") {
            Some(reference) => self.reference(reference).is_ok(),
            None => self.url(address).is_ok(),
        }
    }

    fn granted<P>(&self, at: P, host: &str) -> Granted<P> {
        Granted { asker: self.asker.clone(), at, reach: self.rules.restriction(host, &self.asker.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grants;
    use base::error::Class;

    fn pinned(fetch: &[&str]) -> Entitlement {
        let grants = Grants { fetch: fetch.iter().map(|grant| (*grant).to_owned()).collect(), ..Grants::default() };
        Entitlement::new(Asker::Pinned("sbom".into()), Rules::new(&grants).unwrap())
    }

    /// The decision table: what is granted is an address of that asker, and
    /// nothing else is one.
    #[test]
    fn an_address_is_granted_by_configuration_alone() {
        let core = Entitlement::new(Asker::Core("charts".into()), Rules::everything());
        let granted = pinned(&["https://h.example/db/", "r.example/team/"]);
        let nothing = pinned(&[]);
        for (url, by_core, by_granted) in [
            ("https://h.example/db/1", true, true),
            ("https://h.example/other", true, false),
            ("https://h.example/db/../other", true, false),
            ("https://h.example:8443/db/1", true, false),
            ("https://user@h.example/db/1", false, false),
            ("file:///etc/passwd", false, false),
            ("no address", false, false),
        ] {
            let may = [&core, &granted, &nothing].map(|who| who.url(url).is_ok());
            assert_eq!(may, [by_core, by_granted, false], "{url}");
        }
        for (reference, by_core, by_granted) in [
            ("r.example/team/db:1", true, true),
            ("r.example/teams/db:1", true, false),
            ("r.example/a b", false, false),
        ] {
            let may = [&core, &granted, &nothing].map(|who| who.reference(reference).is_ok());
            assert_eq!(may, [by_core, by_granted, false], "{reference}");
        }
        let address = granted.url("https://h.example/db/1").unwrap();
        assert_eq!((address.asker(), address.reach().is_some()), (&Asker::Pinned("sbom".into()), true));
        assert_eq!(granted.url("https://h.example/x").unwrap_err().class(), Class::Plugin);
        assert!(granted.covers("oci://r.example/team/db:1") && !granted.covers("oci://r.example/else/db:1"));
    }

    #[test]
    fn askers_of_one_name_share_nothing() {
        let askers = [Asker::Host, Asker::Core("charts".into()), Asker::Pinned("charts".into())];
        for asker in &askers {
            assert_eq!(asker.to_string().parse::<Asker>().unwrap(), *asker);
        }
        let digest = Digest::of(b"x");
        let keys = askers.each_ref().map(|asker| asker.partial_key("https://h/x", Some(digest)));
        assert_eq!(keys[0], digest.hex(), "the host's downloads go on by digest, whatever server has it");
        assert!(keys[1] != keys[2] && !keys[1].contains(&digest.hex()), "{keys:?}");
        assert_ne!(keys[1], askers[1].partial_key("https://h/y", Some(digest)));
        assert!("core".parse::<Asker>().is_err());
    }
}
